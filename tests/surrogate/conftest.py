"""Small data sets, and surrogates that are trained on them once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import sciops
from sciops.data import Axis
from sciops.data.conventions import coordinate
from sciops.surrogate import Surrogate

SMALL: dict[str, Any] = {"epochs": 1, "width": 4, "layers": 1, "progress": False, "device": "cpu"}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread, as sums in another order would change the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def small_fit(data: Any, **options: Any) -> Surrogate:
    """A fit of a tiny model; a baseline may win."""
    named = not isinstance(options.get("model", "fno"), str)
    settings = {name: value for name, value in SMALL.items() if not (named and name in ("width", "layers"))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sciops.errors.SkillWarning)
        return sciops.fit(data, **{**settings, **options})


@pytest.fixture(scope="session")
def fitted() -> Any:
    """`small_fit`."""
    return small_fit


def waves(size: int = 16, samples: int = 48, seed: int = 0) -> xr.Dataset:
    """Band-limited periodic functions a and u = a^2, the same at every resolution."""
    axis = Axis("x", size, upper=2.0, kind="periodic", units="m")
    rng = np.random.default_rng(seed)
    phase, height = rng.random((samples, 1)), 0.5 + rng.random((samples, 1))
    a = height * np.sin(np.pi * axis.coordinates().numpy() + 2 * np.pi * phase)
    return xr.Dataset(
        {
            "a": (("sample", "x"), a, {"units": "K", "long_name": "temperature"}),
            "u": (("sample", "x"), a**2, {"units": "K2", "long_name": "its square"}),
        },
        {"x": coordinate(axis), "sample": np.arange(samples) + 100, "run": ("sample", np.arange(samples) % 7)},
    )


def squares(size: int = 8, samples: int = 40) -> xr.Dataset:
    """Random smooth functions on a closed square, two outputs, one of them a vector."""
    axes = [Axis(name, size) for name in "xy"]
    rng = np.random.default_rng(1)
    c = rng.standard_normal((samples, 3, 3))
    basis = np.stack([np.cos(np.pi * k * axes[0].coordinates().numpy()) for k in range(3)])
    a = np.einsum("nij,ix,jy->nxy", c, basis, basis)
    return xr.Dataset(
        {
            "a": (("sample", "x", "y"), a),
            "w": (("sample", "part", "x", "y"), np.stack([a, -2 * a], axis=1), {"units": "m/s"}),
            "u": (("sample", "x", "y"), np.abs(a)),
        },
        {axis.name: coordinate(axis) for axis in axes} | {"part": ["first", "second"]},
        {"channel_dims": ["part"]},
    )


def trajectories(frames: int = 12, samples: int = 30, size: int = 16) -> xr.Dataset:
    """Travelling waves u (two components) and v above a fixed field a, at a speed c."""
    axis = Axis("x", size, kind="periodic")
    rng = np.random.default_rng(2)
    c, phase = np.arange(samples) % 5 / 4, rng.random((samples, 1, 1))
    time = 0.1 * np.arange(frames)
    moved = axis.coordinates().numpy() - 0.2 * c[:, None, None] * time[:, None] + phase
    v = np.sin(2 * np.pi * moved)
    u = np.stack([np.cos(2 * np.pi * moved), 0.5 * np.sin(4 * np.pi * moved)], axis=2)
    return xr.Dataset(
        {
            "v": (("sample", "time", "x"), v, {"units": "m"}),
            "u": (("sample", "time", "part", "x"), u, {"units": "m/s"}),
            "a": (("sample", "x"), np.cos(2 * np.pi * (axis.coordinates().numpy() + phase[:, 0]))),
            "c": ("sample", c),
        },
        {"x": coordinate(axis), "time": ("time", time, {"units": "s"})},
        {"channel_dims": ["part"]},
    )


@pytest.fixture(scope="session")
def make() -> Any:
    """The builders of data sets."""
    from types import SimpleNamespace

    return SimpleNamespace(waves=waves, squares=squares, trajectories=trajectories)


@pytest.fixture(scope="session")
def line() -> Surrogate:
    """A map on a periodic line."""
    return small_fit(waves(), inputs="a", outputs="u", calibration=0.25)


@pytest.fixture(scope="session")
def square() -> Surrogate:
    """A map on a closed square, in float64, to a variable of two components and one of one."""
    return small_fit(squares(), inputs="a", outputs=["w", "u"], modes=2, precision="64")


@pytest.fixture(scope="session")
def symmetric() -> Surrogate:
    """A map on a closed square with its symmetries, in float64."""
    return small_fit(
        squares(), inputs="a", outputs="u", symmetries=["transpose", "flip-x"], modes=2, precision="64", device="cpu"
    )


@pytest.fixture(scope="session")
def stepper() -> Surrogate:
    """An evolution of a vector and a scalar, history 2, stride 2, with a fixed field and a parameter."""
    return small_fit(
        trajectories(),
        inputs=["a", "v", "u"],
        outputs=["u", "v"],
        parameters="c",
        task="evolve",
        history=2,
        stride=2,
        steps=2,
        validation=0.2,
        calibration=0.3,
    )
