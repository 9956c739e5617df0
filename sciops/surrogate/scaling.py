"""The statistics by which `fit` normalises what goes into the network and what comes out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.normalisation import Normalisers, kinds_of, logarithmic, pooled_frames
from sciops.data.functions.normaliser import Normaliser
from sciops.data.functions.statistics import DatasetStatistics, Statistics, statistics_of
from sciops.errors import DataError, InputError
from sciops.surrogate.assessment import blocks
from sciops.training.physical import Rollout

_SMALLEST_SPREAD, _ROUNDING, _LARGEST = 1e-5, 1e-13, 1e18


def training_statistics(
    train_set: FunctionDataset, rollout: Rollout | None, logarithm: Sequence[str] = ()
) -> DatasetStatistics:
    """Statistics of the training part (of the logarithm of some variables), inside of the masks.

    The frames of a variable share theirs, since a rollout feeds one to the next.
    """
    found = statistics_of(train_set, logarithm=logarithm)
    return found if rollout is None else pooled_frames(found, train_set)


def normalisers_by_kind(
    train_set: FunctionDataset, statistics: DatasetStatistics, rollout: Rollout | None, kinds: str | Mapping[str, str]
) -> Normalisers:
    """The normalisers of what goes into the network, and of what the network itself gives.

    Raises
    ------
    InputError
        If a kind or variable is unknown, or the logarithm of a change is asked for.
    """
    logarithm = logarithmic(train_set, kinds)
    x, y, parameters = kinds_of(train_set, kinds)
    if rollout is not None:
        y = y[: train_set.out_channels // rollout.steps]
        if rollout.residual and "log" in y:
            raise InputError(
                f"normalisation 'log' of the output {next(name for name in train_set.outputs if name in logarithm)!r}: "
                f"the model gives its change, which has no logarithm; set residual=False or take another normalisation"
            )
    measured = training_statistics(train_set, rollout, logarithm) if logarithm else statistics
    scale = first_frame(measured.y, len(y)) if "log" in y else output_scale(train_set, statistics, rollout)
    return Normalisers(
        Normaliser.from_statistics(measured.x, kind=x),
        Normaliser.from_statistics(scale, kind=y),
        None if measured.parameters is None else Normaliser.from_statistics(measured.parameters, kind=parameters),
    )


def first_frame(statistics: Statistics, channels: int) -> Statistics:
    """The statistics of the first channels."""
    columns = ("origin", "centre", "scatter", "minimum", "maximum")
    parts = {column: getattr(statistics, column)[:channels] for column in columns}
    return Statistics(statistics.names[:channels], statistics.count, **parts)


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
        mask = batch.get("mask")
        if mask is not None and not bool(mask.any()):
            continue
        part = Statistics.of(values, names, origin=None if found is None else found.origin, mask=mask)
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
