"""Any file by declaration: the caller names the axes of each array."""

from __future__ import annotations

import xarray as xr

from sciops.data.assembly import assemble
from sciops.data.layouts import Contents, Layout, Options, describe, register
from sciops.errors import LayoutError


@register("declared")
class Declared(Layout):
    """``dims`` of `sciops.data.open` names arrays and their axes; it is never recognised, only asked for."""

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        return None

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        dims = options.dims or {}
        if not dims:
            raise LayoutError(f"{contents.path}: dims= names no array; {describe(contents)}")
        used = {dim for axes in dims.values() for dim in axes}
        sample = "sample" if options.sample_dim is None and "sample" in used else options.sample_dim
        return assemble(contents, options, variables=dims, sample=sample)
