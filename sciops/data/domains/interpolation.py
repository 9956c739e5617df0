"""Values of a function elsewhere: on another domain (`resample`) or at scattered points (`interpolate`).

On grids, periodic axes are interpolated by the trigonometric polynomial through the nodes, every other axis by the
cubic through the four nearest nodes (the outermost four near an end; fewer nodes give the quadratic, the line or the
constant), unless a closed or cell axis is told to go by its cosine series. All are linear in the values and
differentiable with respect to values and points. Functions on point clouds, meshes and curvilinear grids are linear in
the cells (`sciops.data.domains.scattered`), differentiable in the values.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciops.data.domains.axis import Axis
from sciops.data.domains.domain import Domain, Grid, node_table
from sciops.data.domains.scattered import Outside, ScatteredInterpolation
from sciops.errors import DomainError, InputError, did_you_mean
from sciops.kernels.periodic import fourier_resample
from sciops.kernels.trigonometric import cosine_transform

Method = Literal["cubic", "cosine"]

_NODES = 4  # of a cubic
_ROWS = 1024  # of an interpolation matrix formed at once: it is banded, so blocks keep memory and work linear
_ELEMENTS = 1 << 22  # of the largest intermediate of `interpolate`


def resample(
    values: Tensor, source: Domain, target: Domain, *, method: Method = "cubic", outside: Outside = "error"
) -> Tensor:
    """The values on another domain that lies within the first; from grid to grid axis by axis.

    A periodic axis onto a periodic axis of the same interval goes by Fourier series: frequencies that both grids carry
    are kept and the others dropped, so a finer grid interpolates and a coarser one filters. Every other pair is
    evaluated at the nodes of `target`: trigonometric from a periodic axis, cubic from the rest, fourth order in the
    spacing for smooth functions and without an anti-aliasing filter. Equal axes leave the values as they are.

    Every other pair of domains is `interpolate` at the nodes of `target`, directions matched in order.

    Parameters
    ----------
    values
        Shape ``(..., *source.shape)``, any real dtype; integers and bool are taken as float64.
    source, target
        Grids with as many axes, matched in order, or any other domains in as many directions.
    method
        How the closed and cell axes of a grid are interpolated: ``"cubic"``, or ``"cosine"``, by the cosine series
        through the nodes. That is exact for functions whose series the nodes carry, and of spectral order for smooth
        ones whose odd derivatives vanish at both ends (no flux); others keep an error of first order at the ends.
    outside
        As in `interpolate`.

    Returns
    -------
    Tensor
        Shape ``(..., *target.shape)``.

    Raises
    ------
    DomainError
        If the shapes do not fit, the axes are the same in another order, or a node of `target` lies outside of
        `source`.

    Examples
    --------
    >>> coarse, fine = Grid.unit(5), Grid.unit(9)
    >>> cube = resample(coarse.coordinates()[0] ** 3, coarse, fine)
    >>> torch.allclose(cube, fine.coordinates()[0] ** 3)
    True
    """
    values = _floating(values, source)
    if method not in get_args(Method):
        raise InputError(f"unknown method {method!r}{did_you_mean(str(method), get_args(Method))}")
    if not (isinstance(source, Grid) and isinstance(target, Grid)):
        if method != "cubic":
            raise InputError(
                f"method={method!r} is for grids, not from {type(source).__name__} to {type(target).__name__}"
            )
        if source.matches(target, rtol=1e-12):
            return values
        found = interpolate(values, source, node_table(target), outside=outside)
        return found.reshape(*found.shape[:-1], *target.shape)
    if source.ndim != target.ndim or (source.names != target.names and set(source.names) == set(target.names)):
        raise DomainError(
            f"the axes ({', '.join(source.names)}) cannot be resampled onto ({', '.join(target.names)}): "
            "both grids need the same axes in the same order"
        )
    pairs = list(zip(range(-source.ndim, 0), source.axes, target.axes, strict=True))
    fourier = [(dim, new.size) for dim, old, new in pairs if _same_circle(old, new) and old.size != new.size]
    if fourier:
        values = fourier_resample(values, [size for _, size in fourier], [dim for dim, _ in fourier])
    for dim, old, new in pairs:
        if not _same_circle(old, new) and not old.matches(new, rtol=1e-12):
            values = _along(values, dim, old, new.coordinates(), method)
    return values


def interpolate(
    values: Tensor, grid: Domain, points: Float[Tensor, "n dimension"], *, outside: Outside = "error"
) -> Tensor:
    """The values at scattered points of the domain.

    On a grid ``u(p) = sum_i u_i w_i1(p_1) ... w_id(p_d)`` with the weights of each axis: trigonometric and wrapped
    around on a periodic axis, cubic otherwise. A cell or left axis is extrapolated up to the ends of its interval,
    half a cell or one cell from the last node. The points are taken in blocks, so memory stays bounded.

    On another domain `u` is linear in each cell: see `sciops.data.domains.scattered.ScatteredInterpolation`, which also
    keeps the weights for further values.

    Parameters
    ----------
    values
        Shape ``(..., *grid.shape)``, any real dtype; integers and bool are taken as float64.
    grid
        Where the values stand.
    points
        Shape ``(n, grid.dimension)``, one column per direction in its units.
    outside
        What a point outside a point cloud, mesh or curvilinear grid gets: ``"error"``, or ``"nearest"``, the value of
        the nearest node. A grid always refuses.

    Returns
    -------
    Tensor
        Shape ``(..., n)``, dtype and device of `values`.

    Raises
    ------
    DomainError
        If a shape does not fit, or a point lies outside; an interval that is periodic has no outside.

    Examples
    --------
    >>> grid = Grid.unit(8, kind="periodic")
    >>> wave = torch.sin(2 * torch.pi * grid.coordinates()[0])
    >>> interpolate(wave, grid, torch.tensor([[1.25], [0.75]], dtype=torch.float64)).round(decimals=12).tolist()
    [1.0, -1.0]
    """
    values = _floating(values, grid)
    if not isinstance(grid, Grid):
        return ScatteredInterpolation(grid, points, outside=outside)(values)
    if points.ndim != 2 or points.shape[1] != grid.ndim or not points.is_floating_point():
        raise DomainError(
            f"points have shape (n, {grid.ndim}) with a column for each of {', '.join(grid.names)} and a floating "
            f"dtype, got shape {tuple(points.shape)} and {points.dtype}"
        )
    for axis, column in zip(grid.axes, points.unbind(1), strict=True):
        _require_inside(axis, column)
    points = points.to(torch.float64)
    periodic = [dim for dim, axis in enumerate(grid.axes) if axis.kind == "periodic"]
    local = [dim for dim, axis in enumerate(grid.axes) if axis.kind != "periodic"]
    leading = values.shape[: values.ndim - grid.ndim]
    # order (lead, periodic axes as Fourier coefficients, other axes as nodes)
    table = values.reshape(-1, *grid.shape)
    for dim in periodic:
        table = _coefficients(table, dim + 1)
    table = table.permute(0, *(dim + 1 for dim in periodic + local))
    axes = [grid.axes[dim] for dim in periodic + local]
    shared = table.shape[1] if periodic else math.prod(table.shape[1:]) / math.prod(_NODES for _ in local)
    block = max(1, int(_ELEMENTS * shared / max(1, table.numel())))
    parts = [_evaluate(table, axes, rows[:, periodic + local]) for rows in torch.split(points, block)]
    return torch.cat(parts, dim=-1).reshape(*leading, points.shape[0])


def _evaluate(table: Tensor, axes: list[Axis], points: Tensor) -> Tensor:
    """Values ``(lead, n)`` at a block of points; `axes` has the periodic axes first, as `table` does."""
    n_periodic = sum(axis.kind == "periodic" for axis in axes)
    index = torch.zeros(points.shape[0], 1, dtype=torch.int64, device=table.device)
    weight = torch.ones(points.shape[0], 1, dtype=table.dtype, device=table.device)
    for axis, column in list(zip(axes, points.unbind(1), strict=True))[n_periodic:]:
        nodes, weights = (part.to(table.device) for part in _cubic(axis, column))
        index = (index[:, :, None] * axis.size + nodes[:, None, :]).flatten(1)
        weight = (weight[:, :, None] * weights[:, None, :].to(table.dtype)).flatten(1)
    if not n_periodic:
        return torch.einsum("lnk,nk->ln", table.flatten(1)[:, index], weight)
    waves = [_waves(axis, column).to(table) for axis, column in zip(axes[:n_periodic], points.unbind(1), strict=False)]
    found = torch.tensordot(waves[0], table, dims=([1], [1]))
    for wave in waves[1:]:
        found = torch.einsum("nlk...,nk->nl...", found, wave)
    nearby = found.flatten(2) if found.ndim > 2 else found[..., None]
    return torch.einsum("nlk,nk->ln", torch.take_along_dim(nearby, index[:, None, :], dim=2), weight)


def _along(values: Tensor, dim: int, axis: Axis, nodes: Tensor, method: Method) -> Tensor:
    """The values along one dimension at the float64 `nodes`, by blocks of the interpolation matrix."""
    _require_inside(axis, nodes)
    values = values.movedim(dim, -1)
    if axis.kind == "periodic":
        found = _coefficients(values, -1) @ _waves(axis, nodes).to(values).T
        return found.movedim(-1, dim)
    if method == "cosine" and axis.kind in ("closed", "cell"):
        series = cosine_transform(values, [-1], kind=1 if axis.kind == "closed" else 2)
        parts = [series @ _cosines(axis, rows).to(values).T for rows in torch.split(nodes, _ROWS)]
        return torch.cat(parts, dim=-1).movedim(-1, dim)
    blocks = []
    for rows in torch.split(nodes, _ROWS):
        index, weight = _cubic(axis, rows)
        first, last = int(index.min()), int(index.max())
        matrix = torch.zeros(len(rows), last - first + 1, dtype=torch.float64).scatter_(1, index - first, weight)
        blocks.append(values[..., first : last + 1] @ matrix.to(values).T)
    return torch.cat(blocks, dim=-1).movedim(-1, dim)


def _cubic(axis: Axis, points: Float[Tensor, " n"]) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """The nodes next to each point and their Lagrange weights."""
    count = min(_NODES, axis.size)
    if axis.kind == "stretched":
        return _cubic_stretched(axis, points, count)
    start = axis.lower + (axis.spacing / 2 if axis.kind == "cell" else 0.0)
    position = (points - start) / axis.spacing
    first = (position.detach().floor().long() - (count - 1) // 2).clamp(0, axis.size - count)
    s = position - first
    weights = []
    for j in range(count):
        others = [(s - m) / (j - m) for m in range(count) if m != j]
        weights.append(math.prod(others, start=torch.ones_like(s)))
    return first[:, None] + torch.arange(count, device=first.device), torch.stack(weights, dim=1)


def _cubic_stretched(
    axis: Axis, points: Float[Tensor, " n"], count: int
) -> tuple[Int[Tensor, "n k"], Float[Tensor, "n k"]]:
    """As `_cubic`, between the nodes of a stretched axis."""
    nodes = axis.coordinates(points.dtype, points.device)
    last = torch.searchsorted(nodes, points.detach().contiguous(), right=True) - 1
    first = (last - (count - 1) // 2).clamp(0, axis.size - count)
    index = first[:, None] + torch.arange(count, device=first.device)
    near = nodes[index]
    weights = []
    for j in range(count):
        others = [(points - near[:, m]) / (near[:, j] - near[:, m]) for m in range(count) if m != j]
        weights.append(math.prod(others, start=torch.ones_like(points)))
    return index, torch.stack(weights, dim=1)


def _coefficients(values: Tensor, dim: int) -> Tensor:
    """Coefficients of 1, cos(k t), sin(k t) along a periodic dimension: as many as nodes, in the order of `_waves`."""
    size = values.shape[dim]
    modes = torch.fft.rfft(values, dim=dim, norm="forward")
    scale = torch.full((modes.shape[dim],), 2.0, dtype=values.dtype, device=values.device)
    scale[0] = 1.0
    if size % 2 == 0:
        scale[-1] = 1.0  # the Nyquist frequency is a cosine only
    shape = [1] * values.ndim
    shape[dim] = -1
    modes = modes * scale.reshape(shape)
    sines = -modes.imag.narrow(dim, 1, (size - 1) // 2)
    return torch.cat([modes.real, sines], dim=dim)


def _waves(axis: Axis, points: Float[Tensor, " n"]) -> Float[Tensor, "n size"]:
    """1, cos(k t), sin(k t) at the points, ``t = 2 pi (x - lower) / extent``."""
    turns = (points - axis.lower) / axis.extent
    k = torch.arange(axis.size // 2 + 1, dtype=points.dtype, device=points.device)
    angle = 2 * math.pi * turns[:, None] * k
    return torch.cat([angle.cos(), angle[:, 1 : (axis.size - 1) // 2 + 1].sin()], dim=1)


def _cosines(axis: Axis, points: Float[Tensor, " n"]) -> Float[Tensor, "n size"]:
    """1, 2 cos(k s) at the points, ``s = pi (x - lower) / extent``; the last mode between both ends counts once."""
    k = torch.arange(axis.size, dtype=points.dtype, device=points.device)
    waves = 2 * torch.cos(math.pi * (points - axis.lower)[:, None] / axis.extent * k)
    waves[:, 0] /= 2
    if axis.kind == "closed":
        waves[:, -1] /= 2
    return waves


def _require_inside(axis: Axis, points: Float[Tensor, " n"]) -> None:
    """DomainError for a point outside the interval, which a periodic axis does not have."""
    points = points.detach()
    scale = max(abs(axis.lower), abs(axis.upper), axis.extent)
    slack = 8 * torch.finfo(points.dtype).eps * scale
    inside = (points >= axis.lower - slack) & (points <= axis.upper + slack)
    if axis.kind == "periodic":
        inside = points.isfinite()
    if not bool(inside.all()):
        value = float(points[~inside][0])
        raise DomainError(
            f"axis {axis.name!r}: the value {value:g} is outside its interval [{axis.lower:g}, {axis.upper:g}]; "
            f"{'finite values are needed' if axis.kind == 'periodic' else 'only a periodic axis goes on past its ends'}"
        )


def _floating(values: Tensor, grid: Domain) -> Tensor:
    if not isinstance(values, Tensor) or values.is_complex():
        raise InputError(f"values are a real torch.Tensor, got {getattr(values, 'dtype', type(values).__name__)}")
    if tuple(values.shape[-grid.ndim :]) != grid.shape:
        raise DomainError(
            f"values of shape {tuple(values.shape)} do not stand on the grid {grid.shape} of {', '.join(grid.names)}: "
            "the last dimensions must be those of the grid"
        )
    return values if values.is_floating_point() else values.to(torch.float64)


def _same_circle(old: Axis, new: Axis) -> bool:
    return old.kind == new.kind == "periodic" and old.matches(new.resized(old.size), rtol=1e-12)
