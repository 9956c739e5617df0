"""Preconditioners of sciops, learned or not, in the solvers of SciPy and PETSc."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse.linalg as splinalg
import torch
from torch import Tensor

from sciops.errors import InputError, MissingDependencyError
from sciops.solvers.linear import LinearOperator, Preconditioner, as_preconditioner
from sciops.solvers.linear.preconditioner import transpose

Flat = np.ndarray[Any, np.dtype[np.float64]]


def to_scipy(M: Any, A: LinearOperator) -> splinalg.LinearOperator:
    """A preconditioner as the argument `M` of the solvers of SciPy, float64 in and out.

    Parameters
    ----------
    M
        Whatever :func:`~sciops.solvers.linear.as_preconditioner` takes: a learned preconditioner, a name, an object
        set up for A. One that is made for flexible conjugate gradients is no linear map: of SciPy's methods ``lgmres``
        takes it, ``cg`` may stall.
    A
        The operator, one; ``A.to_scipy()`` is its matrix.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator

    Raises
    ------
    InputError
        For a batch of operators, or what is no preconditioner.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(32, 32, dtype=torch.float64), grid=1 / 32)
    >>> x, info = splinalg.cg(A.to_scipy(), np.ones(1024), rtol=1e-8, M=to_scipy("multigrid", A))
    >>> info, round(float(x.max()), 3)
    (0, 0.074)
    """
    made, n = _single(M, A), A.unknowns

    def back(x: Flat) -> Flat:
        return _flat(_transposed(made), A)(x)

    return splinalg.LinearOperator((n, n), matvec=_flat(made, A), rmatvec=back, dtype=np.float64)


def to_petsc(M: Any, A: LinearOperator) -> tuple[Any, Any]:
    """An operator and a preconditioner as a matrix and a preconditioner of PETSc, for a KSP of your own.

    Both are shells over Python objects on one process. Each works without the other: a KSP with another matrix takes
    the preconditioner, and the matrix goes with PETSc's ``none`` or ``jacobi``.

    Parameters
    ----------
    M
        Whatever :func:`~sciops.solvers.linear.as_preconditioner` takes. One that is made for flexible conjugate
        gradients goes with the KSP types ``fcg`` and ``fgmres``.
    A
        The operator, one.

    Returns
    -------
    tuple of petsc4py.PETSc.Mat and petsc4py.PETSc.PC

    Raises
    ------
    MissingDependencyError
        Without petsc4py, which the extra sciops[petsc] installs.
    InputError
        For a batch of operators, what is no preconditioner, or a PETSc of complex or single precision numbers.

    Notes
    -----
    A solve by hand::

        matrix, preconditioner = to_petsc(model, A)
        ksp = PETSc.KSP().create(PETSc.COMM_SELF)
        ksp.setOperators(matrix)
        ksp.setPC(preconditioner)
        ksp.setType("cg")
        x, b = matrix.createVecs()
        b.setArray(rhs.numpy().ravel())
        ksp.solve(b, x)

    In a script, where nothing else lets go of them before PETSc itself ends, destroy all three at the end
    (``ksp.destroy()`` and so on): with PETSc 3.18 shells that are left over can crash the interpreter as it exits.
    """
    try:
        from petsc4py import PETSc
    except ImportError as error:
        raise MissingDependencyError("to_petsc needs petsc4py; install it by pip install 'sciops[petsc]'") from error
    if np.dtype(PETSc.ScalarType) != np.float64:
        raise InputError(f"this PETSc computes with {np.dtype(PETSc.ScalarType)}, expected one built for float64")
    made, n = _single(M, A), A.unknowns
    matrix = PETSc.Mat().createPython((n, n), _PetscMatrix(A), comm=PETSc.COMM_SELF)
    matrix.setUp()
    if A.symmetric:
        matrix.setOption(PETSc.Mat.Option.SYMMETRIC, True)
    if A.definite:
        matrix.setOption(PETSc.Mat.Option.SPD, True)
    preconditioner = PETSc.PC().create(comm=PETSc.COMM_SELF)
    preconditioner.setOperators(matrix)
    preconditioner.setType(PETSc.PC.Type.PYTHON)
    preconditioner.setPythonContext(_PetscPreconditioner(made, A))
    return matrix, preconditioner


class _PetscMatrix:
    """What PETSc asks of a matrix."""

    def __init__(self, A: LinearOperator) -> None:
        self.A, self._forward, self._back = A, _flat(A.apply, A), _flat(A.T.apply, A)

    def mult(self, matrix: Any, x: Any, y: Any) -> None:
        y.setArray(self._forward(x.getArray(readonly=1)))

    def multTranspose(self, matrix: Any, x: Any, y: Any) -> None:
        y.setArray(self._back(x.getArray(readonly=1)))

    def getDiagonal(self, matrix: Any, y: Any) -> None:
        y.setArray(self.A.diagonal().detach().cpu().double().numpy().ravel())


class _PetscPreconditioner:
    """What PETSc asks of a preconditioner."""

    def __init__(self, M: Preconditioner, A: LinearOperator) -> None:
        self.M, self.A, self._forward = M, A, _flat(M, A)

    def apply(self, preconditioner: Any, x: Any, y: Any) -> None:
        y.setArray(self._forward(x.getArray(readonly=1)))

    def applyTranspose(self, preconditioner: Any, x: Any, y: Any) -> None:
        y.setArray(_flat(_transposed(self.M), self.A)(x.getArray(readonly=1)))


def _single(M: Any, A: LinearOperator) -> Preconditioner:
    """The preconditioner of one operator."""
    if A.batch != 1:
        raise InputError(f"other libraries take one operator, {A!r} is a batch; A.singles() has them one by one")
    made = as_preconditioner(M, A)
    if made is None:
        raise InputError("no preconditioner was given")
    return made


def _transposed(M: Preconditioner) -> Preconditioner:
    back = transpose(M)
    assert back is not None
    return back


def _flat(function: Callable[[Tensor], Tensor], A: LinearOperator) -> Callable[[Flat], Flat]:
    """A function of fields as one of flat arrays."""

    def apply(x: Flat) -> Flat:
        field = torch.tensor(x, dtype=A.dtype, device=A.device).view(1, 1, *A.space)
        with torch.no_grad():
            found: Flat = function(field).double().cpu().numpy().reshape(np.shape(x))
        return found

    return apply
