"""Conjugate gradients on a GPU; see :mod:`~sciops.kernels.cuda.systems` for how sums are made."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.cuda.systems import (
    INDEFINITE_OPERATOR,
    INDEFINITE_PRECONDITIONER,
    judged,
    judged_nonzero,
    over_blocks,
    partials,
    place,
    product,
    wide_sum,
)


def dot(x: Tensor, y: Tensor) -> Tensor:
    return product(x, y)


def cg_update(
    x: Tensor, r: Tensor, p: Tensor, Ap: Tensor, rz: Tensor, status: Tensor, pAp: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    x, r, status = x.clone(), r.clone(), status.clone()
    return x, r, *cg_update_(x, r, p, Ap, rz, status, pAp), status


def cg_update_(
    x: Tensor, r: Tensor, p: Tensor, Ap: Tensor, rz: Tensor, status: Tensor, pAp: Tensor | None
) -> tuple[Tensor, Tensor]:
    curvature = product(p, Ap, status) if pAp is None else torch.where(status == 0, pAp, 0.0)
    rr = partials(x)
    over_blocks(_cg_update, x, x, r, p, Ap, rz, curvature, status, rr)
    return rr.sum(-1), curvature


def cg_direction(
    p: Tensor, z: Tensor, r: Tensor, rz: Tensor, status: Tensor, rz_new: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    p, status = p.clone(), status.clone()
    return p, cg_direction_(p, z, r, rz, status, rz_new), status


def cg_direction_(p: Tensor, z: Tensor, r: Tensor, rz: Tensor, status: Tensor, rz_new: Tensor | None) -> Tensor:
    found = product(r, z, status) if rz_new is None else rz_new
    kept = torch.empty_like(rz)
    over_blocks(_cg_direction, p, p, z, rz, found, status, kept)
    return kept


def conjugate(
    P: Tensor, AP: Tensor, pAp: Tensor, z: Tensor, r: Tensor, status: Tensor, slot: int, definite: bool
) -> tuple[Tensor, Tensor, Tensor]:
    P, status = P.clone(), status.clone()
    return P, conjugate_(P, AP, pAp, z, r, status, slot, definite), status


def conjugate_(
    P: Tensor, AP: Tensor, pAp: Tensor, z: Tensor, r: Tensor, status: Tensor, slot: int, definite: bool
) -> Tensor:
    kept = len(P)
    shares, found = partials(r, kept), partials(r)
    over_blocks(_shares, r, AP, z, pAp, status, shares, kept, len(r))
    over_blocks(_conjugate, r, P, z, r, pAp, shares.sum(-1), status, found, kept, slot, len(r))
    pr = found.sum(-1)
    launch(_judge, (len(r),), pr, status, num_warps=1, DEFINITE=definite)
    return pr


@triton.jit
def _cg_update(
    x,
    r,
    p,
    q,
    rz,
    curvature,
    status,
    rr,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, block, at, mask = place(n, blocks, BLOCK)
    before = tl.load(status + system)
    divisor = tl.load(curvature + system)
    after = tl.where(before == 0, judged(divisor, INDEFINITE_OPERATOR), before)
    residual = tl.load(r + at, mask, 0.0)
    if after == 0:
        alpha = (tl.load(rz + system) / divisor).to(residual.dtype)
        tl.store(x + at, tl.load(x + at, mask, 0.0) + alpha * tl.load(p + at, mask, 0.0), mask)
        residual = residual - alpha * tl.load(q + at, mask, 0.0)
        tl.store(r + at, residual, mask)
    tl.store(rr + tl.program_id(0), wide_sum(residual, residual))
    if block == 0:
        tl.store(status + system, after)


@triton.jit
def _cg_direction(p, z, rz, found, status, kept, n, blocks, BLOCK: tl.constexpr):
    system, block, at, mask = place(n, blocks, BLOCK)
    before = tl.load(status + system)
    old, new = tl.load(rz + system), tl.load(found + system)
    after = tl.where(before == 0, judged(new, INDEFINITE_PRECONDITIONER), before)
    if after == 0:
        last = tl.load(p + at, mask, 0.0)
        beta = (new / old).to(last.dtype)
        tl.store(p + at, tl.load(z + at, mask, 0.0) + beta * last, mask)
    if block == 0:
        tl.store(status + system, after)
        tl.store(kept + system, tl.where(after == 0, new, old))


@triton.jit
def _positive(value):
    # the interpreter takes a comparison of floats for a float when it meets a mask of many entries
    return tl.where(value > 0.0, 1, 0) != 0


@triton.jit
def _shares(
    AP,
    z,
    pAp,
    status,
    shares,
    kept,
    systems,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, _, at, mask = place(n, blocks, BLOCK)
    mask = mask & (tl.load(status + system) == 0)
    here = tl.load(z + at, mask, 0.0)
    size = tl.cast(systems, tl.int64) * n
    for j in range(kept):
        other = tl.load(AP + j * size + at, mask & _positive(tl.load(pAp + j * systems + system)), 0.0)
        tl.store(shares + j * systems * blocks + tl.program_id(0), wide_sum(here, other))


@triton.jit
def _conjugate(
    P,
    z,
    r,
    pAp,
    shares,
    status,
    found,
    kept,
    slot,
    systems,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, _, at, mask = place(n, blocks, BLOCK)
    mask = mask & (tl.load(status + system) == 0)
    size = tl.cast(systems, tl.int64) * n
    # z may be float32 beside float64
    p = tl.load(z + at, mask, 0.0).to(P.dtype.element_ty)
    for j in range(kept):
        divisor = tl.load(pAp + j * systems + system)
        used = _positive(divisor)
        share = tl.where(used, tl.load(shares + j * systems + system) / tl.where(used, divisor, 1.0), 0.0)
        p -= share.to(p.dtype) * tl.load(P + j * size + at, mask & used, 0.0)
    tl.store(P + slot * size + at, p, mask)
    tl.store(found + tl.program_id(0), wide_sum(p, tl.load(r + at, mask, 0.0)))


@triton.jit
def _judge(pr, status, DEFINITE: tl.constexpr):
    system = tl.program_id(0)
    before, value = tl.load(status + system), tl.load(pr + system)
    after = judged(value, INDEFINITE_PRECONDITIONER) if DEFINITE else judged_nonzero(value)
    tl.store(status + system, tl.where(before == 0, after, before))
