"""Whether a data set means what the training data meant: channels, labels of components, units, times of frames."""

from __future__ import annotations

import re

import numpy as np
import xarray as xr

from sciops.data.conventions import origin, time_dim
from sciops.data.domains.domain import Grid
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.errors import DataError
from sciops.surrogate.description import Description, labels_of, units_of


def check_channels(data: FunctionDataset, description: Description) -> None:
    """Refuse inputs that do not give the channels trained on.

    Raises
    ------
    DataError
        Names the counts and the first channel that differs.
    """
    for found, statistics in (
        (data.input_names, description.statistics.x),
        (data.parameter_names, description.statistics.parameters),
    ):
        known = () if statistics is None else statistics.names
        if len(found) != len(known):
            differing = next(iter(sorted(set(known) ^ set(found))), "")
            raise DataError(
                f"{data.file}: {', '.join((*data.inputs, *data.parameters))} give {len(found)} channels and the "
                f"surrogate was trained on {len(known)} (one of them has {differing!r}, the other has not); "
                f"give components and frames as in training"
            )
        for one, other in zip(found, known, strict=True):
            # One frame alone has no time to name, and starts an evolution all the same.
            if re.sub(r"\(t[^)]*\)$", "", one) != re.sub(r"\(t[^)]*\)$", "", other):
                raise DataError(
                    f"{data.file}: the channel {one!r} stands where the surrogate was trained on {other!r}; "
                    f"give components and frames as in training"
                )


def check_labels(ds: xr.Dataset, description: Description) -> None:
    """Refuse components with other labels than those trained on, such as in another order.

    Raises
    ------
    DataError
        Names the variable and both.
    """
    found = labels_of(ds, (*description.inputs, *description.parameters))
    for name, labels in found.items():
        known = description.labels.get(name, labels)
        if labels != known:
            raise DataError(
                f"{origin(ds)}: the components of {name!r} are {', '.join(labels)}, and the surrogate was trained on "
                f"{', '.join(known)}; select them in that order"
            )


def check_units(ds: xr.Dataset, grid: Grid, description: Description) -> None:
    """Refuse variables, axes and times in other units than those trained on; units that are not stated are taken.

    Raises
    ------
    DataError
        Names the variable or axis, and both units.
    """
    time = time_dim(ds)
    found = units_of(ds, (*description.inputs, *description.outputs, *description.parameters))
    known = dict(description.units)
    found |= {axis.name: axis.units for axis in grid.axes}
    known |= {axis.name: axis.units for axis in description.grid.axes}
    for name, units in found.items():
        one, other = (" ".join(each.split()) for each in (units, known.get(name, "")))
        if name == time:  # of dates counted from some day only the unit matters, steps are compared elsewhere
            one, other = one.partition(" since ")[0], other.partition(" since ")[0]
        if one and other and one != other:
            raise DataError(
                f"{origin(ds)}: {name!r} is in {one}, and the surrogate was trained on {name!r} in {other}; convert it"
            )


def check_frames(ds: xr.Dataset, description: Description) -> None:
    """Refuse trajectories with other times than those that a map gives.

    Raises
    ------
    DataError
        Names the times, or how many there are.
    """
    time = time_dim(ds)
    frames = next((variable.frames for variable in description.variables if variable.frames), None)
    if description.task != "map" or frames is None or time is None or time not in ds.sizes:
        return
    if ds.sizes[time] != frames:
        raise DataError(
            f"{origin(ds)} has {ds.sizes[time]} frames, and the surrogate was trained on {frames}; select those"
        )
    known = description.times
    if known is None or time not in ds.coords or ds[time].dtype.kind not in "iuf":
        return
    times = ds[time].values.astype(np.float64)
    step = float(np.abs(np.diff(known)).min()) if frames > 1 else max(abs(known[0]), 1e-30)
    apart = np.abs(times - np.array(known))
    if not bool((apart <= 1e-3 * step).all()):
        first = int(np.argmax(~(apart <= 1e-3 * step)))
        raise DataError(
            f"{origin(ds)}: frame {first} is at {time} = {times[first]:g}, and the surrogate was trained on "
            f"{known[first]:g}; interpolate to the times trained on"
        )
