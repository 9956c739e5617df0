"""BiCGStab on a GPU; see :mod:`~sciops.kernels.cuda.systems` for how sums are made."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.systems import (
    BREAKDOWN,
    NOT_FINITE,
    finite,
    judged_nonzero,
    over_blocks,
    partials,
    place,
    product,
    wide_sum,
)


def bicgstab_half(
    r: Tensor, r_hat: Tensor, v: Tensor, rho: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r, status = r.clone(), status.clone()
    return r, *bicgstab_half_(r, r_hat, v, rho, status), status


def bicgstab_half_(r: Tensor, r_hat: Tensor, v: Tensor, rho: Tensor, status: Tensor) -> tuple[Tensor, Tensor]:
    divisor, alpha, ss = product(r_hat, v, status), torch.empty_like(rho), partials(r)
    over_blocks(_half, r, r, v, rho, divisor, status, alpha, ss)
    return alpha, ss.sum(-1)


def bicgstab_update(
    x: Tensor, s: Tensor, Mp: Tensor, Ms: Tensor, t: Tensor, r_hat: Tensor, alpha: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    x, s, status = x.clone(), s.clone(), status.clone()
    return x, s, *bicgstab_update_(x, s, Mp, Ms, t, r_hat, alpha, status), status


def bicgstab_update_(
    x: Tensor, s: Tensor, Mp: Tensor, Ms: Tensor, t: Tensor, r_hat: Tensor, alpha: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    sums, ends = partials(x, 2), partials(x, 2)
    over_blocks(_pair, x, t, s, t, t, status, sums, len(x))
    omega, after = torch.empty_like(alpha), torch.empty_like(status)
    over_blocks(_second, x, x, s, Mp, Ms, t, r_hat, alpha, sums.sum(-1), status, omega, after, ends, len(x))
    status.copy_(after)
    rho, rr = ends.sum(-1).unbind()
    return omega, rho.clone(), rr.clone()


def bicgstab_direction(
    p: Tensor, r: Tensor, v: Tensor, rho: Tensor, rho_old: Tensor, alpha: Tensor, omega: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    p, status = p.clone(), status.clone()
    return p, bicgstab_direction_(p, r, v, rho, rho_old, alpha, omega, status), status


def bicgstab_direction_(
    p: Tensor, r: Tensor, v: Tensor, rho: Tensor, rho_old: Tensor, alpha: Tensor, omega: Tensor, status: Tensor
) -> Tensor:
    beta = torch.empty_like(rho)
    over_blocks(_turn, p, p, r, v, rho, rho_old, alpha, omega, status, beta)
    return beta


@triton.jit
def _half(
    r,
    v,
    rho,
    divisors,
    status,
    steps,
    ss,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, block, at, mask = place(n, blocks, BLOCK)
    before, divisor = tl.load(status + system), tl.load(divisors + system)
    after = tl.where(before == 0, judged_nonzero(divisor), before)
    alpha = tl.where(after == 0, tl.load(rho + system) / tl.where(after == 0, divisor, 1.0), 0.0)
    residual = tl.load(r + at, mask, 0.0)
    if after == 0:
        residual = residual - alpha.to(residual.dtype) * tl.load(v + at, mask, 0.0)
        tl.store(r + at, residual, mask)
    tl.store(ss + tl.program_id(0), wide_sum(residual, residual))
    if block == 0:
        tl.store(status + system, after)
        tl.store(steps + system, alpha)


@triton.jit
def _pair(
    a,
    b,
    c,
    d,
    status,
    found,
    systems,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    """<a, b> and <c, d>."""
    system, _, at, mask = place(n, blocks, BLOCK)
    mask = mask & (tl.load(status + system) == 0)
    first = wide_sum(tl.load(a + at, mask, 0.0), tl.load(b + at, mask, 0.0))
    second = wide_sum(tl.load(c + at, mask, 0.0), tl.load(d + at, mask, 0.0))
    tl.store(found + tl.program_id(0), first)
    tl.store(found + systems * blocks + tl.program_id(0), second)


@triton.jit
def _second(
    x,
    s,
    Mp,
    Ms,
    t,
    r_hat,
    alpha,
    sums,
    status,
    steps,
    after_all,
    ends,
    systems,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, block, at, mask = place(n, blocks, BLOCK)
    before, ts, tt = tl.load(status + system), tl.load(sums + system), tl.load(sums + systems + system)
    after = tl.where(before == 0, tl.where(finite(ts + tt), 0, NOT_FINITE), before)
    moves = (after == 0) & (tt > 0.0)
    omega = tl.where(moves, ts / tl.where(moves, tt, 1.0), 0.0)
    residual = tl.load(s + at, mask, 0.0)
    if after == 0:
        first = tl.load(alpha + system).to(residual.dtype) * tl.load(Mp + at, mask, 0.0)
        second = omega.to(residual.dtype) * tl.load(Ms + at, mask, 0.0)
        tl.store(x + at, tl.load(x + at, mask, 0.0) + first + second, mask)
        residual = residual - omega.to(residual.dtype) * tl.load(t + at, mask, 0.0)
        tl.store(s + at, residual, mask)
    tl.store(ends + tl.program_id(0), wide_sum(tl.load(r_hat + at, mask, 0.0), residual))
    tl.store(ends + systems * blocks + tl.program_id(0), wide_sum(residual, residual))
    if block == 0:
        tl.store(steps + system, omega)
        tl.store(after_all + system, tl.where((after == 0) & (omega == 0.0), BREAKDOWN, after))


@triton.jit
def _turn(
    p,
    r,
    v,
    rho,
    rho_old,
    alpha,
    omega,
    status,
    kept,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, block, at, mask = place(n, blocks, BLOCK)
    before, now, step = tl.load(status + system), tl.load(rho + system), tl.load(omega + system)
    divisor = tl.where(now == 0.0, 0.0, tl.load(rho_old + system) * step)
    after = tl.where(before == 0, judged_nonzero(divisor), before)
    beta = tl.where(after == 0, now * tl.load(alpha + system) / tl.where(after == 0, divisor, 1.0), 0.0)
    if after == 0:
        last = tl.load(p + at, mask, 0.0)
        turned = tl.load(r + at, mask, 0.0) + beta.to(last.dtype) * last
        tl.store(p + at, turned - (beta * step).to(last.dtype) * tl.load(v + at, mask, 0.0), mask)
    if block == 0:
        tl.store(status + system, after)
        tl.store(kept + system, beta)
