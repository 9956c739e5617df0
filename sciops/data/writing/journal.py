"""A file that HDF5 writes into and that a killed process leaves as it was at its last commit.

What lies behind the end of the last commit is written at once, since nothing refers to it yet. What would change bytes
before that end (a few pages of HDF5's own records) is held back until the next commit, which puts it into a journal
beside the file before the file itself is touched: a redo log. Whoever opens the file again repeats what the journal
says and cuts off the rest.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sciops.data.writing.sink import Sink, synchronise
from sciops.errors import DataError

__all__ = ["RecoverableSink", "journal_of"]

_PAGE = 1 << 12
_MAGIC = b"sciops journal 1\n"
_DIGEST = hashlib.sha256().digest_size


def journal_of(path: Path) -> Path:
    """Where the journal of a file is.

    Examples
    --------
    >>> journal_of(Path("/data/.run.nc.partial")).name
    '.run.nc.partial.journal'
    """
    return path.with_name(f"{path.name}.journal")


class RecoverableSink(Sink):
    """A sink whose file goes back to its last commit when it is opened again, whenever its writer was killed.

    Parameters
    ----------
    path
        The file. If it exists, it is brought to the state of the last commit; without any it is empty.

    Attributes
    ----------
    state : dict or None
        What was given to the last commit; None before the first.

    Raises
    ------
    DataError
        If another process is writing the file, or its journal is no journal.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "data.bin"
    >>> with RecoverableSink(path) as sink:
    ...     _ = sink.write(b"abc")
    ...     sink.commit({"written": 1})
    ...     _ = sink.seek(0), sink.write(b"ABCDEF")
    >>> with RecoverableSink(path) as sink:
    ...     sink.state, bytes(sink.read())
    ({'written': 1}, b'abc')
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb+" if path.exists() else "xb+")
        self._journal = journal_of(path)
        self._path = path
        self._pages: dict[int, bytearray] = {}
        self._length = self._size = self._place = 0
        self.state: dict[str, Any] | None = None
        try:
            self._lock()
            self._recover()
        except BaseException:
            self.close()
            raise

    def commit(self, state: dict[str, Any]) -> None:
        """Make what was written so far, and this state, what the file goes back to.

        Parameters
        ----------
        state
            Anything that JSON keeps.

        Raises
        ------
        OSError
            If the disk is full or fails; the last commit holds then.
        """
        self.check()
        os.fsync(self._raw.fileno())
        header = {"state": state, "length": self._size, "page": _PAGE, "old": self._length, "pages": [*self._pages]}
        record = b"".join([_MAGIC, json.dumps(header).encode(), b"\n", *self._pages.values()])
        new = self._journal.with_name(f"{self._journal.name}.new")
        with new.open("wb") as file:
            file.write(record + hashlib.sha256(record).digest())
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, self._journal)
        with contextlib.suppress(OSError):
            synchronise(self._journal.parent)
        self._apply(self._pages, self._size)
        self._length, self._pages, self.state = self._size, {}, state

    def abandon(self) -> None:
        """Drop whatever is written from now on; the file is left to be opened again."""
        self._error = self._error or RuntimeError("abandoned")

    def write(self, data: Any, /) -> int:
        """Write all of the data, or keep the error and drop this and everything that follows."""
        view = memoryview(data).cast("B")
        if not len(view):
            return 0
        held = max(0, min(len(view), self._length - self._place))
        try:
            if self._error is None:
                self._hold(self._place, view[:held])
                self._put(self._place + held, view[held:])
        except BaseException as error:  # noqa: BLE001 - raised again by check
            self._error = error
        self._place += len(view)
        self._size = max(self._size, self._place)
        return len(view)

    def readinto(self, buffer: Any, /) -> int:
        """Read what was written; what never was reads as zeros, and past the end is nothing."""
        view = memoryview(buffer).cast("B")
        view = view[: max(0, self._size - self._place)]
        self._get(self._place, view)
        for index, start, stop in _pieces(self._place, len(view)):
            if index in self._pages:
                page, at = self._pages[index], index * _PAGE + start - self._place
                kept = page[start : min(stop, len(page))]
                view[at : at + len(kept)] = kept
        self._place += len(view)
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length."""
        self._size = self._place if size is None else size
        try:
            if self._error is None:
                self._raw.truncate(max(self._size, self._length))
                self._hold(self._size, memoryview(bytes(max(0, self._length - self._size))))
        except OSError as error:
            self._error = error
        return self._size

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a position."""
        self._place = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size}[whence]
        return self._place

    def tell(self) -> int:
        """The position."""
        return self._place

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # no such locks on this system
            return
        try:
            fcntl.flock(self._raw.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{self._path}: another process is writing it; wait until it has ended") from None

    def _recover(self) -> None:
        """Repeat the last commit and cut off what came after it; without a journal, everything."""
        try:
            record = self._journal.read_bytes()
        except FileNotFoundError:
            self._raw.truncate(0)
            return
        body, digest = record[:-_DIGEST], record[-_DIGEST:]
        try:
            if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
                raise ValueError
            line, _, payload = body[len(_MAGIC) :].partition(b"\n")
            header = json.loads(line)
            if self._raw.seek(0, os.SEEK_END) < min(header["old"], header["length"]):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            raise DataError(
                f"{self._journal}: does not belong to {self._path.name} or is corrupt; delete both to start anew"
            ) from None
        pages, at = {}, 0
        for index in header["pages"]:
            length = min(header["page"], header["old"] - index * header["page"])
            pages[index] = bytearray(payload[at : at + length])
            at += length
        self._apply(pages, header["length"])
        self._length = self._size = header["length"]
        self.state = header["state"]

    def _apply(self, pages: dict[int, bytearray], length: int) -> None:
        for index, page in pages.items():
            self._put(index * _PAGE, memoryview(page))
        self._raw.truncate(length)

    def _hold(self, start: int, data: memoryview) -> None:
        """Keep bytes that lie before the end of the last commit."""
        at = 0
        for index, first, last in _pieces(start, len(data)):
            page = self._pages.get(index)
            if page is None:
                page = bytearray(min(_PAGE, self._length - index * _PAGE))
                self._get(index * _PAGE, memoryview(page))
                self._pages[index] = page
            page[first:last] = data[at : at + last - first]
            at += last - first

    def _put(self, place: int, data: memoryview) -> None:
        self._raw.seek(place)
        while len(data):
            data = data[self._raw.write(data) or 0 :]

    def _get(self, place: int, view: memoryview) -> None:
        self._raw.seek(place)
        count = 0
        while count < len(view) and (read := self._raw.readinto(view[count:])):
            count += read
        view[count:] = bytes(len(view) - count)


def _pieces(start: int, size: int) -> Iterator[tuple[int, int, int]]:
    """The pages that a range of bytes touches: their number, and where it begins and ends in each."""
    stop = start + size
    for index in range(start // _PAGE, -(-stop // _PAGE)) if size else ():
        yield index, max(0, start - index * _PAGE), min(_PAGE, stop - index * _PAGE)
