"""What is in a file: layout, dimensions, variables, grids and statistics, streamed in bounded memory."""

from __future__ import annotations

import contextlib
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from sciops.data.conventions import channel_dim, domain_of, grid_of, n_samples, origin, sample_dim, space_dims, time_dim
from sciops.data.conventions.dimensions import point_dims
from sciops.data.domains.axis import Axis
from sciops.data.domains.curvilinear import CurvilinearGrid
from sciops.data.domains.domain import Grid
from sciops.data.domains.mesh import Mesh
from sciops.data.files import open
from sciops.data.reading.blocks import block_shape, blocks
from sciops.data.reading.bounds import readable_size
from sciops.data.reading.containers import reading
from sciops.errors import DomainError, InputError

_BLOCK_BYTES = 32 << 20


@dataclass(frozen=True)
class Range:
    """Statistics of the finite values of an array, and how many are not; complex numbers count by modulus.

    The standard deviation is that of the values themselves (divided by their number). Where no value is finite the
    four numbers are NaN.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    nan: int
    inf: int
    count: int


@dataclass(frozen=True)
class VariableSummary:
    """One variable: name, dimensions, shape, dtype, units, role and statistics (None where not asked for).

    The role is ``"field"``, ``"parameter"``, ``"mask"`` or ``"other"``. Statistics of a variable with a mask are those
    of its values inside.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    units: str
    role: str
    statistics: Range | None


@dataclass(frozen=True)
class AxisSummary:
    """One space dimension: its axis, or why its coordinates make none, and whether the file gave no coordinates.

    A dimension of scattered points, of a mesh or of a curvilinear grid has no axis: `domain` says which of these it is
    (``"points"``, ``"mesh"``, ``"cells"``, ``"curvilinear"``), `interval` where its coordinates lie, `units` theirs.
    """

    name: str
    size: int
    axis: Axis | None
    problem: str
    assumed: bool
    domain: str = ""
    interval: str = ""
    units: str = ""


@dataclass(frozen=True)
class Summary:
    """What `summarise` found; ``str()`` gives a table as plain text, and rich prints it with colours."""

    source: str
    layout: str
    reason: str
    size_bytes: int
    n_samples: int
    sample_dim: str | None
    time_dim: str | None
    dims: dict[str, int]
    axes: tuple[AxisSummary, ...]
    variables: tuple[VariableSummary, ...]

    @property
    def defects(self) -> tuple[str, ...]:
        """One line for each variable with values that are not finite.

        Examples
        --------
        >>> summarise(xr.Dataset({"u": ("x", [1.0, np.nan])})).defects
        ("'u' holds 1 NaN and 0 infinite values of 2",)
        """
        ranges = [(variable.name, variable.statistics) for variable in self.variables]
        return tuple(
            f"{name!r} holds {found.nan} NaN and {found.inf} infinite values of {found.count}"
            for name, found in ranges
            if found is not None and found.nan + found.inf
        )

    def render(self) -> Group:
        """The summary for `rich.print`: a heading, the axes, the variables, and a line for each defect."""
        heading = Text(f"{self.source}\n", style="bold")
        heading.append(f"layout {self.layout}", style="not bold cyan").append(f": {self.reason}", style="not bold")
        length = ", ".join(f"{dim} {size}" for dim, size in self.dims.items())
        heading.append(f"\n{length}; {readable_size(self.size_bytes)}", style="not bold")
        parts: list[Any] = [heading]
        if self.axes:
            parts.append(_table(("axis", "nodes", "kind", "interval", "units", ""), map(_axis_row, self.axes)))
        columns = ("variable", "dimensions", "dtype", "units", "min", "max", "mean", "std", "NaN", "inf")
        parts.append(_table(columns, map(_variable_row, self.variables)))
        parts += [Text(f"! {line}", style="bold red") for line in self.defects]
        return Group(*parts)

    def __rich__(self) -> Group:
        return self.render()

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=160, color_system=None)
        with console.capture() as captured:
            console.print(self.render())
        return "\n".join(line.rstrip() for line in captured.get().splitlines())


def summarise(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | xr.Dataset, *, statistics: bool = True
) -> Summary:
    """Look through a file or a data set.

    Parameters
    ----------
    data
        A path, pattern, folder or list of paths that `sciops.data.open` opens, or an open data set.
    statistics
        Read every value for minimum, maximum, mean, standard deviation and counts of NaN and infinity, in blocks of
        at most 32 MiB.

    Returns
    -------
    Summary

    Raises
    ------
    DataError
        If the file cannot be opened or read.

    Examples
    --------
    >>> found = summarise(xr.Dataset({"u": (("sample", "x"), [[1.0, 3.0], [5.0, 7.0]])}))
    >>> found.variables[0].statistics.mean, found.n_samples, found.axes[0].assumed
    (4.0, 2, True)
    """
    if isinstance(data, xr.Dataset):
        return _summarise(data, statistics)
    if not isinstance(data, str | os.PathLike | list | tuple):
        raise InputError(f"summarise takes a path or an xarray.Dataset, got {type(data).__name__}")
    with open(data) as ds:
        return _summarise(ds, statistics)


def _summarise(ds: xr.Dataset, statistics: bool) -> Summary:
    names = [str(name) for name in ds.data_vars]
    space: dict[str, str] = {}
    for name in names:
        for dim in space_dims(ds, name):
            space.setdefault(dim, name)
    return Summary(
        source=origin(ds),
        layout=str(ds.attrs.get("layout", "in memory")),
        reason=str(ds.attrs.get("layout_reason", "a data set that was not opened from a file by sciops")),
        size_bytes=sum(variable.nbytes for variable in ds.data_vars.values()),
        n_samples=n_samples(ds),
        sample_dim=sample_dim(ds),
        time_dim=time_dim(ds),
        dims={str(dim): int(size) for dim, size in ds.sizes.items()},
        axes=tuple(_summarise_axis(ds, dim, name) for dim, name in space.items()),
        variables=tuple(_summarise_variable(ds, name, statistics) for name in names),
    )


def _scattered(ds: xr.Dataset, dim: str, name: str) -> AxisSummary | None:
    """A dimension of points, cells or a curvilinear grid; None where it is an axis."""
    size, kind = int(ds.sizes[dim]), "cells" if dim.startswith("cell_") else "points"
    try:
        domain = domain_of(ds, name)
    except DomainError as error:
        if dim in ds.coords or dim not in point_dims(ds):
            return None
        return AxisSummary(dim, size, None, str(error).removeprefix(f"{origin(ds)}: ").split(";")[0], False, kind)
    if isinstance(domain, Grid):
        return None
    kind = "curvilinear" if isinstance(domain, CurvilinearGrid) else "mesh" if isinstance(domain, Mesh) else kind
    lines = domain.coordinates().flatten(1)
    ends = zip(domain.names, lines.amin(dim=1).tolist(), lines.amax(dim=1).tolist(), strict=True)
    interval = ", ".join(f"{line} [{low:.6g}, {high:.6g}]" for line, low, high in ends)
    return AxisSummary(dim, size, None, "", False, kind, interval, ", ".join(dict.fromkeys(filter(None, domain.units))))


def _summarise_axis(ds: xr.Dataset, dim: str, name: str) -> AxisSummary:
    scattered = _scattered(ds, dim, name)
    if scattered is not None:
        return scattered
    size = int(ds.sizes[dim])
    with contextlib.suppress(DomainError):  # all axes together: a latitude and a longitude make a sphere
        held = [each for each in map(str, ds.data_vars) if dim in space_dims(ds, each)]
        grid = grid_of(ds, max(held, key=lambda each: len(space_dims(ds, each))))
        assumed = dim not in ds.coords or bool(ds[dim].attrs.get("assumed", 0))
        return AxisSummary(dim, size, next(axis for axis in grid.axes if axis.name == dim), "", assumed)
    assumed = dim not in ds.coords or bool(ds[dim].attrs.get("assumed", 0))
    probe = xr.Dataset({"probe": ((dim,), np.empty(size))}, coords={dim: ds[dim].variable} if dim in ds.coords else {})
    try:
        return AxisSummary(dim, size, grid_of(probe, "probe").axes[0], "", assumed)
    except DomainError as error:
        return AxisSummary(dim, size, None, str(error).split(": ", 2)[-1].split(";")[0], assumed)


def _summarise_variable(ds: xr.Dataset, name: str, statistics: bool) -> VariableSummary:
    variable = ds[name].variable
    numeric = variable.dtype.kind in "biufc"
    inner = set(variable.dims) - {sample_dim(ds)}
    role = "field" if space_dims(ds, name) else "other" if inner or not numeric else "parameter"
    role = "mask" if variable.attrs.get("role") == "mask" else role
    found = None
    if numeric and statistics:
        with reading(Path(origin(ds)), name):
            found = _range(variable, _mask_of(ds, variable))
    return VariableSummary(
        name=name,
        dims=tuple(f"{dim}*" if dim == channel_dim(ds, name) else str(dim) for dim in variable.dims),
        shape=variable.shape,
        dtype=str(variable.dtype),
        units=str(variable.attrs.get("units", "")),
        role=role if numeric else "other",
        statistics=found,
    )


def _mask_of(ds: xr.Dataset, variable: xr.Variable) -> xr.Variable | None:
    """The mask that a variable names, where it fits."""
    name = variable.attrs.get("mask")
    mask = ds.variables[name] if isinstance(name, str) and name in ds.variables else None
    return mask if mask is not None and mask.dtype.kind in "bui" and set(mask.dims) <= set(variable.dims) else None


def _range(variable: xr.Variable, mask: xr.Variable | None = None) -> Range:
    """One pass over blocks; means and squared deviations are merged pairwise (Chan, Golub and LeVeque, 1983)."""
    low, high, mean, squares = math.inf, -math.inf, 0.0, 0.0
    finite = nan = inf = outside = 0
    shape = block_shape(variable.shape, max(8, variable.dtype.itemsize), _BLOCK_BYTES)
    for where in blocks(variable.shape, shape):
        block = variable[where].to_numpy()
        if mask is not None:
            pieces = dict(zip(variable.dims, where, strict=True))
            part = mask.isel({dim: pieces[dim] for dim in mask.dims})
            full = xr.Variable(variable.dims, np.ones(block.shape, bool))
            inside = (full & part.astype(bool)).transpose(*variable.dims).to_numpy()
            outside += int((~inside).sum())
            block = block[inside]
        values = np.abs(block) if block.dtype.kind == "c" else block
        values = values.astype(np.float64, copy=False).reshape(-1)
        if block.dtype.kind in "fc":
            good = np.isfinite(values)
            if not good.all():
                missing = int(np.isnan(values).sum())
                nan, inf = nan + missing, inf + int((~good).sum()) - missing
                values = values[good]
        if not values.size:
            continue
        count, centre = values.size, float(values.mean())
        spread, shift = float(np.square(values - centre).sum()), centre - mean
        squares += spread + shift * shift * finite * count / (finite + count)
        mean += shift * count / (finite + count)
        finite += count
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    if not finite:
        low = high = mean = squares = math.nan
    return Range(low, high, mean, math.sqrt(squares / max(finite, 1)), nan, inf, variable.size - outside)


def _table(columns: tuple[str, ...], rows: Any) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    numbers = {"nodes", "min", "max", "mean", "std", "NaN", "inf"}
    for column in columns:
        number = column in numbers
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def _axis_row(axis: AxisSummary) -> tuple[str, ...]:
    if axis.domain:
        return axis.name, str(axis.size), axis.domain, axis.interval or "-", axis.units, axis.problem
    if axis.axis is None:
        return axis.name, str(axis.size), "-", "-", "", f"no axis: {axis.problem}"
    closing = "]" if axis.axis.kind in ("closed", "cell", "stretched") else ")"
    interval = f"[{axis.axis.lower:g}, {axis.axis.upper:g}{closing}"
    note = "assumed, the file has no coordinates" if axis.assumed else ""
    return axis.name, str(axis.size), axis.axis.kind, interval, axis.axis.units, note


def _variable_row(variable: VariableSummary) -> tuple[str, ...]:
    dtype = f"{variable.dtype} (mask)" if variable.role == "mask" else variable.dtype
    head = (variable.name, ", ".join(variable.dims), dtype, variable.units)
    found = variable.statistics
    if found is None:
        return (*head, *[""] * 6)
    numbers = (f"{value:.4g}" for value in (found.minimum, found.maximum, found.mean, found.std))
    return (*head, *numbers, str(found.nan), str(found.inf))
