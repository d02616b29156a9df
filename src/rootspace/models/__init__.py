"""Models: encoders, the embedder around them, and the recogniser that is saved, loaded and used."""

from rootspace.models.backbones import build, fitted, shareable, usual_input
from rootspace.models.card import model_card
from rootspace.models.embedder import Embedder, embedder_from
from rootspace.models.encoders import ENCODERS, SmallConv, SmallViT
from rootspace.models.folder import save, write_card
from rootspace.models.hub import load, located, push
from rootspace.models.recogniser import Prediction, Recogniser
from rootspace.models.texts import HuggingFaceText, SmallText, check_texts
from rootspace.models.unknown import SIGNALS, Detector, Threshold, choose_threshold, fit_detector, signals

__all__ = [
    "ENCODERS",
    "SIGNALS",
    "Detector",
    "Embedder",
    "HuggingFaceText",
    "Prediction",
    "Recogniser",
    "SmallConv",
    "SmallText",
    "SmallViT",
    "Threshold",
    "build",
    "check_texts",
    "choose_threshold",
    "embedder_from",
    "fit_detector",
    "fitted",
    "load",
    "located",
    "model_card",
    "push",
    "save",
    "shareable",
    "signals",
    "usual_input",
    "write_card",
]
