"""What layouts of HDF5 share: attributes that are lists or truth values however they were written, and coordinates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sciops.data.conventions.attributes import text
from sciops.data.layouts import Contents
from sciops.data.reading.containers import Array
from sciops.errors import LayoutError

__all__ = ["boundary_text", "is_dedalus", "one_line", "scalars", "texts", "truth"]


def is_dedalus(contents: Contents) -> bool:
    """Whether an HDF5 file holds the groups ``scales`` and ``tasks`` of Dedalus, and its times."""
    groups = {name.split("/", 1)[0] for name in contents.entries if "/" in name}
    return {"scales", "tasks"} <= groups and "scales/sim_time" in contents.entries


def texts(value: Any) -> list[str]:
    """An attribute that lists texts, written as an array, as one text, or as nothing.

    Examples
    --------
    >>> texts(np.array([b"x", b"y"])), texts("x"), texts(None), texts(np.array([]))
    (['x', 'y'], ['x'], [], [])
    """
    if value is None:
        return []
    if isinstance(value, str | bytes):
        return [text(value)] if value else []
    return list(map(text, np.ravel(value)))


def scalars(attributes: Mapping[str, Any], names: Sequence[str]) -> dict[str, float]:
    """Those of the named attributes that are one number.

    Examples
    --------
    >>> scalars({"Nu": 0.1, "rho": np.ones(2), "title": "run"}, ("Nu", "rho", "title", "beta"))
    {'Nu': 0.1}
    """
    found = {name: attributes.get(name) for name in names}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def truth(value: Any) -> bool | None:
    """An attribute that is true or false, written as boolean, number or text; None where it says neither.

    Examples
    --------
    >>> truth(np.int8(1)), truth("False"), truth(None)
    (True, False, None)
    """
    if isinstance(value, str | bytes):
        words = texts(value)
        return {"true": True, "1": True, "false": False, "0": False}.get(words[0].strip().lower()) if words else None
    if value is None or np.size(value) != 1:
        return None
    return bool(np.asarray(value).reshape(()))


def one_line(contents: Contents, name: str, size: int) -> Array | None:
    """Coordinates ``(size,)``, or ``(n, size)`` with n equal rows; None where the rows differ.

    Raises
    ------
    LayoutError
        If the shape is another.
    """
    entry = contents.entries[name]
    if entry.shape[-1:] != (size,) or len(entry.shape) > 2 or not entry.numeric:
        raise LayoutError(
            f"{contents.path}: the coordinates {name!r} have shape {entry.shape} and dtype {entry.dtype}; ({size},) or "
            f"(samples, {size}) numbers are needed"
        )
    values = contents.read(name)
    rows = values.reshape(-1, size)
    return rows[0] if len(rows) and bool((rows == rows[:1]).all()) else None


def boundary_text(conditions: Mapping[str, str | Sequence[str]]) -> str:
    """The attribute ``boundary_conditions``: for each dimension the lower and the upper one, or ``"periodic"``.

    Examples
    --------
    >>> boundary_text({"x": "periodic", "y": ("wall", "open")})
    '{"x": "periodic", "y": ["wall", "open"]}'
    """
    return json.dumps({dim: kind if isinstance(kind, str) else list(kind) for dim, kind in conditions.items()})
