"""One process of an evaluation, alone or one of several: writes the numbers it got, or the errors, to FOLDER/RANK.json.

Cases: "whole"; "few", two samples; "empty"; and "broken", where the last sample's embedding is infinite.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import distributed as dist

from rootspace.assign import shuffled
from rootspace.data import ImageSet
from rootspace.errors import InputError
from rootspace.evaluate import accuracy, cosine_histogram, embed_all, own_part, retrieval
from rootspace.systems import V

N, CLASSES = 301, 40


def pictures() -> ImageSet:
    """Images whose pixels are noisy class vectors; the last two are the only ones of their classes."""
    random = np.random.default_rng(0)
    labels = random.integers(0, CLASSES - 2, N)
    labels[-2:] = CLASSES - 2, CLASSES - 1
    vectors = shuffled(V(8, 2, 2), CLASSES).vectors(torch.from_numpy(labels)).numpy()
    pixels = np.clip(128 + 50 * vectors + random.normal(0, 35, vectors.shape), 0, 255).astype(np.uint8)
    pixels[-1] = 255  # marks the one that is broken
    return ImageSet.from_arrays(pixels.reshape(N, 2, 4, 1), labels, [str(label) for label in range(CLASSES)])


def flat(images: torch.Tensor) -> torch.Tensor:
    return images.flatten(1)


def broken(images: torch.Tensor) -> torch.Tensor:
    x = flat(images)
    return torch.where((x == 1).all(1, keepdim=True), torch.inf, x)


def evaluate(case: str) -> dict:
    images, embed = pictures(), broken if case == "broken" else flat
    images = images.select(np.arange({"few": 2, "empty": 0}.get(case, N)))
    part, classes = images.select(own_part(len(images))), shuffled(V(8, 2, 2), CLASSES)
    found = asdict(accuracy(embed, classes, part, k=(1, 3), batch_size=32, collective=True))
    del found["seconds"]
    empty = np.zeros((0, 8), np.float32), np.zeros(0, np.int64)
    embeddings, labels = embed_all(embed, part) if len(part) else empty
    histogram = cosine_histogram(embeddings, labels, classes, bins=20, chunk=50, collective=True)
    result = {"accuracy": found, "cosines": asdict(histogram)}
    if case == "whole":
        chunks = {"query_chunk": 16, "gallery_chunk": 64, "collective": True}
        result["retrieval"] = asdict(retrieval(embeddings, labels, (1, 5), **chunks))
        # a gallery of its own, shared out otherwise than the queries
        items, classes_of_items = embed_all(flat, images.select(np.arange(100)))
        own = own_part(100)
        apart = {"gallery": items[own], "gallery_labels": classes_of_items[own]}
        result["gallery"] = asdict(retrieval(embeddings, labels, (1,), **apart, **chunks))
    return result


def outcome(case: str) -> dict:
    try:
        return evaluate(case)
    except InputError as error:
        return {"error": str(error)}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    if "RANK" in os.environ:
        dist.init_process_group("gloo")
    outcomes = {case: outcome(case) for case in ("whole", "few", "broken", "empty")}
    (folder / f"{os.environ.get('RANK', 0)}.json").write_text(json.dumps(outcomes))
    if dist.is_initialized():
        dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
