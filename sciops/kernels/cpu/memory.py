"""Memory for the results of kernels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

_HUGE = 2**22  # bytes of what stands on huge pages
_ALIGNMENT = 64  # bytes of a line of the cache
_APART = 19  # lines between tensors that stand together


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


def apart(shapes: Sequence[Sequence[int]], like: Tensor) -> list[Tensor]:
    """Uninitialised tensors for what a loop reads side by side, on any device.

    On a processor they stand in one block, some lines of the cache further apart than their sizes: tensors whose sizes
    are powers of two would meet in the same few places of the cache, entry by entry.
    """
    if like.device.type != "cpu":
        return [like.new_empty(tuple(shape)) for shape in shapes]
    line = _ALIGNMENT // like.element_size()
    sizes = [-(-math.prod(shape) // line) * line + _APART * line for shape in shapes]
    block = empty((sum(sizes),), like)
    parts = torch.split(block, sizes)
    return [part[: math.prod(shape)].view(tuple(shape)) for part, shape in zip(parts, shapes, strict=True)]
