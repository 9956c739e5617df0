"""PDEArena: ``train``, ``valid``, ``test`` with ``u``, ``vx``, ``vy`` (b, t, x, y), or a key ``pde_...`` (b, t, x)."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from sciops.data.domains.axis import Axis
from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._domain import with_coordinates
from sciops.data.layouts._splits import joined, rows, split_coordinate, splits
from sciops.data.reading.assembly import assemble
from sciops.errors import LayoutError

_PARAMETERS = ("buo_y", "dt", "dx", "dy")


@register("pdearena")
class PDEArena(Layout):
    """Smoke flow, and the one-dimensional equations (Kuramoto-Sivashinsky and kin) of the same writers.

    The writer makes one file for each split. Where a file holds several, their samples follow one another and the
    coordinate ``split`` says which is which: ``ds.isel(sample=ds.split == "train")``. In the one-dimensional files
    every sample has its own length and duration: then the axis is the periodic [0, 1), time counts frames, and ``dx``
    and ``dt`` of each sample are parameters.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        found = splits(contents)
        names = _fields(contents, found)
        if not names:
            return None
        shape = contents.entries[f"{found[0]}/{names[0]}"].shape
        return f"HDF5 with {'|'.join(found)}/{{{','.join(names)}}} {shape}, as PDEArena writes its splits"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        found = splits(contents)
        names = _fields(contents, found)
        shape = contents.entries[f"{found[0]}/{names[0]}"].shape
        space = ("x", "y")[: len(shape) - 2]
        ready: dict[str, Any] = {name: joined(contents, found, name, ("sample", "time", *space)) for name in names}
        for name in _PARAMETERS:
            if all(len(_shape(contents, split, name)) == 1 for split in found):
                ready[name] = joined(contents, found, name, ("sample",))
        coords: dict[str, Any] = {}
        for dim, name, size in zip(("time", *space), ("t", *space), shape[1:], strict=True):
            lines = rows(contents, found, name, size)
            if lines is None:
                continue
            if len(lines) and np.allclose(lines, lines[:1], rtol=1e-12, atol=0):
                coords[dim] = lines[0]
            elif names[0].startswith("pde_"):
                coords[dim] = np.arange(size) if dim == "time" else Axis(dim, size, 0.0, 1.0, "periodic")
            else:
                raise LayoutError(f"{contents.path}: the samples have different {name!r}; declare the fields by dims=")
        ds = assemble(contents, options, variables={}, coords=coords, parameters=ready)
        return with_coordinates(ds, {"split": split_coordinate(contents, found, names[0])})


def _shape(contents: Contents, split: str, name: str) -> tuple[int, ...]:
    entry = contents.entries.get(f"{split}/{name}")
    return () if entry is None else entry.shape


def _fields(contents: Contents, found: list[str]) -> list[str]:
    """Names of the fields that every split has: of three or four axes, all of one shape."""
    if not found:
        return []
    own = [name.partition("/")[2] for name in contents.entries if name.startswith(f"{found[0]}/")]
    known = [name for name in own if name in ("u", "vx", "vy") or name.startswith("pde_")]
    shapes = {contents.entries[f"{found[0]}/{name}"].shape[1:] for name in known}
    if len(shapes) != 1 or len(next(iter(shapes))) not in (2, 3):
        return []
    return sorted(known) if all(_shape(contents, split, name) for split in found for name in known) else []
