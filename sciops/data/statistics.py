"""Mean, deviation and range per channel, streamed over a data set; and the normaliser made of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from sciops.data.function_dataset import FunctionDataset
from sciops.errors import DataError, InputError, did_you_mean


@dataclass(frozen=True)
class Statistics:
    """Count, mean, deviation and range of each channel.

    Blocks are joined by the update of Chan, Golub and LeVeque on values counted from `origin`, a value of the channel
    itself: a large mean then costs no digits, and the result is the same for any size of the blocks. It is the plain
    mean over samples and nodes, every node with the same weight.

    Parameters
    ----------
    names
        Names of the channels.
    count
        Values per channel.
    origin
        (channel,) float64: what was subtracted before summing.
    centre
        (channel,) float64: mean of the values less `origin`.
    scatter
        (channel,) float64: sum of the squared distances to the mean.
    minimum, maximum
        (channel,) float64.

    References
    ----------
    T. F. Chan, G. H. Golub, R. J. LeVeque, "Algorithms for computing the sample variance: analysis and
    recommendations", The American Statistician 37 (1983).

    Examples
    --------
    >>> values = torch.arange(12.0).reshape(3, 2, 2)
    >>> whole = Statistics.of(values, ["a", "b"])
    >>> parts = Statistics.of(values[:1], ["a", "b"]).merge(Statistics.of(values[1:], ["a", "b"]))
    >>> whole.mean.tolist(), parts.mean.tolist(), parts.count
    ([4.5, 6.5], [4.5, 6.5], 6)
    """

    names: tuple[str, ...]
    count: int
    origin: Float64[Tensor, " channel"]
    centre: Float64[Tensor, " channel"]
    scatter: Float64[Tensor, " channel"]
    minimum: Float64[Tensor, " channel"]
    maximum: Float64[Tensor, " channel"]

    @property
    def mean(self) -> Float64[Tensor, " channel"]:
        """Mean of each channel."""
        return self.origin + self.centre

    @property
    def std(self) -> Float64[Tensor, " channel"]:
        """Standard deviation of each channel: the root of the mean squared distance to the mean."""
        return (self.scatter / self.count).sqrt()

    @classmethod
    def of(
        cls,
        values: Float[Tensor, "sample channel *space"],
        names: Sequence[str],
        *,
        origin: Float[Tensor, " channel"] | None = None,
    ) -> Statistics:
        """The statistics of a tensor.

        Parameters
        ----------
        values
            (sample, channel, *space), at least one sample; computed in float64.
        names
            Names of the channels.
        origin
            (channel,) a number near the values of each channel; None takes the first value.

        Raises
        ------
        InputError
            If there is no value, or the number of names is not that of the channels.
        DataError
            If a value is NaN or infinite: names the channel, the first row and how many.
        """
        if values.ndim < 2 or values.numel() == 0 or values.shape[1] != len(names):
            raise InputError(
                f"statistics of the {len(names)} channels {', '.join(names)} need values (sample, channel, *space), "
                f"got the shape {tuple(values.shape)}"
            )
        table = values.detach().double().movedim(1, 0).flatten(1)
        _refuse_non_finite(table, names, values.shape[0])
        start = table[:, 0] if origin is None else origin.to(table)
        shifted = table - start[:, None]
        centre = shifted.mean(dim=1)
        deviation = shifted - centre[:, None]
        # The second term removes the rounding error of the mean (Chan et al., corrected two-pass formula).
        scatter = deviation.square().sum(dim=1) - deviation.sum(dim=1).square() / table.shape[1]
        low, high = table.aminmax(dim=1)
        return cls(tuple(names), table.shape[1], start, centre, scatter.clamp(min=0), low, high)

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both sets of values together.

        Raises
        ------
        InputError
            If the names of the channels differ.
        """
        if self.names != other.names:
            raise InputError(f"statistics of the channels {self.names} cannot be merged with those of {other.names}")
        count = self.count + other.count
        step = (other.origin - self.origin) + (other.centre - self.centre)
        return Statistics(
            self.names,
            count,
            self.origin,
            self.centre + step * (other.count / count),
            self.scatter + other.scatter + step.square() * (self.count / count * other.count),
            torch.minimum(self.minimum, other.minimum),
            torch.maximum(self.maximum, other.maximum),
        )

    def pooled(self, keys: Sequence[Hashable]) -> Statistics:
        """The same statistics for all channels with the same key, such as the frames of one variable in a window.

        A model that steps in time and is fed its own output needs one scale for all frames of a variable. Mean,
        deviation and range are those of the pooled channels; `count` stays that of a single channel.

        Parameters
        ----------
        keys
            One per channel.

        Raises
        ------
        InputError
            If there are not as many keys as channels.

        Examples
        --------
        >>> frames = Statistics.of(torch.tensor([[0.0, 2.0, 7.0]]), ["u(t-1)", "u(t)", "a"])
        >>> pooled = frames.pooled(["u", "u", "a"])
        >>> pooled.mean.tolist(), pooled.std.tolist()
        ([1.0, 1.0, 7.0], [1.0, 1.0, 0.0])
        """
        if len(keys) != len(self.names):
            raise InputError(f"{len(keys)} keys for {len(self.names)} channels; expected one for each channel")
        joined: dict[Hashable, Statistics] = {}
        for i, key in enumerate(keys):
            joined[key] = joined[key].merge(self._channel(i)) if key in joined else self._channel(i)
        columns = ("origin", "centre", "scatter", "minimum", "maximum")
        stacked = {column: torch.cat([getattr(joined[key], column) for key in keys]) for column in columns}
        stacked["scatter"] *= torch.tensor([self.count / joined[key].count for key in keys], dtype=torch.float64)
        return Statistics(self.names, self.count, **stacked)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; `from_dict` gives the statistics back to the last bit."""
        return {name: value.tolist() if isinstance(value, Tensor) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Statistics:
        """The statistics that `to_dict` described.

        Raises
        ------
        InputError
            If an entry is missing, unknown or of another length.

        Examples
        --------
        >>> statistics = Statistics.of(torch.tensor([[1.0], [3.0]]), ["u"])
        >>> Statistics.from_dict(statistics.to_dict()).std.tolist()
        [1.0]
        """
        expected = tuple(cls.__dataclass_fields__)
        for name in (*fields, *expected):
            if name not in fields or name not in expected:
                raise InputError(f"statistics with the entries {', '.join(fields)}{did_you_mean(name, expected)}")
        tensors = {name: torch.tensor(fields[name], dtype=torch.float64) for name in expected[2:]}
        if any(tensor.shape != (len(fields["names"]),) for tensor in tensors.values()):
            raise InputError(f"statistics of the channels {tuple(fields['names'])} need as many numbers in every entry")
        return cls(tuple(fields["names"]), int(fields["count"]), **tensors)

    def _channel(self, i: int) -> Statistics:
        row = slice(i, i + 1)
        columns = (self.origin, self.centre, self.scatter, self.minimum, self.maximum)
        return Statistics((), self.count, *(column[row] for column in columns))


@dataclass(frozen=True)
class DatasetStatistics:
    """Statistics of what a `FunctionDataset` gives.

    Parameters
    ----------
    x, y
        Of the input and output channels.
    parameters
        Of the parameter vector, None if there is none.

    Examples
    --------
    >>> one = Statistics.of(torch.ones(1, 1), ["u"])
    >>> DatasetStatistics(x=one, y=one, parameters=None).x.count
    1
    """

    x: Statistics
    y: Statistics
    parameters: Statistics | None


def statistics_of(dataset: FunctionDataset, *, max_bytes: int = 1 << 26) -> DatasetStatistics:
    """Stream a data set once and return the statistics of its inputs, outputs and parameters, in float64.

    Parameters
    ----------
    dataset
        Every item counts once.
    max_bytes
        Size of a block of items as float64; at least one item is read at a time. The result does not depend on it.

    Raises
    ------
    DataError
        If a value is NaN or infinite: names the file, the variable, the first sample and how many.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({name: (("sample", "x"), np.arange(8.0).reshape(2, 4)) for name in "au"})
    >>> statistics_of(FunctionDataset(ds, inputs="a", outputs="u")).y.mean.tolist()
    [3.5]
    """
    exact = dataset.astype(torch.float64)
    names = {"x": dataset.input_names, "y": dataset.output_names, "parameters": dataset.parameter_names}
    size = 8 * sum(value[0].numel() for value in exact.batch([0]).values())
    step = max(1, max_bytes // size)
    found: dict[str, Statistics] = {}
    for start in range(0, len(exact), step):
        block = exact.batch(range(start, min(start + step, len(exact))))
        block.pop("index")
        if not all(bool(value.isfinite().all()) for value in block.values()):
            exact.check_finite()
        for role, values in block.items():
            known = found.get(role)
            new = Statistics.of(values, names[role], origin=None if known is None else known.origin)
            found[role] = new if known is None else known.merge(new)
    return DatasetStatistics(found["x"], found["y"], found.get("parameters"))


class Normaliser(nn.Module):
    """Bring each channel to mean 0 and deviation 1: ``x -> (x - mean) / std``, and back.

    Parameters
    ----------
    mean, std
        (channel,) floating point; a deviation of 0 (a constant channel) counts as 1.
    names
        Names of the channels, for messages and to save; None: numbers.

    Raises
    ------
    InputError
        If the shapes differ, or a number is not finite or a deviation negative.

    Notes
    -----
    The buffers keep the dtype of `mean` and `std`, and `.to` changes it as for any module; values keep their own dtype.

    Examples
    --------
    >>> normaliser = Normaliser(torch.tensor([1.0]), torch.tensor([2.0]), ["u"])
    >>> x = torch.tensor([[[3.0, 5.0]]])
    >>> normaliser(x).tolist(), normaliser.inverse(normaliser(x)).tolist()
    ([[[1.0, 2.0]]], [[[3.0, 5.0]]])
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, mean: Float[Tensor, " channel"], std: Float[Tensor, " channel"], names: Sequence[str] | None = None
    ) -> None:
        super().__init__()
        self.names = tuple(map(str, range(len(mean)))) if names is None else tuple(names)
        if mean.ndim != 1 or mean.shape != std.shape or len(self.names) != len(mean):
            raise InputError(
                f"mean {tuple(mean.shape)}, std {tuple(std.shape)} and {len(self.names)} names do not fit; "
                f"expected one of each per channel"
            )
        if not bool((mean.isfinite() & std.isfinite() & (std >= 0)).all()):
            raise InputError(f"mean {mean.tolist()} and std {std.tolist()} must be finite, and std not negative")
        self.register_buffer("mean", mean.detach().clone())
        self.register_buffer("std", torch.where(std > 0, std, torch.ones_like(std)).detach())

    @classmethod
    def from_statistics(
        cls,
        statistics: Statistics,
        *,
        kind: Literal["standard", "none"] = "standard",
        dtype: torch.dtype = torch.float64,
    ) -> Normaliser:
        """The normaliser of measured channels.

        Parameters
        ----------
        statistics
            Of the values to normalise.
        kind
            ``"standard"``, or ``"none"`` for the identity (mean 0, deviation 1).
        dtype
            Of the buffers; float32 for devices without float64.

        Raises
        ------
        InputError
            If the kind is unknown.
        """
        if kind not in ("standard", "none"):
            raise InputError(f"unknown normalisation {kind!r}{did_you_mean(str(kind), ('standard', 'none'))}")
        mean, std = statistics.mean, statistics.std
        if kind == "none":
            mean, std = torch.zeros_like(mean), torch.ones_like(std)
        return cls(mean.to(dtype), std.to(dtype), statistics.names)

    def forward(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """Normalise along dimension 1; also parameter vectors (batch, channel)."""
        mean, std = self._along(x)
        return (x - mean) / std

    def inverse(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """Undo `forward`."""
        mean, std = self._along(x)
        return x * std + mean

    def extra_repr(self) -> str:
        return ", ".join(self.names)

    def _along(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shape = (-1,) + (1,) * (x.ndim - 2)
        return self.mean.to(x.dtype).view(shape), self.std.to(x.dtype).view(shape)


def _refuse_non_finite(table: Tensor, names: Sequence[str], rows: int) -> None:
    wrong = ~table.isfinite()
    for name, row in zip(names, wrong, strict=True):
        if bool(row.any()):
            first = int(row.view(rows, -1).any(dim=1).nonzero()[0])
            raise DataError(f"channel {name!r} has {int(row.sum())} NaN or infinite values, first in sample {first}")
