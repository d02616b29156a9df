"""Embedder and loss in training: on one device, in several processes, or shared out among them."""

from __future__ import annotations

import contextlib
import copy
import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rootspace.errors import InputError, require
from rootspace.train import checkpoint, processes, sharding, tracking
from rootspace.train.config import TrainConfig
from rootspace.train.hooks import Hook
from rootspace.train.optimiser import adamw

_NORMS = {nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d}


def make_accelerator(config: TrainConfig, output: Path | None = None) -> Any:
    """Accelerate for this configuration, in the group of processes that the environment names."""
    accelerate = require("accelerate", extra="train")
    trackers = tracking.options(config.track, output)
    states = require("accelerate.state", extra="train")
    # Accelerate keeps its settings for the whole process: a second `fit` may want others
    several = processes.launched() or processes.count() > 1
    states.AcceleratorState._reset_state(reset_partial_state=not several)
    processes.join(cpu=config.device == "cpu")
    try:
        accelerator = accelerate.Accelerator(
            mixed_precision=config.mixed_precision, cpu=config.device == "cpu", **trackers
        )
    except ValueError as error:
        raise InputError(f"mixed_precision {config.mixed_precision!r}: {error}; use 'no'") from None
    if config.mixed_precision == "fp16" and accelerator.device.type == "cpu":
        raise InputError("mixed_precision 'fp16' needs a GPU, this machine trains on its CPU; use 'no'")
    return accelerator


class Objective(nn.Module):
    """Embedder and loss as one module: one forward pass for autocast and for several processes."""

    def __init__(self, embedder: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.embedder = embedder
        self.loss = loss
        # what the loss stores for a class is the same in every process: it need not be sent at each step
        buffers = [name for name, _ in self.named_buffers() if name.startswith("loss.")]
        nn.parallel.DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self, buffers)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        embeddings = self.embedder(images).float()
        return self.loss(embeddings, labels), embeddings


class Engine:
    """Runs `embedder` and `loss` forwards and backwards and takes the optimiser's steps, in every process alike.

    Where they are shared out, a copy of the embedder is trained: the one given gets its weights in `whole` and at
    `close`.
    """

    def __init__(self, accelerator: Any, embedder: nn.Module, loss: nn.Module, config: TrainConfig) -> None:
        self.accelerator, self.device, self.clip_norm = accelerator, accelerator.device, config.clip_norm
        self.given = embedder
        self.shared_out = config.shard and processes.count() > 1
        embedder.to("cpu" if self.shared_out else self.device)
        loss.to(self.device)
        # once: they are made from one seed, but perhaps on machines that round differently
        processes.equalise([*_tensors(embedder), *_tensors(loss)], self.device)
        if self.shared_out:
            embedder = copy.deepcopy(embedder)
        self.backbone: nn.Module | None = getattr(embedder, "backbone", None) if config.backbone_rate != 1 else None
        self.resting = self.backbone if config.backbone_rate == 0 else None
        self.frozen = [] if self.resting is None else _freeze(self.resting)
        self.norms = _synchronise_norms(embedder, self.device)
        if self.shared_out:
            sharding.shard(embedder, self.device)
        self.objective = Objective(embedder, loss)
        self.optimizer = adamw(self.objective, config, self.backbone)
        self.model = accelerator.prepare_model(self.objective, evaluation_mode=self.shared_out)

    def train(self) -> None:
        """Training mode, but for a frozen backbone: its norms keep their statistics."""
        self.model.train()
        if self.resting is not None:
            self.resting.eval()

    def backward(self, images: Tensor, labels: Tensor, parts: int, last: bool) -> tuple[Tensor, Tensor]:
        """One batch, of `parts` that make a step, forwards and back; after the `last` all processes' gradients meet.

        Returns the loss and the embeddings (B, dim), detached. Nothing here waits for the device.
        """
        with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
            loss, embeddings = self.model(images, labels)
            self.accelerator.backward(loss / parts)
        return loss.detach(), embeddings.detach()

    def step(self) -> None:
        """One step of the optimiser, with the gradients collected since the last."""
        # not through Accelerate's wrapper, which searches the disk for an optional package at every step
        scaler, parameters = self.accelerator.scaler, list(self.objective.parameters())
        if self.shared_out:
            local = [p.grad for p in parameters if p.grad is not None and not sharding.is_shared_out(p)]
            sharding.average(local)
        if self.clip_norm:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            clip = sharding.clip if self.shared_out else nn.utils.clip_grad_norm_
            clip(parameters, self.clip_norm)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        self.optimizer.zero_grad()

    @contextlib.contextmanager
    def whole(self) -> Iterator[nn.Module]:
        """The embedder as it was given, with its present weights, and statistics that are the same in all processes."""
        processes.equalise(self.objective.embedder.buffers(), self.device)
        if self.shared_out:
            sharding.collect(self.objective.embedder, self.given)
            self.given.to(self.device)
        try:
            yield self.given
        finally:
            if self.shared_out:
                self.given.cpu()  # its place is needed for training

    def pack(self, hooks: tuple[Hook, ...]) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """What a checkpoint holds of this and the hooks; whole in the first process."""
        return checkpoint.pack(self.objective, self.optimizer, hooks, self.accelerator.scaler)

    def unpack(self, hooks: tuple[Hook, ...], state: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        """The inverse, from the tensors of the first process."""
        arriving = processes.handed_out(tensors, self.device)
        checkpoint.unpack(self.objective, self.optimizer, hooks, self.accelerator.scaler, state, arriving)

    def close(self) -> None:
        """Leave the embedder given as it came, but trained."""
        if self.shared_out:
            sharding.collect(self.objective.embedder, self.given)
            self.given.to(self.device)

    def restore(self) -> None:
        """Give back the embedder's own norms, and what was frozen its gradients."""
        for parent, name, norm in self.norms:
            setattr(parent, name, norm)
        for parameter in self.frozen:
            parameter.requires_grad_()


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


def _freeze(module: nn.Module) -> list[nn.Parameter]:
    """Let a module take no gradients; returns the parameters that did."""
    frozen = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return frozen


def _synchronise_norms(module: nn.Module, device: torch.device) -> list[tuple[nn.Module, str, nn.Module]]:
    """Let batch norms take the statistics of all processes' batches; returns what was replaced, and where.

    The new norms have the same parameters and buffers. torch's need a GPU, and norms of other kinds stay as they are.
    """
    parts = [(parent, *named) for parent in module.modules() for named in parent.named_children()]
    norms = [part for part in parts if isinstance(part[2], nn.modules.batchnorm._BatchNorm)]
    if processes.count() == 1 or not norms:
        return []
    replaced = [part for part in norms if type(part[2]) in _NORMS and device.type != "cpu"]
    for parent, name, norm in replaced:
        setattr(parent, name, nn.SyncBatchNorm.convert_sync_batchnorm(norm))
    if len(replaced) < len(norms) and processes.is_main():
        why = "torch's synchronised ones need a GPU" if device.type == "cpu" else "they are none of torch's own kinds"
        _say_once(f"batch norms ({len(norms) - len(replaced)} of {len(norms)}) stay each process's own: {why}")
    return replaced


@functools.cache
def _say_once(text: str) -> None:
    logging.getLogger(__name__).warning(text)
