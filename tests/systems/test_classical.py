"""Classical systems: the conformance kit where they can be listed, golden values and independent oracles elsewhere."""

import pickle
import re
from contextlib import nullcontext
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootspace.systems import conformance, parse
from rootspace.systems.classical import (
    BW16,
    E8,
    NAMED,
    CodeVectors,
    Leech,
    LinearCode,
    MinimalVectors,
    binary_code,
    code_trellis,
    codes,
    extended_bch,
    golay,
    half_cube,
    hypercube,
    orthoplex,
    read_named,
    reed_muller,
    scored,
    shells,
    simplex,
)
from rootspace.systems.classical.linear_code import macwilliams
from rootspace.systems.table import Table

# ------------------------------------------------------------------ the kit

SPECS = [
    "E8", "BW16", "Golay:24", "simplex:2", "simplex:7", "simplex:16", "orthoplex:6", "hypercube:5", "halfcube:6",
    "RM(1,2)", "RM(1,4)", "RM(1,6)", "RM(2,3)", "RM(2,4)", "eBCH(16,7)", "eBCH(32,11)", "eBCH(64,10)",
    "code[7;40,23,15,0e]", "code[6;1,30]", "Kerdock:16", "Kerdock:64",
]  # fmt: skip

#: Systems whose list is short, held against the kit by way of their trellis too.
BY_TRELLIS = ["RM(1,4)", "RM(2,4)", "Golay:24", "eBCH(16,7)", "eBCH(32,11)", "code[7;40,23,15,0e]", "code[6;1,30]"]


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("spec", SPECS)
def test_conformance(spec, check):
    check(parse(spec))


@pytest.mark.parametrize(
    "check",
    [check for check in conformance.CHECKS if re.search("near|decode|partition|sample|shapes", check.__name__)],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize("spec", BY_TRELLIS)
def test_conformance_by_trellis(spec, check, monkeypatch):
    monkeypatch.setattr(codes, "SHORT_LIST", 0)
    monkeypatch.setattr(codes, "LONG_LIST", 0)
    monkeypatch.setattr(LinearCode, "is_first_order_reed_muller", False)
    system = parse(spec)
    assert system.method == "trellis"
    check(system)


# ------------------------------------------------------------------ golden values


def test_kissing_configurations():
    """240, 4,320 and 196,560: the kissing numbers of Conway & Sloane, table 1.5; spectra: chapter 14."""
    assert [(s.size, s.dim, s.max_cosine, s.mcs) for s in (E8(), BW16(), Leech())] == [
        (240, 8, 0.5, 0.5),
        (4320, 16, 0.5, 0.5),
        (196_560, 24, 0.5, 0.5),
    ]
    half, quarter = Fraction(1, 2), Fraction(1, 4)
    assert E8().cosine_spectrum() == {1: 1, half: 56, 0: 126, -half: 56, -1: 1}
    assert Leech().cosine_spectrum() == {
        1: 1, half: 4600, quarter: 47_104, 0: 93_150, -quarter: 47_104, -half: 4600, -1: 1,
    }  # fmt: skip


GOLDEN_WEIGHTS = {
    # MacWilliams & Sloane: chapter 2, section 6 (Golay); chapter 15 (second-order Reed-Muller)
    "Golay:24": {0: 1, 8: 759, 12: 2576, 16: 759, 24: 1},
    "RM(1,5)": {0: 1, 16: 62, 32: 1},
    "RM(2,4)": {0: 1, 4: 140, 6: 448, 8: 870, 10: 448, 12: 140, 16: 1},
    "RM(2,5)": {0: 1, 8: 620, 12: 13_888, 16: 36_518, 20: 13_888, 24: 620, 32: 1},
    "RM(2,6)": {0: 1, 16: 2604, 24: 291_648, 28: 888_832, 32: 1_828_134, 36: 888_832, 40: 291_648, 48: 2604, 64: 1},
    # the extremal doubly even self-dual weight enumerator of length 32 (MacWilliams & Sloane, chapter 19)
    "eBCH(32,16)": {0: 1, 8: 620, 12: 13_888, 16: 36_518, 20: 13_888, 24: 620, 32: 1},
    # Terada, Asatani & Koumoto, table of weight distributions of extended BCH codes
    "eBCH(64,24)": {
        0: 1, 16: 2604, 18: 10_752, 22: 216_576, 24: 291_648, 26: 1_645_056, 28: 888_832, 30: 4_419_072,
        32: 1_828_134, 34: 4_419_072, 36: 888_832, 38: 1_645_056, 40: 291_648, 42: 216_576, 46: 10_752, 48: 2604, 64: 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("spec", GOLDEN_WEIGHTS)
def test_weight_enumerators(spec):
    system = parse(spec)
    weights = GOLDEN_WEIGHTS[spec]
    assert sum(weights.values()) == system.size
    assert system.code.weight_enumerator() == weights
    assert system.code.minimum_distance == min(weight for weight in weights if weight)
    n = system.dim
    assert system.cosine_spectrum() == {1 - Fraction(2 * w, n): count for w, count in weights.items()}
    assert system.max_cosine == system.mcs == pytest.approx(1 - 2 * system.code.minimum_distance / n)


def test_codes_of_the_issue():
    assert (extended_bch(32, 16).size, extended_bch(32, 16).max_cosine) == (65_536, 0.5)
    assert (extended_bch(64, 24).size, extended_bch(64, 24).max_cosine) == (16_777_216, 0.5)
    # both check the same power sums: exponents whose numbers have one or two binary ones
    assert extended_bch(32, 16) == reed_muller(2, 5)


@pytest.mark.parametrize(
    ("spec", "distance"),
    [("eBCH(16,7)", 6), ("eBCH(32,11)", 12), ("eBCH(32,26)", 4), ("eBCH(64,10)", 28), ("eBCH(64,16)", 24),
     ("eBCH(64,18)", 22), ("eBCH(64,45)", 8), ("eBCH(64,51)", 6), ("RM(3,5)", 4), ("RM(3,6)", 8), ("eBCH(128,15)", 56),
     ("eBCH(128,106)", 8)],
)  # fmt: skip
def test_promised_distances_are_the_counted_ones(spec, distance):
    code = parse(spec).code
    weights = code.weight_enumerator()
    assert sum(weights.values()) == 2**code.k
    assert code.minimum_distance == min(weight for weight in weights if weight) == distance


def test_weights_of_a_code_and_of_its_dual_agree():
    code = extended_bch(32, 11).code
    dual = LinearCode(32, code.dual_generators)
    assert dual.k == 21
    assert all((row & check).bit_count() % 2 == 0 for row in code.generators for check in dual.generators)
    assert macwilliams(code.weight_enumerator(), 32, 11) == dual.weight_enumerator()


def test_reed_muller_codes_are_nested_in_extended_bch_codes():
    for smaller, larger in [(reed_muller(1, 6), extended_bch(64, 24)), (reed_muller(2, 6), extended_bch(64, 24))]:
        index = torch.randint(smaller.size, (200,), generator=torch.Generator().manual_seed(0))
        assert bool(larger.contains(smaller.unrank(index)).all()), larger


PINNED = {
    "E8": {0: "2 2 0 0 0 0 0 0", 111: "0 0 0 0 0 0 -2 -2", 112: "1 1 1 1 1 1 1 1", 239: "-1 -1 -1 -1 -1 -1 -1 -1"},
    "BW16": {479: "0 0 0 0 0 0 0 0 0 0 0 0 0 0 -2 -2", 480: "0 0 0 0 0 0 0 0 1 1 1 1 1 1 1 1"},
    "Leech": {
        1104: "0 0 0 0 0 0 0 0 0 0 0 2 2 0 0 0 2 2 2 0 2 0 2 2",
        98_255: "-2 -2 -2 -2 -2 0 0 0 0 0 0 0 0 0 0 -2 0 -2 0 0 -2 0 0 0",
        98_257: "1 -3 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    },
    "RM(1,3)": {0: "++++++++", 1: "++++----", 6: "+--++--+", 15: "--------"},
    "RM(2,4)": {1: "++++++++++++----", 1000: "+-----+--+++++-+"},
    "Golay:24": {1: "+++++++++++--+++---+-+--", 2048: "-+++++++++++--+++---+-+-", 4095: "------------------------"},
    "eBCH(32,16)": {1: "++++++++++++++++++++++++--------", 12_345: "++--++++++++--++--++++++------++"},
    "Kerdock:16": {33: "+--+-+-+--++++++", 100: "++++-+-++--+--++", 255: "---++++--+++-+++"},
}


@pytest.mark.parametrize("spec", PINNED)
def test_numbering_is_pinned(spec):
    """The numbering is part of the model format. E8's vectors are written doubled."""
    for index, text in PINNED[spec].items():
        if set(text) <= {"+", "-"}:
            expected = [Fraction(1 if sign == "+" else -1) for sign in text]
        else:
            expected = [Fraction(part) / (2 if spec == "E8" else 1) for part in text.split()]
        assert parse(spec).unrank_exact(index) == tuple(expected)


# ------------------------------------------------------------------ the Leech lattice, by brute force


@pytest.fixture(scope="module")
def leech() -> torch.Tensor:
    return Leech().all()


def test_leech_spectrum(leech):
    assert leech.shape == (196_560, 24)
    rows = leech[[0, 500, 1103, 1104, 50_000, 98_255, 98_256, 98_300, 196_559]]
    for products in rows @ leech.T:
        values, counts = products.unique(return_counts=True)
        assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
            32 * float(cosine): count for cosine, count in Leech().cosine_spectrum().items()
        }
    assert float(leech.double().sum(0).abs().max()) == 0


def test_leech_indices(leech):
    index = torch.randint(196_560, (3000,), generator=torch.Generator().manual_seed(0))
    index = torch.cat([index, torch.tensor([0, 1103, 1104, 98_255, 98_256, 196_559])])
    assert torch.equal(Leech().rank(leech[index]), index)
    for i in index[-20:].tolist():
        word = Leech().unrank_exact(i)
        assert word == tuple(leech[i].tolist())
        assert Leech().rank_exact(word) == i
    wrong = leech[index[:50]].clone()
    wrong[:, 3] *= -1
    changed = wrong[:, 3] != 0
    assert not bool(Leech().contains(wrong[changed]).any())


def test_leech_searching_and_summing(leech):
    system = Leech()
    x = conformance.embeddings(system)
    scores = x.double() @ leech.double().T
    found = system.nearest(x)
    torch.testing.assert_close((found * x).sum(1).double(), scores.amax(1), rtol=0, atol=1e-5)
    for k in (1, 5, 300):
        values, index = system.topk(x, k)
        torch.testing.assert_close(values.double(), scores.topk(k, dim=1).values, rtol=0, atol=1e-4)
        torch.testing.assert_close(scores.gather(1, index), values.double(), rtol=0, atol=1e-4)
        assert all(len(set(row)) == k for row in index.tolist())
    nearest = system.decode(x)
    for scale in (0.0, 1.0, 10.0, 100.0):
        z = (scale * x).requires_grad_()
        total = system.log_partition(z)
        torch.testing.assert_close(total.double(), (scale * scores).logsumexp(1), rtol=1e-5, atol=1e-5)
        (gradient,) = torch.autograd.grad(total.sum(), z)
        expected = torch.softmax(scale * scores, dim=1) @ leech.double()
        torch.testing.assert_close(gradient.double(), expected, rtol=1e-4, atol=6e-4)
        rest = (scale * scores).scatter(1, nearest[:, None], float("-inf")).logsumexp(1)
        without = system.log_partition(z.detach(), without=found)
        torch.testing.assert_close(without.double(), rest, rtol=1e-5, atol=1e-5)


def test_leech_samples(leech):
    z = 3 * conformance.embeddings(Leech(), count=1)[:1]
    index = Leech().sample(z, 4000, torch.Generator().manual_seed(0))
    weights = torch.softmax(z.double() @ leech.double().T, dim=1)
    means, expected = leech[index[0]].double().mean(0), (weights @ leech.double())[0]
    spread = (weights @ leech.double().square() - expected.square())[0].sqrt()
    assert bool(((means - expected).abs() <= 5 * spread / 4000**0.5).all())


# ------------------------------------------------------------------ codes too large for the kit, by brute force


def every_product(system: CodeVectors, x: torch.Tensor) -> torch.Tensor:
    """The inner products of one embedding with all 2^k vectors, from two halves of the generators."""
    half = system.code.k // 2
    low = system.unrank(torch.arange(1 << half), torch.float64)
    high = system.unrank(torch.arange(1 << (system.code.k - half)) << half, torch.float64)
    return ((high * x.double()) @ low.T).reshape(-1)


@pytest.mark.parametrize("spec", ["RM(2,5)", "eBCH(32,16)", "eBCH(64,16)", "RM(2,6)", "eBCH(64,24)"])
def test_large_codes_against_all_their_words(spec):
    system = parse(spec)
    generator = torch.Generator().manual_seed(0)
    sent = system.unrank(torch.randint(system.size, (1,), generator=generator))
    noisy = sent + 0.9 * torch.randn(sent.shape, generator=generator)
    x = torch.cat([noisy, torch.randn(1, system.dim, generator=generator)])
    values, index = system.topk(x, 4)
    assert torch.equal(system.decode(x), index[:, 0])
    z = (0.4 * x).requires_grad_()
    total = system.log_partition(z)
    (gradient,) = torch.autograd.grad(total.sum(), z)
    nearest = system.nearest(x)
    without = system.log_partition(z.detach(), without=nearest)
    for row in range(2):
        products = every_product(system, x[row])
        best = products.topk(4)
        torch.testing.assert_close(values[row].double(), best.values, rtol=0, atol=1e-4)
        assert index[row].tolist() == best.indices.tolist()
        products *= 0.4
        expected = products.logsumexp(0)
        torch.testing.assert_close(total[row].double(), expected, rtol=1e-5, atol=1e-5)
        products[index[row, 0]] = float("-inf")
        torch.testing.assert_close(without[row].double(), products.logsumexp(0), rtol=1e-5, atol=1e-5)
    # the gradient by differences, in float64
    direction = torch.randn(system.dim, generator=generator, dtype=torch.float64)
    wide = z.detach().double()
    ahead, behind = (system.log_partition(wide + step * direction) for step in (1e-4, -1e-4))
    torch.testing.assert_close((gradient.double() @ direction), (ahead - behind) / 2e-4, rtol=1e-4, atol=1e-3)


def test_noise_below_half_the_distance_is_corrected():
    system = extended_bch(64, 24)
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(system.size, (6,), generator=generator)
    sent = system.unrank(index)
    for row in sent:  # seven signs are wrong; the distance is sixteen
        row[torch.randperm(64, generator=generator)[:7]] *= -1
    assert torch.equal(system.decode(sent), index)


def test_trellis_of_a_subcode_agrees_with_its_list(monkeypatch):
    code = LinearCode(64, extended_bch(64, 24).code.generators[:10])
    system = CodeVectors(code)
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(2))
    assert system.method == "list"
    listed = system.nearest_k(x, 7), system.log_partition(x)
    monkeypatch.setattr(codes, "SHORT_LIST", 0)
    monkeypatch.setattr(codes, "LONG_LIST", 0)
    again = CodeVectors(code)
    assert again.method == "trellis"
    torch.testing.assert_close(again.nearest_k(x, 7), listed[0])
    torch.testing.assert_close(again.log_partition(x), listed[1])


def test_hadamard_products_are_numbered_like_the_words():
    system = reed_muller(1, 6)
    x = torch.randn(5, 64, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    torch.testing.assert_close(system._scores(x), x @ system.all(torch.float64).T)
    large = reed_muller(1, 14)
    index = torch.tensor([0, 1, 12_345, 32_767])
    assert torch.equal(large.decode(large.unrank(index)), index)


@pytest.mark.parametrize("n", [256, 1024])
def test_large_kerdock_codes(n):
    system = parse(f"Kerdock:{n}")
    index = torch.randint(system.size, (300,), generator=torch.Generator().manual_seed(4))
    vectors = system.unrank(index)
    assert torch.equal(system.rank(vectors), index)
    products = {round(value) for value in (vectors @ vectors.T).unique().tolist()}
    assert products <= {n, round(n**0.5), 0, -round(n**0.5), -n}
    noisy = vectors[:3] + torch.randn(3, n, generator=torch.Generator().manual_seed(5))
    assert torch.equal(system.decode(noisy), index[:3])


# ------------------------------------------------------------------ invariances and awkward inputs


@pytest.mark.parametrize("spec", ["E8", "BW16", "Golay:24", "RM(1,5)", "RM(2,4)", "simplex:9", "Kerdock:16"])
def test_log_partition_of_awkward_inputs(spec):
    system = parse(spec)
    n = system.dim
    first = torch.nn.functional.one_hot(torch.tensor(0), n)
    rows = [torch.zeros(n), -torch.zeros(n), torch.ones(n), -torch.ones(n), torch.arange(n) / n, first, -first]
    z = torch.stack([scale / system.norm * row.float() for row in rows for scale in (1.0, 10.0, 100.0)])
    z = torch.cat([z, torch.full((1, n), 1e-42)]).requires_grad_()
    expected = torch.logsumexp(z.detach().double() @ system.all(torch.float64).T, dim=1)
    actual = system.log_partition(z)
    torch.testing.assert_close(actual.detach().double(), expected, rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(actual.sum(), z)
    assert torch.isfinite(gradient).all()


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["Golay:24", "RM(1,5)", "RM(2,5)", "eBCH(32,16)", "Kerdock:16", "BW16", "Leech"]),
    st.integers(0, 2**31),
)
def test_decoding_is_equivariant(spec, seed):
    """Sign changes by the words of a code, or of the code a lattice is built from, carry nearest vectors along."""
    system = parse(spec)
    group = {"Kerdock:16": reed_muller(1, 4), "BW16": reed_muller(1, 4), "Leech": golay()}.get(spec, system)
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, system.dim, generator=generator, dtype=torch.float64)
    word = group.unrank(torch.randint(group.size, (1,), generator=generator), torch.float64)
    torch.testing.assert_close(system.nearest(x * word), system.nearest(x) * word)
    torch.testing.assert_close(system.log_partition(x * word), system.log_partition(x))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_reflections_carry_nearest_roots_along(seed):
    system = E8()
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, system.dim, generator=generator, dtype=torch.float64)
    root = system.unrank(torch.randint(system.size, (1,), generator=generator), torch.float64)

    def reflect(y: torch.Tensor) -> torch.Tensor:
        return y - 2 * (y * root).sum(1, keepdim=True) / float(system.squared_norm) * root

    vector = reflect(system.nearest(x))
    assert bool(system.contains(vector.round(decimals=6)).all())
    torch.testing.assert_close(system.nearest(reflect(x)), vector)
    torch.testing.assert_close(system.log_partition(reflect(x)), system.log_partition(x))


@pytest.mark.parametrize("spec", ["BW16", "Leech", "Golay:24", "RM(1,6)", "RM(2,5)", "Kerdock:64"])
def test_large_batches_are_computed_in_parts(spec, monkeypatch):
    system = parse(spec)
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(40, system.dim, generator=generator)
    excluded = system.nearest(x)

    def everything() -> list[torch.Tensor]:
        z = x.clone().requires_grad_()
        total, rest = system.log_partition(z), system.log_partition(z, without=excluded)
        weights = torch.linspace(0, 1, 40)
        gradients = [torch.autograd.grad((weights * part).sum(), z)[0] for part in (total, rest)]
        draws = system.sample_vectors(x, 2, torch.Generator().manual_seed(0))
        assert bool(system.contains(draws).all())
        return [total.detach(), rest.detach(), *gradients, *system.nearest_k(x, 5), system.nearest(x)]

    whole = everything()
    for module in (scored, shells, code_trellis):
        monkeypatch.setattr(module, "ELEMENTS", 2**12)
    for one, parts in zip(whole, everything(), strict=True):
        torch.testing.assert_close(parts, one, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("spec", ["E8", "BW16", "Leech", "Golay:24", "RM(1,6)", "RM(2,5)", "Kerdock:64", "simplex:9"])
def test_autocast_changes_nothing(spec):
    system = parse(spec)
    x = torch.randn(20, system.dim, generator=torch.Generator().manual_seed(7))
    expected = system.nearest(x), *system.topk(x, 3), system.log_partition(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = system.nearest(x), *system.topk(x, 3), system.log_partition(x)
        assert torch.equal(system.rank(system.unrank(actual[2])), actual[2])
    for one, other in zip(actual, expected, strict=True):
        assert torch.equal(one, other)


# ------------------------------------------------------------------ limits, specs, errors


def test_codes_beyond_int64_have_exact_indices():
    system = reed_muller(3, 7)
    assert system.size == 2**64
    assert system.max_cosine == 0.75
    for index in (0, 1, 2**63 + 12_345, 2**64 - 1):
        word = system.unrank_exact(index)
        assert system.rank_exact(word) == index
        assert bool(system.contains(torch.tensor([float(value) for value in word])))
    with pytest.raises(OverflowError, match="rank_exact"):
        system.rank(torch.ones(1, 128))
    wrong = [1.0] * 127 + [-1.0]
    with pytest.raises(ValueError, match=r"not a vector of RM\(3,7\)"):
        system.rank_exact(wrong)


@pytest.mark.parametrize("spec", ["eBCH(64,30)", "RM(2,7)"])
def test_codes_without_a_small_trellis_say_so(spec):
    system = parse(spec)
    x = torch.zeros(2, system.dim)
    index = torch.tensor([0, 1, system.size - 1])
    assert torch.equal(system.rank(system.unrank(index)), index)
    for call in (
        system.decode,
        system.log_partition,
        lambda x: system.topk(x, 2),
        lambda x: system.sample(x, 2),
        lambda x: system.log_partition(x, without=torch.ones_like(x)),
    ):
        with pytest.raises(NotImplementedError, match=r"states, and the limit is 2\^16.*eBCH\(64,24\)"):
            call(x)
    with pytest.raises(NotImplementedError, match="words counted"):
        system.cosine_spectrum()


@pytest.mark.parametrize(
    "spec", ["E8", "BW16", "Leech", "Golay:24", "RM(2,6)", "eBCH(64,24)", "code[6;33,f]", "simplex:16", "Kerdock:64"]
)
def test_specs_round_trip(spec):
    system = parse(spec)
    assert system.spec == spec or spec.startswith("code")
    assert parse(system.spec) == system
    copy = pickle.loads(pickle.dumps(system))
    assert (copy, copy.spec, hash(copy)) == (system, system.spec, hash(system))


@pytest.mark.parametrize("spec", ["BW16", "Leech", "Golay:24", "RM(1,6)", "RM(2,5)", "Kerdock:64", "simplex:9", "E8"])
def test_tensors_stay_on_their_device(spec, monkeypatch):
    """On the device "meta" nothing is computed, and a tensor of another device is an error."""
    monkeypatch.setattr(torch, "autocast", lambda **_: nullcontext())  # which "meta" does not have
    system = parse(spec)
    x = torch.zeros(3, system.dim, device="meta", requires_grad=True)
    index = system.decode(x)
    tensors = [index, system.unrank(index), system.rank(x), system.contains(x), *system.topk(x, 2)]
    tensors += [system.log_partition(x), system.log_partition(x, without=x)]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_every_word_of_named_reads():
    examples = [*SPECS, "Leech"]
    for word, (arguments, construct) in NAMED.items():
        matches = [re.fullmatch(word + arguments, spec) for spec in examples]
        systems = [construct(*match.groups()) for match in matches if match]
        assert systems, word
    assert read_named("V22:41") is None
    assert read_named("E8^2") == (E8(), 2)
    assert parse("simplex:4") == simplex(4)
    assert simplex(4, coordinates=5).spec == "perm[4,-1^4]"
    assert orthoplex(8) == parse("W1:8")
    assert hypercube(8) == parse("W8:8")
    assert half_cube(8) == parse("even[1^8]")
    # a code is its words, however it was given
    assert binary_code(24, golay().code.generators[::-1]) == golay()


@pytest.mark.parametrize(
    "call",
    [
        lambda: MinimalVectors("E7"),
        lambda: reed_muller(0, 4),
        lambda: reed_muller(4, 4),
        lambda: reed_muller(2, 9),
        lambda: reed_muller(1, 17),
        lambda: extended_bch(48, 24),
        lambda: extended_bch(64, 25),
        lambda: extended_bch(4, 1),
        lambda: extended_bch(128, 64),
        lambda: parse("Golay:23"),
        lambda: parse("Kerdock:32"),
        lambda: parse("simplex:1"),
        lambda: simplex(4, coordinates=6),
        lambda: orthoplex(1),
        lambda: hypercube(1),
        lambda: half_cube(2),
        lambda: binary_code(4, [0]),
        lambda: binary_code(4, [16]),
        lambda: binary_code(0, [1]),
    ],
)
def test_impossible_systems_are_refused(call):
    with pytest.raises(ValueError, match=r"\w"):
        call()


def test_simplex_meets_rankins_bound():
    system = simplex(7)
    table = Table(system.all(torch.float64))
    assert table.max_cosine == pytest.approx(-1 / 7)
    assert float(system.norm) == pytest.approx(table.norm)
