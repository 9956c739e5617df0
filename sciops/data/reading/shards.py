"""Files that are parts of one data set, joined along samples or along time; only what is indexed is read.

A part is opened when an index touches it, and xarray's cache of files bounds how many stay open.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from sciops.data.conventions import sample_dim, time_dim
from sciops.data.reading.containers import Array
from sciops.errors import DataError, LayoutError, MissingDependencyError

__all__ = ["JoinedArray", "join"]

_COMPARED = 1 << 24  # bytes up to which what does not depend on the sample is compared by its values
_SAME_GRID = 1e-6


class JoinedArray(BackendArray):
    """Variables of several files one after another along their first axis.

    Parameters
    ----------
    parts
        A lazy variable of each file.
    lengths
        How many entries along the joined axis each part has.
    joined
        Whether the parts have that axis; without it a part stands for each of its entries.
    dtype
        Of the values.

    Examples
    --------
    >>> parts = [xr.Variable(("sample", "x"), np.full((2, 3), i)) for i in range(2)]
    >>> array = JoinedArray(parts, [2, 2], joined=True, dtype=np.dtype(int))
    >>> xr.Variable(("sample", "x"), indexing.LazilyIndexedArray(array))[[3, 0], 0].values.tolist()
    [1, 0]
    """

    def __init__(
        self, parts: Sequence[xr.Variable], lengths: Sequence[int], *, joined: bool, dtype: np.dtype[Any]
    ) -> None:
        self.parts, self.joined, self.dtype = list(parts), joined, dtype
        self.starts = np.cumsum([0, *lengths[:-1]])
        self.shape = (sum(lengths), *parts[0].shape[joined:])

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Array:
        first, rest = key[0], key[1:]
        positions = np.arange(*first.indices(self.shape[0])) if isinstance(first, slice) else np.asarray(first)
        positions = np.where(positions < 0, positions + self.shape[0], positions)
        owners = np.searchsorted(self.starts, positions, side="right") - 1
        if not positions.ndim:
            return self._part(int(owners), int(positions - self.starts[owners]), rest)
        if not positions.size:
            nothing = xr.Variable(self.parts[0].dims, self.parts[0]._data, fastpath=True)
            inner = nothing[(slice(0, 0), *rest) if self.joined else rest].shape[self.joined :]
            return np.empty((0, *inner), self.dtype)
        result: Array | None = None
        for owner in np.unique(owners):
            mine = np.flatnonzero(owners == owner)
            local = positions[mine] - self.starts[owner]
            step = np.diff(local)
            neighbours = local.size > 1 and bool((step == 1).all())
            values = self._part(int(owner), slice(local[0], local[-1] + 1) if neighbours else local, rest)
            if result is None:
                result = np.empty((len(positions), *values.shape[self.joined :]), self.dtype)
            result[mine] = values
        assert result is not None
        return result

    def _part(self, owner: int, local: Any, rest: tuple[Any, ...]) -> Array:
        part = self.parts[owner]
        values = part[(local, *rest)] if self.joined else part[rest]
        return np.asarray(values.values).astype(self.dtype, copy=False)


def join(files: Sequence[Path], name: str, opened: Callable[[Path, str | None], xr.Dataset]) -> xr.Dataset:
    """The data sets of several files as one.

    They are joined along the samples. Files that are one trajectory each are joined along time where the times go on
    from file to file, and make one sample each otherwise. Numbers that differ between the files become parameters of
    each sample, and so do fields that do not depend on the sample in one file.

    Parameters
    ----------
    files
        The files, in order.
    name
        What they were asked for by, for messages.
    opened
        Opens a file, given the layout of the first one.

    Raises
    ------
    DataError
        If two files differ in variables, units or grid: both are named.
    LayoutError
        If one has another layout.
    """
    parts = [_closed(opened(files[0], None))]
    layout = str(parts[0].attrs["layout"])
    for file in files[1:]:
        try:
            parts.append(_closed(opened(file, layout)))
        except LayoutError as error:
            raise LayoutError(f"{error} ({files[0]} has the layout {layout!r})") from error
    sample, time = sample_dim(parts[0]), time_dim(parts[0])
    dim, how = sample, f"the {sample or 'sample'}s of each follow one another"
    times = None
    if dim is None and time is not None and all(time in part.coords and part.sizes.get(time) for part in parts):
        times = _common_times([part[time].variable for part in parts], files)
        if any((line != line).any() for line in times) or all(a[-1] < b[0] for a, b in itertools.pairwise(times)):
            _check_times(times, files)
            dim, how = time, "each goes on in time where the one before ends"
    if dim is None:
        dim, how, times = "sample", "each is one sample", None
    for file, part in zip(files[1:], parts[1:], strict=True):
        _compare(files[0], parts[0], file, part, dim)
    ds = _joined(parts, dim, new=dim not in parts[0].dims)
    if times is not None and dim == time:
        ds = ds.assign_coords({dim: (dim, np.concatenate(times), parts[0][dim].attrs)})
    ds.attrs = {**parts[0].attrs, "sample_dim": dim} if dim != time else dict(parts[0].attrs)
    ds.attrs["layout_reason"] = (
        f"{len(files)} files, {files[0].name} to {files[-1].name}, joined along {dim} since they hold the same "
        f"variables on the same grid and {how}; each is {parts[0].attrs['layout_reason']}"
    )
    ds.encoding.update(source=name, sources=[str(file) for file in files])
    ds.set_close(functools.partial(_close, [part._close for part in parts]))
    return ds


def _close(each: Sequence[Callable[[], None] | None]) -> None:
    for close in each:
        if close is not None:
            close()


def _closed(ds: xr.Dataset) -> xr.Dataset:
    """A data set whose file is opened again when it is read, so that many take no handles."""
    close = ds._close
    ds.close()
    ds.set_close(close)
    return ds


def _joined(parts: Sequence[xr.Dataset], dim: str, *, new: bool) -> xr.Dataset:
    lengths = [1 if new else part.sizes[dim] for part in parts]
    variables, coords = {}, {}
    for key, first in parts[0].variables.items():
        each = [part.variables[key] for part in parts]
        if key in parts[0].coords:
            coords[key] = _lined_up(each) if dim in first.dims else first
            continue
        field = new and bool(first.dims) and first.attrs.get("role") != "mask"
        if dim in first.dims or field or not _equal(each):
            variables[key] = _along(each, lengths, dim)
        else:
            variables[key] = first
    return xr.Dataset(variables, coords)


def _lined_up(parts: Sequence[xr.Variable]) -> xr.Variable:
    return xr.Variable(parts[0].dims, np.concatenate([part.values for part in parts]), parts[0].attrs)


def _along(parts: Sequence[xr.Variable], lengths: Sequence[int], dim: str) -> xr.Variable:
    first = parts[0]
    joined = dim in first.dims
    dtype = np.result_type(*(part.dtype for part in parts)) if first.dtype.kind in "biufc" else first.dtype
    array = JoinedArray(parts, lengths, joined=joined, dtype=dtype)
    dims = first.dims if joined else (dim, *first.dims)
    chunks = [part.encoding.get("preferred_chunks") for part in parts]
    encoding: dict[str, Any] = {}
    if chunks[0] and all(chunk == chunks[0] for chunk in chunks):
        encoding["preferred_chunks"] = chunks[0] if joined else {dim: 1, **chunks[0]}
    return xr.Variable(dims, indexing.LazilyIndexedArray(array), first.attrs, encoding, fastpath=True)


def _equal(parts: Sequence[xr.Variable]) -> bool:
    """Whether variables hold the same values; large ones are not read, and count as different."""
    if any(part.nbytes > _COMPARED for part in parts):
        return False
    first = parts[0].values
    return all(_same(first, part.values) for part in parts[1:])


def _same(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    return bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc" and other.dtype.kind in "fc"))


def _compare(first_file: Path, first: xr.Dataset, file: Path, other: xr.Dataset, dim: str) -> None:
    """Refuse files that differ in variables, dimensions, units or grid."""
    for key in [*first.data_vars, *other.data_vars]:
        if key not in other.data_vars or key not in first.data_vars:
            lacks, has = (file, first_file) if key not in other.data_vars else (first_file, file)
            raise DataError(f"{lacks}: no variable {key!r}, which {has} has; join files that hold the same variables")
        a, b = first[key], other[key]
        sizes = [{d: n for d, n in v.sizes.items() if d != dim} for v in (a, b)]
        if a.dims != b.dims or sizes[0] != sizes[1]:
            raise DataError(
                f"{file}: {key!r} has the dimensions {_lengths(b)}, in {first_file} {_lengths(a)}; join files on the "
                f"same grid"
            )
        units = [str(v.attrs.get("units", "")) for v in (a, b)]
        if units[0] != units[1]:
            raise DataError(f"{file}: {key!r} has the units {units[1]!r}, in {first_file} {units[0]!r}; convert one")
    for key, line in first.coords.items():
        if dim in line.dims:
            continue
        if key not in other.coords:
            raise DataError(f"{file}: no coordinate {key!r}, which {first_file} has; join files on the same grid")
        _compare_lines(str(key), line, other[key], first_file, file)


def _compare_lines(name: str, one: xr.DataArray, other: xr.DataArray, first_file: Path, file: Path) -> None:
    same = (
        one.dims == other.dims
        and one.shape == other.shape
        and all(str(one.attrs.get(key, "")) == str(other.attrs.get(key, "")) for key in ("units", "kind"))
    )
    if same and one.dtype.kind in "iuf" and other.dtype.kind in "iuf":
        a, b = one.values.astype(np.float64), other.values.astype(np.float64)
        near = _SAME_GRID * float(np.ptp(a)) / max(1, a.size - 1) if a.size else 0.0
        same = bool(np.allclose(a, b, rtol=1e-12, atol=near, equal_nan=True))
    elif same:
        same = _same(one.values, other.values)
    if not same:
        raise DataError(
            f"{file}: the coordinate {name!r} is {_line(other)}, in {first_file} {_line(one)}; join files on the same "
            f"grid, or interpolate one of them"
        )


def _lengths(variable: xr.DataArray) -> str:
    return f"({', '.join(f'{dim} {size}' for dim, size in variable.sizes.items())})"


def _line(line: xr.DataArray) -> str:
    words = [" x ".join(map(str, line.shape)) or "one value"]
    words += [str(line.attrs[key]) for key in ("kind", "units") if line.attrs.get(key)]
    if line.size and line.dtype.kind in "iuf":
        values = line.values.reshape(-1)
        words.append(f"from {values[0]:.8g} to {values[-1]:.8g}")
    return ", ".join(words)


def _check_times(times: Sequence[Array], files: Sequence[Path]) -> None:
    """Refuse times that do not ascend, where files are joined along them."""
    for line, file in zip(times, files, strict=True):
        late = np.flatnonzero(~(line[1:] >= line[:-1])) + 1
        if line[0] != line[0] or late.size:
            place = int(late[0]) if line[0] == line[0] else 0
            raise DataError(
                f"{file}: its times do not ascend, the one at {place} is {line[place]}, so it cannot be joined with "
                f"{files[0 if file != files[0] else 1].name} along time; sort its times or mend them"
            )


def _common_times(lines: Sequence[xr.Variable], files: Sequence[Path]) -> list[Array]:
    """The times of each file, counted from the first one of the first file."""
    first = lines[0].attrs
    if "reference" not in first or any("reference" not in line.attrs for line in lines):
        return [line.values for line in lines]
    offsets = [0.0] * len(lines)
    if any(line.attrs["reference"] != first["reference"] for line in lines):
        offsets = [_offset(line.attrs, first, file, files[0]) for line, file in zip(lines, files, strict=True)]
    starts = [offset + float(line.attrs["first"]) for offset, line in zip(offsets, lines, strict=True)]
    return [line.values + (start - starts[0]) for line, start in zip(lines, starts, strict=True)]


def _offset(attributes: Any, first: Any, file: Path, first_file: Path) -> float:
    """The moment from which a file counts its times, in the units of the first file."""
    calendar = str(first.get("calendar", "standard"))
    if attributes["units"] != first["units"] or str(attributes.get("calendar", "standard")) != calendar:
        raise DataError(
            f"{file}: its times are {attributes['reference']!r} in the calendar {attributes.get('calendar')!r}, in "
            f"{first_file} {first['reference']!r} in {calendar!r}; convert one"
        )
    try:
        import cftime
    except ImportError as error:
        raise MissingDependencyError(
            f"{file}: times counted from different days need cftime; install it by pip install 'sciops[formats]'"
        ) from error
    try:
        origin = cftime.num2date(0, attributes["reference"], calendar)
        return float(cftime.date2num(origin, first["reference"], calendar))
    except (ValueError, TypeError, OverflowError) as error:
        raise DataError(f"{file}: times {attributes['reference']!r} are no dates ({error}); mend the units") from error
