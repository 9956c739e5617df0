"""Lazy arrays made of lazy arrays: stacked, joined, with two axes flattened, negated. Only what is indexed is read."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from sciops.data.layouts import Contents
from sciops.data.reading.containers import Array
from sciops.errors import LayoutError

__all__ = ["concatenated", "flattened", "negated", "renamed", "stacked"]

Dims = Sequence[str | None]


def stacked(contents: Contents, names: Any, dims: Dims) -> xr.Variable:
    """Arrays of one shape as one variable with leading axes that count them; reading one entry touches its array alone.

    Parameters
    ----------
    contents
        The file.
    names
        Names of the arrays, nested as the leading axes are.
    dims
        Names of the leading axes and of those of the arrays; None drops an axis of length 1.

    Raises
    ------
    LayoutError
        If the arrays differ in shape or dtype; the message names the first that does.
    """
    grid = np.asarray(names, dtype=object)
    first = contents.entries[grid.flat[0]]
    for name in grid.flat:
        entry = contents.entries[name]
        if (entry.shape, entry.dtype) != (first.shape, first.dtype):
            raise LayoutError(
                f"{contents.path}: {name!r} has shape {entry.shape} and dtype {entry.dtype}, {grid.flat[0]!r} has "
                f"{first.shape} and {first.dtype}; declare those that fit together by dims="
            )
    parts = np.empty(grid.shape, dtype=object)
    for i, name in enumerate(grid.flat):
        parts.flat[i] = contents.lazy(name)
    return _variable(_Stacked(parts, first.shape, first.dtype), dims, [1] * grid.ndim)


def concatenated(contents: Contents, names: Sequence[str], dims: Dims) -> xr.Variable:
    """Arrays joined along their first axis as one variable.

    Raises
    ------
    LayoutError
        If the arrays differ beyond their first axis.
    """
    entries = [contents.entries[name] for name in names]
    for name, entry in zip(names, entries, strict=True):
        if (entry.shape[1:], entry.dtype) != (entries[0].shape[1:], entries[0].dtype):
            raise LayoutError(
                f"{contents.path}: {name!r} has shape {entry.shape} and dtype {entry.dtype}, {names[0]!r} has "
                f"{entries[0].shape} and {entries[0].dtype}; declare one of them by dims="
            )
    lengths = [entry.shape[0] for entry in entries]
    return _variable(_Joined([contents.lazy(name) for name in names], lengths, entries[0]), dims, [])


def flattened(array: Any, axis: int, dims: Dims) -> xr.Variable:
    """A lazy array with the axes ``axis`` and ``axis + 1`` made one, row by row: the components of a tensor.

    Examples
    --------
    >>> flattened(np.arange(8).reshape(2, 2, 2), 0, ("channel", "x"))[2].values.tolist()
    [4, 5]
    """
    return _variable(_Flattened(array, axis), dims, [])


def negated(array: Any, dims: Dims) -> xr.Variable:
    """The logical negation of a lazy array.

    Examples
    --------
    >>> negated(np.array([0, 1, 1]), ("x",)).values.tolist()
    [True, False, False]
    """
    return _variable(_Negated(array), dims, [])


def renamed(variable: xr.Variable, names: Mapping[str, str]) -> xr.Variable:
    """A variable with other names of dimensions, as lazy as it was.

    Examples
    --------
    >>> renamed(xr.Variable(("a", "b"), np.zeros((1, 2))), {"a": "x"}).dims
    ('x', 'b')
    """
    dims = [names.get(str(dim), str(dim)) for dim in variable.dims]
    return xr.Variable(dims, variable._data, variable.attrs, fastpath=True)


def _variable(array: _Outer, dims: Dims, chunks: Sequence[int]) -> xr.Variable:
    names = [f"dropped {i}" if dim is None else dim for i, dim in enumerate(dims)]
    encoding = {"preferred_chunks": dict(zip(names, (*chunks, *array.shape[len(chunks) :]), strict=True))}
    lazy = indexing.LazilyIndexedArray(array)
    variable = xr.Variable(names, lazy, None, encoding if chunks else {}, fastpath=True)
    return variable.isel({name: 0 for name, dim in zip(names, dims, strict=True) if dim is None})


def _take(array: Any, key: tuple[Any, ...]) -> Array:
    """Entries of a lazy array, each axis indexed by itself."""
    return np.asarray(xr.Variable([str(axis) for axis in range(len(key))], array, fastpath=True)[key].values)


class _Outer(BackendArray, ABC):
    """An array read by `_read` with one integer, slice or vector for each axis."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.shape, self.dtype = shape, np.dtype(dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    @abstractmethod
    def _read(self, key: tuple[Any, ...]) -> Any: ...

    def _nothing(self, key: tuple[Any, ...]) -> Any:
        """The result where no entry is asked for, found without memory for the whole array."""
        return _take(np.broadcast_to(np.zeros((), self.dtype), self.shape), key)


class _Stacked(_Outer):
    def __init__(self, parts: Any, shape: tuple[int, ...], dtype: Any) -> None:
        super().__init__((*parts.shape, *shape), dtype)
        self.parts = parts

    def _read(self, key: tuple[Any, ...]) -> Any:
        lead = self.parts.ndim
        positions = [np.arange(n)[k] for n, k in zip(self.parts.shape, key[:lead], strict=True)]
        chosen = self.parts[np.ix_(*map(np.atleast_1d, positions))]
        if not chosen.size:
            return self._nothing(key)
        values = [_take(part, key[lead:]) for part in chosen.flat]
        kept = tuple(position.size for position in positions if np.ndim(position))
        return np.stack(values).reshape(kept + values[0].shape)


class _Joined(_Outer):
    def __init__(self, parts: Sequence[Any], lengths: Sequence[int], entry: Any) -> None:
        super().__init__((sum(lengths), *entry.shape[1:]), entry.dtype)
        self.parts = list(parts)
        self.starts = np.cumsum([0, *lengths[:-1]])

    def _read(self, key: tuple[Any, ...]) -> Any:
        positions = np.arange(self.shape[0])[key[0]]
        owners = np.searchsorted(self.starts, positions, side="right") - 1
        if not np.ndim(positions):
            return _take(self.parts[owners], (int(positions - self.starts[owners]), *key[1:]))
        result = self._nothing(key)
        result = result if result.flags.writeable else result.copy()
        for owner in np.unique(owners):
            mine = owners == owner
            result[mine] = _take(self.parts[owner], (positions[mine] - self.starts[owner], *key[1:]))
        return result


class _Flattened(_Outer):
    def __init__(self, array: Any, axis: int) -> None:
        shape = array.shape
        super().__init__((*shape[:axis], math.prod(shape[axis : axis + 2]), *shape[axis + 2 :]), array.dtype)
        self.array, self.axis = array, axis

    def _read(self, key: tuple[Any, ...]) -> Any:
        axis = self.axis
        values = _take(self.array, (*key[:axis], slice(None), slice(None), *key[axis + 1 :]))
        at = sum(not isinstance(k, int | np.integer) for k in key[:axis])
        merged = values.reshape(*values.shape[:at], self.shape[axis], *values.shape[at + 2 :])
        return merged[(slice(None),) * at + (key[axis],)]


class _Negated(_Outer):
    def __init__(self, array: Any) -> None:
        super().__init__(array.shape, bool)
        self.array = array

    def _read(self, key: tuple[Any, ...]) -> Any:
        return ~_take(self.array, key).astype(bool)
