"""The eight example matrices of pyamg, which nobody here wrote: each is solved, or refused for the right reason."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciops.errors import InputError, SolverError
from sciops.solvers import linear
from sciops.solvers.linear import Sparse, real_form

pyamg = pytest.importorskip("pyamg")


def example(name):
    return pyamg.gallery.load_example(name)


def certified(A, b, found, rtol):
    gap = np.linalg.norm(b.numpy() - A.to_scipy() @ found.value.numpy())
    return found.converged and gap <= 1.01 * rtol * np.linalg.norm(b.numpy())


@pytest.mark.parametrize("name", ["airfoil", "bar", "knot", "local_disc_galerkin_diffusion", "unit_cube"])
@pytest.mark.parametrize("M", [None, "jacobi", "ic0", "lu", "amg"])
def test_the_definite_ones(name, M, generator):
    A = Sparse(example(name)["A"])
    assert A.symmetric
    b = torch.randn(A.space, generator=generator, dtype=torch.float64)
    for method in ("cg", "minres"):
        assert certified(A, b, getattr(linear, method)(A, b, M=M, rtol=1e-8), 1e-8)


def test_the_near_null_space_helps(generator):
    """Three-dimensional elasticity: rigid motions in the coarse spaces save iterations."""
    problem = example("bar")
    A = Sparse(problem["A"])
    b = torch.randn(A.space, generator=generator, dtype=torch.float64)
    plain = linear.cg(A, b, M=linear.PyAMG(A), rtol=1e-8).iterations
    with_motions = linear.PyAMG(A, near_nullspace=torch.from_numpy(problem["B"].T.copy()))
    assert linear.cg(A, b, M=with_motions, rtol=1e-8).iterations < plain


@pytest.mark.parametrize("M", [None, "jacobi", "ic0", "amg", "schwarz"])
def test_the_semidefinite_one(M, generator):
    A = Sparse(example("unit_square")["A"])
    b = A @ torch.randn(A.space, generator=generator, dtype=torch.float64)
    for method in ("cg", "minres", "gmres"):
        assert certified(A, b, getattr(linear, method)(A, b, M=M, rtol=1e-8), 1e-8)
        with pytest.raises(SolverError, match="not in its range"):
            getattr(linear, method)(A, b + b.norm(), M=M, rtol=1e-8)


def test_the_nonsymmetric_one(generator):
    A = Sparse(example("recirc_flow")["A"])
    assert not A.symmetric
    b = torch.randn(A.space, generator=generator, dtype=torch.float64)
    with pytest.raises(InputError, match="use gmres or bicgstab"):
        linear.cg(A, b)
    for method in ("gmres", "fgmres"):
        assert certified(A, b, getattr(linear, method)(A, b, rtol=1e-8, restart=60), 1e-8)
    for M in (None, "jacobi", "lu"):
        assert certified(A, b, linear.bicgstab(A, b, rtol=1e-8, M=M), 1e-8)
    with pytest.raises(InputError, match=r"need a symmetric operator.*use 'lu'"):
        linear.gmres(A, b, M="amg")


def test_the_complex_one(generator):
    matrix = example("helmholtz_2D")["A"]
    with pytest.raises(InputError, match=r"complex.*real_form"):
        Sparse(matrix)
    A = Sparse(real_form(matrix))
    b = torch.randn(A.space, generator=generator, dtype=torch.float64)
    found = linear.refine(A, b, M="lu", rtol=1e-10)
    assert certified(A, b, found, 1e-10)
    n = matrix.shape[0]
    z, c = (v[:n].numpy() + 1j * v[n:].numpy() for v in (found.value, b))
    assert np.linalg.norm(matrix @ z - c) <= 1.01e-10 * np.linalg.norm(c)
    assert certified(A, b, linear.gmres(A, b, M="lu", rtol=1e-8), 1e-8)
