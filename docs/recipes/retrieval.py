"""Retrieval of classes that were never trained: find the same character in another typeface, and enrol it.

    python docs/recipes/retrieval.py --classes 1000

Trains on some characters. Then 250 others, of which training saw nothing, are looked for: queries come from one
typeface, the gallery from another, and neither typeface was trained on. The gallery becomes a database of embeddings,
which --output keeps, with the model.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from rootspace import index
from rootspace.data import ImageSet, ImageStore, with_label_names
from rootspace.demo import demo_data
from rootspace.evaluate import accuracy, embed_all, retrieval
from rootspace.experiment import Recipe, pooled_pixels, recogniser_of, split_for_calibration, train
from rootspace.train import TrainConfig


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=1000, help="characters to train on")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=32, help="of the network")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="a folder for the model and the database; without it, none is kept")
    options = parser.parse_args(argv)

    # The data: each character is a class. For your own, rootspace.data.open_data(folder) for each of the three parts.
    data = demo_data(options.classes, system_fonts=False)
    gallery, query = data.unknown.values()

    # Training is that of a recogniser.
    training, calibration = split_for_calibration(data.train, options.seed)
    recipe = Recipe(augment="glyph", backbone={"name": "small_conv", "width": options.width})
    config = TrainConfig(epochs=options.epochs, learning_rate=2.4e-2, seed=options.seed)
    model = recogniser_of(train(training, {}, recipe, config, progress=False), training, calibration)

    # Retrieval compares embeddings with embeddings: no class vector takes part. Pixels are what there is without it.
    found: dict[str, float] = {}
    for name, embed in (("rootspace", model), ("pixels", pooled_pixels)):
        queries, truth = embed_all(embed, query)
        items, labels = embed_all(embed, gallery)
        result = retrieval(queries, truth, (1, 10), gallery=items, gallery_labels=labels)
        found |= {f"{name} recall@{k}": share for k, share in result.recall.items()}
        found[f"{name} mAP"] = result.mean_average_precision

    # The same from a database, which knows its model, paths and labels; index.build also takes folders of pictures.
    with tempfile.TemporaryDirectory() as nothing_kept:
        folder = options.output or Path(nothing_kept)
        kept, pictures = model.save(folder / "model"), store_of(gallery).save(folder / "gallery").path
        with index.build(kept, pictures, folder / "gallery.index", backend="system") as database:
            hits = database.search(model.embed(query.images_at(range(len(query)))), k=1)
            first = [query.label_names[label] == best.label for label, (best,) in zip(query.labels, hits, strict=True)]
            found["database recall@1"] = float(np.mean(first))

    # Enrolment: the new classes get vectors near their gallery images, and are recognised among the trained ones.
    new = [gallery.label_names[label] for label in np.unique(gallery.labels)]
    model.add_classes(new, gallery)
    among_all = with_label_names(query, model.label_names)
    found["enrolled top-1"] = accuracy(model, model.assignment, among_all, k=(1,)).top1
    old = with_label_names(list(data.heldout.values())[1], model.label_names)
    found["trained classes top-1"] = accuracy(model, model.assignment, old, k=(1,)).top1

    print(f"{len(query):,} queries against {len(gallery):,} items of {len(new)} classes never trained")
    for name, share in found.items():
        print(f"  {name:24} {share:7.1%}")
    if options.output:
        print(f"use it: rootspace index search {options.output / 'gallery.index'} picture.png")
    return found


def store_of(images: ImageSet) -> ImageStore:
    """A view of some images as a store of its own."""
    pixels, names = images.images_at(range(len(images))), list(images.label_names)
    return ImageStore.from_arrays(pixels, images.labels, names, preprocessing=images.preprocessing)


if __name__ == "__main__":
    main()
