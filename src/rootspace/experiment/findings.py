"""What a trained model is worth on held-out images, and the report that says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rootspace import report
from rootspace.assign import Assignment
from rootspace.data import ImageSet
from rootspace.evaluate import Histogram, Predictions, cosine_histogram, embed_all, predict_embedded
from rootspace.experiment.recipe import Recipe, follow_share
from rootspace.experiment.training import Trained
from rootspace.train import TrainConfig


@dataclass(frozen=True)
class Findings:
    """What a trained model does with the held-out sets."""

    predictions: dict[str, Predictions]
    histogram: Histogram | None


def examine(trained: Trained, heldout: Mapping[str, ImageSet]) -> Findings:
    """Predict every held-out set, and collect own-class against nearest-other-class cosines over all of them."""
    embedded = {name: embed_all(trained.embedder, images) for name, images in heldout.items()}
    predictions = {name: predict_embedded(*found, trained.classifier) for name, found in embedded.items()}
    if not (isinstance(trained.classifier, Assignment) and heldout):
        return Findings(predictions, None)
    embeddings, labels = (np.concatenate([found[side] for found in embedded.values()]) for side in (0, 1))
    return Findings(predictions, cosine_histogram(embeddings, labels, trained.classifier))


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
    described = {key: str(value) for key, value in {**asdict(recipe), **config.to_dict()}.items()}
    return report.RunReport(
        title=title,
        methods=tuple(method_row(*method) for method in methods),
        system=report.system_facts(trained.classifier, _how(recipe, trained.classifier)),
        samples=report.pick_samples(heldout, findings.predictions, examples=images) if first else (),
        histogram=findings.histogram,
        confusions=report.pick_confusions(heldout, findings.predictions, examples=images) if first else (),
        configuration=described,
        environment=report.environment(),
        **more,
    )


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
