"""All settings of a training run in one schema: read from YAML, overridden by dotted keys, checked, written back.

The schema is the dataclasses themselves (`Data`, `Recipe`, `TrainConfig`); pydantic checks types and unknown keys, and
the dataclasses check values.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from rootspace.data import Fields
from rootspace.errors import InputError, require
from rootspace.experiment.recipe import AUTO, Recipe
from rootspace.train import TrainConfig

CLASSES_FROM = ("labels", "samples")

#: What the section `recipe` may start from, by its entry "base".
BASES: dict[str, Callable[[], Recipe]] = {"default": Recipe, "paper": Recipe.paper}

_BASE, _BACKBONE = "base", "recipe.backbone"


@dataclass(frozen=True)
class Data:
    """What to train on, and what to test on; a value that cannot work raises `InputError`.

    path: a folder of images, an image store, shards, a list, an .npz file. test: other data of the same classes;
    hold_out: sources of the data to test on; test_share: the share tested on where neither is given.
    classes_from: "labels", or "samples" where every sample is its own class, tested on views of it never seen.
    size, channels, fit (of pictures), length, tokenizer (of texts): of the preprocessing, None leaves what the data has
    or what the backbone is used to. image_column, text_column, label_column, source_column: of a table or a saved data
    set, or keys of shards; None takes the usual names. skip_bad: leave out what cannot be read.
    """

    path: str
    test: str | None = None
    hold_out: tuple[str, ...] = ()
    test_share: float = 0.2
    classes_from: str = "labels"
    size: int | None = None
    channels: int | None = None
    fit: str | None = None
    length: int | None = None
    tokenizer: str | None = None
    image_column: str | None = None
    text_column: str | None = None
    label_column: str | None = None
    source_column: str | None = None
    skip_bad: bool = False

    def __post_init__(self) -> None:
        if self.classes_from not in CLASSES_FROM:
            raise InputError(f"classes_from: expected one of {', '.join(CLASSES_FROM)}, got {self.classes_from!r}")
        if not 0 <= self.test_share < 1:
            raise InputError(f"test_share: expected a share in [0, 1), got {self.test_share}")
        if self.test is not None and self.hold_out:
            raise InputError("test and hold_out: each says what to test on; give one of them")
        if self.classes_from == "samples" and (self.test is not None or self.hold_out):
            raise InputError("classes_from 'samples': tests on unseen views of the data; leave test and hold_out out")

    @property
    def preprocessing(self) -> dict[str, Any]:
        """What is asked of the preprocessing, by its fields."""
        names = ("size", "channels", "fit", "length", "tokenizer")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def fields(self) -> Fields:
        """The columns or keys that are named."""
        return Fields(self.image_column, self.label_column, self.source_column, self.text_column)


@dataclass(frozen=True)
class Settings:
    """A training run, as `rootspace train` takes it; baseline: train a learned linear layer as well, to compare.

    >>> settings = settings_of({"data": {"path": "photos"}}, {"train.epochs": 3, "recipe.system": "V22:41"})
    >>> settings.train.epochs, settings.recipe.system, settings.baseline
    (3, 'V22:41', False)
    >>> settings_of({"data": {"path": "photos"}, "train": {"epoch": 3}})
    Traceback (most recent call last):
    rootspace.errors.InputError: train.epoch: there is no such setting; did you mean train.epochs?
    """

    data: Data
    recipe: Recipe = field(default_factory=Recipe)
    train: TrainConfig = field(default_factory=TrainConfig)
    baseline: bool = False

    def to_dict(self) -> dict[str, Any]:
        """All settings as JSON values; `settings_of` makes the same settings of them."""
        return json.loads(json.dumps(asdict(self)))


_SECTIONS: dict[str, type] = {"data": Data, "recipe": Recipe, "train": TrainConfig}


def as_yaml(values: Mapping[str, Any]) -> str:
    """Plain values as YAML, in their order: `read_settings` reads the same values of it.

    >>> print(as_yaml({"train": {"epochs": 5, "mixed_precision": "no"}}), end="")
    train:
      epochs: 5
      mixed_precision: 'no'
    """
    yaml = require("yaml", extra="train")
    return yaml.dump(dict(values), Dumper=_dumper(yaml), sort_keys=False, allow_unicode=True)


def read_settings(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file, unchecked; what is no such file is an `InputError` naming file and line."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; expected settings in YAML") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from None
    found = _parse(text, str(path))
    if not isinstance(found, dict):
        raise InputError(f"{path}: expected settings such as 'data: {{path: photos}}', got {found!r}")
    return found


def override(text: str) -> tuple[str, Any]:
    """The dotted key and the value, read as YAML, of "recipe.scale=32"; `InputError` for what is none.

    >>> override("recipe.backbone={name: small_vit, width: 64}")
    ('recipe.backbone', {'name': 'small_vit', 'width': 64})
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise InputError(f"{text!r}: expected KEY=VALUE, such as train.epochs=10")
    return key.strip(), _parse(value, f"the value of {key.strip()}")


def settings_of(
    values: Mapping[str, Any], overrides: Mapping[str, Any] | None = None, source: str | None = None
) -> Settings:
    """The checked settings in `values` (nested, as in YAML), changed by overrides, dotted key -> value, in their order.

    The section `recipe` may hold base: "paper", whose values stand where no others are given. As an override,
    "recipe.base" starts the recipe anew: of the section in `values` nothing stays. Where overrides name another
    backbone, the options that `values` give the first are dropped. A section left empty says nothing, and a text for a
    backbone is its name. Unknown keys, wrong types, and values that cannot work are `InputError`s that name the key and
    `source`, the file that `values` are from, where it stands there.

    >>> settings_of({"data": {"path": "photos"}, "recipe": {"loss": "system"}}, {"recipe.base": "paper"}).recipe.loss
    'cosine'
    """
    try:
        merged = json.loads(json.dumps(values, default=str))
    except (ValueError, RecursionError) as error:
        raise InputError(f"settings: expected plain values ({error})") from None
    _fill(merged)
    _check_keys(merged, Settings, file="" if source is None else f"{source}: ")
    overrides = _spread(overrides or {})
    if f"recipe.{_BASE}" in overrides:
        # the file of a run names every value of its recipe, and so would leave nothing of another base
        merged["recipe"] = {}
    _drop_options_of_another(merged.get("recipe"), overrides)
    for key, value in overrides.items():
        _set(merged, key, value)
    _fill(merged)
    _check_keys(merged, Settings)
    recipe = merged.get("recipe")
    if isinstance(recipe, dict) and _BASE in recipe:
        merged["recipe"] = _based(recipe)
    if not (isinstance(merged.get("data"), dict) and merged["data"].get("path") is not None):
        raise InputError("data.path: expected what to train on, got nothing; give DATA or data.path")
    pydantic = require("pydantic", extra="train")
    try:
        # JSON's strict mode takes a list for a tuple, and neither "3" nor true for 3
        return pydantic.TypeAdapter(Settings).validate_json(json.dumps(merged), strict=True)
    except pydantic.ValidationError as error:
        key, message = _explained(error.errors())
        asked = any(key == one or key.startswith(f"{one}.") for one in overrides)
        raise InputError(message if source is None or asked else f"{source}: {message}") from None


def _fill(values: Any) -> None:
    """Take an empty section as one that says nothing, and a text for a backbone as its name, in place."""
    if not isinstance(values, dict):
        return
    for name in _SECTIONS:
        if name in values and values[name] is None:
            values[name] = {}
    recipe = values.get("recipe")
    if isinstance(recipe, dict) and "backbone" in recipe:
        if recipe["backbone"] is None:
            del recipe["backbone"]
        elif isinstance(recipe["backbone"], str):
            recipe["backbone"] = {"name": recipe["backbone"]}


def _spread(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The overrides, with a key for each entry of a backbone that is given whole."""
    found: dict[str, Any] = {}
    for key, value in overrides.items():
        if key == _BACKBONE and isinstance(value, str):
            found[f"{key}.name"] = value
        elif key == _BACKBONE and isinstance(value, dict):
            found |= {_BACKBONE: {}, **{f"{key}.{name}": entry for name, entry in value.items()}}
        else:
            found[key] = value
    # in place of the file's; what else is asked of it comes on top
    whole = {key: value for key, value in found.items() if key == _BACKBONE}
    return whole | found


def _drop_options_of_another(recipe: Any, overrides: Mapping[str, Any]) -> None:
    """Where a backbone is asked for, take away what the file says of one with another name."""
    backbone = recipe.get("backbone") if isinstance(recipe, dict) else None
    asked = overrides.get(f"{_BACKBONE}.name")
    # of one that has no name, or will be chosen by the data, the options are meant for any
    if isinstance(backbone, dict) and asked is not None and backbone.get("name", AUTO) not in (AUTO, asked):
        recipe["backbone"] = {}


def _based(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe's entries upon those of its base."""
    base = recipe[_BASE]
    if base not in BASES:
        raise InputError(f"recipe.base: expected one of {', '.join(BASES)}, got {base!r}")
    return {**asdict(BASES[base]()), **{name: value for name, value in recipe.items() if name != _BASE}}


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key."""
    *parents, last = key.split(".")
    place = values
    for depth, name in enumerate(parents):
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            raise InputError(f"{key}: {'.'.join(parents[: depth + 1])} is {inner!r}, which has no entries")
        place = inner
    place[last] = value


def _check_keys(values: Any, kind: type, where: str = "", file: str = "") -> None:
    """Raise `InputError` for a key that the dataclass `kind` does not have, naming the nearest that there is."""
    known = _keys(kind)
    if not isinstance(values, dict):
        raise InputError(f"{file}{where.rstrip('.')}: expected entries such as {known[0]}, got {values!r}")
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{file}{where}{name}: there is no such setting; {_nearest(name, known, where)}")
        if kind is Settings and name in _SECTIONS:
            _check_keys(value, _SECTIONS[name], f"{name}.", file)


def _keys(kind: type) -> list[str]:
    return [entry.name for entry in fields(kind)] + ([_BASE] if kind is Recipe else [])


def _nearest(name: str, known: Sequence[str], where: str) -> str:
    """What may have been meant by a key, in its section or another."""
    names = {f"{where}{key}": key for key in known}
    names |= {f"{section}.{key}": key for section, kind in _SECTIONS.items() for key in _keys(kind)}
    alike = {full: difflib.SequenceMatcher(None, name, key).ratio() for full, key in names.items()}
    best = max(alike, key=alike.__getitem__)
    return f"did you mean {best}?" if alike[best] > 0.6 else f"there are {', '.join(known)}"


#: What is expected, by the kind of error of pydantic, whose own words are those of JSON.
_EXPECTED = {
    "bool_type": "true or false",
    "dataclass_type": "entries",
    "dict_type": "entries such as 'name: small_conv'",
    "float_type": "a number",
    "int_from_float": "a whole number",
    "int_type": "a whole number",
    "list_type": "a list such as [one, another]",
    "string_type": "a text",
    "tuple_type": "a list such as [one, another]",
}


def _explained(errors: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """The key, and one line, for what pydantic found wrong."""
    first = errors[0]
    where, message = ".".join(str(part) for part in first["loc"]), first["msg"]
    if first["type"] == "value_error":
        # raised by a dataclass, whose message begins with the field
        message = str(first["ctx"]["error"])
        message = f"{where}.{message}" if where else message
        return message.partition(":")[0], message
    expected = _EXPECTED.get(first["type"])
    message = f"expected {expected}" if expected else message[:1].lower() + message[1:]
    value = first["input"]
    got = "nothing" if value is None else repr(value)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        got += f"; write {value.lower()}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return where, f"{where}: {message}, got {got}{more}"


def _parse(text: str, where: str) -> Any:
    """The value that a YAML text holds, or `InputError`."""
    yaml = require("yaml", extra="train")
    try:
        return yaml.load(text, Loader=_loader(yaml))
    except RecursionError:
        raise InputError(f"{where}: nested too deeply for settings") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise InputError(f"{where}{place}: not valid YAML ({getattr(error, 'problem', None) or error})") from None


# By YAML 1.2: what a plain scalar is that is no text, and what it may begin with.
_SCALARS = (
    ("null", r"^(?:null|~|)$", ["n", "~", ""]),
    ("bool", r"^(?:true|false)$", ["t", "f"]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789")),
    ("float", r"^(?:[-+]?\.inf|\.nan)$", list("-+.")),
)


def _loader(yaml: Any) -> type:
    """A loader of plain values, by YAML 1.2 where it differs: "no" is a text, 1e-3 a number; no key stands twice."""

    class Loader(yaml.SafeLoader):
        yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for position, key in enumerate(keys):
                if key in keys[:position]:
                    mark = node.value[position][0].start_mark
                    raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", mark)
            return super().construct_mapping(node, deep)

    for tag, pattern, first in _SCALARS:
        Loader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)
    return Loader


def _dumper(yaml: Any) -> type:
    """A dumper that quotes the texts which that loader, or one of YAML 1.1, would take for something else."""

    class Dumper(yaml.SafeDumper):
        def represent_text(self, text: str) -> Any:
            # between other quotes rare line breaks are folded away
            style = '"' if set(text) & set("\x85\u2028\u2029") else None
            return self.represent_scalar("tag:yaml.org,2002:str", text, style)

    Dumper.add_representer(str, Dumper.represent_text)
    for tag, pattern, first in _SCALARS:
        Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)
    return Dumper
