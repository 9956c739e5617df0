"""Saved surrogates: the same bits, whole or not at all, and nothing in them is executed."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import sciops
from sciops.errors import DataError, InputError, ModelError
from sciops.surrogate import Surrogate


class Mine(torch.nn.Module):
    """A module of a user, with a batch norm so that buffers count."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv1d(1, width, 3, padding=1, padding_mode="circular"),
            torch.nn.BatchNorm1d(width),
            torch.nn.Conv1d(width, 1, 1),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Trap:
    """Unpickling it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.fixture
def saved(line: Surrogate, tmp_path: Path) -> Path:
    return line.save(tmp_path / "saved")


def change(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit the JSON file in place."""
    contents = json.loads((folder / "surrogate.json").read_text())
    edit(contents)
    (folder / "surrogate.json").write_text(json.dumps(contents))


@pytest.mark.parametrize("which", ["line", "square", "stepper"])
def test_a_loaded_surrogate_predicts_the_same_bits(
    which: str, request: pytest.FixtureRequest, make: Any, tmp_path: Path
) -> None:
    surrogate: Surrogate = request.getfixturevalue(which)
    ds = {"line": make.waves, "square": make.squares, "stepper": make.trajectories}[which]()
    path = surrogate.save(tmp_path / "s")
    assert sorted(file.name for file in path.iterdir()) == [
        "band.safetensors",
        "surrogate.json",
        "weights.safetensors",
    ]
    again = sciops.load(path)
    assert again.predict(ds, coverage=0.5).identical(surrogate.predict(ds, coverage=0.5))
    assert repr(again) == repr(surrogate) and again.policy == surrogate.policy
    assert json.dumps(again.description.to_dict()) == json.dumps(surrogate.description.to_dict())
    assert next(again.operator.parameters()).dtype == next(surrogate.operator.parameters()).dtype
    assert not again.operator.training
    for first, second in zip(path.iterdir(), again.save(tmp_path / "t").iterdir(), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_what_a_surrogate_knows_of_its_training(line: Surrogate) -> None:
    known = line.description.provenance
    assert {"sciops", "torch", "python", "data", "samples", "fingerprint", "options", "split", "skill"} <= set(known)
    assert known["samples"] == 48 and sum(known["split"]) == 48
    assert {"mean", "linear", "pod-ridge", "model"} <= set(known["skill"])
    assert line.description.statistics.x.names == ("a",)


def test_an_existing_folder_is_kept(line: Surrogate, saved: Path, tmp_path: Path) -> None:
    before = (saved / "surrogate.json").stat().st_ino
    with pytest.raises(ModelError, match=r"saved exists; choose another name or pass overwrite=True"):
        line.save(saved)
    assert (saved / "surrogate.json").stat().st_ino == before
    line.save(saved, overwrite=True)
    assert (saved / "surrogate.json").stat().st_ino != before
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").write_text("mine")
    with pytest.raises(ModelError, match="is no saved surrogate"):
        line.save(tmp_path / "other", overwrite=True)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["other", "saved"]


@pytest.mark.parametrize("where", ["weights", "json", "rename"])
@pytest.mark.parametrize("existing", [False, True])
def test_a_full_disk_leaves_nothing(
    line: Surrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, existing: bool, make: Any
) -> None:
    if existing:
        line.save(tmp_path / "s")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        if where == "weights":
            patch.setattr("sciops.training.saved.save_file", full)
        elif where == "json":
            patch.setattr(Path, "write_text", full)
        else:
            rename = Path.rename
            patch.setattr(Path, "rename", lambda self, to: full() if self.suffix == ".tmp" else rename(self, to))
        with pytest.raises(ModelError, match=r"cannot be written .*No space left"):
            line.save(tmp_path / "s", overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == (["s"] if existing else [])
    if existing:
        assert sciops.load(tmp_path / "s").predict(make.waves()).identical(line.predict(make.waves()))


def test_no_permission_is_one_clear_line(line: Surrogate, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        line.save(tmp_path / "file" / "s")


def test_a_module_of_ones_own(fitted: Any, make: Any, tmp_path: Path) -> None:
    ds = make.waves()
    surrogate = fitted(ds, inputs="a", outputs="u", model=Mine())
    path = surrogate.save(tmp_path / "mine")
    with pytest.raises(ModelError, match=r"class 'Mine', .*sciops\.load\(path, model=Mine\(\.\.\.\)\)"):
        sciops.load(path)
    assert sciops.load(path, model=Mine()).predict(ds).identical(surrogate.predict(ds))
    with pytest.raises(ModelError, match=r"the weights do not fit the model .*size mismatch"):
        sciops.load(path, model=Mine(5))
    with pytest.raises(ModelError, match="class 'Mine', and model is of the class 'Conv1d'"):
        sciops.load(path, model=torch.nn.Conv1d(1, 1, 1))


def test_an_instance_of_a_registered_operator_is_rebuilt_by_name(fitted: Any, make: Any, tmp_path: Path) -> None:
    ds = make.waves()
    network = sciops.operators.FNO(1, 1, modes=3, width=4, layers=1, grid=sciops.data.Grid.unit(16, kind="periodic"))
    surrogate = fitted(ds, inputs="a", outputs="u", model=network)
    assert sciops.load(surrogate.save(tmp_path / "s")).predict(ds).identical(surrogate.predict(ds))


# What is not a surrogate


def test_a_missing_or_foreign_path(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such folder"):
        sciops.load(tmp_path / "none")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.h5").write_text("")
    with pytest.raises(ModelError, match=r"no surrogate\.json in this folder \(it holds a\.h5\)"):
        sciops.load(tmp_path / "data")
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    with pytest.raises(ModelError, match="the run is unfinished, go on with resume=True"):
        sciops.load(tmp_path / "run")


def test_pickles_are_never_executed(saved: Path, tmp_path: Path) -> None:
    harm = tmp_path / "harm"
    bomb = pickle.dumps(Trap(harm))
    (tmp_path / "model.pt").write_bytes(bomb)
    with pytest.raises(ModelError, match=r"a surrogate is a folder .*pickles and checkpoints are not read"):
        sciops.load(tmp_path / "model.pt")
    for name in ("weights.safetensors", "band.safetensors", "surrogate.json"):
        folder = tmp_path / name.split(".")[0]
        shutil.copytree(saved, folder)
        (folder / name).write_bytes(bomb)
        with pytest.raises(ModelError, match="damaged"):
            sciops.load(folder)
        torch.save({"state": Trap(harm)}, folder / name)
        with pytest.raises(ModelError, match="damaged"):
            sciops.load(folder)
    assert not harm.exists()
    pickle.loads(bomb)
    assert harm.exists()  # the trap works


@pytest.mark.parametrize("name", ["weights.safetensors", "band.safetensors"])
def test_missing_or_truncated_tensors(saved: Path, name: str) -> None:
    path = saved / name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=f"{name}: missing or damaged"):
        sciops.load(saved)
    path.unlink()
    with pytest.raises(ModelError, match=f"{name}: missing or damaged"):
        sciops.load(saved)


def test_tensors_that_do_not_fit(saved: Path) -> None:
    path = saved / "weights.safetensors"
    weights = load_file(path)
    first = next(name for name in weights if name.startswith("model."))
    for broken, message in (
        ({name: value for name, value in weights.items() if name != first}, "Missing key"),
        ({**weights, "extra": torch.zeros(1)}, "Unexpected key"),
        ({**weights, first: weights[first][..., None].contiguous()}, "size mismatch"),
        ({**weights, first: torch.full_like(weights[first], torch.nan)}, f"'{first}' holds NaN"),
    ):
        save_file(broken, path)
        with pytest.raises(ModelError, match=message):
            sciops.load(saved)
    save_file(weights, path)
    band = load_file(saved / "band.safetensors")
    for broken in ({"scale": band["scale"]}, {**band, "scale": band["scale"][..., 1:].contiguous()}):
        save_file(broken, saved / "band.safetensors")
        with pytest.raises(ModelError, match=r"band\.safetensors: expected scale \(frame, 1, 16\)"):
            sciops.load(saved)


def test_damaged_json(saved: Path) -> None:
    path = saved / "surrogate.json"
    text = path.read_text()
    for damaged, message in (
        (text[: len(text) // 2], "damaged"),
        ("", "damaged"),
        ("[]", "format 'list'"),
        (text.replace('"format": 1', '"format": 99'), "format 99, and this version of sciops reads format 1"),
        ("[" * 100_000, "damaged"),
    ):
        path.write_text(damaged)
        with pytest.raises(ModelError, match=message):
            sciops.load(saved)
    path.write_text(text)
    assert sciops.load(saved)


@pytest.mark.parametrize(
    "edit",
    [
        lambda c: c.pop("policy"),
        lambda c: c["description"].pop("grid"),
        lambda c: c["description"].update(colour="red"),
        lambda c: c["description"].update(task="paint"),
        lambda c: c["description"].update(task="evolve"),
        lambda c: c["description"].update(symmetries=["flip-q"]),
        lambda c: c["description"]["statistics"].update(x=None),
        lambda c: c["description"]["statistics"]["x"].update(mean=[1.0]),
        lambda c: c["description"]["grid"]["axes"][0].update(kind="round"),
        lambda c: c.update(description=[]),
        lambda c: c.update(model="fno"),
        lambda c: c.update(rollout=3),
        lambda c: c.update(rollout={"history": 0}),
        lambda c: c.update(policy=[1]),
        lambda c: c.update(policy={"finer": {"native": "x"}, "coarser": None}),
        lambda c: c.update(input_normaliser=5),
        lambda c: c["model"].pop("configuration"),
        lambda c: c["model"]["configuration"].update(widht=4),
        lambda c: c["model"]["configuration"].update(width="wide"),
        lambda c: c["model"]["configuration"].update(modes=[1, 2, 3]),
    ],
)
def test_entries_that_are_wrong_are_told_in_one_line(saved: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    change(saved, edit)
    with pytest.raises(ModelError) as error:
        sciops.load(saved)
    assert "saved" in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 600


def test_only_registered_names_are_built(saved: Path) -> None:
    change(saved, lambda c: c["model"].update(name="fnoo"))
    with pytest.raises(ModelError, match="unknown operator 'fnoo'; did you mean 'fno'"):
        sciops.load(saved)
    change(saved, lambda c: c["model"].update(name="os.system"))
    with pytest.raises(ModelError, match=r"unknown operator 'os\.system'"):
        sciops.load(saved)
    change(saved, lambda c: c["model"].update(name=["fno"]))
    with pytest.raises(ModelError):
        sciops.load(saved)


def test_loading_on_a_device_that_is_not_there(saved: Path) -> None:
    with pytest.raises(InputError, match="cannot put the weights on device"):
        sciops.load(saved, device="cuda:99")


def test_attributes_that_json_does_not_hold_are_no_obstacle(fitted: Any, make: Any, tmp_path: Path) -> None:
    ds = make.waves()
    ds.u.attrs |= {"missing_value": np.nan, "valid_range": np.array([0, 9]), "level": np.float32(2), "note": "x"}
    surrogate = fitted(ds, inputs="a", outputs="u", output=tmp_path / "run")
    assert surrogate.description.variables[0].attributes["note"] == "x"
    assert sciops.load(tmp_path / "run").predict(ds).identical(surrogate.predict(ds))


def test_the_temporary_folder_stands_beside(line: Surrogate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it is complete there is nothing under the name."""
    seen: list[list[str]] = []
    rename = Path.rename

    def watched(self: Path, to: Path) -> Path:
        seen.append(sorted(os.listdir(tmp_path)))
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", watched)
    line.save(tmp_path / "s")
    assert len(seen) == 1 and len(seen[0]) == 1 and seen[0][0].startswith(".s.")


def test_a_data_file_is_no_surrogate(make: Any, tmp_path: Path, line: Surrogate) -> None:
    path = sciops.data.write(make.waves(), tmp_path / "waves.nc")
    with pytest.raises(ModelError, match="a surrogate is a folder"):
        sciops.load(path)
    with pytest.raises(DataError, match=r"a folder without data files; it holds .*surrogate\.json"):
        line.predict(line.save(tmp_path / "s"))


def test_only_what_save_wrote_is_replaced(line: Surrogate, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(saved)
    line.save(tmp_path / "link", overwrite=True)
    assert (tmp_path / "link").is_symlink() and sciops.load(saved).grid == line.grid
    (saved / "notes.txt").write_text("mine")
    for path in (saved, tmp_path / "link"):
        with pytest.raises(ModelError, match=r"saved also holds notes\.txt, which would be lost"):
            line.save(path, overwrite=True)
    assert (saved / "notes.txt").read_text() == "mine"


def test_two_fits_with_one_module_share_no_weights(fitted: Any, make: Any) -> None:
    module = Mine()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    first, second = (fitted(make.waves(), inputs="a", outputs="u", model=module) for _ in range(2))
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in before.items())
    assert first.model is not second.model and first.model is not module


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        ("history", 2.5, "history is 2.5"),
        ("history", 3, "history is 3, and that of the rollout is 2"),
        ("stride", 0, "stride is 0"),
        ("outputs", ["v", "u"], "variables is"),
        ("parameters", [], "parameters is"),
        ("time_step", "0.1", "time_step is '0.1'"),
        ("times", ["a"], "times is"),
        ("units", ["K"], "units is"),
    ],
)
def test_a_description_that_does_not_fit_itself(
    stepper: Surrogate, tmp_path: Path, entry: str, value: Any, message: str
) -> None:
    folder = stepper.save(tmp_path / "stepper")
    change(folder, lambda contents: contents["description"].update({entry: value}))
    with pytest.raises(ModelError, match=message):
        sciops.load(folder)
