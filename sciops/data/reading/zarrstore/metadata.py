"""What the metadata of a Zarr array say, checked before anything is read."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sciops.data.reading.zarrstore.codecs import check_codec
from sciops.errors import DataError, UnsafeFileError

__all__ = ["ArrayMetadata", "Codec", "Sharding", "array_v2", "array_v3", "parse"]

_CHUNK_LIMIT = 1 << 28
_INNER_LIMIT = 1 << 20
_MAX_DIMENSIONS = 32
_V3_TYPES = {
    "bool": "?", "int8": "i1", "int16": "i2", "int32": "i4", "int64": "i8", "uint8": "u1", "uint16": "u2",
    "uint32": "u4", "uint64": "u8", "float16": "f2", "float32": "f4", "float64": "f8", "complex64": "c8",
    "complex128": "c16",
}  # fmt: skip
_LITERALS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

Codec = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Sharding:
    """Chunks within a chunk: their shape, codecs, and how the index of their places is packed and where it stands."""

    chunks: tuple[int, ...]
    chain: Chain
    index: Chain
    at_end: bool


@dataclass(frozen=True)
class Chain:
    """From the bytes of a chunk to its values: codecs in the order of unpacking, byte order, order of the axes."""

    codecs: tuple[Codec, ...]
    big_endian: bool = False
    axes: tuple[int, ...] | None = None
    texts: bool = False
    sharding: Sharding | None = None


@dataclass(frozen=True)
class ArrayMetadata:
    """One array: shape, chunks, type, what stands where no chunk is, how chunks are named and packed."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Any
    chain: Chain
    prefix: str
    separator: str
    dims: tuple[str, ...] | None
    attributes: Mapping[str, Any]


def parse(text: str, what: str) -> dict[str, Any]:
    """A JSON document that is a mapping.

    Raises
    ------
    DataError
        If it is none; `what` names it.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{what}: no JSON ({error}): truncated or corrupt; get the store anew") from error
    if not isinstance(found, dict):
        raise DataError(f"{what}: a JSON {type(found).__name__} where a mapping is needed; get the store anew")
    return found


def array_v2(document: Mapping[str, Any], attributes: Mapping[str, Any], what: str) -> ArrayMetadata:
    """The metadata of version 2: ``.zarray`` and ``.zattrs``."""
    shape, chunks = _lengths(document, "shape", what), _lengths(document, "chunks", what)
    packers = [*(document.get("filters") or []), document.get("compressor")]
    codecs = [_v2_codec(packer, what) for packer in packers if packer is not None]
    texts = any(name == "vlen-utf8" for name, _ in codecs)
    dtype = _v2_type(document.get("dtype"), texts, what)
    axes = tuple(reversed(range(len(shape)))) if document.get("order") == "F" else None
    chain = Chain(tuple(codec for codec in reversed(codecs) if codec[0] != "vlen-utf8"), axes=axes, texts=texts)
    names = attributes.get("_ARRAY_DIMENSIONS")
    return _checked(
        ArrayMetadata(
            shape=shape,
            chunks=chunks,
            dtype=dtype,
            fill=_fill(document.get("fill_value"), dtype, what),
            chain=chain,
            prefix="",
            separator=_separator(document.get("dimension_separator", "."), what),
            dims=_names(names, shape),
            attributes=_v2_attributes(document, attributes, dtype),
        ),
        what,
    )


def array_v3(document: Mapping[str, Any], what: str) -> ArrayMetadata:
    """The metadata of version 3: ``zarr.json``."""
    shape = _lengths(document, "shape", what)
    grid = _named(document.get("chunk_grid"), what)
    if grid[0] != "regular":
        raise DataError(f"{what} has the chunk grid {grid[0]!r}; write it with regular chunks")
    if document.get("storage_transformers"):
        raise DataError(f"{what} has storage transformers, which are not read; write it without")
    encoding, options = _named(document.get("chunk_key_encoding", "default"), what)
    if encoding not in ("default", "v2"):
        raise DataError(f"{what} names its chunks by {encoding!r}; 'default' and 'v2' are read")
    dtype = _v3_type(document.get("data_type"), what)
    attributes = document.get("attributes") or {}
    if not isinstance(attributes, Mapping):
        raise DataError(f"{what} has attributes that are no mapping; get the store anew")
    return _checked(
        ArrayMetadata(
            shape=shape,
            chunks=_lengths(grid[1], "chunk_shape", what),
            dtype=dtype,
            fill=_fill(document.get("fill_value"), dtype, what),
            chain=_chain(document.get("codecs"), len(shape), what),
            prefix="c" if encoding == "default" else "",
            separator=_separator(options.get("separator", "/" if encoding == "default" else "."), what),
            dims=_names(document.get("dimension_names"), shape),
            attributes=_v3_attributes(attributes, dtype, what),
        ),
        what,
    )


def _checked(found: ArrayMetadata, what: str) -> ArrayMetadata:
    if len(found.shape) > _MAX_DIMENSIONS or len(found.chunks) != len(found.shape):
        raise DataError(
            f"{what} has shape {found.shape[:8]} and chunks {found.chunks[:8]}; they need as many axes, at most "
            f"{_MAX_DIMENSIONS}"
        )
    size = math.prod(found.chunks) * found.dtype.itemsize
    if 0 in found.chunks or size > _CHUNK_LIMIT:
        raise DataError(
            f"{what} has chunks {found.chunks} of {found.dtype}, {size} bytes; at most {_CHUNK_LIMIT} are unpacked at "
            f"once: write it with smaller chunks"
        )
    sharding = found.chain.sharding
    if sharding is not None:
        inner = sharding.chunks
        if len(inner) != len(found.chunks) or any(b < 1 or a % b for a, b in zip(found.chunks, inner, strict=True)):
            raise DataError(f"{what} has shards {found.chunks} of chunks {inner}, which do not fill them; get it anew")
        if math.prod(a // b for a, b in zip(found.chunks, inner, strict=True)) > _INNER_LIMIT:
            raise DataError(f"{what} has shards {found.chunks} of chunks {inner}; at most {_INNER_LIMIT} are read")
    return found


def _chain(codecs: Any, ndim: int, what: str, *, nested: bool = False) -> Chain:
    """The codecs of version 3 in the order of unpacking: bytes to bytes, then the values, then their axes."""
    if not isinstance(codecs, Sequence) or isinstance(codecs, str) or not codecs:
        raise DataError(f"{what} lists no codecs; get the store anew")
    axes = tuple(range(ndim))
    packers: list[Codec] = []
    serializer: tuple[str, Mapping[str, Any]] | None = None
    for name, config in (_named(codec, what) for codec in codecs):
        if name == "transpose" and serializer is None:
            order = config.get("order")
            if not isinstance(order, list) or sorted(map(str, order)) != sorted(map(str, range(ndim))):
                raise DataError(f"{what} is transposed by {order!r}, which is no order of {ndim} axes")
            axes = tuple(axes[int(i)] for i in order)
        elif name in ("bytes", "vlen-utf8", "sharding_indexed") and serializer is None:
            serializer = (name, config)
        elif serializer is None:
            raise DataError(f"{what} has the codec {name!r} before its values are bytes; save plain numbers")
        else:
            short = name.removeprefix("numcodecs.")
            check_codec(short, config, what)
            packers.append((short, {**config, "location": "end"} if name == "crc32c" else config))
    if serializer is None:
        raise DataError(f"{what} has no codec that makes bytes of its values; get the store anew")
    sharding = None
    if serializer[0] == "sharding_indexed":
        if nested or packers:
            raise DataError(f"{what} has shards within shards, or packs whole shards; pack the chunks within them")
        config = serializer[1]
        sharding = Sharding(
            _lengths(config, "chunk_shape", what),
            _chain(config.get("codecs"), ndim, what, nested=True),
            _chain(config.get("index_codecs"), ndim + 1, what, nested=True),
            config.get("index_location", "end") == "end",
        )
    return Chain(
        tuple(reversed(packers)),
        big_endian=serializer[1].get("endian") == "big",
        axes=None if axes == tuple(range(ndim)) else axes,
        texts=serializer[0] == "vlen-utf8",
        sharding=sharding,
    )


def _named(value: Any, what: str) -> tuple[str, Mapping[str, Any]]:
    """A name with its configuration, or a name alone."""
    if isinstance(value, str):
        return value, {}
    config = value.get("configuration") or {} if isinstance(value, Mapping) else None
    if not isinstance(config, Mapping) or not isinstance(value.get("name"), str):
        raise DataError(f"{what} has the metadata {str(value)[:60]!r} where a name is needed; get the store anew")
    return value["name"], config


def _v2_codec(packer: Any, what: str) -> Codec:
    if not isinstance(packer, Mapping) or not isinstance(packer.get("id"), str):
        raise DataError(f"{what} names the codec {str(packer)[:60]!r}; get the store anew")
    config = {str(key): value for key, value in packer.items() if key != "id"}
    check_codec(packer["id"], config, what)
    return packer["id"], config


def _lengths(document: Mapping[str, Any], key: str, what: str) -> tuple[int, ...]:
    found = document.get(key)
    good = isinstance(found, list) and all(type(n) is int and 0 <= n < 1 << 62 for n in found)
    if not good or found is None:
        raise DataError(f"{what} has the {key} {str(found)[:60]!r}; whole numbers are needed, get the store anew")
    return tuple(found)


def _separator(value: Any, what: str) -> str:
    if value not in (".", "/"):
        raise DataError(f"{what} separates the names of chunks by {value!r}; '.' and '/' are read")
    return str(value)


def _names(value: Any, shape: tuple[int, ...]) -> tuple[str, ...] | None:
    """Names of the axes where each has one of its own; for a single number zarr writes none."""
    if not shape:
        return ()
    if not isinstance(value, list) or len(value) != len(shape) or not all(isinstance(n, str) and n for n in value):
        return None
    return tuple(value) if len(set(value)) == len(value) else None


def _v2_type(value: Any, texts: bool, what: str) -> np.dtype[Any]:
    if value == "|O":
        if texts:
            return np.dtype(object)
        raise UnsafeFileError(f"{what} holds Python objects, which are never loaded; save plain arrays")
    return _numpy_type(value, what)


def _v3_type(value: Any, what: str) -> np.dtype[Any]:
    name, config = _named(value, what)
    if name in ("string", "numpy.variable_length_utf8"):
        return np.dtype(object)
    if name in ("fixed_length_utf32", "numpy.fixed_length_utf32"):
        return _numpy_type(f"<U{int(config.get('length_bytes', 0)) // 4}", what)
    if name in ("null_terminated_bytes", "fixed_length_bytes"):
        return _numpy_type(f"|S{int(config.get('length_bytes', 0))}", what)
    if name in ("numpy.datetime64", "numpy.timedelta64"):
        code = "M8" if name.endswith("datetime64") else "m8"
        return _numpy_type(f"<{code}[{config.get('scale_factor', 1)}{config.get('unit', 'ns')}]", what)
    if name not in _V3_TYPES:
        raise DataError(f"{what} has the data type {name!r}, which is not numeric; save numbers or texts")
    return np.dtype(_V3_TYPES[name])


def _numpy_type(value: Any, what: str) -> np.dtype[Any]:
    try:
        dtype = np.dtype(value) if isinstance(value, str) else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in "biufcmMSU":
        raise DataError(f"{what} has the data type {str(value)[:60]!r}, which is not numeric; save numbers or texts")
    return dtype


def _fill(value: Any, dtype: np.dtype[Any], what: str) -> Any:
    """What stands where no chunk is, as an array of one value."""
    if value is None:
        return np.asarray("", object) if dtype.kind == "O" else np.zeros((), dtype)
    try:
        if dtype.kind in "SU":
            return np.asarray(base64.b64decode(value) if dtype.kind == "S" else value, dtype)
        if dtype.kind == "c":
            real, imag = (_number(part) for part in value) if isinstance(value, list) else (_number(value), 0.0)
            return np.asarray(complex(real, imag), dtype)
        if isinstance(value, str) and value.startswith("0x"):
            return np.frombuffer(bytes.fromhex(value[2:]), dtype.newbyteorder(">"))[0].astype(dtype)
        return np.asarray(value if dtype.kind == "O" else _number(value), dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{what} is filled by {str(value)[:60]!r}, no value of {dtype}; get the store anew") from error


def _number(value: Any) -> Any:
    return _LITERALS.get(value, value) if isinstance(value, str) else value


def _v2_attributes(document: Mapping[str, Any], attributes: Mapping[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    """A fill value other than 0 marks what is missing, as xarray writes it; 0 is what Zarr fills by itself."""
    found = {str(key): value for key, value in attributes.items() if key != "_ARRAY_DIMENSIONS"}
    fill = document.get("fill_value")
    if fill not in (None, 0, "", False) and dtype.kind in "iuf" and "_FillValue" not in found:
        found["_FillValue"] = _fill(fill, dtype, "an array")[()]
    return found


def _v3_attributes(attributes: Mapping[str, Any], dtype: np.dtype[Any], what: str) -> dict[str, Any]:
    """Attributes, with the fill value of numbers as one of them: xarray writes floats in base64. Texts have none."""
    found = {str(key): value for key, value in attributes.items()}
    fill = found.pop("_FillValue", None)
    if fill is not None and dtype.kind in "iuf":
        found["_FillValue"] = _missing(fill, dtype, what)
    return found


def _missing(fill: Any, dtype: np.dtype[Any], what: str) -> Any:
    """The number that marks what is missing."""
    try:
        if isinstance(fill, str) and fill not in _LITERALS and dtype.kind == "f":
            (fill,) = np.frombuffer(base64.b64decode(fill, validate=True), "<f8").tolist()
        number = _number(fill)
        if isinstance(number, bool) or not isinstance(number, int | float) or (dtype.kind != "f" and number % 1):
            raise ValueError
        if dtype.kind == "f":
            return dtype.type(number)
        bits = 8 * dtype.itemsize
        if not -(1 << bits - 1) <= number < 1 << bits:
            raise ValueError
        return np.asarray(int(number) % (1 << bits), f"u{dtype.itemsize}").view(f"{dtype.kind}{dtype.itemsize}")[()]
    except (ValueError, OverflowError) as error:
        raise DataError(f"{what} has _FillValue={str(fill)[:60]!r}, no value of {dtype}; get the store anew") from error
