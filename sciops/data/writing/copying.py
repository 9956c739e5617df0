"""Reading a lazy variable block by block, in another order of dimensions, within bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends.locks import HDF5_LOCK

from sciops.data.reading.blocks import block_shape, blocks
from sciops.data.reading.containers import Array, reading
from sciops.data.reading.placement import Placement, placement

__all__ = ["copy_blocks"]

_BLOCK_BYTES = 32 << 20
_WRAPPERS = ("CopyOnWriteArray", "MemoryCachedArray")


def copy_blocks(
    variable: xr.Variable,
    dims: tuple[Any, ...],
    dtype: np.dtype[Any],
    chunks: tuple[int, ...] | None,
    source: str,
    name: str,
    at: Mapping[Any, int] | None = None,
) -> Iterator[tuple[tuple[slice, ...], Array]]:
    """The values of a lazy variable with the dimensions in another order, block by block with their places.

    Parameters
    ----------
    variable
        The variable.
    dims
        The order wanted.
    dtype, chunks
        Of the array that they are written to.
    source, name
        Where they are read from, for messages.
    at
        Where to stay along the dimensions that are not among `dims`.

    Yields
    ------
    tuple of (tuple of slice, ndarray)

    Examples
    --------
    >>> variable = xr.Variable(("x", "y"), [[1, 2, 3], [4, 5, 6]])
    >>> [(where, values.tolist()) for where, values in copy_blocks(variable, ("y", "x"), variable.dtype, None, "", "u")]
    [((slice(0, 3, None), slice(0, 2, None)), [[1, 4], [2, 5], [3, 6]])]
    """
    shape = tuple(variable.sizes[dim] for dim in dims)
    preferred: Mapping[Any, Any] = variable.encoding.get("preferred_chunks") or {}
    stored = [_first(preferred.get(dim, 1)) for dim in dims]
    itemsize = max(dtype.itemsize, variable.dtype.itemsize)
    size = block_shape(shape, itemsize, _BLOCK_BYTES, target=chunks, source=stored if preferred else None)
    place = placement(variable) if _transposed(variable) else None
    still = {dim: slice(index, index + 1) for dim, index in (at or {}).items()}
    for where in blocks(shape, size):
        chosen = still | dict(zip(dims, where, strict=True))
        with reading(Path(source), name):
            if place is not None:
                values = _stored(place, chosen).reshape([part.stop - part.start for part in where])
            else:
                # transposed once it is read: what is still lazy would index a transposed array point by point
                part = variable.isel(chosen).isel(dict.fromkeys(still, 0))
                values = part.values.transpose([part.dims.index(dim) for dim in dims])
        yield where, values


def _first(chunk: Any) -> int:
    """Chunks are lengths, or in dask's way a tuple of all lengths."""
    return int(chunk[0] if isinstance(chunk, tuple | list) else chunk)


def _transposed(variable: xr.Variable) -> bool:
    """Whether xarray would index the storage point by point, with an array of indices for each axis."""
    data: Any = variable._data
    while type(data).__name__ in _WRAPPERS:
        data = data.array
    return type(data).__name__ == "LazilyVectorizedIndexedArray"


def _stored(place: Placement, chosen: Mapping[Any, slice]) -> Array:
    """A block of a variable, read by slices of its data set in the order of the file."""
    key: list[int | slice] = []
    for axis in place.axes:
        if axis.dim is None:
            key.append(axis.start)
            continue
        part = chosen[axis.dim]
        start = axis.start + axis.step * part.start
        key.append(slice(start, start + axis.step * (part.stop - part.start - 1) + 1, axis.step))
    with HDF5_LOCK:
        file = place.acquire()
        if place.stacked:
            names = np.asarray(place.names)[key[0]]
            parts = [file[str(each)][tuple(key[1:])] for each in np.atleast_1d(names)]
            values = np.stack(parts) if isinstance(key[0], slice) else np.asarray(parts[0])
        else:
            values = np.asarray(file[place.names[0]][tuple(key)])
    named = [axis.dim for axis in place.axes if axis.dim is not None]
    order = [named.index(dim) for dim in chosen if dim in named]
    decoded = place.decode(values).transpose(order)  # a dimension of length 1 may be missing
    return np.asarray(decoded)
