"""`MatrixFree`: an operator that is a function of a field."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.solvers.linear.operator import DTYPES, LinearOperator

_SEED = 20  # of the vectors that symmetry is tried with


class MatrixFree(LinearOperator):
    r"""An operator given by its product, a linear function of fields ``(batch, rhs, *space)``.

    Parameters
    ----------
    function
        ``function(u, *parameters)`` returns A u, of the shape of u. The transpose is its derivative, so it is made of
        differentiable operations of torch.
    space
        Shape of one field.
    batch
        How many operators it is.
    parameters
        Tensors that it depends on, in which solves have derivatives.
    symmetric
        Whether A = A'. None tries: <v, A u> = <u, A v> for one pair of random fields, at the cost of two products.
    definite
        Whether A is symmetric positive definite, if known.
    diagonal
        The diagonal ``(batch, *space)``, if known.
    dtype, device
        Of the fields; those of the first parameter unless given, else float64 on the processor.

    Raises
    ------
    InputError
        If the function returns another shape or dtype, or is not linear in u.

    Examples
    --------
    >>> A = MatrixFree(lambda u: 3 * u - u.flip(-1), (2,))
    >>> A.symmetric, (A @ torch.tensor([1.0, 2.0]).double()).tolist()
    (True, [1.0, 5.0])
    """

    def __init__(
        self,
        function: Callable[..., Tensor],
        space: Sequence[int],
        *,
        batch: int = 1,
        parameters: Sequence[Tensor] = (),
        symmetric: bool | None = None,
        definite: bool | None = None,
        diagonal: Tensor | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.function, self.parameters = function, tuple(parameters)
        self.space, self.batch = tuple(space), batch
        like = self.parameters[0] if self.parameters else torch.empty(0, dtype=torch.float64)
        self.dtype, self.device = dtype or like.dtype, torch.device(device) if device is not None else like.device
        if self.dtype not in DTYPES:
            raise InputError(f"an operator has dtype float32 or float64, {self.dtype} was given")
        self._diagonal, self.definite = diagonal, definite
        self.symmetric = self._seems_symmetric() if symmetric is None else symmetric

    def _seems_symmetric(self) -> bool:
        generator = torch.Generator().manual_seed(_SEED)
        shape = (2, self.batch, 1, *self.space)
        u, v = torch.randn(shape, generator=generator, dtype=self.dtype).to(self.device)
        with torch.no_grad():
            Au, Av = self.apply(u), self.apply(v)
        gap = ((v * Au).sum() - (u * Av).sum()).abs()
        scale = Au.norm() * v.norm() + Av.norm() * u.norm()
        return bool(gap <= 100 * torch.finfo(self.dtype).eps * scale)

    def apply(self, u: Tensor) -> Tensor:
        image = self.function(u, *self.parameters)
        if not isinstance(image, Tensor) or image.shape != u.shape or image.dtype != u.dtype:
            found = f"{tuple(image.shape)}, {image.dtype}" if isinstance(image, Tensor) else type(image).__name__
            raise InputError(f"the function of a MatrixFree operator returned {found} for {tuple(u.shape)}, {u.dtype}")
        return image

    def diagonal(self) -> Tensor:
        if self._diagonal is None:
            raise InputError("the diagonal of this MatrixFree operator is not known; give MatrixFree(diagonal=...)")
        return self._diagonal

    def tensors(self) -> tuple[Tensor, ...]:
        return self.parameters

    def rebuilt(self, tensors: Sequence[Tensor]) -> LinearOperator:
        like = tensors[0] if tensors else None
        return MatrixFree(
            self.function,
            self.space,
            batch=self.batch,
            parameters=tensors,
            symmetric=self.symmetric,
            definite=self.definite,
            diagonal=self._diagonal if like is None or self._diagonal is None else self._diagonal.to(like),
            dtype=self.dtype if like is None else like.dtype,
            device=self.device if like is None else like.device,
        )

    def describe(self) -> str:
        return getattr(self.function, "__name__", type(self.function).__name__)
