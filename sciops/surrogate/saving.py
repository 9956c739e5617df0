"""Saved surrogates: a folder with ``surrogate.json`` and tensors in safetensors; nothing in it is ever executed."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sciops import operators
from sciops.data.functions.normaliser import Normaliser
from sciops.data.functions.symmetry import elements
from sciops.errors import InputError, ModelError, SciopsError, did_you_mean
from sciops.surrogate.calibration import ConformalBand
from sciops.surrogate.description import Description
from sciops.surrogate.resolution import ResolutionPolicy
from sciops.training.physical import PhysicalOperator, Rollout

if TYPE_CHECKING:
    from sciops.surrogate.surrogate import Surrogate

FORMAT = 1
_JSON, _WEIGHTS, _BAND = "surrogate.json", "weights.safetensors", "band.safetensors"
_NORMALISERS = ("input_normaliser", "output_normaliser", "parameter_normaliser")
_LARGEST_JSON = 64 << 20


def save(surrogate: Surrogate, path: Path, *, overwrite: bool) -> Path:
    """See `Surrogate.save`."""
    given = path.expanduser().absolute()
    path = Path(os.path.realpath(given))
    if path.exists() and not (overwrite and (path / _JSON).is_file()):
        remedy = "choose another name" if overwrite else "choose another name or pass overwrite=True"
        raise ModelError(f"{path} exists{' and is no saved surrogate' if overwrite else ''}; {remedy}")
    _require_own(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.mkdir(parents=True)
        text = json.dumps(_contents(surrogate), indent=1, allow_nan=False)
        save_file(_plain(surrogate.operator.state_dict()), temporary / _WEIGHTS)
        if surrogate.band is not None:
            tensors = {"scale": surrogate.band.scale, "scores": surrogate.band.scores}
            save_file(_plain(tensors), temporary / _BAND)
        (temporary / _JSON).write_text(text + "\n")
        _put(temporary, path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: the surrogate cannot be written ({error}); nothing was left there") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return given


def _require_own(path: Path) -> None:
    """Refuse to replace a folder that holds what no surrogate has written."""
    if not path.exists():
        return
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in (_JSON, _WEIGHTS, _BAND))
    if others:
        raise ModelError(
            f"{path} also holds {', '.join(others[:5])}, which would be lost with the folder; choose another name or "
            f"move {'it' if len(others) == 1 else 'them'} away"
        )


def _put(temporary: Path, path: Path) -> None:
    """Give the folder its name; one that had it before is gone only when the new one is there."""
    if not path.exists():
        temporary.rename(path)
        return
    old = temporary.with_suffix(".old")
    path.rename(old)
    try:
        temporary.rename(path)
    except OSError:
        old.rename(path)
        raise
    shutil.rmtree(old)


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
    contents, weights = _read_json(folder / _JSON), _tensors(folder / _WEIGHTS)
    with _reading(folder):
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
    dtypes = {value.dtype for value in weights.values() if value.is_floating_point()}
    operator.to(torch.float64 if dtypes == {torch.float64} else torch.float32)
    try:
        operator.load_state_dict(weights)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder}: the weights do not fit the model ({detail})") from error
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
        "format": FORMAT,
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


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Any misfit of what the JSON file says, told with its name."""
    try:
        yield
    except (SciopsError, KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        detail = f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelError(
            detail if detail.startswith(str(folder)) else f"{folder / _JSON}: damaged ({detail}); save it again"
        ) from error


def _band(folder: Path, description: Description) -> ConformalBand:
    tensors = _tensors(folder / _BAND)
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
    if path.is_file():
        raise ModelError(
            f"{path}: a file, and a surrogate is a folder with {_JSON}; pickles and checkpoints are not read"
        )
    if path.is_dir():
        inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
        unfinished = "; the run is unfinished, go on with resume=True" if (path / "checkpoints").is_dir() else ""
        raise ModelError(f"{path}: no {_JSON} in this folder (it holds {inside}){unfinished}")
    raise ModelError(f"{path}: no such folder; a surrogate is the folder that save() wrote")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise ModelError(f"{path}: larger than {_LARGEST_JSON >> 20} MiB; this is no saved surrogate")
        contents = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: damaged ({error}); save the surrogate again") from error
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        found = contents.get("format") if isinstance(contents, dict) else type(contents).__name__
        raise ModelError(f"{path}: format {found!r}, and this version of sciops reads format {FORMAT}")
    for key in ("model", "rollout", "band", "policy", "description", *_NORMALISERS):
        if key not in contents:
            raise ModelError(f"{path}: the entry {key!r} is missing; save the surrogate again")
    return contents


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError, ValueError) as error:
        raise ModelError(f"{path}: missing or damaged ({error}); pickles are never read") from error
    wrong = [name for name, value in tensors.items() if bool(value.isnan().any())]
    if wrong:
        raise ModelError(f"{path}: {wrong[0]!r} holds NaN; save the surrogate again, or train it again")
    return tensors


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
