"""Images to embeddings, batch by batch, in memory or straight into a file."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from rootspace.data import to_tensor
from rootspace.errors import InputError
from rootspace.files import atomic_file

Embed = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]


class Images(Protocol):
    """What is needed of a `rootspace.data.ImageSet`."""

    @property
    def labels(self) -> np.ndarray: ...

    @property
    def n_classes(self) -> int: ...

    def __len__(self) -> int: ...

    def images_at(self, positions: np.ndarray) -> np.ndarray: ...


def embed_all(
    embed: Embed,
    image_set: Images,
    *,
    batch_size: int = 512,
    device: torch.device | str | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    autocast: torch.dtype | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Embed every image: returns (embeddings (N, dim) float32, labels (N,) int64), in the set's order.

    `embed` maps standardised images (B, C, H, W) to embeddings (B, dim); a module is put into evaluation
    mode for the time being. With `out`, embeddings go into that .npy file as they are made, memory holds one
    batch, and what is returned is the file opened as a read-only memory map. An interrupted run leaves no
    file. `progress(done, total)` is called after every batch. `autocast`: compute in this precision where that loses
    little (`torch.autocast`), such as bfloat16 on a GPU.

    Raises `InputError` for an empty set and for embeddings that are NaN or infinite.
    """
    total = len(image_set)
    labels = np.array(image_set.labels, dtype=np.int64)

    def batches() -> Iterator[tuple[int, Tensor]]:
        return stream(embed, image_set, batch_size=batch_size, device=device, progress=progress, autocast=autocast)

    if out is None:
        embeddings: np.ndarray | None = None
        for start, batch in batches():
            if embeddings is None:
                embeddings = np.empty((total, batch.shape[1]), dtype=np.float32)
            embeddings[start : start + len(batch)] = batch.cpu().numpy()
        assert embeddings is not None  # for the type checker: an empty set has raised
        return embeddings, labels
    out = Path(out)
    with atomic_file(out) as temporary:
        target: np.memmap | None = None
        for start, batch in batches():
            if target is None:
                shape = (total, batch.shape[1])
                target = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
            target[start : start + len(batch)] = batch.cpu().numpy()
        assert target is not None  # for the type checker: an empty set has raised
        target.flush()
        del target
    return np.load(out, mmap_mode="r", allow_pickle=False), labels


def stream(
    embed: Embed,
    image_set: Images,
    *,
    batch_size: int = 512,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
    autocast: torch.dtype | None = None,
) -> Iterator[tuple[int, Tensor]]:
    """Yield (position of the first image, embeddings (B, dim) float32 on the device) a batch; see `embed_all`."""
    total = len(image_set)
    if total == 0:
        raise InputError("evaluation: expected at least one image, got an empty set; check the split or folder")
    if batch_size < 1:
        raise InputError(f"batch_size: expected at least 1, got {batch_size}")
    where = torch.device(device) if device is not None else device_of(embed)
    with _evaluating(embed):
        for start in range(0, total, batch_size):
            positions = np.arange(start, min(start + batch_size, total))
            # not held across the yield: the caller's own grad mode must stay the caller's
            precision = torch.autocast(where.type, autocast) if autocast is not None else contextlib.nullcontext()
            with torch.inference_mode(), precision:
                embeddings = embed(to_tensor(image_set.images_at(positions), where)).float()
            if embeddings.ndim != 2 or len(embeddings) != len(positions):
                raise InputError(
                    f"embedder: expected embeddings of shape ({len(positions)}, dim), got {tuple(embeddings.shape)}"
                )
            check_finite(embeddings, first=start)
            yield start, embeddings
            if progress is not None:
                progress(start + len(positions), total)


def check_finite(embeddings: Tensor, first: int = 0) -> None:
    """Raise `InputError` naming the first sample (counted from `first`) whose embedding is not finite."""
    if not torch.isfinite(embeddings).all():
        bad = int((~torch.isfinite(embeddings).all(dim=-1)).nonzero()[0]) + first
        raise InputError(
            f"embeddings: expected finite numbers, got NaN or infinity in sample {bad}; "
            "train with a lower learning rate or without mixed precision, or check the input"
        )


def check_embeddings(
    embeddings: np.ndarray | Tensor, labels: np.ndarray | Tensor, what: str, empty: bool = False
) -> None:
    """Raise `InputError` unless embeddings are (N, dim) and labels (N,) with N >= 1, or >= 0 if it may be empty."""
    if embeddings.ndim != 2 or labels.ndim != 1 or len(embeddings) != len(labels):
        raise InputError(
            f"{what}: expected embeddings (N, dim) and labels (N,), "
            f"got {tuple(embeddings.shape)} and {tuple(labels.shape)}"
        )
    if len(embeddings) == 0 and not empty:
        raise InputError(f"{what}: expected at least one embedding, got an empty set")


def as_tensor(values: np.ndarray | Tensor) -> Tensor:
    """An array or tensor as a tensor; a read-only memory map is read, not written to."""
    if isinstance(values, Tensor):
        return values.detach()
    # a copy of the slice at hand: torch must not share memory with a read-only array
    return torch.from_numpy(np.array(values))


def device_of(part: object) -> torch.device:
    """Where a module's first parameter or buffer lies; the CPU for what is no module, or holds nothing."""
    if isinstance(part, nn.Module):
        for tensor in (*part.parameters(), *part.buffers()):
            return tensor.device
    return torch.device("cpu")


@contextlib.contextmanager
def _evaluating(embed: Embed) -> Iterator[None]:
    if not isinstance(embed, nn.Module):
        yield
        return
    # each part gets its own mode back: a frozen backbone may be in evaluation mode inside a training model
    training = [module for module in embed.modules() if module.training]
    embed.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
