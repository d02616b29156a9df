"""benchmarks/heads.py: what a cell measures, its limits, how runs go on, decoding, and the picture."""

import json

import pytest
import torch
from torch.nn.functional import normalize

import heads
import heads_cell
import heads_decoding
import heads_tables
import plot_heads
from rootspace.assign import shuffled
from rootspace.errors import InputError
from rootspace.systems import V

STOP = {"stopped": "memory"}
SETTINGS = {"dim": 32, "batch": 16, "memory": 4.0, "patience": 60.0}


@pytest.fixture
def few_rounds(monkeypatch):
    monkeypatch.setattr(heads_cell, "ROUNDS_SECONDS", 0.0)


@pytest.mark.parametrize("method", heads_cell.METHODS)
@pytest.mark.usefixtures("few_rounds")
def test_every_method_has_a_cell(method):
    cell = heads_cell.measure(method, n_classes=300, dim=32, batch=16)
    json.dumps(cell)
    assert cell["rounds"] == 3
    assert cell["loss_seconds"] > 0
    assert (cell["step_seconds"] > 0) == (cell["parameters"] > 0) == (cell["optimiser_bytes"] > 0)


@pytest.mark.usefixtures("few_rounds")
def test_what_is_counted_is_what_is_there():
    linear = heads_cell.measure("linear", n_classes=2000, dim=32, batch=16)
    assert linear["parameters"] == 33 * 2000
    # two moments in float32, and a step counter each of weight and bias
    assert linear["optimiser_bytes"] == 2 * 4 * linear["parameters"] + 2 * 4
    assert 4 * linear["parameters"] < linear["checkpoint_bytes"] < 4 * linear["parameters"] + 1000
    assert heads_cell.measure("paper", n_classes=2000, dim=32, batch=16)["checkpoint_bytes"] < 200
    # 3 bits a coordinate
    graded = heads_cell.measure("neighbour softmax", n_classes=2000, dim=32, batch=16)
    assert 2000 * 12 < graded["checkpoint_bytes"] < 2000 * 12 + 1000


def test_a_process_of_its_own_measures_memory():
    """A linear layer holds weight, gradient and two moments, and the scores of a batch."""
    settings = {**SETTINGS, "batch": 64}
    cell = heads.run("heads_cell.py", {"method": "linear", "n_classes": 100_000, **settings}, 60)
    assert cell["dim"] == 32
    kept, scores = 4 * 4 * 33 * 100_000, 4 * 64 * 100_000
    assert kept + scores < cell["peak_bytes"] < kept + 8 * scores


def test_a_cell_stops_at_its_limits():
    few = {"method": "linear", "n_classes": 10**7, **SETTINGS}
    assert heads.run("heads_cell.py", {**few, "memory": 0.5}, 60) == {"stopped": "memory"}
    assert heads.run("heads_cell.py", {**few, "patience": 0.5}, 60) == {"stopped": "time"}


def test_a_cell_that_fails_is_no_result():
    with pytest.raises(RuntimeError, match="no such method"):
        heads.run("heads_cell.py", {"method": "no such method", "n_classes": 10, **SETTINGS}, 60)


def cell(seconds):
    keys = ("step_seconds", "peak_bytes", "parameters", "checkpoint_bytes", "optimiser_bytes")
    return {"loss_seconds": seconds, **dict.fromkeys(keys, 1)}


def test_a_run_goes_on_where_it_stopped_and_ends_a_method_at_its_limit(tmp_path, monkeypatch):
    asked = []

    def run(script, arguments, seconds):
        asked.append((arguments["method"], arguments["n_classes"]))
        return {"stopped": "memory"} if arguments["n_classes"] == 100 else cell(0.1)

    monkeypatch.setattr(heads, "run", run)
    path = tmp_path / "heads.json"
    heads.measure_heads(heads.Stored(path, SETTINGS), ["linear"], [1000, 10])
    assert asked == [("linear", 10), ("linear", 1000)]
    asked.clear()
    stored = heads.Stored(path, SETTINGS)
    heads.measure_heads(stored, ["linear", "paper"], [10, 100, 1000, 10_000])
    assert asked == [("linear", 100), ("paper", 10), ("paper", 100)]
    assert set(json.loads(path.read_text())["heads"]) == {"linear", "paper"}
    with pytest.raises(InputError, match="other settings"):
        heads.Stored(path, {**SETTINGS, "batch": 17})


def test_searches_agree_and_queries_are_of_the_noise_they_name():
    system = V(12, 2, 2)
    assignment = shuffled(system, 2900)
    vectors = normalize(assignment.vectors(torch.arange(2900)), dim=1)
    kinds = heads_decoding.queries_of(assignment, 64, torch.Generator().manual_seed(0))
    assert list(kinds) == ["noise 0.25", "noise 0.5", "noise 1", "random"]
    cosines = [(x @ vectors.T).amax(1).mean() for x in kinds.values()]
    assert cosines == sorted(cosines, reverse=True)
    for x in kinds.values():
        torch.testing.assert_close(x.norm(dim=1), torch.ones(64))
        best = (x @ vectors.T).amax(1)
        for search in (
            heads_decoding.brute_force(vectors),
            heads_decoding.faiss_index("Flat", vectors),
            lambda x: assignment.nearest(x)[1][:, 0],
        ):
            torch.testing.assert_close((x * vectors[search(x)]).sum(1), best)


def test_tables_show_what_was_measured_and_what_was_stopped():
    one = {"rates": {"1": 10.0, "256": 1000.0}, "exact": {"random": 0.5}, "build_seconds": 1.0, "bytes_a_class": 4}
    small = {**cell(0.25), "dim": 8, "parameters": 0, "peak_bytes": 1000}
    stored = {
        "heads": {
            "linear": {
                "1000": cell(0.5),
                "600000": {**cell(9.0), "dim": 128, "peak_bytes": 2 * 10**6},
                "1000000": STOP,
            },
            "paper": {"1000": small, "600000": small},
        },
        "decoding": {"system": "V22:12", "n_classes": 2900, "searches": {"a search": one}},
    }
    lines = heads_tables.report(stored).splitlines()
    assert "| linear | 1,500 | 10,000 | (memory) |" in lines  # the optimiser's step takes a second more
    assert "| paper | 1,250 | 1,250 |  |" in lines
    assert "| linear | 128 | 9,000 | 1,000 | 2 | 1 | 1e-06 | 1 bytes | 1 | 1 |" in lines
    assert "| paper | 8 | 250 | - | 0.001 | 0 | - | 1 bytes | 8 | 2,000 |" in lines
    assert "| a search | 10 | 1,000 | 1 | 4 | 50.0 |" in lines
    assert heads_tables.power("600000") == "6·10⁵"


def test_the_picture_leaves_out_what_was_stopped():
    cells = {"1000": cell(0.5), "10000": cell(0.25), "100000": {"stopped": "time"}}
    assert plot_heads.points(cells, "time") == ([1000, 10_000], [1500.0, 1250.0])
    assert plot_heads.points(cells, "memory")[1] == [1e-6, 1e-6]
    figure = plot_heads.draw({"heads": {"linear": cells}})
    lines = figure.axes[0].get_lines()
    assert list(lines[0].get_ydata()) == [1500.0, 1250.0]
    assert list(lines[1].get_xdata()) == [10_000]  # the cross
    plot_heads.plt.close(figure)
