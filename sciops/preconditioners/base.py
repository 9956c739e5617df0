"""What every learned preconditioner shares: trained on a family of operators, set up for any operator like those."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from sciops.registry import Registry
from sciops.solvers.linear import LinearOperator, Preconditioner

OperatorFamily = Callable[[torch.Generator], LinearOperator]
"""Draws an operator, or a batch of operators of one shape: what a preconditioner is trained on."""


class LearnedPreconditioner(nn.Module, abc.ABC):
    """A map from operators to preconditioners, with weights.

    A subclass keeps every argument of its constructor, all numbers, strings or tuples of them, as an attribute of the
    same name, and implements `setup` and `loss`.

    Attributes
    ----------
    method
        The Krylov method it is made for: "cg" where the preconditioner is symmetric positive definite whatever the
        weights are, "fcg" where it is nonlinear or not symmetric.
    """

    method: ClassVar[Literal["cg", "fcg"]]

    @abc.abstractmethod
    def setup(self, A: LinearOperator) -> Preconditioner:
        """The preconditioner for an operator, as `M` of the Krylov methods; nothing of it is differentiated.

        Raises
        ------
        InputError
            If the operator is not of the kind that the weights are for.
        """

    @abc.abstractmethod
    def loss(self, A: LinearOperator, generator: torch.Generator) -> Tensor:
        """What one step of training makes smaller, for one draw of operators and right-hand sides of its own."""

    def forward(self, A: LinearOperator) -> Preconditioner:
        """`setup`."""
        return self.setup(A)


registry: Registry[type[LearnedPreconditioner]] = Registry("learned preconditioner")


def options_of(model: LearnedPreconditioner) -> dict[str, Any]:
    """The arguments of the constructor, as values of JSON."""
    values = {name: getattr(model, name) for name in inspect.signature(type(model)).parameters}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
