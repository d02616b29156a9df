"""Every mistake ends in exit code 2, one line that says what to do, and no file left behind."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from rootspace import models
from rootspace.cli import main
from rootspace.cli.errors import explain
from rootspace.experiment import Recipe
from rootspace.train.checkpoint import claimed

from .conftest import SMALL, Run, tree, write_arrays, write_shapes

Fails = Callable[..., str]
EPOCH = (*SMALL, "--epochs", 1)


@pytest.fixture
def bad_shapes(tmp_path: Path) -> Path:
    """A folder of which one image cannot be read."""
    folder = write_shapes(tmp_path / "bad-shapes", 3, 3)
    (folder / "круг" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    return folder


# ---------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("plan --clases 4", ["No such option", "--classes", "rootspace plan --help"]),
        ("plain", ["No such command 'plain'", "rootspace --help"]),
        ("plan", ["Missing option '--classes'"]),
        ("plan --classes 0", ["--classes", "0 is not in the range"]),
        ("plan --classes many", ["'many' is not a valid integer"]),
        ("plan --classes 10 --family E9", ["no family is called 'E9'", "V22"]),
        ("train x --output o --epochs -1", ["--epochs", "-1 is not in the range"]),
        ("train x --output o --learning-rate 0", ["--learning-rate"]),
        ("train x --output o --learning-rate nan", ["learning_rate", "nan"]),
        ("train x --output o --test-share 1", ["--test-share", "range"]),
        ("train x --output o --test y --hold-out z", ["test and hold_out", "one of them"]),
        ("train --output o", ["data.path", "give DATA"]),
        ("train x --output o --set train.epoch=3", ["train.epoch:", "train.epochs?"]),
        ("train x --output o --set epochs=3", ["did you mean train.epochs?"]),
        ("train x --output o --set epochs", ["'epochs'", "KEY=VALUE"]),
        ("train x --output o --set train.epochs=three", ["train.epochs", "whole number", "'three'"]),
        ("train x --output o --seed 99999999999999999999", ["train.seed", "below 2^63"]),
        ("demo --output o --seed 99999999999999999999", ["seed", "below 2^63"]),
        # though x does not exist: nothing is read before
        ("train x --output o --set recipe.scale=-3", ["recipe.scale", "-3"]),
        ("train x --output o --set recipe.backbone.widht=8", ["'widht'", "did you mean width?"]),
        ("train x --output o --set recipe.system=V2", ["recipe.system"]),
        ("train x --output o --set recipe.normalise=bacth", ["recipe.normalise", "'bacth'"]),
        ("train x --output o --backbone small_conv --checkpoint w.safetensors", ["w.safetensors: no such file"]),
        ("train x --output o --track nothing", ["track", "'nothing'"]),
        ("train x --output o --set recipe.loss=sytem", ["recipe.loss", "'sytem'"]),
        ("train x --output o --config none.yaml", ["none.yaml", "no such file"]),
        ("train x --output o --resume --overwrite", ["--resume", "--overwrite", "one of them"]),
        ("train x", ["Missing option '--output'"]),
        ("demo --classes 1", ["--classes", "range"]),
        ("predict m", ["Missing argument 'IMAGES...'"]),
        ("predict m i -k 0", ["-k", "range"]),
        ("embed m d --output e.txt", ["e.txt", ".npy"]),
    ],
)
def test_options(fails: Fails, line: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    message = fails(*line.split())
    for word in words:
        assert word in message
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("V2x:3", ["character 1", "V22:41"]),
        ("V22:8 y V22:8", ["character 6"]),
        ("perm[1,a]", ["character 8", "a level such as"]),
        ("V99:3", ["character 1"]),
        ("", ["the end"]),
        ("dense:30", ["multiple of 4"]),
        ("runs/no/model", ["no such folder"]),
    ],
)
def test_specs(fails: Fails, spec: str, words: list[str]) -> None:
    message = fails("info", spec)
    for word in words:
        assert word in message


# ---------------------------------------------------------------------- train


def test_spec_in_train_points_at_the_place(fails: Fails, shapes: Path, tmp_path: Path) -> None:
    message = fails("train", shapes, "--output", tmp_path / "o", *EPOCH, "--system", "V22:8 z")
    assert "character 6" in message
    assert tree(tmp_path) == []


@pytest.mark.parametrize(
    ("system", "would_do"),
    [("V22:10", "V22:12 has 2,970"), ("W3:5", "W3:13"), ("A:20", "V11:46"), ("perm[2,1,0]", "V22:12")],
)
def test_more_classes_than_vectors(fails: Fails, tmp_path: Path, system: str, would_do: str) -> None:
    labels = np.repeat(np.arange(2000), 2)
    data = tmp_path / "many.npz"
    np.savez(data, images=np.zeros((4000, 4, 4), np.uint8), labels=labels)
    message = fails("train", data, "--output", tmp_path / "o", *EPOCH, "--system", system)
    assert "2,000 classes do not fit" in message
    assert would_do in message
    assert "rootspace plan --classes 2000" in message
    assert not (tmp_path / "o").exists()


def test_one_class_only(fails: Fails, tmp_path: Path) -> None:
    folder = write_shapes(tmp_path / "shapes", 0, 2, ("круг",))
    assert "only one class ('круг')" in fails("train", folder, "--output", tmp_path / "o", *EPOCH)
    data = write_arrays(tmp_path / "one.npz", np.zeros(8, np.int64))
    assert "only one class ('0')" in fails("train", data, "--output", tmp_path / "o", *EPOCH)
    assert not (tmp_path / "o").exists()


def test_data_that_is_none(fails: Fails, tmp_path: Path) -> None:
    output = ("--output", tmp_path / "o", *EPOCH)
    (tmp_path / "empty").mkdir()
    assert "holds no images" in fails("train", tmp_path / "empty", *output)
    assert "no such file or folder" in fails("train", tmp_path / "missing", *output)
    (tmp_path / "notes.txt").write_text("no data")
    assert "a file of another kind" in fails("train", tmp_path / "notes.txt", *output)
    (tmp_path / "bad.npz").write_bytes(b"PK no archive")
    assert "not a readable .npz" in fails("train", tmp_path / "bad.npz", *output)
    assert not (tmp_path / "o").exists()


def test_unreadable_image_is_named(fails: Fails, bad_shapes: Path, tmp_path: Path) -> None:
    message = fails("train", bad_shapes, "--output", tmp_path / "o", *EPOCH)
    assert str(bad_shapes / "круг" / "broken.png") in message
    assert "--skip-bad" in message
    assert not (tmp_path / "o").exists()


def test_unreadable_images_are_skipped_and_counted(works: Run, model: Path, bad_shapes: Path, tmp_path: Path) -> None:
    counted = "skipped 1 of 13 images that cannot be read: круг/broken.png"
    result = works("train", bad_shapes, "--output", tmp_path / "o", *EPOCH, "--skip-bad", "--test-share", 0)
    assert counted in result.stderr
    assert counted in works("evaluate", model, bad_shapes, "--skip-bad").stderr
    assert counted in works("embed", model, bad_shapes, "--skip-bad", "--output", tmp_path / "e.npy").stderr
    assert len(np.load(tmp_path / "e.npy")) == 12


def test_label_out_of_range(fails: Fails, model: Path, tmp_path: Path) -> None:
    data = write_arrays(tmp_path / "d.npz", np.array([0, 1, 5]), label_names=np.array(["a", "b"]))
    for command in (("train", data, "--output", tmp_path / "o", *EPOCH), ("evaluate", model, data)):
        message = fails(*command)
        assert "label 5 is out of range" in message
        assert "0 to 1" in message
    negative = write_arrays(tmp_path / "n.npz", np.array([0, 1, -1]))
    assert "label -1 is negative" in fails("evaluate", model, negative)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--backbone", "smal_conv"], ["smal_conv", "small_conv"]),
        (["--backbone", "small_vit", "--size", "4"], ["small_vit", "4 x 4", "--size"]),
        (["--backbone", "small_vit", "--width", "30"], ["divisible by heads"]),
        (["--recipe", "paper", "--margin", "0.1"], ["--margin", "cosine", "--loss"]),
        (["--loss", "cosine", "--follow", "0.5"], ["cosine", "follow"]),
        (["--assignment", "names", "--features", "backbone"], ["--features", "names"]),
        (["--hold-out", "camera"], ["no source is called 'camera'"]),
        (["--assignment", "names", "--margin", "nan"], ["margin"]),
        (["--gradient-accumulation", "999"], ["gradient_accumulation"]),
        (["--mixed-precision", "fp16", "--device", "cpu"], ["fp16", "needs a GPU"]),
        (["--learning-rate", "1e30"], ["lower learning rate"]),
    ],
)
def test_plans_that_cannot_work(
    fails: Fails, shapes: Path, tmp_path: Path, options: list[str], words: list[str]
) -> None:
    message = fails("train", shapes, "--output", tmp_path / "o", *EPOCH, *options)
    for word in words:
        assert word in message
    assert tree(tmp_path) == []


def test_test_data_with_other_classes(fails: Fails, shapes: Path, tmp_path: Path) -> None:
    other = write_arrays(tmp_path / "other.npz", np.array(["круг", "star"]))
    message = fails("train", shapes, "--output", tmp_path / "o", *EPOCH, "--test", other)
    assert message.startswith(f"{other}: classes that are not known: star")
    assert not (tmp_path / "o").exists()


# ---------------------------------------------------------------------- output folders


def test_output_in_the_way(fails: Fails, shapes: Path, tmp_path: Path) -> None:
    train = ("train", shapes, *EPOCH, "--output")
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is a file, expected an output folder" in fails(*train, file)
    assert f"{file} is a file" in fails(*train, file / "below")
    (tmp_path / "o" / "model").mkdir(parents=True)
    (tmp_path / "o" / "model" / "mine.txt").write_text("mine")
    assert "no model folder" in fails(*train, tmp_path / "o")
    assert tree(tmp_path) == ["file", "o", "o/model", "o/model/mine.txt"]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs Linux")
def test_output_that_cannot_be_written(fails: Fails, model: Path, shapes: Path, other_shapes: Path) -> None:
    assert "/proc/none" in fails("train", shapes, *EPOCH, "--output", "/proc/none/o")
    assert "/proc/none" in fails("embed", model, other_shapes, "--output", "/proc/none/e.npy")


def test_output_without_permission(fails: Fails, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootspace.cli.output.os.access", lambda _, mode, **__: not mode & os.W_OK)
    assert "no permission" in fails("train", shapes, *EPOCH, "--output", tmp_path / "o")


def test_output_that_holds_a_run(fails: Fails, trained: tuple[Path, Any], shapes: Path) -> None:
    before = tree(trained[0])
    message = fails("train", shapes, *EPOCH, "--output", trained[0])
    assert all(word in message for word in ("holds another run", "--resume", "--overwrite", "another --output"))
    assert "holds another run" in fails("demo", "--output", trained[0])
    assert tree(trained[0]) == before


def test_output_in_use(fails: Fails, trained: tuple[Path, Any], shapes: Path, tmp_path: Path) -> None:
    with claimed(tmp_path / "o"):
        message = fails("train", shapes, *EPOCH, "--output", tmp_path / "o")
        assert f"in use by another run (process {os.getpid()})" in message
        assert tree(tmp_path) == ["o", "o/.lock"]


def test_overwrite_leaves_what_is_not_a_run(works: Run, fails: Fails, shapes: Path, tmp_path: Path) -> None:
    mine = tmp_path / "o" / "training" / "photos" / "one.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    train = ("train", shapes, *EPOCH, "--output", tmp_path / "o", "--test-share", 0)
    works(*train)
    fails(*train)
    works(*train, "--overwrite", "--seed", 4)
    assert mine.read_text() == "mine"


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine", encoding="utf-8")
    return folder


def test_a_failed_start_sweeps_its_own_files_alone(fails: Fails, shapes: Path, tmp_path: Path) -> None:
    """A folder called training may be the user's own, and so may be whatever it held before."""
    train = ("train", shapes, *EPOCH, "--learning-rate", "1e30", "--output", tmp_path / "o")
    others = [f"training/photos/{name}" for name in ("metrics.jsonl", "run.json", ".lock", "tracking/events")]
    mine = write(tmp_path / "o" / "training", *(name.removeprefix("training/") for name in others)).parent
    write(mine, "training/baseline/metrics.jsonl", "training/rootspace/tracking/events", "training/settings.yaml")
    (mine / "training" / "photos" / "checkpoints").mkdir()
    before = tree(mine)
    assert "lower learning rate" in fails(*train)
    assert tree(mine) == before
    assert (mine / "training" / "rootspace" / "tracking" / "events").read_text(encoding="utf-8") == "mine"


def test_overwriting_leaves_runs_of_other_programs(works: Run, shapes: Path, tmp_path: Path) -> None:
    write(tmp_path / "o" / "training", "photos/run.json")
    train = ("train", shapes, *EPOCH, "--output", tmp_path / "o", "--test-share", 0)
    works(*train)
    works(*train, "--overwrite")
    assert (tmp_path / "o" / "training" / "photos" / "run.json").read_text(encoding="utf-8") == "mine"


def test_a_model_of_another_library_is_in_the_way(fails: Fails, shapes: Path, tmp_path: Path) -> None:
    theirs = write(tmp_path / "o" / "model", "config.json", "model.safetensors")
    (theirs / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    before = tree(tmp_path)
    assert "no model folder of rootspace" in fails("train", shapes, *EPOCH, "--output", tmp_path / "o")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("command", ["train", "demo"])
def test_resume_of_nothing(fails: Fails, shapes: Path, tmp_path: Path, command: str) -> None:
    data = [shapes] if command == "train" else []
    assert "no run to resume" in fails(command, *data, "--output", tmp_path / "o", "--resume")
    (tmp_path / "o").mkdir()
    assert "leave --resume out" in fails(command, *data, "--output", tmp_path / "o", "--resume")
    assert tree(tmp_path) == ["o"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--epochs", "11"], ["epochs 11", "began with 12"]),
        (["--scale", "8"], ["scale 8.0", f"began with {Recipe().scale}"]),
        (["--seed", "1"], ["seed 1"]),
    ],
)
def test_resume_as_another_run(
    fails: Fails, trained: tuple[Path, Any], shapes: Path, change: list[str], words: list[str]
) -> None:
    same = ("train", shapes, "--output", trained[0], *SMALL, "--batch-size", 8, "--epochs", 12, "--baseline")
    before = tree(trained[0])
    message = fails(*same, "--resume", *change)
    for word in words:
        assert word in message
    assert tree(trained[0]) == before


def test_a_run_that_is_older_than_a_setting_goes_on(
    works: Run, trained: tuple[Path, Any], shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rootspace.experiment.training.CALIBRATION_LEAST", 1)  # as it was trained
    output = Path(shutil.copytree(trained[0], tmp_path / "o"))
    settings = output / "training" / "settings.yaml"
    lines = settings.read_text(encoding="utf-8").splitlines(keepends=True)
    older = [line for line in lines if not line.startswith("  neighbours:")]
    assert len(older) == len(lines) - 1
    settings.write_text("".join(older), encoding="utf-8")
    works("train", shapes, "--output", output, *SMALL, "--batch-size", 8, "--epochs", 12, "--baseline", "--resume")


# ---------------------------------------------------------------------- models


@pytest.mark.parametrize("use", ["predict", "evaluate", "embed", "info"])
@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("no weights", "model.safetensors is missing"),
        ("no config", "config.json is missing"),
        ("other weights", "checksum mismatch, the weights"),
        ("other config", "checksum mismatch, the configuration"),
        ("no json", "not valid JSON"),
    ],
)
def test_damaged_model(
    fails: Fails, own_model: Path, other_shapes: Path, tmp_path: Path, use: str, damage: str, words: str
) -> None:
    weights, config = own_model / "model.safetensors", own_model / "config.json"
    if damage == "no weights":
        weights.unlink()
    elif damage == "no config":
        config.unlink()
    elif damage == "other weights":
        raw = bytearray(weights.read_bytes())
        raw[-1] ^= 1
        weights.write_bytes(raw)
    elif damage == "other config":
        values = json.loads(config.read_text(encoding="utf-8"))
        config.write_text(json.dumps({**values, "label_names": values["label_names"][::-1]}), encoding="utf-8")
    else:
        config.write_text("{", encoding="utf-8")
    more = {"predict": [other_shapes], "evaluate": [other_shapes], "info": []}
    before = tree(tmp_path)
    message = fails(use, own_model, *more.get(use, [other_shapes, "--output", tmp_path / "e.npy"]))
    assert words in message
    assert str(own_model) in message
    assert tree(tmp_path) == before


def test_what_is_no_model(fails: Fails, other_shapes: Path, trained: tuple[Path, Any], tmp_path: Path) -> None:
    assert "no such folder" in fails("predict", tmp_path / "none", other_shapes)
    (tmp_path / "file").write_text("no model")
    assert "expected a model folder" in fails("predict", tmp_path / "file", other_shapes)
    assert "incomplete model folder" in fails("predict", other_shapes, other_shapes)
    assert "is a file" in fails("info", tmp_path / "file")
    assert "neither a model folder" in fails("info", other_shapes)
    assert f"its model is {trained[0] / 'model'}" in fails("info", trained[0])


def test_damaged_store(fails: Fails, model: Path, other_shapes: Path, tmp_path: Path) -> None:
    from rootspace.data import open_data

    open_data(other_shapes).store.save(tmp_path / "store")
    raw = bytearray((tmp_path / "store" / "images.npy").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "store" / "images.npy").write_bytes(raw)
    assert "checksum mismatch" in fails("info", tmp_path / "store")
    assert "checksum mismatch" in fails("evaluate", model, tmp_path / "store")
    (tmp_path / "store" / "manifest.json").unlink()
    assert "manifest.json" in fails("info", tmp_path / "store")


def test_model_with_nan(fails: Fails, own_model: Path, other_shapes: Path, tmp_path: Path) -> None:
    broken = models.load(own_model)
    with torch.no_grad():
        broken.embedder.projection.weight[0, 0] = float("nan")
    broken.save(own_model)
    before = tree(tmp_path)
    for command in (
        ("predict", own_model, other_shapes),
        ("evaluate", own_model, other_shapes),
        ("embed", own_model, other_shapes, "--output", tmp_path / "e.npy"),
    ):
        assert "NaN" in fails(*command)
    assert tree(tmp_path) == before


def test_evaluate_with_unknown_classes(fails: Fails, model: Path, tmp_path: Path) -> None:
    data = write_arrays(tmp_path / "d.npz", np.array(["круг", "star", "moon"]))
    message = fails("evaluate", model, data)
    assert str(data) in message
    assert "moon, star" in message
    assert "--skip-unknown" in message
    assert "4 classes" in message
    data = write_arrays(tmp_path / "d.npz", np.array(["star", "moon"]))
    assert "none of the data's classes is known" in fails("evaluate", model, data, "--skip-unknown")


def test_predict_of_what_is_no_image(fails: Fails, model: Path, bad_shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    broken = bad_shapes / "круг" / "broken.png"
    message = fails("predict", model, broken)
    assert str(broken) in message
    assert "--skip-bad" in message
    assert "no such file" in fails("predict", model, tmp_path / "none.png")
    assert "holds no images" in fails("predict", model, tmp_path / "empty")
    assert "standard input" in fails("predict", model, "-", text="\n")
    assert "/none.png: no such file" in fails("predict", model, "-", text="/none.png\n")


def test_embed_onto_a_folder(fails: Fails, model: Path, other_shapes: Path, tmp_path: Path) -> None:
    (tmp_path / "e.npy").mkdir()
    assert "is a folder" in fails("embed", model, other_shapes, "--output", tmp_path / "e.npy")


# ---------------------------------------------------------------------- the machine


def test_no_typefaces(fails: Fails, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rootspace.data.fonts.package_folders", list)
    monkeypatch.setattr("rootspace.data.fonts.system_folders", list)
    message = fails("demo", "--output", tmp_path / "o")
    assert "found no typeface" in message
    assert "pip install 'rootspace[fonts]'" in message
    assert "--fonts" in message
    assert "no such folder" in fails("demo", "--output", tmp_path / "o", "--fonts", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "holds no typeface" in fails("demo", "--output", tmp_path / "o", "--fonts", tmp_path / "empty")
    assert not (tmp_path / "o").exists()


def test_missing_package(fails: Fails, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    message = fails("train", shapes, *EPOCH, "--output", tmp_path / "o")
    assert "pip install 'rootspace[report]'" in message
    assert tree(tmp_path) == []


def test_full_disk(works: Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")

    train = ("train", shapes, *EPOCH, "--output", tmp_path / "o", "--test-share", 0)
    monkeypatch.setattr("rootspace.models.folder.save_tensors", full)
    result = CliRunner().invoke(main, [str(part) for part in train])
    assert result.exit_code == 2
    advice = "No space left on device; make room there, or write to another place"
    assert result.stderr.splitlines()[-1] == f"Error: {tmp_path / 'o' / 'model'}: {advice}"
    assert not (tmp_path / "o" / "model").exists()
    monkeypatch.undo()
    works(*train, "--resume")
    assert (tmp_path / "o" / "model" / "config.json").is_file()


def test_a_run_goes_on_with_its_own_settings(works: Run, fails: Fails, shapes: Path, tmp_path: Path) -> None:
    output = tmp_path / "o"
    works("train", shapes, *EPOCH, "--batch-size", 8, "--output", output)
    before = (output / "training" / "settings.yaml").read_text(encoding="utf-8")
    works("train", "--output", output, "--resume")
    assert (output / "training" / "settings.yaml").read_text(encoding="utf-8") == before
    assert "cannot be resumed with" in fails("train", "--output", output, "--resume", "--batch-size", 4)


def test_a_refused_resume_changes_no_settings(fails: Fails, works: Run, shapes: Path, tmp_path: Path) -> None:
    train = ("train", shapes, *EPOCH, "--output", tmp_path / "o", "--test-share", 0)
    works(*train)
    settings = tmp_path / "o" / "training" / "settings.yaml"
    before = settings.read_bytes()
    result = CliRunner().invoke(main, [str(part) for part in (*train, "--seed", 7, "--resume")])
    assert result.exit_code == 2
    assert "the run began with 0" in result.stderr
    assert settings.read_bytes() == before
    works(*train, "--num-workers", 1, "--resume")
    assert b"num_workers: 1" in settings.read_bytes()


def test_faults_of_the_program_keep_their_traceback() -> None:
    assert explain(RuntimeError("a fault")) is None
    assert explain(MemoryError()) is not None
    assert explain(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")) is not None


def test_messages_fit_on_a_line(fails: Fails, tmp_path: Path) -> None:
    assert "no such" in fails("train", tmp_path / "two\nlines", "--output", tmp_path / "o")


def test_no_copy_of_the_run_is_needed(works: Run, model: Path, other_shapes: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(model, tmp_path / "elsewhere")
    assert works("evaluate", moved, other_shapes).stdout == works("evaluate", model, other_shapes).stdout


def test_samples_as_classes_bring_their_own_test(shapes: Path, tmp_path: Path) -> None:
    arguments = ["train", str(shapes), "--output", str(tmp_path / "run"), "--classes-from", "samples"]
    result = CliRunner().invoke(main, [*arguments, "--test", str(shapes)])
    assert result.exit_code == 2
    assert "classes_from 'samples'" in result.stderr
    assert not (tmp_path / "run").exists()
