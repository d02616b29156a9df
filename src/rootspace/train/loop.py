"""The training loop. `fit` is the whole of it; it reads top to bottom.

What happens at a step depends on nothing but (seed, step): the order of the data, the augmentation and dropout
draw from generators seeded anew at every step. So no generator's state is stored, and a run that is resumed,
also in the middle of an epoch, comes to the same weights as one that was never interrupted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rootspace.data import ImageSet, batches, to_tensor
from rootspace.errors import InputError, require
from rootspace.evaluate import accuracy, own_part
from rootspace.files import write_json
from rootspace.train import checkpoint, processes, tracking
from rootspace.train.augment import Augment
from rootspace.train.config import TrainConfig, learning_rate_at
from rootspace.train.display import Display, show
from rootspace.train.draws import mixed
from rootspace.train.engine import Engine, make_accelerator
from rootspace.train.history import EpochRecord, History, Log
from rootspace.train.hooks import Hook, Plan
from rootspace.train.interrupt import Interrupted, StopFlag
from rootspace.train.measure import Meter
from rootspace.train.optimiser import set_rate
from rootspace.train.setup import (
    check_alike,
    check_backbone_rate,
    check_inputs,
    check_same_run,
    classifier_of,
    fingerprint,
    make_plan,
)
from rootspace.train.texts import HideText

#: Augmentations that can change a part of a batch as they would in the whole: several processes do as one with all.
BY_PLACE = (Augment, HideText)

Augmentation = Callable[[Tensor, torch.Generator], Tensor]


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
    Trackers that the configuration names log under `output`/tracking, or where their own settings say.
    Embedder and loss may have been compiled in place (`embedder.compile()`).

    Raises `InputError` where data, model, configuration or output folder do not fit together, and
    `DivergedError` naming the step whose loss was not finite.
    """
    if resume and output is None:
        raise InputError("resume: expected the output folder of the run to continue, got none")
    heldout = dict(heldout or {})
    output = None if output is None else Path(output)
    accelerator = make_accelerator(config, output)
    with processes.watched(lambda: what_is_saved(output)), contextlib.ExitStack() as stack:
        with processes.together():
            if output is not None and processes.is_main():
                stack.enter_context(checkpoint.claimed(output))
            check_inputs(embedder, loss, train_set, heldout)
            check_backbone_rate(config, embedder)
            plan = make_plan(train_set, config, accelerator)
            identity = fingerprint(config, plan, train_set, loss, augment, hooks)
        check_alike(identity)
        engine = Engine(accelerator, embedder, loss, config)
        stack.callback(engine.restore)
        run = _Run(
            config=config,
            plan=plan,
            train_set=train_set,
            heldout=heldout,
            engine=engine,
            meter=Meter(config, plan, classifier_of(loss)),
            augment=augment,
            hooks=tuple(hooks),
            output=output,
            stop=stack.enter_context(StopFlag().listening()),
            display=Display(),
        )
        for hook in hooks:
            hook.on_start(plan)
        run.open(identity, resume)
        stack.callback(run.log.close)
        with processes.together():
            if processes.is_main():
                about = {**config.to_dict(), **{name: identity[name] for name in tracking.TOLD}}
                run.trackers = tracking.start(accelerator, about, output, run.state.step, resume)
        stack.callback(run.trackers.close)
        if processes.is_main():
            run.display = show(progress)
        stack.callback(lambda: run.display.close())
        run.display.start(plan, run.state.step)
        for epoch in range(run.state.epochs_done, config.epochs):
            run.train_epoch(epoch)
            run.finish_epoch(epoch)
        engine.close()
        return run.log.history()


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
    config: TrainConfig
    plan: Plan
    train_set: ImageSet
    heldout: dict[str, ImageSet]
    engine: Engine
    meter: Meter
    augment: Augmentation | None
    hooks: tuple[Hook, ...]
    output: Path | None
    stop: StopFlag
    display: Display

    def __post_init__(self) -> None:
        self.state = _State()
        self.log = Log(None)
        self.trackers = tracking.Trackers()
        self.device = self.plan.device
        self.generator = torch.Generator(self.device)
        self.rank = torch.distributed.get_rank() if self.plan.processes > 1 else 0

    def train_epoch(self, epoch: int) -> None:
        """The rest of an epoch, from the state's step to its end."""
        self.engine.train()
        self.meter.start()
        end = (epoch + 1) * self.plan.steps_per_epoch
        loader = self.loader(epoch, first_step=self.state.step - epoch * self.plan.steps_per_epoch)
        while self.state.step < end:
            embeddings, labels = self.train_step(self.state.step, loader)
            self.state.step += 1
            step, every = self.state.step, self.config.checkpoint_every
            last = step == end
            saving = not last and every > 0 and step % every == 0
            stopping = self.stop.heard(step, self.device)
            if last or saving or stopping or step % self.config.log_every == 0:
                self.record(embeddings, labels, final=last)
            if stopping:
                self.interrupt()
            if saving:
                self.save()
            self.display.step(step)

    def train_step(self, step: int, loader: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """One optimiser step; nothing here waits for the device."""
        plan = self.plan
        set_rate(self.engine.optimizer, learning_rate_at(self.config, step, plan.steps))
        parts = plan.accumulation
        for part in range(parts):
            images, labels = next(loader)
            self.seed_everything(step, part)
            images = to_tensor(images.to(self.device, non_blocking=True))
            labels = labels.to(self.device, non_blocking=True)
            if isinstance(self.augment, BY_PLACE):
                images = self.augment(images, self.generator, self.rank * len(images), plan.processes * len(images))
            elif self.augment is not None:
                images = self.augment(images, self.generator)
            loss, embeddings = self.engine.backward(images, labels, parts, last=part == parts - 1)
            self.meter.losses.append(loss)
            for hook in self.hooks:
                hook.on_batch(step, embeddings, labels)
        self.engine.step()
        return embeddings, labels

    def record(self, embeddings: Tensor, labels: Tensor, final: bool) -> None:
        """Log what the steps since the last record gave, and add it to the epoch's sums."""
        record, losses, seconds = self.meter.record(self.state.step, embeddings, labels, final)
        self.state.epoch_loss += sum(losses)
        self.state.epoch_seconds += seconds
        if record.accuracy is not None:
            self.state.epoch_accuracy = record.accuracy
        self.log.add(record)
        self.trackers.add(record)
        self.display.record(record)

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
            heldout=self.evaluate(),
        )
        self.log.add(record)
        self.trackers.add(record)
        self.display.epoch(record)
        for hook in self.hooks:
            hook.on_epoch(epoch, asdict(record))
        self.state = _State(step=state.step, epochs_done=epoch + 1)
        self.save()
        if self.stop.heard(state.step, self.device, at_once=True):
            self.interrupt(saved=True)

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Top-1 and top-5 shares of each held-out set, each process on its part of the images."""
        found = {}
        # not in fp16, whose range embeddings may leave; and a CPU is slower in bf16
        low = self.config.mixed_precision == "bf16" and self.device.type != "cpu"
        with self.engine.whole() as embedder:
            for name, images in self.heldout.items():
                part = images.select(own_part(len(images))) if self.plan.processes > 1 else images
                top = accuracy(
                    embedder,
                    self.meter.classifier,
                    part,
                    k=(1, 5),
                    collective=True,
                    autocast=torch.bfloat16 if low else None,
                ).top
                found[name] = {"top1": top[1], "top5": top[5]}
        return found

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
            epoch_images=config.epoch_images,
        )
        if plan.processes > 1:
            sharding = require("accelerate.data_loader", extra="train")
            loader = sharding.prepare_data_loader(
                loader,
                num_processes=plan.processes,
                process_index=self.rank,
                put_on_device=False,
            )
        return iter(loader)

    def seed_everything(self, step: int, part: int) -> None:
        """Seed dropout and augmentation from where the run is, and from nothing else."""
        place = (self.config.seed, step, part)
        # not torch.manual_seed: before CUDA is in use it keeps a record of every call
        dropout = mixed("dropout", *place, self.rank)
        torch.default_generator.manual_seed(dropout)
        if self.device.type != "cpu":
            getattr(torch, self.device.type).manual_seed(dropout)
        # where samples get what their place in the batch of all processes says, these must draw alike
        self.generator.manual_seed(mixed("augment", *place, 0 if isinstance(self.augment, BY_PLACE) else self.rank))

    def interrupt(self, saved: bool = False) -> None:
        if not saved:
            self.save()
        raise Interrupted(
            f"stopped after step {self.state.step:,} of {self.plan.steps:,}; {what_is_saved(self.output)}"
        )

    def open(self, identity: dict[str, Any], resume: bool) -> None:
        """Begin a run in the output folder, or take up the one it holds; only the first process reads and writes."""
        if self.output is None:
            return
        state: dict[str, Any] | None = None
        tensors: dict[str, Tensor] = {}
        with processes.together():
            if processes.is_main():
                path = self.output / "run.json"
                if resume:
                    check_same_run(path, identity)
                    if (newest := checkpoint.latest(self.output / "checkpoints")) is not None:
                        state, tensors = checkpoint.load(newest)
                        checkpoint.check(self.engine.objective, tensors)
                        self.state = _State(**state["run"])
                else:
                    if path.exists():
                        raise InputError(
                            f"{self.output}: holds another run; resume it (--resume) or give another folder"
                        )
                    write_json(path, identity)
                self.log = Log(self.output / "metrics.jsonl", keep=self.state.records)
        if (state := processes.from_main(state)) is not None:
            self.engine.unpack(self.hooks, state, tensors)
            self.state = _State(**state["run"])

    def save(self) -> None:
        """Write a checkpoint; called between steps only, when every loss so far is recorded."""
        if self.output is None:
            return
        self.state.records = len(self.log)
        state, tensors = self.engine.pack(self.hooks)
        with processes.together():
            if processes.is_main():
                state["run"] = asdict(self.state)
                checkpoint.save(self.output / "checkpoints", self.state.step, state, tensors)


def what_is_saved(output: Path | None) -> str:
    """What there is to go on from, for the user."""
    if output is None:
        return "nothing was saved, because no output folder was given"
    newest = checkpoint.latest(output / "checkpoints")
    if newest is None:
        return "nothing was saved so far"
    step = int(newest.name.removeprefix("step-"))
    return f"everything up to step {step:,} is saved in {output}: run the same command with --resume to go on"
