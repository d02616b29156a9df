"""The methods of benchmarks/rivals: each learns, reads back exactly, and agrees with its formula written out."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

import rivals
from rivals import RIVALS, bits, build, common, fixed
from rivals.learned import AdaptiveSoftmax
from rivals.sampled import PartialSoftmax
from rootspace.data import ImageSet
from rootspace.losses import NeighbourSoftmax
from rootspace.models import Embedder
from rootspace.models import build as build_backbone
from rootspace.train import TrainConfig, fit

CLASSES, DIM = 60, 64

each = pytest.mark.parametrize("name", list(RIVALS))


def optimiser(name, loss, rate):
    kind = {"adamw": torch.optim.AdamW, "sparse_adam": torch.optim.SparseAdam}
    return kind[RIVALS[name].optimiser](list(loss.parameters()), lr=rate)


@each
def test_it_learns_a_tiny_problem(name):
    """Embeddings that are free to move fall on their classes, with gradients through loss and head alike."""
    loss = build(name, CLASSES, DIM, seed=3)
    labels = torch.arange(CLASSES)
    x = torch.randn(CLASSES, loss.dim, generator=torch.Generator().manual_seed(0), requires_grad=True)
    steps = [torch.optim.Adam([x], lr=0.1)]
    assert bool(list(loss.parameters())) == (RIVALS[name].optimiser != "none")
    if RIVALS[name].optimiser != "none":
        steps.append(optimiser(name, loss, 0.1))
    values = []
    for _ in range(150):
        value = loss(x, labels)
        for step in steps:
            step.zero_grad()
        value.backward()
        for step in steps:
            step.step()
        values.append(value.item())
    assert values[-1] < values[0] / 2
    scores, found = loss.nearest(x.detach(), 3)
    assert scores.shape == found.shape == (CLASSES, 3)
    assert torch.equal(found[:, 0], labels)
    assert bool((scores.diff(dim=1) <= 0).all())


@each
def test_the_start_is_a_function_of_the_seed(name):
    before = torch.random.get_rng_state()
    loss, same, other = (build(name, CLASSES, DIM, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    x = torch.randn(8, loss.dim)
    labels = torch.arange(8)
    assert torch.equal(loss(x, labels), same(x, labels))
    assert not torch.equal(loss(x, labels), other(x, labels))


@each
def test_nearest_holds_few_scores_and_finds_the_best_of_all(name, monkeypatch):
    loss = build(name, 700, DIM, seed=0)
    x = torch.randn(2, 9, loss.dim, generator=torch.Generator().manual_seed(1))
    whole, labels = loss.nearest(x, 700)  # every class of every query, in order
    assert torch.equal(labels.sort(dim=-1).values, torch.arange(700).expand(2, 9, 700))
    for module in (common, rivals.learned):
        monkeypatch.setattr(module, "SCORE_ELEMENTS", 150)
    part, found = loss.nearest(x, 5)
    assert part.shape == found.shape == (2, 9, 5)
    # equal scores may come in another order
    torch.testing.assert_close(part, whole[..., :5])
    by_class = torch.zeros_like(whole).scatter_(-1, labels, whole)
    torch.testing.assert_close(by_class.gather(-1, found), part)
    assert loss.nearest(x[:0], 2)[1].shape == (0, 9, 2)


@each
def test_fit_trains_it(name):
    rng = np.random.default_rng(0)
    labels = np.tile(np.arange(20), 4)
    images = ImageSet.from_arrays(rng.integers(0, 256, (80, 8, 8, 1)).astype(np.uint8), labels)
    loss = build(name, 20, DIM, seed=0)
    embedder = Embedder(build_backbone({"name": "small_conv", "width": 4}), loss.dim, normalise="batch")
    config = TrainConfig(epochs=1, batch_size=20, device="cpu")
    if RIVALS[name].optimiser == "sparse_adam":  # as its line says: the loop's AdamW takes no sparse gradient
        with pytest.raises(RuntimeError, match="sparse"):
            fit(embedder, loss, images, config, progress=False)
        return
    history = fit(embedder, loss, images, config, heldout={"again": images}, progress=False)
    assert set(history.epochs[0].heldout) == {"again"}


def test_own_losses_stay_what_hooks_look_for():
    assert isinstance(build("neighbour softmax", CLASSES, DIM), NeighbourSoftmax)


def gradients(loss, x, labels):
    x = x.detach().requires_grad_()
    value = loss(x, labels)
    found = torch.autograd.grad(value, [x, *loss.parameters()])
    return [value, *(g.to_dense() for g in found)]


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.4])
def test_a_whole_sample_is_the_full_cosine_softmax(sparse, margin):
    loss = PartialSoftmax(50, 16, share=1.0, scale=10.0, margin=margin, sparse=sparse)
    x, labels = torch.randn(12, 16), torch.randint(50, (12,))

    def full(x, labels):
        cosines = normalize(x, dim=1) @ normalize(loss.weight, dim=1).T
        return cross_entropy(10.0 * (cosines - margin * torch.nn.functional.one_hot(labels, 50)), labels)

    full.parameters = loss.parameters
    for ours, dense in zip(gradients(loss, x, labels), gradients(full, x, labels), strict=True):
        torch.testing.assert_close(ours, dense)


def test_a_sample_holds_the_batch_and_others_evenly_and_only_they_get_gradients():
    loss = PartialSoftmax(400, 16, share=0.1)
    labels = torch.tensor([7, 7, 399, 0])
    times = torch.zeros(400)
    for _ in range(400):
        drawn = loss.sample(labels)
        assert len(drawn) == 40
        assert bool((drawn.diff() > 0).all())
        times[drawn] += 1
    assert bool((times[[0, 7, 399]] == 400).all())
    rest = times[1:399][torch.arange(1, 399) != 7]
    expected = 400 * 37 / 397  # binomial: its deviation is 5.8
    assert abs(rest.mean() - expected) < 1e-3
    assert 4.8 < rest.std() < 6.8
    loss(torch.randn(4, 16), labels).backward()
    touched = loss.weight.grad.abs().sum(1) > 0
    assert int(touched.sum()) <= 40
    assert bool(touched[labels].all())
    many = torch.arange(100)  # more than a tenth of all
    assert torch.equal(loss.sample(many), many)


def test_sparse_steps_move_the_sampled_rows_alone():
    loss = PartialSoftmax(400, 16, share=0.1, sparse=True)
    before = loss.weight.detach().clone()
    optimizer = torch.optim.SparseAdam(list(loss.parameters()), lr=0.01)
    loss(torch.randn(4, 16), torch.arange(4)).backward()
    assert loss.weight.grad.is_sparse
    optimizer.step()
    assert int((loss.weight.detach() != before).any(1).sum()) == 40


@pytest.mark.parametrize(
    ("name", "margin"), [("arcface", 28.6), ("cosface", 0.35), ("normalised softmax", None)], ids=lambda v: str(v)
)
def test_wrapped_losses_equal_their_papers_formula(name, margin):
    loss = build(name, CLASSES, DIM, scale=15.0)
    x, labels = torch.randn(12, DIM), torch.randint(CLASSES, (12,))

    def formula(x, labels):
        cosines = normalize(x, dim=1) @ normalize(loss.loss.W, dim=0)
        rows = torch.arange(12)
        own = cosines[rows, labels]
        moved = {
            "arcface": torch.cos(torch.acos(own) + np.radians(margin or 0)),
            "cosface": own - (margin or 0),
            "normalised softmax": own,
        }[name]
        return cross_entropy(15.0 * cosines.index_put((rows, labels), moved), labels)

    formula.parameters = loss.parameters
    for ours, dense in zip(gradients(loss, x, labels), gradients(formula, x, labels), strict=True):
        torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-5)


def test_the_adaptive_softmax_orders_classes_by_frequency():
    counts = torch.randperm(CLASSES, generator=torch.Generator().manual_seed(0)) + 1
    torch.manual_seed(0)
    loss = AdaptiveSoftmax(CLASSES, DIM, counts)
    assert loss.cutoffs == [3, 12]
    frequent = counts.argmax().item()
    assert loss.place[frequent] == 0
    x, labels = torch.randn(5, DIM), torch.tensor([frequent, 1, 2, 3, 4])
    scores, found = loss.nearest(x, CLASSES)
    own = scores[found == labels[:, None]]
    torch.testing.assert_close(loss(x, labels), -own.mean())
    torch.testing.assert_close(scores.exp().sum(1), torch.ones(5))


def test_equiangular_vectors_are_farther_apart_than_random_ones():
    start = fixed.random_directions(300, 32, seed=0)
    made = fixed.made_equiangular(start, passes=30)
    torch.testing.assert_close(made.norm(dim=1), torch.ones(300))

    def coherence(vectors):
        return (vectors @ vectors.T).abs().fill_diagonal_(0).max().item()

    welch = ((300 - 32) / (32 * 299)) ** 0.5  # no 300 lines of 32 dimensions do better
    assert welch < coherence(made) < 0.55 * coherence(start)


def test_equiangular_is_random_beyond_what_is_optimised(monkeypatch):
    monkeypatch.setattr(fixed, "OPTIMISED_UP_TO", 50)
    loss = build("equiangular", 51, DIM)
    assert torch.equal(loss.vectors, fixed.random_directions(51, DIM, 0))
    assert not loss.state_dict()  # made again from the seed
    assert set(build("equiangular", 50, DIM, passes=1).state_dict()) == {"vectors"}


@pytest.mark.parametrize(("classes", "dim"), [(128, 64), (1024, 10), (5000, 13), (5000, 64), (5000, 130)])
def test_bit_codes_are_different_and_balanced(classes, dim):
    codes = bits.BitCodes(classes, dim, seed=1).codes(torch.arange(classes))
    assert codes.shape == (classes, dim)
    assert set(codes.unique().tolist()) == {-1.0, 1.0}
    assert len(codes.unique(dim=0)) == classes
    if classes == 2 * dim:
        assert (codes @ codes.T).fill_diagonal_(0).abs().unique().tolist() == [0.0, dim]
    else:
        assert codes.mean(0).abs().max() < 5 / classes**0.5


def test_bit_codes_do_not_depend_on_how_many_classes_there_are():
    few, many = bits.BitCodes(1000, 70, seed=2), bits.BitCodes(10**9, 70, seed=2)
    assert torch.equal(few.codes(torch.arange(9)), many.codes(torch.arange(9)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: bits.BitCodes(1025, 10), "10 bits name 1024 classes"),
        (lambda: PartialSoftmax(10, 4, share=0.0), "share lies in"),
        (lambda: AdaptiveSoftmax(100, 8), "16 dimensions"),
        (lambda: build("linear", 10, 4).nearest(torch.zeros(1, 4), 11), "k lies in"),
        (lambda: build("cosface", 10, 4)(torch.zeros(1, 5), torch.zeros(1, dtype=torch.int64)), "a loss takes"),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
