"""Fine-tuning: a pretrained backbone learns new classes from few images.

    python docs/recipes/finetune.py --classes 200 --pretraining 800
    python docs/recipes/finetune.py --backbone timm:resnet18

Takes a backbone by name, or pretrains a small one on other characters; then trains it on new ones, of which there are
a few images each: all of it, and with the backbone frozen. Training from scratch runs beside it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from rootspace.data import ImageSet, with_label_names
from rootspace.demo import demo_data
from rootspace.evaluate import accuracy
from rootspace.experiment import Recipe, recogniser_of, train
from rootspace.train import TrainConfig


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretraining", type=int, default=800, help="characters to pretrain on")
    parser.add_argument("--classes", type=int, default=200, help="new characters")
    parser.add_argument("--images", type=int, default=2, help="images of a new character")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rate", type=float, default=6e-3)
    parser.add_argument("--backbone", metavar="NAME", help="such as timm:resnet18, with the weights that it has")
    parser.add_argument("--width", type=int, default=32, help="of the network, without --backbone")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)

    # The data: new classes with few images each, to be recognised in a typeface that is held out.
    data = demo_data(options.pretraining + options.classes, system_fonts=False)
    names, heldout = data.train.label_names, next(iter(data.heldout.values()))
    new = few(with_label_names(data.train, names[options.pretraining :], unknown="drop"), options.images)
    test = with_label_names(heldout, new.label_names, unknown="drop")

    # The backbone: by name with its weights from the hub, or here a small one that other characters have trained.
    small = {"name": "small_conv", "width": options.width}
    with tempfile.TemporaryDirectory() as folder:
        if options.backbone is None:
            first = with_label_names(data.train, names[: options.pretraining], unknown="drop")
            config = TrainConfig(epochs=5, learning_rate=2.4e-2, seed=options.seed)
            trained = train(first, {}, Recipe(augment="glyph", backbone=small), config, progress=False)
            recogniser_of(trained, first, first.select([])).save(Path(folder) / "model")
            untrained, pretrained = small, {**small, "checkpoint": str(Path(folder) / "model")}
        else:
            untrained = {"name": options.backbone}
            pretrained = {**untrained, "pretrained": True}

        # Class vectors start where the features see the classes alike: those of trained weights, or else pixels.
        found = {}
        for name, backbone, features, backbone_rate in (
            ("fine-tuned", pretrained, "backbone", 1.0),
            ("frozen", pretrained, "backbone", 0.0),
            ("from scratch", untrained, "pixels", 1.0),
        ):
            recipe = Recipe(augment="glyph", backbone=backbone, features=features)
            config = TrainConfig(
                epochs=options.epochs,
                batch_size=64,
                learning_rate=options.rate,
                backbone_rate=backbone_rate,
                seed=options.seed,
            )
            result = train(new, {}, recipe, config, progress=False)
            found[name] = accuracy(result.embedder, result.classifier, test, k=(1,)).top1

    print(f"top-1 of {new.n_classes} characters, from {options.images} images each, in a typeface that is held out")
    for name, share in found.items():
        print(f"  {name:24} {share:7.1%}")
    return found


def few(images: ImageSet, count: int) -> ImageSet:
    """The first `count` images of each class."""
    order = np.argsort(images.labels, kind="stable")
    labels = images.labels[order]
    place = np.arange(len(order)) - np.searchsorted(labels, labels)
    return images.select(np.sort(order[place < count]))


if __name__ == "__main__":
    main()
