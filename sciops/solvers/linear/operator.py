"""What a linear operator is: shapes, products, transposes, and what a solve needs to know of it.

**Shapes.** Vectors are fields on the operator's `space`, tensors ``(*lead, *space)``. Inside, everything is
``(batch, rhs, *space)``. The leading dimensions are read by one rule: one operator (``batch`` 1) takes up to two, and
all of them are right-hand sides; a batch of operators takes ``(batch, *space)``, one right-hand side each, or
``(batch, rhs, *space)``. Results have the shape of what was given.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, overload

import scipy.sparse as sparse
import torch
from jaxtyping import Float
from torch import Tensor

from sciops.errors import InputError

DTYPES = (torch.float32, torch.float64)
_MOST_PROBED = 1 << 13  # unknowns up to which a matrix may be found column by column


class LinearOperator(abc.ABC):
    r"""A square linear map :math:`u \mapsto A u` between fields, or a batch of them; the module states the shapes.

    Attributes
    ----------
    space : tuple of int
        Shape of one field.
    batch : int
        How many operators this is.
    dtype, device
        Of its tensors, and of the fields it takes: float32 or float64.
    symmetric : bool
        Whether A = A'.
    definite : bool or None
        Whether it is symmetric positive definite; None where nobody knows.
    nullspace : Tensor or None
        An orthonormal basis ``(1 or batch, kept, *space)`` of the fields that A takes to zero, where it is known;
        None stands for "not known, or empty".

    Examples
    --------
    >>> from sciops.solvers.linear import Sparse
    >>> A = Sparse(torch.tensor([[2.0, -1.0], [-1.0, 2.0]]).double())
    >>> (A @ torch.tensor([1.0, 0.0]).double()).tolist()
    [2.0, -1.0]
    >>> ((2 * A + A) @ torch.tensor([1.0, 0.0]).double()).tolist()
    [6.0, -3.0]
    """

    space: tuple[int, ...]
    batch: int
    dtype: torch.dtype
    device: torch.device
    symmetric: bool
    definite: bool | None
    nullspace: Tensor | None = None

    @abc.abstractmethod
    def apply(self, u: Float[Tensor, "batch rhs *space"]) -> Float[Tensor, "batch rhs *space"]:
        """A u on fields of the canonical shape, differentiable in u and in `tensors`."""

    @abc.abstractmethod
    def diagonal(self) -> Float[Tensor, "batch *space"]:
        """The diagonal of A."""

    @abc.abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors that A depends on, in which a solve has derivatives."""

    @abc.abstractmethod
    def rebuilt(self, tensors: Sequence[Tensor]) -> LinearOperator:
        """The same operator on other tensors, in the order of `tensors`."""

    def apply_dot(
        self, u: Float[Tensor, "batch rhs *space"], out: Float[Tensor, "batch rhs *space"] | None = None
    ) -> tuple[Float[Tensor, "batch rhs *space"], Float[Tensor, "batch rhs"] | None]:
        """A u, and <u, A u> where it comes without another pass over memory, else None.

        A u may be `out`, memory of its shape that a solver keeps from iteration to iteration; then nothing has
        derivatives.
        """
        return self.apply(u), None

    def residual(
        self, u: Float[Tensor, "batch rhs *space"], b: Float[Tensor, "batch rhs *space"]
    ) -> Float[Tensor, "batch rhs *space"]:
        """b - A u."""
        return b - self.apply(u)

    def transposed(self) -> LinearOperator:
        """A' of an operator that is not symmetric; `T` is what to use."""
        return Transposed(self)

    @property
    def T(self) -> LinearOperator:
        """The transpose; the operator itself where it is symmetric."""
        return self if self.symmetric else self.transposed()

    @property
    def unknowns(self) -> int:
        """How many numbers one field has."""
        return int(torch.Size(self.space).numel())

    def to(self, target: torch.dtype | torch.device | str) -> LinearOperator:
        """The operator with its tensors in another dtype or on another device."""
        if isinstance(target, torch.dtype) and target not in DTYPES:
            raise InputError(f"an operator has dtype float32 or float64, {target} was asked for")
        return self.rebuilt([t.to(target) for t in self.tensors()])

    def canonical(self, u: Tensor, name: str = "u") -> Float[Tensor, "batch rhs *space"]:
        """The field in the canonical shape, by the rule of the module.

        Raises
        ------
        InputError
            For a shape, dtype or device that does not fit; the message names `name`.
        """
        if not isinstance(u, Tensor):
            raise InputError(f"{name} is a {type(u).__name__}, expected a torch.Tensor; torch.as_tensor converts it")
        d, batch = len(self.space), self.batch
        lead = tuple(u.shape[: max(u.ndim - d, 0)])
        fits = tuple(u.shape[len(lead) :]) == self.space and len(lead) <= 2
        if not fits or (batch > 1 and lead[:1] != (batch,)):
            space = ", ".join(map(str, self.space))
            expected = (
                f"({space}), or (rhs, {space})" if batch == 1 else f"({batch}, {space}), or ({batch}, rhs, {space})"
            )
            raise InputError(f"{name} has shape {tuple(u.shape)}, expected {expected} for {self!r}")
        if u.dtype != self.dtype or u.device != self.device:
            raise InputError(
                f"{name} is {u.dtype} on {u.device}, the operator {self.dtype} on {self.device}; convert by .to(...)"
            )
        return u.reshape(batch, -1 if u.numel() else 0, *self.space)

    def singles(self) -> list[LinearOperator]:
        """The operators of a batch one by one.

        Raises
        ------
        InputError
            If the batch cannot be taken apart.
        """
        if self.batch != 1:
            raise InputError(f"the batch of {self!r} cannot be taken apart; only Diffusion's can")
        return [self]

    def to_scipy(self) -> sparse.csr_matrix:
        """One operator as a SciPy matrix in CSR form, rows in the order of a flattened field.

        Raises
        ------
        InputError
            For a batch of operators, or one that is known by its products only and has more than 8192 unknowns.
        """
        if self.batch != 1:
            raise InputError(f"a SciPy matrix is one operator, this is a batch of {self.batch}")
        n = self.unknowns
        if n > _MOST_PROBED:
            raise InputError(f"{self!r} is known by its products only; {n} unknowns are too many to find its matrix")
        with torch.no_grad():
            eye = torch.eye(n, dtype=self.dtype, device=self.device).view(1, n, *self.space)
            columns = self.apply(eye).reshape(n, n)
        return sparse.csr_matrix(columns.T.cpu().numpy())

    @overload
    def __matmul__(self, other: LinearOperator) -> LinearOperator: ...
    @overload
    def __matmul__(self, other: Tensor) -> Tensor: ...
    def __matmul__(self, other: Any) -> Any:
        if isinstance(other, LinearOperator):
            return Composed(self, other)
        return self.apply(self.canonical(other)).reshape(other.shape)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return Sum(self, other)

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return Sum(self, Scaled(-1.0, other))

    def __mul__(self, factor: float) -> LinearOperator:
        return Scaled(factor, self)

    __rmul__ = __mul__

    def __neg__(self) -> LinearOperator:
        return Scaled(-1.0, self)

    def describe(self) -> str:
        """What the representation tells beside the shape."""
        return ""

    def __repr__(self) -> str:
        words = [str(self.space), f"batch={self.batch}"] if self.batch > 1 else [str(self.space)]
        words += [str(self.dtype).removeprefix("torch."), *filter(None, [self.describe()])]
        return f"{type(self).__name__}({', '.join(words)})"


class Transposed(LinearOperator):
    """The transpose of an operator, by the derivative of its product."""

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator
        _take_after(self, operator)
        self.symmetric, self.definite = operator.symmetric, operator.definite

    def apply(self, u: Tensor) -> Tensor:
        again = torch.is_grad_enabled()
        with torch.enable_grad():
            start = torch.zeros_like(u).requires_grad_()
            image = self.operator.apply(start)
            (found,) = torch.autograd.grad(image, start, u, create_graph=again)
        return found

    def diagonal(self) -> Tensor:
        return self.operator.diagonal()

    def tensors(self) -> tuple[Tensor, ...]:
        return self.operator.tensors()

    def rebuilt(self, tensors: Sequence[Tensor]) -> LinearOperator:
        return Transposed(self.operator.rebuilt(tensors))

    def transposed(self) -> LinearOperator:
        return self.operator

    def describe(self) -> str:
        return repr(self.operator)


class Sum(LinearOperator):
    """A + B."""

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        _require_alike("A + B", first, second)
        self.first, self.second = first, second
        _take_after(self, first if first.batch > 1 else second)
        self.symmetric = first.symmetric and second.symmetric
        self.definite = True if first.definite and second.definite else None

    def apply(self, u: Tensor) -> Tensor:
        return self.first.apply(u) + self.second.apply(u)

    def diagonal(self) -> Tensor:
        return self.first.diagonal() + self.second.diagonal()

    def tensors(self) -> tuple[Tensor, ...]:
        return *self.first.tensors(), *self.second.tensors()

    def rebuilt(self, tensors: Sequence[Tensor]) -> LinearOperator:
        return Sum(*_rebuilt(self.first, self.second, tensors))

    def transposed(self) -> LinearOperator:
        return Sum(self.first.T, self.second.T)

    def to_scipy(self) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.first.to_scipy() + self.second.to_scipy())

    def describe(self) -> str:
        return f"{self.first!r} + {self.second!r}"


class Scaled(LinearOperator):
    """c A with a number c."""

    def __init__(self, factor: float, operator: LinearOperator) -> None:
        if not isinstance(factor, (int, float)):
            raise InputError(f"an operator is scaled by a number, got {type(factor).__name__}")
        self.factor, self.operator = float(factor), operator
        _take_after(self, operator)
        self.symmetric, self.nullspace = operator.symmetric, operator.nullspace if factor else None
        self.definite = operator.definite if factor > 0 else (False if operator.definite or not factor else None)

    def apply(self, u: Tensor) -> Tensor:
        return self.factor * self.operator.apply(u)

    def diagonal(self) -> Tensor:
        return self.factor * self.operator.diagonal()

    def tensors(self) -> tuple[Tensor, ...]:
        return self.operator.tensors()

    def rebuilt(self, tensors: Sequence[Tensor]) -> LinearOperator:
        return Scaled(self.factor, self.operator.rebuilt(tensors))

    def transposed(self) -> LinearOperator:
        return Scaled(self.factor, self.operator.T)

    def to_scipy(self) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.factor * self.operator.to_scipy())

    def describe(self) -> str:
        return f"{self.factor:g} * {self.operator!r}"


class Composed(LinearOperator):
    """A B, the product of two operators: first B, then A."""

    def __init__(self, first: LinearOperator, second: LinearOperator) -> None:
        _require_alike("A @ B", first, second)
        self.first, self.second = first, second
        _take_after(self, first if first.batch > 1 else second)
        self.symmetric, self.definite = False, None

    def apply(self, u: Tensor) -> Tensor:
        return self.first.apply(self.second.apply(u))

    def diagonal(self) -> Tensor:
        raise InputError(
            f"the diagonal of a product is not known: {self!r}; give a preconditioner that does not need it"
        )

    def tensors(self) -> tuple[Tensor, ...]:
        return *self.first.tensors(), *self.second.tensors()

    def rebuilt(self, tensors: Sequence[Tensor]) -> LinearOperator:
        return Composed(*_rebuilt(self.first, self.second, tensors))

    def transposed(self) -> LinearOperator:
        return Composed(self.second.T, self.first.T)

    def to_scipy(self) -> sparse.csr_matrix:
        return sparse.csr_matrix(self.first.to_scipy() @ self.second.to_scipy())

    def describe(self) -> str:
        return f"{self.first!r} @ {self.second!r}"


def _take_after(operator: LinearOperator, like: LinearOperator) -> None:
    operator.space, operator.batch, operator.dtype, operator.device = like.space, like.batch, like.dtype, like.device


def _rebuilt(
    first: LinearOperator, second: LinearOperator, tensors: Sequence[Tensor]
) -> tuple[LinearOperator, LinearOperator]:
    count = len(first.tensors())
    return first.rebuilt(tensors[:count]), second.rebuilt(tensors[count:])


def require_stencil(who: str, A: LinearOperator) -> tuple[Tensor, Tensor]:
    """D and w of an operator on a grid, as :mod:`sciops.kernels.stencil` has them.

    Raises
    ------
    InputError
        If the operator has none; the message says `who` asks.
    """
    diagonal, coupling = getattr(A, "stencil_diagonal", None), getattr(A, "coupling", None)
    if not isinstance(diagonal, Tensor) or not isinstance(coupling, Tensor):
        raise InputError(f"{who} needs an operator on a grid, as Diffusion is, got {A!r}; PyAMG takes matrices")
    return diagonal, coupling


def _require_alike(what: str, first: LinearOperator, second: LinearOperator) -> None:
    if not isinstance(second, LinearOperator):
        raise InputError(f"{what} takes two operators, got {type(second).__name__}; MatrixFree makes one of a function")
    mine, other = ((op.space, op.dtype, op.device) for op in (first, second))
    if mine != other or (1 not in (first.batch, second.batch) and first.batch != second.batch):
        raise InputError(f"{what} needs operators of one space, batch, dtype and device, got {first!r} and {second!r}")
