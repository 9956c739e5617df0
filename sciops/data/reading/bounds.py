"""How much a file may declare beyond the bytes that it has: what goes further is taken for a bomb, and not unpacked.

Packing makes some zeros of a gigabyte out of a megabyte, and HDF5 declares arrays that were never written. Arrays of
fields come nowhere near: more than a hundred times the bytes of the file, from 256 MiB on, is refused.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import xarray as xr

from sciops.errors import UnsafeFileError

__all__ = ["check_declared", "excessive", "readable_size", "refuse_excess", "stored_bytes"]

FREE = 1 << 28
"""Bytes that any file may declare."""
RATIO = 100
"""Bytes declared for each byte there is, beyond those that are free."""
_TRUST = "open it with trust_links=True (command line: --trust-links) if you trust the file"


def excessive(declared: int, stored: int) -> bool:
    """Whether so many bytes are too many to come out of the bytes that are there.

    Examples
    --------
    >>> excessive(10**9, 10**6), excessive(10**9, 10**8), excessive(10**6, 0)
    (True, False, False)
    """
    return declared > FREE and declared > RATIO * stored


def refuse_excess(where: str, declared: int, stored: int, remedy: str = _TRUST) -> None:
    """Refuse what declares too much; `where` begins the message with file and variable.

    Raises
    ------
    UnsafeFileError
        With both numbers and the remedy.

    Examples
    --------
    >>> refuse_excess("a.h5: 'u'", 10**6, 100)
    """
    if excessive(declared, stored):
        raise UnsafeFileError(
            f"{where} declares {readable_size(declared)} in {readable_size(stored)}, more than {RATIO} to 1: corrupt "
            f"or hostile; {remedy}"
        )


def check_declared(ds: xr.Dataset, path: Path) -> None:
    """Refuse a lazy data set with a variable, or chunks of one, far larger than its file.

    Raises
    ------
    UnsafeFileError
        Names the variable.

    Examples
    --------
    >>> check_declared(xr.Dataset({"u": ("x", [1.0])}), Path(__file__))
    """
    for name, variable in ds.variables.items():
        chunks = variable.encoding.get("preferred_chunks") or {}
        sizes = [chunks.get(dim, size) for dim, size in zip(variable.dims, variable.shape, strict=True)]
        together = math.prod(sizes) * variable.dtype.itemsize if chunks else 0
        most = max(variable.nbytes, together)
        if most > FREE:
            chunked = f" in chunks {tuple(sizes)}" if most == together else ""
            where = f"{path}: {str(name)!r} of shape {variable.shape}{chunked}"
            refuse_excess(where, most, stored_bytes(path, most))


def stored_bytes(path: Path, declared: int) -> int:
    """Bytes of a file, or of the files of a folder until there are enough for those declared.

    Examples
    --------
    >>> stored_bytes(Path(__file__), 0) > 1000
    True
    """
    if not path.is_dir():
        return path.stat().st_size
    total, folders = 0, [str(path)]
    while folders:
        for entry in os.scandir(folders.pop()):
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
                continue
            total += entry.stat(follow_symlinks=False).st_size
            if total * RATIO >= declared:
                return total
    return total


def readable_size(size: float) -> str:
    """A number of bytes with its unit.

    Examples
    --------
    >>> readable_size(3 << 20)
    '3 MiB'
    """
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{size:.3g} {unit}"
