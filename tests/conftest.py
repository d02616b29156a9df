import os

import torch
from hypothesis import settings

# The suite runs on small machines, often beside other work: more threads only cost there.
torch.set_num_threads(1)

# In CI the examples are the same every time; elsewhere they are new, to find what is not known yet.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")
