"""Draws the figures of docs/concepts.md as SVG beside this file: `python docs/figures/draw.py`.

The colours are mid-tones on a transparent ground, so that a figure reads on a white and on a black page alike.
Everything drawn is computed by the package; nothing is drawn by hand.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from rootspace.assign import nearest_free
from rootspace.systems import A, Table, n_min

GREY, BLUE, ORANGE, GREEN = "#7a848f", "#3d8bfd", "#e8772e", "#2f9e6e"
FAMILY_COLOURS = {"V11": GREY, "V21": "#a06bd6", "V22": BLUE, "W4": GREEN, "dense": ORANGE}
Point = tuple[float, float]


def line(a: Point, b: Point, colour: str = GREY, width: float = 1.5, more: str = "") -> str:
    ends = f'x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}"'
    return f'<line {ends} stroke="{colour}" stroke-width="{width}" {more}/>'


def dot(a: Point, radius: float, colour: str, more: str = "") -> str:
    return f'<circle cx="{a[0]:.1f}" cy="{a[1]:.1f}" r="{radius}" fill="{colour}" {more}/>'


def ring(a: Point, radius: float) -> str:
    return dot(a, radius, "none", f'stroke="{GREY}" stroke-width="1" stroke-opacity="0.5"')


def text(a: Point, words: str, colour: str = GREY, anchor: str = "middle", size: int = 13) -> str:
    place = f'x="{a[0]:.1f}" y="{a[1]:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place} fill="{colour}" font-family="sans-serif">{words}</text>'


def svg(width: int, height: int, title: str, parts: Iterable[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return "\n".join([f'{head} role="img">', f"<title>{title}</title>", *parts, "</svg>"]) + "\n"


def plane_of_a2(vectors: torch.Tensor) -> torch.Tensor:
    """Vectors whose three coordinates sum to 0, in a basis of that plane: (N, 3) -> (N, 2), lengths kept."""
    basis = torch.tensor([[1.0, -1.0, 0.0], [1.0, 1.0, -2.0]])
    return vectors @ (basis / basis.norm(dim=1, keepdim=True)).T


def on_page(point: torch.Tensor, centre: Point, scale: float) -> Point:
    return centre[0] + scale * float(point[0]), centre[1] - scale * float(point[1])


def roots_of_a2() -> str:
    roots = A(2).all()
    centre, scale = (210.0, 160.0), 80.0
    parts = [ring(centre, scale * 2**0.5)]
    for root, flat in zip(roots, plane_of_a2(roots), strict=True):
        end, label = on_page(flat, centre, scale), on_page(flat * 1.12, centre, scale)
        anchor = "middle" if abs(flat[0]) < 1 else "start" if flat[0] > 0 else "end"
        name = "(" + ", ".join(f"{int(value)}".replace("-", "−") for value in root) + ")"
        parts += [line(centre, end, BLUE, 2), dot(end, 4.5, BLUE), text((label[0], label[1] + 4), name, anchor=anchor)]
    return svg(420, 320, "The 6 roots of A_2: the corners of a regular hexagon", parts)


def roots_of_a3() -> str:
    roots = A(3).all()
    basis = torch.tensor([[1.0, -1, 0, 0], [1.0, 1, -2, 0], [1.0, 1, 1, -3]])
    space = roots @ (basis / basis.norm(dim=1, keepdim=True)).T
    turn, tilt = math.radians(25), math.radians(-68)
    c, s = math.cos(turn), math.sin(turn)
    space = space @ torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    c, s = math.cos(tilt), math.sin(tilt)
    space = space @ torch.tensor([[1.0, 0, 0], [0, c, -s], [0, s, c]])
    centre, scale = (160.0, 150.0), 88.0
    depth = (space[:, 2] + 2**0.5) / (2 * 2**0.5)  # 0 far, 1 near
    pages = [on_page(point, centre, scale) for point in space]
    parts = [ring(centre, scale * 2**0.5)]
    for i in range(len(roots)):
        for j in range(i):
            if float(roots[i] @ roots[j]) == 1:  # cosine 1/2: the nearest neighbours
                near = 0.15 + 0.6 * float(depth[i] + depth[j]) / 2
                parts.append(line(pages[i], pages[j], GREY, 1.2, f'stroke-opacity="{near:.2f}"'))
    parts += [
        dot(pages[i], 3.5 + 2.5 * float(depth[i]), BLUE, f'fill-opacity="{0.35 + 0.65 * depth[i]:.2f}"')
        for i in depth.argsort().tolist()
    ]
    return svg(320, 300, "The 12 roots of A_3: the corners of a cuboctahedron", parts)


def decoding() -> str:
    system = A(2)
    roots = plane_of_a2(system.all())
    x = torch.tensor([0.95, -0.35, -0.6])
    flat, found = plane_of_a2(x[None])[0], plane_of_a2(system.nearest(x)[None])[0]
    centre, scale = (170.0, 150.0), 80.0
    parts = [ring(centre, scale * 2**0.5)]
    for k in range(6):  # a border lies half-way between two neighbours
        angle = math.atan2(float(roots[0][1]), float(roots[0][0])) + math.pi / 6 + k * math.pi / 3
        edge = torch.tensor([math.cos(angle), math.sin(angle)]) * 1.6
        parts.append(line(centre, on_page(edge, centre, scale), GREY, 1, 'stroke-dasharray="4 4" stroke-opacity="0.7"'))
    for root in roots:
        hit = torch.equal(root, found)
        end = on_page(root, centre, scale)
        colour = BLUE if hit else GREY
        parts += [line(centre, end, colour, 2.5 if hit else 1.5), dot(end, 5 if hit else 4, colour)]
    end, best = on_page(flat, centre, scale), on_page(found, centre, scale)
    parts += [line(centre, end, ORANGE, 2.5), dot(end, 5, ORANGE)]
    parts += [
        text((end[0] + 10, end[1] + 5), "embedding", ORANGE, "start"),
        text((best[0] + 10, best[1] + 4), "nearest vector", BLUE, "start"),
    ]
    return svg(380, 300, "An embedding and the vector it decodes to", parts)


def regimes() -> str:
    """Ten classes of two kinds: shuffled over a system that they nearly fill, and near their means in a large one."""
    means = [math.radians(a) for a in (40, 52, 63, 77, 90, 205, 217, 229, 244, 256)]
    kinds = [BLUE] * 5 + [ORANGE] * 5
    few, many = 12, 120
    order = torch.randperm(few, generator=torch.Generator().manual_seed(8))[:10].tolist()
    directions = torch.tensor([[math.cos(a), math.sin(a)] for a in means])
    circle = torch.tensor([[math.cos(2 * math.pi * k / many), math.sin(2 * math.pi * k / many)] for k in range(many)])
    chosen = nearest_free(Table(circle), directions)
    parts = []
    for centre, count in (((150.0, 150.0), few), ((470.0, 150.0), many)):
        parts.append(ring(centre, 100))
        for k in range(count):
            a = 2 * math.pi * k / count
            parts.append(dot(on_page(torch.tensor([math.cos(a), math.sin(a)]), centre, 100), 2, GREY))
    for place, kind in zip(order, kinds, strict=True):
        a = 2 * math.pi * place / few
        parts.append(dot(on_page(torch.tensor([math.cos(a), math.sin(a)]), (150.0, 150.0), 100), 6, kind))
    for vector, kind in zip(chosen, kinds, strict=True):
        parts.append(dot(on_page(vector, (470.0, 150.0), 100), 6, kind))
    parts += [
        text((150, 146), "tight"),
        text((150, 164), "few vectors, shuffled", size=11),
        text((470, 146), "roomy"),
        text((470, 164), "many vectors, by likeness", size=11),
        dot((215, 285), 6, BLUE),
        text((227, 289), "classes that look alike", BLUE, "start"),
        dot((385, 285), 6, ORANGE),
        text((397, 289), "others that look alike", ORANGE, "start"),
    ]
    return svg(620, 305, "The two regimes: tight and shuffled, roomy and by similarity", parts)


def dimensions() -> str:
    """n_min over the number of classes, both axes logarithmic."""
    left, top, width, height = 62, 20, 380, 250
    exponents = [k / 4 for k in range(12, 49)]

    def place(classes: float, n: float) -> Point:
        return left + width * (classes - 3) / 9, top + height * (1 - math.log10(n) / 6)

    parts = []
    for power in range(7):
        y = place(3, 10**power)[1]
        label = f'10<tspan dy="-5" font-size="10">{power}</tspan>'
        grid = line((left, y), (left + width, y), GREY, 0.6, 'stroke-opacity="0.5"')
        parts += [grid, text((left - 10, y + 5), label, anchor="end")]
    for power in range(3, 13, 3):
        x = place(power, 1)[0]
        parts.append(text((x, top + height + 20), f'10<tspan dy="-5" font-size="10">{power}</tspan>'))
    for name, colour in FAMILY_COLOURS.items():
        points = [place(e, n_min(name, round(10**e))) for e in exponents]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        lift = {"V22": 0, "W4": 11}.get(name, 4)  # these two end side by side
        parts.append(text((points[-1][0] + 8, points[-1][1] + lift), name, colour, "start"))
    parts += [
        text((left + width / 2, top + height + 42), "number of classes"),
        text((0, 0), "smallest dimension").replace("<text ", '<text transform="translate(16 145) rotate(-90)" '),
    ]
    return svg(510, 320, "The smallest dimension that holds a number of classes, by family", parts)


FIGURES: dict[str, Callable[[], str]] = {
    "roots-a2": roots_of_a2,
    "roots-a3": roots_of_a3,
    "decoding": decoding,
    "regimes": regimes,
    "dimensions": dimensions,
}


def main() -> None:
    for name, draw in FIGURES.items():
        path = Path(__file__).with_name(f"{name}.svg")
        path.write_text(draw(), encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
