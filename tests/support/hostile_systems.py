"""Linear systems made to mislead a solver: each with what may come of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from sciops.data import Grid
from sciops.solvers import linear


class Hostile(NamedTuple):
    """A system; `hopeless` ones must not be reported as converged."""

    A: Callable[[], Any]
    b: Any
    options: dict[str, Any]
    hopeless: bool


def _spd(rng: np.random.Generator, n: int, low: float = 1.0) -> np.ndarray:
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    return (Q * np.geomspace(low, 1.0, n)) @ Q.T


def _vector(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal(shape))


def indefinite(rng, n):
    A = _spd(rng, n)
    A -= 2 * rng.random() * np.outer(A[:, 0], A[:, 0])
    return Hostile(lambda: linear.Sparse(A - 0.3 * np.eye(n)), _vector(rng, n), {}, False)


def nan_in_the_matrix(rng, n):
    A = _spd(rng, n)
    A[rng.integers(n), rng.integers(n)] = rng.choice([np.nan, np.inf])
    return Hostile(lambda: linear.Sparse(A), _vector(rng, n), {}, True)


def nan_in_the_vector(rng, n):
    b = _vector(rng, n)
    b[rng.integers(n)] = float(rng.choice([np.nan, -np.inf]))
    return Hostile(lambda: linear.Sparse(_spd(rng, n)), b, {}, True)


def nan_in_the_guess(rng, n):
    return Hostile(
        lambda: linear.Sparse(_spd(rng, n)), _vector(rng, n), {"x0": torch.full((n,), torch.nan).double()}, True
    )


def consistent(rng, n):
    A = _spd(rng, n)
    A[:, 0], A[0] = 0, 0
    b = _vector(rng, n)
    b[0] = 0
    return Hostile(lambda: linear.Sparse(A), b, {}, False)


def zero_row(rng, n):
    A = _spd(rng, n)
    A[:, 0], A[0] = 0, 0
    return Hostile(lambda: linear.Sparse(A), _vector(rng, n), {}, True)


def rank_deficient(rng, n):
    B = rng.standard_normal((n, n // 2))
    return Hostile(lambda: linear.Sparse(B @ B.T), _vector(rng, n), {}, True)


def closed_box(rng, n):
    k = torch.from_numpy(rng.random((n, n))) + 0.1
    return Hostile(lambda: linear.Diffusion(k, Grid.unit(n, n, kind="cell"), "neumann"), _vector(rng, n, n), {}, True)


def contrast(rng, n):
    k = torch.from_numpy(np.where(rng.random((n, n)) < 0.5, 1.0, 1e12))
    return Hostile(lambda: linear.Diffusion(k, Grid.unit(n, n, kind="cell")), _vector(rng, n, n), {}, False)


def ill_conditioned(rng, n):
    return Hostile(lambda: linear.Sparse(_spd(rng, n, 1e-14)), _vector(rng, n), {}, False)


def wrong_shape(rng, n):
    return Hostile(lambda: linear.Sparse(_spd(rng, n)), _vector(rng, n + 1), {}, True)


def wrong_type(rng, n):
    b = rng.choice([0, 1])
    return Hostile(lambda: linear.Sparse(_spd(rng, n)), [np.ones(n), torch.ones(n, dtype=torch.int64)][b], {}, True)


def not_square(rng, n):
    return Hostile(lambda: linear.Sparse(rng.standard_normal((n, n + 1))), _vector(rng, n), {}, True)


def bad_preconditioner(rng, n):
    N = torch.from_numpy(rng.standard_normal((n, n)))
    choice = [
        lambda r: r @ N,
        lambda r: r * torch.nan,
        lambda r: 0 * r,
        lambda r: -r,
        lambda r: r.abs(),
        lambda r: r[..., 1:],
    ]
    return Hostile(
        lambda: linear.Sparse(_spd(rng, n)), _vector(rng, n), {"M": choice[rng.integers(len(choice))]}, False
    )


def skew(rng, n):
    N = rng.standard_normal((n, n))
    return Hostile(lambda: linear.Sparse(N - N.T), _vector(rng, n), {}, n % 2 == 1)


def huge_and_tiny(rng, n):
    scale = 10.0 ** rng.choice([-150, 150])
    return Hostile(lambda: linear.Sparse(_spd(rng, n) * scale), _vector(rng, n) * 1e-3, {}, False)


def impossible_tolerance(rng, n):
    return Hostile(lambda: linear.Sparse(_spd(rng, n, 1e-8)), _vector(rng, n), {"rtol": 1e-19}, True)


HOSTILE = [
    indefinite, nan_in_the_matrix, nan_in_the_vector, nan_in_the_guess, consistent, zero_row, rank_deficient,
    closed_box, contrast, ill_conditioned, wrong_shape, wrong_type, not_square, bad_preconditioner, skew, huge_and_tiny,
    impossible_tolerance,
]  # fmt: skip
