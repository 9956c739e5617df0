"""MATLAB files of physics-informed networks: one solution ``usol`` or ``uu`` (x, t) with ``x`` and ``t`` or ``tt``."""

from __future__ import annotations

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._fields import line
from sciops.data.reading.assembly import assemble


@register("pinns-mat")
class PINNsMatlab(Layout):
    """One trajectory without a sample dimension. Whether x is periodic the file does not say: give ``kinds=``."""

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        found = _found(contents)
        if found is None:
            return None
        name, x, t = found
        shape = contents.entries[name].shape
        return f"MATLAB file with {name} {shape} over {x} and {t}, as of physics-informed networks"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        name, x, t = _found(contents) or ("usol", "x", "t")
        variables = {name: ("x", "time")}
        return assemble(contents, options, variables=variables, coords={"x": x, "time": t}, sample=None)


def _found(contents: Contents) -> tuple[str, str, str] | None:
    """Names of the solution and of its coordinates."""
    if not contents.matlab:
        return None
    for name in ("usol", "uu"):
        entry = contents.entries.get(name)
        if entry is not None and len(entry.shape) == 2:
            x, t = line(contents, ("x",), entry.shape[0]), line(contents, ("t", "tt"), entry.shape[1])
            if x is not None and t is not None:
                return name, x, t
    return None
