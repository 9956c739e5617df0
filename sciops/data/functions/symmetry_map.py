"""One map of a grid onto itself: axes exchanged and mirrored, with the components of vectors and tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.data.functions.tensors import TensorChannels, turned
from sciops.errors import DomainError


@dataclass(frozen=True)
class Symmetry:
    """A map of a grid onto itself: exchange axes, then mirror some, then perhaps change the sign.

    ``apply(t)[..., i_0, i_1, ...] = sign * t'[..., m_0(i_0), m_1(i_1), ...]``. Axis d of t' is axis ``axes[d]`` of
    t, and ``m_d(i)`` is the mirrored index where ``mirrored[d]``, else i.

    Parameters
    ----------
    grid
        The grid.
    axes
        Permutation of the axes.
    mirrored
        Which axes are mirrored afterwards.
    sign
        1, or -1 to change the sign of the values.

    Examples
    --------
    >>> flip = Symmetry(Grid.unit(4, kind="left"), (0,), (True,))
    >>> flip.apply(torch.tensor([0.0, 1.0, 2.0, 3.0])).tolist()
    [0.0, 3.0, 2.0, 1.0]
    >>> flip @ flip == flip.identity
    True
    """

    grid: Grid
    axes: tuple[int, ...]
    mirrored: tuple[bool, ...]
    sign: int = 1

    @property
    def identity(self) -> Symmetry:
        """The map that changes nothing."""
        return Symmetry(self.grid, tuple(range(self.grid.ndim)), (False,) * self.grid.ndim)

    @property
    def inverse(self) -> Symmetry:
        """The map that undoes this one."""
        axes = tuple(int(axis) for axis in np.argsort(self.axes))
        return Symmetry(self.grid, axes, tuple(self.mirrored[axis] for axis in axes), self.sign)

    def __matmul__(self, other: Symmetry) -> Symmetry:
        """First `other`, then this map."""
        axes = tuple(other.axes[axis] for axis in self.axes)
        mirrored = tuple(mine != other.mirrored[axis] for mine, axis in zip(self.mirrored, self.axes, strict=True))
        return Symmetry(self.grid, axes, mirrored, self.sign * other.sign)

    def apply(
        self,
        t: Float[Tensor, "*batch *space"],
        *,
        ends: Literal["keep", "nearest"] = "keep",
        tensors: Sequence[TensorChannels] = (),
    ) -> Float[Tensor, "*batch *space"]:
        """The moved values; any dimensions before those of space.

        Parameters
        ----------
        t
            (*batch, *space).
        ends
            What node 0 of a mirrored left axis gets: ``"keep"`` its own value, right for a field with equal values at
            both ends, such as a solution under a Dirichlet condition; ``"nearest"`` the value stored nearest to its
            mirror image, right for a field that is free there, such as a coefficient.
        tensors
            Channels, along the dimension before those of space, that are components of vectors and tensors.

        Raises
        ------
        DomainError
            If the last dimensions are not the shape of the grid, or an axis is exchanged with one along which a vector
            has no component.

        Examples
        --------
        >>> flip = Symmetry(Grid.unit(3), (0,), (True,))
        >>> flip.apply(torch.tensor([[1.0, 2.0, 3.0]]), tensors=[TensorChannels(1, ("x",), (0,))]).tolist()
        [[-3.0, -2.0, -1.0]]
        """
        check_shape(t, self.grid)
        lead = t.ndim - self.grid.ndim
        moved = t.permute(*range(lead), *(lead + axis for axis in self.axes))
        for axis, kind in enumerate(self.grid.kinds):
            if self.mirrored[axis]:
                moved = moved.flip(lead + axis)
                if kind in ("periodic", "left"):
                    moved = moved.roll(1, lead + axis)
                if kind == "left" and ends == "nearest" and self.grid.shape[axis] > 1:
                    inner = moved.narrow(lead + axis, 1, self.grid.shape[axis] - 1)
                    moved = torch.cat([inner.narrow(lead + axis, 0, 1), inner], lead + axis)
        if tensors:
            moved = self.turn(moved, tensors, lead - 1)
        return moved if self.sign == 1 else -moved

    def turn(self, t: Tensor, tensors: Sequence[TensorChannels], dim: int = 1) -> Tensor:
        """Turn the components along `dim` alone, such as those of vectors among parameters, without moving nodes."""
        places = {name: number for number, name in enumerate(self.grid.names)}
        moves = [move for each in tensors for move in each.turned(self.axes, self.mirrored, places)]
        return turned(t, dim, moves)

    def apply_mask(self, mask: Tensor) -> Tensor:
        """The moved mask (bool); node 0 of a left axis is inside where what both ways of `ends` give it is."""
        unsigned = Symmetry(self.grid, self.axes, self.mirrored)
        return unsigned.apply(mask, ends="keep") & unsigned.apply(mask, ends="nearest")


def check_shape(t: Tensor, grid: Grid) -> None:
    """Refuse values that are not on a grid, by DomainError."""
    if tuple(t.shape[-grid.ndim :]) != grid.shape:
        raise DomainError(f"values of shape {tuple(t.shape)} are not on the grid of shape {grid.shape}")
