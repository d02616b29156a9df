"""Exported models as files: the graph, and a description of it, in one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rootspace.errors import InputError, require
from rootspace.export.graph import pipeline
from rootspace.files import atomic_file, read_json, write_text
from rootspace.models import Recogniser

#: The ONNX operator set files are written in, unless another is asked for; integers of 64 bits need 18.
OPSET = 20
OPSETS = range(18, 24)

FORMAT, VERSION = "rootspace-export", 1

#: Under this name a file holds its description: JSON.
KEY = "rootspace"

#: Label names of more bytes than this go into a file of their own, beside the model.
NAMES_INSIDE = 2**22


def _order(x: Tensor, *, stable: bool, dim: int = -1, descending: bool = False) -> Tensor:
    return torch.topk(x, x.shape[dim], dim, largest=descending).indices


def _running_log_sum(x: Tensor, dim: int) -> Tensor:
    x, n = x.movedim(dim, -1), x.shape[dim]
    later = torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1)
    return x[..., None, :].masked_fill(later, float("-inf")).logsumexp(-1).movedim(-1, dim)


#: Operations of detectors that ONNX has under other names. Its TopK takes the earlier of equal values first, as a
#: stable sort does.
DECOMPOSITIONS = {torch.ops.aten.argsort.stable: _order, torch.ops.aten.logcumsumexp.default: _running_log_sum}

#: What one ONNX file can hold, with room for the graph itself.
ONNX_BYTES = 2**31 - 2**24


def to_onnx(model: Recogniser, path: str | Path, k: int = 5, opset: int = OPSET) -> list[Path]:
    """Write `model` as an ONNX file: uint8 pixels (B, H, W, C) to embedding, label, score, known if calibrated,
    and probability if a detector gives one.

    Returns the files written. The metadata entry "rootspace" is JSON: label names, and what else config.json holds.
    Label names of more than `NAMES_INSIDE` bytes are written to `path`.labels.json.
    Raises `InputError` for a model that cannot be traced or that ONNX has no operations for, an operator set out of
    range, and a model above 2 GiB.
    """
    path = _place(path, ".onnx")
    if opset not in OPSETS:
        raise InputError(f"opset: expected {OPSETS[0]} to {OPSETS[-1]}, got {opset}")
    require("onnxscript", extra="export")
    passes = require("onnx_ir.passes.common", extra="export")
    program = pipeline(model, k)
    if (size := sum(t.nbytes for t in (*program.state_dict.values(), *program.constants.values()))) > ONNX_BYTES:
        raise InputError(f"the model takes {size:,} bytes, and an ONNX file holds 2 GiB: export it as a .pt2 file")
    outputs = _outputs(program)
    with _quiet():
        try:
            written = torch.onnx.export(
                program.run_decompositions(DECOMPOSITIONS),
                (),
                dynamo=True,
                opset_version=opset,
                verbose=False,
                input_names=["pixels"],
                dynamic_shapes=({0: "batch"},),
            )
        except torch.onnx.OnnxExporterError as error:
            missing = re.search(r"op='([\w.]+)'", str(error))
            reason = f"there is no {missing[1]}" if missing else " ".join(str(error).split())[:200]
            raise InputError(f"the model cannot be written as ONNX ({reason}): export it as a .pt2 file") from error
    assert written is not None  # for the type checker: only the older exporter gives None
    # where each operation came from, with the paths of this machine
    passes.ClearMetadataAndDocStringPass()(written.model)
    _name(written.model.graph, outputs)
    about, names = _describe(model, program, path)
    written.model.metadata_props[KEY] = json.dumps(about, ensure_ascii=False)
    with atomic_file(path) as temporary:
        written.save(temporary, external_data=False)
        _check(temporary)
        if names is not None:
            write_text(_beside(path), names)
    return [path] if names is None else [path, _beside(path)]


def to_torch(model: Recogniser, path: str | Path, k: int = 5) -> list[Path]:
    """Write `model` as a torch.export program (.pt2), with the outputs of `to_onnx`.

    Its extra file "rootspace" is the description. Raises `InputError` as `to_onnx`.
    """
    path = _place(path, ".pt2")
    program = pipeline(model, k)
    about, _ = _describe(model, program, None)
    with atomic_file(path) as temporary, open(temporary, "wb") as stream, _quiet():
        torch.export.save(program, stream, extra_files={KEY: json.dumps(about, ensure_ascii=False)})
    return [path]


def _name(graph: Any, outputs: list[str]) -> None:
    """Name a graph's outputs. The exporter would too, but leaves other values of the same name, such as "embedding"."""
    computed = [value for node in graph.all_nodes() for value in node.outputs]
    for value in [*graph.initializers.values(), *computed]:
        if value.name in outputs:
            value.name = f"inner_{value.name}"
    for value, name in zip(graph.outputs, outputs, strict=True):
        value.name = name


def _check(path: Path) -> None:
    """Raise `InputError` unless the file is valid ONNX, and onnxruntime, where it is installed, can load it."""
    onnx = require("onnx", extra="export")
    try:
        onnx.checker.check_model(path)
        if find_spec("onnxruntime") is not None:
            runtime = require("onnxruntime", extra="export")
            options = runtime.SessionOptions()
            # to be loaded, not to be run
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
            options.log_severity_level = 4
            runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each library has errors of its own, of no common class
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"the model was written as ONNX, but what came out is not valid ({reason}), so it was not kept: export it "
            "as a .pt2 file, or try another operator set (--opset)"
        ) from error


def _place(path: str | Path, suffix: str) -> Path:
    path = Path(path)
    if path.suffix != suffix:
        raise InputError(f"{path}: expected a name that ends in {suffix}")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file to write")
    return path


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.labels.json")


def _outputs(program: torch.export.ExportedProgram) -> list[str]:
    return ["embedding", "label", "score", "known", "probability"][: len(program.graph_signature.user_outputs)]


def _describe(
    model: Recogniser, program: torch.export.ExportedProgram, beside: Path | None
) -> tuple[dict[str, Any], str | None]:
    """The description of a file, and the label names where they go `beside` it."""
    with tempfile.TemporaryDirectory() as folder:
        config = read_json(model.save(Path(folder) / "model") / "config.json")
    names = config.pop("label_names")
    about: dict[str, Any] = {"format": FORMAT, "version": VERSION, "outputs": _outputs(program), "model": config}
    text = json.dumps(names, ensure_ascii=False)
    if beside is None or len(text.encode()) <= NAMES_INSIDE:
        return {**about, "label_names": names}, None
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {**about, "label_names_file": _beside(beside).name, "label_names_sha256": digest}, text


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's notices are about its own insides."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
