"""GMRES on a processor: blocks of vectors stay in the cache between a product and the update it shares."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.cpu.systems import (
    BLOCK,
    EXHAUSTED,
    NOT_FINITE,
    arrays,
    finite,
    product,
    scalars,
    subtract,
    threaded,
)
from sciops.kernels.gmres import rounding


def arnoldi(V: Tensor, w: Tensor, status: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    V, status = V.clone(), status.clone()
    return V, arnoldi_(V, w, status, count), status


def arnoldi_(V: Tensor, w: Tensor, status: Tensor, count: int) -> Tensor:
    h = torch.zeros((len(w), count + 1), dtype=torch.float64)
    _arnoldi(*arrays(w, V, status, h), rounding(w.dtype))
    return h


def gmres_rotate(
    R: Tensor, rotations: Tensor, g: Tensor, h: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    R, rotations, g = R.clone(), rotations.clone(), g.clone()
    return R, rotations, g, gmres_rotate_(R, rotations, g, h, status)


def gmres_rotate_(R: Tensor, rotations: Tensor, g: Tensor, h: Tensor, status: Tensor) -> Tensor:
    residual = scalars(R)
    _gmres_rotate(*arrays(R, rotations, g, h, status, residual))
    return residual


@compiled
def _scale(v: np.ndarray, size: float) -> None:
    c = v.dtype.type(size)
    for i in range(v.size):
        v[i] *= c


@threaded
def _arnoldi(w: np.ndarray, V: np.ndarray, status: np.ndarray, h: np.ndarray, limit: float) -> None:
    systems, n = w.shape
    count = h.shape[1] - 1
    blocks = (n + BLOCK - 1) // BLOCK
    partial = np.zeros((systems, blocks, count + 1))
    part = np.zeros((systems, count + 1))
    size, norm = np.zeros(systems), np.zeros(systems)
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            for j in range(count):
                partial[s, b, j] = product(V[j, s, low:high], w[s, low:high])
            partial[s, b, count] = product(w[s, low:high], w[s, low:high])
    for s in range(systems):
        for j in range(count):
            part[s, j] = partial[s, :, j].sum()
            h[s, j] = part[s, j]
        size[s] = partial[s, :, count].sum()
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            v = V[count, s, low:high]
            v[:] = w[s, low:high]
            for j in range(count):
                subtract(v, V[j, s, low:high], part[s, j])
            for j in range(count):
                partial[s, b, j] = product(V[j, s, low:high], v)
    for s in range(systems):
        for j in range(count):
            part[s, j] = partial[s, :, j].sum()
            h[s, j] += part[s, j]
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            v = V[count, s, low:high]
            for j in range(count):
                subtract(v, V[j, s, low:high], part[s, j])
            partial[s, b, count] = product(v, v)
    for s in range(systems):
        if status[s] == 0:
            square = partial[s, :, count].sum()
            if not (finite(square) and finite(size[s])):
                status[s] = NOT_FINITE
            elif square <= limit * size[s]:
                status[s] = EXHAUSTED
            else:
                h[s, count] = np.sqrt(square)
                norm[s] = 1.0 / h[s, count]
            if status[s] != 0:
                V[count, s, :] = 0
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            _scale(V[count, s, low:high], norm[s])


@compiled
def _gmres_rotate(
    R: np.ndarray, rotations: np.ndarray, g: np.ndarray, h: np.ndarray, status: np.ndarray, residual: np.ndarray
) -> None:
    last = h.shape[1] - 2
    column = np.empty(last + 2)
    for s in range(R.shape[0]):
        if not ((status[s] == 0 or status[s] == EXHAUSTED) and h[s].any()):
            continue
        column[:] = h[s]
        for i in range(last):
            c, d = rotations[0, s, i], rotations[1, s, i]
            upper, lower = column[i], column[i + 1]
            column[i], column[i + 1] = c * upper + d * lower, c * lower - d * upper
        a, b = column[last], column[last + 1]
        c, d = 1.0, 0.0
        if a != 0.0 or b != 0.0:
            length = np.sqrt(a * a + b * b)
            c, d = a / length, b / length
        column[last] = c * a + d * b
        R[s, : last + 1, last] = column[: last + 1]
        R[s, last + 1 :, last] = 0.0
        rotations[0, s, last], rotations[1, s, last] = c, d
        g[s, last], g[s, last + 1] = c * g[s, last], -d * g[s, last]
        residual[s] = abs(g[s, last + 1])
