"""The loss in a LightningModule; validation accuracy by decoding.

pip install lightning
python docs/recipes/lightning_module.py --classes 500
"""

from __future__ import annotations

import argparse
from pathlib import Path

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from rootspace.assign import Assignment, by_similarity
from rootspace.data import ImageSet, to_tensor
from rootspace.demo import demo_data
from rootspace.experiment import class_statistics
from rootspace.losses import ClassSoftmax
from rootspace.models import Embedder, Recogniser, SmallConv
from rootspace.systems import graded
from rootspace.train import Augment


class Network(lightning.LightningModule):
    """A network trained to class vectors. There is no layer: a class is read back by `classes.nearest`."""

    def __init__(self, classes: Assignment, width: int, rate: float, steps: int) -> None:
        super().__init__()
        self.embedder = Embedder(SmallConv(width=width), classes.system.dim, normalise="batch")
        self.loss = ClassSoftmax(classes, scale=24.0, margin=0.1)  # a submodule: it moves, and is saved, with the rest
        self.rate, self.steps = rate, steps
        self.augment = Augment()

    def forward(self, images: Tensor) -> Tensor:
        return self.embedder(to_tensor(images))

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        images, labels = batch
        generator = torch.Generator(self.device).manual_seed(self.global_step)
        value: Tensor = self.loss(self.embedder(self.augment(to_tensor(images), generator)), labels)
        self.log("loss", value, prog_bar=True, batch_size=len(labels))
        return value

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        images, labels = batch
        _, nearest = self.loss.assignment.nearest(self(images), k=1)
        # the mean over batches of these sizes is the accuracy, also over several processes
        right = (nearest[:, 0] == labels).float().mean()
        self.log("accuracy", right, prog_bar=True, batch_size=len(labels), sync_dist=True)

    def configure_optimizers(self) -> dict[str, object]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.rate, weight_decay=0.05)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.rate, total_steps=self.steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Rows(Dataset[tuple[Tensor, int]]):
    """An image set, one sample at a time."""

    def __init__(self, images: ImageSet) -> None:
        self.images, self.labels = images, images.labels

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        return torch.from_numpy(self.images.images_at([position])[0]), int(self.labels[position])


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=32, help="of the network")
    parser.add_argument("--rate", type=float, default=1.2e-2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/lightning"), help="where the model goes")
    options = parser.parse_args(argv)

    data = demo_data(options.classes, system_fonts=False)
    loader = DataLoader(Rows(data.train), 128, shuffle=True, drop_last=True)
    heldout = DataLoader(Rows(next(iter(data.heldout.values()))), 512)

    lightning.seed_everything(options.seed, verbose=False)
    found = class_statistics(data.train)
    generator = torch.Generator().manual_seed(options.seed)
    classes = by_similarity(graded(64), found.means, generator, found.within)
    network = Network(classes, options.width, options.rate, options.epochs * len(loader))
    trainer = lightning.Trainer(max_epochs=options.epochs, logger=False, enable_checkpointing=False)
    before = trainer.validate(network, heldout, verbose=False)[0]["accuracy"]
    trainer.fit(network, loader, heldout)
    after = trainer.callback_metrics["accuracy"].item()
    print(f"{options.classes} characters, held-out typeface: {before:.1%} before training, {after:.1%} after")

    # A model to use: the network, its class vectors, their names, and how a picture is prepared.
    model = Recogniser(network.embedder, classes, data.train.label_names, data.train.preprocessing)
    folder = model.save(options.output / "model")
    print(f"use it: rootspace predict {folder} picture.png; in Python, rootspace.load({str(folder)!r})")
    return {"before": before, "after": after}


if __name__ == "__main__":
    main()
