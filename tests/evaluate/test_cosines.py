from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from rootspace.errors import InputError
from rootspace.evaluate import cosine_histogram


def dense(x, labels, table):
    cosines = normalize(x, dim=1) @ normalize(table, dim=1).T
    own = cosines.gather(1, labels[:, None])[:, 0]
    other = cosines.scatter(1, labels[:, None], -2).max(1).values
    return own.numpy(), other.numpy()


@pytest.mark.parametrize("chunk", [7, 4096])
def test_histogram_equals_the_dense_computation(table, chunk, tmp_path):
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(7, (150,), generator=generator)
    x = table.table[labels] + 0.3 * torch.randn(150, 8, generator=generator)
    own, other = dense(x, labels, table.table)
    np.save(tmp_path / "x.npy", x.numpy())
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for given in (x, mapped):
        found = cosine_histogram(given, labels.numpy(), table, bins=20, chunk=chunk)
        assert len(found.edges) == 21
        assert found.edges[0] == -1
        assert found.edges[-1] == 1
        assert found.n == sum(found.other) == 150
        # float32 rounding may move a cosine over a bin's edge: compare with a sample of slack
        np.testing.assert_allclose(found.own, np.histogram(own, found.edges)[0], atol=1)
        np.testing.assert_allclose(found.other, np.histogram(other, found.edges)[0], atol=1)
        assert found.own_mean == pytest.approx(own.mean(), abs=1e-6)
        assert found.other_mean == pytest.approx(other.mean(), abs=1e-6)
        assert found.right == pytest.approx((own > other).mean())
        json.dumps(asdict(found), allow_nan=False)


def test_bad_input(table):
    x, labels = torch.ones(4, 8), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(InputError, match="empty set"):
        cosine_histogram(x[:0], labels[:0], table)
    with pytest.raises(InputError, match=r"embeddings \(N, dim\)"):
        cosine_histogram(x, labels[:2], table)
    with pytest.raises(InputError, match="class ids from 0 to 6"):
        cosine_histogram(x, labels + 9, table)
    x[3, 0] = torch.inf
    with pytest.raises(InputError, match="sample 3"):
        cosine_histogram(x, labels, table, chunk=2)
    table.table = table.table[:1]
    with pytest.raises(InputError, match="two classes"):
        cosine_histogram(x, labels, table)
