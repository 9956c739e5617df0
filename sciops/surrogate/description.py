"""What a surrogate maps and what it was trained on, in words and numbers that fit into JSON."""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from typing import Any, Literal, get_args

import numpy as np
import torch
import xarray as xr

from sciops.data.conventions import channel_dim, origin, sample_dim, time_dim
from sciops.data.domains.domain import Grid
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.statistics import DatasetStatistics, Statistics
from sciops.data.functions.tensors import TensorChannels
from sciops.errors import DataError, ModelError

Task = Literal["map", "evolve"]


@dataclass(frozen=True, kw_only=True)
class OutputVariable:
    """One predicted variable, as the training file has it.

    Parameters
    ----------
    name
        Name in the file.
    components
        Name and length of its channel dimension, or None for a scalar field.
    frames
        Length of its time dimension for a map between whole trajectories, or None.
    attributes
        Attributes of the variable, such as units and long_name.
    """

    name: str
    components: tuple[str, int] | None = None
    frames: int | None = None
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Number of channels that the operator gives for it."""
        return (self.components[1] if self.components else 1) * (self.frames or 1)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a surrogate maps, on what grid, and the numbers of its training data.

    Parameters
    ----------
    inputs, outputs, parameters
        Names of the variables in the file.
    task
        ``"map"`` from inputs to outputs, or ``"evolve"`` from the last frames to the next.
    history, stride
        Frames that an evolution sees, and how far apart in the file they are.
    grid
        The training grid.
    variables
        The predicted variables.
    time_step
        Time between two predicted frames of an evolution, in seconds where the file has dates; or None.
    times
        Times of the frames of a map to whole trajectories, or None.
    statistics
        Of the training inputs, outputs and parameters.
    symmetries
        Symmetries over which predictions are averaged.
    tensors
        Which channels of x, of y and of the parameters are components of vectors and tensors.
    masks
        Variables that say which nodes are in the domain.
    units
        Units of the variables, and of the time dimension by its name, where the training file states them.
    labels
        Labels of the components of variables, by variable, where the training file has them.
    provenance
        Versions, fingerprint of the data, options of the training, sizes of the splits and skill: for people, and to
        tell whether a finished run is the one asked for.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: tuple[str, ...]
    task: Task
    history: int
    stride: int
    grid: Grid
    variables: tuple[OutputVariable, ...]
    time_step: float | None
    statistics: DatasetStatistics
    times: tuple[float, ...] | None = None
    symmetries: tuple[str, ...] = ()
    tensors: dict[str, tuple[TensorChannels, ...]] = field(default_factory=dict)
    masks: tuple[str, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Channels of the output, of one frame for an evolution."""
        return sum(variable.channels for variable in self.variables)

    def tensors_of(self, role: str) -> tuple[TensorChannels, ...]:
        """The vectors and tensors among the channels of ``"x"``, ``"y"`` (of one frame) or ``"parameters"``."""
        found = self.tensors.get(role, ())
        return tuple(each for each in found if role != "y" or max(each.channels) < self.channels)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; `from_dict` is the inverse."""
        plain = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        statistics = {
            role: value.to_dict() if value is not None else None
            for role, value in (
                ("x", self.statistics.x),
                ("y", self.statistics.y),
                ("parameters", self.statistics.parameters),
            )
        }
        variables = [{e.name: getattr(v, e.name) for e in fields(v)} for v in self.variables]
        tensors = {role: [each.to_dict() for each in found] for role, found in self.tensors.items() if found}
        described = {"grid": self.grid.to_dict(), "statistics": statistics, "variables": variables, "tensors": tensors}
        return {**plain, **described}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> Description:
        """The description that `to_dict` wrote.

        Raises
        ------
        ModelError
            If an entry is missing, unknown or of a wrong form.
        """
        try:
            values = dict(entries)
            values["grid"] = Grid.from_dict(values["grid"])
            x, y, parameters = (values["statistics"][role] for role in ("x", "y", "parameters"))
            values["statistics"] = DatasetStatistics(
                Statistics.from_dict(x),
                Statistics.from_dict(y),
                None if parameters is None else Statistics.from_dict(parameters),
            )
            values["variables"] = tuple(
                OutputVariable(**{**v, "components": tuple(v["components"]) if v["components"] else None})
                for v in values["variables"]
            )
            values["tensors"] = {
                str(role): tuple(map(TensorChannels.from_dict, found))
                for role, found in values.get("tensors", {}).items()
            }
            for name in ("inputs", "outputs", "parameters", "symmetries", "masks"):
                values[name] = tuple(values.get(name, ()) if name == "masks" else values[name])
            values["times"] = None if values["times"] is None else tuple(values["times"])
            if values["task"] not in get_args(Task):
                raise ValueError(f"unknown task {values['task']!r}")
            found = cls(**values)
            _check(found)
            return found
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ModelError(
                f"the description of the surrogate is damaged ({error}); save the surrogate again"
            ) from error


def _check(found: Description) -> None:
    """Refuse entries of a wrong type, or that do not go together.

    Raises
    ------
    ValueError
        Names the entry.
    """

    def whole(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 1

    def number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

    def names(values: Any) -> bool:
        return all(isinstance(value, str) for value in values)

    statistics, y = found.statistics, len(found.statistics.y.names)
    parameters = () if statistics.parameters is None else statistics.parameters.names
    sizes = {"x": len(statistics.x.names), "y": y, "parameters": len(parameters)}
    right = {
        "history": whole(found.history),
        "stride": whole(found.stride),
        "inputs": names(found.inputs) and bool(found.inputs),
        "outputs": names(found.outputs) and bool(found.outputs),
        "parameters": names(found.parameters) and bool(found.parameters) == (statistics.parameters is not None),
        "symmetries": names(found.symmetries),
        "masks": names(found.masks),
        "tensors": all(
            each.channels and min(each.channels) >= 0 and max(each.channels) < sizes.get(role, 0)
            for role, tensors in found.tensors.items()
            for each in tensors
        ),
        "variables": tuple(variable.name for variable in found.variables) == found.outputs
        and all(
            (v.components is None or (len(v.components) == 2 and names(v.components[:1]) and whole(v.components[1])))
            and (v.frames is None or whole(v.frames))
            and isinstance(v.attributes, dict)
            for v in found.variables
        ),
        "time_step": found.time_step is None or (number(found.time_step) and found.time_step != 0),
        "times": found.times is None or all(map(number, found.times)),
        "units": isinstance(found.units, dict) and names(found.units.values()),
        "labels": isinstance(found.labels, dict) and all(names(each) for each in found.labels.values()),
        "provenance": isinstance(found.provenance, dict),
    }
    for name, fits in right.items():
        if not fits:
            raise ValueError(f"{name} is {getattr(found, name)!r}, which is of a wrong type or fits no other entry")
    if y != found.channels and (found.task == "map" or y % found.channels):
        raise ValueError(f"statistics are of {y} output channels, and the variables have {found.channels}")


def units_of(ds: xr.Dataset, names: tuple[str, ...]) -> dict[str, str]:
    """Units of variables and of the time dimension, where they are stated."""
    time = time_dim(ds)
    stated = (*names, time) if time is not None and time in ds.coords else names
    found = {name: str(ds[name].attrs.get("units", "")).strip() for name in stated if name in ds.variables}
    return {name: units for name, units in found.items() if units}


def labels_of(ds: xr.Dataset, names: tuple[str, ...]) -> dict[str, list[str]]:
    """Labels of the components of variables, where there are any."""
    dims = {name: channel_dim(ds, name) for name in names if name in ds.data_vars}
    return {name: [str(label) for label in ds[dim].values] for name, dim in dims.items() if dim in ds.coords}


def output_variables(ds: xr.Dataset, names: tuple[str, ...], *, task: Task) -> tuple[OutputVariable, ...]:
    """The predicted variables as the file has them."""
    found = []
    for name in names:
        dim, time = channel_dim(ds, name), time_dim(ds)
        attributes = {
            str(key): _plain(value)
            for key, value in ds[name].attrs.items()
            if key != "mask" and _is_plain(_plain(value))  # predictions say themselves what their mask is
        }
        found.append(
            OutputVariable(
                name=name,
                components=(dim, int(ds.sizes[dim])) if dim else None,
                frames=int(ds.sizes[time]) if time in ds[name].dims and task == "map" else None,
                attributes=attributes,
            )
        )
    return tuple(found)


def _plain(value: Any) -> Any:
    """An attribute as JSON has it: what files keep as NumPy numbers and arrays are numbers and lists."""
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))


def time_step_of(ds: xr.Dataset, stride: int) -> float | None:
    """Time between two frames `stride` apart (of dates in seconds), or None where the file has no times.

    Raises
    ------
    DataError
        If the times are not uniform.
    """
    time = time_dim(ds)
    if time is None or time not in ds.coords or ds.sizes[time] < 2 or ds[time].dtype.kind not in "iufM":
        return None
    times = ds[time].values
    if times.dtype.kind == "M":
        steps, rounding = np.diff(times) / np.timedelta64(1, "s"), 0.0
    else:
        rounding = 4 * np.finfo(times.dtype).eps * float(np.abs(times).max()) if times.dtype.kind == "f" else 0.0
        steps = np.diff(times.astype(np.float64))
    if not np.allclose(steps, steps.mean(), rtol=1e-3, atol=rounding):
        raise DataError(
            f"{origin(ds)}: the times of {time!r} are not uniform (steps from {steps.min():.4g} to {steps.max():.4g}); "
            "an evolution needs equal steps: interpolate in time first"
        )
    return float(steps.mean()) * stride


def times_of(ds: xr.Dataset, variables: tuple[OutputVariable, ...]) -> tuple[float, ...] | None:
    """The times of the frames, where a map gives whole trajectories and the file has numbers for them."""
    time = time_dim(ds)
    if time is None or time not in ds.coords or ds[time].dtype.kind not in "iuf":
        return None
    return tuple(map(float, ds[time].values)) if any(variable.frames for variable in variables) else None


def provenance_of(data: FunctionDataset, ds: xr.Dataset) -> dict[str, Any]:
    """Versions, and a fingerprint of the data: grid, names, shapes and types, and the bytes of a few samples."""
    digest = hashlib.sha256(json.dumps(data.grid.to_dict(), sort_keys=True).encode())
    for name in dict.fromkeys((*data.inputs, *data.outputs, *data.parameters)):
        digest.update(f"{name} {ds[name].dims} {ds[name].shape} {ds[name].dtype}".encode())
    for item in sorted({0, len(data) // 2, len(data) - 1}):
        for value in data[item].values():
            digest.update(value.contiguous().numpy().tobytes())
    return {
        "sciops": version("sciops"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "data": data.file,
        "samples": int(ds.sizes[sample_dim(ds) or ""]),
        "fingerprint": digest.hexdigest(),
    }
