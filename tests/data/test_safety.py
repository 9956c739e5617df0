"""Files that must not be trusted: each is refused before anything follows a link or runs a pickle."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

import sciops.data.reading.safety
from sciops.data.files import open
from sciops.data.reading.filters import filter_remedy
from sciops.data.reading.safety import broken, is_pickle, scan_hdf5, walk_hdf5
from sciops.errors import DataError, UnsafeFileError


class Bomb:
    """Unpickling it creates a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.fixture
def bomb(tmp_path):
    target = tmp_path / "executed"
    yield Bomb(target)
    assert not target.exists(), "a pickle was run"


@pytest.fixture
def outside(tmp_path):
    """A native file that others lead to."""
    path = tmp_path / "outside.h5"
    xr.Dataset({"u": (("sample", "x"), np.ones((2, 8)))}).to_netcdf(path, engine="h5netcdf")
    return path


def linked(path: Path, fill) -> Path:
    """A native file, so that only the scan stands between it and xarray, with something in it."""
    xr.Dataset({"a": (("sample", "x"), np.zeros((2, 8)))}).to_netcdf(path, engine="h5netcdf")
    with h5py.File(path, "a") as file:
        fill(file)
    return path


def external_storage(file, outside):
    raw = Path(file.filename).with_name("secret.bin")
    raw.write_bytes(np.ones(8).tobytes())
    file.create_dataset("deep/raw", (8,), "f8", external=[(str(raw), 0, 64)])


def virtual(file, outside):
    layout = h5py.VirtualLayout((2, 8), "f8")
    layout[...] = h5py.VirtualSource(str(outside), "u", (2, 8))
    file.create_virtual_dataset("deep/v", layout)


def virtual_unlimited(file, outside):
    layout = h5py.VirtualLayout((2, 8), "f8", maxshape=(None, 8))
    layout[: h5py.h5s.UNLIMITED] = h5py.VirtualSource(str(outside), "u", (2, 8), maxshape=(None, 8))[
        : h5py.h5s.UNLIMITED
    ]
    file.create_virtual_dataset("deep/v", layout)


def references(file, outside):
    file.create_dataset("deep/ref", (1,), h5py.ref_dtype)


def references_in_compound(file, outside):
    file.create_dataset("deep/pair", (1,), np.dtype([("n", "i4"), ("r", h5py.regionref_dtype)]))


def ragged(file, outside):
    file.create_dataset("deep/ragged", (2,), h5py.vlen_dtype(np.dtype("f8")))


def external_link(file, outside):
    file["deep/link"] = h5py.ExternalLink(str(outside), "/u")


def external_group(file, outside):
    file["deep/other"] = h5py.ExternalLink("../../etc/secret.h5", "/")


def external_behind_soft(file, outside):
    file["deep/other"] = h5py.ExternalLink(str(outside), "/")
    file["alias"] = h5py.SoftLink("/deep/other/u")


CASES = {
    external_link: ("'deep/link' is an external link to '/u' in the file '.*outside.h5'"),
    external_group: "'deep/other' is an external link to '/' in the file '../../etc/secret.h5'",
    external_behind_soft: "'deep/other' is an external link",
    external_storage: "'deep/raw' keeps its data in the file '.*secret.bin'",
    virtual: "'deep/v' is a virtual data set over '.*outside.h5'",
    virtual_unlimited: "'deep/v' is a virtual data set over '.*outside.h5'",
    references: "'deep/ref' holds references",
    references_in_compound: "'deep/pair' holds references",
    ragged: "'deep/ragged' holds variable-length arrays",
}


def refuse_readers(monkeypatch):
    monkeypatch.setattr("xarray.backends.h5netcdf_.H5NetCDFStore.open", lambda *a, **k: pytest.fail("opened"))


def test_the_trap_for_readers_works(outside, monkeypatch):
    refuse_readers(monkeypatch)
    with pytest.raises(pytest.fail.Exception):
        open(outside)


@pytest.mark.parametrize("engine", ["open", "xarray"])
@pytest.mark.parametrize(("fill", "message"), CASES.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_refused_before_any_reader_opens_it(tmp_path, outside, fill, message, engine, monkeypatch):
    path = linked(tmp_path / "data.h5", lambda file: fill(file, outside))
    refuse_readers(monkeypatch)
    with pytest.raises(UnsafeFileError, match=rf"data\.h5: {message}.*trust_links=True.*--trust-links") as caught:
        open(path) if engine == "open" else xr.open_dataset(path, engine="sciops")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fill", CASES, ids=lambda fill: fill.__name__)
def test_trusted_links_are_followed(tmp_path, outside, fill):
    path = linked(tmp_path / "data.h5", lambda file: fill(file, outside))
    assert open(path, trust_links=True).a.shape == (2, 8)
    if fill in (external_link, virtual):
        name = "deep/link" if fill is external_link else "deep/v"
        ds = open(path, dims={name: ("sample", "x")}, trust_links=True)
        assert ds[name[5:]].values.sum() == 16


def test_strings_and_netcdf_references_are_fine(tmp_path):
    path = tmp_path / "fine.nc"
    ds = xr.Dataset({"u": (("sample", "x"), np.ones((2, 3))), "label": ("sample", np.array(["a", "b"], object))})
    ds.assign_coords(x=[0.0, 0.5, 1.0]).to_netcdf(path, engine="h5netcdf")
    scan_hdf5(path)
    assert open(path).label.values.tolist() == ["a", "b"]


def test_cycles_end(tmp_path):
    def fill(file):
        group = file.create_group("g")
        group["self"] = group
        group["root"] = file["/"]
        file["g/again"] = h5py.SoftLink("/g")
        file["loop"] = h5py.SoftLink("/loop")
        file["ping"], file["pong"] = h5py.SoftLink("/pong"), h5py.SoftLink("/ping")
        file["dangling"] = h5py.SoftLink("/nowhere/x")
        file["g/b"] = np.zeros(3)
        file["g/same"] = file["g/b"]

    path = linked(tmp_path / "cycle.h5", fill)
    scan_hdf5(path)
    with h5py.File(path) as file:
        assert sorted(name for name, _ in walk_hdf5(file)) == ["a", "g/b", "sample", "x"]
        assert sorted(name for name, _ in walk_hdf5(file, trust_links=True)) == ["a", "g/b", "sample", "x"]
    assert open(path, dims={"g/b": ("x",)}).b.shape == (3,)


def test_cycle_through_two_files_ends(tmp_path):
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    for path, other in ((one, two), (two, one)):
        with h5py.File(path, "w") as file:
            file["u"] = np.ones((2, 4))
            file["other"] = h5py.ExternalLink(str(other), "/")
    ds = open(one, dims={"u": ("sample", "x"), "other/u": ("sample", "x")}, trust_links=True)
    assert set(ds.data_vars) == {"u", "other_u"}


def test_a_soft_link_alone_is_found(tmp_path):
    with h5py.File(tmp_path / "soft.h5", "w") as file:
        file.create_group("hidden")
        file["seen"] = np.ones(3)
        file["alias"] = h5py.SoftLink("/seen")
        names = [name for name, _ in walk_hdf5(file)]
    assert names == ["seen"]


def test_one_walk_tells_what_h5py_tells(tmp_path, monkeypatch):
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file["named"] = np.dtype("f4")
        for i in range(3):
            group = file.create_group(f"{i}")
            group.create_dataset("plain", data=np.ones((2, 3), "i2"))
            group.create_dataset("big endian", data=np.ones((2, 3), ">f8"))
            group.create_dataset("chunked", (4, 6), "f4", chunks=(2, 3), maxshape=(None, 6))
            group.create_dataset("of a named type", (2,), file["named"])
            group["text"], group["fixed"] = "one", np.array([b"one", b"other"])
            group["truth"], group["complex"] = np.ones(2, bool), np.ones(2, "c16")
            group["pair"] = np.ones(2, [("a", "i4"), ("b", "f8", (2,))])
            group["nothing"] = h5py.Empty("f4")
            group["scalar"] = 1.5
    walked = []
    examined = sciops.data.reading.safety._examined
    monkeypatch.setattr(
        "sciops.data.reading.safety._examined", lambda *given: walked.append(given[1]) or examined(*given)
    )
    with h5py.File(path) as file:
        found = dict(walk_hdf5(file))
        assert len(found) == 33
        for name, each in found.items():
            known = file[name]
            assert (each.shape, each.dtype, each.chunks) == (known.shape or (), known.dtype, known.chunks)
            assert h5py.check_string_dtype(each.dtype) == h5py.check_string_dtype(known.dtype)
    assert sorted(walked) == sorted(found)
    walked.clear()
    open(path, dims={"0/plain": ("sample", "x")})
    assert sorted(walked) == sorted(found)  # each object is looked at once


def test_corrupt_hdf5_is_a_data_error(tmp_path):
    path = tmp_path / "bad.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(DataError, match=r"bad\.h5: truncated or corrupt HDF5"):
        scan_hdf5(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["model.pt", "data.npz", "data.mat", "run.pkl", "arrays.npy"])
def test_plain_pickles_are_never_run(tmp_path, bomb, name, protocol):
    path = tmp_path / name
    path.write_bytes(pickle.dumps(bomb, protocol))
    assert is_pickle(path)
    with pytest.raises(UnsafeFileError, match=rf"{name}: a Python pickle.*numpy\.savez"):
        open(path)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_pickle_posing_as_hdf5(tmp_path, bomb, protocol):
    path = tmp_path / "data.h5"
    path.write_bytes(pickle.dumps(bomb, protocol))
    with pytest.raises(UnsafeFileError, match="a Python pickle"):
        open(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_torch_file_with_objects(tmp_path, bomb, zipped):
    path = tmp_path / "model.pt"
    torch.save({"x": torch.zeros(2, 4), "y": bomb}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UnsafeFileError, match=r"model\.pt: holds pickled Python objects.*torch\.save"):
        open(path)


def test_torch_module(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "net.pt")
    with pytest.raises(UnsafeFileError, match="holds pickled Python objects"):
        open(tmp_path / "net.pt")


def test_torchscript(tmp_path):
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), tmp_path / "script.pt")
    with pytest.raises(UnsafeFileError, match="a TorchScript program"):
        open(tmp_path / "script.pt")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_with_objects(tmp_path, bomb, save):
    path = tmp_path / "pair.npz"
    pair = np.empty(2, dtype=object)
    pair[0], pair[1] = np.zeros(3), bomb
    save(path, X=pair, y=np.zeros(3))
    with pytest.raises(UnsafeFileError, match=r"pair\.npz: 'X' is an array of Python objects.*X0=X\[0\], X1=X\[1\]"):
        open(path)


def test_npz_header_that_hides_objects(tmp_path, bomb):
    path = tmp_path / "pair.npz"
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": [("f", "|O")], "fortran_order": False, "shape": (1,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", array.getvalue() + pickle.dumps(bomb))
    with pytest.raises(UnsafeFileError, match="'x' is an array of Python objects"):
        open(path)


def test_zip_with_pickles(tmp_path, bomb):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", b"")
        archive.writestr("state.pkl", pickle.dumps(bomb))
    with pytest.raises(UnsafeFileError, match=r"a zip archive with the pickle 'state\.pkl'"):
        open(path)


def test_mat_with_cells_reads_the_numbers_only(tmp_path):
    from scipy.io import savemat

    path = tmp_path / "cells.mat"
    cells = np.empty(2, dtype=object)
    cells[:] = ["a", np.zeros(3)]
    savemat(path, {"a": np.zeros((2, 8)), "u": np.ones((2, 8)), "notes": cells, "info": {"k": 1.0}, "name": "run"})
    assert set(open(path).data_vars) == {"a", "u"}


def test_what_is_no_pickle(tmp_path):
    for name, content in {"a.pt": b"", "b.pt": b"hello world.", "c.pt": b"\x80", "d.npz": bytes(500)}.items():
        (tmp_path / name).write_bytes(content)
        if not content.startswith(b"\x80"):
            assert not is_pickle(tmp_path / name), name


@pytest.mark.parametrize(
    ("there", "remedy"), [(False, r"pip install 'sciops\[formats\]'"), (True, "write the file anew")]
)
def test_one_remedy_for_a_filter_that_is_missing(there, remedy, monkeypatch):
    monkeypatch.setattr("sciops.data.reading.filters.importlib.util.find_spec", lambda name: there or None)
    error = broken("run.h5", OSError("required filter 'zstd' is not registered"))
    assert str(error).endswith(filter_remedy())
    with pytest.raises(DataError, match=remedy):
        raise error
