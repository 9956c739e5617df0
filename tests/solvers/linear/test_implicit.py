"""Derivatives of solves against differences, once and twice, for every method and every kind of operator."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from sciops.data import Grid
from sciops.errors import InputError, SolverError
from sciops.solvers import linear
from sciops.solvers.linear import Diffusion, MatrixFree, Sparse

TIGHT = {"rtol": 1e-13, "atol": 1e-13}
SYMMETRIC = ["cg", "block_cg", "fcg", "minres", "gmres", "bicgstab", "refine"]


def both(function, inputs):
    inputs = tuple(t.requires_grad_() for t in inputs)
    assert gradcheck(function, inputs, rtol=1e-4, atol=1e-6)
    assert gradgradcheck(function, inputs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("method", SYMMETRIC)
def test_in_right_hand_side_permeability_and_reaction(method, generator):
    k = torch.rand(2, 3, generator=generator, dtype=torch.float64) + 0.5
    c = torch.rand(2, 3, generator=generator, dtype=torch.float64) + 0.5
    b = torch.randn(2, 2, 3, generator=generator, dtype=torch.float64)

    def solve(k, c, b):
        A = Diffusion(k, (0.5, 0.5), [("neumann", 1.5), ("dirichlet", "neumann")], c)
        M = {"cg": "jacobi", "refine": "lu", "gmres": None}.get(method, linear.Jacobi(A))
        return getattr(linear, method)(A, b, M=M, **TIGHT).value

    both(solve, (k, c, b))


def test_in_a_batch_of_anisotropic_operators(generator):
    k = torch.rand(2, 2, 2, 2, generator=generator, dtype=torch.float64) + 0.5
    b = torch.randn(2, 2, 2, generator=generator, dtype=torch.float64)
    both(lambda k, b: linear.cg(Diffusion(k, (0.5, 0.4)), b, M="ic0", **TIGHT).value, (k, b))


@pytest.mark.parametrize("method", ["gmres", "fgmres", "bicgstab", "refine"])
def test_in_the_entries_of_a_matrix_that_is_not_symmetric(method, generator):
    """The transposed preconditioner takes part: LU has its own, a module is transposed by its derivative."""
    entries = torch.rand(5, 5, generator=generator, dtype=torch.float64) + 4 * torch.eye(5).double()
    b = torch.randn(5, generator=generator, dtype=torch.float64)
    weights = torch.nn.Linear(5, 5, bias=False).double()
    weights.weight.data = torch.linalg.inv(entries)

    def solve(entries, b):
        M = {"refine": "lu", "gmres": weights, "bicgstab": "jacobi"}.get(method)
        return getattr(linear, method)(Sparse(entries), b, M=M, **TIGHT).value

    both(solve, (entries, b))


def test_in_the_parameters_of_a_function_and_through_sums_and_products(generator):
    k = torch.rand(4, generator=generator, dtype=torch.float64) + 0.5
    wind = torch.rand(4, generator=generator, dtype=torch.float64)
    b = torch.randn(4, generator=generator, dtype=torch.float64)

    def solve(k, wind, b):
        D = Diffusion(k, 1.0)
        B = MatrixFree(lambda u, w: w * (u - u.roll(1, -1)), (4,), parameters=[wind])
        return linear.gmres((D + 0.5 * B) @ D, b, **TIGHT).value

    both(solve, (k, wind, b))


def test_in_a_singular_system(generator):
    """All sides closed: in the permeability, and in what the source has beside its mean."""
    k = torch.rand(3, 3, generator=generator, dtype=torch.float64) + 0.5
    f = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    both(lambda k, f: linear.cg(Diffusion(k, (0.5, 0.5), "neumann"), f - f.mean(), **TIGHT).value, (k, f))


def test_in_boundary_values(generator):
    k = torch.rand(2, 3, generator=generator, dtype=torch.float64) + 0.5
    left, right = (torch.randn(3, generator=generator, dtype=torch.float64) for _ in range(2))

    def solve(k, left, right):
        A = Diffusion(k, (0.5, 0.5), [("dirichlet", 2.0), "neumann"])
        return linear.cg(A, A.right_hand_side(values=[(left, right), 0.3]), **TIGHT).value

    both(solve, (k, left, right))


def test_no_iteration_is_recorded_and_the_backward_pass_is_preconditioned():
    A = Diffusion(torch.ones(16, 16, dtype=torch.float64).requires_grad_(), grid=1 / 16)
    calls = []

    def M(r):
        calls.append(torch.is_grad_enabled())
        return r / A.diagonal().detach()[:, None]

    M.symmetric = True
    found = linear.cg(A, torch.ones(16, 16, dtype=torch.float64), M=M)
    assert type(found.value.grad_fn.next_functions[0][0]).__name__ == "_ImplicitBackward"
    forward = len(calls)
    found.value.square().sum().backward()
    assert len(calls) > forward and not any(calls)


def test_a_backward_solve_that_fails_says_so():
    A = Diffusion(torch.ones(64, dtype=torch.float64).requires_grad_(), Grid.unit(64, kind="cell"))
    calls = []

    def M(r):
        calls.append(1)
        return r if len(calls) < 40 else r * torch.nan

    M.symmetric = True
    found = linear.fcg(A, torch.ones(64, dtype=torch.float64), M=M)
    g = torch.randn(64, dtype=torch.float64)
    with pytest.raises(SolverError, match=r"in the derivative, fcg.*preconditioner M returned NaN"):
        found.value.backward(g)


def test_a_preconditioner_without_a_transpose_is_named():
    A = Sparse(torch.tensor([[2.0, 1.0], [0.0, 3.0]]).double().requires_grad_())
    found = linear.gmres(A, torch.ones(2).double(), M=lambda r: r.detach())
    with pytest.raises(InputError, match="not made of differentiable"):
        found.value.sum().backward()
