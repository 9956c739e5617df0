"""Conjugate gradients on a processor: each step is a pass for its inner product and a pass for its update."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.cpu.systems import (
    BLOCK,
    BREAKDOWN,
    INDEFINITE_OPERATOR,
    INDEFINITE_PRECONDITIONER,
    NOT_FINITE,
    arrays,
    finite,
    judged,
    product,
    scalars,
    subtract,
    threaded,
)


def dot(x: Tensor, y: Tensor) -> Tensor:
    found = scalars(x)
    _dot(*arrays(x, y, found))
    return found


def cg_update(
    x: Tensor, r: Tensor, p: Tensor, Ap: Tensor, rz: Tensor, status: Tensor, pAp: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    x, r, status = x.clone(), r.clone(), status.clone()
    return x, r, *cg_update_(x, r, p, Ap, rz, status, pAp), status


def cg_update_(
    x: Tensor, r: Tensor, p: Tensor, Ap: Tensor, rz: Tensor, status: Tensor, pAp: Tensor | None
) -> tuple[Tensor, Tensor]:
    rr = scalars(x)
    curvature = scalars(x) if pAp is None else pAp.clone()
    _cg_update(*arrays(x, r, p, Ap, rz, status, rr, curvature), pAp is not None)
    return rr, curvature


def cg_direction(
    p: Tensor, z: Tensor, r: Tensor, rz: Tensor, status: Tensor, rz_new: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    p, status = p.clone(), status.clone()
    return p, cg_direction_(p, z, r, rz, status, rz_new), status


def cg_direction_(p: Tensor, z: Tensor, r: Tensor, rz: Tensor, status: Tensor, rz_new: Tensor | None) -> Tensor:
    found = scalars(p) if rz_new is None else rz_new.clone()
    _cg_direction(*arrays(p, z, r, rz, status, found), rz_new is not None)
    return found


def conjugate(
    P: Tensor, AP: Tensor, pAp: Tensor, z: Tensor, r: Tensor, status: Tensor, slot: int, definite: bool
) -> tuple[Tensor, Tensor, Tensor]:
    P, status = P.clone(), status.clone()
    return P, conjugate_(P, AP, pAp, z, r, status, slot, definite), status


def conjugate_(
    P: Tensor, AP: Tensor, pAp: Tensor, z: Tensor, r: Tensor, status: Tensor, slot: int, definite: bool
) -> Tensor:
    pr = scalars(r)
    kept, pr_, *rest = arrays(P, pr, AP, pAp, z, r, status)
    _conjugate(rest[2], rest[3], kept, rest[0], rest[1], rest[4], pr_, slot, definite)
    return pr


@threaded
def _dot(x: np.ndarray, y: np.ndarray, found: np.ndarray) -> None:
    systems, n = x.shape
    blocks = (n + BLOCK - 1) // BLOCK
    partial = np.empty((systems, blocks))
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        partial[s, b] = product(x[s, low:high], y[s, low:high])
    for s in range(systems):
        found[s] = partial[s].sum()


@compiled
def _advance(x: np.ndarray, r: np.ndarray, p: np.ndarray, q: np.ndarray, alpha: float) -> float:
    a = x.dtype.type(alpha)
    total = 0.0
    for i in range(x.size):
        x[i] += a * p[i]
        new = r[i] - a * q[i]
        r[i] = new
        total += np.float64(new) * np.float64(new)
    return total


@threaded
def _cg_update(
    x: np.ndarray,
    r: np.ndarray,
    p: np.ndarray,
    q: np.ndarray,
    rz: np.ndarray,
    status: np.ndarray,
    rr: np.ndarray,
    curvature: np.ndarray,
    given: bool,
) -> None:
    systems, n = x.shape
    blocks = (n + BLOCK - 1) // BLOCK
    partial = np.zeros((systems, blocks))
    alpha = np.zeros(systems)
    if not given:
        for job in prange(systems * blocks):
            s, b = job // blocks, job % blocks
            low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
            if status[s] == 0:
                partial[s, b] = product(p[s, low:high], q[s, low:high])
    for s in range(systems):
        if status[s] != 0:
            curvature[s] = 0.0
        else:
            if not given:
                curvature[s] = partial[s].sum()
            status[s] = judged(curvature[s], INDEFINITE_OPERATOR)
            if status[s] == 0:
                alpha[s] = rz[s] / curvature[s]
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            partial[s, b] = _advance(x[s, low:high], r[s, low:high], p[s, low:high], q[s, low:high], alpha[s])
        else:
            partial[s, b] = product(r[s, low:high], r[s, low:high])
    for s in range(systems):
        rr[s] = partial[s].sum()


@compiled
def _turn(p: np.ndarray, z: np.ndarray, beta: float) -> None:
    b = p.dtype.type(beta)
    for i in range(p.size):
        p[i] = z[i] + b * p[i]


@threaded
def _cg_direction(
    p: np.ndarray,
    z: np.ndarray,
    r: np.ndarray,
    rz: np.ndarray,
    status: np.ndarray,
    found: np.ndarray,
    given: bool,
) -> None:
    systems, n = p.shape
    blocks = (n + BLOCK - 1) // BLOCK
    partial = np.zeros((systems, blocks))
    beta = np.zeros(systems)
    if not given:
        for job in prange(systems * blocks):
            s, b = job // blocks, job % blocks
            low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
            if status[s] == 0:
                partial[s, b] = product(r[s, low:high], z[s, low:high])
    for s in range(systems):
        if status[s] == 0:
            if not given:
                found[s] = partial[s].sum()
            status[s] = judged(found[s], INDEFINITE_PRECONDITIONER)
            if status[s] == 0:
                beta[s] = found[s] / rz[s]
        if status[s] != 0:
            found[s] = rz[s]
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            _turn(p[s, low:high], z[s, low:high], beta[s])


@threaded
def _conjugate(
    z: np.ndarray,
    r: np.ndarray,
    P: np.ndarray,
    AP: np.ndarray,
    pAp: np.ndarray,
    status: np.ndarray,
    pr: np.ndarray,
    slot: int,
    definite: bool,
) -> None:
    kept, systems, n = P.shape
    blocks = (n + BLOCK - 1) // BLOCK
    partial = np.zeros((systems, blocks, kept))
    share = np.zeros((systems, kept))
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            for j in range(kept):
                if pAp[j, s] > 0.0:
                    partial[s, b, j] = product(AP[j, s, low:high], z[s, low:high])
    for s in range(systems):
        for j in range(kept):
            if pAp[j, s] > 0.0:
                share[s, j] = partial[s, :, j].sum() / pAp[j, s]
    for job in prange(systems * blocks):
        s, b = job // blocks, job % blocks
        low, high = b * BLOCK, min(n, b * BLOCK + BLOCK)
        if status[s] == 0:
            p = P[slot, s, low:high]
            # the old direction of the slot goes first, since the new one overwrites it
            if pAp[slot, s] > 0.0:
                _turn(p, z[s, low:high], -share[s, slot])
            else:
                p[:] = z[s, low:high]
            for j in range(kept):
                if j != slot and pAp[j, s] > 0.0:
                    subtract(p, P[j, s, low:high], share[s, j])
            partial[s, b, 0] = product(p, r[s, low:high])
    for s in range(systems):
        if status[s] == 0:
            pr[s] = partial[s, :, 0].sum()
            if definite:
                status[s] = judged(pr[s], INDEFINITE_PRECONDITIONER)
            elif not finite(pr[s]):
                status[s] = NOT_FINITE
            elif pr[s] == 0.0:
                status[s] = BREAKDOWN
