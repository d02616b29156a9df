"""The page in a real browser; skipped where there is none."""

from __future__ import annotations

import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")


def browse(folder, page, *arguments):
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
        f"--user-data-dir={folder / 'profile'}", *arguments, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def test_fits_every_width_and_is_dark_where_asked(html, tmp_path):
    # frames of the widths to try; the page's own policy forbids scripts, so the measuring is done from outside
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    frames = "".join(f'<iframe src="report.html" width="{w}" height="900"></iframe>' for w in (320, 390, 1200))
    measure = """<script>onload = () => {
      const data = document.body.dataset, inner = frames[0].document;
      data.over = [...document.querySelectorAll('iframe')].map(frame => {
        const root = frame.contentDocument.documentElement;
        return root.scrollWidth - root.clientWidth; }).join(' ');
      data.title = inner.title;
      data.sections = inner.querySelectorAll('section').length;
      data.ground = getComputedStyle(inner.body).backgroundColor; }</script>"""
    page = tmp_path / "frames.html"
    page.write_text(f"<!doctype html><meta charset=utf-8><body>{frames}{measure}</body>", encoding="utf-8")
    dark = "--blink-settings=preferredColorScheme=0"
    dom = browse(tmp_path, page, "--allow-file-access-from-files", "--dump-dom", dark)
    found = dict(re.findall(r'data-(over|title|sections|ground)="([^"]*)"', dom))
    assert found["over"] == "0 0 0"  # nothing to scroll sideways
    assert found["sections"] == "10"
    assert "alert(1)" in found["title"]
    assert max(map(int, re.findall(r"\d+", found["ground"]))) < 40


def test_light_screenshot(html, tmp_path):
    page, shot = tmp_path / "report.html", tmp_path / "shot.png"
    page.write_text(html, encoding="utf-8")
    browse(tmp_path, page, f"--screenshot={shot}", "--window-size=1000,1600")
    pixels = np.asarray(Image.open(shot).convert("L"), float)
    assert pixels.mean() > 200
    assert pixels.std() > 10
