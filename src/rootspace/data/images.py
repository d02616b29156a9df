"""One picture: read from a file whatever its kind, and brought to the square cell that a model takes."""

from __future__ import annotations

import io
import math
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rootspace.errors import InputError, require

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"})
"""File endings, in lower case, that count as an image inside a folder."""

MAX_PIXELS = 178_956_970
"""A picture with more pixels than this is refused: a small file can claim a size that fills the memory."""

_DEEP = ("PNG", "PPM")
"""Kinds of file of which mode I means 16 bits, 0 to 65535: what Pillow makes of PGM, and before version 11 of PNG."""

_FITS = ("ink", "stretch", "crop")
_INK_CONTRAST = 16  # grey levels: a picture with less between its lightest and darkest is blank paper


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes a (size, size, channels) uint8 cell; stored with data and model, so both agree.

    `fit` is "ink" (dark ink on light paper: the ink's bounding box is scaled into the cell with a margin,
    keeping its aspect, paper made 255 and the darkest ink 0; light ink on dark ground is turned over first),
    "stretch" (the whole picture, aspect not kept) or "crop" (the largest centred square).

    >>> Preprocessing(size=32, channels=1, fit="ink").to_dict()
    {'size': 32, 'channels': 1, 'fit': 'ink'}
    >>> Preprocessing.from_dict({'size': 32, 'channels': 1, 'fit': 'ink'}) == Preprocessing(32, 1, "ink")
    True
    """

    size: int = 32
    channels: int = 1
    fit: str = "ink"

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or isinstance(self.size, bool) or not 4 <= self.size <= 4096:
            raise InputError(f"preprocessing: size must be an integer from 4 to 4096, got {self.size!r}")
        if self.channels not in (1, 3) or isinstance(self.channels, bool):
            raise InputError(f"preprocessing: channels must be 1 (grey) or 3 (RGB), got {self.channels!r}")
        if self.fit not in _FITS:
            raise InputError(f"preprocessing: fit must be one of {', '.join(_FITS)}, got {self.fit!r}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(size, size, channels) of a cell."""
        return self.size, self.size, self.channels

    @property
    def margin(self) -> int:
        """Empty pixels kept on every side of the ink when `fit` is "ink"."""
        return ink_margin(self.size)

    def apply(self, image: Image) -> np.ndarray:
        """The picture as a (size, size, channels) uint8 array; any mode and any size from 1 x 1."""
        image = flatten(image)
        image = image.convert("L" if self.channels == 1 else "RGB")
        if self.fit == "ink":
            return _fit_ink(image, self.size, self.margin)
        if self.fit == "crop":
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        return _as_cell(_resize(image, self.size, self.size))

    def to_dict(self) -> dict[str, Any]:
        """The fields as a JSON object."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Any) -> Preprocessing:
        """The inverse of `to_dict`; anything else is an `InputError`."""
        expected = {"size", "channels", "fit"}
        if not isinstance(value, dict) or set(value) != expected:
            raise InputError(f"preprocessing: expected an object with {sorted(expected)}, got {value!r}")
        return cls(**value)


def ink_margin(size: int) -> int:
    """Pixels of paper on every side of the ink in a cell of `size` pixels.

    >>> [ink_margin(size) for size in (16, 32, 64)]
    [1, 2, 4]
    """
    return max(1, size // 16)


def to_tensor(images: np.ndarray | torch.Tensor, device: torch.device | None = None) -> torch.Tensor:
    """(..., H, W, C) uint8 pixels as a (..., C, H, W) float32 tensor in [-1, 1]: x / 127.5 - 1.

    device: where to; pixels are sent there as bytes.

    >>> to_tensor(np.array([[[[0], [255]]]], dtype=np.uint8)).tolist()
    [[[[-1.0, 1.0]]]]
    """
    pixels = torch.from_numpy(np.ascontiguousarray(images)) if isinstance(images, np.ndarray) else images
    if pixels.dtype != torch.uint8 or pixels.ndim < 3:
        raise InputError(f"expected uint8 pixels (..., H, W, C), got {pixels.dtype} {tuple(pixels.shape)}")
    if device is not None:
        if device.type == "cuda" and pixels.device.type == "cpu":
            pixels = pixels.pin_memory()  # or the copy would wait for all that the device has to do
        pixels = pixels.to(device, non_blocking=True)
    return pixels.movedim(-1, -3).to(torch.float32, memory_format=torch.contiguous_format) / 127.5 - 1


@contextmanager
def quiet() -> Iterator[None]:
    """No warnings from decoders inside the block: sizes are checked here, with one limit and one message.

    Not for use inside threads, since Python's warning filters are one for all; put it around them.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def read_image(path: str | Path, smallest: int | None = None) -> Image:
    """Read one image file, turned as its EXIF orientation says, transparency laid on white; mode L or RGB.

    `smallest` lets a JPEG be decoded at a reduced scale whose sides are at least that long, which is faster.
    A missing, unreadable, truncated or implausibly large file is an `InputError` that names it.
    """
    with quiet():
        return decode(Path(path), smallest)


def decode(picture: Path | bytes, smallest: int | None = None, name: str = "") -> Image:
    """`read_image` of a file or of its bytes, for use inside threads, with `quiet` around them.

    `name` is how errors call what is no file.
    """
    pil = require("PIL.Image", extra="train")
    if isinstance(picture, Path):
        name = str(picture)
        try:
            folder = stat.S_ISDIR(picture.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{name}: no such file") from None
        except (OSError, ValueError) as error:  # too long a name, no permission, a circle of links
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{name if len(name) <= 300 else name[:300] + '...'}: cannot be read ({reason})") from None
        if folder:
            raise InputError(f"{name}: expected an image file, got a folder")
    try:
        with pil.open(picture if isinstance(picture, Path) else io.BytesIO(picture)) as image:
            if image.width * image.height <= MAX_PIXELS:
                if smallest is not None:
                    image.draft(None, (smallest, smallest))
                return flatten(_upright(image), deep=image.format in _DEEP)
    except pil.DecompressionBombError:
        pass
    except Exception as error:  # decoders of damaged files raise nearly anything: OSError, SyntaxError, struct.error
        raise InputError(f"{name}: not a readable image ({_reason(error)})") from None
    raise InputError(f"{name}: the image claims more than {MAX_PIXELS:,} pixels; make it smaller")


def flatten(image: Image, deep: bool = False) -> Image:
    """The picture in mode L or RGB: transparency laid on white, deep grey scaled to 8 bits.

    Mode I;16 holds 0 to 65535, and mode I too where `deep`. Of any other picture in mode I or F nothing says what white
    is: F holds 0 to 1 where no value is above 1; else the range is 0 to 255 where no value is above 255, and otherwise
    0 to 65535. What is outside is clipped.
    """
    pil = require("PIL.Image", extra="train")
    clear = image.info.get("transparency")
    if image.mode in ("L", "RGB") and clear is None:
        return image
    if image.mode == "1" and clear is None:
        return image.convert("L")
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, dtype=np.float64)
        values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
        highest = values.max(initial=0.0)
        sixteen = deep or image.mode.startswith("I;16") or highest > 255
        full = 65535.0 if sixteen else 1.0 if image.mode == "F" and highest <= 1 else 255.0
        grey = np.clip(values * (255.0 / full), 0, 255).round().astype(np.uint8)
        if isinstance(clear, int):
            grey[values == clear] = 255
        return pil.fromarray(grey)
    if "A" in image.mode or "a" in image.mode or clear is not None:
        grey_only = image.mode in ("1", "L")
        if isinstance(clear, tuple) and max(clear, default=0) > 255:  # of 16-bit colours, which Pillow reads as 8-bit
            image = image.copy()
            image.info["transparency"] = tuple(value >> 8 for value in clear)
        image = image.convert("RGBA")
        paper = pil.new("RGBA", image.size, (255, 255, 255, 255))
        paper.alpha_composite(image)
        return paper.convert("L" if grey_only else "RGB")
    return image.convert("RGB")


def _upright(image: Image) -> Image:
    image.load()  # a truncated file must fail here, not be mistaken for damaged EXIF below
    try:
        from PIL import ImageOps

        return ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF does not make the pixels unreadable
        return image.copy()


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "unknown format" if text.startswith("cannot identify") or not text else text[:120]


def _fit_ink(image: Image, size: int, margin: int) -> np.ndarray:
    pil = require("PIL.Image", extra="train")
    pixels = np.asarray(image, dtype=np.uint8)
    grey = np.asarray(image.convert("L"), dtype=np.uint8)
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    dark, light = int(grey.min()), int(grey.max())
    if light - dark < _INK_CONTRAST:
        return np.full((size, size, len(image.getbands())), 255, dtype=np.uint8)
    if float(np.median(edge)) < (dark + light) / 2:
        pixels, grey, dark, light = 255 - pixels, 255 - grey, 255 - light, 255 - dark
        edge = 255 - edge
    # paper is what most of the border shows, so that a vignette or a speck of glare is not taken for it
    paper = max(float(np.median(edge)), dark + _INK_CONTRAST)
    ink = grey < paper - 0.25 * (paper - dark)
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    clean = (pixels[top:bottom, left:right].astype(np.float32) - dark) * (255.0 / (paper - dark))
    clean = np.clip(clean, 0, 255).round().astype(np.uint8)
    room = size - 2 * margin
    scale = room / max(clean.shape[:2])
    # an even number of pixels around the ink on both axes: its centre then falls exactly on the cell's centre
    height, width = (min(room, room - 2 * int((room - side * scale) / 2)) for side in clean.shape[:2])
    beyond = [max(0.0, (out / scale - side) / 2) for out, side in zip((height, width), clean.shape, strict=False)]
    rows, columns = (math.ceil(part) for part in beyond)
    clean = np.pad(clean, ((rows, rows), (columns, columns), (0, 0))[: clean.ndim], constant_values=255)
    x, y = columns - beyond[1], rows - beyond[0]
    box = (x, y, min(x + width / scale, clean.shape[1]), min(y + height / scale, clean.shape[0]))
    cell = np.full((size, size, len(image.getbands())), 255, dtype=np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    inked = _as_cell(_resize(pil.fromarray(clean), width, height, box))
    cell[top : top + height, left : left + width] = inked
    return cell


def _resize(image: Image, width: int, height: int, box: tuple[float, float, float, float] | None = None) -> Image:
    resampling = require("PIL.Image", extra="train").Resampling
    # Hamming: close to plain area averaging when shrinking, which is what a rasteriser does, and no ringing
    return image.resize((width, height), resampling.HAMMING, box=box)


def _as_cell(image: Image) -> np.ndarray:
    pixels = np.array(image, dtype=np.uint8)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
