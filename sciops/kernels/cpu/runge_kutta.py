"""Runge-Kutta steps on a processor: one pass over the slopes, in blocks that stay in the first-level cache."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.cpu.compiled import compiled, prange

BLOCK = 1024  # numbers of one slope at a time
_LARGE = 1 << 19  # numbers of all slopes from which a second thread pays for its start


def stage_combination(y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float]) -> Tensor:
    out = torch.empty_like(y)
    bind_stage_combination(out, y, K, h, weights)()
    return out


def stage_combination_(
    out: Tensor, y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float], slope: Tensor | None = None
) -> None:
    bind_stage_combination(out, y, K, h, weights)(slope)


def bind_stage_combination(
    out: Tensor, y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float]
) -> Callable[..., None]:
    run = _stage_parallel if is_large(K) else _stage
    shape = y.shape
    used, numbers = nonzero(weights)
    last = K[len(weights) - 1].numpy()
    run = functools.partial(run, out.numpy(), y.numpy(), K.numpy(), h.numpy(), used, numbers, last)

    def combine(slope: Tensor | None = None) -> None:
        if slope is None:
            run(last, False)
        elif slope.shape != shape:
            raise InputError(f"the slope has shape {tuple(slope.shape)}, expected {tuple(shape)}")
        else:
            run(slope.detach().contiguous().numpy(), True)

    return combine


def stage_gradients(g: Tensor, K: Tensor, h: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    slopes, step = torch.empty_like(K), torch.empty_like(h)
    full = np.zeros(K.shape[0])
    full[: len(weights)] = weights
    _gradients(g.numpy(), K.numpy(), h.numpy(), full, slopes.numpy(), step.numpy())
    return slopes, step


def error_norm(
    K: Tensor, h: Tensor, weights: Sequence[float], y0: Tensor, y1: Tensor, rtol: Tensor, atol: Tensor, batch: bool
) -> Tensor:
    squares = np.empty(len(h))
    _squares(K.numpy(), h.numpy(), *nonzero(weights), y0.numpy(), y1.numpy(), rtol.numpy(), atol.numpy(), squares)
    if batch:
        squares[:] = squares.mean()
    return torch.from_numpy(np.sqrt(squares)).to(y0.dtype)


def interpolate_step(y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[float], degree: int) -> Tensor:
    out = y0.new_empty(*theta.shape, y0.shape[1])
    _dense(out.numpy(), y0.numpy(), K.numpy(), h.numpy(), theta.numpy(), np.array(weights).reshape(-1, degree), False)
    return out


def interpolate_step_(
    out: Tensor, y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[float], degree: int
) -> None:
    bind_interpolate_step(out, y0, K, h, theta, weights, degree)()


def bind_interpolate_step(
    out: Tensor, y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[float], degree: int
) -> Callable[[], None]:
    rows = np.array(weights).reshape(-1, degree)
    return functools.partial(_dense, out.numpy(), y0.numpy(), K.numpy(), h.numpy(), theta.numpy(), rows, True)


def is_large(K: Tensor) -> bool:
    return K.numel() >= _LARGE and torch.get_num_threads() > 1


def nonzero(weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.array(weights)
    used = np.flatnonzero(numbers)
    return used, numbers[used]


@compiled
def _combine(K: np.ndarray, used: np.ndarray, weights: np.ndarray, low: int, high: int, total: np.ndarray) -> None:
    """Weighted sum of rows of K (stages, numbers) from low to high; two rows at a time spare half of the stores."""
    # slices that begin at 0: the compiler cannot tell that other indices are not negative, and would not vectorise
    n = high - low
    total[:n] = 0
    i = 0
    while i + 1 < len(used):
        first, second = K[used[i], low:high], K[used[i + 1], low:high]
        a, b = K.dtype.type(weights[i]), K.dtype.type(weights[i + 1])
        for e in range(n):
            total[e] += a * first[e] + b * second[e]
        i += 2
    if i < len(used):
        first, a = K[used[i], low:high], K.dtype.type(weights[i])
        for e in range(n):
            total[e] += a * first[e]


@compiled
def _stage_range(
    out: np.ndarray,
    y: np.ndarray,
    K: np.ndarray,
    h: np.ndarray,
    used: np.ndarray,
    weights: np.ndarray,
    last: np.ndarray,
    slope: np.ndarray,
    store: bool,
    start: int,
    stop: int,
) -> None:
    dim = y.shape[1]
    flat_out, flat_y, flat_K = out.reshape(-1), y.reshape(-1), K.reshape(K.shape[0], -1)
    total = np.empty(BLOCK, y.dtype)
    for low in range(start, stop, BLOCK):
        high = min(low + BLOCK, stop)
        if store:
            new, fresh = last.reshape(-1)[low:high], slope.reshape(-1)[low:high]
            for e in range(high - low):
                new[e] = fresh[e]
        _combine(flat_K, used, weights, low, high, total)
        e = low
        while e < high:
            b = e // dim
            step, end = y.dtype.type(h[b]), min((b + 1) * dim, high)
            row, start_row, part = flat_out[e:end], flat_y[e:end], total[e - low : end - low]
            for k in range(end - e):
                row[k] = start_row[k] + step * part[k]
            e = end


@compiled
def _stage(
    out: np.ndarray,
    y: np.ndarray,
    K: np.ndarray,
    h: np.ndarray,
    used: np.ndarray,
    weights: np.ndarray,
    last: np.ndarray,
    slope: np.ndarray,
    store: bool,
) -> None:
    _stage_range(out, y, K, h, used, weights, last, slope, store, 0, y.size)


@compiled(parallel=True)
def _stage_parallel(
    out: np.ndarray,
    y: np.ndarray,
    K: np.ndarray,
    h: np.ndarray,
    used: np.ndarray,
    weights: np.ndarray,
    last: np.ndarray,
    slope: np.ndarray,
    store: bool,
) -> None:
    size = 16 * BLOCK
    for job in prange((y.size + size - 1) // size):
        _stage_range(out, y, K, h, used, weights, last, slope, store, job * size, min((job + 1) * size, y.size))


@compiled
def _gradients(
    g: np.ndarray, K: np.ndarray, h: np.ndarray, weights: np.ndarray, slopes: np.ndarray, steps: np.ndarray
) -> None:
    stages, batch, dim = K.shape
    for b in range(batch):
        total = 0.0
        for i in range(stages):
            scaled, part = g.dtype.type(h[b] * weights[i]), 0.0
            if weights[i] != 0:
                for k in range(dim):
                    slopes[i, b, k] = scaled * g[b, k]
                    part += g[b, k] * K[i, b, k]
                total += weights[i] * part
            else:
                for k in range(dim):
                    slopes[i, b, k] = 0
        steps[b] = total


@compiled
def squares_range(
    K: np.ndarray,
    h: np.ndarray,
    used: np.ndarray,
    weights: np.ndarray,
    y0: np.ndarray,
    y1: np.ndarray,
    rtol: np.ndarray,
    atol: np.ndarray,
    squares: np.ndarray,
    first: int,
    last: int,
    total: np.ndarray,
) -> None:
    """Mean squares of the scaled errors of the samples from first to last."""
    dim = y0.shape[1]
    flat_0, flat_1, flat_K = y0.reshape(-1), y1.reshape(-1), K.reshape(K.shape[0], -1)
    for b in range(first, last):
        squares[b] = 0.0
    for low in range(first * dim, last * dim, BLOCK):
        high = min(low + BLOCK, last * dim)
        _combine(flat_K, used, weights, low, high, total)
        e = low
        while e < high:
            b = e // dim
            stop = min((b + 1) * dim, high)
            row = b if rtol.shape[0] > 1 else 0
            u, v, error = flat_0[e:stop], flat_1[e:stop], total[e - low : stop - low]
            # h belongs inside: the square of a small step, or of a large slope, need not be a number
            part, step = y0.dtype.type(0), y0.dtype.type(h[b])
            if rtol.shape[1] == 1:
                a, r = atol[row, 0], rtol[row, 0]
                for k in range(stop - e):
                    ratio = step * error[k] / (a + r * max(abs(u[k]), abs(v[k])))
                    part += ratio * ratio
            else:
                shift = b * dim
                a_row, r_row = atol[row, e - shift : stop - shift], rtol[row, e - shift : stop - shift]
                for k in range(stop - e):
                    ratio = step * error[k] / (a_row[k] + r_row[k] * max(abs(u[k]), abs(v[k])))
                    part += ratio * ratio
            squares[b] += part
            e = stop
    for b in range(first, last):
        squares[b] /= dim


@compiled
def _squares(
    K: np.ndarray,
    h: np.ndarray,
    used: np.ndarray,
    weights: np.ndarray,
    y0: np.ndarray,
    y1: np.ndarray,
    rtol: np.ndarray,
    atol: np.ndarray,
    squares: np.ndarray,
) -> None:
    total = np.empty(BLOCK, y0.dtype)
    squares_range(K, h, used, weights, y0, y1, rtol, atol, squares, 0, len(h), total)


@compiled
def _dense(
    out: np.ndarray, y0: np.ndarray, K: np.ndarray, h: np.ndarray, theta: np.ndarray, weights: np.ndarray, masked: bool
) -> None:
    batch, m, dim = out.shape
    stages, degree = weights.shape
    for b in range(batch):
        for j in range(m):
            x = np.float64(theta[b, j])
            if masked and not (x > 0 and x <= 1):
                continue
            for k in range(dim):
                out[b, j, k] = y0[b, k]
            for i in range(stages):
                value = 0.0
                for p in range(degree - 1, -1, -1):
                    value = (value + weights[i, p]) * x
                c = y0.dtype.type(value * h[b])
                if c != 0:
                    for k in range(dim):
                        out[b, j, k] += c * K[i, b, k]
