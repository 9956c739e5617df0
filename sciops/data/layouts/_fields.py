"""What several layouts share: a pair of fields, input and output, on one grid, the output perhaps with times."""

from __future__ import annotations

from collections.abc import Sequence

from sciops.data.layouts import Contents

FieldDims = dict[str, tuple[str | None, ...]]
_LINES = {"time": ("t", "time", "tspan")}


def space_names(ndim: int, taken: Sequence[str]) -> tuple[str, ...] | None:
    """x, y, z, or x1, x2, x3 where variables have those names; None above three dimensions.

    Examples
    --------
    >>> space_names(2, ["a", "u"]), space_names(2, ["x", "y"])
    (('x', 'y'), ('x1', 'x2'))
    """
    if not 1 <= ndim <= 3:
        return None
    names = ("x", "y", "z")[:ndim]
    return names if not set(names) & set(taken) else ("x1", "x2", "x3")[:ndim]


def paired(contents: Contents, names: tuple[str, str], *, coordinates: Sequence[str] = ()) -> FieldDims | None:
    """Names of the axes of an input and an output field, by comparing their shapes; None if they do not fit.

    The input is ``(n, *space)``, the output ``(n, *space)``, ``(n, time, *space)`` or ``(n, *space, time)``, tried in
    this order; both may have a channel axis after the samples, of different length, or at most 4 long before longer
    ones. Arrays of the input's shape are fields too, arrays of one number are parameters, and ``(n,)`` or ``(n, 1)``
    are parameters of each sample.

    Parameters
    ----------
    contents
        The file.
    names
        Names of the input and the output.
    coordinates
        Arrays that are coordinates, no fields.
    """
    entries = contents.entries
    if any(name not in entries or not entries[name].numeric for name in names):
        return None
    first, second = entries[names[0]].shape, entries[names[1]].shape
    if len(first) < 2 or len(second) < 2 or first[0] != second[0]:
        return None
    taken = [name for name in entries if name not in coordinates]
    found = _pair_dims(names, first, second, taken)
    if found is None:
        return None
    dims: FieldDims = dict(found)
    for name, entry in entries.items():
        if name in dims or name in coordinates or not entry.numeric:
            continue
        if entry.shape == first:
            dims[name] = dims[names[0]]
        elif all(size == 1 for size in entry.shape):
            dims[name] = (None,) * len(entry.shape)
        elif entry.shape[0] == first[0] and all(size == 1 for size in entry.shape[1:]):
            dims[name] = ("sample", *(None,) * (len(entry.shape) - 1))
    return dims


def line(contents: Contents, names: Sequence[str], size: int) -> str | None:
    """The first of the names that is a one-dimensional array of that size: a coordinate.

    A MATLAB vector is a matrix with one row or column.
    """
    for name in names:
        entry = contents.entries.get(name)
        if entry is None or not entry.numeric or sorted(entry.shape)[-1:] != [size]:
            continue
        if sum(length != 1 for length in entry.shape) <= 1:
            return name
    return None


def coordinate_lines(contents: Contents, dims: FieldDims) -> dict[str, str]:
    """The arrays that hold the coordinates of the dimensions, by the names x, y, z, and t, time or tspan for times."""
    pairs = [pair for name, axes in dims.items() for pair in zip(axes, contents.entries[name].shape, strict=True)]
    sizes = {dim: size for dim, size in pairs if dim in ("x", "y", "z", "time")}
    found = {dim: line(contents, _LINES.get(dim, (dim,)), size) for dim, size in sizes.items() if dim is not None}
    return {dim: name for dim, name in found.items() if name is not None}


def aside(contents: Contents, dims: FieldDims, *known: str) -> str:
    """A remark on the arrays that are neither fields, parameters, coordinates nor known; empty where there are none.

    Examples
    --------
    A file with ``a``, ``u`` and a mesh gives ``"; left aside: mesh"``.
    """
    used = {*dims, *coordinate_lines(contents, dims).values(), *known}
    rest = [name for name in contents.entries if name not in used]
    return f"; left aside: {', '.join(rest)}" if rest else ""


def _pair_dims(
    names: tuple[str, str], first: tuple[int, ...], second: tuple[int, ...], taken: Sequence[str]
) -> dict[str, tuple[str | None, ...]] | None:
    source, target = names
    plain = space_names(len(first) - 1, taken)
    channel = space_names(len(first) - 2, taken)
    grid = first[2:]
    few = len(first) >= 4 and first[1] <= 4 < min(grid)
    if first == second and few and channel:
        return {source: ("sample", "channel", *channel), target: ("sample", "channel", *channel)}
    if first == second and plain:
        return {source: ("sample", *plain), target: ("sample", *plain)}
    if len(first) == len(second) >= 3 and second[2:] == grid and channel:
        return {source: ("sample", f"channel_{source}", *channel), target: ("sample", f"channel_{target}", *channel)}
    if plain and len(second) == len(first) + 1:
        if second[2:] == first[1:]:
            return {source: ("sample", *plain), target: ("sample", "time", *plain)}
        if second[1:-1] == first[1:]:
            return {source: ("sample", *plain), target: ("sample", *plain, "time")}
    return None
