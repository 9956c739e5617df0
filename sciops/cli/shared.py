"""What the commands share: opening a file by declaration, checking a target, printing."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xarray as xr
from rich.console import Console

import sciops.data
from sciops.cli.options import Option, options_of
from sciops.errors import DataError, InputError

_DECLARATION = ("layout", "sample_dim", "dims", "coords", "kinds", "declaration", "trust_links")
_PIPE_WIDTH = 160


def declaration_options() -> list[Option]:
    """The options of `sciops.data.open`, for a file whose layout is not recognised."""
    changes: dict[str, dict[str, Any]] = {
        "layout": {"help": "Name of the layout; by default it is recognised."},
        "dims": {
            "help": "Declare a file of no known layout: the axes of one array in order, such as "
            "fields/u=sample,x,y; '-' for an axis of length 1 to drop. Repeat for each array.",
            "metavar": "ARRAY=AXIS,AXIS,...",
        },
        "coords": {
            "help": "The array that holds the coordinates of an axis, such as x=grid/x. Without, x_i = i / N.",
            "metavar": "AXIS=ARRAY",
        },
        "kinds": {
            "help": "What an axis is, such as x=periodic: periodic, closed (both ends), cell (centres) or left.",
            "metavar": "AXIS=KIND",
        },
        "declaration": {
            "hint": Path | None,
            "help": "A YAML file that declares variables, coordinates, parameters and boundary conditions of a file of "
            "no known layout.",
            "metavar": "YAML",
        },
    }
    return options_of(sciops.data.open, skip={"path"}, changes=changes, group="how to read the file")


def is_declared(values: Mapping[str, Any]) -> bool:
    """Whether anything is said about how to read the file."""
    return any(values[name] for name in _DECLARATION)


def open_declared(path: Path, values: Mapping[str, Any]) -> xr.Dataset:
    """Open a file as the options of `declaration_options` say."""
    return sciops.data.open(path, **{name: values[name] for name in _DECLARATION})


def require_target(path: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Refuse a file that cannot be written, or is one of `inputs` or in one, before the work that would be lost.

    Raises
    ------
    DataError
        If it exists, is a folder or what is read, or its folder is missing or may not be written to.
    """
    path = path.expanduser().absolute()
    for given in inputs:
        place, found = (Path(os.path.realpath(each)) for each in (given.expanduser(), path))
        with contextlib.suppress(OSError):
            if place.samefile(found) or place in found.parents:
                raise DataError(f"{path}: {given} is read, and would be overwritten; give another name to write to")
    if path.is_dir():
        raise DataError(f"{path}: a folder; give the name of a file to write")
    if path.exists() and not overwrite:
        raise DataError(f"{path}: exists already; give --overwrite or another name")
    if not path.parent.is_dir():
        raise DataError(f"{path}: cannot be written, there is no folder {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK):
        raise DataError(f"{path}: cannot be written, no permission in {path.parent}; choose another folder")


def require_picture(path: Path, *, inputs: Sequence[Path]) -> None:
    """Refuse a picture of an unknown kind, or that cannot be written.

    Raises
    ------
    InputError
        If the ending is none of a picture.
    DataError
        As for `require_target`.
    """
    if path.suffix.lower() not in ("", ".png", ".pdf", ".svg"):
        raise InputError(f"--plot: {path} ends in {path.suffix!r}; expected .png, .pdf or .svg")
    require_target(path if path.suffix else path.with_suffix(".png"), overwrite=True, inputs=inputs)


def console() -> Console:
    """Where results go; wide in a pipe, so that nothing is broken over lines there."""
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _PIPE_WIDTH
    return Console(width=width, highlight=False, soft_wrap=width is not None)


def progress() -> Console:
    """Where the state of long work goes."""
    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """One line on the standard output."""
    sys.stdout.write(f"{text}\n")


def say_json(value: Any) -> None:
    """Strict JSON on the standard output: numbers that are not finite become null."""
    say(json.dumps(_plain(value), indent=2, allow_nan=False))


def shape_of(ds: xr.Dataset) -> str:
    """The variables and lengths of a data set in a few words.

    Examples
    --------
    >>> shape_of(xr.Dataset({"u": (("sample", "x"), [[1.0, 2.0]])}))
    'u (sample 1, x 2)'
    """
    parts = []
    for name, variable in ds.data_vars.items():
        lengths = ", ".join(f"{dim} {size}" for dim, size in variable.sizes.items())
        parts.append(f"{name} ({lengths})" if lengths else str(name))
    return ", ".join(parts)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value
