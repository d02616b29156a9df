"""Models as files on a hub: the mixin's conventions, the card, and every way a hub can refuse; no network is used."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rootspace
from rootspace import assign, errors
from rootspace.data import Preprocessing
from rootspace.errors import InputError, MissingExtraError
from rootspace.models import Embedder, Recogniser, SmallConv, Threshold, card, located, model_card, push, write_card
from rootspace.models.folder import read_config
from rootspace.systems import V

hub = pytest.importorskip("huggingface_hub")

NAMES = ["一", "<b>two</b>", "three|3", "four", "five"]


def recogniser(backbone: nn.Module | None = None) -> Recogniser:
    torch.manual_seed(0)
    embedder = Embedder(backbone or SmallConv(width=4), 5)
    classes = assign.by_name(V(5, 2, 2), NAMES)
    return Recogniser(embedder, classes, NAMES, Preprocessing(16, 1, "stretch"), Threshold(0.5, 0.1, 0.04))


def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, 16, 16, 1), dtype=np.uint8)


RESULTS: dict[str, Any] = {
    "title": "Shapes: a *test*",
    "methods": [
        {"name": "rootspace", "top1": {"other camera": 0.9375, "a: b # c": None}, "topk": {"other camera": 0.99}},
        {"name": "linear", "top1": {"other camera": 0.1}, "topk": {}},
    ],
    "k": 5,
    "data": {"training": "120 images"},
    "environment": {"processor": "Example 9000", "torch": "2.9", "rootspace": "0.1.0"},
    "configuration": {"learning_rate": "0.006", "loss": "auto"},
    "rejection": {"n_unknown": 1200, "unknown_rejected": 0.75, "auroc": 0.912},
    "reliability": {
        "scale": 24.0,
        "before": {"error": 0.08, "n": 400},
        "temperature": 1.5,
        "after": {"error": 0.02, "n": 400},
    },
}


class Hub:
    """Stands for the hub and the library's door to it: repositories are folders under one."""

    def __init__(self, place: Path) -> None:
        self.place, self.calls, self.fails = place, [], None

    def HfApi(self, token: str | None = None) -> Hub:
        self.calls.append(("token", token))
        return self

    def create_repo(self, repo_id: str, **options: Any) -> SimpleNamespace:
        self._fail()
        self.calls.append(("repo", options))
        return SimpleNamespace(repo_id=repo_id)

    def create_branch(self, **options: Any) -> None:
        self.calls.append(("branch", options))

    def upload_folder(self, *, repo_id: str, folder_path: Path, **options: Any) -> SimpleNamespace:
        self.calls.append(("upload", options))
        shutil.copytree(folder_path, self.place / repo_id / (options["revision"] or "main"))
        return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1")

    def snapshot_download(self, repo_id: str, *, revision: str | None, **options: Any) -> str:
        self._fail()
        self.calls.append(("download", options))
        return str(self.place / repo_id / (revision or "main"))

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    made, real = Hub(tmp_path / "hub"), errors.require
    monkeypatch.setattr(
        "rootspace.models.hub.require", lambda name, extra: made if name == "huggingface_hub" else real(name, extra)
    )
    monkeypatch.chdir(tmp_path)
    return made


@pytest.mark.parametrize("name", ["from_pretrained", "save_pretrained", "push_to_hub"])
def test_signatures_are_those_of_the_mixin(name: str) -> None:
    ours, theirs = (dict(inspect.signature(getattr(kind, name)).parameters) for kind in (Recogniser, hub.ModelHubMixin))
    if name == "push_to_hub":  # which hands its options on
        ours = {**inspect.signature(push).parameters, **ours}
    for parameter in theirs.values():
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD:
            assert parameter.name in ours
            assert (ours[parameter.name].kind, ours[parameter.name].default) == (parameter.kind, parameter.default)


def test_there_and_back(fake: Hub) -> None:
    model = recogniser()
    assert model.push_to_hub("user/shapes", private=True, token="t") == "https://hub/user/shapes/commit/1"
    assert fake.calls[0] == ("token", "t")
    assert fake.calls[1] == ("repo", {"private": True, "exist_ok": True})
    assert not any(what == "branch" for what, _ in fake.calls)
    files = {path.name for path in (fake.place / "user/shapes/main").iterdir()}
    assert files == {"README.md", "config.json", "model.safetensors"}
    for again in (
        rootspace.load("user/shapes"),
        rootspace.load(Path("user/shapes")),
        Recogniser.from_pretrained("user/shapes"),
    ):
        assert torch.equal(again.embed(pixels()), model.embed(pixels()))
        assert again.threshold == model.threshold
    assert {"config.json", "model.safetensors", "README.md"} <= set(fake.calls[-1][1]["allow_patterns"])
    assert 'rootspace.load("user/shapes")' in (fake.place / "user/shapes/main/README.md").read_text(encoding="utf-8")


def test_revisions_are_kept_apart(fake: Hub) -> None:
    first, second = recogniser(), recogniser()
    second.embedder.projection.bias.data += 1
    first.push_to_hub("user/shapes", branch="v1")
    second.push_to_hub("user/shapes", branch="v2")
    assert ("branch", {"repo_id": "user/shapes", "branch": "v2", "exist_ok": True}) in fake.calls
    for revision, model in (("v1", first), ("v2", second)):
        again = rootspace.load("user/shapes", revision=revision)
        assert torch.equal(again.embed(pixels()), model.embed(pixels()))


def test_what_comes_from_a_hub_is_verified_like_a_folder(fake: Hub) -> None:
    recogniser().push_to_hub("user/shapes")
    weights = fake.place / "user/shapes/main/model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-5] ^= 4
    weights.write_bytes(raw)
    with pytest.raises(InputError, match=r"^user/shapes/model.safetensors: checksum mismatch") as caught:
        rootspace.load("user/shapes")
    assert str(fake.place) not in str(caught.value)
    weights.unlink()
    with pytest.raises(InputError, match=r"^user/shapes: incomplete model folder"):
        rootspace.load("user/shapes")


def test_a_backbone_of_ones_own(fake: Hub) -> None:
    class Own(nn.Sequential):
        feature_dim = 256

    model = recogniser(Own(nn.Flatten()))
    model.push_to_hub("user/own")
    with pytest.raises(InputError, match=r"^user/own: .*backbone="):
        rootspace.load("user/own")
    again = Recogniser.from_pretrained("user/own", backbone=Own(nn.Flatten()))
    assert torch.equal(again.embed(pixels()), model.embed(pixels()))


def test_folders_come_first_and_misspelt_ones_ask_nobody(fake: Hub, tmp_path: Path) -> None:
    fake.fails = AssertionError("the hub was asked")
    recogniser().save(tmp_path / "runs" / "model")
    assert located("runs/model", revision="v9") == Path("runs/model")
    assert len(rootspace.load("runs/model").label_names) == 5
    for wrong in ("runs/modle", "nowhere", "/no/where", "a/b/c", "../x", "~/model", "http://x/y"):
        with pytest.raises(InputError, match="no such folder; expected a model folder"):
            rootspace.load(wrong)


def http(kind: str) -> Exception:
    """One of the library's errors, as it makes them."""
    made = getattr(hub.errors, kind).__new__(getattr(hub.errors, kind))
    Exception.__init__(made, "404\nClient Error")
    return made


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (lambda: http("RepositoryNotFoundError"), "has no such repository, or not for you"),
        (lambda: http("GatedRepoError"), "users who were granted access"),
        (lambda: http("RevisionNotFoundError"), "no revision 'v3'"),
        (lambda: http("HfHubHTTPError"), r"does not take the request \(404 Client Error\)"),
        (lambda: hub.errors.LocalEntryNotFoundError("a\nb"), "cannot be reached"),
        (lambda: hub.errors.HTTPError("no route"), "no route"),
        (lambda: hub.errors.HFValidationError("Repo id must"), "Repo id must"),
        (lambda: ConnectionError("refused"), "refused"),
        (lambda: PermissionError(13, "not yours"), "not yours"),
    ],
)
def test_what_a_hub_refuses_is_one_line(fake: Hub, error: Any, message: str, tmp_path: Path) -> None:
    fake.fails = error()
    with pytest.raises(InputError, match=message) as caught:
        rootspace.load("user/none", revision="v3")
    assert str(caught.value).startswith("user/none: no such folder, and ")
    assert "\n" not in str(caught.value)
    folder = recogniser().save(tmp_path / "model")
    with pytest.raises(InputError, match=message) as caught:
        push(folder, "user/none", branch="v3")
    assert str(caught.value).startswith("user/none: cannot be pushed to, ")


def test_without_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def missing(name: str, extra: str) -> Any:
        raise MissingExtraError(f"this needs the package '{name}': pip install 'rootspace[{extra}]'")

    monkeypatch.setattr("rootspace.models.hub.require", missing)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingExtraError, match=r"user/x: no such folder; .*rootspace\[hf\]"):
        rootspace.load("user/x")
    folder = recogniser().save(tmp_path / "model")
    assert rootspace.load(folder).label_names == tuple(NAMES)
    with pytest.raises(MissingExtraError, match=r"rootspace\[hf\]"):
        push(folder, "user/x")


def test_only_whole_model_folders_are_pushed(fake: Hub, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        push(tmp_path / "none", "user/x")
    folder = recogniser().save(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(InputError, match="checksum mismatch"):
        push(folder, "user/x")
    with pytest.raises(InputError, match="config: expected None"):
        recogniser().save_pretrained(tmp_path / "other", config={})  # type: ignore[arg-type]
    assert fake.calls == []


def test_save_pretrained_pushes_under_the_folders_name(fake: Hub, tmp_path: Path) -> None:
    model = recogniser()
    assert model.save_pretrained(tmp_path / "shapes") is None
    assert fake.calls == []
    assert model.save_pretrained(tmp_path / "shapes", push_to_hub=True, private=True) == "https://hub/shapes/commit/1"
    assert model.save_pretrained(tmp_path / "shapes", push_to_hub=True, repo_id="a/b") == "https://hub/a/b/commit/1"


# ---------------------------------------------------------------------- the card


def test_the_hub_reads_the_card() -> None:
    model = recogniser()
    text = model_card({**_config(model)}, RESULTS, license="apache-2.0", repo_id="user/shapes")
    read = hub.ModelCard(text)
    assert (read.data.library_name, read.data.pipeline_tag) == ("rootspace", "image-classification")
    assert read.data.license == "apache-2.0"
    assert {"rootspace", "open-set-recognition"} <= set(read.data.tags)
    assert read.data.model_name == RESULTS["title"]
    found = [(one.dataset_name, one.metric_type, one.metric_name, one.metric_value) for one in read.data.eval_results]
    assert found == [
        ("other camera", "accuracy", "top-1 accuracy", 0.9375),
        ("other camera", "accuracy", "top-5 accuracy", 0.99),
    ]
    for said in (
        r"# Shapes: a \*test\*",
        r"5: 一, \<b\>two\</b\>, three\|3, four, five",
        "`V22:5`",
        "| other camera | 93.75 % | 99.00 % |",
        "| a: b # c | - | - |",
        "| processor | Example 9000 |",
        r"| learning\_rate | 0.006 |",
        "0.0800 over 400; at temperature 1.5, 0.0200 over 400",
        "best cosine is at least 0.500",
        "4.00 % of the images",
        "Of 1,200 images of classes never trained on, 75.00 % were refused",
        'rootspace.load("user/shapes")',
        "What it must not be used for",
    ):
        assert said in text, said


@pytest.mark.parametrize(
    "odd", ['a"b', "tab\tline\nbreak", "\u2028\x85\x7f", "\U0001f600\U000e0001", "- x: {y}", "null", "..."]
)
def test_any_name_survives_the_front_matter(odd: str) -> None:
    results = {"title": odd, "methods": [{"top1": {odd: 0.5}, "topk": {}}]}
    read = hub.ModelCard(model_card(_config(recogniser()), results))
    assert read.data.model_name == odd
    assert [one.dataset_name for one in read.data.eval_results] == [odd]


def test_the_card_of_a_model_of_texts() -> None:
    config = {**_config(recogniser()), "preprocessing": {"kind": "text", "length": 64, "tokenizer": None}}
    text = model_card(config, RESULTS)
    assert hub.ModelCard(text).data.pipeline_tag == "text-classification"
    assert "An encoder of texts" in text
    assert 'predict(["some words"]' in text
    assert "image" not in text.replace("120 images", "")


def test_a_card_without_results_claims_nothing() -> None:
    text = model_card(_config(recogniser()))
    read = hub.ModelCard(text)
    assert read.data.eval_results is None
    assert read.data.license is None
    assert "# 5 classes" in text
    assert "Not recorded in this card." in text
    assert "Nothing is recorded in this card." in text


def _config(model: Recogniser) -> dict[str, Any]:
    import tempfile

    with tempfile.TemporaryDirectory() as temporary:
        return read_config(model.save(Path(temporary) / "model"))


def test_a_generated_card_is_renewed_and_an_edited_one_kept(tmp_path: Path) -> None:
    model, folder = recogniser(), tmp_path / "model"
    model.save_pretrained(folder, model_card_kwargs={"results": RESULTS})
    path = folder / card.CARD
    assert "93.75 %" in path.read_text(encoding="utf-8")
    model.save(folder)  # what the card says is no longer of this model
    assert not path.exists()
    model.save_pretrained(folder, model_card_kwargs={"license": "mit"})
    assert "93.75 %" not in path.read_text(encoding="utf-8")
    edited = path.read_text(encoding="utf-8").replace("mit", "apache-2.0")
    path.write_text(edited, encoding="utf-8")
    (folder / "LICENSE").write_text("...", encoding="utf-8")
    (folder / ".git" / "refs").mkdir(parents=True)
    for save in (model.save, model.save_pretrained, lambda place: write_card(place, RESULTS)):
        save(folder)
        assert path.read_text(encoding="utf-8") == edited
    assert (folder / "LICENSE").exists()
    assert (folder / ".git" / "refs").is_dir()
    assert rootspace.load(folder).label_names == tuple(NAMES)
    path.write_bytes(b"\xff not text")
    model.save(folder)
    assert path.read_bytes() == b"\xff not text"


def test_a_pushed_card_names_its_repository(fake: Hub, tmp_path: Path) -> None:
    model, folder = recogniser(), tmp_path / "model"
    model.save_pretrained(folder, model_card_kwargs={"results": RESULTS})
    path = folder / card.CARD
    before = path.read_text(encoding="utf-8")
    push(folder, "someone/shapes")
    text = path.read_text(encoding="utf-8")
    assert card.is_generated(text)
    assert text.splitlines()[:-1] == before.replace("path/to/this/folder", "someone/shapes").splitlines()[:-1]
    edited = before.replace("93.75", "99.99")
    path.write_text(edited, encoding="utf-8")
    push(folder, "someone/else")
    assert path.read_text(encoding="utf-8") == edited


def test_a_card_shows_what_was_chosen_and_says_what_to_install() -> None:
    config = _config(recogniser())
    results = {**RESULTS, "configuration": {"loss": "classes", "track": [], "follow_every": None, "epoch_images": 0}}
    text = model_card({**config, "preprocessing": {"kind": "text", "length": 64, "tokenizer": None}}, results)
    assert "| loss | classes |" in text
    assert "| epoch\\_texts | 0 |" in text
    assert "track" not in text
    assert "follow" not in text
    assert "rootspace[train,hf]" in text
    config["embedder"]["backbone"] = {"name": "timm:resnet18"}
    config["threshold"] = {"cosine": 0.5, "margin": 0.1, "false_rejection": 0.04}
    text = model_card(config, {"n_calibration": 75})
    assert "rootspace[train,timm,hf]" in text
    assert "of the 75 images" in text
