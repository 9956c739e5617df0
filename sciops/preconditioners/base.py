"""What every learned preconditioner shares: trained on a family of operators, set up for any operator like those."""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from sciops.errors import InputError
from sciops.registry import Registry
from sciops.solvers.linear import LinearOperator, Preconditioner

OperatorFamily = Callable[[torch.Generator], LinearOperator]
"""Draws an operator, or a batch of operators of one shape: what a preconditioner is trained on."""


@dataclass(frozen=True)
class TrainingRecord:
    """How a preconditioner was trained.

    Parameters
    ----------
    family
        What it was trained on, in words.
    seconds
        Wall time.
    steps, best_step
        Steps taken, and the one whose weights were kept: that of the smallest running mean of the loss.
    seed
        Of operators and right-hand sides.
    learning_rate
        The highest.
    losses
        The loss of every step.
    """

    family: str
    seconds: float
    steps: int
    best_step: int
    seed: int
    learning_rate: float
    losses: tuple[float, ...] = field(repr=False)


class LearnedPreconditioner(nn.Module, abc.ABC):
    """A map from operators to preconditioners, with weights: what ``M=`` of the Krylov methods and `solve` take.

    A subclass keeps every argument of its constructor, all numbers, strings, tuples of them or modules, as an attribute
    of the same name, and implements `setup` and `loss`.

    Attributes
    ----------
    method
        The Krylov method it is made for: "cg" where the preconditioner is symmetric positive definite whatever the
        weights are, "fcg" where it is nonlinear or not symmetric.
    record
        How it was trained; None before.

    Examples
    --------
    A sum of Jacobi's iterates, each of them positive definite, with learned shares:

    >>> class Iterates(LearnedPreconditioner):
    ...     method = "cg"
    ...
    ...     def __init__(self, count: int = 3) -> None:
    ...         super().__init__()
    ...         self.count, self.shares = count, nn.Parameter(torch.ones(count) / count)
    ...
    ...     def setup(self, A):
    ...         def apply(r):
    ...             u = total = torch.zeros_like(r)
    ...             for share in self.shares.square().to(r):
    ...                 u = u + (r - A.apply(u)) / A.diagonal()[:, None]
    ...                 total = total + share * u
    ...             return total
    ...
    ...         return apply
    ...
    ...     def loss(self, A, generator):
    ...         x = torch.randn(A.batch, 1, *A.space, generator=generator)
    ...         return (x - self.setup(A)(A.apply(x))).square().mean()
    >>> from sciops.preconditioners import families, train
    >>> from sciops.solvers.linear import Diffusion, cg
    >>> model = train(families.lognormal(16, 16), Iterates(), steps=10, progress=False)
    >>> model
    Iterates(count=3, 3 weights, 10 steps)
    >>> A = Diffusion(torch.ones(32, 32, dtype=torch.float64), grid=1 / 32)
    >>> cg(A, torch.ones(32, 32, dtype=torch.float64), M=model).converged
    True
    """

    method: Literal["cg", "fcg"]
    record: TrainingRecord | None = None

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

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Save to a folder that :func:`sciops.preconditioners.load` reads.

        Parameters
        ----------
        path
            The folder, which appears whole or not at all.
        overwrite
            Whether a learned preconditioner that is there may be replaced.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ModelError
            If there is something else, it cannot be written, or the class is not registered.
        """
        from sciops.preconditioners.saving import save

        return save(self, Path(path), overwrite=overwrite)

    def __repr__(self) -> str:
        modules = [value for value in arguments_of(self).values() if isinstance(value, nn.Module)]
        words = [type(value).__name__ for value in modules]
        words += [f"{name}={value!r}" for name, value in options_of(self).items()]
        words.append(f"{sum(p.numel() for p in self.parameters())} weights")
        words.append("untrained" if self.record is None else f"{self.record.steps} steps")
        return f"{type(self).__name__}({', '.join(words)})"


registry: Registry[type[LearnedPreconditioner]] = Registry("learned preconditioner")


def arguments_of(model: LearnedPreconditioner) -> dict[str, Any]:
    """The arguments of the constructor.

    Raises
    ------
    InputError
        If one was not kept as an attribute.
    """
    names = inspect.signature(type(model)).parameters
    for name in names:
        if not hasattr(model, name):
            raise InputError(
                f"{type(model).__name__} does not keep its argument {name!r} as an attribute; set self.{name} = {name}"
            )
    return {name: getattr(model, name) for name in names}


def options_of(model: LearnedPreconditioner) -> dict[str, Any]:
    """The arguments of the constructor as values of JSON, without those that are modules."""
    values = {name: value for name, value in arguments_of(model).items() if not isinstance(value, nn.Module)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
