"""The `.pt` files of neuraloperator: a dict of tensors ``x`` and ``y``, samples first, without coordinates."""

from __future__ import annotations

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._fields import paired
from sciops.data.reading.assembly import assemble


@register("neuraloperator")
class NeuralOperatorTensors(Layout):
    """``x`` (n, *space) and ``y`` (n, *space) or (n, time, *space), with parameters beside them and nothing else.

    The space dimensions are called x1, x2, x3, since x and y name the variables.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        dims = paired(contents, ("x", "y"))
        if contents.container != "torch" or dims is None or set(dims) != set(contents.entries):
            return None
        shapes = [contents.entries[name].shape for name in ("x", "y")]
        return f"PyTorch file with the tensors x {shapes[0]} and y {shapes[1]}, samples first"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        return assemble(contents, options, variables=paired(contents, ("x", "y")) or {})
