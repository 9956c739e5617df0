"""The numbers of an evaluation against plain NumPy."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from rich.console import Console

from sciops.data import Grid
from sciops.surrogate import Surrogate
from sciops.surrogate.evaluation import Accumulator


def trapezoid(size: int) -> np.ndarray:
    weights = np.full(size, 1 / (size - 1))
    weights[[0, -1]] /= 2
    return weights


def relative(p: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(..., *space) over the dimensions of the weights."""
    space = tuple(range(-weights.ndim, 0))
    return np.sqrt((weights * (p - y) ** 2).sum(space) / (weights * y**2).sum(space))


def test_a_map_on_a_closed_square(square: Surrogate, make: Any) -> None:
    ds = make.squares()
    found, predicted = square.evaluate(ds, batch_size=7), square.predict(ds)
    weights = np.multiply.outer(trapezoid(8), trapezoid(8))
    p = np.concatenate([predicted.w.values, predicted.u.values[:, None]], axis=1)
    y = np.concatenate([ds.w.values, ds.u.values[:, None]], axis=1)
    by_sample = relative(p, y, weights).mean(axis=1)
    assert found.samples == 40
    assert found.relative_l2 == pytest.approx(by_sample.mean(), rel=1e-6)
    assert found.standard_error == pytest.approx(by_sample.std(ddof=1) / 40**0.5, rel=1e-6)
    assert found.worst == (pytest.approx(by_sample.max(), rel=1e-6), by_sample.argmax())
    for i, name in enumerate(["w[0]", "w[1]", "u"]):
        d = (p - y)[:, i]
        assert found.rmse[name] == pytest.approx(np.sqrt((weights * d**2).sum((1, 2)).mean()), rel=1e-6)
        assert found.max_error[name] == pytest.approx(np.abs(d).max(), rel=1e-6)
        mean = (weights * y[:, i]).sum((1, 2))[:, None, None]
        spread = np.sqrt((weights * (y[:, i] - mean) ** 2).sum((1, 2)))
        vrmse = (np.sqrt((weights * d**2).sum((1, 2))) / spread).mean()
        assert found.vrmse[name] == pytest.approx(vrmse, rel=1e-6)
    assert (
        found.by_time == () and found.by_window == {} and found.time_to_failure is None and found.resolution == "native"
    )
    pooled = ((weights * (p - y) ** 2).sum((0, 2, 3)) / (weights * y**2).sum((0, 2, 3))).mean()
    assert sum(share**2 for share in found.spectral.values()) == pytest.approx(pooled, rel=1e-3)


def test_a_rollout_by_time(stepper: Surrogate, make: Any) -> None:
    ds = make.trajectories()
    found, predicted = stepper.evaluate(ds, steps=3, batch_size=11), stepper.predict(ds, steps=3)
    truth = ds.isel(time=[4, 6, 8])
    p = np.concatenate([predicted.u.values, predicted.v.values[:, :, None]], axis=2)
    y = np.concatenate([truth.u.values, truth.v.values[:, :, None]], axis=2)
    errors = relative(p, y, np.full(16, 1 / 16)).mean(axis=2)
    np.testing.assert_allclose(found.by_time, errors.mean(axis=0), rtol=1e-5)
    assert found.relative_l2 == pytest.approx(errors.mean(), rel=1e-5)
    alive = np.cumprod(errors <= 0.2, axis=1).sum(axis=1)
    assert found.time_to_failure == pytest.approx(alive.mean())
    assert list(found.rmse) == ["u[0]", "u[1]", "v"]
    assert found.max_error["v"] == pytest.approx(np.abs(p - y)[:, :, 2].max(), rel=1e-5)
    assert found.by_window == pytest.approx(
        {str(i + 1): error for i, error in enumerate(errors.mean(axis=0))}, rel=1e-5
    )
    assert len(stepper.evaluate(ds).by_time) == 4


@pytest.mark.parametrize(
    ("steps", "names"),
    [(1, ["1"]), (2, ["1", "2"]), (3, ["1", "2", "3"]), (7, ["1-2", "3-5", "6-7"]), (20, ["1-7", "8-13", "14-20"])],
)
def test_a_rollout_by_thirds(steps: int, names: list[str]) -> None:
    y = torch.ones(2, steps, 1, 8, dtype=torch.float64)
    factor = 1 + torch.arange(1, steps + 1, dtype=torch.float64).view(steps, 1, 1)
    part = Accumulator(Grid.unit(8), ("u",), evolve=True)
    part.add(factor * y, y)
    found = part.result(coverage=None, resolution="native")
    assert list(found.by_window) == names
    for name, error in found.by_window.items():
        first, last = int(name.split("-")[0]), int(name.split("-")[-1])
        assert error == pytest.approx((first + last) / 2)
    assert found.by_time == pytest.approx(tuple(range(1, steps + 1)))


def test_spectral_shares_tell_where_the_error_is(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    predicted = line.predict(ds)
    x = np.arange(16) / 16
    exact = ds.assign(u=(ds.u.dims, predicted.u.values.astype(np.float64)))
    wrong = exact.assign(u=exact.u + 0.1 * np.cos(2 * np.pi * 7 * x))
    shares = line.evaluate(wrong).spectral
    energy = (wrong.u.values**2).mean(axis=1).sum()
    assert shares["high"] == pytest.approx(np.sqrt(0.005 * 48 / energy), rel=1e-3)
    assert shares["low"] < 1e-5 and shares["middle"] < 1e-5
    assert line.evaluate(exact).relative_l2 < 1e-6


def test_channels_of_other_units_count_alike(square: Surrogate, make: Any) -> None:
    """The spectral shares do not hang on the largest unit."""
    ds = make.squares()
    shares = square.evaluate(ds).spectral
    assert max(shares.values()) > 1e-3
    y = torch.randn(4, 1, 2, 8, 8, dtype=torch.float64)
    p = y + 0.1 * torch.randn(4, 1, 2, 8, 8, dtype=torch.float64)
    scale = torch.tensor([1.0, 1e6], dtype=torch.float64).view(2, 1, 1)
    results = []
    for factor in (torch.ones_like(scale), scale):
        part = Accumulator(square.grid, ("p", "q"), evolve=False)
        part.add(factor * p, factor * y)
        results.append(part.result(coverage=None, resolution="native").spectral)
    assert results[0] == pytest.approx(results[1])


def test_another_grid_is_evaluated_there(line: Surrogate, make: Any) -> None:
    fine = make.waves(32)
    found = line.evaluate(fine, resolution="interpolation")
    p = line.predict(fine, resolution="interpolation").u.values
    assert found.resolution == "interpolation"
    assert found.relative_l2 == pytest.approx(relative(p, fine.u.values, np.full(32, 1 / 32)).mean(), rel=1e-5)


def test_it_is_shown_and_is_plain_data(line: Surrogate, stepper: Surrogate, make: Any) -> None:
    for surrogate, ds in ((line, make.waves()), (stepper, make.trajectories())):
        found = surrogate.evaluate(ds, coverage=0.5)
        json.dumps(found.to_dict(), allow_nan=False)
        console = Console(record=True, width=120, quiet=False, file=io.StringIO())
        console.print(found)
        text = console.export_text()
        assert f"{found.relative_l2:.4f}" in text and "50% promised" in text
        assert ("steps below 20 % error" in text) == (surrogate is stepper)
        assert ("by time" in text) == (surrogate is stepper)
        for name, error in found.by_window.items():
            assert f"{name}: {error:.4f}" in text


def test_one_sample_is_enough(line: Surrogate, make: Any) -> None:
    ds: xr.Dataset = make.waves()
    alone = line.evaluate(ds.isel(sample=5))
    assert alone.samples == 1 and alone.standard_error == 0
    assert alone.relative_l2 == pytest.approx(line.evaluate(ds.isel(sample=[5])).relative_l2)
