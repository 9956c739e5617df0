"""The error band holds whole fields as often as it says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from sciops.data import Field
from sciops.errors import InputError, ResolutionWarning
from sciops.surrogate import Surrogate
from sciops.surrogate.calibration import ConformalBand


def residuals(count: int, generator: torch.Generator, frames: int = 1) -> torch.Tensor:
    """Correlated in space, of varying size between fields and nodes, growing in time."""
    coarse = torch.randn(count, frames, 2, 4, generator=generator, dtype=torch.float64)
    size = torch.rand(count, 1, 1, 1, generator=generator, dtype=torch.float64) + 0.2
    growth = torch.arange(1.0, frames + 1, dtype=torch.float64).view(1, -1, 1, 1)
    return coarse.repeat_interleave(3, dim=3) * size * growth * torch.linspace(0.1, 2, 12, dtype=torch.float64)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_the_band_covers_whole_fields_as_often_as_promised(coverage: float, generator: torch.Generator) -> None:
    """Each trial counts the one field after n = 39 calibration fields, inside with probability k / 40 exactly."""
    trials, n = 2000, 39
    inside = 0
    for _ in range(trials):
        fields = residuals(20 + n + 1, generator)
        band = ConformalBand.fit(fields[:20], fields[20:-1])
        half = band.factor(coverage) * band.scale
        inside += bool((fields[-1].abs() <= half).all())
    expected = math.ceil((n + 1) * coverage - 1e-9) / (n + 1)
    tolerance = 4.5 * math.sqrt(expected * (1 - expected) / trials)  # fails by chance once in 150,000 runs
    assert abs(inside / trials - expected) < tolerance


def test_frames_up_to_a_step_are_held_together(generator: torch.Generator) -> None:
    fields = residuals(400, generator, frames=3)
    band = ConformalBand.fit(fields[:50], fields[50:])
    for frames in (1, 2, 3):
        half = (1 + 1e-12) * band.factor(0.8, frames=frames) * band.scale[:frames]  # the edge itself, but for rounding
        held = (fields[50:, :frames].abs() <= half).flatten(1).all(dim=1).double().mean()
        assert held == pytest.approx(281 / 350)  # the 281st of the 350 scores is the edge
    assert band.factor(0.8, frames=1) < band.factor(0.8, frames=3)


def test_the_factor_is_an_order_statistic() -> None:
    ones = torch.ones(5, 1, 1, 4)
    band = ConformalBand.fit(ones, torch.tensor([3.0, 1.0, 4.0, 2.0]).view(4, 1, 1, 1) * ones[:4])
    assert [band.factor(coverage) for coverage in (0.2, 0.4, 0.6, 0.8)] == [1, 2, 3, 4]
    assert band.factor(0.21) == 2


def test_too_much_is_refused_with_a_remedy_that_works() -> None:
    ones = torch.ones(5, 1, 1, 4)
    for n in (2, 6, 7, 40):
        band = ConformalBand.fit(ones, ones[:1].expand(n, 1, 1, 4))
        with pytest.raises(
            InputError, match=rf"coverage 0\.99 needs at least 99 calibration fields .* has {n};"
        ) as error:
            band.factor(0.99)
        most = float(str(error.value).split("at most ")[1].split(",")[0])
        band.factor(most)
        with pytest.raises(InputError):
            band.factor(most + 0.002)
    enough = ConformalBand.fit(ones, ones[:1].expand(99, 1, 1, 4))
    assert enough.factor(0.99) > 0
    for wrong in (0.0, 1.0, 90.0, -0.5, math.nan):
        with pytest.raises(InputError, match="a probability between 0 and 1"):
            enough.factor(wrong)


def test_a_rollout_that_blew_up_widens_the_band_without_end() -> None:
    ones = torch.ones(5, 2, 1, 4)
    bad = ones.clone()
    bad[0, 1] = math.nan
    band = ConformalBand.fit(ones, bad)
    assert band.factor(0.5, frames=2) == 1 and band.factor(0.8, frames=1) == 1
    assert band.factor(0.8, frames=2) == math.inf
    assert ConformalBand.fit(bad, ones).scale[1].isinf().all()


def test_a_surrogate_puts_the_band_around_its_prediction(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    assert line.band is not None and line.band.fields == 12
    found = line.predict(ds, coverage=0.8)
    half = line.band.factor(0.8) * line.band.scale[0, 0].numpy()
    np.testing.assert_allclose(found.u_upper - found.u, np.broadcast_to(half, ds.u.shape), rtol=1e-5)
    np.testing.assert_allclose(found.u - found.u_lower, np.broadcast_to(half, ds.u.shape), rtol=1e-5)
    assert found.u_lower.attrs["units"] == "K2" and "lower end" in found.u_lower.attrs["long_name"]
    assert found.attrs["coverage"] == 0.8
    with pytest.raises(InputError, match="needs at least 19 calibration fields and this surrogate has 12"):
        line.predict(ds, coverage=0.95)


def test_evaluation_counts_fields_that_lie_inside_as_a_whole(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    found = line.predict(ds, coverage=0.5, precision="64")
    inside = ((ds.u >= found.u_lower) & (ds.u <= found.u_upper)).all("x")
    asked, counted = line.evaluate(ds, coverage=0.5).coverage or (0, 0)
    assert asked == 0.5 and counted == pytest.approx(float(inside.mean()), abs=1.5 / 48)
    assert line.evaluate(ds).coverage is None


def test_the_band_is_calibrated_on_the_calibration_samples(line: Surrogate, make: Any) -> None:
    from sciops.data.functions.sampling import split

    _, _, calibration = split(48, (0.65, 0.1, 0.25), seed=0)
    part = make.waves().isel(sample=calibration.numpy())
    for k in (3, 6, 11):  # with k of 12 scores below or at the edge
        coverage = k / 13
        asked, held = line.evaluate(part, coverage=coverage).coverage or (0, 0)
        assert asked == coverage and round(12 * held) in (k - 1, k)  # the field at the edge, by rounding


def test_steps_beyond_the_calibration_have_no_band(stepper: Surrogate, make: Any) -> None:
    ds = make.trajectories()
    assert stepper.predict(ds, coverage=0.5, steps=4).u_upper.dims == ("sample", "time", "part", "x")
    with pytest.raises(InputError, match="calibrated for 4 steps, and 5 were asked for"):
        stepper.predict(ds, coverage=0.5, steps=5)


def test_the_band_follows_another_grid(line: Surrogate, make: Any) -> None:
    with pytest.warns(ResolutionWarning, match="not on these 32"):
        fine = line.predict(make.waves(32), coverage=0.5, resolution="native")
    coarse = line.predict(make.waves(), coverage=0.5)
    width = (fine.u_upper - fine.u).values[:, ::2]
    np.testing.assert_allclose(width, (coarse.u_upper - coarse.u).values, rtol=1e-4, atol=1e-6)
    assert (fine.u_upper > fine.u).all()
    assert line.band is not None
    scale = Field(line.band.scale[0], line.grid).resample(line.grid.resized(32)).values[0]
    expected = line.band.factor(0.5) * torch.maximum(scale, line.band.scale.min())
    np.testing.assert_allclose((fine.u_upper - fine.u).values[0], expected, rtol=1e-3, atol=1e-5)


def test_no_calibration_no_band(fitted: Any, make: Any) -> None:
    surrogate = fitted(make.waves(), inputs="a", outputs="u", calibration=0)
    assert surrogate.band is None
    with pytest.raises(InputError, match="fitted with calibration=0"):
        surrogate.predict(make.waves(), coverage=0.5)
