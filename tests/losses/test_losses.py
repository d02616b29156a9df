"""Losses against dense float64 oracles."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize
from torch.utils._python_dispatch import TorchDispatchMode

from rootspace.assign import by_name, by_similarity, shuffled
from rootspace.losses import (
    BatchSoftmax,
    ClassSoftmax,
    CosineLoss,
    LinearHead,
    NeighbourSoftmax,
    SquaredEuclideanLoss,
    SystemSoftmax,
)
from rootspace.systems import Table, V, dense, parse, weight

SYSTEMS = [V(10, 2, 2), V(14, 2, 1), V(33, 1, 1), weight(8, 3), parse("V22:5^2"), parse("even[1^6]"), V(9, 4, 4)]
SOFTMAXES = [SystemSoftmax, ClassSoftmax, BatchSoftmax, NeighbourSoftmax]


def batch(assignment, size=9, seed=0):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(min(assignment.n_classes, 6), (size,), generator=generator)
    noise = torch.randn(size, assignment.system.dim, generator=generator)
    return assignment.vectors(labels) + 0.8 * noise, labels


def oracle(loss, x, labels):
    """The definition, in float64: cross-entropy over an explicit list of logits."""
    assignment = loss.assignment
    own = normalize(assignment.vectors(labels).double(), dim=1)
    if isinstance(loss, SystemSoftmax):
        rows = normalize(assignment.system.all(torch.float64), dim=1)
    elif isinstance(loss, ClassSoftmax):
        rows = normalize(assignment.vectors(torch.arange(assignment.n_classes)).double(), dim=1)
    else:
        rivals = labels
        if isinstance(loss, NeighbourSoftmax):
            everyone = normalize(assignment.vectors(torch.arange(assignment.n_classes)).double(), dim=1)
            cosines = everyone @ everyone.T
            # more than the 16 nearest where several are equally near: the loss's own choice decides
            assert (cosines.gather(1, loss.near.long()) >= cosines.topk(17).values[:, -1:] - 1e-6).all()
            rivals = torch.cat([labels, loss.near[labels].flatten()])
        rows = normalize(assignment.vectors(rivals.unique().long()).double(), dim=1)
    target = (own @ rows.T).argmax(1)
    cosines = normalize(x.double(), dim=1) @ rows.T
    cosines[torch.arange(len(x)), target] -= loss.margin
    return cross_entropy(loss.scale.double() * cosines, target, label_smoothing=loss.label_smoothing)


@pytest.mark.parametrize("system", SYSTEMS, ids=lambda s: s.spec)
@pytest.mark.parametrize("kind", SOFTMAXES)
@pytest.mark.parametrize(("smoothing", "margin"), [(0.0, 0.0), (0.1, 0.0), (0.0, 0.35), (0.2, 0.2)])
@pytest.mark.parametrize("scale", [1.0, 10.0, 100.0])
def test_softmax_equals_its_definition(kind, system, scale, smoothing, margin):
    assignment = shuffled(system, min(100, system.size), key=3)
    loss = kind(assignment, scale=scale, label_smoothing=smoothing, margin=margin)
    x, labels = batch(assignment)
    x.requires_grad_()
    expected = oracle(loss, x, labels)
    (expected_grad,) = torch.autograd.grad(expected, x)
    actual = loss(x, labels)
    (actual_grad,) = torch.autograd.grad(actual, x)
    torch.testing.assert_close(actual.double(), expected, rtol=2e-5, atol=2e-5)
    torch.testing.assert_close(actual_grad, expected_grad.to(x), rtol=1e-3, atol=2e-4)


@pytest.mark.parametrize("kind", SOFTMAXES)
def test_confident_samples_have_finite_gradients(kind):
    assignment = shuffled(V(10, 2, 2), 100)
    labels = torch.arange(6)
    x = assignment.vectors(labels).requires_grad_()
    for margin in (0.0, 0.35):
        loss = kind(assignment, scale=100.0, margin=margin)(x, labels)
        (gradient,) = torch.autograd.grad(loss, x)
        assert torch.isfinite(loss)
        assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("kind", [*SOFTMAXES, CosineLoss, SquaredEuclideanLoss])
def test_batches_of_one_and_none(kind):
    assignment = shuffled(V(10, 2, 2), 100)
    loss = kind(assignment)
    x = torch.randn(1, 10, requires_grad=True)
    loss(x, torch.tensor([5])).backward()
    assert torch.isfinite(x.grad).all()
    empty = torch.zeros(0, 10, requires_grad=True)
    value = loss(empty, torch.zeros(0, dtype=torch.int64))
    value.backward()
    assert value.item() == 0


@pytest.mark.parametrize("kind", [*SOFTMAXES, CosineLoss, SquaredEuclideanLoss])
def test_autocast_changes_nothing(kind):
    assignment = shuffled(V(41, 2, 2), 1000)
    loss = kind(assignment)
    x, labels = batch(assignment)
    x = x.bfloat16()
    expected = loss(x.float(), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = loss(x, labels)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [*SOFTMAXES, CosineLoss, SquaredEuclideanLoss])
def test_bad_batches_are_refused(kind):
    loss = kind(shuffled(V(10, 2, 2), 100))
    with pytest.raises(ValueError, match="embeddings"):
        loss(torch.randn(3, 9), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="labels"):
        loss(torch.randn(3, 10), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(IndexError, match=r"\[0, 100\)"):
        loss(torch.randn(3, 10), torch.tensor([0, 1, 100]))
    with pytest.raises(TypeError, match="integers"):
        loss(torch.randn(3, 10), torch.zeros(3))


@pytest.mark.parametrize("kind", SOFTMAXES)
def test_learned_scale_gets_a_gradient_and_stays_bounded(kind):
    loss = kind(shuffled(V(10, 2, 2), 100), scale=90.0, learn_scale=True)
    x, labels = batch(loss.assignment)  # with classes that occur twice
    loss(x, labels).backward()
    assert torch.isfinite(loss.log_scale.grad)
    with torch.no_grad():
        loss.log_scale.fill_(10.0)
    assert loss.scale.item() == 100.0


@pytest.mark.parametrize(
    ("option", "value"), [("scale", 0.0), ("scale", 101.0), ("label_smoothing", 1.0), ("margin", -0.1)]
)
def test_bad_options_are_refused(option, value):
    with pytest.raises(ValueError, match=option):
        SystemSoftmax(shuffled(V(10, 2, 2), 100), **{option: value})


def test_class_softmax_follows_a_replaced_table():
    generator = torch.Generator().manual_seed(0)
    assignment = by_similarity(dense(16), torch.randn(20, 30, generator=generator), generator)
    loss = ClassSoftmax(assignment)
    x, labels = batch(assignment)
    before = loss(x, labels)
    assignment.replace(assignment.vectors(torch.arange(19, -1, -1)))
    torch.testing.assert_close(loss(x, labels).double(), oracle(loss, x, labels), rtol=1e-5, atol=1e-5)
    assert not torch.equal(loss(x, labels), before)


def test_with_all_neighbours_the_softmax_is_over_all_classes():
    assignment = shuffled(V(10, 2, 2), 30)
    x, labels = batch(assignment)
    near, every = NeighbourSoftmax(assignment, neighbours=1000), ClassSoftmax(assignment)
    assert near.near.shape == (30, 29)
    torch.testing.assert_close(near(x, labels), every(x, labels))
    assert NeighbourSoftmax(shuffled(V(10, 2, 2), 1))(x[:2], torch.zeros(2, dtype=torch.int64)).item() == 0
    own = NeighbourSoftmax(assignment, neighbours=2, find=lambda a, k, known: torch.arange(k).expand(a.n_classes, k))
    assert own.near[29].tolist() == [0, 1]
    with pytest.raises(ValueError, match="neighbours"):
        NeighbourSoftmax(assignment, neighbours=0)


@pytest.mark.parametrize("kind", [ClassSoftmax, BatchSoftmax, NeighbourSoftmax])
def test_softmaxes_use_vectors_that_move(kind):
    generator = torch.Generator().manual_seed(0)
    assignment = by_similarity(dense(16), torch.randn(40, 30, generator=generator), generator)
    loss = kind(assignment)
    x, labels = batch(assignment)
    directions = assignment.release()
    directions.copy_(normalize(torch.randn(40, 16, generator=generator), dim=1))
    if kind is NeighbourSoftmax:
        loss.refresh()
    torch.testing.assert_close(loss(x, labels).double(), oracle(loss, x, labels), rtol=1e-5, atol=1e-5)
    assignment.settle()
    if kind is NeighbourSoftmax:
        loss.refresh()
    assert assignment.system.contains(assignment.vectors(labels)).all()
    torch.testing.assert_close(loss(x, labels).double(), oracle(loss, x, labels), rtol=1e-5, atol=1e-5)


def test_cosine_and_euclidean_by_hand():
    assignment = by_name(Table([[1.0, 0.0], [0.0, 1.0]]), ["a", "b"])
    label = torch.tensor([0])
    target = assignment.vectors(label)
    assert CosineLoss(assignment)(2 * target, label).item() == pytest.approx(0.0)
    assert CosineLoss(assignment)(-3 * target, label).item() == pytest.approx(2.0)
    assert SquaredEuclideanLoss(assignment)(3 * target, label).item() == pytest.approx(4.0)


def learning(kind, device):
    """A softmax with all that it can have, and what it is called with."""
    generator = torch.Generator().manual_seed(0)
    table = by_similarity(V(10, 2, 2), torch.randn(100, 30, generator=generator), generator)
    loss = kind(table, learn_scale=True, label_smoothing=0.1, margin=0.1).to(device)
    x, labels = torch.randn(16, 10, device=device), torch.arange(16).to(device)
    return loss, x.requires_grad_(), labels


@pytest.mark.parametrize("kind", SOFTMAXES)
def test_a_step_takes_nothing_from_the_host(kind, monkeypatch):
    """On "meta", which is no CPU: every value that is looked at there, and every copy from the CPU, is seen."""

    class FromHost(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            given = function(*args, **(kwargs or {}))
            tensors = [one for one in (*args, given) if isinstance(one, torch.Tensor)]
            assert not any(one.device.type == "cpu" for one in tensors), function
            return given

    def refused(*args, **kwargs):
        raise AssertionError("a tensor is made of Python numbers")

    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())  # there is none for "meta"
    loss, x, labels = learning(kind, "meta")
    loss(x, labels).backward()  # constants are made once
    monkeypatch.setattr(torch, "tensor", refused)
    monkeypatch.setattr(torch.Tensor, "new_tensor", refused)
    with FromHost():
        loss(x, labels).backward()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("kind", SOFTMAXES)
def test_a_gpu_is_not_waited_for(kind):
    loss, x, labels = learning(kind, "cuda")
    loss(x, labels).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss(x, labels).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("k", [1, 3, 50])
def test_linear_head_reads_classes_in_blocks(k, monkeypatch):
    torch.manual_seed(0)
    head, x = LinearHead(8, 50), 3 * torch.randn(2, 3, 8)
    expected = torch.softmax(head.linear(x), dim=-1).topk(k, dim=-1)
    for elements in (1 << 24, 100):
        monkeypatch.setattr("rootspace.losses.linear.SCORE_ELEMENTS", elements)
        probabilities, labels = head.nearest(x, k)
        torch.testing.assert_close(probabilities, expected.values)
        assert torch.equal(labels, expected.indices)
    largest = []
    monkeypatch.setattr(
        "rootspace.losses.linear.linear",
        lambda *args: largest.append(len(args[1])) or torch.nn.functional.linear(*args),
    )
    head.nearest(x, k)
    assert max(largest) == max(k, 100 // (6 + 8))
    assert head.nearest(x[:0], k)[1].shape == (0, 3, k)


def test_linear_head_is_cross_entropy():
    torch.manual_seed(0)
    head = LinearHead(8, 20)
    x, labels = torch.randn(5, 8), torch.arange(5)
    torch.testing.assert_close(head(x, labels), cross_entropy(head.linear(x), labels))
    scores, found = head.nearest(x, 3)
    assert scores.shape == found.shape == (5, 3)
    assert torch.equal(found[:, 0], head.linear(x).argmax(1))


@pytest.mark.parametrize("kind", [*SOFTMAXES, CosineLoss, SquaredEuclideanLoss])
def test_losses_work_beside_a_compiled_encoder(kind):
    torch.manual_seed(0)
    loss = kind(shuffled(V(10, 2, 2), 100))
    encoder = torch.nn.Sequential(torch.nn.Linear(5, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    x, labels = torch.randn(7, 5), torch.arange(7)
    expected = loss(encoder(x), labels)
    compiled = torch.compile(lambda x, labels: loss(encoder(x), labels), backend="eager")
    torch.testing.assert_close(compiled(x, labels), expected)
    compiled(x, labels).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in encoder.parameters())


def test_a_system_without_an_exact_sum_is_refused_before_training():
    with pytest.raises(ValueError, match="ClassSoftmax or BatchSoftmax"):
        SystemSoftmax(shuffled(parse("eBCH(64,30)"), 1000))
