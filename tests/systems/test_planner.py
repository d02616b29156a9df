"""The planner: what it compares, what it marks, what it answers where nothing fits; and the catalogue behind it."""

import time
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rootspace.systems import FAMILIES, A, Table, V, dense, parse, plan, weight
from rootspace.systems.planning import measures
from rootspace.systems.planning.catalogue import KINDS, OTHERS, candidate, members_within
from rootspace.systems.planning.planner import UNASKED_DIM, InfeasibleError, pareto

SMALL = [
    "A:2", "A:5", "V10:6", "V21:4", "V21:14", "V22:5", "V31:7", "V4,4:9", "V03:6", "D:2", "D:8", "W1:2", "W1:7",
    "W3:11", "W5:5", "dense:8", "perm[2,1,0,-3]", "perm[3,2,1,0,-1]", "perm[1/3^2,-1/3^3]", "perm[2,1^2,0^5]",
    "perm[1.5,0.5^3,-1^2]", "signed[2,1]", "signed[2,1,0^3]", "signed[3,1^3]", "signed[5/2,1^2,1/2]",
    "signed[2^2,1^4]", "even[1^2]", "even[1^8]", "even[1^7,-1]", "even[2,1^4]", "even[3,2,-1]",
    "even[2,1,-1/2]", "V22:5^2", "V11:4 x W1:3", "V22:8 x D:4", "W1:2^5", "E8", "BW16", "Golay:24",
    "Kerdock:16", "eBCH(32,11)", "simplex:5", "halfcube:6",
]  # fmt: skip


@pytest.mark.parametrize("spec", SMALL)
def test_neighbours_are_those_of_the_spectrum(spec):
    system = parse(spec)
    counts = list(system.cosine_spectrum().items())
    assert measures.neighbours(system) == counts[1][1]
    assert float(counts[1][0]) == pytest.approx(system.max_cosine)
    if system.size <= 2000:
        vectors = system.all(torch.float64) / system.norm
        close = (vectors @ vectors.T >= system.max_cosine - 1e-9).sum(1) - 1
        assert float(close.double().mean()) == measures.neighbours(system)
        opposite = {tuple(row) for row in (-vectors).round(decimals=9).tolist()}
        pairs = len(opposite & {tuple(row) for row in vectors.round(decimals=9).tolist()})
        assert measures.lines(system) == system.size - pairs // 2


def test_kissing_numbers_of_the_systems():
    # SPLAG, table 1.5: each root system's and shell's own kissing configuration has so many neighbours at 60 degrees
    assert [measures.neighbours(parse(spec)) for spec in ("E8", "BW16", "Leech")] == [56, 280, 4600]
    assert measures.neighbours(V(41, 2, 2)) == 4 * 37
    assert measures.neighbours(weight(33, 4)) == 8 * 29


def test_what_is_too_large_to_count_is_not_counted():
    begun = time.perf_counter()
    assert measures.neighbours(dense(20_000)) == 2 * 5000 * 10_000
    assert measures.spectrum(dense(20_000)) is None
    assert measures.lines(dense(20_000)) is None
    assert measures.spectrum(V(10**6, 2, 2)) is None
    assert time.perf_counter() - begun < 1
    table = Table(torch.nn.functional.normalize(torch.randn(40, 3, dtype=torch.float64), dim=1))
    assert measures.neighbours(table) > 0
    assert measures.decode_cost(table) == 120


def test_costs():
    assert measures.decode_cost(A(775)) == 776 * 10
    assert measures.log_partition_cost(A(775)) == 776
    assert measures.log_partition_cost(V(41, 2, 2)) == 41 * 9 * 3  # (2 + 1)(2 + 1) states, three values
    assert measures.log_partition_cost(weight(33, 4)) == 33 * 5 * 3
    assert measures.log_partition_cost(parse("V22:8^8")) == 8 * 8 * 9 * 3
    assert measures.decode_cost(parse("eBCH(32,6)")) == 32 * 5  # a Hadamard transform
    assert measures.decode_cost(parse("Golay:24")) == 4096 * 24
    assert measures.log_partition_cost(parse("even[1^8]")) == 8 * 2 * 2
    assert measures.log_partition_cost(parse("graded:8")) == 8 * 2**7 * 8
    for spec in ("graded:64", "graded:64 x V22:8", "dense:2000"):
        assert measures.log_partition_cost(parse(spec)) is None


# ------------------------------------------------------------------ plans


def test_plan_is_sorted_and_marks_the_front():
    options = plan(600_000)
    assert [option.system.dim for option in options] == sorted(option.system.dim for option in options)
    assert {option.family for option in options} >= set(FAMILIES)
    for option in options:
        assert option.system.size >= 600_000
        assert 0 < option.fill <= 1
        assert option.gap >= -1e-9
        beaten = any(
            other.system.dim <= option.system.dim
            and other.system.max_cosine <= option.system.max_cosine
            and (other.system.dim, other.system.max_cosine) != (option.system.dim, option.system.max_cosine)
            for other in options
        )
        assert option.on_front == (not beaten)
    assert [option.family for option in pareto(options)] == [option.family for option in options if option.on_front]


def test_design_documents_dimensions():
    found = {option.family: option for option in plan(600_000)}
    assert {name: found[name].system.dim for name in ("A", "V21", "V22", "D", "W3", "W4")} == {
        "A": 776, "V21": 108, "V22": 41, "D": 549, "W3": 78, "W4": 33,
    }  # fmt: skip
    assert found["eBCH64"].system.spec == "eBCH(64,24)"
    assert found["eBCH64"].system.max_cosine == 0.5
    assert found["Kerdock"].gap < 1e-4  # close to Levenshtein's bound


@pytest.mark.parametrize("n_classes", [1, 2, 240, 10**6, 10**12, 10**40])
def test_plans_of_any_size_at_once(n_classes):
    plan(3)  # what is made once
    begun = time.process_time()
    rows = [option.to_dict() for option in plan(n_classes)]
    assert time.process_time() - begun < 1.5  # a tenth of a second for 10^12; counting a code's words takes half of one
    assert all(int(row["size"]) >= n_classes for row in rows)
    assert any(row["on_front"] for row in rows)


def test_a_trillion_takes_less_than_a_second():
    begun = time.process_time()
    rows = [option.to_dict() for option in plan(10**12)]
    assert time.process_time() - begun < 1
    assert {row["family"] for row in rows} >= set(FAMILIES)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 10**15), st.floats(-0.5, 1), st.integers(1, 3000))
def test_limits_are_kept_or_what_to_relax_is_said(n_classes, max_cosine, dim):
    families = ["A", "V21", "V22", "W3", "W4", "dense", "halfcube", "eBCH32", "eBCH64", "E8"]
    try:
        options = plan(n_classes, families, max_cosine=max_cosine, dim=dim)
    except InfeasibleError as caught:
        error = caught
    else:
        assert all(option.system.dim <= dim and option.system.max_cosine <= max_cosine + 1e-6 for option in options)
        return
    # each remedy works, by itself
    if error.dim is not None:
        assert error.dim > dim
        assert plan(n_classes, families, max_cosine=max_cosine, dim=error.dim)
    if error.max_cosine is not None:
        assert error.max_cosine > max_cosine
        assert plan(n_classes, families, max_cosine=error.max_cosine, dim=dim)
    if error.n_classes is not None:
        assert error.n_classes < n_classes
        assert plan(error.n_classes, families, max_cosine=max_cosine, dim=dim)
    assert f"{n_classes:,} classes" in str(error)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"max_cosine": 0.6, "dim": 30},
            ["600,000 classes", "30 dimensions", "0.6", "64 dimensions, 34 more", "0.8095", "196,560 classes (Leech)"],
        ),
        ({"dim": 10}, ["allow 16 dimensions, 6 more (V44:16)", "or at most 4,200 classes (V33:10)"]),
        ({"max_cosine": -0.2}, ["a largest cosine of 0.03125, 0.2313 more (Kerdock:1024)"]),
        ({"max_cosine": 0.1, "dim": 100}, ["no vectors do", "at least 0.18"]),
        ({"families": ["V22"], "max_cosine": 0.7}, ["0.75, 0.05 more", "take family A (V11:776 fits)"]),
        ({"families": ["E8", "Leech"]}, ["no member has 600,000 vectors", "196,560 classes (Leech)", "V22"]),
    ],
)
def test_nothing_feasible_says_what_to_relax(arguments, words):
    with pytest.raises(InfeasibleError) as caught:
        plan(600_000, **arguments)
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: plan(0), "positive"),
        (lambda: plan(10, ["V22", "Q"]), "no family is called 'Q'.*eBCH64"),
        (lambda: plan(10, ["V00"]), "zero vector"),
        (lambda: plan(10, []), "at least one family"),
        (lambda: plan(10, max_cosine=2), "max_cosine"),
        (lambda: plan(10, max_cosine=float("nan")), "max_cosine"),
        (lambda: plan(10, dim=0), "dim"),
    ],
)
def test_nonsense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_unasked_kinds_of_very_many_dimensions_are_left_out():
    assert "simplex" in {option.family for option in plan(1000)}
    assert "simplex" not in {option.family for option in plan(10**6)}
    assert plan(10**6, ["simplex"])[0].system.dim == 10**6 - 1 > UNASKED_DIM


# ------------------------------------------------------------------ the catalogue


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.example)
def test_catalogue_is_true(kind):
    system = parse(kind.example)
    assert system.size >= 2
    if kind.name is not None:
        assert candidate(kind.name, 100) is None or candidate(kind.name, 100).size >= 100
        assert candidate(kind.name, system.size).size >= system.size
        assert candidate(kind.name, system.size).dim <= system.dim
    if kind.max_cosine and set(kind.max_cosine) <= set("0123456789/"):
        assert system.max_cosine == pytest.approx(float(Fraction(kind.max_cosine)))
    if kind.size.replace(",", "").isdigit():
        assert system.size == int(kind.size.replace(",", ""))


def test_catalogue_has_every_family_of_a_plan():
    assert {kind.name for kind in KINDS} >= {*FAMILIES, *OTHERS}
    assert [system.spec for system in members_within("V22", 41)] == ["V22:41"]
    assert members_within("dense", 3) == members_within("graded", 7) == members_within("E8", 7) == []
    assert [system.dim for system in members_within("graded", 9)] == [8]
    for name in (*FAMILIES, *OTHERS):
        assert all(2 <= system.dim <= 70 for system in members_within(name, 70))
