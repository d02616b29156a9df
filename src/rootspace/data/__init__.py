"""Data: images or texts with labels and sources, from folders, shards, tables, arrays and this machine's typefaces."""

from __future__ import annotations

from rootspace.data.arrays import load_arrays, refit, with_label_names
from rootspace.data.build import Sample, Samples, build_store
from rootspace.data.cache import cache_folder
from rootspace.data.characters import common_han, hangul, latin
from rootspace.data.designs import Design
from rootspace.data.fields import Fields
from rootspace.data.folders import image_folder
from rootspace.data.glyphs import choose_held_out, demo_glyphs, find_designs, glyph_store
from rootspace.data.images import Preprocessing, read_image, to_tensor
from rootspace.data.loading import batches, epoch_order
from rootspace.data.manifest import is_store
from rootspace.data.names import Numbered
from rootspace.data.opening import (
    PHOTOS,
    TEXTS,
    find_samples,
    has_columns,
    holds_texts,
    needs_decoding,
    open_data,
    open_samples,
)
from rootspace.data.preparing import AnyPreprocessing, check_kind, is_text, read_preprocessing, write_preprocessing
from rootspace.data.splits import split_by_source, split_random
from rootspace.data.store import ImageSet, ImageStore
from rootspace.data.summary import damaged_rows, describe
from rootspace.data.texts import TextPreprocessing, text_ids
from rootspace.data.views import every_sample, unseen_views
from rootspace.data.writing import writing

__all__ = [
    "PHOTOS",
    "TEXTS",
    "AnyPreprocessing",
    "Design",
    "Fields",
    "ImageSet",
    "ImageStore",
    "Numbered",
    "Preprocessing",
    "Sample",
    "Samples",
    "TextPreprocessing",
    "batches",
    "build_store",
    "cache_folder",
    "check_kind",
    "choose_held_out",
    "common_han",
    "damaged_rows",
    "demo_glyphs",
    "describe",
    "epoch_order",
    "every_sample",
    "find_designs",
    "find_samples",
    "glyph_store",
    "hangul",
    "has_columns",
    "holds_texts",
    "image_folder",
    "is_store",
    "is_text",
    "latin",
    "load_arrays",
    "needs_decoding",
    "open_data",
    "open_samples",
    "read_image",
    "read_preprocessing",
    "refit",
    "split_by_source",
    "split_random",
    "text_ids",
    "to_tensor",
    "unseen_views",
    "with_label_names",
    "write_preprocessing",
    "writing",
]
