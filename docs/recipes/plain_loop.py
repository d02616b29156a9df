"""A plain PyTorch loop: mixed precision, torch.compile and checkpoints without pickle, each one flag.

    python docs/recipes/plain_loop.py --checkpoint run.safetensors --amp --compile

Run the same command again to go on where the checkpoint stands, with more epochs than before. At the end stands a model
folder, as `rootspace train` writes it: see --output.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from rootspace.assign import by_similarity
from rootspace.data import batches, to_tensor
from rootspace.demo import demo_data
from rootspace.evaluate import accuracy
from rootspace.experiment import class_statistics
from rootspace.files import atomic_file
from rootspace.losses import ClassSoftmax
from rootspace.models import Embedder, Recogniser, SmallConv
from rootspace.systems import graded
from rootspace.train import Augment

BATCH = 128


def main(argv: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--width", type=int, default=32, help="of the network")
    parser.add_argument("--rate", type=float, default=6e-3)
    parser.add_argument("--amp", action="store_true", help="bfloat16 in the network; the loss stays in float32")
    parser.add_argument("--compile", nargs="?", const="inductor", metavar="BACKEND", help="compile the network")
    parser.add_argument("--checkpoint", type=Path, help="a .safetensors file to write, and to go on from")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("runs/plain_loop"), help="where the model goes")
    options = parser.parse_args(argv)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    data = demo_data(options.classes, system_fonts=False)
    heldout = next(iter(data.heldout.values()))

    # Network, class vectors and loss. The optimiser gets the loss's parameters too: those of a learned scale.
    torch.manual_seed(options.seed)
    found = class_statistics(data.train)
    generator = torch.Generator().manual_seed(options.seed)
    classes = by_similarity(graded(64), found.means, generator, found.within)
    loss = ClassSoftmax(classes, scale=24.0, learn_scale=True, margin=0.1).to(device)
    embedder = Embedder(SmallConv(width=options.width), classes.system.dim, normalise="batch").to(device)
    trained = nn.ModuleDict({"embedder": embedder, "loss": loss})
    optimizer = torch.optim.AdamW(trained.parameters(), lr=options.rate, weight_decay=0.05)
    start = 0
    if options.checkpoint and options.checkpoint.exists():
        start = load(options.checkpoint, trained, optimizer)
    if options.compile:
        embedder.compile(backend=options.compile)  # in place: its weights keep their names. The loss runs beside it.

    before = accuracy(embedder, classes, heldout, k=(1,)).top1
    augment, noise = Augment(), torch.Generator(device)
    for epoch in range(start, options.epochs):
        trained.train()
        noise.manual_seed(options.seed + epoch)
        for images, labels in batches(data.train, BATCH, seed=options.seed, epoch=epoch, drop_last=True):
            images = augment(to_tensor(images.to(device, non_blocking=True)), noise)
            with torch.autocast(device.type, torch.bfloat16, enabled=options.amp):
                value = loss(embedder(images), labels.to(device, non_blocking=True))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
        share = accuracy(embedder, classes, heldout, k=(1,)).top1
        print(f"epoch {epoch + 1}: loss {value.item():.3f}, {share:.1%} right in a typeface that is held out")
        if options.checkpoint:
            save(options.checkpoint, trained, optimizer, epoch + 1)

    # A model to use: the network, its class vectors, their names, and how a picture is prepared.
    model = Recogniser(embedder, classes, data.train.label_names, data.train.preprocessing)
    folder = model.save(options.output / "model")
    print(f"use it: rootspace predict {folder} picture.png; in Python, rootspace.load({str(folder)!r})")
    after = accuracy(embedder, classes, heldout, k=(1,)).top1
    return {"start": start, "before": before, "after": after, "scale": loss.scale.item()}


def save(path: Path, trained: nn.Module, optimizer: torch.optim.Optimizer, epochs: int) -> None:
    """Weights, class vectors and the optimiser's state, whole or not at all."""
    tensors = dict(trained.state_dict())
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{name}": value for name, value in state.items()}
    with atomic_file(path) as temporary:
        save_file({name: value.contiguous() for name, value in tensors.items()}, temporary, {"epochs": str(epochs)})


def load(path: Path, trained: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Put back what `save` wrote; the number of epochs that are done."""
    state: dict[int, dict[str, Tensor]] = {}
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        epochs = int(file.metadata()["epochs"])
    for name in [name for name in tensors if name.startswith("optimizer.")]:
        _, number, what = name.split(".")
        state.setdefault(int(number), {})[what] = tensors.pop(name)
    trained.load_state_dict(tensors)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    return epochs


if __name__ == "__main__":
    main()
