"""Operators of finite volumes on a processor: faces and diagonal in one pass over the coefficient."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from sciops.kernels.cpu.compiled import borrowed, compiled, prange
from sciops.kernels.cpu.memory import empty
from sciops.kernels.cpu.stencil import as_rows, is_large

_AXES = {1: (2,), 2: (0, 2), 3: (0, 1, 2)}  # along planes, rows or cells
_PARTS = 16


def diffusion_operator(
    k: Tensor, reaction: Tensor | None, spacing: Sequence[float], sides: Sequence[float], constant: float
) -> tuple[Tensor, Tensor]:
    d = len(spacing)
    k = k if k.ndim == d + 2 else k[:, None]
    batch, space = k.shape[0], k.shape[2:]
    diagonal, coupling = empty((batch, *space), k), empty((batch, d, *space), k)
    run = _build_together if is_large(diagonal) else _build
    run(
        as_rows(k, d),
        as_rows(k[:0, 0] if reaction is None else reaction, d),
        np.array(spacing, np.float64),
        np.array(sides, np.float64),
        constant,
        np.array(_AXES[d]),
        as_rows(diagonal, d),
        as_rows(coupling, d),
    )
    return diagonal, coupling


@compiled
def _mean(w: np.ndarray, a: np.ndarray, b: np.ndarray, scale: float) -> None:
    """w = scale a b / (a + b), 0 between two cells without flow."""
    c, none = w.dtype.type(scale), w.dtype.type(0)
    for p in range(w.size):
        total = a[p] + b[p]
        mean = c * (a[p] * (b[p] / total))
        w[p] = mean if total != none else none


@compiled
def _add_mean(out: np.ndarray, a: np.ndarray, b: np.ndarray, scale: float) -> None:
    """:func:`_mean`, added."""
    c, none = out.dtype.type(scale), out.dtype.type(0)
    for p in range(out.size):
        total = a[p] + b[p]
        mean = c * (a[p] * (b[p] / total))
        out[p] += mean if total != none else none


@compiled
def _add(out: np.ndarray, w: np.ndarray) -> None:
    for p in range(out.size):
        out[p] += w[p]


@compiled
def _add_outer(out: np.ndarray, k: np.ndarray, h: float, alpha: float) -> None:
    """What a boundary half a cell away adds, (alpha 2 k / h) / (alpha + 2 k / h) / h."""
    if alpha == 0.0:
        return
    for p in range(out.size):
        conductance = 2.0 * k[p] / h
        if alpha == np.inf:
            out[p] += conductance / h
        elif conductance + alpha != 0.0:
            out[p] += conductance * alpha / (conductance + alpha) / h


@compiled
def _build_part(
    k: np.ndarray,
    reaction: np.ndarray,
    spacing: np.ndarray,
    sides: np.ndarray,
    constant: float,
    axes: np.ndarray,
    diagonal: np.ndarray,
    coupling: np.ndarray,
    job: int,
    jobs: int,
) -> None:
    """One of `jobs` equal parts of all planes of all operators; it reads no face that another part makes."""
    k, reaction, diagonal, coupling = borrowed(k), borrowed(reaction), borrowed(diagonal), borrowed(coupling)
    batch, n1, n2, n3 = diagonal.shape
    first = job * batch * n1 // jobs
    for q in range(first, (job + 1) * batch * n1 // jobs):
        n, i = q // n1, q % n1
        for j in range(n2):
            out = diagonal[n, i, j]
            out[:] = constant
            if reaction.shape[0] > 0:
                _add(out, reaction[n, i, j])
            for a in range(axes.size):
                h, lower, upper = spacing[a], sides[2 * a], sides[2 * a + 1]
                scale, periodic, c = 2.0 / (h * h), lower < 0.0, k[n, a if k.shape[1] > 1 else 0]
                w, here = coupling[n, a, i, j], c[i, j]
                if axes[a] == 2:
                    _mean(w[: n3 - 1], here[: n3 - 1], here[1:], scale)
                    if periodic:
                        _mean(w[n3 - 1 :], here[n3 - 1 :], here[:1], scale)
                        _add(out[:1], w[n3 - 1 :])
                    else:
                        w[n3 - 1] = 0.0
                        _add_outer(out[:1], here[:1], h, lower)
                        _add_outer(out[n3 - 1 :], here[n3 - 1 :], h, upper)
                    _add(out, w)
                    _add(out[1:], w[: n3 - 1])
                    continue
                planes = axes[a] == 0
                at, size = (i, n1) if planes else (j, n2)
                up, down = (at + 1) % size, (at - 1) % size
                ahead, behind = (c[up, j], c[down, j]) if planes else (c[i, up], c[i, down])
                if at < size - 1 or periodic:
                    _mean(w, here, ahead, scale)
                    _add(out, w)
                else:
                    w[:] = 0.0
                    _add_outer(out, here, h, upper)
                if at > 0 and not (planes and q == first):
                    _add(out, coupling[n, a, down, j] if planes else coupling[n, a, i, down])
                elif at > 0 or periodic:
                    _add_mean(out, behind, here, scale)
                else:
                    _add_outer(out, here, h, lower)


@compiled
def _build(
    k: np.ndarray,
    reaction: np.ndarray,
    spacing: np.ndarray,
    sides: np.ndarray,
    constant: float,
    axes: np.ndarray,
    diagonal: np.ndarray,
    coupling: np.ndarray,
) -> None:
    _build_part(k, reaction, spacing, sides, constant, axes, diagonal, coupling, 0, 1)


@compiled(parallel=True)
def _build_together(
    k: np.ndarray,
    reaction: np.ndarray,
    spacing: np.ndarray,
    sides: np.ndarray,
    constant: float,
    axes: np.ndarray,
    diagonal: np.ndarray,
    coupling: np.ndarray,
) -> None:
    for job in prange(_PARTS):
        _build_part(k, reaction, spacing, sides, constant, axes, diagonal, coupling, job, _PARTS)
