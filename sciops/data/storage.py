"""The containers that arrays come in: HDF5, MATLAB, `.npz`, `.pt`, listed without reading and read lazily.

Every container is opened as a mapping of names to arrays through xarray's file cache, so that a lazy variable keeps no
file handle: it pickles, and another process opens the file for itself.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from xarray.backends import BackendArray, CachingFileManager
from xarray.backends.locks import HDF5_LOCK
from xarray.core import indexing

from sciops.data.containers import OPENERS, Array, reading, sniff
from sciops.data.safety import scan_hdf5, walk_hdf5
from sciops.errors import DataError

_LONGEST = 1 << 27
_NOT_NUMBERS = {"cell", "struct", "char", "function_handle", "object", "opaque", "sparse"}


@dataclass(frozen=True)
class Entry:
    """One array of a file: its shape, dtype, attributes and HDF5 chunks; the values are not read."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    chunks: tuple[int, ...] | None = None

    @property
    def numeric(self) -> bool:
        """Whether the values are numbers or booleans."""
        return self.dtype.kind in "biufc"


class Contents:
    """What is in a file: its container, its arrays by name, and the attributes of its root.

    Parameters
    ----------
    path
        The file.
    trust_links
        Let an HDF5 file lead into other files.

    Attributes
    ----------
    container : str
        ``"hdf5"``, ``"matlab"`` (v5), ``"npz"``, ``"torch"``, ``"text"`` or ``"mesh"``.
    entries : dict of str to Entry
        Arrays by their path in the file, without a leading slash.
    attributes : dict
        Attributes of the root of an HDF5 file, or the header of a text.
    matlab : bool
        Whether MATLAB wrote it; the entries of its HDF5 (v7.3) are given in MATLAB's order of axes.

    Raises
    ------
    UnsafeFileError
        If the file holds pickles or links that lead out of it.
    DataError
        If it is none of the containers, or truncated or corrupt.
    """

    def __init__(self, path: Path, *, trust_links: bool = False) -> None:
        self.path = path
        self.trust_links = trust_links
        self.container = sniff(path)
        self.matlab = self.container == "matlab"
        self.attributes: dict[str, Any] = {}
        if self.container == "hdf5":
            scan_hdf5(path, trust_links=trust_links)
        lock = HDF5_LOCK if self.container == "hdf5" else None
        self._manager = CachingFileManager(OPENERS[self.container], str(path), mode="r", lock=lock)
        with reading(path):
            file = self._manager.acquire()
            self.entries = self._hdf5_entries(file) if self.container == "hdf5" else _entries(file)
            if self.container in ("text", "mesh"):
                self.attributes = dict(file.attributes)

    def _hdf5_entries(self, file: h5py.File) -> dict[str, Entry]:
        self.attributes = {name: plain(file.attrs[name]) for name in file.attrs if _readable(file.attrs, name)}
        found = dict(walk_hdf5(file, trust_links=self.trust_links))
        self.self_describing = any(d.attrs.get("CLASS") == b"DIMENSION_SCALE" for d in found.values())
        self.matlab = _has_matlab_header(self.path) or any("MATLAB_class" in d.attrs for d in found.values())
        entries = {}
        for name, dataset in found.items():
            attributes = {key: plain(dataset.attrs[key]) for key in dataset.attrs if _readable(dataset.attrs, key)}
            if self.matlab and attributes.get("MATLAB_class") in _NOT_NUMBERS:
                continue
            order = slice(None, None, -1 if self.matlab else 1)
            shape, chunks = dataset.shape or (), dataset.chunks
            dtype = _complex_dtype(dataset.dtype)
            entries[name] = Entry(shape[order], dtype, attributes, chunks and chunks[order])
        return entries

    self_describing: bool = False
    """Whether an HDF5 file has dimension scales, as every netCDF4 file does."""

    def lazy(self, name: str) -> indexing.LazilyIndexedArray:
        """The array of that name; only what is indexed is read."""
        on_disk = self.container == "hdf5"
        reverse = self.matlab and on_disk
        stored = StoredArray(self._manager, self.path, name, self.entries[name], on_disk=on_disk, reverse=reverse)
        return indexing.LazilyIndexedArray(stored)

    def read(self, name: str) -> Array:
        """All values of the array of that name: for coordinates and parameters.

        Raises
        ------
        DataError
            If the file declares more values than coordinates have.
        """
        self.check_length(name)
        return np.asarray(self.lazy(name))

    def check_length(self, name: str) -> None:
        """Refuse an array declared too long to be read as coordinates; an HDF5 file need not even hold its values."""
        shape = self.entries[name].shape
        if math.prod(shape) > _LONGEST:
            raise DataError(
                f"{self.path}: the coordinates {name!r} have the declared shape {shape}; at most {_LONGEST} values are "
                f"read at once, so declare what to read by dims= without them"
            )

    @contextlib.contextmanager
    def opened(self) -> Iterator[Any]:
        """The open container, for what is neither an array nor its attributes: groups and dimension scales."""
        with reading(self.path), HDF5_LOCK:
            yield self._manager.acquire(needs_lock=False)

    def group_attributes(self, name: str) -> dict[str, Any]:
        """Attributes of a group of an HDF5 file; none where there is no such group."""
        if self.container != "hdf5":
            return {}
        with self.opened() as file:
            group = file.get(name, default=None)
            if not isinstance(group, h5py.Group):
                return {}
            return {key: plain(group.attrs[key]) for key in group.attrs if _readable(group.attrs, key)}

    def close(self) -> None:
        """Close the file; reading a lazy array opens it again."""
        self._manager.close()


class StoredArray(BackendArray):
    """An array in a file that opens when indexed.

    Parameters
    ----------
    manager
        Gives the open container, a mapping of names to arrays.
    path
        The file, for messages.
    name
        Name of the array in the container.
    entry
        Its shape and dtype.
    on_disk
        Whether indexing reads (HDF5), or the arrays are in memory or mapped.
    reverse
        Whether the container keeps the axes in reversed order, as MATLAB's HDF5 does.
    """

    def __init__(
        self, manager: Any, path: Path, name: str, entry: Entry, *, on_disk: bool = True, reverse: bool = False
    ) -> None:
        self.manager, self.path, self.name = manager, path, name
        self.on_disk, self.reverse = on_disk, reverse
        self.shape, self.dtype = entry.shape, entry.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        support = indexing.IndexingSupport
        if self.on_disk:
            return indexing.explicit_indexing_adapter(key, self.shape, support.OUTER_1VECTOR, self._read)
        # Slices of a memory map cost nothing; the copy keeps the map, or the loaded file, from being written to.
        return np.array(indexing.explicit_indexing_adapter(key, self.shape, support.BASIC, self._read))

    def _read(self, key: tuple[Any, ...]) -> Any:
        with reading(self.path, self.name), HDF5_LOCK:
            stored = self.manager.acquire(needs_lock=False)[self.name]
            values = np.asarray(stored[key[::-1]]).T if self.reverse else np.asarray(stored[key])
        if values.dtype.names is not None:
            values = values["real"] + 1j * values["imag"]
        return values.astype(self.dtype, copy=False)


def plain(value: Any) -> Any:
    """An attribute as str, number, list or array: bytes decoded, arrays of one number or text made scalar."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, h5py.Empty):
        return ""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "OSU":
            value = [plain(item) for item in value.ravel().tolist()]
            return value[0] if len(value) == 1 else value
        return value.item() if value.size == 1 else value
    return value.item() if isinstance(value, np.generic) and value.dtype.names is None else value


def _readable(attributes: Any, name: str) -> bool:
    """Whether an attribute holds plain values: netCDF4 keeps references in some, which mean nothing here."""
    kind = attributes.get_id(name).dtype
    return kind.names is None and (kind.kind != "O" or h5py.check_string_dtype(kind) is not None)


def _complex_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """MATLAB keeps complex numbers as pairs named real and imag."""
    if dtype.names == ("real", "imag"):
        return np.result_type(dtype["real"], np.complex64)
    return dtype


def _has_matlab_header(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(19) == b"MATLAB 7.3 MAT-file"


def _entries(file: Mapping[str, Array]) -> dict[str, Entry]:
    return {name: Entry(tuple(array.shape), array.dtype) for name, array in file.items()}
