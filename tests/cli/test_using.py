"""The commands that use a model, and plan and info: what comes out when all is well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from rootspace import models
from rootspace.data import ImageSet, open_data
from rootspace.models import Embedder, Threshold
from rootspace.train import processes

from .conftest import SHAPES, Run, write_arrays


def test_train_leaves_model_report_and_results(trained: tuple[Path, Result], model: Path) -> None:
    output, result = trained
    assert {path.name for path in output.iterdir()} >= {"model", "training", "report.html", "results.json"}
    assert {path.name for path in model.iterdir()} == {"README.md", "config.json", "model.safetensors"}
    assert "<html" in (output / "report.html").read_text(encoding="utf-8")
    found = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert len(found["methods"]) == 2
    assert json.loads((model / "config.json").read_text(encoding="utf-8"))["label_names"] == sorted(SHAPES)
    for line in ("report   ", "model    ", "try      rootspace predict"):
        assert line in result.stdout


def test_evaluate(works: Run, model: Path, other_shapes: Path) -> None:
    found = json.loads(works("evaluate", model, other_shapes, "--json").stdout)
    assert found["images"] == 16
    assert found["classes"] == 4
    assert found["top1"] >= 0.75
    assert found["top1"] <= found["top5"] == 1.0
    assert {"macro_top1", "retrieval_recall_at_1"} <= set(found)
    assert "top1  " in works("evaluate", model, other_shapes).stdout


def test_evaluate_decides_as_predict_does_and_embeds_once(
    works: Run, own_model: Path, other_shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recogniser = models.load(own_model)
    images = open_data(other_shapes, recogniser.preprocessing, progress=False)
    noise = np.random.default_rng(0).integers(0, 256, (16, *images.image_shape), dtype=np.uint8)
    unknown = ImageSet.from_arrays(noise, np.zeros(16, np.int64), preprocessing=recogniser.preprocessing)
    recogniser.calibrate(images, 0.3, unknown=unknown)
    # a threshold that refuses everything: it has nothing to say beside a detector
    recogniser.threshold = Threshold(cosine=1.5, margin=1.5, false_rejection=0.3)
    recogniser.save(own_model)
    known = [row["known"] for row in json.loads(works("predict", own_model, other_shapes, "--json").stdout)]
    assert 0 < sum(known) < 16

    embedded, forward = [], Embedder.forward
    monkeypatch.setattr(Embedder, "forward", lambda self, x: (embedded.append(len(x)), forward(self, x))[1])
    found = json.loads(works("evaluate", own_model, other_shapes, "--json").stdout)
    assert found["accepted_as_known"] == sum(known) / 16
    assert sum(embedded) == 16


def test_evaluate_leaves_out_unknown_classes_if_asked(works: Run, model: Path, tmp_path: Path) -> None:
    data = write_arrays(tmp_path / "some.npz", np.array(["круг", "круг", "star"]))
    result = works("evaluate", model, data, "--skip-unknown", "--json")
    assert json.loads(result.stdout)["images"] == 2
    assert result.stderr == "left out 1 of 3 images, of unknown classes\n"


def test_predict_names_files_folders_and_paths_from_input(works: Run, model: Path, other_shapes: Path) -> None:
    files = sorted((other_shapes / "круг").iterdir())
    one = json.loads(works("predict", model, *files, "--json", "-k", 2).stdout)
    assert [row["image"] for row in one] == [str(path) for path in files]
    assert all(len(row["labels"]) == len(row["scores"]) == 2 and row["scores"][0] <= 1 for row in one)
    assert json.loads(works("predict", model, other_shapes / "круг", "--json", "-k", 2).stdout) == one
    text = "\n".join(map(str, files)) + "\n\n"
    assert json.loads(works("predict", model, "-", "--json", "-k", 2, text=text).stdout) == one
    lines = works("predict", model, files[0], "-k", 99).stdout.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{files[0]}: ")
    assert all(shape in lines[0] for shape in SHAPES)


def test_predict_takes_any_size(works: Run, model: Path, tmp_path: Path) -> None:
    Image.new("L", (1, 1), 0).save(tmp_path / "dot.png")
    wide = Image.new("L", (20_000, 30), 255)
    wide.paste(0, (9_000, 10, 9_020, 20))
    wide.save(tmp_path / "wide.png")
    Image.new("RGBA", (3, 700), (0, 0, 0, 0)).save(tmp_path / "tall.png")
    assert len(works("predict", model, tmp_path).stdout.splitlines()) == 3


def test_predict_skips_and_counts_bad_images(works: Run, model: Path, other_shapes: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no image")
    good = next((other_shapes / "круг").iterdir())
    result = works("predict", model, bad, good, tmp_path / "none.png", "--skip-bad")
    assert len(result.stdout.splitlines()) == 1
    assert str(bad) in result.stderr
    assert result.stderr.endswith("skipped 2 of 3 images that cannot be read\n")


def test_a_new_process_predicts_the_same_on_a_terminal_that_cannot_write_the_names(
    works: Run, model: Path, other_shapes: Path
) -> None:
    here = works("predict", model, other_shapes, "--json").stdout
    command = [sys.executable, "-m", "rootspace.cli", "predict", str(model), str(other_shapes), "--json"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "OMP_NUM_THREADS": "1"}
    there = subprocess.run(command, capture_output=True, check=True, env=environment).stdout.decode("latin-1")
    assert r"\u043a\u0440\u0443\u0433" in there  # which JSON reads as the name
    rows = list(zip(json.loads(here), json.loads(there), strict=True))
    assert [(a["image"], a["labels"], a["known"]) for a, _ in rows] == [
        (b["image"], b["labels"], b["known"]) for _, b in rows
    ]
    assert all(a["scores"] == pytest.approx(b["scores"], abs=1e-5) for a, b in rows)


def test_embed(works: Run, model: Path, other_shapes: Path, tmp_path: Path) -> None:
    works("embed", model, other_shapes, "--output", tmp_path / "new" / "e.npy")
    embeddings = np.load(tmp_path / "new" / "e.npy")
    labels = json.loads((tmp_path / "new" / "e.labels.json").read_text(encoding="utf-8"))
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (16, 64)
    assert labels["label_names"] == sorted(SHAPES)
    assert len(labels["labels"]) == 16
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["e.labels.json", "e.npy"]


def test_info_about_model_store_and_system(works: Run, model: Path, other_shapes: Path, tmp_path: Path) -> None:
    about = json.loads(works("info", model, "--json").stdout)
    assert about["classes"] == 4
    assert about["class parameters"] == 0
    assert about["backbone"]["width"] == about["preprocessing"]["size"] // 2 == 8
    shown = works("info", model).stdout
    assert "backbone  name: small_conv\n" in shown
    assert "                  width: 8\n" in shown
    assert "{" not in shown
    open_data(other_shapes).store.save(tmp_path / "store")
    assert json.loads(works("info", tmp_path / "store", "--json").stdout)["images"] == 16
    assert json.loads(works("info", "V22:41", "--json").stdout)["exactly"] == "607620"
    assert "607,620" in works("info", "V22:41").stdout
    assert "3.5e9026" in works("info", "dense:20000").stdout
    assert json.loads(works("info", "perm[1/2,0^3]", "--json").stdout)["exactly"] == "4"


def test_a_threshold_older_than_a_class_is_said_once(works: Run, own_model: Path, other_shapes: Path) -> None:
    files = sorted((other_shapes / "круг").iterdir())
    for command in (("info", own_model), ("predict", own_model, *files)):
        assert works(*command).stderr == ""
    recogniser = models.load(own_model)
    recogniser.add_classes(["star"])
    recogniser.save(own_model)
    for command in (("info", own_model, "--json"), ("predict", own_model, *files, "--json")):
        result = works(*command)
        assert "set with 4 classes, the model has 5" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        json.loads(result.stdout)


def test_device(works: Run, model: Path, other_shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device without arithmetic stands for a GPU: that a model is asked to go there is what can be seen."""
    asked = []
    load, device = models.load, processes.device
    monkeypatch.setattr(models, "load", lambda path, device: (asked.append(device.type), load(path))[1])
    monkeypatch.setattr(processes, "device", lambda cpu=False: device(cpu=True) if cpu else torch.device("meta"))
    commands = (
        ("evaluate", model, other_shapes),
        ("predict", model, other_shapes),
        ("embed", model, other_shapes, "--output", tmp_path / "e.npy"),
    )
    for command in commands:
        works(*command)
        works(*command, "--device", "cpu")
    assert asked == ["meta", "cpu"] * 3


def test_plan(works: Run) -> None:
    found = json.loads(works("plan", "--classes", 50_000, "--json").stdout)
    smallest = {row["family"]: row["n_min"] for row in found}
    assert smallest | {"A": 225, "V21": 48, "V22": 23, "W3": 35, "W4": 19} == smallest
    table = works("plan", "--classes", 10**12, "--family", "A").stdout
    assert "V11:1000001" in table
    assert "…" not in table
