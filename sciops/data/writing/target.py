"""A file or folder that appears under its name complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sciops.data.reading.paths import usable_path
from sciops.data.writing.sink import failure, synchronise
from sciops.errors import DataError

__all__ = ["Target"]

_STORE_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")
_NAME = 48  # characters of the name in the temporary one, which must not be longer than names may be
_TRIES, _PAUSE = 20, 0.05


class Target:
    """Where something is written: first under a temporary name beside it, then renamed.

    Parameters
    ----------
    path
        The name it gets.
    overwrite
        Whether it may replace what is there.
    store
        Whether it is a folder, a Zarr store; a folder is replaced by one only if it is one too.
    temporary
        The temporary name; by default one that nobody else uses.

    Raises
    ------
    DataError
        If the name is taken, or there is no such folder.

    Examples
    --------
    >>> import tempfile
    >>> target = Target(Path(tempfile.mkdtemp()) / "note.txt")
    >>> with target.cleaned():
    ...     _ = target.temporary.write_text("whole")
    ...     target.publish()
    >>> target.path.read_text()
    'whole'
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        store: bool = False,
        temporary: Path | None = None,
    ) -> None:
        self.path = usable_path(path).absolute()
        self.overwrite, self.store = overwrite, store
        unique = f".{self.path.name[:_NAME]}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        self.temporary = temporary or self.path.with_name(unique)
        self.check()

    def check(self) -> None:
        """Refuse a name that is taken, or whose folder is not there; what is no file or store is never replaced."""
        try:
            found: int | None = os.lstat(self.path).st_mode
        except (FileNotFoundError, NotADirectoryError):
            found = None
        except OSError as error:
            raise DataError(f"{self.path}: {failure(error)}") from error
        if found is not None and stat.S_ISDIR(found):
            if not (self.store and any((self.path / mark).is_file() for mark in _STORE_MARKS)):
                what = "a folder that is no Zarr store" if self.store else "a folder"
                raise DataError(f"{self.path}: {what}; give the name of a file to write")
        elif found is not None and not stat.S_ISREG(found):
            what = "a link" if stat.S_ISLNK(found) else "a device, pipe or socket"
            raise DataError(f"{self.path}: {what}, which is not replaced; give the name of a file to write")
        if found is not None and not self.overwrite:
            raise DataError(f"{self.path}: exists already; give overwrite=True (--overwrite) or another name")
        if not os.path.isdir(self.path.parent):
            raise DataError(f"{self.path}: cannot be written, there is no folder {self.path.parent}; create it first")

    @contextlib.contextmanager
    def cleaned(self, discard: Callable[[], None] | None = None) -> Iterator[None]:
        """Leave nothing behind on any error, also an interrupt, and say in one line what the operating system said.

        Parameters
        ----------
        discard
            What to do on an error; by default what was written is deleted.
        """
        discard = discard or self.discard
        try:
            yield
        except (OSError, RuntimeError) as error:
            discard()
            raise DataError(f"{self.path}: {failure(error)}") from error
        except BaseException:
            discard()
            raise

    def publish(self) -> None:
        """Give what was written its name, once it is on the disk."""
        self.check()
        synchronise(self.temporary)
        if os.path.lexists(self.path) and self.store:
            old = self.temporary.with_name(f"{self.temporary.name}.old")
            try:
                os.replace(self.path, old)
                os.replace(self.temporary, self.path)
                _delete(old)
            except BaseException:  # an interrupt too: what was there is back, or gone for good
                if os.path.lexists(old) and not os.path.lexists(self.path):
                    os.replace(old, self.path)
                _delete(old)
                raise
        else:
            os.replace(self.temporary, self.path)
        with contextlib.suppress(OSError):
            synchronise(self.path.parent)

    def discard(self) -> None:
        """Delete what was written under the temporary name."""
        _delete(self.temporary)


def _delete(path: Path) -> None:
    if not os.path.isdir(path) or os.path.islink(path):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        return
    for _ in range(_TRIES):  # somebody may still be looking into it
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        time.sleep(_PAUSE)
