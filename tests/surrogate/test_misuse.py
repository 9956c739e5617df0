"""Data that does not mean what the training data meant, targets that would be lost, numbers that do not hold."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import sciops
from sciops.errors import DataError, ExtrapolationWarning, InputError, ResolutionWarning
from sciops.surrogate import Surrogate


def test_the_file_that_is_read_is_never_written(line: Surrogate, make: Any, tmp_path: Path) -> None:
    path = sciops.data.write(make.waves(), tmp_path / "waves.nc")
    (tmp_path / "link.nc").symlink_to(path)
    before = path.read_bytes()
    for data, output in ((path, path), (path, tmp_path / "link.nc"), (sciops.data.open(path), path)):
        with pytest.raises(DataError, match="the file that is read"):
            line.predict(data, output=output, overwrite=True)
    assert path.read_bytes() == before


def test_nothing_is_written_into_a_surrogate(line: Surrogate, make: Any, tmp_path: Path) -> None:
    folder = line.save(tmp_path / "saved")
    with pytest.raises(DataError, match="inside the surrogate"):
        line.predict(make.waves(), output=folder / "weights.safetensors", overwrite=True)


def test_predictions_that_are_not_finite(stepper: Surrogate, make: Any) -> None:
    broken = copy.deepcopy(stepper)
    with torch.no_grad():
        next(broken.operator.model.parameters()).fill_(torch.inf)
    with pytest.warns(ExtrapolationWarning, match=r"not finite: \d+ values are .* first in u in frame 0 of sample 0;"):
        broken.predict(make.trajectories(), steps=2)


def test_inputs_that_float32_does_not_hold(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    ds.a[3] *= 1e60
    with pytest.raises(DataError, match=r'a reaches .*in sample 3, .*precision="64"'):
        line.predict(ds)
    with pytest.warns(ExtrapolationWarning):
        line.predict(ds, precision="64")


def test_targets_that_are_not_finite(line: Surrogate, make: Any) -> None:
    ds = make.waves()
    ds.u[5, 2] = np.nan
    with pytest.raises(DataError, match=r"variable 'u' has 1 NaN .* first in sample 5"):
        line.evaluate(ds)
    assert line.predict(ds).u.notnull().all()


def test_names_of_the_band_that_are_taken(line: Surrogate, make: Any) -> None:
    ds = make.waves().assign_coords(u_lower=("sample", np.zeros(48)))
    with pytest.raises(InputError, match="'u' would be called u_lower"):
        line.predict(ds, coverage=0.5)


def test_channels_that_float32_cannot_resolve(fitted: Any, make: Any) -> None:
    ds = make.waves()
    with pytest.raises(DataError, match=r'u has mean 1e\+08 and deviation .*precision="64"'):
        fitted(ds.assign(u=ds.u + 1e8), inputs="a", outputs="u")
    with pytest.raises(DataError, match=r"a reaches .* too large for float32"):
        fitted(ds.assign(a=1e19 * ds.a), inputs="a", outputs="u")
    fitted(ds.assign(u=ds.u + 1e8), inputs="a", outputs="u", precision="64")


def test_units_that_differ(line: Surrogate, stepper: Surrogate, make: Any) -> None:
    ds = make.waves()
    with pytest.raises(DataError, match="'a' is in degC, and the surrogate was trained on 'a' in K"):
        line.predict(ds.assign(a=ds.a.assign_attrs(units="degC")))
    with pytest.raises(DataError, match=r"'x' is in cm, and .* in m"):
        line.predict(ds.assign_coords(x=ds.x.assign_attrs(units="cm")))
    moving = make.trajectories()
    with pytest.raises(DataError, match=r"'time' is in ms, and .* in s"):
        stepper.predict(moving.assign_coords(time=moving.time.assign_attrs(units="ms")))
    assert line.predict(ds.assign(a=ds.a.assign_attrs(units=""))).u.shape == (48, 16)


def test_components_in_another_order(stepper: Surrogate, make: Any) -> None:
    ds = make.trajectories()
    known = Surrogate(stepper.operator, replace(stepper.description, labels={"u": ["left", "right"]}))
    known.predict(ds.assign_coords(part=["left", "right"]), steps=1)
    with pytest.raises(DataError, match=r"components of 'u' are right, left, and .* on left, right"):
        known.predict(ds.assign_coords(part=["right", "left"]), steps=1)


def test_times_that_a_map_was_not_trained_on(fitted: Any, make: Any) -> None:
    ds = make.trajectories()
    surrogate = fitted(ds, inputs="a", outputs="v")
    assert surrogate.predict(ds).v.shape == ds.v.shape
    with pytest.raises(DataError, match=r"frame 1 is at time = 0\.2, and the surrogate was trained on 0\.1"):
        surrogate.predict(ds.assign_coords(time=2 * ds.time))
    with pytest.raises(DataError, match="has 7 frames, and the surrogate was trained on 12"):
        surrogate.predict(ds.isel(time=slice(7)))


def test_the_band_is_not_calibrated_on_another_grid(line: Surrogate, make: Any) -> None:
    with pytest.warns(ResolutionWarning, match="band is calibrated on 16 points and not on these 32"):
        found = line.predict(make.waves(32), coverage=0.5, resolution="native")
    assert found.attrs["coverage_calibrated_on"] == "16"


def test_a_rollout_too_long_for_any_memory(stepper: Surrogate, make: Any, tmp_path: Path) -> None:
    for output in (None, tmp_path / "long.nc"):
        with pytest.raises(InputError, match=r"one sample of the prediction takes about .* GiB"):
            stepper.predict(make.trajectories(), steps=10**9, output=output)
