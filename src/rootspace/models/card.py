"""The model card: README.md of a model folder, for people, and for a hub that reads its front matter."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rootspace.markdown import escape, line

CARD = "README.md"
LIBRARY = "rootspace"
TAGS = (LIBRARY, "metric-learning", "open-set-recognition")
_SEAL = re.compile(r"<!-- rootspace card, as written: sha256 ([0-9a-f]{64}) -->\n\Z")
_LOADED = re.compile(r"^model = rootspace\.load\(.*\)$", re.MULTILINE)
_SHOWN = 12  # names of classes

_LIMITS = """\
* The shares above are of the {thing}s they name. Those of another origin (camera, typeface, writer, place) are a new
  task: measure first, with `rootspace evaluate`. A random share of the training data says less than a new source.
* Every {thing} is nearest to some class. The threshold promises how many {thing}s of *known* classes are refused, and
  nothing about how many of other classes get through; that depends on them.
* A score is a cosine, no probability. A mean over {thing}s hides classes recognised badly, rare ones above all.
* Nothing here says how the model treats groups of people. Do not let it identify people, or decide about them, without
  measurements and safeguards of your own.
* The checksums of the folder notice damage, not bad faith: they are no signature."""


def model_card(
    config: Mapping[str, Any],
    results: Mapping[str, Any] | None = None,
    *,
    license: str | None = None,
    title: str | None = None,
    repo_id: str | None = None,
) -> str:
    """The card of the model with this config.json (`folder.read_config`), as Markdown with YAML front matter.

    results: the run's results.json, for how it was trained and what was measured; without it the card says that nothing
    is recorded. license: as the hub names it, such as "apache-2.0"; without it the card names none. repo_id: where it
    is to be had from, "user/name". The last line is a checksum of the rest, by which `is_generated` knows the card.

    >>> config = {"label_names": ["a", "b"], "system": "V22:8", "assignment": {"kind": "table"}, "threshold": None,
    ...     "embedder": {"backbone": {"name": "small_conv"}, "dim": 8}, "rootspace": "0.1.0",
    ...     "preprocessing": {"size": 32, "channels": 1, "fit": "ink"}}
    >>> card = model_card(config, license="mit")
    >>> card.splitlines()[:2], is_generated(card), is_generated(card.replace("mit", "other"))
    (['---', 'library_name: "rootspace"'], True, False)
    """
    results = results or {}
    title = title or results.get("title") or f"{len(config['label_names']):,} classes"
    methods = results.get("methods") or [{}]
    thing = "text" if config["preprocessing"].get("kind") == "text" else "image"
    sections = {
        "What it is": _what(config, thing),
        "How it was trained": _training(results, thing),
        "What was measured": _measured(methods[0], results, thing),
        "None of the known": _known_or_not(config, results, thing),
        "How to use it": _use(config, repo_id, thing),
        "What it must not be used for": _LIMITS.format(thing=thing),
    }
    front = {
        "library_name": LIBRARY,
        "pipeline_tag": f"{thing}-classification",
        "tags": list(TAGS),
        **({"license": license} if license else {}),
        **_index(title, methods[0], f"{thing}-classification"),
    }
    body = "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items())
    card = "---\n" + "".join(f"{one}\n" for one in _yaml(front)) + f"---\n\n# {escape(title)}\n\n{body}\n\n"
    return _sealed(card)


def is_generated(card: str) -> bool:
    """Whether a card is as `model_card` wrote it: one that somebody changed is theirs."""
    seal = _SEAL.search(card)
    return seal is not None and seal[1] == _digest(card[: seal.start()])


def addressed(card: str, repo_id: str) -> str:
    """A generated card that loads the model from `repo_id`, "user/name"; one that somebody changed as it is."""
    seal = _SEAL.search(card)
    if seal is None or not is_generated(card):
        return card
    return _sealed(_LOADED.sub(lambda _: _load(repo_id), card[: seal.start()]))


def _sealed(card: str) -> str:
    return f"{card}<!-- rootspace card, as written: sha256 {_digest(card)} -->\n"


def _what(config: Mapping[str, Any], thing: str) -> str:
    names, embedder = config["label_names"], config["embedder"]
    shown = ", ".join(map(escape, names[:_SHOWN])) + (", ..." if len(names) > _SHOWN else "")
    stored = "worked out from a key" if config["assignment"].get("kind") == "shuffled" else "stored as a table"
    facts = {
        "classes": f"{len(names):,}: {shown}",
        "vector system": f"`{config['system']}`, one vector a class, {stored}",
        "encoder": _flat(embedder["backbone"]),
        "embedding": f"{embedder['dim']} coordinates",
        f"{thing}s": _flat(config["preprocessing"]),
        "written by": f"rootspace {config['rootspace']}",
    }
    return (
        f"An encoder of {thing}s without a classification layer: every class has one vector of a predefined system,\n"
        "and the nearest to an embedding names its class.\n\n" + _table(facts)
    )


def _training(results: Mapping[str, Any], thing: str) -> str:
    parts = [f"On {escape(results['created'])}."] if results.get("created") else []
    for name, key_of in (("Data", "data"), ("Machine and versions", "environment"), ("Recipe", "configuration")):
        # nothing and an empty list say nothing
        shown = {key: value for key, value in results.get(key_of, {}).items() if value not in (None, [], {}, "")}
        if shown:
            # settings are called after images, whatever is learned from
            facts = {escape(key.replace("image", thing)): _plain(value) for key, value in shown.items()}
            parts.append(f"{name}:\n\n{_table(facts)}")
    return "\n\n".join(parts) or "Not recorded in this card."


def _plain(value: Any) -> str:
    """A setting as text for a table's cell."""
    if isinstance(value, Mapping):
        return _flat(value)
    return escape(", ".join(map(str, value)) if isinstance(value, list) else str(value))


def _measured(method: Mapping[str, Any], results: Mapping[str, Any], thing: str) -> str:
    if not method.get("top1"):
        return "Nothing is recorded in this card."
    k = results.get("k", 5)
    rows = [line([f"held-out {thing}s", "top-1", f"top-{k}"]), line(["---", "---:", "---:"])]
    for name, share in method["top1"].items():
        rows.append(line([escape(name), _percent(share), _percent(method.get("topk", {}).get(name))]))
    found = results.get("reliability")
    if found:
        error = f"Expected calibration error of the softmax at scale {found['scale']:.4g}: {_error(found['before'])}"
        if found.get("after"):
            error += f"; at temperature {found['temperature']:.3g}, {_error(found['after'])}"
        rows += ["", f"{error}."]
    return "\n".join(rows)


def _known_or_not(config: Mapping[str, Any], results: Mapping[str, Any], thing: str) -> str:
    threshold, detector, found = config.get("threshold"), config.get("detector"), results.get("rejection")
    lines = []
    number = results.get("n_calibration")
    if threshold:
        of = f"the {number:,} {thing}s" if number else f"the {thing}s"
        lines.append(
            f"The class counts as known where the best cosine is at least {threshold['cosine']:.3f} and leads the\n"
            f"second by at least {threshold['margin']:.3f}; {_percent(threshold['false_rejection'])} of {of} "
            "of known classes kept apart were refused."
        )
    if detector:
        lines.append(f"A detector decides in its place, by {', '.join(map(escape, detector['names']))}.")
    if found:
        lines.append(
            f"Of {found['n_unknown']:,} {thing}s of classes never trained on, {_percent(found['unknown_rejected'])} "
            f"were refused (area under the ROC curve {found['auroc']:.3f})."
        )
    if not lines:
        lines.append("No threshold is set: everything gets a class.")
        if number == 0:
            lines.append(f"There were too few training {thing}s to keep some apart for one.")
    return "\n".join(lines)


def _use(config: Mapping[str, Any], repo_id: str | None, thing: str) -> str:
    sample = {"image": "picture.jpg", "text": "some words"}[thing]
    return (
        "```python\n"
        f"import rootspace  # pip install 'rootspace[{','.join(_extras(config))}]'\n"
        f"{_load(repo_id)}\n"
        f'found = model.predict(["{sample}"], k=3)[0]\n'
        'print(found.label or "none of the known", found.labels, found.scores)\n'
        "```"
    )


def _load(repo_id: str | None) -> str:
    return f"model = rootspace.load({json.dumps(repo_id or 'path/to/this/folder')})"


def _extras(config: Mapping[str, Any]) -> list[str]:
    """What it takes to load the model, from the hub too: pictures are read with `train`, backbones have their own."""
    timm = str(config["embedder"]["backbone"].get("name", "")).startswith("timm:")
    return ["train", *(["timm"] if timm else []), "hf"]


def _index(title: str, method: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The measured shares as the hub's model-index; nothing where none is finite."""
    results = []
    for name, top1 in (method.get("top1") or {}).items():
        shares = (("top-1 accuracy", top1), ("top-5 accuracy", method.get("topk", {}).get(name)))
        metrics = [{"type": "accuracy", "name": what, "value": share} for what, share in shares if _is_number(share)]
        if metrics:
            dataset = {"type": "custom", "name": name}
            results.append({"task": {"type": task}, "dataset": dataset, "metrics": metrics})
    return {"model-index": [{"name": title, "results": results}]} if results else {}


def _flat(value: Mapping[str, Any]) -> str:
    """The numbers and words of an object; what is nested in it is for programs."""
    return ", ".join(escape(f"{key} {one}") for key, one in value.items() if isinstance(one, (int, float, str)))


def _table(facts: Mapping[str, str]) -> str:
    return "\n".join([line(["", ""]), line(["---", "---"]), *(line(pair) for pair in facts.items())])


def _percent(share: Any) -> str:
    return f"{100 * share:.2f} %" if _is_number(share) else "-"


def _error(calibration: Mapping[str, Any]) -> str:
    return f"{calibration['error']:.4f} over {calibration['n']:,}"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _yaml(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """Objects, lists and scalars as YAML; the core has no YAML package, and strings of users are quoted always."""
    for key, one in value.items():
        if isinstance(one, Mapping):
            yield f"{indent}{key}:"
            yield from _yaml(one, indent + "  ")
        elif isinstance(one, list):
            yield f"{indent}{key}:"
            for item in one:
                if isinstance(item, Mapping):
                    first, *rest = _yaml(item, indent + "  ")
                    yield f"{indent}- {first.lstrip()}"
                    yield from rest
                else:
                    yield f"{indent}- {_scalar(item)}"
        else:
            yield f"{indent}{key}: {_scalar(one)}"


def _scalar(value: Any) -> str:
    """A scalar of JSON, which YAML takes, with what cannot be printed as an escape that both know."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text)


def _digest(card: str) -> str:
    return hashlib.sha256(card.encode()).hexdigest()
