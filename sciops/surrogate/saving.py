"""Saved surrogates: a folder with ``surrogate.json`` and tensors in safetensors; nothing in it is ever executed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sciops import operators
from sciops.data.functions.normaliser import Normaliser
from sciops.data.functions.symmetry import elements
from sciops.errors import InputError, ModelError, SciopsError, did_you_mean
from sciops.surrogate.calibration import ConformalBand
from sciops.surrogate.description import Description
from sciops.surrogate.resolution import ResolutionPolicy
from sciops.training.physical import PhysicalOperator, Rollout
from sciops.training.saved import SavedFolder, load_weights

if TYPE_CHECKING:
    from sciops.surrogate.surrogate import Surrogate

_JSON, _WEIGHTS, _BAND = "surrogate.json", "weights.safetensors", "band.safetensors"
_NORMALISERS = ("input_normaliser", "output_normaliser", "parameter_normaliser")
FOLDER = SavedFolder(
    "surrogate", _JSON, (_WEIGHTS, _BAND), ("model", "rollout", "band", "policy", "description", *_NORMALISERS)
)


def save(surrogate: Surrogate, path: Path, *, overwrite: bool) -> Path:
    """See `Surrogate.save`."""
    tensors = {_WEIGHTS: surrogate.operator.state_dict()}
    if surrogate.band is not None:
        tensors[_BAND] = {"scale": surrogate.band.scale, "scores": surrogate.band.scores}
    return FOLDER.write(path, _contents(surrogate), tensors, overwrite=overwrite)


def load(path: str | Path, *, model: nn.Module | None = None, device: str = "cpu") -> Surrogate:
    """Read a saved surrogate, or the surrogate of a finished run folder.

    Parameters
    ----------
    path
        The folder that `Surrogate.save` wrote, or the ``output`` folder of `sciops.fit`.
    model
        A module of the class that was trained, for a class of your own; its weights are replaced. Models of sciops are
        rebuilt by their registered names.
    device
        Where the weights are kept.

    Returns
    -------
    Surrogate

    Raises
    ------
    ModelError
        If there is no surrogate, it is damaged, needs `model`, or was trained with another class.

    Examples
    --------
    >>> load("no-such-folder")
    Traceback (most recent call last):
    ...
    sciops.errors.ModelError: no-such-folder: no such folder; a surrogate is the folder that save() wrote
    """
    from sciops.surrogate.surrogate import Surrogate

    folder = _folder(Path(path).expanduser())
    contents, weights = FOLDER.read(folder), FOLDER.read_tensors(folder / _WEIGHTS)
    with FOLDER.reading(folder):
        description = Description.from_dict(contents["description"])
        elements(description.symmetries, description.grid)
        rollout = None if contents["rollout"] is None else Rollout(**contents["rollout"])
        if (rollout is None) == (description.task == "evolve"):
            raise ValueError(f"the task {description.task!r} does not go with the rollout {contents['rollout']}")
        if rollout is not None and rollout.history != description.history:
            raise ValueError(f"history is {description.history}, and that of the rollout is {rollout.history}")
        policy = ResolutionPolicy.from_dict(contents["policy"])
        operator = PhysicalOperator(
            _model(folder, contents["model"], model),
            rollout=rollout,
            **{name: _normaliser(contents[name], weights.get(f"{name}.mean")) for name in _NORMALISERS},
        )
    load_weights(folder, operator, weights)
    band = _band(folder, description) if contents["band"] else None
    try:
        return Surrogate(operator.to(device), description, band=band, policy=policy)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"cannot put the weights on device {device!r}: {error}") from error


def _contents(surrogate: Surrogate) -> dict[str, Any]:
    operator = surrogate.operator
    rollout = operator.rollout
    names: dict[str, Any] = {}
    for name in _NORMALISERS:
        normaliser = getattr(operator, name)
        names[name] = None if normaliser is None else normaliser.description()
    return {
        "model": _model_entry(operator.model),
        "rollout": None if rollout is None else vars(rollout),
        "band": surrogate.band is not None,
        "policy": surrogate.policy.to_dict(),
        "description": surrogate.description.to_dict(),
        **names,
    }


def _model_entry(model: nn.Module) -> dict[str, Any]:
    name = operators.registry.name_of(type(model))
    if name is None:
        return {"name": None, "class": type(model).__name__}
    assert isinstance(model, operators.NeuralOperator)
    return {"name": name, "configuration": model.configuration()}


def _require_class(folder: Path, entry: dict[str, Any], given: nn.Module) -> None:
    """Refuse a module of another class than the one that was trained."""
    name = entry.get("name")
    known = (
        operators.registry[name].__name__
        if isinstance(name, str) and name in operators.registry
        else entry.get("class")
    )
    if type(given).__name__ != known:
        raise ModelError(
            f"{folder}: trained with the class {known!r}, and model is of the class {type(given).__name__!r}; "
            f"pass {'one of that class' if name is None else 'no model'}"
        )


def _model(folder: Path, entry: dict[str, Any], given: nn.Module | None) -> nn.Module:
    if given is not None:
        _require_class(folder, entry, given)
        return given
    if entry.get("name") is None:
        raise ModelError(
            f"{folder}: trained with the class {entry.get('class')!r}, which is not one of sciops; "
            f"pass one: sciops.load(path, model={entry.get('class')}(...))"
        )
    if entry["name"] not in operators.registry:
        raise ModelError(
            f"{folder}: unknown operator {entry['name']!r}{did_you_mean(entry['name'], operators.registry)}"
        )
    try:
        return operators.registry[entry["name"]].from_configuration(entry["configuration"])
    except (SciopsError, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{folder}: the configuration of {entry['name']!r} is damaged ({error})") from error


def _band(folder: Path, description: Description) -> ConformalBand:
    tensors = FOLDER.read_tensors(folder / _BAND)
    scale, scores = tensors.get("scale", torch.zeros(0)), tensors.get("scores", torch.zeros(0, 0))
    shape = (description.channels, *description.grid.shape)
    if len(tensors) != 2 or tuple(scale.shape[1:]) != shape or scores.ndim != 2 or len(scores) != len(scale):
        found = ", ".join(f"{name} {tuple(value.shape)}" for name, value in tensors.items())
        expected = f"scale (frame, {', '.join(map(str, shape))}) and scores (frame, field)"
        raise ModelError(f"{folder / _BAND}: expected {expected}, got {found}")
    return ConformalBand(scale, scores)


def _normaliser(entry: list[str] | dict[str, Any] | None, like: Tensor | None) -> Normaliser | None:
    """A normaliser of the right size; its numbers come with the weights."""
    return None if entry is None else Normaliser.blank(entry, like)


def _folder(path: Path) -> Path:
    for folder in (path, path / "surrogate"):
        if (folder / _JSON).is_file():
            return folder
    unfinished = "; the run is unfinished, go on with resume=True" if (path / "checkpoints").is_dir() else ""
    raise FOLDER.missing(path, hint=unfinished)
