"""What an untrusted file must not hold: links out of the file, storage outside of it, and pickles.

Nothing here follows a link or runs a pickle: an HDF5 file is walked by its link table before any reader opens it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from sciops.errors import DataError, UnsafeFileError

REMEDY = "open it with trust_links=True (command line: --trust-links) if you trust the file and everything it names"
_PICKLE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".npz", ".npy", ".mat", ".joblib"}
_PICKLE_LIMIT = 1 << 24


def scan_hdf5(path: str | Path, *, trust_links: bool = False) -> None:
    """Refuse an HDF5 file that leads out of itself, or whose data are references.

    The file is opened read-only and walked object by object; each object is visited once, so that cycles of hard or
    soft links end. Refused are external links, user-defined links, data in external files, virtual data sets, and data
    of references or of variable-length arrays (strings are fine; attributes are left alone, netCDF4 keeps references
    there).

    Parameters
    ----------
    path
        The file.
    trust_links
        Do not look at all.

    Raises
    ------
    UnsafeFileError
        If the file holds any of these; the message names the object.
    DataError
        If the file cannot be read as HDF5.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "linked.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["secret"] = h5py.ExternalLink("/etc/other.h5", "/data")
    >>> try:
    ...     scan_hdf5(path)
    ... except UnsafeFileError as error:
    ...     print(str(error).split(": ", 1)[1].split(";")[0])
    'secret' is an external link to '/data' in the file '/etc/other.h5'
    """
    if trust_links:
        return
    try:
        with h5py.File(path, "r") as file:
            for name, group, link in _links(file):
                reason = _unsafe_link(group, link) or _unsafe_dataset(group, link)
                if reason:
                    raise UnsafeFileError(f"{path}: {name!r} {reason}; {REMEDY}")
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise broken(path, error, " HDF5") from error


def walk_hdf5(file: h5py.File, *, trust_links: bool = False) -> Iterator[tuple[str, h5py.Dataset]]:
    """Every data set of an open file with its name, each object once; soft links only where nothing else leads there.

    Parameters
    ----------
    file
        An open file, scanned before unless its links are trusted.
    trust_links
        Follow external links too.

    Yields
    ------
    tuple of str and h5py.Dataset
    """
    seen: set[tuple[int, int]] = set()
    found: list[tuple[str, h5py.Dataset]] = []
    soft: list[tuple[str, Any]] = []
    for name, group, link in _links(file, seen, follow=trust_links):
        kind = group.links.get_info(link).type
        if kind == h5py.h5l.TYPE_HARD:
            opened = h5py.h5o.open(group, link)
            if isinstance(opened, h5py.h5d.DatasetID):
                found.append((name, h5py.Dataset(opened)))
        elif kind == h5py.h5l.TYPE_SOFT or trust_links:
            soft.append((name, (group, link)))
    for name, (group, link) in soft:
        target = _open_or_none(group, link)
        if isinstance(target, h5py.h5d.DatasetID) and _first_visit(target, seen):
            found.append((name, h5py.Dataset(target)))
    yield from found


def is_pickle(path: Path) -> bool:
    """Whether the bytes of a file are a Python pickle; they are parsed, never run.

    Examples
    --------
    >>> import pickle, tempfile
    >>> path = Path(tempfile.mkdtemp()) / "model.pt"
    >>> path.write_bytes(pickle.dumps({"u": 1})) > 0 and is_pickle(path)
    True
    """
    with path.open("rb") as file:
        head = file.read(2)
        if len(head) == 2 and head[0] == 0x80 and 2 <= head[1] <= 5:
            return True
        if path.suffix.lower() not in _PICKLE_SUFFIXES or path.stat().st_size > _PICKLE_LIMIT:
            return False
        file.seek(0)
        try:
            count = sum(1 for _ in pickletools.genops(file))
        except (ValueError, IndexError, UnicodeDecodeError, OverflowError, EOFError):
            return False
        return count > 1 and not file.read(1)


def _links(file: h5py.File, seen: set[tuple[int, int]] | None = None, *, follow: bool = False) -> Iterator[Any]:
    """Every link as (name, id of its group, name in the group as bytes); the target of a hard link comes once."""
    seen = set() if seen is None else seen
    root = h5py.h5g.open(file.id, b"/")
    _first_visit(root, seen)
    stack = [("", root)]
    while stack:
        prefix, group = stack.pop()
        below = []
        for link in list(group):
            name = prefix + link.decode("utf-8", "replace")
            kind = group.links.get_info(link).type
            target = None
            if kind == h5py.h5l.TYPE_HARD:
                target = h5py.h5o.open(group, link)
            elif kind == h5py.h5l.TYPE_EXTERNAL and follow:
                target = _open_or_none(group, link)
            hard = kind == h5py.h5l.TYPE_HARD
            if hard and not _first_visit(target, seen):
                continue
            yield name, group, link
            if isinstance(target, h5py.h5g.GroupID) and (hard or _first_visit(target, seen)):
                below.append((name + "/", target))
        stack.extend(reversed(below))


def _first_visit(target: Any, seen: set[tuple[int, int]]) -> bool:
    info = h5py.h5o.get_info(target)
    key = (info.fileno, info.addr)
    if key in seen:
        return False
    seen.add(key)
    return True


def _open_or_none(group: Any, link: bytes) -> Any:
    """What a soft or external link leads to; None for one that leads nowhere or to itself."""
    try:
        return h5py.h5o.open(group, link)
    except (KeyError, OSError, RuntimeError):
        return None


def _unsafe_link(group: Any, link: bytes) -> str | None:
    kind = group.links.get_info(link).type
    if kind == h5py.h5l.TYPE_EXTERNAL:
        file, target = (part.decode("utf-8", "replace") for part in group.links.get_val(link))
        return f"is an external link to {target!r} in the file {file!r}"
    if kind not in (h5py.h5l.TYPE_HARD, h5py.h5l.TYPE_SOFT):
        return f"is a user-defined link (class {kind})"
    return None


def _unsafe_dataset(group: Any, link: bytes) -> str | None:
    if group.links.get_info(link).type != h5py.h5l.TYPE_HARD:
        return None
    opened = h5py.h5o.open(group, link)
    if not isinstance(opened, h5py.h5d.DatasetID):
        return None
    creation = opened.get_create_plist()
    if creation.get_external_count():
        return f"keeps its data in the file {creation.get_external(0)[0].decode('utf-8', 'replace')!r}"
    if creation.get_layout() == h5py.h5d.VIRTUAL:
        files = sorted({creation.get_virtual_filename(i) for i in range(creation.get_virtual_count())})
        return f"is a virtual data set over {', '.join(map(repr, files[:3])) or 'no file'}"
    return _unsafe_dtype(opened.dtype)


def _unsafe_dtype(dtype: np.dtype[Any]) -> str | None:
    if dtype.names is not None:
        return next((reason for name in dtype.names if (reason := _unsafe_dtype(dtype[name]))), None)
    if dtype.subdtype is not None:
        return _unsafe_dtype(dtype.subdtype[0])
    if dtype.kind != "O" or h5py.check_string_dtype(dtype) is not None:
        return None
    if h5py.check_ref_dtype(dtype) is not None:
        return "holds references, not numbers"
    return "holds variable-length arrays, not an array of numbers"


def broken(path: str | Path, error: BaseException, what: str = "") -> DataError:
    """The error to raise for a file that cannot be read: one line that says why and what to do.

    Examples
    --------
    >>> str(broken("run.h5", OSError("unable to lock file, errno = 11")))
    'run.h5: another program is writing it (unable to lock file, errno = 11); wait until that has closed it'
    """
    reason = first_line(error)
    if "unable to lock" in reason:
        return DataError(f"{path}: another program is writing it ({reason}); wait until that has closed it")
    if "filter" in reason:
        return DataError(
            f"{path}: its compression needs a plugin ({reason}); pip install hdf5plugin and import it first"
        )
    return DataError(f"{path}: truncated or corrupt{what} ({reason}); get the file anew")


def first_line(error: BaseException) -> str:
    """The first line of the message of an error, or the name of its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
