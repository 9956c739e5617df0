"""What a simulator is, and `simulate`, which writes the data set of one to a file."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
import xarray as xr

from sciops.data.files import write
from sciops.errors import InputError
from sciops.registry import Registry

Array = npt.NDArray[np.float64]


class Simulator(ABC):
    """A random ensemble of one equation: draws inputs, solves, and states the error of what it solved.

    Every subclass is a frozen dataclass whose fields are its options. Sample ``i`` is a function of the
    options, the seed and ``i`` alone, and is the same function of space at every resolution.
    """

    @abstractmethod
    def dataset(self, *, samples: int, resolution: int, seed: int = 0) -> xr.Dataset:
        """The first `samples` members of the ensemble as a data set by the conventions of :func:`sciops.data.open`."""

    def describe(self, dataset: xr.Dataset, *, name: str, seed: int, error: float, error_kind: str) -> xr.Dataset:
        """`dataset` with the attributes that every simulated file carries: how it was made and how wrong it is."""
        options = dataclasses.asdict(self)  # type: ignore[call-overload]
        return dataset.assign_attrs(
            sample_dim="sample",
            simulator=name,
            options=json.dumps(options, sort_keys=True),
            seed=seed,
            sciops_version=version("sciops"),
            error_estimate=error,
            error_estimate_kind=error_kind,
        )


simulators: Registry[type[Simulator]] = Registry("simulator")
"""The simulators by their short names."""


def simulate(
    simulator: str | Simulator,
    path: str | Path,
    *,
    samples: int,
    resolution: int,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Simulate an ensemble of a differential equation and write it to a netCDF4/HDF5 file.

    Parameters
    ----------
    simulator
        A short name (``"darcy"``, ``"burgers"``) for the simulator with its default options, or a simulator,
        for example ``DarcySimulator(permeability="two-phase")``.
    path
        The file to write.
    samples, resolution
        How many members, and how many grid points along each axis.
    seed
        Chooses the ensemble. The first ``n`` samples are the same however many are asked for.
    overwrite
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file. Its attribute ``error_estimate`` holds the relative L2 error of the solutions in it, estimated
        by refinement on a few of them.

    Raises
    ------
    InputError
        The name is unknown, or samples, resolution or seed are out of range.

    Examples
    --------
    >>> import tempfile, sciops
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = simulate("darcy", f"{folder.name}/darcy.h5", samples=2, resolution=9)
    >>> sorted(sciops.data.open(path).data_vars)
    ['a', 'u']
    """
    chosen = simulators[simulator]() if isinstance(simulator, str) else simulator
    return write(chosen.dataset(samples=samples, resolution=resolution, seed=seed), path, overwrite=overwrite)


def check_size(samples: int, resolution: int, seed: int, *, least: int) -> None:
    """Raise InputError unless there is a sample, at least `least` points per axis and a seed >= 0."""
    if samples < 1:
        raise InputError(f"samples={samples}: a simulation needs at least one sample")
    if resolution < least:
        raise InputError(f"resolution={resolution}: this simulator needs at least {least} points per axis")
    if seed < 0:
        raise InputError(f"seed={seed}: a seed is an integer >= 0")


def generator(seed: int, index: int) -> np.random.Generator:
    """The random stream of sample `index`: a function of the seed and the index alone."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index,)))


def largest_relative_error(value: Array, reference: Array) -> float:
    """The largest over samples (the first axis) of ``|value - reference| / |reference|`` in the Euclidean norm."""
    axes = tuple(range(1, value.ndim))
    return float(np.max(np.sqrt(np.sum((value - reference) ** 2, axes) / np.sum(reference**2, axes))))
