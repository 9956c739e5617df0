"""Mean, deviation and range per channel, or per channel and node, streamed over a data set."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from sciops.data.functions.function_dataset import FunctionDataset
from sciops.errors import DataError, InputError, did_you_mean

__all__ = ["DatasetStatistics", "Statistics", "statistics_of"]


@dataclass(frozen=True)
class Statistics:
    """Count, mean, deviation and range of each channel.

    Blocks are joined by the update of Chan, Golub and LeVeque on values counted from `origin`, a value of the channel
    itself: a large mean then costs no digits, and the size of the blocks matters to rounding alone. It is the plain
    mean over samples and nodes, every node with the same weight; nodes outside of a mask do not count. Statistics per
    point are those of each node over the samples, and every array has the dimensions of space after the channel.

    Parameters
    ----------
    names
        Names of the channels.
    count
        Values per channel (per node, for statistics per point).
    origin
        (channel, *space?) float64: what was subtracted before summing.
    centre
        (channel, *space?) float64: mean of the values less `origin`.
    scatter
        (channel, *space?) float64: sum of the squared distances to the mean.
    minimum, maximum
        (channel, *space?) float64.

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
    origin: Float64[Tensor, "channel *space"]
    centre: Float64[Tensor, "channel *space"]
    scatter: Float64[Tensor, "channel *space"]
    minimum: Float64[Tensor, "channel *space"]
    maximum: Float64[Tensor, "channel *space"]

    @property
    def mean(self) -> Float64[Tensor, "channel *space"]:
        """Mean of each channel."""
        return self.origin + self.centre

    @property
    def std(self) -> Float64[Tensor, "channel *space"]:
        """Standard deviation of each channel: the root of the mean squared distance to the mean."""
        return (self.scatter / self.count).sqrt()

    @classmethod
    def of(
        cls,
        values: Float[Tensor, "sample channel *space"],
        names: Sequence[str],
        *,
        origin: Float[Tensor, "channel *space"] | None = None,
        mask: Bool[Tensor, "sample 1 *space"] | None = None,
        per_point: bool = False,
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
        mask
            (sample, 1, *space), True where values count; what stands elsewhere may be NaN.
        per_point
            Statistics of each node over the samples instead of over samples and nodes.

        Raises
        ------
        InputError
            If there is no value (in the mask), the number of names is not that of the channels, or statistics per
            point are asked for with a mask.
        DataError
            If a value is NaN or infinite: names the channel, the first row and how many.
        """
        if values.ndim < 2 or values.numel() == 0 or values.shape[1] != len(names):
            raise InputError(
                f"statistics of the {len(names)} channels {', '.join(names)} need values (sample, channel, *space), "
                f"got the shape {tuple(values.shape)}"
            )
        table = values.detach().double().movedim(1, 0)
        if mask is not None:
            if per_point or not bool(mask.any()):
                what = "are not taken of masked values" if per_point else "need a node inside of the mask"
                raise InputError(f"statistics of the channels {', '.join(names)} {what}")
            inside = mask.expand(len(values), 1, *values.shape[2:])[:, 0]
            _refuse_non_finite(torch.where(inside, table, 0.0).flatten(1), names, values.shape[0])
            table = table[:, inside]
        else:
            _refuse_non_finite(table.flatten(1), names, values.shape[0])
            table = table if per_point else table.flatten(1)
        start = table[:, 0] if origin is None else origin.to(table)
        shifted = table - start[:, None]
        centre = shifted.mean(dim=1)
        deviation = shifted - centre[:, None]
        # The second term removes the rounding error of the mean (Chan et al., corrected two-pass formula).
        scatter = deviation.square().sum(dim=1) - deviation.sum(dim=1).square() / table.shape[1]
        low, high = table.amin(dim=1), table.amax(dim=1)
        return cls(tuple(names), table.shape[1], start, centre, scatter.clamp(min=0), low, high)

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both sets of values together.

        Raises
        ------
        InputError
            If the names of the channels differ, or one is by channel and the other of each node, or of other nodes.
        """
        if not isinstance(other, Statistics):
            raise InputError(f"statistics cannot be merged with a {type(other).__name__}")
        if self.names != other.names:
            raise InputError(f"statistics of the channels {self.names} cannot be merged with those of {other.names}")
        if self.origin.shape != other.origin.shape:
            mine, theirs = (
                f"of each node of {tuple(each.origin.shape[1:])}" if each.origin.ndim > 1 else "by channel"
                for each in (self, other)
            )
            raise InputError(f"statistics {mine} cannot be merged with those {theirs}; measure both alike")
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
        if not keys:
            return self
        joined: dict[Hashable, Statistics] = {}
        for i, key in enumerate(keys):
            joined[key] = joined[key].merge(self._channel(i)) if key in joined else self._channel(i)
        columns = ("origin", "centre", "scatter", "minimum", "maximum")
        stacked = {column: torch.cat([getattr(joined[key], column) for key in keys]) for column in columns}
        shares = torch.tensor([self.count / joined[key].count for key in keys], dtype=torch.float64)
        stacked["scatter"] *= shares.view(-1, *(1,) * (self.origin.ndim - 1))
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
        shapes = {tuple(tensor.shape) for tensor in tensors.values()}
        if len(shapes) != 1 or next(iter(shapes))[:1] != (len(fields["names"]),):
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
        Of the input and output channels; without outputs, y has no channels.
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


def statistics_of(
    dataset: FunctionDataset,
    *,
    max_bytes: int = 1 << 26,
    logarithm: Sequence[str] = (),
    per_point: bool = False,
) -> DatasetStatistics:
    """Stream a data set once and return the statistics of its inputs, outputs and parameters, in float64.

    Nodes outside of the masks of the data set do not count.

    Parameters
    ----------
    dataset
        Every item counts once, on all its nodes.
    max_bytes
        Size of a block of items as float64; at least one item is read at a time. The result depends on it to
        rounding alone.
    logarithm
        Variables of which the statistics are those of the logarithm, for a `Normaliser` of that kind.
    per_point
        Of x and y, statistics of each node. Where there is a mask that does not depend on the sample, nodes outside of
        it count as constant.

    Raises
    ------
    DataError
        If a value is NaN or infinite, or not positive where its logarithm is taken: names the file, the variable, the
        first sample and how many. If no node is inside of the mask.
    InputError
        If statistics per point are asked for where every sample has a mask of its own.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({name: (("sample", "x"), np.arange(8.0).reshape(2, 4)) for name in "au"})
    >>> statistics_of(FunctionDataset(ds, inputs="a", outputs="u")).y.mean.tolist()
    [3.5]
    """
    exact = dataset.astype(torch.float64)
    names = {"x": dataset.input_names, "y": dataset.output_names, "parameters": dataset.parameter_names}
    logarithms = {
        "x": [i for i, channel in enumerate(dataset.input_channels) if channel.variable in logarithm],
        "y": [i for i, channel in enumerate(dataset.output_channels) if channel.variable in logarithm],
        "parameters": [i for i, channel in enumerate(dataset.parameter_channels) if channel.variable in logarithm],
    }
    size = 8 * sum(value[0].numel() for value in exact.read([0]).values())
    step = max(1, max_bytes // size)
    found: dict[str, Statistics] = {}
    shape: Tensor | None = None
    for start in range(0, len(exact), step):
        block = exact.read(range(start, min(start + step, len(exact))))
        roles = {role: block[role] for role in names if role in block}
        if not all(bool(value.isfinite().all()) for value in roles.values()):
            exact.check_finite()
        mask = block.get("mask")
        if per_point and mask is not None:
            shape = mask[:1] if shape is None else shape
            if not bool((mask == shape).all()):
                raise InputError(
                    f"{dataset.file}: every sample has a mask of its own, and statistics per point need one for all; "
                    f"normalise by channel"
                )
        for role, values in roles.items():
            inside = mask if role in dataset.masked_roles else None
            values = _logarithms(values, inside, logarithms[role], names[role], exact, block["index"])
            points = per_point and role != "parameters"
            if inside is not None and not points and not bool(inside.any()):
                continue
            known = found.get(role)
            new = Statistics.of(
                values,
                names[role],
                origin=None if known is None else known.origin,
                mask=None if points else inside,
                per_point=points,
            )
            found[role] = new if known is None else known.merge(new)
    if "x" not in found or (dataset.outputs and "y" not in found):
        raise DataError(
            f"{dataset.file}: no node of the samples is inside of the mask {', '.join(dataset.mask_names)}; choose "
            f"others (samples=...), or leave it out by mask=False"
        )
    y = found["y"] if dataset.outputs else Statistics((), 0, *torch.empty(5, 0, dtype=torch.float64))
    return DatasetStatistics(found["x"], y, found.get("parameters"))


def _logarithms(
    values: Tensor,
    mask: Tensor | None,
    chosen: Sequence[int],
    names: Sequence[str],
    data: FunctionDataset,
    at: Tensor,
) -> Tensor:
    """The values with the logarithm of some channels, 0 outside of the mask."""
    if not chosen:
        return values
    values = values.clone()
    for channel in chosen:
        part = values[:, channel]
        counts = torch.ones_like(part, dtype=torch.bool) if mask is None else mask[:, 0].expand_as(part)
        wrong = counts & ~(part > 0)
        if bool(wrong.any()):
            row = int(wrong.flatten(1).any(dim=1).nonzero()[0]) if part.ndim > 1 else int(wrong.nonzero()[0])
            raise DataError(
                f"{data.file}: {names[channel]} is {float(part[row][wrong[row]].min()):.4g} in sample "
                f"{int(data.groups[int(at[row])])}, and its logarithm needs positive values; take another normalisation"
            )
        values[:, channel] = torch.where(counts, part, 1.0).log()
    return values


def _refuse_non_finite(table: Tensor, names: Sequence[str], rows: int) -> None:
    wrong = ~table.isfinite()
    for name, row in zip(names, wrong, strict=True):
        if bool(row.any()):
            first = int(row.view(rows, -1).any(dim=1).nonzero()[0])
            raise DataError(f"channel {name!r} has {int(row.sum())} NaN or infinite values, first in sample {first}")
