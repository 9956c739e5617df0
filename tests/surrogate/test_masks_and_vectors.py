"""Surrogates of masked fields and of vectors: trained, averaged over symmetries, saved and predicted in units."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

import sciops
from sciops.data.conventions import coordinate
from sciops.data.domains.domain import Axis
from sciops.data.functions.symmetry import elements
from sciops.data.functions.tensors import TensorChannels
from sciops.errors import DataError, ExtrapolationWarning, InputError, ModelError
from sciops.surrogate import Surrogate
from sciops.surrogate.description import output_variables


def basin(samples: int = 40, size: int = 8, hidden: float = np.nan, seed: int = 0) -> xr.Dataset:
    """Gradients v of random smooth heights h on a square, with an island behind which the file holds `hidden`."""
    axes = [Axis(name, size) for name in "xy"]
    rng = np.random.default_rng(seed)
    c, nodes = rng.standard_normal((samples, 3, 3)), axes[0].coordinates().numpy()
    basis = np.stack([np.cos(np.pi * k * nodes) for k in range(3)])
    slope = np.stack([-np.pi * k * np.sin(np.pi * k * nodes) for k in range(3)])
    h = np.einsum("nij,ix,jy->nxy", c, basis, basis)
    v = np.stack([np.einsum("nij,ix,jy->nxy", c, *pair) for pair in ((slope, basis), (basis, slope))], axis=1)
    wet = np.ones((size, size), dtype=bool)
    wet[2:4, 3:6] = False
    h[:, ~wet], v[..., ~wet] = hidden, hidden
    return xr.Dataset(
        {
            "h": (("sample", "x", "y"), h, {"mask": "wet", "units": "m"}),
            "k": (("sample", "x", "y"), np.exp(rng.standard_normal((samples, size, size)))),
            "v": (
                ("sample", "part", "x", "y"),
                v,
                {"mask": "wet", "rank": 1, "components": ["x", "y"], "units": "m/s"},
            ),
            "wet": (("x", "y"), wet, {"role": "mask"}),
        },
        {axis.name: coordinate(axis) for axis in axes},
        {"channel_dims": ["part"]},
    )


@pytest.fixture(scope="session")
def masked(fitted: Any) -> Surrogate:
    options: dict[str, Any] = {"symmetries": ["transpose", "flip-x"], "modes": 2, "precision": "64"}
    return fitted(basin(), inputs=["h", "wet"], outputs="v", calibration=0.25, **options)


def test_a_masked_surrogate_predicts_where_the_field_is(masked: Surrogate, tmp_path: Path) -> None:
    ds = basin(seed=1)
    wet = ds["wet"].values
    with warnings.catch_warnings():  # the zeros outside of the mask are no extrapolation
        warnings.simplefilter("error", ExtrapolationWarning)
        masked.predict(basin())
    prediction = masked.predict(ds, coverage=0.5)
    for name in ("v", "v_lower", "v_upper"):
        values = prediction[name].values
        assert np.isnan(values[..., ~wet]).all() and np.isfinite(values[..., wet]).all()
    expected = {"mask": "wet", "rank": 1, "components": ["x", "y"], "units": "m/s"}
    assert prediction["v"].attrs == expected and prediction["v_lower"].attrs.items() > expected.items()
    assert prediction["wet"].identical(ds["wet"])
    again = sciops.load(masked.save(tmp_path / "s"))
    assert again.predict(ds, coverage=0.5).identical(prediction)
    assert again.description.masks == ("wet",)
    assert again.description.tensors_of("y") == (TensorChannels(1, ("x", "y"), (0, 1)),)


def test_predictions_of_masked_vectors_are_data_to_train_and_evaluate_on(
    masked: Surrogate, fitted: Any, tmp_path: Path
) -> None:
    ds, file = basin(seed=1), tmp_path / "prediction.h5"
    path = sciops.data.write(ds, tmp_path / "basin.h5")
    masked.predict(path, output=file, batch_size=7)
    with sciops.data.open(file) as prediction:
        assert prediction["v"].attrs["rank"] == 1 and list(prediction["v"].attrs["components"]) == ["x", "y"]
        assert prediction["wet"].dtype == bool and prediction["wet"].dims == ("x", "y")
        both = prediction.load().assign(h=ds["h"])
    assert masked.evaluate(both).relative_l2 < 1e-6
    again = fitted(both, inputs="h", outputs="v", modes=2, symmetries="transpose")
    assert again.description.masks == ("wet",) and again.description.tensors_of("y")[0].rank == 1


def test_attributes_of_files_are_kept_in_the_description() -> None:
    ds = xr.Dataset({"v": ("x", np.zeros(2), {"rank": np.int64(1), "components": np.array(["x"]), "scale": 0.5})})
    ds["v"].attrs |= {"limits": np.array([0.0, np.inf]), "mask": "wet"}
    (variable,) = output_variables(ds, ("v",), task="map")
    assert json.loads(json.dumps(variable.attributes)) == {"rank": 1, "components": ["x"], "scale": 0.5}


def test_masks_of_samples_and_several_masks_come_with_the_prediction(fitted: Any) -> None:
    ds = basin(hidden=0.0)
    deep = np.random.default_rng(0).uniform(size=(40, 8)) < 0.9
    ds["deep"] = (("sample", "x"), deep, {"role": "mask"})
    ds["k"].attrs["mask"] = "deep"
    prediction = fitted(ds, inputs="k", outputs="h", modes=2).predict(ds, batch_size=7)
    inside = prediction["wet_and_deep"] if "wet_and_deep" in prediction else prediction["deep_and_wet"]
    assert inside.dims == ("sample", "x", "y") and prediction["h"].attrs["mask"] == inside.name
    np.testing.assert_array_equal(inside.values, ds["wet"].values & deep[..., None])
    np.testing.assert_array_equal(inside.values, prediction["h"].notnull().values)


def test_what_the_file_holds_outside_does_not_count(masked: Surrogate, fitted: Any) -> None:
    clean, dirty = basin(seed=1), basin(seed=1, hidden=1e6)
    assert masked.predict(clean).identical(masked.predict(dirty))
    evaluations = [masked.evaluate(ds, coverage=0.5).to_dict() for ds in (clean, dirty)]
    assert evaluations[0] == evaluations[1]
    values = masked.predict(clean)["v"].values
    wet, truth = clean["wet"].values, clean["v"].values
    found = evaluations[0]["rmse"]["v[0]"]
    weights = np.outer(*[Axis("x", 8).weights().numpy()] * 2)[wet]
    expected = np.sqrt((((values - truth)[:, 0, wet]) ** 2 @ weights / weights.sum()).mean())
    assert found == pytest.approx(expected, rel=1e-10)


def test_predictions_of_vectors_turn_with_their_inputs(masked: Surrogate) -> None:
    ds = basin(seed=2)
    grid, description = masked.grid, masked.description
    source = sciops.data.FunctionDataset(ds, inputs=["h", "wet"], outputs="v", dtype=torch.float64)
    batch = source.batch(range(6))
    x, mask = batch["x"], batch["mask"]
    prediction = masked.applied(x, grid=grid, mask=mask)
    for element in elements(description.symmetries, grid):
        moved = masked.applied(element.apply(x), grid=grid, mask=element.apply_mask(mask))
        expected = element.apply(prediction, tensors=description.tensors_of("y"))
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-10)


def test_a_mask_goes_with_the_surrogate(masked: Surrogate, line: Surrogate, make: Any, fitted: Any) -> None:
    plain = fitted(basin(hidden=0.0), inputs="k", outputs="h", modes=2)
    kept = basin(seed=3)[["k", "wet"]]  # the inputs name no mask, but the one trained with is there
    assert bool(plain.predict(kept)["h"].isnull().any())
    with pytest.raises(DataError, match="the fields have no mask, and the surrogate was trained with 'wet'"):
        plain.predict(kept[["k"]])
    waves = make.waves().assign(wet=("x", np.arange(16) > 3))
    waves["a"].attrs["mask"] = "wet"
    with pytest.raises(DataError, match="the fields have 'wet', and the surrogate was trained with no mask"):
        line.predict(waves)
    fine = basin(size=15)
    with pytest.raises(InputError, match="masked fields are not interpolated"):
        masked.predict(fine, resolution="interpolation")


def test_components_without_axes_are_still_refused(fitted: Any) -> None:
    ds = basin()
    ds["v"].attrs.pop("components")
    with pytest.raises(InputError, match="say which axes they belong to"):
        fitted(ds, inputs="h", outputs="v", symmetries=["flip-x"])


@pytest.mark.parametrize("normalise", ["range", {"k": "log", "h": "none"}])
def test_kinds_of_normalisation_are_saved_with_the_surrogate(normalise: Any, fitted: Any, tmp_path: Path) -> None:
    ds = basin(hidden=0.0)
    surrogate = fitted(ds, inputs="k", outputs="h", modes=2, normalise=normalise if isinstance(normalise, str) else {
        "k": "log", "h": "none"
    })  # fmt: skip
    normaliser = surrogate.operator.input_normaliser
    assert normaliser.logarithm == (normalise != "range",)
    again = sciops.load(surrogate.save(tmp_path / "s"))
    assert again.predict(ds).identical(surrogate.predict(ds))
    assert again.operator.input_normaliser.logarithm == normaliser.logarithm
    if normalise != "range":
        assert float(surrogate.operator.output_normaliser.std) == 1 and float(normaliser.std) == pytest.approx(1, 0.2)
    contents = json.loads((tmp_path / "s" / "surrogate.json").read_text())
    contents["input_normaliser"] = {"names": ["k"], "logarithm": [True, True]}
    (tmp_path / "s" / "surrogate.json").write_text(json.dumps(contents))
    with pytest.raises(ModelError, match="damaged"):
        sciops.load(tmp_path / "s")


def test_normalisation_that_cannot_be_is_refused(fitted: Any, make: Any) -> None:
    with pytest.raises(InputError, match="unknown normalisation 'lin'"):
        fitted(make.waves(), inputs="a", outputs="u", normalise="lin")
    with pytest.raises(DataError, match="its logarithm needs positive values"):
        fitted(make.waves(), inputs="a", outputs="u", normalise={"a": "log"})
    moving = make.trajectories()
    moving = moving.assign(v=np.exp(moving["v"]))
    options: dict[str, Any] = {"inputs": "v", "outputs": "v", "task": "evolve", "normalise": "log"}
    with pytest.raises(InputError, match="gives its change, which has no logarithm; set residual=False"):
        fitted(moving, **options)
    found = fitted(moving, **options, residual=False)
    assert bool((found.predict(moving)["v"] > 0).all())


def test_a_parameter_that_changes_is_refused_in_an_evolution(fitted: Any, make: Any) -> None:
    ds = make.trajectories()
    ds = ds.assign(force=(("sample", "time"), np.zeros((30, 12))))
    with pytest.raises(InputError, match="the parameter 'force' changes in time"):
        fitted(ds, inputs="v", outputs="v", parameters="force", task="evolve")


@pytest.mark.parametrize(
    "tensors",
    [
        {"x": [{"rank": 1, "components": ["x", "y"], "channels": [0, 9]}]},
        {"x": [{"rank": 3, "components": ["x"], "channels": [0]}]},
        {"x": 3},
        {"z": [{"rank": 1, "components": ["x"], "channels": [0]}]},
    ],
)
def test_damaged_tensors_are_refused(tensors: Any, line: Surrogate, tmp_path: Path) -> None:
    folder = line.save(tmp_path / "s")
    contents = json.loads((folder / "surrogate.json").read_text())
    contents["description"]["tensors"] = tensors
    (folder / "surrogate.json").write_text(json.dumps(contents))
    with pytest.raises(ModelError, match="damaged"):
        sciops.load(folder)
    for entry in ("tensors", "masks"):  # as saved before there were any
        contents["description"].pop(entry)
    (folder / "surrogate.json").write_text(json.dumps(contents))
    assert sciops.load(folder).description.tensors == {}
