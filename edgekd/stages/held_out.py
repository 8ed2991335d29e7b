"""What a network answers on the held-out images, by which every choice is made."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd import data, models
from edgekd.distill import parallel
from edgekd.stages.context import Context
from edgekd.stages.images import open_images


def held_out_logits(context: Context, network: nn.Module) -> NDArray[np.float32]:
    """Logits float32 [N, classes] of the held-out images. Of several processes each answers for a share of them."""
    images = open_images(context)
    count = len(images.held_out)
    share = math.ceil(count / parallel.processes())
    first = min(parallel.rank() * share, count - 1)  # a process for which nothing is left answers for the last one again
    own = images.held_out[first : parallel.rank() * share + share]
    rows = torch.from_numpy(models.logits(network, data.eval_batches(own, images.preprocessing)))
    padded = torch.nn.functional.pad(rows, (0, 0, 0, share - len(rows)))
    logits: NDArray[np.float32] = parallel.gathered(padded)[:count].numpy()
    return logits
