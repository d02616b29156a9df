"""A small made-up run whose names try to break out of wherever they are put."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from rootspace.evaluate import Calibration, Histogram, Rejection, Reliability
from rootspace.report import (
    Confusion,
    Curve,
    Guess,
    Method,
    NextStep,
    RunReport,
    Sample,
    SystemFacts,
    picture,
)
from rootspace.report.html import render

torch.set_num_threads(1)

EVIL = "<script>alert(1)</script>"
QUOTES = "\" onerror='x' {{ 7 * 7 }} & | [bold]"


def dot(size: int = 8) -> str:
    image = np.full((size, size), 255, np.uint8)
    image[2:5, 2:5] = 0
    return picture(image)


@pytest.fixture(scope="session")
def report() -> RunReport:
    edges = np.linspace(-1, 1, 21)
    own, other = np.zeros(20, int), np.zeros(20, int)
    own[16:19], other[12:15] = (30, 50, 20), (20, 60, 20)
    epochs = (1.0, 2.0, 3.0)
    return RunReport(
        title=f"Run of {EVIL}",
        methods=(
            Method(
                "predefined vectors", {"明朝": 0.9, QUOTES: 0.8}, {"明朝": 0.99, QUOTES: 0.95}, 1000, 0, 12.0, 900.0,
                Curve(epochs, (4.0, 8.0, 12.0), (0.2, 0.7, 0.85)), Curve(epochs, (4.0, 8.0, 12.0), (2.0, 0.5, 0.01)),
            ),
            Method(
                EVIL, {"明朝": 0.91, QUOTES: 0.7}, {"明朝": 0.99, QUOTES: 0.96}, 3000, 2000, 200.0, 1000.0,
                Curve(epochs, (60.0, 120.0, 200.0), (0.1, 0.5, math.nan)),
            ),
        ),
        system=SystemFacts("V22:41", math.factorial(60), 41, 0.75, 12, 272.0, EVIL),
        data={"classes": "12", EVIL: EVIL},
        samples=(
            Sample(dot(), "漢", (Guess("漢", 0.9), Guess(EVIL, 0.1)), True, "明朝", dot()),
            Sample(dot(), EVIL, (Guess(QUOTES, 0.8), Guess(EVIL, -0.3)), False, QUOTES, dot()),
        ),
        histogram=Histogram(tuple(edges.tolist()), tuple(own.tolist()), tuple(other.tolist()), 0.75, 0.35, 0.97),
        rejection=Rejection(0.61, 0.97, 0.05, 0.9, 100, 50),
        reliability=Reliability(
            24.0,
            Calibration((0, 40, 60), (0.0, 0.5, 0.95), (0.0, 0.25, 0.9), 0.13, 100),
            1.6,
            Calibration((10, 40, 50), (0.2, 0.4, 0.9), (0.1, 0.25, 0.96), 0.1, 100),
            50,
        ),
        confusions=(Confusion(EVIL, "字", 3, 4, dot(), dot()),),
        next_steps=(NextStep(f"rootspace predict {EVIL}", "Recognise <your> picture"),),
        configuration={"lr": 0.003, "names": [EVIL], "nested": {"a": True}},
        environment={"python": "3.11"},
        created="1 January 2026",
    )  # fmt: skip


@pytest.fixture(scope="session")
def bare() -> RunReport:
    """The least there can be."""
    return RunReport("Bare", (Method("only", {}, {}, 10, 0, 1.0, 5.0),))


@pytest.fixture(scope="session")
def html(report: RunReport) -> str:
    return render(report)
