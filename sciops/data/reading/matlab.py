"""The numeric arrays of a MATLAB version 5 file, every length checked before it is believed.

A file that is cut or altered gives an error here, where common readers can crash the interpreter; and nothing but
numbers is looked at: cells, structures, texts, sparse arrays, objects and functions are passed over.

References
----------
The MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from sciops.data.reading.bounds import refuse_excess

__all__ = ["read_matlab"]

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
_STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED = 14, 15
_COMPLEX, _LOGICAL = 0x08, 0x02
_STEP = 1 << 26


def read_matlab(path: str | Path) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """The numeric arrays of a version 5 file by name; uncompressed ones stay in the file as a memory map.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    dict of str to ndarray
        In the class MATLAB knew (double is float64 however few bytes it takes in the file); logical is bool.

    Raises
    ------
    ValueError
        If the file is not what the format says.

    Examples
    --------
    >>> import tempfile
    >>> from scipy.io import savemat
    >>> path = Path(tempfile.mkdtemp()) / "a.mat"
    >>> savemat(path, {"a": np.eye(2), "name": "text"})
    >>> {name: values.tolist() for name, values in read_matlab(path).items()}
    {'a': [[1.0, 0.0], [0.0, 1.0]]}
    """
    content = np.memmap(path, np.uint8, "r")
    mark = bytes(content[126:128])
    if mark not in (b"IM", b"MI"):
        raise ValueError("the header of the MATLAB file is broken")
    order = "<" if mark == b"IM" else ">"
    arrays = {}
    for kind, body in _elements(content[128:], order):
        if kind == _COMPRESSED:
            inner = list(_elements(np.frombuffer(_unpacked(path, body), np.uint8), order))
            if len(inner) != 1:
                raise ValueError(f"a compressed element holds {len(inner)} elements, not one")
            kind, body = inner[0]
        if kind != _MATRIX:
            raise ValueError(f"an element of type {kind} where an array is expected")
        name, array = _matrix(body, order)
        if name and array is not None:
            arrays[name] = array
    return arrays


def _unpacked(path: str | Path, body: Bytes) -> bytes:
    """What a compressed element holds, in steps, so that a bomb is found before it takes the memory."""
    packer, parts, size, rest = zlib.decompressobj(), [], 0, body.tobytes()
    while not packer.eof:
        parts.append(packer.decompress(rest, _STEP))
        rest, size = packer.unconsumed_tail, size + len(parts[-1])
        refuse_excess(f"{path}: a compressed element", size, len(body), "if it is right, save it with -nocompression")
        if not parts[-1] and not rest:
            raise ValueError("a compressed element is cut short")
    return b"".join(parts)


def _elements(content: Bytes, order: str) -> Iterator[tuple[int, Bytes]]:
    """Type and bytes of each element; short ones keep up to 4 bytes in the tag itself."""
    at, size = 0, len(content)
    while at < size:
        if at + 8 > size:
            raise ValueError("the last element is cut short")
        kind, length = (int(word) for word in content[at : at + 8].view(order + "u4"))
        if kind >> 16:
            kind, length, start = kind & 0xFFFF, kind >> 16, at + 4
            if length > 4:
                raise ValueError(f"a short element of {length} bytes")
            at += 8
        else:
            start, at = at + 8, at + 8 + length
            if kind != _COMPRESSED:
                at += -length % 8
        if start + length > size:
            raise ValueError("the last element is cut short")
        yield kind, content[start : start + length]


def _matrix(body: Bytes, order: str) -> tuple[str, np.ndarray[Any, np.dtype[Any]] | None]:
    """Name and values of an array; None for the classes that are no arrays of numbers."""
    parts = _elements(body, order)
    try:
        flags = int(_numbers(next(parts), order, length=2)[0])
        if flags & 0xFF not in _CLASSES:
            return "", None
        shape = tuple(int(size) for size in _numbers(next(parts), order))
        name = bytes(next(parts)[1]).decode("ascii")
        values = _shaped(_numbers(next(parts), order), shape)
        if (flags >> 8) & _COMPLEX:
            values = values + 1j * _shaped(_numbers(next(parts), order), shape)
    except StopIteration:
        raise ValueError("an array lacks its values") from None
    if (flags >> 8) & _LOGICAL:
        return name, values.astype(bool)
    dtype = np.dtype(_CLASSES[flags & 0xFF])
    return name, values.astype(np.result_type(values, np.complex64) if values.dtype.kind == "c" else dtype, copy=False)


def _numbers(element: tuple[int, Bytes], order: str, length: int | None = None) -> np.ndarray[Any, np.dtype[Any]]:
    kind, body = element
    if kind not in _STORED or (length is not None and len(body) != 4 * length):
        raise ValueError(f"numbers of the unknown type {kind} or of a wrong length")
    return body.view(order + _STORED[kind])


def _shaped(values: np.ndarray[Any, np.dtype[Any]], shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[Any]]:
    if min(shape, default=-1) < 0 or math.prod(shape) != values.size:
        raise ValueError(f"{values.size} values for the shape {shape}")
    return values.reshape(shape, order="F")
