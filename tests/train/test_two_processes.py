"""Two processes on this machine, over gloo: both end with the same weights and the same class vectors."""

import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

SCRIPT = Path(__file__).with_name("tiny_run.py")


def test_class_vectors_follow_alike_in_two_processes(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    finished = subprocess.run(
        [*command, str(SCRIPT), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
    )
    assert finished.returncode == 0, finished.stderr
    one, two = (load_file(tmp_path / "run" / f"rank-{rank}.safetensors") for rank in range(2))
    assert one.keys() == two.keys()
    for name in one:
        # running statistics are each process's own between steps
        if "running" not in name:
            assert torch.equal(one[name], two[name]), name
    assert {name for name in one if name.startswith("loss.")} >= {"loss.near", "loss.assignment.codes"}
