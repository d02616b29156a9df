"""What a report says, as plain immutable data that goes to JSON and back."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from rootspace.errors import InputError
from rootspace.evaluate import Histogram, Rejection, Reliability
from rootspace.files import read_json
from rootspace.models import Threshold

EXPLANATION = (
    "Most classifiers end in a layer that learns one row of weights for every class, so they grow with the "
    "number of classes. Here there is no such layer. Before training, every class was given its own direction "
    "in space, a predefined vector, taken from a highly symmetric set that is written down by a short formula. "
    "The encoder then learned to turn each picture into a point that lies in the direction of its class. To "
    "recognise a new picture, look which class's vector is nearest to its point."
)
"""What was done, for a person who never heard of it."""

THINGS = ("picture", "text")
"""What a model may have learned from."""


@dataclass(frozen=True)
class Curve:
    """One quantity while training: `values[i]` after `epochs[i]` epochs, at `seconds[i]` of wall time."""

    epochs: tuple[float, ...]
    seconds: tuple[float, ...]
    values: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.epochs) == len(self.seconds) == len(self.values):
            raise InputError(
                "curve: expected epochs, seconds and values of one length, "
                f"got {len(self.epochs)}, {len(self.seconds)} and {len(self.values)}"
            )


@dataclass(frozen=True)
class Method:
    """One trained model. `top1` and `topk`: held-out source -> share in [0, 1]; `seconds` and
    `images_per_second` are those of training; `head_parameters` are those that exist because of the classes.

    `accuracy` is the held-out top-1 share, `loss` the training loss, while training.
    """

    name: str
    top1: dict[str, float]
    topk: dict[str, float]
    parameters: int
    head_parameters: int
    seconds: float
    images_per_second: float
    accuracy: Curve | None = None
    loss: Curve | None = None


@dataclass(frozen=True)
class Guess:
    """A class a model named, with its score (a cosine, or a probability)."""

    label: str
    score: float


@dataclass(frozen=True)
class Sample:
    """A held-out picture (base64 PNG, see `picture`) or text, its true label, and the best classes, best first.

    `guess_picture` or `guess_text` shows the best class as it was seen in training; empty where there is none.
    """

    picture: str
    label: str
    guesses: tuple[Guess, ...]
    right: bool
    source: str = ""
    guess_picture: str = ""
    text: str = ""
    guess_text: str = ""


@dataclass(frozen=True)
class Confusion:
    """`count` of `total` held-out pictures or texts of class `true` were taken for class `predicted`.

    `picture` or `text` is one of them; `predicted_picture` (base64 PNG) or `predicted_text` the other class as it was
    seen in training.
    """

    true: str
    predicted: str
    count: int
    total: int
    picture: str = ""
    predicted_picture: str = ""
    text: str = ""
    predicted_text: str = ""


@dataclass(frozen=True)
class SystemFacts:
    """The vector system and how classes got their vectors.

    `bits_per_class`: what is stored for each class (0: its vector is worked out from a key).
    """

    spec: str
    size: int
    dim: int
    max_cosine: float
    n_classes: int
    bits_per_class: float = 0.0
    assignment: str = ""


@dataclass(frozen=True)
class NextStep:
    """A command to try, and what it does."""

    command: str
    purpose: str


@dataclass(frozen=True)
class RunReport:
    """All that a report shows. `methods[0]` is the one that `samples`, `histogram`, `reliability` and
    `confusions` are of.

    `k` is that of every `Method.topk`; `thing` what was learned from, "picture" or "text"; `new_source`: all that is
    held out comes from elsewhere than what was trained on; `threshold` the model's for "none of the known", set on
    `n_calibration` pictures or texts (None: not recorded); `rejection` how that or another one does on unknown classes;
    `created` a date as text; what is empty or None is left out.
    """

    title: str
    methods: tuple[Method, ...]
    system: SystemFacts | None = None
    k: int = 5
    thing: str = "picture"
    explanation: str = EXPLANATION
    data: dict[str, str] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    score_name: str = "cosine"
    histogram: Histogram | None = None
    rejection: Rejection | None = None
    reliability: Reliability | None = None
    confusions: tuple[Confusion, ...] = ()
    next_steps: tuple[NextStep, ...] = ()
    configuration: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    created: str = ""
    new_source: bool = False
    threshold: Threshold | None = None
    n_calibration: int | None = None

    def __post_init__(self) -> None:
        if not self.methods:
            raise InputError("report: expected at least one method, got none")
        names = [method.name for method in self.methods]
        if len(set(names)) < len(names):
            raise InputError(f"report: expected methods with different names, got {names}")
        if self.thing not in THINGS:
            raise InputError(f"report: expected a thing that is one of {', '.join(THINGS)}, got {self.thing!r}")

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the held-out sources, in the order in which the methods give them."""
        return tuple(dict.fromkeys(name for method in self.methods for name in method.top1))

    @property
    def remark(self) -> str:
        """What is not there though one may look for it: no threshold, as too little could be kept apart to set one."""
        if self.threshold is not None or self.n_calibration is None:
            return ""
        return (
            f"No threshold was set: too few {self.thing}s to keep some apart for it. "
            f'Every {self.thing} gets a class, and none is "none of the known".'
        )

    @property
    def cut(self) -> float | None:
        """The cosine below which the answer is "none of the known", as it was judged, or else as it was set."""
        if self.rejection is not None:
            return self.rejection.threshold
        return None if self.threshold is None else self.threshold.cosine

    def to_dict(self) -> dict[str, Any]:
        """As JSON values: numbers that are not finite become null, integers above 2^53 strings."""
        return _encode(self)

    @classmethod
    def from_dict(cls, value: Any) -> RunReport:
        """The inverse of `to_dict`; anything else is an `InputError` that names the place."""
        return _decode(cls, value, "report")


def read_report(path: str | Path) -> RunReport:
    """Read the results.json that `write_report` left; a missing or malformed file is an `InputError`."""
    return RunReport.from_dict(read_json(Path(path)))


def _encode(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: _encode(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _encode(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(one) for one in value]
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        # beyond 2^53 most readers of JSON round; Python refuses decimals of more than 4,300 digits
        if abs(value) <= 1 << 53:
            return value
        return str(value) if value.bit_length() < 4096 else hex(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return str(value)


def _decode(kind: Any, value: Any, where: str) -> Any:
    if kind is Any:
        return value
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        inner = next(one for one in args if one is not type(None))
        return None if value is None else _decode(inner, value, where)
    if isinstance(kind, type) and is_dataclass(kind):
        hints = get_type_hints(kind)
        if not isinstance(value, dict) or not set(value) <= set(hints):
            raise InputError(f"{where}: expected an object with {', '.join(hints)}, got {str(value)[:60]}")
        try:
            return kind(**{name: _decode(hints[name], one, f"{where}.{name}") for name, one in value.items()})
        except TypeError as error:  # a field that has no default is missing
            raise InputError(f"{where}: {error}") from None
    if origin is tuple and isinstance(value, list):
        return tuple(_decode(args[0], one, f"{where}[{i}]") for i, one in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {key: _decode(args[1], one, f"{where}.{key}") for key, one in value.items()}
    if kind is float and (value is None or type(value) in (int, float)):
        return math.nan if value is None else float(value)
    if kind is int and isinstance(value, str):
        try:
            return int(value, 0)
        except ValueError:
            pass
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise InputError(f"{where}: expected {getattr(kind, '__name__', kind)}, got {str(value)[:60]!r}")
