"""The statistics by which `fit` normalises what goes into the network and what comes out."""

from __future__ import annotations

import torch

from sciops.data.function_dataset import FunctionDataset
from sciops.data.statistics import DatasetStatistics, Statistics, statistics_of
from sciops.errors import DataError
from sciops.surrogate.assessment import blocks
from sciops.training.physical import Rollout

_SMALLEST_SPREAD, _ROUNDING, _LARGEST = 1e-5, 1e-13, 1e18


def training_statistics(train_set: FunctionDataset, rollout: Rollout | None) -> DatasetStatistics:
    """Statistics of the training part; the frames of a variable share theirs, since a rollout feeds one to the next."""
    found = statistics_of(train_set)
    if rollout is None:
        return found
    x = found.x.pooled([(channel.variable, channel.component) for channel in train_set.input_channels])
    y = found.y.pooled([(channel.variable, channel.component) for channel in train_set.output_channels])
    return DatasetStatistics(x, y, found.parameters)


def output_scale(train_set: FunctionDataset, statistics: DatasetStatistics, rollout: Rollout | None) -> Statistics:
    """Statistics of what the model itself must give: a frame, or its change."""
    if rollout is None:
        return statistics.y
    channels = train_set.out_channels // rollout.steps
    names = train_set.output_names[:channels]
    found: Statistics | None = None
    exact = train_set.astype(torch.float64)
    for batch in blocks(exact):
        values = batch["y"][:, :channels]
        if rollout.residual:
            values = values - batch["x"][:, (rollout.history - 1) * channels : rollout.history * channels]
        part = Statistics.of(values, names, origin=None if found is None else found.origin)
        found = part if found is None else found.merge(part)
    assert found is not None
    return found


def check_float32(statistics: DatasetStatistics, file: str) -> None:
    """Refuse channels of which float32 would keep no more than noise, or whose squares it does not hold.

    Raises
    ------
    DataError
        Names the channel, the numbers and what to do.
    """
    for part in (statistics.x, statistics.y, statistics.parameters):
        if part is None:
            continue
        numbers = (part.mean, part.std, torch.maximum(part.minimum.abs(), part.maximum.abs()))
        for name, mean, std, largest in zip(part.names, *(values.tolist() for values in numbers), strict=True):
            if largest > _LARGEST:
                raise DataError(
                    f"{file}: {name} reaches {largest:.4g}, too large for float32 (its squares overflow); "
                    f'change its units, or fit with precision="64"'
                )
            # Below the rounding of float64 a channel is constant, and normalised as such.
            if _ROUNDING * abs(mean) < std < _SMALLEST_SPREAD * abs(mean):
                raise DataError(
                    f"{file}: {name} has mean {mean:.6g} and deviation {std:.3g}, of which float32 keeps too few "
                    f'digits; subtract the mean, or fit with precision="64"'
                )
