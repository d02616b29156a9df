"""What class means alone recognise, with no network trained: the level below which training is for nothing.

    python benchmarks/without_training.py --tasks characters:3000 places:5000 --output without-training.json

The features that class vectors start from (pooled pixels, n-grams of names, a pretrained network's features) are
centred and brought to n dimensions by nothing, by whitening the class means, or by linear discriminants; a sample is
given the class whose mean is nearest in angle.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace import report
from rootspace.assign import discriminant_axes, whitening_axes
from rootspace.data import ImageSet, to_tensor
from rootspace.experiment import class_statistics, pooled_pixels
from rootspace.files import write_json
from tasks import open_task

DIM = 128


def top1(images: ImageSet, features: Any, centre: Tensor, axes: Tensor, means: Tensor, chunk: int = 500) -> float:
    """The share of images whose class's mean is nearest in angle, after the map."""
    targets = normalize((means.double() - centre) @ axes, dim=1).float()
    right = 0
    for start in range(0, len(images), chunk):
        positions = np.arange(start, min(start + chunk, len(images)))
        with torch.no_grad():
            part = features(to_tensor(images.images_at(positions))).double()
        guess = (normalize((part - centre) @ axes, dim=1).float() @ targets.T).argmax(1).numpy()
        right += int((guess == images.labels[positions]).sum())
    return right / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=["characters:3000"])
    parser.add_argument("--untouched", action="store_true", help="report the untouched sets too, once all is chosen")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {}
    for name in options.tasks:
        task = open_task(name)
        features = task.features or pooled_pixels
        found = class_statistics(task.train, features)
        d = found.means.shape[1]
        maps = {
            "as they are": (found.means.double().mean(0), torch.eye(d, dtype=torch.float64)),
            "whitened": whitening_axes(found.means, DIM),
            "discriminants": discriminant_axes(found.means, found.within, DIM),
        }
        sets = {**task.tuning, **(task.untouched if options.untouched else {})}
        results[name] = {
            way: {held: top1(images, features, *mapped, found.means) for held, images in sets.items()}
            for way, mapped in maps.items()
        }
        print(f"{name}: {task.train.n_classes:,} classes, features of {d} numbers")
        for way, shares in results[name].items():
            print(f"  {way:14} " + "  ".join(f"{held} {100 * share:.1f}" for held, share in shares.items()), flush=True)
    if options.output:
        write_json(options.output, {"machine": report.environment(), "dim": DIM, "results": results})


if __name__ == "__main__":
    main()
