"""What a trained surrogate is worth: its skill, its error band, and what to do at other resolutions."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import xarray as xr
from torch import Tensor

from sciops.data.functions.function_dataset import FunctionDataset
from sciops.errors import TrainingError
from sciops.surrogate.calibration import ConformalBand
from sciops.surrogate.prediction import block_size, steps_in
from sciops.surrogate.resolution import ResolutionPolicy, measure
from sciops.surrogate.surrogate import Surrogate
from sciops.training.baselines import baseline_errors
from sciops.training.metrics import relative_l2
from sciops.training.skill import SkillTable, skill_table

_CHECKED_FIELDS = 64
_BAND_BYTES = 1 << 26


def measured_policy(surrogate: Surrogate, validation_set: FunctionDataset, steps: int) -> ResolutionPolicy:
    """What to do at other resolutions, measured on validation items; fields with a mask are not interpolated."""
    if validation_set.mask_names:
        return ResolutionPolicy(None, None)
    count = min(_CHECKED_FIELDS, len(validation_set))
    batch = validation_set.batch(torch.linspace(0, len(validation_set) - 1, count).long())
    grid = surrogate.grid

    def apply(x: Tensor, parameters: Tensor | None) -> Tensor:
        domain = grid if tuple(x.shape[2:]) == grid.shape else grid.resized(*x.shape[2:])
        return surrogate.applied(x, parameters, grid=domain, steps=steps)

    with torch.no_grad():
        return measure(apply, batch["x"], batch["y"], batch.get("parameters"), grid=grid)


def calibrated_band(surrogate: Surrogate, ds: xr.Dataset, validation: Tensor, calibration: Tensor) -> ConformalBand:
    """The error band: its shape from the validation samples, its width from the calibration samples."""
    description = surrogate.description
    evolve = description.task == "evolve"
    frame_bytes = 8 * description.channels * math.prod(description.grid.shape)
    steps = max(1, min(steps_in(ds, description), _BAND_BYTES // frame_bytes)) if evolve else 1

    def residuals(samples: Tensor) -> Iterator[Tensor]:
        for prediction, target in surrogate.compared(ds, samples=samples, steps=steps):
            yield (prediction - target).reshape(len(target), steps, -1, *description.grid.shape)

    squares, count = torch.zeros(()), 0
    for residual in residuals(validation):
        squares, count = squares + residual.square().sum(dim=0), count + len(residual)
    scale = (squares / count).sqrt()
    return ConformalBand.from_scale(scale, residuals(calibration))


def measured_skill(
    surrogate: Surrogate, train_set: FunctionDataset, validation_set: FunctionDataset, steps: int
) -> SkillTable:
    """The error on the validation items beside those of the baselines."""
    total, exact = 0.0, validation_set.astype(torch.float64)
    dtype = next(surrogate.operator.model.parameters()).dtype
    for batch in blocks(exact):
        parameters, mask = batch.get("parameters"), batch.get("mask")
        with torch.no_grad():
            prediction = surrogate.applied(
                batch["x"].to(dtype),
                None if parameters is None else parameters.to(dtype),
                grid=exact.grid,
                steps=steps,
                mask=mask,
            )
        total += float(relative_l2(prediction.double(), batch["y"], exact.grid, mask).sum())
    error = total / len(exact)
    if not error < float("inf"):
        raise TrainingError("the trained model gives values that are not finite; lower the learning rate")
    return skill_table(error, baseline_errors(train_set, validation_set))


def blocks(data: FunctionDataset) -> Iterator[dict[str, Tensor]]:
    """All items in order, in blocks that memory holds."""
    size = block_size(64, (data.in_channels + 2 * data.out_channels) * math.prod(data.grid.shape))
    for start in range(0, len(data), size):
        yield data.batch(range(start, min(start + size, len(data))))
