import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))  # hard_nets
torch.set_num_threads(1)
