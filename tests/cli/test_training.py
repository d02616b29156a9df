"""Runs that are stopped and go on, the demo at small size, and what starting the command costs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file

from rootspace import demo, experiment
from rootspace.cli import main, settings
from rootspace.data import images as image_module
from rootspace.data import latin
from rootspace.experiment import settings as schema
from rootspace.models import ENCODERS
from rootspace.models.backbones import weights as weights_module
from rootspace.models.embedder import NORMALISATIONS
from rootspace.train import checkpoint, config

from .conftest import SMALL, Run, write_arrays

DEVICE = ("--device", "cpu")


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "rootspace.cli", *map(str, args)]


def interrupted(until: Path, args: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own and press Ctrl-C when the file or folder `until` holds something."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment
    ) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if until.is_dir() and any(until.glob("step-*")):
                process.send_signal(signal.SIGINT)
                break
            time.sleep(0.01)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(args, process.returncode, out, err)


def test_stopped_in_either_part_a_run_goes_on_to_the_same_weights(
    works: Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = (*SMALL, *DEVICE, "--baseline", "--batch-size", 8, "--epochs", 20, "--seed", 3)
    runs = {}
    for name in ("whole", "stopped"):
        runs[name] = ("train", shapes, "--output", tmp_path / name, *options)
    works(*runs["whole"])
    steps = tmp_path / "stopped" / "training"

    found = interrupted(steps / "rootspace" / "checkpoints", command(*runs["stopped"]))
    check_stopped(found.returncode, found.stderr, steps / "rootspace")
    assert not (steps / "baseline").exists()

    def save(folder: Path, *rest: Any) -> Path:
        if folder.parent.name == "baseline":
            signal.raise_signal(signal.SIGINT)
        return saving(folder, *rest)

    saving = checkpoint.save
    monkeypatch.setattr(checkpoint, "save", save)
    result = CliRunner().invoke(main, [str(part) for part in (*runs["stopped"], "--resume")])
    monkeypatch.undo()
    check_stopped(result.exit_code, result.stderr, steps / "baseline")
    assert not (tmp_path / "stopped" / "model").exists()

    works(*runs["stopped"], "--resume")
    for part in ("model/model.safetensors", *(f"training/{name}" for name in ("rootspace", "baseline"))):
        first, second = (weights(tmp_path / name / part) for name in runs)
        assert first.keys() == second.keys()
        assert all((first[name] == second[name]).all() for name in first), part
    results = [json.loads((tmp_path / name / "results.json").read_text(encoding="utf-8")) for name in runs]
    whole, stopped = ([method["top1"] for method in found["methods"]] for found in results)
    assert whole == stopped


def check_stopped(code: int, stderr: str, saved_in: Path) -> None:
    assert code == 130, stderr
    assert "Traceback" not in stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("Stopped after step ")
    assert f"saved in {saved_in}" in last
    assert "--resume" in last


def weights(place: Path) -> dict:
    if place.suffix:
        return load_file(place)
    return load_file(max(place.glob("checkpoints/step-*")) / "state.safetensors")


def test_stopped_before_training_leaves_nothing(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rootspace.experiment.session.train", stop)
    result = CliRunner().invoke(main, ["train", str(shapes), "--output", str(tmp_path / "o"), *SMALL])
    assert result.exit_code == 130
    assert result.stderr.split() == ["Stopped."]
    assert not (tmp_path / "o").exists()


def test_stopped_between_the_trainings(shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run = ["train", str(shapes), "--output", str(tmp_path / "o"), *SMALL, *DEVICE, "--epochs", "1", "--baseline"]
    monkeypatch.setattr("rootspace.experiment.session.examine", stop)
    result = CliRunner().invoke(main, run)
    assert result.exit_code == 130
    last = result.stderr.splitlines()[-1]
    assert (
        last == f"Stopped; what was trained is saved in {tmp_path / 'o'}: run the same command with --resume to go on"
    )
    monkeypatch.undo()
    assert CliRunner().invoke(main, [*run, "--resume"]).exit_code == 0


@pytest.fixture
def few_typefaces(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The demo's machine with matplotlib's typefaces only, whose characters are Latin."""
    matplotlib = pytest.importorskip("matplotlib")
    pytest.importorskip("freetype")
    monkeypatch.setattr("rootspace.data.fonts.package_folders", list)
    monkeypatch.setattr("rootspace.data.glyphs.common_han", latin)
    monkeypatch.setattr("rootspace.demo.UNKNOWN_CLASSES", 6)
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


def test_demo(works: Run, few_typefaces: Path, tmp_path: Path) -> None:
    output = tmp_path / "demo"
    fonts = [few_typefaces / f"{name}.ttf" for name in ("DejaVuSans", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")]
    options = [part for font in fonts for part in ("--fonts", font)]
    run = ("demo", "--output", output, *options, "--packaged-fonts-only", "--classes", 20, "--epochs", 3,
           "--batch-size", 16, "--threads", 1)  # fmt: skip
    result: Result = works(*run)
    names = {path.name for path in output.iterdir()}
    assert names >= {"model", "samples", "report.html", "results.json", "figure.png", "training"}
    found = json.loads((output / "results.json").read_text(encoding="utf-8"))
    assert len(found["methods"]) == 2
    assert found["methods"][0]["head_parameters"] == 0
    assert "held out: " in result.stdout
    sample = next((output / "samples").iterdir())
    assert len(works("predict", output / "model", sample).stdout.splitlines()) == 1
    assert f"rootspace predict {output}/model" in result.stdout
    before = json.loads((output / "model" / "config.json").read_text(encoding="utf-8"))["weights_sha256"]
    works(*run, "--resume")  # a finished run is not trained again
    assert json.loads((output / "model" / "config.json").read_text(encoding="utf-8"))["weights_sha256"] == before


def test_train_on_arrays_with_the_paper_recipe(works: Run, tmp_path: Path) -> None:
    data = write_arrays(tmp_path / "d.npz", np.repeat(np.arange(6), 10))
    run = ("train", data, "--output", tmp_path / "o", "--recipe", "paper", "--epochs", 2, "--width", 4, "--threads", 1)
    works(*run)
    assert json.loads(works("info", tmp_path / "o" / "model", "--json").stdout)["assignment"] == "ShuffledAssignment"
    assert json.loads(works("evaluate", tmp_path / "o" / "model", data, "--json").stdout)["images"] == 60


# ---------------------------------------------------------------------- the command line itself


def loaded_by(*lines: str) -> set[str]:
    """The packages that commands leave imported."""
    script = (
        "import sys\nfrom rootspace.cli import main\nfor line in sys.argv[1:]:\n"
        "    try: main(line.split())\n    except SystemExit as end: assert not end.code\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    run = subprocess.run([sys.executable, "-c", script, *lines], capture_output=True, check=True)
    return set(run.stderr.decode().split())


def test_help_waits_for_nothing() -> None:
    heavy = {"torch", "numpy", "accelerate", "matplotlib", "PIL", "rich"}
    assert not loaded_by("--help", *(f"{name} --help" for name in main.commands)) & heavy


def test_plan_and_info_load_no_training_or_drawing() -> None:
    heavy = {"accelerate", "matplotlib", "PIL", "freetype", "jinja2", "safetensors"}
    assert not loaded_by("plan --classes 1000", "info V22:41") & heavy


def test_options_are_the_librarys() -> None:
    assert experiment.ASSIGNMENTS == settings.ASSIGNMENTS
    assert tuple(experiment.LOSSES) == settings.LOSSES
    assert experiment.FEATURES == settings.FEATURES
    assert tuple(experiment.AUGMENTATIONS) == settings.AUGMENTATIONS
    assert settings.FITS == image_module._FITS
    assert (settings.SCHEDULES, settings.PRECISIONS) == (config.SCHEDULES, config.PRECISIONS)
    assert settings.DEVICES == config.DEVICES
    assert settings.NORMALISATIONS == NORMALISATIONS
    assert schema.CLASSES_FROM == settings.CLASSES_FROM
    assert tuple(schema.BASES) == settings.BASES
    rates = {parameter.name: parameter.default for parameter in main.commands["demo"].params}
    assert rates["learning_rate"] == demo.LEARNING_RATE
    options = {parameter.name: parameter for parameter in main.commands["train"].params}
    recipe = experiment.Recipe()
    for name in ("assignment", "scale", "margin", "label_smoothing", "normalise"):
        value = getattr(recipe, name)
        shown = value if isinstance(value, str) else f"{value:g}"
        assert f"[default: {shown}]" in options[name].help
    assert all(name in options["backbone"].help for name in ENCODERS)


def test_options_set_what_they_say() -> None:
    """Every option's key is a setting, its shown default is the setting's, and its values arrive there."""
    defaults = schema.settings_of({"data": {"path": "photos"}}).to_dict()
    examples: dict[str, object] = {"pretrained": True, "width": 8}
    for parameter in main.commands["train"].params:
        if (key := getattr(parameter, "key", None)) is None:
            continue
        *sections, name = key.split(".")
        if name == "base" or sections == ["recipe", "backbone"]:
            schema.settings_of({"data": {"path": "photos"}}, {key: examples.get(name, "default")})
            continue
        place = defaults
        for section in sections:
            place = place[section]
        assert name in place, key
        if isinstance(parameter.default, (int, float, str)):
            assert parameter.default == place[name], key
    keys = {getattr(parameter, "key", None) for parameter in main.commands["train"].params}
    assert {f"train.{name}" for name in defaults["train"]} - keys == {"train.log_every"}


def test_settings_of_a_file_under_options(works: Run, tmp_path: Path) -> None:
    data = write_arrays(tmp_path / "d.npz", np.repeat(np.arange(6), 10))
    file = tmp_path / "run.yaml"
    file.write_text(
        f"data: {{path: {data}}}\nrecipe: {{scale: 16, backbone: {{name: small_conv, width: 4}}}}\n"
        "train: {epochs: 9, device: cpu, learning_rate: 1e-3}\n",
        encoding="utf-8",
    )
    options = ("--epochs", 1, "--set", "recipe.follow=0", "--threads", 1)
    result = works("train", "--config", file, "--output", tmp_path / "o", *options)
    stored = tmp_path / "o" / "training" / "settings.yaml"
    assert stored.read_text(encoding="utf-8") in result.stdout
    found = experiment.settings_of(experiment.read_settings(stored))
    assert (found.recipe.scale, found.recipe.follow, found.recipe.backbone["width"]) == (16, 0, 4)
    assert (found.train.epochs, found.train.learning_rate, found.data.path) == (1, 1e-3, str(data))
    works("train", "--config", stored, "--output", tmp_path / "again", "--threads", 1)
    first, second = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("o", "again"))
    assert all((first[name] == second[name]).all() for name in first)


def test_a_checkpoint_is_read_once_and_its_path_told_to_nobody(
    works: Run, model: Path, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, reading = [], weights_module.read
    monkeypatch.setattr(weights_module, "read", lambda path: (read.append(path), reading(path))[1])
    options = (*SMALL, *DEVICE, "--backbone", "small_conv", "--epochs", 1, "--test-share", 0)
    works("train", shapes, "--output", tmp_path / "o", *options, "--checkpoint", model)
    assert read == [str(model)]
    card = (tmp_path / "o" / "model" / "README.md").read_text(encoding="utf-8")
    for place in (tmp_path, model.parent, shapes.parent):
        assert str(place) not in card
    found = json.loads((tmp_path / "o" / "results.json").read_text(encoding="utf-8"))
    kept = int(found["data"]["calibration"].split()[0])
    assert f"| training | {48 - kept} images |" in card
    assert found["configuration"]["backbone"]["checkpoint"] == "model"


@pytest.mark.parametrize("name", list(main.commands))
def test_help_is_complete(works: Run, name: str) -> None:
    text = works(name, "--help").stdout
    assert "Examples:\n  rootspace " in text
    for parameter in main.commands[name].params:
        if parameter.param_type_name == "option":
            assert parameter.help, parameter.name
            assert parameter.opts[0] in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_a_closed_pipe_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    found = subprocess.run(command("train", "--help"), stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert found.stderr == b""
    assert found.returncode == 1
