"""From batches of predictions to a data set or a file with the variables, dimensions and coordinates of the data."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sciops.data.conventions import sample_dim, time_dim
from sciops.data.files import open as open_file
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.writing.appending import require_file_name
from sciops.data.writing.write_dataset import StreamWriter, write
from sciops.errors import DataError, InputError
from sciops.surrogate.description import Description

_IN_MEMORY = 2 << 30
_ONE_SAMPLE = 2 << 30


class OutputTemplate:
    """How predictions become a data set with the variables, dimensions and coordinates of the file."""

    def __init__(self, ds: xr.Dataset, data: FunctionDataset, description: Description, *, steps: int) -> None:
        self.description, self.steps = description, steps
        self.sample, self.grid = sample_dim(ds) or "sample", data.grid
        self.time = time_dim(ds) or str(ds.attrs.get("time_dim", "time"))
        self._components = [v.components[0] for v in description.variables if v.components]
        known = {self.sample, *data.grid.names, *self._components}
        self._coords = {
            str(name): value.reset_coords(drop=True)
            for name, value in ds.coords.items()
            if name != self.time and set(value.dims) <= known
        }
        self._times = self._frame_times(ds)
        self._masks = [ds[name] for name in data.mask_names]
        self.attributes: dict[str, Any] = {"sample_dim": self.sample}
        if self._has_time:
            self.attributes["time_dim"] = self.time
        if self._components:
            self.attributes["channel_dims"] = list(dict.fromkeys(self._components))

    @property
    def _has_time(self) -> bool:
        return self.description.task == "evolve" or any(v.frames for v in self.description.variables)

    def _frame_times(self, ds: xr.Dataset) -> xr.DataArray | None:
        description = self.description
        known: xr.DataArray | None = ds.coords.get(self.time)
        if description.task == "map":
            if not self._has_time:
                return None
            if known is not None and known.ndim:
                return known.reset_coords(drop=True)
            return None if description.times is None else xr.DataArray(list(description.times), dims=self.time)
        first = (description.history - 1) * description.stride
        wanted = first + description.stride * np.arange(1, self.steps + 1)
        if known is not None and known.size > wanted[-1]:
            return known[wanted].reset_coords(drop=True)
        step = description.time_step
        if step is None:
            return None
        passed = step * np.arange(1, self.steps + 1)
        if known is None:
            return xr.DataArray(passed, dims=self.time)
        begin = np.atleast_1d(known.values)[min(first, known.size - 1)]
        if known.dtype.kind == "M":
            times = begin + np.round(1e9 * passed).astype("timedelta64[ns]")
        else:
            times = float(begin) + passed
        return xr.DataArray(times, dims=self.time, attrs=known.attrs)

    def dataset(self, parts: dict[str, NDArray[Any]], samples: slice) -> xr.Dataset:
        """A data set of arrays (b, steps*channels, *space) by suffix: "" is the prediction, others its band."""
        variables: dict[str, xr.Variable] = {}
        for suffix, values in parts.items():
            frames = values.reshape(len(values), self.steps, -1, *self.grid.shape)
            start = 0
            for variable in self.description.variables:
                piece = frames[:, :, start : start + variable.channels]
                start += variable.channels
                attributes = dict(variable.attributes) | ({"mask": self.mask_name} if self._masks else {})
                if suffix:
                    attributes["long_name"] = f"{suffix[1:]} end of the error band of {variable.name}"
                dims, shape = [self.sample], [len(values)]
                if self._timed(variable.frames):
                    dims.append(self.time)
                    shape.append(variable.frames or self.steps)
                if variable.components:
                    dims.append(variable.components[0])
                    shape.append(variable.components[1])
                variables[variable.name + suffix] = xr.Variable(
                    (*dims, *self.grid.names), piece.reshape(*shape, *self.grid.shape), attributes
                )
        if self._masks:
            variables.setdefault(self.mask_name, self._mask(samples))
        used = {dim for variable in variables.values() for dim in variable.dims}
        coords = {
            name: value.isel({self.sample: samples}) if self.sample in value.dims else value
            for name, value in self._coords.items()
            if set(value.dims) <= used
        }
        if self._times is not None:
            coords[self.time] = self._times
        return xr.Dataset(variables, coords, self.attributes)

    @property
    def mask_name(self) -> str:
        """Of the variable that is true where predictions are not NaN; several masks are written as one."""
        return "_and_".join(str(mask.name) for mask in self._masks)

    def _mask(self, samples: slice) -> xr.Variable:
        parts = [mask.variable.isel({self.sample: samples}, missing_dims="ignore") != 0 for mask in self._masks]
        inside: xr.Variable = functools.reduce(operator.and_, parts)
        dims = [dim for dim in (self.sample, *self.grid.names) if dim in inside.dims]
        attributes = dict(self._masks[0].attrs) if len(parts) == 1 else {}
        return xr.Variable(dims, inside.transpose(*dims).values, attributes | {"role": "mask"})

    def _timed(self, frames: int | None) -> bool:
        return self.description.task == "evolve" or frames is not None


def check_size(one: int, samples: int, *, in_memory: bool) -> None:
    """Refuse a prediction that takes more memory than is sane, of `one` bytes per sample.

    Raises
    ------
    InputError
        If a sample, or in memory the whole, is too large.
    """
    if one > _ONE_SAMPLE:
        raise InputError(
            f"one sample of the prediction takes about {one / 2**30:.1f} GiB, more than {_ONE_SAMPLE >> 30} GiB; "
            f"ask for fewer steps or a coarser grid"
        )
    if in_memory and one * samples > _IN_MEMORY:
        raise InputError(
            f"the prediction takes about {one * samples / 2**30:.1f} GiB; name a file to write it to "
            f"(output='prediction.nc')"
        )


def check_names(ds: xr.Dataset, description: Description) -> None:
    """Refuse outputs whose error band would have the name of something else.

    Raises
    ------
    InputError
        Names both.
    """
    taken = {*description.outputs, *description.masks, *map(str, ds.coords), *map(str, ds.dims)}
    for name in description.outputs:
        for end in ("lower", "upper"):
            if f"{name}_{end}" in taken:
                raise InputError(
                    f"the error band of {name!r} would be called {name}_{end!s}, which is the name of another variable "
                    f"of the prediction; leave coverage out, or rename that variable and fit again"
                )


def check_target(path: Path, ds: xr.Dataset, data: object) -> None:
    """Refuse to write over the file that is read, into the folder of a surrogate, or a file called like a Zarr store.

    Raises
    ------
    DataError
        Names the file.
    InputError
        If it ends in .zarr.
    """
    path = path.expanduser()
    require_file_name(path)
    sources = {ds.encoding.get("source"), *(v.encoding.get("source") for v in ds.variables.values())}
    sources |= {data} if isinstance(data, str | Path) else set()
    for source in (str(each) for each in sources if each):
        with contextlib.suppress(OSError):
            if os.path.samefile(os.path.expanduser(source), path):
                raise DataError(f"{path}: the file that is read; give another name to write to")
    for folder in Path(os.path.realpath(path)).parents:
        if (folder / "surrogate.json").is_file():
            raise DataError(f"{path}: inside the surrogate {folder}; write to another folder")


def gathered(
    blocks: Iterator[xr.Dataset], *, sample: str, alone: bool, count: int, path: Path | None, overwrite: bool
) -> xr.Dataset:
    """All blocks of samples as one data set, in memory or, with a path, in a file written block by block.

    Parameters
    ----------
    blocks
        Data sets that follow one another along `sample`.
    sample
        The sample dimension.
    alone
        Whether there is one sample that has no such dimension in the data; then the result has none either.
    count
        Number of samples.
    path, overwrite
        The file, and whether it may replace another.

    Raises
    ------
    DataError
        If the file exists or cannot be written.
    """
    if alone:
        (one,) = blocks
        one = one.isel({sample: 0})
        return one if path is None else open_file(write(one, path, overwrite=overwrite))
    if path is not None:
        first = next(blocks)
        with StreamWriter(path, first, count, overwrite=overwrite) as writer:
            writer.append(first)
            for block in blocks:
                writer.append(block)
        return open_file(path)
    found = list(blocks)
    if len(found) == 1:
        return found[0]
    return xr.concat(
        found,
        dim=sample,
        data_vars="minimal",
        coords="minimal",
        compat="override",
        join="override",
        combine_attrs="override",
    )
