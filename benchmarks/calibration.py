"""How true the probabilities of the softmax are, by loss: calibration error on a typeface that training never saw.

    python benchmarks/calibration.py --output benchmarks/results/calibration.json

One run a loss, on characters as in the demonstration; a temperature is fitted on a twentieth of the training images.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

import torch

from rootspace import demo, experiment, report
from rootspace.files import write_json
from rootspace.train import TrainConfig

LOSSES = {
    "classes, margin 0.1 (default)": {},
    "classes, no margin": {"margin": 0.0},
    "classes, no margin, learned scale": {"margin": 0.0, "learn_scale": True},
    "cosine, no softmax": {"loss": "cosine", "follow": 0.0, "margin": 0.0},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = demo.demo_data(options.classes, system_fonts=False)
    config = TrainConfig(epochs=options.epochs, device="cpu")
    images, apart = experiment.split_for_calibration(data.train, config.seed)
    found = {}
    for name, changes in LOSSES.items():
        recipe = experiment.Recipe(backbone={"name": "small_conv", "width": options.width}, augment="glyph", **changes)
        trained = experiment.train(images, {}, experiment.settled(recipe, images), config, progress=False)
        result = experiment.examine(trained, data.heldout, apart)
        right = [bool(one) for predicted in result.predictions.values() for one in predicted.right]
        found[name] = {"top1": sum(right) / len(right), **asdict(result.reliability)}
        print(
            f"{name:<36} top-1 {found[name]['top1']:.3f}  scale {result.reliability.scale:5.1f}  "
            f"error {result.reliability.before.error:.3f} -> {result.reliability.after.error:.3f} "
            f"at temperature {result.reliability.temperature:.2f}",
            flush=True,
        )
    settings = {name: str(value) for name, value in vars(options).items() if name != "output"}
    write_json(options.output, {"settings": settings, "machine": report.environment(), "losses": found})


if __name__ == "__main__":
    main()
