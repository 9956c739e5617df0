"""NumPy ``.npz`` with a pair of fields under common names, and coordinates where there are any."""

from __future__ import annotations

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._fields import FieldDims, aside, coordinate_lines, paired
from sciops.data.reading.assembly import assemble

_PAIRS = (("x", "y"), ("a", "u"), ("coeff", "sol"), ("input", "output"), ("inputs", "outputs"))
_COORDINATES = ("x", "y", "z", "t", "time")


@register("npz")
class NumPyArchive(Layout):
    """Arrays ``x, y``, ``a, u``, ``coeff, sol`` or ``input, output``, samples first; nothing pickled is read."""

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        dims = _dims(contents)
        if dims is None:
            return None
        fields = ", ".join(f"{name} {contents.entries[name].shape}" for name in dims)
        return f"NumPy archive with {fields}, samples first{aside(contents, dims)}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        dims = _dims(contents) or {}
        return assemble(contents, options, variables=dims, coords=coordinate_lines(contents, dims))


def _dims(contents: Contents) -> FieldDims | None:
    if contents.container != "npz":
        return None
    for pair in _PAIRS:
        coordinates = [name for name in _COORDINATES if name not in pair]
        if found := paired(contents, pair, coordinates=coordinates):
            return found
    return None
