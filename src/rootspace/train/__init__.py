"""Training: one readable loop on Accelerate, with augmentation, checkpoints and exact resumption."""

from rootspace.train.augment import Augment
from rootspace.train.config import TrainConfig, learning_rate_at
from rootspace.train.follow import Follow
from rootspace.train.history import EpochRecord, History, StepRecord
from rootspace.train.hooks import Hook, Plan
from rootspace.train.interrupt import Interrupted
from rootspace.train.loop import fit
from rootspace.train.measure import DivergedError
from rootspace.train.processes import ProcessLostError
from rootspace.train.texts import HideText
from rootspace.train.transforms import Transform

__all__ = [
    "Augment",
    "DivergedError",
    "EpochRecord",
    "Follow",
    "HideText",
    "History",
    "Hook",
    "Interrupted",
    "Plan",
    "ProcessLostError",
    "StepRecord",
    "TrainConfig",
    "Transform",
    "fit",
    "learning_rate_at",
]
