"""Masks of fields: which variables hold them, and how they come to the nodes of a domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sciops.data.conventions import origin, require_variable, sample_dim
from sciops.data.conventions.attributes import text
from sciops.data.functions.stacking import spread_over
from sciops.data.reading.source import VariableSource
from sciops.errors import DataError, InputError


def mask_names(
    ds: xr.Dataset, fields: Sequence[str], space: Sequence[str], chosen: str | bool | Sequence[str]
) -> tuple[str, ...]:
    """The variables that say which nodes of the fields are in the domain; several all have to.

    Parameters
    ----------
    ds
        A data set by the conventions.
    fields
        Variables whose attribute ``mask`` may name one.
    space
        The space dimensions of the fields.
    chosen
        A name or names, True for those the fields name, False for none.

    Raises
    ------
    DataError
        If a mask is missing, or has dimensions other than the sample and those of space.
    InputError
        If `chosen` is none of these.

    Examples
    --------
    >>> ds = xr.Dataset({"u": ("x", [1.0, 2.0]), "wet": ("x", [True, False])})
    >>> ds["u"].attrs["mask"], ds["wet"].attrs["role"] = "wet", "mask"
    >>> mask_names(ds, ["u"], ["x"], True)
    ('wet',)
    """
    if isinstance(chosen, bool | np.bool_):
        named = [ds[name].attrs.get("mask") for name in fields] if chosen else []
    else:
        named = [chosen] if isinstance(chosen, str) else list(chosen) if isinstance(chosen, Sequence) else [chosen]
        if not all(isinstance(name, str) for name in named):
            what = repr(chosen) if isinstance(chosen, str | list | tuple | None) else f"a {type(chosen).__name__}"
            raise InputError(f"mask is {what}; expected True, False, or names of variables that hold masks")
    names = tuple(dict.fromkeys(text(name) for name in named if name is not None))
    for name in names:
        dims = require_variable(ds, name).dims
        allowed = {sample_dim(ds), *space}
        if not set(dims) <= allowed or not set(dims) & set(space):
            raise DataError(
                f"{origin(ds)}: the mask {name!r} has the dimensions {dims}; expected some of "
                f"({', '.join(map(str, space))}), and {sample_dim(ds)!r} where samples differ; or leave it out by "
                f"mask=False"
            )
    return names


@dataclass(frozen=True)
class Masks:
    """The masks of the fields of a data set; a node is inside where all of them are true.

    Parameters
    ----------
    dims
        The space dimensions of each mask, by name.
    space, shape
        The space dimensions of the fields, and their sizes.

    Examples
    --------
    >>> masks = Masks({"wet": ("x",)}, ("x", "y"), (2, 3))
    >>> masks.of({"wet": np.array([[[[1, 0]]]])})[0, 0].tolist()
    [[True, True, True], [False, False, False]]
    """

    dims: Mapping[str, tuple[str, ...]]
    space: tuple[str, ...]
    shape: tuple[int, ...]

    def of(self, values: Mapping[str, NDArray[Any]]) -> Tensor:
        """The mask (b, 1, *shape) of what was read: (b, 1, 1, *dims) by name."""
        parts = [
            torch.from_numpy(spread_over(values[name][:, 0] != 0, dims, self.space, self.shape).copy())
            for name, dims in self.dims.items()
        ]
        return torch.stack(parts).all(dim=0)

    def read(self, sources: Mapping[str, VariableSource], samples: NDArray[np.int64]) -> Tensor:
        """The mask (b, 1, *shape) of some samples."""
        zero = np.zeros((len(samples), 1), dtype=np.int64)
        return self.of({name: sources[name].read(samples, zero) for name in self.dims})
