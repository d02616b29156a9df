"""Systems made from systems, optimal levels and baselines: each against its definition, by brute force."""

from contextlib import nullcontext
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootspace.systems import (
    E8,
    A,
    B,
    C,
    D,
    SpecError,
    Table,
    V,
    centred,
    embedded,
    extended,
    extensions,
    flat,
    half_cube,
    interpolated_A,
    mutual_cosine,
    n_min,
    normalised_union,
    orbit,
    parse,
    perturbed,
    product,
    random_directions,
    scaled,
    union,
    weight,
)
from rootspace.systems.conformance import CHECKS, MAX_SIZE
from rootspace.systems.derived.mutual import mutual_counts, mutual_mcs

F = Fraction

SPECS = [
    "B:3", "B:6", "flat(V11:3)", "flat(V11:5)", "flat(perm[5/6^2,-1/6^3,-7/6])", "scaled(V21:5, 7)",
    "embedded(V11:5, 7)", "embedded(flat(V11:4), 5)", "embedded(B:3, 4)",
    "union(W2:8, even[1/2^8])", "union(W2:5, scaled(perm[2,1,-1^3], 2))",
    "union(even[1^5], even[1^4,-1])", "union(V21:5, V12:5)", "union(V10:4, perm[0^3,-1], scaled(perm[1^3,0], 1))",
    "interpolated:2,1", "interpolated:2,3", "interpolated:3,1", "interpolated:4,2", "flat(interpolated:3,1)",
    "perturbed(V21:6, 0.1, 3)", "perturbed(B:4, 0.3, 1)", "perturbed(V22:6, 1/4, 9223372036854775807)",
    "union(W1:4^2, scaled(even[1^8], 2))",
    "random:200,6,1", "random:50,2,0", "hadamard_rows:2", "hadamard_rows:16", "V10:8",
    "B:3^2", "union(V10:4, perm[0^3,-1]) x flat(V11:4)", "union(E8, scaled(orthoplex:8, 2))",
]  # fmt: skip


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("spec", SPECS)
def test_conformance(spec, check):
    system = parse(spec)
    assert system.size <= MAX_SIZE
    check(system)


@pytest.mark.parametrize("spec", SPECS)
def test_specs_round_trip(spec):
    system = parse(spec)
    assert parse(system.spec) == system
    assert hash(parse(system.spec)) == hash(system)


@pytest.mark.parametrize(
    ("spec", "indices", "vectors"),
    [
        ("B:3", [0, 11, 12, 17], [[0, 1, 1], [-1, -1, 0], [2**0.5, 0, 0], [0, 0, -(2**0.5)]]),
        ("interpolated:3,1", [0, 12, 24], [[1, -1, 0, 0], [2, 0, -1, -1], [0, -2, 1, 1]]),
        ("flat(V11:4)", [0, 5], [[1, -1, 0], [1, 4, 1]]),
    ],
)
def test_numbering_is_as_published(spec, indices, vectors):
    """The numbering is part of the model format: the parts of a union come one after the other, in their own order."""
    system = parse(spec)
    found = system.unrank(torch.tensor(indices), torch.float64)
    expected = torch.tensor(vectors, dtype=torch.float64)
    torch.testing.assert_close(found, expected * system.norm / expected.norm(dim=1, keepdim=True))


#: Computed with this package; the bits are those of splitmix64.
PERTURBED = [
    [0.029341315446817118, -0.01069428324155069, -0.9708742119021502, 1.0723457493851043, 0.9521042894309829],
    [0.9862880990707116, 0.9372663021224861, -1.0713498304304683, 0.017653216681575545, 0.02579863009003274],
]
RANDOM = [
    [0.6202309121039253, -0.3937662997970268, -0.6784259110727501],
    [0.12529074056066375, -0.4722124158213517, 0.872535193945736],
]


def test_keyed_numbers_are_as_published():
    """A perturbed or random system is a function of its key on every machine."""
    found = perturbed(V(5, 2, 1), 0.125, 3).unrank(torch.tensor([0, 29]), torch.float64)
    torch.testing.assert_close(found, torch.tensor(PERTURBED, dtype=torch.float64), rtol=0, atol=1e-12)
    found = random_directions(10, 3, 5).unrank(torch.tensor([0, 9]), torch.float64)
    torch.testing.assert_close(found, torch.tensor(RANDOM, dtype=torch.float64), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "spec",
    [
        *("B:6", "flat(V11:5)", "embedded(V22:6, 9)", "scaled(V21:5, 7)", "interpolated:4,2", "flat(interpolated:3,1)"),
        *("weyl:E6[0,1,0,0,0,0]", "roots:F4", "random:50,4,0", "hadamard_rows:8", "union(E8, scaled(W1:8, 2))"),
    ],
)
def test_tensors_stay_on_their_device(spec, monkeypatch):
    """On the device "meta" nothing is computed, and a tensor of another device is an error."""
    monkeypatch.setattr(torch, "autocast", lambda **_: nullcontext())  # which "meta" does not have
    system = parse(spec)
    x = torch.zeros(3, system.dim, device="meta", requires_grad=True)
    index = system.decode(x)
    tensors = [index, system.unrank(index), system.rank(x), system.contains(x), *system.topk(x, 2)]
    tensors += [system.log_partition(x), system.log_partition(x, without=x)]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


# ---------------------------------------------------------------------- B, C, other coordinates


def test_roots_of_b_and_c():
    # Bourbaki, plates II and III: 2n^2 roots
    assert [B(n).size for n in (2, 3, 4, 10)] == [8, 18, 32, 200]
    assert B(4).parts[0] == D(4)
    assert B(4).mcs == B(4).max_cosine == pytest.approx(0.5**0.5)
    assert C(7) == B(7) == normalised_union(D(7), weight(7, 1))
    assert parse("C:7").spec == "B:7"
    assert n_min("B", 1000) == 23  # 2 * 22^2 = 968


@pytest.mark.parametrize("system", [A(3), A(8), centred(V(7, 2, 1)), interpolated_A(3)])
def test_flat_is_an_isometry(system):
    low = flat(system)
    assert low.dim == system.dim - 1
    high, vectors = system.all(torch.float64), low.all(torch.float64)
    torch.testing.assert_close(vectors @ vectors.T, high @ high.T)
    x = torch.randn(50, low.dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(low._back(vectors), high)
    torch.testing.assert_close(low._into(x) @ high.T, x @ vectors.T)


def test_flat_at_a_hundred_thousand_coordinates():
    system = flat(A(100_000))
    index = torch.tensor([0, 123_456_789, system.size - 1])
    vectors = system.unrank(index)
    assert torch.equal(system.rank(vectors), index)
    assert torch.equal(system.decode(vectors), index)


def test_embedding_keeps_the_spacing():
    system = embedded(V(6, 2, 1), 10)
    assert (system.size, system.dim, system.max_cosine) == (60, 10, V(6, 2, 1).max_cosine)
    assert embedded(system, 12) == embedded(V(6, 2, 1), 12)
    assert embedded(V(6, 2, 1), 6) == V(6, 2, 1)


def test_scaling():
    assert scaled(V(5, 2, 1), 12) == orbit([2, 2, -2, 0, 0])
    assert scaled(scaled(V(5, 2, 1), 7), 3) == V(5, 2, 1)
    assert scaled(half_cube(5), F(5, 4)).spec == "even[1/2^5]"
    assert scaled(flat(A(3)), 4) == flat(scaled(A(3), 4))


# ---------------------------------------------------------------------- unions


def test_unions_known_from_the_literature():
    e8 = union(D(8), orbit([0.5] * 8, "even"))
    assert e8.cosine_spectrum() == E8().cosine_spectrum()
    # the D4 roots with those of its dual: the 48 roots of F4
    f4 = normalised_union(D(4), weight(4, 1), orbit([1] * 4, "even"), orbit([1, 1, 1, -1], "even"))
    assert (f4.size, f4.max_cosine) == (48, pytest.approx(0.5**0.5))
    # the vertices of the 16-cell and of the tesseract make the 24-cell
    cell = normalised_union(weight(4, 1), weight(4, 4))
    assert (cell.size, cell.max_cosine) == (24, 0.5)
    assert cell.cosine_spectrum() == D(4).cosine_spectrum()
    # the vertices of the cube and of the octahedron
    assert normalised_union(weight(3, 1), weight(3, 3)).max_cosine == pytest.approx(3**-0.5)


def test_joining():
    assert union(D(5)) == D(5)
    assert union(union(V(5, 2, 1), V(5, 1, 2)), V(5, 3, 0)).size == 70
    assert (
        union(flat(A(3)), flat(scaled(orbit([3, -1, -1, -1]), 2))).spec == "flat(union(V11:4, scaled(perm[3,-1^3], 2)))"
    )
    assert union(embedded(V(5, 2, 1), 6), embedded(V(5, 1, 2), 6)) == embedded(union(V(5, 2, 1), V(5, 1, 2)), 6)
    with pytest.raises(ValueError, match="share vectors"):
        union(V(4, 1, 1), D(4))
    with pytest.raises(ValueError, match="share vectors"):
        union(D(4), scaled(product(weight(2, 1), weight(2, 1)), 2))
    with pytest.raises(ValueError, match="one squared norm, got 2, 3"):
        union(D(5), weight(5, 3))
    with pytest.raises(ValueError, match="one dimension, got 5, 6"):
        union(D(5), D(6))
    with pytest.raises(NotImplementedError, match="at most"):
        union(product(weight(20, 3), weight(20, 3)), weight(40, 6))


_BASES = st.lists(st.integers(-3, 3), min_size=4, max_size=4)
_GROUPS = st.sampled_from(["permutations", "signed", "even"])


@settings(max_examples=150, deadline=None)
@given(_BASES, _GROUPS, _BASES, _GROUPS)
def test_mutual_separation_is_exact(base, group, other, other_group):
    try:
        first, second = orbit(base, group), orbit(other, other_group)
    except ValueError:
        return
    cosines = (first.all(torch.float64) / first.norm) @ (second.all(torch.float64) / second.norm).T
    assert mutual_cosine(first, second) == pytest.approx(float(cosines.max()))
    assert mutual_cosine(second, first) == mutual_cosine(first, second)
    counts = mutual_counts(first, second)
    assert sum(counts.values()) == first.size * second.size
    for cosine, count in counts.items():
        assert int(((cosines - float(cosine)).abs() < 1e-9).sum()) == count
    if mutual_cosine(first, second) < 1:
        others = cosines.abs()[cosines.abs() < 1 - 1e-9]
        assert mutual_mcs(first, second) == pytest.approx(float(others.max()) if len(others) else 0)
        both = normalised_union(first, second)
        table = Table(both.all(torch.float64))
        assert both.max_cosine == pytest.approx(table.max_cosine)
        assert both.mcs == pytest.approx(table.mcs)


def test_a_union_too_large_for_int64_still_searches():
    system = union(V(64, 16, 16), scaled(V(64, 8, 8), 32))
    x = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    assert bool(system.contains(system.nearest(x)).all())
    with pytest.raises(OverflowError, match="nearest"):
        system.decode(x)
    for index in (0, system.parts[0].size - 1, system.parts[0].size, system.size - 1):
        assert system.rank_exact(system.unrank_exact(index)) == index
    assert system.max_cosine == pytest.approx(31 / 32)


# ---------------------------------------------------------------------- interpolation and extension


def _with_midpoints(vectors):
    """The definition: the midpoints of all closest pairs, brought to the sphere, are added."""
    cosines = vectors @ vectors.T
    cosines.fill_diagonal_(-1)
    left, right = (cosines > cosines.max() - 1e-9).nonzero().T
    middles = torch.nn.functional.normalize(vectors[left] + vectors[right], dim=1)
    return torch.unique(torch.cat([vectors, middles]).mul(1e9).round(), dim=0) / 1e9


@pytest.mark.parametrize(("n", "times"), [(2, 1), (2, 2), (2, 3), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1)])
def test_interpolation_by_its_definition(n, times):
    expected = A(n).all(torch.float64) / A(n).norm
    for _ in range(times):
        expected = _with_midpoints(expected)
    system = interpolated_A(n, times)
    found = system.all(torch.float64) / system.norm
    assert system.size == len(found) == len(expected)
    distances = torch.cdist(found, expected)
    assert float(distances.amin(0).max()) < 1e-6
    assert float(distances.amin(1).max()) < 1e-6
    big_n = n + 1
    assert system.size == big_n * n + (2**times - 1) * big_n * n * (n - 1)
    assert system.max_cosine == pytest.approx(float(torch.cos(torch.tensor(torch.pi / 3 / 2**times))))


def test_interpolation_of_large_systems():
    system = interpolated_A(100, 2)
    assert system.size == 101 * 100 + 3 * 101 * 100 * 99
    assert system.max_cosine == pytest.approx(0.9659258262890683)  # cos 15
    index = torch.tensor([0, 10_100, system.size - 1])
    assert torch.equal(system.decode(system.unrank(index)), index)


def test_extension_in_the_same_dimension():
    assert extended(D(8), F(1, 2), group="even").cosine_spectrum() == E8().cosine_spectrum()
    assert extended(weight(4, 1), 0.5) == union(weight(4, 1), scaled(weight(4, 4), 1))
    assert extended(D(3), 0.5) == D(3)  # twelve is the kissing number
    assert extensions(A(4), 0.5, zero_sum=True) == []
    assert [found.size for found in extensions(A(4), 0.5)] == [10, 10]  # [1, 1, 0, 0, 0] leaves the hyperplane
    assert flat(extended(A(3), 0.75, zero_sum=True)).dim == 3
    larger = extended(V(6, 2, 1), 2 / 3)
    assert larger.size > V(6, 2, 1).size
    assert Table(larger.all(torch.float64)).max_cosine == pytest.approx(2 / 3)
    for found in extensions(V(6, 2, 1), 2 / 3, largest=1):
        assert mutual_cosine(found, V(6, 2, 1)) <= 2 / 3 + 1e-12
    with pytest.raises(ValueError, match="not invariant"):
        extensions(A(4), 0.5, group="signed")
    with pytest.raises(ValueError, match="orbits"):
        extensions(random_directions(10, 3), 0.5)
    with pytest.raises(ValueError, match="lower `largest`"):
        extensions(V(41, 2, 2), 0.75, largest=3)


# ---------------------------------------------------------------------- perturbation


def test_perturbed_vectors_stay_near():
    system = perturbed(V(10, 2, 2), 0.2, key=5)
    before, after = V(10, 2, 2).all(torch.float64), system.all(torch.float64)
    moves = (after - before).norm(dim=1)
    assert float(moves.max()) <= system.moved
    assert float(moves.min()) > 0
    assert not torch.equal(after, perturbed(V(10, 2, 2), 0.2, key=6).all(torch.float64))
    # V^22 at 41.4 degrees: amounts up to the sine of half that
    with pytest.raises(ValueError, match=r"less than 0\.353553"):
        perturbed(V(10, 2, 2), 0.354)
    with pytest.raises(OverflowError):
        perturbed(V(64, 16, 16), 0.01)
    assert Table(after).max_cosine <= system.max_cosine_bound


def test_perturbed_nearest_is_exact_where_it_cannot_be_listed():
    inner = V(18, 3, 2)
    system = perturbed(inner, 0.1, key=1)
    assert system.size == 85_680
    vectors = torch.cat([system.unrank(part) for part in torch.arange(system.size).split(4096)])
    x = torch.cat([vectors[:20] + 0.3 * torch.randn(20, 18, generator=torch.Generator().manual_seed(0))])
    values, index = system.topk(x, 3)
    torch.testing.assert_close(values, (x @ vectors.T).topk(3, dim=1).values)
    assert torch.equal(index[:, 0], (x @ vectors.T).argmax(1))
    for call, name in (
        (lambda: system.log_partition(x), "log_partition"),
        (lambda: system.sample(x, 1), "sample"),
        (lambda: system.max_cosine, "max_cosine_bound"),
        (lambda: system.mcs, "unrank"),
        (lambda: system.alphabet, "float64"),
        (system.cosine_spectrum, "inner"),
        (system.centroid, "inner"),
        (lambda: system.nearest(torch.ones(1, 18)), "lower the amount"),
    ):
        with pytest.raises(NotImplementedError, match=name):
            call()
    assert system.rank_exact(system.unrank_exact(70_000)) == 70_000


# ---------------------------------------------------------------------- specs


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("flat(V22:8", 10),
        ("flat(V21:8)", 0),
        ("flat(W2:8)", 0),
        ("union(V22:8, )", 13),
        ("union(W2:8, W2:8)", 0),
        ("union(W2:8, W3:8)", 0),
        ("scaled(V22:8)", 12),
        ("scaled(V22:8, 0)", 0),
        ("scaled(V22:8, x)", 14),
        ("scaled(V22:8, 1, 2)", 18),
        ("embedded(V22:8, 7)", 0),
        ("embedded(V22:8, 1/2)", 0),
        ("embedded(V22:8, 99999999999)", 0),
        ("perturbed(V22:8, 0.9, 1)", 0),
        ("perturbed(V22:8, 0.1, 0.5)", 0),
        ("perturbed(dense:64, 0.001, 5)", 0),
        ("interpolated:1,1", 0),
        ("interpolated:3", 13),
        ("random:10", 7),
        ("hadamard_rows:12", 0),
        ("B:1", 0),
        ("flat(" * 30 + "V22:8" + ")" * 30, 100),
    ],
)
def test_bad_specs_show_the_place(text, position):
    with pytest.raises(SpecError, match=f"character {position + 1}: expected") as caught:
        parse(text)
    assert caught.value.position == position


_WORDS = [
    *("union(", "flat(", "scaled(", "embedded(", "perturbed(", "centred(", "V11:4", "V21:5", "W2:4", "B:3", "E8"),
    *(")", ", ", "2", "1/4", "7", " x ", "^2", "interpolated:2,1", "RM(1,3)"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(_WORDS), max_size=9))
def test_parsing_never_fails_otherwise(words):
    try:
        system = parse("".join(words))
    except SpecError:
        return
    assert parse(system.spec) == system
