"""The global heaps of an HDF5 file, where its texts are: a broken one makes the library run in circles for ever.

The library reads a heap as a chain of objects, each as long as it says. One of no length is never passed, and no signal
reaches a process in that loop, so every heap is walked through here before the library sees it.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sciops.errors import DataError

__all__ = ["CheckedFile", "read_texts"]

_SIGNATURE = b"GCOL\x01"
_HEADER = 16
_MOST_ATTRIBUTES = 1 << 12
_MOST_TEXTS = 1 << 20
_TOGETHER = 1 << 12


class CheckedFile(io.FileIO):
    """A file for `h5py.File` to read from that fails where the library is about to read a broken heap.

    Parameters
    ----------
    path
        The file.

    Attributes
    ----------
    defect : str
        What is wrong with a heap; empty while nothing is.
    checked : set of int
        Where the heaps begin that are right.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "texts.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["names"] = ["a", "b"]
    >>> with CheckedFile(path) as raw, h5py.File(raw) as file:
    ...     read_texts(file["names"].id, path)
    >>> raw.defect
    ''
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(os.fspath(path), "r")
        _lock(self)
        self.path = Path(path)
        self.defect = ""
        self.checked: set[int] = set()

    def readinto(self, buffer: Any) -> int:
        """Read on into a buffer, after the heaps that begin within it were walked through."""
        start, room = self.tell(), memoryview(buffer).cast("B")
        first = max(0, start - len(_SIGNATURE))
        piece = os.pread(self.fileno(), room.nbytes + start - first + len(_SIGNATURE), first)
        if _SIGNATURE in piece:
            self._check(piece, first)
        found = memoryview(piece)[start - first : start - first + room.nbytes]
        room[: found.nbytes] = found
        self.seek(start + found.nbytes)
        return found.nbytes

    def _check(self, piece: bytes, first: int) -> None:
        at = piece.find(_SIGNATURE)
        while at >= 0:
            if first + at not in self.checked:
                self._walk(first + at)
                self.checked.add(first + at)
            at = piece.find(_SIGNATURE, at + 1)

    def _walk(self, start: int) -> None:
        """Go from object to object: index in 2 bytes, length 8 bytes on; index 0 is what is left, header and all."""
        length = self._size_of_lengths()
        size = int.from_bytes(os.pread(self.fileno(), length, start + 8), "little")
        end = os.fstat(self.fileno()).st_size
        at = start + _HEADER
        while at + _HEADER <= min(start + size, end):
            head = os.pread(self.fileno(), 8 + length, at)
            used = int.from_bytes(head[:2], "little") != 0
            own = int.from_bytes(head[8:], "little")
            step = _HEADER + -(-own // 8) * 8 if used else own
            if step == 0 or at + step > start + size:
                self.defect = f"the heap of texts at byte {start} has an object of {own} bytes at byte {at}"
                raise OSError(self.defect)
            at += step

    def _size_of_lengths(self) -> int:
        """The bytes of a length, as the superblock has it, which stands behind a user block of 512 2^n bytes."""
        end, at = os.fstat(self.fileno()).st_size, 0
        while at + 16 <= end:
            head = os.pread(self.fileno(), 16, at)
            if head[:8] == b"\x89HDF\r\n\x1a\n":
                size = head[14] if head[8] < 2 else head[10]
                return size if size in (2, 4, 8) else 8
            at = max(512, 2 * at)
        return 8


def _lock(file: io.FileIO) -> None:
    """Share the file as the library does, which refuses one that another program is writing."""
    if os.environ.get("HDF5_USE_FILE_LOCKING", "").upper() in ("FALSE", "0"):
        return
    with contextlib.suppress(ImportError):  # where the system has no such locks
        import fcntl

        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise OSError(f"unable to lock file, errno = {error.errno}") from error
        except OSError:
            return  # a file system without locks


def read_texts(target: Any, path: str | Path, *, values: bool = True) -> None:
    """Read the attributes of an object that keep their values in a heap, and the values of a data set that does.

    Parameters
    ----------
    target
        Low-level identifier of a group or data set of a file opened through `CheckedFile`.
    path
        The file, for messages.
    values
        Whether the values can be in a heap: those of numbers are not.

    Raises
    ------
    DataError
        If it has more attributes or texts than are ever needed.
    """
    values = values and isinstance(target, h5py.h5d.DatasetID)
    if (count := h5py.h5a.get_num_attrs(target)) > _MOST_ATTRIBUTES:
        raise DataError(
            f"{path}: {_name(target)} has {count} attributes, more than {_MOST_ATTRIBUTES}; keep such tables in arrays"
        )
    names: list[bytes] = []
    if count:
        h5py.h5a.iterate(target, names.append)
    for name in names:
        attribute = h5py.h5a.open(target, name)
        kind = attribute.get_type()
        if isinstance(kind, h5py.h5t.TypeVlenID) and kind.get_super().get_class() != h5py.h5t.REFERENCE:
            if name.startswith(b"MATLAB_"):
                continue  # names of fields, which nothing here reads
            # a damaged one ends the process when it is read; netCDF4 keeps sequences of references alone
            raise DataError(
                f"{path}: the attribute {name.decode('utf-8', 'replace')!r} of {_name(target)} has sequences of any "
                f"length; delete it, or open the file with trust_links=True if you trust it"
            )
        if _in_heap(kind) and attribute.get_space().get_simple_extent_type() != h5py.h5s.NULL:
            with contextlib.suppress(TypeError):  # of a type that no reader here knows either
                attribute.read(np.empty(attribute.shape, attribute.dtype))
    if values and _in_heap(target.get_type()):
        texts = h5py.Dataset(target)
        if texts.size is not None and texts.size > _MOST_TEXTS:
            raise DataError(
                f"{path}: {_name(target)} declares {texts.size} texts, more than {_MOST_TEXTS}; keep numbers in arrays"
            )
        step = max(1, _TOGETHER // max(1, math.prod(texts.shape[1:]))) if texts.shape else 1
        for first in range(0, texts.shape[0] if texts.shape else 1, step):
            _ = texts[first : first + step] if texts.shape else texts[()]


def _name(target: Any) -> str:
    return repr((h5py.h5i.get_name(target) or b"/").decode("utf-8", "replace").lstrip("/") or "the file")


def _in_heap(kind: Any) -> bool:
    """Whether values of a type are kept in a heap: texts and arrays of variable length, and regions."""
    if isinstance(kind, h5py.h5t.TypeStringID):
        return bool(kind.is_variable_str())
    return any(kind.detect_class(each) for each in (h5py.h5t.VLEN, h5py.h5t.STRING, h5py.h5t.REFERENCE))
