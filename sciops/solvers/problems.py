"""Problems that `solve` takes: what is to be solved, without a word on how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import xarray as xr
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.data.domains.field import Field
from sciops.errors import InputError
from sciops.solvers.linear.diffusion import Boundary, Diffusion
from sciops.solvers.linear.operator import LinearOperator


@runtime_checkable
class Predictor(Protocol):
    """What can make a guess: a `sciops.Surrogate`, or anything that maps data sets to data sets."""

    def predict(self, data: xr.Dataset) -> xr.Dataset:
        """The outputs for the inputs in a data set, at its resolution."""


@dataclass(frozen=True, eq=False)
class LinearProblem:
    """A x = b.

    Parameters
    ----------
    operator
        A.
    rhs
        b, of a shape that A takes.

    Examples
    --------
    >>> import torch
    >>> from sciops.solvers.linear import Diffusion
    >>> LinearProblem(Diffusion(torch.ones(4), 1.0), torch.ones(4)).operator
    Diffusion((4,), float32, dirichlet)
    """

    operator: LinearOperator
    rhs: Tensor


@dataclass(frozen=True, eq=False)
class Darcy:
    r"""Steady flow or conduction, :math:`-\nabla \cdot (k \nabla u) + c\, u = f`.

    Parameters
    ----------
    permeability
        k, a Field on cell or periodic axes, or a tensor with `grid`; :class:`~sciops.solvers.linear.Diffusion` has the
        shapes.
    source
        f: a number, a Field on the same grid, or a tensor.
    boundary
        As of `Diffusion`.
    values
        Boundary values, as of `Diffusion.right_hand_side`.
    grid, reaction, mask, obstacle
        As of `Diffusion`.

    Examples
    --------
    >>> import torch
    >>> grid = Grid.unit(8, 8, kind="cell")
    >>> Darcy(Field(torch.ones(1, 8, 8), grid)).linear().rhs.shape
    torch.Size([8, 8])
    """

    permeability: Field | Tensor
    source: Field | Tensor | float = 1.0
    boundary: Boundary = "dirichlet"
    values: Sequence[Any] | float = 0.0
    grid: Grid | float | Sequence[float] | None = None
    reaction: Tensor | float | None = None
    mask: Tensor | None = None
    obstacle: str = "neumann"

    def linear(self) -> LinearProblem:
        """The linear system."""
        A = Diffusion(
            self.permeability, self.grid, self.boundary, self.reaction, mask=self.mask, obstacle=self.obstacle
        )
        source = self.source
        if isinstance(source, Field):
            if A.grid is not None and not source.grid.matches(A.grid):
                raise InputError("the source stands on another grid than the permeability; source.resample(grid) helps")
            if len(source.names) != 1:
                raise InputError(f"the source has the channels {', '.join(source.names)}, expected one")
            source = source.values.reshape(*source.batch_shape, *A.space).to(dtype=A.dtype, device=A.device)
        return LinearProblem(A, A.right_hand_side(source, self.values))
