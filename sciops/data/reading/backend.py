"""The engine of xarray: ``xr.open_dataset(path, engine="sciops")`` opens what `sciops.data.open` opens."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from sciops.data.domains.axis import Axis, Kind
from sciops.data.files import open
from sciops.data.reading.assembly import Dims
from sciops.data.reading.declaration import Declaration
from sciops.errors import InputError

_SUFFIXES = {".mat", ".npz", ".pt", ".pth"}


class SciopsBackend(BackendEntrypoint):
    """Opens simulation files of every layout that sciops knows; registered as the engine ``sciops``.

    Examples
    --------
    >>> import tempfile, numpy as np
    >>> path = Path(tempfile.mkdtemp()) / "darcy.npz"
    >>> np.savez(path, a=np.ones((3, 8, 8)), u=np.zeros((3, 8, 8)))
    >>> xr.open_dataset(path, engine="sciops").u.dims
    ('sample', 'x', 'y')
    """

    description: ClassVar[str] = (
        "Open simulation files (HDF5, netCDF, Zarr, .mat, .npz, .pt, text, meshes) whatever their layout"
    )
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj",
        "drop_variables",
        "layout",
        "sample_dim",
        "dims",
        "coords",
        "kinds",
        "declaration",
        "trust_links",
    )

    def open_dataset(  # type: ignore[override]
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Iterable[str] | None = None,
        layout: str | None = None,
        sample_dim: str | None = None,
        dims: Mapping[str, Dims] | None = None,
        coords: Mapping[str, str | Axis | Any] | None = None,
        kinds: Mapping[str, Kind] | None = None,
        declaration: str | os.PathLike[str] | Declaration | None = None,
        trust_links: bool = False,
    ) -> xr.Dataset:
        """See `sciops.data.open`; `drop_variables` are names to leave out, as of every engine of xarray.

        Raises
        ------
        InputError
            If it is asked to read anything but a path.
        """
        if not isinstance(filename_or_obj, str | os.PathLike):
            raise InputError(f"the engine 'sciops' reads files by path, got {type(filename_or_obj).__name__}")
        ds = open(
            filename_or_obj,
            layout,
            sample_dim=sample_dim,
            dims=dims,
            coords=coords,
            kinds=kinds,
            declaration=declaration,
            trust_links=trust_links,
        )
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        close = ds._close
        ds = ds.drop_vars(dropped, errors="ignore")
        ds.set_close(close)
        return ds

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Claims ``.mat``, ``.npz`` and ``.pt`` files, which no engine of xarray reads."""
        return isinstance(filename_or_obj, str | os.PathLike) and Path(filename_or_obj).suffix.lower() in _SUFFIXES
