"""Fields on fewer nodes of the same grid: the nodes themselves where they are some of the old ones, else resampled."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from sciops.data.domains.axis import Axis
from sciops.data.domains.domain import Domain, Grid
from sciops.data.domains.interpolation import resample
from sciops.errors import DomainError, InputError

Resolution = int | Sequence[int]


def coarse_grid(domain: Domain, resolution: Resolution) -> Grid:
    """The grid with that many nodes, for every axis or one number for each.

    Raises
    ------
    InputError
        If there are not as many numbers as axes, or one is below 2 or above the nodes of its axis.
    DomainError
        If the domain is no grid.

    Examples
    --------
    >>> coarse_grid(Grid.unit(64, 32, kind="periodic"), [16, 16]).shape
    (16, 16)
    """
    if not isinstance(domain, Grid):
        raise DomainError(f"resolution={resolution} needs a grid, and the values stand on {domain!r}; leave it out")
    sizes = (resolution,) * domain.ndim if isinstance(resolution, int) else tuple(resolution)
    wrong = [size for size in sizes if isinstance(size, bool) or not isinstance(size, int)]
    if len(sizes) != domain.ndim or wrong:
        raise InputError(
            f"resolution is {resolution!r}; expected a whole number, or one for each of the axes "
            f"{', '.join(domain.names)}"
        )
    for axis, size in zip(domain.axes, sizes, strict=True):
        if not 2 <= size <= axis.size:
            raise InputError(
                f"resolution {size} of axis {axis.name!r}: it has {axis.size} nodes; ask for 2 to {axis.size}"
            )
    return domain.resized(*sizes)


def stride_of(axis: Axis, size: int) -> slice | None:
    """The nodes of an axis that are those of the same axis with fewer nodes; None where some lie between.

    Examples
    --------
    >>> stride_of(Axis("x", 9), 5), stride_of(Axis("x", 9, kind="cell"), 3), stride_of(Axis("x", 9), 4)
    (slice(0, None, 2), slice(1, None, 3), None)
    """
    if size == axis.size:
        return slice(None)
    if axis.kind in ("closed", "stretched"):
        step, rest = divmod(axis.size - 1, size - 1)
        return slice(0, None, step) if rest == 0 else None
    step, rest = divmod(axis.size, size)
    if rest:
        return None
    if axis.kind == "cell":
        return slice(step // 2, None, step) if step % 2 else None
    return slice(0, None, step)


def strided(source: Grid, target: Grid) -> bool:
    """Whether all nodes of the coarser grid are nodes of the other one.

    Examples
    --------
    >>> strided(Grid.unit(9, 9), Grid.unit(5, 3)), strided(Grid.unit(9), Grid.unit(4))
    (True, False)
    """
    return all(stride_of(axis, size) is not None for axis, size in zip(source.axes, target.shape, strict=True))


def coarsened(values: Tensor, source: Grid, target: Grid) -> Tensor:
    """Values (..., *source.shape) on the grid with fewer nodes.

    Axis by axis: every step-th node where that gives the new nodes (then nothing is filtered), else
    `sciops.data.domains.interpolation.resample`.

    Examples
    --------
    >>> import torch
    >>> coarsened(torch.arange(9.0), Grid.unit(9), Grid.unit(5)).tolist()
    [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if source.shape == target.shape:
        return values
    cuts = [stride_of(axis, size) for axis, size in zip(source.axes, target.shape, strict=True)]
    for dim, cut in zip(range(-source.ndim, 0), cuts, strict=True):
        if cut is not None:
            values = values.movedim(dim, 0)[cut].movedim(0, dim)
    if None not in cuts:
        return values.contiguous()
    sizes = [axis.size if cut is None else new for axis, cut, new in zip(source.axes, cuts, target.shape, strict=True)]
    return resample(values, source.resized(*sizes), target)


def divisors(axis: Axis) -> list[int]:
    """The numbers of nodes whose nodes are some of those of the axis, itself included.

    Examples
    --------
    >>> divisors(Axis("x", 9)), divisors(Axis("x", 12, kind="periodic"))
    ([2, 3, 5, 9], [2, 3, 4, 6, 12])
    """
    return [size for size in range(2, axis.size + 1) if stride_of(axis, size) is not None]
