"""Augmentation: each sample by itself, from its generator alone, and geometrically what it says."""

from __future__ import annotations

import pytest
import torch

from rootspace.errors import InputError
from rootspace.train import Augment, HideText

FULL = Augment(erase=0.5, flip=True)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (1, 1, 8, 8), (5, 3, 16, 12)])
def test_shape_range_and_reproducibility(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape, generator=generator()) * 2 - 1
    before = images.clone()
    found = FULL(images, generator(1))
    assert found.shape == images.shape
    assert found.dtype == images.dtype
    assert torch.equal(images, before)
    assert torch.equal(found, FULL(images, generator(1)))
    assert bool((found.abs() <= 1).all())
    assert not len(images) or not torch.equal(found, FULL(images, generator(2)))


def test_every_sample_has_its_own_parameters() -> None:
    image = torch.rand(1, 1, 16, 16, generator=generator()) * 2 - 1
    found = Augment(noise=0)(image.expand(8, 1, 16, 16), generator())
    assert len(torch.unique(found.flatten(1), dim=0)) == 8


def test_white_paper_stays_white() -> None:
    paper = torch.ones(16, 1, 16, 16)
    assert torch.allclose(Augment(noise=0, rotate=30, shift=0.3)(paper, generator()), paper, atol=1e-5)


def test_stroke_thickens_and_thins() -> None:
    images = torch.ones(64, 1, 15, 15)
    images[:, :, :, 6:9] = -1
    ink = (1 - Augment(0, 0, 0, 0, stroke=1.0, noise=0)(images, generator())).sum(dim=(1, 2, 3)) / 2
    assert ink.min() < 30 < 60 < ink.max()  # 45 pixels of ink, 15 when thinned and 75 when thickened
    assert bool((ink > 15 - 1e-3).all())
    assert bool((ink < 75 + 1e-3).all())


def test_shift_moves_by_what_it_says() -> None:
    images = torch.ones(256, 1, 21, 21)
    images[:, :, 10, 10] = -1
    found = Augment(0, 0, shift=0.25, shear=0, stroke=0, noise=0)(images, generator())
    place = ((1 - found) / 2).sum(dim=(1, 2)) @ torch.arange(21.0) - 10
    assert float(place.abs().max()) == pytest.approx(0.25 * 21, abs=0.2)


def test_flip_mirrors_about_half() -> None:
    images = torch.arange(8.0).expand(200, 1, 8, 8) / 8
    found = Augment(0, 0, 0, 0, 0, 0, flip=True)(images, generator())
    mirrored = torch.isclose(found, images.flip(-1), atol=1e-5).all(dim=(1, 2, 3))
    kept = torch.isclose(found, images, atol=1e-5).all(dim=(1, 2, 3))
    assert bool((mirrored ^ kept).all())
    assert 60 < int(mirrored.sum()) < 140


def test_erase_paints_a_rectangle_over_some() -> None:
    images = torch.ones(400, 1, 16, 16)
    found = Augment(0, 0, 0, 0, 0, 0, erase=0.5)(images, generator())
    changed = (found != 1).flatten(1).sum(dim=1)
    assert 140 < int((changed > 0).sum()) < 260
    assert int(changed.max()) <= 81


@pytest.mark.parametrize(("field", "value"), [("rotate", -1), ("stroke", 2), ("noise", float("nan")), ("shift", "a")])
def test_bad_values(field: str, value: object) -> None:
    with pytest.raises(InputError, match=f"augment {field}: expected"):
        Augment(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("own", [50, 128, 200])
@pytest.mark.parametrize("kind", [FULL, Augment(), Augment(noise=0), HideText(0.4)])
def test_a_part_of_a_batch_gets_what_it_would_get_in_the_whole(kind: Augment | HideText, own: int) -> None:
    images = torch.rand(3 * own, 1, 1 if isinstance(kind, HideText) else 8, 8, generator=generator()) * 2 - 1
    whole = kind(images, generator(1))
    starts = range(0, 3 * own, own)
    parts = [kind(images[start : start + own], generator(1), start, 3 * own) for start in starts]
    torch.testing.assert_close(torch.cat(parts), whole)
    assert not torch.equal(parts[1], kind(images[own : 2 * own], generator(1)))


def test_noise_differs_from_sample_to_sample() -> None:
    found = Augment(0, 0, 0, 0, 0, noise=0.1)(torch.zeros(400, 1, 4, 4), generator())
    assert len(torch.unique(found.flatten(1), dim=0)) == 400
