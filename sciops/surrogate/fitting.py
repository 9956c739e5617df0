"""`fit`: from a data set or a file to a trained, calibrated, evaluated surrogate, in one call."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
import xarray as xr
from rich.console import Console
from torch import nn

from sciops import operators
from sciops.data.domain import Grid
from sciops.data.files import open as open_file
from sciops.data.function_dataset import FunctionDataset
from sciops.data.sampling import split
from sciops.data.selection import variable_names
from sciops.data.statistics import DatasetStatistics, Normaliser, Statistics, statistics_of
from sciops.data.symmetry import elements
from sciops.errors import InputError, SkillWarning
from sciops.surrogate.assessment import blocks, calibrated_band, measured_policy, measured_skill
from sciops.surrogate.description import Description, Task, output_variables, provenance_of, time_step_of, times_of
from sciops.surrogate.request import is_evolution, moving_first, same_run, try_module
from sciops.surrogate.saving import load
from sciops.surrogate.surrogate import Surrogate
from sciops.training.physical import Rollout

_MOST_MODES = {1: 16, 2: 12, 3: 8}


def fit(
    data: xr.Dataset | str | Path,
    *,
    inputs: str | Sequence[str],
    outputs: str | Sequence[str],
    parameters: str | Sequence[str] = (),
    task: Task = "map",
    model: str | nn.Module = "fno",
    modes: int | Sequence[int] | None = None,
    width: int | None = None,
    layers: int | None = None,
    history: int = 1,
    steps: int = 1,
    stride: int = 1,
    residual: bool = True,
    pushforward: bool = False,
    noise: float = 0.0,
    symmetries: Sequence[str] = (),
    epochs: int = 50,
    batch_size: int = 16,
    learning_rate: float = 5e-3,
    weight_decay: float = 1e-4,
    loss: str = "l2",
    average: float = 0.99,
    patience: int | None = None,
    validation: float = 0.1,
    calibration: float = 0.1,
    seed: int = 0,
    output: str | Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 60.0,
    checkpoint_steps: int | None = None,
    workers: int = 0,
    device: str = "auto",
    precision: Literal["32", "64", "bf16-mixed"] = "32",
    devices: int = 1,
    strategy: str = "auto",
    progress: bool = True,
) -> Surrogate:
    r"""Train a surrogate for the map from the input variables to the output variables of a data set.

    The samples (whole trajectories) are split at random into training, validation and calibration parts. The operator
    is trained on the first by AdamW with a one-cycle learning rate; its averaged weights with the smallest error on
    the second are kept, and that error is printed beside the mean, persistence, linear and POD + ridge baselines; the
    third calibrates the error band of `Surrogate.predict`.

    Parameters
    ----------
    data
        A file in any layout of `sciops.data.open`, or an open data set.
    inputs, outputs
        Names of variables of the file. For an evolution the outputs must be among the inputs, and come first in the
        channels that the model sees; further inputs have no time.
    parameters
        Names of variables with one number per sample, such as a viscosity.
    task
        ``"map"``: inputs to outputs. ``"evolve"``: the last `history` frames to the next ones, stepped in time.
    model
        ``"fno"``, ``"unet"`` or another name of `sciops.operators.registry`; or a module
        ``model(x)`` (``model(x, parameters)`` with parameters) between normalised fields ``(batch, channel, *space)``.
    modes, width, layers
        Size of a named model: highest frequency kept, for all axes or one per axis; channels; layers. None: what
        suits the grid.
    history, steps, stride
        Evolution: frames that the model sees, frames that a training item predicts one after another, and how many
        frames of the file are between two of them.
    residual
        Evolution: the model gives the change of a frame.
    pushforward, noise
        Evolution: train on the model's own output (last step only), and with white noise of this relative size.
    symmetries
        Symmetries of the problem, such as ``["transpose", "flip-x"]`` (see `sciops.data.symmetry`): training samples
        are moved by a random one, and predictions are averaged over all.
    epochs, batch_size, learning_rate, weight_decay, loss, average, patience
        See `sciops.training.train`.
    validation, calibration
        Parts of the samples; calibration=0 gives no error band.
    seed
        Of the split, the weights, the order and the augmentation.
    output
        Folder for checkpoints, logs and the finished surrogate (``output/surrogate``); None writes nothing.
    resume
        Go on with the run in `output`, which was interrupted or killed; it ends with the same bits as one left alone.
    checkpoint_seconds, checkpoint_steps, workers, device, precision, devices, strategy, progress
        See `sciops.training.train`.

    Returns
    -------
    Surrogate

    Raises
    ------
    SciopsError
        For files, variables, options and models that do not fit, with what to do about it.

    Warns
    -----
    SkillWarning
        If a baseline is as good as the model.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(16) / 16
    >>> waves = np.sin(2 * np.pi * (x + np.linspace(0, 1, 40)[:, None]))
    >>> ds = xr.Dataset({"a": (("sample", "x"), waves), "u": (("sample", "x"), waves**2)}, {"x": x})
    >>> fit(ds, inputs="a", outputs="u", epochs=1, width=4, layers=1, progress=False)  # doctest: +ELLIPSIS
    map a -> u on 16 points (closed): FNO with ...
    Surrogate(a -> u, map, FNO, trained on 16)
    """
    folder = Path(output).expanduser() if output is not None else None
    if resume and folder is None:
        raise InputError("resume=True needs output, the folder of the run to go on with")
    if not validation > 0:
        raise InputError(f"validation={validation} leaves nothing to choose the weights by; give a part such as 0.1")
    ds = data if isinstance(data, xr.Dataset) else open_file(data)
    input_names, output_names = variable_names("inputs", inputs), variable_names("outputs", outputs)
    evolve = is_evolution(task, input_names, output_names, history=history, steps=steps, stride=stride)
    if evolve:
        input_names = moving_first(ds, input_names, output_names)
    elif pushforward or noise:
        raise InputError("pushforward and noise are for task='evolve'; a map has no frames to step through")
    if resume and folder is not None and (folder / "surrogate" / "surrogate.json").is_file():
        finished = load(folder, model=model if isinstance(model, nn.Module) else None)
        return same_run(
            finished,
            folder,
            inputs=input_names,
            outputs=output_names,
            parameters=variable_names("parameters", parameters, optional=True),
            task=task,
            history=history,
            stride=stride,
            symmetries=tuple(symmetries),
        )
    dtype = torch.float64 if precision == "64" else torch.float32
    whole = FunctionDataset(
        ds,
        inputs=input_names,
        outputs=output_names,
        parameters=parameters,
        history=history if evolve else None,
        horizon=steps if evolve else None,
        stride=stride if evolve else 1,
        dtype=dtype,
    )
    train_samples, validation_samples, calibration_samples = split(
        whole.samples, (1 - validation - calibration, validation, calibration), seed=seed
    )
    train_set, validation_set = whole.subset(train_samples), whole.subset(validation_samples)
    if symmetries:
        elements(symmetries, whole.grid)
    whole.check_finite()
    rollout = (
        Rollout(history=history, steps=steps, residual=residual, pushforward=pushforward, noise=noise)
        if evolve
        else None
    )
    statistics = _statistics(train_set, rollout)
    variables = output_variables(ds, output_names, task=task)
    description = Description(
        inputs=input_names,
        outputs=output_names,
        parameters=whole.parameters,
        task=task,
        history=history,
        stride=stride,
        grid=whole.grid,
        variables=variables,
        time_step=time_step_of(ds, stride) if evolve else None,
        times=None if evolve else times_of(ds, variables),
        statistics=statistics,
        symmetries=tuple(symmetries),
        provenance=provenance_of(whole, ds)
        | {"seed": seed, "split": [len(train_samples), len(validation_samples), len(calibration_samples)]},
    )
    network = _network(
        model,
        whole,
        out_channels=description.channels,
        modes=modes,
        width=width,
        layers=layers,
        seed=seed,
    ).to(dtype)
    console = Console(quiet=not _is_first_process())
    console.print(_headline(description, network, len(train_set), len(validation_set)))

    from sciops.training.run import train  # Lightning loads here and nowhere else

    result = train(
        network,
        train_set,
        validation_set,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        loss=loss,
        input_normaliser=Normaliser.from_statistics(statistics.x),
        output_normaliser=Normaliser.from_statistics(_output_scale(train_set, statistics, rollout)),
        parameter_normaliser=None
        if statistics.parameters is None
        else Normaliser.from_statistics(statistics.parameters),
        rollout=rollout,
        symmetries=symmetries,
        average=average,
        patience=patience,
        seed=seed,
        workers=workers,
        run_dir=folder,
        resume=resume,
        checkpoint_seconds=checkpoint_seconds,
        checkpoint_steps=checkpoint_steps,
        device=device,
        precision=precision,
        devices=devices,
        strategy=strategy,
        progress=progress,
    )
    surrogate = Surrogate(result.operator, description)
    if not _is_first_process():
        return surrogate
    surrogate.policy = measured_policy(surrogate, validation_set, steps)
    if len(calibration_samples):
        surrogate.band = calibrated_band(surrogate, ds, validation_samples, calibration_samples)
    table = measured_skill(surrogate, train_set, validation_set, steps)
    console.print(table)
    if table.warning:
        warnings.warn(table.warning, SkillWarning, stacklevel=2)
    skill = {row.name: row.error for row in table.rows}
    training = {"epochs": result.epochs, "best_epoch": result.best_epoch, "seconds": result.seconds}
    surrogate.description = replace(
        description, provenance=description.provenance | {"skill": skill, "training": training}
    )
    if folder is not None:
        console.print(f"surrogate saved in {surrogate.save(folder / 'surrogate')}")
    return surrogate


def _is_first_process() -> bool:
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"


def _statistics(train_set: FunctionDataset, rollout: Rollout | None) -> DatasetStatistics:
    """Statistics of the training part; the frames of a variable share theirs, since a rollout feeds one to the next."""
    found = statistics_of(train_set)
    if rollout is None:
        return found
    x = found.x.pooled([(channel.variable, channel.component) for channel in train_set.input_channels])
    y = found.y.pooled([(channel.variable, channel.component) for channel in train_set.output_channels])
    return DatasetStatistics(x, y, found.parameters)


def _output_scale(train_set: FunctionDataset, statistics: DatasetStatistics, rollout: Rollout | None) -> Statistics:
    """Statistics of what the model itself must give: a frame, or its change."""
    if rollout is None:
        return statistics.y
    channels = train_set.out_channels // rollout.steps
    names = train_set.output_names[:channels]
    found: Statistics | None = None
    exact = train_set.astype(torch.float64)
    for batch in blocks(exact):
        values = batch["y"][:, :channels]
        if rollout.residual:
            values = values - batch["x"][:, (rollout.history - 1) * channels : rollout.history * channels]
        part = Statistics.of(values, names, origin=None if found is None else found.origin)
        found = part if found is None else found.merge(part)
    assert found is not None
    return found


def _network(
    model: str | nn.Module,
    data: FunctionDataset,
    *,
    out_channels: int,
    modes: int | Sequence[int] | None,
    width: int | None,
    layers: int | None,
    seed: int,
) -> nn.Module:
    """The module to train: the one given, or a named one in the size that suits the data."""
    chosen = {"modes": modes, "width": width, "layers": layers}
    if isinstance(model, nn.Module):
        for name, value in chosen.items():
            if value is not None:
                raise InputError(f"{name} is for a model given by name; this module has its own")
        try_module(model, data, out_channels)
        return model
    if not isinstance(model, str):
        raise InputError(f"model is {model!r}; give the name of an operator, or a module (an instance)")
    kind = operators.registry[model]
    takes = inspect.signature(kind).parameters
    for name, value in chosen.items():
        if value is not None and name not in takes:
            can = ", ".join(option for option in chosen if option in takes)
            raise InputError(f"the model {model!r} has no {name}; of these options it takes {can}")
    options: dict[str, Any] = {name: value for name, value in chosen.items() if value is not None}
    if "modes" in takes:
        options["modes"] = _checked_modes(modes, data.grid)
    return kind(
        data.in_channels,
        out_channels,
        parameters=len(data.parameter_names),
        grid=data.grid,
        seed=seed,
        **options,
    )


def _checked_modes(modes: int | Sequence[int] | None, grid: Grid) -> tuple[int, ...]:
    """Modes for each axis, none beyond what the training grid carries."""
    most = _MOST_MODES.get(grid.ndim, 6)
    if modes is None:
        return tuple(max(1, min(most, 3 * axis.size // 8, axis.carried_modes)) for axis in grid.axes)
    each = (modes,) * grid.ndim if isinstance(modes, int) else tuple(modes)
    if len(each) != grid.ndim:
        raise InputError(
            f"modes {list(each)} for the {grid.ndim} axes {', '.join(grid.names)}; give one number, or one per axis"
        )
    for axis, mode in zip(grid.axes, each, strict=True):
        if not 1 <= mode <= axis.carried_modes:
            raise InputError(
                f"modes={mode} on axis {axis.name!r}: its {axis.size} points carry frequencies up to "
                f"{axis.carried_modes}; ask for 1 to {axis.carried_modes}"
            )
    return each


def _headline(description: Description, network: nn.Module, training: int, validation: int) -> str:
    arrow = f"{', '.join((*description.inputs, *description.parameters))} -> {', '.join(description.outputs)}"
    size = " x ".join(map(str, description.grid.shape))
    weights = sum(p.numel() for p in network.parameters())
    return (
        f"{description.task} {arrow} on {size} points ({', '.join(description.grid.kinds)}): "
        f"{type(network).__name__} with {weights:,} weights, {training:,} training and {validation:,} validation items"
    )
