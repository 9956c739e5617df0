"""The arrays of a Zarr store: chunks are read, unpacked and placed where an index asks for them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sciops.data.reading.zarrstore.codecs import strings, unpack
from sciops.data.reading.zarrstore.metadata import ArrayMetadata, Chain, array_v2, array_v3, parse
from sciops.data.reading.zarrstore.stores import Store, open_store
from sciops.errors import DataError

__all__ = ["ZarrArray", "ZarrFile", "open_zarr"]

Array = np.ndarray[Any, np.dtype[Any]]
_METADATA_LIMIT = 1 << 24
_MANY = 20_000
_DEEPEST = 64
_ABSENT = (1 << 64) - 1
_TEXTS_LIMIT = 1 << 26
_WIDENING = ("delta", "fixedscaleoffset", "quantize")


class ZarrArray:
    """One array of a store, read chunk by chunk where it is indexed.

    An index has one integer, slice or vector of integers for each axis; each acts on its axis alone.
    """

    def __init__(self, store: Store, name: str, metadata: ArrayMetadata) -> None:
        self.store, self.name, self.metadata = store, name, metadata
        self.shape, self.dtype, self.chunks = metadata.shape, metadata.dtype, metadata.chunks
        if metadata.chain.sharding is not None:
            self.chunks = metadata.chain.sharding.chunks
        self.attributes, self.dims = metadata.attributes, metadata.dims

    def __getitem__(self, key: Any) -> Array:
        key = key if isinstance(key, tuple) else (key,)
        wanted = [_positions(n, k) for n, k in zip(self.shape, key, strict=True)]
        out = np.empty(tuple(map(len, wanted)), self.dtype)
        if out.size:
            for numbers, places, inside in _parts(wanted, self.chunks):
                out[places] = self._chunk(numbers)[inside]
        kept = (len(w) for w, k in zip(wanted, key, strict=True) if not isinstance(k, int | np.integer))
        return out.reshape(tuple(kept))

    def _chunk(self, numbers: tuple[int, ...]) -> Array:
        """A chunk, or an inner chunk of a shard; the fill value where it was never written."""
        sharding = self.metadata.chain.sharding
        if sharding is None:
            key = self._key(numbers)
            packed = self.store.read(key, length=self._limit(self.chunks)) if self._fits(key) else None
            return self._values(packed, self.metadata.chain, self.chunks)
        per_shard = [a // b for a, b in zip(self.metadata.chunks, self.chunks, strict=True)]
        key = self._key(tuple(n // per for n, per in zip(numbers, per_shard, strict=True)))
        place = self._place(key, tuple(n % per for n, per in zip(numbers, per_shard, strict=True)), per_shard)
        packed = None if place is None else self.store.read(key, *place)
        return self._values(packed, sharding.chain, self.chunks)

    def _key(self, numbers: tuple[int, ...]) -> str:
        separator, prefix = self.metadata.separator, self.metadata.prefix
        words = [prefix, *map(str, numbers)] if prefix else list(map(str, numbers))
        return f"{self.name}/{separator.join(words) or '0'}".removeprefix("/")

    def _fits(self, key: str) -> bool:
        size = self.store.size(key)
        if size is None:
            self._check_there()
            return False
        if size > self._limit(self.chunks):
            raise ValueError(f"the chunk {key!r} takes {size} bytes, its values at most {self._limit(self.chunks)}")
        return True

    def _check_there(self) -> None:
        """A chunk that is not there holds the fill value, unless the whole array went away."""
        if not self.store.holds(self.name):
            raise DataError(
                f"{self.store.path}: the array {self.name or 'of the root'!r} is gone since the store was opened; get "
                f"the store anew"
            )

    def _limit(self, chunks: tuple[int, ...]) -> int:
        """The most bytes that a chunk takes at any stage: filters may widen numbers, and packing may add a little."""
        if self.dtype.kind == "O":
            return _TEXTS_LIMIT
        chain = self.metadata.chain if self.metadata.chain.sharding is None else self.metadata.chain.sharding.chain
        widened = any(name in _WIDENING for name, _ in chain.codecs)
        size = math.prod(chunks) * (max(16, self.dtype.itemsize) if widened else self.dtype.itemsize)
        return size + (size >> 8) + (1 << 16)

    def _place(self, key: str, inner: tuple[int, ...], per_shard: list[int]) -> tuple[int, int] | None:
        """Where an inner chunk starts in its shard, and its length; None where it was never written."""
        sharding, size = self.metadata.chain.sharding, self.store.size(key)
        assert sharding is not None
        if size is None:
            self._check_there()
            return None
        checksums = sum(4 for name, _ in sharding.index.codecs if name == "crc32c")
        if len(sharding.index.codecs) != checksums // 4:
            raise ValueError("the index of a shard is packed, which is not allowed")
        length = 16 * math.prod(per_shard) + checksums
        packed = self.store.read(key, size - length if sharding.at_end else 0, length) if size >= length else b""
        if packed is None or len(packed) != length:
            raise ValueError(f"the shard {key!r} is cut short")
        for name, config in sharding.index.codecs:
            packed = unpack(name, config, packed, length)
        index = np.frombuffer(packed, ">u8" if sharding.index.big_endian else "<u8").reshape(*per_shard, 2)
        start, count = map(int, index[inner])
        if start == count == _ABSENT:
            return None
        if start + count > size or count > self._limit(self.chunks):
            raise ValueError(f"the shard {key!r} places a chunk at {start} with {count} bytes, it has {size}")
        return start, count

    def _values(self, packed: bytes | None, chain: Chain, chunks: tuple[int, ...]) -> Array:
        if packed is None:
            return np.broadcast_to(self.metadata.fill, chunks)
        for name, config in chain.codecs:
            packed = unpack(name, config, packed, self._limit(chunks))
        if chain.texts:
            values: Array = strings(packed, math.prod(chunks))
        else:
            dtype = self.dtype.newbyteorder(">") if chain.big_endian else self.dtype
            if len(packed) != math.prod(chunks) * dtype.itemsize:
                raise ValueError(f"{len(packed)} bytes where a chunk {chunks} of {dtype} is needed")
            values = np.frombuffer(packed, dtype)
        if chain.axes is None:
            return values.reshape(chunks)
        stored = values.reshape([chunks[axis] for axis in chain.axes])
        return stored.transpose(np.argsort(chain.axes))


class ZarrFile(dict[str, ZarrArray]):
    """The arrays of a store by name, and the attributes of its root."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.attributes: Mapping[str, Any] = {}
        self.groups: dict[str, Mapping[str, Any]] = {}

    def close(self) -> None:
        """Close the store."""
        self.store.close()
        self.clear()


def open_zarr(path: str | Path, mode: str = "r") -> ZarrFile:
    """The arrays of a store of version 2 or 3, by their path in it; nothing is read but metadata.

    Parameters
    ----------
    path
        A folder or a zip archive.
    mode
        Always ``"r"``.

    Raises
    ------
    UnsafeFileError
        If the store holds links or Python objects.
    DataError
        If its metadata are wrong, or a chunk is declared too large.

    Examples
    --------
    >>> import json, tempfile
    >>> path = Path(tempfile.mkdtemp())
    >>> codecs = [{"name": "bytes", "configuration": {"endian": "little"}}]
    >>> grid = {"name": "regular", "configuration": {"chunk_shape": [2]}}
    >>> array = {"zarr_format": 3, "node_type": "array", "shape": [3], "data_type": "int16", "chunk_grid": grid}
    >>> _ = (path / "zarr.json").write_text(json.dumps(array | {"fill_value": 7, "codecs": codecs}))
    >>> open_zarr(path)["data"][slice(None)].tolist()
    [7, 7, 7]
    """
    store = open_store(Path(path))
    file = ZarrFile(store)
    stack = [("", 0)]
    while stack:
        name, depth = stack.pop()
        prefix = f"{name}/" if name else ""
        found, attributes = _node(store, prefix, f"{path}: {name or 'the root'!r}")
        if found is not None:
            file[name or "data"] = ZarrArray(store, name, found)
            continue
        if not name:
            file.attributes = attributes
        file.groups[name] = attributes
        if depth > _DEEPEST or len(file.groups) + len(file) > _MANY:
            raise DataError(f"{path}: more than {_MANY} arrays, or groups {_DEEPEST} deep; open a part of it")
        stack += [(prefix + child, depth + 1) for child in reversed(store.children(prefix))]
    return file


def _node(store: Store, prefix: str, what: str) -> tuple[ArrayMetadata | None, Mapping[str, Any]]:
    """An array, or None and the attributes of a group."""
    if (text := store.read_text(f"{prefix}zarr.json", _METADATA_LIMIT)) is not None:
        document = parse(text, what)
        if document.get("node_type") == "array":
            return array_v3(document, what), {}
        attributes = document.get("attributes")
        return None, attributes if isinstance(attributes, Mapping) else {}
    attributes = parse(store.read_text(f"{prefix}.zattrs", _METADATA_LIMIT) or "{}", what)
    if (text := store.read_text(f"{prefix}.zarray", _METADATA_LIMIT)) is not None:
        return array_v2(parse(text, what), attributes, what), {}
    return None, attributes


def _positions(size: int, key: Any) -> Array:
    """The positions along an axis that an integer, a slice or a vector names."""
    if isinstance(key, slice):
        return np.arange(*key.indices(size))
    positions = np.atleast_1d(np.asarray(key, dtype=np.int64))
    positions = np.where(positions < 0, positions + size, positions)
    if positions.size and not 0 <= positions.min() <= positions.max() < size:
        raise IndexError(f"index {key} of an axis of {size}")
    return positions


def _parts(
    wanted: list[Array], chunks: tuple[int, ...]
) -> Iterator[tuple[tuple[int, ...], tuple[Any, ...], tuple[Any, ...]]]:
    """For each chunk that is touched: its numbers, the places in the result, and the places in the chunk."""
    axes = [_along(positions, chunk) for positions, chunk in zip(wanted, chunks, strict=True)]
    for choice in itertools.product(*axes):
        numbers = tuple(number for number, _, _ in choice)
        places, inside = [place for _, place, _ in choice], [within for _, _, within in choice]
        yield numbers, _outer(places), _outer(inside)


def _along(positions: Array, chunk: int) -> list[tuple[int, Array, Array]]:
    owners = positions // chunk
    found = []
    for number in np.unique(owners):
        places = np.flatnonzero(owners == number)
        found.append((int(number), places, positions[places] - number * chunk))
    return found


def _outer(indices: list[Array]) -> tuple[Any, ...]:
    """Slices where each axis is a run of neighbours, which copies no index; else one vector for each axis."""
    runs = [slice(int(i[0]), int(i[-1]) + 1) for i in indices if bool((np.diff(i) == 1).all())]
    return tuple(runs) if len(runs) == len(indices) else np.ix_(*indices)
