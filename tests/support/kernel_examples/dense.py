"""Calls of the dense solves: well conditioned matrices, singular ones among those that are not differentiated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernel_examples import Draw, Example


def matrices(draw: Draw, batch: int, n: int) -> Tensor:
    """Orthogonal plus a little, rows shuffled so that every step has to pivot."""
    turned = torch.linalg.qr(draw.normal(batch, n, n).double().cpu()).Q
    return (turned + 0.3 * draw.normal(batch, n, n).double().cpu() / n**0.5).to(draw.device, draw.dtype)


def shape(draw: Draw, large: int) -> tuple[int, int]:
    return (2, 3) if draw.small else (5, large)


def spd(draw: Draw, batch: int, n: int) -> Tensor:
    a = matrices(draw, batch, n).double()
    return (a @ a.mT + torch.eye(n, device=draw.device).double()).to(draw.dtype)


def solve(large: int, k: int, transpose: bool, singular: bool = False) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        batch, n = shape(draw, large)
        A = matrices(draw, batch, n)
        if singular and not draw.small:
            A[0, :, 1] = 0
        return A, draw.normal(batch, n, k), transpose

    return make


def factor(draw: Draw) -> tuple[Any, ...]:
    return (matrices(draw, *shape(draw, 11)),)


def substitute(large: int, transpose: bool) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        A = matrices(draw, *shape(draw, large))
        lu, pivots = torch.linalg.lu_factor(A)
        return A, lu.contiguous(), pivots, draw.normal(*A.shape[:-1], 2), transpose

    return make


def spd_solve(large: int) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        batch, n = shape(draw, large)
        return spd(draw, batch, n), draw.normal(batch, n, 2)

    return make


def spd_substitute(draw: Draw) -> tuple[Any, ...]:
    A = spd(draw, *shape(draw, 9))
    return A, torch.linalg.cholesky(A).contiguous(), draw.normal(*A.shape[:-1], 2)


# dense_substitute takes factors that belong to its matrix: neither can be moved alone
EXAMPLES = [
    Example("dense_solve", solve(8, 1, False), "8", halves=False),
    Example("dense_solve", solve(13, 3, True, True), "13-transposed", halves=False),
    Example("dense_solve", solve(32, 2, False), "32", halves=False),
    Example("dense_factor", factor, halves=False),
    Example("dense_substitute", substitute(7, False), "7", halves=False, constant=(0, 1)),
    Example("dense_substitute", substitute(19, True), "19-transposed", halves=False, constant=(0, 1)),
    Example("spd_solve", spd_solve(10), "10", halves=False),
    Example("spd_solve", spd_solve(33), "33", halves=False),
    Example("spd_substitute", spd_substitute, halves=False, constant=(0, 1)),
]
