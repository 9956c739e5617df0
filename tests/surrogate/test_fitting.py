"""`fit`: the whole way from data to surrogate, its refusals, and runs that go on."""

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
from sciops.errors import DataError, DomainError, InputError, ModelError, SciopsError, SkillWarning, TrainingError
from sciops.surrogate import Surrogate


class Fixed(torch.nn.Module):
    """A module whose output has a shape of its own."""

    def __init__(self, shape: tuple[int, ...] = (1, 16), weights: bool = True) -> None:
        super().__init__()
        self.shape = shape
        self.scale = torch.nn.Parameter(torch.ones(())) if weights else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.ones(x.shape[0], *self.shape)


# What is refused


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"model": "fnoo"}, InputError, r"unknown operator 'fnoo'; did you mean 'fno'\? available: fno, unet"),
        ({"model": sciops.operators.FNO}, InputError, "give the name of an operator, or a module"),
        ({"modes": 8}, InputError, r"modes=8 on axis 'x': its 16 points carry frequencies up to 7; ask for 1 to 7"),
        ({"modes": 0}, InputError, "modes=0 on axis 'x'"),
        ({"modes": 3.5}, InputError, "modes is 3.5; expected a whole number, or one per axis"),
        ({"modes": [2.5]}, InputError, r"modes is \[2.5\]; expected a whole number"),
        ({"modes": "4"}, InputError, "modes is '4'; expected a whole number"),
        ({"modes": True}, InputError, "modes is True; expected a whole number"),
        ({"width": 4.0}, InputError, "width is 4.0; expected a whole number"),
        ({"layers": "two"}, InputError, "layers is 'two'; expected a whole number"),
        ({"epochs": 1.5}, InputError, "epochs is 1.5; expected a whole number"),
        ({"learning_rate": "fast"}, InputError, "learning_rate is 'fast'; expected a number"),
        ({"calibration": None, "validation": "0.1"}, InputError, "validation is '0.1'; expected a number"),
        ({"symmetries": "flip-y"}, SciopsError, "'flip-y'"),
        ({"accumulate": 0}, InputError, "accumulate must be at least 1, got 0"),
        ({"modes": (4, 4)}, InputError, r"modes \[4, 4\] for the 1 axes x"),
        ({"model": "unet", "modes": 4, "layers": None}, InputError, "the model 'unet' has no modes; .* it takes width"),
        ({"model": "unet", "layers": 2}, InputError, "the model 'unet' has no layers"),
        (
            {"model": Fixed(), "modes": 4, "width": None, "layers": None},
            InputError,
            "modes is for a model given by name",
        ),
        ({"model": Fixed(), "width": 4, "layers": None}, InputError, "width is for a model given by name"),
        (
            {"model": Fixed((2, 16)), "width": None, "layers": None},
            ModelError,
            r"Fixed gives \(1, 2, 16\), and the data needs \(1, 1, 16\)",
        ),
        (
            {"model": torch.nn.Linear(3, 3), "width": None, "layers": None},
            ModelError,
            r"Linear cannot be applied to inputs of shape \(1, 1, 16\)",
        ),
        ({"model": torch.nn.Identity(), "width": None, "layers": None}, ModelError, "Identity has no weights to train"),
        ({"inputs": "b"}, DataError, "no variable 'b'"),
        ({"outputs": "temperatur"}, DataError, "no variable 'temperatur'"),
        ({"inputs": []}, InputError, "inputs names no variable"),
        ({"parameters": "u"}, DataError, "a parameter is a number per sample"),
        ({"task": "evolv"}, InputError, "unknown task 'evolv'"),
        ({"task": "evolve"}, InputError, "an evolution is fed its own output: name 'u' in inputs too"),
        ({"task": "evolve", "outputs": "a"}, DataError, "'a' has no time dimension"),
        ({"history": 2}, InputError, "history, steps and stride are for task='evolve'"),
        ({"noise": 0.1}, InputError, "pushforward and noise are for task='evolve'"),
        ({"pushforward": True}, InputError, "pushforward and noise are for task='evolve'"),
        ({"symmetries": ["flipp-x"]}, InputError, "unknown symmetry 'flipp-x'; did you mean 'flip'"),
        ({"symmetries": ["flip-y"]}, SciopsError, "'flip-y'"),
        ({"symmetries": ["transpose"]}, DomainError, "'transpose' acts on 2 different axes"),
        ({"validation": 0.0}, InputError, "validation=0.0 leaves nothing"),
        ({"validation": 0.9, "calibration": 0.5}, InputError, "split fractions"),
        ({"epochs": 0}, InputError, "epochs must be at least 1, got 0"),
        ({"batch_size": 0}, InputError, "batch_size must be at least 1, got 0"),
        ({"learning_rate": -1.0}, InputError, "learning_rate must be positive"),
        ({"loss": "l3"}, InputError, "unknown loss 'l3'"),
        ({"precision": "16"}, InputError, "unknown precision '16'"),
        ({"device": "gpu"}, InputError, "unknown device 'gpu'"),
        ({"average": 1.0}, InputError, "averaged weights must be"),
        ({"patience": 0}, InputError, "patience must be at least 1"),
        ({"workers": -1}, InputError, "workers must be zero or more"),
        ({"resume": True}, InputError, "resume=True needs output"),
    ],
)
def test_a_misfit_is_one_clear_line(
    fitted: Any, make: Any, options: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as error:
        fitted(make.waves(), **{"inputs": "a", "outputs": "u", **options})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"history": 8, "steps": 6}, r"a window of history=8, horizon=6, stride=1 spans 14 frames, and 'v' has 12"),
        ({"stride": 12}, "spans 13 frames, and 'v' has 12"),
        ({"history": 0}, "history is 0; expected at least 1"),
        ({"steps": 0}, "horizon is 0; expected at least 1"),
        ({"pushforward": True}, "pushforward needs steps of at least 2"),
        ({"noise": -1.0}, "noise must be zero or positive"),
        ({"inputs": ["v", "u"]}, "the input 'u' has a time dimension and is not among the outputs"),
    ],
)
def test_an_evolution_that_cannot_be(fitted: Any, make: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SciopsError, match=message):
        fitted(make.trajectories(), **{"inputs": "v", "outputs": "v", "task": "evolve", **options})


def test_times_that_are_not_uniform(fitted: Any, make: Any) -> None:
    ds = make.trajectories()
    evolve = {"inputs": "v", "outputs": "v", "task": "evolve"}
    with pytest.raises(DataError, match=r"the times of 'time' are not uniform \(steps from 0\.1 to 2\.1\)"):
        fitted(ds.assign_coords(time=0.1 * np.arange(12) ** 2), **evolve)
    tiny = ds.assign_coords(time=1e-12 * np.arange(12) ** 2)
    with pytest.raises(DataError, match="not uniform"):
        fitted(tiny, **evolve)
    late = ds.assign_coords(time=(1000 + 0.01 * np.arange(12)).astype(np.float32))  # rounded to 6e-5
    assert fitted(late, **evolve).description.time_step == pytest.approx(0.01, rel=1e-2)


def test_values_that_are_not_finite_are_counted(fitted: Any, make: Any) -> None:
    ds = make.waves()
    ds.u.values[17, 3:5] = np.nan
    ds.u.values[30, 0] = np.inf
    with pytest.raises(DataError, match=r"variable 'u' has 2 NaN and 1 infinite values, first in sample 17"):
        fitted(ds, inputs="a", outputs="u")


def test_too_few_samples(fitted: Any, make: Any) -> None:
    with pytest.raises(DataError, match="2 samples cannot be split into 3 parts"):
        fitted(make.waves(samples=2), inputs="a", outputs="u")
    with pytest.raises(DataError, match=r"or leave out the error band by calibration=0"):
        fitted(make.waves(samples=2), inputs="a", outputs="u")
    with pytest.raises(DataError, match=r"has no sample dimension; name it by sample_dim= \(--sample-dim\)$"):
        fitted(make.waves().isel(sample=0), inputs="a", outputs="u")


@pytest.mark.parametrize("alone", [True, False])
def test_one_trajectory_is_cut_as_the_message_says(alone: bool, fitted: Any, make: Any) -> None:
    ds = make.trajectories().isel(sample=0 if alone else [0])
    options = {"inputs": "v", "outputs": "v", "task": "evolve"}
    with pytest.raises(DataError, match="or cut one trajectory into 6 samples: ") as caught:
        fitted(ds, **options)
    recipe = str(caught.value).partition("samples: ")[2]
    cut = eval(recipe, {"xr": xr, "ds": ds})
    assert cut.sizes["sample"] == 6 and cut.sizes["time"] == 2
    np.testing.assert_array_equal(cut["v"].values.reshape(12, -1), ds["v"].values.reshape(12, -1))
    assert fitted(cut, **options).description.task == "evolve"


def test_a_folder_that_cannot_be_used(fitted: Any, make: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(TrainingError, match="cannot make the run folder"):
        fitted(make.waves(), inputs="a", outputs="u", output=tmp_path / "file" / "run")
    with pytest.raises(DataError, match="no such file"):
        fitted(tmp_path / "none.h5", inputs="a", outputs="u", output=tmp_path / "run")
    ds = make.waves()
    with pytest.raises(InputError):
        fitted(ds, inputs="a", outputs="u", modes=99, output=tmp_path / "run")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


# Channels


def test_moving_variables_come_first_and_in_the_order_of_the_outputs(stepper: Surrogate, make: Any) -> None:
    assert stepper.description.inputs == ("u", "v", "a") and stepper.description.outputs == ("u", "v")
    assert stepper.description.statistics.x.names == (
        *("u[0](t-1)", "u[1](t-1)", "v(t-1)", "u[0](t)", "u[1](t)", "v(t)"),
        "a",
    )


def test_the_order_of_the_inputs_does_not_matter(fitted: Any, make: Any, stepper: Surrogate) -> None:
    ds = make.trajectories()
    options = {"parameters": "c", "task": "evolve", "history": 2, "stride": 2, "steps": 2}
    other = fitted(ds, inputs=["u", "v", "a"], outputs=["u", "v"], validation=0.2, calibration=0.3, **options)
    assert other.predict(ds).identical(stepper.predict(ds))


def test_a_residual_step_of_zero_is_persistence(fitted: Any, make: Any) -> None:
    """With the two moving variables in another order than in the inputs, the change is added to the right one."""
    ds = make.trajectories()
    surrogate = fitted(ds, inputs=["v", "u", "a"], outputs=["u", "v"], task="evolve", history=2)
    for parameter in surrogate.operator.model.projection.parameters():
        parameter.data.zero_()
    mean = surrogate.operator.output_normaliser.mean
    found = surrogate.predict(ds, steps=2)
    np.testing.assert_allclose(found.v[:, 1], ds.v[:, 1] + 2 * float(mean[2]), atol=1e-6)
    np.testing.assert_allclose(found.u[:, 1, 0], ds.u[:, 1, 0] + 2 * float(mean[0]), atol=1e-6)


def test_parameters_of_one_value_for_all_and_fields_shared_by_all(fitted: Any, make: Any) -> None:
    ds = make.waves().assign(nu=0.5)
    ds["a0"] = ds.a.isel(sample=0, drop=True)
    surrogate = fitted(ds, inputs=["a", "a0"], outputs="u", parameters="nu")
    found = surrogate.predict(ds)
    assert found.u.shape == (48, 16) and list(found.data_vars) == ["u"]
    np.testing.assert_allclose(surrogate.predict(ds.isel(sample=7)).u, found.u[7], atol=1e-6)


def test_a_unet_and_an_h1_loss(fitted: Any, make: Any) -> None:
    surrogate = fitted(make.waves(), inputs="a", outputs="u", model="unet", layers=None, loss="h1")
    assert type(surrogate.model).__name__ == "ConvNeXtUNet" and surrogate.model.width == 4


def test_a_trial_leaves_the_module_as_it_was(fitted: Any, make: Any) -> None:
    from sciops.surrogate.network import try_module

    network = torch.nn.Sequential(torch.nn.Conv1d(1, 1, 1), torch.nn.BatchNorm1d(1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    data = sciops.data.FunctionDataset(make.waves(), inputs="a", outputs="u")
    try_module(network, data, 1)
    assert network.training and all(torch.equal(before[name], value) for name, value in network.state_dict().items())


# Skill


def linear_problem() -> xr.Dataset:
    a = np.random.default_rng(0).standard_normal((60, 16))
    return xr.Dataset({"a": (("sample", "x"), a), "u": (("sample", "x"), a @ np.ones((16, 16)) + a)})


def test_every_fit_prints_its_skill_and_warns_when_beaten(capsys: pytest.CaptureFixture[str]) -> None:
    options: dict[str, Any] = {"width": 4, "layers": 1, "progress": False, "device": "cpu"}
    with pytest.warns(SkillWarning, match=r"the model is not better than (linear|pod-ridge)"):
        surrogate = sciops.fit(linear_problem(), inputs="a", outputs="u", epochs=1, **options)
    text = capsys.readouterr().out
    for word in ("mean", "linear", "pod-ridge", "model", "48 training and 6 validation items"):
        assert word in " ".join(text.split())
    skill = surrogate.description.provenance["skill"]
    assert skill["linear"] < 1e-3 < skill["model"] and f"{skill['model']:.4g}" in text


def test_the_skill_is_the_error_on_the_validation_samples(line: Surrogate, make: Any) -> None:
    from sciops.data.functions.sampling import split

    _, validation, _ = split(48, (0.65, 0.1, 0.25), seed=0)
    found = line.evaluate(make.waves().isel(sample=validation.numpy())).relative_l2
    assert line.description.provenance["skill"]["model"] == pytest.approx(found, rel=1e-6)


def test_a_good_model_is_not_warned_of(make: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", SkillWarning)
        surrogate = sciops.fit(
            make.waves(samples=100),
            inputs="a",
            outputs="u",
            symmetries=["shift-x"],
            epochs=15,
            width=8,
            layers=2,
            learning_rate=1e-2,
            progress=False,
            device="cpu",
        )
    skill = surrogate.description.provenance["skill"]
    assert skill["model"] < 0.5 * min(error for name, error in skill.items() if name != "model")


# Runs


def weights(surrogate: Surrogate) -> dict[str, torch.Tensor]:
    return dict(surrogate.operator.state_dict())


def assert_same(first: Surrogate, second: Surrogate) -> None:
    one, two = weights(first), weights(second)
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
    assert first.policy == second.policy and first.band is not None and second.band is not None
    assert torch.equal(first.band.scores, second.band.scores) and torch.equal(first.band.scale, second.band.scale)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(fitted: Any, make: Any, line: Surrogate) -> None:
    again = fitted(make.waves(), inputs="a", outputs="u", calibration=0.25)
    assert_same(again, line)
    other = fitted(make.waves(), inputs="a", outputs="u", calibration=0.25, seed=1)
    assert any(not torch.equal(a, b) for a, b in zip(weights(other).values(), weights(line).values(), strict=True))


class Killed(Exception):
    pass


def test_an_interrupted_run_goes_on_to_the_same_bits(
    fitted: Any, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sciops.training.module import OperatorModule

    def run(folder: str, **changes: Any) -> Surrogate:
        return fitted(
            make.waves(),
            **{
                "inputs": "a",
                "outputs": "u",
                "epochs": 3,
                "symmetries": ["shift-x"],
                "checkpoint_steps": 2,
                "output": tmp_path / folder,
                **changes,
            },
        )

    whole = run("whole")
    step = OperatorModule.training_step

    def mortal(self: Any, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.global_step == 5:
            raise Killed
        return step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(OperatorModule, "training_step", mortal)
        with pytest.raises(Killed):
            run("killed")
    with pytest.raises(ModelError, match="the run is unfinished"):
        sciops.load(tmp_path / "killed")
    with pytest.raises(TrainingError, match="already holds a training run; go on with resume=True"):
        run("killed")
    with pytest.raises(TrainingError, match=r"cannot resume .*learning_rate was"):
        run("killed", resume=True, learning_rate=1e-3)
    resumed = run("killed", resume=True)
    assert_same(resumed, whole)
    assert_same(sciops.load(tmp_path / "killed"), whole)
    metrics = [(tmp_path / folder / "metrics.csv").read_text().splitlines() for folder in ("whole", "killed")]
    assert len(metrics[0]) == len(metrics[1]) == 4

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("sciops.training.run.train", never)
    finished = run("killed", resume=True)
    assert_same(finished, whole)
    assert finished.predict(make.waves()).identical(whole.predict(make.waves()))
    with pytest.raises(TrainingError, match=r"symmetries was \('shift-x',\) and is now \('flip-x',\); train into"):
        run("killed", resume=True, symmetries=["flip-x"])
    assert json.loads((tmp_path / "killed" / "surrogate" / "surrogate.json").read_text())["format"] == 1


def test_a_finished_run_is_only_that_run(fitted: Any, make: Any, tmp_path: Path) -> None:
    options = {
        "inputs": "a",
        "outputs": "u",
        "modes": [3],
        "width": np.int64(4),
        "seed": np.int64(3),
        "output": tmp_path / "run",
    }
    first = fitted(make.waves(), **options)
    assert_same(fitted(make.waves(), resume=True, workers=1, checkpoint_seconds=1, **options), first)
    for changes, message in (
        ({"epochs": 2}, "epochs was 1 and is now 2"),
        ({"batch_size": 8, "learning_rate": 1e-3}, "batch_size was 16 and is now 8"),
        ({"learning_rate": 1e-3}, "learning_rate was 0.005 and is now 0.001"),
        ({"accumulate": 2}, "accumulate was 1 and is now 2"),
        ({"modes": (4,)}, r"modes was \[3\] and is now \[4\]"),
        ({"model": "unet", "modes": None, "layers": None}, "model was 'fno' and is now 'unet'"),
        ({"seed": 4}, "seed was 3 and is now 4"),
        ({"calibration": 0.2}, "calibration was 0.1 and is now 0.2"),
        ({"precision": "64"}, "precision was '32' and is now '64'"),
        ({"inputs": "u", "outputs": "a"}, r"inputs was \('a',\) and is now \('u',\)"),
    ):
        with pytest.raises(TrainingError, match=f"run, a finished run: {message}; train into another folder"):
            fitted(make.waves(), resume=True, **{**options, **changes})
    ds = make.waves()
    stretched = ds.assign_coords(x=("x", 2 * ds.x.values, {**ds.x.attrs, "upper": 4.0}))
    for other in (make.waves(seed=1), make.waves(samples=50), stretched):
        with pytest.raises(TrainingError, match=r"the data fingerprint was '.*' and is now '.*'; train into another"):
            fitted(other, resume=True, **options)


def test_an_interrupted_run_does_not_go_on_with_other_data(
    fitted: Any, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"inputs": "a", "outputs": "u", "output": tmp_path / "run"}
    with monkeypatch.context() as patch:
        patch.setattr("sciops.surrogate.fitting.measured_policy", lambda *_: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            fitted(make.waves(), **options)
    with pytest.raises(TrainingError, match="cannot resume"):
        fitted(make.waves(seed=1), resume=True, **options)
    assert fitted(make.waves(), resume=True, **options).description.provenance["options"]["epochs"] == 1


def test_gradients_of_several_batches_make_one_step(fitted: Any, make: Any, line: Surrogate) -> None:
    options = {"inputs": "a", "outputs": "u", "batch_size": 8, "calibration": 0.25}
    one, two = (fitted(make.waves(), accumulate=count, **options) for count in (1, 2))
    assert two.description.provenance["options"]["accumulate"] == 2
    assert any(not torch.equal(a, b) for a, b in zip(weights(one).values(), weights(two).values(), strict=True))


# Symmetries


def test_one_symmetry_may_be_a_plain_name(fitted: Any, make: Any) -> None:
    one, listed = (fitted(make.waves(), inputs="a", outputs="u", symmetries=s) for s in ("flip-x", ["flip-x"]))
    assert one.description.symmetries == ("flip-x",)
    assert_same(one, listed)


@pytest.mark.parametrize("names", ["transpose", "flip-x", "rotate-90", ["flip-y", "transpose"]])
@pytest.mark.parametrize("variables", [{"inputs": "a", "outputs": ["u", "w"]}, {"inputs": ["w", "a"], "outputs": "u"}])
def test_components_of_vectors_are_not_moved(fitted: Any, make: Any, names: Any, variables: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"leaves the components of 'w' as they are.* leave it out"):
        fitted(make.squares(), symmetries=names, modes=2, **variables)


def test_shifts_move_vectors_too(fitted: Any, make: Any) -> None:
    ds = make.trajectories(samples=10, frames=4)
    found = fitted(ds, inputs="u", outputs="u", task="evolve", symmetries="shift-x")
    assert found.description.symmetries == ("shift-x",)
    scalar = make.squares().isel(part=[0])
    assert fitted(scalar, inputs="a", outputs="w", symmetries="flip-x", modes=2).description.channels == 1


def test_killed_between_training_and_saving(
    fitted: Any, make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"inputs": "a", "outputs": "u", "calibration": 0.25, "output": tmp_path / "run"}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("sciops.training.saved.save_file", full)
        with pytest.raises(ModelError, match="No space left"):
            fitted(make.waves(), **options)
    assert not (tmp_path / "run" / "surrogate").exists()
    again = fitted(make.waves(), resume=True, **options)
    assert_same(again, sciops.load(tmp_path / "run"))


def test_long_trajectories_get_a_band_of_bounded_size(fitted: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sciops.surrogate.assessment._BAND_BYTES", 8 * 16 * 5)
    surrogate = fitted(make.trajectories(), inputs="v", outputs="v", task="evolve")
    assert surrogate.band is not None and surrogate.band.frames == 5


@pytest.mark.parametrize("model", ["fno", "unet"])
def test_an_axis_that_is_not_uniform_is_refused_with_the_line_that_makes_it_so(make: Any, model: str) -> None:
    ds = make.waves()
    names = [str(name) for name in ds.data_vars][:2]
    graded = ds.assign_coords(x=("x", np.linspace(0, 1, ds.sizes["x"]) ** 2))
    with pytest.raises(
        DomainError, match=r"needs uniform axes, and axis 'x' is stretched .*ds\.interp\(x=numpy\.linspace"
    ):
        sciops.fit(graded, inputs=names[0], outputs=names[1], model=model, progress=False)
