"""Where the bytes of a Zarr store are: in a folder or in a zip archive. No key leads out of it."""

from __future__ import annotations

import os
import stat
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

from sciops.errors import DataError, UnsafeFileError

__all__ = ["FolderStore", "Store", "ZipStore", "is_zarr_folder", "is_zarr_zip", "open_store"]

METADATA = ("zarr.json", ".zarray", ".zgroup")


class Store(ABC):
    """Bytes by key; a key is names with slashes between them."""

    path: Path

    @abstractmethod
    def size(self, key: str) -> int | None:
        """Number of bytes stored under a key; None where there is none."""

    @abstractmethod
    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        """The bytes under a key, or `length` of them from `start`; None where there is no such key."""

    @abstractmethod
    def children(self, prefix: str) -> list[str]:
        """Names below a prefix that may be groups or arrays, sorted."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the files."""

    def holds(self, name: str) -> bool:
        """Whether an array is still there, without any of its chunks too."""
        prefix = f"{name}/" if name else ""
        return any(self.size(f"{prefix}{metadata}") is not None for metadata in METADATA)

    def read_text(self, key: str, limit: int) -> str | None:
        """A document of metadata; at most `limit` bytes are read.

        Raises
        ------
        DataError
            If it is longer.
        """
        size = self.size(key)
        if size is None:
            return None
        if size > limit:
            raise DataError(f"{self.path}: {key!r} takes {size} bytes; at most {limit} of metadata are read")
        return (self.read(key) or b"").decode("utf-8")


class FolderStore(Store):
    """A store in a folder. Links are refused, since they may lead anywhere.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "zarr.json").write_text("{}")
    >>> FolderStore(folder).read("zarr.json"), FolderStore(folder).size("u/c/0")
    (b'{}', None)
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = os.path.realpath(path)

    def size(self, key: str) -> int | None:
        """See `Store.size`."""
        place = self._place(key)
        try:
            found = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if stat.S_ISDIR(found.st_mode):
            return None
        self._check(key, place, found)
        return found.st_size

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        """See `Store.read`."""
        if self.size(key) is None:
            return None
        with open(self._place(key), "rb") as file:
            file.seek(start)
            return file.read(-1 if length is None else length)

    def children(self, prefix: str) -> list[str]:
        """See `Store.children`."""
        found = []
        with os.scandir(self._place(prefix) if prefix else self._root) as entries:
            for entry in entries:
                if entry.is_symlink():
                    raise UnsafeFileError(
                        f"{self.path}: {prefix + entry.name!r} is a link, which may lead out of the store; copy what "
                        f"it leads to into the store"
                    )
                if entry.is_dir():
                    found.append(entry.name)
        return sorted(found)

    def close(self) -> None:
        """See `Store.close`."""

    def _place(self, key: str) -> str:
        if any(part in ("", ".", "..") or "\0" in part or os.sep in part for part in key.rstrip("/").split("/")):
            raise UnsafeFileError(f"{self.path}: the key {key!r} leads out of the store; get the store anew")
        return os.path.join(self._root, *key.rstrip("/").split("/"))

    def _check(self, key: str, place: str, found: os.stat_result) -> None:
        if stat.S_ISLNK(found.st_mode) or os.path.realpath(place) != place:
            raise UnsafeFileError(
                f"{self.path}: {key!r} is a link, which may lead out of the store; copy what it leads to into the store"
            )
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFileError(f"{self.path}: {key!r} is no regular file; get the store anew")


class ZipStore(Store):
    """A store in a zip archive, at its root or in the one folder that it holds.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "run.zip"
    >>> with zipfile.ZipFile(path, "w") as archive:
    ...     archive.writestr("run.zarr/zarr.json", "{}")
    >>> ZipStore(path).read("zarr.json")
    b'{}'
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive = zipfile.ZipFile(path)
        members = self._archive.infolist()
        self._prefix = _prefix(member.filename for member in members) or ""
        self._members = {  # the last of a name counts, as writers append what changes
            member.filename.removeprefix(self._prefix): member
            for member in members
            if member.filename.startswith(self._prefix) and not member.is_dir()
        }
        self._children: dict[str, set[str]] = {}
        for name in self._members:
            parts = name.split("/")
            if parts[-1] in METADATA:
                for depth in range(len(parts) - 1):
                    above = "".join(f"{part}/" for part in parts[:depth])
                    self._children.setdefault(above, set()).add(parts[depth])

    def size(self, key: str) -> int | None:
        """See `Store.size`."""
        member = self._members.get(key)
        return None if member is None else member.file_size

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes | None:
        """See `Store.read`."""
        member = self._members.get(key)
        if member is None:
            return None
        with self._archive.open(member) as stream:
            if start:
                stream.seek(start)
            content = stream.read(member.file_size - start if length is None else length)
        return content

    def children(self, prefix: str) -> list[str]:
        """See `Store.children`."""
        return sorted(self._children.get(prefix, ()))

    def close(self) -> None:
        """See `Store.close`."""
        self._archive.close()


def is_zarr_folder(path: Path) -> bool:
    """Whether a folder is a Zarr store: it holds the metadata of its root.

    Examples
    --------
    >>> is_zarr_folder(Path("/"))
    False
    """
    return path.is_dir() and any((path / name).is_file() for name in METADATA)


def is_zarr_zip(names: Iterable[str]) -> bool:
    """Whether the members of a zip archive are those of a Zarr store.

    Examples
    --------
    >>> is_zarr_zip(["run.zarr/.zgroup", "run.zarr/u/.zarray"]), is_zarr_zip(["u.npy"])
    (True, False)
    """
    return _prefix(names) is not None


def open_store(path: Path) -> Store:
    """The store in a folder or a zip archive."""
    return FolderStore(path) if path.is_dir() else ZipStore(path)


def _prefix(names: Iterable[str]) -> str | None:
    """The folder of the root of a store within a zip archive; None where there is none."""
    roots = {name[: -len(last)] for name in names if (last := name.rsplit("/", 1)[-1]) in METADATA}
    if not roots:
        return None
    shortest = min(roots, key=len)
    return shortest if all(root.startswith(shortest) for root in roots) else None
