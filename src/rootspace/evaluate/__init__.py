"""How good is it: accuracy, retrieval, separation, calibration, and telling unknown classes apart.

Everything runs in chunks: nothing of size (classes, classes) or (queries, gallery) is ever held, and counts are kept
for the classes that occur. With `collective=True` several processes evaluate together, each its `own_part`.
"""

from rootspace.evaluate.calibration import (
    Calibration,
    Reliability,
    best_probabilities,
    calibration,
    calibration_error,
    fit_temperature,
)
from rootspace.evaluate.classify import (
    Accuracy,
    Classifier,
    ConfusedPair,
    Predictions,
    accuracy,
    confused_pairs,
    predict_all,
    predict_embedded,
)
from rootspace.evaluate.cosines import Histogram, cosine_histogram
from rootspace.evaluate.embed import embed_all
from rootspace.evaluate.processes import own_part
from rootspace.evaluate.search import Retrieval, retrieval
from rootspace.evaluate.unknown import Rejection, auroc, rejection, rejections

__all__ = [
    "Accuracy",
    "Calibration",
    "Classifier",
    "ConfusedPair",
    "Histogram",
    "Predictions",
    "Rejection",
    "Reliability",
    "Retrieval",
    "accuracy",
    "auroc",
    "best_probabilities",
    "calibration",
    "calibration_error",
    "confused_pairs",
    "cosine_histogram",
    "embed_all",
    "fit_temperature",
    "own_part",
    "predict_all",
    "predict_embedded",
    "rejection",
    "rejections",
    "retrieval",
]
