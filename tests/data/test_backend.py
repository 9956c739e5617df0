"""The engine "sciops" of xarray."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from sciops.data.reading.backend import SciopsBackend
from sciops.errors import InputError, SciopsError


@pytest.fixture
def tensors(tmp_path):
    path = tmp_path / "darcy.pt"
    torch.save({"x": torch.ones(3, 8, 8, dtype=torch.bool), "y": torch.zeros(3, 8, 8)}, path)
    return path


def test_is_registered():
    assert "sciops" in xr.backends.list_engines()
    assert isinstance(xr.backends.list_engines()["sciops"], SciopsBackend)


def test_opens_by_name_and_closes(tensors):
    with xr.open_dataset(tensors, engine="sciops") as ds:
        assert ds.x.dims == ("sample", "x1", "x2")
        assert ds.x.dtype == bool
        assert ds.encoding["source"] == str(tensors)
        assert not ds.y.variable._in_memory


def test_guesses_what_no_other_engine_reads(tensors, tmp_path):
    assert xr.open_dataset(tensors).attrs["layout"] == "neuraloperator"
    backend = SciopsBackend()
    guesses = {"a.nc": False, "a.h5": False, "a.mat": True, "a.npz": True, "a.PT": True}
    assert {name: backend.guess_can_open(tmp_path / name) for name in guesses} == guesses
    assert not backend.guess_can_open(b"bytes")


def test_passes_options(tmp_path):
    path = tmp_path / "raw.npz"
    np.savez(path, p=np.zeros((4, 8)))
    options = {"dims": {"p": ("run", "x")}, "sample_dim": "run", "kinds": {"x": "periodic"}, "coords": {"x": range(8)}}
    ds = xr.open_dataset(path, engine="sciops", **options)
    assert ds.attrs["sample_dim"] == "run"
    assert ds.x.attrs["kind"] == "periodic"
    with pytest.raises(TypeError, match="nonsense"):
        xr.open_dataset(path, engine="sciops", nonsense=1)


@pytest.mark.parametrize("names", ["y", ["y", "not there"]])
def test_drop_variables(tensors, names):
    assert set(xr.open_dataset(tensors, engine="sciops", drop_variables=names).data_vars) == {"x"}


def test_many_files(tmp_path):
    for i in range(2):
        np.savez(tmp_path / f"{i}.npz", a=np.full((3, 8), i), u=np.zeros((3, 8)))
    parts = [xr.open_dataset(tmp_path / f"{i}.npz", engine="sciops") for i in range(2)]
    assert xr.concat(parts, "sample").a.sum() == 24


def test_only_paths(tmp_path):
    with pytest.raises(InputError, match="the engine 'sciops' reads files by path, got BytesIO"):
        import io

        xr.open_dataset(io.BytesIO(b"123"), engine="sciops")


def test_errors_are_ours(tmp_path):
    with pytest.raises(SciopsError, match="no such file"):
        xr.open_dataset(tmp_path / "missing.h5", engine="sciops")
