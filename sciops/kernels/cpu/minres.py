"""MINRES on a processor: each step is a pass for its inner product and a pass for its update."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.cpu.systems import (
    BLOCK,
    BREAKDOWN,
    EXHAUSTED,
    INDEFINITE_PRECONDITIONER,
    NOT_FINITE,
    arrays,
    finite,
    product,
    threaded,
)


def minres_lanczos(
    r_old: Tensor, r: Tensor, z: Tensor, Az: Tensor, scalars: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r_old, scalars, status = r_old.clone(), scalars.clone(), status.clone()
    _lanczos(*arrays(r_old, r, z, Az, scalars, status))
    return r_old, scalars, status


def minres_lanczos_(r_old: Tensor, r: Tensor, z: Tensor, Az: Tensor, scalars: Tensor, status: Tensor) -> Tensor:
    _lanczos(*arrays(r_old, r, z, Az, scalars, status))
    return scalars[2].clone()


def minres_update(
    x: Tensor, w_old: Tensor, w: Tensor, z: Tensor, r_new: Tensor, z_new: Tensor, scalars: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, w_old, scalars, status = x.clone(), w_old.clone(), scalars.clone(), status.clone()
    _update(*arrays(x, w_old, w, z, r_new, z_new, scalars, status))
    return x, w_old, scalars, status


def minres_update_(
    x: Tensor, w_old: Tensor, w: Tensor, z: Tensor, r_new: Tensor, z_new: Tensor, scalars: Tensor, status: Tensor
) -> Tensor:
    _update(*arrays(x, w_old, w, z, r_new, z_new, scalars, status))
    return scalars[7].clone()


@compiled
def _alpha_of(r_old: np.ndarray, z: np.ndarray, Az: np.ndarray, over: float, back: float) -> float:
    a, b = r_old.dtype.type(over), r_old.dtype.type(back)
    total = 0.0
    for i in range(z.size):
        total += np.float64(z[i]) * np.float64(a * Az[i] - b * r_old[i])
    return total


@compiled
def _new_vector(r_old: np.ndarray, r: np.ndarray, Az: np.ndarray, over: float, back: float, share: float) -> None:
    a, b, c = r_old.dtype.type(over), r_old.dtype.type(back), r_old.dtype.type(share)
    for i in range(r.size):
        r_old[i] = a * Az[i] - b * r_old[i] - c * r[i]


@threaded
def _lanczos(
    r_old: np.ndarray, r: np.ndarray, z: np.ndarray, Az: np.ndarray, scalars: np.ndarray, status: np.ndarray
) -> None:
    systems, n = r.shape
    blocks = (n + BLOCK - 1) // BLOCK
    partial = np.zeros((systems, blocks))
    over, back, share = np.zeros(systems), np.zeros(systems), np.zeros(systems)
    for s in range(systems):
        if status[s] == 0:
            over[s] = 1.0 / scalars[1, s]
            if scalars[0, s] > 0.0:
                back[s] = scalars[1, s] / scalars[0, s]
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            partial[s, b] = _alpha_of(r_old[s, low:high], z[s, low:high], Az[s, low:high], over[s], back[s])
    for s in range(systems):
        if status[s] == 0:
            alpha = partial[s].sum() * over[s]
            if finite(alpha):
                scalars[2, s] = alpha
                share[s] = alpha * over[s]
            else:
                status[s] = NOT_FINITE
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            _new_vector(r_old[s, low:high], r[s, low:high], Az[s, low:high], over[s], back[s], share[s])


@compiled
def _rotate(scalars: np.ndarray, s: int, square: float, factors: np.ndarray) -> int:
    """The scalars of one system after a rotation, the factors of z, w_old, w and w_new; returns its status."""
    if not finite(square):
        return NOT_FINITE
    if square < 0.0:
        return INDEFINITE_PRECONDITIONER
    beta, alpha, dbar, epsilon = scalars[1, s], scalars[2, s], scalars[3, s], scalars[4, s]
    cosine, sine, phi = scalars[5, s], scalars[6, s], scalars[7, s]
    beta_new = np.sqrt(square)
    delta, gbar = cosine * dbar + sine * alpha, sine * dbar - cosine * alpha
    gamma = np.sqrt(gbar * gbar + square)
    if gamma == 0.0:
        return BREAKDOWN
    c, d = gbar / gamma, beta_new / gamma
    factors[0], factors[1], factors[2], factors[3] = 1.0 / (beta * gamma), epsilon / gamma, delta / gamma, c * phi
    scalars[0, s], scalars[1, s], scalars[3, s], scalars[4, s] = beta, beta_new, -cosine * beta_new, sine * beta_new
    scalars[5, s], scalars[6, s], scalars[7, s] = c, d, d * phi
    return 0


@compiled
def _advance(x: np.ndarray, w_old: np.ndarray, w: np.ndarray, z: np.ndarray, factors: np.ndarray) -> None:
    a, b = x.dtype.type(factors[0]), x.dtype.type(factors[1])
    c, d = x.dtype.type(factors[2]), x.dtype.type(factors[3])
    for i in range(x.size):
        new = a * z[i] - b * w_old[i] - c * w[i]
        w_old[i] = new
        x[i] += d * new


@threaded
def _update(
    x: np.ndarray,
    w_old: np.ndarray,
    w: np.ndarray,
    z: np.ndarray,
    r_new: np.ndarray,
    z_new: np.ndarray,
    scalars: np.ndarray,
    status: np.ndarray,
) -> None:
    systems, n = x.shape
    blocks = (n + BLOCK - 1) // BLOCK
    partial = np.zeros((systems, blocks))
    factors = np.zeros((systems, 4))
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            partial[s, b] = product(r_new[s, low:high], z_new[s, low:high])
    for s in range(systems):
        if status[s] == 0:
            status[s] = _rotate(scalars, s, partial[s].sum(), factors[s])
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            _advance(x[s, low:high], w_old[s, low:high], w[s, low:high], z[s, low:high], factors[s])
    for s in range(systems):
        if status[s] == 0 and scalars[1, s] == 0.0:
            status[s] = EXHAUSTED
