"""Memory for the results of kernels."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

_HUGE = 2**22  # bytes of what stands on huge pages
_ALIGNMENT = 64  # bytes of a line of the cache


def empty(shape: torch.Size | tuple[int, ...], like: Tensor) -> Tensor:
    """An uninitialised tensor; a large one stands on huge pages.

    The system hands out fresh memory by pages of 4 KB, which takes longer than a pass over that memory. NumPy asks for
    pages of 2 MB where an array has 4 MB or more, torch does not.
    """
    count = math.prod(shape) * like.element_size()
    if count < _HUGE:
        return torch.empty(shape, dtype=like.dtype)
    memory = np.empty(count + _ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % _ALIGNMENT
    # not as a view of a tensor, which would keep autograd from adding other derivatives to it in place
    kind = {torch.float32: np.float32, torch.float64: np.float64}[like.dtype]
    return torch.from_numpy(memory[start : start + count].view(kind).reshape(shape))
