"""Distillation: a large network with a learned layer teaches a small one without.

    python docs/recipes/distil.py --classes 250

The teacher is trained with cross-entropy, on all images; the student sees few of each class. It takes two things of
the teacher: its class vectors start where the teacher's embeddings see the classes alike, and in each batch the cosines
among its embeddings are pulled to those among the teacher's. The same student trains alone, and with each of the two.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss, normalize

from rootspace.data import ImageSet, batches, to_tensor
from rootspace.demo import demo_data
from rootspace.evaluate import accuracy
from rootspace.experiment import Prepared, Recipe, pooled_pixels, prepare
from rootspace.train import Augment, TrainConfig, fit, learning_rate_at


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=250)
    parser.add_argument("--images", type=int, default=2, help="images of a class that the student sees")
    parser.add_argument("--epochs", type=int, default=12, help="of a student")
    parser.add_argument("--teacher-epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=32, help="of the teacher; the student has a quarter")
    parser.add_argument("--rate", type=float, default=1.2e-2)
    parser.add_argument("--pull", type=float, default=100.0, help="weight of the pull to the teacher's cosines")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    data = demo_data(options.classes, system_fonts=False)
    images = few(data.train, options.images)

    def share(embedder: nn.Module, classifier: object) -> float:
        """Of the characters right, the mean over the typefaces that are held out."""
        return float(np.mean([accuracy(embedder, classifier, test, k=(1,)).top1 for test in data.heldout.values()]))

    # The teacher: a learned linear layer and cross-entropy.
    recipe = Recipe(augment="glyph", backbone={"name": "small_conv", "width": options.width})
    config = TrainConfig(epochs=options.teacher_epochs, learning_rate=options.rate, seed=options.seed)
    prepared = prepare(data.train, recipe, options.seed, baseline=True)
    fit(prepared.embedder, prepared.loss, data.train, config, augment=Augment(), progress=False)
    teacher = prepared.embedder.eval().requires_grad_(False)
    found = {"teacher": share(teacher, prepared.loss)}

    # The students: few images, and no layer. `features` is what the similarity of classes is seen in.
    recipe = Recipe(
        augment="glyph", backbone={"name": "small_conv", "width": options.width // 4, "depth": 0}, follow=0.0
    )
    config = TrainConfig(epochs=options.epochs, batch_size=64, learning_rate=options.rate, seed=options.seed)
    for name, features, pull in (
        ("alone", pooled_pixels, 0.0),
        ("with vectors", teacher, 0.0),
        ("with pull", pooled_pixels, options.pull),
        ("with both", teacher, options.pull),
    ):
        student = prepare(images, recipe, options.seed, features=features)
        train(student, images, teacher, pull, config)
        found[f"student {name}"] = share(student.embedder, student.loss.assignment)

    print(f"{options.classes} characters in typefaces that are held out")
    for name, right in found.items():
        print(f"  {name:28} {right:7.1%}")
    return found


def train(
    student: Prepared, images: ImageSet, teacher: Callable[[Tensor], Tensor], pull: float, config: TrainConfig
) -> None:
    """A plain loop, in which the teacher sees what the student sees."""
    embedder = student.embedder.train()
    optimizer = torch.optim.AdamW(embedder.parameters(), weight_decay=config.weight_decay)
    steps, step = config.epochs * (len(images) // config.batch_size), 0
    augment, generator = Augment(), torch.Generator().manual_seed(config.seed)
    for epoch in range(config.epochs):
        for pixels, labels in batches(images, config.batch_size, seed=config.seed, epoch=epoch, drop_last=True):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(config, step, steps)
            pictures = augment(to_tensor(pixels), generator)
            embeddings = embedder(pictures)
            loss = student.loss(embeddings, labels)
            if pull:
                loss = loss + pull * mse_loss(cosines(embeddings), cosines(teacher(pictures)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1


def few(images: ImageSet, count: int) -> ImageSet:
    """The first `count` images of each class."""
    order = np.argsort(images.labels, kind="stable")
    labels = images.labels[order]
    place = np.arange(len(order)) - np.searchsorted(labels, labels)
    return images.select(np.sort(order[place < count]))


def cosines(embeddings: Tensor) -> Tensor:
    """(B, n) -> (B, B): how alike the samples of a batch are, whatever n is."""
    unit = normalize(embeddings, dim=1)
    return unit @ unit.T


if __name__ == "__main__":
    main()
