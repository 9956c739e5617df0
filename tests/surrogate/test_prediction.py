"""Predictions in the terms of the file: variables, coordinates, times, resolutions, streams."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import sciops
from sciops.data import Grid
from sciops.data.conventions import coordinate, grid_of
from sciops.data.functions.symmetry import elements
from sciops.errors import DataError, DomainError, ExtrapolationWarning, InputError, ModelError, ResolutionWarning
from sciops.surrogate import Surrogate
from sciops.surrogate.resolution import ResolutionCheck, ResolutionPolicy


def physical(surrogate: Surrogate, x: np.ndarray) -> np.ndarray:
    """The operator applied by hand to (n, channel, *space)."""
    with torch.no_grad():
        return np.asarray(surrogate.operator(torch.from_numpy(x).to(next(surrogate.operator.parameters()).dtype)))


# Variables, dimensions, coordinates


def test_a_map_predicts_in_the_terms_of_the_file(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    found = line.predict(ds[["a"]])
    assert list(found.data_vars) == ["u"]
    assert found.u.dims == ("sample", "x") and found.u.attrs == ds.u.attrs
    assert found.x.identical(ds.x) and found.sample.identical(ds.sample) and found.run.identical(ds.run)
    np.testing.assert_array_equal(found.u.values, physical(line, ds.a.values[:, None])[:, 0])
    assert grid_of(found, "u") == grid_of(ds, "u")


def test_samples_keep_their_order_in_any_batch_size(line: Surrogate, make: Any) -> None:
    ds = make.waves().isel(sample=[7, 3, 11, 0, 29])
    whole, parts = line.predict(ds), line.predict(ds, batch_size=2)
    assert whole.sample.values.tolist() == parts.sample.values.tolist() == [107, 103, 111, 100, 129]
    np.testing.assert_allclose(whole.u.values, parts.u.values, rtol=0, atol=1e-6)
    assert parts.run.identical(whole.run)


def test_vectors_and_several_outputs_keep_names_order_and_labels(square: Surrogate, make: Any) -> None:
    ds = make.squares()
    found = square.predict(ds[["a"]].assign_coords(part=ds.part))
    assert list(found.data_vars) == ["w", "u"]
    assert found.w.dims == ("sample", "part", "x", "y") and found.u.dims == ("sample", "x", "y")
    assert found.part.values.tolist() == ["first", "second"] and found.w.attrs == {"units": "m/s"}
    assert found.w.dtype == np.float64
    assert found.attrs["channel_dims"] == ["part"]


def test_inputs_whose_axes_come_in_another_order_are_turned(square: Surrogate, make: Any) -> None:
    ds = make.squares()[["a"]].isel(sample=[0, 1])
    turned = square.predict(ds.transpose("sample", "y", "x"))
    np.testing.assert_array_equal(turned.u.values, square.predict(ds).u.values)


def test_one_field_without_a_sample_dimension(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    found = line.predict(ds.isel(sample=4))
    assert found.u.dims == ("x",) and int(found.sample) == 104
    np.testing.assert_allclose(found.u.values, line.predict(ds).u.values[4], rtol=0, atol=1e-6)
    other = ds.rename(sample="case").assign_attrs(sample_dim="case").drop_vars(["case", "run"])
    assert line.predict(other.isel(case=4)).u.dims == ("x",)
    assert line.predict(other).u.dims == ("case", "x")


def test_a_file_and_a_data_set_give_the_same_surrogate_and_prediction(
    fitted: Any, line: Surrogate, make: Any, tmp_path: Path
) -> None:
    path = sciops.data.write(make.waves(), tmp_path / "waves.nc")
    again = fitted(path, inputs="a", outputs="u", calibration=0.25)
    assert again.description.provenance["data"] == str(path)
    assert again.description.provenance["fingerprint"] == line.description.provenance["fingerprint"]
    assert again.predict(path).u.equals(line.predict(make.waves()).u)


def test_float64_data_is_cast_and_integers_are_taken(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    assert line.predict(ds).u.dtype == np.float32
    single = ds.assign(a=ds.a.astype(np.float32))
    assert line.predict(single).u.equals(line.predict(ds).u)
    whole = ds.assign(a=ds.a.round().astype(np.int16))
    assert line.predict(whole).u.equals(line.predict(whole.astype(np.float64)).u)


# Evolutions


def test_rollouts_are_repeated_steps(stepper: Surrogate, make: Any) -> None:
    ds = make.trajectories()
    found = stepper.predict(ds, steps=3)
    assert list(found.data_vars) == ["u", "v"]
    assert found.u.dims == ("sample", "time", "part", "x") and found.v.dims == ("sample", "time", "x")
    np.testing.assert_allclose(found.time.values, [0.4, 0.6, 0.8])
    assert found.time.attrs == {"units": "s"} and found.v.attrs == {"units": "m"}
    frames = ds.isel(time=[0, 2])
    warnings.simplefilter("ignore", ExtrapolationWarning)  # pytest undoes it
    for step in range(3):
        one = stepper.predict(frames.isel(time=[0, 0, 1]).assign_coords(time=[0.0, 0.1, 0.2]), steps=1)
        for name in "uv":
            np.testing.assert_allclose(one[name].values[:, 0], found[name].values[:, step], rtol=0, atol=2e-6)
        frames = xr.concat([frames.isel(time=[1]), one], "time", data_vars="minimal").assign(a=ds.a, c=ds.c)


def test_one_step_by_hand_has_the_channels_in_order(stepper: Surrogate, make: Any) -> None:
    ds = make.trajectories()
    found = stepper.predict(ds, steps=1)
    u, v, a = ds.u.values, ds.v.values[:, :, None], ds.a.values[:, None]
    x = np.concatenate([u[:, 0], v[:, 0], u[:, 2], v[:, 2], a], axis=1)
    with torch.no_grad():
        expected = stepper.operator(torch.from_numpy(x).float(), torch.from_numpy(ds.c.values).float()[:, None])
    np.testing.assert_allclose(found.u.values[:, 0], expected[:, :2], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.v.values[:, 0], expected[:, 2], rtol=0, atol=1e-6)


def test_the_number_of_steps_follows_the_data_and_may_go_beyond(stepper: Surrogate, make: Any) -> None:
    ds = make.trajectories()
    assert stepper.predict(ds).sizes["time"] == 4
    beyond = stepper.predict(ds, steps=9)
    np.testing.assert_allclose(beyond.time.values, 0.2 + 0.2 * np.arange(1, 10))
    first = stepper.predict(ds.isel(time=slice(3)))
    assert first.sizes["time"] == 1 and float(first.time[0]) == pytest.approx(0.4)
    with pytest.raises(
        DataError, match="2 frames and this surrogate starts from 2 frames, 2 apart; give it at least 3"
    ):
        stepper.predict(ds.isel(time=slice(2)))


def test_an_initial_state_without_time_starts_a_rollout(fitted: Any, make: Any) -> None:
    ds = make.trajectories()[["v"]]
    surrogate = fitted(ds, inputs="v", outputs="v", task="evolve", steps=2, modes=2)
    found = surrogate.predict(ds.isel(time=0), steps=4)
    np.testing.assert_allclose(found.time.values, 0.1 * np.arange(1, 5))
    assert found.v.equals(surrogate.predict(ds.isel(time=[0]), steps=4).v)
    assert surrogate.predict(ds.isel(time=3, sample=2), steps=2).v.dims == ("time", "x")
    bare = surrogate.predict(ds.isel(time=0).drop_vars("time"), steps=2)
    np.testing.assert_allclose(bare.time.values, [0.1, 0.2])
    renamed = ds.rename(time="t").assign_attrs(time_dim="t")
    assert surrogate.predict(renamed.isel(t=0), steps=2).v.dims == ("sample", "t", "x")


def test_dates_go_on_as_dates(fitted: Any, make: Any, tmp_path: Path) -> None:
    dates = np.datetime64("2001-01-01", "ns") + np.arange(12) * np.timedelta64(6, "h")
    ds = make.trajectories()[["v"]].assign_coords(time=dates)
    surrogate = fitted(ds, inputs="v", outputs="v", task="evolve", modes=2)
    assert surrogate.description.time_step == 6 * 3600
    found = surrogate.predict(ds, steps=14)
    assert found.time.values[-1] == np.datetime64("2001-01-04T12")
    surrogate.predict(ds, steps=14, output=tmp_path / "dates.nc")
    found = xr.open_dataset(tmp_path / "dates.nc")
    assert found.time.values[-1] == np.datetime64("2001-01-04T12")
    uneven = ds.assign_coords(time=dates + np.arange(12) ** 2 * np.timedelta64(1, "h"))
    with pytest.raises(DataError, match="not uniform"):
        surrogate.predict(uneven)


def test_frames_of_another_time_step_are_refused(stepper: Surrogate, make: Any) -> None:
    ds = make.trajectories().isel(time=slice(None, None, 2))
    with pytest.raises(DataError, match=r"steps by 0\.2 in time, and the frames are 0\.4 apart, 2 frames of this file"):
        stepper.predict(ds)
    with pytest.raises(DataError, match="steps by"):
        stepper.evaluate(ds)


def test_a_map_to_whole_trajectories_has_their_times(fitted: Any, make: Any) -> None:
    ds = make.trajectories(frames=5)
    surrogate = fitted(ds, inputs="a", outputs=["u", "v"], modes=2)
    found = surrogate.predict(ds[["a"]])
    assert found.u.dims == ("sample", "time", "part", "x") and found.u.shape == ds.u.shape
    np.testing.assert_allclose(found.time.values, ds.time.values)
    assert surrogate.predict(ds).time.identical(ds.time)
    channels = physical(surrogate, ds.a.values[:, None])
    np.testing.assert_allclose(found.u.values, channels[:, :10].reshape(ds.u.shape), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="this one is a map"):
        surrogate.predict(ds, steps=2)


def test_another_number_of_frames_or_components_is_refused(fitted: Any, stepper: Surrogate, make: Any) -> None:
    ds = make.trajectories(frames=5)
    surrogate = fitted(ds, inputs="v", outputs="a", modes=2)
    with pytest.raises(DataError, match=r"v give 4 channels and the surrogate was trained on 5 .*'v@4'"):
        surrogate.predict(ds.isel(time=slice(4)))
    with pytest.raises(DataError, match="trained on 7"):
        stepper.predict(make.trajectories().isel(part=[0]))


# Resolution


def test_another_grid_is_served_the_better_way_and_says_so(line: Surrogate, make: Any) -> None:
    surrogate = copy.copy(line)
    surrogate.policy = ResolutionPolicy(ResolutionCheck(0.25, 0.125), ResolutionCheck(0.0625, 0.5))
    fine, coarse = make.waves(32), make.waves(10)
    with pytest.warns(ResolutionWarning, match=r"32 is not the training grid 16: .*interpolated .*0\.25 .*0\.125"):
        found = surrogate.predict(fine)
    assert found.attrs["resolution"] == "interpolation" and found.x.identical(fine.x)
    with pytest.warns(ResolutionWarning, match=r"10 is not the training grid 16: .*applied on it .*0\.0625 .*0\.5"):
        below = surrogate.predict(coarse)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResolutionWarning)
        np.testing.assert_array_equal(found.u, surrogate.predict(fine, resolution="interpolation").u)
        np.testing.assert_array_equal(below.u, surrogate.predict(coarse, resolution="native").u)
        surrogate.predict(make.waves())
    native = surrogate.predict(fine, resolution="native")
    np.testing.assert_allclose(native.u, physical(surrogate, fine.a.values[:, None])[:, 0], atol=1e-6)
    # the nodes of the training grid are every other one, and Fourier interpolation goes through them
    np.testing.assert_allclose(found.u.values[:, ::2], surrogate.predict(make.waves()).u, atol=1e-5)
    with pytest.raises(InputError, match="did you mean 'native'"):
        surrogate.predict(fine, resolution="nativ")


def test_the_policy_is_measured_on_the_validation_fields(line: Surrogate, make: Any) -> None:
    from sciops.data.functions.sampling import split

    finer, coarser = line.policy.finer, line.policy.coarser
    assert finer is not None and coarser is not None
    _, validation, _ = split(48, (0.65, 0.1, 0.25), seed=0)
    part = make.waves().isel(sample=validation.numpy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExtrapolationWarning)
        own = line.evaluate(part).relative_l2
        assert finer.interpolation == pytest.approx(own + max(0, coarser.interpolation - own) / 2, rel=1e-4)
        small = make.waves(8).isel(sample=validation.numpy())  # 8 nodes carry u too, but the Nyquist frequency
        assert coarser.native == pytest.approx(line.evaluate(small, resolution="native").relative_l2, rel=1e-3)


def test_a_grid_that_is_finer_and_coarser_takes_the_safer_way() -> None:
    grid = Grid.unit(16, 16)
    policy = ResolutionPolicy(ResolutionCheck(0.5, 0.1), ResolutionCheck(0.1, 0.2))
    assert policy.choose(grid.resized(32, 16), grid) == "interpolation"
    assert policy.choose(grid.resized(16, 8), grid) == "native"
    assert policy.check(grid.resized(32, 8), grid) == ResolutionCheck(0.5, 0.2)
    assert ResolutionPolicy(ResolutionCheck(None, 0.1), None).choose(grid.resized(32, 8), grid) == "interpolation"


def test_symmetries_that_a_finer_grid_lacks_are_left_out(symmetric: Surrogate, make: Any) -> None:
    ds = make.squares().isel(sample=[0])
    uneven = sciops.data.Field.from_xarray(ds, ["a"]).resample(symmetric.grid.resized(15, 8)).to_xarray()
    found = symmetric.predict(uneven, resolution="native")
    assert found.u.shape == (1, 15, 8)


class Pixels(torch.nn.Module):
    """A model of one resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.map = torch.nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.map(x)


def test_a_model_of_one_resolution_is_interpolated(fitted: Any, make: Any) -> None:
    surrogate = fitted(make.waves(), inputs="a", outputs="u", model=Pixels())
    assert surrogate.policy.finer.native is None
    with pytest.warns(ResolutionWarning, match="not possible native"):
        assert surrogate.predict(make.waves(32)).attrs["resolution"] == "interpolation"
    with pytest.raises(ModelError, match=r"Pixels cannot be applied on 32 points .*resolution='interpolation'"):
        surrogate.predict(make.waves(32), resolution="native")


def test_another_domain_is_refused(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    with pytest.raises(DomainError, match=r"the axes are \(z\) and the surrogate was trained on \(x\)"):
        line.predict(ds.rename(x="z"))
    longer = ds.assign_coords(x=coordinate(sciops.data.Axis("x", 16, upper=3.0, kind="periodic")))
    with pytest.raises(DomainError, match=r"axis 'x' is periodic on \[0, 3\] and .* periodic on \[0, 2\]"):
        line.predict(longer)


# Symmetry


def test_averaging_over_the_symmetries_makes_the_prediction_equivariant(symmetric: Surrogate, make: Any) -> None:
    ds = make.squares().isel(sample=slice(3))
    a = torch.from_numpy(ds.a.values)
    expected = symmetric.predict(ds)
    group = elements(["transpose", "flip-x"], symmetric.grid)
    assert len(group) == 8
    for element in group:
        moved = symmetric.predict(ds.assign(a=(ds.a.dims, element.apply(a).numpy())))
        there = element.apply(torch.from_numpy(expected.u.values)).numpy()
        np.testing.assert_allclose(moved.u.values, there, rtol=0, atol=1e-13)
    plain = physical(symmetric, ds.a.values[:, None])
    assert np.abs(plain[:, 0] - expected.u.values).max() > 1e-6


# Streams, devices, precision


@pytest.mark.parametrize("coverage", [None, 0.5])
def test_a_streamed_prediction_is_the_one_in_memory(
    line: Surrogate, make: Any, tmp_path: Path, coverage: float | None
) -> None:
    ds = make.waves()
    memory = line.predict(ds, coverage=coverage, batch_size=5)
    stream = line.predict(ds, coverage=coverage, batch_size=5, output=tmp_path / "u.nc")
    assert set(stream.data_vars) == set(memory.data_vars)
    for name in memory.variables:
        np.testing.assert_array_equal(stream[name].values, memory[name].values)
        assert stream[name].dims == memory[name].dims and stream[name].dtype == memory[name].dtype
    assert stream.u.attrs == memory.u.attrs and grid_of(stream, "u") == line.grid


def test_a_stream_of_steps_is_the_one_in_memory(stepper: Surrogate, make: Any, tmp_path: Path) -> None:
    ds = make.trajectories()
    memory = stepper.predict(ds, steps=3, batch_size=4)
    assert stepper.predict(ds, steps=3, batch_size=4, output=tmp_path / "u.nc").u.equals(memory.u)


def test_a_stream_holds_few_blocks(line: Surrogate, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sciops.surrogate.output import OutputTemplate

    alive: list[weakref.ref[np.ndarray]] = []
    most = 0
    build = OutputTemplate.dataset

    def counted(self: OutputTemplate, parts: dict[str, Any], samples: slice) -> xr.Dataset:
        nonlocal most
        assert all(len(values) <= 2 for values in parts.values())
        alive.append(weakref.ref(parts[""]))
        most = max(most, sum(block() is not None for block in alive))
        return build(self, parts, samples)

    monkeypatch.setattr(OutputTemplate, "dataset", counted)
    line.predict(make.waves(), batch_size=2, output=tmp_path / "u.nc")
    assert len(alive) == 24 and most <= 3


def test_large_fields_come_in_smaller_blocks() -> None:
    from sciops.surrogate.prediction import block_size

    assert block_size(64, 10) == 64 and block_size(64, 1 << 24) == 2 and block_size(64, 1 << 40) == 1


def test_a_stream_that_fails_leaves_nothing(
    line: Surrogate, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ds = make.waves()
    ds.a.values[40, 3] = np.nan
    with pytest.raises(DataError, match=r"'a' has 1 NaN and 0 infinite values, first in sample 40"):
        line.predict(ds, batch_size=8, output=tmp_path / "u.nc")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "u.nc").write_text("mine")
    with pytest.raises(DataError, match="exists already"):
        line.predict(make.waves(), output=tmp_path / "u.nc")
    with pytest.raises(DataError, match="NaN"):
        line.predict(ds, batch_size=8, output=tmp_path / "u.nc", overwrite=True)
    assert (tmp_path / "u.nc").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["u.nc"]
    line.predict(make.waves(), output=tmp_path / "u.nc", overwrite=True)


def test_what_does_not_fit_in_memory_needs_a_file(line: Surrogate, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sciops.surrogate.output._IN_MEMORY", 1000)
    with pytest.raises(InputError, match="name a file to write it to"):
        line.predict(make.waves())


def test_precision_and_device(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    single, double, half = (line.predict(ds, precision=p, device="cpu") for p in ("32", "64", "bf16-mixed"))
    assert single.u.dtype == half.u.dtype == np.float32 and double.u.dtype == np.float64
    assert single.u.equals(line.predict(ds).u)
    scale = float(np.abs(double.u).max())
    assert 0 < float(np.abs(double.u - single.u).max()) < 1e-5 * scale
    assert 1e-5 * scale < float(np.abs(double.u - half.u).max()) < 0.05 * scale
    assert next(line.operator.parameters()).dtype == torch.float32
    for options in ({"device": "cpuu"}, {"device": "cuda:99"}):
        with pytest.raises(InputError, match="cannot compute on device"):
            line.predict(ds, **options)
    with pytest.raises(InputError, match="unknown precision 'bf16-mixe'; did you mean 'bf16-mixed'"):
        line.predict(ds, precision="bf16-mixe")
    with pytest.raises(InputError, match="batch_size must be at least 1, got 0"):
        line.predict(ds, batch_size=0)


def test_by_default_the_weights_are_used_where_they_are(
    line: Surrogate, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sciops.surrogate.application import computing

    there = copy.deepcopy(line.operator).to("meta")
    monkeypatch.setattr(copy, "deepcopy", lambda _: pytest.fail("copied though nothing changes"))
    for device, precision in ((None, None), ("meta", "32"), (None, "bf16-mixed")):
        found = computing(there, device, precision)
        assert found.operator is there and found.device.type == "meta"
    line.predict(make.waves())
    line.predict(make.waves(), device="cpu", precision="32")
    monkeypatch.undo()
    assert next(computing(line.operator, None, "64").operator.parameters()).dtype == torch.float64
    assert next(line.operator.parameters()).dtype == torch.float32
    line.operator, kept = there, line.operator
    try:
        with pytest.raises(RuntimeError):  # nothing can be computed there
            line.predict(make.waves())
    finally:
        line.operator = kept


def test_one_field_in_a_file_has_the_dimensions_of_the_one_in_memory(
    line: Surrogate, stepper: Surrogate, make: Any, tmp_path: Path
) -> None:
    for number, (surrogate, ds) in enumerate(((line, make.waves()), (stepper, make.trajectories()))):
        one, path = ds.isel(sample=4), tmp_path / f"{number}.nc"
        memory = surrogate.predict(one, coverage=0.5)
        stream = surrogate.predict(one, coverage=0.5, output=path)
        for name in memory.data_vars:
            assert stream[name].dims == memory[name].dims
            np.testing.assert_array_equal(stream[name].values, memory[name].values)
        assert set(stream.coords) == set(memory.coords)
        with pytest.raises(DataError, match="exists already"):
            surrogate.predict(one, output=path)
        surrogate.predict(one, output=path, overwrite=True)


# Bad input


def test_data_that_does_not_fit_is_named(line: Surrogate, stepper: Surrogate, make: Any, tmp_path: Path) -> None:
    ds = make.waves()
    with pytest.raises(DataError, match=r"no variable 'a'; did you mean 'A'|no variable 'a'"):
        line.predict(ds[["u"]])
    with pytest.raises(DataError, match="no such file"):
        line.predict(tmp_path / "none.h5")
    with pytest.raises(DataError, match="no variable 'u'"):
        line.evaluate(ds[["a"]])
    with pytest.raises(InputError, match="DataArray"):
        line.predict(ds.a)
    with pytest.raises(InputError, match="steps must be at least 1, got 0"):
        stepper.predict(make.trajectories(), steps=0)
    flow = make.trajectories()
    flow.c.values[3] = np.inf
    with pytest.raises(DataError, match=r"'c' has 0 NaN and 1 infinite values, first in sample 3"):
        stepper.predict(flow)


# Range


def test_inputs_beyond_the_training_range_are_named(line: Surrogate, stepper: Surrogate, make: Any) -> None:
    ds = make.waves()
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExtrapolationWarning)
        line.predict(ds)
        stepper.predict(make.trajectories())
    far = ds.copy(deep=True)
    far.a.values[33, 5] = -7.0
    far.a.values[40, 5] = 4.0
    with pytest.warns(ExtrapolationWarning, match=r"a reaches -7 in sample 33, and training saw -1\.\d+ to 1\."):
        line.predict(far, batch_size=8)
    flow = make.trajectories()
    flow.c.values[21] = 3.0
    with pytest.warns(ExtrapolationWarning, match=r"c reaches 3 in sample 21, and training saw 0 to 1;"):
        stepper.predict(flow, batch_size=8)
    flow = make.trajectories()
    flow.u.values[2, 2, 1, 0] = 9.0
    with pytest.warns(ExtrapolationWarning, match=r"u\[1\]\(t\) reaches 9 in sample 2"):
        stepper.predict(flow)


def test_predicting_and_loading_need_no_lightning(line: Surrogate, make: Any, tmp_path: Path) -> None:
    line.save(tmp_path / "s")
    sciops.data.write(make.waves(), tmp_path / "waves.nc")
    code = (
        "import sys, sciops; s = sciops.load('s'); s.predict('waves.nc', output='u.nc'); s.evaluate('waves.nc');"
        "print([m for m in ('lightning', 'matplotlib', 'triton', 'tensorboard') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_initial_states_in_a_file_are_not_read_at_once(fitted: Any, make: Any, tmp_path: Path) -> None:
    from sciops.surrogate.prediction import first_frames, in_axis_order

    ds = make.trajectories()[["v"]]
    surrogate = fitted(ds, inputs="v", outputs="v", task="evolve", modes=2)
    lazy = sciops.data.open(sciops.data.write(ds.isel(time=0, drop=True), tmp_path / "start.nc"))
    start = in_axis_order(first_frames(lazy, surrogate.description), surrogate.description)
    assert not start.v.variable._in_memory
    assert surrogate.predict(lazy, steps=2).v.equals(surrogate.predict(ds.isel(time=[0]), steps=2).v)
    with pytest.raises(DataError, match="no time dimension"):
        surrogate.evaluate(lazy)
