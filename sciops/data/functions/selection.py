"""What a user chose from a data set, checked: variables, their common domain, sample numbers, names of channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sciops.data.conventions import domain_of, origin, require_variable, sample_dim, space_dims
from sciops.data.domains.domain import Domain
from sciops.errors import DataError, DomainError, InputError


@dataclass(frozen=True)
class Channel:
    """What one channel of x or y is.

    Parameters
    ----------
    variable
        Name in the file.
    component
        Position along the channel dimensions of the variable, empty if it has none.
    frame
        Windows: number of strides after the last input frame, so 0 is the present, -1 the past, 1 the first
        prediction. Whole trajectories: the frame number. None for what does not depend on time.
    windowed
        Whether `frame` counts from the last input frame of a window.
    face
        Whether this is no value but marks, by 1, the face of the grid on which the variable stands.

    Examples
    --------
    >>> Channel("u").name, Channel("u", (0,), -1, True).name, Channel("u", (), 3).name
    ('u', 'u[0](t-1)', 'u@3')
    """

    variable: str
    component: tuple[int, ...] = ()
    frame: int | None = None
    windowed: bool = False
    face: bool = False

    @property
    def name(self) -> str:
        """``u``, ``u[0]``, ``u(t)``, ``u[0](t+2)``; ``u@3`` is frame 3 of a whole trajectory."""
        if self.face:
            return f"face of {self.variable}"
        label = self.variable + (f"[{','.join(map(str, self.component))}]" if self.component else "")
        if self.frame is None:
            return label
        return f"{label}(t{self.frame:+d})".replace("(t+0)", "(t)") if self.windowed else f"{label}@{self.frame}"


def variable_names(role: str, names: str | Sequence[str], *, optional: bool = False) -> tuple[str, ...]:
    """The names of one role as a tuple; a name stands once.

    Raises
    ------
    InputError
        If there is none (and there must be one), or one is repeated or not a string.

    Examples
    --------
    >>> variable_names("inputs", "a")
    ('a',)
    """
    chosen = (names,) if isinstance(names, str) else tuple(names)
    if not chosen and not optional:
        raise InputError(f"{role} names no variable; expected at least one")
    for name in chosen:
        if not isinstance(name, str):
            raise InputError(f"{role} holds {name!r}; expected names of variables")
        if chosen.count(name) > 1:
            raise InputError(f"{role} names {name!r} twice")
    return chosen


def check_numeric(ds: xr.Dataset, name: str) -> None:
    """Refuse a variable that is missing, or not real numbers.

    Raises
    ------
    DataError
        Names the file, the variable and what to do.

    Examples
    --------
    >>> check_numeric(xr.Dataset({"u": ("x", [1.0])}), "u")
    """
    dtype = require_variable(ds, name).dtype
    if dtype.kind == "c":
        raise DataError(
            f"{origin(ds)}: variable {name!r} is complex ({dtype}); store its real and imaginary part as two "
            f"variables, for example ds.assign(re=ds[{name!r}].real, im=ds[{name!r}].imag)"
        )
    if dtype.kind not in "biuf":
        raise DataError(f"{origin(ds)}: variable {name!r} has dtype {dtype}; expected numbers")
    if 0 in ds[name].shape:
        raise DataError(
            f"{origin(ds)}: variable {name!r} is empty, {dict(ds[name].sizes)}; expected at least one value"
        )


def check_number(ds: xr.Dataset, name: str) -> None:
    """Refuse as a parameter what depends on space.

    Raises
    ------
    DataError
        Names the file, the variable and its dimensions.

    Examples
    --------
    >>> check_number(xr.Dataset({"nu": ("sample", [0.1, 0.2])}), "nu")
    """
    if space_dims(ds, name):
        raise DataError(
            f"{origin(ds)}: parameter {name!r} has the dimensions {ds[name].dims}; a parameter is a number per sample "
            f"without space; name a function as one of the inputs, and list the dimension of a vector in "
            f"ds.attrs['channel_dims']"
        )


def common_dims(
    ds: xr.Dataset, inputs: Sequence[str], outputs: Sequence[str], *, apart: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The space dimensions of all inputs and of all outputs: the same, in the order of the first output.

    Parameters
    ----------
    ds
        A data set by the conventions.
    inputs, outputs
        Names of variables; without outputs those of the inputs stand for both.
    apart
        Whether inputs and outputs may stand on different domains.

    Raises
    ------
    DataError
        If a variable has no space dimension, or an output has no sample dimension.
    DomainError
        If the variables do not stand on one domain; names two that differ, with their sizes.

    Examples
    --------
    >>> ds = xr.Dataset({"u": (("sample", "x"), np.zeros((1, 4)))})
    >>> common_dims(ds, ["u"], ["u"])
    (('x',), ('x',))
    """
    first = {"output": (*outputs, *inputs)[0], "input": (*outputs, *inputs)[0]}
    if apart and outputs and set(space_dims(ds, inputs[0])) != set(space_dims(ds, outputs[0])):
        first["input"] = inputs[0]
    for role, names in (("output", outputs), ("input", inputs)):
        for name in names:
            dims = space_dims(ds, name)
            if not dims:
                hint = "name it in parameters=" if role == "input" else "expected a function of space"
                raise DataError(
                    f"{origin(ds)}: {role} {name!r} has the dimensions {ds[name].dims}, none in space; {hint}"
                )
            if role == "output" and sample_dim(ds) not in ds[name].dims:
                raise DataError(
                    f"{origin(ds)}: output {name!r} has the dimensions {ds[name].dims} without {sample_dim(ds)!r}; "
                    f"an output has a value for every sample"
                )
            if set(dims) != set(space_dims(ds, first[role])):
                sizes = [
                    f"{other!r} on ({', '.join(f'{dim}: {ds.sizes[dim]}' for dim in space_dims(ds, other))})"
                    for other in (first[role], name)
                ]
                raise DomainError(
                    f"{origin(ds)}: variables stand on different grids, {sizes[0]} and {sizes[1]}; bring them to one "
                    f"grid first (Field.resample), with the same dimension names; values on a face go to boundary="
                )
    return space_dims(ds, first["input"]), space_dims(ds, first["output"])


def common_domain(ds: xr.Dataset, names: Sequence[str], dims: Sequence[str]) -> Domain:
    """The domain of variables with the same space dimensions, its axes in the order of `dims`.

    Examples
    --------
    >>> ds = xr.Dataset({"u": (("sample", "x"), np.zeros((1, 4)))})
    >>> common_domain(ds, ["u"], ["x"]).shape
    (4,)
    """
    name = next((name for name in names if space_dims(ds, name) == tuple(dims)), names[0])
    return domain_of(ds, name)


def moving_points(ds: xr.Dataset, dims: Sequence[str]) -> tuple[str, ...]:
    """The coordinates of scattered points that differ from sample to sample, one for each direction; else none.

    Examples
    --------
    >>> marks = {"point_dims": ["p"], "point_coords": ["x"]}
    >>> ds = xr.Dataset({"u": (("sample", "p"), np.zeros((2, 3)))}, {"x": (("sample", "p"), np.ones((2, 3)))}, marks)
    >>> moving_points(ds, ["p"])
    ('x',)
    """
    listed = np.atleast_1d(ds.attrs.get("point_coords", ()))
    lines = [name for name in map(str, listed) if name in ds.coords and set(dims) <= set(ds[name].dims)]
    moving = [name for name in lines if sample_dim(ds) in ds[name].dims]
    return tuple(moving) if moving and len(moving) == len(lines) and len(dims) == 1 else ()


def sample_numbers(
    samples: Sequence[int] | Tensor | NDArray[Any] | None, available: int, file: str
) -> NDArray[np.int64]:
    """Sample numbers as an int64 array in the order given; None stands for all.

    Raises
    ------
    InputError
        If they are not whole numbers from 0 to `available` - 1, each at most once.
    DataError
        If there is none.

    Examples
    --------
    >>> sample_numbers([3, 1], 4, "u.h5")
    array([3, 1])
    """
    if samples is None:
        chosen = np.arange(available)
    else:
        chosen = np.asarray(samples.cpu() if isinstance(samples, torch.Tensor) else samples)
    if chosen.ndim == 1 and len(chosen) == 0:
        raise DataError(f"{file}: no sample chosen; expected at least one of {available}")
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise InputError(f"samples has dtype {chosen.dtype} and shape {chosen.shape}; expected whole numbers (n,)")
    outside = chosen[(chosen < 0) | (chosen >= available)]
    if len(outside):
        raise InputError(f"{file}: sample {outside[0]} does not exist; there are 0 to {available - 1}")
    numbers, counts = np.unique(chosen, return_counts=True)
    if (counts > 1).any():
        raise InputError(f"{file}: sample {numbers[counts > 1][0]} is chosen {counts.max()} times; expected once")
    return chosen.astype(np.int64)
