"""Settings of a run: from YAML and back, overridden, and what is wrong with them said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from rootspace.data import ImageSet
from rootspace.errors import InputError
from rootspace.experiment import Recipe, read_settings, settings_of, settled
from rootspace.experiment.checks import BY_DATA, check
from rootspace.experiment.settings import as_yaml, override
from rootspace.train import TrainConfig

PHOTOS = {"data": {"path": "photos"}}


def test_defaults_are_the_dataclasses() -> None:
    found = settings_of(PHOTOS)
    assert (found.recipe, found.train) == (Recipe(), TrainConfig())


def test_yaml_and_back(tmp_path: Path) -> None:
    asked = {
        "recipe.backbone": {"name": "small_vit", "depth": 2},
        "train.learning_rate": 1e-5,
        "train.mixed_precision": "no",
        "recipe.follow": 0,
        # numbers of YAML 1.2, or of 1.1, or of both, that are texts here
        "data.path": "1e3",
        "data.test": "12e5",
        "data.text_column": "1e-3",
        "data.label_column": "010",
        "train.track": [
            "1_000",
            "1:30",
            "0x1F",
            "-.5",
            "5.",
            "+7",
            ".inf",
            "null",
            "~",
            "yes",
            "",
            "2020-01-01",
            "a: b",
        ],
    }
    found = settings_of(PHOTOS, asked)
    file = tmp_path / "settings.yaml"
    file.write_text(as_yaml(found.to_dict()), encoding="utf-8")
    assert settings_of(read_settings(file)) == found
    assert settings_of(yaml.safe_load(file.read_text(encoding="utf-8"))) == found


@pytest.mark.parametrize("value", [1e-5, 1e22, -0.5, 3.0, float("inf"), -7, True, None, "a\nb", "\x85\u2028", "- x"])
def test_any_value_comes_back_as_it_was(tmp_path: Path, value: Any) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(as_yaml({"a": {"b": [value]}}), encoding="utf-8")
    found = read_settings(file)["a"]["b"][0]
    assert (found, type(found)) == (value, type(value))


def test_a_base_stands_under_what_is_asked() -> None:
    found = settings_of({**PHOTOS, "recipe": {"base": "paper", "system": "V21"}})
    assert found.recipe == Recipe.paper(system="V21")
    assert settings_of(found.to_dict()) == found


def test_another_base_starts_a_files_recipe_anew() -> None:
    """The file that a run leaves names every value of its recipe."""
    stored = settings_of(PHOTOS, {"recipe.scale": 16, "train.epochs": 3}).to_dict()
    found = settings_of(stored, {"recipe.loss": "euclidean", "recipe.base": "paper"})
    assert found.recipe == Recipe.paper(loss="euclidean")
    assert found.train.epochs == 3
    assert settings_of(stored, {"recipe.base": "default"}).recipe == Recipe()
    assert stored["recipe"]["scale"] == 16


def test_another_backbone_drops_the_options_of_the_first() -> None:
    conv = {**PHOTOS, "recipe": {"backbone": {"name": "small_conv", "depth": 3}}}
    assert settings_of(conv, {"recipe.backbone.width": 8}).recipe.backbone["depth"] == 3
    changed = settings_of(conv, {"recipe.backbone.name": "small_vit", "recipe.backbone.width": 8})
    assert changed.recipe.backbone == {"name": "small_vit", "width": 8}


@pytest.mark.parametrize("name", [{"name": "small_conv"}, "small_conv", None])
@pytest.mark.parametrize(
    "file", [{}, {"name": "small_vit", "heads": 2}, {"name": "small_conv", "depth": 3}, {"depth": 3}]
)
def test_what_is_asked_of_a_backbone_outlives_its_name(file: dict[str, Any], name: Any) -> None:
    """`--checkpoint w --set recipe.backbone.name=small_conv` once trained from scratch."""
    options = {"recipe.backbone.checkpoint": "w.safetensors", "recipe.backbone.width": 8}
    last = {"recipe.backbone.name": "small_conv"} if name is None else {"recipe.backbone": name}
    values = {**PHOTOS, "recipe": {"backbone": file}}
    for asked in ({**options, **last}, {**last, **options}):
        found = settings_of(values, asked).recipe.backbone
        # a backbone that is given whole takes the place of the file's
        kept = {"depth": 3} if "depth" in file and not isinstance(name, dict) else {}
        assert found == {"name": "small_conv", "checkpoint": "w.safetensors", "width": 8, **kept}


def test_the_name_of_a_backbone_is_enough() -> None:
    values = {**PHOTOS, "recipe": {"backbone": "small_vit"}}
    assert settings_of(values).recipe.backbone == {"name": "small_vit"}
    assert settings_of(values, {"recipe.backbone": "small_conv"}).recipe.backbone == {"name": "small_conv"}


def test_an_empty_section_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("data:\n  path: photos\nrecipe:\n  backbone:\ntrain:\n", encoding="utf-8")
    values = read_settings(file)
    assert settings_of(values) == settings_of(PHOTOS)
    assert settings_of(values, {"train.epochs": 7}).train.epochs == 7
    with pytest.raises(InputError, match=r"data\.path"):
        settings_of({"data": None})


@pytest.mark.parametrize(
    ("section", "asked", "named"),
    [
        ({"train": {"epoch": 3}}, {}, True),
        ({"train": {"epochs": "3"}}, {}, True),
        ({"train": {"warmup": 3}}, {}, True),
        ({}, {"train.epoch": 3}, False),
        ({"train": {"epochs": 3}}, {"train.epochs": "3"}, False),
        ({"train": {"warmup": 0.5}}, {"train.warmup": 3}, False),
    ],
)
def test_errors_of_a_file_name_it(section: dict[str, Any], asked: dict[str, Any], named: bool) -> None:
    with pytest.raises(InputError) as error:
        settings_of({**PHOTOS, **section}, asked, "run.yaml")
    assert str(error.value).startswith("run.yaml: train." if named else "train."), error.value


@pytest.mark.parametrize("text", ["[" * 5000, "{a: " * 5000])
def test_nested_too_deeply(tmp_path: Path, text: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"run\.yaml: nested too deeply"):
        read_settings(file)
    with pytest.raises(InputError, match="nested too deeply"):
        override(f"train.epochs={text}")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"recipe.scale": -3}, ["recipe.scale", "-3"]),
        ({"recipe.scale": -3, "recipe.loss": "neighbours"}, ["recipe.scale", "-3"]),
        ({"recipe.neighbours": 0}, ["recipe.neighbours", "0"]),
        ({"recipe.label_smoothing": 2}, ["recipe.label_smoothing", "2"]),
        ({"recipe.follow_every": -1}, ["recipe.follow_every", "-1"]),
        ({"recipe.normalise": "bacth"}, ["recipe.normalise", "none, batch", "'bacth'"]),
        ({"recipe.system": "V2"}, ["recipe.system", "character"]),
        ({"recipe.system": "V22:41", "recipe.loss": "system", "recipe.margin": 3}, ["recipe.margin", "3"]),
        ({"recipe.backbone.widht": 8}, ["backbone small_conv", "'widht'", "did you mean width?"]),
        ({"recipe.backbone": {"name": "small_vit", "pach": 8}}, ["'pach'", "did you mean patch?"]),
        ({"recipe.backbone.name": "smal_conv"}, ["small_conv"]),
        ({"recipe.backbone.pretrained": "True", "recipe.backbone.name": "small_conv"}, ["write true"]),
        ({"recipe.backbone": {"name": "small_conv", "pretrained": True}}, ["no pretrained weights"]),
        ({"recipe.backbone.checkpoint": "no.safetensors"}, ["no.safetensors: no such file"]),
        ({"train.track": ["wandbb"]}, ["track", "wandb", "'wandbb'"]),
    ],
)
def test_what_no_data_can_mend(asked: dict[str, Any], words: list[str]) -> None:
    settings = settings_of(PHOTOS, asked)
    with pytest.raises(InputError) as error:
        check(settings, Path("out"))
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"recipe.base": "paper"},
        {"recipe.system": "V21"},
        {"recipe.system": "dense:20000"},
        {"recipe.loss": "system"},
        {"recipe.loss": "neighbours", "recipe.follow": 0.5},
        {"recipe.backbone": {"name": "auto", "embedding": 8}},
        {"recipe.backbone": {"name": "small_vit", "heads": 2, "size": 64}},
    ],
)
def test_what_works_passes(asked: dict[str, Any]) -> None:
    check(settings_of(PHOTOS, asked))


def test_the_data_choose_among_encoders_whose_options_are_checked() -> None:
    images = ImageSet.from_arrays(np.zeros((2, 8, 8, 3), np.uint8), np.arange(2))
    assert settled(Recipe(), images).backbone["name"] in BY_DATA


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("true", True),
        ("1e-3", 1e-3),
        ("010", 10.0),
        ("5", 5),
        ("", None),
        ("V22:41", "V22:41"),
        ("[a, 1]", ["a", 1]),
        ("a=b", "a=b"),
    ],
)
def test_values_of_overrides(text: str, value: Any) -> None:
    key, found = override(f"x.y={text}")
    assert (key, found, type(found)) == ("x.y", value, type(value))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, ["data.path", "give DATA"]),
        ({**PHOTOS, "trian": {}}, ["trian", "did you mean train?"]),
        ({**PHOTOS, "recipe": {"epochs": 3}}, ["recipe.epochs", "train.epochs?"]),
        ({**PHOTOS, "recipe": {"zzzz": 3}}, ["recipe.zzzz", "there are system, "]),
        ({**PHOTOS, "recipe": 3}, ["recipe: expected entries"]),
        ({**PHOTOS, "recipe": {"base": "papre"}}, ["recipe.base", "default, paper"]),
        ({**PHOTOS, "recipe": {"backbone": 3}}, ["recipe.backbone", "entries such as", "3"]),
        ({**PHOTOS, "train": {"epochs": "3"}}, ["train.epochs", "whole number", "'3'"]),
        ({**PHOTOS, "train": {"track": "wandb"}}, ["train.track", "a list such as", "'wandb'"]),
        ({**PHOTOS, "train": {"seed": 99999999999999999999}}, ["train.seed", "below 2^63"]),
        ({**PHOTOS, "train": {"epochs": None}}, ["train.epochs", "got nothing"]),
        ({**PHOTOS, "baseline": "True"}, ["baseline", "expected true or false", "write true"]),
        ({**PHOTOS, "train": {"epochs": 2.5}}, ["train.epochs", "2.5"]),
        ({**PHOTOS, "train": {"epochs": True}}, ["train.epochs", "True"]),
        ({**PHOTOS, "train": {"warmup": 2}}, ["train.warmup", "below 1"]),
        ({**PHOTOS, "baseline": 1}, ["baseline", "true or false"]),
        ({"data": {"path": "p", "test_share": 1}}, ["data.test_share", "[0, 1)"]),
        ({"data": {"path": "p", "test": "q", "hold_out": ["a"]}}, ["one of them"]),
        ({"data": {"path": "p", "test": "q", "classes_from": "samples"}}, ["unseen views"]),
        ({"data": {"path": "p", "classes_from": "files"}}, ["labels, samples", "'files'"]),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(InputError) as error:
        settings_of(values)
    assert all(word in str(error.value) for word in words), error.value
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data: {path: [}", ["line 1", "not valid YAML"]),
        ("data:\n  path: a\n  path: b\n", ["line 3", "'path' stands twice"]),
        ("photos", ["expected settings", "'photos'"]),
        ("", ["expected settings", "None"]),
        ("a: !!python/object/apply:os.system [ls]", ["not valid YAML"]),
        ("a: &a [*a]", ["plain values"]),
    ],
)
def test_files_that_are_none(tmp_path: Path, text: str, words: list[str]) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as error:
        settings_of(read_settings(file))
    assert all(word in str(error.value) for word in words), error.value


def test_an_entry_of_what_has_none() -> None:
    with pytest.raises(InputError, match="which has no entries"):
        settings_of(PHOTOS, {"data.path.first": 1})
