"""Interpolation from point clouds, meshes and curvilinear grids: weights computed once, then a sparse product."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, cKDTree
from torch import Tensor

from sciops.data.domains.curvilinear import CurvilinearGrid
from sciops.data.domains.domain import Domain, node_table
from sciops.data.domains.elements import ELEMENTS, Array, Index, locate
from sciops.data.domains.mesh import Mesh
from sciops.data.domains.points import PointCloud, simplices
from sciops.errors import DomainError, InputError, did_you_mean

Outside = Literal["error", "nearest"]
_END = 1e-9  # how far beyond the last point one may be by rounding, in parts of the gap


class ScatteredInterpolation:
    """The map from values on a domain to values at points; it is linear, of second order in the size of the cells.

    A point cloud is interpolated linearly on the simplices of its Delaunay triangulation (between neighbours in one
    direction), a mesh in the cell that holds the point, by the coordinates of the reference cell; a curvilinear grid
    is a mesh of quads. Functions that are linear in the coordinates are reproduced to rounding.

    Parameters
    ----------
    source
        A point cloud, mesh or curvilinear grid.
    points
        Shape ``(n, source.dimension)``.
    outside
        What becomes of points outside: ``"error"``, or ``"nearest"``, the value of the nearest node.

    Raises
    ------
    DomainError
        If the shape does not fit, or points lie outside and that is an error: how many, and the first.

    Examples
    --------
    >>> cloud = PointCloud([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> sums = ScatteredInterpolation(cloud, torch.tensor([[0.25, 0.5]]))
    >>> sums(cloud.points.sum(dim=1)).tolist()
    [0.75]
    """

    def __init__(self, source: Domain, points: Float[Tensor, "n dimension"], *, outside: Outside = "error") -> None:
        if outside not in get_args(Outside):
            raise InputError(f"unknown value {outside!r} of outside={did_you_mean(str(outside), get_args(Outside))}")
        if points.ndim != 2 or points.shape[1] != source.dimension or not points.is_floating_point():
            raise DomainError(
                f"points have shape (n, {source.dimension}) with a column for each of {', '.join(source.names)} and a "
                f"floating dtype, got shape {tuple(points.shape)} and {points.dtype}"
            )
        places: Array = points.detach().to(device="cpu", dtype=torch.float64).numpy()
        finite = np.isfinite(places).all(axis=1)
        if not finite.all():
            i = int(np.argmin(finite))
            raise DomainError(f"point {i} is ({_listed(places[i])}); every coordinate must be finite")
        nodes: Array = node_table(source).numpy()
        index, weight = _rows(source, nodes, places)
        beyond = index[:, 0] < 0
        if beyond.any():
            if outside == "error":
                i = int(beyond.argmax())
                kind = type(source).__name__
                raise DomainError(
                    f"{int(beyond.sum())} of {len(places)} points lie outside of the {kind}, the first "
                    f"is point {i} at ({_listed(places[i])}); outside='nearest' takes the value of the nearest node"
                )
            index[beyond], weight[beyond] = 0, 0.0
            index[beyond, 0], weight[beyond, 0] = cKDTree(nodes).query(places[beyond])[1], 1.0
        self.source = source
        self.size = len(places)
        rows = np.repeat(np.arange(len(places)), index.shape[1])
        table = torch.sparse_coo_tensor(
            torch.from_numpy(np.stack([rows, index.ravel()])),
            torch.from_numpy(weight.ravel()),
            (len(places), len(nodes)),
            check_invariants=False,
        )
        self._matrix = table.coalesce()

    def __call__(self, values: Float[Tensor, "*lead *shape"]) -> Float[Tensor, "*lead n"]:
        """The values at the points, with dtype and device of `values`, whose last dimensions are the domain."""
        shape = self.source.shape
        if tuple(values.shape[values.ndim - len(shape) :]) != shape:
            raise DomainError(
                f"values of shape {tuple(values.shape)} do not stand on {self.source!r}: the last dimensions must be "
                f"{shape}"
            )
        lead = values.shape[: values.ndim - len(shape)]
        matrix = self._matrix.to(device=values.device, dtype=values.dtype)
        found: Tensor = torch.sparse.mm(matrix, values.reshape(-1, matrix.shape[1]).T)
        return found.T.reshape(*lead, self.size)


def _rows(source: Domain, nodes: Array, places: Array) -> tuple[Index, Array]:
    """For each place the nodes and their weights; node -1 where it lies outside."""
    if isinstance(source, PointCloud):
        if source.dimension == 1:
            return _on_line(nodes, places)
        kind = "triangle" if source.dimension == 2 else "tetra"
        cells = {kind: simplices(nodes, source.triangulation)}
        index, weight = np.full((len(places), source.dimension + 1), -1), np.zeros((len(places), source.dimension + 1))
        within = _in_hull(nodes, places)  # the cells need not be searched for the others
        index[within], weight[within] = _on_cells(cells, nodes, places[within])
        return index, weight
    if isinstance(source, CurvilinearGrid):
        return _on_cells({source.cell_type: source.cells}, nodes, places)
    if isinstance(source, Mesh):
        return _on_cells({name: rows.numpy() for name, rows in source.main_cells.items()}, nodes, places)
    raise DomainError(
        f"no interpolation from a {type(source).__name__}; take a Grid, PointCloud, Mesh or CurvilinearGrid"
    )


def _on_cells(cells: dict[str, Index], nodes: Array, places: Array) -> tuple[Index, Array]:
    width = max(rows.shape[1] for rows in cells.values())
    index, weight = np.full((len(places), width), -1, dtype=np.int64), np.zeros((len(places), width))
    for name, rows in cells.items():
        missing = np.flatnonzero(index[:, 0] < 0)
        if not len(missing):
            break
        found, weights = locate(ELEMENTS[name], nodes, rows, places[missing])
        inside = found >= 0
        index[missing[inside]] = 0
        index[missing[inside], : rows.shape[1]] = rows[found[inside]]
        weight[missing[inside], : rows.shape[1]] = weights[inside]
    return index, weight


def _in_hull(nodes: Array, places: Array) -> NDArray[np.bool_]:
    """Whether each place lies in the convex hull of the nodes, or beyond it by rounding."""
    equations = ConvexHull(nodes).equations
    slack = 1e-7 * float(np.ptp(nodes, axis=0).max())
    inside = np.ones(len(places), dtype=np.bool_)
    for *normal, offset in equations:
        inside &= places @ np.array(normal) + offset <= slack
    return inside


def _on_line(nodes: Array, places: Array) -> tuple[Index, Array]:
    order = np.argsort(nodes[:, 0], kind="stable").astype(np.int64)
    x, p = nodes[order, 0], places[:, 0]
    if len(x) < 2 or (np.diff(x) <= 0).any():
        raise DomainError("points on a line need two different ones at least, and none twice, to interpolate between")
    left = np.clip(np.searchsorted(x, p, side="right") - 1, 0, len(x) - 2)
    share = (p - x[left]) / (x[left + 1] - x[left])
    index = np.stack([order[left], order[left + 1]], axis=1)
    index[(share < -_END) | (share > 1 + _END)] = -1
    return index, np.stack([1 - share, share], axis=1)


def _listed(place: Any) -> str:
    return ", ".join(f"{float(value):g}" for value in place)
