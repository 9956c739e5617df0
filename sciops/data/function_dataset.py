"""A torch data set of input and output functions over the storage of a lazy xarray data set."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Int64
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from sciops.data.conventions import origin, sample_dim, time_dim
from sciops.data.domain import Grid
from sciops.data.selection import Channel, check_number, check_numeric, common_grid, sample_numbers, variable_names
from sciops.data.source import VariableSource
from sciops.errors import DataError, InputError

_DTYPES: dict[torch.dtype, type[np.floating[Any]]] = {torch.float32: np.float32, torch.float64: np.float64}
_BLOCK_BYTES = 1 << 26


class FunctionDataset(Dataset[dict[str, Tensor]]):
    """Pairs of functions x -> y, read when they are asked for.

    Without `history` an item is a sample: x stacks the input variables and y the output variables channel by channel;
    a variable with time has all its frames as channels (frame-major). With ``history=h, horizon=s`` an item is a window
    of a trajectory: x is the frames ``t, t + stride, ..., t + (h-1) stride`` and y the next `s` frames, both
    frame-major; input variables without time follow as further channels of x. Items are ordered by sample, then by
    first frame.

    Parameters
    ----------
    ds
        A data set that follows `sciops.data.conventions`, usually from `sciops.data.open`.
    inputs, outputs
        Names of variables with space dimensions; a variable may be both. Inputs without a sample dimension are the
        same for every sample. All stand on one grid. With ``outputs=()`` items have no y, as prediction needs it.
    parameters
        Names of variables without space and time: numbers that go with each sample.
    history, horizon
        Frames of a window that are input and output (horizon defaults to 1); None: no windows.
    stride
        Frames between two frames of a window.
    samples
        Sample numbers to use, in this order; None: all.
    dtype
        torch.float32 or torch.float64: of x, y and the parameters.
    cache_bytes
        Variables that together take at most this many bytes as stored are read once and kept in memory, in every
        process that reads. It changes the speed and nothing else.

    Raises
    ------
    DataError
        If a variable is missing, not real and numeric, without a dimension it needs, or shorter than a window.
    DomainError
        If the variables stand on different grids.
    InputError
        If an option is out of range, or sample numbers repeat or do not exist.

    Notes
    -----
    A batch is read in few contiguous pieces: requests are sorted, near neighbours are read together, and the order
    asked for is restored. The data set pickles without its data, and another process opens the file itself; start
    loader workers by ``forkserver`` or ``spawn``, since HDF5 handles do not survive a fork.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({"u": (("sample", "time", "x"), np.zeros((3, 10, 16))), "nu": ("sample", np.ones(3))})
    >>> data = FunctionDataset(ds, inputs="u", outputs="u", parameters="nu", history=2, horizon=1)
    >>> len(data), data.input_names, data.output_names
    (24, ('u(t-1)', 'u(t)'), ('u(t+1)',))
    >>> {name: tuple(value.shape) for name, value in data.batch([0, 9]).items()}
    {'x': (2, 2, 16), 'y': (2, 1, 16), 'index': (2,), 'parameters': (2, 1)}
    """

    def __init__(
        self,
        ds: xr.Dataset,
        *,
        inputs: str | Sequence[str],
        outputs: str | Sequence[str],
        parameters: str | Sequence[str] = (),
        history: int | None = None,
        horizon: int | None = None,
        stride: int = 1,
        samples: Sequence[int] | Tensor | NDArray[Any] | None = None,
        dtype: torch.dtype = torch.float32,
        cache_bytes: int = 1 << 28,
    ) -> None:
        self.inputs, self.outputs = variable_names("inputs", inputs), variable_names("outputs", outputs, optional=True)
        self.parameters = variable_names("parameters", parameters, optional=True)
        self.file = origin(ds)
        self.history, self.stride = history, stride
        if history is not None and horizon is None and self.outputs:
            horizon = 1
        self.horizon = horizon
        for option, value in (("history", history), ("horizon", self.horizon), ("stride", stride)):
            if value is not None and value < 1:
                raise InputError(f"{option} is {value}; expected at least 1")
        if history is None and (horizon is not None or stride != 1):
            raise InputError("horizon and stride describe windows of a trajectory; give history as well")
        self.dtype = _checked(dtype)

        sample, time = sample_dim(ds), time_dim(ds)
        if sample is None:
            raise DataError(
                f"{self.file} has no sample dimension; name it when opening (sample_dim=...), "
                f"or add one with ds.expand_dims('sample')"
            )
        names = tuple(dict.fromkeys((*self.inputs, *self.outputs, *self.parameters)))
        for name in names:
            check_numeric(ds, name)
        for name in self.parameters:
            check_number(ds, name)
        self.grid = common_grid(ds, self.inputs, self.outputs)
        self._sources = {
            name: VariableSource(
                ds[name].variable,
                sample=sample,
                time=time,
                space=() if name in self.parameters else self.grid.names,
            )
            for name in names
        }
        small = sum(source.nbytes for source in self._sources.values()) <= cache_bytes
        for source in self._sources.values():
            source.in_memory = small
        self.windows = 1
        self._offsets = {name: np.arange(source.frames) for name, source in self._sources.items()}
        self._picks = {role: {name: slice(None) for name in names} for role in ("x", "y")}
        if history is not None:
            self._plan_windows()
        self._samples = sample_numbers(samples, int(ds.sizes[sample]), self.file)

    @property
    def input_grid(self) -> Grid:
        """The grid of the inputs: that of the outputs."""
        return self.grid

    @property
    def in_channels(self) -> int:
        """Channels of x."""
        return self._count(self.inputs, "x")

    @property
    def out_channels(self) -> int:
        """Channels of y."""
        return self._count(self.outputs, "y")

    @property
    def input_channels(self) -> tuple[Channel, ...]:
        """What each channel of x is."""
        return self._describe(self.inputs, "x")

    @property
    def output_channels(self) -> tuple[Channel, ...]:
        """What each channel of y is."""
        return self._describe(self.outputs, "y")

    @property
    def input_names(self) -> tuple[str, ...]:
        """Display names of the channels of x."""
        return tuple(channel.name for channel in self.input_channels)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Display names of the channels of y."""
        return tuple(channel.name for channel in self.output_channels)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Display names of the entries of the parameter vector."""
        return tuple(
            Channel(name, part).name
            for name in self.parameters
            for part in np.ndindex(self._sources[name].component_shape)
        )

    @property
    def samples(self) -> Int64[Tensor, " sample"]:
        """Sample numbers of the file that are used, in order."""
        return torch.from_numpy(self._samples.copy())

    @property
    def groups(self) -> Int64[Tensor, " item"]:
        """Sample number (of the file) of each item: items of one trajectory belong together in a split."""
        return torch.from_numpy(np.repeat(self._samples, self.windows))

    def subset(self, samples: Sequence[int] | Tensor | NDArray[Any]) -> FunctionDataset:
        """The same data set with only some of its samples, named by their numbers in the file, in that order.

        Raises
        ------
        InputError
            If a sample repeats or is not in this data set.
        """
        missing = np.setdiff1d(samples, self._samples)
        if len(missing):
            raise InputError(f"{self.file}: sample {missing[0]} is not among the {len(self._samples)} of this data set")
        part = copy.copy(self)
        part._samples = sample_numbers(samples, int(self._samples.max()) + 1, self.file)
        return part

    def astype(self, dtype: torch.dtype) -> FunctionDataset:
        """The same data set with values in another floating-point type, torch.float32 or torch.float64."""
        other = copy.copy(self)
        other.dtype = _checked(dtype)
        return other

    def __len__(self) -> int:
        return len(self._samples) * self.windows

    def __getitem__(self, index: int | Sequence[int]) -> dict[str, Tensor]:
        """One item, or the stacked items of a list of numbers (what a loader with ``batch_size=None`` asks for)."""
        if isinstance(index, int | np.integer):
            return {name: value[0] for name, value in self.batch([int(index)]).items()}
        return self.batch(index)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Tensor]]:
        """The items one by one, read together: what a loader that collates asks for."""
        stacked = self.batch(indices)
        return [{name: value[i] for name, value in stacked.items()} for i in range(len(indices))]

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return (self[i] for i in range(len(self)))

    def batch(self, indices: Sequence[int] | Tensor | NDArray[Any]) -> dict[str, Tensor]:
        """Several items stacked along a first dimension.

        Parameters
        ----------
        indices
            Item numbers (b,), any order; negative ones count from the end.

        Returns
        -------
        dict
            ``x`` (b, in_channels, *space), ``y`` (b, out_channels, *space) if there are outputs,
            ``index`` (b,) int64 and, if there are parameters, ``parameters`` (b, p).

        Raises
        ------
        IndexError
            If there is no item of that number.
        """
        items = np.asarray(indices, dtype=np.int64).reshape(-1)
        wrong = items[(items < -len(self)) | (items >= len(self))]
        if len(wrong):
            raise IndexError(f"item {wrong[0]} of a data set of {len(self)} items")
        items = np.where(items < 0, items + len(self), items)
        samples, starts = self._samples[items // self.windows], items % self.windows
        values = {
            name: source.read(samples, starts[:, None] * source.timed + self._offsets[name])
            for name, source in self._sources.items()
        }
        stacked = {"x": self._stack(values, self.inputs, "x")}
        if self.outputs:
            stacked["y"] = self._stack(values, self.outputs, "y")
        stacked["index"] = torch.from_numpy(items)
        if self.parameters:
            numbers = [values[name][:, 0, :].astype(_DTYPES[self.dtype]) for name in self.parameters]
            stacked["parameters"] = torch.from_numpy(np.concatenate(numbers, axis=1))
        return stacked

    def check_finite(self) -> None:
        """Read every value once, in blocks, and refuse what is not finite.

        Raises
        ------
        DataError
            Names the first variable with NaN or infinite values, how many, and the first sample that has one.
        """
        for name, source in self._sources.items():
            nan = infinite = 0
            first: int | None = None
            for samples, values in source.blocks(np.sort(self._samples), _BLOCK_BYTES):
                bad = ~np.isfinite(values)
                if bad.any():
                    nan, infinite = nan + int(np.isnan(values).sum()), infinite + int(np.isinf(values).sum())
                    where = int(samples[np.argmax(bad.reshape(len(samples), -1).any(axis=1))])
                    first = where if first is None else min(first, where)
            if first is not None:
                raise DataError(
                    f"{self.file}: variable {name!r} has {nan} NaN and {infinite} infinite values, first in sample "
                    f"{first}; leave such samples out (samples=...) or fill them (ds.fillna)"
                )

    def _plan_windows(self) -> None:
        """Which frames after its first one a window reads of each variable, and which of them are x and y."""
        history, horizon = int(self.history or 0), int(self.horizon or 0)
        timed = [name for name, source in self._sources.items() if source.timed]
        for role, names in (("input", self.inputs[:1]), ("output", self.outputs)):
            lacking = [name for name in names if name not in timed]
            if lacking and (role == "output" or not set(self.inputs) & set(timed)):
                raise DataError(
                    f"{self.file}: {role} {lacking[0]!r} has no time dimension, and windows (history={history}) need "
                    f"one; leave history out, or name a variable with time"
                )
        longest = (*self.outputs, *(name for name in self.inputs if name in timed))[0]
        frames = self._sources[longest].frames
        span = (history + horizon - 1) * self.stride + 1
        if frames < span:
            raise DataError(
                f"{self.file}: a window of history={history}, horizon={horizon}, stride={self.stride} spans {span} "
                f"frames, and {longest!r} has {frames}; make the window shorter"
            )
        self.windows = frames - span + 1
        past, future = np.arange(history) * self.stride, (history + np.arange(horizon)) * self.stride
        for name in timed:
            if name in self.inputs and name in self.outputs:
                self._offsets[name] = np.concatenate((past, future))
                self._picks["x"][name], self._picks["y"][name] = slice(0, history), slice(history, None)
            else:
                self._offsets[name] = past if name in self.inputs else future

    def _parts(self, names: Sequence[str]) -> list[list[str]]:
        """The variables in the order of the channels; those of one part alternate frame by frame."""
        if self.history is None:
            return [[name] for name in names]
        moving = [name for name in names if self._sources[name].timed]
        return [moving, *([name] for name in names if name not in moving)]

    def _stack(self, values: dict[str, NDArray[Any]], names: Sequence[str], role: str) -> Tensor:
        parts = []
        for part in self._parts(names):
            chosen = [values[name][:, self._picks[role][name]] for name in part]
            joined = chosen[0] if len(chosen) == 1 else np.concatenate(chosen, axis=2)
            parts.append(joined.reshape(len(joined), joined.shape[1] * joined.shape[2], *self.grid.shape))
        return torch.from_numpy(np.concatenate(parts, axis=1, dtype=_DTYPES[self.dtype], casting="unsafe"))

    def _count(self, names: Sequence[str], role: str) -> int:
        lengths = {name: len(self._offsets[name][self._picks[role][name]]) for name in names}
        return sum(lengths[name] * self._sources[name].channels for name in names)

    def _describe(self, names: Sequence[str], role: str) -> tuple[Channel, ...]:
        windowed = self.history is not None
        channels = []
        for part in self._parts(names):
            offsets = self._offsets[part[0]][self._picks[role][part[0]]]
            for offset in offsets:
                for name in part:
                    frame = int(offset) // self.stride - (self.history or 1) + 1 if self._sources[name].timed else None
                    for component in np.ndindex(self._sources[name].component_shape):
                        channels.append(Channel(name, component, frame, windowed and frame is not None))
        return tuple(channels)


def _checked(dtype: torch.dtype) -> torch.dtype:
    if dtype not in _DTYPES:
        raise InputError(f"dtype is {dtype}; expected torch.float32 or torch.float64")
    return dtype
