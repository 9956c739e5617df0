"""Files of ours read by the packages whose layout they have.

The Well's own loader reads ours where SCIOPS_PEERS_PYTHON names an interpreter that has the_well. PDEBench does not
install beside torch of today, so its loaders are run from its source, a checkout named by SCIOPS_PEERS_PDEBENCH, with
the same interpreter::

    git clone https://github.com/pdebench/PDEBench pdebench
    SCIOPS_PEERS_PYTHON=peers/bin/python SCIOPS_PEERS_PDEBENCH=pdebench pytest -m peers tests/data/test_writers_peers.py
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import xarray as xr
from peer_process import run_peer

from sciops.data.conventions import coordinate
from sciops.data.domains.axis import Axis
from sciops.data.files import write

pytestmark = pytest.mark.peers

_WELL = """
import numpy as np
from the_well.data.datasets import WellDataset

items = WellDataset(path="data", n_steps_input=2, n_steps_output=3, use_normalization=False, return_grid=True)
found = {name: [] for name in items[0]}
for i in range(len(items)):
    for name, value in items[i].items():
        found[name].append(np.asarray(value))
meta = items.metadata
names = [name for rank in range(3) for name in meta.field_names[rank]]
constant = [name for rank in range(3) for name in meta.constant_field_names[rank]]
np.savez("values.npz", names=names, constant=constant, scalars=meta.constant_scalar_names, moving=meta.scalar_names,
         shape=meta.spatial_resolution, bcs=meta.boundary_condition_types, **{k: np.stack(v) for k, v in found.items()})
"""

_XARRAY = """
import h5py, numpy as np
from the_well.utils.export import hdf5_to_xarray

with h5py.File("data/run.hdf5") as file:
    ds = hdf5_to_xarray(file)
np.savez("xarray.npz", **{name: ds[name].values for name in ("density", "velocity", "stress", "ground")})
"""


@pytest.fixture
def flow():
    """Fields of every rank, constants, parameters of every kind, faces and an obstacle."""
    rng = np.random.default_rng()
    mask = np.ones((8, 6), bool)
    mask[3:5, 2:4] = False
    inside = {"mask": "mask_cylinder"}
    axes = {"x": coordinate(Axis("x", 8, kind="periodic")), "y": coordinate(Axis("y", 6))}
    walls = {"boundary_conditions": '{"x": "periodic", "y": ["wall", "open"]}'}
    vector, tensor = walls | {"rank": 1, "components": ["x", "y"]}, walls | {"rank": 2, "components": ["x", "y"]}
    dims = ("sample", "time", "channel_velocity", "x", "y")
    return xr.Dataset(
        {
            "density": (("sample", "time", "x", "y"), rng.normal(size=(3, 5, 8, 6)), walls | inside),
            "velocity": (dims, rng.normal(size=(3, 5, 2, 8, 6)), vector),
            "stress": (("sample", "time", "channel_stress", "x", "y"), rng.normal(size=(3, 5, 4, 8, 6)), tensor),
            "ground": (("sample", "x", "y"), rng.normal(size=(3, 8, 6)), walls),
            "mask_cylinder": (("x", "y"), mask, {"role": "mask"}),
            "nu": ((), 0.25),
            "load": ("sample", rng.normal(size=3)),
            "power": ("time", rng.normal(size=5)),
        },
        {**axes, "time": ("time", np.linspace(0, 2, 5))},
        {"channel_dims": ["channel_velocity", "channel_stress"]},
    )


@pytest.mark.parametrize("options", [{}, {"compression": "gzip", "chunks": {"sample": 1}}], ids=["plain", "gzip"])
def test_the_well_reads_ours(flow, options, tmp_path):
    (tmp_path / "data").mkdir()
    write(flow, tmp_path / "data" / "run.hdf5", "the-well", **options)
    run_peer("the_well", _WELL, tmp_path)
    found = np.load(tmp_path / "values.npz")
    assert found["names"].tolist() == [
        "density",
        *(f"velocity_{d}" for d in "xy"),
        *(f"stress_{d}" for d in ("xx", "xy", "yx", "yy")),
    ]
    assert (found["constant"].tolist(), found["shape"].tolist()) == (["ground"], [8, 6])
    assert (found["scalars"].tolist(), found["moving"].tolist()) == (["nu", "load"], ["power"])
    parts = (flow.density.expand_dims("c"), *(flow[n].rename({f"channel_{n}": "c"}) for n in ("velocity", "stress")))
    fields = np.concatenate([part.transpose("sample", "time", "x", "y", "c") for part in parts], -1)
    np.testing.assert_array_equal(np.concatenate([found["input_fields"], found["output_fields"]], 1), fields)
    np.testing.assert_array_equal(found["constant_fields"][..., 0], flow.ground)
    np.testing.assert_array_equal(found["constant_scalars"], np.stack([np.full(3, 0.25), flow["load"]], 1))
    powers = np.concatenate([found["input_scalars"], found["output_scalars"]], 1)[..., 0]
    np.testing.assert_array_equal(powers, np.broadcast_to(flow.power, (3, 5)))
    np.testing.assert_array_equal(found["space_grid"][0], np.stack(np.meshgrid(flow.x, flow.y, indexing="ij"), -1))
    times = np.concatenate([found["input_time_grid"], found["output_time_grid"]], 1)
    np.testing.assert_allclose(times, np.broadcast_to(flow.time, (3, 5)))
    assert found["boundary_conditions"][0].tolist() == [[2.0, 2.0], [0.0, 1.0]]  # periodic; wall, open
    run_peer("the_well", _XARRAY, tmp_path)
    again = np.load(tmp_path / "xarray.npz")
    np.testing.assert_array_equal(again["density"], flow.density)
    np.testing.assert_array_equal(again["velocity"], flow.velocity.transpose("sample", "time", "x", "y", ...))
    tensors = flow.stress.transpose("sample", "time", "x", "y", ...).values.reshape(3, 5, 8, 6, 2, 2)
    np.testing.assert_array_equal(again["stress"], tensors)


_SINGLE = """
import sys, numpy as np
from pdebench.models.fno.utils import FNODatasetSingle

data = FNODatasetSingle(sys.argv[1], saved_folder="./", initial_step=1, reduced_resolution=1, reduced_resolution_t=1,
                        reduced_batch=1, test_ratio=0)
np.savez("values.npz", data=np.stack([np.asarray(data[i][1]) for i in range(len(data))]), grid=np.asarray(data.grid))
"""

_MULTIPLE = """
import sys, numpy as np
from pdebench.models.fno.utils import FNODatasetMult

data = FNODatasetMult(sys.argv[1], saved_folder="./", initial_step=1, test_ratio=0)
np.savez("values.npz", data=np.stack([np.asarray(data[i][1]) for i in range(len(data))]), grid=np.asarray(data[0][2]))
"""


def pdebench(tmp_path, name, script):
    source = os.environ.get("SCIOPS_PEERS_PDEBENCH")
    if not source:
        pytest.skip("SCIOPS_PEERS_PDEBENCH names no checkout of PDEBench")
    run_peer("pdebench.models.fno.utils", script, tmp_path, name, search=os.path.abspath(source))
    found = np.load(tmp_path / "values.npz")
    return found["data"], found["grid"]


def cells(*sizes):
    return {dim: coordinate(Axis(dim, size, kind="cell")) for dim, size in zip("xyz", sizes, strict=False)}


def test_pdebench_reads_our_trajectories(tmp_path):
    values = np.random.default_rng().normal(size=(4, 5, 16)).astype("f4")
    ds = xr.Dataset({"tensor": (("sample", "time", "x"), values), "Nu": 0.1}, {**cells(16), "time": np.arange(5.0)})
    write(ds, tmp_path / "run.hdf5", "pdebench-1d")
    data, grid = pdebench(tmp_path, "run.hdf5", _SINGLE)
    np.testing.assert_array_equal(data[..., 0], values.transpose(0, 2, 1))
    np.testing.assert_array_equal(grid[:, 0], ds.x.astype("f4"))


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_pdebench_reads_our_flow(dimension, tmp_path):
    shape = (3, 4, *(8, 6, 5)[:dimension])
    rng, dims = np.random.default_rng(), ("sample", "time", *"xyz"[:dimension])
    names = ["density", "pressure", *(f"V{d}" for d in "xyz"[:dimension])]
    fields = {name: (dims, rng.normal(size=shape).astype("f4")) for name in names}
    ds = xr.Dataset({**fields, "eta": 0.1, "zeta": 0.1, "M": 1.0}, {**cells(*shape[2:]), "time": np.arange(4.0)})
    write(ds, tmp_path / "run.hdf5", "pdebench-flow")
    data, grid = pdebench(tmp_path, "run.hdf5", _SINGLE)
    for index, name in enumerate(names):
        np.testing.assert_array_equal(data[..., index], ds[name].transpose("sample", *dims[2:], "time"))
    lines = np.meshgrid(*(ds[d].astype("f4") for d in dims[2:]), indexing="ij")
    np.testing.assert_array_equal(grid, np.stack(lines, -1))


def test_pdebench_reads_our_darcy_flow(tmp_path):
    rng = np.random.default_rng()
    fields = {name: (("sample", "x", "y"), rng.normal(size=(4, 8, 6)).astype("f4")) for name in ("nu", "tensor")}
    ds = xr.Dataset({**fields, "beta": 1.0}, cells(8, 6))
    write(ds, tmp_path / "run.hdf5", "pdebench-darcy")
    data, _ = pdebench(tmp_path, "run.hdf5", _SINGLE)
    np.testing.assert_array_equal(data[..., 0, 0], ds.nu)
    np.testing.assert_array_equal(data[..., -1, 0], ds.tensor)


@pytest.mark.parametrize("dimension", [1, 2])
def test_pdebench_reads_our_groups(dimension, tmp_path):
    rng, space = np.random.default_rng(), tuple("xy"[:dimension])
    values = rng.normal(size=(4, 5, 2, *(8, 6)[:dimension])).astype("f4")
    ds = xr.Dataset(
        {"data": (("sample", "time", "channel_data", *space), values), "D": ("sample", rng.random(4))},
        {**cells(*values.shape[3:]), "time": np.arange(5.0)},
        {"channel_dims": ["channel_data"]},
    )
    write(ds, tmp_path / "run.h5", "pdebench-groups")
    data, grid = pdebench(tmp_path, "run", _MULTIPLE)
    np.testing.assert_array_equal(data, ds.data.transpose("sample", *space, "time", "channel_data"))
    lines = np.meshgrid(*(ds[d].astype("f4") for d in space), indexing="ij")
    np.testing.assert_array_equal(grid, np.stack(lines, -1))
