from __future__ import annotations

import json
import math

import pytest

from rootspace.errors import InputError
from rootspace.report import Curve, Method, RunReport, SystemFacts, read_report
from rootspace.report.words import count


def test_round_trip_through_json(report):
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert repr(RunReport.from_dict(json.loads(text))) == repr(report)


@pytest.mark.parametrize("size", [2**53, 2**53 + 1, 10**40, math.factorial(5000)], ids=["2^53", "odd", "big", "vast"])
def test_sizes_stay_exact(bare, size):
    facts = SystemFacts("V", size, 3, 0.5, 2)
    value = json.loads(json.dumps(RunReport("t", bare.methods, facts).to_dict()))
    assert RunReport.from_dict(value).system.size == size


def test_count_of_a_vast_number():
    assert count(math.factorial(5000)) == "≈ 4.2 × 10¹⁶³²⁵"
    assert count(10**18 - 1) == "≈ 1.0 × 10¹⁸"
    assert count(999_999_999_999_999) == "999,999,999,999,999"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": []}, "at least one method"),
        ({"title": 3}, r"report.title: expected str"),
        ({"thing": "sound"}, "picture, text, got 'sound'"),
        ({"k": "many"}, r"report.k: expected int"),
        ({"surprise": 1}, "expected an object with title"),
        ({"methods": [{"name": "x"}]}, r"report.methods\[0\]"),
        ({"system": {"spec": "V", "size": "9x", "dim": 1, "max_cosine": 0, "n_classes": 1}}, "report.system.size"),
    ],
)
def test_malformed_results(bare, change, message):
    with pytest.raises(InputError, match=message):
        RunReport.from_dict({**bare.to_dict(), **change})


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_report(tmp_path / "results.json")


def test_curves_and_names_are_checked(bare):
    with pytest.raises(InputError, match="one length"):
        Curve((1.0,), (1.0, 2.0), (1.0,))
    with pytest.raises(InputError, match="different names"):
        RunReport("t", bare.methods * 2)
    assert RunReport("t", (Method("a", {"x": 1.0}, {}, 1, 0, 1.0, 1.0),)).sources == ("x",)
