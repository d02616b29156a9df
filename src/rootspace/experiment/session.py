"""From data to an output folder: train, compare, calibrate, and write model and report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rootspace import report
from rootspace.data import ImageSet, is_text
from rootspace.evaluate import Rejection
from rootspace.experiment.findings import Findings, examine, report_of
from rootspace.experiment.recipe import Recipe, settled, system_of
from rootspace.experiment.training import (
    CALIBRATION_LEAST,
    CALIBRATION_SHARE,
    Trained,
    baseline_config,
    recogniser_of,
    split_for_calibration,
    train,
)
from rootspace.models import Recogniser, write_card
from rootspace.train import TrainConfig, processes


def run(
    title: str,
    images: ImageSet,
    heldout: Mapping[str, ImageSet],
    recipe: Recipe,
    config: TrainConfig,
    output: Path,
    *,
    baseline: bool = False,
    resume: bool = False,
    progress: bool | None = None,
    say: Callable[[str], None] = lambda text: None,
    judge: Callable[[Recogniser, Findings], Rejection | None] | None = None,
    data: Mapping[str, str] | None = None,
    next_steps: Sequence[report.NextStep] = (),
) -> report.RunReport | None:
    """Train by a recipe (with `baseline`, a linear layer too) and write model, report and picture into `output`.

    The folder gets `model/` with a model card, `report.html`, `results.json`, `figure.png`, and `training/` with
    checkpoints and logs. `judge` looks at how the finished model, with what was found of it, rejects unknown classes,
    for the report.
    Of several processes all train, and the first one writes; the others are given None.
    """
    recipe = settled(recipe, images)
    things = "texts" if is_text(images.preprocessing) else "images"
    training, calibration = split_for_calibration(images, config.seed)
    runs: list[Trained] = []
    for learned in (False, True) if baseline else (False,):
        if learned:
            say("Training the same network with a linear layer and cross-entropy, to compare")
        else:
            say(f"Training to predefined vectors of {system_of(recipe, images.n_classes).spec}, no layer")
        folder = output / "training" / ("baseline" if learned else "rootspace")
        begun = processes.from_main((folder / "run.json").is_file())
        runs.append(
            train(
                training,
                heldout,
                recipe,
                baseline_config(config) if learned else config,
                baseline=learned,
                output=folder,
                resume=resume and begun,
                progress=progress,
            )
        )
    if not processes.is_main():
        return None
    examined = [(trained, examine(trained, heldout, calibration)) for trained in runs]
    model = recogniser_of(runs[0], training, calibration)
    model.save(output / "model")
    apart = f"{len(calibration):,} {things} kept apart to set the rejection threshold"
    if model.threshold is None:
        share = f"{CALIBRATION_SHARE:.0%} of {len(images):,} {things}".replace("%", " %")
        apart = f"0 {things} kept apart: {share} are fewer than {CALIBRATION_LEAST}, too few for a threshold"
    found = report_of(
        title,
        examined,
        training,
        heldout,
        recipe,
        config,
        threshold=model.threshold,
        n_calibration=len(calibration),
        rejection=judge(model, examined[0][1]) if judge else None,
        data={
            "classes": f"{images.n_classes:,}",
            "training": f"{len(training):,} {things}",
            "calibration": apart,
            "held out": "; ".join(f"{name}: {len(part):,} {things}" for name, part in heldout.items()) or "nothing",
            **(data or {}),
        },
        next_steps=tuple(next_steps),
    )
    report.write_report(output, found)
    write_card(output / "model", found.to_dict())
    if heldout:
        report.save_figure(output / "figure.png", found)
    return found
