"""A trained model in use: images or texts in, names of classes with scores out; and classes added to it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from rootspace.assign import Assignment, ShuffledAssignment, TableAssignment, by_name, check_room
from rootspace.data import (
    AnyPreprocessing,
    ImageSet,
    Preprocessing,
    is_text,
    read_image,
    to_tensor,
    with_label_names,
)
from rootspace.errors import InputError
from rootspace.models.embedder import Embedder
from rootspace.models.unknown import (
    SCALE,
    Detector,
    Threshold,
    check_share,
    choose_threshold,
    fit_detector,
    signals,
)
from rootspace.systems import SpecError, VectorSystem, parse

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 256

Images = np.ndarray | Tensor | Sequence["str | Path | Image"]  # texts are strings


@dataclass(frozen=True)
class Prediction:
    """The best classes of one image: `labels` and their cosines `scores`, best first, as long as asked for.

    `known` is False where the image is probably of none of the classes; `probability` is that of being known, where
    the model has a `Detector`.
    """

    labels: tuple[str, ...]
    scores: tuple[float, ...]
    ids: tuple[int, ...]
    known: bool
    probability: float | None = None

    @property
    def label(self) -> str | None:
        """The best label, or None for none of the known."""
        return self.labels[0] if self.known else None


class Recogniser(nn.Module):
    """An embedder with the class vectors it was trained to, their names, and how to prepare an image or a text.

    Raises `InputError` where the number of names or the dimensions disagree.
    """

    def __init__(
        self,
        embedder: Embedder,
        assignment: Assignment,
        label_names: Sequence[str],
        preprocessing: AnyPreprocessing,
        threshold: Threshold | None = None,
        detector: Detector | None = None,
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
        self.preprocessing, self.threshold, self.detector = preprocessing, threshold, detector
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Standardised images (B, C, H, W) to embeddings (B, dim)."""
        return self.embedder(images)

    @torch.no_grad()
    def embed(self, images: Images) -> Tensor:
        """Embeddings (B, dim) float32 of uint8 images (B, H, W, C), or of files or PIL images; of texts where the model
        was trained on texts.

        What is no array is prepared as the training data were. An unreadable file, an empty text, pictures for a model
        of texts, and images of another shape or dtype than the model takes, are an `InputError`.
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
            known, probability = self.known(part, scores)
            probabilities = [None] * len(part) if probability is None else probability.tolist()
            for row_scores, row_ids, row_known, row_probability in zip(
                scores[:, :k].tolist(), ids[:, :k].tolist(), known.tolist(), probabilities, strict=True
            ):
                labels = tuple(self.label_names[number] for number in row_ids)
                found.append(Prediction(labels, tuple(row_scores), tuple(row_ids), row_known, row_probability))
        return found

    @torch.no_grad()
    def known(self, embeddings: Tensor, scores: Tensor) -> tuple[Tensor, Tensor | None]:
        """Whether embeddings (B, dim) with cosines (B, k), best first, are of known classes: bool (B,), and how
        probable that is, (B,), where the model has a detector. It decides alone then; without it the threshold does.

        The answers are where the embeddings are, which need not be the model's device. k must be 2 or more
        where there are as many classes.
        """
        if self.detector is not None:
            parts = [
                signals(self.assignment, part.to(self._device), self.detector.names, self.detector.scale)
                for part in embeddings.split(BATCH)  # which compares with every class
            ]
            found = {name: torch.cat([part[name] for part in parts]).to(embeddings.device) for name in parts[0]}
            return self.detector.accepts(found), self.detector.probability(found)
        if self.threshold is not None:
            return self.threshold.accepts(scores).to(embeddings.device), None
        return torch.ones(len(embeddings), dtype=torch.bool, device=embeddings.device), None

    @torch.no_grad()
    def calibrate(
        self,
        validation: ImageSet,
        false_rejection: float = 0.05,
        unknown: ImageSet | None = None,
        scale: float = SCALE,
        signals: Sequence[str] | None = None,
    ) -> Threshold:
        """Set and return the strictest `threshold` that refuses at most that share of `validation`.

        Cosine and margin are cut at the same quantile, the highest for which both together stay within the share.
        unknown: some images of other classes; with them a `detector` is fitted as well (at the loss's `scale`, on
        `signals`, by default all that are available), and `predict` decides by that, at the same share. Without them
        a detector from earlier is dropped.
        """
        check_share(false_rejection)
        if len(validation) == 0:
            raise InputError("calibration: expected validation images of known classes, got none")
        n_classes, detector = self.assignment.n_classes, None
        scores = [
            self.assignment.nearest(part, self._at_least_two(1))[0].cpu() for _, part in self._embedded(validation)
        ]
        if unknown is not None:
            known, others = (self.signals(images, signals, scale) for images in (validation, unknown))
            detector = fit_detector(known, others, false_rejection, scale, n_classes)
        self.threshold, self.detector = choose_threshold(torch.cat(scores), false_rejection, n_classes), detector
        return self.threshold

    @property
    def calibrated(self) -> bool:
        """Whether there is a threshold, and no class was added since it was set."""
        return self.threshold is not None and self.threshold.n_classes in (None, self.assignment.n_classes)

    @torch.no_grad()
    def signals(self, images: ImageSet, names: Sequence[str] | None = None, scale: float = SCALE) -> dict[str, Tensor]:
        """What says whether images are of a known class, by name: (N,) each, on the CPU; see `models.signals`."""
        parts = [signals(self.assignment, part, names, scale) for _, part in self._embedded(images)]
        if not parts:
            raise InputError("signals: expected at least one image, got none")
        return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}

    @torch.no_grad()
    def add_classes(self, names: Sequence[str], images: ImageSet | None = None) -> None:
        """Let the model know more classes, in place; the old ones keep their numbers and vectors.

        images: of the new classes, matched by name. Each new class gets the free vector nearest to the mean of its
        embeddings, so that it is recognised at once, without training. The vectors are then stored as a table, also
        where a shuffle gave them before.
        Without images a class gets a vector that says nothing about its looks, and is recognised after training only:
        the next one of the shuffle, or in a table one that its name decides.

        The threshold stays, but more classes leave less room to be none of them: `calibrated` is False until
        `calibrate` is called. Raises `InputError`, and changes nothing, for names that are known or stand twice,
        classes without an image, and more classes than the system has vectors (`enlarge`).
        """
        names = [str(name) for name in names]
        every = [*self.label_names, *names]
        if len(set(every)) < len(every):
            known = set(self.label_names)
            double = next(name for at, name in enumerate(names) if name in known or name in names[:at])
            raise InputError(f"new classes must have new names, each its own; {double!r} is known or stands twice")
        if not names:
            return
        check_room(self.assignment.system, len(every))
        grown: Assignment
        if images is not None:
            grown = TableAssignment.of(self.assignment).grown(self._mean_embeddings(names, images))
        elif isinstance(self.assignment, ShuffledAssignment):
            grown = self.assignment.grown(len(names))
        else:
            kept = TableAssignment.of(self.assignment)
            grown = by_name(kept.system, every, keep=kept)
        self.assignment, self.label_names = grown.to(self._device), tuple(every)

    @torch.no_grad()
    def enlarge(self, system: VectorSystem | str) -> None:
        """Give the model a system of more coordinates, in place, such as V22:50 after V22:41.

        Classes keep their vectors, followed by zeros, which must be vectors of the larger system too; a shuffle becomes
        a table. The new coordinates of every embedding are 0 until trained, so that all predictions stay what they
        were (and scores, to the rounding of a longer sum); in training they stay 0 until a class has a vector that
        uses them. Raises `InputError`, and changes nothing, where a padded vector is not in `system`, or `system` does
        not parse.
        """
        if isinstance(system, str):
            try:
                system = parse(system)
            except SpecError as error:
                raise InputError(f"system: {error}") from None
        self.assignment = TableAssignment.of(self.assignment).padded(system).to(self._device)
        self.embedder.enlarge(system.dim)

    def save(self, folder: str | Path) -> Path:
        """Write the model to `folder`, whole or not at all: see `rootspace.models.folder`."""
        from rootspace.models.folder import save

        return save(self, Path(folder))

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        config: None = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """`save`, with a model card: by the conventions of huggingface_hub's `ModelHubMixin`.

        model_card_kwargs: for `card.model_card`: `results`, `license`, `title`, `repo_id`. A README.md that somebody
        wrote or changed stays. With push_to_hub the folder is pushed to `repo_id` (by default its name), and the
        commit's address returned. config must be None: the configuration is the model's own, and sealed.
        """
        from rootspace.models import folder, hub

        if config is not None:
            raise InputError("config: expected None, because the model's configuration is its own")
        path = self.save(save_directory)
        folder.write_card(path, **{"repo_id": repo_id, **(model_card_kwargs or {})})
        return hub.push(path, repo_id or path.name, **push_to_hub_kwargs) if push_to_hub else None

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        backbone: nn.Module | None = None,
        device: torch.device | str = "cpu",
    ) -> Recogniser:
        """The model in a folder, or on the hub ("user/name"; revision: a branch, tag or commit): `rootspace.load`."""
        from rootspace.models import hub

        return hub.load(
            pretrained_model_name_or_path,
            backbone,
            device,
            force_download=force_download,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            revision=revision,
        )

    def push_to_hub(
        self, repo_id: str, *, config: None = None, model_card_kwargs: dict[str, Any] | None = None, **options: Any
    ) -> str:
        """Upload the model and its card to the hub, and return the commit's address; options: those of `models.push`.

        config must be None, as in `save_pretrained`, which see for model_card_kwargs.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "model"
            address = self.save_pretrained(
                folder, config=config, repo_id=repo_id, push_to_hub=True, model_card_kwargs=model_card_kwargs, **options
            )
        assert address is not None  # for the type checker: it was pushed
        return address

    def _mean_embeddings(self, names: Sequence[str], images: ImageSet) -> Tensor:
        """The direction of the mean unit embedding of each class, (len(names), n)."""
        images = with_label_names(images, names, unknown="drop")
        labels = torch.from_numpy(images.labels).to(self._device)
        counts = torch.bincount(labels, minlength=len(names))
        if bool((counts == 0).any()):
            raise InputError(f"no image of the new class {names[int(counts.argmin())]!r}; give one at least")
        sums = torch.zeros(len(names), self.embedder.dim, device=self._device)
        for start, part in self._embedded(images):
            if not bool(torch.isfinite(part).all()):
                raise InputError("the embeddings hold NaN or infinity; the model was trained badly or is damaged")
            sums.index_add_(0, labels[start : start + len(part)], normalize(part, dim=1))
        return normalize(sums, dim=1)

    def _embedded(self, images: ImageSet) -> Iterator[tuple[int, Tensor]]:
        """The position of the first image, and embeddings, BATCH at a time."""
        for start in range(0, len(images), BATCH):
            yield start, self.embed(images.images_at(np.arange(start, min(start + BATCH, len(images)))))

    @property
    def _device(self) -> torch.device:
        return self.embedder.projection.weight.device

    def _at_least_two(self, k: int) -> int:
        return min(max(k, 2), self.assignment.n_classes)  # the margin needs the second best

    def _prepared(self, images: Any) -> Iterator[Tensor]:
        """Standardised float images in parts of at most BATCH, on the model's device, each when it is asked for."""
        if isinstance(images, (str, Path)):
            images = [images]
        starts = range(0, len(images), BATCH)
        if isinstance(images, (np.ndarray, Tensor)):
            self._check_pixels(images)
            parts = (images[start : start + BATCH] for start in starts)
        else:
            parts = (self._cells(images[start : start + BATCH]) for start in starts)
        for part in parts:
            yield to_tensor(part, self._device)

    def _cells(self, given: Sequence[Any]) -> np.ndarray:
        """Texts, or files and PIL images, prepared as the training data were."""
        if is_text(self.preprocessing):
            if wrong := [one for one in given if not isinstance(one, str)]:
                raise InputError(f"this model was trained on texts: expected strings, got {wrong[0]!r:.80}")
            return self.preprocessing.cells(given)
        return np.stack([self._cell(self.preprocessing, image) for image in given])

    @staticmethod
    def _cell(preprocessing: Preprocessing, image: Any) -> np.ndarray:
        # of a text too long for a file's name `Path.exists` raises
        if isinstance(image, str) and not os.path.exists(image):
            raise InputError(f"{image:.200}: no such file; this model was trained on pictures, and takes their paths")
        return preprocessing.apply(read_image(image) if isinstance(image, (str, Path)) else image)

    def _check_pixels(self, images: np.ndarray | Tensor) -> None:
        expected = self.preprocessing.shape
        if str(images.dtype).removeprefix("torch.") != "uint8" or tuple(images.shape[1:]) != expected:
            raise InputError(
                f"images: expected uint8 (B, {', '.join(map(str, expected))}), got {images.dtype} {tuple(images.shape)}"
            )
