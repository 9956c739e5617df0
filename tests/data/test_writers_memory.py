"""Conversions of files that are larger than the memory their process may have."""

from __future__ import annotations

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from sciops.data.files import open

# The limit holds for private writable memory, so that an array of the whole file cannot be had.
_LIMITED = """
import re, resource, sys
from pathlib import Path
import dask.array, hdf5plugin, zarr
from sciops.cli import main
import sciops.data.files, sciops.data.writing.writers

status = lambda key: int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
before = status("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
limit = int(sys.argv[1]) << 20
resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + limit, resource.RLIM_INFINITY))
code = main(["convert", *sys.argv[2:]])
print((status("VmHWM") - before) >> 20)
sys.exit(code)
"""


def convert(limit, *words):
    """Convert in a process that may take so many MiB; gives how many more it held at its worst."""
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(limit), *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "ZARR_THREADING__MAX_WORKERS": "2"},  # the limit counts the stack of every thread
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split()[-1])


def flow(path, samples, chunks):
    """Compressible flow with 2 MiB a sample and field; every sample holds its number."""
    with h5py.File(path, "w") as file:
        for name in ("density", "pressure", "Vx", "Vy"):
            file.create_dataset(name, (samples, 8, 256, 256), "f4", chunks=chunks)
            for i in range(0, samples, 16):  # 32 MiB, whole chunks
                numbers = np.arange(i, min(i + 16, samples)) + 0.5
                file[name][i : i + 16] = np.broadcast_to(numbers[:, None, None, None], (len(numbers), 8, 256, 256))
        for dim, size in (("x", 256), ("y", 256)):
            file[f"{dim}-coordinate"] = (np.arange(size) + 0.5) / size
        file["t-coordinate"] = np.arange(9.0)
    return path


CASES = {
    "native": ["out.h5"],
    "rechunked": ["out.h5", "--chunks", "sample=4,time=8,x=64,y=64", "--compression", "lzf"],
    "the-well": ["out.hdf5", "--to", "the-well"],
    "pdebench": ["out.hdf5", "--to", "pdebench-flow", "--chunks", "x=32,y=32"],
    "zarr": ["out.zarr", "--compression", "lz4"],
}


@pytest.mark.parametrize("case", ["rechunked", "zarr"])
def test_a_file_larger_than_the_memory(case, tmp_path, capsys):
    source = flow(tmp_path / "flow.hdf5", 28, (1, 1, 256, 256))  # 224 MiB
    out, *words = CASES[case]
    grown = convert(180, source, tmp_path / out, *words)
    sys.stdout.write(f"{case}: 224 MiB converted with {grown} MiB more than before\n")
    assert grown < 180
    if case != "zarr":
        ds = open(tmp_path / out)
        assert [float(ds.Vy[i, -1, -1, -1]) for i in (0, 27)] == [0.5, 27.5]


@pytest.mark.slow
@pytest.mark.parametrize("chunks", [None, (16, 8, 16, 16)], ids=["contiguous", "across samples"])
@pytest.mark.parametrize("case", CASES)
def test_a_file_much_larger_than_the_memory(case, chunks, tmp_path, capsys):
    source = flow(tmp_path / "flow.hdf5", 128, chunks)  # 1 GiB
    out, *words = CASES[case]
    grown = convert(200, source, tmp_path / out, *words)
    sys.stdout.write(f"{case}: 1 GiB converted with {grown} MiB more than before\n")
    assert grown < 180
