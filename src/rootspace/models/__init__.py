"""Models: encoders, the embedder around them, and the recogniser that is saved, loaded and used."""

from rootspace.models.embedder import Embedder, embedder_from
from rootspace.models.encoders import ENCODERS, SmallConv, SmallViT, build
from rootspace.models.folder import load, save
from rootspace.models.recogniser import Prediction, Recogniser
from rootspace.models.unknown import SIGNALS, Detector, Threshold, choose_threshold, fit_detector, signals

__all__ = [
    "ENCODERS",
    "SIGNALS",
    "Detector",
    "Embedder",
    "Prediction",
    "Recogniser",
    "SmallConv",
    "SmallViT",
    "Threshold",
    "build",
    "choose_threshold",
    "embedder_from",
    "fit_detector",
    "load",
    "save",
    "signals",
]
