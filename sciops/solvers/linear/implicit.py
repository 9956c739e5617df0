r"""Derivatives of a solve by the implicit function theorem, the same for every way to solve.

From :math:`A(\theta) x = b` follow, for a gradient g in x,

.. math:: A^T \lambda = g, \qquad \bar b = \lambda, \qquad
          \bar\theta = -\Big(\frac{\partial (A(\theta) x)}{\partial \theta}\Big)^T \lambda ,

one more solve, with the transpose. The backward pass is made of differentiable operations and of such a solve again, so
it can be differentiated in turn. No iteration is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sciops.solvers.linear.operator import LinearOperator

Solver = Callable[[LinearOperator, Tensor], Tensor]
"""``solver(A, b)`` on canonical tensors, without derivatives."""


def implicit(forward: Solver, backward: Solver, A: LinearOperator, b: Tensor) -> Tensor:
    """x of A x = b, differentiable in b and in the tensors of A to any order.

    Parameters
    ----------
    forward, backward
        Solve with A, and with its transpose.
    A
        The operator.
    b
        The right-hand side in the canonical shape.

    Examples
    --------
    >>> from sciops.solvers.linear import Sparse
    >>> def direct(A, b):
    ...     return torch.linalg.solve(torch.from_numpy(A.to_scipy().toarray()), b[..., None])[..., 0]
    >>> matrix = torch.tensor([[2.0]], dtype=torch.float64, requires_grad=True)
    >>> implicit(direct, direct, Sparse(matrix), torch.ones(1, 1, 1).double()).sum().backward()
    >>> matrix.grad.item()
    -0.25
    """
    tensors = A.tensors()
    if torch.is_grad_enabled() and (b.requires_grad or any(t.requires_grad for t in tensors)):
        found: Tensor = _Implicit.apply(  # type: ignore[no-untyped-call]
            forward, backward, A, b, *tensors
        )
        return found
    with torch.no_grad():
        return forward(A, b)


class _Implicit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, forward: Solver, backward: Solver, A: LinearOperator, b: Tensor, *tensors: Tensor) -> Tensor:
        x = forward(A, b)
        ctx.solvers, ctx.A = (backward, forward), A.rebuilt([t.detach() for t in tensors])
        ctx.save_for_backward(x, *tensors)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
        (g,) = gradients
        x, *tensors = ctx.saved_tensors
        A = ctx.A.rebuilt(tensors)
        forward, back = ctx.solvers
        adjoint = implicit(forward, back, A.T, g.contiguous())
        wanted = ctx.needs_input_grad[4:]
        slopes: list[Tensor | None] = [None] * len(tensors)
        if any(wanted):
            again = torch.is_grad_enabled()
            with torch.enable_grad():
                # x depends on the tensors too: aliases keep the derivative to what stands in A itself
                own = [t.view_as(t) if again and t.requires_grad else t.detach().requires_grad_() for t in tensors]
                chosen = [t for t, wants in zip(own, wanted, strict=True) if wants]
                image = ctx.A.rebuilt(own).apply(x if again else x.detach())
                found = torch.autograd.grad(image, chosen, -adjoint, create_graph=again, allow_unused=True)
            rest = iter(found)
            slopes = [next(rest) if wants else None for wants in wanted]
        return None, None, None, adjoint if ctx.needs_input_grad[3] else None, *slopes
