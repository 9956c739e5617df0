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

from sciops.data.conventions import origin, sample_dim
from sciops.data.domains.domain import Domain, Grid
from sciops.data.functions.coarsening import Resolution, coarse_grid, coarsened, divisors, strided
from sciops.data.functions.items import ItemReader
from sciops.data.functions.queries import QueryPoints
from sciops.data.functions.selection import Channel, sample_numbers, variable_names
from sciops.data.functions.tensors import TensorChannels, tensor_channels
from sciops.data.functions.windows import windows_of
from sciops.errors import DataError, DomainError, InputError

_DTYPES: dict[torch.dtype, type[np.floating[Any]]] = {torch.float32: np.float32, torch.float64: np.float64}


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
        same for every sample. All stand on one domain: a grid, points, a mesh. With ``outputs=()`` items have no y, as
        prediction needs it.
    parameters
        Names of variables without space: numbers or vectors that go with each sample. One with time gives the numbers
        of the frames of x in windows, else those of all frames.
    boundary
        Names of variables on the boundary. One on a face of the grid, named by its attribute ``face`` such as
        ``["x", "lower"]``, becomes channels of x after the others, the same all along the axis that it lacks, and a
        channel that is 1 on the face. Variables on points of their own become the entry ``boundary`` of an item.
    mask
        True: the masks that the attribute ``mask`` of inputs and outputs names; or names; False: none. Items then have
        ``mask``, and x and y are 0 outside of it, whatever the file holds there.
    history, horizon
        Frames of a window that are input and output (horizon defaults to 1); None: no windows.
    stride
        Frames between two frames of a window.
    rollout
        True, or a number: y is all frames after those of x, at most so many; `horizon` stays out. One item for each
        sample unless `every` is given.
    start, every
        First frame of the first window, and frames from there to the next one (1; with `rollout` none follows).
    query_points
        Number of nodes of the outputs that are drawn for each item, for operators that are evaluated at points: y is
        (channel, n) and items have ``query`` (n, d), the coordinates, and ``weights`` (n,), with which a sum over the
        nodes is an unbiased quadrature. Inputs may then stand on another domain, and every sample may have points of
        its own, which count alike.
    resolution
        Nodes of each axis, or of all, to which x and y are reduced: to every k-th node where those are the nodes of the
        coarser grid, else by `sciops.data.domains.interpolation.resample`.
    samples
        Sample numbers to use, in this order; None: all.
    seed
        Of the query points, which are a pure function of (seed, epoch, item).
    dtype
        torch.float32 or torch.float64: of x, y and the parameters.
    cache_bytes
        Variables that together take at most this many bytes as stored are read once and kept in memory, in every
        process that reads. It changes the speed and nothing else.

    Attributes
    ----------
    domain, input_domain
        Where the outputs and the inputs stand, with coordinates and quadrature weights; without outputs, both the
        inputs.

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
        boundary: str | Sequence[str] = (),
        mask: str | bool | Sequence[str] = True,
        history: int | None = None,
        horizon: int | None = None,
        stride: int = 1,
        rollout: bool | int = False,
        start: int = 0,
        every: int | None = None,
        query_points: int | None = None,
        resolution: Resolution | None = None,
        samples: Sequence[int] | Tensor | NDArray[Any] | None = None,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        cache_bytes: int = 1 << 28,
    ) -> None:
        self.inputs, self.outputs = variable_names("inputs", inputs), variable_names("outputs", outputs, optional=True)
        self.parameters = variable_names("parameters", parameters, optional=True)
        self.boundary = variable_names("boundary", boundary, optional=True)
        self.file = origin(ds)
        windows = windows_of(
            history=history,
            horizon=horizon,
            stride=stride,
            rollout=rollout,
            start=start,
            every=every,
            outputs=self.outputs,
        )
        self.dtype = _checked(dtype)

        sample = sample_dim(ds)
        if sample is None:
            raise DataError(
                f"{self.file} has no sample dimension; name it when opening (sample_dim=...), "
                f"or add one with ds.expand_dims('sample')"
            )
        self._reader = ItemReader(
            ds,
            inputs=self.inputs,
            outputs=self.outputs,
            parameters=self.parameters,
            boundary=self.boundary,
            mask=mask,
            windows=windows,
            apart=query_points is not None,
            cache_bytes=cache_bytes,
        )
        self.windows, self.boundary_domain = self._reader.count, self._reader.boundary_domain
        self.domain, self.input_domain = self._reader.domain, self._reader.input_domain
        if resolution is not None:
            self.domain = self.input_domain = self.check_resolution(resolution)
        self.query = None if query_points is None else QueryPoints(self.domain, query_points, seed)
        if self.query is not None and not self.outputs:
            raise InputError(f"query_points={query_points} are nodes of the outputs; name outputs, or leave it out")
        self._samples = sample_numbers(samples, int(ds.sizes[sample]), self.file)

    @property
    def history(self) -> int | None:
        """Frames of x in a window, None without windows."""
        return self._reader.windows.history

    @property
    def horizon(self) -> int | None:
        """Frames of y in a window or rollout, None without windows or outputs."""
        return self._reader.windows.horizon

    @property
    def stride(self) -> int:
        """Frames of the file between two frames of a window."""
        return self._reader.windows.stride

    @property
    def grid(self) -> Grid:
        """The domain of the outputs, where it is a grid.

        Raises
        ------
        DomainError
            If it is none.
        """
        return self._require_grid(self.domain)

    @property
    def input_grid(self) -> Grid:
        """The domain of the inputs, where it is a grid."""
        return self._require_grid(self.input_domain)

    @property
    def masked_roles(self) -> tuple[str, ...]:
        """Which of x and y stand on nodes that the mask of an item is about; none without a mask."""
        return self._reader.masked_roles

    @property
    def in_channels(self) -> int:
        """Channels of x."""
        return len(self.input_channels)

    @property
    def out_channels(self) -> int:
        """Channels of y."""
        return len(self.output_channels)

    @property
    def input_channels(self) -> tuple[Channel, ...]:
        """What each channel of x is."""
        return self._reader.input_channels

    @property
    def output_channels(self) -> tuple[Channel, ...]:
        """What each channel of y is."""
        return self._reader.output_channels

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
        return tuple(channel.name for channel in self.parameter_channels)

    @property
    def parameter_channels(self) -> tuple[Channel, ...]:
        """What each entry of the parameter vector is."""
        return self._reader.parameter_channels

    @property
    def input_tensors(self) -> tuple[TensorChannels, ...]:
        """The channels of x that are components of vectors and tensors."""
        return tensor_channels(self.input_channels, self._reader.ranks)

    @property
    def output_tensors(self) -> tuple[TensorChannels, ...]:
        """The channels of y that are components of vectors and tensors."""
        return tensor_channels(self.output_channels, self._reader.ranks)

    @property
    def parameter_tensors(self) -> tuple[TensorChannels, ...]:
        """The entries of the parameter vector that are components of vectors and tensors."""
        return tensor_channels(self.parameter_channels, self._reader.ranks)

    @property
    def mask_names(self) -> tuple[str, ...]:
        """The variables that say which nodes are in the domain."""
        return tuple(self._reader.masks.dims)

    @property
    def samples(self) -> Int64[Tensor, " sample"]:
        """Sample numbers of the file that are used, in order."""
        return torch.from_numpy(self._samples.copy())

    @property
    def groups(self) -> Int64[Tensor, " item"]:
        """Sample number (of the file) of each item: items of one trajectory belong together in a split."""
        return torch.from_numpy(np.repeat(self._samples, self.windows))

    @property
    def chunk_samples(self) -> int:
        """Samples in a chunk of the storage, of the variable that has most in one."""
        return max(source.chunk_samples for source in self._reader.sources.values())

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

    def __repr__(self) -> str:
        names = ", ".join
        extra = f", parameters {names(self.parameters)}" if self.parameters else ""
        extra += f", history {self.history}, horizon {self.horizon}" if self.history is not None else ""
        size = " x ".join(f"{dim} {count}" for dim, count in zip(self.domain.dims, self.domain.shape, strict=True))
        return (
            f"FunctionDataset({len(self)} items of {self.file}: {names(self.inputs)} -> "
            f"{names(self.outputs) or 'nothing'}{extra}, on a {type(self.domain).__name__} of {size})"
        )

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
            Item numbers (b,), any order; negative ones count from the end. A
            `sciops.data.functions.sampling.Request` also says of which epoch the query points are (else 0), and at
            what resolution the fields (else that of the data set).

        Returns
        -------
        dict
            ``x`` (b, in_channels, *space), ``y`` (b, out_channels, *space) if there are outputs, ``index`` (b,) int64
            and, where they were asked for, ``parameters`` (b, p), ``mask`` (b, 1, *space) bool, ``boundary``
            (b, channel, points), and for query points ``query`` (b, n, d), ``weights`` (b, n) and y (b, channel, n).

        Raises
        ------
        IndexError
            If there is no item of that number.
        """
        return self.derived(self.read(indices), getattr(indices, "epoch", 0), getattr(indices, "resolution", None))

    def read(self, indices: Sequence[int] | Tensor | NDArray[Any]) -> dict[str, Tensor]:
        """The items on all nodes, before query points are drawn: what depends on the numbers of the items alone."""
        items = np.asarray(indices, dtype=np.int64).reshape(-1)
        wrong = items[(items < -len(self)) | (items >= len(self))]
        if len(wrong):
            raise IndexError(f"item {wrong[0]} of a data set of {len(self)} items")
        items = np.where(items < 0, items + len(self), items)
        starts = self._reader.windows.first(items % self.windows)
        found = self._reader.read(self._samples[items // self.windows], starts, _DTYPES[self.dtype])
        first = [role for role in found if role in ("x", "y")]
        whole = {role: found.pop(role) for role in first}
        whole |= {"index": torch.from_numpy(items), **found}
        return self._reduced(whole, self._reader.domain, self.domain)

    def derived(
        self, items: dict[str, Tensor], epoch: int = 0, resolution: Resolution | None = None
    ) -> dict[str, Tensor]:
        """The items that `read` gave, at another resolution and with the query points of an epoch drawn."""
        if resolution is not None:
            target = self.check_resolution(resolution)
            items = self._reduced(items, self.domain, target)
        if self.query is None:
            return items
        query = self.query if resolution is None else QueryPoints(target, self.query.count, self.query.seed)
        mask = items.get("mask")
        nodes, weights = query.draw(items["index"].numpy(), epoch=epoch, mask=mask)
        y = items["y"].flatten(2)
        y = torch.take_along_dim(y, nodes[:, None, :], dim=2)
        points = items.get("points")
        where = query.at(nodes) if points is None else torch.take_along_dim(points, nodes[:, :, None], dim=1)
        found = {**items, "y": y, "query": where.to(self.dtype), "weights": weights.to(self.dtype)}
        found.pop("points", None)
        if not self._reader.together:
            found.pop("mask", None)
        return found

    def check_finite(self) -> None:
        """Read every value once, in blocks, and refuse what is not finite inside of the mask.

        Raises
        ------
        DataError
            Names the first variable with NaN or infinite values, how many, and the first sample that has one.
        """
        self._reader.check_finite(self._samples)

    def check_resolution(self, resolution: Resolution) -> Grid:
        """The grid of that resolution, if the items can be brought to it.

        Raises
        ------
        InputError
            If it is out of range, inputs and outputs stand on two domains, or it needs interpolation where there is a
            mask or boundary data.
        DomainError
            If the items stand on no grid.
        """
        target, source = coarse_grid(self.domain, resolution), self.grid
        if not self._reader.together:
            raise InputError(f"resolution={resolution} is for inputs and outputs on one grid; leave it out")
        if (self.mask_names or self._reader.has_faces) and not strided(source, target):
            possible = " and ".join(f"{', '.join(map(str, divisors(axis)))} for {axis.name}" for axis in source.axes)
            raise InputError(
                f"{self.file}: at resolution {' x '.join(map(str, target.shape))} nodes lie between those of the file, "
                f"and fields with a mask or boundary data are not interpolated; choose of {possible}"
            )
        return target

    def _require_grid(self, domain: Domain) -> Grid:
        if not isinstance(domain, Grid):
            raise DomainError(
                f"{self.file}: the variables stand on {domain!r}, and a grid is needed here; resample them to one first"
            )
        return domain

    def _reduced(self, items: dict[str, Tensor], source: Domain, target: Domain) -> dict[str, Tensor]:
        if source is target or not (isinstance(source, Grid) and isinstance(target, Grid)):
            return items
        present = [name for name in items if name in ("x", "y", "mask")]
        fields = {name: coarsened(items[name], source, target) for name in present}
        self._reader.mark_faces(fields["x"])
        return {**items, **fields}


def _checked(dtype: torch.dtype) -> torch.dtype:
    if dtype not in _DTYPES:
        raise InputError(f"dtype is {dtype}; expected torch.float32 or torch.float64")
    return dtype
