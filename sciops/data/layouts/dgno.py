"""Darcy flow with its mesh: ``coe`` and ``u`` over the matrices of coordinates ``X`` and ``Y``."""

from __future__ import annotations

from typing import Any

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._domain import mesh_lines, with_coordinates
from sciops.data.reading.assembly import assemble


@register("dgno")
class DGNO(Layout):
    """``u`` (n, i, j) or (i, j, n) over X, Y (i, j); ``coe`` may have another resolution, with axes x_coe, y_coe.

    A mesh of ``meshgrid`` or ``ndgrid`` gives axes x and y, another one is a curvilinear grid with the axes i, j.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        found = _axes(contents)
        if found is None:
            return None
        shapes = ", ".join(f"{name} {contents.entries[name].shape}" for name in ("coe", "u", "X", "Y"))
        return f"{'MATLAB file' if contents.matlab else 'HDF5'} with {shapes}, samples {found}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        first = _axes(contents) == "first"
        x, y = contents.read("X"), contents.read("Y")
        lines = mesh_lines(x, y)
        dims, coords = lines if lines is not None else (("i", "j"), {})
        same = contents.entries["coe"].shape == contents.entries["u"].shape
        coarse = dims if same else (f"{dims[0]}_coe", f"{dims[1]}_coe")
        variables: dict[str, tuple[str | None, ...]] = {
            name: ("sample", *space) if first else (*space, "sample") for name, space in (("coe", coarse), ("u", dims))
        }
        given: dict[str, Any] = dict(coords)
        ds = assemble(contents, options, variables=variables, coords=given)
        if lines is None:
            ds.attrs["curvilinear_coords"] = ["x", "y"]
            ds = with_coordinates(ds, {"x": xr.Variable(dims, x), "y": xr.Variable(dims, y)})
        return ds


def _axes(contents: Contents) -> str | None:
    """Whether samples come first or last; None where the file has another layout."""
    entries = contents.entries
    if not {"coe", "u", "X", "Y"} <= set(entries) or (contents.container == "hdf5" and contents.self_describing):
        return None
    mesh, u, coe = entries["X"].shape, entries["u"].shape, entries["coe"].shape
    if len(mesh) != 2 or entries["Y"].shape != mesh or len(u) != 3 or len(coe) != 3:
        return None
    if u[1:] == mesh and coe[0] == u[0]:
        return "first"
    return "last" if u[:2] == mesh and coe[2] == u[2] else None
