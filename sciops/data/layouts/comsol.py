"""Text tables of COMSOL: coordinates of points and columns such as ``T (K) @ t=0.1``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._arrays import stacked
from sciops.data.layouts._domain import mark_points
from sciops.data.reading.assembly import assemble
from sciops.errors import LayoutError

_COLUMN = re.compile(r"(?P<name>.+?)(?: \((?P<units>(?:[^()]|\([^()]*\))*)\))?(?: @ (?:\d+: )?(?P<solution>.+))?")


@dataclass(frozen=True)
class _Column:
    """One column: the expression, its units, the time (None where it has none) and the parameters of its solution."""

    path: str
    name: str
    units: str
    time: float | None
    parameters: tuple[tuple[str, float], ...]


@register("comsol")
class Comsol(Layout):
    """The rows are scattered points, the times of an expression its time axis; parametric solutions are samples.

    The first columns are the coordinates, as many as the header line ``Dimension`` says, else those that carry neither
    units nor a solution; the header line ``Length unit`` gives their units.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        if contents.container != "text":
            return None
        axes, columns = _columns(contents)
        names = dict.fromkeys(column.name for column in columns)
        if not axes or not columns:
            return None
        rows = contents.entries[axes[0]].shape[0]
        return f"text with a percent header: {', '.join(names)} at {rows} points ({', '.join(axes)}), as COMSOL exports"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        axes, columns = _columns(contents)
        times = sorted({column.time for column in columns if column.time is not None})
        solutions = list(dict.fromkeys(column.parameters for column in columns if column.parameters))
        ready: dict[str, Any] = {}
        for name in dict.fromkeys(column.name for column in columns):
            own = [column for column in columns if column.name == name]
            ready[name] = _field(contents, own, times, solutions)
        keys = dict.fromkeys(key for solution in solutions for key, _ in solution)
        for key in keys:
            values = [dict(solution).get(key, np.nan) for solution in solutions]
            ready[key if key not in ready else f"parameter_{key}"] = xr.Variable(("sample",), np.array(values))
        coords = {"time": np.array(times)} if times else {}
        ds = assemble(contents, options, variables={}, coords=coords, parameters=ready)
        units = str(contents.attributes.get("Length unit", ""))
        lines = {_COLUMN.fullmatch(axis)["name"]: contents.read(axis) for axis in axes}  # type: ignore[index]
        return mark_points(ds, {name: xr.Variable(("point",), line) for name, line in lines.items()}, units=units)


def _columns(contents: Contents) -> tuple[list[str], list[_Column]]:
    """Names of the coordinate columns, and the others taken apart."""
    names = list(contents.entries)
    dimension = str(contents.attributes.get("Dimension", ""))
    plain = next((i for i, name in enumerate(names) if "@" in name or " (" in name), len(names))
    count = int(dimension) if dimension in ("1", "2", "3") else plain
    columns = [column for name in names[count:] if (column := _column(name)) is not None]
    return names[:count], columns


def _column(path: str) -> _Column | None:
    match = _COLUMN.fullmatch(path)
    if match is None:
        return None
    time, parameters = None, []
    for part in (match["solution"] or "").split(","):
        key, mark, value = part.partition("=")
        number = _number(value)
        if not mark or number is None:
            continue
        if key.strip().lower() in ("t", "time"):
            time = number
        else:
            parameters.append((key.strip(), number))
    return _Column(path, match["name"], match["units"] or "", time, tuple(parameters))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _field(
    contents: Contents,
    own: Sequence[_Column],
    times: Sequence[float],
    solutions: Sequence[tuple[tuple[str, float], ...]],
) -> xr.Variable:
    """The columns of one expression as (sample, time, point), as far as it has them."""
    found = {(column.parameters, column.time): column.path for column in own}
    rows = solutions if any(column.parameters for column in own) else [()]
    steps: Sequence[float | None] = times if any(column.time is not None for column in own) else [None]
    missing = next(((row, step) for row in rows for step in steps if (row, step) not in found), None)
    if missing is not None or len(found) != len(own):
        what = "two columns of one solution" if missing is None else f"no column for t={missing[1]} {dict(missing[0])}"
        raise LayoutError(
            f"{contents.path}: {own[0].name!r} has {what}; export every expression at the same times and parameters"
        )
    paths = [[found[row, step] for step in steps] for row in rows]
    dims = ("sample" if rows != [()] else None, "time" if steps != [None] else None, "point")
    field = stacked(contents, paths, dims)
    if own[0].units not in ("", "1"):
        field.attrs["units"] = own[0].units
    return field
