"""Noticing characters that were never trained: what says so best, of predefined vectors and of a learned layer.

    python benchmarks/new_classes.py --output benchmarks/results/new-classes.json

The first thousand characters are trained in two designs of typefaces. In two other designs (the task's tuning faces)
half of 500 further characters serve as examples of unknown ones: the logistic regression is fitted there, and every
threshold is set there to refuse 5 % of the known characters. What is reported is measured on two faces and 250
characters that nothing was fitted or chosen on. The result file is written after every run, and a run that it already
holds is not repeated.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from growing import FIRST_RATES, Stored, classes_of
from rootspace.data import ImageSet
from rootspace.evaluate import accuracy, auroc, embed_all
from rootspace.experiment import Recipe, prepare
from rootspace.models import build, fit_detector, signals
from rootspace.train import TrainConfig, fit
from tasks.base import Task
from tasks.characters import characters

KNOWN, UNKNOWN, RATE = 1000, 500, 0.05
BACKBONE = {"name": "small_conv", "width": 16}

#: Name -> recipe (None: a learned layer), epochs, learning rate, and whether images are augmented. Tight vectors are
#: learned slowly, with augmentation not at all in 40 epochs: so without, until most training images are right.
MODELS = {
    "roomy: graded:128": (Recipe(), 5, FIRST_RATES["ours"], True),
    "tight: V22 at n_min, shuffled": (Recipe.paper(), 15, 3e-3, False),
    "tight: V22 at n_min, by similarity": (Recipe(system="V22"), 15, 1.2e-2, False),
    "learned layer": (None, 5, FIRST_RATES["layer"], True),
}


def run(task: Task, name: str, seed: int) -> dict[str, Any]:
    """Train once, and judge every score: AUROC, and what its threshold refuses, over the untouched faces."""
    recipe, epochs, rate, augmented = MODELS[name]
    config = TrainConfig(epochs=epochs, batch_size=128, seed=seed, learning_rate=rate)
    images = classes_of(task.train, 0, KNOWN)
    torch.manual_seed(seed)  # the backbone's weights are drawn before `prepare` seeds its own
    prepared = prepare(images, recipe or Recipe(), seed, baseline=recipe is None, backbone=task.backbone())
    begun = time.process_time()
    augment = task.augment if augmented else None
    fit(prepared.embedder, prepared.loss, images, config, augment=augment, hooks=prepared.hooks, progress=False)
    trained = time.process_time() - begun
    scores = layer_scores if recipe is None else signals
    classifier = prepared.loss if recipe is None else prepared.loss.assignment
    halves = (KNOWN, KNOWN + UNKNOWN // 2), (KNOWN + UNKNOWN // 2, KNOWN + UNKNOWN)

    def scored(faces: list[ImageSet], low: int, high: int) -> dict[str, Tensor]:
        parts = [torch.from_numpy(embed_all(prepared.embedder, classes_of(face, low, high))[0]) for face in faces]
        return scores(classifier, torch.cat(parts))

    tuning, untouched = list(task.tuning.values()), list(task.untouched.values())
    fitted = scored(tuning, 0, KNOWN), scored(tuning, *halves[0])
    judged = scored(untouched, 0, KNOWN), scored(untouched, *halves[1])
    if recipe is not None:
        detector = fit_detector(*fitted, RATE)
        for part in (*fitted, *judged):
            part["all of them"] = detector.probability(part)
    top1 = [accuracy(prepared.embedder, classifier, classes_of(face, 0, KNOWN), k=(1,)).top1 for face in untouched]
    return {
        "seed": seed,
        "seconds": round(trained, 1),
        "top1": float(np.mean(top1)),
        "system": None if recipe is None else classifier.system.spec,
        "scores": {score: judge(score, fitted, judged) for score in fitted[0]},
    }


def judge(score: str, fitted: tuple[dict, dict], judged: tuple[dict, dict]) -> dict[str, float]:
    known, unknown = (part[score] for part in judged)
    threshold = fitted[0][score].sort().values[int(RATE * len(fitted[0][score]))]
    return {
        "auroc": auroc(known, unknown),
        "known_refused": float((known < threshold).double().mean()),
        "unknown_refused": float((unknown < threshold).double().mean()),
    }


@torch.no_grad()
def layer_scores(head: Any, embeddings: Tensor) -> dict[str, Tensor]:
    """What is used of a learned layer: (B, n) -> the largest softmax probability, the energy, the largest cosine."""
    logits = head.linear(embeddings)
    cosines = normalize(embeddings, dim=1) @ normalize(head.linear.weight, dim=1).T
    return {
        "maximum softmax": logits.log_softmax(1).amax(1),
        "energy": logits.logsumexp(1),
        "maximum logit": logits.amax(1),
        "maximum cosine": cosines.amax(1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS), metavar="NAME")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    task = replace(characters(KNOWN + UNKNOWN), backbone=lambda: build(BACKBONE))
    described = {name: [str(recipe), *more] for name, (recipe, *more) in MODELS.items()}
    stored = Stored(
        options.output,
        {"task": task.name, "backbone": BACKBONE, "known": KNOWN, "models": described, "data": dict(task.about)},
    )
    for name in options.models:
        for seed in range(options.seeds):
            stored.once(f"{name}|{seed}", lambda name=name, seed=seed: run(task, name, seed))
    print(table(stored.runs))


def table(runs: dict[str, Any]) -> str:
    """Mean and deviation over seeds, in per cent."""
    lines = [
        "| | top-1 | score | AUROC | unknown refused | known refused |",
        "| --- | ---: | --- | ---: | ---: | ---: |",
    ]
    columns = "auroc", "unknown_refused", "known_refused"
    for name in MODELS:
        found = [run for key, run in runs.items() if key.startswith(f"{name}|")]
        for score in found[0]["scores"] if found else ():
            values = [[one["top1"] for one in found], *([one["scores"][score][of] for one in found] for of in columns)]
            top1, *cells = (f"{100 * np.mean(value):.1f} ± {100 * np.std(value):.1f}" for value in values)
            lines.append(f"| {name} | {top1} | {score} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
