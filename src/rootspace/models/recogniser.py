"""A trained model in use: images in, names of classes with scores out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rootspace.assign import Assignment
from rootspace.data import ImageSet, Preprocessing, read_image, to_tensor
from rootspace.errors import InputError
from rootspace.models.embedder import Embedder

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 256

Images = np.ndarray | Tensor | Sequence["str | Path | Image"]


@dataclass(frozen=True)
class Threshold:
    """An image is of a known class where its best cosine is at least `cosine` and leads the second best by at
    least `margin`; of the validation images of known classes, `false_rejection` were (wrongly) refused.
    """

    cosine: float
    margin: float
    false_rejection: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not isinstance(value, (int, float)) or not -1 <= value <= 2:
                raise InputError(f"threshold {name}: expected a number, got {value!r}")

    def accepts(self, scores: Tensor) -> Tensor:
        """(..., k) cosines, best first -> (...,) bool.

        >>> Threshold(0.5, 0.1, 0.05).accepts(torch.tensor([[0.9, 0.2], [0.9, 0.85], [0.4, 0.1]])).tolist()
        [True, False, False]
        """
        return (scores[..., 0] >= self.cosine) & (_margin(scores) >= self.margin)


@dataclass(frozen=True)
class Prediction:
    """The best classes of one image: `labels` and their cosines `scores`, best first, as long as asked for.

    `known` is False where the image is probably of none of the classes.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    ids: tuple[int, ...]
    known: bool

    @property
    def label(self) -> str | None:
        """The best label, or None for none of the known."""
        return self.labels[0] if self.known else None


class Recogniser(nn.Module):
    """An embedder with the class vectors it was trained to, their names, and how to prepare an image.

    Raises `InputError` where the number of names or the dimensions disagree.
    """

    def __init__(
        self,
        embedder: Embedder,
        assignment: Assignment,
        label_names: Sequence[str],
        preprocessing: Preprocessing,
        threshold: Threshold | None = None,
    ) -> None:
        super().__init__()
        if len(label_names) != assignment.n_classes:
            raise InputError(
                f"recogniser: expected {assignment.n_classes} label names, one a class, got {len(label_names)}"
            )
        if embedder.dim != assignment.system.dim:
            raise InputError(
                f"recogniser: the embedder gives {embedder.dim} coordinates, the system "
                f"{assignment.system.spec} has {assignment.system.dim}"
            )
        self.embedder, self.assignment = embedder, assignment
        self.label_names = tuple(str(name) for name in label_names)
        self.preprocessing, self.threshold = preprocessing, threshold
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Standardised images (B, C, H, W) to embeddings (B, dim)."""
        return self.embedder(images)

    @torch.no_grad()
    def embed(self, images: Images) -> Tensor:
        """Embeddings (B, dim) float32 of uint8 images (B, H, W, C), or of files or PIL images.

        Files and PIL images are prepared as the training images were. An unreadable file, or images of another
        shape or dtype than the model takes, are an `InputError`.
        """
        was_training = self.training
        self.eval()
        try:
            parts = [self.embedder(part).float() for part in self._prepared(images)]
        finally:
            self.train(was_training)
        return torch.cat(parts) if parts else torch.zeros(0, self.embedder.dim, device=self._device)

    @torch.no_grad()
    def predict(self, images: Images, k: int = 5) -> list[Prediction]:
        """The k nearest classes of each image (fewer where there are fewer classes); input as `embed`."""
        if not isinstance(k, int) or k < 1:
            raise InputError(f"k: expected a whole number of at least 1, got {k!r}")
        embeddings = self.embed(images)
        if not bool(torch.isfinite(embeddings).all()):
            raise InputError("the embeddings hold NaN or infinity; the model was trained badly or is damaged")
        found = []
        for part in embeddings.split(BATCH):
            scores, ids = self.assignment.nearest(part, self._at_least_two(k))
            known = self.threshold.accepts(scores) if self.threshold else torch.ones(len(part), dtype=torch.bool)
            for row_scores, row_ids, row_known in zip(
                scores[:, :k].tolist(), ids[:, :k].tolist(), known.tolist(), strict=True
            ):
                labels = tuple(self.label_names[number] for number in row_ids)
                found.append(Prediction(labels, tuple(row_scores), tuple(row_ids), row_known))
        return found

    @torch.no_grad()
    def calibrate(self, validation: ImageSet, false_rejection: float = 0.05) -> Threshold:
        """Set and return the strictest `threshold` that refuses at most that share of `validation`.

        Cosine and margin are cut at the same quantile, the highest for which both together stay within the share.
        """
        if not 0 <= false_rejection < 1:
            raise InputError(f"false_rejection: expected a share in [0, 1), got {false_rejection!r}")
        if len(validation) == 0:
            raise InputError("calibration: expected validation images of known classes, got none")
        parts = []
        for start in range(0, len(validation), BATCH):
            positions = np.arange(start, min(start + BATCH, len(validation)))
            embeddings = self.embed(validation.images_at(positions))
            parts.append(self.assignment.nearest(embeddings, self._at_least_two(1))[0].cpu())
        scores = torch.cat(parts)
        self.threshold = choose_threshold(scores, false_rejection)
        return self.threshold

    def save(self, folder: str | Path) -> Path:
        """Write the model to `folder`, whole or not at all: see `rootspace.models.folder`."""
        from rootspace.models.folder import save

        return save(self, Path(folder))

    @property
    def _device(self) -> torch.device:
        return self.embedder.projection.weight.device

    def _at_least_two(self, k: int) -> int:
        return min(max(k, 2), self.assignment.n_classes)  # the margin needs the second best

    def _prepared(self, images: Any) -> list[Tensor]:
        """Standardised float images in parts of at most BATCH, on the model's device."""
        if isinstance(images, (str, Path)):
            images = [images]
        starts = range(0, len(images), BATCH)
        if isinstance(images, (np.ndarray, Tensor)):
            self._check_pixels(images)
            parts = (images[start : start + BATCH] for start in starts)
        else:
            parts = (np.stack([self._cell(image) for image in images[s : s + BATCH]]) for s in starts)
        return [to_tensor(part).to(self._device) for part in parts]

    def _cell(self, image: Any) -> np.ndarray:
        picture = read_image(image) if isinstance(image, (str, Path)) else image
        return self.preprocessing.apply(picture)

    def _check_pixels(self, images: np.ndarray | Tensor) -> None:
        expected = (self.preprocessing.size, self.preprocessing.size, self.preprocessing.channels)
        if str(images.dtype).removeprefix("torch.") != "uint8" or tuple(images.shape[1:]) != expected:
            raise InputError(
                f"images: expected uint8 (B, {', '.join(map(str, expected))}), got {images.dtype} {tuple(images.shape)}"
            )


def choose_threshold(scores: Tensor, false_rejection: float) -> Threshold:
    """The strictest threshold that refuses at most a share of images with cosines (N, k), best first.

    >>> scores = torch.tensor([[0.9, 0.1], [0.8, 0.1], [0.7, 0.1], [0.2, 0.1]])
    >>> found = choose_threshold(scores, 0.25)
    >>> round(found.cosine, 3), round(found.margin, 3), found.false_rejection
    (0.7, 0.6, 0.25)
    """
    best, margin = scores[:, 0].sort().values, _margin(scores).sort().values

    def at(quantile: int) -> Threshold:
        cut = Threshold(float(best[quantile]), float(margin[quantile]), 0.0)
        refused = 1 - float(cut.accepts(scores).double().mean())
        return Threshold(cut.cosine, cut.margin, round(refused, 9))

    low, high = 0, len(scores) - 1  # the share refused grows with the quantile: halve the interval
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if at(middle).false_rejection <= false_rejection else (low, middle - 1)
    return at(low)


def _margin(scores: Tensor) -> Tensor:
    if scores.shape[-1] < 2:
        return torch.full_like(scores[..., 0], 2.0)  # a single class has no rival: the largest difference
    return scores[..., 0] - scores[..., 1]
