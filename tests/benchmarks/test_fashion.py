import gzip

import numpy as np
import pytest
import torch

from rootspace.data.images import to_tensor
from rootspace.errors import InputError


@pytest.fixture(scope="module")
def task():
    from tasks.fashion import FOLDER, fashion

    if not FOLDER.is_dir():
        pytest.skip("Debian package dataset-fashion-mnist is not installed")
    return fashion()


def idx(array):
    shape = np.array(array.shape, ">i4").tobytes()
    return gzip.compress(bytes((0, 0, 8, array.ndim)) + shape + array.astype(np.uint8).tobytes())


def test_the_parts_are_disjoint_and_even(task):
    tuning, test = task.tuning["tuning"], task.untouched["test"]
    assert (len(task.train), len(tuning), len(test)) == (55_000, 5_000, 10_000)
    assert not set(task.train.indices) & set(tuning.indices)
    assert np.bincount(tuning.labels).tolist() == [500] * 10
    assert np.bincount(test.labels).tolist() == [1000] * 10
    assert task.train.image_shape == (28, 28, 1)


def test_backbone_and_augmentation_take_the_images(task):
    images = to_tensor(task.train.images_at(range(3)))
    changed = task.augment(images, torch.Generator().manual_seed(0))
    backbone = task.backbone()
    assert backbone(changed).shape == (3, backbone.feature_dim)


def test_the_idx_files_are_read_as_written(tmp_path):
    from tasks.fashion import _read_idx

    array = np.arange(24, dtype=np.uint8).reshape(4, 3, 2)
    (tmp_path / "a.gz").write_bytes(idx(array))
    assert np.array_equal(_read_idx(tmp_path / "a.gz", 3), array)


@pytest.mark.parametrize(
    "content", [b"", b"not gzip", gzip.compress(b""), idx(np.zeros(4))[:-9], idx(np.zeros((4, 2)))], ids=range(5)
)
def test_damaged_files_name_the_package(tmp_path, content):
    from tasks.fashion import _read_idx

    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(InputError, match="dataset-fashion-mnist"):
        _read_idx(tmp_path / "a.gz", 1)


def test_missing_files_name_the_package(tmp_path):
    from tasks.fashion import fashion

    with pytest.raises(InputError, match="apt install dataset-fashion-mnist"):
        fashion(tmp_path)
