"""benchmarks/imagenet.sh from end to end, on a small stand-in of the same format: shards of JPEG files with classes."""

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "imagenet.sh"


def write_shards(folder: Path, images: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    colours = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3))
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"{shard:03}.tar", "w") as tar:
            for number in range(images):
                label = number % 4
                pixels = np.kron(colours[label], np.ones((4, 5, 1))) + generator.normal(0, 20, (24, 30, 3))
                stream = io.BytesIO()
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(stream, "JPEG")
                for ending, content in (("jpg", stream.getvalue()), ("cls", str(label).encode())):
                    entry = tarfile.TarInfo(f"{shard:03}{number:05}.{ending}")
                    entry.size = len(content)
                    tar.addfile(entry, io.BytesIO(content))


@pytest.mark.parametrize("what", ["labels", "samples"])
def test_from_shards_to_a_report(what, tmp_path):
    write_shards(tmp_path / "train", 24, seed=1)
    write_shards(tmp_path / "val", 8, seed=2)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "ROOTSPACE_CACHE": str(tmp_path / "cache"),
        "OMP_NUM_THREADS": "1",
        "SIZE": "16",
        "MORE": "--device cpu --mixed-precision no --num-workers 0 --epochs 25 --batch-size 16 --width 4",
    }
    test = str(tmp_path / "val") if what == "labels" else "-"
    finished = subprocess.run(
        [str(SCRIPT), what, str(tmp_path / "train"), test, str(tmp_path / "run")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert finished.returncode == 0, finished.stderr
    run = tmp_path / "run"
    assert (run / "report.html").is_file()
    config = json.loads((run / "model" / "config.json").read_text())
    assert len(config["label_names"]) == (4 if what == "labels" else 48)
    assert config["assignment"]["kind"] == ("table" if what == "labels" else "shuffled")
    metrics = (run / "training" / "rootspace" / "metrics.jsonl").read_text().splitlines()
    last = json.loads(metrics[-1])
    (found,) = last["heldout"].values()
    assert found["top1"] > (0.6 if what == "labels" else 2 / 48)
