"""Words as pictures: the drawing on typefaces that matplotlib carries, the rest where the package trdg is there."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest

from rootspace.errors import InputError

FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.mark.parametrize("font", ["DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono-Oblique.ttf"])
def test_ink_goes_from_edge_to_edge_with_a_pixel_of_paper(font):
    from tasks.words import draw

    cells = draw(["hill", "minimum", "kill"], FONTS / font)
    assert cells.shape == (3, 16, 96)
    assert cells.dtype == np.uint8
    border = np.concatenate(
        [cells[:, 0].ravel(), cells[:, -1].ravel(), cells[:, :, 0].ravel(), cells[:, :, -1].ravel()]
    )
    assert (border == 255).all()
    assert (cells[:, :, 1:4].min(axis=(1, 2)) < 160).all()
    assert (cells[:, :, -4:-1].min(axis=(1, 2)) < 160).all()


def test_all_words_of_a_typeface_stand_on_one_line():
    from tasks.words import draw

    low, high, both = (cell.min(axis=1) < 128 for cell in draw(["on", "dl", "pd"], FONTS / "DejaVuSans.ttf"))
    assert not low[:3].any(), "a small letter reaches as high as a tall one"
    assert high[:3].any()
    assert both[-3:].any()
    assert not high[-3:].any(), "a letter without a tail hangs below the line"


def test_letters_side_by_side_are_the_word_as_the_library_draws_it():
    from PIL import Image, ImageFont

    from tasks.words import Letters

    letters = Letters(FONTS / "DejaVuSans.ttf")
    font = ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), Letters.SIZE, layout_engine=ImageFont.Layout.BASIC)
    ink = letters.word("quickly")
    mask, _ = font.getmask2("quickly", mode="L")
    whole = Image.frombytes("L", mask.size, bytes(mask))
    assert abs(ink.shape[1] - whole.width) <= 3
    assert ink.sum() == pytest.approx(np.asarray(whole).sum(dtype=np.int64), rel=0.03)


def test_a_typeface_without_letters_is_refused():
    from tasks.words import Letters

    with pytest.raises(InputError, match="has no letter"):
        Letters(FONTS / "STIXNonUni.ttf")


def test_the_task_holds_whole_typefaces_out(tmp_path, monkeypatch):
    pytest.importorskip("trdg", reason="pip install --no-deps trdg")
    from tasks import words as module

    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path))
    try:
        task = module.words(30)
    except InputError as error:
        pytest.skip(str(error))
    assert len(task.train) == 30 * len(module.TRAIN)
    assert set(task.tuning) | set(task.untouched) == {Path(name).stem for name in (*module.TUNING, *module.UNTOUCHED)}
    assert set(task.train.label_names) <= set(module.word_list())
    assert module.chosen_words(10) == module.chosen_words(30)[:10]
