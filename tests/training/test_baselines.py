from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciops.data.conventions import coordinate
from sciops.data.domains.domain import Axis, Grid
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.errors import InputError
from sciops.training import snapshots
from sciops.training.baselines import Linear, Mean, Persistence, PODRidge, baseline_errors, baselines
from sciops.training.losses import RelativeL2
from sciops.training.snapshots import Snapshots


def linear_problem(items: int, size: int = 12, rank: int = 4, noise: float = 0.0) -> FunctionDataset:
    """u = smooth linear map of a and of one parameter, plus a constant field and white noise."""
    random = np.random.default_rng(0)
    modes, matrix, constant, drift = (random.standard_normal(s) for s in ((rank, size), (size, size), size, size))
    a = random.standard_normal((items, rank)) @ modes + 2
    nu = random.uniform(1, 2, items)
    u = a @ matrix + 5 * constant + nu[:, None] * drift
    u += noise * u.std() * random.standard_normal(u.shape)
    ds = xr.Dataset({"a": (("sample", "x"), a), "u": (("sample", "x"), u), "nu": (("sample",), nu)})
    ds = ds.assign_coords(x=coordinate(Axis("x", size)))
    return FunctionDataset(ds, inputs="a", outputs="u", parameters="nu", dtype=torch.float64)


@pytest.mark.parametrize("items", [10, 60])
def test_a_linear_map_is_found_with_fewer_and_with_more_items_than_features(items: int) -> None:
    data = linear_problem(items + 20)
    errors = baseline_errors(data.subset(range(items)), data.subset(range(items, items + 20)))
    assert list(errors) == ["mean", "linear", "pod-ridge"]
    assert errors["linear"] < 1e-4
    assert errors["pod-ridge"] < 1e-6
    assert errors["mean"] > 0.05


def test_ridge_is_chosen_by_the_noise() -> None:
    quiet, loud = (Linear().fit(Snapshots.of(linear_problem(40, rank=12, noise=noise))) for noise in (1e-6, 2.0))
    assert loud.ridge > 100 * quiet.ridge


def test_linear_is_ridge_regression() -> None:
    train, new = linear_problem(30, noise=0.1).subset(range(25)), linear_problem(30).subset(range(25, 30))
    data = Snapshots.of(train)
    linear = Linear().fit(data)
    z, y = data.features, data.outputs
    primal = torch.linalg.solve(z.T @ z + linear.ridge * torch.eye(z.shape[1], dtype=z.dtype), z.T @ y)
    batch = new.batch(range(5))
    features = (torch.cat([batch["x"].flatten(1), batch["parameters"]], 1) - data.mean) / data.scale
    expected = (features @ primal + data.output_mean).view(5, 1, 12)
    torch.testing.assert_close(linear.predict(batch["x"], batch["parameters"]), expected)


def test_pod_ridge_beats_plain_regression_where_few_modes_matter() -> None:
    data = linear_problem(90, size=48, rank=3, noise=0.5)
    errors = baseline_errors(data.subset(range(60)), data.subset(range(60, 90)))
    assert errors["pod-ridge"] < errors["linear"]


def trajectories(inputs: str | list[str] = "u") -> FunctionDataset:
    u = np.cumsum(np.random.default_rng(0).standard_normal((6, 5, 8)), axis=1)
    force = np.random.default_rng(1).standard_normal((6, 8))
    ds = xr.Dataset({"u": (("sample", "time", "x"), u), "f": (("sample", "x"), force)})
    ds = ds.assign_coords(x=coordinate(Axis("x", 8, kind="periodic")))
    return FunctionDataset(ds, inputs=inputs, outputs="u", history=2, horizon=2)


def test_persistence_repeats_the_newest_frame() -> None:
    data = trajectories(["f", "u"])
    batch = data.batch(range(4))
    newest = data.input_names.index("u(t)")
    prediction = Persistence().fit(Snapshots.of(data)).predict(batch["x"])
    assert torch.equal(prediction, batch["x"][:, [newest, newest]])
    assert "persistence" in baseline_errors(data.subset(range(4)), data.subset(range(4, 6)))


def test_persistence_needs_the_output_among_the_inputs() -> None:
    data = linear_problem(5)
    assert not Persistence.applies(data)
    with pytest.raises(InputError, match="needs the output 'u' among the inputs"):
        Persistence().fit(Snapshots.of(data))


def test_mean_is_the_mean() -> None:
    data = linear_problem(20)
    prediction = Mean().fit(Snapshots.of(data)).predict(torch.zeros(3, 1, 12))
    assert prediction.dtype == torch.float32
    torch.testing.assert_close(prediction[2], data.batch(range(20))["y"].mean(0).float())


def test_large_fields_and_many_items_stay_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    a = random.standard_normal((50, 4)) @ np.sin(np.pi * np.arange(1, 5)[:, None] * np.linspace(0, 1, 400))
    ds = xr.Dataset({"a": (("sample", "x"), a), "u": (("sample", "x"), 2 * a)})
    data = FunctionDataset(ds.assign_coords(x=coordinate(Axis("x", 400))), inputs="a", outputs="u")
    monkeypatch.setattr(snapshots, "MAX_POINTS", 64)
    monkeypatch.setattr(snapshots, "MAX_BYTES", 20 * 8 * (400 + 64))
    kept = Snapshots.of(data)
    assert kept.features.shape == (20, 64)
    assert kept.outputs.shape == (20, 400)
    batch = data.batch(range(50))
    prediction = PODRidge().fit(kept).predict(batch["x"])
    assert float(RelativeL2(data.grid)(prediction, batch["y"])) < 1e-3
    assert Snapshots.of(data, max_items=7).outputs.shape[0] == 7


def test_the_test_set_does_not_enter_the_basis() -> None:
    data = linear_problem(40, noise=0.3)
    first = baseline_errors(data.subset(range(30)), data.subset([38, 39]))
    alone = baseline_errors(data.subset(range(30)), data.subset([39]))
    other = baseline_errors(data.subset(range(30)), data.subset([38]))
    for name in baselines:
        if name in first:
            assert first[name] == pytest.approx((alone[name] + other[name]) / 2, rel=1e-12)


def test_too_few_items() -> None:
    with pytest.raises(InputError, match="at least 2 training items, got 1"):
        Snapshots.of(linear_problem(5).subset([0]))


def test_yardsticks_on_burgers(shared_data: Path) -> None:
    """Persistence .045 and linear .030, as measured for one step ahead on 600 and 200 trajectories."""
    import sciops.data

    ds = sciops.data.open(shared_data / "burgers_train_16.pt")
    data = FunctionDataset(ds, inputs="y", outputs="y", history=1)
    errors = baseline_errors(data.subset(range(600)), data.subset(range(600, 800)))
    assert errors["persistence"] == pytest.approx(0.045, abs=0.002)
    assert errors["linear"] == pytest.approx(0.030, abs=0.003)


def test_a_grid_of_unequal_axes_is_coarsened_evenly() -> None:
    assert snapshots._coarse(Grid.unit(512, 128)).shape == (128, 32)
    assert snapshots._coarse(Grid.unit(64, 64)).shape == (64, 64)
