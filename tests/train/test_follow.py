"""Class vectors that follow their embeddings: exact updates, the points at which things happen, resumption."""

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize
from torch.utils._python_dispatch import TorchDispatchMode

from rootspace.assign import by_similarity, shuffled
from rootspace.errors import InputError
from rootspace.losses import ClassSoftmax, CosineLoss, NeighbourSoftmax
from rootspace.systems import V, graded
from rootspace.train import Follow, Plan
from rootspace.train.follow import move

CLASSES, DIM = 30, 16
ALL = torch.arange(CLASSES)


def loss_of(kind=ClassSoftmax, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return kind(by_similarity(graded(DIM), torch.randn(CLASSES, 40, generator=generator), generator))


def start(loss, accumulation=1, begin=0.0, **options):
    hook = Follow(loss, begin=begin, **options)
    hook.on_start(Plan(2, 10, 8, accumulation, 1, torch.device("cpu")))
    return hook


def centres(seed=5):
    return torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(seed))


def test_move_goes_towards_the_mean_of_each_class():
    directions = normalize(centres(1), dim=1)
    before = directions.clone()
    labels = torch.tensor([3, 7, 3])
    x = torch.randn(3, DIM, generator=torch.Generator().manual_seed(2))
    move(directions, x, labels, 0.25)
    unit = normalize(x, dim=1)
    for label, mean in ((3, unit[0] + unit[2]), (7, unit[1])):
        expected = normalize(0.75 * before[label] + 0.25 * normalize(mean, dim=0), dim=0)
        torch.testing.assert_close(directions[label], expected)
    others = [c for c in range(CLASSES) if c not in (3, 7)]
    assert torch.equal(directions[others], before[others])
    move(directions, x[:0], labels[:0], 0.25)


def test_move_takes_any_batch_as_the_formula_does():
    """In a batch of many samples of few classes; sums are exact, so that neither order nor process matters."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(CLASSES // 2, (700,), generator=generator)
    x = torch.randn(700, DIM, generator=generator)
    before = normalize(centres(1), dim=1)
    same = (labels[:, None] == labels).float()
    means = normalize(same @ normalize(x, dim=1), dim=1)
    expected = before.clone()
    expected[labels] = normalize(0.75 * before[labels] + 0.25 * means, dim=1)
    found, turned = before.clone(), before.clone()
    move(found, x, labels, 0.25)
    torch.testing.assert_close(found, expected)
    order = torch.randperm(700, generator=generator)
    move(turned, x[order], labels[order], 0.25)
    assert torch.equal(turned, found)


def test_a_large_batch_takes_memory_of_its_own_size():
    class Largest(TorchDispatchMode):
        numbers = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            given = function(*args, **(kwargs or {}))
            if isinstance(given, torch.Tensor):
                self.numbers = max(self.numbers, given.numel())
            return given

    labels = torch.randint(CLASSES, (2000,))
    with Largest() as largest:
        move(normalize(centres(1), dim=1), torch.randn(2000, DIM), labels, 0.25)
    assert largest.numbers == 2000 * DIM


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_not_waited_for():
    directions, x = normalize(centres(1), dim=1).cuda(), torch.randn(200, DIM).cuda()
    labels = torch.randint(CLASSES, (200,)).cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        move(directions, x, labels, 0.25)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_vectors_follow_and_then_stay():
    loss = loss_of()
    table = loss.assignment
    before = table.codes.clone()
    hook = start(loss, until=0.5)
    wanted = centres()
    for step in range(20):
        hook.on_batch(step, wanted, ALL)
        if step < 9:
            assert table.released is not None
            assert torch.equal(table.codes, before)
            with pytest.raises(RuntimeError, match="settle"):
                table.save()
        else:
            assert table.released is hook.directions is None  # nothing is kept after the last point
    assert table.system.contains(table.vectors(ALL)).all()
    assert len(table.codes.unique(dim=0)) == CLASSES
    # after ten steps of 0.2 a tenth of the start is left, and the system has a vector near any direction
    assert float(cosine_similarity(table.vectors(ALL), wanted).mean()) > 0.9


def test_vectors_on_a_schedule_are_always_of_the_system():
    loss = loss_of(NeighbourSoftmax)
    table = loss.assignment
    hook = start(loss, until=0.75, every=0.3)
    seen = []
    for step in range(20):
        hook.on_batch(step, centres(), ALL)
        assert table.system.contains(table.vectors(ALL)).all()
        seen.append(table.codes.clone())
    changed = [step for step in range(1, 20) if not torch.equal(seen[step], seen[step - 1])]
    assert changed == [2, 5, 8, 11, 14]
    assert float(cosine_similarity(table.vectors(ALL), centres()).mean()) > 0.9


def test_neighbours_are_found_anew():
    loss = loss_of(NeighbourSoftmax)
    before = loss.near.clone()
    hook = start(loss, until=1.0, refresh=0.5)
    for step in range(5):
        assert torch.equal(loss.near, before)
        hook.on_batch(step, centres(), ALL)
    assert not torch.equal(loss.near, before)


def test_vectors_stay_until_the_beginning():
    loss = loss_of()
    table = loss.assignment
    before = table.vectors(ALL)
    hook = start(loss, begin=0.2, until=0.5)
    for step in range(4):
        hook.on_batch(step, centres(), ALL)
        torch.testing.assert_close(table.vectors(ALL), before)
    hook.on_batch(4, centres(), ALL)
    assert not torch.allclose(table.vectors(ALL), before, atol=1e-2)


def test_several_batches_make_one_step():
    loss = loss_of()
    hook = start(loss, accumulation=2, until=0.05)
    hook.on_batch(0, centres(), ALL)
    assert loss.assignment.released is not None
    hook.on_batch(0, centres(), ALL)
    assert loss.assignment.released is None


@pytest.mark.parametrize("every", [0.0, 0.2])
@pytest.mark.parametrize("at", [2, 12])
def test_state_survives_a_checkpoint(every, at):
    one, two = loss_of(), loss_of()
    options = {"until": 0.5, "every": every}
    first, second = start(one, **options), start(two, **options)
    x = torch.randn(20, CLASSES, DIM, generator=torch.Generator().manual_seed(0))
    for step in range(20):
        first.on_batch(step, x[step], ALL)
        if step == at:
            values, tensors = first.state()
            two.load_state_dict(one.state_dict())
            second.load_state(values, {name: tensor.clone() for name, tensor in tensors.items()})
        if step > at:
            second.on_batch(step, x[step], ALL)
        if step >= at:
            assert torch.equal(one.assignment.vectors(ALL), two.assignment.vectors(ALL))


def test_bad_options_are_refused():
    with pytest.raises(InputError, match="table"):
        Follow(ClassSoftmax(shuffled(V(8, 2, 2), 10)))
    with pytest.raises(InputError, match="CosineLoss"):
        Follow(loss_of(CosineLoss))
    for options in (
        {"until": 0.0},
        {"until": 1.5},
        {"momentum": 0.0},
        {"every": -1.0},
        {"refresh": 0.0},
        {"begin": 1.0},
    ):
        with pytest.raises(InputError, match="follow"):
            Follow(loss_of(), **options)


def test_a_diverged_run_is_left_to_the_loop():
    loss = loss_of(NeighbourSoftmax)
    codes, near = loss.assignment.codes.clone(), loss.near.clone()
    hook = start(loss, until=0.5, refresh=0.1)
    for step in range(12):
        hook.on_batch(step, centres() * float("nan"), ALL)
    # no class has settled anywhere, though the last point is past
    assert loss.assignment.released is hook.directions
    assert not bool(torch.isfinite(hook.directions).any())
    assert torch.equal(loss.assignment.codes, codes)
    assert torch.equal(loss.near, near)


def test_another_setting_is_another_run():
    assert Follow(loss_of()).describe() == "follow(begin=0.1, until=0.9, momentum=0.2, every=0, refresh=0.25)"
    assert Follow(loss_of(), until=0.5).describe() != Follow(loss_of()).describe()
