"""The panels that figures are made of, the style of the house, and the choice of what a panel shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from sciops.data.conventions import channel_dim, field_names, require_variable, sample_dim, space_dims, time_dim
from sciops.errors import DataError, InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

_FIELD, _INPUT, _ERROR = "viridis", "cividis", "RdBu_r"
INK, BLUE, ORANGE, GREY = "#222222", "#2a5f93", "#d1602b", "#8a8a8a"
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 6.0,
    "axes.labelsize": 8.5,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": None,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
    "figure.facecolor": "white",
}


@contextmanager
def figure_in_style(path: str | Path | None, *, width: float, height: float) -> Iterator[Figure]:
    """A figure in the style of the house, written to `path` on leaving, whole or not at all."""
    import matplotlib
    from cycler import cycler
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    style: Any = {**_STYLE, "axes.prop_cycle": cycler(color=[BLUE, ORANGE, GREY])}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.07, h_pad=0.06))
        yield figure
        if path is not None:
            target = Path(path)
            target = target if target.suffix else target.with_suffix(".png")
            temporary = target.with_name(f".{target.stem}.partial{target.suffix}")
            try:
                figure.savefig(temporary)
                temporary.replace(target)
            except OSError as error:
                raise DataError(f"{target}: the figure cannot be written ({error.strerror or error})") from error
            finally:
                temporary.unlink(missing_ok=True)


Pair = tuple[xr.DataArray, xr.DataArray, xr.DataArray | None, xr.DataArray | None]


def pair_of(truth: xr.Dataset, prediction: xr.Dataset, variable: str, sample: int) -> Pair:
    """Truth, prediction and the ends of its band, one sample of each, at common times, in at most two dimensions.

    All are NaN where the truth is, and outside the masks of both.
    """
    time = time_dim(truth)
    if time is not None:
        truth, prediction = _common_times(truth, prediction, time)
    value = select(truth, variable, sample)
    names = [variable, *(f"{variable}_{end}" for end in ("lower", "upper") if f"{variable}_{end}" in prediction)]
    others = [select(prediction, name, sample) for name in names]
    for other in others:
        if other.shape != value.shape:
            raise DataError(
                f"{variable}: the truth has {dict(value.sizes)} and the prediction {dict(other.sizes)}; "
                "resample one to the other's grid first"
            )
    mask = mask_of(prediction, variable, sample)
    inside = np.isfinite(value.values)
    if mask is not None:
        inside &= mask.broadcast_like(others[0]).transpose(*others[0].dims).values
    drawn = [each.copy(data=np.where(inside, each.values, np.nan)) for each in (value, *others)]
    lower, upper = drawn[2:] if len(drawn) == 4 else (None, None)
    return drawn[0], drawn[1], lower, upper


def _common_times(truth: xr.Dataset, prediction: xr.Dataset, time: str) -> tuple[xr.Dataset, xr.Dataset]:
    if time not in prediction.dims or time not in truth.coords or time not in prediction.coords:
        return truth, prediction
    t, p = np.asarray(truth[time].values), np.asarray(prediction[time].values)
    close = np.abs(t[:, None] - p) <= 1e-6 * max(float(np.ptp(t)), np.finfo(np.float64).tiny)
    if not close.any():
        raise DataError(f"truth and prediction have no value of {time} in common")
    return truth.isel({time: np.flatnonzero(close.any(1))}), prediction.isel({time: np.flatnonzero(close.any(0))})


def select(ds: xr.Dataset, name: str, sample: int) -> xr.DataArray:
    """One sample of a variable in one or two dimensions: the first channel, the last time, the middle plane.

    It is NaN outside of its mask, and its attribute ``drawn`` says in words which channel, time and plane it is.
    """
    values, channel, time = require_variable(ds, name), channel_dim(ds, name), time_dim(ds)
    drawn = []
    if channel is not None:
        label_of = values[channel].values[0] if channel in values.coords else 0
        drawn.append(f"{channel} {label_of}")
    if time in values.dims and len(space_dims(ds, name)) > 1:
        drawn.append(_place(values, str(time), -1))
    drawn += [_place(values, axis, values.sizes[axis] // 2) for axis in space_dims(ds, name)[2:]]
    chosen = _chosen(ds, name, sample).astype(np.float64)
    mask = mask_of(ds, name, sample)
    if mask is not None:
        chosen = chosen.copy(data=chosen.where(mask).transpose(*chosen.dims).values)
    return chosen.assign_attrs(drawn=", ".join(drawn))


def _chosen(ds: xr.Dataset, name: str, sample: int) -> xr.DataArray:
    values = require_variable(ds, name)
    dim, channel, time, space = sample_dim(ds), channel_dim(ds, name), time_dim(ds), space_dims(ds, name)
    if dim in values.dims:
        if not 0 <= sample < values.sizes[dim]:
            raise InputError(f"sample={sample}: {name} has {values.sizes[dim]} samples, counted from 0")
        values = values.isel({dim: sample})
    if channel is not None:
        values = values.isel({channel: 0})
    if time in values.dims and len(space) > 1:
        values = values.isel({time: -1})
    return values.isel({axis: values.sizes[axis] // 2 for axis in space[2:]})


def _place(values: xr.DataArray, dim: str, index: int) -> str:
    if dim not in values.coords:
        return f"{dim} {index % values.sizes[dim]}"
    where = np.asarray(values.coords[dim].values[index])
    return f"{dim} = {where:.3g}" if np.issubdtype(where.dtype, np.number) else f"{dim} = {str(where)[:16]}"


def mask_of(ds: xr.Dataset, name: str, sample: int) -> xr.DataArray | None:
    """The part of the mask of a variable that `select` draws, None where it names none that is there."""
    mask = str(ds[name].attrs.get("mask", ""))
    if mask not in ds.data_vars:
        return None
    planes = {axis: ds.sizes[axis] // 2 for axis in space_dims(ds, name)[2:]}
    values = ds[mask].isel({sample_dim(ds): sample}) if sample_dim(ds) in ds[mask].dims else ds[mask]
    return values.isel(planes, missing_dims="ignore") != 0


def input_of(truth: xr.Dataset, variable: str, sample: int, inputs: str | None) -> xr.DataArray | None:
    if inputs is not None:
        return select(truth, inputs, sample)
    space = space_dims(truth, variable)
    masks = {str(each.attrs.get("mask", "")) for each in truth.data_vars.values()}
    for name in field_names(truth):
        if name in masks or truth[name].attrs.get("role") == "mask" or truth[name].dtype.kind == "b":
            continue
        if name != variable and space_dims(truth, name) == space and time_dim(truth) not in truth[name].dims:
            chosen = select(truth, name, sample)
            return chosen if time_dim(truth) not in truth[variable].dims or len(space) > 1 else None
    return None


def relative_error(error: xr.DataArray, truth: xr.DataArray) -> float:
    """The norm of the error over that of the truth, of the nodes where there is a truth."""
    inside = np.isfinite(truth.values)
    size = float(np.sqrt(np.sum(truth.values[inside] ** 2)))
    return float(np.sqrt(np.sum(error.values[inside] ** 2))) / size if size > 0 else np.inf


def comparison(axes: Sequence[Axes], pair: Pair, before: xr.DataArray | None) -> None:
    truth, prediction, lower, upper = pair
    error = prediction - truth.values
    relative = relative_error(error, truth)
    title = f"error, relative L2 {100 * relative:.3g} %" if relative >= 1e-3 else f"error, relative L2 {relative:.1e}"
    if truth.ndim == 1:
        if lower is not None and upper is not None:
            where = positions(truth, truth.dims[0])
            axes[0].fill_between(where, lower, upper, color=ORANGE, alpha=0.22, linewidth=0, label="band")
        line(axes[0], truth, color=INK, label="truth")
        line(axes[0], prediction, color=ORANGE, label="prediction", linestyle=(0, (4, 1.5)))
        axes[0].set_title(symbol(truth))
        axes[0].legend()
        line(axes[1], error, color=ORANGE)
        axes[1].axhline(0, color=GREY, linewidth=0.6, zorder=0)
        axes[1].set_title(title)
        return
    panels = list(axes)
    if before is not None:
        low, high = limits_of(before)
        panel = panels.pop(0)
        wide = 0 < 10 * low < high
        title_of = f"input {symbol(before)}"
        image(panel, before, title_of, limits=(low, high), cmap=_INPUT, logarithmic=wide, bar=[panel])
    limits = limits_of(truth, prediction)
    bound = float(np.abs(error.values[np.isfinite(error.values)]).max(initial=0.0)) or 1.0
    image(panels[0], truth, f"truth {symbol(truth)}", limits=limits)
    image(panels[1], prediction, "prediction", limits=limits, bar=panels[:2])
    image(panels[2], error, title, limits=(-bound, bound), cmap=_ERROR, bar=[panels[2]])
    for panel in panels[1:]:
        panel.tick_params(labelleft=False)
        panel.set_ylabel("")


def profiles(axes: Axes, pair: Pair) -> None:
    """First, middle and last frames of a trajectory, truth in full lines and the prediction dashed."""
    truth, prediction = pair[:2]
    time = str(truth.dims[0])
    when = positions(truth, time)
    for index, color in ((0, GREY), (len(when) // 2, BLUE), (len(when) - 1, ORANGE)):
        line(axes, truth.isel({time: index}), color=color, label=f"{time} = {when[index]:.3g}")
        line(axes, prediction.isel({time: index}), color=INK, linestyle=(0, (2, 2)), linewidth=0.9)
    axes.set_title(f"{symbol(truth)}, prediction dashed")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.32 * (high - low))
    axes.legend(ncols=3, loc="upper center", handlelength=0.9, columnspacing=0.7, fontsize=7, handletextpad=0.4)


def line(axes: Axes, values: xr.DataArray, **style: Any) -> None:
    dim = values.dims[0]
    axes.plot(positions(values, dim), values.values, **style)
    axes.set_xlabel(label(values, dim))
    axes.margins(x=0)


def image(
    axes: Axes,
    values: xr.DataArray,
    title: str,
    *,
    limits: tuple[float, float],
    cmap: str = _FIELD,
    logarithmic: bool = False,
    bar: Sequence[Axes] | None = None,
) -> None:
    """An image with the first dimension across and the second upwards, each pixel centred on its node.

    `bar` lists the panels that its colour bar stands for; None draws no bar.
    """
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import MaxNLocator

    across, up = values.dims
    extent = (*edges(positions(values, across)), *edges(positions(values, up)))
    norm = LogNorm(*limits) if logarithmic else Normalize(*limits)
    drawn = axes.imshow(values.values.T, origin="lower", extent=extent, norm=norm, cmap=cmap)
    ratio = (extent[1] - extent[0]) / (extent[3] - extent[2])
    if 0.4 < ratio < 2.5 and across != "time":
        axes.set_aspect("equal")
    else:
        axes.set_aspect("auto")
        axes.set_box_aspect(1)
    axes.set(title=title, xlabel=label(values, across), ylabel=label(values, up))
    axes.xaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(3, steps=[1, 2, 5, 10]))
    axes.spines[:].set_visible(False)
    if bar is not None:
        colorbar = axes.figure.colorbar(drawn, ax=list(bar), shrink=0.82, aspect=20, pad=0.02)
        colorbar.outline.set_visible(False)
        if not logarithmic:
            colorbar.locator = MaxNLocator(5)
            colorbar.update_ticks()


def limits_of(*arrays: xr.DataArray) -> tuple[float, float]:
    """Common colour limits of the finite values, never of width zero."""
    values = np.concatenate([array.values.ravel() for array in arrays])
    values = values[np.isfinite(values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def positions(values: xr.DataArray, dim: Any) -> Array:
    where = values.coords[dim].values if dim in values.coords else np.arange(values.sizes[dim])
    return np.asarray(where, dtype=np.float64)


def edges(positions: Array) -> tuple[float, float]:
    half = 0.5 * (positions[-1] - positions[0]) / max(len(positions) - 1, 1) or 0.5
    return float(positions[0] - half), float(positions[-1] + half)


def label(values: xr.DataArray, dim: Any) -> str:
    units = str(values.coords[dim].attrs.get("units", "")) if dim in values.coords else ""
    return str(dim) if units in ("", "1") else f"{dim} [{units}]"


def symbol(values: xr.DataArray) -> str:
    """Name and units, and below which channel, time and plane `select` took."""
    units, drawn = str(values.attrs.get("units", "")), str(values.attrs.get("drawn", ""))
    text = str(values.name) if units in ("", "1") else f"{values.name} [{units}]"
    return f"{text}\n{drawn}" if drawn else text


def columns_of(history: Mapping[str, Sequence[float]] | str | Path) -> dict[str, Array]:
    if isinstance(history, Mapping):
        return {name: np.asarray(values, dtype=np.float64) for name, values in history.items()}
    try:
        table: Any = np.genfromtxt(history, delimiter=",", names=True, dtype=np.float64, deletechars="", ndmin=1)
    except (OSError, ValueError) as error:
        raise DataError(f"{history}: not a readable CSV file with a header ({error})") from error
    return {name: table[name] for name in table.dtype.names or ()}
