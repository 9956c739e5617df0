"""What is particular to solves along lines: the inverse of dense blocks, ends, lines that nothing holds, weights."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels import (
    blackbox_prolong,
    blackbox_weights,
    coarse_shape,
    diffusion_apply,
    diffusion_operator,
    galerkin,
    line_factors,
    line_solve,
    line_solve_,
    line_weights,
    use,
)
from sciops.kernels.stencil import offsets

SHAPES = [(7,), (1,), (2,), (9, 6), (1, 5), (5, 1), (4, 5, 6), (2, 2, 3), (130, 9), (6, 131)]


def operator(space: tuple[int, ...], boundary: str, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    k = torch.rand(2, *space, generator=generator, dtype=torch.float64).mul(4).exp()
    return diffusion_operator(k, (1.0,) * len(space), boundary, 0.1 * torch.ones_like(k))


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
@pytest.mark.parametrize("space", SHAPES, ids=str)
@pytest.mark.parametrize("path", ["cpu", "reference"])
def test_the_solve_inverts_what_lies_along_the_lines(
    space: tuple[int, ...], boundary: str, path: str, generator: torch.Generator
) -> None:
    diagonal, coupling = operator(space, boundary, generator)
    r = torch.randn(2, 3, *space, generator=generator, dtype=torch.float64)
    for axis in range(len(space)):
        alone = torch.zeros_like(coupling)
        alone[:, axis] = coupling[:, axis]
        with use(path):  # type: ignore[arg-type]
            u = line_solve(line_factors(diagonal, coupling, axis), r, axis)
        assert torch.allclose(diffusion_apply(diagonal, alone, u), r, atol=1e-10), axis
        kept = r.clone()
        assert line_solve_(kept, line_factors(diagonal, coupling, axis), axis) is kept
        assert torch.allclose(kept, u, rtol=1e-10, atol=1e-12)


def test_coarse_operators_have_lines_too(generator: torch.Generator) -> None:
    fine = operator((10, 8), "periodic", generator)
    diagonal, coupling = galerkin(*fine, blackbox_weights(*fine))
    r = torch.randn(2, 1, 5, 4, generator=generator, dtype=torch.float64)
    for axis, link in ((0, (1, 0)), (1, (0, 1))):
        alone = torch.zeros_like(coupling)
        number = offsets(2, 4).index(link)
        alone[:, number] = coupling[:, number]
        u = line_solve(line_factors(diagonal, coupling, axis), r, axis)
        assert torch.allclose(diffusion_apply(diagonal, alone, u), r, atol=1e-10)


def test_a_line_that_nothing_holds_is_solved_but_for_a_constant(generator: torch.Generator) -> None:
    for boundary in ("neumann", "periodic"):
        diagonal, coupling = diffusion_operator(torch.ones(1, 16).double(), (1.0,), boundary)
        r = torch.randn(1, 1, 16, generator=generator, dtype=torch.float64)
        r -= r.mean()
        u = line_solve(line_factors(diagonal, coupling, 0), r, 0)
        assert torch.allclose(diffusion_apply(diagonal, coupling, u), r, atol=1e-10)
        assert u[0, 0, -1] == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("space", [(16, 12), (9, 11), (8, 6, 10), (7, 5, 9)])
def test_line_weights_keep_what_is_constant_along_lines(
    axis: int, space: tuple[int, ...], generator: torch.Generator
) -> None:
    d = len(space)
    axis %= d
    k = torch.rand(1, 1, *space, generator=generator, dtype=torch.float64).mul(5).exp().repeat(1, d, *(1,) * d)
    k[:, axis] *= 1e6
    diagonal, coupling = diffusion_operator(k, (1.0,) * d, "neumann")
    for _ in range(2):  # along the axes, then to all cells around
        space = tuple(diagonal.shape[1:])
        plain = blackbox_weights(diagonal, coupling)
        weights = line_weights(plain, diagonal, coupling, axis)
        ones = torch.ones(1, 1, *coarse_shape(space), dtype=torch.float64)
        inside = tuple(slice(0, n if n % 2 else n - 1) for n in space)  # beyond the last point there is another rule
        assert torch.allclose(blackbox_prolong(ones, weights, space)[0, 0][inside], ones.new_ones(()), atol=1e-3)
        shape = [1 if a == axis else n for a, n in enumerate(coarse_shape(space))]
        lines = torch.randn(1, 1, *shape, generator=generator, dtype=torch.float64)
        coarse = lines.expand(1, 1, *coarse_shape(space)).contiguous()
        energies = []
        for w in (weights, plain):
            u = blackbox_prolong(coarse, w, space)
            energies.append(float((u * diffusion_apply(diagonal, coupling, u)).sum()))
        assert energies[0] < 0.1 * energies[1]
        diagonal, coupling = galerkin(diagonal, coupling, weights)


def test_line_weights_are_differentiable(generator: torch.Generator) -> None:
    k = torch.rand(1, 4, 5, generator=generator, dtype=torch.float64).add(0.5).requires_grad_()

    def weights(k: Tensor) -> Tensor:
        diagonal, coupling = diffusion_operator(k, (1.0, 1.0), "dirichlet")
        return line_weights(blackbox_weights(diagonal, coupling), diagonal, coupling, 1)

    assert torch.autograd.gradcheck(weights, (k,))


def test_what_they_refuse() -> None:
    diagonal, coupling = torch.full((1, 4, 4), 4.0), torch.ones(1, 2, 4, 4)
    factors = line_factors(diagonal, coupling, 1)
    for axis in (2, -1, True, 0.5):
        with pytest.raises(InputError, match="one of the axes 0 to 1"):
            line_factors(diagonal, coupling, axis)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="the factors have shape"):
        line_solve(factors[:, :1], torch.ones(1, 1, 4, 4), 1)
    with pytest.raises(InputError, match="factors"):
        line_solve(factors, torch.ones(1, 1, 4, 5), 1)
    with pytest.raises(InputError, match="not contiguous"):
        line_solve_(torch.ones(1, 1, 4, 4).mT, factors, 1)
    with pytest.raises(InputError, match="one of the axes 0 to 0"):
        line_weights(torch.ones(1, 2, 2), torch.ones(1, 4), torch.ones(1, 1, 4), 1)


def test_lines_without_cells_are_refused():
    factors = line_factors(torch.full((1, 6, 5), 4.0), torch.ones(1, 2, 6, 5), 0)
    with pytest.raises(InputError, match="no cells along axis 0"):
        line_solve(factors[:, :, :0], torch.ones(1, 2, 0, 5), 0)
