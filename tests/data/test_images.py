"""Pictures of all kinds become cells; what cannot be read is named."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from rootspace.data import Preprocessing, read_image
from rootspace.errors import InputError

INK = Preprocessing(32, 1, "ink")


def _ring(side: int, at: tuple[int, int, int, int], ink: int = 0, paper: int = 255) -> Image.Image:
    image = Image.new("L", (side, side), paper)
    ImageDraw.Draw(image).ellipse(at, outline=ink, width=max(2, (at[2] - at[0]) // 8))
    return image


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB", "I", "F", "I;16"])
@pytest.mark.parametrize("fit", ["ink", "stretch", "crop"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_gives_a_cell(mode: str, fit: str, channels: int) -> None:
    image = Image.new(mode, (20, 11))
    cell = Preprocessing(16, channels, fit).apply(image)
    assert cell.shape == (16, 16, channels)
    assert cell.dtype == np.uint8


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1), (3, 2)])
@pytest.mark.parametrize("fit", ["ink", "stretch", "crop"])
def test_extreme_shapes(size: tuple[int, int], fit: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0]), dtype=np.uint8)
    assert Preprocessing(16, 3, fit).apply(Image.fromarray(noise)).shape == (16, 16, 3)


def test_ink_does_not_depend_on_place_scale_shade_or_polarity() -> None:
    expected = INK.apply(_ring(200, (20, 20, 180, 180))).astype(int)
    variants = [
        _ring(400, (230, 10, 390, 170)),
        _ring(800, (80, 80, 720, 720)),
        _ring(200, (20, 20, 180, 180), ink=60, paper=200),
        _ring(200, (20, 20, 180, 180), ink=255, paper=0),
    ]
    for variant in variants:
        assert np.abs(INK.apply(variant).astype(int) - expected).mean() < 4
    assert expected.min() == 0
    assert (expected[:2] == 255).all()
    assert (expected[:, -2:] == 255).all()


def test_ink_leaves_a_finished_cell_nearly_as_it_is() -> None:
    cell = INK.apply(_ring(200, (20, 20, 180, 180)))
    again = INK.apply(Image.fromarray(cell[:, :, 0]))
    assert np.abs(again.astype(int) - cell).mean() < 3


def test_ink_keeps_the_aspect_and_centres() -> None:
    image = Image.new("L", (300, 300), 255)
    ImageDraw.Draw(image).rectangle((40, 50, 239, 99), fill=0)
    ink = INK.apply(image)[:, :, 0] < 128
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    assert columns[0] <= 3
    assert columns[-1] >= 28
    assert 6 <= len(rows) <= 9
    assert abs(rows[0] + rows[-1] - 31) <= 1


def test_blank_paper_stays_blank() -> None:
    for shade in (0, 128, 255):
        assert (INK.apply(Image.new("L", (50, 50), shade)) == 255).all()


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert np.asarray(read_image(tmp_path / "clear.png")).min() == 255
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([0, 0, 0] * 256)
    palette.save(tmp_path / "clear.gif", transparency=0)
    assert np.asarray(read_image(tmp_path / "clear.gif")).min() == 255


def test_sixteen_bits_are_scaled(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 32768, np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(read_image(tmp_path / "deep.png")).tolist() == [[128] * 4] * 4


@pytest.mark.parametrize(("mode", "hidden"), [("L", 7), ("1", 0), ("RGB", (7, 8, 9)), ("I;16", 700)])
def test_a_colour_that_is_said_to_be_clear_is_white(tmp_path: Path, mode: str, hidden: int | tuple[int, ...]) -> None:
    image = Image.new(mode, (8, 4), hidden)
    image.paste(1 if isinstance(hidden, int) else (1, 1, 1), (0, 0, 2, 4))
    image.save(tmp_path / "clear.png", transparency=hidden)
    pixels = np.asarray(read_image(tmp_path / "clear.png"))
    assert (pixels[:, 2:] == 255).all()
    assert (pixels[:, :2] != 255).all() or mode == "1"


def test_sixteen_bits_of_colour_with_a_clear_one(tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    row = b"\0" + struct.pack(">6H", 0x1234, 0x5678, 0x9ABC, 0, 0, 0)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0))
    clear = chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    parts = header + clear + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    assert np.asarray(read_image(tmp_path / "deep.png")).tolist() == [[[255] * 3, [0] * 3]]


@pytest.mark.parametrize("highest", [200, 255, 256, 65535])
def test_how_deep_a_file_is_does_not_depend_on_its_values(tmp_path: Path, highest: int) -> None:
    values = np.full((4, 4), highest, np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    (tmp_path / "deep.pgm").write_bytes(b"P5 4 4 65535\n" + values.astype(">u2").tobytes())
    for name in ("deep.png", "deep.pgm"):
        assert np.asarray(read_image(tmp_path / name)).tolist() == [[round(highest / 257)] * 4] * 4
    # mode I of other files is a heuristic
    Image.fromarray(values.astype(np.int32)).save(tmp_path / "deep.tif")
    expected = highest if highest <= 255 else round(highest / 257)
    assert np.asarray(read_image(tmp_path / "deep.tif"))[0, 0] == expected


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (10, 20)


def test_a_large_jpeg_may_be_decoded_smaller(tmp_path: Path) -> None:
    Image.new("RGB", (800, 400), "white").save(tmp_path / "large.jpg")
    small = read_image(tmp_path / "large.jpg", smallest=64)
    assert 64 <= min(small.size) < 400


def _png_that_claims(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def _bad_files(folder: Path) -> dict[str, tuple[Path, str]]:
    photo = folder / "photo.jpg"
    Image.effect_noise((64, 64), 50).save(photo)
    drawing = folder / "drawing.png"
    Image.effect_noise((64, 64), 50).save(drawing)
    content = {
        "empty.png": b"",
        "text.png": b"this is no image",
        "half.jpg": photo.read_bytes()[:600],
        "half.png": drawing.read_bytes()[:600],
        "bomb.png": _png_that_claims(60000, 60000),
        "large.png": _png_that_claims(15000, 15000),
        "zero.png": _png_that_claims(0, 5),
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    (folder / "folder.png").mkdir()
    says = {
        "bomb.png": "claims more than",
        "large.png": "claims more than",
        "folder.png": "got a folder",
        "gone.png": "no such",
    }
    names = [*content, "folder.png", "gone.png"]
    return {name: (folder / name, says.get(name, "not a readable image")) for name in names}


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    for path, message in _bad_files(tmp_path).values():
        with pytest.raises(InputError) as caught:
            read_image(path)
        assert str(path) in str(caught.value)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_name_that_is_too_long_is_an_unreadable_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"aaa\.\.\.: cannot be read \(.*long\)") as caught:
        read_image(tmp_path / ("a" * 5000 + ".png"))
    assert len(str(caught.value)) < 400


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_picture_in_a_forbidden_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(Permission denied\)"):
        read_image(tmp_path / "closed" / "a.png")


def test_a_picture_that_may_not_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match=r"a\.png: cannot be read \(Permission denied\)"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "fields",
    [{"size": 3}, {"size": 32.0}, {"size": True}, {"channels": 2}, {"fit": "shrink"}],
)
def test_preprocessing_refuses_what_it_does_not_know(fields: dict[str, object]) -> None:
    with pytest.raises(InputError, match="preprocessing"):
        Preprocessing.from_dict({**INK.to_dict(), **fields})
    with pytest.raises(InputError, match="preprocessing"):
        Preprocessing.from_dict([1])
