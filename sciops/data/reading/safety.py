"""What an untrusted file must not hold: links out of the file, storage outside of it, and pickles.

Nothing here follows a link or runs a pickle: an HDF5 file is walked by its link table before any reader opens it.
"""

from __future__ import annotations

import contextlib
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np

from sciops.data.reading.filters import filter_remedy
from sciops.data.reading.heap import CheckedFile, read_texts
from sciops.errors import DataError, UnsafeFileError

REMEDY = "open it with trust_links=True (command line: --trust-links) if you trust the file and everything it names"
_PICKLE_SUFFIXES = {".pkl", ".pickle", ".pt", ".pth", ".npz", ".npy", ".mat", ".joblib"}
_PICKLE_LIMIT = 1 << 24


class Found(NamedTuple):
    """A data set of an HDF5 file, open: what its header says; the values are not read."""

    id: h5py.h5d.DatasetID
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None


def scan_hdf5(path: str | Path, *, trust_links: bool = False) -> None:
    """Refuse an HDF5 file that leads out of itself, or whose data are references.

    The file is opened read-only and walked by `walk_hdf5`.

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
        with inspected(path) as file:
            for _ in walk_hdf5(file, path=path):
                pass
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise broken(path, error, " HDF5") from error


@contextlib.contextmanager
def inspected(path: str | Path, *, trust_links: bool = False) -> Iterator[h5py.File]:
    """An HDF5 file opened to be walked through, and closed again before any reader opens it.

    Only the library itself follows a link into another file, so that a trusted one is opened by it alone.
    """
    if trust_links:
        with h5py.File(path, "r") as file:
            yield file
        return
    with CheckedFile(path) as raw:
        try:
            with h5py.File(raw, "r") as file:
                yield file
        except Exception as error:
            if raw.defect:
                raise broken(path, OSError(raw.defect), " HDF5") from error
            raise


def walk_hdf5(
    file: h5py.File, *, trust_links: bool = False, path: str | Path | None = None
) -> Iterator[tuple[str, Found]]:
    """Every data set of an open file with its name, each object once; soft links only where nothing else leads there.

    One pass does for safety and for the list: what comes was looked at, and a soft link is followed only when every
    link of the file is known to stay in it. Refused are external links, user-defined links, data in external files,
    virtual data sets, and data of references or of variable-length arrays (strings are fine; attributes are left alone,
    netCDF4 keeps references there). Cycles of hard or soft links end. Texts are read, so that a heap in which the
    library would run in circles is found here (`sciops.data.reading.heap`).

    Parameters
    ----------
    file
        An open file.
    trust_links
        Refuse nothing, and follow external links too.
    path
        Its name for messages; None: the name it was opened by.

    Yields
    ------
    tuple of str and Found

    Raises
    ------
    UnsafeFileError
        If the file leads out of itself or holds what is refused; the message names the object.
    """
    path = file.filename if path is None else path
    seen: set[tuple[int, int]] = set()
    root = h5py.h5g.open(file.id, b"/")
    _first_visit(root, seen)
    if not trust_links:
        read_texts(root, path)
    fileno = h5py.h5o.get_info(root).fileno
    dtypes: dict[bytes, np.dtype[Any]] = {}
    later: list[tuple[str, Any, bytes]] = []
    stack = [("", root)]
    while stack:
        prefix, group = stack.pop()
        below = []
        for link, kind, address in _links(group):
            name = prefix + link.decode("utf-8", "replace")
            if kind == h5py.h5l.TYPE_HARD:
                # in one file the address of its header tells an object; other files have addresses of their own
                if not trust_links and _known((fileno, address), seen):
                    continue
                target = h5py.h5o.open(group, link)
                if trust_links and not _first_visit(target, seen):
                    continue
            elif trust_links and kind == h5py.h5l.TYPE_EXTERNAL:
                target = _open_or_none(group, link)
                if not isinstance(target, h5py.h5g.GroupID):
                    later.append((name, group, link))
                    continue
                if not _first_visit(target, seen):
                    continue
            elif trust_links or kind == h5py.h5l.TYPE_SOFT:
                later.append((name, group, link))
                continue
            else:
                raise UnsafeFileError(f"{path}: {name!r} {_outside(group, link, kind)}; {REMEDY}")
            if isinstance(target, h5py.h5g.GroupID):
                below.append((name + "/", target))
                if not trust_links:
                    read_texts(target, path)
            elif isinstance(target, h5py.h5d.DatasetID):
                yield name, _examined(path, name, target, dtypes, trust_links)
        stack.extend(reversed(below))
    for name, group, link in later:
        target = _open_or_none(group, link)
        if isinstance(target, h5py.h5d.DatasetID) and _first_visit(target, seen):
            yield name, _examined(path, name, target, dtypes, trust_links)


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


def _links(group: Any) -> list[tuple[bytes, int, int]]:
    """The links of a group in the order of their names: (name, type, address of the header behind a hard link)."""
    links: list[tuple[bytes, int, int]] = []
    group.links.iterate(lambda name, info: links.append((name, info.type, info.u)), info=True)
    return links


def _known(key: tuple[int, int], seen: set[tuple[int, int]]) -> bool:
    if key in seen:
        return True
    seen.add(key)
    return False


def _first_visit(target: Any, seen: set[tuple[int, int]]) -> bool:
    info = h5py.h5o.get_info(target)
    return not _known((info.fileno, info.addr), seen)


def _open_or_none(group: Any, link: bytes) -> Any:
    """What a soft or external link leads to; None for one that leads nowhere or to itself."""
    try:
        return h5py.h5o.open(group, link)
    except (KeyError, OSError, RuntimeError):
        return None


def _outside(group: Any, link: bytes, kind: int) -> str:
    if kind == h5py.h5l.TYPE_EXTERNAL:
        file, target = (part.decode("utf-8", "replace") for part in group.links.get_val(link))
        return f"is an external link to {target!r} in the file {file!r}"
    return f"is a user-defined link (class {kind})"


def _examined(
    path: str | Path, name: str, opened: h5py.h5d.DatasetID, dtypes: dict[bytes, np.dtype[Any]], trusted: bool
) -> Found:
    """The header of a data set, refused where its values are not in the file or are no values."""
    creation = opened.get_create_plist()
    layout = creation.get_layout()
    stored = opened.get_type()
    code = stored.encode()
    if code not in dtypes:  # to translate a type takes longer than to look it up
        dtypes[code] = stored.dtype
    dtype = dtypes[code]
    if not trusted:
        reason = _unsafe_dataset(creation, layout) or _unsafe_dtype(dtype)
        if reason:
            raise UnsafeFileError(f"{path}: {name!r} {reason}; {REMEDY}")
        if dtype.hasobject or h5py.h5a.get_num_attrs(opened):
            read_texts(opened, path, values=dtype.hasobject)
    return Found(opened, opened.shape or (), dtype, creation.get_chunk() if layout == h5py.h5d.CHUNKED else None)


def _unsafe_dataset(creation: Any, layout: int) -> str | None:
    if creation.get_external_count():
        return f"keeps its data in the file {creation.get_external(0)[0].decode('utf-8', 'replace')!r}"
    if layout == h5py.h5d.VIRTUAL:
        files = sorted({creation.get_virtual_filename(i) for i in range(creation.get_virtual_count())})
        return f"is a virtual data set over {', '.join(map(repr, files[:3])) or 'no file'}"
    return None


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
    if "filter" in reason and "returned failure" not in reason:
        return DataError(f"{path}: its compression needs a plugin ({reason}); {filter_remedy()}")
    return DataError(f"{path}: truncated or corrupt{what} ({reason}); get the file anew")


def first_line(error: BaseException) -> str:
    """The first line of the message of an error, or the name of its class."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
