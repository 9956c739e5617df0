"""Opening files of simulations whatever their layout, and writing the native one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from sciops.data import layouts
from sciops.data.domains.axis import Axis, Kind
from sciops.data.reading.assembly import Dims, Options, finish
from sciops.data.reading.bounds import check_declared
from sciops.data.reading.containers import reading
from sciops.data.reading.declaration import Declaration
from sciops.data.reading.paths import data_files
from sciops.data.reading.shards import join
from sciops.data.reading.storage import Contents
from sciops.data.writing.write_dataset import StreamWriter, write
from sciops.errors import InputError

__all__ = ["StreamWriter", "open", "write"]


def open(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    layout: str | None = None,
    *,
    sample_dim: str | None = None,
    dims: Mapping[str, Dims] | None = None,
    coords: Mapping[str, str | Axis | Any] | None = None,
    kinds: Mapping[str, Kind] | None = None,
    declaration: str | os.PathLike[str] | Declaration | None = None,
    trust_links: bool = False,
) -> xr.Dataset:
    """Open files of simulations as a lazy `xarray.Dataset`; their layout is recognised by what is in them.

    Variables keep the names of the file. Only what is indexed is read, and the data set pickles: another process opens
    the file for itself. `sciops.data.conventions` says what dimensions, coordinates and attributes mean.

    Parameters
    ----------
    path
        HDF5, netCDF, MATLAB ``.mat``, NumPy ``.npz``, PyTorch ``.pt``, COMSOL text, VTK or XDMF file, or a Zarr store
        in a folder or zip archive. A pattern such as ``"run_*.h5"``, a folder or a list of files that hold the same
        variables on the same grid are one data set, joined along samples or along time.
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
    declaration
        All that there is to say about a file of no known layout: a `sciops.data.Declaration`, or the YAML file that
        holds one.
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
        If a file is missing, empty, corrupt, without samples or not numeric, or files do not fit together.
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
    files = data_files(path)
    name = str(files[0]) if len(files) == 1 else _named(path, files)
    if not isinstance(trust_links, bool):
        raise InputError(f"{name}: trust_links= is True or False, got {trust_links!r}")
    _check_options(name, layout=layout, sample_dim=sample_dim, dims=dims, coords=coords, kinds=kinds)
    if declaration is not None:
        if dims is not None:
            raise InputError(f"{name}: declaration= names the axes of every array; leave dims= out")
        if not isinstance(declaration, Declaration):
            if not isinstance(declaration, str | os.PathLike):
                raise InputError(
                    f"{name}: declaration= is a sciops.data.Declaration or the path of a YAML file, got {declaration!r}"
                )
            declaration = Declaration.from_yaml(declaration)
        kinds = {**declaration.axis_kinds, **(kinds or {})}
    options = Options(sample_dim, dims, dict(coords or {}), dict(kinds or {}), declaration)
    by = "declaration=" if declaration is not None else "dims=" if dims is not None else ""
    if by:
        if layout not in (None, "declared"):
            raise InputError(f"{name}: {by} declares the layout; layout={layout!r} cannot be given with it")
        layout = "declared"
    elif layout == "declared":
        raise InputError(f"{name}: the layout 'declared' needs dims=, such as dims={{'u': ('sample', 'x', 'y')}}")

    def opened(file: Path, found: str | None) -> xr.Dataset:
        return _opened(file, layout or found, options, by, trust_links)

    return opened(files[0], None) if len(files) == 1 else join(files, name, opened)


def _opened(file: Path, layout: str | None, options: Options, by: str, trust_links: bool) -> xr.Dataset:
    contents = Contents(file, trust_links=trust_links)
    try:
        name, reason = ("declared", f"declared by {by}") if by else layouts.detect(contents, layout)
        with reading(file):
            ds = layouts.registry[name]().read(contents, options)
            if contents.container in ("hdf5", "zarr") and not trust_links:
                check_declared(ds, file)
            return finish(ds, options, path=file, layout=name, reason=reason)
    except BaseException:
        contents.close()
        raise


def _named(path: Any, files: Sequence[Path]) -> str:
    """What several files are called in messages: the pattern or folder, or the first of a list."""
    if isinstance(path, str | os.PathLike):
        return str(Path(path).expanduser().absolute())
    return f"{files[0]} and {len(files) - 1} more"


def _check_options(path: str, *, layout: Any, sample_dim: Any, dims: Any, coords: Any, kinds: Any) -> None:
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
