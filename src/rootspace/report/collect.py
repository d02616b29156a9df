"""Gathering what goes into a report from data, predictions and the machine."""

from __future__ import annotations

import base64
import io
import os
import platform
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from rootspace import __version__
from rootspace.assign import Assignment
from rootspace.data import ImageSet, is_text
from rootspace.errors import InputError, require
from rootspace.evaluate import Predictions, confused_pairs
from rootspace.report.model import Confusion, Guess, Sample, SystemFacts


def picture(image: np.ndarray) -> str:
    """A uint8 image (H, W), (H, W, 1) or (H, W, 3) as a base64 PNG.

    >>> picture(np.zeros((2, 2), np.uint8))[:8]
    'iVBORw0K'
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3)):
        raise InputError(f"picture: expected uint8 (H, W[, 1 or 3]), got {image.dtype} {image.shape}")
    pil = require("PIL.Image", extra="train")
    stream = io.BytesIO()
    pil.fromarray(image[..., 0] if image.shape[2:] == (1,) else image).save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def pick_samples(
    held_out: Mapping[str, ImageSet],
    predictions: Mapping[str, Predictions],
    *,
    right: int = 12,
    wrong: int = 12,
    examples: ImageSet | None = None,
    seed: int = 0,
) -> tuple[Sample, ...]:
    """Random held-out samples, `right` correct ones then `wrong` others, spread evenly over the sources.

    `predictions[source]` are those of `held_out[source]`; `examples` (the training set) shows what the
    guessed classes look like. Fewer come back where there are fewer.
    """
    generator = np.random.default_rng(seed)
    shown = _Examples(examples)
    samples: list[Sample] = []
    for correct, wanted in ((True, right), (False, wrong)):
        queues = {
            source: generator.permutation(np.flatnonzero(predictions[source].right == correct)).tolist()
            for source in held_out
        }
        taken = 0
        while taken < wanted and any(queues.values()):
            for source, queue in queues.items():
                if queue and taken < wanted:
                    samples.append(_sample(held_out[source], predictions[source], queue.pop(), source, shown))
                    taken += 1
    return tuple(samples)


def pick_confusions(
    held_out: Mapping[str, ImageSet],
    predictions: Mapping[str, Predictions],
    *,
    limit: int = 8,
    examples: ImageSet | None = None,
) -> tuple[Confusion, ...]:
    """The pairs of classes confused most over all sources together, each with a picture of the mistake."""
    if not held_out:
        return ()
    shown = _Examples(examples)
    truth = np.concatenate([predictions[source].truth for source in held_out])
    best = np.concatenate([predictions[source].labels[:, 0] for source in held_out])
    names = next(iter(held_out.values())).label_names
    found = []
    for pair in confused_pairs(truth, best, limit):
        mistake: dict[str, str] = {}
        for source, images in held_out.items():
            hits = (predictions[source].truth == pair.true) & (predictions[source].labels[:, 0] == pair.predicted)
            if hits.any():
                mistake = _seen(images, int(np.flatnonzero(hits)[0]))
                break
        found.append(
            Confusion(
                names[pair.true],
                names[pair.predicted],
                pair.count,
                pair.total,
                **mistake,
                **_named("predicted", shown.of(pair.predicted)),
            )
        )
    return tuple(found)


def system_facts(assignment: Assignment, how: str = "") -> SystemFacts:
    """The facts about an assignment's system; `how` says in a few words how classes got their vectors.

    What is stored for a class is counted from what the assignment puts into a model's file.
    """
    system = assignment.system
    _, tensors = assignment.save()
    stored = 8 * sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    return SystemFacts(
        str(system.spec), system.size, system.dim, float(system.max_cosine),
        assignment.n_classes, stored / assignment.n_classes, how,
    )  # fmt: skip


def environment(device: torch.device | str | None = None) -> dict[str, str]:
    """What the run ran on: processor, cores, accelerator, and the versions that matter."""
    found = {
        "processor": _processor(),
        "cores": f"{os.cpu_count() or 1} ({torch.get_num_threads()} used by torch)",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "rootspace": __version__,
    }
    if device is not None:
        found["device"] = torch.device(device).type
        if found["device"] == "cuda":
            found["accelerator"] = torch.cuda.get_device_name(torch.device(device))
    return found


class _Examples:
    """The first picture or text of each class of a set, looked up when asked for."""

    def __init__(self, images: ImageSet | None) -> None:
        self._images = images
        if images is not None:
            self._classes, self._first = np.unique(images.labels, return_index=True)

    def of(self, label: int) -> dict[str, str]:
        if self._images is None:
            return {}
        at = int(np.searchsorted(self._classes, label))
        if at == len(self._classes) or self._classes[at] != label:
            return {}
        return _seen(self._images, int(self._first[at]))


def _seen(images: ImageSet, at: int) -> dict[str, str]:
    """One of the images or texts, as the fields of a sample."""
    if is_text(images.preprocessing):
        return {"text": images.texts_at([at])[0]}
    return {"picture": picture(images.images_at([at])[0])}


def _named(what: str, seen: dict[str, str]) -> dict[str, str]:
    return {f"{what}_{name}": value for name, value in seen.items()}


def _sample(images: ImageSet, found: Predictions, at: int, source: str, shown: _Examples) -> Sample:
    names = images.label_names
    guesses = tuple(
        Guess(names[int(label)], float(score)) for label, score in zip(found.labels[at], found.scores[at], strict=True)
    )
    return Sample(
        label=names[int(found.truth[at])],
        guesses=guesses,
        right=bool(found.right[at]),
        source=source,
        **{"picture": "", **_seen(images, at)},
        **_named("guess", shown.of(int(found.labels[at, 0]))),
    )


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"
