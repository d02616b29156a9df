"""Lifelong learning: classes arrive in several steps, and old images are replayed, or not.

    python docs/recipes/lifelong.py --classes 500 --step 100 --steps 4

The old classes keep their vectors, bit for bit. New ones are enrolled at the mean embedding of their images, and the
network trains on with nine old images to a new one, or with new images alone, to see what that forgets.
"""

from __future__ import annotations

import argparse
import copy
import tempfile
from pathlib import Path

from rootspace.data import ImageSet, with_label_names
from rootspace.demo import demo_data
from rootspace.experiment import Recipe, recogniser_of, split_for_calibration, train
from rootspace.experiment.growing import grow
from rootspace.train import TrainConfig


def main(argv: list[str] | None = None) -> dict[str, list[dict[str, float]]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=500, help="characters to begin with")
    parser.add_argument("--step", type=int, default=100, help="characters that come in a step")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=5, help="of the first training; a step has one")
    parser.add_argument("--width", type=int, default=32, help="of the network")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)

    # The data: every class in several typefaces to train on, and in one that is held out.
    data = demo_data(options.classes + options.step * options.steps, system_fonts=False)
    names, heldout = data.train.label_names, next(iter(data.heldout.values()))

    def part(images: ImageSet, first: int, last: int) -> ImageSet:
        return with_label_names(images, names[first:last], unknown="drop")

    # The first classes.
    training, calibration = split_for_calibration(part(data.train, 0, options.classes), options.seed)
    recipe = Recipe(augment="glyph", backbone={"name": "small_conv", "width": options.width})
    config = TrainConfig(epochs=options.epochs, learning_rate=2.4e-2, seed=options.seed)
    first = recogniser_of(train(training, {}, recipe, config, progress=False), training, calibration)

    # A step: `grow` enrols the new classes, trains on, measures, and writes the model.
    found: dict[str, list[dict[str, float]]] = {}
    for way, rate in (("replay", 4e-3), ("no replay", 1e-3)):  # the best of three rates, each for itself
        config = TrainConfig(epochs=1, learning_rate=rate, batch_size=64, seed=options.seed)
        model, found[way] = copy.deepcopy(first), []
        for known in range(options.classes, len(names), options.step):
            with tempfile.TemporaryDirectory() as folder:
                grown = grow(
                    model,
                    part(data.train, known, known + options.step),
                    {"old": part(heldout, 0, known), "new": part(heldout, known, known + options.step)},
                    config,
                    Path(folder),
                    old=part(data.train, 0, known) if way == "replay" else None,
                    recipe=recipe,
                    progress=False,
                )
            stages = {stage: grown.accuracy[stage]["old"] for stage in ("before", "enrolled")}
            found[way].append({**stages, **grown.accuracy["trained"]})

    print(f"{'top-1 of':24}{'old, enrolled':>16}{'old, trained':>16}{'new, trained':>16}")
    for way, steps in found.items():
        for number, step in enumerate(steps, 1):
            print(f"  {f'{way}, step {number}':22}{step['enrolled']:16.1%}{step['old']:16.1%}{step['new']:16.1%}")
    return found


if __name__ == "__main__":
    main()
