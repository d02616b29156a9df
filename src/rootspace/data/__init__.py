"""Data: images with labels and sources, from folders, arrays and the typefaces of this machine."""

from __future__ import annotations

from rootspace.data.arrays import PHOTOS, load_arrays, open_data, refit, with_label_names
from rootspace.data.cache import cache_folder
from rootspace.data.characters import common_han, hangul, latin
from rootspace.data.designs import Design
from rootspace.data.folders import image_folder
from rootspace.data.glyphs import choose_held_out, demo_glyphs, find_designs, glyph_store
from rootspace.data.images import Preprocessing, read_image, to_tensor
from rootspace.data.loading import batches, epoch_order
from rootspace.data.splits import split_by_source, split_random
from rootspace.data.store import ImageSet, ImageStore, writing

__all__ = [
    "PHOTOS",
    "Design",
    "ImageSet",
    "ImageStore",
    "Preprocessing",
    "batches",
    "cache_folder",
    "choose_held_out",
    "common_han",
    "demo_glyphs",
    "epoch_order",
    "find_designs",
    "glyph_store",
    "hangul",
    "image_folder",
    "latin",
    "load_arrays",
    "open_data",
    "read_image",
    "refit",
    "split_by_source",
    "split_random",
    "to_tensor",
    "with_label_names",
    "writing",
]
