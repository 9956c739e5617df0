"""Columns of numbers in text under a header of lines with a percent sign, as COMSOL exports them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sciops.errors import DataError

__all__ = ["is_text", "read_text"]

_LONGEST = 1 << 24
_HEADER_LINES = 1000
_MOST_COLUMNS = 1 << 13
_MARK = b"\xef\xbb\xbf"
_LONGEST_NAME = 500
_PAREN = r"\((?:[^()]|\([^()]{0,80}\)){0,80}\)"  # bounded: an open parenthesis must not be searched for to the end
_COLUMN = re.compile(rf"[^\s,]\S*?(?:\s{_PAREN})?(?:\s@\s(?:\d+:\s)?[\w.]+=[^\s,]+(?:,\s[\w.]+=[^\s,]+)*)?(?=\s|,|$)")


def is_text(head: bytes) -> bool:
    """Whether the first bytes of a file are those of a header line.

    Examples
    --------
    >>> is_text(b"% Model: a.mph"), is_text(b"%PDF-1.4")
    (True, False)
    """
    return head.removeprefix(_MARK).startswith(b"% ")


def read_text(path: str | Path) -> tuple[dict[str, np.ndarray[Any, np.dtype[Any]]], dict[str, str]]:
    """The columns of a file by name, and the entries of its header.

    Lines are read one after another, each at most 16 MiB long. The last line of the header names the columns, which
    stand apart by two spaces or more, or by commas; a name can carry a unit and a solution: ``T (K) @ t=0.1``.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    columns : dict of str to ndarray
        float64, or complex128 where COMSOL's ``1.0+2.0i`` stands.
    header : dict of str to str
        Such as ``{"Dimension": "2", "Length unit": "m"}``.

    Raises
    ------
    DataError
        If a line is too long, the columns do not fit their names, or the table is not one of COMSOL's spreadsheets.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "out.txt"
    >>> _ = path.write_text("% Dimension:          1\\n% x        u (1) @ t=0.5\\n0   1.5\\n1   2.5\\n")
    >>> columns, header = read_text(path)
    >>> {name: values.tolist() for name, values in columns.items()}, header
    ({'x': [0.0, 1.0], 'u (1) @ t=0.5': [1.5, 2.5]}, {'Dimension': '1'})
    """
    with Path(path).open("rb") as file:
        header, first = _header(file, path)
        start = file.tell()
        comma = b"," in first
        delimiter = "," if comma else None
        count = len(first.split(b"," if comma else None))
        if count > _MOST_COLUMNS:
            raise DataError(f"{path}: {count} columns, more than {_MOST_COLUMNS}; export the data in several files")
        names = _names(header.pop(), count, comma, path)
        dtype: type = complex if b"i" in first.replace(b"inf", b"").replace(b"Inf", b"") else float
        table: np.ndarray[Any, np.dtype[Any]]
        try:
            table = np.loadtxt(_rows(first, file, path, dtype), dtype, comments=None, delimiter=delimiter, ndmin=2)
        except (ValueError, OverflowError):
            file.seek(start)
            try:
                rows = _rows(first, file, path, complex)
                table = np.loadtxt(rows, complex, comments=None, delimiter=delimiter, ndmin=2)
            except (ValueError, OverflowError) as error:
                raise DataError(f"{path}: {str(error).splitlines()[0]}; every row needs {count} numbers") from error
    columns: dict[str, np.ndarray[Any, np.dtype[Any]]] = {}
    for name, values in zip(names, table.T, strict=True):
        if name in columns:
            raise DataError(f"{path}: two columns are called {name!r}; export each expression once")
        real = not np.iscomplexobj(values) or not values.imag.any()
        columns[name] = np.ascontiguousarray(values.real if real else values)
    return columns, dict(filter(None, map(_entry, header)))


def _header(file: BinaryIO, path: Any) -> tuple[list[str], bytes]:
    """The lines of the header without their mark, and the first row of numbers."""
    header: list[str] = []
    while line := _line(file, path):
        text = line.removeprefix(_MARK).strip()
        if text and not text.startswith(b"%"):
            break
        if text:
            header.append(text[1:].decode("utf-8", "replace").strip())
        if len(header) > _HEADER_LINES:
            raise DataError(f"{path}: more than {_HEADER_LINES} header lines; export the data as a spreadsheet")
    if not line:
        raise DataError(f"{path}: a header without rows of numbers; export the data anew")
    if not header:
        raise DataError(f"{path}: rows of numbers without a header that names them; export the data with its header")
    return header, line


def _line(file: BinaryIO, path: Any) -> bytes:
    line = file.readline(_LONGEST)
    if len(line) == _LONGEST:
        raise DataError(f"{path}: a line of more than {_LONGEST} bytes; export the data in several files")
    return line


def _rows(first: bytes, file: BinaryIO, path: Any, dtype: type) -> Iterator[str]:
    line = first
    while line:
        if line.lstrip().startswith(b"%"):
            raise DataError(
                f"{path}: a second header within the numbers ({line[:40].decode('utf-8', 'replace').strip()!r}), as in "
                f"the sectionwise and grid formats; export the data in the format Spreadsheet"
            )
        text = line.decode("ascii", "replace")
        if dtype is complex:
            text = re.sub(r"(?<=[\d.])i\b", "j", text)
        if text.strip():
            yield text
        line = _line(file, path)


def _names(text: str, count: int, comma: bool, path: Any) -> list[str]:
    """Names of the columns: the way of splitting that gives as many as there are numbers in a row."""
    ways = (
        ([part.strip().strip('"') for part in text.split(",")] if comma else re.split(r"\s{2,}", text.strip())),
        ([part.strip() for part in _COLUMN.findall(text)]),
    )
    for names in ways:
        if len(names) == count and all(0 < len(name) <= _LONGEST_NAME for name in names):
            return [re.sub(r"\s+", " ", name) for name in names]
    raise DataError(
        f"{path}: {count} numbers in the first row, but {len(ways[0])} names of columns ({text[:80]!r}); export the "
        f"data with its header in the format Spreadsheet"
    )


def _entry(line: str) -> tuple[str, str] | None:
    key, mark, value = line.partition(":")
    if not mark:
        key, mark, value = line.partition(",")
    return (key.strip(), value.strip()) if mark and key.strip() else None
