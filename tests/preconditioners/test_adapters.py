"""Preconditioners of sciops in the solvers of SciPy and PETSc."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import scipy.sparse.linalg as splinalg
import torch

from sciops.errors import InputError, MissingDependencyError
from sciops.preconditioners import families, to_petsc, to_scipy
from sciops.solvers.linear import Sparse, cg

METHODS = ["multigrid", "ic0", "jacobi"]


def system(generator, dtype=torch.float64):
    A = families.piecewise(24, 20, batch=1)(generator).to(dtype)
    return A, torch.randn(24, 20, generator=generator, dtype=dtype)


def residual(A, x, b):
    return np.linalg.norm(b - A.to_scipy() @ x) / np.linalg.norm(b)


def require_as_many(count, found):
    """Rounding adds up over hundreds of iterations."""
    ours = int(found.iterations)
    assert abs(count - ours) <= max(1, 0.05 * ours)


@pytest.mark.parametrize("name", METHODS)
def test_scipy_takes_as_many_iterations_as_sciops(name, generator):
    A, b = system(generator)
    count = []
    x, info = splinalg.cg(A.to_scipy(), b.numpy().ravel(), rtol=1e-8, M=to_scipy(name, A), callback=count.append)
    assert info == 0 and residual(A, x, b.numpy().ravel()) <= 1e-8 * 1.01
    require_as_many(len(count), cg(A, b, M=name, rtol=1e-8))


def test_single_precision_inside_is_double_outside(generator):
    A, b = system(generator, torch.float32)
    x, info = splinalg.cg(A.to_scipy().astype(np.float64), b.double().numpy().ravel(), rtol=1e-8, M=to_scipy("ic0", A))
    assert info == 0 and x.dtype == np.float64
    assert residual(A, x, b.double().numpy().ravel()) <= 1e-8 * 1.01


def test_the_transpose_goes_with_it(generator):
    A, _ = system(generator)
    weights = torch.randn(A.unknowns, A.unknowns, generator=generator, dtype=torch.float64)
    M = to_scipy(Sparse(weights), A := Sparse(A.to_scipy()))
    x = np.random.default_rng(0).standard_normal(A.unknowns)
    np.testing.assert_allclose(M.matvec(x), weights.numpy() @ x, rtol=1e-10)
    np.testing.assert_allclose(M.rmatvec(x), weights.numpy().T @ x, rtol=1e-10)


def test_what_does_not_fit_is_named(generator):
    batch = families.lognormal(8, 8, batch=2)(generator)
    with pytest.raises(InputError, match=r"A\.singles\(\) has them one by one"):
        to_scipy("jacobi", batch)
    with pytest.raises(InputError, match="no preconditioner was given"):
        to_scipy(None, batch.singles()[0])


def test_without_petsc_the_extra_is_named(generator, monkeypatch):
    monkeypatch.setitem(sys.modules, "petsc4py", None)
    with pytest.raises(MissingDependencyError, match=r"sciops\[petsc\]"):
        to_petsc("jacobi", system(generator)[0])


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("own", [False, True], ids=["shell", "assembled"])
def test_petsc_takes_as_many_iterations_as_sciops(name, own, generator):
    PETSc = pytest.importorskip("petsc4py.PETSc")
    A, b = system(generator)
    matrix, preconditioner = to_petsc(name, A)
    if own:
        csr = A.to_scipy()
        csr.sort_indices()
        matrix = PETSc.Mat().createAIJ(csr.shape, csr=(csr.indptr, csr.indices, csr.data), comm=PETSc.COMM_SELF)
    ksp = PETSc.KSP().create(PETSc.COMM_SELF)
    ksp.setOperators(matrix)
    ksp.setPC(preconditioner)
    ksp.setType("cg")
    ksp.setNormType(PETSc.KSP.NormType.UNPRECONDITIONED)
    ksp.setTolerances(rtol=1e-8)
    x, rhs = matrix.createVecs()
    rhs.setArray(b.numpy().ravel())
    ksp.solve(rhs, x)
    assert ksp.getConvergedReason() > 0
    assert residual(A, x.getArray(), b.numpy().ravel()) <= 1e-8 * 1.01
    require_as_many(ksp.getIterationNumber(), cg(A, b, M=name, rtol=1e-8))


def test_petsc_asks_for_transposes_and_the_diagonal(generator):
    pytest.importorskip("petsc4py")
    A, _ = system(generator)
    matrix, preconditioner = to_petsc("jacobi", A)
    x, y = matrix.createVecs()
    values = np.random.default_rng(0).standard_normal(A.unknowns)
    x.setArray(values)
    matrix.multTranspose(x, y)
    np.testing.assert_allclose(y.getArray(), A.to_scipy() @ values, rtol=1e-12)
    matrix.getDiagonal(y)
    np.testing.assert_allclose(y.getArray(), A.to_scipy().diagonal(), rtol=1e-12)
    preconditioner.applyTranspose(x, y)
    np.testing.assert_allclose(y.getArray(), values / A.to_scipy().diagonal(), rtol=1e-12)
