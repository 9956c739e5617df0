"""Whether a block of samples fits the template of its file: dtypes, values, units and coordinates."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.writing.encoding import check_texts
from sciops.errors import InputError

__all__ = ["check_coordinates", "check_kind", "check_units", "fitted"]

Array = np.ndarray[Any, np.dtype[Any]]
_SAME_GRID = 1e-6  # of the spacing


def check_kind(name: str, template: np.dtype[Any], block: np.dtype[Any], path: Path) -> None:
    """Refuse a block of another kind of values: numbers, texts, times, complex numbers.

    Raises
    ------
    InputError
        If the kinds differ.

    Examples
    --------
    >>> check_kind("u", np.dtype("f4"), np.dtype("i2"), Path("run.nc"))
    """
    if _kind(template) != _kind(block):
        raise InputError(
            f"{path}: {name!r} has the dtype {template} in the template, {block} in a block; make both the same, such "
            f"as by astype"
        )


def _kind(dtype: np.dtype[Any]) -> str:
    return "number" if dtype.kind in "biuf" else "text" if dtype.kind in "OSTU" else dtype.kind


def check_units(name: str, template: xr.Variable, block: xr.Variable, path: Path) -> None:
    """Refuse units that both have and that differ.

    Raises
    ------
    InputError
        If they differ.

    Examples
    --------
    >>> check_units("u", xr.Variable("x", [1], {"units": "m"}), xr.Variable("x", [1]), Path("run.nc"))
    """
    wanted, found = (str(each.attrs.get("units", "")) for each in (template, block))
    if wanted and found and wanted != found:
        raise InputError(f"{path}: {name!r} has the units {wanted!r} in the template, {found!r} in a block; convert it")


def check_coordinates(names: Iterable[Any], template: xr.Dataset, block: xr.Dataset, path: Path) -> None:
    """Refuse coordinates that both have and that differ.

    Raises
    ------
    InputError
        If they differ in dimensions, units or values.

    Examples
    --------
    >>> ds = xr.Dataset(coords={"x": [0.0, 1.0]})
    >>> check_coordinates(["x"], ds, ds, Path("run.nc"))
    """
    for name in names:
        if name not in block.coords:
            continue
        one, other = template.variables[name], block.variables[name]
        check_units(str(name), one, other, path)
        if one.dims != other.dims or one.shape != other.shape or not _same(one, other):
            raise InputError(
                f"{path}: the coordinate {str(name)!r} is {_words(one)} in the template, {_words(other)} in a block; "
                f"append blocks on the grid of the template"
            )


def _same(one: xr.Variable, other: xr.Variable) -> bool:
    if one._data is other._data:
        return True
    a, b = one.values, other.values
    if a.dtype.kind in "iuf" and b.dtype.kind in "iuf" and a.size:
        a, b = a.astype(np.float64), b.astype(np.float64)
        near = _SAME_GRID * float(np.ptp(a)) / max(1, a.size - 1)
        return bool(np.allclose(a, b, rtol=1e-12, atol=near, equal_nan=True))
    return bool(np.array_equal(a, b))


def _words(line: xr.Variable) -> str:
    size = " x ".join(f"{dim} {length}" for dim, length in line.sizes.items()) or "one value"
    if not line.size or line.dtype.kind not in "iuf":
        return size
    values = line.values.reshape(-1)
    return f"{size}, from {values[0]:.8g} to {values[-1]:.8g}"


def fitted(name: str, values: Array, dtype: np.dtype[Any], path: Path, *, truth: bool = False) -> Array:
    """Values as they are stored; floats may be rounded to the precision of the template, nothing else may change.

    Parameters
    ----------
    name
        Of the variable.
    values
        A block of it.
    dtype
        That of the file.
    path
        For messages.
    truth
        Whether the file holds truth values, as 0 and 1.

    Raises
    ------
    InputError
        If the dtype cannot hold a value.

    Examples
    --------
    >>> fitted("u", np.array([1.0, 2.0]), np.dtype("i1"), Path("run.nc")).dtype
    dtype('int8')
    """
    check_kind(name, dtype, values.dtype, path)
    if dtype.kind in "OU":
        check_texts(name, values, path)
        return values.astype(dtype, copy=False)
    if truth and values.dtype != bool:
        kept = (values == 0) | (values == 1)
    elif np.can_cast(values.dtype, dtype, "safe") and not _rounded(values.dtype, dtype):
        return values.astype(dtype, copy=False)
    else:
        kept = _kept(values, dtype)
    if not kept.all():
        wanted = "bool" if truth else str(dtype)
        raise InputError(
            f"{path}: {name!r} is stored as {wanted}, as in the template, and a block ({values.dtype}) holds "
            f"{values[~kept].reshape(-1)[0]}, which would change; give the template a dtype that holds it"
        )
    return values.astype(dtype)


def _rounded(given: np.dtype[Any], dtype: np.dtype[Any]) -> bool:
    """Whether integers may not all be floats of this dtype, which numpy calls safe for 64 bits."""
    return given.kind in "iu" and dtype.kind == "f" and given.itemsize >= dtype.itemsize


def _kept(values: Array, dtype: np.dtype[Any]) -> Any:
    """Where a number stays the same, or a float is rounded to another float."""
    if dtype.kind == "f" and values.dtype.kind == "f":
        with np.errstate(over="ignore", under="ignore"):
            return np.isfinite(values.astype(dtype)) | ~np.isfinite(values)
    if dtype.kind == "f":
        stored = values.astype(dtype)
        with np.errstate(invalid="ignore"):
            return (stored < _end(values.dtype)) & (stored.astype(values.dtype) == values)
    whole = np.iinfo(dtype)
    if values.dtype.kind == "f":
        wide = values.astype(np.promote_types(values.dtype, np.float64))
        return (wide >= whole.min) & (wide < _end(dtype)) & (np.trunc(wide) == wide)
    held = np.iinfo(values.dtype)
    return (values >= max(whole.min, held.min)) & (values <= min(whole.max, held.max))


def _end(dtype: np.dtype[Any]) -> float:
    """The first float above the numbers of an integer dtype."""
    return 2.0 ** (8 * dtype.itemsize - (dtype.kind == "i"))
