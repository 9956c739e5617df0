"""The reader of MATLAB version 5 files against scipy, on what scipy writes and on real files, and on broken ones."""

from __future__ import annotations

import contextlib
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from sciops.data.reading.matlab import read_matlab


@pytest.mark.parametrize("compressed", [False, True])
def test_agrees_with_scipy(tmp_path, compressed):
    rng = np.random.default_rng()
    written = {
        "double": rng.normal(size=(3, 4, 5)),
        "single": rng.normal(size=(3, 4)).astype("f4"),
        "complex": rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3)),
        "scalar": 2.5,
        "row": rng.normal(size=7),
        "none": np.zeros((0, 3)),
        "logical": rng.normal(size=(3, 3)) > 0,
        "a": np.float64(1),
        **{
            name: rng.integers(0, 100, (2, 3)).astype(name) for name in ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
        },
    }
    path = tmp_path / "a.mat"
    savemat(path, {**written, "text": "abc", "structure": {"k": 1.0}}, do_compression=compressed)
    found, expected = read_matlab(path), loadmat(path)
    assert set(found) == set(written)
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name])
        assert values.dtype == np.asarray(written[name]).dtype
        assert values.shape == expected[name].shape


def test_memory_map_of_uncompressed_arrays(tmp_path):
    savemat(tmp_path / "a.mat", {"u": np.zeros((100, 100))})
    assert isinstance(read_matlab(tmp_path / "a.mat")["u"], np.memmap)


def test_big_endian(tmp_path):
    values = np.arange(6.0).reshape(2, 3)

    def element(kind, data):
        return np.array([kind, len(data)], ">u4").tobytes() + data + bytes(-len(data) % 8)

    body = element(6, np.array([6, 0], ">u4").tobytes()) + element(5, np.array([2, 3], ">i4").tobytes())
    body += element(1, b"u") + element(9, values.astype(">f8").tobytes("F"))
    path = tmp_path / "b.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + element(14, body))
    np.testing.assert_array_equal(read_matlab(path)["u"], values)
    np.testing.assert_array_equal(loadmat(path)["u"], values)


@pytest.mark.parametrize("name", ["allen_cahn_chebfun.mat", "burgers_shock.mat", "kdv_chebfun.mat"])
def test_real_files(shared_data, name):
    expected = loadmat(shared_data / name)
    for variable, values in read_matlab(shared_data / name).items():
        np.testing.assert_array_equal(values, expected[variable])


@pytest.mark.parametrize("compressed", [False, True])
def test_altered_bytes_never_crash(tmp_path, compressed):
    savemat(tmp_path / "a.mat", {"a": np.ones((4, 8)), "u": np.ones((4, 8))}, do_compression=compressed)
    content, rng = (tmp_path / "a.mat").read_bytes(), np.random.default_rng()
    for _ in range(300):
        broken = bytearray(content)
        for at in rng.integers(126, min(len(content), 260), 3):
            broken[at] = int(rng.integers(0, 256))
        (tmp_path / "b.mat").write_bytes(broken)
        with contextlib.suppress(ValueError, OverflowError, zlib.error):
            read_matlab(tmp_path / "b.mat")
