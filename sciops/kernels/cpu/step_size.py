"""Step control on a processor: error, controller and update of a few samples at a time, while they are in the cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import compiled, prange
from sciops.kernels.cpu.runge_kutta import BLOCK, is_large, nonzero, squares_range
from sciops.kernels.step_size import SMALLEST_RATIO, SMALLEST_STEP, SampleStatus

_ACTIVE, _FINISHED = int(SampleStatus.ACTIVE), int(SampleStatus.FINISHED)
_UNDERFLOW, _NOT_FINITE = int(SampleStatus.STEP_UNDERFLOW), int(SampleStatus.NOT_FINITE)


def step_control(
    t: Tensor, y: Tensor, h: Tensor, ratios: Tensor, status: Tensor, K: Tensor, *rest: Any
) -> tuple[Tensor, ...]:
    t, y, h, ratios, status = (x.clone() for x in (t, y, h, ratios, status))
    taken, slope = torch.empty_like(t), K[0].clone()
    _bind_control(t, y, h, ratios, status, taken, K, slope, *rest)()
    return t, y, h, ratios, status, taken, slope


def step_control_(
    t: Tensor,
    y: Tensor,
    h: Tensor,
    ratios: Tensor,
    status: Tensor,
    taken: Tensor,
    K: Tensor,
    *rest: Any,
) -> None:
    _bind_control(t, y, h, ratios, status, taken, K, K[0], *rest)()


def bind_step_control(
    t: Tensor,
    y: Tensor,
    h: Tensor,
    ratios: Tensor,
    status: Tensor,
    taken: Tensor,
    K: Tensor,
    *rest: Any,
) -> Callable[[], None]:
    return _bind_control(t, y, h, ratios, status, taken, K, K[0], *rest)


def _bind_control(
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
) -> Callable[[], None]:
    used, numbers = nonzero(weights)
    step = (t.numpy(), y.numpy(), h.numpy(), ratios.numpy(), status.numpy(), taken.numpy(), slope.numpy())
    error = (K.numpy(), used, numbers, y1.numpy(), rtol.numpy(), atol.numpy(), np.empty(len(h)))
    run = _control_together if batch else _control_parallel if is_large(K) else _control
    return functools.partial(run, *step, end.numpy(), *error, np.array(controller), torch.finfo(t.dtype).eps)


@compiled
def _advance(
    t: np.ndarray,
    y: np.ndarray,
    h: np.ndarray,
    ratios: np.ndarray,
    status: np.ndarray,
    taken: np.ndarray,
    slope: np.ndarray,
    end: np.ndarray,
    K: np.ndarray,
    y1: np.ndarray,
    squares: np.ndarray,
    controller: np.ndarray,
    eps: float,
    first: int,
    last: int,
) -> None:
    stages, _, dim = K.shape
    least, most = controller[4], controller[5]
    for b in range(first, last):
        taken[b] = 0
        if status[b] != _ACTIVE:
            h[b] = 0
            continue
        ratio = np.sqrt(squares[b])
        # np.isfinite subtracts a number from itself, which reordering may fold into 0
        finite, accepted = abs(ratio) < np.inf, ratio <= 1
        factor = least
        if finite:
            ratio = max(ratio, SMALLEST_RATIO)
            factor = controller[3] * ratio ** -controller[0]
            # at 1, powers need not be computed
            if controller[1] != 0:
                factor *= ratios[b, 0] ** -controller[1]
            if controller[2] != 0:
                factor *= ratios[b, 1] ** -controller[2]
            factor = min(max(factor, least), most if accepted else 1.0)
        smallest = SMALLEST_STEP * eps * max(abs(t[b]), abs(end[b]))
        proposed = abs(h[b] * factor)
        if accepted:
            new_t = t.dtype.type(t[b] + h[b])
            taken[b] = h[b]
            ratios[b, 1] = ratios[b, 0]
            ratios[b, 0] = ratio
            for k in range(dim):
                y[b, k] = y1[b, k]
                slope[b, k] = K[stages - 1, b, k]
            if abs(end[b] - new_t) <= smallest:
                t[b], h[b], status[b] = end[b], 0, _FINISHED
                continue
            t[b] = new_t
        if proposed <= smallest:
            h[b] = 0
            status[b] = _UNDERFLOW if finite else _NOT_FINITE
            continue
        left = end[b] - t[b]
        h[b] = min(proposed, abs(left)) * np.sign(left)


@compiled
def _control_range(
    t: np.ndarray,
    y: np.ndarray,
    h: np.ndarray,
    ratios: np.ndarray,
    status: np.ndarray,
    taken: np.ndarray,
    slope: np.ndarray,
    end: np.ndarray,
    K: np.ndarray,
    used: np.ndarray,
    weights: np.ndarray,
    y1: np.ndarray,
    rtol: np.ndarray,
    atol: np.ndarray,
    squares: np.ndarray,
    controller: np.ndarray,
    eps: float,
    start: int,
    stop: int,
) -> None:
    """Samples in groups, so that what the error read is still in the cache for the update."""
    size = max(1, BLOCK // y.shape[1])
    total = np.empty(BLOCK, y.dtype)
    for first in range(start, stop, size):
        last = min(first + size, stop)
        squares_range(K, h, used, weights, y, y1, rtol, atol, squares, first, last, total)
        _advance(t, y, h, ratios, status, taken, slope, end, K, y1, squares, controller, eps, first, last)


@compiled
def _control(
    t: np.ndarray,
    y: np.ndarray,
    h: np.ndarray,
    ratios: np.ndarray,
    status: np.ndarray,
    taken: np.ndarray,
    slope: np.ndarray,
    end: np.ndarray,
    K: np.ndarray,
    used: np.ndarray,
    weights: np.ndarray,
    y1: np.ndarray,
    rtol: np.ndarray,
    atol: np.ndarray,
    squares: np.ndarray,
    controller: np.ndarray,
    eps: float,
) -> None:
    _control_range(
        t,
        y,
        h,
        ratios,
        status,
        taken,
        slope,
        end,
        K,
        used,
        weights,
        y1,
        rtol,
        atol,
        squares,
        controller,
        eps,
        0,
        len(h),
    )


@compiled
def _control_together(
    t: np.ndarray,
    y: np.ndarray,
    h: np.ndarray,
    ratios: np.ndarray,
    status: np.ndarray,
    taken: np.ndarray,
    slope: np.ndarray,
    end: np.ndarray,
    K: np.ndarray,
    used: np.ndarray,
    weights: np.ndarray,
    y1: np.ndarray,
    rtol: np.ndarray,
    atol: np.ndarray,
    squares: np.ndarray,
    controller: np.ndarray,
    eps: float,
) -> None:
    n = len(h)
    squares_range(K, h, used, weights, y, y1, rtol, atol, squares, 0, n, np.empty(BLOCK, y.dtype))
    count, mean = 0, 0.0
    for b in range(n):
        if status[b] == _ACTIVE:
            count += 1
            mean += squares[b]
    squares[:] = mean / max(count, 1)
    _advance(t, y, h, ratios, status, taken, slope, end, K, y1, squares, controller, eps, 0, n)


@compiled(parallel=True)
def _control_parallel(
    t: np.ndarray,
    y: np.ndarray,
    h: np.ndarray,
    ratios: np.ndarray,
    status: np.ndarray,
    taken: np.ndarray,
    slope: np.ndarray,
    end: np.ndarray,
    K: np.ndarray,
    used: np.ndarray,
    weights: np.ndarray,
    y1: np.ndarray,
    rtol: np.ndarray,
    atol: np.ndarray,
    squares: np.ndarray,
    controller: np.ndarray,
    eps: float,
) -> None:
    size = max(1, 16 * BLOCK // y.shape[1])
    for job in prange((len(h) + size - 1) // size):
        last = min((job + 1) * size, len(h))
        _control_range(
            t, y, h, ratios, status, taken, slope, end, K, used, weights, y1, rtol, atol, squares, controller, eps,
            job * size, last,
        )  # fmt: skip
