"""`Index`: the embeddings of one model in a vector database, with paths and labels, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rootspace import __version__
from rootspace.errors import InputError
from rootspace.files import atomic_folder
from rootspace.index.adding import Progress, add_images
from rootspace.index.backends import Backend, Payload, backend
from rootspace.index.checks import check_ids, unit_vectors
from rootspace.index.digests import check_digests, digests
from rootspace.index.identity import check_same, folder_of, identity
from rootspace.index.items import Items
from rootspace.index.pictures import stored_path
from rootspace.index.segments import SegmentFolder, check_new
from rootspace.train import processes

if TYPE_CHECKING:
    from rootspace.models import Recogniser

FORMAT = "rootspace-index"
_VECTORS = "vectors"


@dataclass(frozen=True)
class Hit:
    """One item found: its id, the cosine to the query, where it comes from, and its label ("" for none)."""

    id: int
    cosine: float
    path: str
    label: str


@dataclass(frozen=True)
class Item:
    """One item: its id, where it comes from, and its label ("" for none)."""

    id: int
    path: str
    label: str


class Index:
    """A folder: index.json, with the model's checksums and what counts; items; and the backend's files.

    Open it with `rootspace.index.open`, make it with `rootspace.index.build`. Order of a write: the new state is
    announced, the backend stores it, the items that count are named. A process that stops in between leaves the items
    of before (or, for `delete`, of after); vectors without an item are never returned, and the next writer drops them.
    """

    def __init__(
        self,
        path: Path,
        writing: bool = False,
        model: Path | None = None,
        backbone: nn.Module | None = None,
        verify: bool = True,
        device: torch.device | str = "auto",
    ) -> None:
        self.path, self._backbone, self._device = Path(path), backbone, _resolved(device)
        self._model: Recogniser | None = None
        self._model_path = model
        with ExitStack() as opened:
            while True:
                folder = SegmentFolder(self.path, FORMAT, writing, verify)
                opened.callback(folder.close)
                self.about: dict[str, Any] = dict(folder.about)
                if model is not None:
                    check_same(self.path, self.about["model"], model)
                try:
                    self._backend = self._open_backend(folder, verify)
                    break
                except InputError:
                    # a writer may have been at work since the state was read
                    if SegmentFolder(self.path, FORMAT, verify=False).serial == folder.serial:
                        raise
                    opened.pop_all().close()
            self._items = Items(folder)
            opened.callback(self._backend.close)
            if writing and self.about["writing"]:
                self._repair()
            self._opened = opened.pop_all()

    @classmethod
    def create(
        cls,
        model: str | Path,
        path: Path,
        backend_name: str,
        dtype: str,
        cells: str | None,
        backbone: nn.Module | None,
        device: torch.device | str = "auto",
    ) -> Index:
        """An index without items, open for writing."""
        kind = backend(backend_name, dtype)
        if cells is not None and backend_name != "system":
            raise InputError(f"cells: the backend {backend_name} has none to choose; leave them out, or take 'system'")
        check_new(path)
        own = identity(model)
        about = {
            "rootspace": __version__,
            "model": own,
            "backend": backend_name,
            "dtype": dtype,
            "dim": own["dim"],
            "normalisation": "unit",
            "settings": {} if cells is None else {"cells": cells},
            "next_id": 0,
            "writing": True,
            "files": {},
        }
        with atomic_folder(path) as temporary:
            folder = SegmentFolder.create(temporary, FORMAT, about)
            try:
                vectors = temporary / _VECTORS
                vectors.mkdir()
                kind(vectors, own["dim"], dtype, True, about["settings"]).close()
                folder.commit(about={"writing": False, "files": digests(vectors, kind)})
            finally:
                folder.close()
        return cls(path, writing=True, backbone=backbone, device=device)

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of files and locks."""
        self._opened.close()

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        about = self.about
        return f"Index({str(self.path)!r}, {len(self):,} items, {about['backend']} {about['dtype']}, n={about['dim']})"

    @property
    def pieces(self) -> int:
        """How many writes the items came in, since they were last brought together by `compact`."""
        return len(self._items.folder.segments)

    def facts(self) -> dict[str, Any]:
        """What the index holds, as JSON values."""
        about, model = self.about, self.about["model"]
        stored = sum(path.stat().st_size for path in (self.path / _VECTORS).rglob("*") if path.is_file())
        return {
            "index": str(self.path),
            "items": len(self),
            "backend": about["backend"],
            "dtype": about["dtype"],
            "dimensions": about["dim"],
            "normalisation": about["normalisation"],
            **self._backend.facts(),
            "vector bytes": stored,
            "model": model["path"] + ("" if model.get("commit") is None else f"@{model['commit']}"),
            "weights": model["weights_sha256"],
            "system": model["system"],
            "assignment": model["assignment"]["kind"],
            "classes": model["assignment"]["n_classes"],
            "next id": about["next_id"],
            "stopped write": about["writing"],
            "rootspace": about["rootspace"],
        }

    def ids(self) -> np.ndarray:
        """The ids of all items, int64, ascending."""
        return np.sort(self._items.ids())

    @property
    def model(self) -> Recogniser:
        """The model the index was built with, loaded and verified when first asked for."""
        if self._model is None:
            from rootspace.models import load

            own = self.about["model"]
            folder = folder_of(own, self.path) if self._model_path is None else self._model_path
            check_same(self.path, own, folder)
            self._model = load(folder, self._backbone, self._device)
            if "embedder" not in own and self._items.folder.writing:
                self._commit(model=identity(folder))  # an index of format 1, which from now on knows what matters
        return self._model

    def items(self) -> Iterator[Item]:
        """All items with their paths and labels, in no order."""
        return (Item(number, path, label) for number, path, label in self._items.all())

    def find(self, paths: Sequence[str | Path] = (), labels: Sequence[str] = ()) -> list[Item]:
        """The items at one of `paths` and with one of `labels`, by id; an empty list asks for nothing.

        A path stands for itself, and for all that lies in it: the files in a folder, the images of a store or an array.
        """
        places = [place for path in paths for place in {str(path), stored_path(path)}]
        below = tuple(place.rstrip(os.sep) + end for place in places for end in (os.sep, "#"))
        found = (
            item
            for item in self.items()
            if (not places or item.path in places or item.path.startswith(below))
            and (not labels or item.label in labels)
        )
        return sorted(found, key=lambda item: item.id)

    # ------------------------------------------------------------------ reading

    def nearest(
        self, embeddings: np.ndarray | Tensor, k: int = 10, probes: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest items: (Q, n) -> cosines float32 (Q, k') descending, ids int64 (Q, k'), -1 for no more.

        k' is k, or the number of items where there are fewer. Cosines are as exact as the storage; of "binary" they
        are estimated from the signs. probes: how many cells the backend "system" looks into.
        """
        if k < 1:
            raise InputError(f"k: expected a whole number of at least 1, got {k}")
        queries = unit_vectors(embeddings, self.about["dim"])
        width = min(k, len(self))
        # vectors that no item names: of a write that stopped, or that another process is at
        extra = max(0, self._backend.count - len(self)) if self.about["writing"] else 0
        cosines, ids = self._backend.search(queries, width + extra, probes) if width else _nothing(len(queries))
        if extra:
            known = np.isin(ids, self._items.ids())
            order = np.argsort(~known, axis=1, kind="stable")[:, :width]
            ids, cosines = np.where(known, ids, -1), np.where(known, cosines, -1)
            ids, cosines = np.take_along_axis(ids, order, 1), np.take_along_axis(cosines, order, 1)
        return cosines, ids

    def search(self, embeddings: np.ndarray | Tensor, k: int = 10, probes: int | None = None) -> list[list[Hit]]:
        """The k nearest items of each embedding (Q, n), best first, with their paths and labels; see `nearest`."""
        cosines, ids = self.nearest(embeddings, k, probes)
        real = ids >= 0
        payload = self._items.payload(ids[real])
        hits = iter(map(Hit, ids[real].tolist(), cosines[real].tolist(), payload.paths, payload.labels))
        return [[next(hits) for _ in range(count)] for count in real.sum(axis=1).tolist()]

    def decode(self, embeddings: np.ndarray | Tensor) -> tuple[list[str], np.ndarray]:
        """What the model itself reads embeddings (Q, n) as: the label of the nearest class, and its cosine (Q,)."""
        model = self.model
        unit = torch.from_numpy(unit_vectors(embeddings, self.about["dim"])).to(self._device)
        cosines, classes = model.assignment.nearest(unit)
        return [model.label_names[number] for number in classes[:, 0].tolist()], cosines[:, 0].cpu().numpy()

    # ------------------------------------------------------------------ writing

    def add(
        self,
        embeddings: np.ndarray | Tensor,
        paths: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        ids: np.ndarray | None = None,
    ) -> np.ndarray:
        """Store embeddings (N, n) of the index's model; returns their ids, int64 (N,).

        ids None: the next ones that were never given. `InputError` for another dimension, NaN, infinity or zero
        vectors, ids that are there already, and lists of another length; nothing is stored then.
        """
        self._require_writing()
        vectors = unit_vectors(embeddings, self.about["dim"])
        first = self.about["next_id"]
        chosen = np.arange(first, first + len(vectors)) if ids is None else check_ids(ids)
        payload = Payload(_texts(paths, len(vectors), "paths"), _texts(labels, len(vectors), "labels"))
        if len(chosen) != len(vectors):
            raise InputError(f"ids: expected one for each of {len(vectors)} embeddings, got {len(chosen)}")
        if not len(chosen):
            return chosen
        unknown = self._items.missing(chosen)
        if len(unknown) < len(chosen):
            taken = int(np.setdiff1d(chosen, unknown)[0])
            raise InputError(f"ids: {taken} is there already; delete it first, or give another")
        self._commit(writing=True)
        self._backend.add(chosen, vectors, payload)
        self._backend.save()
        following = max(first, int(chosen.max()) + 1)
        self._items.append(chosen, payload, {}, writing=False, files=self._digests(), next_id=following)
        self._refresh()
        return chosen

    def add_images(
        self,
        sources: Sequence[str | Path],
        skip_bad: bool = False,
        progress: Progress | bool | None = None,
        *,
        label: str | None = None,
        replace: bool = False,
        repeated: list[str] | None = None,
    ) -> list[str]:
        """Embed and store images: files, folders, stores, .npz files, under their absolute paths; see `Pictures`.

        A path that is there already is left out, and added to the list `repeated`; with `replace` its old items go
        instead. label: of all that is added, in place of the folder's name. progress: True for a bar on a terminal, or
        a function called with the number of images so far. They are stored some ten thousand at a time, each time
        whole. Returns the files that were skipped.
        """
        self._require_writing()
        return add_images(self, sources, skip_bad, progress, label, replace, repeated)

    def delete(self, ids: Sequence[int] | np.ndarray) -> None:
        """Drop the items with these ids; `InputError` naming those that are not there, and nothing is dropped."""
        self._require_writing()
        chosen = check_ids(np.asarray(ids, dtype=None if len(ids) else np.int64))
        if len(missing := self._items.missing(chosen)):
            names = ", ".join(map(str, missing[:5].tolist())) + (", ..." if len(missing) > 5 else "")
            raise InputError(f"{self.path}: no item has the id {names}; nothing was deleted")
        if len(chosen):
            self._items.delete(chosen, writing=True)
            self._backend.delete(chosen)
            self._finish()

    def compact(self) -> None:
        """Give back the room of deleted items and bring what was added piece by piece together."""
        self._require_writing()
        self._commit(writing=True)
        self._backend.compact()
        self._items.compact(writing=True)
        self._finish()

    def _repair(self) -> None:
        """Drop the vectors that a stopped write left without an item."""
        stored, named = self._backend.ids(), self._items.ids()
        if len(lost := np.setdiff1d(named, stored)):
            raise InputError(f"{self.path}: the vectors of {len(lost):,} items are gone; build the index anew")
        if len(extra := np.setdiff1d(stored, named)):
            self._backend.delete(extra)
        self._finish()

    def _finish(self) -> None:
        self._backend.save()
        self._commit(writing=False, files=self._digests())

    def _commit(self, **about: Any) -> None:
        self._items.folder.commit(about=about)
        self._refresh()

    def _refresh(self) -> None:
        self.about = dict(self._items.folder.about)

    def _require_writing(self) -> None:
        if not self._items.folder.writing:
            raise InputError(f"{self.path}: is open for reading; open it with writing=True")

    def _open_backend(self, folder: SegmentFolder, verify: bool) -> Backend:
        kind, vectors = backend(self.about["backend"], self.about["dtype"]), self.path / _VECTORS
        if verify and not self.about["writing"] and not kind.verifies:
            check_digests(vectors, self.about["files"], kind)
        return kind(vectors, self.about["dim"], self.about["dtype"], folder.writing, self.about["settings"])

    def _digests(self) -> dict[str, str]:
        return digests(self.path / _VECTORS, type(self._backend))


def _resolved(device: torch.device | str) -> torch.device:
    if device == "auto":
        return processes.device()
    try:
        return torch.device(device)
    except RuntimeError:
        raise InputError(f"device: expected 'auto', 'cpu' or a device of torch, got {device!r}") from None


def _texts(texts: Sequence[str] | None, count: int, what: str) -> list[str]:
    found = [""] * count if texts is None else [str(text) for text in texts]
    if len(found) != count:
        raise InputError(f"{what}: expected one for each of {count} embeddings, got {len(found)}")
    return found


def _nothing(queries: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((queries, 0), dtype=np.float32), np.zeros((queries, 0), dtype=np.int64)
