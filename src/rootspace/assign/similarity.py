"""Vectors that follow the data: similar classes get similar vectors, so the encoder need not tear them apart.

The means of the classes' features are brought to n dimensions, by whitening or by linear discriminants, and turned
by a random rotation; then each class gets the nearest vector that is free. In a system with far more vectors than
classes that vector is near indeed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from rootspace.assign.free import nearest_free
from rootspace.assign.table import TableAssignment
from rootspace.errors import InputError
from rootspace.systems import VectorSystem

#: Components whose standard deviation is below this share of the largest are noise and are left out.
FLOOR = 1e-3

#: Rows that are worked on at a time.
ROWS = 2**16

#: How much of the mean variance within classes is added in every direction before discriminants are computed.
SHRINKAGE = 0.1


def by_similarity(
    system: VectorSystem,
    class_means: Tensor,
    generator: torch.Generator | None = None,
    within: Tensor | None = None,
) -> TableAssignment:
    """Give each class a free vector near its mean, whitened or, where `within` is given, in discriminants.

    class_means: float (n_classes, d), one row per class: means of pooled pixels, or of any features. within: the
    covariance (d, d) of single samples about their class's mean. `generator` (on the CPU) draws the rotation.
    Raises `InputError` for NaN, a wrong shape, or more classes than vectors.
    """
    if within is None:
        directions = whiten(class_means, system.dim, generator)
    else:
        directions = discriminants(class_means, within, system.dim, generator)
    return TableAssignment(system, nearest_free(system, directions))


def whiten(features: Tensor, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Centre rows, give their leading principal components equal variance, and rotate at random.

    (N, d) -> unit rows, float32 (N, dim), on the features' device. Components with next to no variance (`FLOOR`)
    are left out. Where fewer than `dim` components exist, the rows fill a random subspace.
    """
    return _projected(features, *whitening_axes(features, dim, generator))


def whitening_axes(features: Tensor, dim: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """The map behind `whiten`: the centre (d,) to subtract and the axes (d, dim) to project on, float64."""
    centre, covariance = _moments(features)
    deviations, axes = _leading(covariance, dim)
    return centre, _turned(axes / deviations, dim, generator)


def discriminants(class_means: Tensor, within: Tensor, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Class means in the n directions that tell classes apart best, in units of the spread within a class, rotated.

    (N, d) and the covariance within classes (d, d) -> unit rows, float32 (N, dim). What differs between samples of
    one class weighs little, and distances are in the units in which samples scatter. Without any spread within
    classes (one sample each) this is `whiten`.
    """
    if not has_scatter(class_means, within):
        return whiten(class_means, dim, generator)
    return _projected(class_means, *discriminant_axes(class_means, within, dim, generator))


def discriminant_axes(
    class_means: Tensor, within: Tensor, dim: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """The map behind `discriminants`: the centre (d,) to subtract and the axes (d, dim) to project on, float64.

    Fisher's linear discriminants (R. A. Fisher, Annals of Eugenics 7, 1936) with a shrunk covariance (`SHRINKAGE`).
    """
    centre, between = _moments(class_means)
    within = within.double()
    level = within.diagonal().mean()
    values, axes = torch.linalg.eigh(within + SHRINKAGE * level * torch.eye(len(within)).to(within))
    even = axes / values.sqrt()  # in these coordinates samples scatter alike in every direction
    _, leading = _leading(even.T @ between @ even, dim)
    return centre, _turned(even @ leading, dim, generator)


def has_scatter(class_means: Tensor, within: Tensor) -> bool:
    """Whether samples differ from their class's mean at all; `InputError` for a covariance of the wrong shape."""
    d = class_means.shape[-1]
    if within.shape != (d, d) or not bool(torch.isfinite(within).all()):
        raise InputError(f"the covariance within classes should be finite and of shape ({d}, {d}), got {within.shape}")
    return bool(within.diagonal().mean() > 1e-12 * class_means.var(0, correction=0).mean())


def _moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and covariance (d, d) of rows, in float64; `InputError` for a wrong shape, NaN or infinity."""
    if features.ndim != 2 or not len(features):
        raise InputError(f"features of classes have shape (n_classes, d), got {tuple(features.shape)}")
    if not bool(torch.isfinite(features).all()):
        raise InputError("features of classes hold NaN or infinity")
    # some rows at a time: a float64 copy of all of them would be the largest thing in memory
    parts = features.split(ROWS)
    centre = torch.stack([part.double().sum(0) for part in parts]).sum(0) / len(features)
    covariance = features.new_zeros(features.shape[1], features.shape[1]).double()
    for part in parts:
        centred = part.double() - centre
        covariance += centred.T @ centred
    return centre, covariance / len(features)


def _leading(covariance: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Standard deviations and axes of at most `dim` leading components, at least one: (k,) and (d, k)."""
    values, axes = torch.linalg.eigh(covariance)
    deviations, axes = values.flip(0)[:dim].clamp_min(0).sqrt(), axes.flip(1)[:, :dim]
    kept = max(1, int((deviations > FLOOR * deviations[0].clamp_min(1e-30)).sum()))
    return deviations[:kept].clamp_min(1e-30), axes[:, :kept]


def _turned(axes: Tensor, dim: int, generator: torch.Generator | None) -> Tensor:
    """Axes (d, k) as a map into `dim` >= k coordinates, in a random orthonormal frame: (d, dim)."""
    frame = torch.linalg.qr(torch.randn(dim, axes.shape[1], generator=generator, dtype=torch.float64)).Q
    return axes @ frame.T.to(axes)


def _projected(features: Tensor, centre: Tensor, axes: Tensor) -> Tensor:
    """Rows less the centre, on the axes, at length 1: (N, d) -> float32 (N, dim)."""
    parts = [normalize((part.double() - centre) @ axes, dim=1).float() for part in features.split(ROWS)]
    return torch.cat(parts)
