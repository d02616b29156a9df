"""Matplotlib figures as inline SVG that takes its colours from the page's style sheet."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from rootspace.errors import require
from rootspace.report.draw import Palette

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# colours nobody would choose stand for variables of the style sheet, so that one drawing does for light and dark
_VARIABLES = {
    "#010101": "--ink",
    "#010102": "--soft",
    "#010103": "--line",
    "#010104": "--surface",
    **{f"#01020{i}": f"--s{i}" for i in range(6)},
}
PAGE = Palette(
    ink="#010101", soft="#010102", grid="#010103", surface="#010104",
    series=tuple(f"#01020{i}" for i in range(6)),
)  # fmt: skip


def inline_svg(
    draw: Callable[[Axes], None], name: str, description: str, size: tuple[float, float] = (3.5, 2.5)
) -> str:
    """Draw on one axes of `size` inches: an `<svg>` element, its text as paths, readable by its description.

    `name` is unique in the page: it prefixes the ids, which would otherwise collide between drawings.
    """
    matplotlib = require("matplotlib", extra="report")
    figure_type = require("matplotlib.figure", extra="report").Figure
    settings = {"svg.fonttype": "path", "svg.hashsalt": name, "font.size": 10, "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(settings):
        figure = figure_type(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        stream = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    return _embeddable(stream.getvalue(), name, description)


def _embeddable(svg: str, name: str, description: str) -> str:
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # its style element would apply to the whole page
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = svg.replace("xlink:href", "href")
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    box = re.search(r'viewBox="[^"]*"', svg)
    viewbox = box.group(0) if box else ""
    body = svg[svg.index(">", svg.index("<svg")) + 1 :]
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" aria-label="{escape(description)}" '
    return re.sub(r"\s*\n\s*", "\n", f"{opening}{viewbox}>{body}").strip()
