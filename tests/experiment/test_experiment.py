"""Recipes, class statistics, and whole runs into an output folder, on small synthetic classes."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import rootspace
from rootspace import demo, experiment, report
from rootspace.assign import TableAssignment
from rootspace.data import ImageSet, Preprocessing
from rootspace.errors import InputError
from rootspace.experiment import ClassStatistics, Recipe
from rootspace.experiment.findings import is_new_source
from rootspace.models.card import is_generated
from rootspace.systems import V, dense, graded
from rootspace.train import TrainConfig, processes

CLASSES = 12


def images(per_class: int, seed: int, classes: int = CLASSES) -> ImageSet:
    """Blocky patterns, one a class, under noise."""
    patterns = np.random.default_rng(0).integers(0, 2, (classes, 4, 4)).repeat(4, 1).repeat(4, 2) * 255
    generator = np.random.default_rng(seed)
    labels = np.tile(np.arange(classes), per_class)
    noisy = np.clip(patterns[labels] + generator.normal(0, 40, (len(labels), 16, 16)), 0, 255)
    names = [f"class {label}" for label in range(classes)]
    return ImageSet.from_arrays(
        noisy.astype(np.uint8)[..., None], labels, names, preprocessing=Preprocessing(16, 1, "stretch")
    )


SMALL = {"backbone": {"name": "small_conv", "width": 8}, "augment": "none"}
QUICK = TrainConfig(epochs=4, batch_size=32, log_every=4)


@pytest.mark.parametrize("loss", ["classes", "neighbours", "batch", "system", "cosine", "euclidean"])
@pytest.mark.parametrize(
    ("assignment", "system"), [("similarity", "dense:16"), ("shuffled", "V22:8"), ("names", "V22:8")]
)
def test_every_recipe_learns(loss, assignment, system):
    recipe = Recipe(system=system, assignment=assignment, loss=loss, **SMALL)
    heldout = images(4, seed=2)
    trained = experiment.train(images(40, seed=1), {"new": heldout}, recipe, QUICK, progress=False)
    first, last = trained.history.epochs[0], trained.history.epochs[-1]
    assert last.loss < first.loss
    assert last.heldout["new"]["top1"] > 3 / CLASSES
    assert trained.head_parameters == 0


def test_a_run_leaves_model_report_and_picture(tmp_path):
    train, heldout = images(100, seed=1), {"new": images(10, seed=2)}
    said = []
    found = experiment.run(
        "patterns", train, heldout, Recipe(**SMALL), QUICK, tmp_path, baseline=True, progress=False, say=said.append
    )
    assert {path.name for path in tmp_path.iterdir()} == {
        "model", "training", "report.html", "results.json", "figure.png",
    }  # fmt: skip
    assert [method.head_parameters > 0 for method in found.methods] == [False, True]
    assert found.methods[0].top1["new"] > 0.8
    assert report.read_report(tmp_path / "results.json") == found
    model = rootspace.load(tmp_path / "model")
    predictions = model.predict(heldout["new"].images_at(np.arange(24)), k=3)
    right = [p.labels[0] == f"class {i % CLASSES}" for i, p in enumerate(predictions)]
    assert np.mean(right) > 0.8
    assert found.threshold == model.threshold is not None
    assert found.n_calibration == 60
    assert (found.environment["device"], found.created[10], found.created[-6:]) == ("cpu", "T", "+00:00")
    settings = found.configuration
    assert (settings["system"], settings["loss"], settings["follow"]) == ("graded:64", "classes", 0.0)
    assert (settings["size"], settings["channels"], settings["epochs"], settings["track"]) == (16, 1, 4, [])
    assert (settings["device"], settings["backbone"]) == ("cpu", SMALL["backbone"])
    assert "source never seen" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert found.reliability is not None
    assert found.reliability.before.n == len(heldout["new"])
    assert found.reliability.n_fitted == round(0.05 * len(train))
    assert 0 <= found.reliability.after.error < 0.2
    card = (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert is_generated(card)
    for said in (
        "# patterns",
        f"| new | {found.methods[0].top1['new']:.2%}".replace("%", " %"),
        "| epochs | 4 |",
        "| system | graded:64 |",
        "of the 60 images of known classes",
        "torch",
    ):
        assert said in card
    with pytest.raises(InputError, match="another run"):
        experiment.run("again", train, heldout, Recipe(**SMALL), QUICK, tmp_path, progress=False)


@pytest.mark.parametrize("changes", [{"learn_scale": True}, {"loss": "cosine", "follow": 0.0}])
def test_probabilities_are_at_the_scale_of_the_loss(changes):
    heldout, apart = {"a": images(3, seed=2), "b": images(2, seed=3)}, images(5, seed=4)
    trained = experiment.train(images(20, seed=1), {}, Recipe(**SMALL, **changes), QUICK, progress=False)
    found = experiment.examine(trained, heldout, apart).reliability
    assert found.before.n == found.after.n == 5 * CLASSES
    assert found.n_fitted == 5 * CLASSES
    if "loss" in changes:
        assert found.scale == 24
    else:
        assert found.scale == pytest.approx(trained.loss.scale.item())
        assert found.scale != 24
    without = experiment.examine(trained, heldout).reliability
    assert without.before == found.before
    assert without.temperature is without.after is None
    assert experiment.examine(trained, heldout, apart.select(np.arange(49))).reliability == without


def test_too_few_images_give_no_threshold():
    few = images(15, seed=1, classes=4)
    for seed in range(40):  # by lot, of some classes or of none there was one to keep apart
        assert [len(part) for part in experiment.split_for_calibration(few, seed)] == [60, 0]
    assert [len(part) for part in experiment.split_for_calibration(images(100, seed=1), 0)] == [1140, 60]
    trained = experiment.train(few, {}, Recipe(**SMALL), QUICK, progress=False)
    model = experiment.recogniser_of(trained, few, few.select(np.arange(49)))
    assert model.threshold is None
    assert all(found.known for found in model.predict(few.images_at(np.arange(8))))


def test_what_is_known_to_be_of_a_new_source():
    cells, labels = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 2
    some = ImageSet.from_arrays(cells, labels, None, np.arange(6) // 3, ["print", "hand"])
    assert is_new_source(some.select(np.arange(3)), some.select(np.arange(3, 6)))
    assert not is_new_source(some.select(np.arange(4)), some.select(np.arange(4, 6)))
    assert not is_new_source(images(1, 0), images(1, 1))


def test_the_default_beats_the_papers_recipe_early():
    """The reason for the default: vectors that follow the data are learned faster than shuffled ones."""
    train, heldout = images(10, seed=1, classes=200), {"new": images(2, seed=2, classes=200)}
    config = TrainConfig(epochs=1, batch_size=32)
    ours = experiment.train(train, heldout, Recipe(**SMALL), config, progress=False)
    paper = experiment.train(train, heldout, Recipe.paper(**SMALL), config, progress=False)
    assert ours.history.epochs[-1].heldout["new"]["top1"] > paper.history.epochs[-1].heldout["new"]["top1"] + 0.2


def test_systems_of_recipes():
    assert experiment.choose_system(1000) == graded(128)
    assert experiment.system_of(Recipe.paper(), 600_000) == V(41, 2, 2)
    assert experiment.system_of(Recipe(system="V21"), 50_000) == V(48, 2, 1)
    assert experiment.system_of(Recipe(system="E8"), 100).dim == 8
    with pytest.raises(InputError, match="character 1: expected"):
        experiment.system_of(Recipe(system="V22;41"), 10)
    with pytest.raises(InputError, match="rootspace plan --classes 12"):
        experiment.train(images(2, 0), {}, Recipe(system="A:2", **SMALL), QUICK, progress=False)


@pytest.mark.parametrize(
    "options",
    [
        {"assignment": "best"},
        {"loss": "hinge"},
        {"augment": "x"},
        {"features": "words"},
        {"loss": "cosine", "follow": 0.5},
        {"loss": "system", "follow": 1.0},
        {"follow": 1.5},
    ],
)
def test_bad_recipes_are_refused(options):
    with pytest.raises(InputError, match=next(reversed(options))):
        Recipe(**options)


def test_class_statistics_equal_their_definition_and_fill_empty_classes():
    some = images(6, seed=3).select(np.flatnonzero(images(6, seed=3).labels != 5))
    whole, parts = experiment.class_statistics(some), experiment.class_statistics(some, chunk=7)
    torch.testing.assert_close(whole.means, parts.means)
    torch.testing.assert_close(whole.within, parts.within, rtol=1e-4, atol=1e-5)
    pixels = torch.from_numpy(some.images_at(np.arange(len(some))).reshape(len(some), -1) / 127.5 - 1)
    labels = torch.from_numpy(some.labels)
    torch.testing.assert_close(whole.means[0].double(), pixels[labels == 0].mean(0), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(whole.means[5], pixels.mean(0).float(), rtol=1e-4, atol=1e-4)
    apart = pixels - whole.means.double()[labels]
    torch.testing.assert_close(whole.within, apart.T @ apart / len(apart), rtol=1e-4, atol=1e-5)


def test_features_see_few_images_at_a_time():
    some, seen = images(30, seed=0), []

    def features(x):
        seen.append(len(x))
        return x.flatten(1)[:, :7]

    found = experiment.class_statistics(some, features, chunk=300)
    assert sorted(seen) == [1, 44, 60, 256]  # the first to know how many features there are
    torch.testing.assert_close(found.means, experiment.class_statistics(some).means[:, :7])


def test_class_means_are_made_in_place():
    """Of all tensors of their size there is one, where classes are many."""
    large = []

    class Large(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            given = function(*args, **(kwargs or {}))
            if isinstance(given, torch.Tensor) and given.numel() >= 300_000:
                large.append(given)
            return given

    pixels = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    few = ImageSet.from_arrays(pixels, np.arange(20) * 5000, [str(number) for number in range(100_000)])
    with Large():
        found = experiment.class_statistics(few, lambda x: x.flatten(1)[:, :3])
    assert found.means.shape == (100_000, 3)
    assert {one.untyped_storage().data_ptr() for one in large} == {found.means.untyped_storage().data_ptr()}


def test_one_sample_a_class_has_no_scatter():
    single = images(1, seed=0)
    assert not experiment.class_statistics(single).within.any()
    with pytest.raises(InputError, match="no images"):
        experiment.class_statistics(single.select(np.zeros(0, dtype=np.int64)))


def test_similarity_can_be_seen_in_the_backbone():
    data = images(4, seed=0)
    prepared = experiment.prepare(data, Recipe(features="backbone", **SMALL), seed=0)
    assert isinstance(prepared.loss.assignment, TableAssignment)
    own = experiment.prepare(data, Recipe(**SMALL), seed=0, features=lambda x: x.mean((1, 2, 3))[:, None])
    assert own.loss.assignment.system == prepared.loss.assignment.system
    assert not torch.equal(own.loss.assignment.codes, prepared.loss.assignment.codes)


def test_a_backbone_sees_the_images_where_it_trains(monkeypatch):
    asked, seen = [], []

    def statistics(images, features, **how):
        seen.append((how["device"], next(features.__self__.parameters()).device, how["progress"]))
        return ClassStatistics(torch.randn(CLASSES, 8), torch.eye(8).double())

    monkeypatch.setattr("rootspace.experiment.recipe.class_statistics", statistics)
    monkeypatch.setattr(processes, "device", lambda cpu: asked.append(cpu) or torch.device("meta"))
    for device, progress in (("auto", None), ("cpu", False)):
        experiment.prepare(images(2, 0), Recipe(features="backbone", **SMALL), 0, device=device, progress=progress)
    assert asked == [False, True]
    assert seen == [(torch.device("meta"), torch.device("meta"), show) for show in (True, False)]


def test_a_resumed_run_looks_for_no_class_vectors(tmp_path, monkeypatch):
    data, heldout = images(10, seed=1, classes=300), {"new": images(1, seed=2, classes=300)}
    recipe, config = Recipe(**SMALL), TrainConfig(epochs=3, batch_size=100, device="cpu")
    whole = experiment.train(data, heldout, recipe, config, output=tmp_path / "a", progress=False)
    stopped = tmp_path / "b"
    experiment.train(data, heldout, recipe, config, output=stopped, progress=False)
    sorted((stopped / "checkpoints").iterdir())[-1].rename(tmp_path / "gone")
    for name in ("class_statistics", "by_similarity"):
        monkeypatch.setattr(f"rootspace.experiment.recipe.{name}", None)
    again = experiment.train(data, heldout, recipe, config, output=stopped, resume=True, progress=False)
    assert whole.loss.assignment.system.size > 2**63
    for one, other in ((whole.embedder, again.embedder), (whole.loss, again.loss)):
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())
    tight = Recipe(system="V22", **SMALL)  # a system whose vectors are numbered
    assert experiment.prepare(data, tight, 0, stored=True).loss.assignment.n_classes == 300


def test_what_follows_and_what_does_not():
    def share(recipe, system, n_classes=1000):
        return experiment.follow_share(recipe, system, n_classes)

    for recipe in (Recipe(), Recipe(loss="neighbours"), Recipe(system="dense:64")):
        assert share(recipe, graded(64)) == share(recipe, dense(64)) == 0.9
        assert share(recipe, V(14, 2, 2)) == share(recipe, V(128, 2, 2)) == share(recipe, graded(64), 10) == 0
    for recipe in (Recipe.paper(), Recipe(loss="cosine"), Recipe(assignment="names"), Recipe(follow=0.0)):
        assert share(recipe, graded(64)) == 0
    assert share(Recipe(follow=0.5), V(14, 2, 2), 10) == 0.5
    shuffled = Recipe(assignment="shuffled", follow=0.5, **SMALL)
    prepared = experiment.prepare(images(2, seed=0), shuffled, seed=0)
    assert [hook.until for hook in prepared.hooks] == [0.5]
    assert isinstance(prepared.loss.assignment, TableAssignment)
    assert not experiment.prepare(images(2, seed=0), Recipe.paper(**SMALL), seed=0).hooks


# ------------------------------------------------------------------ the demo


def test_demo_on_few_characters(tmp_path):
    try:
        data = demo.demo_data(40, system_fonts=False)
    except InputError:
        pytest.skip("no packaged typefaces: pip install 'rootspace[fonts]'")
    assert data.train.n_classes == 40
    assert all(len(part) for part in data.heldout.values())
    assert all(len(part) for part in data.unknown.values())
    config = TrainConfig(epochs=6, batch_size=32)
    recipe = Recipe(backbone={"name": "small_conv", "width": 16}, augment="glyph")
    found = demo.run(tmp_path, data, config, recipe, baseline=False, progress=False, say=lambda text: None)
    assert np.mean(list(found.methods[0].top1.values())) > 0.5
    assert found.rejection is not None
    assert found.rejection.auroc > 0.5
    samples = sorted((tmp_path / "samples").iterdir())
    assert len(samples) == demo.SAMPLE_FILES
    predictions = rootspace.load(tmp_path / "model").predict(samples, k=1)
    names = [path.stem.rsplit("_", 1)[1] for path in samples]
    assert sum(p.labels[0] == name for p, name in zip(predictions, names, strict=True)) >= 3
