"""What is particular to smoothers: the textbook algorithms, symmetry, convergence, fusion, errors."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sciops import kernels
from sciops.errors import InputError
from sciops.kernels.diffusion import diffusion_operator
from sciops.kernels.dispatch import use
from sciops.kernels.smoothing import l1_scale, smooth, smooth_residual
from sciops.kernels.stencil import diffusion_apply, diffusion_residual
from sciops.kernels.sweeps import Sweeps, chebyshev, gauss_seidel, jacobi
from sciops.kernels.transfer import coarse_shape, prolong, restrict

SWEEPS = {
    "jacobi": jacobi(2),
    "chebyshev": chebyshev(3, (0.4, 2.0)),
    "gauss_seidel": gauss_seidel(),
    "reverse": gauss_seidel(2, reverse=True),
}
Problem = tuple[Tensor, Tensor, Tensor, Tensor]


def problem(generator: torch.Generator, *space: int, boundary: str = "dirichlet", batch: int = 1) -> Problem:
    k = torch.exp(2 * torch.randn((batch, *space), generator=generator, dtype=torch.float64))
    diagonal, coupling = diffusion_operator(k, (1.0,) * len(space), boundary, 0.1)
    b = torch.randn((batch, 2, *space), generator=generator, dtype=torch.float64)
    return diagonal, coupling, 1 / diagonal, b


def matrix_of(diagonal: Tensor, coupling: Tensor) -> np.ndarray:
    space = diagonal.shape[1:]
    unit = torch.eye(diagonal[0].numel(), dtype=torch.float64).view(1, -1, *space)
    return diffusion_apply(diagonal[:1], coupling[:1], unit)[0].flatten(1).T.numpy()


def iteration_matrix(diagonal: Tensor, coupling: Tensor, scale: Tensor, sweeps: Sweeps) -> np.ndarray:
    """What the sweeps make of an error, I - B A."""
    unit = torch.eye(diagonal[0].numel(), dtype=torch.float64).view(1, -1, *diagonal.shape[1:])
    zero = torch.zeros_like(unit)
    return smooth(diagonal, coupling, scale, zero, unit, sweeps=sweeps)[0].flatten(1).T.numpy()


@pytest.mark.parametrize("space", [(7,), (4, 6), (3, 5), (2, 4, 3)], ids=str)
def test_red_black_gauss_seidel_is_gauss_seidel_in_that_order(
    space: tuple[int, ...], generator: torch.Generator
) -> None:
    diagonal, coupling, scale, b = problem(generator, *space)
    matrix = matrix_of(diagonal, coupling)
    parity = np.indices(space).sum(0).ravel() % 2
    u = torch.randn(b.shape, generator=generator, dtype=torch.float64)
    for reverse in (False, True):
        order = np.argsort(parity, kind="stable")
        order = order[::-1] if reverse else order
        found = smooth(diagonal, coupling, scale, b, u, sweeps=gauss_seidel(2, reverse=reverse))
        for s in range(2):
            x = u[0, s].flatten().numpy().copy()
            for _ in range(2):
                for i in order:
                    x[i] += (b[0, s].flatten()[i] - matrix[i] @ x) / matrix[i, i]
            assert np.allclose(found[0, s].flatten().numpy(), x, rtol=1e-11, atol=1e-11)


def test_chebyshev_is_the_polynomial(generator: torch.Generator) -> None:
    """The error is multiplied by T_k((c - x) / h) / T_k(c / h) of s A."""
    diagonal, coupling, scale, _ = problem(generator, 5, 4)
    low, high = 0.3, 1.9
    matrix = np.diag(scale.flatten().numpy()) @ matrix_of(diagonal, coupling)
    centre, half = (high + low) / 2, (high - low) / 2
    for degree in (1, 2, 5):
        shape = np.polynomial.chebyshev.Chebyshev.basis(degree)
        values, vectors = np.linalg.eig(matrix)
        damped = shape((centre - values) / half) / shape(centre / half)
        expected = vectors @ np.diag(damped) @ np.linalg.inv(vectors)
        found = iteration_matrix(diagonal, coupling, scale, chebyshev(degree, (low, high)))
        assert np.allclose(found, expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    name=st.sampled_from(list(SWEEPS)),
    space=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    boundary=st.sampled_from(["dirichlet", "periodic"]),
    seed=st.integers(0, 2**31),
)
def test_the_adjoint_sweeps_are_the_transpose(name: str, space: list[int], boundary: str, seed: int) -> None:
    """<B x, y> = <x, B' y>, on odd periodic axes too, where red-black colouring breaks down."""
    diagonal, coupling, scale, _ = problem(torch.Generator().manual_seed(seed), *space, boundary=boundary)
    x, y = torch.randn((2, 1, 1, *space), generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    sweeps = SWEEPS[name]
    left = (smooth(diagonal, coupling, scale, x, sweeps=sweeps) * y).sum()
    right = (x * smooth(diagonal, coupling, scale, y, sweeps=sweeps.adjoint())).sum()
    assert float(left) == pytest.approx(float(right), rel=1e-9, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    space=st.lists(st.integers(2, 6), min_size=1, max_size=3),
    boundary=st.sampled_from(["dirichlet", "neumann", "periodic"]),
    damping=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**31),
)
def test_smoothers_converge_in_energy(space: list[int], boundary: str, damping: float, seed: int) -> None:
    """Jacobi with any damping below one in each cell, l1-Jacobi and Gauss-Seidel shrink the energy of every error."""
    generator = torch.Generator().manual_seed(seed)
    diagonal, coupling, scale, _ = problem(generator, *space, boundary=boundary)
    learned = scale * (damping * torch.rand(scale.shape, generator=generator, dtype=torch.float64) + 1e-3)
    matrix = matrix_of(diagonal, coupling)
    values, vectors = np.linalg.eigh(matrix)
    root, inverse = (vectors * np.sqrt(values)) @ vectors.T, (vectors / np.sqrt(values)) @ vectors.T
    cases = [(learned, jacobi()), (l1_scale(diagonal, coupling), jacobi()), (scale, gauss_seidel())]
    for s, sweeps in cases:
        error = root @ iteration_matrix(diagonal, coupling, s, sweeps) @ inverse
        assert np.linalg.norm(error, 2) < 1 + 1e-9


def test_many_sweeps_solve(generator: torch.Generator) -> None:
    diagonal, coupling, scale, b = problem(generator, 6, 5)
    exact = np.linalg.solve(matrix_of(diagonal, coupling), b[0].flatten(1).T.numpy()).T
    for s, sweeps in ((scale, gauss_seidel(50)), (l1_scale(diagonal, coupling), jacobi(200))):
        u = torch.zeros_like(b)
        for _ in range(200):
            u = smooth(diagonal, coupling, s, b, u, sweeps=sweeps)
        assert np.abs(u[0].flatten(1).numpy() - exact).max() < 1e-8 * np.abs(exact).max()


@pytest.mark.parametrize("name", list(SWEEPS))
@pytest.mark.parametrize("space", [(9,), (5, 8), (4, 3, 5)], ids=str)
@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
def test_fused_is_one_after_the_other(
    name: str, space: tuple[int, ...], boundary: str, generator: torch.Generator
) -> None:
    """Correction, sweeps, residual and restriction in one call are the four calls."""
    diagonal, coupling, scale, b = problem(generator, *space, boundary=boundary, batch=2)
    u = torch.randn(b.shape, generator=generator, dtype=torch.float64)
    e = torch.randn((*b.shape[:2], *coarse_shape(space)), generator=generator, dtype=torch.float64)
    for guess in (None, u):
        start = prolong(e, space) if guess is None else guess + prolong(e, space)
        x = smooth(diagonal, coupling, scale, b, start, sweeps=SWEEPS[name])
        r = diffusion_residual(diagonal, coupling, x, b)
        for coarse, expected in ((False, r), (True, restrict(r))):
            found = smooth_residual(
                diagonal, coupling, scale, b, guess, sweeps=SWEEPS[name], correction=e, coarse=coarse
            )
            assert torch.allclose(found[0], x, rtol=1e-11, atol=1e-11)
            assert torch.allclose(found[1], expected, rtol=1e-10, atol=1e-10)
    zero = smooth(diagonal, coupling, scale, b, torch.zeros_like(b), sweeps=SWEEPS[name])
    assert torch.allclose(smooth(diagonal, coupling, scale, b, sweeps=SWEEPS[name]), zero, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("boundary", ["dirichlet", "periodic"])
@pytest.mark.parametrize("name", ["chebyshev", "gauss_seidel"])
def test_parts_for_threads_meet(boundary: str, name: str, generator: torch.Generator) -> None:
    diagonal, coupling, scale, b = problem(generator, 203, 205, boundary=boundary)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(smooth_residual(diagonal, coupling, scale, b, sweeps=SWEEPS[name], coarse=True))
    finally:
        torch.set_num_threads(threads)
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-13)
    assert torch.allclose(found[0][1], found[1][1], rtol=1e-12, atol=1e-12)


def test_derivatives_through_a_two_grid_cycle(generator: torch.Generator) -> None:
    """Coefficients, damping and right-hand side, against the references; a learned cycle is trained so."""
    diagonal, coupling, scale, b = problem(generator, 6, 5, batch=2)
    slopes = []
    for path in ("cpu", "reference"):
        leaves = [t.clone().requires_grad_() for t in (diagonal, coupling, scale, b)]
        with use(path):  # type: ignore[arg-type]
            x, r = smooth_residual(*leaves, sweeps=gauss_seidel(), coarse=True)
            y = smooth(*leaves, x, sweeps=gauss_seidel(reverse=True), correction=0.1 * r)
            (first,) = torch.autograd.grad(y.square().sum(), leaves[2], create_graph=True)
            slopes.append(torch.autograd.grad(y.sin().sum() + first.square().sum(), leaves))
    for a, c in zip(*slopes, strict=True):
        assert torch.allclose(a, c, rtol=1e-9, atol=1e-9 * float(c.abs().max()))


ONE = (torch.full((1, 4), 2.0), torch.ones(1, 1, 4), torch.full((1, 4), 0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smooth(*ONE[:2], ONE[2][:, :3], torch.ones(1, 1, 4), sweeps=jacobi()), r"scale has shape \(1, 3\)"),
        (
            lambda: smooth(*ONE, torch.ones(1, 1, 4), torch.ones(1, 2, 4), sweeps=jacobi()),
            r"guess .*expected \(1, 1, 4",
        ),
        (
            lambda: smooth(*ONE, torch.ones(1, 1, 4), sweeps=jacobi(), correction=torch.ones(1, 1, 4)),
            r"correction has shape \(1, 1, 4\), expected \(1, 1, 2\)",
        ),
    ],
)
def test_errors_name_what_was_got(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


def test_results_in_kept_memory_are_those_of_new_memory_and_stand_apart(generator: torch.Generator) -> None:
    k = torch.rand(1, 9, 6, generator=generator, dtype=torch.float64) + 0.5
    diagonal, coupling = diffusion_operator(k, [1.0, 1.0])
    level = diagonal, coupling, 1 / diagonal
    b = torch.randn(1, 2, 9, 6, generator=generator, dtype=torch.float64)
    sweeps = chebyshev(2)
    u, r = smooth_residual(*level, b, sweeps=sweeps, coarse=True)
    out, rest = torch.full_like(u, math.nan), torch.full_like(r, math.nan)
    kernels.smooth_residual_(out, rest, *level, b, sweeps=sweeps, coarse=True)
    assert torch.equal(out, u)
    assert torch.equal(rest, r)
    up = torch.full_like(u, math.nan)
    assert kernels.smooth_(up, *level, b, u, sweeps=sweeps, correction=r) is up
    assert torch.equal(up, smooth(*level, b, u, sweeps=sweeps, correction=r))
    with pytest.raises(InputError, match="out shares memory with another argument"):
        kernels.smooth_(b, *level, b, u, sweeps=sweeps)
    with pytest.raises(InputError, match=r"out of strides .* is not contiguous"):
        kernels.smooth_(torch.empty(1, 2, 6, 9, dtype=torch.float64).mT, *level, b, sweeps=sweeps)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("kind", ["dirichlet", "periodic"])
@pytest.mark.parametrize("corrected", [True, False])
def test_the_guess_may_be_overwritten(generator: torch.Generator, kind: str, corrected: bool, threads: int) -> None:
    space = (40, 42, 20)  # large enough for parts on two threads
    k = torch.rand(1, *space, generator=generator, dtype=torch.float64) + 0.5
    level = *diffusion_operator(k, [1.0] * 3, kind), None
    b, u = (torch.randn(1, 1, *space, generator=generator, dtype=torch.float64) for _ in range(2))
    e = torch.randn(1, 1, 20, 21, 10, generator=generator, dtype=torch.float64) if corrected else None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for sweeps in (jacobi(1), chebyshev(3), gauss_seidel()):
            expected = smooth(*level, b, u, sweeps=sweeps, correction=e)
            out = u.clone()
            assert kernels.smooth_(out, *level, b, out, sweeps=sweeps, correction=e) is out
            assert torch.allclose(out, expected, rtol=1e-12, atol=1e-12)
            out = u.clone()
            rest = torch.empty_like(u)
            kernels.smooth_residual_(out, rest, *level, b, out, sweeps=sweeps, correction=e)
            assert torch.allclose(out, expected, rtol=1e-12, atol=1e-12)
            assert torch.allclose(rest, diffusion_residual(*level[:2], expected, b), rtol=1e-10, atol=1e-10)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: smooth(*ONE, torch.ones(1, 1, 4), sweeps=None), "what jacobi, chebyshev"),  # type: ignore[arg-type]
        (lambda: smooth(*(t.long() for t in ONE), torch.ones(1, 1, 4).long(), sweeps=jacobi()), "floating-point"),
        (lambda: diffusion_apply(*ONE[:2], torch.ones(1, 1, 4).int()), "floating-point"),
        (lambda: diffusion_operator(torch.ones(1, 4), 1.0), "sequence of one, two or three"),  # type: ignore[arg-type]
        (lambda: diffusion_operator(torch.ones(1, 0), [1.0]), "at least one"),
        (lambda: diffusion_operator(torch.ones(1, 4), [1.0], [None]), "expected a kind or a pair"),  # type: ignore[list-item]
        (lambda: l1_scale(torch.ones(1, 4), torch.ones(1, 2, 4)), "the coupling has shape"),
    ],
)
def test_arguments_of_the_wrong_kind_are_named(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
