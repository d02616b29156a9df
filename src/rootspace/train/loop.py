"""The training loop. `fit` is the whole of it; it reads top to bottom.

What happens at a step depends on nothing but (seed, step): the order of the data, the augmentation and dropout
draw from generators seeded anew at every step. So no generator's state is stored, and a run that is resumed,
also in the middle of an epoch, comes to the same weights as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rootspace.data import ImageSet, batches, to_tensor
from rootspace.errors import InputError, require
from rootspace.evaluate import accuracy
from rootspace.files import write_json
from rootspace.train import checkpoint
from rootspace.train.config import TrainConfig, learning_rate_at
from rootspace.train.display import Display, show
from rootspace.train.history import EpochRecord, History, Log, StepRecord
from rootspace.train.hooks import Hook, Plan
from rootspace.train.interrupt import Interrupted, StopFlag
from rootspace.train.optimiser import adamw
from rootspace.train.setup import (
    check_inputs,
    check_same_run,
    classifier_of,
    fingerprint,
    make_accelerator,
    make_plan,
)

Augmentation = Callable[[Tensor, torch.Generator], Tensor]
ACCURACY_SAMPLES = 256
ACCURACY_SHARE = 0.02  # of the time, at most, goes into the training accuracy that is shown


class DivergedError(InputError):
    """The loss is no longer a finite number."""


def fit(
    embedder: nn.Module,
    loss: nn.Module,
    train_set: ImageSet,
    config: TrainConfig,
    *,
    output: str | Path | None = None,
    heldout: Mapping[str, ImageSet] | None = None,
    augment: Augmentation | None = None,
    hooks: Sequence[Hook] = (),
    resume: bool = False,
    progress: bool | None = None,
) -> History:
    """Train `embedder` (images to embeddings (B, dim)) and `loss` in place, and return what was measured.

    `heldout` sets are evaluated after every epoch with the loss's `nearest`, or its assignment's. With
    `output`, that folder gets metrics.jsonl and checkpoints, and `resume=True` goes on where the last
    checkpoint stands; Ctrl-C or SIGTERM then saves at the end of the step and raises `Interrupted`.
    Embedder and loss may have been compiled in place (`embedder.compile()`).

    Raises `InputError` where data, model, configuration or output folder do not fit together, and
    `DivergedError` naming the step whose loss was not finite.
    """
    if resume and output is None:
        raise InputError("resume: expected the output folder of the run to continue, got none")
    heldout = dict(heldout or {})
    accelerator = make_accelerator(config)
    objective = _Objective(embedder, loss)
    with contextlib.ExitStack() as stack:
        if output is not None:
            output = Path(output)
            if accelerator.is_main_process:
                stack.enter_context(checkpoint.claimed(output))
        check_inputs(embedder, loss, train_set, heldout)
        plan = make_plan(train_set, config, accelerator)
        objective.to(accelerator.device)
        optimizer = adamw(objective, config)
        run = _Run(
            accelerator=accelerator,
            config=config,
            plan=plan,
            train_set=train_set,
            heldout=heldout,
            objective=objective,
            model=accelerator.prepare_model(objective),
            optimizer=optimizer,
            augment=augment,
            hooks=tuple(hooks),
            output=output,
            stop=stack.enter_context(StopFlag().listening()),
            display=Display(),
        )
        for hook in hooks:
            hook.on_start(plan)
        run.open(fingerprint(config, train_set, loss, augment, hooks), resume)
        stack.callback(run.log.close)
        if accelerator.is_main_process:
            run.display = show(progress)
        stack.callback(lambda: run.display.close())
        run.display.start(plan, run.state.step)
        for epoch in range(run.state.epochs_done, config.epochs):
            run.train_epoch(epoch)
            run.finish_epoch(epoch)
        return run.log.history()


class _Objective(nn.Module):
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


@dataclass
class _State:
    """How far a run is: everything a checkpoint holds beside tensors."""

    step: int = 0
    epochs_done: int = 0
    records: int = 0
    epoch_loss: float = 0.0
    epoch_accuracy: float | None = None
    epoch_seconds: float = 0.0


@dataclass
class _Run:
    accelerator: Any
    config: TrainConfig
    plan: Plan
    train_set: ImageSet
    heldout: dict[str, ImageSet]
    objective: _Objective
    model: nn.Module
    optimizer: torch.optim.Optimizer
    augment: Augmentation | None
    hooks: tuple[Hook, ...]
    output: Path | None
    stop: StopFlag
    display: Display

    def __post_init__(self) -> None:
        self.state = _State()
        self.log = Log(None)
        self.device = self.plan.device
        self.generator = torch.Generator(self.device)
        self.classifier = classifier_of(self.objective.loss)
        self.parts = (self.objective, self.optimizer, self.hooks, self.accelerator.scaler)
        self.losses: list[Tensor] = []  # since the last record, still on the device
        self.seen = 0  # steps since the last record
        self.clock = time.perf_counter()
        self.accuracy_cost, self.accuracy_time = 0.0, 0.0

    def train_epoch(self, epoch: int) -> None:
        """The rest of an epoch, from the state's step to its end."""
        self.model.train()
        self.clock = time.perf_counter()
        end = (epoch + 1) * self.plan.steps_per_epoch
        loader = self.loader(epoch, first_step=self.state.step - epoch * self.plan.steps_per_epoch)
        while self.state.step < end:
            step = self.state.step
            embeddings, labels = self.train_step(step, loader)
            self.state.step += 1
            self.seen += 1
            last = self.state.step == end
            every = self.config.checkpoint_every
            saving = not last and every > 0 and self.state.step % every == 0
            # several processes must come here together, so there the flag is looked at when a record is due
            asked = bool(self.stop) and self.plan.processes == 1
            if last or saving or asked or self.state.step % self.config.log_every == 0:
                self.record(epoch, embeddings, labels, final=last)
                if self.stopping():
                    self.interrupt()
            if saving:
                self.save()
            self.display.step(self.state.step)

    def train_step(self, step: int, loader: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """One optimiser step; nothing here waits for the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.config, step, self.plan.steps)
        for part in range(self.plan.accumulation):
            images, labels = next(loader)
            self.seed_everything(step, part)
            images = to_tensor(images.to(self.device, non_blocking=True))
            labels = labels.to(self.device, non_blocking=True)
            if self.augment is not None:
                images = self.augment(images, self.generator)
            last = part == self.plan.accumulation - 1
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.model):
                loss, embeddings = self.model(images, labels)
                self.accelerator.backward(loss / self.plan.accumulation)
            self.losses.append(loss.detach())
            embeddings = embeddings.detach()
            for hook in self.hooks:
                hook.on_batch(step, embeddings, labels)
        self.optimizer_step()
        return embeddings, labels

    def optimizer_step(self) -> None:
        # not through Accelerate's wrapper, which searches the disk for an optional package at every step
        scaler = self.accelerator.scaler
        if self.config.clip_norm:
            if scaler is not None:
                scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.objective.parameters(), self.config.clip_norm)
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)
            scaler.update()
        self.optimizer.zero_grad()

    def finish_epoch(self, epoch: int) -> None:
        """Evaluate, record, tell the hooks, and save: the state is then that of the next epoch's start."""
        state, plan = self.state, self.plan
        record = EpochRecord(
            epoch=epoch,
            step=state.step,
            loss=state.epoch_loss / (plan.steps_per_epoch * plan.accumulation),
            accuracy=state.epoch_accuracy,
            seconds=round(state.epoch_seconds, 3),
            images_per_second=round(plan.steps_per_epoch * plan.images_per_step / max(state.epoch_seconds, 1e-9), 1),
            heldout={name: self.evaluate(images) for name, images in self.heldout.items()},
        )
        self.log.add(record)
        self.display.epoch(record)
        for hook in self.hooks:
            hook.on_epoch(epoch, asdict(record))
        self.state = _State(step=state.step, epochs_done=epoch + 1)
        self.save()
        if self.stopping():
            self.interrupt(saved=True)

    def evaluate(self, images: ImageSet) -> dict[str, float]:
        """Top-1 and top-5 shares, each process on its part of the images."""
        rank, processes = self.accelerator.process_index, self.plan.processes
        part = images.select(np.arange(rank, len(images), processes)) if processes > 1 else images
        hits = torch.zeros(3, dtype=torch.float64)
        if len(part):
            found = accuracy(self.objective.embedder, self.classifier, part, k=(1, 5))
            hits = torch.tensor([found.top[1] * found.n, found.top[5] * found.n, found.n], dtype=torch.float64)
        top1, top5, total = self.reduce(hits.float(), "sum").tolist()
        return {"top1": top1 / total, "top5": top5 / total}

    def record(self, epoch: int, embeddings: Tensor, labels: Tensor, final: bool) -> None:
        """Fetch the losses since the last record (the only wait for the device), check and log them."""
        losses = self.reduce(torch.stack(self.losses).float(), "mean").tolist()
        now = time.perf_counter()
        seconds, self.clock = now - self.clock, now
        first = (self.state.step - self.seen) * self.plan.accumulation
        for number, value in enumerate(losses, first):
            if not math.isfinite(value):
                self.diverged(number // self.plan.accumulation, value)
        self.state.epoch_loss += sum(losses)
        self.state.epoch_seconds += seconds
        # a classifier over very many classes is slow on a CPU: it gets a share of the time, no more
        self.accuracy_time += seconds
        top1 = None
        if final or self.accuracy_cost <= ACCURACY_SHARE * self.accuracy_time:
            top1 = self.state.epoch_accuracy = self.batch_accuracy(embeddings, labels)
        record = StepRecord(
            step=self.state.step,
            epoch=epoch,
            loss=sum(losses) / len(losses),
            accuracy=top1,
            learning_rate=learning_rate_at(self.config, self.state.step - 1, self.plan.steps),
            images_per_second=round(self.seen * self.plan.images_per_step / max(seconds, 1e-9), 1),
        )
        self.losses.clear()
        self.seen = 0
        self.log.add(record)
        self.display.record(record)

    def batch_accuracy(self, embeddings: Tensor, labels: Tensor) -> float:
        begun = time.perf_counter()
        few = slice(ACCURACY_SAMPLES)
        with torch.no_grad():
            _, nearest = self.classifier.nearest(embeddings[few], 1)
            share = (nearest[:, 0] == labels[few]).float().mean()
        value = float(share)  # of this process: when it is due depends on the clock, so the others cannot be asked
        self.accuracy_cost, self.accuracy_time = time.perf_counter() - begun, 0.0
        self.clock = time.perf_counter()
        return value

    def diverged(self, step: int, value: float) -> None:
        rate = learning_rate_at(self.config, step, self.plan.steps)
        raise DivergedError(
            f"the loss became {value} at step {step + 1} (epoch {step // self.plan.steps_per_epoch + 1}, "
            f"learning rate {rate:.3g}); lower the learning rate, set clip_norm, or look for broken images"
        )

    def loader(self, epoch: int, first_step: int) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of this process from `first_step` of an epoch on."""
        config, plan = self.config, self.plan
        loader = batches(
            self.train_set,
            plan.batch_size,
            seed=config.seed,
            epoch=epoch,
            shuffle=True,
            drop_last=True,
            num_workers=config.num_workers,
            start=first_step * plan.accumulation * plan.processes,
            pin_memory=self.device.type == "cuda",
        )
        if plan.processes > 1:
            sharding = require("accelerate.data_loader", extra="train")
            loader = sharding.prepare_data_loader(
                loader,
                num_processes=plan.processes,
                process_index=self.accelerator.process_index,
                put_on_device=False,
            )
        return iter(loader)

    def seed_everything(self, step: int, part: int) -> None:
        """Seed dropout and augmentation from where the run is, and from nothing else."""
        place = (self.config.seed, step, part, self.accelerator.process_index)
        # not torch.manual_seed: before CUDA is in use it keeps a record of every call
        dropout = _mix("dropout", *place)
        torch.default_generator.manual_seed(dropout)
        if self.device.type != "cpu":
            getattr(torch, self.device.type).manual_seed(dropout)
        self.generator.manual_seed(_mix("augment", *place))

    def reduce(self, values: Tensor, how: str) -> Tensor:
        if self.plan.processes == 1:
            return values
        return self.accelerator.reduce(values.to(self.device), reduction=how)

    def stopping(self) -> bool:
        """Whether any process was asked to stop; all of them must call this at the same step."""
        if self.plan.processes == 1:
            return bool(self.stop)
        return bool(self.reduce(torch.tensor([float(bool(self.stop))]), "sum").item() > 0)

    def interrupt(self, saved: bool = False) -> None:
        where = f"stopped after step {self.state.step:,} of {self.plan.steps:,}"
        if self.output is None:
            raise Interrupted(f"{where}; nothing was saved, because no output folder was given")
        if not saved:
            self.save()
        raise Interrupted(f"{where}; everything is saved in {self.output}: run the same command with --resume to go on")

    def open(self, identity: dict[str, Any], resume: bool) -> None:
        """Begin a run in the output folder, or take up the one it holds."""
        if self.output is None:
            return
        path, metrics = self.output / "run.json", self.output / "metrics.jsonl"
        main = self.accelerator.is_main_process
        if resume:
            check_same_run(path, identity)
            if (newest := checkpoint.latest(self.output / "checkpoints")) is not None:
                self.load(newest)
        elif main:
            if path.exists():
                raise InputError(f"{self.output}: holds another run; resume it (--resume) or give another folder")
            write_json(path, identity)
        if main:
            self.log = Log(metrics, keep=self.state.records)

    def save(self) -> None:
        """Write a checkpoint; called between steps only, when every loss so far is recorded."""
        if self.output is None:
            return
        self.state.records = len(self.log)
        if self.accelerator.is_main_process:
            state, tensors = checkpoint.pack(*self.parts)
            state["run"] = asdict(self.state)
            checkpoint.save(self.output / "checkpoints", self.state.step, state, tensors)
        self.accelerator.wait_for_everyone()

    def load(self, path: Path) -> None:
        state, tensors = checkpoint.load(path)
        checkpoint.unpack(*self.parts, state, tensors)
        self.state = _State(**state["run"])


def _mix(*parts: object) -> int:
    """A seed of 63 bits from any parts: neighbouring steps must not get related generators."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
