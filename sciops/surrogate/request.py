"""What is asked of `fit`, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn

from sciops.data.conventions import origin, require_variable, time_dim
from sciops.data.function_dataset import FunctionDataset
from sciops.errors import InputError, ModelError, TrainingError
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


def same_run(finished: Surrogate, folder: Path, **asked: Any) -> Surrogate:
    """The surrogate of a finished run, if it is the one asked for."""
    for name, value in asked.items():
        known = getattr(finished.description, name)
        if known != value:
            raise TrainingError(
                f"{folder} holds a finished run with {name}={known!r}, and {name}={value!r} was asked for; "
                f"train into another folder"
            )
    return finished


def try_module(model: nn.Module, data: FunctionDataset, out_channels: int) -> None:
    """Apply a user's module to one item, so that a misfit is named before training."""
    if not any(p.requires_grad for p in model.parameters()):
        raise ModelError(f"{type(model).__name__} has no weights to train")
    item = data.batch([0])
    weight = next(model.parameters())
    arguments = [item[name].to(weight) for name in ("x", "parameters") if name in item]
    expected = (1, out_channels, *data.grid.shape)
    training = model.training
    try:
        with torch.no_grad():
            found = tuple(model.eval()(*arguments).shape)
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, AssertionError) as error:
        shapes = ", ".join(str(tuple(argument.shape)) for argument in arguments)
        raise ModelError(f"{type(model).__name__} cannot be applied to inputs of shape {shapes}: {error}") from error
    model.train(training)
    if found != expected:
        raise ModelError(
            f"{type(model).__name__} gives {found}, and the data needs {expected} (batch, channel, *space)"
        )
