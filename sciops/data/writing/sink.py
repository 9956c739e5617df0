"""A file that HDF5 writes into and that fails in Python, not inside of HDF5."""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

from sciops.data.reading.safety import first_line

__all__ = ["Sink", "failure", "synchronise"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Sink(io.RawIOBase):
    """A new file for reading and writing that keeps its first error for `check` instead of raising it.

    HDF5 cannot close a file whose writes failed, and crashes the interpreter when it tries again at the end. It is
    therefore told that every write worked; after the first error the bytes are dropped, and the caller asks `check`.

    Parameters
    ----------
    path
        The file; it must not exist.
    mode
        How it is opened: ``"xb+"``, or ``"rb+"`` for a file that exists.

    Examples
    --------
    >>> import tempfile
    >>> sink = Sink(Path(tempfile.mkdtemp()) / "data.bin")
    >>> sink.write(b"abc"), sink.check()
    (3, None)
    """

    def __init__(self, path: Path, mode: str = "xb+") -> None:
        super().__init__()
        self._raw = io.FileIO(path, mode)
        self._error: BaseException | None = None

    def check(self) -> None:
        """Raise the first error there was, an interrupt too; once only."""
        error, self._error = self._error, None
        if error is not None:
            raise error

    def write(self, data: Any, /) -> int:
        """Write all of the data, or keep the error and drop this and everything that follows."""
        view = memoryview(data).cast("B")
        size = len(view)
        while len(view) and self._error is None:
            try:
                view = view[self._raw.write(view) or 0 :]
            except BaseException as error:  # noqa: BLE001 - raised again by check
                self._error = error
        return size

    def readinto(self, buffer: Any, /) -> int:
        """Read what is there; what a failed write left out reads as zeros."""
        view = memoryview(buffer).cast("B")
        count = self._raw.readinto(view) or 0
        view[count:] = bytes(len(view) - count)
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length."""
        try:
            return self._raw.truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position."""
        return self._raw.seek(offset, whence)

    def readable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def fileno(self) -> int:
        """The descriptor."""
        return self._raw.fileno()

    def close(self) -> None:
        """Close the file."""
        self._raw.close()
        super().close()


def failure(error: BaseException) -> str:
    """Why a file was not written, and what to do, in one line.

    Examples
    --------
    >>> failure(OSError(errno.ENOSPC, "No space left on device"))
    'not written, the disk is full or the quota used up; free space or choose another folder'
    """
    number = getattr(error, "errno", None)
    if number in _FULL or any(f"errno = {code}," in str(error) for code in _FULL):
        return "not written, the disk is full or the quota used up; free space or choose another folder"
    if isinstance(error, PermissionError) or number in (errno.EACCES, errno.EROFS):
        return "not written, no permission in that folder; choose another or change it with chmod"
    return f"not written ({first_line(error)})"


def synchronise(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
