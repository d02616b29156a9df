"""The model folder: model.safetensors, and config.json that says everything else. Nothing in it is run.

A model of texts that were cut into tokens has their tokenizer.json, whose checksum config.json holds.

It may hold a model card too, README.md (`rootspace.models.card`), and whatever else its owner puts there.

config.json holds the checksum of the weights, and its own: the SHA-256 of its canonical JSON without the entry
"checksum". So a damaged or edited folder is noticed before it is used; it is no signature, and whoever edits
both files can make them agree.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rootspace import __version__, assign
from rootspace.data import read_preprocessing, write_preprocessing
from rootspace.data.texts import TOKENIZER
from rootspace.errors import InputError
from rootspace.files import atomic_folder, read_json, save_tensors, sha256, write_json, write_text
from rootspace.models.card import CARD, addressed, is_generated, model_card
from rootspace.models.embedder import embedder_from
from rootspace.models.recogniser import Recogniser
from rootspace.models.unknown import Detector, Threshold

FORMAT = "rootspace-model"
VERSION = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"
_EMBEDDER, _ASSIGNMENT = "embedder.", "assignment."
_DECIDES: dict[str, type[Threshold | Detector]] = {"threshold": Threshold, "detector": Detector}


def save(model: Recogniser, folder: Path) -> Path:
    """Write `model` to `folder`, whole or not at all; in a model folder already there, weights and configuration are
    replaced.

    What else is in the folder stays, such as a README.md that somebody wrote or changed. A model card that is as it was
    generated goes, because it tells of the model before: `write_card` makes another.

    Raises `InputError` if `folder` exists and is anything else than an empty folder or a model folder of ours.
    """
    if not is_replaceable(folder):
        raise InputError(f"{folder}: exists and is no model folder of rootspace; give another")
    described, tensors = assign.save(model.assignment)
    tensors = {_ASSIGNMENT + name: tensor for name, tensor in tensors.items()}
    tensors |= {_EMBEDDER + name: tensor for name, tensor in model.embedder.state_dict().items()}
    with atomic_folder(folder) as temporary:
        plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_tensors(plain, temporary / WEIGHTS)
        config = {
            "format": FORMAT,
            "version": VERSION,
            "rootspace": __version__,
            "embedder": model.embedder.config(),
            "system": model.assignment.system.spec,
            "assignment": described,
            "preprocessing": write_preprocessing(model.preprocessing, temporary),
            "threshold": None if model.threshold is None else asdict(model.threshold),
            "detector": None if model.detector is None else asdict(model.detector),
            "weights_sha256": sha256(temporary / WEIGHTS),
            "label_names": list(model.label_names),
        }
        write_json(temporary / CONFIG, {**config, "checksum": _checksum(config)})
        _keep_the_rest(folder, temporary)
    return folder


def write_card(folder: Path, results: Mapping[str, Any] | None = None, **more: Any) -> Path:
    """Write README.md of a model folder, see `card.model_card`; one that somebody wrote or changed stays as it is.

    Delete it to have it written anew.
    """
    path = folder / CARD
    if not _is_theirs(path):
        write_text(path, model_card(read_config(folder), results, **more))
    return path


def address_card(folder: Path, repo_id: str) -> None:
    """Let the card of a model folder, if it is a generated one, load the model from `repo_id`; where there is none,
    write one.
    """
    path = folder / CARD
    if not path.exists():
        write_card(folder, repo_id=repo_id)
    elif not _is_theirs(path):
        # not read_text: it would change the ends of lines, which the card's checksum is of
        write_text(path, addressed(path.read_bytes().decode(), repo_id))


def load(folder: str | Path, backbone: nn.Module | None = None, device: torch.device | str = "cpu") -> Recogniser:
    """The model in `folder`, in evaluation mode; `backbone` is needed where it was trained with one of its own.

    Everything is verified first: a missing file, an unknown version, weights or configuration that are not as
    written, and tensors of the wrong shape are an `InputError` of one line.
    """
    folder = Path(folder)
    config = verified(folder)
    tensors = _tensors(folder)
    try:
        return _assemble(config, folder, tensors, backbone).to(device)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from None


def backbone_weights(folder: Path) -> dict[str, Tensor]:
    """The verified weights of a model folder's backbone, under the backbone's own names."""
    verified(folder)
    return _under(_EMBEDDER + "backbone.", _tensors(folder))


def _tensors(folder: Path) -> dict[str, Tensor]:
    try:
        return load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise InputError(f"{folder / WEIGHTS}: not a safetensors file ({error})") from None


def verified(folder: Path) -> dict[str, Any]:
    """The configuration of a model folder whose two files are as they were written, or an `InputError`."""
    config = read_config(folder)
    if sha256(folder / WEIGHTS) != config["weights_sha256"]:
        raise InputError(f"{folder / WEIGHTS}: checksum mismatch, the weights were altered or damaged")
    return config


def read_config(folder: Path) -> dict[str, Any]:
    """The verified config.json of a model folder that has its two files."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a model folder ({CONFIG} and {WEIGHTS})")
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"{folder}: incomplete model folder, {name} is missing")
    config = read_json(folder / CONFIG)
    if not _is_ours(config):
        raise InputError(f"{folder / CONFIG}: expected the configuration of a {FORMAT}")
    if config.get("version") != VERSION:
        raise InputError(
            f"{folder}: model format version {config.get('version')!r}, this rootspace reads {VERSION}; "
            "upgrade rootspace or save the model anew"
        )
    if config.pop("checksum", None) != _checksum(config):
        raise InputError(f"{folder / CONFIG}: checksum mismatch, the configuration was altered or damaged")
    expected = {"embedder", "assignment", "system", "preprocessing", "threshold", "weights_sha256", "label_names"}
    if missing := sorted(expected - set(config)):
        raise InputError(f"{folder / CONFIG}: {', '.join(missing)} is missing")
    return config


def _assemble(
    config: dict[str, Any], folder: Path, tensors: dict[str, Tensor], backbone: nn.Module | None
) -> Recogniser:
    names = config["label_names"]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError("label_names: expected a list of strings")
    assignment = assign.load(config["assignment"], _under(_ASSIGNMENT, tensors))
    if assignment.system.spec != config["system"]:
        raise InputError(f"the assignment is over {assignment.system.spec}, the model over {config['system']}")
    weights = _under(_EMBEDDER, tensors)
    if backbone is None:
        with torch.device("meta"):  # sizes first: a broken configuration must not fill the memory
            _check_shapes(embedder_from(config["embedder"]), weights)
    embedder = embedder_from(config["embedder"], backbone)
    _check_shapes(embedder, weights)
    embedder.load_state_dict(weights)
    preprocessing = read_preprocessing(config["preprocessing"], folder)
    # models from before detectors have no entry for one
    decides = {name: _decided_by(name, kind, config.get(name)) for name, kind in _DECIDES.items()}
    return Recogniser(embedder, assignment, names, preprocessing, **decides)


def _decided_by(name: str, kind: type[Threshold | Detector], stored: Any) -> Any:
    """A threshold or detector from what was stored of it, or None."""
    if stored is None:
        return None
    try:
        return kind(**stored)
    except TypeError:
        expected = ", ".join(field.name for field in fields(kind))
        raise InputError(f"{name}: expected {expected}, got {stored!r}") from None


def _check_shapes(module: nn.Module, tensors: dict[str, Tensor]) -> None:
    own = module.state_dict()
    if missing := [name for name in own if name not in tensors]:
        raise InputError(f"the weights of {missing[0]!r} are missing")
    if extra := [name for name in tensors if name not in own]:
        raise InputError(f"the weights hold {extra[0]!r}, which the encoder does not have")
    for name, tensor in own.items():
        if tensors[name].shape != tensor.shape or tensors[name].dtype != tensor.dtype:
            raise InputError(
                f"{name}: expected {tensor.dtype} {tuple(tensor.shape)}, "
                f"got {tensors[name].dtype} {tuple(tensors[name].shape)}"
            )


def is_replaceable(folder: Path) -> bool:
    """Whether a model may be saved there: nothing is in the place, or an empty folder, or a model folder of ours.

    Other libraries call their files config.json and model.safetensors too: it is ours by the format it names.
    """
    if not folder.is_dir():
        return not folder.exists()
    if not any(folder.iterdir()):
        return True
    try:
        return _is_ours(read_json(folder / CONFIG))
    except (InputError, OSError):
        return False


def _is_ours(config: Any) -> bool:
    return isinstance(config, dict) and config.get("format") == FORMAT


def _keep_the_rest(old: Path, new: Path) -> None:
    """Copy what is in a folder beside the model, a generated card apart."""
    for path in old.iterdir() if old.is_dir() else ():
        if path.name in (CONFIG, WEIGHTS, TOKENIZER) or (path.name == CARD and not _is_theirs(path)):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)


def _is_theirs(card: Path) -> bool:
    """Whether a card is there that is not, word for word, a generated one."""
    return card.exists() and not is_generated(card.read_bytes().decode("utf-8", "replace"))


def _checksum(config: dict[str, Any]) -> str:
    canonical = json.dumps(config, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
