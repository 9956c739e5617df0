"""Files written by the packages themselves, read by ours and compared value by value.

The packages live in an environment of their own, whose interpreter the variable SCIOPS_PEERS_PYTHON names::

    python -m venv peers && peers/bin/pip install py-pde the_well gprmax
    SCIOPS_PEERS_PYTHON=peers/bin/python pytest -m peers tests/data/test_layouts_peers.py
"""

from __future__ import annotations

import json
import os
import subprocess

import numpy as np
import pytest

from sciops.data.conventions import grid_of
from sciops.data.files import open

pytestmark = pytest.mark.peers


@pytest.fixture
def peer(tmp_path):
    """Runs a script in the peers' environment, in the folder of the test; skips where the package is not there."""

    def run(package: str, script: str, *arguments: str) -> None:
        python = os.environ.get("SCIOPS_PEERS_PYTHON")
        if not python:
            pytest.skip("SCIOPS_PEERS_PYTHON names no interpreter with the packages of the peers")
        if subprocess.run([python, "-c", f"import {package}"], capture_output=True, cwd=tmp_path).returncode:
            pytest.skip(f"{python} does not import {package}")
        done = subprocess.run(
            [python, "-c", script, *arguments],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-2000:]

    return run


_WELL = """
import pathlib, numpy as np
from the_well.data.datasets import WellDataset
from the_well.utils.dummy_data import write_dummy_data

pathlib.Path("data").mkdir()
write_dummy_data("data/dummy.hdf5")
items = WellDataset(path="data", n_steps_input=5, n_steps_output=5, use_normalization=False, return_grid=True)
field, constant, space, time = [], [], [], []
for i in range(len(items)):
    item = {name: np.asarray(value) for name, value in items[i].items()}
    field.append(np.concatenate([item["input_fields"], item["output_fields"]]))
    constant.append(item["constant_fields"][..., 0])
    space.append(item["space_grid"])
    time.append(np.concatenate([item["input_time_grid"], item["output_time_grid"]]))
np.savez("values.npz", field=field, constant=constant, space=space[0], time=time[0], constants=item["constant_scalars"])
"""


def test_the_well(peer, tmp_path):
    peer("the_well", _WELL)
    values = np.load(tmp_path / "values.npz")
    ds = open(tmp_path / "data" / "dummy.hdf5")
    assert ds.attrs["layout"] == "the-well"
    assert ds.field.dims == ("sample", "time", "channel_field", "x", "y")
    np.testing.assert_array_equal(ds.field.transpose("sample", "time", "x", "y", "channel_field"), values["field"])
    np.testing.assert_array_equal(ds.constant_field, values["constant"])
    np.testing.assert_array_equal([ds.a, ds.b], values["constants"])
    # the file rounds the nodes of its periodic axes to single precision
    np.testing.assert_allclose(np.stack(np.meshgrid(ds.x, ds.y, indexing="ij"), -1), values["space"], rtol=1e-6)
    np.testing.assert_array_equal(ds.time - ds.time[0], values["time"])
    assert ds.time_varying_scalar.dims == ("time",)
    assert json.loads(ds.field.attrs["boundary_conditions"]) == {"x": "periodic", "y": "periodic"}
    assert (ds.field.attrs["rank"], ds.field.attrs["components"]) == (1, ["x", "y"])


_PDE = """
import sys, numpy as np, pde

kind = sys.argv[1]
grid = pde.CartesianGrid([[0, 2], [-1, 1]], [8, 6], periodic=[True, False])
if kind == "cylindrical":
    grid = pde.CylindricalSymGrid(2, (0, 1), (5, 6), periodic_z=True)
classes = [pde.ScalarField, pde.VectorField, pde.Tensor2Field]
make = dict(zip(["scalar", "vector", "tensor", "cylindrical"], [*classes, pde.VectorField]))
times = np.array([0.0, 0.5, 2.0])
def state():
    if kind != "collection":
        field = make[kind].random_uniform(grid)
        field.label = "q"
        return field
    parts = [each.random_uniform(grid) for each in classes]
    for part, label in zip(parts, "cvq"):
        part.label = label
    return pde.FieldCollection(parts)

states = [state() for _ in times]
storage = pde.FileStorage("run.hdf5", info={"nu": 0.3})
storage.start_writing(states[0])
for t, each in zip(times, states):
    storage.append(each, t)
storage.end_writing()
states[0].to_file("single.hdf5")
parts = (lambda s: list(s)) if kind == "collection" else (lambda s: [s])
arrays = {}
for index, part in enumerate(parts(states[0])):
    arrays[part.label] = np.stack([parts(s)[index].data for s in states])
np.savez("values.npz", times=times, **{f"axis_{n}": c for n, c in zip(grid.axes, grid.axes_coords)}, **arrays)
"""


@pytest.mark.parametrize("kind", ["scalar", "vector", "tensor", "collection", "cylindrical"])
def test_py_pde(kind, peer, tmp_path):
    peer("pde", _PDE, kind)
    values = np.load(tmp_path / "values.npz")
    series, single = open(tmp_path / "run.hdf5"), open(tmp_path / "single.hdf5")
    names = {name for name in values.files if len(name) == 1}
    assert (set(series.data_vars), set(single.data_vars)) == (names | {"nu"}, names)
    assert float(series.nu) == 0.3
    np.testing.assert_array_equal(series.time, values["times"])
    for name in names:
        stored = values[name]
        np.testing.assert_array_equal(series[name].values.reshape(stored.shape), stored)
        np.testing.assert_array_equal(single[name].values.reshape(stored[0].shape), stored[0])
        for axis in grid_of(series, name).axes:
            np.testing.assert_allclose(axis.coordinates(), values[f"axis_{axis.name}"], rtol=1e-14)
    expected = {"r": "cell", "z": "periodic"} if kind == "cylindrical" else {"x": "periodic", "y": "cell"}
    assert {dim: series[dim].attrs["kind"] for dim in expected} == expected


_GPRMAX = """
import pathlib, subprocess, sys, h5py, numpy as np

lines = ["#domain: 0.02 0.02 0.02", "#dx_dy_dz: 0.002 0.002 0.002", "#time_window: 4e-11", "#pml_cells: 1"]
lines += ["#waveform: ricker 1 1.5e9 w", "#hertzian_dipole: z 0.01 0.01 0.01 w"]
lines += ["#rx: 0.012 0.010 0.010", "#rx: 0.014 0.010 0.008"]
pathlib.Path("run.in").write_text("\\n".join(lines) + "\\n")
subprocess.run([sys.executable, "-m", "gprMax", "run.in"], check=True, stdout=sys.stderr)
made = next(path for name in ("run.h5", "run.out") if (path := pathlib.Path(name)).exists())
with h5py.File(made) as file:
    rxs = [file[f"rxs/rx{i}"] for i in (1, 2)]
    arrays = {name: np.stack([rx[name][()] for rx in rxs], 1) for name in rxs[0]}
    np.savez("values.npz", dt=file.attrs["dt"], where=[rx.attrs["Position"] for rx in rxs], **arrays)
made.rename("made.out")
"""


def test_gprmax(peer, tmp_path):
    peer("gprMax", _GPRMAX)
    values = np.load(tmp_path / "values.npz")
    ds = open(tmp_path / "made.out")
    assert ds.attrs["layout"] == "gprmax"
    assert set(ds.data_vars) == set(values.files) - {"dt", "where"}
    assert any(np.any(ds[name].values) for name in ds.data_vars)
    for name in ds.data_vars:
        assert ds[name].dims == ("time", "point")
        np.testing.assert_array_equal(ds[name], values[name])
    np.testing.assert_array_equal(ds.time, np.arange(ds.sizes["time"]) * values["dt"])
    np.testing.assert_array_equal(np.stack([ds.x, ds.y, ds.z], 1), values["where"])
