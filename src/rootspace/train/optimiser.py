"""AdamW over an embedder and its loss."""

from __future__ import annotations

import torch
from torch import nn

from rootspace.train.config import TrainConfig
from rootspace.train.sharding import is_shared_out


def adamw(module: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW on all trainable parameters; norms, biases and temperatures (less than 2 axes) do not decay.

    >>> [len(group["params"]) for group in adamw(nn.Linear(2, 3), TrainConfig()).param_groups]
    [1, 1]
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if (p.ndim >= 2, is_shared_out(p)) == (decays, shared)], "weight_decay": decay}
        for decays, decay in ((True, config.weight_decay), (False, 0.0))
        for shared in (False, True)  # one kernel does not take both
    ]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained)
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=config.learning_rate, fused=fused)
