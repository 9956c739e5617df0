"""How a trained operator is applied: on a device, in a precision, averaged over the symmetries of the problem."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from sciops.data.domain import Grid
from sciops.data.symmetry import elements
from sciops.errors import DomainError, InputError, ModelError, did_you_mean
from sciops.surrogate.resolution import Apply
from sciops.training.physical import PhysicalOperator

_DTYPES = {"32": torch.float32, "64": torch.float64, "bf16-mixed": torch.float32}


def averaged(operator: PhysicalOperator, symmetries: tuple[str, ...], grid: Grid, *, steps: int) -> Apply:
    """The map from physical inputs on `grid` to `steps` frames, averaged at every step over the symmetries it has."""
    group = elements(_shared(symmetries, grid), grid)

    def step(x: Tensor, parameters: Tensor | None) -> Tensor:
        if len(group) < 2:
            found: Tensor = operator(x, parameters)
            return found
        total = torch.zeros(())
        for element in group:
            total = total + element.inverse.apply(operator(element.apply(x, ends="nearest"), parameters))
        return total / len(group)

    return lambda x, parameters: operator.unroll(x, parameters, steps=steps, step=step)


def _shared(symmetries: tuple[str, ...], grid: Grid) -> list[str]:
    """The symmetries that a grid has: of one refined along one axis only, exchanging the axes is none."""
    found = []
    for name in symmetries:
        with contextlib.suppress(DomainError):
            elements([name], grid)
            found.append(name)
    return found


def named(apply: Apply, model: nn.Module, grid: Grid) -> Apply:
    """The map, whose failure on a grid that was not trained on is told in one line."""

    def tried(x: Tensor, parameters: Tensor | None) -> Tensor:
        size = " x ".join(map(str, grid.shape))
        try:
            found = apply(x, parameters)
        except (RuntimeError, ValueError) as error:
            raise ModelError(
                f"{type(model).__name__} cannot be applied on {size} points ({error}); use resolution='interpolation'"
            ) from error
        if tuple(found.shape[2:]) != grid.shape:
            raise ModelError(
                f"{type(model).__name__} gives {tuple(found.shape[2:])} points on {size}; "
                f"use resolution='interpolation'"
            )
        return found

    return tried


@contextlib.contextmanager
def computing(
    operator: PhysicalOperator, device: str, precision: str | None
) -> Iterator[tuple[PhysicalOperator, torch.dtype, Callable[[], Any]]]:
    """The operator on `device` in `precision`, the dtype of its input, and the context it runs in.

    The operator given stays as it is; None is the precision of its weights.
    """
    if precision is not None and precision not in _DTYPES:
        raise InputError(f"unknown precision {precision!r}{did_you_mean(precision, _DTYPES)}")
    own = next((p.dtype for p in operator.parameters()), torch.float32)
    dtype = own if precision is None else _DTYPES[precision]
    try:
        kind = torch.device(device).type
        if dtype != own or any(p.device.type != "cpu" for p in operator.parameters()) or kind != "cpu":
            operator = copy.deepcopy(operator).to(device=device, dtype=dtype)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"cannot compute on device {device!r}: {error}") from error
    mixed = precision == "bf16-mixed"
    yield operator, dtype, lambda: torch.autocast(kind, torch.bfloat16) if mixed else contextlib.nullcontext()
