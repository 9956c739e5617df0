"""What the items of a function data set are made of, and how a batch of them is read from the storage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sciops.data.conventions import domain_of, origin, sample_dim, space_dims, time_dim
from sciops.data.domains.domain import Domain, node_table
from sciops.data.domains.points import PointCloud
from sciops.data.functions.boundary import Face, boundary_kinds, face_of
from sciops.data.functions.masks import Masks, mask_names
from sciops.data.functions.selection import (
    Channel,
    check_number,
    check_numeric,
    common_dims,
    common_domain,
    moving_points,
)
from sciops.data.functions.stacking import Part, Stacking
from sciops.data.functions.tensors import declared_rank
from sciops.data.functions.windows import Windows
from sciops.data.reading.source import VariableSource
from sciops.errors import DataError

_BLOCK_BYTES = 1 << 26


class ItemReader:
    """The variables of a data set in their roles, checked, and the items of samples and frames read from them.

    Parameters
    ----------
    ds
        A data set that follows `sciops.data.conventions`, with a sample dimension.
    inputs, outputs, parameters, boundary, mask, cache_bytes
        As in `FunctionDataset`, names as tuples.
    windows
        The windows asked for.
    apart
        Whether inputs and outputs may stand on different domains.

    Attributes
    ----------
    windows : Windows
        The windows, fitted to the number of frames.
    count : int
        How many windows a sample has.
    domain, input_domain, boundary_domain
        Where outputs (inputs, if there are none), inputs and boundary points stand.
    together : bool
        Whether inputs and outputs stand on one domain.
    sources : dict
        The storage of each variable.

    Raises
    ------
    SciopsError
        If variables, windows, masks or boundary data do not fit.

    Examples
    --------
    >>> ds = xr.Dataset({"u": (("sample", "x"), np.eye(3))})
    >>> names = {"inputs": ("u",), "outputs": (), "parameters": (), "boundary": ()}
    >>> reader = ItemReader(ds, **names, mask=True, windows=Windows(), apart=False, cache_bytes=0)
    >>> reader.read(np.array([1]), np.array([0]), np.float64)["x"].tolist()
    [[[0.0, 1.0, 0.0]]]
    """

    def __init__(
        self,
        ds: xr.Dataset,
        *,
        inputs: tuple[str, ...],
        outputs: tuple[str, ...],
        parameters: tuple[str, ...],
        boundary: tuple[str, ...],
        mask: str | bool | Sequence[str],
        windows: Windows,
        apart: bool,
        cache_bytes: int,
    ) -> None:
        self.file, self.windows, self.count = origin(ds), windows, 1
        self._inputs, self._outputs = inputs, outputs
        fields = tuple(dict.fromkeys((*inputs, *outputs)))
        for name in (*fields, *parameters, *boundary):
            check_numeric(ds, name)
        for name in parameters:
            check_number(ds, name)
        self._space, space = common_dims(ds, inputs, outputs, apart=apart)
        self.together = set(self._space) == set(space)
        self._lines = moving_points(ds, space) if apart else ()
        still = ds.isel({str(sample_dim(ds)): 0}) if self._lines else ds
        self.domain = common_domain(still, outputs or inputs, space)
        if self._lines:  # each sample has points of its own, all of the same weight
            points = node_table(self.domain)
            self.domain = PointCloud(points, torch.full((len(points),), 1 / len(points), dtype=torch.float64))
        self.input_domain: Domain = self.domain if self.together else common_domain(still, inputs, self._space)
        self._masked = fields if self.together else outputs
        self._land = {name: _land(ds, name) for name in self._masked}
        masks = mask_names(ds, self._masked, space, mask)
        for name in masks:
            check_numeric(ds, name)
        faces, self._points = boundary_kinds(ds, boundary, self._space)
        self.boundary_domain = domain_of(ds, self._points[0]) if self._points else None

        extents: dict[str, tuple[str, ...]] = dict.fromkeys(parameters, ())
        extents |= {name: space if name in outputs else self._space for name in fields}
        extents |= {name: tuple(dim for dim in self._space if dim in ds[name].dims) for name in faces}
        extents |= {name: space_dims(ds, name) for name in self._points}
        extents |= {name: tuple(dim for dim in space if dim in ds[name].dims) for name in masks}
        extents |= dict.fromkeys(self._lines, space)
        self.masks = Masks({name: extents[name] for name in masks}, space, self.domain.shape)
        sample, time = sample_dim(ds), time_dim(ds)
        self.sources = {
            name: VariableSource(ds[name].variable, sample=sample, time=time, space=extents[name]) for name in extents
        }
        small = sum(source.nbytes for source in self.sources.values()) <= cache_bytes
        for source in self.sources.values():
            source.in_memory = small
        ranks = {name: declared_rank(ds, name) for name in (*fields, *parameters)}
        self.ranks = {name: rank for name, rank in ranks.items() if rank is not None}

        self._offsets = {name: np.arange(source.frames) for name, source in self.sources.items()}
        places = {role: dict.fromkeys(self.sources, slice(None)) for role in ("x", "y")}
        if windows.history is not None:
            self._plan_windows(places)
        self._x, self._y = self._stacking(inputs, places["x"]), self._stacking(outputs, places["y"])
        self._p = self._stacking(parameters, places["x"], alternate=False)
        self._faces = []
        for name in faces:
            axis, end = face_of(ds, name)
            stacking = self._stacking([name], places["x"])
            self._faces.append(Face(name, self._space.index(axis), end, extents[name], stacking))

    @property
    def input_channels(self) -> tuple[Channel, ...]:
        """What each channel of x is."""
        return (*self._x.channels, *(channel for face in self._faces for channel in face.channels))

    @property
    def output_channels(self) -> tuple[Channel, ...]:
        """What each channel of y is."""
        return self._y.channels

    @property
    def parameter_channels(self) -> tuple[Channel, ...]:
        """What each entry of the parameter vector is."""
        return self._p.channels

    @property
    def has_faces(self) -> bool:
        """Whether x has data on faces of the grid."""
        return bool(self._faces)

    @property
    def masked_roles(self) -> tuple[str, ...]:
        """Which of x and y stand on nodes that the mask of an item is about; none without a mask."""
        return () if not self.masks.dims else ("x", "y") if self.together else ("y",)

    def read(
        self, samples: NDArray[np.int64], starts: NDArray[np.int64], dtype: type[np.floating[Any]]
    ) -> dict[str, Tensor]:
        """The items (b, ...) of samples and first frames, as `FunctionDataset.batch` names them, without ``index``."""
        values = {
            name: source.read(samples, starts[:, None] * source.timed + self._offsets[name])
            for name, source in self.sources.items()
        }
        shape = self.input_domain.shape
        parts = [self._x.stacked(values, shape, dtype)]
        parts += [face.stacked(values, self._space, shape, dtype) for face in self._faces]
        items = {"x": torch.from_numpy(parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))}
        if self._outputs:
            items["y"] = torch.from_numpy(self._y.stacked(values, self.domain.shape, dtype))
        if self._p.parts:
            items["parameters"] = torch.from_numpy(self._p.stacked(values, (), dtype))
        if self._points:
            fields = [values[name][:, 0].astype(dtype) for name in self._points]
            items["boundary"] = torch.from_numpy(np.concatenate(fields, axis=1))
        if self._lines:
            lines = [values[name][:, 0, 0].astype(dtype) for name in self._lines]
            items["points"] = torch.from_numpy(np.stack(lines, axis=2))
        if self.masks.dims:
            items["mask"] = self.masks.of(values)
            for role in self.masked_roles:
                if role in items:
                    items[role] = torch.where(items["mask"], items[role], 0.0)
        return items

    def mark_faces(self, x: Tensor) -> None:
        """Set the channels that mark faces on a coarser grid, where the nodes of a face may be left out."""
        marks = [number for number, channel in enumerate(self.input_channels) if channel.face]
        for face, number in zip(self._faces, marks, strict=True):
            face.mark(x.select(1, number))

    def check_finite(self, samples: NDArray[np.int64]) -> None:
        """Refuse values of the samples that are not finite; see `FunctionDataset.check_finite`."""
        for name, source in self.sources.items():
            masked = bool(self.masks.dims) and name in self._masked and name not in self.masks.dims
            nan = infinite = 0
            first: int | None = None
            for chosen, values in source.blocks(np.sort(samples), _BLOCK_BYTES):
                bad = ~np.isfinite(values)
                if bad.any() and masked:
                    bad &= self.masks.read(self.sources, chosen).numpy()[:, None]
                if bad.any():
                    nan += int((bad & np.isnan(values)).sum())
                    infinite += int((bad & np.isinf(values)).sum())
                    where = int(chosen[np.argmax(bad.reshape(len(chosen), -1).any(axis=1))])
                    first = where if first is None else min(first, where)
            if first is not None:
                raise DataError(
                    f"{self.file}: variable {name!r} has {nan} NaN and {infinite} infinite values, first in sample "
                    f"{first}; leave such samples out (samples=...) or fill them (ds.fillna)"
                    f"{self._land.get(name, '') if nan and not masked else ''}"
                )

    def _plan_windows(self, places: dict[str, dict[str, slice]]) -> None:
        """Which frames after its first one a window reads of each variable, and which of them are x and y."""
        timed = [name for name, source in self.sources.items() if source.timed]
        for role, names in (("input", self._inputs[:1]), ("output", self._outputs)):
            lacking = [name for name in names if name not in timed]
            if lacking and (role == "output" or not set(self._inputs) & set(timed)):
                raise DataError(
                    f"{self.file}: {role} {lacking[0]!r} has no time dimension, and windows need one "
                    f"(history={self.windows.history}); leave history out, or name a variable with time"
                )
        longest = (*self._outputs, *(name for name in self._inputs if name in timed))[0]
        frames = self.sources[longest].frames
        self.windows = self.windows.fitted(frames, self._outputs)
        self.count = self.windows.count(frames, longest, self.file)
        past, future = self.windows.past, self.windows.future
        for name in timed:
            if name in self._inputs and name in self._outputs:
                self._offsets[name] = np.concatenate((past, future))
                places["x"][name], places["y"][name] = slice(0, len(past)), slice(len(past), None)
            else:
                self._offsets[name] = future if name in self._outputs else past

    def _stacking(self, names: Sequence[str], places: dict[str, slice], *, alternate: bool = True) -> Stacking:
        parts = [Part(name, self.sources[name], self._offsets[name][places[name]], places[name]) for name in names]
        return Stacking(tuple(parts), self.windows, alternate)


def _land(ds: xr.Dataset, name: str) -> str:
    """How to leave out nodes that never have a value, such as land."""
    other = [str(dim) for dim in ds[name].dims if dim not in (sample_dim(ds), *space_dims(ds, name))]
    over = f".all({(other[0] if len(other) == 1 else other)!r})" if other else ""
    return (
        f"; where they are land make a mask: ds['sea'] = ds[{name!r}].notnull(){over}.assign_attrs(role='mask'), "
        f"ds[{name!r}].attrs['mask'] = 'sea'"
    )
