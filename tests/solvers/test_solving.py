"""One call for a problem: what it picks, what it says, fields in and out, guesses, certified answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from sciops import solvers
from sciops.data import Field, Grid, Mesh
from sciops.errors import InputError, SolverError
from sciops.solvers import Darcy, LinearProblem, solve
from sciops.solvers.linear import Diffusion, Elasticity, Helmholtz, MatrixFree, Sparse

GRID = Grid.unit(24, 20, kind="cell")


def permeability(generator, *batch):
    return Field(
        torch.randn(*batch, 1, *GRID.shape, generator=generator, dtype=torch.float64).exp(), GRID, names=("k",)
    )


def gap(problem, found):
    A, b = problem.operator, problem.rhs
    return float((b - A @ found.value).norm() / b.norm())


def problems(generator):
    """What is solved, the method taken, and a word of why."""
    k = torch.randn(9, 8, generator=generator, dtype=torch.float64).exp()
    ones = torch.ones(9, 8, dtype=torch.float64)
    b = torch.randn(9, 8, generator=generator, dtype=torch.float64)
    n = torch.randn(30, 30, generator=generator, dtype=torch.float64)
    D = Diffusion(k, (0.1, 0.2))
    closed = b - b.mean()
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).double()
    square = Mesh(corners, {"quad": torch.tensor([[0, 1, 2, 3]])})
    held = Elasticity(square, 1.0, 0.3, fixed=corners[:, 0] == 0)
    return {
        "constant": (
            Diffusion(ones, (0.1, 0.2), [("neumann", "dirichlet"), "neumann"]),
            b,
            "refine",
            "fast transforms",
        ),
        "helmholtz": (Helmholtz(20.0, Grid.unit(9, 8, kind="cell")), b, "refine", "fast transforms"),
        "constant, closed": (Diffusion(ones, (0.1, 0.2), "neumann"), closed, "refine", "fast transforms"),
        "robin": (Diffusion(ones, (0.1, 0.2), 2.0), b, "cg", "positive diffusion"),
        "variable": (D, b, "cg", "positive diffusion"),
        "variable, closed": (Diffusion(k, (0.1, 0.2), "neumann"), closed, "cg", "positive diffusion"),
        "small matrix": (Sparse(n), b.ravel()[:30], "refine", "sparse LU"),
        "elastic": (held, held.right_hand_side((0.0, -1.0)), "refine", "sparse LU"),
        "sum": (D + D, b, "cg", "symmetric positive definite"),
        "indefinite": (Diffusion(k, (0.1, 0.2), reaction=-200 * k), b, "minres", "may be indefinite"),
        "not symmetric": (MatrixFree(lambda u: 5 * u + u.roll(1, -1), (9, 8)), b, "gmres", "not symmetric"),
    }


@pytest.mark.parametrize("name", problems(torch.Generator()))
def test_what_suits_is_taken_and_said(name, generator):
    A, b, method, why = problems(generator)[name]
    problem = LinearProblem(A, b)
    found = solve(problem, rtol=1e-9)
    assert found.method == method and "taken because" in found.message and why in found.message
    assert found.converged and gap(problem, found) <= 1.01e-9


def test_fields_in_and_fields_out(generator):
    k = permeability(generator, 3)
    source = Field(torch.randn(3, 1, *GRID.shape, generator=generator, dtype=torch.float64), GRID)
    problem = Darcy(k, source, [("dirichlet", "neumann"), 1.5], values=[(1.0, 0.0), 0.0])
    found = solve(problem)
    assert isinstance(found.value, Field) and found.value.names == ("u",) and found.value.grid == GRID
    assert found.value.values.shape == (3, 1, *GRID.shape)
    system = problem.linear()
    for i in range(3):
        alone = solve(Darcy(Field(k.values[i], GRID), Field(source.values[i], GRID), problem.boundary, problem.values))
        torch.testing.assert_close(alone.value.values, found.value.values[i], rtol=1e-4, atol=1e-5)
    true = (system.rhs - system.operator @ found.value.values[:, 0]).flatten(1).norm(dim=1)
    assert (true <= 1.01e-6 * system.rhs.flatten(1).norm(dim=1)).all()


class Learned:
    """What a surrogate looks like: near the answer, on a grid of its own, with noise."""

    def __init__(self, answer, noise=0.0):
        self.answer, self.noise, self.seen = answer, noise, None

    def predict(self, data: xr.Dataset) -> xr.Dataset:
        self.seen = data
        ds = self.answer.to_xarray()
        return ds + self.noise * np.random.default_rng(0).standard_normal(ds["u"].shape)


def test_a_learned_guess_and_a_certified_answer(generator):
    k = permeability(generator)
    cold = solve(Darcy(k), "cg", preconditioner="jacobi", rtol=1e-8)
    learned = Learned(cold.value)
    warm = solve(Darcy(k), "cg", learned, "jacobi", rtol=1e-8)
    assert list(learned.seen.data_vars) == ["k"] and learned.seen["k"].dims == ("sample", "x", "y")
    assert warm.iterations < cold.iterations / 2
    for guess in (Learned(cold.value, noise=1e6), cold.value, cold.value.values[0], torch.full((1,), 3.0)):
        found = solve(Darcy(k), "cg", guess, "jacobi", rtol=1e-8)
        system = Darcy(k).linear()
        assert (system.rhs - system.operator @ found.value.values[0]).norm() <= 1.01e-8 * system.rhs.norm()


def test_a_guess_on_another_grid_is_resampled(generator):
    k = permeability(generator)
    coarse = Grid.unit(48, 40, kind="cell")
    answer = solve(Darcy(k)).value
    x, y = coarse.coordinates()
    smooth = Field((x * (1 - x) * y * (1 - y))[None], coarse, names=("u",))
    found = solve(Darcy(k), guess=smooth)
    assert (found.value.values - answer.values).abs().max() <= 1e-4 * answer.values.abs().max()


def test_the_answer_is_differentiable_in_the_permeability():
    k = torch.full((1, 8, 8), 1.0, dtype=torch.float64).requires_grad_()
    grid = Grid.unit(8, 8, kind="cell")
    solve(Darcy(Field(k, grid)), "cg", rtol=1e-10).value.values.sum().backward()
    # u = v / k, so the sum falls by itself where k grows everywhere
    total = solve(Darcy(Field(k.detach(), grid))).value.values.sum()
    torch.testing.assert_close(k.grad.sum(), -total, rtol=1e-5, atol=0)


def test_a_method_and_a_preconditioner_that_are_asked_for(generator):
    problem = Darcy(permeability(generator))
    assert solve(problem, "bicgstab", preconditioner="ic0").method == "bicgstab"
    assert solve(problem, preconditioner=lambda r: r / (1 + r.abs().max())).method == "fcg"
    with pytest.raises(InputError, match="unknown method 'gmre'; did you mean 'gmres'"):
        solve(problem, "gmre")
    with pytest.raises(SolverError, match=r"maxiter was reached.*taken because it was asked for"):
        solve(problem, "cg", maxiter=1)
    assert not solve(problem, "cg", maxiter=1, raise_on_failure=False).converged


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda k: solve(k), "Field is no problem"),
        (lambda k: solve(LinearProblem(np.eye(3), torch.ones(3))), "ndarray"),
        (lambda k: solve(Darcy(k), guess="zero"), "guess is a str"),
        (lambda k: solve(Darcy(k), guess=torch.ones(7, 7)), r"\(7, 7\)"),
        (lambda k: solve(Darcy(k, Field(torch.ones(1, 5, 5), Grid.unit(5, 5, kind="cell")))), "another grid"),
        (lambda k: solve(Darcy(k.values[0], grid=GRID), guess=Learned(k)), "is a Field"),
    ],
)
def test_what_does_not_fit_is_named(call, said, generator):
    with pytest.raises(InputError, match=said):
        call(permeability(generator))


def test_the_package_names_what_it_has():
    assert {"solve", "linear", "pde", "Darcy", "LinearProblem"} <= set(solvers.__all__)
