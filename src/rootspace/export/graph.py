"""The whole way from pixels to labels as one module, which `torch.export` can trace."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rootspace.data import to_tensor
from rootspace.errors import InputError
from rootspace.export.decoding import decoder
from rootspace.models import Recogniser


class Pipeline(nn.Module):
    """uint8 pixels (B, H, W, C) -> embedding (B, n), label index (B, k), score (B, k), and known (B,) if decided.

    Labels are the k nearest classes, best first, and scores their cosines. `known` is there where the model has a
    threshold. Where an embedding is NaN or infinite its labels are -1 and it is not known.
    """

    def __init__(self, model: Recogniser, k: int) -> None:
        super().__init__()
        if not isinstance(k, int) or k < 1:
            raise InputError(f"k: expected a whole number of at least 1, got {k!r}")
        self.k = min(k, model.assignment.n_classes)
        self.embedder, self.threshold = copy.deepcopy(model.embedder).cpu().eval(), model.threshold
        # a margin needs the second best
        searched = max(self.k, min(2, model.assignment.n_classes))
        self.decoder = decoder(copy.deepcopy(model.assignment).cpu(), searched)
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        embeddings = self.embedder(to_tensor(pixels)).float()
        finite = torch.isfinite(embeddings).all(dim=1)
        scores, labels = self.decoder(normalize(embeddings, dim=1))
        found = embeddings, labels.masked_fill(~finite[:, None], -1)[:, : self.k], scores[:, : self.k]
        # a missing score is NaN, which no threshold accepts
        return found if self.threshold is None else (*found, self.threshold.accepts(scores) & finite)


def pipeline(model: Recogniser, k: int = 5) -> torch.export.ExportedProgram:
    """`Pipeline` as a graph of any batch size. Raises `InputError` for a backbone that cannot be traced."""
    if model.detector is not None:
        raise InputError(
            "this model decides about unknown classes by a detector, which has no graph; calibrate it again without "
            "images of other classes (it then has a threshold), or set its detector to None"
        )
    whole = Pipeline(model, k)
    size, channels = model.preprocessing.size, model.preprocessing.channels
    # two images: a graph traced with one would be for one
    example = torch.zeros(2, size, size, channels, dtype=torch.uint8)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(whole, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    except Exception as error:  # tracing runs any code of the backbone, and fails in as many ways
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the backbone {type(model.embedder.backbone).__name__} cannot be traced for every batch size: {reason}; "
            "what torch.export.export accepts can be exported"
        ) from error
