"""Encoders of texts: a small one that trains on a laptop, and those of the library transformers."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rootspace.data import AnyPreprocessing, is_text, text_ids
from rootspace.errors import InputError
from rootspace.models.backbones.huggingface import config_of, network_of, plain_config, take_weights
from rootspace.models.backbones.weights import named_for
from rootspace.models.backbones.wrapping import Wrapped, without_path
from rootspace.models.encoders import ENCODERS, PREFIXES, check_sizes

PREFIX = "hf-text:"
"""Before the folder or hub id of a text encoder of transformers."""

_HIDDEN_TOKEN = (1 << 24) - 1


class SmallText(nn.Module):
    """Texts (B, in_channels, 1, L) in [-1, 1] to features (B, 2 * width): embedding, two convolutions, two poolings.

    in_channels 1: bytes; 3: token numbers, of which those from `vocabulary` on share rows of others. Padding counts
    nowhere, also not in the batch statistics. On a CPU convolutions run over the real bytes alone, gathered from the
    padded rectangle, most of which is padding. On a GPU, compiled or exported they run over the rectangle, to the same
    result: how many bytes are real is never asked, so the host waits for nothing and the graph has fixed shapes.

    >>> SmallText(width=8)(torch.full((3, 1, 1, 20), 0.5)).shape
    torch.Size([3, 16])
    """

    takes_texts = True

    def __init__(
        self, in_channels: int = 1, width: int = 96, embedding: int = 48, vocabulary: int | None = None
    ) -> None:
        super().__init__()
        if in_channels not in (1, 3):
            raise InputError(f"small_text in_channels: expected 1 (bytes) or 3 (token numbers), got {in_channels!r}")
        if vocabulary is not None and in_channels == 1:
            raise InputError(f"small_text vocabulary: bytes have 256, got {vocabulary!r}; leave it out")
        self.vocabulary = 1 << 15 if vocabulary is None and in_channels == 3 else vocabulary
        sizes = {"width": width, "embedding": embedding, "vocabulary": vocabulary}
        check_sizes("small_text", **{name: size for name, size in sizes.items() if size is not None})
        self.in_channels, self.width, self.feature_dim = in_channels, width, 2 * width
        # of tokens one row is for padding, one for hidden ones
        rows = 256 if self.vocabulary is None else self.vocabulary + 2
        self.embedding = nn.Embedding(rows, embedding, padding_idx=0)
        self.first = nn.Linear(3 * embedding, width, bias=False)
        self.second = nn.Linear(3 * width, width, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm1d(width), nn.BatchNorm1d(width)])

    def forward(self, cells: Tensor) -> Tensor:
        rows = self._rows(text_ids(cells))
        dense = self._plain and (rows.is_cuda or torch.compiler.is_compiling())
        full = self._rectangle(rows) if dense else self._gathered(rows)
        # features are not negative, so zeros at the padding change neither the sum nor the largest
        lengths = (rows > 0).sum(dim=1, keepdim=True).clamp(min=1)
        return torch.cat([full.amax(dim=1), full.sum(dim=1) / lengths], dim=1)

    def config(self) -> dict[str, Any]:
        """What `build` needs to make this encoder again, weights apart."""
        sizes = {"in_channels": self.in_channels, "width": self.width, "embedding": self.embedding.embedding_dim}
        more = {} if self.vocabulary is None else {"vocabulary": self.vocabulary}
        return {"name": "small_text", **sizes, **more}

    @property
    def _plain(self) -> bool:
        """Whether the norms are this process's own: one over several counts for itself, and only what it is given."""
        return all(type(norm) is nn.BatchNorm1d for norm in self.norms)

    def _rows(self, ids: Tensor) -> Tensor:
        """Rows of the embedding (B, L), 0 for padding."""
        if self.vocabulary is None:
            return ids
        rows = torch.where(ids > 0, (ids - 1) % self.vocabulary + 1, 0)
        return torch.where(ids == _HIDDEN_TOKEN, self.vocabulary + 1, rows)

    def _gathered(self, rows: Tensor) -> Tensor:
        """Features (B, L + 2, width) of rows (B, L), zeros at the padding, computed where there is none."""
        padded = F.pad(rows, (1, 1))
        flat = padded.flatten()
        filled = flat.nonzero()[:, 0]
        if self.training and self._plain and len(filled) < 2:
            return self._rectangle(padded)  # torch's norm refuses a single row, ours takes it
        windows = torch.stack([filled - 1, filled, filled + 1], dim=1)  # a convolution of width 3
        x = self.embedding(flat[windows]).flatten(1)
        x = torch.relu(self.norms[0](self.first(x)))
        # where each byte's features stand; 0, a row of zeros, for padding
        number = torch.zeros_like(flat).index_copy(0, filled, torch.arange(1, len(filled) + 1, device=flat.device))
        x = F.pad(x, (0, 0, 1, 0)).index_select(0, number[windows].flatten()).view(len(filled), self.second.in_features)
        x = torch.relu(self.norms[1](self.second(x)))
        return x.new_zeros(len(flat), x.shape[1]).index_copy(0, filled, x).view(*padded.shape, x.shape[1])

    def _rectangle(self, rows: Tensor) -> Tensor:
        """Features (B, L, width) of rows (B, L), computed everywhere and set to zero at the padding."""
        real = (rows > 0).unsqueeze(2)
        x = self.embedding(rows)
        for linear, norm in zip((self.first, self.second), self.norms, strict=True):
            x = F.pad(x, (0, 0, 1, 1))
            x = linear(torch.cat([x[:, :-2], x[:, 1:-1], x[:, 2:]], dim=2))
            x = torch.where(real, torch.relu(_masked_norm(norm, x, real)), 0)
        return x


def _masked_norm(norm: Any, x: Tensor, real: Tensor) -> Tensor:
    """`norm`, a BatchNorm1d, of x (B, L, width), with its statistics over the real positions (B, L, 1) alone."""
    x = x.float()  # as batch norm has its statistics, whatever the precision
    if not norm.training:
        mean, variance = norm.running_mean, norm.running_var
    else:
        count = real.sum().clamp(min=1)
        mean = (x * real).sum(dim=(0, 1)) / count
        variance = ((x - mean).square() * real).sum(dim=(0, 1)) / count
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp(min=1))
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(unbiased, norm.momentum)
            norm.num_batches_tracked.add_(1)
    return (x - mean) * torch.rsqrt(variance + norm.eps) * norm.weight + norm.bias


class HuggingFaceText(Wrapped):
    """A text encoder of transformers: token numbers (B, 3, 1, L) to features (B, feature_dim), the mean over tokens.

    name: hub id or local folder. config: the model's own configuration as a dict, with which nothing is read or
    fetched. Padding and hidden tokens are attended to by none and left out of the mean. A pooler, which the mean takes
    the place of, is left out too. Raises `InputError` for what is no encoder of texts.
    """

    takes_texts = True

    def __init__(self, name: str, in_channels: int = 3, config: dict[str, Any] | None = None) -> None:
        if in_channels != 3:
            raise InputError(f"{PREFIX}{name}: takes token numbers, not bytes; give its tokenizer.json")
        self.place, self.described = name, config_of(name) if config is None else plain_config(config)
        network: Any = network_of(name, self.described)
        own = network.config
        if own.is_encoder_decoder or not isinstance(getattr(own, "vocab_size", None), int):
            raise InputError(f"{PREFIX}{name}: is a {own.model_type}, expected an encoder of texts such as bert")
        if getattr(network, "pooler", None) is not None:
            network.pooler = None
        super().__init__(f"{PREFIX}{without_path(name)}", network, in_channels, [0.5], [0.5])
        self.feature_dim, self.vocabulary, self.longest = int(own.hidden_size), own.vocab_size, _positions(network)

    def forward(self, cells: Tensor) -> Tensor:
        ids = text_ids(cells)
        kept = (ids > 0) & (ids != _HIDDEN_TOKEN)
        # attention over nothing is NaN: a row of padding keeps its first place
        first = torch.arange(ids.shape[1], device=ids.device) == 0
        kept = kept | (first & ~kept.any(dim=1, keepdim=True))
        tokens = torch.where(kept, ids - 1, 0).clamp(min=0, max=self.vocabulary - 1)
        state = self.network(input_ids=tokens, attention_mask=kept.long()).last_hidden_state
        weights = kept.unsqueeze(2).to(state.dtype)
        found: Tensor = (state * weights).sum(dim=1) / weights.sum(dim=1)
        return found

    def config(self) -> dict[str, Any]:
        """What `build` needs to make this encoder again, without a network and weights apart."""
        return {"name": self.name, "in_channels": self.in_channels, "config": self.described}

    def load(self, tensors: dict[str, Tensor], source: str) -> None:
        """Take weights over: see `weights.load_into`. Names are converted as transformers does."""
        found = named_for(self.network.state_dict(), tensors, source)
        take_weights(self.network, self.described, source, state_dict=found)

    def load_pretrained(self) -> None:
        """Take the weights of a local folder, or fetch those of a hub id; only safetensors, else `InputError`."""
        take_weights(self.network, self.described, f"{PREFIX}{self.place}", place=self.place)


def _positions(network: Any) -> int | None:
    """How many tokens an encoder of transformers has positions for; None for any number."""
    most: int | None = getattr(network.config, "max_position_embeddings", None)
    positions = getattr(getattr(network, "embeddings", None), "position_embeddings", None)
    padding = getattr(positions, "padding_idx", None)
    # RoBERTa and its kin have a position for padding, and count from the one behind it
    return most if most is None or padding is None else most - padding - 1


def check_texts(backbone: nn.Module, preprocessing: AnyPreprocessing) -> None:
    """Raise `InputError` where an encoder does not take data prepared so: pictures for texts, or other tokens."""
    texts, takes = is_text(preprocessing), getattr(backbone, "takes_texts", False)
    # what an encoder of somebody's own takes is not known
    pictures = not takes and (type(backbone) in ENCODERS.values() or isinstance(backbone, Wrapped))
    if (takes and not texts) or (pictures and texts):
        kinds = ("texts", "pictures") if takes else ("pictures", "texts")
        raise InputError(
            f"the encoder {type(backbone).__name__} takes {kinds[0]}, the data are {kinds[1]}; take another"
        )
    if is_text(preprocessing) and isinstance(backbone, HuggingFaceText):
        if preprocessing.vocabulary > backbone.vocabulary:
            raise InputError(
                f"{backbone.name}: knows {backbone.vocabulary:,} tokens, the tokenizer has "
                f"{preprocessing.vocabulary:,}; prepare the texts with the encoder's own"
            )
        if backbone.longest is not None and preprocessing.length > backbone.longest:
            raise InputError(
                f"{backbone.name}: takes at most {backbone.longest} tokens, the length is {preprocessing.length}"
            )


ENCODERS["small_text"] = SmallText
PREFIXES[PREFIX] = HuggingFaceText
