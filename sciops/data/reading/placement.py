"""Where the values of a lazy variable lie in an HDF5 file: found through what xarray wraps around it.

xarray answers every index by a chain of wrappers, and each costs as much time as reading a small sample. What the chain
says is read off once: the data set in the file, how its axes map to those of the variable, and which functions decode
its values. The functions are applied as they are, so that values are the same to the last bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import CachingFileManager
from xarray.backends.locks import HDF5_LOCK
from xarray.core import indexing

from sciops.data.reading.shards import JoinedArray
from sciops.data.reading.storage import StoredArray

__all__ = ["Placement", "StoredAxis", "joined_parts", "placement"]

Decoder = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class StoredAxis:
    """An axis of the stored array: entries ``start, start + step, ...`` are those of a dimension of the variable.

    Parameters
    ----------
    dim
        The dimension; None where the variable has a single entry, `start`, of the axis.
    start, step, count
        Entries that the variable has.
    size
        Entries that the file has.

    Examples
    --------
    >>> StoredAxis("x", start=2, step=1, count=5, size=9).whole
    False
    """

    dim: str | None
    start: int
    step: int
    count: int
    size: int

    @property
    def whole(self) -> bool:
        """Whether the variable has the axis as it is stored."""
        return self.count == self.size and (self.count == 1 or (self.start == 0 and self.step == 1))


@dataclass(frozen=True)
class Placement:
    """Where a variable lies.

    Parameters
    ----------
    acquire
        Gives the open file; another process opens it for itself.
    path
        The file, for messages.
    names
        Its data sets; the first axis counts them where `stacked`.
    axes
        The axes in the order of the file.
    dtype
        Type of the stored values.
    decoders
        What xarray applies to the stored values, first to last.
    stacked
        Whether there is a data set for each entry of the first axis.

    Examples
    --------
    >>> axis = StoredAxis("x", start=0, step=1, count=3, size=3)
    >>> place = Placement(lambda: None, Path("a.h5"), ("u",), (axis,), np.dtype("i2"), (lambda values: values * 0.5,))
    >>> place.shape, place.decode(np.arange(3, dtype="i2")).tolist()
    ((3,), [0.0, 0.5, 1.0])
    """

    acquire: Callable[[], h5py.File]
    path: Path
    names: tuple[str, ...]
    axes: tuple[StoredAxis, ...]
    dtype: np.dtype[Any]
    decoders: tuple[Decoder, ...] = ()
    stacked: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of each data set."""
        return tuple(axis.size for axis in self.axes)[int(self.stacked) :]

    def decode(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values of the variable for stored ones."""
        for decoder in self.decoders:
            values = np.asarray(decoder(values))
        return values


def placement(variable: xr.Variable) -> Placement | None:
    """Where a lazy variable lies in an HDF5 file; None for all else, which xarray reads.

    Parameters
    ----------
    variable
        A variable of `sciops.data.open`, or of `xarray.open_dataset` with the engine ``h5netcdf``; it may be
        transposed and indexed by numbers and slices.

    Examples
    --------
    >>> placement(xr.Variable(("x",), np.zeros(3))) is None
    True
    """
    data: Any = variable._data
    decoders: list[Decoder] = []
    # Some of the wrappers are private to xarray: they are told by name, and an unknown one ends the search.
    while (kind := type(data).__name__) in _WRAPPERS:
        data = _WRAPPERS[kind](data, decoders)
    if kind not in ("LazilyIndexedArray", "LazilyVectorizedIndexedArray"):
        return None
    array = data.array
    found = _of_stored(array) or _of_stacked(array) or _of_h5netcdf(array)
    axes = _axes(data.key, array.shape, variable)
    if found is None or axes is None:
        return None
    acquire, path, names, dtype, reverse = found
    order = slice(None, None, -1 if reverse else 1)
    return Placement(
        acquire, path, names, axes[order], dtype, tuple(decoders[::-1]), type(array).__name__ == "_Stacked"
    )


def joined_parts(
    variable: xr.Variable, sample: str | None
) -> tuple[NDArray[np.int64], list[xr.Variable], str | None] | None:
    """The variables of a data set in many files that are joined along the samples.

    Parameters
    ----------
    variable
        A variable of `sciops.data.open` for many files, not indexed.
    sample
        Its sample dimension.

    Returns
    -------
    tuple or None
        The first sample of each part, the parts, and their own sample dimension, None where each is one sample. None
        for any other variable.

    Examples
    --------
    >>> joined_parts(xr.Variable(("x",), np.zeros(3)), None) is None
    True
    """
    data = variable._data
    if not isinstance(data, indexing.LazilyIndexedArray) or not isinstance(data.array, JoinedArray):
        return None
    array = data.array
    if sample is None or variable.dims[0] != sample or any(key != slice(None) for key in data.key.tuple):
        return None
    return array.starts, array.parts, sample if array.joined else None


def _inner(data: Any, decoders: list[Decoder]) -> Any:
    return data.array


def _elementwise(data: Any, decoders: list[Decoder]) -> Any:
    decoders.append(data.func)
    return data.array


def _converted(data: Any, decoders: list[Decoder]) -> Any:
    decoders.append(functools.partial(np.ndarray.astype, dtype=data.dtype, copy=False))
    return data.array


_WRAPPERS: dict[str, Callable[[Any, list[Decoder]], Any]] = {
    "CopyOnWriteArray": _inner,
    "MemoryCachedArray": _inner,
    "_ElementwiseFunctionArray": _elementwise,
    "NativeEndiannessArray": _converted,
    "BoolTypeArray": _converted,
}
_Found = tuple[Callable[[], h5py.File], Path, tuple[str, ...], np.dtype[Any], bool]


def _of_stored(array: Any) -> _Found | None:
    if not isinstance(array, StoredArray) or not array.on_disk or array.dtype.kind not in "biuf":
        return None
    acquire = functools.partial(array.manager.acquire, needs_lock=False)
    return acquire, array.path, (array.name,), array.dtype, array.reverse


def _of_stacked(array: Any) -> _Found | None:
    """An array whose first axis counts data sets, each of them whole."""
    if type(array).__name__ != "_Stacked" or array.parts.ndim != 1:
        return None
    parts = [part.array for part in array.parts]
    first = _of_stored(parts[0])
    same = first is not None and all(
        isinstance(part, StoredArray) and part.on_disk and not part.reverse and part.manager is parts[0].manager
        for part in parts
    )
    whole = all(key == slice(None) for part in array.parts for key in part.key.tuple)
    return (*first[:2], tuple(part.name for part in parts), *first[3:]) if first and same and whole else None


def _of_h5netcdf(array: Any) -> _Found | None:
    kinds = {base.__name__ for base in type(array).__mro__}
    if "H5NetCDFArrayWrapper" not in kinds or array.dtype.kind not in "biuf":
        return None
    path, group = Path(str(array.datastore._filename)), array.datastore._group or ""
    if not path.is_file():
        return None
    manager = CachingFileManager(h5py.File, str(path), mode="r", lock=HDF5_LOCK)
    acquire = functools.partial(manager.acquire, needs_lock=False)
    return acquire, path, (f"{group.strip('/')}/{array.variable_name}".strip("/"),), np.dtype(array.dtype), False


def _axes(key: Any, shape: tuple[int, ...], variable: xr.Variable) -> tuple[StoredAxis, ...] | None:
    """The axes of an array indexed by `key`, if they are those of the variable, each by itself and evenly."""
    axes: list[StoredAxis] = []
    position, together = 0, isinstance(key, indexing.VectorizedIndexer)
    if together and any(isinstance(part, slice) for part in key.tuple):
        return None  # its dimensions come after those of the arrays
    for part, size in zip(key.tuple, shape, strict=True):
        if isinstance(part, slice):
            entries = range(size)[part]
            dim = str(variable.dims[position])
            axes.append(StoredAxis(dim, entries.start, entries.step, len(entries), size))
            position += 1
        elif isinstance(part, int | np.integer):
            axes.append(StoredAxis(None, int(part) % size, 1, 1, size))
        else:
            # arrays of a vectorised key have all dimensions of the variable, else each is one of them
            along = [axis for axis, length in enumerate(part.shape) if length != 1] if together else [position]
            values = part.reshape(-1)
            step = int(values[1] - values[0]) if len(values) > 1 else 1
            if len(along) > 1 or not len(values) or step < 1 or (np.diff(values) != step).any():
                return None
            dim_or_none = str(variable.dims[along[0]]) if along else None
            axes.append(StoredAxis(dim_or_none, int(values[0]), step, len(values), size))
            position += not together
    named = [axis.dim for axis in axes if axis.dim is not None]
    lengths = {dim: length for dim, length in zip(variable.dims, variable.shape, strict=True) if length != 1}
    fits = set(lengths) <= set(named) and len(set(named)) == len(named) and all(axis.step > 0 for axis in axes)
    return tuple(axes) if fits else None
