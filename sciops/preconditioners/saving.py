"""Saved preconditioners: a folder with ``preconditioner.json`` and weights; nothing in it is ever executed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sciops.errors import InputError, ModelError, did_you_mean
from sciops.preconditioners.base import LearnedPreconditioner, TrainingRecord, arguments_of, options_of, registry
from sciops.training.saved import SavedFolder, load_weights

_WEIGHTS = "weights.safetensors"
FOLDER = SavedFolder(
    "preconditioner",
    "preconditioner.json",
    (_WEIGHTS,),
    ("name", "class", "options", "modules", "record"),
)


def save(model: LearnedPreconditioner, path: Path, *, overwrite: bool) -> Path:
    """See `LearnedPreconditioner.save`."""
    given = arguments_of(model)
    contents = {
        "name": registry.name_of(type(model)),
        "class": type(model).__name__,
        "options": options_of(model),
        "modules": {name: type(value).__name__ for name, value in given.items() if isinstance(value, nn.Module)},
        "record": None if model.record is None else asdict(model.record),
    }
    return FOLDER.write(path, contents, {_WEIGHTS: model.state_dict()}, overwrite=overwrite)


def load(
    path: str | Path,
    *,
    network: nn.Module | None = None,
    model: LearnedPreconditioner | None = None,
    device: str = "cpu",
) -> LearnedPreconditioner:
    """Read a saved preconditioner.

    Parameters
    ----------
    path
        The folder that `save` wrote.
    network
        A network built as the one that was trained, for a preconditioner around one, such as `NeuralPreconditioner`;
        its weights are replaced.
    model
        A preconditioner of the class that was saved, for a class of your own that is not registered or has networks
        under other names than `network`; its weights are replaced.
    device
        Where the weights are kept.

    Returns
    -------
    LearnedPreconditioner
        In evaluation mode, with its `record`.

    Raises
    ------
    ModelError
        If there is no preconditioner, it is damaged, or needs `network` or `model` and was given none or another one.
    InputError
        If both `network` and `model` are given, or there is no such device.

    Examples
    --------
    >>> load("no-such-folder")
    Traceback (most recent call last):
    ...
    sciops.errors.ModelError: no-such-folder: no such folder; a preconditioner is the folder that save() wrote
    """
    if network is not None and model is not None:
        raise InputError("load takes network= or model=, not both: a model has its network already")
    folder = Path(path).expanduser()
    if not (folder / FOLDER.description).is_file():
        raise FOLDER.missing(folder)
    contents, weights = FOLDER.read(folder), FOLDER.read_tensors(folder / _WEIGHTS)
    with FOLDER.reading(folder):
        found = _rebuilt(folder, contents, network) if model is None else _own(folder, contents, model)
        found.record = None if contents["record"] is None else _record(contents["record"])
    load_weights(folder, found, weights)
    try:
        return found.to(device).eval()
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"cannot put the weights on device {device!r}: {error}") from error


def _own(folder: Path, contents: dict[str, Any], model: LearnedPreconditioner) -> LearnedPreconditioner:
    if type(model).__name__ != contents["class"]:
        raise ModelError(
            f"{folder}: saved from the class {contents['class']!r}, and model is of the class {type(model).__name__!r}"
        )
    return model


def _rebuilt(folder: Path, contents: dict[str, Any], network: nn.Module | None) -> LearnedPreconditioner:
    name = contents["name"]
    if name is None:
        raise ModelError(
            f"{folder}: saved from the class {contents['class']!r}, which is not one of sciops; pass one: "
            f"load(path, model={contents['class']}(...))"
        )
    if name not in registry:
        raise ModelError(f"{folder}: unknown preconditioner {name!r}{did_you_mean(str(name), registry)}")
    given = {} if network is None else {"network": network}
    expected = dict(contents["modules"])
    if given.keys() != expected.keys():
        if not expected:
            remedy = "leave network= out"
        elif expected.keys() == {"network"}:
            remedy = f"pass a network built as the one that was trained: load(path, network={expected['network']}(...))"
        else:
            remedy = f"pass load(path, model={contents['class']}(...)), with {' and '.join(map(repr, expected))} given"
        raise ModelError(f"{folder}: {name!r} has {'a' if expected else 'no'} network of its own; {remedy}")
    if network is not None and type(network).__name__ != expected["network"]:
        raise ModelError(
            f"{folder}: trained with a network of the class {expected['network']!r}, and network is of the class "
            f"{type(network).__name__!r}"
        )
    options = {key: tuple(value) if isinstance(value, list) else value for key, value in contents["options"].items()}
    return registry[name](**given, **options)


def _record(entry: dict[str, Any]) -> TrainingRecord:
    losses = torch.tensor(entry["losses"], dtype=torch.float64).tolist()
    return TrainingRecord(**{**entry, "losses": tuple(losses)})
