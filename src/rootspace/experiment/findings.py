"""What a trained model is worth on held-out images, and the report that says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
import torch

from rootspace import report
from rootspace.assign import Assignment
from rootspace.data import ImageSet, is_text
from rootspace.evaluate import (
    Calibration,
    Histogram,
    Predictions,
    Reliability,
    best_probabilities,
    calibration,
    cosine_histogram,
    embed_all,
    fit_temperature,
    predict_embedded,
)
from rootspace.evaluate.calibration import FITTED, spread
from rootspace.experiment.recipe import LOSSES, Recipe, follow_share
from rootspace.experiment.training import CALIBRATION_LEAST, Trained
from rootspace.models import shareable
from rootspace.models.unknown import SCALE
from rootspace.train import TrainConfig, processes

#: Above so many classes a sample is not compared with all of them, which its probability would take.
CALIBRATED_UP_TO = 1 << 22

#: So many comparisons of a sample with a class are made for probabilities, and for a temperature at each try: some
#: seconds of one core. Where there are more, fewer samples are taken, but some.
COMPARED, COMPARED_AT_A_TRY, SOME = 1 << 30, 1 << 26, 256


#: What a report shows of the preprocessing.
_INPUTS = ("size", "channels", "fit", "length")


@dataclass(frozen=True)
class Findings:
    """What a trained model does with the held-out sets."""

    predictions: dict[str, Predictions]
    histogram: Histogram | None
    reliability: Reliability | None = None


def examine(trained: Trained, heldout: Mapping[str, ImageSet], apart: ImageSet | None = None) -> Findings:
    """Predict every held-out set, and collect cosines and probabilities over all of them.

    apart: images of known classes that were not trained on, to fit a temperature on.
    """
    embedded = {name: embed_all(trained.embedder, images) for name, images in heldout.items()}
    predictions = {name: predict_embedded(*found, trained.classifier) for name, found in embedded.items()}
    if not (isinstance(trained.classifier, Assignment) and heldout):
        return Findings(predictions, None)
    embeddings, labels = (np.concatenate([found[side] for found in embedded.values()]) for side in (0, 1))
    right = np.concatenate([found.right for found in predictions.values()])
    cosines = np.concatenate([found.scores[:, 0] for found in predictions.values()])
    return Findings(
        predictions,
        cosine_histogram(embeddings, labels, trained.classifier),
        reliability_of(trained, embeddings, cosines, right, apart),
    )


def reliability_of(
    trained: Trained, embeddings: np.ndarray, cosines: np.ndarray, right: np.ndarray, apart: ImageSet | None = None
) -> Reliability | None:
    """How far the probabilities of embeddings (N, dim) can be trusted, before and after a temperature that is fitted on
    the images `apart`, if there are enough (`CALIBRATION_LEAST`). cosines: those of the nearest classes (N,), which are
    `right` or not (N,). Of many samples, some; of very many classes, None.
    """
    classes = trained.classifier
    if classes.n_classes > CALIBRATED_UP_TO:
        return None
    # losses of no softmax have no scale; a learned one is a parameter
    scale = torch.as_tensor(getattr(trained.loss, "scale", SCALE)).detach().item()
    chosen = spread(len(right), max(SOME, COMPARED // classes.n_classes))
    some, nearest = embeddings[chosen], cosines[chosen]

    def found(sharp: float) -> Calibration:
        return calibration(best_probabilities(some, classes, sharp, cosines=nearest), right[chosen])

    if apart is None or len(apart) < CALIBRATION_LEAST:
        return Reliability(scale, found(scale))
    apart = apart.select(spread(len(apart), min(FITTED, max(SOME, COMPARED_AT_A_TRY // classes.n_classes))))
    temperature = fit_temperature(*embed_all(trained.embedder, apart), classes, scale)
    return Reliability(scale, found(scale), temperature, found(scale / temperature), len(apart))


def method_row(trained: Trained, findings: Findings) -> report.Method:
    """A method's line in the summary and its curves."""
    epochs = trained.history.epochs
    seconds = np.cumsum([epoch.seconds for epoch in epochs]).tolist()
    numbers = [float(epoch.epoch + 1) for epoch in epochs]
    per_set = {name: found.accuracy((1, 5)) for name, found in findings.predictions.items()}
    mean = [float(np.mean([shares["top1"] for shares in e.heldout.values()])) if e.heldout else 0.0 for e in epochs]
    return report.Method(
        name=trained.name,
        top1={name: found.top[1] for name, found in per_set.items()},
        topk={name: found.top[max(found.top)] for name, found in per_set.items()},
        parameters=sum(p.numel() for p in trained.embedder.parameters()) + trained.head_parameters,
        head_parameters=trained.head_parameters,
        seconds=seconds[-1] if seconds else 0.0,
        images_per_second=epochs[-1].images_per_second if epochs else 0.0,
        accuracy=report.Curve(tuple(numbers), tuple(seconds), tuple(mean)) if per_set else None,
        loss=report.Curve(tuple(numbers), tuple(seconds), tuple(epoch.loss for epoch in epochs)),
    )


def report_of(
    title: str,
    methods: list[tuple[Trained, Findings]],
    images: ImageSet,
    heldout: Mapping[str, ImageSet],
    recipe: Recipe,
    config: TrainConfig,
    **more: Any,
) -> report.RunReport:
    """Everything the report page shows; the first method's samples and cosines are the ones pictured."""
    trained, findings = methods[0]
    first = bool(findings.predictions)
    if is_text(images.preprocessing):
        more = {"thing": "text", "explanation": report.EXPLANATION.replace("picture", "text"), **more}
    device = processes.device(cpu=config.device == "cpu")
    more.setdefault("created", datetime.now(timezone.utc).isoformat(timespec="seconds"))
    return report.RunReport(
        title=title,
        methods=tuple(method_row(*method) for method in methods),
        system=report.system_facts(trained.classifier, _how(recipe, trained.classifier)),
        samples=report.pick_samples(heldout, findings.predictions, examples=images) if first else (),
        histogram=findings.histogram,
        reliability=findings.reliability,
        confusions=report.pick_confusions(heldout, findings.predictions, examples=images) if first else (),
        configuration=_configuration(trained, images, recipe, config, device),
        environment=report.environment(device),
        new_source=bool(heldout) and all(is_new_source(images, part) for part in heldout.values()),
        **more,
    )


def is_new_source(training: ImageSet, heldout: ImageSet) -> bool:
    """Whether what is held out is known to come from elsewhere: other data than the training set's, or other sources.

    Where neither is to be seen, as of arrays without sources, the answer is no.
    """
    places = {training.store.path, heldout.store.path}
    if len(places) == 2 and None not in places:
        return True
    sources = [{str(part.source_names[number]) for number in np.unique(part.sources)} for part in (training, heldout)]
    return sources[0].isdisjoint(sources[1])


def _configuration(
    trained: Trained, images: ImageSet, recipe: Recipe, config: TrainConfig, device: torch.device
) -> dict[str, Any]:
    """The recipe and the settings of the training as JSON values, with what was chosen in place of "auto" and None."""
    chosen: dict[str, Any] = {"device": device.type}
    if isinstance(classes := trained.classifier, Assignment):
        chosen["system"] = str(classes.system.spec)
        chosen["loss"] = next((name for name, kind in LOSSES.items() if type(trained.loss) is kind), recipe.loss)
        chosen["follow"] = follow_share(recipe, classes.system, classes.n_classes)
    inputs = {key: value for key, value in images.preprocessing.to_dict().items() if key in _INPUTS}
    # the card shows it too, and a card is pushed: no paths of this machine
    found = {**inputs, **asdict(recipe), "backbone": shareable(recipe.backbone), **config.to_dict(), **chosen}
    return dict(json.loads(json.dumps(found)))


def _how(recipe: Recipe, classifier: Any) -> str:
    text = {
        "similarity": "each class starts at the free vector nearest to its mean in the classes' discriminants",
        "shuffled": "a keyed shuffle of the class number",
        "names": "a hash of the class name",
    }[recipe.assignment]
    many = isinstance(classifier, Assignment)
    if many and (share := follow_share(recipe, classifier.system, classifier.n_classes)):
        text += f", follows its embeddings for {share:.0%} of the training, and then stays"
    return text
