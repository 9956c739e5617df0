"""Black-box prolongation and its coarse operator on a processor.

Cells of one parity along a row form a row of their own, with a step of two through memory, on which all loops run: what
a cell is, and which neighbours it takes from, is the same for all of them. Their number is at most that of the coarse
points, and k stands for cell 2k + e of parity e.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

from sciops.kernels.blackbox import columns
from sciops.kernels.cpu.compiled import borrowed, compiled, prange
from sciops.kernels.cpu.memory import empty
from sciops.kernels.cpu.stencil import as_rows, is_large, moves_of
from sciops.kernels.stencil import offsets
from sciops.kernels.transfer import coarse_shape


def weights(diagonal: Tensor, coupling: Tensor) -> Tensor:
    d = diagonal.ndim - 1
    found = torch.zeros(diagonal.shape[0], 3**d - 1, *coarse_shape(diagonal.shape[1:]), dtype=diagonal.dtype)
    run = _weights_together if is_large(diagonal) else _weights
    moves = moves_of(d, coupling.shape[1])
    run(as_rows(diagonal, d), as_rows(coupling, d), as_rows(found, d), moves, _numbers(d, tuple(columns(d))))
    return found


def galerkin(diagonal: Tensor, coupling: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    d, links = diagonal.ndim - 1, 3 ** (diagonal.ndim - 1) // 2
    shape = coarse_shape(diagonal.shape[1:])
    coarse = torch.zeros(diagonal.shape[0], *shape, dtype=diagonal.dtype)
    couplings = torch.zeros(diagonal.shape[0], links, *shape, dtype=diagonal.dtype)
    run = _galerkin_together if is_large(diagonal) else _galerkin
    run(
        *(as_rows(t, d) for t in (diagonal, coupling, weights, coarse, couplings)),
        moves_of(d, coupling.shape[1]),
        _numbers(d, tuple(columns(d))),
        _numbers(d, tuple(offsets(d, links))),
    )
    return coarse, couplings


def prolong(coarse: Tensor, weights: Tensor, u: Tensor | None, space: list[int]) -> Tensor:
    d = len(space)
    y = empty((*coarse.shape[:2], *space), coarse)
    guess = as_rows(y if u is None else u, d)
    run = _prolong_together if is_large(y) else _prolong
    run(as_rows(coarse, d), as_rows(weights, d), guess, u is not None, as_rows(y, d), _numbers(d, tuple(columns(d))))
    return y


def restrict(r: Tensor, weights: Tensor) -> Tensor:
    d = r.ndim - 2
    y = r.new_empty(*r.shape[:2], *coarse_shape(r.shape[2:]))
    run = _restrict_together if is_large(r) else _restrict
    run(as_rows(r, d), as_rows(weights, d), as_rows(y, d), _numbers(d, tuple(columns(d))))
    return y


def slopes(fine: Tensor, coarse: Tensor, shared: bool) -> Tensor:
    d = fine.ndim - 2
    found = fine.new_zeros(1 if shared else fine.shape[0], 3**d - 1, *coarse.shape[2:])
    _slopes(as_rows(fine, d), as_rows(coarse, d), as_rows(found, d), _numbers(d, tuple(columns(d))))
    return found


@functools.cache
def _numbers(d: int, offsets: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """The number of each offset, at [planes + 1, rows + 1, cells + 1]; -1 for those that are not there."""
    axes = {1: (2,), 2: (0, 2), 3: (0, 1, 2)}[d]
    found = np.full((3, 3, 3), -1)
    for number, offset in enumerate(offsets):
        at = [1, 1, 1]
        for o, axis in zip(offset, axes, strict=True):
            at[axis] = o + 1
        found[tuple(at)] = number
    return found


@compiled
def _take(out: np.ndarray, x: np.ndarray, e: int, count: int, by: float) -> None:
    """out = by x at the cells 2k + e, around the ends."""
    first, last = 1 if e < 0 else 0, min(count, (x.size - e + 1) // 2)
    if e < 0:
        out[0] = by * x[x.size + e]
        for k in range(first, last):
            out[k] = by * x[2 * (k - 1) + (2 + e)]
    else:
        for k in range(first, last):
            out[k] = by * x[2 * k + e]
    for k in range(last, count):
        out[k] = by * x[2 * k + e - x.size]


@compiled
def _add_product(out: np.ndarray, v: np.ndarray, x: np.ndarray, shift: int, count: int) -> None:
    """out += v x, x at the coarse points k + shift, around the end."""
    inside, beyond = min(count, x.size - shift), x[shift:]
    for k in range(inside):
        out[k] += v[k] * beyond[k]
    for k in range(inside, count):
        out[k] += v[k] * x[k + shift - x.size]


@compiled
def _take_points(out: np.ndarray, x: np.ndarray, shift: int, count: int) -> None:
    """out = x at the coarse points k + shift, around the end."""
    inside = min(count, x.size - shift)
    for k in range(inside):
        out[k] = x[k + shift]
    for k in range(inside, count):
        out[k] = x[k + shift - x.size]


@compiled
def _column(numbers: np.ndarray, e1: int, e2: int, e3: int, b1: int, b2: int, b3: int) -> int:
    """Which column holds what a cell of such parities takes from its lower (0) or upper (1) point along each axis."""
    column: int = numbers[1 + e1 * (1 - 2 * b1), 1 + e2 * (1 - 2 * b2), 1 + e3 * (1 - 2 * b3)]
    return column


@compiled
def _weights_part(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    weights: np.ndarray,
    moves: np.ndarray,
    numbers: np.ndarray,
    odd: int,
    i: int,
    collapsed: np.ndarray,
) -> None:
    """The weights of the cells of plane i with so many odd indices."""
    collapsed = borrowed(collapsed)
    n1, n2, n3 = diagonal.shape
    c1, c2, c3 = weights.shape[1:]
    e1, one = i % 2, diagonal.dtype.type(1)
    used = np.zeros(27, np.bool_)
    total, value = collapsed[27], collapsed[28]
    for j in range(n2):
        e2 = j % 2
        e3 = odd - e1 - e2
        if e3 < 0 or e3 > 1 or e3 >= n3:
            continue
        count = (n3 - e3 + 1) // 2
        used[:] = False
        # the operator summed up across the axes on which the cell is even; 13 is the cell itself
        _take(collapsed[13], diagonal[i, j], e3, count, one)
        for a in range(moves.shape[0]):
            o1, o2, o3 = moves[a, 0], moves[a, 1], moves[a, 2]
            for side in range(2):
                sign = 1 - 2 * side
                key = 13 + sign * (9 * o1 * e1 + 3 * o2 * e2 + o3 * e3)
                at = (i, j) if side == 0 else ((i - o1) % n1, (j - o2) % n2)
                row = coupling[a, at[0], at[1]]
                shift = e3 if side == 0 else e3 - o3
                if key == 13 or used[key]:
                    _take(value, row, shift, count, one)
                    to = collapsed[key]
                    for k in range(count):
                        to[k] -= value[k]
                else:
                    _take(collapsed[key], row, shift, count, -one)
                    used[key] = True
        centre = collapsed[13]
        for k in range(count):
            if centre[k] <= 0:
                # a coarse operator may leave nothing positive here: then the neighbours share by magnitude
                centre[k] = 0
                for key in range(27):
                    if used[key]:
                        collapsed[key, k] = -abs(collapsed[key, k])
                        centre[k] -= collapsed[key, k]
            centre[k] = one / centre[k] if centre[k] > 0 else 0
        for b1 in range(e1 + 1):
            for b2 in range(e2 + 1):
                for b3 in range(e3 + 1):
                    for k in range(count):
                        total[k] = 0
                    for key in range(27):
                        if not used[key]:
                            continue
                        o1, o2, o3 = key // 9 - 1, key // 3 % 3 - 1, key % 3 - 1
                        # a neighbour stands on the side of the corner, or beside the cell and reaches there itself
                        if (o1 and (o1 > 0) != b1) or (o2 and (o2 > 0) != b2) or (o3 and (o3 > 0) != b3):
                            continue
                        r1, r2, r3 = 0 if o1 else b1, 0 if o2 else b2, 0 if o3 else b3
                        column = _column(numbers, (e1 + o1) % 2, (e2 + o2) % 2, (e3 + o3) % 2, r1, r2, r3)
                        if column < 0:  # a coarse point
                            entry = collapsed[key]
                            for k in range(count):
                                total[k] += entry[k]
                            continue
                        x = weights[column, ((i + o1) // 2 + r1) % c1, ((j + o2) // 2 + r2) % c2]
                        _add_product(total, collapsed[key], x, (e3 + o3) // 2 + r3, count)
                    column = _column(numbers, e1, e2, e3, b1, b2, b3)
                    out = weights[column, (i // 2 + b1) % c1, (j // 2 + b2) % c2]
                    for k in range(min(count, c3 - b3)):
                        out[k + b3] = -total[k] * centre[k]
                    if count + b3 > c3:
                        out[0] = -total[count - 1] * centre[count - 1]


@compiled
def _weights(
    diagonal: np.ndarray, coupling: np.ndarray, weights: np.ndarray, moves: np.ndarray, numbers: np.ndarray
) -> None:
    n1, n3 = diagonal.shape[1], diagonal.shape[3]
    memory = np.zeros((29, (n3 + 1) // 2), diagonal.dtype)
    for b in range(diagonal.shape[0]):
        own, w, found = borrowed(diagonal)[b], borrowed(coupling)[b], borrowed(weights)[b]
        for odd in range(1, 4):
            for i in range(n1):
                _weights_part(own, w, found, moves, numbers, odd, i, memory)


@compiled(parallel=True)
def _weights_together(
    diagonal: np.ndarray, coupling: np.ndarray, weights: np.ndarray, moves: np.ndarray, numbers: np.ndarray
) -> None:
    n1, n3 = diagonal.shape[1], diagonal.shape[3]
    for b in range(diagonal.shape[0]):
        # cells with more odd indices take the weights of those with fewer
        for odd in range(1, 4):
            for job in prange(16):
                memory = np.zeros((29, (n3 + 1) // 2), diagonal.dtype)
                own, w, found = borrowed(diagonal)[b], borrowed(coupling)[b], borrowed(weights)[b]
                for i in range(job * n1 // 16, (job + 1) * n1 // 16):
                    _weights_part(own, w, found, moves, numbers, odd, i, memory)


@compiled
def _apply_to_prolongation(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    weights: np.ndarray,
    moves: np.ndarray,
    numbers: np.ndarray,
    i: int,
    j: int,
    e3: int,
    product: np.ndarray,
    used: np.ndarray,
    value: np.ndarray,
) -> None:
    """Rows of A P: what each cell of a parity couples to each of the coarse points around its own."""
    n1, n2, n3 = diagonal.shape
    c1, c2, c3 = weights.shape[1:]
    e1, e2, count = i % 2, j % 2, (n3 - e3 + 1) // 2
    one = diagonal.dtype.type(1)
    used[:] = False
    for a in range(-1, moves.shape[0]):
        for side in range(1 if a < 0 else 2):
            o1, o2, o3 = (0, 0, 0) if a < 0 else (moves[a, 0], moves[a, 1], moves[a, 2])
            if a < 0:
                _take(value, diagonal[i, j], e3, count, one)
            elif side == 0:
                _take(value, coupling[a, i, j], e3, count, -one)
            else:
                _take(value, coupling[a, (i - o1) % n1, (j - o2) % n2], e3 - o3, count, -one)
                o1, o2, o3 = -o1, -o2, -o3
            if (n1 % 2 and not 0 <= i + o1 < n1) or (n2 % 2 and not 0 <= j + o2 < n2):
                continue
            if n3 % 2 and e3 == 0 and o3:
                value[0 if o3 < 0 else count - 1] = 0
            # the coarse points that the neighbour takes from
            for b1 in range((e1 + o1) % 2 + 1):
                for b2 in range((e2 + o2) % 2 + 1):
                    for b3 in range((e3 + o3) % 2 + 1):
                        at = 9 * ((e1 + o1) // 2 + b1 + 1) + 3 * ((e2 + o2) // 2 + b2 + 1) + (e3 + o3) // 2 + b3 + 1
                        if not used[at]:
                            used[at] = True
                            product[at, :count] = 0
                        column = _column(numbers, (e1 + o1) % 2, (e2 + o2) % 2, (e3 + o3) % 2, b1, b2, b3)
                        if column < 0:
                            to = product[at]
                            for k in range(count):
                                to[k] += value[k]
                            continue
                        x = weights[column, ((i + o1) // 2 + b1) % c1, ((j + o2) // 2 + b2) % c2]
                        # below the first cell lies the last one, and above the last point the first one
                        shift = (e3 + o3) // 2 + b3
                        _add_product(product[at], value, x, shift % c3, count)


@compiled
def _add_shifted(out: np.ndarray, v: np.ndarray, x: np.ndarray, shift: int, count: int, sign: float) -> None:
    inside = min(count, out.size - shift)
    to = out[shift:]
    for k in range(inside):
        to[k] += sign * v[k] * x[k]
    for k in range(inside, count):
        out[k + shift - out.size] += sign * v[k] * x[k]


@compiled
def _galerkin_part(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    weights: np.ndarray,
    coarse: np.ndarray,
    couplings: np.ndarray,
    moves: np.ndarray,
    numbers: np.ndarray,
    links: np.ndarray,
    low: int,
    high: int,
    memory: np.ndarray,
) -> None:
    """The coarse planes [low, high)."""
    rows = borrowed(memory)
    n1, n2, n3 = diagonal.shape
    c1, c2, _ = coarse.shape
    one, used = diagonal.dtype.type(1), np.zeros(27, np.bool_)
    value, share = rows[27], rows[28]
    for plane in range(2 * low - 1, min(2 * high, n1)):
        # on a periodic axis the last plane adds to the first coarse one
        if plane < 0 and (n1 % 2 or high == c1):
            continue
        i = plane % n1
        for j in range(n2):
            for e3 in range(min(2, n3)):
                count = (n3 - e3 + 1) // 2
                _apply_to_prolongation(diagonal, coupling, weights, moves, numbers, i, j, e3, rows, used, value)
                for s1 in range(i % 2 + 1):
                    to1 = (i // 2 + s1) % c1
                    if to1 < low or to1 >= high:
                        continue
                    for s2 in range(j % 2 + 1):
                        to2 = (j // 2 + s2) % c2
                        for s3 in range(e3 + 1):
                            column = _column(numbers, i % 2, j % 2, e3, s1, s2, s3)
                            if column < 0:
                                share[:count] = 1
                            else:
                                _take_points(share, weights[column, to1, to2], s3, count)
                            for at in range(27):
                                if not used[at]:
                                    continue
                                o1, o2, o3 = at // 9 - s1, at // 3 % 3 - s2, at % 3 - s3
                                if o1 == 1 and o2 == 1 and o3 == 1:
                                    _add_shifted(coarse[to1, to2], share, rows[at], s3, count, one)
                                elif links[o1, o2, o3] >= 0:
                                    out = couplings[links[o1, o2, o3], to1, to2]
                                    _add_shifted(out, share, rows[at], s3, count, -one)


@compiled
def _galerkin(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    weights: np.ndarray,
    coarse: np.ndarray,
    couplings: np.ndarray,
    moves: np.ndarray,
    numbers: np.ndarray,
    links: np.ndarray,
) -> None:
    memory = np.zeros((29, coarse.shape[3]), diagonal.dtype)
    for b in range(diagonal.shape[0]):
        _galerkin_part(
            borrowed(diagonal)[b],
            borrowed(coupling)[b],
            borrowed(weights)[b],
            borrowed(coarse)[b],
            borrowed(couplings)[b],
            moves,
            numbers,
            links,
            0,
            coarse.shape[1],
            memory,
        )


@compiled(parallel=True)
def _galerkin_together(
    diagonal: np.ndarray,
    coupling: np.ndarray,
    weights: np.ndarray,
    coarse: np.ndarray,
    couplings: np.ndarray,
    moves: np.ndarray,
    numbers: np.ndarray,
    links: np.ndarray,
) -> None:
    batch, c1 = coarse.shape[:2]
    for job in prange(batch * 8):
        b, part = job // 8, job % 8
        memory = np.zeros((29, coarse.shape[3]), diagonal.dtype)
        _galerkin_part(
            borrowed(diagonal)[b],
            borrowed(coupling)[b],
            borrowed(weights)[b],
            borrowed(coarse)[b],
            borrowed(couplings)[b],
            moves,
            numbers,
            links,
            part * c1 // 8,
            (part + 1) * c1 // 8,
            memory,
        )


@compiled
def _prolong_part(
    coarse: np.ndarray,
    weights: np.ndarray,
    u: np.ndarray,
    has_u: bool,
    y: np.ndarray,
    numbers: np.ndarray,
    memory: np.ndarray,
    job: int,
    jobs: int,
) -> None:
    coarse, weights, u, y, rows = borrowed(coarse), borrowed(weights), borrowed(u), borrowed(y), borrowed(memory)
    batch, rhs, n1, n2, n3 = y.shape
    c1, c2, c3 = coarse.shape[2:]
    total, one = batch * rhs * n1, y.dtype.type(1)
    even, odd = rows[0], rows[1]
    for q in range(job * total // jobs, (job + 1) * total // jobs):
        n, s, i = q // (rhs * n1), q // n1 % rhs, q % n1
        c = n if weights.shape[0] > 1 else 0
        e1 = i % 2
        for j in range(n2):
            e2, out, pairs = j % 2, y[n, s, i, j], n3 // 2
            even[:] = 0
            odd[:] = 0
            for b1 in range(e1 + 1):
                for b2 in range(e2 + 1):
                    i1, i2 = (i // 2 + b1) % c1, (j // 2 + b2) % c2
                    e = coarse[n, s, i1, i2]
                    column = _column(numbers, e1, e2, 0, b1, b2, 0)
                    if column < 0:
                        for k in range(c3):
                            even[k] = e[k]
                    else:
                        _add_product(even, weights[c, column, i1, i2], e, 0, c3)
                    if pairs > 0:
                        lower = weights[c, _column(numbers, e1, e2, 1, b1, b2, 0), i1, i2]
                        upper = weights[c, _column(numbers, e1, e2, 1, b1, b2, 1), i1, i2]
                        for k in range(min(pairs, c3 - 1)):
                            odd[k] += lower[k] * e[k] + upper[k + 1] * e[k + 1]
                        if pairs == c3:
                            odd[c3 - 1] += lower[c3 - 1] * e[c3 - 1] + upper[0] * e[0]
            if has_u:
                x = u[n, s, i, j]
                for k in range(pairs):
                    out[2 * k] = x[2 * k] + even[k]
                    out[2 * k + 1] = x[2 * k + 1] + odd[k]
            else:
                for k in range(pairs):
                    out[2 * k] = even[k]
                    out[2 * k + 1] = odd[k]
            if n3 % 2:
                out[n3 - 1] = even[pairs] + (u[n, s, i, j, n3 - 1] if has_u else 0 * one)


@compiled
def _prolong(
    coarse: np.ndarray, weights: np.ndarray, u: np.ndarray, has_u: bool, y: np.ndarray, numbers: np.ndarray
) -> None:
    memory = np.zeros((2, coarse.shape[4]), y.dtype)
    _prolong_part(coarse, weights, u, has_u, y, numbers, memory, 0, 1)


@compiled(parallel=True)
def _prolong_together(
    coarse: np.ndarray, weights: np.ndarray, u: np.ndarray, has_u: bool, y: np.ndarray, numbers: np.ndarray
) -> None:
    for job in prange(16):
        memory = np.zeros((2, coarse.shape[4]), y.dtype)
        _prolong_part(coarse, weights, u, has_u, y, numbers, memory, job, 16)


@compiled
def _cell(at: int, n: int) -> int:
    """Around the ends of an even number of cells; -1 beyond those of an odd one."""
    if 0 <= at < n:
        return at
    return at % n if n % 2 == 0 else -1


@compiled
def _restrict_part(
    r: np.ndarray, weights: np.ndarray, y: np.ndarray, numbers: np.ndarray, memory: np.ndarray, job: int, jobs: int
) -> None:
    r, weights, y, rows = borrowed(r), borrowed(weights), borrowed(y), borrowed(memory)
    batch, rhs, c1, c2, c3 = y.shape
    n1, n2, n3 = r.shape[2:]
    total, pairs = batch * rhs * c1, n3 // 2
    even, odd = rows[0], rows[1]
    for q in range(job * total // jobs, (job + 1) * total // jobs):
        n, s, i = q // (rhs * c1), q // c1 % rhs, q % c1
        c = n if weights.shape[0] > 1 else 0
        for j in range(c2):
            out = y[n, s, i, j]
            out[:] = 0
            for o1 in range(-1, 2):
                for o2 in range(-1, 2):
                    plane, row = _cell(2 * i + o1, n1), _cell(2 * j + o2, n2)
                    if plane < 0 or row < 0:
                        continue
                    x = r[n, s, plane, row]
                    for k in range(pairs):
                        even[k] = x[2 * k]
                        odd[k] = x[2 * k + 1]
                    if n3 % 2:
                        even[pairs] = x[n3 - 1]
                        odd[pairs] = 0
                    own = numbers[o1 + 1, o2 + 1, 1]
                    if own < 0 and (o1 or o2):
                        continue  # an axis that is not there
                    if own < 0:
                        for k in range(c3):
                            out[k] += even[k]
                    else:
                        w = weights[c, own, i, j]
                        for k in range(c3):
                            out[k] += w[k] * even[k]
                    if pairs > 0:
                        low, up = (
                            weights[c, numbers[o1 + 1, o2 + 1, 0], i, j],
                            weights[c, numbers[o1 + 1, o2 + 1, 2], i, j],
                        )
                        for k in range(1, c3):
                            out[k] += low[k] * odd[k - 1]
                        if n3 % 2 == 0:
                            out[0] += low[0] * x[n3 - 1]
                        for k in range(pairs):
                            out[k] += up[k] * odd[k]


@compiled
def _restrict(r: np.ndarray, weights: np.ndarray, y: np.ndarray, numbers: np.ndarray) -> None:
    memory = np.zeros((2, y.shape[4]), y.dtype)
    _restrict_part(r, weights, y, numbers, memory, 0, 1)


@compiled(parallel=True)
def _restrict_together(r: np.ndarray, weights: np.ndarray, y: np.ndarray, numbers: np.ndarray) -> None:
    for job in prange(16):
        memory = np.zeros((2, y.shape[4]), y.dtype)
        _restrict_part(r, weights, y, numbers, memory, job, 16)


@compiled
def _slopes(fine: np.ndarray, coarse: np.ndarray, found: np.ndarray, numbers: np.ndarray) -> None:
    fine, coarse, found = borrowed(fine), borrowed(coarse), borrowed(found)
    batch, rhs, n1, n2, n3 = fine.shape
    c1, c2, c3 = coarse.shape[2:]
    each = batch // found.shape[0]
    for c in range(found.shape[0]):
        for field in range(each * rhs):
            n, s = c * each + field // rhs, field % rhs
            for i in range(c1):
                for j in range(c2):
                    e = coarse[n, s, i, j]
                    for o1 in range(-1, 2):
                        for o2 in range(-1, 2):
                            plane, row = _cell(2 * i + o1, n1), _cell(2 * j + o2, n2)
                            if plane < 0 or row < 0:
                                continue
                            x = fine[n, s, plane, row]
                            for o3 in range(-1, 2):
                                column = numbers[o1 + 1, o2 + 1, o3 + 1]
                                if column < 0:
                                    continue
                                out = found[c, column, i, j]
                                for k in range(c3):
                                    cell = _cell(2 * k + o3, n3)
                                    if cell >= 0:
                                        out[k] += e[k] * x[cell]
