"""Characters of a typeface as small pictures: dark ink on white paper, the ink's box scaled into the cell."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from rootspace.data.fonts import Face
from rootspace.data.images import ink_margin
from rootspace.errors import InputError, require

RENDERER = 1
"""Raised whenever the same typeface would give other pixels: cached pictures are then drawn again."""

REPEATS = 8
"""A picture that so many characters of a face share is a placeholder, not a character."""


def render(face: Face, characters: Sequence[str], size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Draw characters: (images (m, size, size) uint8, positions (m,) int64 into `characters`).

    Left out are characters the face lacks, blank pictures, and pictures shared by `REPEATS` or more
    characters: a character map may promise what the face does not have. Outlines are drawn without hinting,
    by their exact coverage, at the scale at which the ink's bounding box fills the cell but for its margin.
    """
    if not 8 <= size <= 512:
        raise InputError(f"glyph size must lie between 8 and 512 pixels, got {size}")
    positions, cells = _draw(face, characters, size)
    keep = ~(cells == 0).all(axis=(1, 2))
    keep &= ~_repeated(cells)
    return 255 - cells[keep], positions[keep]


def claims(face: Face, characters: Sequence[str]) -> np.ndarray:
    """(n,) bool: whether the face's character map has each character; the picture may still be missing."""
    raw = require("freetype.raw", extra="glyphs")
    opened = face.open()
    return np.array([raw.FT_Get_Char_Index(opened._FT_Face, ord(c)) != 0 for c in characters], dtype=bool)


def _draw(face: Face, characters: Sequence[str], size: int) -> tuple[np.ndarray, np.ndarray]:
    raw = require("freetype.raw", extra="glyphs")
    opened = face.open()
    ft = opened._FT_Face
    library = require("freetype", extra="glyphs").get_handle()
    flags = raw.FT_LOAD_NO_SCALE  # font units: no hinting, no rounding to a pixel grid, no embedded bitmaps
    room = (size - 2 * ink_margin(size)) * 64
    cells = np.zeros((len(characters), size, size), dtype=np.uint8)
    positions = np.zeros(len(characters), dtype=np.int64)
    bitmap = _bitmap(raw, size)
    box, matrix = raw.FT_BBox(), raw.FT_Matrix()
    address, stride, count = cells.ctypes.data, size * size, 0
    outline_ref, box_ref, matrix_ref, bitmap_ref = None, ctypes.byref(box), ctypes.byref(matrix), ctypes.byref(bitmap)
    for position, character in enumerate(characters):
        glyph = raw.FT_Get_Char_Index(ft, ord(character))
        if glyph == 0 or raw.FT_Load_Glyph(ft, glyph, flags):
            continue
        outline = ft.contents.glyph.contents.outline
        if outline.n_points == 0:
            continue
        outline_ref = ctypes.byref(outline)
        if raw.FT_Outline_Get_BBox(outline_ref, box_ref):
            continue
        width, height = box.xMax - box.xMin, box.yMax - box.yMin
        longest = max(width, height)
        if longest <= 0:
            continue
        scale = room / longest
        matrix.xx = matrix.yy = round(scale * 65536)
        raw.FT_Outline_Transform(outline_ref, matrix_ref)
        raw.FT_Outline_Translate(
            outline_ref,
            round(size * 32 - scale * (box.xMin + width / 2)),
            round(size * 32 - scale * (box.yMin + height / 2)),
        )
        bitmap.buffer = ctypes.cast(address + count * stride, ctypes.POINTER(ctypes.c_ubyte))
        if raw.FT_Outline_Get_Bitmap(library, outline_ref, bitmap_ref):
            continue
        positions[count] = position
        count += 1
    return positions[:count], cells[:count]


def _bitmap(raw: Any, size: int) -> Any:
    bitmap = raw.FT_Bitmap()
    bitmap.rows = bitmap.width = bitmap.pitch = size
    bitmap.num_grays = 256
    bitmap.pixel_mode = 2  # FT_PIXEL_MODE_GRAY
    return bitmap


def _repeated(cells: np.ndarray) -> np.ndarray:
    """(m,) bool: whether a picture stands `REPEATS` times or more among the pictures of its face."""
    if len(cells) < REPEATS:
        return np.zeros(len(cells), dtype=bool)
    flat = np.ascontiguousarray(cells.reshape(len(cells), -1))
    rows = flat.view(np.dtype((np.void, flat.shape[1]))).ravel()
    _, inverse, counts = np.unique(rows, return_inverse=True, return_counts=True)
    return counts[inverse.ravel()] >= REPEATS
