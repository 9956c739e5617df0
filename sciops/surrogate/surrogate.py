"""The trained operator with all that is needed to use it on files: variables, units, grids, an error band."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.errors import ExtrapolationWarning, InputError, ResolutionWarning
from sciops.surrogate.application import computing, served
from sciops.surrogate.calibration import ConformalBand
from sciops.surrogate.description import Description
from sciops.surrogate.evaluation import Accumulator, Evaluation
from sciops.surrogate.monitors import FiniteMonitor, RangeMonitor
from sciops.surrogate.output import OutputTemplate, check_names, check_size, check_target, gathered
from sciops.surrogate.prediction import (
    batches,
    block_size,
    check_times,
    first_frames,
    opened,
    require_steps,
    source_of,
    steps_in,
)
from sciops.surrogate.resolution import Apply, Choice, Resolution, ResolutionPolicy, chosen
from sciops.training.physical import PhysicalOperator


class Surrogate:
    """A trained operator that predicts in the variables, units and coordinates of the files it was trained on.

    Made by `sciops.fit`, read by `sciops.load`.

    Parameters
    ----------
    operator
        The operator between physical fields.
    description
        What it maps, and the numbers of its training data.
    band
        The calibrated error band, if there was calibration data.
    policy
        What to do away from the training grid.

    Examples
    --------
    >>> x = np.arange(16) / 16
    >>> waves = np.sin(2 * np.pi * (x + np.linspace(0, 1, 40)[:, None]))
    >>> ds = xr.Dataset({"a": (("sample", "x"), waves), "u": (("sample", "x"), waves**2)}, {"x": x})
    >>> import sciops
    >>> surrogate = sciops.fit(ds, inputs="a", outputs="u", epochs=1, progress=False)  # doctest: +ELLIPSIS
    map a -> u on 16 points ...
    >>> surrogate
    Surrogate(a -> u, map, FNO, trained on 16)
    >>> surrogate.grid.shape, type(surrogate.model).__name__
    ((16,), 'FNO')
    """

    def __init__(
        self,
        operator: PhysicalOperator,
        description: Description,
        *,
        band: ConformalBand | None = None,
        policy: ResolutionPolicy | None = None,
    ) -> None:
        self.operator = operator.eval()
        self.description = description
        self.band = band
        self.policy = policy or ResolutionPolicy(None, None)

    @property
    def model(self) -> torch.nn.Module:
        """The trained module, between normalised fields."""
        return self.operator.model

    @property
    def grid(self) -> Grid:
        """The training grid."""
        return self.description.grid

    def __repr__(self) -> str:
        arrow = f"{', '.join(self.description.inputs)} -> {', '.join(self.description.outputs)}"
        size = " x ".join(map(str, self.grid.shape))
        return f"Surrogate({arrow}, {self.description.task}, {type(self.model).__name__}, trained on {size})"

    def predict(
        self,
        data: xr.Dataset | str | Path,
        *,
        coverage: float | None = None,
        steps: int | None = None,
        resolution: Resolution = "auto",
        output: str | Path | None = None,
        overwrite: bool = False,
        batch_size: int = 64,
        device: str | None = None,
        precision: Literal["32", "64", "bf16-mixed"] | None = None,
    ) -> xr.Dataset:
        """The outputs for the inputs in a data set, at the resolution it has.

        Parameters
        ----------
        data
            A data set by the conventions of `sciops.data`, or a file; it needs the input variables only. One field
            without a sample dimension is one sample.
        coverage
            Adds variables ``<name>_lower`` and ``<name>_upper``: a band that holds the whole field (over all steps)
            with this probability. That holds on the training grid only (attribute ``coverage_calibrated_on``); on
            another grid the band is interpolated and not calibrated, which is said in a warning.
        steps
            Frames to predict, for an evolution; None: as many as `data` has after the first ones, at least one.
        resolution
            On a grid that was not trained on: ``"native"`` applies the operator there, ``"interpolation"`` resamples
            from and to the training grid, ``"auto"`` does what was better in validation and says so in a warning.
        output
            File to write sample block by sample block, for predictions larger than memory; the result is that file,
            opened.
        overwrite
            Replace an existing file.
        batch_size
            Fields predicted at a time; fewer where they would take much memory.
        device, precision
            Where and how to compute; None is where the weights are, and the precision they have.

        Returns
        -------
        xarray.Dataset
            The output variables, with dimensions, coordinates and units of the file; attributes say how it was made.
            Outside of a mask they are NaN, and the mask comes with them.

        Warns
        -----
        ExtrapolationWarning
            If inputs leave the range of the training data, or predictions are not finite.
        ResolutionWarning
            On a grid that was not trained on: what was done and why, and that the error band is not calibrated there.

        Raises
        ------
        SciopsError
            If variables are missing or not finite, the domain is another one, or an argument does not fit.

        Examples
        --------
        >>> x = np.arange(16) / 16
        >>> waves = np.sin(2 * np.pi * (x + np.linspace(0, 1, 40)[:, None]))
        >>> ds = xr.Dataset({"a": (("sample", "x"), waves), "u": (("sample", "x"), waves**2)}, {"x": x})
        >>> import sciops
        >>> surrogate = sciops.fit(ds, inputs="a", outputs="u", epochs=1, progress=False)  # doctest: +ELLIPSIS
        map a -> u on 16 points ...
        >>> surrogate.predict(ds[["a"]]).u.shape
        (40, 16)
        """
        ds, alone = opened(data, self.description)
        count = require_steps(steps, steps_in(ds, self.description), self.description)
        evolve = self.description.task == "evolve"
        source = source_of(first_frames(ds, self.description) if evolve else ds, self.description, outputs=())
        if evolve:
            check_times(ds, self.description)
        fields = 1 if coverage is None else 3
        one_sample = 8 * fields * count * self.description.channels * math.prod(source.grid.shape)
        check_size(one_sample, len(source), in_memory=output is None)
        if output is not None:
            check_target(Path(output), ds, data)
        if coverage is not None:
            check_names(ds, self.description)
        choice = chosen(resolution, self.policy, grid=source.grid, training=self.grid)
        band = self._band(coverage, count, source.grid)
        values = (fields + 1) * count * self.description.channels * math.prod(source.grid.shape)
        together = block_size(batch_size, values)
        template = OutputTemplate(ds, source, self.description, steps=count)
        template.attributes |= {"predicted_by": repr(self), "resolution": choice}
        if coverage is not None:
            trained_on = " x ".join(map(str, self.grid.shape))
            template.attributes |= {"coverage": coverage, "coverage_calibrated_on": trained_on}
        monitor, finite = RangeMonitor(self.description), FiniteMonitor(self.description, steps=count)

        def blocks() -> Iterator[xr.Dataset]:
            compute = computing(self.operator, device, precision)
            apply = self._apply(compute.operator, source.grid, steps=count, choice=choice)
            start = 0
            for batch in batches(source, range(len(source)), together, compute.dtype):
                monitor.see(batch, start)
                values = compute.run(apply, batch).numpy()
                finite.see(values, start)
                if "mask" in batch:
                    values = np.where(batch["mask"].numpy(), values, np.nan)
                parts: dict[str, NDArray[Any]] = {"": values}
                if band is not None:
                    half = band.astype(values.dtype)
                    parts |= {"_lower": values - half, "_upper": values + half}
                yield template.dataset(parts, slice(start, start + len(values)))
                start += len(values)

        result = gathered(
            blocks(),
            sample=template.sample,
            alone=alone,
            count=len(source),
            path=None if output is None else Path(output),
            overwrite=overwrite,
        )
        for message in (monitor.message, finite.message):
            if message is not None:
                warnings.warn(message, ExtrapolationWarning, stacklevel=2)
        return result

    def evaluate(
        self,
        data: xr.Dataset | str | Path,
        *,
        coverage: float | None = None,
        steps: int | None = None,
        resolution: Resolution = "auto",
        batch_size: int = 64,
        device: str | None = None,
        precision: Literal["32", "64", "bf16-mixed"] | None = None,
    ) -> Evaluation:
        """Compare predictions with the outputs that a data set has.

        Parameters
        ----------
        data
            A data set or file with inputs and outputs.
        coverage
            Also count how many whole fields lie in the error band of this probability.
        steps
            Frames of a rollout from the first ones; None: as many as `data` has.
        resolution, batch_size, device, precision
            As for `predict`.

        Returns
        -------
        Evaluation

        Raises
        ------
        SciopsError
            As for `predict`.

        Examples
        --------
        >>> x = np.arange(16) / 16
        >>> waves = np.sin(2 * np.pi * (x + np.linspace(0, 1, 40)[:, None]))
        >>> ds = xr.Dataset({"a": (("sample", "x"), waves), "u": (("sample", "x"), waves**2)}, {"x": x})
        >>> import sciops
        >>> options = {"epochs": 1, "width": 4, "layers": 1, "calibration": 0.3, "progress": False}
        >>> surrogate = sciops.fit(ds, inputs="a", outputs="u", **options)  # doctest: +ELLIPSIS
        map a -> u on 16 points ...
        >>> found = surrogate.evaluate(ds, coverage=0.8)
        >>> list(found.rmse), found.coverage[0]
        (['u'], 0.8)
        """
        ds, _ = opened(data, self.description)
        evolve = self.description.task == "evolve"
        available = steps_in(ds, self.description)
        count = require_steps(steps, available, self.description)
        source = source_of(ds, self.description, outputs=self.description.outputs, horizon=count if evolve else None)
        choice = chosen(resolution, self.policy, grid=source.grid, training=self.grid)
        band = self._band(coverage, count, source.grid)
        frames = count if evolve else 1
        result = Accumulator(source.grid, self._channel_names(source), evolve=evolve)
        for prediction, target, mask in self._pairs(source, count, choice, batch_size, device, precision):
            inside = None
            if band is not None:
                inside = ((prediction - target).abs() <= torch.from_numpy(band)).flatten(1).all(dim=1)
            shape = (len(target), frames, -1, *source.grid.shape)
            result.add(prediction.reshape(shape), target.reshape(shape), inside, mask)
        return result.result(coverage=coverage, resolution=choice)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the surrogate as a folder of safetensors and JSON; the folder appears whole or not at all.

        Raises
        ------
        ModelError
            If the folder exists (and `overwrite` is not set, or it holds something else), or cannot be written.

        Examples
        --------
        >>> x = np.arange(16) / 16
        >>> waves = np.sin(2 * np.pi * (x + np.linspace(0, 1, 40)[:, None]))
        >>> ds = xr.Dataset({"a": (("sample", "x"), waves), "u": (("sample", "x"), waves**2)}, {"x": x})
        >>> import sciops
        >>> surrogate = sciops.fit(ds, inputs="a", outputs="u", epochs=1, progress=False)  # doctest: +ELLIPSIS
        map a -> u on 16 points ...
        >>> import tempfile
        >>> path = surrogate.save(Path(tempfile.mkdtemp()) / "squares")
        >>> sorted(file.name for file in path.iterdir())
        ['band.safetensors', 'surrogate.json', 'weights.safetensors']
        >>> sciops.load(path).predict(ds).identical(surrogate.predict(ds))
        True
        """
        from sciops.surrogate.saving import save

        return save(self, Path(path), overwrite=overwrite)

    def applied(
        self,
        x: Tensor,
        parameters: Tensor | None = None,
        *,
        grid: Grid,
        steps: int = 1,
        mask: Tensor | None = None,
    ) -> Tensor:
        """The operator between physical tensors, averaged over the symmetries.

        Parameters
        ----------
        x, parameters
            (batch, channel, *space) on `grid`, and (batch, p) or None; in the dtype of the weights.
        grid
            The grid of x.
        steps
            Frames to predict, for an evolution.
        mask
            (batch, 1, *space) bool, where the fields are defined; the outputs are 0 elsewhere.

        Returns
        -------
        Tensor
            (batch, steps * channel, *space).
        """
        found = self._apply(self.operator, grid, steps=steps, choice="native")(x, parameters, mask)
        return found if mask is None else torch.where(mask, found, 0.0)

    def compared(self, ds: xr.Dataset, *, samples: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of predictions and targets (b, steps * channel, *space) of some samples, from the first frames."""
        evolve = self.description.task == "evolve"
        source = source_of(ds, self.description, outputs=self.description.outputs, horizon=steps if evolve else None)
        pairs = self._pairs(source.subset(samples), steps, "native", 64, None, None)
        return ((prediction, target) for prediction, target, _ in pairs)

    def _channel_names(self, source: FunctionDataset) -> tuple[str, ...]:
        names = source.output_names[: self.description.channels]
        return tuple(name.split("(t")[0] for name in names)

    def _pairs(
        self,
        source: FunctionDataset,
        steps: int,
        choice: Choice,
        batch_size: int,
        device: str | None,
        precision: str | None,
    ) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """Predictions and targets (b, frames*channel, *space) in float64, and the masks outside of which both are 0.

        Those of an evolution begin with the first frames.
        """
        firsts = range(0, len(source), source.windows)
        batch_size = block_size(batch_size, 3 * steps * self.description.channels * math.prod(source.grid.shape))
        compute = computing(self.operator, device, precision)
        apply = self._apply(compute.operator, source.grid, steps=steps, choice=choice)
        for batch in batches(source, firsts, batch_size, compute.dtype):
            yield compute.run(apply, batch).double(), batch["y"], batch.get("mask")

    def _apply(self, operator: PhysicalOperator, grid: Grid, *, steps: int, choice: Choice) -> Apply:
        return served(operator, self.description, grid, steps=steps, choice=choice)

    def _band(self, coverage: float | None, frames: int, grid: Grid) -> NDArray[np.float64] | None:
        """Half the width of the band (frames * channel, *space) on `grid`; None where none is asked for."""
        if coverage is None:
            return None
        if self.band is None:
            raise InputError(
                "this surrogate has no error band: it was fitted with calibration=0; fit it with calibration data"
            )
        if grid.shape != self.grid.shape:
            size, trained = (" x ".join(map(str, each.shape)) for each in (grid, self.grid))
            warnings.warn(
                f"the error band is calibrated on {trained} points and not on these {size}: there it may hold fields "
                f"with another probability than {coverage:g}",
                ResolutionWarning,
                stacklevel=3,
            )
        return self.band.half_width(coverage, frames=frames, training=self.grid, grid=grid)
