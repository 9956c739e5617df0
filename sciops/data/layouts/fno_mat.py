"""The MATLAB files of the Fourier neural operator: ``a, u``, ``coeff, sol``, ``input, output`` or ``u`` alone.

Version 5 and version 7.3 (HDF5 with reversed axes) look the same here: both have MATLAB's order of axes.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._domain import mesh_lines
from sciops.data.layouts._fields import FieldDims, aside, coordinate_lines, paired, space_names
from sciops.data.reading.assembly import assemble
from sciops.data.reading.containers import Array

_PAIRS = (("a", "u"), ("coeff", "sol"), ("input", "output"))
_COORDINATES = ("x", "y", "z", "t", "tspan")


@register("fno-mat")
class FNOMatlab(Layout):
    """Samples first; times last in ``u`` (n, x, y, t), first in ``output`` (n, t, x); parameters such as ``visc``."""

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        dims = _dims(contents)
        if dims is None:
            return None
        mesh = ("X", "Y") if _has_mesh(contents, dims) else ()
        rest = aside(contents, dims, *mesh)
        fields = ", ".join(f"{name} {contents.entries[name].shape}" for name in dims)
        return f"MATLAB file with {fields}, samples first, as of the Fourier neural operator{rest}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        dims = _dims(contents) or {}
        coords: dict[str, Any] = dict(coordinate_lines(contents, dims))
        mesh = _mesh(contents, dims)
        if mesh is not None:
            (first, second), lines = mesh
            names = {"x": first, "y": second}
            dims = {name: tuple(names.get(dim, dim) if dim else dim for dim in axes) for name, axes in dims.items()}
            coords |= lines
        return assemble(contents, options, variables=dims, coords=coords)


def _mesh(contents: Contents, dims: FieldDims) -> tuple[tuple[str, str], dict[str, Array]] | None:
    """The order of the axes and their lines by the matrices X and Y; None without them, or where they are no grid."""
    return mesh_lines(contents.read("X"), contents.read("Y")) if _has_mesh(contents, dims) else None


def _has_mesh(contents: Contents, dims: FieldDims) -> bool:
    """Whether X and Y are matrices of the shape that every field has in space."""
    entries = contents.entries
    pairs = {name: list(zip(axes, entries[name].shape, strict=True)) for name, axes in dims.items()}
    shapes = {tuple(size for dim, size in pair if dim in ("x", "y")) for pair in pairs.values()} - {()}
    return {"X", "Y"} <= set(entries) and shapes == {entries["X"].shape} == {entries["Y"].shape}


def _dims(contents: Contents) -> FieldDims | None:
    if not contents.matlab:
        return None
    for pair in _PAIRS:
        if found := paired(contents, pair, coordinates=_COORDINATES):
            return found
    entry = contents.entries.get("u")
    if entry is None or not entry.numeric or len(entry.shape) not in (4, 5):
        return None
    space = space_names(len(entry.shape) - 2, ["u"])
    return None if space is None else {"u": ("sample", *space, "time")}
