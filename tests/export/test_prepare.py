"""docs/examples/prepare.py, which users of an exported model copy, fits pictures into the cell as the package does."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from rootspace.data import Preprocessing, read_image

prepare = runpy.run_path(str(Path(__file__).resolve().parents[2] / "docs" / "examples" / "prepare.py"))["prepare"]


def pictures(folder: Path) -> list[Path]:
    """Drawings and noise of all modes, in sizes that divide nothing, one lying on its side by its EXIF."""
    random, made = np.random.default_rng(0), []
    for number, (width, height) in enumerate(((31, 50), (64, 17), (5, 3), (1, 1), (200, 133), (33, 33))):
        drawn = Image.new("L", (width, height), 230)
        ImageDraw.Draw(drawn).ellipse((width // 4, height // 5, width // 2 + 1, height - 1), fill=20, outline=0)
        noise = Image.fromarray(random.integers(0, 256, (height, width, 4), dtype=np.uint8), "RGBA")
        deep = Image.fromarray(random.integers(0, 65536, (height, width), dtype=np.uint16))
        turned = Image.Exif()
        turned[0x0112] = 6
        for name, image in (
            ("drawn", drawn),
            ("light", drawn.point(lambda value: 255 - value)),
            ("colour", Image.merge("RGB", (drawn, drawn.point(lambda value: value // 2), drawn))),
            ("alpha", noise),
            ("palette", noise.convert("RGB").quantize(16)),
            ("bits", drawn.convert("1")),
            ("deep", deep),
        ):
            image.save(folder / f"{number}-{name}.png")
            made.append(folder / f"{number}-{name}.png")
        drawn.save(folder / f"{number}.jpg", exif=turned)
        made.append(folder / f"{number}.jpg")
    return made


@pytest.mark.parametrize("fit", ["crop", "ink", "stretch"])
@pytest.mark.parametrize(("size", "channels"), [(16, 1), (33, 3), (64, 1)])
def test_it_does_the_same_to_the_byte(fit: str, size: int, channels: int, tmp_path: Path) -> None:
    own = Preprocessing(size, channels, fit)
    for path in pictures(tmp_path):
        with Image.open(path) as picture:
            found = prepare(picture, size, channels, fit)
        expected = own.apply(read_image(path))
        assert found.shape == expected.shape, path
        assert found.dtype == expected.dtype, path
        assert (found == expected).all(), path
