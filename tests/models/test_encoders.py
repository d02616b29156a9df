"""Encoders and the embedder: shapes, small batches, any backbone, configuration round trip."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rootspace.errors import InputError
from rootspace.models import ENCODERS, Embedder, SmallConv, SmallViT, build, embedder_from

SMALL: dict[str, dict[str, Any]] = {
    "small_conv": {"name": "small_conv", "width": 4, "depth": 2},
    "small_vit": {"name": "small_vit", "width": 8, "depth": 2, "heads": 2, "patch": 4, "dropout": 0.1},
}


def test_every_encoder_is_tried() -> None:
    assert SMALL.keys() == {name for name, kind in ENCODERS.items() if not getattr(kind, "takes_texts", False)}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("normalise", ["none", "batch"])
@pytest.mark.parametrize("batch", [0, 1, 3])
def test_shapes_in_evaluation(name: str, normalise: str, batch: int) -> None:
    embedder = Embedder(build(SMALL[name]), 7, normalise=normalise).eval()
    assert embedder(torch.zeros(batch, 1, 32, 32)).shape == (batch, 7)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("side", [16, 32, 48, 64])
def test_other_sides_and_channels(name: str, side: int) -> None:
    encoder = build({**SMALL[name], "in_channels": 3})
    assert encoder(torch.zeros(2, 3, side, side)).shape == (2, encoder.feature_dim)


@pytest.mark.parametrize("name", SMALL)
def test_each_image_by_itself_in_evaluation(name: str) -> None:
    embedder = Embedder(build(SMALL[name]), 7, normalise="batch").eval()
    images = torch.randn(4, 1, 32, 32)
    apart = torch.cat([embedder(image[None]) for image in images])
    torch.testing.assert_close(embedder(images), apart, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    embedder = Embedder(build(SMALL[name]), 7)
    embedder(torch.randn(4, 1, 32, 32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in embedder.parameters())


def test_batch_normalisation_of_the_embedding() -> None:
    embedder = Embedder(build(SMALL["small_conv"]), 7, normalise="batch")
    found = embedder(torch.randn(64, 1, 32, 32))
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(7), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.var(dim=0, unbiased=False), torch.ones(7), atol=1e-2, rtol=0)
    assert torch.isfinite(embedder(torch.randn(1, 1, 32, 32))).all()  # a single sample while training


@pytest.mark.parametrize("name", SMALL)
def test_configuration_round_trip(name: str) -> None:
    embedder = Embedder(build(SMALL[name]), 7, normalise="batch")
    again = embedder_from(embedder.config())
    assert again.config() == embedder.config()
    again.load_state_dict(embedder.state_dict())
    images = torch.randn(2, 1, 32, 32)
    assert torch.equal(again.eval()(images), embedder.eval()(images))


class Gives(nn.Module):
    """A backbone whose features have a given shape behind the batch."""

    def __init__(self, *shape: int, wrapped: bool = False) -> None:
        super().__init__()
        self.shape, self.wrapped = shape, wrapped

    def forward(self, images: Tensor) -> Any:
        features = torch.ones(len(images), *self.shape) * images.mean()
        if not self.wrapped:
            return features
        return type("Output", (), {"last_hidden_state": features})()


@pytest.mark.parametrize("backbone", [Gives(6), Gives(6, 3, 2), Gives(9, 6), Gives(9, 6, wrapped=True)])
def test_any_backbone(backbone: nn.Module) -> None:
    embedder = Embedder(backbone, 5, feature_dim=6)
    assert embedder(torch.ones(2, 1, 8, 8)).shape == (2, 5)
    described = embedder.config()["backbone"]
    assert described["name"] == "custom"
    assert described["type"].endswith("Gives")
    with pytest.raises(InputError, match=r"has a backbone of its own .*Gives"):
        embedder_from(embedder.config())
    assert embedder_from(embedder.config(), backbone).config() == embedder.config()


@pytest.mark.parametrize("name", ["feature_dim", "num_features"])
def test_feature_dim_is_found(name: str) -> None:
    backbone = Gives(6)
    setattr(backbone, name, 6)
    assert Embedder(backbone, 5).feature_dim == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Embedder(Gives(6), 5), "feature_dim=..."),
        (lambda: Embedder(SmallConv(width=4), 0), "embedder dim: expected"),
        (lambda: Embedder(SmallConv(width=4), 5, normalise="layer"), "normalise: expected one of"),
        (lambda: Embedder(Gives(), 5, feature_dim=6)(torch.ones(2, 1, 8, 8)), r"expected features \(B, F\)"),
        (lambda: SmallConv(width=0), "small_conv width: expected"),
        (lambda: SmallConv(width=10**9), "small_conv width: expected"),
        (lambda: SmallViT(size=30), "size divisible by patch"),
        (lambda: SmallViT(dropout=1.0), "small_vit dropout: expected"),
        (lambda: build({"name": "resnet"}), "no encoder is called 'resnet'; the nearest are resnet"),
        (lambda: build({"width": 4}), "expected an object with a name"),
        (lambda: build({"name": "small_conv", "wide": 4}), "wide"),
        (lambda: embedder_from({"backbone": SMALL["small_conv"], "dims": 4}), "dims"),
        (lambda: embedder_from({"backbone": SMALL["small_conv"], "dim": 4}, Gives(6)), "do not give another"),
    ],
)
def test_bad_input(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()
