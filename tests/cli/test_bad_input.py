"""Every bad input ends in one line that names it, exit code 2, and nothing written."""

from __future__ import annotations

import os
import pickle
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

from sciops.cli import main
from sciops.data import write

FIT = ["--inputs", "a", "--outputs", "u", "--epochs", "1", "--width", "4", "--layers", "1", "--no-progress"]


class Pwned:
    """A pickle that makes a file when it is loaded."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (f"{os.getcwd()}/pwned",)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, where commands write what they are not told to write elsewhere."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], folder: Path) -> Iterator[Callable[..., str]]:
    """Run a command that must be refused, and give its one line."""

    def run(*words: str | Path) -> str:
        before = tree(folder)
        capsys.readouterr()
        code = main([str(word) for word in words])
        _, err = capsys.readouterr()
        assert code == 2, err
        assert err.startswith("sciops: error: ") and err.endswith("\n") and err.count("\n") == 1, err
        assert "Traceback" not in err and tree(folder) == before
        return err

    yield run


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def process(*words: str | Path, **options) -> str:
    """Run a command in a process of its own, which must refuse in one line."""
    command = [sys.executable, "-m", "sciops", *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("sciops: error: ") and result.stderr.count("\n") == 1, result.stderr
    return result.stderr


def pairs(samples: int = 40, **changes: np.ndarray) -> xr.Dataset:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(samples, 12))
    arrays = {"a": a, "u": 2 * a} | changes
    return xr.Dataset(
        {name: (("sample", "x"), values) for name, values in arrays.items()}, {"x": np.linspace(0, 1, 12)}
    )


# Files


@pytest.mark.parametrize(
    "words", [["info"], ["convert", "OUT"], ["fit", *FIT], ["evaluate", "RUN"], ["predict", "RUN", "OUT"]]
)
def test_a_missing_file(words, refused, file, run):
    name, *rest = words
    place = {"RUN": [run, "wave.h5"], "OUT": ["wave.h5", "out.h5"]}
    if name in ("evaluate", "predict"):
        line = refused(name, run, "wave.h5", *(["out.h5"] if name == "predict" else []))
    else:
        line = refused(name, *place.get(rest[0], ["wave.h5", *rest]) if rest else ["wave.h5"])
    assert "wave.h5: no such file; did you mean 'waves.h5'?" in line


def test_a_folder_and_a_missing_folder(refused, folder):
    assert "a folder without data files" in refused("info", folder)
    assert "no such file, and no folder nowhere" in refused("info", "nowhere/x.h5")


def test_an_empty_file(refused):
    Path("empty.h5").touch()
    assert "empty.h5: " in (line := refused("info", "empty.h5")) and "empty" in line.split("empty.h5")[1]
    refused("fit", "empty.h5", *FIT)


@pytest.mark.parametrize("name", ["info", "fit"])
def test_a_truncated_file(name, refused, file):
    Path("cut.h5").write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "cut.h5: truncated or corrupt" in refused(name, "cut.h5", *(FIT if name == "fit" else []))


def test_a_corrupt_file(refused, file):
    content = bytearray(file.read_bytes())
    content[8:4000] = os.urandom(3992)
    Path("corrupt.h5").write_bytes(content)
    assert "corrupt.h5: " in refused("info", "corrupt.h5")


def test_text_is_no_data(refused):
    Path("notes.h5").write_text("these are no numbers\n" * 50)
    assert "notes.h5: " in refused("info", "notes.h5")


def test_an_unknown_layout_says_what_is_there_and_how_to_declare_it(refused):
    with h5py.File("odd.h5", "w") as odd:
        odd["run/field"] = np.zeros((5, 8, 8))
    for words in (["info", "odd.h5"], ["fit", "odd.h5", *FIT], ["convert", "odd.h5", "out.h5"]):
        line = refused(*words)
        assert "odd.h5: no known layout" in line and "run/field (5, 8, 8) float64" in line and "dims=" in line
    assert main(["info", "odd.h5", "--dims", "run/field=sample,x,y"]) == 0


def test_a_layout_that_does_not_fit(refused, file):
    assert "unknown layout 'nativ'; did you mean 'native'?" in refused("info", file, "--layout", "nativ")
    assert "not of the layout 'fno-mat'" in refused("info", file, "--layout", "fno-mat")
    assert "no array 'v'" in refused("info", file, "--dims", "v=sample,x")
    assert "names 3" in refused("info", file, "--dims", "u=sample,x,y")
    assert "--kinds: expected" in refused("info", file, "--kinds", "x=round")


def test_a_missing_variable(refused, file, run):
    for option in ("--inputs", "--outputs"):
        words = [word if word != {"--inputs": "a", "--outputs": "u"}[option] else "nuu" for word in FIT]
        assert "'nuu'" in (line := refused("fit", file, *words)) and "did you mean 'nu'?" in line
    write(pairs()[["u"]], "u.h5")
    assert "'a'" in refused("predict", run, "u.h5", "out.h5")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite(bad, refused):
    a = pairs().a.values.copy()
    a[7, 3] = a[9, 0] = bad
    write(pairs(a=a), "holes.h5")
    line = refused("fit", "holes.h5", *FIT)
    assert "holes.h5" in line and "'a'" in line and "2 " in line and "sample 7" in line


def test_prediction_of_values_that_are_not_finite(refused, run, file):
    with xr.open_dataset(file) as ds:
        bad = ds.load().copy(deep=True)
    bad.a.values[5] = np.nan
    write(bad, "holes.h5")
    for words in (["predict", run, "holes.h5", "out.h5"], ["evaluate", run, "holes.h5"]):
        line = refused(*words)
        assert "'a'" in line and "sample 5" in line and "16 " in line


def test_grids_that_do_not_match(refused, run):
    ds = pairs()
    ds["v"] = (("sample", "y"), np.zeros((40, 7)))
    write(ds, "two.h5")
    line = refused("fit", "two.h5", *[word if word != "u" else "v" for word in FIT])
    assert "two.h5" in line and "'a'" in line and "'v'" in line
    line = refused("predict", run, "two.h5", "out.h5")
    assert "axis 'x'" in line and "closed" in line and "periodic" in line


def test_modes_beyond_the_grid(refused, file):
    line = refused("fit", file, *FIT, "--modes", "8")
    assert "modes=8" in line and "'x'" in line and "up to 7" in line


@pytest.mark.parametrize("samples", [1, 2])
def test_too_few_samples(samples, refused):
    write(pairs(samples), "few.h5")
    assert f"{samples} sample" in refused("fit", "few.h5", *FIT)


def test_a_file_without_samples(refused):
    write(pairs(0), "none.h5")
    assert "no samples" in refused("info", "none.h5")


def test_what_is_not_numeric(refused):
    ds = pairs().assign(label=("sample", np.array(["x"] * 40)))
    write(ds, "labelled.h5")
    line = refused("fit", "labelled.h5", *[word if word != "u" else "label" for word in FIT])
    assert "'label'" in line
    with h5py.File("words.h5", "w") as target:
        target["names"] = np.array(["a", "b"], dtype="S")
    assert "words.h5: " in refused("info", "words.h5")


# Untrusted content


def linked(kind: str) -> None:
    """`outer.h5`, whose data lie in another file."""
    with h5py.File("inner.h5", "w") as inner:
        inner["u"] = np.zeros((5, 8))
    with h5py.File("outer.h5", "w") as outer:
        if kind == "link":
            outer["u"] = h5py.ExternalLink("inner.h5", "/u")
        elif kind == "storage":
            np.zeros((5, 8)).tofile("raw.bin")
            outer.create_dataset("u", (5, 8), "f8", external=[("raw.bin", 0, 320)])
        else:
            layout = h5py.VirtualLayout((5, 8), "f8")
            layout[:] = h5py.VirtualSource("inner.h5", "u", (5, 8))
            outer.create_virtual_dataset("u", layout)


@pytest.mark.parametrize("kind", ["link", "storage", "virtual"])
def test_files_that_lead_out_of_themselves(kind, refused, capsys):
    linked(kind)
    for words in (["info"], ["fit"]):
        line = refused(*words, "outer.h5", "--dims", "u=sample,x", *(FIT if words == ["fit"] else []))
        assert "outer.h5: 'u' " in line and "--trust-links" in line
    assert main(["info", "outer.h5", "--dims", "u=sample,x", "--trust-links"]) == 0


def test_a_pickle_is_never_run(refused, run, file):
    for name in ("data.pt", "model", "data.npz", "data.h5"):
        Path(name).write_bytes(pickle.dumps(Pwned()))
    torch.save(Pwned(), "zipped.pt")
    np.save("array.npy", np.array([Pwned()], dtype=object), allow_pickle=True)
    for name in ("data.pt", "zipped.pt", "data.npz", "data.h5"):
        assert f"{name}: " in refused("info", name)
    for name in ("model", "zipped.pt"):
        assert name in refused("predict", name, file, "out.h5")
    assert not Path("pwned").exists()


def test_a_folder_of_pickles_is_no_surrogate(refused, file):
    Path("model").mkdir()
    for name in ("surrogate.json", "weights.safetensors", "model.pkl"):
        Path("model", name).write_bytes(pickle.dumps(Pwned()))
    assert "model" in refused("predict", "model", file, "out.h5")
    assert "model" in refused("evaluate", "model", file)
    assert "nowhere" in refused("evaluate", "nowhere", file)
    assert not Path("pwned").exists()


# Targets


def test_nothing_is_overwritten_unasked(refused, file, run):
    Path("out.h5").write_text("kept")
    for words in (
        ["convert", file, "out.h5"],
        ["predict", run, file, "out.h5"],
        ["simulate", "darcy", "out.h5", "--samples", "1", "--resolution", "9"],
        ["fit", file, *FIT, "--output", "out.h5"],
    ):
        assert "out.h5: exists already" in refused(*words)
    Path("full").mkdir()
    Path("full", "notes.txt").write_text("kept")
    line = refused("fit", file, *FIT, "--output", "full")
    assert "full: exists already; choose another --output, or go on with --resume full" in line


def test_a_target_without_a_folder(refused, file, run):
    for words in (["convert", file], ["predict", run, file], ["simulate", "darcy", "--samples=1", "--resolution=9"]):
        assert "no folder" in refused(*words, "nowhere/out.h5")
    assert "no folder" in refused("info", file, "--plot", "nowhere/look.png")
    assert "a folder" in refused("convert", file, ".")
    Path("plain").touch()
    assert "plain" in refused("fit", file, *FIT, "--output", "plain/run")


@pytest.fixture
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that this process may not write to, also if root runs it."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    shutil.rmtree(folder)


def test_no_permission(locked, capsys):
    for words in (
        ["simulate", "darcy", f"{locked}/out.h5", "--samples", "1", "--resolution", "9"],
        ["fit", "x.h5", *FIT, "--output", f"{locked}/run"],
    ):
        assert main(words) == 2
        line = capsys.readouterr().err
        assert str(locked) in line and "permission" in line.lower() and line.count("\n") == 1
    assert not list(locked.iterdir())


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files of this process cannot grow beyond 20 kB, which the system reports as it does a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", ["simulate", "convert", "predict", "fit"])
def test_a_full_disk_leaves_nothing(name, file, run, refused, request):
    many = write(pairs(800), "many.h5")
    words = {
        "simulate": ["simulate", "darcy", "out.h5", "--samples", "40", "--resolution", "17"],
        "convert": ["convert", many, "out.h5"],
        "predict": ["predict", run, file, "out.h5", "--precision", "64", "--coverage", "0.5"],
        "fit": ["fit", file, *FIT, "--output", "out", "--width", "32"],
    }[name]
    request.getfixturevalue("small_disk")
    line = refused(*words)
    assert "out" in line and ("disk is full" in line or "too large" in line)


# Usage


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no command; give one of info"),
        (["inof"], "unknown command 'inof'; did you mean 'info'?"),
        (["info"], "info: no FILE; usage: sciops info FILE"),
        (["info", "a.h5", "b.h5"], "one argument too many, 'b.h5'"),
        (["info", "a.h5", "--plto", "x.png"], "unknown option --plto; did you mean '--plot'?"),
        (["fit", "a.h5", "--inputs", "a"], "--outputs needed"),
        (["fit", "a.h5", *FIT, "--epochs", "many"], "--epochs: expected a whole number, got many"),
        (["fit", "a.h5", *FIT, "--model", "fnoo"], "--model: expected one of fno, unet, got fnoo"),
        (["fit", "a.h5", *FIT, "--config", "no.yaml"], "no.yaml"),
        (["fit", "--resume", "nowhere"], "nowhere: no run to resume"),
        (["fit", "--resume", "run", "--output", "other"], "leave --output and --config out"),
        (["simulate"], "the name of a simulator comes first, one of burgers, darcy"),
        (["simulate", "darcyy", "out.h5"], "unknown simulator 'darcyy'; did you mean 'darcy'?"),
        (["simulate", "darcy", "out.h5", "--samples", "3"], "--resolution needed"),
        (["simulate", "darcy", "out.h5", "--samples", "0", "--resolution", "9"], "samples=0"),
        (["simulate", "darcy", "out.h5", "--samples=1", "--resolution=9", "--low=-1"], "low=-1.0"),
    ],
)
def test_usage(words, message, refused):
    assert message in refused(*words)


def test_options_out_of_range(refused, file, run):
    for words, message in (
        (["--epochs", "0"], "epochs"),
        (["--batch-size", "0"], "batch_size"),
        (["--validation", "2"], "split"),
        (["--loss", "l3"], "loss"),
        (["--symmetries", "turn"], "turn"),
        (["--device", "toaster"], "toaster"),
    ):
        assert message in refused("fit", file, *FIT, *words, "--output", "runs/new/run")
    Path("empty").mkdir()
    refused("fit", file, *FIT, "--modes", "99", "--output", "empty")
    assert "coverage" in refused("predict", run, file, "out.h5", "--coverage", "2")
    assert "steps" in refused("predict", run, file, "out.h5", "--steps", "2")
    assert "toaster" in refused("predict", run, file, "out.h5", "--device", "toaster")


def test_a_refusal_in_a_process_of_its_own():
    assert "no such file" in process("info", "none.h5")
