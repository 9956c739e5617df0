"""The triangular loops of incomplete Cholesky factors, compiled when first used."""

from __future__ import annotations

import math

import numpy as np

from sciops.kernels.cpu.compiled import compiled


@compiled
def factor_stencil(diagonal: np.ndarray, coupling: np.ndarray, pivots: np.ndarray, scale: float) -> bool:
    """Inverse pivots, d_i = D_i - sum over lower neighbours of w^2 / d; False where one is not positive."""
    for m in range(diagonal.shape[0]):
        for i in range(diagonal.shape[1]):
            for j in range(diagonal.shape[2]):
                for k in range(diagonal.shape[3]):
                    d = scale * diagonal[m, i, j, k]
                    if i > 0:
                        d -= coupling[m, 0, i - 1, j, k] ** 2 * pivots[m, i - 1, j, k]
                    if j > 0:
                        d -= coupling[m, 1, i, j - 1, k] ** 2 * pivots[m, i, j - 1, k]
                    if k > 0:
                        d -= coupling[m, 2, i, j, k - 1] ** 2 * pivots[m, i, j, k - 1]
                    # what cancellation leaves of a singular operator is no pivot
                    if not d > 1e-14 * diagonal[m, i, j, k]:
                        return False
                    pivots[m, i, j, k] = 1 / d
    return True


@compiled
def solve_stencil(coupling: np.ndarray, pivots: np.ndarray, r: np.ndarray, z: np.ndarray) -> None:
    """z = M r, forward and backward, for fields (batch, rhs, planes, rows, cells)."""
    planes, rows, cells = r.shape[2:]
    for m in range(r.shape[0]):
        for q in range(r.shape[1]):
            for i in range(planes):
                for j in range(rows):
                    for k in range(cells):
                        s = r[m, q, i, j, k]
                        if i > 0:
                            s += coupling[m, 0, i - 1, j, k] * z[m, q, i - 1, j, k]
                        if j > 0:
                            s += coupling[m, 1, i, j - 1, k] * z[m, q, i, j - 1, k]
                        z[m, q, i, j, k] = s * pivots[m, i, j, k]
                    before = z[m, q, i, j, 0]
                    for k in range(1, cells):
                        before = z[m, q, i, j, k] + coupling[m, 2, i, j, k - 1] * pivots[m, i, j, k] * before
                        z[m, q, i, j, k] = before
            for i in range(planes - 1, -1, -1):
                for j in range(rows - 1, -1, -1):
                    for k in range(cells):
                        s = z[m, q, i, j, k] * 0
                        if i < planes - 1:
                            s += coupling[m, 0, i, j, k] * z[m, q, i + 1, j, k]
                        if j < rows - 1:
                            s += coupling[m, 1, i, j, k] * z[m, q, i, j + 1, k]
                        z[m, q, i, j, k] += s * pivots[m, i, j, k]
                    before = z[m, q, i, j, cells - 1]
                    for k in range(cells - 2, -1, -1):
                        before = z[m, q, i, j, k] + coupling[m, 2, i, j, k] * pivots[m, i, j, k] * before
                        z[m, q, i, j, k] = before


@compiled
def factor_rows(starts: np.ndarray, columns: np.ndarray, values: np.ndarray, scale: float) -> bool:
    """The lower triangle of A, row by row with the diagonal last, becomes L; False where a pivot is not positive."""
    for i in range(starts.size - 1):
        last = starts[i + 1] - 1
        for p in range(starts[i], last):
            j = columns[p]
            s, q, end = values[p], starts[j], starts[j + 1] - 1
            t = starts[i]
            while t < p and q < end:
                if columns[t] == columns[q]:
                    s -= values[t] * values[q]
                    t += 1
                    q += 1
                elif columns[t] < columns[q]:
                    t += 1
                else:
                    q += 1
            values[p] = s / values[end]
        d = scale * values[last]
        least = 1e-14 * d
        for p in range(starts[i], last):
            d -= values[p] ** 2
        if not d > least:
            return False
        values[last] = math.sqrt(d)
    return True


@compiled
def solve_rows(starts: np.ndarray, columns: np.ndarray, values: np.ndarray, r: np.ndarray, z: np.ndarray) -> None:
    """z = (L L')^-1 r for vectors (system, n)."""
    n = starts.size - 1
    for m in range(r.shape[0]):
        for i in range(n):
            s = r[m, i]
            for p in range(starts[i], starts[i + 1] - 1):
                s -= values[p] * z[m, columns[p]]
            z[m, i] = s / values[starts[i + 1] - 1]
        for i in range(n - 1, -1, -1):
            z[m, i] /= values[starts[i + 1] - 1]
            for p in range(starts[i], starts[i + 1] - 1):
                z[m, columns[p]] -= values[p] * z[m, i]
