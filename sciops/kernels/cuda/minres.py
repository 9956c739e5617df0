"""MINRES on a GPU; see :mod:`~sciops.kernels.cuda.systems` for how sums are made."""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.systems import (
    BREAKDOWN,
    INDEFINITE_PRECONDITIONER,
    NOT_FINITE,
    finite,
    over_blocks,
    partials,
    place,
    product,
    wide_sum,
)
from sciops.kernels.systems import Status

_EXHAUSTED = tl.constexpr(int(Status.EXHAUSTED))


def minres_lanczos(
    r_old: Tensor, r: Tensor, z: Tensor, Az: Tensor, scalars: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r_old, scalars, status = r_old.clone(), scalars.clone(), status.clone()
    minres_lanczos_(r_old, r, z, Az, scalars, status)
    return r_old, scalars, status


def minres_lanczos_(r_old: Tensor, r: Tensor, z: Tensor, Az: Tensor, scalars: Tensor, status: Tensor) -> Tensor:
    found = partials(r)
    over_blocks(_products, r, r_old, z, Az, scalars, status, found, len(r))
    over_blocks(_lanczos, r, r_old, r, Az, scalars, found.sum(-1), status, len(r))
    return scalars[2].clone()


def minres_update(
    x: Tensor, w_old: Tensor, w: Tensor, z: Tensor, r_new: Tensor, z_new: Tensor, scalars: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, w_old, scalars, status = x.clone(), w_old.clone(), scalars.clone(), status.clone()
    minres_update_(x, w_old, w, z, r_new, z_new, scalars, status)
    return x, w_old, scalars, status


def minres_update_(
    x: Tensor, w_old: Tensor, w: Tensor, z: Tensor, r_new: Tensor, z_new: Tensor, scalars: Tensor, status: Tensor
) -> Tensor:
    square = product(r_new, z_new, status)
    # other programs read the scalars and the status while the first writes them: it writes elsewhere
    found, after = torch.empty_like(scalars), torch.empty_like(status)
    over_blocks(_update, x, x, w_old, w, z, scalars, square, status, found, after, len(x))
    scalars.copy_(found)
    status.copy_(after)
    return scalars[7].clone()


@triton.jit
def _factors(scalars, system, systems):
    """1 / beta and beta / beta_old."""
    before, beta = tl.load(scalars + system), tl.load(scalars + systems + system)
    return 1.0 / beta, tl.where(before > 0.0, beta / tl.where(before > 0.0, before, 1.0), 0.0)


@triton.jit
def _products(
    r_old,
    z,
    Az,
    scalars,
    status,
    found,
    systems,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, _, at, mask = place(n, blocks, BLOCK)
    over, back = _factors(scalars, system, systems)
    mask = mask & (tl.load(status + system) == 0)
    last = tl.load(r_old + at, mask, 0.0)
    new = over.to(last.dtype) * tl.load(Az + at, mask, 0.0) - back.to(last.dtype) * last
    tl.store(found + tl.program_id(0), wide_sum(tl.load(z + at, mask, 0.0), new))


@triton.jit
def _lanczos(
    r_old,
    r,
    Az,
    scalars,
    sums,
    status,
    systems,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, block, at, mask = place(n, blocks, BLOCK)
    over, back = _factors(scalars, system, systems)
    before = tl.load(status + system)
    alpha = tl.load(sums + system) * over
    after = tl.where(before == 0, tl.where(finite(alpha), 0, NOT_FINITE), before)
    if after == 0:
        last = tl.load(r_old + at, mask, 0.0)
        share = (alpha * over).to(last.dtype)
        new = over.to(last.dtype) * tl.load(Az + at, mask, 0.0) - back.to(last.dtype) * last
        tl.store(r_old + at, new - share * tl.load(r + at, mask, 0.0), mask)
    if block == 0:
        tl.store(status + system, after)
        tl.store(scalars + 2 * systems + system, alpha, after == 0)


@triton.jit
def _update(
    x,
    w_old,
    w,
    z,
    scalars,
    squares,
    status,
    found,
    after_all,
    systems,
    n,
    blocks,
    BLOCK: tl.constexpr,
):
    system, block, at, mask = place(n, blocks, BLOCK)
    before, square = tl.load(status + system), tl.load(squares + system)
    row = scalars + system
    beta_old, beta, alpha = tl.load(row), tl.load(row + systems), tl.load(row + 2 * systems)
    dbar, epsilon = tl.load(row + 3 * systems), tl.load(row + 4 * systems)
    cosine, sine, phi = tl.load(row + 5 * systems), tl.load(row + 6 * systems), tl.load(row + 7 * systems)
    judged = tl.where(finite(square), tl.where(square < 0.0, INDEFINITE_PRECONDITIONER, 0), NOT_FINITE)
    after = tl.where(before == 0, judged, before)
    beta_new = tl.sqrt(tl.where(after == 0, square, 0.0))
    delta, gbar = cosine * dbar + sine * alpha, sine * dbar - cosine * alpha
    gamma = tl.sqrt(gbar * gbar + beta_new * beta_new)
    after = tl.where((after == 0) & (gamma == 0.0), BREAKDOWN, after)
    gamma = tl.where(gamma == 0.0, 1.0, gamma)
    c, s = gbar / gamma, beta_new / gamma
    if after == 0:
        last = tl.load(w_old + at, mask, 0.0)
        new = (1.0 / (beta * gamma)).to(last.dtype) * tl.load(z + at, mask, 0.0)
        new -= (epsilon / gamma).to(last.dtype) * last
        new -= (delta / gamma).to(last.dtype) * tl.load(w + at, mask, 0.0)
        tl.store(w_old + at, new, mask)
        tl.store(x + at, tl.load(x + at, mask, 0.0) + (c * phi).to(last.dtype) * new, mask)
    if block == 0:
        go = after == 0
        out = found + system
        tl.store(out, tl.where(go, beta, beta_old))
        tl.store(out + systems, tl.where(go, beta_new, beta))
        tl.store(out + 2 * systems, alpha)
        tl.store(out + 3 * systems, tl.where(go, -cosine * beta_new, dbar))
        tl.store(out + 4 * systems, tl.where(go, sine * beta_new, epsilon))
        tl.store(out + 5 * systems, tl.where(go, c, cosine))
        tl.store(out + 6 * systems, tl.where(go, s, sine))
        tl.store(out + 7 * systems, tl.where(go, s * phi, phi))
        tl.store(after_all + system, tl.where(go & (beta_new == 0.0), _EXHAUSTED, after))
