"""Operations and bytes of one call of each dense kernel; see docs/kernels.md."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kernel_examples import Draw

from sciops.kernels import dense

BATCH = 1000


def rows(draw: Draw) -> list[tuple[str, float, float, Callable[[], object]]]:
    table: list[tuple[str, float, float, Callable[[], object]]] = []
    for n in (8, 16, 32):
        eye = torch.eye(n, device=draw.device, dtype=draw.dtype)
        A, b = draw.normal(BATCH, n, n), draw.normal(BATCH, n)
        S, factors = A @ A.mT + n * eye, dense.dense_factor(A)
        matrix, vector = BATCH * n * n * A.element_size(), BATCH * n * A.element_size()
        eliminate, solve = BATCH * (2 / 3 * n**3 + n * n), BATCH * 2 * n * n

        def solving(A=A, b=b) -> object:
            return dense.dense_solve(A, b)

        def substituting(factors=factors, b=b) -> object:
            return dense.dense_factor_solve(factors, b)

        def inverting(A=A) -> object:
            return dense.dense_inverse(A)

        def definite(S=S, b=b) -> object:
            return dense.spd_solve(S, b)

        table += [
            (f"dense_solve, {n}", eliminate + solve, 2 * matrix + 2 * vector, solving),
            (f"dense_substitute, {n}", solve, matrix + 2 * vector, substituting),
            (f"dense_inverse, {n}", eliminate + n * solve, 4 * matrix, inverting),
            (f"spd_solve, {n}", eliminate / 2 + solve, 2 * matrix + 2 * vector, definite),
        ]
    return table
