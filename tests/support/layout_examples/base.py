"""What an example of a layout is, and what a reader must find in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Arrays = dict[str, tuple[tuple[str, ...], np.ndarray]]


@dataclass(frozen=True)
class Expected:
    """What a reader must find in the file of an example.

    Parameters
    ----------
    variables
        Variables as (dims, values).
    kinds
        Kinds of the space dimensions that are axes; None for one whose coordinates are not uniform.
    assumed
        Whether the coordinates were assumed: all, or those of the dimensions named.
    sample_dim, time
        The dimension that counts samples, and the times.
    options
        Options of `open`.
    points
        Coordinates of scattered points or curvilinear nodes as (dims, values).
    conditions
        Boundary conditions by variable.
    components
        Rank and directions of the components, by variable.
    coordinates
        Coordinates of the axes as values, where the example states them.
    attributes
        Further attributes by variable.
    """

    variables: Arrays
    kinds: dict[str, str | None]
    assumed: bool | set[str] = False
    sample_dim: str | None = "sample"
    time: np.ndarray | None = None
    options: dict[str, Any] = field(default_factory=dict)
    points: Arrays = field(default_factory=dict)
    conditions: dict[str, Any] = field(default_factory=dict)
    components: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    coordinates: dict[str, np.ndarray] = field(default_factory=dict)
    attributes: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    layout: str
    suffix: str
    write: Callable[[Path, np.random.Generator], Expected]

    def __str__(self) -> str:
        return f"{self.layout}-{self.write.__name__}"


def matlab73(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """HDF5 as MATLAB writes it: a 512-byte header in front, axes reversed, the class as an attribute."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, values in arrays.items():
            stored = np.atleast_2d(values)
            if np.iscomplexobj(stored):
                pairs = np.empty(stored.T.shape, [("real", "f8"), ("imag", "f8")])
                pairs["real"], pairs["imag"] = stored.T.real, stored.T.imag
                file[name] = pairs
            else:
                file[name] = stored.T
            file[name].attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
