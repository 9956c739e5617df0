"""Opening files of simulations whatever their layout, and writing the native one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from sciops.data import layouts
from sciops.data.assembly import Dims, Options, finish
from sciops.data.axis import Axis, Kind
from sciops.data.containers import reading
from sciops.data.storage import Contents
from sciops.data.writing import StreamWriter, write
from sciops.errors import DataError, InputError

__all__ = ["StreamWriter", "open", "write"]


def open(
    path: str | os.PathLike[str],
    layout: str | None = None,
    *,
    sample_dim: str | None = None,
    dims: Mapping[str, Dims] | None = None,
    coords: Mapping[str, str | Axis | Any] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    trust_links: bool = False,
) -> xr.Dataset:
    """Open a file of simulations as a lazy `xarray.Dataset`; its layout is recognised by what is in it.

    Variables keep the names of the file. Only what is indexed is read, and the data set pickles: another process opens
    the file for itself. `sciops.data.conventions` says what dimensions, coordinates and attributes mean.

    Parameters
    ----------
    path
        HDF5, netCDF4, MATLAB ``.mat``, NumPy ``.npz`` or PyTorch ``.pt`` file.
    layout
        Name of the layout; None recognises it. `sciops.data.layouts.registry` lists the names.
    sample_dim
        Name of the dimension that counts samples, where the file does not say.
    dims
        Declares a file of no known layout: for each array to read, by its path in the file, the names of its axes in
        order; None for an axis of length 1 to drop. ``time`` is time and ``channel`` counts channels.
    coords
        Coordinates of dimensions: the path of an array in the file, an `Axis`, or values. Where there are none,
        ``x_i = i / N`` of kind left is assumed and marked.
    kinds
        Kinds of axes by dimension, such as ``{"x": "periodic"}``, which coordinates alone do not tell.
    trust_links
        Follow external links, external storage and virtual data sets of an HDF5 file.

    Returns
    -------
    xarray.Dataset
        Variables with the dimensions ``(sample, time, channel, *space)`` as far as they have them.

    Raises
    ------
    InputError
        If an option is not of its type, or there is no such layout or kind.
    DataError
        If the file is missing, empty, corrupt, without samples or not numeric.
    LayoutError
        If no layout fits, or the declared one does not.
    UnsafeFileError
        If the file holds a pickle, or leads out of itself.

    Examples
    --------
    >>> import tempfile, h5py, numpy as np
    >>> path = Path(tempfile.mkdtemp()) / "run.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["fields/u"] = np.zeros((5, 8, 8))
    >>> ds = open(path, sample_dim="run", dims={"fields/u": ("run", "x", "y")})
    >>> dict(ds.sizes), ds.x.attrs["kind"]
    ({'run': 5, 'x': 8, 'y': 8}, 'left')
    """
    path = existing_file(path)
    _check_options(path, layout=layout, sample_dim=sample_dim, dims=dims, coords=coords, kinds=kinds)
    options = Options(sample_dim=sample_dim, dims=dims, coords=dict(coords or {}), kinds=dict(kinds or {}))
    if dims is not None:
        if layout not in (None, "declared"):
            raise InputError(f"{path}: dims= declares the layout; layout={layout!r} cannot be given with it")
        layout = "declared"
    elif layout == "declared":
        raise InputError(f"{path}: the layout 'declared' needs dims=, such as dims={{'u': ('sample', 'x', 'y')}}")
    contents = Contents(path, trust_links=trust_links)
    try:
        name, reason = ("declared", "declared by dims=") if dims is not None else layouts.detect(contents, layout)
        with reading(path):
            ds = layouts.registry[name]().read(contents, options)
            return finish(ds, options, path=path, layout=name, reason=reason)
    except BaseException:
        contents.close()
        raise


def _check_options(path: Path, *, layout: Any, sample_dim: Any, dims: Any, coords: Any, kinds: Any) -> None:
    for option, value in (("layout", layout), ("sample_dim", sample_dim)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"{path}: {option}= is a name, got {value!r}")
    examples = {"dims": "{'u': ('sample', 'x')}", "coords": "{'x': 'grid/x'}", "kinds": "{'x': 'periodic'}"}
    for (option, example), value in zip(examples.items(), (dims, coords, kinds), strict=True):
        if value is not None and not (isinstance(value, Mapping) and all(isinstance(key, str) for key in value)):
            raise InputError(f"{path}: {option}= is a mapping by name, such as {example}, got {value!r}")
    for name, axes in (dims or {}).items():
        known = isinstance(axes, Sequence) and all(axis is None or isinstance(axis, str) for axis in axes)
        if isinstance(axes, bytes) or not known:
            raise InputError(
                f"{path}: dims= of {name!r} names the axes in order, such as ('sample', 'x'), None for one to drop; "
                f"got {axes!r}"
            )


def existing_file(path: str | os.PathLike[str]) -> Path:
    """The absolute path of a file that is there.

    Raises
    ------
    DataError
        If it is missing, a folder or another special file; the message names the near files of the folder.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"a path is needed, got {type(path).__name__}; an open data set is used as it is")
    file = Path(path).expanduser()
    try:
        if file.is_dir():
            inside = sorted(entry.name for entry in file.iterdir() if entry.is_file())[:5]
            raise DataError(f"{file}: a folder, not a file; it holds {', '.join(inside) or 'no files'}")
        if file.is_file():
            return file.absolute()
        if file.exists():
            raise DataError(f"{file}: not a regular file; copy its content to a file first")
        if not file.parent.is_dir():
            raise DataError(f"{file}: no such file, and no folder {file.parent}")
        names = [entry.name for entry in file.parent.iterdir() if entry.is_file()]
    except OSError as error:
        raise DataError(f"{file}: cannot be looked at ({error.strerror or error})") from error
    close = difflib.get_close_matches(file.name, names, n=3)
    raise DataError(f"{file}: no such file" + (f"; did you mean {' or '.join(map(repr, close))}?" if close else ""))
