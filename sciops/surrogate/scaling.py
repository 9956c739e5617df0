"""The statistics by which `fit` normalises what goes into the network and what comes out."""

from __future__ import annotations

import torch

from sciops.data.function_dataset import FunctionDataset
from sciops.data.statistics import DatasetStatistics, Statistics, statistics_of
from sciops.surrogate.assessment import blocks
from sciops.training.physical import Rollout


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
