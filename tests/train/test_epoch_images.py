"""Epochs smaller or larger than the training set: one endless stream of permutations, cut at any length."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

from rootspace.data import ImageSet, batches, epoch_order
from rootspace.errors import InputError
from rootspace.files import read_json, write_json
from rootspace.train import TrainConfig, fit

TINY = runpy.run_path(str(Path(__file__).with_name("tiny_run.py")))


@pytest.mark.parametrize("images", [1, 3, 10, 23, 100])
@pytest.mark.parametrize("shuffle", [True, False])
def test_epochs_are_parts_of_one_stream(images: int, shuffle: bool) -> None:
    n, epochs = 10, 40
    passes = [epoch_order(n, 5, number, shuffle) for number in range(images * epochs // n)]
    found = np.concatenate([epoch_order(n, 5, epoch, shuffle, images) for epoch in range(epochs)])
    assert found.dtype == np.int64
    assert len(found) == images * epochs
    assert np.array_equal(found, np.concatenate(passes))
    assert np.bincount(found, minlength=n).tolist() == [images * epochs // n] * n


@pytest.mark.parametrize("images", [0, 10])
def test_the_whole_set_is_the_usual_epoch(images: int) -> None:
    for epoch in range(4):
        assert np.array_equal(epoch_order(10, 3, epoch, images=images), epoch_order(10, 3, epoch))


def test_batches_of_such_an_epoch() -> None:
    data = ImageSet.from_arrays(np.zeros((10, 4, 4), np.uint8), np.arange(10))
    for epoch in range(3):
        loader = batches(data, 4, seed=2, epoch=epoch, epoch_images=14, drop_last=True)
        order = epoch_order(10, 2, epoch, images=14)
        assert [labels.tolist() for _, labels in loader] == [
            order[:4].tolist(),
            order[4:8].tolist(),
            order[8:12].tolist(),
        ]
    with pytest.raises(InputError, match="epoch_images must be at least 0"):
        batches(data, 4, epoch_images=-1)


@pytest.mark.parametrize(("images", "steps"), [(0, 15), (40, 5), (200, 25), (5, 1)])
def test_steps_of_an_epoch(images: int, steps: int) -> None:
    embedder, loss = TINY["model"]()
    config = TrainConfig(epochs=2, batch_size=8, epoch_images=images, device="cpu")
    history = fit(embedder, loss, TINY["images"](), config, progress=False)
    assert [record.step for record in history.epochs] == [steps, 2 * steps]


def test_a_killed_run_of_such_epochs_resumes(tmp_path: Path) -> None:
    whole = TINY["run"](tmp_path / "whole", epoch_images=52, epochs=7)
    TINY["run"](tmp_path / "part", epoch_images=52, epochs=7)
    newest = sorted((tmp_path / "part" / "checkpoints").iterdir())[-1]
    newest.rename(tmp_path / "gone")  # the run goes on from the one before
    again = TINY["run"](tmp_path / "part", resume=True, epoch_images=52, epochs=7)
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    with pytest.raises(InputError, match="cannot be resumed with epoch_images 53: the run began with 52"):
        TINY["run"](tmp_path / "part", resume=True, epoch_images=53, epochs=7)


def test_a_run_older_than_the_setting_resumes(tmp_path: Path) -> None:
    whole = TINY["run"](tmp_path / "whole", epochs=2)
    TINY["run"](tmp_path / "part", epochs=2)
    newest = sorted((tmp_path / "part" / "checkpoints").iterdir())[-1]
    newest.rename(tmp_path / "gone")  # the run goes on from the one before
    about = read_json(tmp_path / "part" / "run.json")
    del about["config"]["epoch_images"]
    write_json(tmp_path / "part" / "run.json", about)
    again = TINY["run"](tmp_path / "part", resume=True, epochs=2)
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.items())
    with pytest.raises(InputError, match="cannot be resumed with epoch_images 52: the run began with 0"):
        TINY["run"](tmp_path / "part", resume=True, epochs=2, epoch_images=52)


def test_an_epoch_too_small_for_a_step() -> None:
    embedder, loss = TINY["model"]()
    config = TrainConfig(gradient_accumulation=8, epoch_images=7, device="cpu")
    with pytest.raises(InputError, match=r"an epoch takes 7; lower gradient_accumulation or raise epoch_images"):
        fit(embedder, loss, TINY["images"](), config, progress=False)
