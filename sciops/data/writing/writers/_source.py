"""A data set of which a layout takes what it has a place for; what is left is refused by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.conventions import channel_dim, field_names, grid_of, origin, sample_dim, space_dims, time_dim
from sciops.data.conventions.attributes import text
from sciops.data.domains.domain import Grid
from sciops.data.writing.encoding import attribute, check_names
from sciops.data.writing.writers._plan import Array
from sciops.errors import DomainError, InputError, did_you_mean

__all__ = ["Source"]

_KEPT = ("units", "long_name", "description")


class Source:
    """A data set that is to be written in a layout.

    Parameters
    ----------
    ds
        The data set.
    path
        The file to write, for messages.
    layout
        Name of the layout, for messages.

    Attributes
    ----------
    sample, time : str or None
        Names of the sample and the time dimension.

    Raises
    ------
    InputError
        If a field stands on no grid, or holds what is no number.

    Examples
    --------
    >>> ds = xr.Dataset({"u": (("sample", "x"), np.ones((2, 3))), "nu": 0.5}, {"x": [0.0, 1.0, 2.0]})
    >>> source = Source(ds, Path("run.h5"), "mine")
    >>> source.array("u", ("sample", "x")).shape, source.numbers(["nu"])
    ((2, 3), {'nu': 0.5})
    """

    def __init__(self, ds: xr.Dataset, path: Path, layout: str) -> None:
        self.ds, self.path, self.layout = ds, path, layout
        self.sample, self.time = sample_dim(ds), time_dim(ds)
        self._taken: set[str] = set()
        check_names(ds.variables, path)
        for name, variable in ds.variables.items():
            if variable.dtype.kind == "c":
                raise self.error(f"{name!r} is complex, which it does not hold", "write .real and .imag as two")
            if variable.dtype.kind not in "biuf" and name in ds.data_vars:
                raise self.error(f"{name!r} has the dtype {variable.dtype}, it holds numbers alone", self.drop(name))
        for name in field_names(ds):
            self.grid(name)

    def error(self, what: str, remedy: str) -> InputError:
        """The error that says in one line why a data set does not fit the layout."""
        return InputError(f"{self.path}: {what} ({self.layout!r}); {remedy}")

    def drop(self, name: Any) -> str:
        """The remedy for what there is no place for."""
        return f"leave it out by ds.drop_vars({str(name)!r}) (--drop {name}), or write another layout"

    def grid(self, name: str) -> Grid:
        """The grid of a field."""
        try:
            return grid_of(self.ds, name)
        except DomainError as error:
            told = str(error).removeprefix(f"{origin(self.ds)}: ")
            raise self.error(f"the layout holds fields on grids, and {told}", "or write the native layout") from None

    def dims(self, wanted: Sequence[str | None]) -> tuple[str | None, ...]:
        """The names in the data set of dimensions called sample and time here."""
        known = {"sample": self.sample or "sample", "time": self.time or "time"}
        return tuple(dim if dim is None else known.get(dim, dim) for dim in wanted)

    def array(
        self, name: str, wanted: Sequence[str | None], attributes: Mapping[str, Any] | None = None, **more: Any
    ) -> Array:
        """A variable that must be there, with exactly these dimensions; None stands for an axis of length 1."""
        self.require(name)
        dims = self.dims(wanted)
        held = [dim for dim in dims if dim is not None]
        found = self.ds[name].dims
        if set(found) != set(held):
            raise self.error(
                f"{name!r} has the dimensions ({', '.join(map(str, found))}), it needs ({', '.join(held)})",
                "rename dimensions by ds.rename (--rename), choose along others by ds.isel, add by ds.expand_dims",
            )
        self._taken.add(name)
        kept = {key: attribute(self.ds[name].attrs[key]) for key in _KEPT if key in self.ds[name].attrs}
        marks = {**kept, **(attributes or {})}
        return Array(self.ds.variables[name], dims, attributes=marks, source=origin(self.ds), **more)

    def line(self, wanted: str) -> Any:
        """The coordinates of a dimension, numbers."""
        (dim,) = self.dims((wanted,))
        if dim not in self.ds.coords:
            raise self.error(
                f"dimension {dim!r} has no coordinates, which it needs", f"give some by ds.assign_coords({dim}=...)"
            )
        values = self.ds[dim].values
        if values.dtype.kind not in "iuf":
            raise self.error(
                f"the coordinates {dim!r} have the dtype {values.dtype}, it needs numbers",
                f"such as seconds, by ds.assign_coords({dim}=(ds.{dim} - ds.{dim}[0]) / np.timedelta64(1, 's'))",
            )
        self._taken.add(str(dim))
        return values

    def numbers(self, names: Sequence[str]) -> dict[str, float]:
        """Those parameters of these names that there are, one number for the whole file."""
        found = {}
        for name in names:
            if name not in self.ds.data_vars:
                continue
            if self.ds[name].dims:
                raise self.error(
                    f"the parameter {name!r} varies along {', '.join(map(str, self.ds[name].dims))}, it has one for "
                    f"the whole file",
                    f"write a file for each value, such as ds.sel({self.sample or 'sample'}=ds[{name!r}] == value)",
                )
            self._taken.add(name)
            found[name] = self.ds[name].values.item()
        return found

    def take(self, name: str) -> xr.DataArray:
        """A variable or coordinate that the layout has a place for."""
        self._taken.add(name)
        return self.ds[name]

    def require(self, name: str) -> None:
        """Refuse a data set without this variable."""
        if name not in self.ds.data_vars:
            hint = did_you_mean(name, map(str, self.ds.data_vars))
            raise self.error(
                f"it needs a variable {name!r}{hint}", f"rename one by ds.rename(u={name!r}) (--rename u={name})"
            )

    def space(self, name: str) -> tuple[str, ...]:
        """The space dimensions of a variable, which must be there."""
        self.require(name)
        return space_dims(self.ds, name)

    def channel(self, name: str) -> str | None:
        """The channel dimension of a variable."""
        return channel_dim(self.ds, name)

    def boundary(self, name: str) -> dict[str, list[str]]:
        """The boundary conditions of a field by dimension, the lower and the upper one; one word is that of all."""
        given = self.ds[name].attrs.get("boundary_conditions")
        found = _conditions(given)
        if isinstance(found, str):
            found = dict.fromkeys(self.space(name), found) if found else {}
        ends = {dim: [kind, kind] if isinstance(kind, str) else kind for dim, kind in (found or {}).items()}
        if found is None or not all(_is_pair(pair) for pair in ends.values()):
            raise self.error(
                f"{name!r} has boundary_conditions={str(given)[:60]!r}, neither a word nor by dimension a word or two",
                f"set ds[{name!r}].attrs['boundary_conditions'] to one such as 'wall' or {{'x': ['wall', 'open']}}, "
                f"or delete it",
            )
        return {str(dim): [kind.strip().lower() for kind in pair] for dim, pair in ends.items()}

    def check_rest(self) -> None:
        """Refuse what the layout did not take.

        Raises
        ------
        InputError
            Names the first variable or coordinate and says how to leave it out.
        """
        for name, variable in self.ds.variables.items():
            counts = name == self.sample and np.array_equal(variable.values, np.arange(variable.size))
            if name not in self._taken and not counts:
                what = "coordinate" if name in self.ds.coords else "variable"
                dims = ", ".join(map(str, variable.dims))
                raise self.error(f"it has no place for the {what} {name!r} ({dims})", self.drop(name))


def _conditions(given: Any) -> Mapping[Any, Any] | str | None:
    """Boundary conditions as a mapping or one word, whichever way an attribute holds them; None where it is neither."""
    if given is None or isinstance(given, Mapping):
        return given or {}
    if not isinstance(given, str | bytes):
        return None
    words = text(given).strip()
    try:
        found = json.loads(words)
    except (ValueError, RecursionError):
        return words if words.replace("-", "_").isidentifier() or not words else None
    return found if isinstance(found, dict | str) else None


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(kind, str) for kind in pair)
