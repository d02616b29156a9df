"""From images to embeddings: any backbone, pooled, and projected to the dimension of the vector system."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rootspace.errors import InputError
from rootspace.models.backbones import build, check_stored

NORMALISATIONS = ("none", "batch")


class Embedder(nn.Module):
    """Images (B, C, H, W) float to embeddings (B, dim): `backbone`, mean over space or tokens, linear map.

    The backbone gives features (B, F), maps (B, F, H, W) or tokens (B, T, F). F is its `feature_dim` or
    `num_features`, or else must be given. `normalise="batch"` brings every coordinate of the embedding to mean
    0 and variance 1 over the batch, without learned scale. Raises `InputError` where F is not known.

    >>> import torch
    >>> Embedder(build({"name": "small_conv", "width": 8}), dim=5).eval()(torch.zeros(0, 1, 32, 32)).shape
    torch.Size([0, 5])
    """

    def __init__(self, backbone: nn.Module, dim: int, feature_dim: int | None = None, normalise: str = "none") -> None:
        super().__init__()
        features = feature_dim if feature_dim is not None else _feature_dim(backbone)
        for name, value in (("dim", dim), ("feature_dim", features)):
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1 << 24:
                raise InputError(f"embedder {name}: expected a whole number of at least 1, got {value!r}")
        if normalise not in NORMALISATIONS:
            raise InputError(f"normalise: expected one of {', '.join(NORMALISATIONS)}, got {normalise!r}")
        self.backbone, self.dim, self.feature_dim, self.normalise = backbone, dim, features, normalise
        self.projection = nn.Linear(features, dim)
        self.norm = nn.BatchNorm1d(dim, affine=False) if normalise == "batch" else None

    def features(self, images: Tensor) -> Tensor:
        """The backbone's pooled features: (B, C, H, W) -> (B, feature_dim)."""
        return _pool(self.backbone(images))

    def forward(self, images: Tensor) -> Tensor:
        embeddings = self.projection(self.features(images))
        if self.norm is None:
            return embeddings
        if self.training and len(embeddings) == 1:
            # one sample has no variance: use the running one
            return F.batch_norm(embeddings, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps)
        return self.norm(embeddings)

    @torch.no_grad()
    def enlarge(self, dim: int) -> None:
        """Give embeddings more coordinates, in place: `dim` in all; new ones are 0 until trained, old ones as before.

        Raises `InputError` for fewer than there are.
        """
        spare = dim - self.dim
        if spare < 0:
            raise InputError(f"embedder: has {self.dim} coordinates already, got {dim}")
        old = self.projection
        self.projection = nn.Linear(old.in_features, dim).to(old.weight)
        # exact zeros, which also leave nothing for the normalisation to magnify
        for new, before in ((self.projection.weight, old.weight), (self.projection.bias, old.bias)):
            new.zero_()
            new[: self.dim] = before
        if self.norm is not None:
            wider = nn.BatchNorm1d(dim, affine=False).to(old.weight)
            for name in ("running_mean", "running_var"):
                getattr(wider, name)[: self.dim] = getattr(self.norm, name)
            wider.num_batches_tracked = self.norm.num_batches_tracked
            self.norm = wider.train(self.norm.training)
        self.dim = dim

    def config(self) -> dict[str, Any]:
        """What `embedder_from` needs to make this embedder again, weights apart."""
        own = getattr(self.backbone, "config", None)
        kind = f"{type(self.backbone).__module__}.{type(self.backbone).__qualname__}"
        described = own() if callable(own) else None
        registered = isinstance(described, dict) and "name" in described
        return {
            "backbone": described if registered else {"name": "custom", "type": kind},
            "dim": self.dim,
            "feature_dim": self.feature_dim,
            "normalise": self.normalise,
        }


def embedder_from(config: dict[str, Any], backbone: nn.Module | None = None) -> Embedder:
    """The embedder that `config` describes; `backbone` must be given where the config names a custom one."""
    if not isinstance(config, dict) or not isinstance(config.get("backbone"), dict):
        raise InputError(f"embedder: expected an object with a backbone, got {config!r}")
    check_stored(config["backbone"])
    custom = config["backbone"].get("name") == "custom"
    if custom and backbone is None:
        raise InputError(
            f"this model has a backbone of its own ({config['backbone'].get('type')}); make one and give it "
            "as load(folder, backbone=...)"
        )
    if not custom and backbone is not None:
        raise InputError(f"this model's backbone is {config['backbone'].get('name')!r}; do not give another")
    options = {key: value for key, value in config.items() if key != "backbone"}
    try:
        return Embedder(backbone if backbone is not None else build(config["backbone"]), **options)
    except TypeError as error:
        raise InputError(f"embedder: {error}") from None


def _feature_dim(backbone: nn.Module) -> int:
    for name in ("feature_dim", "num_features"):
        value = getattr(backbone, name, None)
        if isinstance(value, int):
            return value
    raise InputError(
        f"{type(backbone).__name__} does not say how many features it gives: Embedder(..., feature_dim=...)"
    )


def _pool(features: Any) -> Tensor:
    if not isinstance(features, Tensor):
        # a Hugging Face encoder's output
        features = getattr(features, "last_hidden_state", features)
    if not isinstance(features, Tensor) or features.ndim not in (2, 3, 4):
        got = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise InputError(f"backbone: expected features (B, F), (B, F, H, W) or (B, T, F), got {got}")
    if features.ndim == 2:
        return features
    return features.mean(dim=(2, 3)) if features.ndim == 4 else features.mean(dim=1)
