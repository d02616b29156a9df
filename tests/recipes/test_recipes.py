"""Every recipe does what its page says, at a small size, against what it is compared with in the same run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

import rootspace
from rootspace import index
from rootspace.demo import demo_data

from .conftest import RECIPES, Load

SMALL = ["--width", "16", "--seed", "0"]


def test_finetuning_beats_training_from_scratch(recipe: Load) -> None:
    found = recipe("finetune").main(["--classes", "80", "--pretraining", "150", "--epochs", "8", *SMALL])
    assert found["fine-tuned"] > found["from scratch"] + 0.1
    assert found["frozen"] > found["from scratch"]
    assert found["fine-tuned"] > 0.85


def test_classes_never_trained_are_found_and_enrolled(
    recipe: Load, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found = recipe("retrieval").main(["--classes", "300", "--output", str(tmp_path), *SMALL])
    for number in ("recall@1", "mAP"):
        assert found[f"rootspace {number}"] > found[f"pixels {number}"] + 0.05
    assert found["rootspace recall@10"] >= found["rootspace recall@1"]
    assert found["enrolled top-1"] > 0.75  # of 550 classes
    assert found["trained classes top-1"] > 0.85
    assert found["database recall@1"] == pytest.approx(found["rootspace recall@1"])
    assert "250 classes never trained" in capsys.readouterr().out
    with index.open(tmp_path / "gallery.index") as database:
        assert len(database) == 250
    assert len(rootspace.load(tmp_path / "model").label_names) == 300


def test_replay_keeps_what_was_known(recipe: Load) -> None:
    found = recipe("lifelong").main(["--classes", "120", "--step", "30", "--steps", "2", *SMALL])
    assert [len(steps) for steps in found.values()] == [2, 2]
    last, forgetful = found["replay"][-1], found["no replay"][-1]
    assert last["old"] > forgetful["old"] + 0.05
    assert last["old"] > found["replay"][0]["before"] - 0.1
    assert min(last["new"], forgetful["new"]) > 0.8


def test_a_student_with_few_images_learns_from_the_teacher(recipe: Load) -> None:
    # the mean of two seeds: one alone scatters by several hundredths
    runs = [
        recipe("distil").main(["--classes", "150", "--epochs", "10", "--seed", str(seed), "--width", "32"])
        for seed in (0, 1)
    ]
    mean = {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}
    assert mean["teacher"] > mean["student with both"] > mean["student alone"]


def predicts(output: Path, printed: str) -> float:
    """The share of a held-out typeface that the model in `output` names rightly, used as the recipe says."""
    folder = output / "model"
    assert f"rootspace predict {folder} picture.png" in printed
    model = rootspace.load(folder)
    images = next(iter(demo_data(len(model.label_names), system_fonts=False).heldout.values()))
    found = model.predict(images.images_at(range(len(images))), k=1)
    return float(
        np.mean([one.labels[0] == images.label_names[label] for one, label in zip(found, images.labels, strict=True)])
    )


@pytest.mark.parametrize("flags", [[], ["--amp"], ["--compile", "aot_eager"]], ids=["plain", "amp", "compiled"])
def test_a_plain_loop(flags: list[str], recipe: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = recipe("plain_loop").main(["--classes", "100", "--epochs", "3", *SMALL, *flags, "--output", str(tmp_path)])
    assert found["before"] < 0.1
    assert found["after"] > 0.7
    assert found["scale"] != 24.0  # it is learned, so it is in the optimiser
    assert predicts(tmp_path, capsys.readouterr().out) == pytest.approx(found["after"], abs=0.011)


def test_a_plain_loop_goes_on_where_it_was(recipe: Load, tmp_path: Path) -> None:
    plain = recipe("plain_loop")
    arguments = ["--classes", "60", *SMALL, "--output", str(tmp_path), "--checkpoint"]
    whole = plain.main([*arguments, str(tmp_path / "whole.safetensors"), "--epochs", "2"])
    plain.main([*arguments, str(tmp_path / "parts.safetensors"), "--epochs", "1"])
    resumed = plain.main([*arguments, str(tmp_path / "parts.safetensors"), "--epochs", "2"])
    assert resumed["start"] == 1
    assert resumed["after"] == whole["after"]
    one, other = (load_file(tmp_path / f"{name}.safetensors") for name in ("whole", "parts"))
    assert one.keys() == other.keys()
    assert any(name.startswith("optimizer.") for name in one)
    assert all((one[name] == other[name]).all() for name in one)


@pytest.mark.filterwarnings(
    r"ignore:`isinstance\(treespec, LeafSpec\)` is deprecated:FutureWarning",
    "ignore:The '.*_dataloader' does not have many workers",
    "ignore:GPU available but not used",
)
def test_in_lightning(
    recipe: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("lightning")
    monkeypatch.chdir(tmp_path)
    found = recipe("lightning_module").main(["--classes", "100", "--epochs", "3", *SMALL])
    assert found["before"] < 0.1
    assert found["after"] > 0.7
    assert [path.as_posix() for path in Path().rglob("*.safetensors")] == ["runs/lightning/model/model.safetensors"]
    assert predicts(Path("runs/lightning"), capsys.readouterr().out) == pytest.approx(found["after"], abs=0.011)


def test_in_the_trainer(
    recipe: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    monkeypatch.chdir(tmp_path)
    trainer = recipe("trainer")
    gathered = []
    right = trainer.right
    monkeypatch.setattr(trainer, "right", lambda found: gathered.append(found.predictions.shape) or right(found))
    found = trainer.main(["--classes", "100", "--epochs", "3", *SMALL])
    assert found["before"] < 0.1
    assert found["after"] > 0.7
    assert gathered == [(100, 1), (100, 1)]  # a number a sample, no row of logits
    assert [path.name for path in Path("runs/trainer").iterdir()] == ["model"]
    assert predicts(Path("runs/trainer"), capsys.readouterr().out) == pytest.approx(found["after"], abs=0.011)


@pytest.mark.parametrize("backbone", ["timm:resnet18", "timm:tf_efficientnet_lite0"])
def test_finetuning_a_backbone_by_name(
    backbone: str, recipe: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that were drawn stand for those that would be fetched: here is no network."""
    timm, hub = pytest.importorskip("timm"), pytest.importorskip("huggingface_hub")
    asked = []

    def download(repository: str, file: str, revision: str | None) -> str:
        asked.append(repository)
        torch.manual_seed(1)
        weights = timm.create_model(backbone.removeprefix("timm:"), pretrained=False).state_dict()
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / file)
        return str(tmp_path / file)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    sizes = ["--pretraining", "5", "--classes", "10", "--images", "2", "--epochs", "1"]
    found = recipe("finetune").main(["--backbone", backbone, *sizes, "--seed", "0"])
    assert found.keys() == {"fine-tuned", "frozen", "from scratch"}
    assert all(0 <= share <= 1 for share in found.values())
    assert len(asked) == 2  # fine-tuned and frozen; from scratch fetches nothing
    assert all(repository.startswith("timm/") for repository in asked)


def test_recipes_are_short_and_each_has_its_section() -> None:
    page = (RECIPES.parent / "recipes.md").read_text(encoding="utf-8")
    files = sorted(RECIPES.glob("*.py"))
    assert len(files) >= 7
    for file in files:
        assert len(file.read_text(encoding="utf-8").splitlines()) < 120
        assert f"](recipes/{file.name})" in page
