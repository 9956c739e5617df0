"""The normalisers of a data set: kinds by variable, numbers measured by channel or by node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.normaliser import KINDS, Normalisation, Normaliser
from sciops.data.functions.statistics import DatasetStatistics, Statistics, statistics_of
from sciops.errors import InputError, did_you_mean


@dataclass(frozen=True)
class Normalisers:
    """The normalisers of what a `FunctionDataset` gives.

    Parameters
    ----------
    x, y, parameters
        Of inputs, outputs and parameters; None where there are none.

    Examples
    --------
    >>> Normalisers(None, None, None).x is None
    True
    """

    x: Normaliser | None
    y: Normaliser | None
    parameters: Normaliser | None


def kinds_of(
    dataset: FunctionDataset, kinds: str | Mapping[str, str]
) -> tuple[list[Normalisation], list[Normalisation], list[Normalisation]]:
    """The kind of each channel of x, of y and of the parameters; masks and marked faces among x stay as they are.

    Parameters
    ----------
    dataset
        The data set.
    kinds
        One kind for all variables, or kinds by variable; the others are ``"standard"``.

    Raises
    ------
    InputError
        If a kind or a variable is unknown.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({name: (("sample", "x"), np.ones((2, 4))) for name in "au"})
    >>> kinds_of(FunctionDataset(ds, inputs="a", outputs="u"), {"a": "log"})[:2]
    (['log'], ['standard'])
    """
    chosen = {} if isinstance(kinds, str) else dict(kinds)
    known = (*dataset.inputs, *dataset.outputs, *dataset.parameters, *dataset.boundary)
    for name in chosen:
        if name not in known:
            raise InputError(f"normalisation of {name!r}{did_you_mean(name, known)}")
    for kind in (kinds,) if isinstance(kinds, str) else chosen.values():
        if kind not in KINDS:
            raise InputError(f"unknown normalisation {kind!r}{did_you_mean(str(kind), KINDS)}")

    def kind_of(channel: Any) -> Any:
        if channel.face or channel.variable in dataset.mask_names:
            return "none"
        return kinds if isinstance(kinds, str) else chosen.get(channel.variable, "standard")

    roles = (dataset.input_channels, dataset.output_channels, dataset.parameter_channels)
    x, y, parameters = ([kind_of(channel) for channel in channels] for channels in roles)
    return x, y, parameters


def normalisers_of(
    dataset: FunctionDataset,
    kinds: str | Mapping[str, str] = "standard",
    *,
    per_point: bool = False,
    pooled: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Normalisers:
    """The normalisers of a data set, which is read once.

    Parameters
    ----------
    dataset
        The (training) data.
    kinds
        ``"standard"``, ``"range"``, ``"log"`` or ``"none"`` for all variables, or by variable; see
        `Normaliser.from_statistics`.
    per_point
        Numbers of each node for x and y, instead of one for each channel.
    pooled
        The frames of a variable share their numbers, as a model that is fed its own output needs it.
    dtype
        Of the numbers.

    Raises
    ------
    DataError
        If values are not finite, or not positive where the logarithm is taken.
    InputError
        If a kind or variable is unknown.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({name: (("sample", "x"), np.exp(np.arange(8.0)).reshape(2, 4)) for name in "au"})
    >>> found = normalisers_of(FunctionDataset(ds, inputs="a", outputs="u"), {"a": "log"})
    >>> found.x.mean.tolist(), found.x.logarithm
    ([3.5], (True,))
    """
    x, y, parameters = kinds_of(dataset, kinds)
    statistics = statistics_of(dataset, logarithm=logarithmic(dataset, kinds), per_point=per_point)
    if pooled:
        statistics = pooled_frames(statistics, dataset)

    def made(found: Statistics | None, kind: list[Normalisation]) -> Normaliser | None:
        return None if found is None or not found.names else Normaliser.from_statistics(found, kind=kind, dtype=dtype)

    return Normalisers(made(statistics.x, x), made(statistics.y, y), made(statistics.parameters, parameters))


def logarithmic(dataset: FunctionDataset, kinds: str | Mapping[str, str]) -> list[str]:
    """The variables that are normalised by their logarithm."""
    roles = (dataset.input_channels, dataset.output_channels, dataset.parameter_channels)
    pairs = [
        pair
        for role, each in zip(roles, kinds_of(dataset, kinds), strict=True)
        for pair in zip(role, each, strict=True)
    ]
    return [channel.variable for channel, kind in pairs if kind == "log"]


def pooled_frames(statistics: DatasetStatistics, dataset: FunctionDataset) -> DatasetStatistics:
    """Statistics in which the frames of a variable share theirs."""
    x = statistics.x.pooled([(channel.variable, channel.component) for channel in dataset.input_channels])
    y = statistics.y.pooled([(channel.variable, channel.component) for channel in dataset.output_channels])
    return DatasetStatistics(x, y, statistics.parameters)
