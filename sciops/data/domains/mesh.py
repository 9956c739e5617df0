"""`Mesh`: points joined by cells, with the quadrature weights of its piecewise linear functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from sciops.data.domains.elements import Array, Index, bad_cell, element_of, measures
from sciops.data.domains.points import checked_points, checked_tags, same_points
from sciops.errors import DomainError

_FACETS = {1: "vertex", 2: "line", 3: "triangle", 4: "quad"}


@dataclass(frozen=True, eq=False, repr=False)
class Mesh:
    """Points joined by cells; values stand at the points and have the one dimension ``point``.

    The weights are those of the function that is linear (multilinear on quads and hexahedra) in every cell: the
    integral of the hat function of each point, exact, so the quadrature is of second order in the size of the cells.

    Parameters
    ----------
    points
        Shape ``(n, d)``, one row per point; taken to float64.
    cells
        Corners by type of cell, shape ``(m, corners)`` each: ``"line"``, ``"triangle"``, ``"quad"``, ``"tetra"``,
        ``"hexahedron"``, in the order of VTK; either orientation. Those of the highest dimension make the domain, the
        others (edges of the boundary in most files) carry no weight.
    tags
        Parts by name: bool ``(n,)`` of the points, or bool over the boundary facets in the order of `boundary_facets`.
    names
        Names of the directions; none given stand for the first of x, y, z.
    units
        Units of the coordinates, one for all or one per direction.

    Raises
    ------
    DomainError
        If an index is out of range, a cell is degenerate or inverted, or two cells overlap at their common facet; the
        message names the cell. Points that no cell uses are allowed, see `unused`.

    Examples
    --------
    >>> corners = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    >>> square = Mesh(corners, {"triangle": torch.tensor([[0, 1, 2], [0, 2, 3]])})
    >>> round(square.volume, 12), square.weights().mul(6).round().tolist(), square.boundary.all().item()
    (1.0, [2.0, 1.0, 2.0, 1.0], True)
    """

    points: Float[Tensor, "n d"]
    cells: Mapping[str, Int64[Tensor, "m corner"]]
    tags: Mapping[str, Bool[Tensor, " k"]] | None = None
    names: tuple[str, ...] = ()
    units: str | Sequence[str] = ""

    def __post_init__(self) -> None:
        points, names, units = checked_points(self.points, self.names, self.units, "a mesh")
        cells = {name: _checked_cells(name, rows, points) for name, rows in self.cells.items() if len(rows)}
        if not cells:
            raise DomainError("a mesh has cells, such as {'triangle': indices of shape (m, 3)}; got none")
        for name, value in {"points": points, "cells": cells, "names": names, "units": units}.items():
            object.__setattr__(self, name, value)
        _check_overlaps(self)
        sizes = (len(points), sum(map(len, self.boundary_facets.values()))) if self.tags else (len(points),)
        object.__setattr__(self, "tags", checked_tags(self.tags, sizes))

    def __repr__(self) -> str:
        cells = ", ".join(f"{len(rows)} {name}" for name, rows in self.cells.items())
        idle = int(self.unused.sum())
        return f"Mesh({len(self.points)} points{f' ({idle} unused)' if idle else ''}, {cells}, {', '.join(self.names)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mesh) and self.names == other.names and self.matches(other, rtol=0.0)

    def __hash__(self) -> int:
        return hash((type(self).__name__, tuple(self.points.shape), self.names, float(self.points.sum())))

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n,)``, the shape of an array of values."""
        return (len(self.points),)

    @property
    def ndim(self) -> int:
        """1, the number of dimensions of an array of values."""
        return 1

    @property
    def dims(self) -> tuple[str, ...]:
        """``("point",)``, the dimension of an array of values."""
        return ("point",)

    @property
    def dimension(self) -> int:
        """Number of directions of space."""
        return int(self.points.shape[1])

    @property
    def cell_dimension(self) -> int:
        """The highest dimension of the cells: 2 for a surface, in the plane or in space."""
        return max(element_of(name).dimension for name in self.cells)

    @property
    def main_cells(self) -> dict[str, Tensor]:
        """The cells of the highest dimension, which make the domain."""
        top = self.cell_dimension
        return {name: rows for name, rows in self.cells.items() if element_of(name).dimension == top}

    @cached_property
    def cell_volumes(self) -> dict[str, Tensor]:
        """Lengths, areas or volumes of the cells by type, exact."""
        return {name: torch.from_numpy(self._measures(name).sum(axis=1)) for name in self.cells}

    @property
    def volume(self) -> float:
        """Length, area or volume of the domain."""
        return float(self._weights.sum())

    @cached_property
    def unused(self) -> Bool[Tensor, " n"]:
        """The points that no cell of the highest dimension uses; their weight is 0."""
        used = torch.zeros(len(self.points), dtype=torch.bool)
        for rows in self.main_cells.values():
            used[rows.flatten()] = True
        return ~used

    def coordinates(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, "d n"]:
        """The coordinates, direction first: shape ``(d, n)``."""
        return self.points.T.to(dtype=dtype, device=device)

    def weights(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> Float[Tensor, " n"]:
        """The integral of the hat function of each point, shape ``(n,)``."""
        return self._weights.to(dtype=dtype, device=device)

    @cached_property
    def _weights(self) -> Tensor:
        total = np.zeros(len(self.points))
        for name, rows in self.main_cells.items():
            total += np.bincount(rows.numpy().ravel(), self._measures(name).ravel(), minlength=len(total))
        return torch.from_numpy(total)

    def _measures(self, name: str) -> Array:
        return measures(element_of(name), self.points.numpy()[self.cells[name].numpy()])

    @cached_property
    def boundary_facets(self) -> dict[str, Tensor]:
        """The facets that belong to one cell alone: corners by type, ``"vertex"``, ``"line"``, ``"triangle"`` or so."""
        found = {}
        for size, (facets, _) in sorted(_facets(self).items()):
            key, _, counts = _grouped(facets, len(self.points))
            found[_FACETS[size]] = torch.from_numpy(facets[counts[key] == 1])
        return found

    @cached_property
    def boundary(self) -> Bool[Tensor, " n"]:
        """The points on the boundary."""
        on_it = torch.zeros(len(self.points), dtype=torch.bool)
        for facets in self.boundary_facets.values():
            on_it[facets.flatten()] = True
        return on_it

    def matches(self, other: Any, rtol: float = 1e-6) -> bool:
        """Whether the other is a mesh with the same cells and points, to `rtol` of the largest extent."""
        if not isinstance(other, Mesh) or set(self.cells) != set(other.cells):
            return False
        cells = all(torch.equal(rows, other.cells[name]) for name, rows in self.cells.items())
        return cells and same_points(self.points, other.points, rtol)

    def to_dict(self) -> dict[str, Any]:
        """Points, cells, tags, names and units as JSON-able values; `from_dict` is the inverse."""
        return {
            "points": self.points.tolist(),
            "cells": {name: rows.tolist() for name, rows in self.cells.items()},
            "tags": {name: tag.tolist() for name, tag in (self.tags or {}).items()},
            "names": list(self.names),
            "units": list(self.units),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Mesh:
        """The mesh that `to_dict` described.

        Examples
        --------
        >>> mesh = Mesh(torch.tensor([[0.0], [1.0]]), {"line": torch.tensor([[0, 1]])})
        >>> Mesh.from_dict(mesh.to_dict()) == mesh
        True
        """
        known = ("points", "cells", "tags", "names", "units")
        if not {"points", "cells"} <= set(fields) <= set(known):
            raise DomainError(f"the description of a mesh has {', '.join(known)}; got {sorted(fields)}")
        return cls(**fields)


def _checked_cells(name: str, rows: Any, points: Tensor) -> Tensor:
    element = element_of(name)
    cells = torch.as_tensor(rows).detach().cpu()
    if cells.ndim != 2 or cells.shape[1] != len(element.corners) or cells.is_floating_point():
        raise DomainError(
            f"cells of type {name!r} are integers of shape (m, {len(element.corners)}), got shape "
            f"{tuple(cells.shape)} and {cells.dtype}"
        )
    cells = cells.to(torch.int64)
    bad = ((cells < 0) | (cells >= len(points))).any(dim=1)
    if bool(bad.any()):
        i = int(bad.nonzero()[0])
        raise DomainError(
            f"cell {i} of type {name!r} joins the points {cells[i].tolist()}; there are points 0 to {len(points) - 1} "
            "(indices start at 0)"
        )
    if element.dimension > points.shape[1]:
        raise DomainError(
            f"cells of type {name!r} need {element.dimension} directions, the points have {points.shape[1]}"
        )
    found = bad_cell(element, points.numpy()[cells.numpy()])
    if found is not None:
        raise DomainError(f"cell {found[0]} of type {name!r} with the points {cells[found[0]].tolist()} {found[1]}")
    return cells


def _facets(mesh: Mesh) -> dict[int, tuple[Index, Index]]:
    """The facets of the main cells by their number of corners, and the cell of each, counted over all types."""
    parts: dict[int, tuple[list[Index], list[Index]]] = {}
    start = 0
    for name, rows in mesh.main_cells.items():
        cells = rows.numpy()
        for corners in element_of(name).facets:
            facets, owners = parts.setdefault(len(corners), ([], []))
            facets.append(cells[:, list(corners)])
            owners.append(np.arange(start, start + len(cells)))
        start += len(cells)
    return {size: (np.concatenate(facets), np.concatenate(owners)) for size, (facets, owners) in parts.items()}


def _grouped(facets: Index, n: int) -> tuple[Index, Index, Index]:
    """For each facet the number of its class of equal ones; the sorting of facets by class; how many are in a class."""
    rows = np.sort(facets, axis=1)
    order = np.lexsort(rows.T)
    new = np.concatenate([[True], (np.diff(rows[order], axis=0) != 0).any(axis=1)])
    key = np.empty(len(rows), dtype=np.int64)
    key[order] = np.cumsum(new) - 1
    return key, order.astype(np.int64), np.bincount(key)


def _check_overlaps(mesh: Mesh) -> None:
    """Two cells must lie on different sides of their common facet; a domain of full dimension has two at most there."""
    if mesh.cell_dimension != mesh.dimension:
        return
    points = mesh.points.numpy()
    centroids = np.concatenate([points[rows.numpy()].mean(axis=1) for rows in mesh.main_cells.values()])
    for facets, owners in _facets(mesh).values():
        key, order, counts = _grouped(facets, len(points))
        if (counts > 2).any():
            several = key == int(np.argmax(counts > 2))
            raise DomainError(
                f"the facet of the points {facets[several][0].tolist()} belongs to {counts.max()} cells, "
                f"{', '.join(map(str, sorted(owners[several])[:4]))}; two at most can share one"
            )
        pairs = order[np.flatnonzero((counts == 2)[key[order]])].reshape(-1, 2)
        corners = points[facets[pairs[:, 0]]]
        first, second = (_side(corners, centroids[owners[pairs[:, j]]]) for j in (0, 1))
        same = first * second > 0
        if same.any():
            i, j = (int(owners[pairs[same][0, k]]) for k in (0, 1))
            raise DomainError(
                f"cells {i} and {j} of the mesh overlap: both lie on the same side of their common facet with the "
                f"points {facets[pairs[same][0, 0]].tolist()}"
            )


def _side(facets: Array, places: Array) -> Array:
    """On which side of its facet each place lies, by sign."""
    away = places - facets[:, 0]
    if facets.shape[-1] == 1:
        return away[:, 0]
    along = facets[:, 1] - facets[:, 0]
    if facets.shape[-1] == 2:
        return np.asarray(along[:, 0] * away[:, 1] - along[:, 1] * away[:, 0])
    normal = np.cross(along, facets[:, 2] - facets[:, 0])
    return np.asarray((normal * away).sum(axis=1))
