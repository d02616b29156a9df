"""How a picture is fitted into the cell of an exported model, in Pillow and NumPy alone: copy this file.

It does the same, to the byte, as `rootspace.data.Preprocessing` (a test compares them). `size`, `channels` and `fit`
are under `model`, `preprocessing` in the description inside the exported file.
"""

import math

import numpy as np
from PIL import Image, ImageOps


def prepare(picture: Image.Image, size: int, channels: int, fit: str) -> np.ndarray:
    """An opened picture as uint8 pixels (size, size, channels); `fit` is "crop", "stretch" or "ink"."""
    image = plain(ImageOps.exif_transpose(picture)).convert("L" if channels == 1 else "RGB")
    if fit == "ink":
        return ink(image, size)
    if fit == "crop":  # the largest square, from the middle
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    cell = np.asarray(image.resize((size, size), Image.Resampling.HAMMING))
    return cell.reshape(size, size, channels)


def plain(image: Image.Image) -> Image.Image:
    """Grey or colour of 8 bits: transparency laid on white, more bits scaled down."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode == "1":
        return image.convert("L")
    if image.mode.startswith(("I", "F")):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=0.0, neginf=0.0)
        full = 65535.0 if values.max() > 255 else 1.0 if image.mode == "F" and values.max() <= 1 else 255.0
        return Image.fromarray(np.clip(values * (255.0 / full), 0, 255).round().astype(np.uint8))
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        paper = Image.new("RGBA", image.size, (255, 255, 255, 255))
        paper.alpha_composite(image)
        return paper.convert("RGB")
    return image.convert("RGB")


def ink(image: Image.Image, size: int) -> np.ndarray:
    """The ink alone, dark on white, scaled so that it fills the cell but for a margin."""
    pixels, grey = np.asarray(image, dtype=np.uint8), np.asarray(image.convert("L"), dtype=np.uint8)
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    pixels = pixels.reshape(*grey.shape, channels)
    cell = np.full((size, size, channels), 255, dtype=np.uint8)
    dark, light = int(grey.min()), int(grey.max())
    if light - dark < 16:  # blank paper
        return cell
    # light ink on dark ground is turned over; paper is what most of the border shows
    if float(np.median(border(grey))) < (dark + light) / 2:
        pixels, grey, dark = 255 - pixels, 255 - grey, 255 - light
    paper = max(float(np.median(border(grey))), dark + 16)
    # the box around the ink, with the paper made 255 and the darkest ink 0
    marked = grey < paper - 0.25 * (paper - dark)
    rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
    clean = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
    clean = np.clip((clean - dark) * (255.0 / (paper - dark)), 0, 255).round().astype(np.uint8)
    # its longer side fills the room, and the other gets as many pixels on both sides of the middle
    room = size - 2 * max(1, size // 16)
    scale = room / max(clean.shape[:2])
    height, width = (min(room, room - 2 * int((room - side * scale) / 2)) for side in clean.shape[:2])
    # white around the ink where those pixels see more than it
    above, beside = max(0.0, (height / scale - clean.shape[0]) / 2), max(0.0, (width / scale - clean.shape[1]) / 2)
    more, wider = math.ceil(above), math.ceil(beside)
    clean = np.pad(clean, ((more, more), (wider, wider), (0, 0)), constant_values=255)
    x, y = wider - beside, more - above
    box = (x, y, min(x + width / scale, clean.shape[1]), min(y + height / scale, clean.shape[0]))
    scaled = Image.fromarray(clean[:, :, 0] if channels == 1 else clean)
    scaled = scaled.resize((width, height), Image.Resampling.HAMMING, box=box)
    top, left = (size - height) // 2, (size - width) // 2
    cell[top : top + height, left : left + width] = np.asarray(scaled).reshape(height, width, channels)
    return cell


def border(grey: np.ndarray) -> np.ndarray:
    """The pixels on the edge."""
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
