"""AdamW over an embedder and its loss."""

from __future__ import annotations

import torch
from torch import nn

from rootspace.train.config import TrainConfig
from rootspace.train.sharding import is_shared_out


def adamw(module: nn.Module, config: TrainConfig, backbone: nn.Module | None = None) -> torch.optim.AdamW:
    """AdamW on all trainable parameters; norms, biases and temperatures (less than 2 axes) do not decay.

    Those of the `backbone` inside `module` learn at `config.backbone_rate` times the rate: `set_rate`.

    >>> [len(group["params"]) for group in adamw(nn.Linear(2, 3), TrainConfig()).param_groups]
    [1, 1]
    """
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    slower = set(backbone.parameters()) if backbone is not None else set()
    kinds = [(p in slower, p.ndim >= 2, is_shared_out(p)) for p in trained]  # one kernel takes either shared out or not
    groups = [
        {
            "params": [parameter for parameter, its in zip(trained, kinds, strict=True) if its == kind],
            "weight_decay": config.weight_decay if kind[1] else 0.0,
            "factor": config.backbone_rate if kind[0] else 1.0,
        }
        for kind in sorted(set(kinds), reverse=True)
    ]
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained)
    optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, fused=fused)
    set_rate(optimizer, config.learning_rate)
    return optimizer


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let every group of parameters learn at `rate` times its own factor.

    >>> layers = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    >>> optimizer = adamw(layers, TrainConfig(backbone_rate=0.5), backbone=layers[0])
    >>> set_rate(optimizer, 0.01)
    >>> [group["lr"] for group in optimizer.param_groups]
    [0.005, 0.005, 0.01, 0.01]
    """
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
