"""What a hostile file is: how it is written, and what must become of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Write = Callable[[Path, np.random.Generator], None]
SECRET = 777.125
"""Every value of the files that others lead to: no reader may ever come to see it."""
EXECUTED = "executed"
"""Pickles make a folder of this name beside the file."""


@dataclass(frozen=True)
class Hostile:
    """One file and its end.

    Parameters
    ----------
    name
        Its own, and that of the folder it is written to.
    file
        Name of the file to open in that folder.
    write
        Writes it, and what it needs beside it.
    message
        The error it must end in, as a regular expression; None where it may end either way or is read.
    sums
        The sums of the variables that must be read, where the file is odd but right.
    options
        Options of `sciops.data.open`.
    """

    name: str
    file: str
    write: Write
    message: str | None = None
    sums: dict[str, float] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name


def hostile(
    cases: list[Hostile], file: str, message: str | None = None, *, sums: dict[str, float] | None = None, **options: Any
) -> Callable[[Write], Write]:
    """Add a function that writes a file to the cases."""

    def add(write: Write) -> Write:
        cases.append(Hostile(write.__name__, file, write, message, sums, options))
        return write

    return add
