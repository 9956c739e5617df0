"""Folders that saved models are: a JSON file and tensors in safetensors; nothing in them is ever executed.

What surrogates and preconditioners share: a folder appears whole or not at all, one that was there before is gone only
when the new one is there, and whatever is damaged is told in one line with the name of the file.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sciops.errors import ModelError, SciopsError

_LARGEST_JSON = 64 << 20


@dataclass(frozen=True)
class SavedFolder:
    """How one kind of thing is saved.

    Parameters
    ----------
    kind
        What it is, as messages say it.
    description
        The name of the JSON file.
    tensors
        The names of the files with tensors.
    entries
        What the JSON file has at least.
    version
        Of the format.

    Examples
    --------
    >>> SavedFolder("surrogate", "surrogate.json", ("weights.safetensors",), ("model",)).description
    'surrogate.json'
    """

    kind: str
    description: str
    tensors: tuple[str, ...]
    entries: tuple[str, ...]
    version: int = 1

    def write(
        self, path: Path, contents: dict[str, Any], tensors: dict[str, dict[str, Tensor]], *, overwrite: bool
    ) -> Path:
        """Write a folder.

        Parameters
        ----------
        path
            Where; links in it are followed.
        contents
            What the JSON file says beside the format.
        tensors
            Of each file.
        overwrite
            Whether one of this kind that is there is replaced.

        Returns
        -------
        Path
            The absolute path, as given.

        Raises
        ------
        ModelError
            If something else is there, or it cannot be written.
        """
        given = path.expanduser().absolute()
        path = Path(os.path.realpath(given))
        if path.exists() and not (overwrite and (path / self.description).is_file()):
            remedy = "choose another name" if overwrite else "choose another name or pass overwrite=True"
            raise ModelError(f"{path} exists{f' and is no saved {self.kind}' if overwrite else ''}; {remedy}")
        self._require_own(path)
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        try:
            temporary.mkdir(parents=True)
            text = json.dumps({"format": self.version, **contents}, indent=1, allow_nan=False)
            for name, values in tensors.items():
                save_file(_plain(values), temporary / name)
            (temporary / self.description).write_text(text + "\n")
            _put(temporary, path)
        except (OSError, SafetensorError, ValueError) as error:
            raise ModelError(f"{path}: the {self.kind} cannot be written ({error}); nothing was left there") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return given

    def read(self, folder: Path) -> dict[str, Any]:
        """What the JSON file of a folder says.

        Raises
        ------
        ModelError
            If it is too large, damaged, of another version, or without an entry.
        """
        path = folder / self.description
        _require_file(path)
        try:
            if path.stat().st_size > _LARGEST_JSON:
                raise ModelError(f"{path}: larger than {_LARGEST_JSON >> 20} MiB; this is no saved {self.kind}")
            contents = json.loads(path.read_text())
        except (OSError, ValueError, RecursionError, OverflowError) as error:
            raise ModelError(f"{path}: damaged ({error}); save the {self.kind} again") from error
        if not isinstance(contents, dict) or contents.get("format") != self.version:
            found = contents.get("format") if isinstance(contents, dict) else type(contents).__name__
            raise ModelError(f"{path}: format {found!r}, and this version of sciops reads format {self.version}")
        for key in self.entries:
            if key not in contents:
                raise ModelError(f"{path}: the entry {key!r} is missing; save the {self.kind} again")
        return contents

    def read_tensors(self, path: Path) -> dict[str, Tensor]:
        """The tensors of a file.

        Raises
        ------
        ModelError
            If it is missing, damaged, or holds NaN.
        """
        _require_file(path)
        try:
            tensors: dict[str, Tensor] = load_file(path)
        except (OSError, SafetensorError, ValueError) as error:
            raise ModelError(f"{path}: missing or damaged ({error}); pickles are never read") from error
        wrong = [name for name, value in tensors.items() if bool(value.isnan().any())]
        if wrong:
            raise ModelError(f"{path}: {wrong[0]!r} holds NaN; save the {self.kind} again, or train it again")
        return tensors

    def missing(self, path: Path, *, hint: str = "") -> ModelError:
        """What to raise where there is no such folder."""
        if path.is_file():
            return ModelError(
                f"{path}: a file, and a {self.kind} is a folder with {self.description}; pickles and checkpoints are "
                f"not read"
            )
        if path.is_dir():
            inside = ", ".join(sorted(entry.name for entry in path.iterdir())[:5]) or "nothing"
            return ModelError(f"{path}: no {self.description} in this folder (it holds {inside}){hint}")
        return ModelError(f"{path}: no such folder; a {self.kind} is the folder that save() wrote")

    @contextlib.contextmanager
    def reading(self, folder: Path) -> Iterator[None]:
        """Any misfit of what the JSON file says, told with its name."""
        try:
            yield
        except (SciopsError, KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            detail = f"the entry {error} is missing" if isinstance(error, KeyError) else str(error)
            raise ModelError(
                detail
                if detail.startswith(str(folder))
                else f"{folder / self.description}: damaged ({detail}); save it again"
            ) from error

    def _require_own(self, path: Path) -> None:
        """Refuse to replace a folder that holds what nothing of this kind has written."""
        if not path.exists():
            return
        own = (self.description, *self.tensors)
        others = sorted(entry.name for entry in path.iterdir() if entry.name not in own)
        if others:
            raise ModelError(
                f"{path} also holds {', '.join(others[:5])}, which would be lost with the folder; choose another name "
                f"or move {'it' if len(others) == 1 else 'them'} away"
            )


def load_weights(folder: Path, model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Give a model its weights, in their precision.

    Raises
    ------
    ModelError
        If they do not fit, or are not finite.
    """
    # buffers may be infinite, as the mask of an attention is
    for name, own in model.named_parameters():
        value = weights.get(name, own)
        if not bool(value.isfinite().all()):
            raise ModelError(f"{folder}: {name!r} holds infinity or NaN; save the model again, or train it again")
        if value.is_complex() != own.is_complex():
            raise ModelError(f"{folder}: {name!r} is {value.dtype}, and the model has {own.dtype}; save it again")
    dtypes = {value.dtype for value in weights.values() if value.is_floating_point()}
    model.to(torch.float64 if dtypes == {torch.float64} else torch.float32)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise ModelError(f"{folder}: the weights do not fit the model ({detail})") from error


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


def _plain(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _require_file(path: Path) -> None:
    """A pipe or a device would be waited for without an end."""
    if path.exists() and not path.is_file():
        raise ModelError(f"{path}: no regular file")
