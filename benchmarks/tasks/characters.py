"""Han characters: two designs train, two unlike ones tune, two others stay untouched.

As root, first: apt-get install fonts-noto-cjk fonts-wqy-microhei fonts-wqy-zenhei fonts-lxgw-wenkai fonts-cns11643-kai
"""

from __future__ import annotations

from rootspace.data import split_by_source
from rootspace.data.characters import common_han
from rootspace.data.designs import Design
from rootspace.data.glyphs import find_designs, glyph_store, shared_characters
from rootspace.errors import InputError
from rootspace.models import build
from rootspace.train import Augment
from tasks.base import Task

#: Design -> how many of its faces (weights and regional cuts) are drawn.
TRAIN = {"Noto Sans": 3, "Noto Serif": 3}
#: A sans face and a brush-like one, each twice: to choose on, and to report.
TUNING = {"WenQuanYi Micro Hei": 1, "LXGW WenKai": 1}
UNTOUCHED = {"WenQuanYi Zen Hei": 1, "TW-Kai": 1}


def characters(n_classes: int = 3000) -> Task:
    """The first `n_classes` of `common_han` that all six designs have, 32 x 32 grey, six images a class to train on."""
    faces = TRAIN | TUNING | UNTOUCHED
    ordered = common_han()
    found, _ = find_designs(ordered[:n_classes], max_faces=max(faces.values()))
    # of a design that tests, one face: its last by name, a regular weight in each of the four
    designs = [Design(d.name, d.faces[-faces[d.name] :]) for d in found if d.name in faces]
    if missing := set(faces) - {design.name for design in designs}:
        raise InputError(
            f"typefaces missing: {', '.join(sorted(missing))}; as root: apt-get install fonts-noto-cjk "
            "fonts-wqy-microhei fonts-wqy-zenhei fonts-lxgw-wenkai fonts-cns11643-kai"
        )
    chosen = shared_characters(designs, ordered[: 2 * n_classes + 200], n_classes)
    store = glyph_store(designs, chosen)
    train, heldout = split_by_source(store.all(), [*TUNING, *UNTOUCHED])
    return Task(
        name=f"characters:{n_classes}",
        train=train,
        tuning={name: heldout[name] for name in TUNING},
        untouched={name: heldout[name] for name in UNTOUCHED},
        backbone=lambda: build({"name": "small_conv"}),
        augment=Augment(),
        features=None,
        about={"faces": {design.name: [str(face) for face in design.faces] for design in designs}},
    )
