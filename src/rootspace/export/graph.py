"""The whole way from pixels to labels as one module, which `torch.export` can trace."""

from __future__ import annotations

import copy
import warnings

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rootspace.data import to_tensor
from rootspace.errors import InputError
from rootspace.export.decoding import Compared, decoder
from rootspace.models import Recogniser
from rootspace.models.unknown import signals_of


class Pipeline(nn.Module):
    """uint8 pixels (B, H, W, C) -> embedding (B, n), label index (B, k), score (B, k), and known (B,) if decided.

    Labels are the k nearest classes, best first, and scores their cosines. `known` is there where the model has a
    threshold or a detector; after it comes the detector's probability (B,). Where an embedding is NaN or infinite its
    labels are -1 and it is not known.
    """

    def __init__(self, model: Recogniser, k: int) -> None:
        super().__init__()
        if not isinstance(k, int) or k < 1:
            raise InputError(f"k: expected a whole number of at least 1, got {k!r}")
        self.k = min(k, model.assignment.n_classes)
        self.embedder = copy.deepcopy(model.embedder).cpu().eval()
        self.threshold, self.detector = model.threshold, model.detector
        # a margin needs the second best
        searched = max(self.k, min(2, model.assignment.n_classes))
        # a detector's softmax is over all classes
        self.decoder = decoder(copy.deepcopy(model.assignment).cpu(), searched, compared=model.detector is not None)
        self.eval()

    def forward(self, pixels: Tensor) -> tuple[Tensor, ...]:
        embeddings = self.embedder(to_tensor(pixels)).float()
        finite = torch.isfinite(embeddings).all(dim=1)
        unit = normalize(embeddings, dim=1)
        scores, labels = self.decoder(unit)
        found = embeddings, labels.masked_fill(~finite[:, None], -1)[:, : self.k], scores[:, : self.k]
        if self.detector is not None and isinstance(self.decoder, Compared):
            checked = unit.masked_fill(~finite[:, None], 0)  # systems refuse what is not a number
            read = signals_of(self.decoder, checked, scores, labels, self.detector.names, self.detector.scale)
            return *found, self.detector.accepts(read) & finite, self.detector.probability(read)
        # a missing score is NaN, which no threshold accepts
        return found if self.threshold is None else (*found, self.threshold.accepts(scores) & finite)


def pipeline(model: Recogniser, k: int = 5) -> torch.export.ExportedProgram:
    """`Pipeline` as a graph of any batch size.

    Raises `InputError` for a backbone that cannot be traced, or a detector whose signals of the system cannot.
    """
    whole = Pipeline(model, k)
    # two images: a graph traced with one would be for one
    example = torch.zeros(2, *model.preprocessing.shape, dtype=torch.uint8)
    try:
        return _traced(whole, example)
    except Exception as error:  # tracing runs any code of the backbone, and fails in as many ways
        if whole.detector is not None and _can_be_traced_without_detector(whole, example):
            raise InputError(
                f"the detector looks at all vectors of {model.assignment.system.spec}, which has no graph for that: "
                "calibrate it again with signals=('cosine', 'margin', 'probability')"
            ) from error
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the backbone {type(model.embedder.backbone).__name__} cannot be traced for every batch size: {reason}; "
            "what torch.export.export accepts can be exported"
        ) from error


def _traced(whole: Pipeline, example: Tensor) -> torch.export.ExportedProgram:
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.export.export(whole, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))


def _can_be_traced_without_detector(whole: Pipeline, example: Tensor) -> bool:
    whole.detector = None
    try:
        _traced(whole, example)
    except Exception:
        return False
    return True
