"""Typefaces become data: real faces that matplotlib ships, and made-up ones that have the known faults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from rootspace.data import (
    ImageStore,
    Preprocessing,
    choose_held_out,
    common_han,
    demo_glyphs,
    find_designs,
    fonts,
    glyph_store,
    glyphs,
    latin,
)
from rootspace.data.characters import hangul, is_compatibility
from rootspace.data.designs import SAME_DESIGN, cluster
from rootspace.data.fonts import Face, design_name, find_faces, find_font_files
from rootspace.data.render import render
from rootspace.errors import InputError

pytest.importorskip("freetype")
matplotlib = pytest.importorskip("matplotlib")
DEJAVU = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
LATIN = latin()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _face(name: str = "DejaVuSans.ttf") -> Face:
    return find_faces([DEJAVU / name], LATIN)[0]


def _made_up(path: Path, family: str, drawings: dict[str, list[tuple[int, int, int, int]]]) -> Path:
    """A typeface whose characters are unions of boxes (left, bottom, right, top) in a cell of 1000 units."""
    builder = pytest.importorskip("fontTools.fontBuilder").FontBuilder(1000, isTTF=True)
    pen_class = pytest.importorskip("fontTools.pens.ttGlyphPen").TTGlyphPen
    names = {character: f"u{ord(character):05X}" for character in drawings}
    outlines = {".notdef": pen_class(None).glyph()}
    for character, boxes in drawings.items():
        pen = pen_class(None)
        for left, bottom, right, top in boxes:
            pen.moveTo((left, bottom))
            for point in ((left, top), (right, top), (right, bottom)):
                pen.lineTo(point)
            pen.closePath()
        outlines[names[character]] = pen.glyph()
    builder.setupGlyphOrder([".notdef", *names.values()])
    builder.setupCharacterMap({ord(character): name for character, name in names.items()})
    builder.setupGlyf(outlines)
    builder.setupHorizontalMetrics(dict.fromkeys(outlines, (1000, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": family, "styleName": "Regular"})
    builder.setupOS2()
    builder.setupPost()
    builder.save(path)
    return path


def _random_boxes(seed: int) -> list[tuple[int, int, int, int]]:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 700, (4, 2))
    sizes = rng.integers(100, 300, (4, 2))
    return [(int(x), int(y), int(x + w), int(y + h)) for (x, y), (w, h) in zip(corners, sizes, strict=True)]


def test_glyphs_are_dark_on_white_and_fill_the_cell() -> None:
    images, positions = render(_face(), LATIN, 32)
    assert positions.tolist() == list(range(len(LATIN)))
    assert images.shape == (62, 32, 32)
    assert (images[:, :2] == 255).all()
    assert (images[:, :, -2:] == 255).all()
    for ink in images < 128:
        rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
        assert max(np.ptp(rows), np.ptp(columns)) >= 25


def test_a_users_picture_of_a_character_gives_the_same_cell() -> None:
    images, _ = render(_face(), LATIN, 32)
    font = ImageFont.truetype(str(DEJAVU / "DejaVuSans.ttf"), 200, layout_engine=ImageFont.Layout.BASIC)
    for number, character in enumerate(LATIN):
        picture = Image.new("RGB", (500, 400), (250, 250, 240))
        ImageDraw.Draw(picture).text((130, 60), character, fill=(20, 20, 60), font=font)
        cell = Preprocessing(32, 1, "ink").apply(picture)[:, :, 0]
        assert np.abs(cell.astype(int) - images[number]).mean() < 8, character


def test_blank_repeated_and_missing_characters_are_dropped(tmp_path: Path) -> None:
    placeholder = [(100, 0, 900, 800)]
    drawings = {chr(0x4E00 + number): _random_boxes(number) for number in range(20)}
    drawings |= {chr(0x5000 + number): placeholder for number in range(8)}
    drawings |= {chr(0x6000 + number): [] for number in range(3)}
    drawings |= {chr(0x7000 + number): [(0, 0, 900, 90)] for number in range(7)}  # repeated, but rarely
    path = _made_up(tmp_path / "liar.ttf", "Liar", drawings)
    wanted = [*drawings, chr(0x8000)]
    _, positions = render(Face(path, 0, None, "Liar", "Regular"), wanted, 32)
    kept = {wanted[position] for position in positions}
    assert kept == {c for c in drawings if ord(c) < 0x5000 or ord(c) >= 0x7000}


def test_a_character_that_overflows_its_cell_is_scaled_in(tmp_path: Path) -> None:
    drawings = {"가": [(-800, -900, 2400, 1500), (2600, 0, 2700, 100)], "나": [(400, 400, 410, 410)]}
    path = _made_up(tmp_path / "wide.ttf", "Wide", drawings)
    images, positions = render(Face(path, 0, None, "Wide", "Regular"), ["가", "나"], 32)
    assert positions.tolist() == [0, 1]
    ink = images[0] < 128
    assert 26 <= ink.any(0).sum() <= 28
    assert 18 <= ink.any(1).sum() <= 20
    assert (images[1, 2:30, 2:30] == 0).all()


def test_store_has_characters_as_classes_and_designs_as_sources() -> None:
    designs, _ = cluster(find_faces(find_font_files([DEJAVU], packages=False, system=False), LATIN), LATIN)
    by_name = {design.name: design for design in designs}
    assert {"DejaVu Sans", "DejaVu Serif"} <= set(by_name)
    assert len(by_name["DejaVu Sans"].faces) > 1  # its weights and slants are no designs of their own
    store = glyph_store(designs, LATIN, progress=False)
    assert store.label_names == tuple(LATIN)
    assert store.source_names == tuple(by_name)
    assert store.preprocessing == Preprocessing(32, 1, "ink")
    assert np.array_equal(store.images[0][..., 0], render(designs[0].faces[0], LATIN, 32)[0][0])


def test_second_call_opens_the_cache_and_a_damaged_one_is_drawn_anew(cache: Path, monkeypatch) -> None:
    designs, _ = cluster([_face()], LATIN)
    first = glyph_store(designs, LATIN, progress=False)
    pixels = first.images[:].copy()
    with monkeypatch.context() as patch:
        patch.setattr(glyphs, "render", lambda *_: pytest.fail("drawn although cached"))
        assert glyph_store(designs, LATIN, progress=False).path == first.path
    (first.path / "images.npy").write_bytes(b"rubbish")
    assert np.array_equal(glyph_store(designs, LATIN, progress=False).images, pixels)
    (first.path / "manifest.json").unlink()
    assert np.array_equal(glyph_store(designs, LATIN, progress=False).images, pixels)
    assert glyph_store(designs, LATIN, size=24, progress=False).path != first.path
    assert glyph_store(designs, LATIN[:10], progress=False).path != first.path


def test_an_interrupted_drawing_leaves_no_store(cache: Path, monkeypatch) -> None:
    designs, _ = cluster([_face()], LATIN)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(glyphs, "render", stop)
        with pytest.raises(KeyboardInterrupt):
            glyph_store(designs, LATIN, progress=False)
    assert list((cache / "glyphs").iterdir()) == []
    assert len(glyph_store(designs, LATIN, progress=False)) == 62


def test_two_processes_may_draw_the_same(monkeypatch) -> None:
    designs, _ = cluster([_face()], LATIN)
    original = glyphs.writing

    @contextmanager
    def overtaken(path: Path, *rest: object) -> Iterator[object]:
        with original(path, *rest) as writer:
            yield writer
        raise OSError(39, "Directory not empty")  # what the rename says when the other one was first

    monkeypatch.setattr(glyphs, "writing", overtaken)
    assert len(glyph_store(designs, LATIN, progress=False)) == 62


def test_leftovers_of_killed_builds_are_swept(cache: Path) -> None:
    designs, _ = cluster([_face()], LATIN)
    path = glyph_store(designs, LATIN, progress=False).path
    assert path is not None
    old, young = (path.with_name(f".{path.name}.{name}") for name in ("old", "young"))
    for left in (old, young):
        left.mkdir()
    os.utime(old, (0, 0))
    (path / "labels.npy").unlink()
    glyph_store(designs, LATIN, progress=False)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_changed_typeface_file_is_drawn_anew(tmp_path: Path) -> None:
    drawings = {chr(0x4E00 + number): _random_boxes(number) for number in range(20)}
    path = _made_up(tmp_path / "own.ttf", "Own", drawings)
    face = Face(path, 0, None, "Own", "Regular")
    designs, _ = cluster([face], list(drawings))
    before = glyph_store(designs, list(drawings), progress=False)
    _made_up(path, "Own", {character: _random_boxes(ord(character)) for character in drawings})
    assert glyph_store(designs, list(drawings), progress=False).path != before.path


def test_designs_are_told_apart_by_their_pictures_not_their_names(tmp_path: Path) -> None:
    characters = [chr(0x4E00 + number) for number in range(64)]
    one = {c: _random_boxes(ord(c)) for c in characters}
    bolder = {c: [(a - 15, b - 15, x + 15, y + 15) for a, b, x, y in boxes] for c, boxes in one.items()}
    other = {c: _random_boxes(ord(c) + 10**6) for c in characters}
    for name, family, drawings in (("a", "Alpha", one), ("b", "Bravo", bolder), ("c", "Gamma", other)):
        _made_up(tmp_path / f"{name}.ttf", family, drawings)
    designs, between = find_designs(characters, [tmp_path], packages=False, system=False)
    assert [design.name for design in designs] == ["Alpha", "Gamma"]
    assert {face.family for face in designs[0].faces} == {"Alpha", "Bravo"}
    assert between[0, 1] < 0.8


def test_faces_with_too_few_of_the_characters_are_not_used() -> None:
    with pytest.raises(InputError, match="no typeface with the 5 characters"):
        find_designs(common_han(5), [DEJAVU], packages=False, system=False)


def test_nothing_found_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"rootspace\[fonts\].*apt-get install .*--fonts DIR"):
        demo_glyphs(10, packages=False, system=False)


def test_fonts_folder_is_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        find_font_files([tmp_path / "nowhere"])
    with pytest.raises(InputError, match="holds no typeface"):
        find_font_files([tmp_path])
    (tmp_path / "damaged.ttf").write_bytes(b"rubbish")
    (tmp_path / "gone.otf").symlink_to(tmp_path / "nowhere")
    assert find_faces(find_font_files([tmp_path], packages=False, system=False), LATIN) == []


def test_installed_packages_are_searched() -> None:
    assert (DEJAVU / "DejaVuSans.ttf").resolve() in find_font_files(system=False)


def test_one_design_is_not_enough_for_the_demo(tmp_path: Path) -> None:
    _made_up(tmp_path / "a.ttf", "Alpha", {c: _random_boxes(ord(c)) for c in common_han(20)})
    with pytest.raises(InputError, match=r"one design only \(Alpha\)"):
        demo_glyphs(20, [tmp_path], packages=False, system=False)


def _hands(folder: Path, count: int, n: int) -> None:
    for hand in range(count):
        drawings = {}
        for character in common_han(n):
            rng = np.random.default_rng(hand * 10**7 + ord(character))
            shift = rng.integers(-60, 60, (4, 4))
            boxes = np.array(_random_boxes(ord(character))) + shift
            drawings[character] = [tuple(map(int, box)) for box in boxes]
        _made_up(folder / f"{hand}.ttf", f"Hand{hand}", drawings)


def test_demo_holds_out_whole_designs(tmp_path: Path) -> None:
    _hands(tmp_path, 4, 40)
    train, tests = demo_glyphs(30, [tmp_path], packages=False, system=False, progress=False)
    assert len(tests) == 2
    assert train.n_classes == 30
    assert (np.bincount(train.labels) == 2).all()
    used = {train.source_names[number] for number in set(train.sources)}
    assert used.isdisjoint(tests)
    assert len(used) + len(tests) == 4
    named, chosen = demo_glyphs(30, [tmp_path], packages=False, system=False, hold_out=["Hand1"], progress=False)
    assert list(chosen) == ["Hand1"]
    assert len(named) == 90
    with pytest.raises(InputError, match="did you mean"):
        demo_glyphs(30, [tmp_path], packages=False, system=False, hold_out=["Hand9"], progress=False)
    with pytest.raises(InputError, match="number of classes"):
        demo_glyphs(10**6, [tmp_path], packages=False, system=False)


def test_with_few_designs_only_one_is_held_out() -> None:
    near = np.array([[1, 0.9, 0.5], [0.9, 1, 0.4], [0.5, 0.4, 1]])
    assert choose_held_out(["A", "B", "C"], near) == ["A"]


def test_compatibility_characters_are_refused() -> None:
    assert not any(map(is_compatibility, common_han()))
    with pytest.raises(InputError, match="compatibility"):
        glyph_store(cluster([_face()], LATIN)[0], [*LATIN, chr(0xF900)])
    with pytest.raises(InputError, match="stands twice"):
        glyph_store(cluster([_face()], LATIN)[0], ["A", "A"])


def test_character_lists() -> None:
    # golden values: the order is a hash of the character, the same on every machine
    assert len(common_han()) == 20992
    assert common_han(1000)[:5] == ["座", "吾", "道", "壕", "痢"]
    assert len(set(common_han())) == 20992
    with pytest.raises(InputError, match="between 1 and"):
        common_han(0)
    with pytest.raises(InputError, match="between 1 and"):
        hangul(20000)


@pytest.mark.parametrize(
    ("family", "design"),
    [
        ("Noto Sans CJK JP", "Noto Sans"),
        ("NotoSansJP Black", "NotoSansJP"),
        ("WenQuanYi Micro Hei Mono", "WenQuanYi Micro Hei"),
        ("AR PL UMing TW MBE", "AR PL UMing MBE"),
        ("Bold", "Bold"),
    ],
)
def test_design_names(family: str, design: str) -> None:
    assert design_name(family) == design


def test_system_folders_follow_the_environment(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "fonts").mkdir()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert tmp_path / "fonts" in fonts.system_folders()


def test_real_han_typefaces_where_there_are_some(cache: Path) -> None:
    try:
        designs, between = find_designs(common_han(300))
    except InputError:
        pytest.skip("no typeface with Han characters here")
    np.fill_diagonal(between, 0)
    assert between.size == 1 or between.max() < SAME_DESIGN
    families = [{design_name(face.family) for face in design.faces} for design in designs]
    assert sum(map(len, families)) == len(set().union(*families))  # no family in two designs
    store = ImageStore.open(glyph_store(designs, common_han(50), progress=False).path)
    assert len(store) >= 0.9 * 50 * sum(len(design.faces) for design in designs)
