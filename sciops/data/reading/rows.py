"""Reads of an HDF5 file below xarray: whole rows straight from the bytes of the file, and slabs through a held handle.

Where the values are neither compressed nor in a foreign type, HDF5 only says where each chunk begins. `FileRows` asks
that once; a batch is then a few calls of ``preadv`` in the order of the file, each straight into the rows of the
result.
"""

from __future__ import annotations

import functools
import itertools
import math
import os
import weakref
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from xarray.backends.locks import HDF5_LOCK

from sciops.data.reading.containers import reading
from sciops.data.reading.placement import Placement, StoredAxis

__all__ = ["FileRows", "Slabs"]

_MOST_CHUNKS = 1 << 22
_MOST_BUFFERS = 1024  # of one call: IOV_MAX of Linux
_MOST_FILES = 64
_CACHE_BYTES = 1 << 26
_CACHE_SLOTS = 12_421  # a prime, a hundred times the chunks of half a megabyte that the cache holds
_UNKNOWN, _ABSENT = -1, -2


class Slabs:
    """Reads of one data set through a handle that is held, runs of neighbouring samples together.

    Parameters
    ----------
    place
        Where the variable lies; one data set.
    sample, time
        Names of its sample and time dimensions, None where it has none.
    order
        Every dimension of the variable in the order wanted, sample and time first.

    Notes
    -----
    Chunks are kept in a cache of 64 MiB: items of one compressed chunk that follow each other soon, as a shuffle by
    chunks makes them, cost one decompression.

    Examples
    --------
    >>> import tempfile, sciops.data
    >>> from sciops.data.reading.placement import placement
    >>> path = tempfile.mkdtemp() + "/run.h5"
    >>> with h5py.File(path, "w") as file:
    ...     _ = file.create_dataset("u", data=np.arange(12.0).reshape(6, 2), compression="gzip")
    >>> u = sciops.data.open(path, dims={"u": ("sample", "x")})["u"].variable
    >>> Slabs.of(placement(u), "sample", None, ("sample", "x")).read(np.array([1, 5]), 0, 1).tolist()
    [[2.0, 3.0], [10.0, 11.0]]
    """

    def __init__(self, place: Placement, sample: str | None, time: str | None, order: Sequence[str]) -> None:
        self.place = place
        self._sample, self._time = sample, time
        self._lead = next((i for i, axis in enumerate(place.axes) if axis.dim == sample and sample is not None), None)
        named = [axis.dim for axis in place.axes if axis.dim is not None]
        self._dropped = tuple(i for i, axis in enumerate(place.axes) if axis.dim is None)
        self._permutation = [named.index(dim) for dim in order if dim in named]
        self._file: h5py.File | None = None
        self._data: Any = None

    @staticmethod
    def of(place: Placement, sample: str | None, time: str | None, order: Sequence[str]) -> Slabs | None:
        """The reader of a variable, None where its data set is not as xarray sees it."""
        if place.stacked:
            return None
        slabs = Slabs(place, sample, time, order)
        with reading(place.path, place.names[0]), HDF5_LOCK:
            data = slabs._held()
        return slabs if data is not None and data.shape == place.shape and data.dtype == place.dtype else None

    def read(self, samples: slice | NDArray[np.int64], first: int, last: int) -> NDArray[Any]:
        """The frames ``first`` to ``last - 1`` of sorted samples, decoded, in the order of the dimensions asked for."""
        numbers = np.arange(samples.start, samples.stop) if isinstance(samples, slice) else samples
        lengths = {self._sample: len(numbers), self._time: last - first}
        shape = [axis.count if axis.dim is None else lengths.get(axis.dim, axis.count) for axis in self.place.axes]
        values = np.empty(shape, self.place.dtype)
        with reading(self.place.path, self.place.names[0]), HDF5_LOCK:
            data = self._held()
            if self._lead is None:
                self._into(data, values, 0, first)
            else:
                starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 2) != 1)
                for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(numbers)], strict=True):
                    part = (slice(None),) * self._lead + (slice(start, stop),)
                    self._into(data, values[part], int(numbers[start]), first)
        decoded = self.place.decode(values.squeeze(self._dropped) if self._dropped else values)
        return decoded.transpose(self._permutation)

    def _held(self) -> Any:
        """The data set, opened once for as long as its file is open; None where there is no such data set."""
        file = self.place.acquire()
        if file is not self._file:
            if not isinstance(file, h5py.File):
                return None
            access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
            access.set_chunk_cache(_CACHE_SLOTS, _CACHE_BYTES, 0.75)
            self._data = h5py.h5d.open(file.id, self.place.names[0].encode(), access)
            self._file = file
        return self._data

    def _into(self, data: Any, target: NDArray[Any], sample: int, frame: int) -> None:
        entry = {self._sample: sample, self._time: frame}
        axes = self.place.axes
        begin = tuple(a.start + a.step * (entry.get(a.dim, 0) if a.dim is not None else 0) for a in axes)
        stored = data.get_space()
        if axes:
            stored.select_hyperslab(begin, target.shape, tuple(axis.step for axis in axes))
        room = target if target.flags.c_contiguous else np.empty(target.shape, target.dtype)
        data.read(h5py.h5s.create_simple(room.shape) if axes else h5py.h5s.create(h5py.h5s.SCALAR), stored, room)
        if room is not target:
            target[...] = room


class FileRows:
    """Rows of an uncompressed variable, read from the bytes of its file: a row is all of one frame of one sample.

    Parameters
    ----------
    place
        Where the variable lies.
    lead
        The stored axes that count samples and frames (and fixed entries), which come first.
    permutation
        The order wanted of the axes of a row.
    chunks
        Length of a chunk along each axis of `lead`.
    offsets
        Byte at which each chunk begins, over the axes of `lead`: -1 not yet looked up, -2 not stored.

    Notes
    -----
    Neither the lock nor the caches of HDF5 are used: several threads and processes read at once. The file is opened by
    itself in each process, and few stay open. `fresh` tells whether the file was written to since the offsets were
    looked up.

    Examples
    --------
    >>> import tempfile, sciops.data
    >>> from sciops.data.reading.placement import placement
    >>> path = tempfile.mkdtemp() + "/run.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["u"] = np.arange(12.0).reshape(6, 2)
    >>> u = sciops.data.open(path, dims={"u": ("sample", "x")})["u"].variable
    >>> rows = FileRows.of(placement(u), "sample", None, ("sample", "x"))
    >>> rows.read({"sample": np.array([5, 1])}, (2,)).tolist(), rows.row_bytes
    ([[10.0, 11.0], [2.0, 3.0]], 16)
    """

    def __init__(
        self,
        place: Placement,
        lead: Sequence[StoredAxis],
        permutation: Sequence[int],
        chunks: Sequence[int],
        offsets: NDArray[np.int64],
    ) -> None:
        self.place, self.offsets = place, offsets
        self._lead, self._chunks = tuple(lead), tuple(chunks)
        tail = place.axes[len(self._lead) :]
        self._tail = tuple(axis.count for axis in tail)
        self._permutation = tuple(permutation)
        self.row_bytes = place.dtype.itemsize * math.prod(self._tail)
        self._key = object()
        self._state = os.fstat(self._descriptor().number)

    @staticmethod
    def of(place: Placement, sample: str | None, time: str | None, order: Sequence[str]) -> FileRows | None:
        """The reader of a variable; None where its rows are not found as they are in the file.

        `order` is as for `Slabs`.
        """
        counted = [axis.dim is None or axis.dim in (sample, time) for axis in place.axes]
        lead = counted.index(False) if False in counted else len(counted)
        tail = place.axes[lead:]
        if any(axis.dim in (sample, time) for axis in tail if axis.dim is not None) or not hasattr(os, "preadv"):
            return None
        if not all(axis.whole for axis in tail) or place.dtype.kind not in "iuf" or (place.stacked and not lead):
            return None
        with reading(place.path, place.names[0]), HDF5_LOCK:
            file = place.acquire()
            if not isinstance(file, h5py.File) or file.driver != "sec2" or file.userblock_size:
                return None
            found = _chunks_of(file, place, lead)
            handle = os.fstat(file.id.get_vfd_handle())
        if found is None:
            return None
        named = [axis.dim for axis in tail]
        permutation = [named.index(dim) for dim in order if dim in named]
        permutation += [i for i in range(len(tail)) if i not in permutation]
        rows = FileRows(place, place.axes[:lead], permutation, *found)
        return rows if os.path.samestat(handle, rows._state) else None  # the path leads to another file by now

    @property
    def fresh(self) -> bool:
        """Whether the file is as it was when the offsets were looked up."""
        now, then = os.fstat(self._descriptor().number), self._state
        same = os.path.samestat(now, then) and now.st_size == then.st_size
        return same and now.st_mtime_ns == then.st_mtime_ns

    def read(self, entries: dict[str | None, NDArray[np.int64]], shape: tuple[int, ...]) -> NDArray[Any] | None:
        """The rows of a grid of entries.

        Parameters
        ----------
        entries
            For the sample and the time dimension the numbers wanted; all broadcast to `shape`.
        shape
            Of the result before the axes of a row.

        Returns
        -------
        ndarray or None
            ``(*shape, *row)``, decoded, the axes of a row in the order asked for; None where a chunk is not stored.
        """
        addresses = self._addresses(entries, shape)
        if addresses is None:
            return None
        values = np.empty((*shape, *self._tail), self.place.dtype)
        with reading(self.place.path, self.place.names[0]):
            self._fill(addresses, values.reshape(-1).view(np.uint8))
        decoded = self.place.decode(values)
        lead = len(shape)
        return decoded.transpose(*range(lead), *(lead + axis for axis in self._permutation))

    def _addresses(
        self, entries: dict[str | None, NDArray[np.int64]], shape: tuple[int, ...]
    ) -> NDArray[np.int64] | None:
        """The byte at which each row begins, flat; None where a chunk is not stored."""
        chunk: list[NDArray[np.int64]] = []
        within = np.zeros((), np.int64)
        for axis, length in zip(self._lead, self._chunks, strict=True):
            number = axis.start + axis.step * entries.get(axis.dim, np.zeros((), np.int64))
            outer, inner = (number, np.zeros((), np.int64)) if length == 1 else np.divmod(number, length)
            chunk.append(np.asarray(outer))
            within = within * length + inner
        if self.place.stacked:
            self._look_up(np.unique(chunk[0]))
        begin = self.offsets[tuple(chunk)] if chunk else self.offsets
        if (np.asarray(begin) < 0).any():
            return None
        return np.broadcast_to(begin + within * self.row_bytes, shape).reshape(-1)

    def _look_up(self, numbers: NDArray[np.int64]) -> None:
        """Find where data sets of a stack begin that were not asked for yet."""
        flat = self.offsets.reshape(-1)
        missing = numbers[flat[numbers] == _UNKNOWN].tolist()
        if missing:
            with reading(self.place.path), HDF5_LOCK:
                file = self.place.acquire()
                for number in missing:
                    flat[number] = _contiguous(h5py.h5d.open(file.id, self.place.names[number].encode()), self.place)

    def _fill(self, addresses: NDArray[np.int64], target: NDArray[np.uint8]) -> None:
        """Read rows in the order of the file; neighbours in one call, each row of bytes once."""
        size = self.row_bytes
        order = np.argsort(addresses, kind="stable")
        ordered = addresses[order]
        new = np.diff(ordered, prepend=ordered[0] - 1) != 0
        places, begin = order[new], ordered[new]
        starts = np.flatnonzero(np.diff(begin, prepend=begin[0] - 2 * size) != size)
        stops = np.append(starts[1:], len(begin))
        jumps = (
            np.diff(places, prepend=places[0] - 2) != 1
        )  # where a run of the file goes on in another row of the result
        held = self._descriptor()
        room = memoryview(target)  # type: ignore[arg-type]
        runs = list(zip(starts.tolist(), stops.tolist(), begin[starts].tolist(), strict=True))
        if len(runs) > 1 and hasattr(os, "posix_fadvise"):
            for start, stop, address in runs:  # the disk starts on all of them at once
                os.posix_fadvise(held.number, address, (stop - start) * size, os.POSIX_FADV_WILLNEED)
        for start, stop, address in runs:
            pieces = [start, *(start + 1 + np.flatnonzero(jumps[start + 1 : stop])).tolist(), stop]
            buffers = [
                room[int(places[a]) * size : (int(places[a]) + b - a) * size] for a, b in itertools.pairwise(pieces)
            ]
            _scatter(held.number, buffers, address)
        if len(begin) < len(order):
            rows = target.reshape(-1, size)
            rows[order[~new]] = rows[places[np.cumsum(new) - 1][~new]]

    def _descriptor(self) -> _Descriptor:
        return _descriptor(str(self.place.path), self._key)


class _Descriptor:
    """A file open for reading, closed when nobody uses it any more."""

    def __init__(self, path: str) -> None:
        self.number = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self.number)


@functools.lru_cache(_MOST_FILES)
def _descriptor(path: str, key: object) -> _Descriptor:
    """The descriptor of one reader; one long unused is let go, and closed when no thread reads from it."""
    return _Descriptor(path)


def _scatter(descriptor: int, buffers: list[memoryview], address: int) -> None:
    """Read on from an address into buffers, one after the other, whatever the kernel gives at a time."""
    at = 0
    while at < len(buffers):
        got = os.preadv(descriptor, buffers[at : at + _MOST_BUFFERS], address)
        if not got:
            raise OSError(f"the file ends before byte {address}")
        address += got
        while at < len(buffers) and got >= len(buffers[at]):
            got -= len(buffers[at])
            at += 1
        if got:
            buffers[at] = buffers[at][got:]


def _chunks_of(file: h5py.File, place: Placement, lead: int) -> tuple[tuple[int, ...], NDArray[np.int64]] | None:
    """Lengths of a chunk along the leading axes and the byte at which each begins; None where it is not so simple."""
    data = h5py.h5d.open(file.id, place.names[0].encode())
    if place.stacked:
        lengths = (1, *place.shape[: lead - 1])
        if _contiguous(data, place) < 0:
            return None
        return lengths, np.full((len(place.names), *(1,) * (lead - 1)), _UNKNOWN, np.int64)
    base = _contiguous(data, place)
    if base >= 0:
        return place.shape[:lead], np.full((1,) * lead, base, np.int64)
    creation = data.get_create_plist()
    if not _plain(data, place, h5py.h5d.CHUNKED) or creation.get_nfilters() or not hasattr(data, "chunk_iter"):
        return None
    chunks = creation.get_chunk()
    shape = tuple(-(-size // length) for size, length in zip(place.shape[:lead], chunks[:lead], strict=True))
    if chunks[lead:] != place.shape[lead:] or math.prod(shape) > _MOST_CHUNKS:
        return None
    offsets = np.full(shape, _ABSENT, np.int64)
    size = math.prod(chunks) * place.dtype.itemsize
    found: list[tuple[tuple[int, ...], int]] = []
    sound = True

    def visit(info: Any) -> None:
        nonlocal sound
        sound = sound and info.size == size and not info.filter_mask
        found.append((info.chunk_offset[:lead], info.byte_offset))

    data.chunk_iter(visit)
    if not sound:
        return None
    if found:
        corners = np.array([corner for corner, _ in found], np.int64).reshape(len(found), lead)
        inside = corners // np.array(chunks[:lead], np.int64)
        keep = (inside < np.array(shape)).all(axis=1)
        offsets[tuple(inside[keep].T)] = np.array([offset for _, offset in found], np.int64)[keep]
    return chunks[:lead], offsets


def _contiguous(data: Any, place: Placement) -> int:
    """The byte at which a data set begins that is stored in one piece; -2 for another."""
    offset = data.get_offset() if _plain(data, place, h5py.h5d.CONTIGUOUS) else None
    return _ABSENT if offset is None else int(offset)


def _plain(data: Any, place: Placement, layout: int) -> bool:
    """Whether a data set has the layout, in this file, and its bytes are numbers as numpy has them."""
    creation = data.get_create_plist()
    return bool(
        creation.get_layout() == layout
        and not creation.get_external_count()
        and data.shape == place.shape
        and data.get_type().equal(h5py.h5t.py_create(place.dtype, logical=True))
    )
