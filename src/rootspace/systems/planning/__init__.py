"""Which system to take: n_min by family, what work costs, and the bounds no system can beat."""
