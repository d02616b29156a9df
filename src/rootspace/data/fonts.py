"""Finding typefaces: in installed Python packages, in the system's font folders, where the user points."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rootspace.errors import InputError, require

FONT_SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")

WEIGHTS = (200.0, 400.0, 700.0, 900.0)
"""The weights taken from a variable typeface, where its axis reaches them."""

INSTALL_HINT = (
    "install some with: pip install 'rootspace[fonts]', or as root: apt-get install fonts-noto-cjk fonts-wqy-zenhei "
    "fonts-arphic-uming fonts-arphic-ukai, or name a folder that has them with --fonts DIR"
)

# words in a family's name that say which cut it is, not which design
_CUTS = (
    "thin hairline extralight ultralight light demilight semilight normal regular book roman medium semibold "
    "demibold demi bold extrabold ultrabold heavy black italic oblique condensed mono monospace code vf variable "
    "hw cjk sc tc hk jp kr cn tw mn"
)
_CUT_WORDS = frozenset(re.split(" ", _CUTS))


@dataclass(frozen=True, order=True)
class Face:
    """One typeface at one weight: a file, the face's number in it, and the weight set on a variable axis."""

    path: Path
    index: int
    weight: float | None
    family: str
    style: str

    def __str__(self) -> str:
        weight = "" if self.weight is None else f" {self.weight:g}"
        return f"{self.family} {self.style}{weight}"

    def open(self) -> Any:
        """The face as a `freetype.Face`; a damaged file is an `InputError` that names it."""
        freetype = require("freetype", extra="glyphs")
        try:
            face = freetype.Face(str(self.path), self.index)
            if self.weight is not None:
                axes = face.get_variation_info().axes
                face.set_var_design_coords([self.weight if a.tag == "wght" else a.default for a in axes])
        except freetype.FT_Exception as error:
            raise InputError(f"{self.path}: not a readable typeface ({error})") from None
        return face


def find_font_files(extra: Iterable[str | Path] = (), packages: bool = True, system: bool = True) -> list[Path]:
    """Every typeface file (.ttf, .otf, .ttc, .otc) there is, each once, sorted by path.

    `extra` are the user's folders or files: one that does not exist or holds no typeface is an `InputError`.
    """
    found: dict[Path, None] = {}
    for place in map(Path, extra):
        if not place.exists():
            raise InputError(f"{place}: no such folder; expected a folder with typefaces (.ttf, .otf, .ttc)")
        files = [place] if place.is_file() and place.suffix.lower() in FONT_SUFFIXES else list(_walk(place))
        if not files:
            raise InputError(f"{place}: holds no typeface (.ttf, .otf, .ttc)")
        found.update(dict.fromkeys(file.resolve() for file in files))
    roots = (package_folders() if packages else []) + (system_folders() if system else [])
    for root in roots:
        found.update(dict.fromkeys(file.resolve() for file in _walk(root)))
    return sorted(found)


def package_folders() -> list[Path]:
    """The folders in which this Python's installed packages lie."""
    named = [Path(entry) for entry in sys.path if Path(entry).name in ("site-packages", "dist-packages")]
    return [path for path in dict.fromkeys(named) if path.is_dir()]


def system_folders() -> list[Path]:
    """The font folders of this machine that exist (Linux, macOS and Windows)."""
    home = Path.home()
    places = [
        Path("/usr/share/fonts"),
        Path("/usr/local/share/fonts"),
        home / ".fonts",
        Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "fonts",
        Path("/Library/Fonts"),
        Path("/System/Library/Fonts"),
        home / "Library/Fonts",
    ]
    if windows := os.environ.get("WINDIR"):
        places.append(Path(windows) / "Fonts")
    if local := os.environ.get("LOCALAPPDATA"):
        places.append(Path(local) / "Microsoft/Windows/Fonts")
    return [path for path in places if path.is_dir()]


def find_faces(
    files: Iterable[Path], characters: Sequence[str], coverage: float = 0.5, probes: int = 200
) -> list[Face]:
    """The scalable faces in `files` whose character map claims at least `coverage` of the characters.

    `probes` characters, spread over the list, are looked up. A variable face gives one `Face` for each of
    `WEIGHTS` on its axis. Files that FreeType cannot read are passed over: a machine's folders hold such.
    """
    freetype = require("freetype", extra="glyphs")
    step = max(1, len(characters) // probes)
    codes = [ord(character) for character in characters[::step]]
    found = []
    for path in files:
        try:
            count = freetype.Face(str(path)).num_faces
            faces = [freetype.Face(str(path), index) for index in range(count)]
        except (freetype.FT_Exception, OSError):
            continue
        for index, face in enumerate(faces):
            if not face.is_scalable or face.charmap is None:
                continue
            if sum(face.get_char_index(code) != 0 for code in codes) < coverage * len(codes):
                continue
            plain = Face(path, index, None, _text(face.family_name) or path.stem, _text(face.style_name))
            weights = _weights(face)
            found += [replace(plain, style="", weight=weight) for weight in weights] if weights else [plain]
    return sorted(found)


def design_name(family: str) -> str:
    """The family's name without the words for region, weight and width: one name for all cuts of a design.

    >>> design_name("Noto Sans CJK SC"), design_name("NanumGothicExtraBold"), design_name("IPAexGothic")
    ('Noto Sans', 'NanumGothic', 'IPAexGothic')
    """
    words = re.sub(r"(?<=[a-z])(?=(Thin|Extra|Ultra|Light|Regular|Medium|Semi|Bold|Black|Heavy))", " ", family)
    kept = [word for word in words.split() if word.lower() not in _CUT_WORDS and word not in ("Extra", "Ultra")]
    return " ".join(kept) or family


def _weights(face: Any) -> list[float]:
    try:
        axes = face.get_variation_info().axes
    except Exception:  # freetype-py raises various errors for a face without axes
        return []
    for axis in axes:
        if axis.tag == "wght":
            inside = [weight for weight in WEIGHTS if axis.minimum <= weight <= axis.maximum]
            return inside or [float(axis.default)]
    return []


def _walk(root: Path) -> Iterable[Path]:
    for folder, _, names in os.walk(root, onerror=None):
        for name in names:
            if name.lower().endswith(FONT_SUFFIXES):
                yield Path(folder, name)


def _text(name: bytes | None) -> str:
    return (name or b"").decode("utf-8", "replace").strip()
