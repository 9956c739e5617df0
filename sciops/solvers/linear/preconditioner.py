"""What a preconditioner is, and how anything that can be one becomes one."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciops.errors import InputError
from sciops.registry import Registry
from sciops.solvers.linear.operator import LinearOperator


@runtime_checkable
class Preconditioner(Protocol):
    """An approximate inverse: a callable on residuals ``(batch, rhs, *space)`` that returns a tensor of that shape.

    The result may be float32 where the residual is float64. Three attributes are read where they are there:
    `symmetric`, True or False, refuses or spares checks; `T` is the transposed preconditioner, which the derivatives of
    solves with operators that are not symmetric take; and `into(r, out)` writes M r into memory of the shape and dtype
    of r and returns it, which spares a large batch fresh memory in each iteration.
    """

    def __call__(self, r: Float[Tensor, "batch rhs *space"]) -> Float[Tensor, "batch rhs *space"]:
        """M r."""


@runtime_checkable
class PreconditionerFactory(Protocol):
    """What makes a preconditioner for each operator: a learned one, whose weights are there before the operator is.

    Attributes
    ----------
    method
        The Krylov method that takes what it makes: "cg" for symmetric positive definite preconditioners, "fcg" for ones
        that are nonlinear or not symmetric.
    """

    method: Literal["cg", "fcg"]

    def setup(self, A: LinearOperator) -> Preconditioner:
        """The preconditioner for A."""


preconditioners: Registry[Callable[..., Preconditioner]] = Registry("preconditioner")
"""Short names: ``M="jacobi"`` stands for ``M=Jacobi(A)``."""


def has_preconditioner(name: str) -> bool:
    """Whether there is a preconditioner of this short name; the module of this name, if any, is loaded."""
    if name not in preconditioners and name.isidentifier():
        module = f"{__package__}.{name}"
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module)
    return name in preconditioners


class Transpose:
    """The transpose of a preconditioner made of differentiable operations, by its derivative."""

    symmetric = None

    def __init__(self, M: Preconditioner) -> None:
        self.T = M

    def __call__(self, r: Tensor) -> Tensor:
        with torch.enable_grad():
            start = torch.zeros_like(r).requires_grad_()
            image = self.T(start)
            if not image.requires_grad:
                raise InputError(
                    f"the transpose of the preconditioner {self.T!r} is needed for a derivative, and it is not made of "
                    f"differentiable operations; give it an attribute T"
                )
            (found,) = torch.autograd.grad(image, start, r.to(image.dtype))
        return found.detach()


class Inverse:
    """Matrices of SciPy and pyamg as a preconditioner: ``matvec`` on one flat residual at a time, on a processor."""

    def __init__(
        self,
        matvec: Callable[[Any], Any],
        transposed: Callable[[Any], Any] | None = None,
        symmetric: bool | None = None,
        name: str = "",
    ) -> None:
        self._matvec, self._transposed, self.symmetric, self._name = matvec, transposed, symmetric, name

    def __call__(self, r: Tensor) -> Tensor:
        flat = r.detach().cpu().reshape(-1, int(torch.Size(r.shape[2:]).numel())).numpy()
        found = np.stack([np.asarray(self._matvec(row)).reshape(-1) for row in flat])
        return torch.from_numpy(found).to(dtype=r.dtype, device=r.device).reshape(r.shape)

    @property
    def T(self) -> Inverse:
        if self.symmetric:
            return self
        if self._transposed is None:
            raise InputError(f"the transpose of the preconditioner {self._name} is not known")
        return Inverse(self._transposed, self._matvec, self.symmetric, f"transposed {self._name}")

    def __repr__(self) -> str:
        return f"Inverse({self._name})"


class Applied:
    """A linear operator that is itself an approximate inverse."""

    def __init__(self, operator: LinearOperator) -> None:
        self.operator, self.symmetric = operator, operator.symmetric

    def __call__(self, r: Tensor) -> Tensor:
        return self.operator.apply(r)

    @property
    def T(self) -> Applied:
        return Applied(self.operator.T)

    def __repr__(self) -> str:
        return repr(self.operator)


def as_preconditioner(M: Any, A: LinearOperator) -> Preconditioner | None:
    """Whatever can precondition A as a callable on its residuals; None stays None.

    Parameters
    ----------
    M
        A short name ("jacobi", "ic0", "fast", "lu", "amg", ...), a LinearOperator, an ``nn.Module`` or another callable
        on tensors ``(batch, rhs, *space)``, what makes one by ``setup(A)`` (:mod:`sciops.preconditioners`), a SciPy
        LinearOperator, or a hierarchy of pyamg.
    A
        The operator.

    Raises
    ------
    InputError
        For anything else, or a size that does not fit.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion
    >>> as_preconditioner("jacobi", Diffusion(torch.ones(4).double(), grid=1.0))
    Jacobi((4,))
    """
    if M is None:
        return None
    if isinstance(M, str):
        has_preconditioner(M)
        made: Preconditioner = preconditioners[M](A)
        return made
    if isinstance(M, PreconditionerFactory):
        return M.setup(A)
    if isinstance(M, LinearOperator):
        if M.space != A.space or M.batch not in (1, A.batch):
            raise InputError(f"the preconditioner {M!r} does not fit {A!r}")
        return Applied(M)
    if isinstance(M, (Tensor, np.ndarray)):
        raise InputError(f"the preconditioner is a {type(M).__name__}; M=Sparse(matrix) makes an operator of a matrix")
    if hasattr(M, "aspreconditioner"):
        return as_preconditioner(M.aspreconditioner(cycle="V"), A)
    if hasattr(M, "matvec") and hasattr(M, "shape"):
        if tuple(M.shape) != (A.unknowns,) * 2:
            raise InputError(f"the preconditioner has shape {tuple(M.shape)}, expected {(A.unknowns,) * 2}")
        return Inverse(M.matvec, getattr(M, "rmatvec", None), None, type(M).__name__)
    if isinstance(M, type):
        raise InputError(f"the preconditioner is the class {M.__name__}; M={M.__name__}(A) makes one for the operator")
    if callable(M):
        called: Preconditioner = M
        return called
    raise InputError(
        f"a {type(M).__name__} is no preconditioner; a callable on tensors (batch, rhs, *space) is expected"
    )


def transpose(M: Preconditioner | None) -> Preconditioner | None:
    """The transposed preconditioner: its own `T`, itself where it is symmetric, else by its derivative."""
    if M is None or getattr(M, "symmetric", None) is True:
        return M
    if hasattr(M, "T"):
        own: Preconditioner = M.T
        return own
    return Transpose(M)
