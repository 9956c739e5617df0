"""``sciops convert``: layouts, chunks and compression to write, other names, and what it refuses."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import xarray as xr

import sciops.data
from sciops.cli import main
from sciops.data import write


@pytest.fixture
def burgers(tmp_path):
    """Trajectories that no layout but the native one has."""
    rng = np.random.default_rng()
    return write(
        xr.Dataset(
            {
                "a": (("run", "s"), rng.normal(size=(6, 32))),
                "u": (("run", "time", "s"), rng.normal(size=(6, 5, 32)), {"units": "m/s", "mask": "land"}),
                "land": ("s", np.arange(32) > 3, {"role": "mask"}),
                "viscosity": 0.25,
            },
            {"s": np.arange(32) / 32, "time": np.arange(5.0)},
            {"sample_dim": "run"},
        ),
        tmp_path / "burgers.h5",
    )


def convert(*words):
    return main(["convert", *map(str, words)])


@pytest.mark.parametrize("compression", ["gzip", "gzip:9", "lzf", "zstd:5", "blosc", "lz4"])
def test_chunks_and_compression(compression, burgers, tmp_path):
    out = tmp_path / "small.h5"
    assert convert(burgers, out, "--chunks", "run=1,s=16", "--compression", compression) == 0
    with h5py.File(out) as file:
        assert file["u"].chunks == (1, 5, 16) and file["a"].chunks == (1, 16)
        creation = file["u"].id.get_create_plist()
        codes = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
        assert {"gzip": 1, "lzf": 32000, "zstd": 32015, "blosc": 32026, "lz4": 32004}[
            compression.split(":")[0]
        ] in codes
    with sciops.data.open(out) as ds, sciops.data.open(burgers) as before:
        xr.testing.assert_identical(ds.drop_attrs(), before.drop_attrs())


def test_another_layout_by_other_names(burgers, tmp_path, capsys):
    out = tmp_path / "burgers.hdf5"
    words = ["--to", "pdebench-1d", "--rename", "u=tensor,s=x", "--rename", "viscosity=Nu", "--drop", "a,land"]
    assert convert(burgers, out, *words) == 0
    assert "wrote" in capsys.readouterr().out
    with sciops.data.open(out) as ds, sciops.data.open(burgers) as before:
        assert ds.attrs["layout"] == "pdebench-1d" and float(ds.Nu) == 0.25
        np.testing.assert_array_equal(ds.tensor, before.u)
        assert ds.tensor.attrs["units"] == "m/s"


def test_names_that_attributes_mention(burgers, tmp_path):
    out = tmp_path / "renamed.h5"
    assert convert(burgers, out, "--rename", "run=member,land=continent") == 0
    with sciops.data.open(out) as ds:
        assert ds.attrs["sample_dim"] == "member" and ds.u.attrs["mask"] == "continent"


def test_zarr_by_the_ending(burgers, tmp_path, capsys):
    out = tmp_path / "runs.zarr"
    assert convert(burgers, out, "--chunks", "run=2", "--compression", "zstd") == 0
    with xr.open_zarr(out) as ds, sciops.data.open(burgers) as before:
        xr.testing.assert_equal(ds.load(), before.load())
        assert ds.u.encoding["chunks"] == (2, 5, 32)
    assert convert(burgers, out) == 2
    assert "exists already; give overwrite=True (--overwrite)" in capsys.readouterr().err
    assert convert(burgers, out, "--overwrite") == 0
    assert convert(burgers, tmp_path, "--to", "zarr", "--overwrite") == 2
    assert "a folder that is no Zarr store" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["burgers.h5", "runs.zarr"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--to", "the-wel"], "no layout 'the-wel' to write; did you mean 'the-well'?"),
        (["--chunks", "s"], "--chunks: expected NAME=VALUE, got 's'"),
        (["--chunks", "s=0"], "--chunks: the length of 's' is a whole number of at least 1, got '0'"),
        (["--chunks", "q=4"], "chunks= names the unknown dimension 'q'"),
        (["--compression", "zst"], "--compression: unknown compression 'zst'; did you mean 'zstd'?"),
        (["--compression", "gzip:10"], "--compression: the compression 'gzip' has levels 1 to 9, got 10"),
        (["--compression", "lz4:3"], "--compression: the compression 'lz4' has no levels, got 3"),
        (["--compression", "gzip:x"], "--compression: the compression 'gzip:x' is a name, or a name and a level"),
        (["--drop", "q"], "--drop names the unknown 'q'"),
        (["--rename", "q=r"], "--rename names the unknown 'q'"),
        (["--rename", "a=u"], "--rename: "),
        (["--to", "pdebench-1d"], "it needs a variable 'tensor'"),
        (["--to", "the-well", "--drop", "u,land"], "holds trajectories"),
    ],
)
def test_one_line_for_what_cannot_be_done(words, message, burgers, tmp_path, capsys):
    assert convert(burgers, tmp_path / "out.h5", *words) == 2
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error
    assert [path.name for path in tmp_path.iterdir()] == ["burgers.h5"]


def test_configuration(burgers, tmp_path):
    (tmp_path / "run.yaml").write_text("chunks: [run=1]\ncompression: gzip\ndrop: [a]\n")
    assert convert(burgers, tmp_path / "out.h5", "--config", tmp_path / "run.yaml") == 0
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["u"].chunks == (1, 5, 32) and "a" not in file
