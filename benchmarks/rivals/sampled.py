"""A cosine softmax over a sample of the classes: Partial FC (An et al., arXiv 2010.05222 and 2203.15565)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding, normalize

from rivals.common import best_classes
from rootspace.losses.common import batch_mean, check_batch, full_precision, run_eagerly


class PartialSoftmax(nn.Module):
    """The batch's classes and a uniform sample of the others, share x n_classes in all; scores are cosines.

    Only sampled rows take part and get a gradient. As a sparse one (sparse=True) the optimiser touches only these
    rows too: SparseAdam or SGD without momentum or decay, as AdamW refuses it. As a dense one any optimiser does, but
    it pays for all rows, and AdamW's moments and decay go on moving rows that were not drawn. (The authors' own code
    exchanges the optimiser's state with the sample, which is what SparseAdam does.)

    At least as many classes are drawn as the batch has samples, so that its own are always among them.
    """

    def __init__(
        self,
        n_classes: int,
        dim: int,
        seed: int = 0,
        share: float = 0.1,
        scale: float = 64.0,
        margin: float = 0.4,
        sparse: bool = False,
    ) -> None:
        super().__init__()
        if not 0 < share <= 1:
            raise ValueError(f"share lies in (0, 1], got {share}")
        self.n_classes, self.dim, self.seed = n_classes, dim, seed
        self.share, self.scale, self.margin, self.sparse = share, scale, margin, sparse
        self.weight = nn.Parameter(torch.empty(n_classes, dim).normal_(std=0.01))  # as in the authors' code
        self._generator: torch.Generator | None = None

    def sample(self, labels: Tensor) -> Tensor:
        """The classes that take part, in ascending order; those of the batch are among them."""
        n_drawn = min(self.n_classes, max(round(self.share * self.n_classes), len(labels)))
        if n_drawn == self.n_classes:
            return torch.arange(self.n_classes, device=labels.device)
        if self._generator is None or self._generator.device != labels.device:
            self._generator = torch.Generator(labels.device).manual_seed(self.seed)
        # one number for each class, as the authors draw: the largest take part, and nothing waits for the device
        lots = torch.rand(self.n_classes, generator=self._generator, device=labels.device)
        lots[labels] = 2.0
        return lots.topk(n_drawn, sorted=False).indices.sort().values

    @run_eagerly
    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        check_batch(embeddings, labels, self.dim)
        with full_precision(embeddings) as x:
            classes = self.sample(labels)
            rows = normalize(embedding(classes, self.weight, sparse=self.sparse).to(x), dim=1)
            own = torch.searchsorted(classes, labels)
            logits = self.scale * (normalize(x, dim=1) @ rows.T)
            if self.margin:
                logits[torch.arange(len(labels), device=labels.device), own] -= self.scale * self.margin
            return batch_mean(cross_entropy(logits, own, reduction="none"))

    @torch.no_grad()
    def nearest(self, embeddings: Tensor, k: int = 1) -> tuple[Tensor, Tensor]:
        unit = normalize(embeddings.to(self.weight), dim=-1)
        return best_classes(unit, self.n_classes, k, lambda x, i, j: x @ normalize(self.weight[i:j], dim=1).T)

    def extra_repr(self) -> str:
        return f"n_classes={self.n_classes}, share={self.share}, scale={self.scale}, margin={self.margin}"
