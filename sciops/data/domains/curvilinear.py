"""`CurvilinearGrid`: a grid of indices whose nodes stand anywhere, such as one that follows a body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.domains.elements import ELEMENTS, Array, Index, bad_cell, measures
from sciops.data.domains.points import checked_points, same_points
from sciops.errors import DomainError

_CELLS = {1: "line", 2: "quad", 3: "hexahedron"}


@dataclass(frozen=True, eq=False, repr=False)
class CurvilinearGrid:
    """Nodes in the order of a grid, with coordinates of their own; neighbours make (multilinear) cells.

    The weights integrate the function that is multilinear in every cell, with the exact Jacobian of the cell: second
    order in the size of the cells for a smooth map from indices to places.

    Parameters
    ----------
    nodes
        Shape ``(d, *shape)``, direction first; one, two or three dimensions of 2 nodes at least, no more than d.
    names
        Names of the directions; none given stand for the first of x, y, z.
    dims
        Names of the dimensions of an array; none given stand for the first of i, j, k.
    units
        Units of the coordinates, one for all or one per direction.

    Raises
    ------
    DomainError
        If the shape does not fit, or a cell is degenerate or inverted; the message names its indices.

    Examples
    --------
    >>> r, t = torch.meshgrid(torch.linspace(1, 2, 33), torch.linspace(0, torch.pi, 65), indexing="ij")
    >>> ring = CurvilinearGrid(torch.stack([r * t.cos(), r * t.sin()]))
    >>> ring.shape, abs(ring.volume / (1.5 * torch.pi) - 1) < 1e-3
    ((33, 65), True)
    """

    nodes: Float[Tensor, "dimension *shape"]
    names: tuple[str, ...] = ()
    dims: tuple[str, ...] = ()
    units: str | Sequence[str] = ""

    def __post_init__(self) -> None:
        nodes = torch.as_tensor(self.nodes).detach().cpu()
        shape = tuple(nodes.shape[1:])
        if not 1 <= len(shape) <= min(3, nodes.shape[0]) or min(shape) < 2:
            raise DomainError(
                "a curvilinear grid has coordinates (d, *shape) with one to three dimensions, no more than d, of 2 "
                f"nodes at least; got shape {tuple(nodes.shape)}"
            )
        table, names, units = checked_points(nodes.flatten(1).T, self.names, self.units, "a curvilinear grid")
        dims = tuple("ijk"[: len(shape)]) if not self.dims else tuple(self.dims)
        if len(dims) != len(shape) or len(set(dims)) != len(dims):
            raise DomainError(f"a curvilinear grid of shape {shape} needs as many names of dimensions, got {dims}")
        ready = {"nodes": table.T.reshape(-1, *shape).contiguous(), "names": names, "dims": dims, "units": units}
        for name, value in ready.items():
            object.__setattr__(self, name, value)
        found = bad_cell(ELEMENTS[self.cell_type], table.numpy()[self.cells])
        if found is not None:
            place = tuple(int(i) for i in np.unravel_index(found[0], [size - 1 for size in shape]))
            raise DomainError(f"the cell of the curvilinear grid at ({', '.join(dims)}) = {place} {found[1]}")

    def __repr__(self) -> str:
        dims = ", ".join(f"{dim}: {size}" for dim, size in zip(self.dims, self.shape, strict=True))
        return f"CurvilinearGrid({dims}; {', '.join(self.names)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CurvilinearGrid) and self.names == other.names and self.matches(other, rtol=0.0)

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.shape, self.names, float(self.nodes.sum())))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of nodes along each dimension."""
        return tuple(self.nodes.shape[1:])

    @property
    def ndim(self) -> int:
        """Number of dimensions of an array of values."""
        return self.nodes.ndim - 1

    @property
    def dimension(self) -> int:
        """Number of directions of space."""
        return int(self.nodes.shape[0])

    @property
    def cell_type(self) -> str:
        """``"line"``, ``"quad"`` or ``"hexahedron"``."""
        return _CELLS[self.ndim]

    @cached_property
    def cells(self) -> Index:
        """The corners of the cells as indices of the flattened nodes, ``(cell, corner)``."""
        numbers = np.arange(int(np.prod(self.shape))).reshape(self.shape)
        corners = [
            numbers[tuple(slice(c, c + size - 1) for c, size in zip(corner, self.shape, strict=True))].ravel()
            for corner in ELEMENTS[self.cell_type].corners
        ]
        return np.stack(corners, axis=1)

    @property
    def volume(self) -> float:
        """Length, area or volume: the sum of the weights."""
        return float(self._weights.sum())

    def coordinates(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, "dimension *shape"]:
        """The coordinates of every node, direction first."""
        return self.nodes.to(dtype=dtype, device=device)

    def weights(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, "*shape"]:
        """The quadrature weights of every node."""
        return self._weights.to(dtype=dtype, device=device)

    @cached_property
    def _weights(self) -> Tensor:
        table: Array = self.nodes.flatten(1).T.numpy()
        parts = measures(ELEMENTS[self.cell_type], table[self.cells])
        total = np.bincount(self.cells.ravel(), parts.ravel(), minlength=len(table))
        return torch.from_numpy(total.reshape(self.shape))

    def matches(self, other: Any, rtol: float = 1e-6) -> bool:
        """Whether the other is a curvilinear grid with the same nodes, to `rtol` of the largest extent."""
        if not isinstance(other, CurvilinearGrid) or self.shape != other.shape:
            return False
        return same_points(self.nodes.flatten(1).T, other.nodes.flatten(1).T, rtol)

    def to_dict(self) -> dict[str, Any]:
        """Nodes, names, dims and units as JSON-able values; `from_dict` is the inverse."""
        return {
            "nodes": self.nodes.tolist(),
            "names": list(self.names),
            "dims": list(self.dims),
            "units": list(self.units),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> CurvilinearGrid:
        """The grid that `to_dict` described.

        Examples
        --------
        >>> grid = CurvilinearGrid(torch.tensor([[0.0, 1.0, 3.0]]))
        >>> CurvilinearGrid.from_dict(grid.to_dict()) == grid
        True
        """
        known = ("nodes", "names", "dims", "units")
        if "nodes" not in fields or not set(fields) <= set(known):
            raise DomainError(f"the description of a curvilinear grid has {', '.join(known)}; got {sorted(fields)}")
        values = dict(fields)
        return cls(torch.tensor(values.pop("nodes"), dtype=torch.float64), **values)
