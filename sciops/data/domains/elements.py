"""Reference elements: shape functions, measures and the inverse of the map from the reference cell, for every type.

A point of a cell is ``x(s) = sum_k N_k(s) X_k`` with the shape functions N of its corners X: barycentric coordinates on
simplices, multilinear ones on quadrilaterals and hexahedra. Corners are in the order of VTK.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sciops.errors import DomainError

Array = NDArray[np.float64]
Index = NDArray[np.int64]

_INSIDE = 1e-8  # how far outside of the reference cell a point may be by rounding
_NEWTON = 20
_PAIRS = 1 << 16  # of points and cells looked at together
_CANDIDATES = (4, 16, 64)


@dataclass(frozen=True)
class Element:
    """A type of cell: its dimension, whether it is a simplex, its corners in the reference cell, its facets."""

    name: str
    dimension: int
    simplex: bool
    corners: tuple[tuple[int, ...], ...]
    facets: tuple[tuple[int, ...], ...]

    def shape(self, s: Array) -> Array:
        """The shape functions at reference points ``(..., dimension)``: ``(..., corner)``."""
        if self.simplex:
            return np.concatenate([1 - s.sum(-1, keepdims=True), s], axis=-1)
        return np.asarray(self._factors(s).prod(axis=-1))

    def gradient(self, s: Array) -> Array:
        """Their derivatives: ``(..., corner, dimension)``."""
        if self.simplex:
            d = self.dimension
            rows = np.concatenate([-np.ones((1, d)), np.eye(d)])
            return np.broadcast_to(rows, (*s.shape[:-1], d + 1, d))
        factors, signs = self._factors(s), 2.0 * np.array(self.corners) - 1
        parts = []
        for j in range(self.dimension):
            others = np.delete(factors, j, axis=-1).prod(axis=-1)
            parts.append(signs[:, j] * others)
        return np.stack(parts, axis=-1)

    def _factors(self, s: Array) -> Array:
        corners = np.array(self.corners, dtype=np.float64)
        return corners * s[..., None, :] + (1 - corners) * (1 - s[..., None, :])

    def margin(self, s: Array) -> Array:
        """How far inside the reference cell a point is; negative outside."""
        inner = np.minimum(s.min(axis=-1), 1 - s.sum(axis=-1) if self.simplex else (1 - s).min(axis=-1))
        return np.asarray(inner, dtype=np.float64)

    @property
    def quadrature(self) -> tuple[Array, Array]:
        """Points and weights that integrate ``N_k det J`` exactly: the centroid, or two Gauss points a direction."""
        d = self.dimension
        if self.simplex:
            return np.full((1, d), 1 / (d + 1)), np.full(1, 1 / math.factorial(d))
        line = 0.5 + np.array([-0.5, 0.5]) / math.sqrt(3)
        return np.array(list(itertools.product(line, repeat=d))), np.full(2**d, 0.5**d)


ELEMENTS: dict[str, Element] = {
    "line": Element("line", 1, True, ((0,), (1,)), ((0,), (1,))),
    "triangle": Element("triangle", 2, True, ((0, 0), (1, 0), (0, 1)), ((0, 1), (1, 2), (2, 0))),
    "quad": Element("quad", 2, False, ((0, 0), (1, 0), (1, 1), (0, 1)), ((0, 1), (1, 2), (2, 3), (3, 0))),
    "tetra": Element(
        "tetra",
        3,
        True,
        ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, 2, 1), (0, 1, 3), (1, 2, 3), (2, 0, 3)),
    ),
    "hexahedron": Element(
        "hexahedron",
        3,
        False,
        ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)),
        ((0, 3, 2, 1), (4, 5, 6, 7), (0, 1, 5, 4), (1, 2, 6, 5), (2, 3, 7, 6), (3, 0, 4, 7)),
    ),
}
"""The types of cells by the names that VTK and meshio give them."""


def measures(element: Element, corners: Array) -> Array:
    """The integrals of the shape functions over each cell, ``(cell, corner)``; their sum is the volume of the cell.

    Parameters
    ----------
    element
        The type of the cells.
    corners
        Corners of the cells, ``(cell, corner, direction)``.

    Examples
    --------
    >>> measures(ELEMENTS["triangle"], np.array([[[0.0, 0.0], [3.0, 0.0], [0.0, 2.0]]])).tolist()
    [[1.0, 1.0, 1.0]]
    """
    points, weights = element.quadrature
    sizes = np.abs(_determinants(element, corners, points))
    if element.simplex:
        return np.repeat(sizes * weights / (element.dimension + 1), element.dimension + 1, axis=1)
    return np.asarray(np.einsum("cq,q,qk->ck", sizes, weights, element.shape(points)))


def bad_cell(element: Element, corners: Array) -> tuple[int, str] | None:
    """The first cell that is no cell, and why: of no volume, or folded over itself; None where all are good."""
    points = np.array(element.corners, dtype=np.float64)
    determinants = _determinants(element, corners, points[:1] if element.simplex else points)
    size = np.ptp(corners, axis=1).max(axis=-1) ** element.dimension
    flat = np.abs(determinants).max(axis=1) <= 1e-12 * size
    if flat.any():
        return int(flat.argmax()), "is degenerate: it has no volume"
    signs = np.sign(determinants.sum(axis=1, keepdims=True))
    folded = (determinants * signs <= 1e-12 * size[:, None]).any(axis=1)
    if folded.any():
        return int(folded.argmax()), "is inverted: it folds over itself or is not convex (its corners go around it)"
    return None


def _determinants(element: Element, corners: Array, points: Array) -> Array:
    """The determinant of the map at reference points, ``(cell, point)``; without sign for a cell in a larger space."""
    jacobians = np.einsum("ckx,qkd->cqxd", corners, element.gradient(points))
    if jacobians.shape[-1] == jacobians.shape[-2]:
        return np.asarray(np.linalg.det(jacobians))
    return np.asarray(np.sqrt(np.abs(np.linalg.det(np.swapaxes(jacobians, -1, -2) @ jacobians))))


def reference_points(element: Element, corners: Array, points: Array) -> tuple[Array, Array]:
    """The reference points of one point in each cell by Newton's method, and how far their images are off.

    A cell in a larger space takes the nearest point of its surface (Gauss-Newton). Quadratic convergence; a simplex
    needs one step.
    """
    s = np.full((len(points), element.dimension), 1 / (element.dimension + 1) if element.simplex else 0.5)
    for _ in range(1 if element.simplex else _NEWTON):
        residual = points - np.einsum("nk,nkx->nx", element.shape(s), corners)
        jacobian = np.einsum("nkx,nkd->nxd", corners, element.gradient(s))
        step = _solve(jacobian, residual)
        s = np.clip(s + step, -4.0, 5.0) if not element.simplex else s + step
        if np.abs(step).max(initial=0.0) < 1e-14:
            break
    residual = points - np.einsum("nk,nkx->nx", element.shape(s), corners)
    return s, np.linalg.norm(residual, axis=1)


def _solve(jacobian: Array, residual: Array) -> Array:
    if jacobian.shape[-1] != jacobian.shape[-2]:
        transposed = np.swapaxes(jacobian, -1, -2)
        jacobian, residual = transposed @ jacobian, (transposed @ residual[..., None])[..., 0]
    determinants = np.linalg.det(jacobian)
    singular = ~(np.abs(determinants) > 0)
    if singular.any():
        jacobian = np.where(singular[:, None, None], np.eye(jacobian.shape[-1]), jacobian)
        residual = np.where(singular[:, None], 0.0, residual)
    return np.asarray(np.linalg.solve(jacobian, residual[..., None])[..., 0])


def locate(element: Element, nodes: Array, cells: Index, points: Array) -> tuple[Index, Array]:
    """The cell that holds each point, -1 where none does, and the shape functions there.

    The cells of the nearest centroids are tried first; what they do not hold is looked for among all cells whose
    bounding sphere reaches it.

    Parameters
    ----------
    element
        The type of the cells.
    nodes
        ``(node, direction)``.
    cells
        ``(cell, corner)``.
    points
        ``(n, direction)``.

    Returns
    -------
    tuple of array
        Cells ``(n,)`` and weights of their corners ``(n, corner)``, which add up to 1.
    """
    corners = nodes[cells]
    centroids = corners.mean(axis=1)
    radii = np.linalg.norm(corners - centroids[:, None], axis=-1).max(axis=1) * (1 + 1e-9)
    found, weights = np.full(len(points), -1, dtype=np.int64), np.zeros((len(points), cells.shape[1]))
    tree = cKDTree(centroids)
    left = np.arange(len(points))
    for count in _CANDIDATES:
        count = min(count, len(cells))
        again = []
        for block in np.array_split(left, max(1, len(left) * count // _PAIRS)):
            if not len(block):
                continue
            distance, near = map(np.asarray, tree.query(points[block], k=np.arange(1, count + 1)))
            rows, columns = np.nonzero(distance <= radii[near])
            _try(element, corners, points, block[rows], near[rows, columns], found, weights)
            open_ones = (found[block] < 0) & (distance[:, -1] <= radii.max()) & (count < len(cells))
            again.append(block[open_ones])
        left = np.concatenate(again) if again else left[:0]
        if not len(left):
            return found, weights
    for block in np.array_split(left, max(1, len(left) * len(cells) // (64 * _PAIRS))):
        distance = np.linalg.norm(points[block][:, None] - centroids, axis=-1)
        rows, near = np.nonzero(distance <= radii)
        _try(element, corners, points, block[rows], near, found, weights)
    return found, weights


def _try(
    element: Element, corners: Array, points: Array, which: Index, cells: Any, found: Index, weights: Array
) -> None:
    """Give every point the best of the cells paired with it, if it is inside."""
    if not len(which):
        return
    chosen = corners[cells]
    s, off = reference_points(element, chosen, points[which])
    size = np.ptp(chosen, axis=1).max(axis=-1)
    margin = np.where(off <= 1e-6 * size, element.margin(s), -np.inf)
    order = np.lexsort((-margin, which))
    first = order[np.unique(which[order], return_index=True)[1]]
    first = first[margin[first] >= -_INSIDE]
    found[which[first]] = cells[first]
    weights[which[first]] = element.shape(s[first])


def element_of(name: str) -> Element:
    """The element of that name.

    Raises
    ------
    DomainError
        If there is none.

    Examples
    --------
    >>> element_of("quad").dimension
    2
    """
    if name not in ELEMENTS:
        raise DomainError(f"unknown type of cells {name!r}; there are {', '.join(ELEMENTS)}")
    return ELEMENTS[name]
