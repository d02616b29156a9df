"""The command that turns a model folder into one file for other runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from rootspace.cli.options import MODEL, PATH, Command, option
from rootspace.errors import InputError

if TYPE_CHECKING:
    from rootspace.models import Recogniser

_SUFFIXES = {".onnx": "onnx", ".pt2": "torch"}


@click.command(
    cls=Command,
    short_help="Write a model as an ONNX or torch.export file.",
    examples=(
        "rootspace export runs/photos/model --output photos.onnx",
        "rootspace export runs/photos/model --output photos.pt2 -k 1",
    ),
)
@MODEL
@option("--output", type=PATH, required=True, help="The file to write: .onnx, or .pt2 for torch.export.")
@option("--format", "kind", type=click.Choice(["onnx", "torch"]), help="What to write.  [default: by the file's name]")
@option("-k", default=5, type=click.IntRange(min=1), help="How many labels for an image.")
@option("--opset", type=click.IntRange(min=1), help="The ONNX operator set, 18 to 23.  [default: 20]")
def export(model: Path, output: Path, kind: str | None, k: int, opset: int | None) -> None:
    """Write MODEL as one graph from pixels to labels, with the exact decoding, for runtimes without rootspace.

    Input: uint8 pixels (batch, height, width, channels). Outputs: embedding, label (numbers, best first), score
    (cosines), known, if the model has a threshold, and probability, if it has a detector. The file holds the label
    names too.
    """
    kind = kind or _SUFFIXES.get(output.suffix)
    if kind is None:
        raise InputError(f"{output}: expected a name that ends in {' or '.join(_SUFFIXES)}, or --format")
    if opset is not None and kind != "onnx":
        raise InputError("--opset is for ONNX files; leave it out")
    from rootspace import models
    from rootspace.export import OPSET, to_onnx, to_torch

    recogniser = models.load(model)
    if not recogniser.calibrated:
        click.echo(_uncalibrated(recogniser), err=True)
    if kind == "onnx":
        written = to_onnx(recogniser, output, k, OPSET if opset is None else opset)
    else:
        written = to_torch(recogniser, output, k)
    classes = f" for {recogniser.assignment.n_classes:,} classes"
    for path in written:
        click.echo(f"{path}: {path.stat().st_size:,} bytes{classes if path == output else ' of label names'}")


def _uncalibrated(model: Recogniser) -> str:
    if model.threshold is None:
        what = "the model has no threshold, so the file has no output 'known'"
    else:
        what = "the model's threshold was set for fewer classes, so the output 'known' is not to be trusted"
    return f"warning: {what}; calibrate the model before, if you need it (Recogniser.calibrate)"
