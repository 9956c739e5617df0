"""A file or folder that appears under its name complete or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from sciops.data.writing.sink import failure, synchronise
from sciops.errors import DataError

__all__ = ["Target"]

_STORE_MARKS = ("zarr.json", ".zgroup", ".zattrs", ".zmetadata")


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
        self.path = Path(path).expanduser().absolute()
        self.overwrite, self.store = overwrite, store
        unique = f".{self.path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        self.temporary = temporary or self.path.with_name(unique)
        self.check()

    def check(self) -> None:
        """Refuse a name that is taken, or whose folder is not there."""
        if self.path.is_dir() and not (self.store and any((self.path / mark).is_file() for mark in _STORE_MARKS)):
            what = "a folder that is no Zarr store" if self.store else "a folder"
            raise DataError(f"{self.path}: {what}; give the name of a file to write")
        if self.path.exists() and not self.overwrite:
            raise DataError(f"{self.path}: exists already; give overwrite=True (--overwrite) or another name")
        if not self.path.parent.is_dir():
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
        if self.path.exists() and self.store:
            old = self.temporary.with_name(f"{self.temporary.name}.old")
            os.replace(self.path, old)
            os.replace(self.temporary, self.path)
            _delete(old)
        else:
            os.replace(self.temporary, self.path)
        with contextlib.suppress(OSError):
            synchronise(self.path.parent)

    def discard(self) -> None:
        """Delete what was written under the temporary name."""
        _delete(self.temporary)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
