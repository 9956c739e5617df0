"""The layouts of other packages that can be written, one module each: a function from a data set to a plan of a file.

A module here that registers such a function is all that a new one takes. It names the arrays of the file and where they
come from; what it does not take is refused by name, and `write_layout` copies the arrays in blocks. Modules whose name
starts with an underscore are helpers; `zarr_store` writes the native data set as a Zarr store.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
from collections.abc import Callable, Mapping
from pathlib import Path

import xarray as xr

from sciops.data.reading.filters import Compression
from sciops.data.writing.chunks import check_chunks
from sciops.data.writing.target import Target
from sciops.data.writing.writers._plan import Array, Plan, write_plan
from sciops.data.writing.writers._source import Source
from sciops.registry import Registry

__all__ = ["Array", "Plan", "Source", "register", "registry", "write_layout"]

registry: Registry[Callable[[Source], Plan]] = Registry("layout to write")
register = registry.register


def write_layout(
    ds: xr.Dataset,
    path: str | os.PathLike[str],
    layout: str,
    *,
    overwrite: bool = False,
    chunks: Mapping[str, int] | None = None,
    compression: Compression | None = None,
) -> Path:
    """Write a data set in the layout of another package; see `sciops.data.write`.

    Raises
    ------
    InputError
        If the layout has no place for a variable, a coordinate, a domain or a boundary condition: the message says
        what to do.
    DataError
        If the file exists or cannot be written.
    """
    target = Target(path, overwrite=overwrite)
    wanted = check_chunks(chunks, map(str, ds.sizes), target.path)
    source = Source(ds, target.path, layout)
    plan = registry[layout](source)
    source.check_rest()
    write_plan(plan, target, chunks=wanted, compression=compression or Compression())
    return target.path


for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")
