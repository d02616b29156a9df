import torch

# The suite runs on small machines, often beside other work: more threads only cost there.
torch.set_num_threads(1)
