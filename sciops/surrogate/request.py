"""What is asked of `fit`, checked before anything is trained."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn

from sciops.data.conventions import origin, require_variable, sample_dim, time_dim
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.selection import Channel
from sciops.data.functions.symmetry import elements
from sciops.errors import DataError, InputError, TrainingError
from sciops.surrogate.description import Task
from sciops.surrogate.saving import load
from sciops.surrogate.surrogate import Surrogate


def is_evolution(
    task: str, inputs: Sequence[str], outputs: Sequence[str], *, history: int, steps: int, stride: int
) -> bool:
    """Whether this is an evolution; a task and options that do not go together are refused."""
    if task not in ("map", "evolve"):
        raise InputError(f"unknown task {task!r}; expected 'map' or 'evolve'")
    if task == "map":
        if (history, steps, stride) != (1, 1, 1):
            raise InputError("history, steps and stride are for task='evolve'; a map has no frames to step through")
        return False
    missing = [name for name in outputs if name not in inputs]
    if missing:
        raise InputError(f"an evolution is fed its own output: name {missing[0]!r} in inputs too")
    return True


def moving_first(ds: xr.Dataset, inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """The inputs of an evolution in the order in which its output is fed back: the moving ones, then the others."""
    still = [name for name in inputs if name not in outputs]
    for name in still:
        if time_dim(ds) in require_variable(ds, name).dims:
            raise InputError(
                f"{origin(ds)}: the input {name!r} has a time dimension and is not among the outputs, so its next "
                f"frame would be unknown; name it in outputs too, or give one frame of it"
            )
    return (*outputs, *still)


def require_numbers(*, whole: Mapping[str, Any], real: Mapping[str, Any]) -> None:
    """Refuse options that are no (whole) numbers; None stands for an option that was not given.

    Raises
    ------
    InputError
        Names the first one.
    """
    for options, kind, words in ((whole, numbers.Integral, "a whole number"), (real, numbers.Real, "a number")):
        for name, value in options.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
                raise InputError(f"{name} is {value!r}; expected {words}")


def checked_modes(modes: int | Sequence[int] | None) -> int | tuple[int, ...] | None:
    """Modes as one number or one per axis, all whole.

    Raises
    ------
    InputError
        If they are anything else.
    """
    if modes is None:
        return None
    each = tuple(modes) if isinstance(modes, Iterable) else (modes,)
    if not each or any(isinstance(mode, bool) or not isinstance(mode, numbers.Integral) for mode in each):
        raise InputError(f"modes is {modes!r}; expected a whole number, or one per axis")
    return tuple(map(int, each)) if isinstance(modes, Iterable) else int(each[0])


def check_symmetries(symmetries: Sequence[str], data: FunctionDataset) -> None:
    """Refuse symmetries that the grid does not have, or that would move components that are not said to be a vector.

    Raises
    ------
    InputError
        If a name is unknown, or a variable with several components that does not declare its rank would be moved by
        other than a shift.
    DomainError
        If the grid does not have one of them, or a vector lacks a component along an axis that is exchanged.
    """
    group = elements(symmetries, data.grid)
    known = (
        (data.input_channels, data.input_tensors),
        (data.output_channels, data.output_tensors),
        (data.parameter_channels, data.parameter_tensors),
    )
    for channels, tensors in known:
        declared = {number for each in tensors for number in each.channels}
        if channels is not data.parameter_channels:
            _check_components(symmetries, [c for number, c in enumerate(channels) if number not in declared])
        for element in group:
            element.turn(torch.zeros(1, len(channels)), tensors)


def _check_components(symmetries: Sequence[str], channels: Sequence[Channel]) -> None:
    for name in symmetries:
        for channel in channels:
            if any(channel.component) and not (name == "shift" or name.startswith("shift-")):
                raise InputError(
                    f"symmetry {name!r} moves values between nodes and leaves the components of {channel.variable!r} "
                    f"as they are, while those of a vector would be exchanged or change sign; leave it out, say which "
                    f"axes they belong to (attributes rank and components), or, if they are no vector, make each "
                    f"component a variable of its own"
                )


def recorded(**options: Any) -> dict[str, Any]:
    """Options as JSON gives them back: numbers, words and lists; a module by the name of its class.

    Examples
    --------
    >>> recorded(modes=(8, 6), model=nn.ReLU(), patience=None)
    {'modes': [8, 6], 'model': 'ReLU', 'patience': None}
    """
    return {name: _plain(value) for name, value in options.items()}


def finished_run(
    folder: Path, model: str | nn.Module, *, described: Mapping[str, Any], options: Mapping[str, Any]
) -> Surrogate | None:
    """The surrogate of the finished run in a folder, if there is one; it must have been asked for in the same way.

    Raises
    ------
    TrainingError
        Names the first difference.
    """
    if not (folder / "surrogate" / "surrogate.json").is_file():
        return None
    finished = load(folder, model=copy.deepcopy(model) if isinstance(model, nn.Module) else None)
    require_same(folder, {name: getattr(finished.description, name) for name in described}, described)
    require_same(folder, finished.description.provenance.get("options", {}), options)
    return finished


def require_same(folder: Path, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a finished run that was made in another way.

    Raises
    ------
    TrainingError
        Names the first difference.
    """
    for name, value in now.items():
        if was.get(name) != value:
            raise TrainingError(
                f"cannot resume {folder}, a finished run: {name} was {was.get(name)!r} and is now {value!r}; "
                f"train into another folder"
            )


def require_samples(ds: xr.Dataset, *, parts: int, task: Task, frames: int) -> None:
    """Refuse too few samples to split; a trajectory alone is cut into several.

    Parameters
    ----------
    ds
        The data set.
    parts
        Of training, validation and calibration, how many there are.
    task
        ``"map"`` or ``"evolve"``.
    frames
        Frames of the file that a training item spans, of an evolution.

    Raises
    ------
    DataError
        Says how many there are, how many are needed, and how to cut.
    """
    sample, time = sample_dim(ds), time_dim(ds)
    count = 0 if sample is None else int(ds.sizes[sample])
    if count >= parts:
        return
    if sample is None:
        found, remedies = "has no sample dimension", ["name it by sample_dim= (--sample-dim)"]
    else:
        found = f": {count} sample{'s' if count != 1 else ''} cannot be split into {parts} parts"
        remedies = [f"bring at least {parts}"]
    pieces = 0 if time is None or task == "map" or count > 1 else min(10, int(ds.sizes[time]) // frames)
    if pieces >= parts:
        length = int(ds.sizes[str(time)]) // pieces
        remedies.append(
            f"or cut one trajectory into {pieces} samples: xr.concat([ds.isel({time}=slice(k, k + {length})) for k in "
            f"range(0, {pieces * length}, {length})], {sample or 'sample'!r}, join='override')"
        )
    if count == 2 and parts == 3:
        remedies.append("or leave out the error band by calibration=0 (--calibration 0)")
    raise DataError(f"{origin(ds)}{' ' * (sample is None)}{found}; {', '.join(remedies)}")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else type(value).__name__
