"""The native data set as a Zarr store (version 3): what xarray's ``to_zarr`` writes, block by block."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sciops.data.conventions import origin, sample_dim
from sciops.data.reading.filters import Compression
from sciops.data.writing.chunks import check_chunks, chosen_chunks
from sciops.data.writing.copying import copy_blocks
from sciops.data.writing.encoding import RESERVED, attribute, check_names, check_texts, chunk_shape, stored_dtype
from sciops.data.writing.target import Target
from sciops.errors import InputError, MissingDependencyError

__all__ = ["write_zarr"]

_AT_ONCE = 1 << 20
_PATIENCE = 60.0
_WAITING = "sciops waits for what is being written"


def write_zarr(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    chunks: Mapping[str, int] | None = None,
    compression: str | Compression | None = None,
) -> Path:
    """Write a data set as a folder that is a Zarr store; see `sciops.data.write`.

    Names, shapes and small variables are written by xarray, large variables block by block. A store that is replaced is
    moved aside first and deleted in the end; a folder that is no store is never replaced.

    Raises
    ------
    MissingDependencyError
        If zarr or dask is not there.
    InputError
        If Zarr does not hold a variable, an attribute or the compression.
    DataError
        If the store exists or cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> ds = xr.Dataset({"u": (("sample", "x"), np.eye(3))})
    >>> path = write_zarr(ds, Path(tempfile.mkdtemp()) / "run.zarr", chunks={"sample": 1}, compression="zstd")
    >>> xr.open_zarr(path).u.values.tolist() == ds.u.values.tolist()
    True
    """
    target = Target(path, overwrite=overwrite, store=True)
    zarr, dask = _packages(target.path)
    wanted = check_chunks(chunks, map(str, ds.sizes), target.path)
    check_names(ds.sizes, target.path, zarr=True)
    check_names(ds.variables, target.path, zarr=True)
    template, encodings, large = ds.drop_encoding(), {}, []
    template.attrs = _attributes(ds.attrs, str(target.path))
    for name, variable in ds.variables.items():
        marks = _attributes(variable.attrs, f"{target.path}: {str(name)!r}")
        if variable.dtype.kind in "OSTU":
            check_texts(str(name), variable.values, target.path)
        elif variable.dtype.kind not in "mMc":
            stored_dtype(str(name), variable.dtype, target.path)
        shape, itemsize = variable.shape, variable.dtype.itemsize
        encodings[name] = _encoding(zarr, str(name), variable, wanted, compression, sample_dim(ds), target.path)
        data: Any = variable._data
        if variable.dtype.kind in "biufc" and name not in ds.dims and np.prod(shape) * itemsize > _AT_ONCE:
            large.append(name)
            data = dask.zeros(shape, dtype=variable.dtype, chunks=-1)
        template[name] = xr.Variable(variable.dims, data, marks)

    def discard() -> None:
        _settle()
        target.discard()

    with target.cleaned(discard):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Consolidated metadata")  # xarray reads it, version 3 does not define it
            template.to_zarr(target.temporary, mode="w", compute=False, encoding=encodings, zarr_format=3)
        group = zarr.open_group(target.temporary, mode="r+")
        for name in large:
            array, variable = group[str(name)], ds.variables[name]
            for where, values in copy_blocks(
                variable, variable.dims, variable.dtype, array.chunks, origin(ds), str(name)
            ):
                array[where] = values.astype(array.dtype, copy=False)
        target.publish()
    return target.path


def _settle() -> None:
    """Wait for the chunks that zarr is still writing in its thread, whose folder would come back once deleted."""

    async def settled() -> None:
        mine = asyncio.current_task()
        if mine is not None:
            mine.set_name(_WAITING)
        others = {task for task in asyncio.all_tasks() if task.get_name() != _WAITING}
        if others:
            done, _ = await asyncio.wait(others, timeout=_PATIENCE)
            for task in done:
                if not task.cancelled():
                    task.exception()  # looked at, or asyncio prints it later

    with contextlib.suppress(ImportError, AttributeError, RuntimeError, TimeoutError):
        importlib.import_module("zarr.core.sync").sync(settled())


def _packages(path: Path) -> tuple[Any, Any]:
    try:
        return importlib.import_module("zarr"), importlib.import_module("dask.array")
    except ImportError as error:
        raise MissingDependencyError(
            f"{path}: writing Zarr needs {error.name or 'zarr'}; install it by pip install 'sciops[formats]'"
        ) from error


def _attributes(given: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Attributes as the native file keeps them, in types of JSON."""
    found = {}
    for key, value in given.items():
        if key in RESERVED:
            continue
        try:
            kept = attribute(value)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise InputError(f"{where}: the attribute {str(key)!r} cannot be kept ({error}); delete it") from error
        found[str(key)] = kept.tolist() if isinstance(kept, np.ndarray | np.generic) else kept
    return found


def _encoding(
    zarr: Any,
    name: str,
    variable: xr.Variable,
    wanted: Mapping[str, int],
    compression: str | Compression | None,
    sample: str | None,
    path: Path,
) -> dict[str, Any]:
    dims, shape = tuple(map(str, variable.dims)), variable.shape
    found = chosen_chunks(name, dims, shape, variable.dtype.itemsize, wanted, path)
    if found is None and shape and 0 not in shape:
        first = dims.index(sample) if sample in dims else 0
        found = chunk_shape(shape, variable.dtype.itemsize, first) or shape
    encoding: dict[str, Any] = {} if found is None else {"chunks": found}
    if compression is not None and shape:
        encoding["compressors"] = _compressors(zarr, Compression.named(compression), path)
    return encoding


def _compressors(zarr: Any, compression: Compression, path: Path) -> tuple[Any, ...]:
    codecs, level = zarr.codecs, compression.level
    if compression.name == "lzf":
        raise InputError(f"{path}: Zarr has no compression 'lzf'; take gzip, zstd, blosc, lz4 or none")
    if compression.name == "none":
        return ()
    if compression.name == "gzip":
        return (codecs.GzipCodec(level=level),)
    if compression.name == "zstd":
        return (codecs.ZstdCodec(level=level),)
    return (codecs.BloscCodec(cname="lz4", clevel=level or 5),)
