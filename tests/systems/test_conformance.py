"""Every registered system small enough to enumerate passes every check of the shipped kit."""

import pytest
import torch

from rootspace.systems import Table, VectorSystem, parse
from rootspace.systems.conformance import CHECKS, MAX_SIZE
from rootspace.systems.orbits import trellis

SPECS = [
    "A:2", "A:5", "V11:33", "V10:6", "V21:4", "V21:14", "V22:5", "V22:10", "V31:7", "V4,4:9", "V33:7",
    "V03:6",
    "D:2", "D:8", "W1:2", "W1:7", "W2:23", "W3:11", "W4:8", "W5:5",
    "dense:4", "dense:8", "dense:12",
    "perm[2,1,0,-3]", "perm[3,2,1,0,-1]", "perm[1/3^2,-1/3^3]", "perm[2,1^2,0^5]", "perm[2^3,-1]",
    "perm[1.5,0.5^3,-1^2]", "perm[15,5,-5,-15]", "perm[15^2,5^2,-5^2,-15^2]", "perm[3^2,1^3,0,-1^2]",
    "signed[2,1]", "signed[2,1,0^3]", "signed[3,1^3]", "signed[5/2,1^2,1/2]", "signed[2^2,1^4]", "signed[1^7]",
    "even[1^2]", "even[1^8]", "even[1^7,-1]", "even[2,1^4]", "even[3,2,-1]", "even[2,1,-1/2]", "even[1^5]",
    "V22:5^2", "V11:4 x W1:3", "V22:8 x D:4", "W1:2^5", "even[1^4] x V21:4 x signed[2,1]",
]  # fmt: skip


def _simplex() -> Table:
    return Table(torch.eye(6, dtype=torch.float64) - 1 / 6)


def _random() -> Table:
    x = torch.randn(300, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return Table(torch.nn.functional.normalize(x, dim=1))


SYSTEMS: list[VectorSystem] = [*(parse(spec) for spec in SPECS), _simplex(), _random()]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.spec)
def test_conformance(system, check):
    assert system.size <= MAX_SIZE
    check(system)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("spec", ["perm[15^2,5^2,-5^2,-15^2]", "perm[15^2,5^2,-5^2,-15^2] x V11:2"])
def test_conformance_without_log_partition(spec, check, monkeypatch):
    """The k nearest and uniform draws need no recursion over the coordinates."""
    monkeypatch.setattr(trellis, "STATE_LIMIT", 16)
    system = parse(spec)
    assert not system.has_log_partition
    check(system)
