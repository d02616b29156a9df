"""The log-partition by running sums: plain numbers and logarithms, parts of a batch, derivatives, and large logits."""

import pytest
import torch

from rootspace.systems import parse
from rootspace.systems.orbits import cumulative

SPECS = ("V22:9", "V21:7", "V30:6", "W3:6", "graded4:4", "hypercube:5", "perm[2^2,1,0^2]", "V10:8")


@pytest.fixture(params=SPECS)
def system(request):
    return parse(request.param)


def logits(system, rows, scale, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return (scale * torch.randn(rows, system.dim, generator=generator, dtype=torch.float64)).to(dtype)


def listed(system, z):
    return torch.logsumexp(z.double() @ system.all(torch.float64).T, dim=1)


def gradient(function, z):
    z = z.detach().requires_grad_()
    return torch.autograd.grad(function(z).sum(), z)[0]


@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0, 1000.0, 1e5])
@pytest.mark.parametrize("plain", [True, False])
def test_sums_and_means_are_those_of_the_list_at_any_scale(system, scale, plain, monkeypatch):
    if not plain:
        monkeypatch.setattr(cumulative, "PLAIN_RANGE", -1.0)
    z = logits(system, 20, scale)
    torch.testing.assert_close(system.log_partition(z), listed(system, z), rtol=1e-12, atol=1e-10)
    means = gradient(lambda x: listed(system, x), z)
    torch.testing.assert_close(gradient(system.log_partition, z), means, rtol=1e-8, atol=1e-8)


def test_large_logits_that_cancel_keep_float32_exact():
    system = parse("graded4:4")
    z = torch.full((1, 4), 37.25)  # every vector has the inner product 0
    assert abs(system.log_partition(z).item() - torch.tensor(24.0).log().item()) < 1e-6


def test_plain_numbers_are_left_before_they_overflow():
    system = parse("V22:9")
    rings = []
    for scale in (10.0, 1000.0):
        levels = torch.stack([0 * logits(system, 2, scale), logits(system, 2, scale), -logits(system, 2, scale)], dim=1)
        rings.append(cumulative._relative(levels, (2, 2))[2])
    assert rings == [cumulative._PLAIN, cumulative._LOGARITHMS]


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_parts_of_a_batch_make_the_whole(system, rows, monkeypatch):
    z = logits(system, rows, 3.0)
    whole, means = system.log_partition(z), gradient(system.log_partition, z)
    monkeypatch.setattr(cumulative, "CPU_ROWS", 1)
    torch.testing.assert_close(system.log_partition(z), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient(system.log_partition, z), means, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("plain", [True, False])
def test_it_is_twice_differentiable(system, plain, monkeypatch):
    if not plain:
        monkeypatch.setattr(cumulative, "PLAIN_RANGE", -1.0)
    z = logits(system, 3, 1.0).requires_grad_()
    assert torch.autograd.gradcheck(system.log_partition, z)
    assert torch.autograd.gradgradcheck(system.log_partition, z)
