"""The MATLAB files of the Fourier neural operator: ``a, u``, ``coeff, sol``, ``input, output`` or ``u`` alone.

Version 5 and version 7.3 (HDF5 with reversed axes) look the same here: both have MATLAB's order of axes.
"""

from __future__ import annotations

import xarray as xr

from sciops.data.assembly import assemble
from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._fields import FieldDims, aside, coordinate_lines, paired, space_names

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
        fields = ", ".join(f"{name} {contents.entries[name].shape}" for name in dims)
        return f"MATLAB file with {fields}, samples first, as of the Fourier neural operator{aside(contents, dims)}"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        dims = _dims(contents) or {}
        return assemble(contents, options, variables=dims, coords=coordinate_lines(contents, dims))


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
