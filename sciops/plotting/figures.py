"""The figures: comparison of truth and prediction, training curves, the look of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from sciops.data.conventions import field_names, sample_dim
from sciops.errors import DataError, InputError
from sciops.plotting.panels import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    columns_of,
    comparison,
    figure_in_style,
    image,
    input_of,
    limits_of,
    line,
    pair_of,
    profiles,
    select,
    symbol,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def compare(
    truth: xr.Dataset,
    prediction: xr.Dataset,
    *,
    variable: str,
    sample: int = 0,
    inputs: str | None = None,
    path: str | Path | None = None,
) -> Figure:
    """Draw one sample of a variable: its input, the truth, the prediction and the error ``prediction - truth``.

    Fields in two dimensions become images, trajectories in one dimension become space-time images, functions of one
    variable become lines (with the band between ``<variable>_lower`` and ``<variable>_upper`` where the prediction
    has one), trajectories in two dimensions are drawn at their last common time, fields in three in the middle
    plane of the last dimension; the title says which channel, time and plane. What lies outside of a mask is blank.
    The relative L2 error of what is drawn stands above the error.

    Parameters
    ----------
    truth, prediction
        Data sets that hold `variable` on the same grid. Times that only one of them has are left out.
    variable
        What to compare.
    sample
        Which sample, counted from 0.
    inputs
        The variable of `truth` to draw first; by default the first other field on the same space that is
        no mask, or none.
    path
        Where to write the figure (PNG, PDF or SVG by its suffix).

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        A variable is missing, or the grids differ.
    InputError
        There is no such sample.

    Examples
    --------
    >>> x = ("x", np.linspace(0, 1, 16))
    >>> truth = xr.Dataset({"u": (("sample", "x"), np.ones((2, 16)))}, coords={"x": x})
    >>> figure = compare(truth, truth * 1.1, variable="u", sample=1)
    >>> figure.axes[1].get_title("left")
    'error, relative L2 10 %'
    """
    pair = pair_of(truth, prediction, variable, sample)
    before = input_of(truth, variable, sample, inputs)
    count = 3 + (before is not None) if pair[0].ndim == 2 else 2
    with figure_in_style(path, width=2.65 * count if pair[0].ndim == 2 else 6.4, height=2.9) as figure:
        comparison(figure.subplots(1, count), pair, before)
    return figure


def training_curve(
    history: Mapping[str, Sequence[float]] | str | Path, *, path: str | Path | None = None, x: str = "epoch"
) -> Figure:
    """Draw losses and errors over the epochs, on a logarithmic scale.

    Parameters
    ----------
    history
        Columns of equal length by name, or a CSV file with a header. Columns whose names hold ``loss``, ``error``,
        ``l2`` or ``rmse`` are drawn; missing entries are skipped.
    path
        Where to write the figure.
    x
        The column to draw over.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        The file is missing, or has nothing to draw.

    Examples
    --------
    >>> figure = training_curve({"epoch": [0, 1, 2], "train_loss": [1.0, 0.1, 0.01]})
    >>> figure.axes[0].get_yscale()
    'log'
    """
    columns = columns_of(history)
    words = ("loss", "error", "l2", "rmse")
    names = [name for name in columns if name != x and any(word in name.lower() for word in words)]
    if not names:
        raise DataError(f"{history if isinstance(history, str | Path) else 'the history'} has no loss or error to draw")
    with figure_in_style(path, width=4.6, height=2.9) as figure:
        axes = figure.subplots()
        colors = [BLUE, ORANGE, "#3d8f5f", GREY, "#7a4f9a", "#b08a1e"]
        for index, name in enumerate(names):
            values = columns[name]
            where = columns.get(x, np.arange(len(values), dtype=np.float64))
            kept = np.isfinite(values) & np.isfinite(where) & (values > 0)
            axes.plot(where[kept], values[kept], color=colors[index % len(colors)], label=name.replace("_", " "))
        axes.set(yscale="log", xlabel=x)
        axes.grid(axis="y", linewidth=0.4, color="#dddddd")
        axes.legend()
    return figure


def demo_figure(
    rows: Sequence[tuple[str, xr.Dataset, xr.Dataset, str]], *, sample: int = 0, path: str | Path | None = None
) -> Figure:
    """Draw one comparison under the other, as `compare` does, each row with a title.

    Parameters
    ----------
    rows
        Title, truth, prediction and variable of each row; the variables are fields in two dimensions or
        trajectories in one. A trajectory's first panel shows the initial and last frames.
    sample
        Which sample of each.
    path
        Where to write the figure.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InputError
        There are no rows, or a variable is not drawn as an image.

    Examples
    --------
    >>> truth = xr.Dataset({"u": (("sample", "time", "x"), np.ones((1, 4, 8)))})
    >>> figure = demo_figure([("Burgers", truth, truth * 1.02, "u")])
    >>> figure.axes[3].get_title("left")
    'error, relative L2 2 %'
    """
    if not rows:
        raise InputError("a figure needs at least one row")
    with figure_in_style(path, width=10.8, height=2.8 * len(rows)) as figure:
        parts = np.atleast_1d(np.asarray(figure.subfigures(len(rows), 1, hspace=0.04), dtype=object))
        for part, (title, truth, prediction, variable) in zip(parts, rows, strict=True):
            pair = pair_of(truth, prediction, variable, sample)
            if pair[0].ndim != 2:
                raise InputError(f"{variable} has one dimension: draw it with compare")
            before = input_of(truth, variable, sample, None)
            axes = part.subplots(1, 4)
            part.suptitle(title, x=0.012, ha="left", fontsize=11, fontweight="bold", color=INK)
            if before is None:
                profiles(axes[0], pair)
                comparison(axes[1:], pair, None)
            else:
                comparison(axes, pair, before)
    return figure


def info_plot(ds: xr.Dataset, *, path: str | Path | None = None, samples: int = 4) -> Figure:
    """Draw the first samples of every field of a data set, one row per variable.

    Parameters
    ----------
    ds
        A data set with at least one field.
    path
        Where to write the figure.
    samples
        How many samples to draw.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        The data set has no field.

    Examples
    --------
    >>> figure = info_plot(xr.Dataset({"u": (("sample", "x", "y"), np.zeros((9, 8, 8)))}), samples=3)
    >>> len([axes for axes in figure.axes if axes.get_title("left")])
    3
    """
    names = field_names(ds)[:8]
    if not names:
        raise DataError("the data set has no field to draw: no numeric variable has a space dimension")
    dim = sample_dim(ds)
    count = max(1, min(samples, *(ds[name].sizes.get(dim, 1) for name in names)))
    with figure_in_style(path, width=2.45 * count + 0.5, height=2.35 * len(names)) as figure:
        grid = figure.subplots(len(names), count, squeeze=False)
        for name, row in zip(names, grid, strict=True):
            drawn = [select(ds, name, index) for index in range(count if dim in ds[name].dims else 1)]
            limits = limits_of(*drawn)
            margin = 0.05 * (limits[1] - limits[0])
            for index, axes in enumerate(row):
                if index >= len(drawn):
                    axes.set_axis_off()
                    continue
                title = f"{symbol(drawn[index])}, sample {index}" if dim in ds[name].dims else symbol(drawn[index])
                if drawn[index].ndim == 1:
                    line(axes, drawn[index], color=BLUE)
                    axes.set(ylim=(limits[0] - margin, limits[1] + margin), title=title)
                else:
                    image(axes, drawn[index], title, limits=limits, bar=row[: len(drawn)] if index == 0 else None)
                if index > 0:
                    axes.tick_params(labelleft=False)
                    axes.set_ylabel("")
    return figure
