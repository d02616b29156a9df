import os
import sys

import torch
from hypothesis import settings


def import_torchvision() -> None:
    """Import torchvision, which timm needs, where it is installed; also PyPI's CUDA build beside a CPU torch.

    That build's operators cannot be loaded then, and the import fails at two that it expects to be there. Nothing here
    calls them: with their schemas defined, the import goes through.
    """
    try:
        import torchvision
    except ImportError:
        return
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        import_torchvision.library = torch.library.Library("torchvision", "DEF")  # lives as long as its schemas
        for operator in ("nms", "qnms"):
            import_torchvision.library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision  # noqa: F401


import_torchvision()

# The suite runs on small machines, often beside other work: more threads only cost there.
torch.set_num_threads(1)

# In CI the examples are the same every time; elsewhere they are new, to find what is not known yet.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
