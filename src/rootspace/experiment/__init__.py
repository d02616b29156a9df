"""From data to a model folder and its report: `rootspace demo` and `rootspace train` with different data."""

from rootspace.experiment.findings import Findings, examine, method_row, report_of
from rootspace.experiment.ngrams import ngram_features
from rootspace.experiment.recipe import (
    ASSIGNMENTS,
    AUGMENTATIONS,
    FEATURES,
    LOSSES,
    Recipe,
    assign,
    choose_system,
    follow_share,
    hooks_of,
    loss_of,
    plain_features,
    settled,
    system_of,
)
from rootspace.experiment.session import run
from rootspace.experiment.settings import Data, Settings, read_settings, settings_of
from rootspace.experiment.statistics import ClassStatistics, class_statistics, pooled_pixels
from rootspace.experiment.training import (
    Prepared,
    Trained,
    baseline_config,
    prepare,
    recogniser_of,
    split_for_calibration,
    train,
)

__all__ = [
    "ASSIGNMENTS",
    "AUGMENTATIONS",
    "FEATURES",
    "LOSSES",
    "ClassStatistics",
    "Data",
    "Findings",
    "Prepared",
    "Recipe",
    "Settings",
    "Trained",
    "assign",
    "baseline_config",
    "choose_system",
    "class_statistics",
    "examine",
    "follow_share",
    "hooks_of",
    "loss_of",
    "method_row",
    "ngram_features",
    "plain_features",
    "pooled_pixels",
    "prepare",
    "read_settings",
    "recogniser_of",
    "report_of",
    "run",
    "settings_of",
    "settled",
    "split_for_calibration",
    "system_of",
    "train",
]
