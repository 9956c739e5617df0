"""Reading the groups of The Well leniently: names in any case, attributes missing or of another type."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from sciops.data.layouts import Contents
from sciops.data.layouts._hdf5 import texts, truth
from sciops.data.reading.storage import Entry
from sciops.errors import LayoutError

__all__ = ["Frame", "attribute", "axes", "below", "boundary_values", "frame", "mask_dims", "subgroups"]


@dataclass(frozen=True)
class Frame:
    """Numbers of trajectories (None where nothing says) and of times, names and sizes of the spatial dimensions."""

    n_samples: int | None
    n_times: int
    space: Mapping[str, int]


def attribute(attributes: Mapping[str, Any], name: str) -> Any:
    """An attribute by its name in any case; None where there is none."""
    return next((value for key, value in attributes.items() if key.lower() == name), None)


def below(contents: Contents, group: str) -> dict[str, str]:
    """Names and paths of the arrays of a group, whose name may be in any case; deeper ones by their remaining path."""
    found = {}
    for path in contents.entries:
        head, _, rest = path.partition("/")
        if head.lower() == group and rest:
            found[rest] = path
    return found


def subgroups(contents: Contents, group: str) -> list[str]:
    """Paths of the groups in a group, whose name may be in any case."""
    with contents.opened() as file:
        parents = [name for name in file if name.lower() == group and isinstance(file.get(name), h5py.Group)]
        return sorted(
            f"{parent}/{name}"
            for parent in parents
            for name in file[parent]
            if isinstance(file[parent].get(name), h5py.Group)
        )


def frame(contents: Contents) -> Frame | None:
    """Sizes of a file of The Well; None where it has no times, no spatial dimensions or no fields."""
    lines = below(contents, "dimensions")
    fields = [path for order in range(3) for path in below(contents, f"t{order}_fields").values()]
    time = next((path for name, path in lines.items() if name.lower() == "time"), None)
    if time is None or not fields or not contents.entries[time].shape:
        return None
    group = time.rpartition("/")[0]
    named = texts(attribute(contents.group_attributes(group), "spatial_dims")) or [
        n for n in lines if n.lower() != "time"
    ]
    known = {name.lower(): path for name, path in lines.items()}
    space = {dim: contents.entries[known[dim.lower()]].shape for dim in named if dim.lower() in known}
    if not space or not all(space.values()):
        return None
    declared = attribute(contents.attributes, "n_trajectories")
    n_samples = int(declared) if isinstance(declared, int | float) and declared >= 1 else None
    times = contents.entries[time].shape
    if n_samples is None and len(times) == 2:
        n_samples = times[0]
    return Frame(n_samples, times[-1], {dim: shape[-1] for dim, shape in space.items()})


def axes(contents: Contents, path: str, found: Frame, rank: int | None) -> tuple[str | None, ...]:
    """Names of the axes of a field or scalar: (sample, time, *space, components), each where the array varies along it.

    ``sample_varying``, ``time_varying`` and ``dim_varying`` are believed where they fit the shape; where they are
    missing or do not fit, the sizes decide, and of several answers the one that varies most.

    Parameters
    ----------
    contents
        The file.
    path
        Path of the array.
    found
        Sizes of the file.
    rank
        Number of tensor axes of a field; None for a scalar. They may be flattened into one.

    Returns
    -------
    tuple of str or None
        None for an axis of length 1 along which the array does not vary; component axes are called component,
        component 2.

    Raises
    ------
    LayoutError
        If no choice fits the shape.
    """
    entry = contents.entries[path]
    for trusted in (True, False):
        for names in _candidates(entry, found, rank, trusted):
            if names is not None:
                return names
    raise LayoutError(
        f"{contents.path}: {path!r} has shape {entry.shape}, which does not fit {found.n_samples or '?'} trajectories, "
        f"{found.n_times} times and {dict(found.space)}; declare its axes by dims="
    )


def _candidates(entry: Entry, found: Frame, rank: int | None, trusted: bool) -> Iterator[tuple[str | None, ...] | None]:
    attributes = entry.attributes
    space = list(found.space) if rank is not None else []
    samples = _choices(attribute(attributes, "sample_varying"), trusted)
    times = _choices(attribute(attributes, "time_varying"), trusted)
    varying = attribute(attributes, "dim_varying")
    flags = [] if varying is None else [truth(flag) for flag in ([varying] if _single(varying) else list(varying))]
    if trusted and len(flags) == len(space) and None not in flags:
        kept = [tuple(flags)]
    else:
        kept = list(itertools.product((True, False), repeat=len(space)))
    for sample, time, dims in itertools.product(samples, times, kept):
        for tail in _tails(rank or 0, len(found.space)):
            yield _matched(entry.shape, found, sample, time, dict(zip(space, dims, strict=True)), tail)


def _single(value: Any) -> bool:
    return isinstance(value, str | bytes | bool | int)


def _choices(value: Any, trusted: bool) -> tuple[bool, ...]:
    known = truth(value)
    return (True, False) if known is None or not trusted else (known,)


def _tails(rank: int, dimension: int) -> list[tuple[int, ...]]:
    """Shapes of the components: (), (D,), and (D, D) or (D * D,); two dimensions more are three of a plane's fields."""
    if rank == 0:
        return [()]
    return [(n,) for n in (dimension, 2, 3)] if rank == 1 else [(dimension, dimension), (dimension**2,), (3, 3), (9,)]


def _matched(
    shape: Sequence[int], found: Frame, sample: bool, time: bool, varies: Mapping[str, Any], tail: tuple[int, ...]
) -> tuple[str | None, ...] | None:
    """The names if the shape is what the flags say; axes that do not vary are absent, or there with length 1."""
    leading: list[tuple[str | None, int | None]] = []
    leading += [("sample", found.n_samples)] if sample else []
    leading += [("time", found.n_times)] if time else []
    components = [(f"component{'' if i == 0 else ' 2'}", size) for i, size in enumerate(tail)]
    for filled in (False, True):
        space = [
            (dim if flag else None, found.space[dim] if flag else 1) for dim, flag in varies.items() if flag or filled
        ]
        wanted = [*leading, *space, *components]
        if len(wanted) == len(shape) and all(n in (None, size) for (_, n), size in zip(wanted, shape, strict=True)):
            return tuple(name for name, _ in wanted)
    return None


def mask_dims(contents: Contents, path: str, found: Frame, dims: Sequence[str]) -> tuple[str, ...] | None:
    """The axes of the mask of a boundary condition: its dimensions, after the samples where they differ; else None."""
    if path not in contents.entries or not dims:
        return None
    shape, space = contents.entries[path].shape, tuple(found.space[dim] for dim in dims)
    if shape == space:
        return tuple(dims)
    varies = len(shape) == len(space) + 1 and shape[1:] == space and found.n_samples in (None, shape[0])
    return ("sample", *dims) if varies else None


def boundary_values(
    contents: Contents, group: str, found: Frame, dims: Sequence[str], mask: NDArray[np.bool_]
) -> dict[str, xr.Variable]:
    """The ``values`` that a boundary condition sets at the nodes of its mask, lazily, by the end of their name.

    Values on the whole of one face have the dimensions of the face and its name in the attribute ``face``; on both
    faces of an axis they are two variables, ``_lower`` and ``_upper``. Elsewhere they stand on all dimensions, 0 off
    the mask, beside ``_nodes``, which is true at the nodes they are of.

    Parameters
    ----------
    contents, group, found
        The file, the group of the condition, the sizes of the file.
    dims, mask
        The dimensions of the condition, and its nodes.
    """
    path = f"{group}/values"
    if path not in contents.entries or not contents.entries[path].numeric or not mask.any():
        return {}
    entry = contents.entries[path]
    varying = [truth(attribute(contents.group_attributes(group), f"{name}_varying")) for name in ("sample", "time")]
    lead = _leading(entry.shape[:-1], found, *varying) if entry.shape else None
    if lead is None or entry.shape[-1] != int(mask.sum()):
        return {}
    places = np.full(mask.shape, -1)
    places[mask] = np.arange(entry.shape[-1])
    faces = {(axis, end): np.take(mask, end, axis=axis) for axis in range(mask.ndim) for end in (0, -1)}
    whole = [key for key, face in faces.items() if face.all()]
    if whole and sum(faces[key].size for key in whole) == int(mask.sum()) and len({axis for axis, _ in whole}) == 1:
        result = {}
        for axis, end in whole:
            side = "lower" if end == 0 else "upper"
            variable = _placed(contents.lazy(path), lead, [d for d in dims if d != dims[axis]], places.take(end, axis))
            variable.attrs["face"] = [dims[axis], side]
            result[f"_{side}" if len(whole) > 1 else ""] = variable
        return result
    return {"": _placed(contents.lazy(path), lead, dims, places), "_nodes": xr.Variable(tuple(dims), mask)}


def _leading(shape: tuple[int, ...], found: Frame, sample: bool | None, time: bool | None) -> tuple[str, ...] | None:
    """Names of the axes before the nodes: samples, times, both or none, as flags and sizes say."""
    samples, times = found.n_samples in (None, *shape[:1]), shape[-1:] == (found.n_times,)
    if not shape:
        return ()
    if len(shape) == 1 and samples and time is not True and sample is not False:
        return ("sample",)
    if len(shape) == 1 and times:
        return ("time",)
    return ("sample", "time") if len(shape) == 2 and samples and times else None


def _placed(array: Any, lead: Sequence[str], dims: Sequence[str], places: NDArray[np.int64]) -> xr.Variable:
    lazy = indexing.LazilyIndexedArray(_Placed(array, places))
    return xr.Variable((*lead, *dims), lazy, {"role": "boundary"}, fastpath=True)


class _Placed(BackendArray):
    """A lazy array (..., n) whose last axis is laid out at places: number of the entry at each node, -1 for zero."""

    def __init__(self, array: Any, places: NDArray[np.int64]) -> None:
        self.array, self.places = array, places
        self.shape = (*array.shape[:-1], *places.shape)
        self.dtype = np.dtype(array.dtype)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> Any:
        lead = self.array.ndim - 1
        names = [str(axis) for axis in range(self.array.ndim)]
        rows = np.asarray(xr.Variable(names, self.array, fastpath=True)[(*key[:lead], slice(None))].values)
        places = xr.Variable([str(axis) for axis in range(self.places.ndim)], self.places)[key[lead:]].values
        values = rows[..., places] if math.prod(rows.shape) else np.zeros((*rows.shape[:-1], *places.shape), self.dtype)
        return np.where(places >= 0, values, np.zeros((), self.dtype))
