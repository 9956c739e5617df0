"""The network that `fit` trains: a named one in the size that suits the data, or a module that was tried on it."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import nn

from sciops import operators
from sciops.data.domains.domain import Grid
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.errors import InputError, ModelError

_MOST_MODES = {1: 16, 2: 12, 3: 8}


def network_of(
    model: str | nn.Module,
    data: FunctionDataset,
    *,
    out_channels: int,
    modes: int | tuple[int, ...] | None,
    width: int | None,
    layers: int | None,
    seed: int,
) -> nn.Module:
    """The module to train: a copy of the one given, or a named one in the size that suits the data."""
    chosen: dict[str, Any] = {"modes": modes, "width": width, "layers": layers}
    if isinstance(model, nn.Module):
        for name, value in chosen.items():
            if value is not None:
                raise InputError(f"{name} is for a model given by name; this module has its own")
        try:
            own = copy.deepcopy(model)
        except (RuntimeError, TypeError) as error:
            raise ModelError(f"{type(model).__name__} cannot be copied ({error}); train a module that can") from error
        try_module(own, data, out_channels)
        return own
    if not isinstance(model, str):
        raise InputError(f"model is {model!r}; give the name of an operator, or a module (an instance)")
    kind = operators.registry[model]
    takes = inspect.signature(kind).parameters
    for name, value in chosen.items():
        if value is not None and name not in takes:
            can = ", ".join(option for option in chosen if option in takes)
            raise InputError(f"the model {model!r} has no {name}; of these options it takes {can}")
    options: dict[str, Any] = {
        name: int(value) for name, value in chosen.items() if name != "modes" and value is not None
    }
    if "modes" in takes:
        options["modes"] = _checked_modes(modes, data.grid)
    return kind(
        data.in_channels,
        out_channels,
        parameters=len(data.parameter_names),
        grid=data.grid,
        seed=seed,
        **options,
    )


def _checked_modes(modes: int | tuple[int, ...] | None, grid: Grid) -> tuple[int, ...]:
    """Modes for each axis, none beyond what the training grid carries."""
    most = _MOST_MODES.get(grid.ndim, 6)
    if modes is None:
        return tuple(max(1, min(most, 3 * axis.size // 8, axis.carried_modes)) for axis in grid.axes)
    each = (modes,) * grid.ndim if isinstance(modes, int) else modes
    if len(each) != grid.ndim:
        raise InputError(
            f"modes {list(each)} for the {grid.ndim} axes {', '.join(grid.names)}; give one number, or one per axis"
        )
    for axis, mode in zip(grid.axes, each, strict=True):
        if not 1 <= mode <= axis.carried_modes:
            raise InputError(
                f"modes={mode} on axis {axis.name!r}: its {axis.size} points carry frequencies up to "
                f"{axis.carried_modes}; ask for 1 to {axis.carried_modes}"
            )
    return each


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
