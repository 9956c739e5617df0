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

from sciops.data.conventions import time_dim
from sciops.data.domain import Grid
from sciops.data.files import open as open_file
from sciops.data.function_dataset import FunctionDataset
from sciops.data.interpolation import resample
from sciops.data.writing import StreamWriter
from sciops.errors import ExtrapolationWarning, InputError, ResolutionWarning, did_you_mean
from sciops.surrogate.application import averaged, computing, named
from sciops.surrogate.calibration import ConformalBand
from sciops.surrogate.description import Description
from sciops.surrogate.evaluation import Accumulator, Evaluation
from sciops.surrogate.prediction import (
    OutputTemplate,
    RangeMonitor,
    batches,
    block_size,
    check_channels,
    check_grid,
    check_times,
    first_frames,
    in_axis_order,
    require_steps,
    steps_in,
    with_samples,
)
from sciops.surrogate.resolution import Apply, Choice, ResolutionPolicy, through
from sciops.training.physical import PhysicalOperator

Resolution = Literal["auto", "native", "interpolation"]
_IN_MEMORY = 2 << 30


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
        device: str = "cpu",
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
            with this probability.
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
            Where and how to compute; precision None is that of the weights.

        Returns
        -------
        xarray.Dataset
            The output variables, with dimensions, coordinates and units of the file; attributes say how it was made.

        Warns
        -----
        ExtrapolationWarning
            If inputs leave the range of the training data.
        ResolutionWarning
            On a grid that was not trained on: what was done and why.

        Raises
        ------
        SciopsError
            If variables are missing or not finite, the domain is another one, or an argument does not fit.

        Examples
        --------
        >>> import numpy as np
        >>> x = np.arange(16) / 16
        >>> waves = np.sin(2 * np.pi * (x + np.linspace(0, 1, 40)[:, None]))
        >>> ds = xr.Dataset({"a": (("sample", "x"), waves), "u": (("sample", "x"), waves**2)}, {"x": x})
        >>> import sciops
        >>> options = {"epochs": 1, "width": 4, "layers": 1, "progress": False}
        >>> surrogate = sciops.fit(ds, inputs="a", outputs="u", **options)  # doctest: +ELLIPSIS
        map a -> u on 16 points ...
        >>> surrogate.predict(ds[["a"]]).u.shape
        (40, 16)
        """
        ds, alone = with_samples(self._opened(data), self.description)
        count = require_steps(steps, steps_in(ds, self.description), self.description)
        evolve = self.description.task == "evolve"
        source = self._dataset(first_frames(ds, self.description) if evolve else ds, outputs=())
        if evolve:
            check_times(ds, self.description)
        choice = self._choose(resolution, source.grid)
        band = self._band(coverage, count, source.grid)
        fields = 1 if band is None else 3
        values = (fields + 1) * count * self.description.channels * math.prod(source.grid.shape)
        together = block_size(batch_size, values)
        template = OutputTemplate(ds, source, self.description, steps=count)
        template.attributes |= self._provenance(choice, coverage)
        monitor = RangeMonitor(self.description)

        def blocks() -> Iterator[xr.Dataset]:
            with computing(self.operator, device, precision) as (operator, dtype, context):
                apply = self._apply(operator, source.grid, steps=count, choice=choice)
                start = 0
                for batch in batches(source, range(len(source)), together):
                    monitor.see(batch, start)
                    with torch.no_grad(), context():
                        parameters = batch.get("parameters")
                        found = apply(
                            batch["x"].to(device, dtype), None if parameters is None else parameters.to(device, dtype)
                        )
                    values = found.cpu().numpy()
                    parts: dict[str, NDArray[Any]] = {"": values}
                    if band is not None:
                        half = band.astype(values.dtype)
                        parts |= {"_lower": values - half, "_upper": values + half}
                    yield template.dataset(parts, slice(start, start + len(values)))
                    start += len(values)

        if output is not None:
            result = self._streamed(blocks(), Path(output), len(source), overwrite=overwrite)
        else:
            size = 8 * fields * len(source) * count * self.description.channels * math.prod(source.grid.shape)
            if size > _IN_MEMORY:
                raise InputError(
                    f"the prediction takes about {size / 2**30:.1f} GiB; "
                    f"name a file to write it to (output='prediction.nc')"
                )
            found = list(blocks())
            result = (
                found[0]
                if len(found) == 1
                else xr.concat(
                    found,
                    dim=template.sample,
                    data_vars="minimal",
                    coords="minimal",
                    compat="override",
                    join="override",
                    combine_attrs="override",
                )
            )
        if monitor.message is not None:
            warnings.warn(monitor.message, ExtrapolationWarning, stacklevel=2)
        return result.isel({template.sample: 0}) if alone and output is None else result

    def evaluate(
        self,
        data: xr.Dataset | str | Path,
        *,
        coverage: float | None = None,
        steps: int | None = None,
        resolution: Resolution = "auto",
        batch_size: int = 64,
        device: str = "cpu",
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
        """
        ds, _ = with_samples(self._opened(data), self.description)
        evolve = self.description.task == "evolve"
        available = steps_in(ds, self.description)
        count = require_steps(steps, available, self.description)
        source = self._dataset(ds, outputs=self.description.outputs, horizon=count if evolve else None)
        choice = self._choose(resolution, source.grid)
        band = self._band(coverage, count, source.grid)
        frames = count if evolve else 1
        result = Accumulator(source.grid, self._channel_names(source), evolve=evolve)
        for prediction, target in self._pairs(source, count, choice, batch_size, device, precision):
            inside = None
            if band is not None:
                inside = ((prediction - target).abs() <= torch.from_numpy(band)).flatten(1).all(dim=1)
            shape = (len(target), frames, -1, *source.grid.shape)
            result.add(prediction.reshape(shape), target.reshape(shape), inside)
        return result.result(coverage=coverage, resolution=choice)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the surrogate as a folder of safetensors and JSON; the folder appears whole or not at all.

        Raises
        ------
        ModelError
            If the folder exists (and `overwrite` is not set, or it holds something else), or cannot be written.
        """
        from sciops.surrogate.saving import save

        return save(self, Path(path), overwrite=overwrite)

    def applied(self, x: Tensor, parameters: Tensor | None = None, *, grid: Grid, steps: int = 1) -> Tensor:
        """The operator between physical tensors, averaged over the symmetries.

        Parameters
        ----------
        x, parameters
            (batch, channel, *space) on `grid`, and (batch, p) or None; in the dtype of the weights.
        grid
            The grid of x.
        steps
            Frames to predict, for an evolution.

        Returns
        -------
        Tensor
            (batch, steps * channel, *space).
        """
        return self._apply(self.operator, grid, steps=steps, choice="native")(x, parameters)

    def compared(self, ds: xr.Dataset, *, samples: Tensor, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of predictions and targets (b, steps * channel, *space) of some samples, from the first frames."""
        evolve = self.description.task == "evolve"
        source = self._dataset(ds, outputs=self.description.outputs, horizon=steps if evolve else None).subset(samples)
        return self._pairs(source, steps, "native", 64, "cpu", None)

    def _opened(self, data: xr.Dataset | str | Path) -> xr.Dataset:
        return data if isinstance(data, xr.Dataset) else open_file(data)

    def _dataset(self, ds: xr.Dataset, *, outputs: tuple[str, ...], horizon: int | None = None) -> FunctionDataset:
        evolve = self.description.task == "evolve" and (bool(outputs) or time_dim(ds) is not None)
        data = FunctionDataset(
            ds if outputs else in_axis_order(ds, self.description),
            inputs=self.description.inputs,
            outputs=outputs,
            parameters=self.description.parameters,
            history=self.description.history if evolve else None,
            horizon=horizon,
            stride=self.description.stride if evolve else 1,
            dtype=torch.float64,
        )
        check_grid(data.grid, self.description, data.file)
        check_channels(data, self.description)
        if evolve:
            check_times(ds, self.description)
        return data

    def _channel_names(self, source: FunctionDataset) -> tuple[str, ...]:
        names = source.output_names[: self.description.channels]
        return tuple(name.split("(t")[0] for name in names)

    def _pairs(
        self, source: FunctionDataset, steps: int, choice: Choice, batch_size: int, device: str, precision: str | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Predictions and targets (b, frames*channel, *space) in float64; of an evolution from the first frames."""
        firsts = range(0, len(source), source.windows)
        batch_size = block_size(batch_size, 3 * steps * self.description.channels * math.prod(source.grid.shape))
        with computing(self.operator, device, precision) as (operator, dtype, context):
            apply = self._apply(operator, source.grid, steps=steps, choice=choice)
            for batch in batches(source, firsts, batch_size):
                parameters = batch.get("parameters")
                with torch.no_grad(), context():
                    found = apply(
                        batch["x"].to(device, dtype), None if parameters is None else parameters.to(device, dtype)
                    )
                yield found.cpu().double(), batch["y"]

    def _apply(self, operator: PhysicalOperator, grid: Grid, *, steps: int, choice: Choice) -> Apply:
        """The map from physical inputs on `grid` to `steps` frames, averaged over the symmetries at every step."""
        if grid.shape == self.grid.shape:
            return averaged(operator, self.description.symmetries, grid, steps=steps)
        if choice == "interpolation":
            inside = averaged(operator, self.description.symmetries, self.grid, steps=steps)
            return through(grid, self.grid, inside)
        return named(averaged(operator, self.description.symmetries, grid, steps=steps), operator.model, grid)

    def _choose(self, resolution: Resolution, grid: Grid) -> Choice:
        if resolution not in ("auto", "native", "interpolation"):
            names = ("auto", "native", "interpolation")
            raise InputError(f"unknown resolution {resolution!r}{did_you_mean(str(resolution), names)}")
        if grid.shape == self.grid.shape:
            return "native"
        if resolution != "auto":
            return resolution
        choice, check = self.policy.choose(grid, self.grid), self.policy.check(grid, self.grid)
        how = "applied on it" if choice == "native" else "applied on the training grid and interpolated"
        why = str(check or "it could not be measured in validation which way is better")
        size, known = (" x ".join(map(str, g.shape)) for g in (grid, self.grid))
        warnings.warn(
            f"the grid {size} is not the training grid {known}: the operator is {how} ({why})",
            ResolutionWarning,
            stacklevel=3,
        )
        return choice

    def _band(self, coverage: float | None, steps: int, grid: Grid) -> NDArray[np.float64] | None:
        """Half the width of the band (steps*channel, *space) on `grid`."""
        if coverage is None:
            return None
        if self.band is None:
            raise InputError(
                "this surrogate has no error band: it was fitted with calibration=0; fit it with calibration data"
            )
        factor = self.band.factor(coverage, frames=steps)
        scale = self.band.scale[:steps].flatten(0, 1)
        if grid.shape != self.grid.shape:
            lowest = scale.flatten(1).amin(dim=1).view(-1, *(1,) * grid.ndim)
            scale = torch.maximum(resample(scale, self.grid, grid), lowest)
        width: NDArray[np.float64] = (factor * scale).numpy()
        return width

    def _provenance(self, choice: Choice, coverage: float | None) -> dict[str, Any]:
        attributes: dict[str, Any] = {"predicted_by": repr(self), "resolution": choice}
        return attributes if coverage is None else {**attributes, "coverage": coverage}

    def _streamed(self, blocks: Iterator[xr.Dataset], path: Path, count: int, *, overwrite: bool) -> xr.Dataset:
        first = next(blocks)
        with StreamWriter(path, first, count, overwrite=overwrite) as writer:
            writer.append(first)
            for block in blocks:
                writer.append(block)
        return open_file(path)
