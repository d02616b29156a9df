"""Settings of a run: from YAML and back, overridden, and what is wrong with them said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rootspace.errors import InputError
from rootspace.experiment import Recipe, read_settings, settings_of
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
        ({**PHOTOS, "recipe": {"backbone": "small_vit"}}, ["recipe.backbone", "'small_vit'"]),
        ({**PHOTOS, "train": {"epochs": "3"}}, ["train.epochs", "integer", "'3'"]),
        ({**PHOTOS, "train": {"epochs": 2.5}}, ["train.epochs", "2.5"]),
        ({**PHOTOS, "train": {"epochs": True}}, ["train.epochs", "True"]),
        ({**PHOTOS, "train": {"warmup": 2}}, ["train.warmup", "below 1"]),
        ({**PHOTOS, "baseline": 1}, ["baseline", "boolean"]),
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
