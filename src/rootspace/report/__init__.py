"""What a run found, as one HTML file, a picture, a table in the terminal, and JSON."""

from rootspace.report.collect import environment, pick_confusions, pick_samples, picture, system_facts
from rootspace.report.figure import save_figure
from rootspace.report.html import write_report
from rootspace.report.model import (
    EXPLANATION,
    Confusion,
    Curve,
    Guess,
    Method,
    NextStep,
    RunReport,
    Sample,
    SystemFacts,
    read_report,
)
from rootspace.report.table import markdown_table, print_table, terminal_table

__all__ = [
    "EXPLANATION",
    "Confusion",
    "Curve",
    "Guess",
    "Method",
    "NextStep",
    "RunReport",
    "Sample",
    "SystemFacts",
    "environment",
    "markdown_table",
    "pick_confusions",
    "pick_samples",
    "picture",
    "print_table",
    "read_report",
    "save_figure",
    "system_facts",
    "terminal_table",
    "write_report",
]
