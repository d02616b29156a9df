"""Train encoders on any number of classes without a classification layer."""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "load"]
__version__ = "0.1.0"


def load(source: Any, **options: Any) -> Any:
    """Open a model folder, or "user/name" on the Hugging Face hub, verified, as a `rootspace.models.Recogniser`.

    See `rootspace.models.load` for the options, such as `revision` and `backbone`.
    """
    # imported here, so that `import rootspace.systems` brings nothing but torch
    from rootspace.models import load as load_model

    return load_model(source, **options)
