"""`fit`: from a data set or a file to a trained, calibrated, evaluated surrogate, in one call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
import xarray as xr
from rich.console import Console
from torch import nn

from sciops.data.files import open as open_file
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.normalisation import kinds_of
from sciops.data.functions.sampling import split
from sciops.data.functions.selection import variable_names
from sciops.errors import InputError, SkillWarning
from sciops.surrogate.assessment import calibrated_band, measured_policy, measured_skill
from sciops.surrogate.description import (
    Description,
    Task,
    labels_of,
    output_variables,
    provenance_of,
    time_step_of,
    times_of,
    units_of,
)
from sciops.surrogate.network import network_of
from sciops.surrogate.request import (
    check_symmetries,
    checked_modes,
    finished_run,
    is_evolution,
    moving_first,
    recorded,
    require_numbers,
    require_same,
    require_samples,
)
from sciops.surrogate.scaling import check_float32, normalisers_by_kind, training_statistics
from sciops.surrogate.surrogate import Surrogate
from sciops.training.physical import Rollout
from sciops.training.ranks import is_first_process


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
    symmetries: str | Sequence[str] = (),
    epochs: int = 50,
    batch_size: int = 16,
    accumulate: int = 1,
    learning_rate: float = 5e-3,
    weight_decay: float = 1e-4,
    loss: str = "l2",
    normalise: str | dict[str, str] = "standard",
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
        ``model(x)`` (``model(x, parameters)`` with parameters) between normalised fields ``(batch, channel, *space)``,
        of which a copy is trained: yours keeps its weights, and several fits share none.
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
        Symmetries of the problem, such as ``["transpose", "flip-x"]`` (`sciops.data.functions.symmetry`): training
        samples are moved by a random one, and predictions are averaged over all. Vectors and tensors that declare their
        ``rank`` and ``components`` turn with them; with others of several components there are only shifts.
    accumulate
        Batches whose gradients are added up before a step.
    epochs, batch_size, learning_rate, weight_decay, loss, average, patience
        See `sciops.training.train`.
    normalise
        What the model sees: ``"standard"`` (mean 0, deviation 1), ``"range"`` ([-1, 1]), ``"log"`` (standard, of the
        logarithm) or ``"none"``, for all variables or by variable as in ``{"a": "log"}``.
    validation, calibration
        Parts of the samples; calibration=0 gives no error band.
    seed
        Of the split, the weights, the order and the augmentation.
    output
        Folder for checkpoints, logs and the finished surrogate (``output/surrogate``); None writes nothing.
    resume
        Go on with the run in `output`, which was interrupted or killed; it ends with the same bits as one left alone.
        Of a finished run this gives the surrogate. Other data, or an option that would change the result, is refused.
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
    require_numbers(
        whole={
            "width": width,
            "layers": layers,
            "history": history,
            "steps": steps,
            "stride": stride,
            "epochs": epochs,
            "batch_size": batch_size,
            "accumulate": accumulate,
            "patience": patience,
            "seed": seed,
            "checkpoint_steps": checkpoint_steps,
            "workers": workers,
            "devices": devices,
        },
        real={
            "noise": noise,
            "learning_rate": learning_rate,
            "weight_decay": weight_decay,
            "average": average,
            "validation": validation,
            "calibration": calibration,
            "checkpoint_seconds": checkpoint_seconds,
        },
    )
    modes, seed = checked_modes(modes), int(seed)
    if not validation > 0:
        raise InputError(f"validation={validation} leaves nothing to choose the weights by; give a part such as 0.1")
    ds = data if isinstance(data, xr.Dataset) else open_file(data)
    input_names, output_names = variable_names("inputs", inputs), variable_names("outputs", outputs)
    evolve = is_evolution(task, input_names, output_names, history=history, steps=steps, stride=stride)
    if evolve:
        input_names = moving_first(ds, input_names, output_names)
    elif pushforward or noise:
        raise InputError("pushforward and noise are for task='evolve'; a map has no frames to step through")
    moves = variable_names("symmetries", symmetries, optional=True)
    described = {
        "inputs": input_names,
        "outputs": output_names,
        "parameters": variable_names("parameters", parameters, optional=True),
        "task": task,
        "history": history,
        "stride": stride,
        "symmetries": moves,
    }
    options = recorded(
        **({} if normalise == "standard" else {"normalise": normalise}),
        model=model,
        modes=modes,
        width=width,
        layers=layers,
        steps=steps,
        residual=residual,
        pushforward=pushforward,
        noise=noise,
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        loss=loss,
        average=average,
        patience=patience,
        validation=validation,
        calibration=calibration,
        seed=seed,
        precision=precision,
    )
    finished = finished_run(folder, model, described=described, options=options) if resume and folder else None
    dtype = torch.float64 if precision == "64" else torch.float32
    frames = (history + steps - 1) * stride + 1
    require_samples(ds, parts=2 + (calibration > 0), task=task, frames=frames)
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
    provenance = provenance_of(whole, ds)
    if finished is not None and folder is not None:
        known = finished.description.provenance.get("fingerprint")
        require_same(folder, {"the data fingerprint": known}, {"the data fingerprint": provenance["fingerprint"]})
        return finished
    train_samples, validation_samples, calibration_samples = split(
        whole.samples, (1 - validation - calibration, validation, calibration), seed=seed
    )
    train_set, validation_set = whole.subset(train_samples), whole.subset(validation_samples)
    check_symmetries(moves, whole)
    changing = [channel.variable for channel in whole.parameter_channels if channel.frame is not None]
    if evolve and changing:
        raise InputError(
            f"{whole.file}: the parameter {changing[0]!r} changes in time, and its next values would be unknown when "
            f"the evolution is stepped; give numbers that stay, or a map"
        )
    kinds_of(whole, normalise)
    whole.check_finite()
    rollout = (
        Rollout(history=history, steps=steps, residual=residual, pushforward=pushforward, noise=noise)
        if evolve
        else None
    )
    statistics = training_statistics(train_set.astype(torch.float64), rollout)
    if dtype == torch.float32:
        check_float32(statistics, whole.file)
    normalisers = normalisers_by_kind(train_set, statistics, rollout, normalise)
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
        units=units_of(ds, (*input_names, *output_names, *whole.parameters)),
        labels=labels_of(ds, (*input_names, *whole.parameters)),
        statistics=statistics,
        symmetries=moves,
        tensors={
            "x": whole.input_tensors,
            "y": whole.output_tensors,
            "parameters": whole.parameter_tensors,
        },
        masks=whole.mask_names,
        provenance=provenance
        | {"options": options, "split": [len(train_samples), len(validation_samples), len(calibration_samples)]},
    )
    network = network_of(
        model,
        whole,
        out_channels=description.channels,
        modes=modes,
        width=width,
        layers=layers,
        seed=seed,
    ).to(dtype)
    console = Console(quiet=not is_first_process())
    console.print(_headline(description, network, len(train_set), len(validation_set)))

    from sciops.training.run import train  # Lightning loads here and nowhere else

    result = train(
        network,
        train_set,
        validation_set,
        epochs=epochs,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        loss=loss,
        input_normaliser=normalisers.x,
        output_normaliser=normalisers.y,
        parameter_normaliser=normalisers.parameters,
        rollout=rollout,
        symmetries=moves,
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
        data_fingerprint=provenance["fingerprint"],
    )
    surrogate = Surrogate(result.operator, description)
    if not is_first_process():
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


def _headline(description: Description, network: nn.Module, training: int, validation: int) -> str:
    arrow = f"{', '.join((*description.inputs, *description.parameters))} -> {', '.join(description.outputs)}"
    size = " x ".join(map(str, description.grid.shape))
    weights = sum(p.numel() for p in network.parameters())
    return (
        f"{description.task} {arrow} on {size} points ({', '.join(description.grid.kinds)}): "
        f"{type(network).__name__} with {weights:,} weights, {training:,} training and {validation:,} validation items"
    )
