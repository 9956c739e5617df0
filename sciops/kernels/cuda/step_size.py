# mypy: disable-error-code="no-untyped-def,no-untyped-call"
"""Step control on a GPU: one launch for error, norm, controller and update of every sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.cuda.runge_kutta import error_norm, mean_squares, numbers_on, spread, tiling, weights_on
from sciops.kernels.step_size import SMALLEST_RATIO, SMALLEST_STEP, SampleStatus

_ACTIVE, _FINISHED = tl.constexpr(int(SampleStatus.ACTIVE)), tl.constexpr(int(SampleStatus.FINISHED))
_UNDERFLOW, _NOT_FINITE = tl.constexpr(int(SampleStatus.STEP_UNDERFLOW)), tl.constexpr(int(SampleStatus.NOT_FINITE))


def step_control(t: Tensor, y: Tensor, h: Tensor, ratios: Tensor, status: Tensor, K: Tensor, *rest: Any) -> Any:
    t, y, h, ratios, status = (x.clone() for x in (t, y, h, ratios, status))
    taken, slope = torch.empty_like(t), K[0].clone()
    _control(t, y, h, ratios, status, taken, K, slope, *rest)
    return t, y, h, ratios, status, taken, slope


def step_control_(
    t: Tensor, y: Tensor, h: Tensor, ratios: Tensor, status: Tensor, taken: Tensor, K: Tensor, *rest: Any
) -> None:
    _control(t, y, h, ratios, status, taken, K, K[0], *rest)


def _control(
    t: Tensor,
    y: Tensor,
    h: Tensor,
    ratios: Tensor,
    status: Tensor,
    taken: Tensor,
    K: Tensor,
    slope: Tensor,
    y1: Tensor,
    end: Tensor,
    rtol: Tensor,
    atol: Tensor,
    weights: Sequence[float],
    controller: Sequence[float],
    batch: bool,
) -> None:
    grid, sizes = tiling(y)
    shared = h
    if batch:
        # the error of the batch needs all samples: a launch of its own, and one small reduction
        each = error_norm(K, h, weights, y, y1, rtol, atol, False)
        active = status == int(SampleStatus.ACTIVE)
        count = active.sum().clamp_min(1).to(each.dtype)
        shared = (torch.linalg.vector_norm(each.where(active, 0.0)) / count.sqrt()).expand(each.shape).contiguous()
    options = numbers_on((*controller, SMALLEST_RATIO, SMALLEST_STEP * torch.finfo(t.dtype).eps), y.device)
    launch(
        _step,
        grid,
        *(t, y, h, ratios, status, taken, K, slope, y1, end, rtol, atol, weights_on(weights, y), options, shared),
        *y.shape,
        COUNT=len(weights),
        STAGES=K.shape[0],
        GIVEN=batch,
        LONG=t.dtype == torch.float64,
        **spread(rtol),
        **sizes,
    )


@triton.jit
def _power(x, exponent):
    return tl.exp2(exponent * tl.log2(x))


@triton.jit
def _step(
    t,
    y,
    h,
    ratios,
    status,
    taken,
    K,
    slope,
    y1,
    end,
    rtol,
    atol,
    weights,
    options,
    shared,
    batch,
    dim,
    COUNT: tl.constexpr,
    STAGES: tl.constexpr,
    GIVEN: tl.constexpr,
    LONG: tl.constexpr,
    BY_SAMPLE: tl.constexpr,
    BY_COMPONENT: tl.constexpr,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    DOUBLE: tl.constexpr,
):
    real: tl.constexpr = tl.float64 if DOUBLE else tl.float32
    clock: tl.constexpr = tl.float64 if LONG else tl.float32
    b = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    here = b < batch
    step = tl.load(h + b, mask=here, other=0.0).to(clock)
    if GIVEN:
        ratio = tl.load(shared + b, mask=here, other=0.0).to(clock)
    else:
        squares = mean_squares(
            K,
            step.to(real),
            weights,
            y,
            y1,
            rtol,
            atol,
            b,
            batch,
            dim,
            COUNT,
            BY_SAMPLE,
            BY_COMPONENT,
            ROWS,
            WIDTH,
            DOUBLE,
        )
        ratio = tl.sqrt(squares).to(clock)
    state = tl.load(status + b, mask=here, other=_FINISHED)
    active = state == _ACTIVE
    # NaN compares false
    accepted, finite = active & (ratio <= 1.0), ratio < float("inf")

    before = tl.load(ratios + 2 * b, mask=here, other=1.0).to(clock)
    earlier = tl.load(ratios + 2 * b + 1, mask=here, other=1.0).to(clock)
    least, most = tl.load(options + 4).to(clock), tl.load(options + 5).to(clock)
    floor = tl.load(options + 6).to(clock)
    ratio = tl.where(finite, ratio, 1.0)
    ratio = tl.where(ratio > floor, ratio, floor)
    factor = tl.load(options + 3).to(clock) * _power(ratio, -tl.load(options).to(clock))
    factor *= _power(before, -tl.load(options + 1).to(clock)) * _power(earlier, -tl.load(options + 2).to(clock))
    factor = tl.where(factor < least, least, factor)
    factor = tl.where(factor > most, most, factor)
    factor = tl.where(accepted | (factor < 1.0), factor, 1.0)
    factor = tl.where(finite, factor, least)

    now = tl.load(t + b, mask=here, other=0.0).to(clock)
    last = tl.load(end + b, mask=here, other=0.0).to(clock)
    smallest = tl.load(options + 7).to(clock) * tl.maximum(tl.abs(now), tl.abs(last))
    arrived = accepted & (tl.abs(last - (now + step)) <= smallest)
    new = tl.where(arrived, last, tl.where(accepted, now + step, now))
    left, proposed = last - new, tl.abs(step * factor)
    lost = active & (proposed <= smallest) & (arrived == 0)
    going = active & (arrived == 0) & (lost == 0)
    failure = tl.where(finite, _UNDERFLOW, _NOT_FINITE)
    cut = tl.where(proposed < tl.abs(left), proposed, tl.abs(left))
    cut = tl.where(left < 0, -cut, cut)
    tl.store(t + b, new, mask=here)
    tl.store(h + b, tl.where(going, cut, 0.0), mask=here)
    tl.store(taken + b, tl.where(accepted, step, 0.0), mask=here)
    tl.store(status + b, tl.where(lost, failure, tl.where(arrived, _FINISHED, state)).to(tl.int64), mask=here)
    tl.store(ratios + 2 * b, ratio, mask=here & accepted)
    tl.store(ratios + 2 * b + 1, before, mask=here & accepted)
    for low in range(0, dim, WIDTH):
        d = low + tl.arange(0, WIDTH)
        moved = (here & accepted)[:, None] & (d < dim)[None, :]
        at = b[:, None] * dim + d[None, :]
        tl.store(y + at, tl.load(y1 + at, mask=moved, other=0.0), mask=moved)
        slopes = tl.load(K + (STAGES - 1) * tl.full((), batch, tl.int64) * dim + at, mask=moved, other=0.0)
        tl.store(slope + at, slopes, mask=moved)
