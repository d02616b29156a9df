"""Different vectors near directions: the auction against the optimum, crowded classes, exact ties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import normalize

from rootspace.assign import free, nearest_free
from rootspace.errors import InputError
from rootspace.systems import A, Table, V, dense, graded, orbit, product, weight

CIRCLE = torch.tensor([[1.0, 0], [0.8, 0.6], [0, 1], [-0.6, 0.8], [-1, 0], [0, -1]])
SYSTEMS = [
    A(2),
    V(5, 1, 1),
    V(6, 2, 1),
    weight(4, 2),
    product(A(2), weight(3, 1)),
    orbit([3, 2, 1, 0.5]),
    Table(CIRCLE),
]


def directions_of(system, n_classes, kind, seed=0):
    """Unit rows: anywhere, in clusters of about five, all equal, or zero."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n_classes, system.dim, generator=generator)
    if kind == "clusters":
        centres = torch.randn(-(-n_classes // 5), system.dim, generator=generator)
        rows = centres.repeat_interleave(5, 0)[:n_classes] + 0.2 * rows
    elif kind == "equal":
        rows = rows[:1].repeat(n_classes, 1)
    elif kind == "zero":
        rows = torch.zeros_like(rows)
    return normalize(rows, dim=1)


def total(directions, vectors):
    return float((directions.double() * vectors.double()).sum())


def optimum(system, directions):
    solver = pytest.importorskip("scipy.optimize", reason="the optimum comes from scipy (extra 'dev')")
    closeness = (directions.double() @ system.all(torch.float64).T).numpy()
    rows, columns = solver.linear_sum_assignment(closeness, maximize=True)
    return float(closeness[rows, columns].sum())


def assert_near_optimum(system, directions):
    vectors = nearest_free(system, directions)
    n_classes = len(directions)
    assert vectors.shape == (n_classes, system.dim)
    assert vectors.dtype == torch.float32
    assert bool(system.contains(vectors).all())
    assert len(system.decode(vectors).unique()) == n_classes
    best, got = optimum(system, directions), total(directions, vectors)
    assert best - n_classes * (free.EPSILON * system.norm + 1e-5) <= got <= best + n_classes * 1e-5


@pytest.mark.parametrize("kind", ["random", "clusters", "equal", "zero"])
@pytest.mark.parametrize("fill", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.spec)
def test_the_total_is_near_the_optimum(monkeypatch, system, fill, kind):
    if kind == "equal":  # equal classes outbid each other in steps of epsilon: thousands of rounds
        monkeypatch.setattr(free, "EPSILON", 0.02)
    n_classes = max(1, int(fill * system.size))
    assert_near_optimum(system, directions_of(system, n_classes, kind))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SYSTEMS), st.data())
def test_the_total_is_near_the_optimum_on_any_directions(system, data):
    n_classes = data.draw(st.integers(1, system.size))
    kind = data.draw(st.sampled_from(["random", "clusters"]))
    assert_near_optimum(system, directions_of(system, n_classes, kind, data.draw(st.integers(0, 10**6))))


@pytest.mark.parametrize("kind", ["random", "clusters"])
@pytest.mark.parametrize(("system", "n_classes"), [(V(33, 1, 1), 1000), (V(10, 2, 2), 1260), (V(12, 2, 2), 400)])
def test_the_total_is_near_the_optimum_in_larger_systems(monkeypatch, system, n_classes, kind):
    if n_classes == system.size:
        monkeypatch.setattr(free, "EPSILON", 0.01)
    assert_near_optimum(system, directions_of(system, n_classes, kind))


@pytest.mark.parametrize("kind", ["random", "clusters"])
@pytest.mark.parametrize("fewest", [2, 8])
def test_candidates_come_from_search_in_large_systems(monkeypatch, kind, fewest):
    """Forced on small systems, so that the optimum is known: nearest_k, a few rows at a time."""
    monkeypatch.setattr(free, "SMALL", 0)
    monkeypatch.setattr(free, "BLOCK", 500)
    monkeypatch.setattr(free, "FEWEST", fewest)
    for system, n_classes in ((V(7, 2, 1), 60), (V(5, 1, 1), 15), (V(10, 2, 2), 300)):
        for seed in range(3):
            assert_near_optimum(system, directions_of(system, n_classes, kind, seed))


def test_the_bound_scales_with_the_directions():
    system = V(6, 2, 1)
    directions = directions_of(system, 50, "clusters")
    for factor in (2.0**-20, 2.0**10):
        assert torch.equal(nearest_free(system, directions), nearest_free(system, directions * factor))


# ------------------------------------------------------------------ who gets what


def test_the_nearest_class_keeps_its_vector():
    system = V(6, 1, 1)
    target = system.unrank(torch.tensor(7))
    directions = torch.stack([target + 0.2 * torch.arange(6), target, target - 0.1 * torch.arange(6)])
    vectors = nearest_free(system, normalize(directions, dim=1))
    assert torch.equal(vectors[1], target)
    assert len(vectors.unique(dim=0)) == 3


def test_without_conflicts_every_class_has_its_nearest_vector(monkeypatch):
    monkeypatch.setattr(free, "_Auction", None)  # nothing to settle
    directions = directions_of(graded(64), 500, "random")
    assert torch.equal(nearest_free(graded(64), directions), graded(64).nearest(directions))


def test_classes_without_rivals_take_no_part(monkeypatch):
    looked = []
    look_up = free._Auction._look_up
    monkeypatch.setattr(
        free._Auction, "_look_up", lambda self, who, k: (looked.extend(who.tolist()), look_up(self, who, k))
    )
    system = V(41, 2, 2)
    directions = directions_of(system, 1000, "random")
    directions[7] = directions[3]
    nearest = system.nearest(directions)
    vectors = nearest_free(system, directions)
    alone = torch.ones(1000, dtype=torch.bool)
    alone[looked] = False
    assert {3, 7} <= set(looked)
    assert int(alone.sum()) > 950
    assert torch.equal(vectors[alone], nearest[alone])


def test_equal_classes_are_served_in_the_order_of_their_numbers():
    system = Table(CIRCLE)
    assert nearest_free(system, CIRCLE[:1].repeat(2, 1)).tolist() == CIRCLE[:2].tolist()


@pytest.mark.parametrize("n_classes", [0, 1])
def test_few_classes(n_classes):
    system = V(6, 1, 1)
    directions = directions_of(system, n_classes, "random")
    assert torch.equal(nearest_free(system, directions), system.nearest(directions))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_any_dtype_gives_different_vectors_in_float32(dtype):
    system = dense(16)
    directions = directions_of(system, 300, "clusters").to(dtype).requires_grad_()
    vectors = nearest_free(system, directions)
    assert vectors.dtype == torch.float32
    assert not vectors.requires_grad
    assert len(system.decode(vectors).unique()) == 300


@pytest.mark.parametrize("kind", ["clusters", "equal"])
def test_the_same_every_time(kind):
    directions = directions_of(dense(16), 200, kind)
    first = nearest_free(dense(16), directions)
    torch.manual_seed(5)
    assert torch.equal(nearest_free(dense(16), directions), first)


def test_more_classes_than_vectors():
    with pytest.raises(InputError, match="7 classes do not fit"):
        nearest_free(Table(CIRCLE), torch.ones(7, 2))


# ------------------------------------------------------------------ where classes crowd


@pytest.mark.parametrize(("system", "n_classes"), [(graded(64), 500), (V(12, 2, 2), 2000), (V(8, 2, 2), 420)])
@pytest.mark.parametrize("kind", ["equal", "clusters", "zero"])
def test_classes_beyond_the_allowance_get_free_vectors(monkeypatch, system, n_classes, kind):
    monkeypatch.setattr(free, "SMALL", 0)
    monkeypatch.setattr(free, "CANDIDATES", (2, 100))
    vectors = nearest_free(system, directions_of(system, n_classes, kind))
    assert bool(system.contains(vectors).all())
    assert len(vectors.unique(dim=0)) == n_classes


def test_vectors_found_with_noise_are_near(monkeypatch):
    """A random vector's expected cosine is 0; one vector's worth of candidates would leave only those."""
    monkeypatch.setattr(free, "CANDIDATES", (0, 100))
    directions = directions_of(graded(64), 300, "equal")
    assert total(directions, nearest_free(graded(64), directions)) / graded(64).norm > 0.9 * 300


def test_a_price_war_ends(monkeypatch):
    monkeypatch.setattr(free, "PATIENCE", 2**14)
    system = V(6, 2, 1)
    for kind in ("equal", "clusters"):
        vectors = nearest_free(system, directions_of(system, system.size, kind))
        assert len(system.decode(vectors).unique()) == system.size
