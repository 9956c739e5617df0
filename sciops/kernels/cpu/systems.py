"""What the Krylov kernels for a processor share: a choice of threads, blocks, and sums in float64.

Systems are cut into blocks of BLOCK entries, one job each, and the sums of blocks are added in order: a product is
the same in every run, and on every number of threads from two on.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled
from sciops.kernels.systems import Status

BLOCK = 4096
_WORTH_THREADS = 1 << 16  # entries below which starting the threads costs more than they save

INDEFINITE_OPERATOR = int(Status.INDEFINITE_OPERATOR)
INDEFINITE_PRECONDITIONER = int(Status.INDEFINITE_PRECONDITIONER)
NOT_FINITE = int(Status.NOT_FINITE)
BREAKDOWN = int(Status.BREAKDOWN)
EXHAUSTED = int(Status.EXHAUSTED)


def threaded(function: Callable[..., None]) -> Callable[..., None]:
    """Compile a loop over arrays twice, with threads and without, and take what suits the size of the first array."""
    parallel = compiled(function, parallel=True)
    # numba keeps compiled code under the name of a function: two kinds need two names
    alone = types.FunctionType(function.__code__, function.__globals__, f"{function.__name__}_alone")
    alone.__qualname__ = alone.__name__
    alone.__module__ = function.__module__
    serial = compiled(alone)

    @functools.wraps(function)
    def run(first: np.ndarray, *args: Any) -> None:
        (parallel if first.size >= _WORTH_THREADS and torch.get_num_threads() > 1 else serial)(first, *args)

    return run


def arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(t.detach().numpy() for t in tensors)


def scalars(like: Tensor) -> Tensor:
    return torch.zeros(len(like), dtype=torch.float64)


@compiled
def product(x: np.ndarray, y: np.ndarray) -> float:
    total = 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(y[i])
    return total


@compiled
def subtract(x: np.ndarray, kept: np.ndarray, share: float) -> None:
    c = x.dtype.type(share)
    for i in range(x.size):
        x[i] -= c * kept[i]


@compiled
def finite(value: float) -> bool:
    # np.isfinite subtracts a number from itself, and of a sum that is reordered into 0, NaN or not
    return abs(value) < np.inf


@compiled
def judged(divisor: float, code: int) -> int:
    """The status of a system whose divisor has to be positive."""
    if not finite(divisor):
        return NOT_FINITE
    return 0 if divisor > 0.0 else code


@compiled
def judged_nonzero(divisor: float) -> int:
    if not finite(divisor):
        return NOT_FINITE
    return 0 if divisor != 0.0 else BREAKDOWN
