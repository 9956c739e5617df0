"""What is particular to transfers: adjoints, interpolation of linear functions, Galerkin products, errors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.diffusion import diffusion_operator
from sciops.kernels.smoothing import smooth, smooth_residual
from sciops.kernels.stencil import diffusion_apply
from sciops.kernels.sweeps import chebyshev
from sciops.kernels.transfer import (
    coarse_shape,
    coarsen,
    interpolation_weights,
    linear_weights,
    prolong,
    prolong_add,
    restrict,
)

SHAPES = [(1,), (2,), (9,), (8, 5), (1, 6), (3, 4, 5)]


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def some_weights(form: str, space: tuple[int, ...], generator: torch.Generator) -> Tensor | None:
    d = len(space)
    shapes = {"product": (2, sum(space)), "faces": (1, d + 1, *space), "corners": (1, 2**d, *space)}
    return normal(generator, *shapes[form]) if form in shapes else None


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from(["constant", "product", "faces", "corners"]),
    space=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    seed=st.integers(0, 2**31),
)
def test_restriction_is_the_adjoint_of_prolongation(form: str, space: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = some_weights(form, tuple(space), generator)
    e, r = normal(generator, 2, 2, *coarse_shape(space)), normal(generator, 2, 2, *space)
    left = (prolong(e, space, weights) * r).sum()
    right = (e * restrict(r, weights)).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-10, abs=1e-9)
    u = normal(generator, 2, 2, *space)
    assert torch.allclose(prolong_add(u, e, weights), u + prolong(e, space, weights), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("space", SHAPES, ids=str)
def test_constant_transfers_cell_by_cell(space: tuple[int, ...], generator: torch.Generator) -> None:
    e, r = normal(generator, 1, 1, *coarse_shape(space)), normal(generator, 1, 1, *space)
    fine, sums = prolong(e, space)[0, 0], torch.zeros_like(e)
    for cell in itertools.product(*map(range, space)):
        parent = tuple(i // 2 for i in cell)
        assert fine[cell] == e[0, 0][parent]
        sums[0, 0][parent] += r[0, 0][cell]
    assert torch.allclose(restrict(r), sums, rtol=1e-12)


def test_a_product_of_axes_is_its_weights_multiplied_out(generator: torch.Generator) -> None:
    space = (5, 4, 3)
    product = normal(generator, 2, sum(space))
    axes = torch.split(product, list(space), 1)
    corners = []
    for m in range(8):
        parts = [axes[a][m >> a & 1].view(-1, *(1,) * (2 - a)) for a in range(3)]
        corners.append(parts[0] * parts[1] * parts[2])
    e = normal(generator, 1, 2, *coarse_shape(space))
    found, expected = prolong(e, space, product), prolong(e, space, torch.stack(corners)[None])
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("space", [(8,), (9,), (8, 6), (6, 5, 4)], ids=str)
def test_linear_functions_are_interpolated_exactly_inside(space: tuple[int, ...]) -> None:
    """Coarse centres stand in the middle of their cells, the one of a single cell on that cell's centre."""
    d = len(space)

    def linear(centres: list[Tensor]) -> Tensor:
        total = torch.ones((), dtype=torch.float64)
        for a, x in enumerate(centres):
            total = total * (1.5 + (a + 1) * x).view(-1, *(1,) * (d - a - 1))
        return total

    fine = [torch.arange(n, dtype=torch.float64) for n in space]
    coarse = []
    for n in space:
        x = 2 * torch.arange((n + 1) // 2, dtype=torch.float64) + 0.5
        coarse.append(torch.where(x > n - 1, n - 1.0, x))
    weights = linear_weights(space, "neumann", dtype=torch.float64)
    found = prolong(linear(coarse)[None, None], space, weights)[0, 0]
    inside = tuple(slice(1, n - 1) for n in space)
    assert torch.allclose(found[inside], linear(fine)[inside], rtol=1e-12)


@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
@pytest.mark.parametrize("n", [2, 7, 8])
def test_linear_interpolation_is_what_the_operator_of_a_constant_coefficient_gives(boundary: str, n: int) -> None:
    operator = diffusion_operator(torch.ones(1, n, 6, dtype=torch.float64), (1.0, 1.0), boundary)
    weights = interpolation_weights(*operator)
    product = linear_weights((n, 6), boundary, dtype=torch.float64)
    axes = torch.split(product, [n, 6], 1)
    expected = torch.stack([axes[0][m & 1][:, None] * axes[1][m >> 1][None] for m in range(4)])
    assert torch.allclose(weights[0], expected, rtol=1e-12, atol=1e-12)


def test_interpolation_follows_the_flux_across_a_jump(generator: torch.Generator) -> None:
    """In one dimension the interpolated solution of a problem without sources is exact at every fine cell."""
    n = 12
    k = torch.exp(2 * torch.randn((1, n), generator=generator, dtype=torch.float64))
    diagonal, coupling = diffusion_operator(k, (1.0,), "neumann")
    w = coupling[0, 0, :-1]
    u = torch.cat([torch.zeros(1, dtype=torch.float64), (1 / w).cumsum(0)])  # unit flux everywhere
    e = (u[::2] + u[1::2]) / 2  # the middle of the way between the two cells
    found = prolong(e[None, None], [n], interpolation_weights(diagonal, coupling))[0, 0]
    assert torch.allclose(found[1:-1], u[1:-1], rtol=1e-11)


def test_interpolation_weights_are_positive_bounded_and_finite_with_obstacles(generator: torch.Generator) -> None:
    k = torch.exp(3 * torch.randn((2, 9, 8), generator=generator, dtype=torch.float64))
    k[torch.rand(k.shape, generator=generator, dtype=torch.float64) < 0.3] = 0
    k.requires_grad_()
    for boundary in ("dirichlet", "neumann", "periodic"):
        weights = interpolation_weights(*diffusion_operator(k, (1.0, 1.0), boundary))
        assert (weights >= 0).all()
        assert (weights.sum(1) <= 1 + 1e-12).all()
        (slope,) = torch.autograd.grad(weights.square().sum(), k)
        assert slope.isfinite().all()


@pytest.mark.parametrize("space", SHAPES, ids=str)
@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic", 0.8])
def test_the_coarse_operator_is_the_galerkin_product(
    space: tuple[int, ...], boundary: str | float, generator: torch.Generator
) -> None:
    """With factor one, P' A P; a periodic axis of one coarse cell is coupled to itself, which adds nothing."""
    k = torch.rand((2, *space), generator=generator, dtype=torch.float64) + 0.5
    diagonal, coupling = diffusion_operator(k, (1.0,) * len(space), boundary)
    e = normal(generator, 2, 2, *coarse_shape(space))
    expected = restrict(diffusion_apply(diagonal, coupling, prolong(e, space)))
    found = diffusion_apply(*coarsen(diagonal, coupling, 1.0), e)
    assert torch.allclose(found, expected, rtol=1e-11, atol=1e-11)
    if all(n % 2 == 0 for n in space):
        scaled = diffusion_apply(*coarsen(diagonal, coupling, 0.3), e)
        assert torch.allclose(scaled, 0.3 * expected, rtol=1e-10, atol=1e-11)


def test_the_cell_that_stays_alone_keeps_its_distances() -> None:
    """Five cells of width one: centres at 1, 3 and 4.5, faces at 0 and 5; the second axis has one coarse cell."""
    operator = diffusion_operator(torch.ones(1, 5, 2, dtype=torch.float64), (1.0, 1.0), ("dirichlet", "neumann"))
    diagonal, coupling = coarsen(*operator)
    expected = torch.tensor([2 / 2, 2 / 1.5, 0], dtype=torch.float64)
    assert torch.allclose(coupling[0, 0, :, 0], expected, rtol=1e-12)
    ends = torch.tensor([2 / 1, 0, 2 / 0.5], dtype=torch.float64)
    neighbours = torch.tensor([2 / 2, 2 / 2 + 2 / 1.5, 2 / 1.5], dtype=torch.float64)
    assert torch.allclose(diagonal[0, :, 0], ends + neighbours, rtol=1e-12)


def test_a_constant_coefficient_is_the_same_on_the_coarse_grid() -> None:
    """Half of the Galerkin product is the operator discretised anew, times the cells summed; so is the reaction."""
    d, c = 2, 0.7
    operator = diffusion_operator(torch.full((1, 8, 8), 3.0, dtype=torch.float64), (1.0,) * d, ("dirichlet", 0.4))
    coarse, coupling = coarsen(*operator)
    reaction = restrict(torch.full((1, 1, 8, 8), c, dtype=torch.float64))[:, 0]
    anew = diffusion_operator(torch.full((1, 4, 4), 3.0, dtype=torch.float64), (2.0,) * d, ("dirichlet", 0.2), c)
    assert torch.allclose(coupling, 2**d * anew[1], rtol=1e-12)
    # of Robin's face only the first order in h is kept: alpha (1 - alpha h / 2k) changes with h
    inner = (slice(None), slice(None), slice(1, -1))
    assert torch.allclose((coarse + reaction)[inner], 2**d * anew[0][inner], rtol=1e-12)


@pytest.mark.parametrize(("d", "n"), [(1, 64), (1, 129), (2, 32), (2, 33), (2, 47), (3, 16), (3, 17)])
@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
def test_a_cycle_converges_at_any_size(d: int, n: int, boundary: str, generator: torch.Generator) -> None:
    """A symmetric V-cycle of these parts reduces the energy of an error by a factor in each step."""
    k = torch.ones((1,) + (n,) * d, dtype=torch.float64)
    levels = [diffusion_operator(k, (1.0,) * d, boundary)]
    reactions = [torch.full_like(k, 1e-3)]
    while max(levels[-1][0].shape[1:]) > 4:
        levels.append(coarsen(*levels[-1]))
        reactions.append(restrict(reactions[-1][:, None])[:, 0])
    operators = [(a + c, w) for (a, w), c in zip(levels, reactions, strict=True)]
    sweeps = chebyshev(2, (0.5, 2.0))

    def cycle(b: Tensor, level: int) -> Tensor:
        diagonal, coupling = operators[level]
        if level == len(operators) - 1:
            unit = torch.eye(diagonal.numel(), dtype=torch.float64).view(1, -1, *diagonal.shape[1:])
            return torch.linalg.solve(diffusion_apply(diagonal, coupling, unit)[0].flatten(1), b.flatten()).view_as(b)
        x, r = smooth_residual(diagonal, coupling, 1 / diagonal, b, sweeps=sweeps, coarse=True)
        return smooth(diagonal, coupling, 1 / diagonal, b, x, sweeps=sweeps, correction=cycle(r, level + 1))

    exact = normal(generator, 1, 1, *(n,) * d)
    b, u = diffusion_apply(*operators[0], exact), torch.zeros_like(exact)
    energies = []
    for _ in range(12):
        error = exact - u
        energies.append(float((error * diffusion_apply(*operators[0], error)).sum()))
        u = u + cycle(b - diffusion_apply(*operators[0], u), 0)
    rates = [math.sqrt(b / a) for a, b in itertools.pairwise(energies)]
    assert max(rates[-4:]) < 0.6, rates


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: prolong(torch.ones(1, 1, 3), [8]), r"\(1, 1, 3\), expected \(1, 1, 4\)"),
        (lambda: prolong_add(torch.ones(2, 1, 8), torch.ones(1, 1, 4)), r"expected \(2, 1, 4\)"),
        (lambda: restrict(torch.ones(1, 8)), "1 to 3 axes"),
        (lambda: restrict(torch.ones(1, 1, 8), torch.ones(2, 7)), r"\(2, 7\), expected \(2, 8\)"),
        (lambda: restrict(torch.ones(3, 1, 8), torch.ones(2, 2, 8)), r"\(1 or 3, 2 or 2, 8\)"),
        (lambda: linear_weights([8], ["neumann"] * 2), "2 boundaries are given for 1 axes"),
        (lambda: linear_weights([8], "robin"), "unknown boundary 'robin'"),
        (lambda: coarsen(torch.ones(1, 8), torch.ones(1, 1, 7)), r"\(1, 8\), expected \(1, 7\)"),
    ],
)
def test_errors_name_what_was_got(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
