"""BiCGStab on a processor: the update of a block and the products that follow it in one pass."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.cpu.systems import (
    BLOCK,
    BREAKDOWN,
    NOT_FINITE,
    arrays,
    finite,
    judged_nonzero,
    product,
    scalars,
    threaded,
)


def bicgstab_half(
    r: Tensor, r_hat: Tensor, v: Tensor, rho: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r, status = r.clone(), status.clone()
    return r, *bicgstab_half_(r, r_hat, v, rho, status), status


def bicgstab_half_(r: Tensor, r_hat: Tensor, v: Tensor, rho: Tensor, status: Tensor) -> tuple[Tensor, Tensor]:
    alpha, ss = scalars(r), scalars(r)
    _bicgstab_half(*arrays(r, r_hat, v, rho, status, alpha, ss))
    return alpha, ss


def bicgstab_update(
    x: Tensor, s: Tensor, Mp: Tensor, Ms: Tensor, t: Tensor, r_hat: Tensor, alpha: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    x, s, status = x.clone(), s.clone(), status.clone()
    return x, s, *bicgstab_update_(x, s, Mp, Ms, t, r_hat, alpha, status), status


def bicgstab_update_(
    x: Tensor, s: Tensor, Mp: Tensor, Ms: Tensor, t: Tensor, r_hat: Tensor, alpha: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    omega, rho, rr = scalars(x), scalars(x), scalars(x)
    _bicgstab_update(*arrays(x, s, Mp, Ms, t, r_hat, alpha, status, omega, rho, rr))
    return omega, rho, rr


def bicgstab_direction(
    p: Tensor, r: Tensor, v: Tensor, rho: Tensor, rho_old: Tensor, alpha: Tensor, omega: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    p, status = p.clone(), status.clone()
    return p, bicgstab_direction_(p, r, v, rho, rho_old, alpha, omega, status), status


def bicgstab_direction_(
    p: Tensor, r: Tensor, v: Tensor, rho: Tensor, rho_old: Tensor, alpha: Tensor, omega: Tensor, status: Tensor
) -> Tensor:
    beta = scalars(p)
    _bicgstab_direction(*arrays(p, r, v, rho, rho_old, alpha, omega, status, beta))
    return beta


@compiled
def _half(r: np.ndarray, v: np.ndarray, alpha: float) -> float:
    a = r.dtype.type(alpha)
    total = 0.0
    for i in range(r.size):
        new = r[i] - a * v[i]
        r[i] = new
        total += np.float64(new) * np.float64(new)
    return total


@threaded
def _bicgstab_half(
    r: np.ndarray,
    r_hat: np.ndarray,
    v: np.ndarray,
    rho: np.ndarray,
    status: np.ndarray,
    alpha: np.ndarray,
    ss: np.ndarray,
) -> None:
    systems, n = r.shape
    blocks = (n + BLOCK - 1) // BLOCK
    partial = np.zeros((systems, blocks))
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            partial[s, b] = product(r_hat[s, low:high], v[s, low:high])
    for s in range(systems):
        if status[s] == 0:
            divisor = partial[s].sum()
            status[s] = judged_nonzero(divisor)
            if status[s] == 0:
                alpha[s] = rho[s] / divisor
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            partial[s, b] = _half(r[s, low:high], v[s, low:high], alpha[s])
        else:
            partial[s, b] = product(r[s, low:high], r[s, low:high])
    for s in range(systems):
        ss[s] = partial[s].sum()


@compiled
def _second(
    x: np.ndarray,
    s: np.ndarray,
    Mp: np.ndarray,
    Ms: np.ndarray,
    t: np.ndarray,
    r_hat: np.ndarray,
    alpha: float,
    omega: float,
) -> tuple[float, float]:
    a, o = x.dtype.type(alpha), x.dtype.type(omega)
    rho, rr = 0.0, 0.0
    for i in range(x.size):
        x[i] += a * Mp[i] + o * Ms[i]
        new = s[i] - o * t[i]
        s[i] = new
        rho += np.float64(r_hat[i]) * np.float64(new)
        rr += np.float64(new) * np.float64(new)
    return rho, rr


@threaded
def _bicgstab_update(
    x: np.ndarray,
    s_: np.ndarray,
    Mp: np.ndarray,
    Ms: np.ndarray,
    t: np.ndarray,
    r_hat: np.ndarray,
    alpha: np.ndarray,
    status: np.ndarray,
    omega: np.ndarray,
    rho: np.ndarray,
    rr: np.ndarray,
) -> None:
    systems, n = x.shape
    blocks = (n + BLOCK - 1) // BLOCK
    partial = np.zeros((systems, blocks, 2))
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            partial[s, b, 0] = product(t[s, low:high], s_[s, low:high])
            partial[s, b, 1] = product(t[s, low:high], t[s, low:high])
    for s in range(systems):
        if status[s] == 0:
            ts, tt = partial[s, :, 0].sum(), partial[s, :, 1].sum()
            if not (finite(ts) and finite(tt)):
                status[s] = NOT_FINITE
            elif tt > 0.0:
                omega[s] = ts / tt
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            partial[s, b, 0], partial[s, b, 1] = _second(
                x[s, low:high],
                s_[s, low:high],
                Mp[s, low:high],
                Ms[s, low:high],
                t[s, low:high],
                r_hat[s, low:high],
                alpha[s],
                omega[s],
            )
        else:
            partial[s, b, 0] = product(r_hat[s, low:high], s_[s, low:high])
            partial[s, b, 1] = product(s_[s, low:high], s_[s, low:high])
    for s in range(systems):
        rho[s], rr[s] = partial[s, :, 0].sum(), partial[s, :, 1].sum()
        if status[s] == 0 and omega[s] == 0.0:
            status[s] = BREAKDOWN


@compiled
def _turn(p: np.ndarray, r: np.ndarray, v: np.ndarray, beta: float, back: float) -> None:
    b, o = p.dtype.type(beta), p.dtype.type(back)
    for i in range(p.size):
        p[i] = r[i] + b * p[i] - o * v[i]


@threaded
def _bicgstab_direction(
    p: np.ndarray,
    r: np.ndarray,
    v: np.ndarray,
    rho: np.ndarray,
    rho_old: np.ndarray,
    alpha: np.ndarray,
    omega: np.ndarray,
    status: np.ndarray,
    beta: np.ndarray,
) -> None:
    systems, n = p.shape
    blocks = (n + BLOCK - 1) // BLOCK
    for s in range(systems):
        if status[s] == 0:
            divisor = rho_old[s] * omega[s]
            if rho[s] == 0.0:
                divisor = 0.0
            status[s] = judged_nonzero(divisor)
            if status[s] == 0:
                beta[s] = rho[s] * alpha[s] / divisor
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            _turn(p[s, low:high], r[s, low:high], v[s, low:high], beta[s], beta[s] * omega[s])
