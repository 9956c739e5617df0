from __future__ import annotations

import math

import pytest
import torch

from sciops.data.domains.domain import Axis, Grid, Kind
from sciops.errors import InputError
from sciops.training import metrics

KINDS: tuple[Kind, ...] = ("periodic", "closed", "cell", "left")


def test_errors_of_a_known_difference() -> None:
    grid = Grid((Axis("x", 64, 0.0, 2.0, "periodic"),))
    x = grid.coordinates()[0]
    y = 1 + torch.sin(math.pi * x)[None, None]
    p = y + 0.2 * torch.cos(2 * math.pi * x)
    assert float(metrics.rmse(p, y, grid)) == pytest.approx(0.2 / math.sqrt(2))
    assert float(metrics.vrmse(p, y, grid)) == pytest.approx(0.2)
    assert float(metrics.relative_l2(p, y, grid)) == pytest.approx(0.2 / math.sqrt(3))
    assert float(metrics.max_error(p, y)) == pytest.approx(0.2)


def test_vrmse_of_the_mean_is_one_with_unequal_weights() -> None:
    grid = Grid.unit(9, 8, kind=("closed", "left"))
    y = torch.randn(2, 3, 9, 8, dtype=torch.float64)
    mean = (y * grid.weights()).sum(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(metrics.vrmse(mean.expand_as(y), y, grid), torch.ones(2, 3, dtype=torch.float64))


def test_rollout_errors_by_time_and_window() -> None:
    grid = Grid.unit(8, kind="cell")
    y = torch.ones(2, 5, 1, 8)
    p = y * torch.tensor([1.0, 1.1, 1.2, 1.3, 1.4])[None, :, None, None]
    errors = metrics.error_by_time(p, y, grid)
    torch.testing.assert_close(errors, torch.tensor([[0.0, 0.1, 0.2, 0.3, 0.4]]).expand(2, 5))
    windows = metrics.error_by_window(errors, [(1, 1), (2, 3), (4, 5)])
    torch.testing.assert_close(windows, torch.tensor([[0.0, 0.15, 0.35]]).expand(2, 3))
    assert metrics.time_to_failure(errors, 0.15).tolist() == [2, 2]
    assert metrics.time_to_failure(errors, 1.0).tolist() == [5, 5]
    with pytest.raises(InputError, match="4 to 6 is not within the rollout, 1 to 5"):
        metrics.error_by_window(errors, [(4, 6)])
    with pytest.raises(InputError, match=r"expected .batch, time, channel, x."):
        metrics.error_by_time(p[:, :, 0], y[:, :, 0], grid)


def test_a_rollout_that_blows_up_has_failed() -> None:
    assert metrics.time_to_failure(torch.tensor([[0.1, math.nan, 0.1], [math.inf, 0.0, 0.0]])).tolist() == [1, 0]
    with pytest.raises(InputError, match="threshold must be positive"):
        metrics.time_to_failure(torch.zeros(1, 1), 0.0)


@pytest.mark.parametrize(
    "kinds", [("periodic", "periodic"), ("cell", "closed"), ("periodic", "left"), ("left", "cell")]
)
def test_the_spectrum_adds_up_to_the_mean_square(kinds: tuple[Kind, Kind]) -> None:
    grid = Grid.unit(12, 9, kind=kinds)
    values = torch.randn(2, 3, 12, 9, dtype=torch.float64)
    weights = torch.ones(12, 9, dtype=torch.float64)
    for dim, axis in enumerate(grid.axes):
        if axis.kind in ("closed", "left"):
            for end in (0, -1):
                weights.select(dim, end).mul_(0.5)
    expected = (values.square() * weights).sum(dim=(2, 3)) / weights.sum()
    _, energy = metrics.energy_spectrum(values, grid)
    torch.testing.assert_close(energy.sum(dim=2), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cosine_lies_in_its_shell(kind: Kind) -> None:
    grid = Grid((Axis("x", 65, -1.0, 3.0, kind),))
    x = (grid.coordinates()[0] + 1) / 4
    wavenumbers, energy = metrics.energy_spectrum(torch.cos(2 * math.pi * 5 * x)[None, None], grid)
    assert wavenumbers.tolist() == list(range(len(wavenumbers)))
    share = 0.999 if kind != "left" else 0.9  # the nodes of a left axis do not span whole waves
    assert float(energy[0, 0, 5]) > share * float(energy.sum())


def test_a_ramp_leaks_less_than_by_fourier() -> None:
    closed, periodic = Grid.unit(64, kind="closed"), Grid.unit(64, kind="periodic")
    ramp = closed.coordinates()[0][None, None]
    high = [float(metrics.energy_spectrum(ramp, grid)[1][..., 10:].sum()) for grid in (closed, periodic)]
    assert high[0] < 0.01 * high[1]


def test_spectral_error_by_band() -> None:
    grid = Grid.unit(32, kind="periodic")
    x = grid.coordinates()[0]
    low, high = torch.sin(2 * math.pi * 2 * x), 0.1 * torch.sin(2 * math.pi * 10 * x)
    y, p = (low + high)[None, None], (low + 0.5 * high)[None, None]
    error = metrics.spectral_error(p, y, grid, bands=[(0, 5), (6, 16)])[0, 0].tolist()
    assert error == pytest.approx([0.0, 0.5], abs=1e-12)
    with pytest.raises(InputError, match="0 to 17 is not within the wavenumbers 0 to 16"):
        metrics.spectral_error(p, y, grid, bands=[(0, 17)])


def test_shapes_must_agree() -> None:
    with pytest.raises(InputError, match="differ in shape"):
        metrics.max_error(torch.zeros(1, 1, 4), torch.zeros(1, 1, 5))
    with pytest.raises(InputError, match=r"expected .batch, channel, x."):
        metrics.energy_spectrum(torch.zeros(1, 4), Grid.unit(4))


def test_a_left_axis_with_one_node_holds_a_constant() -> None:
    grid = Grid.unit(1, 8, kind=("left", "periodic"))
    values = torch.randn(2, 1, 1, 8, dtype=torch.float64)
    _, energy = metrics.energy_spectrum(values, grid)
    _, expected = metrics.energy_spectrum(values[:, :, 0], Grid.unit(8, kind="periodic"))
    torch.testing.assert_close(energy, expected)


def test_metrics_under_a_mask_measure_that_part_alone(generator):
    grid = Grid.unit(16, 12, kind="cell")
    mask = (grid.coordinates()[0] < 0.5).expand(2, 1, 16, 12)
    prediction, target = torch.rand(2, 2, 3, 16, 12, generator=generator, dtype=torch.float64)
    half, part = Grid.unit(8, 12, kind="cell"), (..., slice(0, 8), slice(None))
    spoiled = torch.where(mask, prediction, math.nan), torch.where(mask, target, math.nan)
    for metric in (metrics.relative_l2, metrics.rmse, metrics.vrmse):
        assert torch.allclose(metric(*spoiled, grid, mask), metric(prediction[part], target[part], half))
        assert torch.allclose(metric(*spoiled, grid, mask[0, 0]), metric(prediction[part], target[part], half))
    assert torch.equal(metrics.max_error(*spoiled, mask), metrics.max_error(prediction[part], target[part]))
    frames = [field[:, None].expand(2, 4, 3, 16, 12) for field in spoiled]
    halves = [field[part][:, None].expand(2, 4, 3, 8, 12) for field in (prediction, target)]
    assert torch.allclose(metrics.error_by_time(*frames, grid, mask), metrics.error_by_time(*halves, half))
    assert torch.allclose(metrics.error_by_time(*frames, grid, mask[0, 0]), metrics.error_by_time(*halves, half))
