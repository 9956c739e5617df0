"""What a file of another package holds, and writing it in blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
import xarray as xr

from sciops.data.reading.filters import Compression
from sciops.data.writing.chunks import chosen_chunks
from sciops.data.writing.copying import copy_blocks
from sciops.data.writing.encoding import chunk_shape
from sciops.data.writing.sink import Sink
from sciops.data.writing.target import Target

__all__ = ["Array", "Plan", "write_plan"]

_WRITE_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError)


@dataclass(frozen=True)
class Array:
    """One array of a file.

    Parameters
    ----------
    values
        Its values, lazy.
    dims
        The dimensions of the values in the order of the file; None is an axis of length 1 that they do not have.
    last, becomes
        How many of the last axes change together, and the shape that they have in the file: one axis of 4 components
        becomes (2, 2), the axes of a face one of all its nodes.
    attributes
        Its attributes.
    change
        What is done to each block of values.
    source
        Where the values come from, for messages.
    at
        Where to stay along dimensions that are not among `dims`.
    """

    values: xr.Variable
    dims: tuple[Any, ...]
    last: int = 0
    becomes: tuple[int, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    change: Callable[[Any], Any] | None = None
    source: str = ""
    at: Mapping[Any, int] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in the file."""
        sizes = [1 if dim is None else self.values.sizes[dim] for dim in self.dims]
        return (*sizes[: len(sizes) - self.last], *self.becomes)


@dataclass(frozen=True)
class Plan:
    """The arrays of a file by path, and the attributes of its root and its groups.

    Parameters
    ----------
    arrays
        Arrays, or values that are at hand.
    attributes
        Of the root.
    groups
        Attributes of groups by path; those without arrays are created too.
    """

    arrays: Mapping[str, Array | Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    groups: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def write_plan(plan: Plan, target: Target, *, chunks: Mapping[str, int], compression: Compression) -> None:
    """Write a file as planned, complete or not at all.

    Raises
    ------
    DataError
        If it cannot be written.
    """
    options = compression.hdf5()
    sink: Sink | None = None
    file: h5py.File | None = None

    def discard() -> None:
        with contextlib.suppress(*_WRITE_ERRORS):
            if file is not None:
                file.close()
        if sink is not None:
            sink.close()
        target.discard()

    with target.cleaned(discard):
        sink = Sink(target.temporary)
        file = h5py.File(sink, "w")
        file.attrs.update(plan.attributes)
        for path, attributes in plan.groups.items():
            file.require_group(path).attrs.update(attributes)
        for path, array in plan.arrays.items():
            if isinstance(array, Array):
                _copy(file, path, array, chunks, options, target)
            else:
                file.create_dataset(path, data=np.asarray(array))
            sink.check()
        file.close()
        sink.check()
        sink.close()
        target.publish()


def _copy(
    file: h5py.File, path: str, array: Array, chunks: Mapping[str, int], options: Mapping[str, Any], target: Target
) -> None:
    shape, dtype = array.shape, array.values.dtype.newbyteorder("=")
    free = len(array.dims) - array.last
    names = [*array.dims[:free], *(None for _ in array.becomes)]
    found = chosen_chunks(path, names, shape, dtype.itemsize, chunks, target.path)
    if found is None and options and shape and 0 not in shape:
        found = chunk_shape(shape, dtype.itemsize, 0) or shape
    made = file.create_dataset(path, shape, dtype, chunks=found, **(options if found else {}))
    made.attrs.update(array.attributes)
    held = tuple(dim for dim in array.dims if dim is not None)
    some = [size for size, dim in zip((found or (1,) * free)[:free], array.dims, strict=False) if dim is not None]
    kept = [*some, *(array.values.sizes[dim] for dim in array.dims[free:])]
    name = path.rpartition("/")[2]
    for where, values in copy_blocks(array.values, held, dtype, tuple(kept), array.source, name, array.at):
        left = list(where)
        place = [slice(0, 1) if dim is None else left.pop(0) for dim in array.dims[:free]]
        place += [slice(0, size) for size in array.becomes]
        values = values if array.change is None else array.change(values)
        made[tuple(place) or ...] = values.reshape([piece.stop - piece.start for piece in place])
