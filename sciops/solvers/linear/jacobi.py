"""`Jacobi`: the inverse of the diagonal."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from sciops.errors import InputError
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import preconditioners


@preconditioners.register("jacobi")
class Jacobi:
    r"""The preconditioner :math:`M = \operatorname{diag}(A)^{-1}`; one product.

    Parameters
    ----------
    A
        An operator whose diagonal is known and has no zero.

    Raises
    ------
    InputError
        If an entry of the diagonal is 0 or not finite.

    Examples
    --------
    >>> import torch
    >>> from sciops.solvers.linear import Diffusion
    >>> M = Jacobi(Diffusion(torch.ones(2, dtype=torch.float64), grid=1.0))
    >>> M(torch.tensor([[[3.0, 6.0]]]).double()).tolist()
    [[[1.0, 2.0]]]
    """

    symmetric = True

    def __init__(self, A: LinearOperator) -> None:
        diagonal = A.diagonal().detach()
        bad = (diagonal == 0) | ~diagonal.isfinite()
        if bool(bad.any()):
            place = tuple(int(i) for i in bad.nonzero()[0])
            raise InputError(
                f"the diagonal of A is {float(diagonal[place]):g} at {place[1:]} of operator {place[0]}, so there is "
                f"no Jacobi preconditioner; use another M, and look for empty rows"
            )
        self.scale: Float[Tensor, "batch 1 *space"] = (1 / diagonal)[:, None]

    def __call__(self, r: Tensor) -> Tensor:
        return self.scale * r

    def __repr__(self) -> str:
        return f"Jacobi({tuple(self.scale.shape[2:])})"
