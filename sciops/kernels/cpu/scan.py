"""Scans on a processor: straight through time, which reads A and b once; samples are spread over the threads.

Blocks of time on two threads would not pay: composing the maps of a block doubles the work of diagonal scans and costs
n times that of dense ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange

_BLOCK = 4096  # numbers that fit into the first-level cache


def affine_scan(A: Tensor, b: Tensor, initial: Tensor | None, reverse: bool, dual: bool) -> Tensor:
    y = torch.empty_like(b)
    start = b.new_zeros(b.shape[0], b.shape[2]) if initial is None else initial
    arrays = A.numpy(), b.numpy(), start.numpy(), y.numpy()
    if A.ndim == 4:
        _dense(*arrays, reverse != dual, dual)
    else:
        _diagonal(*arrays, reverse != dual, dual)
    return y


@compiled(parallel=True)
def _diagonal(A: np.ndarray, b: np.ndarray, start: np.ndarray, y: np.ndarray, backwards: bool, dual: bool) -> None:
    batch, time, n = b.shape
    step = -1 if backwards else 1
    for s in prange(batch):
        first = time - 1 if backwards else 0
        state = start[s].copy()
        for p in range(time):
            i = first + p * step
            # of the dual, the map between two steps is kept at the one visited before
            j = i - step if dual and p > 0 else i
            maps, added, out = A[s, j], b[s, i], y[s, i]
            for k in range(n):
                state[k] = maps[k] * state[k] + added[k]
                out[k] = state[k]


@compiled(parallel=True)
def _dense(A: np.ndarray, b: np.ndarray, start: np.ndarray, y: np.ndarray, backwards: bool, dual: bool) -> None:
    batch, time, n = b.shape
    step = -1 if backwards else 1
    for s in prange(batch):
        first = time - 1 if backwards else 0
        state, new = start[s].copy(), start[s].copy()
        block = max(1, _BLOCK // (n * n))
        kept, low = np.empty((block, n, n), A.dtype), time
        for p in range(time):
            i = first + p * step
            j = i - step if dual and p > 0 else i
            maps = A[s, j]
            if backwards:
                # processors read ahead upwards: going down through memory itself is up to five times slower
                if j < low:
                    low = max(0, j + 1 - block)
                    fresh, copy = A[s, low : j + 1].reshape(-1), kept.reshape(-1)
                    for k in range(len(fresh)):
                        copy[k] = fresh[k]
                maps = kept[j - low]
            added, out = b[s, i], y[s, i]
            if dual:
                for k in range(n):
                    new[k] = added[k]
                r = 0
                while r + 3 < n:  # four rows at a time: the loop is bound by its stores
                    row0, row1, row2, row3 = maps[r], maps[r + 1], maps[r + 2], maps[r + 3]
                    x0, x1, x2, x3 = state[r], state[r + 1], state[r + 2], state[r + 3]
                    for k in range(n):
                        new[k] += row0[k] * x0 + row1[k] * x1 + row2[k] * x2 + row3[k] * x3
                    r += 4
                while r < n:
                    row0, x0 = maps[r], state[r]
                    for k in range(n):
                        new[k] += row0[k] * x0
                    r += 1
            else:
                for r in range(n):
                    row, total = maps[r], added[r]
                    for k in range(n):
                        total += row[k] * state[k]
                    new[r] = total
            for k in range(n):
                state[k] = new[k]
                out[k] = new[k]
