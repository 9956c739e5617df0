"""``sciops evaluate``: errors of a surrogate on a file."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from sciops.cli.command import Command, Invocation
from sciops.cli.options import Option, options_of
from sciops.cli.shared import console, declaration_options, open_declared, progress, require_picture, say_json
from sciops.data.conventions import sample_dim, time_dim
from sciops.surrogate import Surrogate, load
from sciops.surrogate.description import Description

_DESCRIPTION = """\
Compare the predictions of a surrogate with the outputs in a file: relative error, its spread over
samples, spectra, for an evolution the error over time, and whether the error band holds what it says."""
_EXAMPLES = """
sciops evaluate darcy-fno test.h5
sciops evaluate darcy-fno test.h5 --coverage 0.9 --plot worst.png
sciops evaluate burgers-fno test.h5 --steps 16 --json
"""
_HELP = {
    "steps": {"help": "Frames of a rollout from the first ones. Default: as many as the file has."},
    "coverage": {"help": "Also count how many whole fields lie in the error band of this probability."},
    "device": {"help": "cpu or cuda. Default: cpu."},
    "precision": {"help": "Of the computation. Default: that of the weights."},
    "batch_size": {"help": "Fields computed at a time."},
    "resolution": {"help": "On another grid than that of training: apply the operator there, or interpolate."},
}


def command(words: Sequence[str]) -> Command:
    """The command for these words."""
    options = [
        Option("surrogate", Path, positional=True, help="Folder of a saved surrogate or of a finished run."),
        Option("file", Path, positional=True, help="File with the inputs and outputs."),
        *options_of(Surrogate.evaluate, skip={"self", "data"}, changes=_HELP),
        Option("plot", Path | None, None, "Draw the sample with the largest error into this PNG, PDF or SVG."),
        Option("json", bool, False, "Print JSON instead of a table."),
        *declaration_options(),
    ]
    return Command("evaluate", _DESCRIPTION, _EXAMPLES, options, _run)


def _run(call: Invocation) -> None:
    values, plot = call.values, call.values["plot"]
    if plot is not None:
        require_picture(plot, inputs=[values["file"]])
    surrogate = load(values["surrogate"])
    shared = {name: values[name] for name in ("coverage", "steps", "resolution", "batch_size", "device", "precision")}
    with open_declared(values["file"], values) as ds:
        with progress().status("evaluating"):
            found = surrogate.evaluate(ds, **shared)
        if values["json"]:
            say_json(found.to_dict())
        else:
            console().print(found)
        if plot is not None:
            dim = sample_dim(ds)
            one = ds.isel({dim: [found.worst[1]]}) if dim is not None else ds
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they would speak of sample 0
                prediction = surrogate.predict(one, **{**shared, "steps": len(found.by_time) or None})
            _draw(surrogate.description, one, prediction, plot)


def _draw(description: Description, truth: xr.Dataset, prediction: xr.Dataset, path: Path) -> None:
    from sciops.plotting import compare

    time = time_dim(truth)
    if description.task == "evolve" and time is not None and time not in truth.coords:
        first = (description.history - 1) * description.stride
        frames = first + description.stride * np.arange(1, prediction.sizes[time] + 1)
        truth, prediction = truth.isel({time: frames}), prediction.drop_vars(time, errors="ignore")
    variable = description.outputs[0]
    known = [variable, *description.inputs, *(truth[variable].attrs.get("mask", "") for variable in truth.data_vars)]
    truth = truth[[name for name in dict.fromkeys(known) if name in truth.data_vars]]  # in the order of the surrogate
    compare(truth, prediction, variable=variable, path=path)
