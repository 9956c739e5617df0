"""Reading the groups of The Well leniently: names in any case, attributes missing or of another type."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py

from sciops.data.layouts import Contents
from sciops.data.layouts._hdf5 import texts, truth
from sciops.data.storage import Entry
from sciops.errors import LayoutError

__all__ = ["Frame", "attribute", "axes", "below", "frame", "subgroups"]


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
