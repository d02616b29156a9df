"""From data to a model folder and its report: `rootspace demo` and `rootspace train` with different data."""

from rootspace.experiment.findings import Findings, examine, method_row, report_of
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
    settled,
    system_of,
)
from rootspace.experiment.session import run
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
    "Findings",
    "Prepared",
    "Recipe",
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
    "pooled_pixels",
    "prepare",
    "recogniser_of",
    "report_of",
    "run",
    "settled",
    "split_for_calibration",
    "system_of",
    "train",
]
