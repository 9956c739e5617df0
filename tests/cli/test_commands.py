"""What each command does, from files to files."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
import yaml

import sciops
from sciops.cli import main
from sciops.solvers.pde import DarcySimulator

SMALL = ["--epochs", "2", "--width", "4", "--layers", "1", "--no-progress"]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return sciops.load(run).operator.state_dict()


def same(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A file of no known layout."""
    with h5py.File(tmp_path / "foreign.h5", "w") as target:
        target["fields/u"] = np.random.default_rng(0).normal(size=(5, 1, 8, 6))
        target["grid/x"] = np.linspace(0, 2, 8)
    return tmp_path / "foreign.h5"


DECLARED = ["--dims", "fields/u=run,-,x,y", "--sample-dim", "run", "--coords", "x=grid/x", "--kinds", "y=periodic"]


def test_info(file, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")  # some runners set a narrow one
    assert main(["info", str(file)]) == 0
    text = capsys.readouterr().out
    assert "layout native: " in text and "periodic" in text and "sample, x" in text


def test_info_as_json_with_values_that_are_not_finite(tmp_path, capsys):
    sciops.data.write(xr.Dataset({"u": (("sample", "x"), [[np.nan] * 4])}), tmp_path / "u.h5")
    assert main(["info", str(tmp_path / "u.h5"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["layout"] == "native" and found["reason"] and found["axes"][0]["assumed"]
    (u,) = found["variables"]
    assert u["statistics"]["mean"] is None and u["statistics"]["nan"] == 4
    assert found["defects"] == ["'u' holds 4 NaN and 0 infinite values of 4"]


def test_info_without_statistics_reads_nothing(file, capsys):
    assert main(["info", str(file), "--json", "--no-statistics"]) == 0
    assert all(entry["statistics"] is None for entry in json.loads(capsys.readouterr().out)["variables"])


def test_info_plot(file, tmp_path, capsys):
    assert main(["info", str(file), "--plot", str(tmp_path / "look.png")]) == 0
    assert (tmp_path / "look.png").read_bytes().startswith(b"\x89PNG")


def test_info_of_a_declared_file(foreign, capsys):
    assert main(["info", str(foreign), "--json", *DECLARED]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["sample_dim"] == "run" and found["variables"][0]["shape"] == [5, 8, 6]
    x, y = found["axes"]
    assert x["axis"]["upper"] == 2.0 and not x["assumed"]
    assert y["axis"]["kind"] == "periodic" and y["assumed"]


def test_convert_makes_a_file_that_needs_no_declaration(foreign, tmp_path, capsys):
    out = tmp_path / "native.h5"
    assert main(["convert", str(foreign), str(out), *DECLARED]) == 0
    assert "u (run 5, x 8, y 6), from the layout declared" in capsys.readouterr().out
    with sciops.data.open(out) as ds, h5py.File(foreign) as source, xr.open_dataset(out) as plain:
        assert np.array_equal(ds.u.values, source["fields/u"][:, 0]) and ds.y.attrs["kind"] == "periodic"
        assert np.array_equal(plain.u.values, ds.u.values)
    assert main(["convert", str(foreign), str(out), *DECLARED, "--overwrite"]) == 0


def test_simulate_takes_the_options_of_the_simulator(tmp_path, capsys):
    out = tmp_path / "darcy.h5"
    words = ["--samples", "3", "--resolution", "9", "--seed", "5", "--permeability", "two-phase", "--high", "10"]
    assert main(["simulate", "darcy", str(out), *words]) == 0
    assert "estimated error" in capsys.readouterr().out
    expected = DarcySimulator(permeability="two-phase", high=10.0).dataset(samples=3, resolution=9, seed=5)
    with sciops.data.open(out) as ds:
        assert np.array_equal(ds.u.values, expected.u.values)


def test_simulate_from_a_configuration(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text("out: a.h5\nsamples: 2\nresolution: 9\nlow: 5.0\n")
    assert main(["simulate", "darcy", "--config", "run.yaml"]) == 0
    assert main(["simulate", "darcy", "b.h5", "--config", "run.yaml", "--samples", "1"]) == 0
    with sciops.data.open("a.h5") as a, sciops.data.open("b.h5") as b:
        assert a.sizes["sample"] == 2 and b.sizes["sample"] == 1
        assert json.loads(a.attrs["options"])["low"] == 5.0


def test_fit_needs_names_alone(file, monkeypatch, capsys):
    monkeypatch.chdir(file.parent)
    assert main(["fit", "waves.h5", "--inputs", "a", "--outputs", "u", *SMALL]) == 0
    text = capsys.readouterr()
    assert "Skill on the validation set" in text.out and "sciops predict waves-fno" in text.out
    assert "sciops: warning" not in text.err
    assert sciops.load("waves-fno").description.outputs == ("u",)


def test_a_saved_configuration_gives_the_same_bits(run, tmp_path, monkeypatch):
    """From another folder too, and another seed gives others."""
    monkeypatch.chdir(tmp_path)
    config = run / "config.yaml"
    assert {"output", "resume"}.isdisjoint(yaml.safe_load(config.read_text()))
    assert main(["fit", "--config", str(config), "--output", "again"]) == 0
    assert same(run, tmp_path / "again")
    assert (tmp_path / "again" / "config.yaml").read_text() == config.read_text()
    assert main(["fit", "--config", str(config), "--output", "other", "--seed", "1"]) == 0
    assert not same(run, tmp_path / "other")


def test_resume_goes_on_to_the_same_bits(run, tmp_path, monkeypatch, capsys):
    from sciops.training import callbacks

    class Stop(Exception):
        pass

    def stop(self, trainer, *rest, **named) -> None:
        if trainer.current_epoch == 1:
            raise Stop

    config = str(run / "config.yaml")
    with monkeypatch.context() as patch:
        patch.setattr(callbacks.WeightAverage, "on_train_epoch_start", stop, raising=False)
        with pytest.raises(Stop):
            main(["fit", "--config", config, "--output", str(tmp_path / "run"), "--checkpoint-steps", "1"])
    assert (tmp_path / "run" / "checkpoints").is_dir() and not (tmp_path / "run" / "surrogate").exists()
    assert main(["fit", "--resume", str(tmp_path / "run")]) == 0
    assert same(run, tmp_path / "run")
    capsys.readouterr()
    assert main(["fit", "--resume", str(tmp_path / "run"), "--checkpoint-seconds", "9"]) == 0
    assert "is finished, nothing is left to train" in capsys.readouterr().out
    for words, message in ((["--epochs", "9"], "epochs was 2 and is now 9"), (["--loss=h1"], "loss was 'l2' and is")):
        assert main(["fit", "--resume", str(tmp_path / "run"), *words]) == 2
        text = capsys.readouterr()
        assert message in text.err and text.err.count("\n") == 1 and text.out == ""
    assert same(run, tmp_path / "run")


def test_an_interrupt_says_how_to_go_on(file, tmp_path, monkeypatch, capsys):
    import sciops.cli.fit as module

    def interrupted(**options) -> None:
        if options["seed"] == 1:
            (options["output"] / "checkpoints").mkdir()
            (options["output"] / "checkpoints" / "last.ckpt").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit", _signed(interrupted))
    words = ["fit", str(file), "--inputs", "a", "--outputs", "u"]
    assert main([*words, "--output", str(tmp_path / "one")]) == 130
    assert "nothing was saved yet" in capsys.readouterr().err and not (tmp_path / "one").exists()
    assert main([*words, "--output", str(tmp_path / "two"), "--seed", "1"]) == 130
    assert f"go on with: sciops fit --resume {tmp_path / 'two'}" in capsys.readouterr().err
    assert (tmp_path / "two" / "config.yaml").is_file()


def in_process(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sciops", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_stopped_process_is_resumed_to_the_same_bits(file, tmp_path, number, code):
    words = ["fit", file, "--inputs", "a", "--outputs", "u", "--epochs", "400", *SMALL[2:]]
    with in_process(*words, "--output", tmp_path / "whole") as whole:
        assert whole.wait(300) == 0, whole.stderr.read()
    with in_process(*words, "--output", tmp_path / "run", "--checkpoint-steps", "5") as process:
        metrics = tmp_path / "run" / "metrics.csv"
        while process.poll() is None and not (metrics.exists() and metrics.read_text().count("\n") > 20):
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(60) == code
        line = process.stderr.read()
        assert number == signal.SIGKILL or line.endswith(f"go on with: sciops fit --resume {tmp_path / 'run'}\n")
    assert not (tmp_path / "run" / "surrogate").exists()
    assert main(["fit", "--resume", str(tmp_path / "run")]) == 0
    assert same(tmp_path / "whole", tmp_path / "run")


@pytest.mark.slow
def test_two_processes_write_one_run(file, tmp_path):
    words = ["fit", file, "--inputs", "a", "--outputs", "u", *SMALL, "--output", tmp_path / "run"]
    with in_process(*words, "--devices", "2", "--strategy", "ddp", "--device", "cpu") as process:
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count("use it: sciops predict") == 1 and out.count("Skill on the validation set") == 1
    assert sciops.load(tmp_path / "run").evaluate(file).samples == 40


def _signed(function):
    """`function` with the signature, hints and docstring of `sciops.fit`."""
    return functools.wraps(sciops.fit)(function)


def test_flags_reach_fit(file, tmp_path, monkeypatch):
    import sciops.cli.fit as module

    calls: list[dict] = []
    monkeypatch.setattr(module, "fit", _signed(lambda **options: calls.append(options)))
    words = ["--inputs", "a,nu", "--inputs", "u", "--outputs", "u", "--task", "evolve", "--modes", "5,4", "--history=2"]
    words += ["--precision", "64", "--symmetries", "flip-x", "--devices", "2", "--strategy", "ddp", "--no-residual"]
    words += ["--accumulate", "3"]
    assert main(["fit", str(file), *words, "--output", str(tmp_path / "run")]) == 0
    (call,) = calls
    assert call["inputs"] == ["a", "nu", "u"] and call["modes"] == [5, 4] and call["history"] == 2
    assert (
        call["accumulate"] == 3
        and call["precision"] == "64"
        and call["symmetries"] == ["flip-x"]
        and call["residual"] is False
    )
    assert (call["devices"], call["strategy"], call["data"], call["resume"]) == (2, "ddp", file, False)


def test_fit_on_a_declared_file_opens_it(foreign, tmp_path, monkeypatch):
    import sciops.cli.fit as module

    calls: list[dict] = []
    monkeypatch.setattr(module, "fit", _signed(lambda **options: calls.append(options)))
    words = ["fit", str(foreign), "--inputs", "u", "--outputs", "u", "--output", str(tmp_path / "run"), *DECLARED]
    assert main(words) == 0
    assert isinstance(calls[0]["data"], xr.Dataset) and dict(calls[0]["data"].sizes) == {"run": 5, "x": 8, "y": 6}
    assert main(["fit", "--config", str(tmp_path / "run" / "config.yaml"), "--output", str(tmp_path / "again")]) == 0
    assert isinstance(calls[1]["data"], xr.Dataset)


def test_further_processes_of_one_run_leave_its_folder_alone(file, tmp_path, monkeypatch, capsys):
    import sciops.cli.fit as module

    monkeypatch.setattr(module, "fit", _signed(lambda **options: None))
    monkeypatch.setenv("LOCAL_RANK", "1")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("first\n")
    assert main(["fit", str(file), "--inputs", "a", "--outputs", "u", "--output", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "config.yaml").read_text() == "first\n" and capsys.readouterr().out == ""


def test_predict_writes_the_variables_of_the_file(run, file, tmp_path, capsys):
    out = tmp_path / "prediction.h5"
    assert main(["predict", str(run), str(file), str(out), "--coverage", "0.5"]) == 0
    assert "u (sample 40, x 16)" in capsys.readouterr().out
    expected = sciops.load(run).predict(file, coverage=0.5)
    with sciops.data.open(out) as ds:
        assert ds.u.attrs["units"] == "K" and set(ds.data_vars) == {"u", "u_lower", "u_upper"}
        np.testing.assert_allclose(ds.u.values, expected.u.values, rtol=1e-6)
    with xr.open_dataset(file) as ds:
        far = sciops.data.write(ds[["a"]].load() * 3, tmp_path / "far.h5")
    capsys.readouterr()
    assert main(["predict", str(run), str(far), str(out), "--overwrite", "--precision", "64"]) == 0
    line = capsys.readouterr().err
    assert line.startswith("sciops: warning: outside the training range: a reaches") and line.count("\n") == 1


def test_evaluate(run, file, tmp_path, capsys):
    assert main(["evaluate", str(run), str(file), "--json", "--coverage", "0.5"]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = sciops.load(run).evaluate(file, coverage=0.5)
    assert found["samples"] == 40 and found["relative_l2"] == pytest.approx(expected.relative_l2)
    assert found["coverage"][0] == 0.5
    with xr.open_dataset(file) as ds:
        far = sciops.data.write(ds.load().assign(a=3 * ds.a), tmp_path / "far.h5")
    assert main(["evaluate", str(run), str(far), "--plot", str(tmp_path / "worst.png")]) == 0
    text = capsys.readouterr()
    assert "relative L2" in text.out and text.err == ""
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")


def test_evaluate_draws_the_input_of_the_surrogate(run, file, tmp_path, monkeypatch):
    with xr.open_dataset(file) as ds:
        ds = ds.load()
    wet = ("x", np.arange(16) > 3)
    more = sciops.data.write(ds.assign(b=2 * ds.a, wet=wet)[["wet", "b", "a", "u"]], tmp_path / "more.h5")
    seen = []
    monkeypatch.setattr("sciops.plotting.compare", lambda truth, prediction, **options: seen.append(truth))
    assert main(["evaluate", str(run), str(more), "--plot", str(tmp_path / "worst.png")]) == 0
    assert list(seen[0].data_vars) == ["u", "a"]


def test_predictions_are_not_written_under_the_name_of_a_store(run, file, tmp_path, capsys):
    assert main(["predict", str(run), str(file), str(tmp_path / "out.zarr")]) == 2
    error = capsys.readouterr().err
    assert "no Zarr store; call it out.h5, and make the store of it by sciops convert out.h5 out.zarr" in error
    assert error.count("\n") == 1 and not (tmp_path / "out.zarr").exists()


def test_kernels_without_cuda_say_so_once(capsys, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main(["kernels"]) == 0
    text = capsys.readouterr().out
    assert text.count("no CUDA here") == 1 and "cuda" not in text and "cpu" in text
    assert main(["kernels", "--json"]) == 0
    assert {row["device"] for row in json.loads(capsys.readouterr().out)["rows"]} == {"cpu", "cuda"}
