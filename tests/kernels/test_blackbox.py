"""What is particular to black-box multigrid: dense products, what prolongation reproduces, ends and periodic axes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels import (
    blackbox_prolong,
    blackbox_restrict,
    blackbox_weights,
    coarse_shape,
    coarsen,
    diffusion_apply,
    diffusion_operator,
    galerkin,
    l1_scale,
    use,
)

SHAPES = [
    ((9,), "dirichlet"),
    ((12,), "periodic"),
    ((8, 11), "dirichlet"),
    ((12, 9), ["periodic", "neumann"]),
    ((6, 5, 7), "neumann"),
    ((6, 8, 12), "periodic"),
    ((1, 7), "dirichlet"),
    ((2, 1, 5), "dirichlet"),
]


def level(space: tuple[int, ...], boundary: object, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    k = torch.rand(1, *space, generator=generator, dtype=torch.float64).mul(8).exp()
    return diffusion_operator(k, (1.0,) * len(space), boundary)  # type: ignore[arg-type]


def matrix(diagonal: Tensor, coupling: Tensor) -> np.ndarray:
    n = diagonal[0].numel()
    unit = torch.eye(n, dtype=diagonal.dtype).view(1, n, *diagonal.shape[1:])
    return diffusion_apply(diagonal, coupling, unit).flatten(2)[0].T.numpy()


def prolongation(weights: Tensor, space: tuple[int, ...]) -> np.ndarray:
    coarse = coarse_shape(space)
    n = int(np.prod(coarse))
    unit = torch.eye(n, dtype=weights.dtype).view(1, n, *coarse)
    return blackbox_prolong(unit, weights, space).flatten(2)[0].T.numpy()


@pytest.mark.parametrize(("space", "boundary"), SHAPES, ids=str)
def test_the_coarse_operator_is_the_product(
    space: tuple[int, ...], boundary: object, generator: torch.Generator
) -> None:
    diagonal, coupling = level(space, boundary, generator)
    for _ in range(2):  # along the axes, then to all cells around
        weights = blackbox_weights(diagonal, coupling)
        P, A = prolongation(weights, tuple(diagonal.shape[1:])), matrix(diagonal, coupling)
        coarse = galerkin(diagonal, coupling, weights)
        assert np.allclose(matrix(*coarse), P.T @ A @ P, rtol=1e-12, atol=1e-12 * abs(A).max())
        diagonal, coupling = coarse
        if any(n % 2 for n in diagonal.shape[1:]):
            return


@pytest.mark.parametrize(("space", "boundary"), SHAPES, ids=str)
def test_restriction_is_the_adjoint(space: tuple[int, ...], boundary: object, generator: torch.Generator) -> None:
    weights = blackbox_weights(*level(space, boundary, generator))
    e = torch.randn(2, 3, *coarse_shape(space), generator=generator, dtype=torch.float64)
    r = torch.randn(2, 3, *space, generator=generator, dtype=torch.float64)
    left, right = (blackbox_prolong(e, weights, space) * r).sum(), (e * blackbox_restrict(r, weights)).sum()
    assert torch.allclose(left, right, rtol=1e-12)


@pytest.mark.parametrize("space", [(9,), (8, 7), (6, 5, 7)])
def test_constants_are_reproduced_where_nothing_is_lost(space: tuple[int, ...], generator: torch.Generator) -> None:
    diagonal, coupling = level(space, "neumann", generator)
    for _ in range(2):
        weights = blackbox_weights(diagonal, coupling)
        ones = torch.ones(1, 1, *coarse_shape(diagonal.shape[1:]), dtype=torch.float64)
        assert torch.allclose(blackbox_prolong(ones, weights, diagonal.shape[1:]), torch.ones(()).double(), rtol=1e-9)
        diagonal, coupling = galerkin(diagonal, coupling, weights)


def test_the_paths_agree_where_no_equation_is_left(generator: torch.Generator) -> None:
    diagonal, coupling = level((18, 15, 17), "neumann", generator)
    for _ in range(2):
        diagonal, coupling = galerkin(diagonal, coupling, blackbox_weights(diagonal, coupling))
        found = blackbox_weights(diagonal, coupling)
        with use("reference"):
            expected = blackbox_weights(diagonal, coupling)
        assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_on_a_line_the_answer_between_points_is_exact(generator: torch.Generator) -> None:
    """In one dimension the equations of the cells between hold, so a coarse solution is the fine one at the points."""
    diagonal, coupling = level((17,), "dirichlet", generator)
    weights = blackbox_weights(diagonal, coupling)
    A, P = matrix(diagonal, coupling), prolongation(weights, (17,))
    b = np.zeros(17)
    b[::2] = torch.randn(9, generator=generator).numpy()
    exact = np.linalg.solve(A, b)
    assert np.allclose(P @ np.linalg.solve(matrix(*galerkin(diagonal, coupling, weights)), P.T @ b), exact, rtol=1e-9)


def test_errors_name_what_was_got() -> None:
    odd = torch.full((1, 5), 2.0), torch.ones(1, 1, 5)
    with pytest.raises(InputError, match="axis 0 is periodic with 5 cells"):
        blackbox_weights(*odd)
    with pytest.raises(InputError, match="axis 0 is periodic with 5 cells"):
        galerkin(*odd, torch.ones(1, 2, 3))
    with pytest.raises(InputError, match=r"weights have shape \(1, 2, 2\), expected \(1 or 1, 2, 3\)"):
        blackbox_prolong(torch.ones(1, 1, 3), torch.ones(1, 2, 2), [5])
    with pytest.raises(InputError, match=r"coarse field has shape \(1, 1, 4\), expected \(1, 1, 3\)"):
        blackbox_prolong(torch.ones(1, 1, 4), torch.ones(1, 2, 3), [5])
    with pytest.raises(InputError, match="links across corners"):
        coarsen(torch.ones(1, 4, 4), torch.ones(1, 4, 4, 4))


def test_l1_scale_counts_every_link() -> None:
    found = l1_scale(torch.full((1, 6, 8), 2.0), torch.ones(1, 4, 6, 8))
    assert torch.allclose(found, torch.full((1, 6, 8), 0.1))
