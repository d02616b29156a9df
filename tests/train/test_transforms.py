"""Transforms of torchvision and other callables as augmentation."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rootspace.errors import InputError
from rootspace.train import TrainConfig, Transform, fit

v2 = pytest.importorskip("torchvision.transforms.v2")
TINY = runpy.run_path(str(Path(__file__).with_name("tiny_run.py")))


def images(channels: int = 3, count: int = 6) -> Tensor:
    return torch.rand(count, channels, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("values", ["float", "uint8"])
@pytest.mark.parametrize("batch", [False, True])
def test_what_changes_nothing(values: str, batch: bool) -> None:
    found = Transform(nn.Identity(), batch, values)(images(), seeded(0))
    torch.testing.assert_close(found, images(), atol=1e-6 if values == "float" else 0.5 / 127.5 + 1e-6, rtol=0)


@pytest.mark.parametrize(("values", "dtype"), [("float", torch.float32), ("uint8", torch.uint8)])
@pytest.mark.parametrize(("batch", "ndim"), [(False, 3), (True, 4)])
def test_what_the_transform_is_given(values: str, dtype: torch.dtype, batch: bool, ndim: int) -> None:
    given = []

    def look(picture: Tensor) -> Tensor:
        given.append(picture.clone())
        return picture

    Transform(look, batch, values)(images(), seeded(0))
    assert len(given) == (1 if batch else 6)
    assert all(one.dtype == dtype and one.ndim == ndim for one in given)
    whole = torch.cat([one if batch else one[None] for one in given]).float()
    torch.testing.assert_close(
        whole / (255 if values == "uint8" else 1), (images() + 1) / 2, atol=0.5 / 255 + 1e-6, rtol=0
    )


def test_bytes_in_floats_out() -> None:
    """The scale is that of what comes back."""
    halved = Transform(lambda picture: picture.float() / 255, values="uint8")(images(), seeded(0))
    torch.testing.assert_close(halved, images(), atol=0.5 / 127.5 + 1e-6, rtol=0)


@pytest.mark.parametrize("values", ["float", "uint8"])
@pytest.mark.parametrize("batch", [False, True])
def test_of_torchvision(values: str, batch: bool) -> None:
    changes = v2.Compose([v2.RandomResizedCrop(12, scale=(0.3, 0.9), antialias=True), v2.ColorJitter(0.5, 0.5, 0.5)])
    transform = Transform(changes, batch, values)
    found = transform(images(), seeded(5))
    assert found.shape == (6, 3, 12, 12)
    assert found.dtype == torch.float32
    assert -1 <= found.min() < found.max() <= 1
    assert torch.equal(found, transform(images(), seeded(5)))
    assert not torch.equal(found, transform(images(), seeded(6)))


def test_one_draw_an_image_or_one_a_batch() -> None:
    same = images(count=1).expand(8, -1, -1, -1)
    crop = v2.RandomCrop(6)
    apart, together = (Transform(crop, batch)(same, seeded(0)) for batch in (False, True))
    assert any(not torch.equal(one, apart[0]) for one in apart)
    assert all(torch.equal(one, together[0]) for one in together)


def test_a_generator_goes_on() -> None:
    generator, transform = seeded(0), Transform(v2.RandomCrop(6))
    assert not torch.equal(transform(images(), generator), transform(images(), generator))


def test_global_generators_stay_as_they_were() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    Transform(v2.RandomCrop(6))(images(), seeded(0))
    assert torch.equal(torch.rand(4), expected)


def test_the_images_given_are_not_changed() -> None:
    given = images()
    Transform(lambda picture: picture.zero_())(given, seeded(0))
    assert torch.equal(given, images())


def test_no_images() -> None:
    assert Transform(v2.RandomCrop(6))(images(count=0), seeded(0)).shape == (0, 3, 16, 16)


class Plain:
    def __call__(self, picture: Tensor) -> Tensor:
        return picture


def test_identity_is_the_same_in_another_process() -> None:
    assert repr(Transform(Plain())) == f"Transform(<{Plain.__module__}.Plain object>, batch=False, values='float')"
    assert repr(Transform(v2.RandomCrop(6))) != repr(Transform(v2.RandomCrop(7)))
    assert "\n" not in repr(Transform(v2.Compose([v2.RandomCrop(6), v2.ColorJitter(0.5)])))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Transform("crop"), "expected a callable"),  # type: ignore[arg-type]
        (lambda: Transform(Plain(), values="half"), "values: expected one of float, uint8"),
        (lambda: Transform(Plain(), batch=1), "batch: expected True or False"),  # type: ignore[arg-type]
        (lambda: Transform(lambda picture: None)(images(), seeded(0)), r"\(3, 16, 16\), got NoneType"),
        (lambda: Transform(torch.flatten)(images(), seeded(0)), r"got \(768,\)"),
        (lambda: Transform(lambda batch: batch[:1], batch=True)(images(), seeded(0)), r"got \(1, 3, 16, 16\)"),
        (lambda: Transform(lambda picture: picture.int())(images(), seeded(0)), "float or uint8, got torch.int32"),
        (
            lambda: Transform(lambda picture: picture[..., : 4 + int(12 * torch.rand(()))])(images(), seeded(0)),
            "images of one size",
        ),
    ],
)
def test_errors(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize(
    ("change", "values"),
    [
        (v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "float"),
        (v2.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)), "float"),
        (v2.ToDtype(torch.float32), "uint8"),
    ],
)
def test_floats_that_are_no_colours(change: Any, values: str, batch: bool) -> None:
    with pytest.raises(InputError, match=r"floats in \[0, 1\], got .*leave Normalize out.*scale=True"):
        Transform(change, batch, values)(images(), seeded(0))


def test_only_the_first_batch_is_looked_at_and_a_little_outside_is_clipped() -> None:
    shift = [0.2]
    transform = Transform(lambda picture: picture + shift[0], batch=True)
    assert transform(images(), seeded(0)).max() == 1
    shift[0] = 5.0
    assert (transform(images(), seeded(0)) == 1).all()
    scaled = Transform(v2.ToDtype(torch.float32, scale=True), values="uint8")
    torch.testing.assert_close(scaled(images(), seeded(0)), images(), atol=0.5 / 127.5 + 1e-6, rtol=0)


def test_a_run_repeats_itself_and_knows_its_transform(tmp_path: Path) -> None:
    def run(output: Path | None, size: int = 14, resume: bool = False) -> dict[str, Tensor]:
        embedder, loss = TINY["model"]()
        config = TrainConfig(epochs=1, batch_size=40, device="cpu")
        augment = Transform(v2.RandomResizedCrop(size, antialias=True), values="uint8")
        fit(embedder, loss, TINY["images"](), config, output=output, augment=augment, resume=resume, progress=False)
        return embedder.state_dict()

    first, second = run(tmp_path), run(None)
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(InputError, match="its augment differs"):
        run(tmp_path, size=12, resume=True)
