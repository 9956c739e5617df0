"""GMRES and BiCGStab on a processor: blocks of vectors stay in the cache between a product and the update it shares."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.cpu.systems import (
    BLOCK,
    BREAKDOWN,
    EXHAUSTED,
    NOT_FINITE,
    arrays,
    finite,
    judged_nonzero,
    product,
    scalars,
    subtract,
    threaded,
)
from sciops.kernels.nonsymmetric import rounding


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
