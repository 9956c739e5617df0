"""How a trained operator is applied: on a device, in a precision, averaged over the symmetries of the problem."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sciops.data.domains.domain import Grid
from sciops.data.functions.symmetry import elements
from sciops.errors import DomainError, InputError, ModelError, did_you_mean
from sciops.surrogate.description import Description
from sciops.surrogate.resolution import Apply, Choice, through
from sciops.training.physical import PhysicalOperator

_DTYPES = {"32": torch.float32, "64": torch.float64, "bf16-mixed": torch.float32}


def served(operator: PhysicalOperator, description: Description, grid: Grid, *, steps: int, choice: Choice) -> Apply:
    """The map from physical inputs on `grid` to `steps` frames, averaged over the symmetries, in the way chosen."""
    training = description.grid
    if choice == "interpolation" and grid.shape != training.shape:
        return through(grid, training, averaged(operator, description, training, steps=steps))
    apply = averaged(operator, description, grid, steps=steps)
    return apply if grid.shape == training.shape else named(apply, operator.model, grid)


def averaged(operator: PhysicalOperator, description: Description, grid: Grid, *, steps: int) -> Apply:
    """The map from physical inputs on `grid` to `steps` frames, averaged at every step over the symmetries it has.

    The components of vectors and tensors turn with the fields, also those among the parameters, and masks move.
    """
    group = elements(_shared(description.symmetries, grid), grid)
    x_tensors, y_tensors, p_tensors = (description.tensors_of(role) for role in ("x", "y", "parameters"))

    def apply(x: Tensor, parameters: Tensor | None, mask: Tensor | None = None) -> Tensor:
        def step(x: Tensor, parameters: Tensor | None) -> Tensor:
            if len(group) < 2:
                found: Tensor = operator(x, parameters, mask=mask)
                return found
            total = torch.zeros(())
            for element in group:
                moved = operator(
                    element.apply(x, ends="nearest", tensors=x_tensors),
                    parameters if parameters is None or not p_tensors else element.turn(parameters, p_tensors),
                    mask=None if mask is None else element.apply_mask(mask),
                )
                total = total + element.inverse.apply(moved, tensors=y_tensors)
            return total / len(group)

        return operator.unroll(x, parameters, steps=steps, step=step)

    return apply


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

    def tried(x: Tensor, parameters: Tensor | None, mask: Tensor | None = None) -> Tensor:
        size = " x ".join(map(str, grid.shape))
        try:
            found = apply(x, parameters, mask)
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


@dataclass(frozen=True)
class Computation:
    """An operator on its device, in its precision."""

    operator: PhysicalOperator
    device: torch.device
    dtype: torch.dtype
    mixed: bool

    def run(self, apply: Apply, batch: Mapping[str, Tensor]) -> Tensor:
        """The map of a batch of inputs, which is brought to the device; 0 outside of its mask; without a gradient."""
        parameters, mask = batch.get("parameters"), batch.get("mask")
        context = torch.autocast(self.device.type, torch.bfloat16) if self.mixed else contextlib.nullcontext()
        with torch.no_grad(), context:
            found = apply(
                batch["x"].to(self.device, self.dtype),
                None if parameters is None else parameters.to(self.device, self.dtype),
                None if mask is None else mask.to(self.device),
            ).cpu()
        return found if mask is None else torch.where(mask, found, 0.0)


def computing(operator: PhysicalOperator, device: str | None, precision: str | None) -> Computation:
    """How to compute on `device` in `precision`; None is where the weights are, and the precision they have.

    The operator given stays as it is: it is copied where it has to change.

    Raises
    ------
    InputError
        If the precision is unknown, or there is no such device.
    """
    if precision is not None and precision not in _DTYPES:
        raise InputError(f"unknown precision {precision!r}{did_you_mean(precision, _DTYPES)}")
    weight = next(operator.parameters(), torch.zeros(()))
    dtype = weight.dtype if precision is None else _DTYPES[precision]
    place = weight.device
    try:
        if device is not None:
            asked = torch.device(device)
            place = place if asked.type == place.type and asked.index in (None, place.index) else asked
        if dtype != weight.dtype or place != weight.device:
            operator = copy.deepcopy(operator).to(device=place, dtype=dtype)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"cannot compute on device {device!r}: {error}") from error
    return Computation(operator, place, dtype, precision == "bf16-mixed")
