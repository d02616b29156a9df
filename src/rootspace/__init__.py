"""Train encoders on any number of classes without a classification layer."""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(folder: Any, **options: Any) -> Any:
    """Open a model folder, verified, as a `rootspace.models.Recogniser`; see `rootspace.models.load`."""
    # imported here, so that `import rootspace.systems` brings nothing but torch
    from rootspace.models import load as load_model

    return load_model(folder, **options)
