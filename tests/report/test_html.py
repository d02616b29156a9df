from __future__ import annotations

import base64
import io
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from PIL import Image

from rootspace.errors import MissingExtraError
from rootspace.evaluate import Histogram
from rootspace.models import Threshold
from rootspace.report import read_report, write_report
from rootspace.report.html import render

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """The elements of a page, with the text of each, failing where they are not properly nested."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.stack[-1] == tag, f"</{tag}> closes <{self.stack[-1]}>"
        self.stack.pop()

    def handle_data(self, data):
        if self.stack:
            self.text.append((self.stack[-1], data))

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self):
        return " ".join(data for tag, data in self.text if tag not in ("style",))


def test_a_page_about_texts_where_no_sample_is_shown(bare):
    words = Page(render(replace(bare, thing="text", explanation=""))).words
    assert "text" in words
    assert "picture" not in words


@pytest.fixture
def page(html):
    return Page(html)


def test_sections_in_order_and_one_heading(page):
    ids = [attrs["id"] for attrs in page.all("h2")]
    assert ids == [
        "h-results", "h-curves", "h-samples", "h-cosines", "h-trust", "h-confused", "h-system", "h-data", "h-next",
        "h-settings",
    ]  # fmt: skip
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
    assert page.all("html")[0]["lang"] == "en"
    labelled = {attrs["aria-labelledby"] for attrs in page.all("section")}
    assert labelled == set(ids)
    found = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(found) == len(set(found))


def test_what_the_user_gave_is_escaped(html, page):
    text = html
    assert page.all("script") == []
    assert "<script" not in text.lower()
    # shown as written: title and heading, method, label, prediction, confusion, system, data, configuration
    assert page.words.count(EVIL) >= 10
    assert not any(name.startswith("on") for _, attrs in page.elements for name in attrs)
    assert "{{ 7 * 7 }}" in page.words
    assert any("{{ 7 * 7 }}" in (attrs["alt"] or "") for attrs in page.all("img"))


def test_nothing_comes_from_the_network(html, page):
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    for _, attrs in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attrs.get(name)
            assert value is None or value.startswith(("data:", "#")), value
    text = html
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    # an address occurs only as the name of the SVG vocabulary
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}


def test_pictures_are_png_with_words(page):
    images = page.all("img")
    assert len(images) == 2 + 1 + 2  # samples, what the wrong one was taken for, a confused pair
    for attrs in images:
        assert attrs["alt"]
        data = base64.b64decode(attrs["src"].removeprefix("data:image/png;base64,"))
        assert Image.open(io.BytesIO(data)).size == (8, 8)


def test_plots_have_descriptions_and_take_their_colours_from_the_page(html, page):
    plots = [attrs for attrs in page.all("svg") if attrs.get("class") == "plot"]
    assert len(plots) == 5
    assert "50.0 % expected, 25.0 % right (40)" in plots[4]["aria-label"]
    assert all(attrs["role"] == "img" and attrs["aria-label"] and attrs["viewbox"] for attrs in plots)
    assert "20.0 %" in plots[0]["aria-label"]
    text = html
    assert "var(--s0)" in text
    assert "#01020" not in text
    assert "#01010" not in text


def test_how_far_probabilities_can_be_trusted(report, page):
    said = " ".join(page.words.split())
    assert "Below the line the model is surer than it should be" in said
    assert "fitted on 50 training pictures kept apart" in said
    for number in ("0.1300", "0.1000", "1.600", "a softmax at scale 15.0"):
        assert number in said
    alone = replace(report, reliability=replace(report.reliability, temperature=None, after=None, n_fitted=0))
    said = Page(render(alone)).words
    assert "0.1300" in said
    assert "temperature" not in said


def test_table_is_marked_up(html, page):
    assert [attrs.get("scope") for attrs in page.all("th")].count("col") == 3
    assert "90.0 %" in page.words
    assert "91.0 %" in page.words
    best = [data.strip() for tag, data in page.text if tag == "b"]
    assert "91.0 %" in best
    assert "90.0 %" not in best


def test_bare_report_has_only_results(bare):
    page = Page(render(bare))
    assert [attrs["id"] for attrs in page.all("h2")] == ["h-results"]
    assert page.all("img") == []


def test_written_with_results_beside_it(report, bare, tmp_path):
    path, results = write_report(tmp_path / "run", report)
    assert path == tmp_path / "run" / "report.html"
    assert results == tmp_path / "run" / "results.json"
    assert EVIL not in path.read_text(encoding="utf-8")
    again = read_report(results)
    # NaN is not equal to itself: the curve that holds one is compared by its text
    assert repr(again) == repr(report)
    other, _ = write_report(tmp_path / "other.html", bare)
    assert other == tmp_path / "other.html"
    assert other.exists()


def test_without_the_extra(bare, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"rootspace\[report\]"):
        render(bare)


def test_the_threshold_is_shown(bare):
    shown = render(replace(bare, threshold=Threshold(0.512, 0.123, 0.04), n_calibration=60))
    for one in ("0.512", "0.123", "4.0 %", "of 60 training pictures kept apart"):
        assert one in shown
    assert "No threshold was set" in render(
        replace(bare, n_calibration=0, histogram=Histogram((-1, 1), (1,), (1,), 1, 0, 1))
    )
