"""Every picture its own class: a word in a typeface is a class, its augmented views are the instances.

The way of arXiv 2510.04090 to very many classes, on words as pictures (`tasks.words`, whose packages it needs): 50,000
words in twelve typefaces are 600,000 pictures. What is held out are views of the same pictures that training never
draws. Strokes are left as they are: some typefaces differ in little else.
"""

from __future__ import annotations

import numpy as np

from rootspace.data import every_sample, unseen_views
from rootspace.errors import InputError
from rootspace.train import Augment
from tasks.base import Task
from tasks.words import FONTS, HELD_OUT, WordConv, chosen_words, font_files, halved, word_store

WORDS = 50_000


def instances(n_classes: int = 50_000) -> Task:
    """`n_classes` pictures at random, those of a smaller task among those of a larger one."""
    everything = word_store(chosen_words(WORDS), font_files(FONTS)).all()
    if not 2 <= n_classes <= len(everything):
        raise InputError(f"the number of pictures must lie between 2 and {len(everything):,}, got {n_classes}")
    order = np.random.default_rng(0).permutation(len(everything))
    train = every_sample(everything.select(order[:n_classes]))
    augment = Augment(rotate=2, scale=0.1, shift=0.04, shear=4, stroke=0, noise=0.1)
    return Task(
        name=f"instances:{n_classes}",
        train=train,
        tuning={"unseen views": unseen_views(train, augment, seed=1, limit=HELD_OUT)},
        untouched={"other unseen views": unseen_views(train, augment, seed=2, limit=HELD_OUT)},
        backbone=WordConv,
        augment=augment,
        features=halved,
        about={"pictures": n_classes, "words": WORDS, "fonts": list(FONTS), "held_out_views": min(HELD_OUT, n_classes)},
    )
