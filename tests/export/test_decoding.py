"""What the graphs are made of finds the nearest classes: compared with brute force, and with the assignments."""

from __future__ import annotations

import pytest
import torch

from rootspace.assign import by_name, shuffled
from rootspace.errors import InputError
from rootspace.export import decoding
from rootspace.export.words import nearest_words
from rootspace.systems import Table, parse

ORBITS = [
    "V11:6", "V21:6", "V22:7", "V10:5", "V33:8", "graded:8", "graded4:8", "dense:8", "perm[3,1,1/2,0,-2]",
    "W1:5", "W3:6", "W5:5", "signed[2,1,0^3]", "signed[3,2,1]", "even[1^5]", "even[1^4,-1]", "even[3,2,1,1/2]",
]  # fmt: skip


def embeddings(dim: int, count: int = 50) -> torch.Tensor:
    """Random directions, and ones with ties and zeros among their coordinates."""
    random = torch.Generator().manual_seed(dim)
    smooth = torch.randn(count, dim, generator=random)
    tied = torch.randint(-2, 3, (count, dim), generator=random).float() + 1e-3 * (torch.arange(dim) == 0)
    return torch.nn.functional.normalize(torch.cat([smooth, tied]), dim=1)


def noisy(unit: torch.Tensor, amount: float) -> torch.Tensor:
    noise = torch.randn(unit.shape, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.normalize(unit + amount * noise, dim=1)


@pytest.mark.parametrize("spec", ORBITS)
@pytest.mark.parametrize("k", [1, 3, 17])
def test_few_words_hold_the_k_nearest(spec: str, k: int) -> None:
    system = parse(spec)
    k = min(k, system.size)
    search = decoding._search(system, k)
    assert search is not None
    unit = embeddings(system.dim)
    values, index = search(unit)
    every = unit @ system.all().T
    assert torch.allclose(values, every.topk(k, dim=1).values, atol=1e-5)
    assert torch.allclose(every.gather(1, index), values, atol=1e-5)  # the index names a vector of that value
    assert all(len(set(row)) == k for row in index.tolist())


@pytest.mark.parametrize("spec", ["flat(V11:6)", "scaled(W3:6, 2)", "V22:6 x W2:4", "V11:4^3", "embedded(V21:6, 9)"])
def test_systems_made_of_orbits(spec: str) -> None:
    system = parse(spec)
    search = decoding._search(system, 9)
    assert search is not None
    unit = embeddings(system.dim)
    values, index = search(unit)
    every = unit @ system.all().T
    assert torch.allclose(values, every.topk(9, dim=1).values, atol=1e-5)
    assert torch.allclose(every.gather(1, index), values, atol=1e-5)


def test_words_are_few_and_do_not_grow_with_the_system() -> None:
    sizes = [len(nearest_words(parse(spec), 12)) for spec in ("V22:41", "V22:400")]  # type: ignore[arg-type]
    assert sizes[0] == sizes[1] < 100


def test_systems_without_a_small_graph_are_left_to_comparison() -> None:
    assert decoding._search(parse("E8"), 5) is None
    assert decoding._search(parse("graded:64"), 64) is None
    assert decoding._search(parse("dense:128"), 5) is None  # more vectors than an int64 can number


@pytest.mark.parametrize(
    ("spec", "n_classes"),
    [("V11:100", 9000), ("V21:27", 8775), ("V22:41", 600_000), ("graded:8", 39_000), ("dense:12", 15_000),
     ("W3:24", 16_192), ("even[1^14]", 8192), ("V22:8 x V21:6", 20_000)],
)  # fmt: skip
def test_a_shuffle_is_undone_without_a_table(spec: str, n_classes: int) -> None:
    classes = shuffled(parse(spec), n_classes, key=3)
    decoder = decoding.decoder(classes, 5)
    if spec != "even[1^14]":  # 8192 classes are few enough to compare
        assert isinstance(decoder, decoding.Decoded)
        assert sum(tensor.nbytes for tensor in decoder.state_dict().values()) < 300_000
    # at vectors that are in use, and at vectors that are not
    unit = noisy(classes.system.random(64, torch.Generator().manual_seed(0)) / classes.system.norm, 0.02)
    scores, labels = decoder(unit)
    expected, names = classes.nearest(unit, 5)
    assert torch.allclose(scores, expected, atol=1e-6)
    assert torch.equal(labels, names)


def test_nearest_vectors_that_are_not_in_use_are_passed_over() -> None:
    classes = shuffled(parse("V11:100"), 8400, key=1)  # 1,500 of 9,900 vectors are not in use
    unused = classes.shuffle(torch.arange(8400, 9900))
    unit = noisy(classes.system.unrank(unused, torch.float32) / classes.system.norm, 0.01)
    scores, labels = decoding.decoder(classes, 3)(unit)
    expected, names = classes.nearest(unit, 3)
    assert torch.allclose(scores, expected, atol=1e-6)
    assert torch.equal(labels, names)
    assert int(labels.min()) >= 0
    assert float(scores[:, 0].max()) < 0.9


def test_too_few_in_use_among_those_looked_at_is_said() -> None:
    classes = shuffled(parse("V11:100"), 8400, key=1)
    search = decoding._search(classes.system, 2)
    assert search is not None
    unit = classes.system.unrank(classes.shuffle(torch.arange(9000, 9900)), torch.float32) / classes.system.norm
    scores, labels = decoding.Decoded(classes, search, 2)(unit)
    assert bool(((labels == -1) == scores.isnan()).all())
    assert bool((labels == -1)[:, 1].all())  # the nearest vector of each is not in use
    assert bool((labels[:, 0] >= 0).any())


def test_how_many_to_look_at() -> None:
    assert decoding.candidates(100_000, 100_000, 3) == 3
    assert decoding.candidates(100_000, 99_998, 3) == 5  # certain
    assert decoding.candidates(100_000, 50_000, 1) == 40  # 2^-40 is below 1e-12
    assert decoding.candidates(100_000, 1_000, 1) is None


@pytest.mark.parametrize(
    "spec", ["V22:10", "graded:16", "dense:64", "E8", "random:500,16,1", "perturbed(V22:10, 0.01, 3)"]
)
def test_comparison(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "BLOCK", 100)  # the last block holds fewer than k classes
    system = parse(spec)
    classes = by_name(system, [f"{i}" for i in range(203)], key=2)
    decoder = decoding.decoder(classes, 5)
    assert isinstance(decoder, decoding.Compared)
    unit = embeddings(system.dim)
    scores, labels = decoder(unit)
    expected, _ = classes.nearest(unit, 5)
    assert torch.allclose(scores, expected, atol=1e-6)
    own = (unit[:, None] * classes.vectors(labels)).sum(2) / system.norm
    assert torch.allclose(own, expected, atol=1e-5)


def test_a_table_takes_a_byte_a_coordinate() -> None:
    decoder = decoding.decoder(by_name(parse("graded:64"), [str(i) for i in range(1000)]), 5)
    assert sum(tensor.nbytes for tensor in decoder.state_dict().values()) <= 64_000 + 4 * 8


def test_a_system_given_as_rows() -> None:
    rows = torch.nn.functional.normalize(torch.randn(300, 6, generator=torch.Generator().manual_seed(0)), dim=1)
    classes = shuffled(Table(rows), 250)
    unit = embeddings(6)
    scores, labels = decoding.decoder(classes, 2)(unit)
    assert torch.allclose(scores, classes.nearest(unit, 2)[0], atol=1e-6)
    assert torch.equal(labels, classes.nearest(unit, 2)[1])


def test_moving_vectors_must_settle_first() -> None:
    classes = by_name(parse("V22:10"), ["a", "b"])
    classes.release()
    with pytest.raises(InputError, match="settle"):
        decoding.decoder(classes, 1)
