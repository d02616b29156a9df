"""A process killed in the middle of a write leaves the index as it was, or as it was to be, and nothing between."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rootspace import index as indexes
from rootspace.index.backends import NAMES

from .conftest import clustered
from .test_database import everything, made

OLD = set(range(12))
NEW = {"add": OLD | set(range(12, 17)), "delete": OLD - {1, 3, 5}, "compact": OLD}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
@pytest.mark.parametrize("what", ["add", "delete", "compact"])
@pytest.mark.parametrize("name", NAMES)
def test_a_killed_write_leaves_the_old_state_or_the_new(model, tmp_path, name, what):
    vectors, more = clustered(12), clustered(5, seed=1)
    with made(model, tmp_path / "start", name, vectors=vectors[:6]) as index:
        index.add(vectors[6:], [f"файл {n}" for n in range(6, 12)])
    np.save(tmp_path / "more.npy", more)
    (tmp_path / "copies").mkdir()
    script = Path(__file__).with_name("stopped_writes.py")
    # LanceDB starts threads as soon as it is imported
    module = {"lancedb": "rootspace.index", "qdrant": "qdrant_client"}.get(name, f"rootspace.index.backends.{name}")
    command = [sys.executable, str(script), str(tmp_path / "start"), str(tmp_path / "copies"), what, module]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    copies = sorted((tmp_path / "copies").iterdir(), key=lambda path: int(path.name))
    assert len(copies) >= 3
    stored = np.concatenate([vectors, more])
    states = []
    for copy in copies:
        for writing in (False, True, False):
            with indexes.open(copy, writing=writing) as index:
                ids = set(index.ids().tolist())
                assert ids in (OLD, NEW[what])
                for number in sorted(ids):
                    hit = index.search(stored[number : number + 1], 1, everything(index))[0][0]
                    assert hit.id == number
                    assert hit.path == (f"файл {number}" if number < 12 else f"more {number - 12}")
                found = index.search(stored[:3], 99, everything(index))
                assert all({hit.id for hit in row} == ids for row in found)
                if writing:
                    assert set(index._backend.ids().tolist()) == ids
        states.append(ids)
    assert states[0] == OLD
    assert states[-1] == NEW[what]
    # once it is the new state it stays that
    assert sorted(states, key=lambda ids: ids != OLD) == states
    # and the next write does as if nothing had happened
    with indexes.open(copies[1], writing=True) as index:
        index.add(stored[:1])
        assert len(index) == len(states[1]) + 1
