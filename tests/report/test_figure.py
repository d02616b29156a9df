from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from rootspace.report import save_figure


def test_figure_has_its_panels(report, tmp_path):
    path = save_figure(tmp_path / "deep" / "figure.png", report, dpi=60)
    with Image.open(path) as image:
        assert image.size == (780, 253)
        pixels = np.asarray(image.convert("RGB"), float)
    for third in np.array_split(pixels, 3, axis=1):
        assert third.std() > 5
    # the frames of right and wrong samples
    for colour in ((10, 138, 95), (200, 50, 42)):
        assert (np.abs(pixels - colour).max(-1) < 40).any()


@pytest.mark.parametrize("change", ["samples", "pictures"])
def test_panels_without_data_are_left_out(report, tmp_path, change):
    if change == "samples":
        report = replace(report, samples=(), histogram=None)
    else:
        report = replace(report, samples=tuple(replace(one, guess_picture="") for one in report.samples))
    assert save_figure(tmp_path / "figure.png", report, dpi=40).stat().st_size > 1000


def test_figure_of_nothing(bare, tmp_path):
    assert save_figure(tmp_path / "figure.png", bare, dpi=40).exists()
