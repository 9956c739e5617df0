"""Data on the boundary: variables on a face of a grid as channels on all its nodes, or on points of their own."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sciops.data.conventions import origin, space_dims, time_dim
from sciops.data.conventions.attributes import text
from sciops.data.functions.selection import Channel
from sciops.data.functions.stacking import Stacking, spread_over
from sciops.errors import DataError, InputError


@dataclass(frozen=True)
class Face:
    """A variable on a face of a grid: its channels on all nodes, and one that is 1 on the face.

    Parameters
    ----------
    name
        Name in the file.
    axis, end
        Number of the axis that it lacks, and the index of the face along it: 0 or -1.
    dims
        Its space dimensions.
    stacking
        Its channels.

    Examples
    --------
    >>> from sciops.data.functions.windows import Windows
    >>> Face("inflow", 0, -1, ("y",), Stacking((), Windows())).channels[-1].name
    'face of inflow'
    """

    name: str
    axis: int
    end: int
    dims: tuple[str, ...]
    stacking: Stacking

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What the channels are."""
        return (*self.stacking.channels, Channel(self.name, face=True))

    def stacked(
        self,
        values: Mapping[str, NDArray[Any]],
        space: Sequence[str],
        shape: Sequence[int],
        dtype: type[np.floating[Any]],
    ) -> NDArray[Any]:
        """The channels (b, channel, *shape) of what was read."""
        across = [dim for axis, dim in enumerate(space) if axis != self.axis]
        extent = [size for axis, size in enumerate(shape) if axis != self.axis]
        sizes = [size for dim, size in zip(across, extent, strict=True) if dim in self.dims]
        whole = spread_over(self.stacking.stacked(values, sizes, dtype), self.dims, across, extent)
        return on_face(whole, self.axis, self.end, shape[self.axis])

    def mark(self, channel: Tensor) -> None:
        """Set the channel (b, *shape) that marks the face, whose node may be among those left out."""
        channel.zero_().select(1 + self.axis, self.end).fill_(1)


def face_of(ds: xr.Dataset, name: str) -> tuple[str, int]:
    """The axis that a variable on a face of a grid lacks, and the index of the face along it: 0 or -1.

    The attribute ``face`` says it, as JSON text or a pair: ``["x", "lower"]`` or ``["x", "upper"]``.

    Raises
    ------
    InputError
        If the attribute is missing or says something else.

    Examples
    --------
    >>> ds = xr.Dataset({"inflow": (("sample", "y"), np.zeros((2, 3)), {"face": ["x", "lower"]})})
    >>> face_of(ds, "inflow")
    ('x', 0)
    """
    given = ds[name].attrs.get("face")
    value: Any = given
    if isinstance(given, str | bytes) and text(given).lstrip().startswith("["):
        try:
            value = json.loads(text(given))
        except ValueError:
            value = None
    elif isinstance(given, str | bytes):
        value = text(given).split()
    parts = [] if value is None else [text(part) for part in np.ravel(np.asarray(value, dtype=object))]
    if len(parts) != 2 or parts[1] not in ("lower", "upper"):
        raise InputError(
            f"{origin(ds)}: boundary variable {name!r} has the attribute face={given!r}; say on which face it stands, "
            f"for example ds[{name!r}].attrs['face'] = ['x', 'lower']"
        )
    return parts[0], 0 if parts[1] == "lower" else -1


def boundary_kinds(ds: xr.Dataset, names: Sequence[str], space: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Boundary variables on faces of a grid with these dimensions, and those on points of their own.

    Raises
    ------
    DataError
        If a variable has no time and space that fit.
    InputError
        If a face does not fit the dimensions of its variable.

    Examples
    --------
    >>> ds = xr.Dataset({"wall": (("sample", "p"), np.zeros((2, 3)))}, attrs={"point_dims": ["p"]})
    >>> boundary_kinds(ds, ["wall"], ["x", "y"])
    ((), ('wall',))
    """
    faces, points = [], []
    for name in names:
        dims = space_dims(ds, name)
        if set(dims) < set(space) and (dims or "face" in ds[name].attrs):
            axis, _ = face_of(ds, name)
            if axis not in space or axis in dims:
                raise InputError(
                    f"{origin(ds)}: boundary variable {name!r} on the face of {axis!r} has the dimensions "
                    f"{ds[name].dims}; expected those of space ({', '.join(space)}) without {axis!r}"
                )
            faces.append(name)
        elif dims and not set(dims) & set(space):
            if time_dim(ds) in ds[name].dims:
                raise DataError(
                    f"{origin(ds)}: boundary variable {name!r} on points has a time dimension, {ds[name].dims}; give "
                    f"one frame of it, or one variable for each"
                )
            points.append(name)
        else:
            role = "those of the whole domain; name it in inputs=" if dims else "none in space; name it in parameters="
            raise DataError(f"{origin(ds)}: boundary variable {name!r} has the dimensions {ds[name].dims}, {role}")
    return tuple(faces), tuple(points)


def on_face(values: NDArray[Any], axis: int, index: int, size: int) -> NDArray[Any]:
    """Values (b, channel, *face) as channels on the whole grid, the last one 1 on the face and 0 elsewhere.

    The values are the same all along the axis that the face lacks, so that every node sees those of the face before it.

    Examples
    --------
    >>> on_face(np.array([[[5.0, 6.0]]]), 0, 0, 3)[0].tolist()
    [[[5.0, 6.0], [5.0, 6.0], [5.0, 6.0]], [[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]]]
    """
    spread = np.repeat(np.expand_dims(values, 2 + axis), size, axis=2 + axis)
    place = np.zeros_like(spread[:, :1])
    place[(slice(None),) * (2 + axis) + (index,)] = 1
    return np.concatenate((spread, place), axis=1)
