"""The loss in the Hugging Face Trainer; accuracy by decoding, one number a sample and never a row of logits.

    pip install transformers accelerate
    python docs/recipes/trainer.py --classes 500

A Trainer gathers all that a model returns beside its loss, of all samples. With a classification layer that is a matrix
of samples x classes; here it is the number of the nearest class.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import EvalPrediction, Trainer, TrainingArguments

from rootspace.assign import by_similarity
from rootspace.data import ImageSet, to_tensor
from rootspace.demo import demo_data
from rootspace.experiment import class_statistics
from rootspace.losses import ClassSoftmax
from rootspace.models import Embedder, Recogniser, SmallConv
from rootspace.systems import graded
from rootspace.train import Augment


class Model(nn.Module):
    """Any network with a loss of this package: {"loss", "embeddings"} of a batch."""

    def __init__(self, embedder: Embedder, loss: nn.Module) -> None:
        super().__init__()
        self.embedder, self.loss, self.augment = embedder, loss, Augment()

    def forward(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        images = to_tensor(images)
        if self.training:
            seed = int(torch.randint(2**31, (1,)))  # of the generator that the Trainer seeds
            images = self.augment(images, torch.Generator(images.device).manual_seed(seed))
        embeddings = self.embedder(images)
        return {"loss": self.loss(embeddings, labels), "embeddings": embeddings}


class Rows(Dataset[dict[str, Tensor]]):
    """An image set, one sample at a time, under the names that `Model.forward` takes."""

    def __init__(self, images: ImageSet) -> None:
        self.images, self.labels = images, images.labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> dict[str, Tensor]:
        pixels = torch.from_numpy(self.images.images_at([position])[0])
        return {"images": pixels, "labels": torch.tensor(self.labels[position])}


def right(prediction: EvalPrediction) -> dict[str, float]:
    """The share of samples whose nearest class is theirs."""
    return {"accuracy": float(np.mean(prediction.predictions[:, 0] == prediction.label_ids))}


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=32, help="of the network")
    parser.add_argument("--rate", type=float, default=1.2e-2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/trainer"), help="where the model goes")
    options = parser.parse_args(argv)

    data = demo_data(options.classes, system_fonts=False)
    heldout = next(iter(data.heldout.values()))
    torch.manual_seed(options.seed)
    found = class_statistics(data.train)
    generator = torch.Generator().manual_seed(options.seed)
    classes = by_similarity(graded(64), found.means, generator, found.within)
    embedder = Embedder(SmallConv(width=options.width), classes.system.dim, normalise="batch")
    model = Model(embedder, ClassSoftmax(classes, scale=24.0, margin=0.1))
    trainer = Trainer(
        model,
        TrainingArguments(
            str(options.output),
            num_train_epochs=options.epochs,
            per_device_train_batch_size=128,
            per_device_eval_batch_size=512,
            learning_rate=options.rate,
            weight_decay=0.05,
            lr_scheduler_type="cosine",
            warmup_steps=0.25,  # below 1: a share of all steps
            dataloader_pin_memory=torch.cuda.is_available(),
            save_strategy="no",
            report_to="none",
            seed=options.seed,
        ),
        train_dataset=Rows(data.train),
        eval_dataset=Rows(heldout),
        compute_metrics=right,
        # on the device, batch by batch: (samples, 1) numbers of classes are gathered
        preprocess_logits_for_metrics=lambda embeddings, _: classes.nearest(embeddings, k=1)[1],
    )
    before = trainer.evaluate()["eval_accuracy"]
    trainer.train()
    after = trainer.evaluate()["eval_accuracy"]
    print(f"{options.classes} characters, held-out typeface: {before:.1%} before training, {after:.1%} after")

    # A model to use: the network, its class vectors, their names, and how a picture is prepared.
    recogniser = Recogniser(embedder, classes, data.train.label_names, data.train.preprocessing)
    folder = recogniser.save(options.output / "model")
    print(f"use it: rootspace predict {folder} picture.png; in Python, rootspace.load({str(folder)!r})")
    return {"before": before, "after": after}


if __name__ == "__main__":
    main()
