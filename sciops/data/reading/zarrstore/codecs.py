"""The codecs of chunks: a fixed list, each of which knows how many bytes it may give before it gives them."""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sciops.errors import DataError, MissingDependencyError, UnsafeFileError, did_you_mean

__all__ = ["check_codec", "strings", "unpack"]

_ZSTD_MAGIC = 0xFD2FB528
_BLOCK = 128 << 10
_SLACK = 1 << 24  # frames without a size are bounded by their blocks, which need not be full
_CHECKSUM = 64  # room for checksums behind the values
# Through numcodecs: they give as many values as they take, in a type of at most 16 bytes.
_FILTERS = ("delta", "fixedscaleoffset", "quantize", "bitround", "shuffle", "fletcher32", "crc32c", "crc32", "adler32")
_OBJECTS = ("pickle", "json2", "msgpack2", "categorize", "vlen-array", "vlen-bytes")


def check_codec(name: str, config: Mapping[str, Any], what: str) -> None:
    """Refuse a codec that is not on the list, or that would make anything but numbers; `what` names the array.

    Raises
    ------
    UnsafeFileError
        If it makes Python objects.
    DataError
        If it is unknown.
    """
    if name in _OBJECTS:
        raise UnsafeFileError(
            f"{what} is made of Python objects (codec {name!r}), which are never loaded; save plain arrays"
        )
    if name not in _UNPACK and name not in _FILTERS and name != "vlen-utf8":
        raise DataError(f"{what} is packed by {name!r}{did_you_mean(name, [*_UNPACK, *_FILTERS])}; write it with one")
    for option in ("dtype", "astype"):
        if option in config and not _is_number(config[option]):
            raise DataError(f"{what} is packed by {name!r} of {config[option]!r}; save plain numbers")


def unpack(name: str, config: Mapping[str, Any], packed: bytes, limit: int) -> bytes:
    """The bytes that a codec gives for packed ones, at most `limit`.

    Raises
    ------
    ValueError
        If it would give more, or the bytes are none of the codec.
    MissingDependencyError
        If it needs numcodecs and that is missing.

    Examples
    --------
    >>> unpack("zlib", {}, zlib.compress(b"abc"), 3)
    b'abc'
    """
    if name in _UNPACK:
        return _UNPACK[name](packed, limit)
    _declared(len(packed), limit + _CHECKSUM)
    return _numcodecs({"id": name, **config}, packed)


def strings(content: bytes, count: int) -> np.ndarray[Any, np.dtype[Any]]:
    """The texts of a chunk, each behind its length."""
    if len(content) < 4 or struct.unpack_from("<I", content)[0] != count or len(content) < 4 + 4 * count:
        raise ValueError(f"no {count} texts")
    found = np.empty(count, object)
    at = 4
    for i in range(count):
        (length,) = struct.unpack_from("<I", content, at)
        at += 4
        if at + length > len(content):
            raise ValueError("a text is cut short")
        found[i] = content[at : at + length].decode("utf-8")
        at += length
    return found


def _is_number(text: Any) -> bool:
    try:
        dtype = np.dtype(text)
    except (TypeError, ValueError):
        return False
    return dtype.kind in "biufc" and dtype.itemsize <= 16


def _numcodecs(config: Mapping[str, Any], packed: bytes) -> bytes:
    try:
        import numcodecs
    except ImportError as error:
        raise MissingDependencyError(
            f"chunks packed by {config['id']!r} need numcodecs; install it by pip install 'sciops[formats]'"
        ) from error
    return np.asarray(numcodecs.get_codec(dict(config)).decode(packed)).tobytes()


def _declared(size: int, limit: int) -> None:
    if not 0 <= size <= limit:
        raise ValueError(f"{size} bytes are declared where at most {limit} fit")


def _inflate(packed: bytes, limit: int) -> bytes:
    """Gzip and zlib, recognised by their headers."""
    parts: list[bytes] = []
    left = limit
    while packed:
        machine = zlib.decompressobj(zlib.MAX_WBITS | 32)
        parts.append(machine.decompress(packed, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise ValueError(f"more than the {limit} bytes that fit")
        if not machine.eof:
            raise ValueError("the compressed bytes are cut short")
        packed = machine.unused_data
    return b"".join(parts)


def _bz2(packed: bytes, limit: int) -> bytes:
    return _streamed(bz2.BZ2Decompressor(), packed, limit)


def _lzma(packed: bytes, limit: int) -> bytes:
    return _streamed(lzma.LZMADecompressor(memlimit=1 << 28), packed, limit)


def _streamed(machine: Any, packed: bytes, limit: int) -> bytes:
    content: bytes = machine.decompress(packed, limit + 1)
    _declared(len(content), limit)
    if not machine.eof:
        raise ValueError("the compressed bytes are cut short")
    return content


def _blosc(packed: bytes, limit: int) -> bytes:
    if len(packed) < 16:
        raise ValueError("the compressed bytes are cut short")
    size, _, length = struct.unpack_from("<III", packed, 4)
    _declared(size, limit)
    if length != len(packed):
        raise ValueError("the compressed bytes are cut short")
    return _numcodecs({"id": "blosc"}, packed)


def _lz4(packed: bytes, limit: int) -> bytes:
    if len(packed) < 4:
        raise ValueError("the compressed bytes are cut short")
    _declared(struct.unpack_from("<i", packed)[0], limit)
    return _numcodecs({"id": "lz4"}, packed)


def _zstd(packed: bytes, limit: int) -> bytes:
    _declared(_zstd_size(packed), limit + _SLACK)
    content = _numcodecs({"id": "zstd"}, packed)
    _declared(len(content), limit)
    return content


def _zstd_size(packed: bytes) -> int:
    """The most bytes that Zstandard frames can give: what they declare, else what their blocks hold (RFC 8878)."""
    at = total = 0
    while at < len(packed):
        (magic,) = struct.unpack_from("<I", packed, at)
        if magic & 0xFFFFFFF0 == 0x184D2A50:
            at += 8 + int(struct.unpack_from("<I", packed, at + 4)[0])
            continue
        if magic != _ZSTD_MAGIC:
            raise ValueError("no Zstandard frame")
        flags = packed[at + 4]
        single, kind = flags >> 5 & 1, flags >> 6
        width = (1 if single else 0, 2, 4, 8)[kind]
        at += 5 + (not single) + (0, 1, 2, 4)[flags & 3]
        declared = int.from_bytes(packed[at : at + width], "little") + (256 if width == 2 else 0) if width else None
        at += width
        blocks = 0
        while True:
            header = int.from_bytes(packed[at : at + 3], "little")
            if len(packed) < at + 3:
                raise ValueError("the compressed bytes are cut short")
            size, form = header >> 3, header >> 1 & 3
            blocks += _BLOCK if form == 2 else size
            at += 3 + (1 if form == 1 else size)
            if header & 1:
                break
        total += max(declared, 0) if declared is not None else blocks
        at += 4 if flags & 4 else 0
    return total


_UNPACK: dict[str, Callable[[bytes, int], bytes]] = {
    "zlib": _inflate,
    "gzip": _inflate,
    "bz2": _bz2,
    "lzma": _lzma,
    "blosc": _blosc,
    "lz4": _lz4,
    "zstd": _zstd,
}
