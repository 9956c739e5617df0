"""Compression filters: files that need a plugin are read where it is there, and one line names it where it is not."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys

import h5py
import numpy as np
import pytest
import xarray as xr

from sciops.data.files import open, write
from sciops.data.reading.filters import COMPRESSIONS, Compression
from sciops.errors import DataError, InputError, MissingDependencyError

_WORKERS = """
import sys
import sciops.data
from torch.utils.data import DataLoader

if __name__ == "__main__":
    items = sciops.data.FunctionDataset(sciops.data.open(sys.argv[1]), inputs="u", outputs="u")
    batches = DataLoader(items, batch_size=4, num_workers=1, multiprocessing_context="forkserver")
    print(sum(len(batch["x"]) for batch in batches))
"""

PAIRS = [(layout, name) for layout in ("native", "pdebench-1d", "zarr") for name in COMPRESSIONS if name != "none"]
PAIRS.remove(("zarr", "lzf"))

_READ = """
import sys
import sciops.data
from sciops.errors import SciopsError

if sys.argv[2] == "absent":
    sys.modules["hdf5plugin"] = None
try:
    print(float(sciops.data.open(sys.argv[1]).u.sum()))
except SciopsError as error:
    print(type(error).__name__, error)
"""


def read_elsewhere(path, plugin):
    """What a fresh process prints, with or without hdf5plugin."""
    environment = {name: value for name, value in os.environ.items() if name != "HDF5_PLUGIN_PATH"}
    words = [sys.executable, "-c", _READ, str(path), plugin]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout.strip()


@pytest.fixture
def ds():
    return xr.Dataset({"u": (("sample", "x"), np.round(3 * np.random.default_rng().normal(size=(8, 4096))))})


def test_a_plugin_that_is_missing(ds, tmp_path, monkeypatch):
    path = write(ds, tmp_path / "run.h5", compression="zstd")
    available = h5py.h5z.filter_avail
    with monkeypatch.context() as patched:
        patched.setattr(
            "sciops.data.reading.filters.h5py.h5z.filter_avail", lambda code: code != 32015 and available(code)
        )
        patched.setitem(sys.modules, "hdf5plugin", None)
        with pytest.raises(
            MissingDependencyError, match=r"filter 'zstd' \(number 32015\).*pip install 'sciops\[formats"
        ):
            open(path)
    np.testing.assert_array_equal(open(path).u, ds.u)


@pytest.mark.slow
def test_a_plugin_that_is_missing_in_a_fresh_process(ds, tmp_path):
    path = write(ds, tmp_path / "run.h5", compression="zstd")
    assert float(read_elsewhere(path, "present")) == pytest.approx(float(ds.u.sum()))
    told = read_elsewhere(path, "absent")
    assert told == (
        f"MissingDependencyError {path}: 'u' is compressed by the HDF5 filter 'zstd' (number 32015), which is not "
        f"there; pip install 'sciops[formats]' (it brings hdf5plugin)"
    )


@pytest.mark.slow
def test_worker_processes_have_the_plugin(ds, tmp_path):
    path = write(ds.assign_coords(x=np.arange(4096.0)), tmp_path / "run.h5", compression="zstd", chunks={"sample": 1})
    script = tmp_path / "workers.py"
    script.write_text(_WORKERS)
    done = subprocess.run([sys.executable, script, path], capture_output=True, text=True)
    assert done.stdout.strip() == "8", done.stderr[-2000:]


def test_a_filter_that_nobody_knows(tmp_path):
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("u", data=np.ones((4, 512)), chunks=(1, 512), compression="gzip")
    content = path.read_bytes()
    header = np.array([1, 8], "<u2").tobytes()  # the filter deflate and the length of its name
    place = content.index(b"deflate") - len(header) - 4
    assert content[place : place + 2] == header[:2]
    path.write_bytes(content[:place] + np.array([31999], "<u2").tobytes() + content[place + 2 :])
    with pytest.raises(
        DataError, match=r"odd\.h5: 'u' is compressed by the HDF5 filter '\w+' \(number 31999\), which is"
    ):
        open(path, dims={"u": ("sample", "x")})


@pytest.mark.parametrize(("layout", "name"), PAIRS)
def test_smaller_and_the_same(name, layout, ds, tmp_path):
    if layout == "pdebench-1d":
        ds = ds.rename(u="tensor").expand_dims("time", 1).assign_coords(time=[0.0], x=np.arange(4096) / 4096)
    path = write(ds, tmp_path / "run.h5", layout, compression=name)
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())
    assert size < 0.5 * ds.nbytes
    (field,) = ds.data_vars
    found = xr.open_zarr(path) if layout == "zarr" else open(path)
    np.testing.assert_array_equal(found[field], ds[field])


def test_levels(ds, tmp_path):
    sizes = [write(ds, tmp_path / f"{n}.h5", compression=f"gzip:{n}").stat().st_size for n in (1, 9)]
    assert sizes[1] < sizes[0]
    assert write(ds, tmp_path / "none.h5", compression="none").stat().st_size >= ds.nbytes
    with h5py.File(write(ds, tmp_path / "object.h5", compression=Compression("gzip", 7))) as file:
        assert file["u"].compression_opts == 7
    with pytest.raises(InputError, match="unknown compression 'gzp'; did you mean 'gzip'"):
        write(ds, tmp_path / "bad.h5", compression="gzp")
    assert not (tmp_path / "bad.h5").exists()


@pytest.mark.parametrize(
    ("layout", "missing"), [("native", "hdf5plugin"), ("the-well", "hdf5plugin"), ("zarr", "dask")]
)
def test_writing_without_the_package(layout, missing, ds, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    usual = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr("importlib.import_module", lambda name, *rest: without(name, {}, {}, ["x"], 0))
    if layout == "the-well":
        ds = ds.expand_dims("time", 1).assign_coords(time=[0.0], x=np.arange(4096.0))
    with pytest.raises(MissingDependencyError, match=r"pip install 'sciops\[formats\]'"):
        write(ds, tmp_path / "run", layout, compression="zstd")
    assert not list(tmp_path.iterdir())
