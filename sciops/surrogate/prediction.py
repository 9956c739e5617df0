"""From a data set to batches of inputs: what is asked of the data, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import xarray as xr
from torch import Tensor

from sciops.data.conventions import origin, sample_dim, space_dims, time_dim
from sciops.data.domains.domain import Grid
from sciops.data.files import open as open_file
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.errors import DataError, DomainError, InputError
from sciops.surrogate.compatibility import check_channels, check_frames, check_labels, check_units
from sciops.surrogate.description import Description, time_step_of

_BLOCK_BYTES = 1 << 28


def opened(data: xr.Dataset | str | Path, description: Description) -> tuple[xr.Dataset, bool]:
    """The data set with a sample dimension, and whether it was added: one field alone is one sample."""
    ds = data if isinstance(data, xr.Dataset) else open_file(data)
    if sample_dim(ds) is not None:
        return ds, False
    dim = str(ds.attrs.get("sample_dim", "sample"))
    names = [name for name in (*description.inputs, *description.outputs) if name in ds.data_vars]
    return ds.assign({name: ds[name].expand_dims(dim) for name in names}), True


def in_axis_order(ds: xr.Dataset, description: Description) -> xr.Dataset:
    """The data set with the space dimensions in the order of the training grid, where it has the same ones."""
    names, first = description.grid.names, description.inputs[0]
    found = space_dims(ds, first)
    return ds.transpose(..., *names) if found != names and set(found) == set(names) else ds


def first_frames(ds: xr.Dataset, description: Description) -> xr.Dataset:
    """The frames that an evolution starts from; a data set without time is one frame, and stays as it is."""
    time, needed = time_dim(ds), (description.history - 1) * description.stride + 1
    if time is None:
        if needed > 1:
            raise DataError(
                f"{origin(ds)} has no time dimension, and this surrogate starts from {description.history} frames"
            )
        return ds
    if ds.sizes[time] < needed:
        raise DataError(
            f"{origin(ds)} has {ds.sizes[time]} frames and this surrogate starts from {description.history} frames, "
            f"{description.stride} apart; give it at least {needed}"
        )
    return ds.isel({time: slice(0, needed)})


def steps_in(ds: xr.Dataset, description: Description) -> int:
    """How many predicted frames the data set has room for after the first ones."""
    time = time_dim(ds)
    frames = int(ds.sizes[time]) if time is not None else 1
    return max(0, (frames - 1 - (description.history - 1) * description.stride) // description.stride)


def check_times(ds: xr.Dataset, description: Description) -> None:
    """Refuse frames that are not as far apart as those of the training data.

    Raises
    ------
    DataError
        If the times are not uniform, or of another step.
    """
    found, known = time_step_of(ds, description.stride), description.time_step
    if found is not None and known is not None and abs(found - known) > 1e-2 * abs(known):
        apart = f", {description.stride} frames of this file" if description.stride > 1 else ""
        raise DataError(
            f"{origin(ds)}: the surrogate steps by {known:g} in time, and the frames are {found:g} apart{apart}; "
            f"select or interpolate frames of that step"
        )


def block_size(batch_size: int, values: int) -> int:
    """How many items go together: `batch_size`, fewer where items of that many numbers take too much memory.

    Raises
    ------
    InputError
        If `batch_size` is below 1.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    return max(1, min(batch_size, _BLOCK_BYTES // (8 * values)))


def check_grid(grid: Grid, description: Description, file: str) -> None:
    """Refuse a grid of another domain than the one trained on.

    Raises
    ------
    DomainError
        Names the axis, what was found and what was expected.
    """
    known = description.grid
    if grid.names != known.names:
        raise DomainError(
            f"{file}: the axes are ({', '.join(grid.names)}) and the surrogate was trained on "
            f"({', '.join(known.names)}); rename or transpose the dimensions"
        )
    for axis, other in zip(grid.axes, known.axes, strict=True):
        ends = (axis.lower - other.lower, axis.upper - other.upper)
        if axis.kind != other.kind or max(map(abs, ends)) > 1e-3 * other.extent:
            raise DomainError(
                f"{file}: axis {axis.name!r} is {axis.kind} on [{axis.lower:g}, {axis.upper:g}] and the surrogate was "
                f"trained on {other.kind} on [{other.lower:g}, {other.upper:g}]; declare it when opening "
                f"(kinds={{{axis.name!r}: {other.kind!r}}}) if the file means the same domain"
            )


def batches(data: FunctionDataset, items: Sequence[int], size: int, dtype: torch.dtype) -> Iterator[dict[str, Tensor]]:
    """The items in blocks of at most `size`; values that are not finite, also in `dtype`, are refused.

    Raises
    ------
    DataError
        Names the variable, the first sample and how many.
    """
    for start in range(0, len(items), size):
        batch = data.batch(items[start : start + size])
        present = [name for name in ("x", "parameters", "y") if name in batch]
        if not all(bool(batch[name].isfinite().all()) for name in present):
            data.check_finite()
        for role in present:
            if role != "y" and not bool(batch[role].to(dtype).isfinite().all()):
                names = data.input_names if role == "x" else data.parameter_names
                row, channel = (~batch[role].to(dtype).isfinite()).nonzero()[0, :2].tolist()
                sample = int(data.groups[int(batch["index"][row])])
                value = float(batch[role][row, channel].abs().max())
                raise DataError(
                    f"{data.file}: {names[channel]} reaches {value:.4g} in sample {sample}, which is infinite in "
                    f'float32; compute with precision="64"'
                )
        yield batch


def require_steps(steps: int | None, available: int, description: Description) -> int:
    """The number of frames to predict.

    Raises
    ------
    InputError
        If steps are asked of a map, or none at all.
    """
    if description.task == "map":
        if steps is not None:
            raise InputError(
                f"steps={steps} is for a surrogate that evolves in time; this one is a map, leave steps out"
            )
        return 1
    if steps is None:
        return max(1, available)
    if steps < 1:
        raise InputError(f"steps must be at least 1, got {steps}")
    return steps


def source_of(
    ds: xr.Dataset, description: Description, *, outputs: tuple[str, ...], horizon: int | None = None
) -> FunctionDataset:
    """The inputs of a data set (and `outputs`) in float64, after all that was trained on was found there.

    Raises
    ------
    SciopsError
        If a variable is missing, or the grid, the channels or the time step are others than in training.
    """
    evolve = description.task == "evolve" and (bool(outputs) or time_dim(ds) is not None)
    known = description.masks if set(description.masks) <= set(map(str, ds.data_vars)) else ()
    data = FunctionDataset(
        ds if outputs else in_axis_order(ds, description),
        inputs=description.inputs,
        outputs=outputs,
        parameters=description.parameters,
        mask=known or True,
        history=description.history if evolve else None,
        horizon=horizon,
        stride=description.stride if evolve else 1,
        dtype=torch.float64,
    )
    if bool(data.mask_names) != bool(description.masks):
        both = (", ".join(map(repr, names)) or "no mask" for names in (data.mask_names, description.masks))
        raise DataError(
            f"{data.file}: the fields have {next(both)}, and the surrogate was trained with {next(both)}; name the "
            f"variable of the mask by the attribute mask of the inputs, or remove that attribute"
        )
    check_grid(data.grid, description, data.file)
    check_frames(ds, description)
    check_channels(data, description)
    check_labels(ds, description)
    check_units(ds, data.grid, description)
    if evolve:
        check_times(ds, description)
    return data
