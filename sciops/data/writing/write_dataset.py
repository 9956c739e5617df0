"""Writing a data set: as the native netCDF4/HDF5 file, as a Zarr store, or in the layout of another package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import xarray as xr

from sciops.data.conventions import sample_dim
from sciops.data.reading.filters import Compression
from sciops.data.reading.paths import usable_path
from sciops.data.writing.appending import StreamWriter, require_file_name
from sciops.errors import InputError, did_you_mean

__all__ = ["StreamWriter", "layout_for", "write"]


def write(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    layout: str | None = None,
    *,
    overwrite: bool = False,
    chunks: Mapping[str, int] | None = None,
    compression: str | Compression | None = None,
) -> Path:
    """Write a data set, by default as the native netCDF4/HDF5 file, which xarray opens without us too.

    Variables are read and written in blocks, so a data set larger than memory is no problem. Nothing is left behind
    when it fails: the file appears under its name complete or not at all.

    Parameters
    ----------
    ds
        The data set. In the native file float16 is stored as float32, and booleans as bytes that come back as
        booleans. Attributes of netCDF types are kept, booleans become 0 or 1, anything else JSON text. Attributes that
        tell readers to decode values (``_FillValue``, ``missing_value``, ``scale_factor``, ``add_offset``,
        ``_Unsigned``, ``dtype``) are dropped, since the values are already decoded.
    path
        The file to write.
    layout
        ``"native"``, ``"zarr"``, or the layout of another package, such as ``"the-well"`` or ``"pdebench-1d"``:
        `sciops.data.writing.writers.registry` lists them. None is Zarr where the path ends in ``.zarr``, else native.
    overwrite
        Replace an existing file.
    chunks
        Lengths of the chunks by dimension, such as ``{"sample": 1, "x": 64}``; other dimensions of the same variables
        are kept whole. By default a chunk holds whole samples.
    compression
        ``"gzip"``, ``"lzf"``, ``"zstd"``, ``"blosc"`` or ``"lz4"``, or with a level ``"gzip:9"``. The last three need
        hdf5plugin where the file is read, too. By default an HDF5 file is not compressed, and Zarr by its own default.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InputError
        If `ds` is no data set, has no variables, or holds something that the layout does not, or the path ends as
        those of other kinds of files do.
    DataError
        If the file exists, or cannot be written: no permission, no folder, disk full.
    MissingDependencyError
        If the compression or the layout needs a package that is not there.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from sciops.data.files import open
    >>> ds = xr.Dataset({"u": (("sample", "x"), np.eye(3))})
    >>> path = write(ds, Path(tempfile.mkdtemp()) / "run.nc")
    >>> open(path).u.values.tolist() == ds.u.values.tolist()
    True
    """
    if not isinstance(ds, xr.Dataset):
        raise InputError(f"{path}: write takes an xarray.Dataset, got {type(ds).__name__}")
    if not ds.data_vars:
        raise InputError(f"{path}: the data set has no variables, and a file of it could not be opened; give it some")
    layout = layout_for(usable_path(path), layout)
    if layout != "zarr":
        require_file_name(usable_path(path))
    if layout == "native":
        dim = sample_dim(ds)
        count = 0 if dim is None else ds.sizes[dim]
        with StreamWriter(path, ds, count, overwrite=overwrite, chunks=chunks, compression=compression) as writer:
            if dim is not None:
                writer.append(ds)
        return writer.path
    if layout == "zarr":
        from sciops.data.writing.writers.zarr_store import write_zarr

        return write_zarr(ds, path, overwrite=overwrite, chunks=chunks, compression=compression)
    from sciops.data.writing.writers import write_layout

    return write_layout(
        ds, path, layout, overwrite=overwrite, chunks=chunks, compression=Compression.named(compression)
    )


def layout_for(path: str | os.PathLike[str], layout: str | None) -> str:
    """The layout to write: the one given, or by the ending of the path.

    Raises
    ------
    InputError
        If there is no such layout to write.

    Examples
    --------
    >>> layout_for("run.zarr", None), layout_for("run.h5", None), layout_for("run.h5", "the-well")
    ('zarr', 'native', 'the-well')
    """
    if layout is not None and not isinstance(layout, str):
        raise InputError(f"{path}: layout= is a name, got {layout!r}")
    if layout is None:
        return "zarr" if Path(path).suffix == ".zarr" else "native"
    if layout in ("native", "zarr"):
        return layout
    from sciops.data.writing.writers import registry

    if layout not in registry:
        names = ("native", "zarr", *registry)
        raise InputError(f"{path}: no layout {layout!r} to write{did_you_mean(str(layout), names)}")
    return layout
