"""Systems made of other systems: products, unions, moved, extended and perturbed ones."""
