"""What is particular to stencils: known values, dense matrices, boundaries, orders of convergence, errors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sciops import kernels
from sciops.errors import InputError
from sciops.kernels.diffusion import diffusion_operator
from sciops.kernels.dispatch import use
from sciops.kernels.stencil import (
    diffusion_apply,
    diffusion_apply_dot,
    diffusion_residual,
    stencil_adjoint,
    stencil_apply,
)

SHAPES = [(1,), (2,), (9,), (4, 7), (5, 1), (1, 6), (3, 4, 5), (2, 1, 3)]


def uniform(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def dense_operator(diagonal: Tensor, coupling: Tensor) -> np.ndarray:
    """The matrix entry by entry, as the equation says."""
    d, space = coupling.shape[0], diagonal.shape
    matrix = np.zeros((diagonal.numel(),) * 2)
    for cell in itertools.product(*map(range, space)):
        i = np.ravel_multi_index(cell, space)
        matrix[i, i] += float(diagonal[cell])
        for a in range(d):
            beside = list(cell)
            beside[a] = (cell[a] + 1) % space[a]
            j = np.ravel_multi_index(beside, space)
            matrix[i, j] -= float(coupling[(a, *cell)])
            matrix[j, i] -= float(coupling[(a, *cell)])
    return matrix


@pytest.mark.parametrize("space", SHAPES, ids=str)
@pytest.mark.parametrize("shared", [True, False])
def test_the_operator_is_its_dense_matrix(space: tuple[int, ...], shared: bool, generator: torch.Generator) -> None:
    operators = 1 if shared else 2
    diagonal, coupling = uniform(generator, operators, *space), uniform(generator, operators, len(space), *space)
    u, b = normal(generator, 2, 3, *space), normal(generator, 2, 3, *space)
    y, r = diffusion_apply(diagonal, coupling, u), diffusion_residual(diagonal, coupling, u, b)
    also, energy = diffusion_apply_dot(diagonal, coupling, u)
    for n, s in itertools.product(range(2), range(3)):
        c = 0 if shared else n
        expected = torch.from_numpy(dense_operator(diagonal[c], coupling[c]) @ u[n, s].flatten().numpy())
        assert torch.allclose(y[n, s].flatten(), expected, rtol=1e-12, atol=1e-12)
        assert torch.allclose(r[n, s].flatten(), b[n, s].flatten() - expected, rtol=1e-12, atol=1e-12)
        assert energy[n, s] == pytest.approx(float(expected @ u[n, s].flatten()), rel=1e-11, abs=1e-11)
    assert torch.equal(also, y)


@settings(max_examples=25, deadline=None)
@given(
    space=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    batch=st.integers(1, 3),
    rhs=st.integers(1, 2),
    seed=st.integers(0, 2**31),
)
def test_the_operator_is_symmetric(space: list[int], batch: int, rhs: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    diagonal, coupling = uniform(generator, 1, *space), uniform(generator, 1, len(space), *space)
    x, y = normal(generator, batch, rhs, *space), normal(generator, batch, rhs, *space)
    left = (diffusion_apply(diagonal, coupling, x) * y).sum()
    right = (x * diffusion_apply(diagonal, coupling, y)).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-10, abs=1e-9)


def test_threads_do_not_change_the_result(generator: torch.Generator) -> None:
    diagonal, coupling = uniform(generator, 1, 201, 203), uniform(generator, 1, 2, 201, 203)
    u, threads = normal(generator, 1, 2, 201, 203), torch.get_num_threads()
    try:
        found = []
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(diffusion_apply_dot(diagonal, coupling, u))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_energies_of_long_single_precision_fields_are_accurate(generator: torch.Generator) -> None:
    n = 1 << 20
    diagonal, coupling = torch.full((1, n), 2.5), torch.ones(1, 1, n)
    u = torch.rand((1, 1, n), generator=generator)
    _, energy = diffusion_apply_dot(diagonal, coupling, u)
    exact = diffusion_apply_dot(diagonal.double(), coupling.double(), u.double())[1]
    assert abs(float(energy) - float(exact)) < 1e-6 * float(exact)


# --- boundaries: u with -(u'' k)' + c u = f, its own boundary conditions, and the error in the largest norm

Case = tuple[object, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]


def robin_wave(alpha: float) -> float:
    """The wave number with sin'(w - q) = ... : cos(w (x - 1/2)) meets k u' + alpha u = 0 at both ends for k = 1."""
    low, high = 1e-6, math.pi - 1e-6
    for _ in range(200):
        middle = (low + high) / 2
        if middle * math.sin(middle / 2) > alpha * math.cos(middle / 2):
            high = middle
        else:
            low = middle
    return low


WAVE = robin_wave(1.7)
WAVES: dict[str, tuple[object, Callable[[Tensor], Tensor], float]] = {
    "dirichlet": ("dirichlet", lambda x: torch.sin(2 * math.pi * x), 2 * math.pi),
    "neumann": ("neumann", lambda x: torch.cos(3 * math.pi * x), 3 * math.pi),
    "periodic": ("periodic", lambda x: torch.sin(2 * math.pi * x + 0.3), 2 * math.pi),
    "robin": (1.7, lambda x: torch.cos(WAVE * (x - 0.5)), WAVE),
    "mixed": (("dirichlet", "neumann"), lambda x: torch.sin(1.5 * math.pi * x), 1.5 * math.pi),
}


def error_of(kinds: Sequence[str], sizes: Sequence[int]) -> float:
    """Largest error of the solution with u = product of one-dimensional waves and c = 2."""
    d = len(kinds)
    u, total = torch.ones((), dtype=torch.float64), 2.0
    for a, (kind, n) in enumerate(zip(kinds, sizes, strict=True)):
        _, wave, number = WAVES[kind]
        x = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        u = u * wave(x).view(-1, *(1,) * (d - a - 1))
        total += number**2
    boundary = [WAVES[kind][0] for kind in kinds]
    operator = diffusion_operator(torch.ones(1, *sizes, dtype=torch.float64), [1 / n for n in sizes], boundary, 2.0)
    columns = torch.eye(u.numel(), dtype=torch.float64).view(1, -1, *sizes)
    matrix = diffusion_apply(*operator, columns)[0].flatten(1)
    found = torch.linalg.solve(matrix, total * u.flatten())
    return float((found - u.flatten()).abs().max())


@pytest.mark.parametrize("kinds", [*((k,) for k in WAVES), ("robin", "periodic"), ("mixed", "dirichlet")], ids=str)
def test_second_order_for_every_boundary(kinds: tuple[str, ...]) -> None:
    sizes = (16, 32, 64, 128) if len(kinds) == 1 else (8, 16, 32)
    errors = [error_of(kinds, (n,) * len(kinds)) for n in sizes]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    # the coarsest pair of a two-dimensional grid has a few cells to a wave
    assert all(1.9 < order < 2.1 for order in orders[-2 if len(kinds) == 1 else -1 :]), (errors, orders)


def test_second_order_for_a_coefficient_that_varies_and_is_anisotropic() -> None:
    """-(k_x u_x)_x - (k_y u_y)_y = f with k_x = 1 + x/2, k_y = 2 + sin y, u = sin(pi x) sin(2 pi y)."""
    errors = []
    for n in (8, 16, 32):
        x = ((torch.arange(n, dtype=torch.float64) + 0.5) / n)[:, None]
        y = ((torch.arange(n, dtype=torch.float64) + 0.5) / n)[None]
        k = torch.stack([(1 + x / 2).expand(n, n), (2 + torch.sin(y)).expand(n, n)])[None]
        p, q = math.pi, 2 * math.pi
        u = torch.sin(p * x) * torch.sin(q * y)
        f = ((1 + x / 2) * p**2 + (2 + torch.sin(y)) * q**2) * u
        f = f - p / 2 * torch.cos(p * x) * torch.sin(q * y) - q * torch.cos(y) * torch.sin(p * x) * torch.cos(q * y)
        operator = diffusion_operator(k, [1 / n, 1 / n], "dirichlet")
        matrix = diffusion_apply(*operator, torch.eye(n * n, dtype=torch.float64).view(1, -1, n, n))[0].flatten(1)
        errors.append(float((torch.linalg.solve(matrix, f.flatten()) - u.flatten()).abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert 1.9 < orders[-1] < 2.1, (errors, orders)


def test_flux_through_a_jump_is_exact() -> None:
    """Where the coefficient jumps at a face, the piecewise linear solution is met to rounding."""
    n = 8
    k = torch.where(torch.arange(n) < n // 2, 1.0, 100.0).double()[None]
    diagonal, coupling = diffusion_operator(k, [1 / n], "dirichlet")
    b = torch.zeros(n, dtype=torch.float64)
    b[-1] = 2 * 100.0 * n**2  # the value one on the right end
    found = torch.linalg.solve(torch.from_numpy(dense_operator(diagonal[0], coupling[0])), b)
    x, flux = (torch.arange(n, dtype=torch.float64) + 0.5) / n, 1 / (0.5 + 0.5 / 100)
    expected = torch.where(x < 0.5, flux * x, 1 - flux * (1 - x) / 100)
    assert torch.allclose(found, expected, rtol=1e-12)


def test_cells_without_flow_are_cut_off_and_differentiable() -> None:
    k = torch.tensor([[1.0, 0.0, 0.0, 2.0]], dtype=torch.float64, requires_grad=True)
    diagonal, coupling = diffusion_operator(k, [1.0], [("neumann", 3.0)])
    assert coupling.tolist() == [[[0.0, 0.0, 0.0, 0.0]]]
    assert diagonal.tolist() == [[0.0, 0.0, 0.0, pytest.approx(12 / 7)]]
    (slope,) = torch.autograd.grad(diagonal.sum(), k)
    assert slope.isfinite().all()


def test_the_operator_differentiates_in_the_coefficient(generator: torch.Generator) -> None:
    k = uniform(generator, 1, 2, 3, 2).requires_grad_()
    for boundary in ("dirichlet", "periodic", 0.7):
        assert torch.autograd.gradcheck(lambda k, b=boundary: diffusion_operator(k, [0.5, 0.3], b), k)


EDGES = {"zero": "constant", "periodic": "wrap", "reflect": "reflect"}


@pytest.mark.parametrize("space", SHAPES, ids=str)
@pytest.mark.parametrize("edge", list(EDGES))
def test_a_constant_stencil_is_that_of_scipy(space: tuple[int, ...], edge: str, generator: torch.Generator) -> None:
    d = len(space)
    weights, u = normal(generator, 2, *(3,) * d), normal(generator, 3, 2, *space)
    own, one = stencil_apply(weights, u, edge), stencil_apply(weights[0], u, edge)  # type: ignore[arg-type]
    for n, c in itertools.product(range(3), range(2)):
        for found, w in ((own, weights[c]), (one, weights[0])):
            expected = scipy.ndimage.correlate(u[n, c].numpy(), w.numpy(), mode=EDGES[edge])
            assert np.allclose(found[n, c].numpy(), expected, rtol=1e-12, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(
    space=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    edge=st.sampled_from(list(EDGES)),
    own=st.booleans(),
    seed=st.integers(0, 2**31),
)
def test_the_adjoint_of_a_constant_stencil(space: list[int], edge: str, own: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = normal(generator, *((2,) if own else ()), *(3,) * len(space))
    x, y = normal(generator, 2, 2, *space), normal(generator, 2, 2, *space)
    left = (stencil_apply(weights, x, edge) * y).sum()  # type: ignore[arg-type]
    right = (x * stencil_adjoint(weights, y, edge)).sum()  # type: ignore[arg-type]
    assert float(left) == pytest.approx(float(right), rel=1e-10, abs=1e-9)


def test_derivatives_of_an_operator_shared_by_a_batch_are_sums(generator: torch.Generator) -> None:
    """Against plain autograd of the reference, on both fields of both kinds."""
    args = [uniform(generator, 1, 4, 3), uniform(generator, 1, 2, 4, 3), normal(generator, 3, 2, 4, 3)]
    slopes = []
    for path in ("cpu", "reference"):
        leaves = [a.clone().requires_grad_() for a in args]
        with use(path):  # type: ignore[arg-type]
            y, energy = diffusion_apply_dot(*leaves)
            slopes.append(torch.autograd.grad(y.square().sum() + energy.sin().sum(), leaves))
    for a, b in zip(*slopes, strict=True):
        assert torch.allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: diffusion_apply(torch.ones(1, 4), torch.ones(1, 2, 4), torch.ones(1, 1, 4)), r"\(1, 2, 4\).*d = 1"),
        (lambda: diffusion_apply(torch.ones(1, 5), torch.ones(1, 1, 4), torch.ones(1, 1, 4)), r"\(1, 5\), expected"),
        (lambda: diffusion_apply(torch.ones(2, 4), torch.ones(2, 1, 4), torch.ones(3, 1, 4)), "operator's, 2, serves"),
        (
            lambda: diffusion_residual(torch.ones(1, 4), torch.ones(1, 1, 4), torch.ones(1, 1, 4), torch.ones(1, 4)),
            r"right-hand side has shape \(1, 4\), expected \(1, 1, 4\)",
        ),
        (lambda: stencil_apply(torch.ones(3), torch.ones(1, 1, 4), "mirror"), "unknown boundary 'mirror'"),  # type: ignore[arg-type]
        (lambda: stencil_apply(torch.ones(3, 3), torch.ones(1, 2, 4)), r"\(3, 3\), expected \(3,\) or \(2, 3\)"),
        (lambda: stencil_apply(torch.ones(3), torch.ones(1, 4)), "1 to 3 axes"),
        (lambda: diffusion_operator(torch.ones(1, 4), [1.0], "dirichlt"), "did you mean 'dirichlet'"),
        (lambda: diffusion_operator(torch.ones(1, 4), [1.0], [("periodic", "neumann")]), "both sides of an axis"),
        (lambda: diffusion_operator(torch.ones(1, 4), [1.0], -1.0), "alpha = -1.0"),
        (lambda: diffusion_operator(torch.ones(1, 4), [-1.0]), "positive widths"),
        (lambda: diffusion_operator(torch.ones(1, 4, 4), [1.0]), r"\(1, 4, 4\)"),
        (lambda: diffusion_operator(torch.ones(1, 4), [1.0], ["neumann", "neumann"]), "2 axes, expected 1"),
        (lambda: diffusion_operator(torch.ones(1, 4), [1.0], [("neumann",)]), "a pair"),
    ],
)
def test_errors_name_what_was_got(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_an_axis_without_cells_is_refused() -> None:
    empty = torch.ones(1, 2, 0, 4), torch.ones(1, 1, 0, 4)
    with pytest.raises(InputError, match="a grid of 0 x 4 cells"):
        kernels.diffusion_apply(torch.ones(1, 0, 4), *empty)
    with pytest.raises(InputError, match="a grid of 0 cells"):
        kernels.stencil_apply(torch.ones(3), torch.ones(1, 1, 0), "reflect")
    with pytest.raises(InputError, match="a grid of 0 cells"):
        kernels.restrict(torch.ones(1, 1, 0))
    with pytest.raises(InputError, match="a grid of 4 x 0 cells"):
        kernels.linear_weights([4, 0])


def test_an_infinite_robin_coefficient_is_dirichlet_and_a_reaction_fits() -> None:
    k = torch.rand(2, 4, dtype=torch.float64) + 0.5
    for a, b in zip(diffusion_operator(k, [0.5], float("inf")), diffusion_operator(k, [0.5]), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(InputError, match=r"the reaction has shape \(3, 4\), expected \(2, 4\)"):
        diffusion_operator(k, [0.5], reaction=torch.ones(3, 4))
    with pytest.raises(InputError, match=r"the coefficient is torch\.int64"):
        diffusion_operator(k.long(), [0.5])


def test_a_factor_that_is_no_positive_number_is_refused() -> None:
    for factor in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="the factor is"):
            kernels.coarsen(torch.ones(1, 4), torch.ones(1, 1, 4), factor)
