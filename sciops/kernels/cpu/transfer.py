"""Transfers between grids on a processor: one pass over memory each. Fields are seen as (batch, rhs, planes, cells)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.cpu.compiled import borrowed, compiled, prange
from sciops.kernels.cpu.stencil import as_planes, as_rows, is_large, residual_plane
from sciops.kernels.transfer import coarse_shape


def prolong(coarse: Tensor, u: Tensor | None, space: list[int]) -> Tensor:
    y = coarse.new_empty(*coarse.shape[:2], *space)
    d = len(space)
    run = _prolong_together if is_large(y) else _prolong
    run(as_rows(coarse, d), as_rows(y if u is None else u, d), u is not None, as_rows(y, d))
    return y


def restrict(r: Tensor) -> Tensor:
    d = r.ndim - 2
    y = r.new_empty(*r.shape[:2], *coarse_shape(r.shape[2:]))
    run = _restrict_together if is_large(r) else _restrict
    run(as_rows(r, d), as_rows(y, d))
    return y


def prolong_product(coarse: Tensor, u: Tensor | None, weights: Tensor, space: list[int]) -> Tensor:
    d, y = len(space), coarse.new_empty(*coarse.shape[:2], *space)
    _prolong_product(
        as_planes(coarse, d),
        as_planes(y if u is None else u, d),
        u is not None,
        *_axes(weights, space),
        as_planes(y, d),
    )
    return y


def restrict_product(r: Tensor, weights: Tensor) -> Tensor:
    d, space = r.ndim - 2, list(r.shape[2:])
    y = r.new_empty(*r.shape[:2], *coarse_shape(space))
    _restrict_product(as_planes(r, d), *_axes(weights, space), as_planes(y, d))
    return y


def prolong_weighted(coarse: Tensor, u: Tensor | None, weights: Tensor) -> Tensor:
    d, y = weights.ndim - 2, coarse.new_empty(*coarse.shape[:2], *weights.shape[2:])
    _prolong_weighted(
        as_planes(coarse, d),
        as_planes(y if u is None else u, d),
        u is not None,
        as_planes(weights, d),
        _moves(d, weights.shape[1]),
        as_planes(y, d),
        y.shape[-1],
    )
    return y


def restrict_weighted(r: Tensor, weights: Tensor) -> Tensor:
    d = r.ndim - 2
    y = r.new_empty(*r.shape[:2], *coarse_shape(r.shape[2:]))
    moves = _moves(d, weights.shape[1])
    _restrict_weighted(as_planes(r, d), as_planes(weights, d), moves, as_planes(y, d), r.shape[-1])
    return y


def transfer_slopes(fine: Tensor, coarse: Tensor, count: int, shared: bool) -> Tensor:
    d = fine.ndim - 2
    y = fine.new_empty(1 if shared else fine.shape[0], count, *fine.shape[2:])
    _slopes(as_planes(fine, d), as_planes(coarse, d), _moves(d, count), as_planes(y, d), fine.shape[-1])
    return y


def coarsen(diagonal: Tensor, coupling: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    batch, d, *space = coupling.shape
    coarse, couplings = (diagonal.new_empty(batch, *k, *coarse_shape(space)) for k in ((), (d,)))
    arrays = [as_rows(t, d) for t in (diagonal, coupling, coarse, couplings)]
    _coarsen((0,) * d, *arrays, arrays[0].dtype.type(factor))
    return coarse, couplings


def _axes(weights: Tensor, space: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights of planes, rows and cells in a row; an axis that is not there has one cell of weight one."""
    found = [part.numpy() for part in torch.split(weights.detach(), space, 1)]
    absent = np.array([[1], [0]], found[0].dtype)
    planes = found[0] if len(space) > 1 else absent
    rows = found[1] if len(space) > 2 else absent
    return tuple(np.ascontiguousarray(a) for a in (planes, rows, found[-1]))  # type: ignore[return-value]


def _moves(d: int, count: int) -> np.ndarray:
    """For each weight, whether it belongs to the neighbour across planes, across rows and within the row."""
    bits = [0, *(1 << a for a in range(d))] if count == d + 1 else list(range(count))
    axes = {1: (2,), 2: (0, 2), 3: (0, 1, 2)}[d]
    moves = np.zeros((count, 3), np.int64)
    for m, bit in enumerate(bits):
        for a, place in enumerate(axes):
            moves[m, place] = bit >> a & 1
    return moves


@compiled(inline=True)
def add_to_plane(out: np.ndarray, u: np.ndarray, has_u: bool, coarse: np.ndarray, n3: int) -> None:
    """out = u + P e in one plane, P constant; rows of `n3` cells or more."""
    pairs, zero = n3 // 2, coarse.dtype.type(0)
    for j in range(out.shape[0]):
        y, e = out[j], coarse[j // 2]
        if has_u:
            x = u[j]
            for k in range(pairs):
                y[2 * k] = x[2 * k] + e[k]
                y[2 * k + 1] = x[2 * k + 1] + e[k]
        else:
            for k in range(pairs):
                y[2 * k] = e[k]
                y[2 * k + 1] = e[k]
        if n3 % 2:
            y[n3 - 1] = e[pairs] + (u[j, n3 - 1] if has_u else zero)


@compiled
def sum_of_plane(out: np.ndarray, r: np.ndarray, n3: int, first: bool) -> None:
    """Sums over the cells of each coarse cell in a plane, set by the first plane of a pair, added to by the other."""
    pairs = n3 // 2
    for j in range(r.shape[0]):
        y, x = out[j // 2], r[j]
        if first and j % 2 == 0:
            for k in range(pairs):
                y[k] = x[2 * k] + x[2 * k + 1]
            if n3 % 2:
                y[pairs] = x[n3 - 1]
        else:
            for k in range(pairs):
                y[k] += x[2 * k] + x[2 * k + 1]
            if n3 % 2:
                y[pairs] += x[n3 - 1]


@compiled(inline=True)
def sum_of_planes(out: np.ndarray, r: np.ndarray, s: np.ndarray, n3: int) -> None:
    """Sums over the cells of each coarse cell in a pair of planes."""
    pairs = n3 // 2
    for j in range(r.shape[0]):
        y, x, z = out[j // 2], r[j], s[j]
        if j % 2 == 0:
            for k in range(pairs):
                y[k] = (x[2 * k] + z[2 * k]) + (x[2 * k + 1] + z[2 * k + 1])
            if n3 % 2:
                y[pairs] = x[n3 - 1] + z[n3 - 1]
        else:
            for k in range(pairs):
                y[k] += (x[2 * k] + z[2 * k]) + (x[2 * k + 1] + z[2 * k + 1])
            if n3 % 2:
                y[pairs] += x[n3 - 1] + z[n3 - 1]


@compiled
def _prolong_part(coarse: np.ndarray, u: np.ndarray, has_u: bool, y: np.ndarray, job: int, jobs: int) -> None:
    coarse, u, y = borrowed(coarse), borrowed(u), borrowed(y)
    batch, rhs, n1, _, n3 = y.shape
    total = batch * rhs * n1
    for q in range(job * total // jobs, (job + 1) * total // jobs):
        n, s, i = q // (rhs * n1), q // n1 % rhs, q % n1
        add_to_plane(y[n, s, i], u[n, s, i], has_u, coarse[n, s, i // 2], n3)


@compiled
def _prolong(coarse: np.ndarray, u: np.ndarray, has_u: bool, y: np.ndarray) -> None:
    _prolong_part(coarse, u, has_u, y, 0, 1)


@compiled(parallel=True)
def _prolong_together(coarse: np.ndarray, u: np.ndarray, has_u: bool, y: np.ndarray) -> None:
    for job in prange(16):
        _prolong_part(coarse, u, has_u, y, job, 16)


@compiled
def _restrict_part(r: np.ndarray, y: np.ndarray, job: int, jobs: int) -> None:
    r, y = borrowed(r), borrowed(y)
    batch, rhs, c1 = y.shape[:3]
    total, n1, n3 = batch * rhs * c1, r.shape[2], r.shape[4]
    for q in range(job * total // jobs, (job + 1) * total // jobs):
        n, s, i = q // (rhs * c1), q // c1 % rhs, q % c1
        for plane in range(2 * i, min(2 * i + 2, n1)):
            sum_of_plane(y[n, s, i], r[n, s, plane], n3, plane == 2 * i)


@compiled
def _restrict(r: np.ndarray, y: np.ndarray) -> None:
    _restrict_part(r, y, 0, 1)


@compiled(parallel=True)
def _restrict_together(r: np.ndarray, y: np.ndarray) -> None:
    for job in prange(16):
        _restrict_part(r, y, job, 16)


@compiled
def _neighbour(i: int, count: int) -> int:
    return (i // 2 + 2 * (i % 2) - 1) % count


@compiled
def _blend(out: np.ndarray, own: np.ndarray, other: np.ndarray, near: float, far: float) -> None:
    if far == 0:
        for k in range(out.size):
            out[k] = near * own[k]
    else:
        for k in range(out.size):
            out[k] = near * own[k] + far * other[k]


@compiled(parallel=True)
def _prolong_product(
    coarse: np.ndarray,
    u: np.ndarray,
    has_u: bool,
    planes: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    y: np.ndarray,
) -> None:
    batch, rhs, n1, _ = y.shape
    n2, n3 = rows.shape[1], columns.shape[1]
    c1, c2, c3 = (n1 + 1) // 2, (n2 + 1) // 2, (n3 + 1) // 2
    for q in prange(batch * rhs * n1):
        n, s, i = q // (rhs * n1), q // n1 % rhs, q % n1
        plane, row = np.empty(c2 * c3, y.dtype), np.empty(c3, y.dtype)
        _blend(plane, coarse[n, s, i // 2], coarse[n, s, _neighbour(i, c1)], planes[0, i], planes[1, i])
        for j in range(n2):
            jo, jn = j // 2 * c3, _neighbour(j, c2) * c3
            _blend(row, plane[jo : jo + c3], plane[jn : jn + c3], rows[0, j], rows[1, j])
            x, out = u[n, s, i, j * n3 : (j + 1) * n3], y[n, s, i, j * n3 : (j + 1) * n3]
            if has_u:
                for k in range(n3):
                    out[k] = x[k]
            else:
                for k in range(n3):
                    out[k] = 0
            _spread(out, row, columns)


@compiled
def _spread(out: np.ndarray, row: np.ndarray, columns: np.ndarray) -> None:
    """Interpolate a row of coarse values to its cells, and add."""
    n, c = out.size, row.size
    near, far = columns[0], columns[1]
    for k in range(n // 2):
        out[2 * k] += near[2 * k] * row[k]
        out[2 * k + 1] += near[2 * k + 1] * row[k]
    if n % 2:
        out[n - 1] += near[n - 1] * row[c - 1]
    low, after = row[: c - 1], row[1:]
    first, second, w1, w2 = out[1:], out[2:], far[1:], far[2:]
    # the second cell of a pair, and the first of the next one
    for k in range((n - 2 + 1) // 2 if n > 2 else 0):
        first[2 * k] += w1[2 * k] * after[k]
        second[2 * k] += w2[2 * k] * low[k]
    out[0] += far[0] * row[c - 1]
    if n % 2 == 0:
        out[n - 1] += far[n - 1] * row[0]


@compiled
def _gather(out: np.ndarray, x: np.ndarray, columns: np.ndarray) -> None:
    """The adjoint of :func:`_spread`: add to a row of coarse values."""
    n, c = x.size, out.size
    near, far = columns[0], columns[1]
    for k in range(n // 2):
        out[k] += near[2 * k] * x[2 * k] + near[2 * k + 1] * x[2 * k + 1]
    if n % 2:
        out[c - 1] += near[n - 1] * x[n - 1]
    pairs = (n - 2 + 1) // 2 if n > 2 else 0
    after, first, second, w1, w2 = out[1:], x[1:], x[2:], far[1:], far[2:]
    for k in range(pairs):
        after[k] += w1[2 * k] * first[2 * k]
    for k in range(pairs):
        out[k] += w2[2 * k] * second[2 * k]
    out[c - 1] += far[0] * x[0]
    if n % 2 == 0:
        out[0] += far[n - 1] * x[n - 1]


@compiled
def _candidates(i: int, n: int) -> np.ndarray:
    """The cells that meet coarse cell i as their own (first two) and as their neighbour, -1 for none."""
    count = (n + 1) // 2
    below, above = (i - 1) % count, (i + 1) % count
    found = np.array([2 * i, 2 * i + 1, 2 * below + 1, 2 * above])
    for q in range(4):
        if found[q] >= n:
            found[q] = -1
    return found


@compiled
def _combine(out: np.ndarray, x: np.ndarray, places: np.ndarray, weights: np.ndarray) -> None:
    """Weighted sum of the rows of x that meet one coarse row."""
    for k in range(out.size):
        out[k] = 0
    for q in range(4):
        if places[q] < 0:
            continue
        w = weights[q // 2, places[q]]
        if w != 0:
            v = x[places[q] * out.size : (places[q] + 1) * out.size]
            for k in range(out.size):
                out[k] += w * v[k]


@compiled(parallel=True)
def _restrict_product(r: np.ndarray, planes: np.ndarray, rows: np.ndarray, columns: np.ndarray, y: np.ndarray) -> None:
    batch, rhs, n1, cells = r.shape
    n2, n3 = rows.shape[1], columns.shape[1]
    c1, c2, c3 = (n1 + 1) // 2, (n2 + 1) // 2, (n3 + 1) // 2
    for q in prange(batch * rhs * c1):
        n, s, i = q // (rhs * c1), q // c1 % rhs, q % c1
        plane, row, out = np.empty(cells, y.dtype), np.empty(n3, y.dtype), y[n, s, i]
        _combine(plane, r[n, s].reshape(-1), _candidates(i, n1), planes)
        out[:] = 0
        for j in range(c2):
            _combine(row, plane, _candidates(j, n2), rows)
            _gather(out[j * c3 : (j + 1) * c3], row, columns)


@compiled
def _expand(out: np.ndarray, row: np.ndarray, move: int) -> None:
    """The coarse value that each cell of a row meets."""
    n, c = out.size, row.size
    if move == 0:
        for k in range(n // 2):
            out[2 * k] = row[k]
            out[2 * k + 1] = row[k]
        if n % 2:
            out[n - 1] = row[c - 1]
    else:
        first, second, after = out[1:], out[2:], row[1:]
        for k in range((n - 2 + 1) // 2 if n > 2 else 0):
            first[2 * k] = after[k]
            second[2 * k] = row[k]
        out[0] = row[c - 1]
        if n % 2 == 0:
            out[n - 1] = row[0]


@compiled(parallel=True)
def _prolong_weighted(
    coarse: np.ndarray,
    u: np.ndarray,
    has_u: bool,
    weights: np.ndarray,
    moves: np.ndarray,
    y: np.ndarray,
    n3: int,
) -> None:
    batch, rhs, n1, cells = y.shape
    n2 = cells // n3
    c1, c2, c3 = (n1 + 1) // 2, (n2 + 1) // 2, (n3 + 1) // 2
    for q in prange(batch * rhs * n1):
        n, s, i = q // (rhs * n1), q // n1 % rhs, q % n1
        c = n if weights.shape[0] > 1 else 0
        taken = np.empty(n3, y.dtype)
        for j in range(n2):
            x, out = u[n, s, i, j * n3 : (j + 1) * n3], y[n, s, i, j * n3 : (j + 1) * n3]
            for m in range(moves.shape[0]):
                up = _neighbour(i, c1) if moves[m, 0] else i // 2
                at = (_neighbour(j, c2) if moves[m, 1] else j // 2) * c3
                _expand(taken, coarse[n, s, up, at : at + c3], moves[m, 2])
                w = weights[c, m, i, j * n3 : (j + 1) * n3]
                if m > 0:
                    for k in range(n3):
                        out[k] += w[k] * taken[k]
                elif has_u:
                    for k in range(n3):
                        out[k] = x[k] + w[k] * taken[k]
                else:
                    for k in range(n3):
                        out[k] = w[k] * taken[k]


@compiled
def _fold(out: np.ndarray, x: np.ndarray, w: np.ndarray, scratch: np.ndarray, move: int) -> None:
    """The adjoint of :func:`_expand` on w x, added."""
    n, c = x.size, out.size
    for k in range(n):
        scratch[k] = w[k] * x[k]
    if move == 0:
        for k in range(n // 2):
            out[k] += scratch[2 * k] + scratch[2 * k + 1]
        if n % 2:
            out[c - 1] += scratch[n - 1]
    else:
        first, second, after = scratch[1:], scratch[2:], out[1:]
        pairs = (n - 2 + 1) // 2 if n > 2 else 0
        for k in range(pairs):
            after[k] += first[2 * k]
        for k in range(pairs):
            out[k] += second[2 * k]
        out[c - 1] += scratch[0]
        if n % 2 == 0:
            out[0] += scratch[n - 1]


@compiled(parallel=True)
def _restrict_weighted(r: np.ndarray, weights: np.ndarray, moves: np.ndarray, y: np.ndarray, n3: int) -> None:
    batch, rhs, n1, cells = r.shape
    n2 = cells // n3
    c1, c2, c3 = (n1 + 1) // 2, (n2 + 1) // 2, (n3 + 1) // 2
    for q in prange(batch * rhs * c1):
        n, s, i = q // (rhs * c1), q // c1 % rhs, q % c1
        c = n if weights.shape[0] > 1 else 0
        scratch, places = np.empty(n3, y.dtype), _candidates(i, n1)
        y[n, s, i] = 0
        for p in range(4):
            plane = places[p]
            if plane < 0:
                continue
            for j in range(n2):
                x = r[n, s, plane, j * n3 : (j + 1) * n3]
                for m in range(moves.shape[0]):
                    if moves[m, 0] != p // 2:
                        continue
                    at = (_neighbour(j, c2) if moves[m, 1] else j // 2) * c3
                    w = weights[c, m, plane, j * n3 : (j + 1) * n3]
                    _fold(y[n, s, i, at : at + c3], x, w, scratch, moves[m, 2])


@compiled(parallel=True)
def _slopes(fine: np.ndarray, coarse: np.ndarray, moves: np.ndarray, y: np.ndarray, n3: int) -> None:
    batch, rhs, n1, cells = fine.shape
    operators, each = y.shape[0], batch // y.shape[0]
    n2 = cells // n3
    c1, c2, c3 = (n1 + 1) // 2, (n2 + 1) // 2, (n3 + 1) // 2
    for q in prange(operators * n1):
        c, i = q // n1, q % n1
        taken = np.empty(n3, y.dtype)
        for m in range(moves.shape[0]):
            up = _neighbour(i, c1) if moves[m, 0] else i // 2
            y[c, m, i] = 0
            for field in range(each * rhs):
                n, s = c * each + field // rhs, field % rhs
                for j in range(n2):
                    at = (_neighbour(j, c2) if moves[m, 1] else j // 2) * c3
                    _expand(taken, coarse[n, s, up, at : at + c3], moves[m, 2])
                    x, out = fine[n, s, i, j * n3 : (j + 1) * n3], y[c, m, i, j * n3 : (j + 1) * n3]
                    for k in range(n3):
                        out[k] += x[k] * taken[k]


@compiled
def _faces_in_rows(out: np.ndarray, w: np.ndarray, factor: float, nearer: float) -> None:
    """Add the couplings to the next coarse cell of a row; `nearer` is the factor beside a cell that stays alone."""
    n3 = w.shape[1]
    c3 = (n3 + 1) // 2
    for j in range(w.shape[0]):
        y, x = out[j // 2], w[j]
        for k in range(n3 // 2):
            y[k] += factor * x[2 * k + 1]
        if n3 % 2:
            y[c3 - 1] += nearer * x[n3 - 1]
            if n3 > 1:
                y[c3 - 2] += (nearer - factor) * x[n3 - 2]


@compiled
def _raise_alone(extra: np.ndarray, plane_alone: bool, rows: bool, factor: float) -> None:
    """Take the factor back where a cell has no twin along some axis, among them that of the rows or not."""
    n2, n3 = extra.shape
    for j in range(n2):
        everywhere = plane_alone or (rows and n2 % 2 == 1 and j == n2 - 1)
        for k in range(0 if everywhere else n3 - n3 % 2, n3):
            extra[j, k] /= factor


@compiled
def _coarsen_plane(
    links: tuple[int, ...],
    diagonal: np.ndarray,
    coupling: np.ndarray,
    coarse: np.ndarray,
    couplings: np.ndarray,
    factor: float,
    i: int,
) -> None:
    """One coarse plane: its couplings, and of its diagonal what is beyond them."""
    d, (n1, n2, n3) = len(links), coupling.shape[1:]
    dtype = diagonal.dtype
    ones, extra = np.ones((n2, n3), dtype), np.empty((n2, n3), dtype)
    one, zero = dtype.type(1), dtype.type(0)
    nearer = (factor + factor) / (one + factor)
    couplings[d - 1, i] = 0
    if d > 2:
        couplings[1, i] = 0
    for plane in range(2 * i, min(2 * i + 2, n1)):
        # what each row of A adds up to is what the diagonal has beyond the couplings
        residual_plane(links, extra, ones, diagonal[plane], coupling, plane, ones, ones, ones, zero, factor)
        _raise_alone(extra, d > 1 and plane == 2 * i and plane == n1 - 1, d > 2, factor)
        sum_of_plane(coarse[i], extra, n3, plane == 2 * i)
        _faces_in_rows(couplings[d - 1, i], coupling[d - 1, plane], factor, nearer)
        if d > 2:
            for j in range(n2):
                if j % 2 == 1 or j == n2 - 1:
                    f = nearer if n2 % 2 == 1 and j >= n2 - 2 else factor
                    x, out = coupling[1, plane, j], couplings[1, i, j // 2]
                    for k in range(n3):
                        out[k // 2] += f * x[k]
    if d > 1:
        last = min(2 * i + 1, n1 - 1)
        f = nearer if n1 % 2 == 1 and last >= n1 - 2 else factor
        for j in range(n2):
            x, out = coupling[0, last, j], extra[j]
            for k in range(n3):
                out[k] = f * x[k]
        sum_of_plane(couplings[0, i], extra, n3, True)


@compiled(parallel=True)
def _coarsen(
    links: tuple[int, ...],
    diagonal: np.ndarray,
    coupling: np.ndarray,
    coarse: np.ndarray,
    couplings: np.ndarray,
    factor: float,
) -> None:
    batch, c1, c2, c3 = coarse.shape
    dtype = diagonal.dtype
    zero, minus = dtype.type(0), dtype.type(-1)
    for q in prange(batch * c1):
        b = q // c1
        own, rest = borrowed(coarse)[b], borrowed(couplings)[b]
        _coarsen_plane(links, borrowed(diagonal)[b], borrowed(coupling)[b], own, rest, factor, q % c1)
    for q in prange(batch * c1):
        b, i = q // c1, q % c1
        ones, total, plane = np.ones((c2, c3), dtype), np.empty((c2, c3), dtype), coarse[b, i]
        residual_plane(links, total, ones, plane, couplings[b], i, ones, ones, ones, zero, minus)
        # total is - D of its own plus the couplings
        plane += total + plane
