"""The checks every vector system must pass, shipped so that a new family can be held against them.

Each check takes a system and raises `AssertionError` where it breaks its contract. With pytest::

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    @pytest.mark.parametrize("system", MY_SYSTEMS, ids=str)
    def test_conformance(system, check):
        check(system)

The oracle is the list of all vectors, so a system is checked whole only up to `MAX_SIZE` vectors.
"""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Callable
from fractions import Fraction
from functools import wraps

import torch
from torch import Tensor

from rootspace.systems.base import VectorSystem
from rootspace.systems.spec import parse
from rootspace.systems.table import Table

#: Systems up to this size are compared with brute force.
MAX_SIZE = 20_000

#: Logit scales at which sums over the system are checked.
SCALES = (0.0, 1.0, 10.0, 100.0)

Check = Callable[[VectorSystem], None]
CHECKS: list[Check] = []


def _check(function: Check) -> Check:
    CHECKS.append(function)
    return function


def check_system(system: VectorSystem) -> None:
    """Run every check on one system.

    >>> from rootspace.systems import V
    >>> check_system(V(5, 2, 1))
    """
    for check in CHECKS:
        check(system)


def embeddings(system: VectorSystem, count: int = 12, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Test embeddings of unit norm: random ones, members, sorted, one-hot, negative, and with equal coordinates."""
    generator = torch.Generator().manual_seed(seed)
    random = torch.randn(count, system.dim, generator=generator, dtype=torch.float64)
    members = system.unrank(torch.randint(system.size, (4,), generator=generator), torch.float64)
    members = members + 0.01 * torch.randn(members.shape, generator=generator, dtype=torch.float64)
    first = torch.zeros(1, system.dim, dtype=torch.float64)
    first[0, 0] = 1
    special = torch.cat([random[:1].sort(dim=1).values, first, -first, torch.ones_like(first), random[:1].round()])
    x = torch.cat([random, members, special])
    return torch.nn.functional.normalize(x, dim=1).to(dtype)


def _dense(system: VectorSystem) -> Tensor:
    if system.size > MAX_SIZE:
        raise ValueError(f"{system.spec} has {system.size} vectors; brute force is for at most {MAX_SIZE}")
    return system.all(torch.float64)


def _close(actual: Tensor, expected: Tensor, rtol: float, atol: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=rtol, atol=atol, check_dtype=False)


@_check
def vectors_are_distinct_and_of_one_norm(system: VectorSystem) -> None:
    vectors = _dense(system)
    assert vectors.shape == (system.size, system.dim)
    assert torch.unique(vectors, dim=0).shape[0] == system.size
    _close(vectors.norm(dim=1), torch.full((system.size,), system.norm, dtype=torch.float64), rtol=1e-4, atol=0)
    assert {float(v) for v in vectors.unique()} == {float(v) for v in system.alphabet}
    _close(vectors.mean(0), torch.tensor([float(v) for v in system.centroid()]), rtol=0, atol=1e-6)


@_check
def rank_inverts_unrank(system: VectorSystem) -> None:
    index = torch.arange(system.size)
    for dtype in (torch.float32, torch.float64):
        vectors = system.unrank(index, dtype)
        assert vectors.dtype == dtype
        assert torch.equal(system.rank(vectors), index)
        assert bool(system.contains(vectors).all())
    assert not bool(system.contains(1.5 * vectors[:10]).any())
    if system.size < 3**system.dim:
        noise = vectors[:10] + 0.37 * torch.linspace(-1, 1, system.dim).to(vectors)
        assert not bool(system.contains(noise).any())


@_check
def exact_indices_agree_with_tensors(system: VectorSystem) -> None:
    step = max(1, system.size // 50)
    for index in range(0, system.size, step):
        word = system.unrank_exact(index)
        assert all(isinstance(value, Fraction) for value in word)
        assert system.rank_exact(word) == index
        row = system.unrank(torch.tensor(index), torch.float64)
        assert [float(value) for value in word] == row.tolist()
        assert system.rank_exact(row.tolist()) == index


@_check
def indices_out_of_range_are_refused(system: VectorSystem) -> None:
    for index in (-1, system.size):
        for call in (lambda i: system.unrank(torch.tensor([i])), system.unrank_exact):
            try:
                call(index)
            except IndexError:
                continue
            raise AssertionError(f"index {index} was accepted")


@_check
def cosines_match_brute_force(system: VectorSystem) -> None:
    vectors = _dense(system)
    unit = vectors / system.norm
    # a large system is symmetric, so some of its rows speak for all
    step = 1 if system.size <= 2_000 else system.size // 150
    expected: dict[int, float] = defaultdict(float)
    rows = unit[::step]
    for chunk in rows.split(256):
        values, counts = (chunk @ unit.T).mul(1e6).round().unique(return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            expected[int(value)] += count / len(rows)
    spectrum = system.cosine_spectrum()
    assert list(spectrum) == sorted(spectrum, reverse=True)
    assert sum(spectrum.values()) == system.size
    actual: dict[int, float] = defaultdict(float)
    for cosine, number in spectrum.items():
        actual[round(float(cosine) * 1e6)] += float(number)
    if len(expected) < 1000:  # a system without symmetry has too many different cosines to tell apart
        _same_counts(expected, actual)
    for power in (1, 2, 3):
        moments = [sum(count * (value / 1e6) ** power for value, count in c.items()) for c in (expected, actual)]
        assert abs(moments[0] - moments[1]) < 1e-5 * system.size
    others = [value / 1e6 for value in expected if value != 1_000_000]
    assert abs(system.max_cosine - max(others)) < 2e-6
    assert abs(system.mcs - max((abs(value) for value in others if value != -1), default=0.0)) < 2e-6


def _same_counts(expected: dict[int, float], actual: dict[int, float]) -> None:
    """Equal counts at equal cosines, where a cosine may have been rounded either way."""
    rest = dict(actual)
    for value, count in expected.items():
        near = [other for other in rest if abs(other - value) <= 1]
        assert near, f"no vectors at cosine {value / 1e6}"
        found = sum(rest.pop(other) for other in near)
        assert abs(found - count) < 1e-6 * max(1, count), f"{found} in place of {count} at cosine {value / 1e6}"
    assert not rest


@_check
def nearest_reaches_the_optimum(system: VectorSystem) -> None:
    vectors = _dense(system)
    for dtype in (torch.float32, torch.float64):
        x = embeddings(system, dtype=dtype)
        best = (x.double() @ vectors.T).amax(1)
        found = system.nearest(x)
        assert found.dtype == dtype
        assert bool(system.contains(found).all())
        _close((found.double() * x.double()).sum(1), best, rtol=0, atol=1e-5 * system.norm)
        assert torch.equal(system.decode(x), system.rank(found))


@_check
def members_decode_to_themselves(system: VectorSystem) -> None:
    index = torch.arange(0, system.size, max(1, system.size // 2000))
    assert torch.equal(system.decode(system.unrank(index)), index)


@_check
def nearest_k_matches_brute_force(system: VectorSystem) -> None:
    vectors = _dense(system)
    x = embeddings(system)
    scores = x.double() @ vectors.T
    for k in {1, 2, min(7, system.size), min(40, system.size)} & set(range(1, system.size + 1)):
        values, index = system.topk(x, k)
        assert values.shape == index.shape == (len(x), k)
        _close(values, scores.topk(k, dim=1).values, rtol=0, atol=2e-5 * system.norm)
        _close(scores.gather(1, index), values, rtol=0, atol=2e-5 * system.norm)
        assert all(len(set(row)) == k for row in index.tolist())
        assert bool((values.diff(dim=1) <= 0).all())


def _logits(system: VectorSystem) -> Tensor:
    """The test embeddings at every scale, in one batch; no logit exceeds 800, where float32 has few digits left."""
    return torch.cat([scale / max(1, system.norm / 8) * embeddings(system) for scale in SCALES])


@_check
def sums_over_the_system_are_declared(system: VectorSystem) -> None:
    x = torch.zeros(2, system.dim)
    calls: tuple[Callable[[], Tensor], ...] = (
        lambda: system.log_partition(x),
        lambda: system.log_partition(x, without=system.nearest(x)),
        lambda: system.sample(x, 2),
        lambda: system.sample_vectors(x, 2),
    )
    for call in calls:
        assert _is_had(call) == system.has_log_partition, f"has_log_partition is {system.has_log_partition}"


def _is_had(call: Callable[[], Tensor]) -> bool:
    try:
        call()
    except NotImplementedError:
        return False
    return True


def _check_of_sums(function: Check) -> Check:
    """A check of what only systems with a `log_partition` have; the others pass."""

    @wraps(function)
    def check(system: VectorSystem) -> None:
        if system.has_log_partition:
            function(system)

    return _check(check)


@_check_of_sums
def log_partition_matches_brute_force(system: VectorSystem) -> None:
    z = _logits(system)
    expected = torch.logsumexp(z.double() @ _dense(system).T, dim=1)
    _close(system.log_partition(z), expected, rtol=1e-5, atol=1e-5)
    _close(system.log_partition(z.double()), expected, rtol=1e-10, atol=1e-10)


@_check_of_sums
def log_partition_leaves_one_out(system: VectorSystem) -> None:
    vectors, logits = _dense(system), _logits(system)
    index = system.decode(logits)  # the hardest to leave out: the largest term
    scores = logits.double() @ vectors.T
    scores[torch.arange(len(logits)), index] = float("-inf")
    z = logits.clone().requires_grad_()
    rest = system.log_partition(z, without=system.unrank(index))
    _close(rest.detach(), torch.logsumexp(scores, dim=1), rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(rest.sum(), z)
    _close(gradient, torch.softmax(scores, dim=1) @ vectors, rtol=1e-4, atol=1e-4 * system.norm)


@_check_of_sums
def gradient_of_log_partition_is_the_mean(system: VectorSystem) -> None:
    vectors = _dense(system)
    z = _logits(system).requires_grad_()
    (gradient,) = torch.autograd.grad(system.log_partition(z).sum(), z)
    expected = torch.softmax(z.detach().double() @ vectors.T, dim=1) @ vectors
    _close(gradient, expected, rtol=1e-4, atol=1e-4 * system.norm)


@_check_of_sums
def samples_follow_the_softmax(system: VectorSystem) -> None:
    vectors = _dense(system)
    z = 2 * embeddings(system, count=2)[:2]
    draws = 2000
    index = system.sample(z, draws, torch.Generator().manual_seed(1))
    again = system.sample(z, draws, torch.Generator().manual_seed(1))
    assert index.shape == (2, draws)
    assert torch.equal(index, again)
    weights = torch.softmax(z.double() @ vectors.T, dim=1)
    means, expected = vectors[index].mean(1), weights @ vectors
    spread = (weights @ vectors.square() - expected.square()).clamp_min(0).sqrt()
    # five standard errors, and room for a coordinate that is nearly constant
    assert bool(((means - expected).abs() <= 5 * spread / draws**0.5 + 2e-3 * system.norm).all())


@_check
def shapes_dtypes_and_empty_batches(system: VectorSystem) -> None:
    for shape in ((), (0,), (1,), (2, 3), (2, 0)):
        x = torch.randn(*shape, system.dim, generator=torch.Generator().manual_seed(0))
        assert system.decode(x).shape == shape
        assert system.nearest(x).shape == (*shape, system.dim)
        assert system.topk(x, 2)[1].shape == (*shape, 2)
        assert system.unrank(system.decode(x)).shape == (*shape, system.dim)
    half = torch.randn(4, system.dim, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert system.nearest(half).dtype == torch.bfloat16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = system.topk(half.float(), 2)[0]
    assert torch.equal(inside, system.topk(half.float(), 2)[0])


@_check_of_sums
def shapes_and_dtypes_of_sums(system: VectorSystem) -> None:
    for shape in ((), (0,), (1,), (2, 3), (2, 0)):
        x = torch.randn(*shape, system.dim, generator=torch.Generator().manual_seed(0))
        assert system.log_partition(x).shape == shape
        assert system.sample(x, 3).shape == (*shape, 3)
    half = torch.randn(4, system.dim, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert system.log_partition(half).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(system.log_partition(half.float()), system.log_partition(half))


@_check
def random_vectors_are_uniform(system: VectorSystem) -> None:
    draws = 2000
    try:
        vectors = system.random(draws, torch.Generator().manual_seed(1))
    except NotImplementedError:
        assert not system.has_log_partition
        return
    assert vectors.shape == (draws, system.dim)
    assert bool(system.contains(vectors).all())
    assert torch.equal(vectors, system.random(draws, torch.Generator().manual_seed(1)))
    assert system.random(0, dtype=torch.float64).dtype == torch.float64
    # means, and products of coordinates, which see how coordinates depend on each other
    everything = _dense(system)
    products = vectors.double().T @ vectors.double() / draws, everything.T @ everything / system.size
    _close(vectors.double().mean(0), everything.mean(0), rtol=0, atol=5 * system.norm / draws**0.5)
    _close(*products, rtol=0, atol=5 * system.norm**2 / draws**0.5)
    counts = torch.bincount(system.rank(vectors), minlength=system.size).double()
    if draws >= 10 * system.size:  # chi squared has size - 1 degrees of freedom
        excess = (counts - draws / system.size).square().sum() * system.size / draws - (system.size - 1)
        assert abs(float(excess)) < 6 * (2 * system.size) ** 0.5


@_check
def bad_input_is_refused(system: VectorSystem) -> None:
    x = torch.zeros(2, system.dim)
    not_finite = x.clone()
    not_finite[1, 0] = float("nan")
    for call in (
        lambda: system.decode(torch.zeros(2, system.dim + 1)),
        lambda: system.decode(not_finite),
        lambda: system.log_partition(not_finite),
        lambda: system.log_partition(x / 0),
        lambda: system.log_partition(x, without=x),
        lambda: system.log_partition(x, without=x[:1]),
        lambda: system.topk(x, 0),
        lambda: system.topk(x, system.size + 1),
        lambda: system.rank(x),
        lambda: system.decode(x.long()),
        lambda: system.unrank(torch.zeros(2)),
        lambda: system.rank_exact([7.25] * system.dim),
    ):
        try:
            call()
        except (ValueError, TypeError):
            continue
        raise AssertionError("bad input was accepted")


@_check
def survives_pickle_and_spec(system: VectorSystem) -> None:
    copy = pickle.loads(pickle.dumps(system))
    assert copy == system
    assert hash(copy) == hash(system)
    assert copy.size == system.size
    if not isinstance(system, Table):
        assert parse(system.spec) == system
        assert parse(system.spec).spec == system.spec
