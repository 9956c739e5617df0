"""Small files and one trained surrogate for the tests of the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciops.cli import main
from sciops.data import write


def waves(samples: int = 40, size: int = 16, seed: int = 0) -> xr.Dataset:
    """Periodic waves `a`, their double `u`, and a number `nu` each."""
    rng = np.random.default_rng(seed)
    x = np.arange(size) / size
    a = rng.uniform(0.5, 1, (samples, 1)) * np.sin(2 * np.pi * (x + rng.uniform(size=(samples, 1))))
    axis = ("x", x, {"kind": "periodic", "lower": 0.0, "upper": 1.0, "units": "m"})
    dims = ("sample", "x")
    return xr.Dataset(
        {"a": (dims, a), "u": (dims, 2 * a, {"units": "K"}), "nu": ("sample", rng.uniform(size=samples))}, {"x": axis}
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of waves."""
    return write(waves(), tmp_path / "waves.h5")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on waves."""
    folder = tmp_path_factory.mktemp("fitted")
    data = write(waves(), folder / "waves.h5")
    words = ["fit", str(data), "--inputs", "a", "--outputs", "u", "--epochs", "2", "--width", "4", "--layers", "1"]
    assert main([*words, "--no-progress", "--output", str(folder / "run")]) == 0
    return folder / "run"
