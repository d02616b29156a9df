"""From data to a model folder and its report: `rootspace demo` and `rootspace train` with different data."""

from rootspace.experiment.findings import Findings, examine, method_row, report_of
from rootspace.experiment.recipe import (
    ASSIGNMENTS,
    AUGMENTATIONS,
    LOSSES,
    Recipe,
    assign,
    choose_system,
    class_means,
    loss_of,
    system_of,
)
from rootspace.experiment.session import run
from rootspace.experiment.training import (
    Trained,
    baseline_config,
    recogniser_of,
    split_for_calibration,
    train,
)

__all__ = [
    "ASSIGNMENTS",
    "AUGMENTATIONS",
    "LOSSES",
    "Findings",
    "Recipe",
    "Trained",
    "assign",
    "baseline_config",
    "choose_system",
    "class_means",
    "examine",
    "loss_of",
    "method_row",
    "recogniser_of",
    "report_of",
    "run",
    "split_for_calibration",
    "system_of",
    "train",
]
