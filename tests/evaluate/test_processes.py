"""Several processes on this machine, over gloo: the numbers are exactly those of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rootspace.evaluate import own_part
from rootspace.evaluate.processes import Processes

SCRIPT = Path(__file__).with_name("parts_run.py")


def outcomes(processes: int, output: Path) -> list[dict]:
    """What each process wrote: case -> numbers, or the error."""
    several = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    finished = subprocess.run(
        [sys.executable, *(several if processes > 1 else []), str(SCRIPT), str(output)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert finished.returncode == 0, finished.stderr
    return [json.loads((output / f"{rank}.json").read_text()) for rank in range(processes)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return outcomes(1, tmp_path_factory.mktemp("alone"))[0]


@pytest.fixture(scope="module", params=[2, 3])
def together(request, tmp_path_factory):
    return outcomes(request.param, tmp_path_factory.mktemp("together"))


def test_all_processes_give_the_numbers_of_one(alone, together):
    whole = alone["whole"]
    assert 0.2 < whole["accuracy"]["macro_f1"] < whole["accuracy"]["top"]["3"] < 1
    assert 0.2 < whole["retrieval"]["mean_average_precision"] < 1
    assert whole["retrieval"]["n_skipped"] > 0
    for found in together:
        assert found["whole"] == whole


def test_a_process_may_have_nothing_to_evaluate(alone, together):
    assert alone["few"]["accuracy"]["n"] == 2
    for found in together:
        assert found["few"] == alone["few"]


def test_an_error_in_one_process_ends_the_call_in_all(together):
    *others, last = together
    assert "NaN or infinity in sample" in last["broken"]["error"]
    for found in others:
        assert "another process could not evaluate its part" in found["broken"]["error"]


def test_an_empty_set_is_named_in_every_process(alone, together):
    for found in (alone, *together):
        assert "empty set" in found["empty"]["error"]


def test_without_a_process_group_the_part_is_everything():
    assert own_part(5).tolist() == [0, 1, 2, 3, 4]
    assert Processes.of(True) == Processes(0, 1) == Processes.of(False)
