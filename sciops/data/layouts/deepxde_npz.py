"""Operator data of DeepXDE in ``.npz``: branch inputs, trunk coordinates and values, aligned or not."""

from __future__ import annotations

from typing import Any

import xarray as xr

from sciops.data.layouts import Contents, Layout, Options, register
from sciops.data.layouts._domain import mark_points
from sciops.data.reading.assembly import assemble

_TRIPLES = (("X0", "X1", "y"), ("X_train0", "X_train1", "y_train"), ("X_test0", "X_test1", "y_test"))
_NAMES = ("x", "y", "z")


@register("deepxde")
class DeepXDE(Layout):
    """Functions ``X0`` (n, m) on m sensors and values ``y`` at scattered points ``X1``.

    Aligned: ``X1`` (q, d) are the points of all functions, ``y`` (n, q). Unaligned: ``X_train1`` (n, d) is the one
    point of each function, ``y_train`` (n, 1); the coordinates are then (sample, point) with one point. The file of
    aligned data that DeepXDE's examples use keeps X as a pickled pair, which is refused: save the pair as X0 and X1.
    """

    def detect(self, contents: Contents) -> str | None:
        """See `Layout.detect`."""
        found = _found(contents)
        if found is None:
            return None
        names, aligned = found
        shapes = ", ".join(f"{name} {contents.entries[name].shape}" for name in names)
        return f"NumPy archive with {shapes}: branch, trunk and values of DeepXDE, {'' if aligned else 'un'}aligned"

    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """See `Layout.read`."""
        (branch, trunk, values), aligned = _found(contents) or (_TRIPLES[0], True)
        dims = ("sample", "point", None)[: len(contents.entries[values].shape)]
        ds = assemble(contents, options, variables={branch: ("sample", "sensor"), values: dims})
        points = contents.read(trunk)
        points = points.reshape(points.shape[0], -1)
        axes: Any = ("point",) if aligned else ("sample", "point")
        columns = {
            name: points[:, i] if aligned else points[:, i : i + 1] for i, name in enumerate(_columns(points, values))
        }
        return mark_points(ds, {name: xr.Variable(axes, column) for name, column in columns.items()})


def _columns(points: Any, values: str) -> tuple[str, ...]:
    """Names of the coordinates; the values may be called y themselves."""
    count = points.shape[1]
    return _NAMES[:count] if count <= 3 and values not in _NAMES[:count] else tuple(f"x{i + 1}" for i in range(count))


def _found(contents: Contents) -> tuple[tuple[str, str, str], bool] | None:
    """The three names, and whether all functions share the points."""
    if contents.container != "npz":
        return None
    for names in _TRIPLES:
        if not set(names) <= set(contents.entries) or not all(contents.entries[name].numeric for name in names):
            continue
        branch, trunk, values = (contents.entries[name].shape for name in names)
        if len(branch) != 2 or len(trunk) not in (1, 2) or not values or values[0] != branch[0]:
            continue
        if values[1:] in ((trunk[0],), (trunk[0], 1)) and trunk[0] > 1:
            return names, True
        if trunk[0] == branch[0] and values == (branch[0], 1):
            return names, False
    return None
