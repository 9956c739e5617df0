"""The boundary conditions of The Well: faces, obstacles, and values that a condition sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sciops.data.writing.writers._plan import Array
from sciops.data.writing.writers._source import Source

__all__ = ["Boundary", "boundaries", "set_aside"]

_KINDS = ("wall", "open", "periodic")
_LARGEST_MASK = 1 << 24


@dataclass(frozen=True)
class Boundary:
    """One group of ``boundary_conditions``.

    Parameters
    ----------
    name, kind
        Its name and type.
    dims
        The dimensions of its mask.
    fields
        The fields it is about; none stands for all.
    mask
        Where it holds.
    values
        What it sets there.
    flags
        Whether it varies with sample and time.
    """

    name: str
    kind: str
    dims: tuple[str, ...]
    fields: list[str]
    mask: Any
    values: Array | None = None
    flags: tuple[bool, bool] = (False, False)

    def attributes(self) -> dict[str, Any]:
        """The attributes of the group."""
        return {
            "associated_dims": list(self.dims),
            "associated_fields": self.fields,
            "bc_type": self.kind.upper(),
            "sample_varying": self.flags[0],
            "time_varying": self.flags[1],
        }


def set_aside(source: Source) -> set[str]:
    """The variables that are no fields and no parameters but tell of obstacles and boundaries."""
    variables = source.ds.data_vars
    found = {str(name) for name, variable in variables.items() if variable.attrs.get("role") in ("mask", "boundary")}
    return found | {f"{name}_nodes" for name in found if f"{name}_nodes" in variables}


def boundaries(source: Source, fields: list[str], space: tuple[str, ...]) -> Iterable[Boundary]:
    """All groups; what stands at one obstacle is one group."""
    found: dict[str, Boundary] = {}
    for each in [*_masks(source, space), *_values(source, space)]:
        other = found.get(each.name)
        found[each.name] = each if other is None else replace(each, mask=other.mask)
    for each in _faces(source, fields):
        name = each.name
        while name in found:
            name += "_too"
        found[name] = replace(each, name=name)
    return found.values()


def _known(source: Source, name: str, kind: str, dim: str = "") -> str:
    if kind not in _KINDS:
        where = f" along {dim!r}" if dim else ""
        raise source.error(
            f"{name!r} has the boundary condition {kind!r}{where}, it knows {', '.join(_KINDS)}",
            f"change or delete ds[{name!r}].attrs[{'boundary_conditions' if dim else 'bc_type'!r}]",
        )
    return kind


def _faces(source: Source, fields: list[str]) -> Iterator[Boundary]:
    """The faces with the same condition, with the fields it is about; periodic axes among them."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for name in fields:
        held = source.boundary(name)
        for axis in source.grid(name).axes:
            if axis.kind == "periodic":
                held.setdefault(axis.name, ["periodic", "periodic"])
        for dim, (lower, upper) in held.items():
            ends = {"": lower} if lower == upper else {"_lower": lower, "_upper": upper}
            for end, kind in ends.items():
                if kind and dim in source.ds[name].dims:
                    found.setdefault((dim, _known(source, name, kind, dim), end), []).append(name)
    for (dim, kind, end), names in found.items():
        mask = np.zeros(source.ds.sizes[dim], bool)
        mask[{"": [0, -1], "_lower": [0], "_upper": [-1]}[end]] = True
        every = [name for name in fields if dim in source.ds[name].dims]
        yield Boundary(f"{dim}_{kind}{end}", kind, (dim,), [] if names == every else names, mask)


def _masks(source: Source, space: tuple[str, ...]) -> Iterator[Boundary]:
    """Obstacles, of each sample where they differ: walls where a mask is false."""
    for name, variable in source.ds.data_vars.items():
        if variable.attrs.get("role") != "mask":
            continue
        dims = tuple(dim for dim in space if dim in variable.dims)
        lead = tuple(dim for dim in (source.sample,) if dim in variable.dims)
        if set(variable.dims) != {*lead, *dims} or len(dims) < 2:
            raise source.error(
                f"the mask {name!r} has the dimensions ({', '.join(map(str, variable.dims))}), it holds masks over "
                f"several space dimensions alone",
                source.drop(name),
            )
        if variable.size <= _LARGEST_MASK:
            values = variable.transpose(*lead, *dims).values.astype(bool)
            if values[(slice(None),) * len(lead) + (slice(1, -1),) * len(dims)].all():
                raise source.error(f"the mask {name!r} marks nothing inside of the domain", source.drop(name))
        array = source.array(str(name), (*lead, *dims), change=lambda values: ~values.astype(bool))
        yield Boundary(str(name).removeprefix("mask_"), "wall", dims, [], array, flags=(bool(lead), False))


def _values(source: Source, space: tuple[str, ...]) -> Iterator[Boundary]:
    """Values on a face, or at nodes that stand beside them in a variable of their own."""
    for name, variable in source.ds.data_vars.items():
        if variable.attrs.get("role") != "boundary":
            continue
        lead = tuple(dim for dim in (source.sample, source.time) if dim in variable.dims)
        own = tuple(dim for dim in space if dim in variable.dims)
        face = [str(part) for part in np.atleast_1d(variable.attrs.get("face", ()))]
        nodes = f"{name}_nodes"
        if set(variable.dims) != {*lead, *own} or not (len(face) == 2 and face[0] in space) ^ (nodes in source.ds):
            raise source.error(
                f"the boundary values {name!r} ({', '.join(map(str, variable.dims))}) name no face, and there is no "
                f"{nodes!r} that says where they are",
                f"set ds[{name!r}].attrs['face'] = ['{space[0]}', 'lower'], or {source.drop(name)}",
            )
        if nodes in source.ds:
            dims = own
            mask = source.take(nodes).transpose(*dims).values.astype(bool)
            array = source.array(
                str(name),
                (*lead, *own),
                last=len(own),
                becomes=(int(mask.sum()),),
                change=lambda values, mask=mask: values[..., mask],
            )
        else:
            dims = tuple(dim for dim in space if dim in own or dim == face[0])
            mask = np.zeros([source.ds.sizes[dim] for dim in dims], bool)
            mask[tuple((0 if face[1] == "lower" else -1) if dim == face[0] else slice(None) for dim in dims)] = True
            array = source.array(str(name), (*lead, *own), last=len(own), becomes=(int(mask.sum()),))
        kind = _known(source, str(name), str(variable.attrs.get("bc_type", "wall")).lower())
        fields = [str(field) for field in np.atleast_1d(variable.attrs.get("fields", []))]
        flags = source.sample in lead, source.time in lead
        yield Boundary(str(name).removeprefix("boundary_"), kind, dims, fields, mask, array, flags)
