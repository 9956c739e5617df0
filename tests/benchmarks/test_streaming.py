"""Batches of random samples from a file of 4 GiB beside what reads the same samples otherwise; memory; statistics.

As a script, ``python test_streaming.py FILE``, it prints the bytes that a process needs to stream from the file.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
from torch.utils.data import DataLoader

import sciops.data
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.loading import StreamLoader
from sciops.data.functions.sampling import DistributedEpochSampler
from sciops.data.functions.statistics import statistics_of

pytestmark = pytest.mark.benchmark

SAMPLES, NODES, BATCH = 65536, 128, 32
BATCHES, TURNS, STEPS = 20, 7, 30
MIB = 2**20
LINUX = pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="reads Linux's /proc")


def write(path: Path, samples: int, **options: Any) -> None:
    """Samples (1, 128, 128) in the layout of The Well, which all readers take: trajectories of one frame."""
    block = np.random.default_rng(0).standard_normal((64, 1, NODES, NODES), dtype="f4")
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="noise", grid_type="cartesian", n_spatial_dims=2, n_trajectories=samples)
        file.attrs["simulation_parameters"] = np.array([], dtype=h5py.string_dtype())
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = ["x", "y"]
        for name, size in (("time", 1), ("x", NODES), ("y", NODES)):
            dimensions[name] = np.arange(size, dtype="f4")
            dimensions[name].attrs.update(sample_varying=False, time_varying=False)
        file.create_group("boundary_conditions")
        for group, names in (("scalars", []), ("t0_fields", ["u"]), ("t1_fields", []), ("t2_fields", [])):
            file.create_group(group).attrs["field_names"] = np.array(names, dtype=h5py.string_dtype())
        shape = (samples, 1, NODES, NODES)
        data = file["t0_fields"].create_dataset("u", shape, "f4", chunks=(1, *shape[1:]), **options)
        data.attrs.update(dim_varying=[True, True], sample_varying=True, time_varying=True)
        for start in range(0, samples, 64):
            data[start : start + 64] = block + start
    with path.open("rb") as written:
        os.fsync(written.fileno())  # what is not on the disk yet stays in the cache


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("stream")
    if shutil.disk_usage(folder).free < 10 << 30:
        pytest.skip(f"needs 10 GiB of free disk at {folder}")
    path = folder / "noise.hdf5"
    write(path, SAMPLES)
    yield path
    shutil.rmtree(folder)


def dataset(path: Path, **options: Any) -> FunctionDataset:
    return FunctionDataset(sciops.data.open(path), inputs="u", outputs=(), cache_bytes=0, **options)


def forget(path: Path) -> None:
    """Ask the kernel to drop the file from its cache."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remember(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 24):
            pass


def from_disk() -> int:
    """Bytes that this process made the kernel fetch from the disk."""
    found = re.search(r"^read_bytes: (\d+)", Path("/proc/self/io").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def by_h5py(path: Path) -> Callable[[np.ndarray], Any]:
    data = h5py.File(path, "r")["t0_fields/u"]
    room = np.empty((BATCH, 1, NODES, NODES), "f4")

    def read(batches: np.ndarray) -> np.ndarray:
        for batch in batches:
            for row, sample in enumerate(batch.tolist()):
                data.read_direct(room, np.s_[sample : sample + 1], np.s_[row : row + 1])
        return room

    return read


def by_xarray(path: Path) -> Callable[[np.ndarray], Any]:
    ds = xr.open_dataset(path, engine="netcdf4", group="t0_fields", cache=False)
    sample = ds["u"].dims[0]

    def read(batches: np.ndarray) -> np.ndarray:
        for batch in batches:
            values = np.stack([ds["u"].isel({sample: number}).values for number in batch.tolist()])
        return values

    return read


def by_xarray_sorted(path: Path) -> Callable[[np.ndarray], Any]:
    ds = xr.open_dataset(path, engine="netcdf4", group="t0_fields", cache=False)
    sample = ds["u"].dims[0]

    def read(batches: np.ndarray) -> np.ndarray:
        for batch in batches:
            order = np.argsort(batch)
            stored = ds["u"].isel({sample: batch[order]}).values
            values = np.empty_like(stored)
            values[order] = stored
        return values

    return read


def by_loader(path: Path, kind: type[DataLoader[Any]]) -> Callable[[np.ndarray], Any]:
    data = dataset(path)

    def read(batches: np.ndarray) -> np.ndarray:
        for batch in kind(data, sampler=batches.tolist(), batch_size=None):
            values = batch["x"]
        return values.numpy()

    return read


def by_the_well(path: Path) -> Callable[[np.ndarray], Any] | None:
    try:
        from the_well.data import WellDataset
    except ImportError:
        return None
    options = {"n_steps_input": 1, "n_steps_output": 0, "use_normalization": False, "return_grid": False}
    data = WellDataset(path=str(path.parent), boundary_return_type=None, **options)

    def read(batches: np.ndarray) -> np.ndarray:
        for batch in DataLoader(data, batch_sampler=batches.tolist()):
            values = batch["input_fields"]
        return values[..., 0].numpy()

    return read


@LINUX
@pytest.mark.peers
def test_batches_beside_the_peers(large: Path, one_thread: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Gates, warm and cold, for both of our lines.

    0.8 of read_direct; 3 times xarray by a plain loop over samples, and as quick as xarray by one sorted selection for
    each batch, the best it does; 2 times the_well (where it is installed).
    """
    programs = {
        "h5py read_direct, handle held": by_h5py(large),
        "xarray isel of each sample, netCDF4": by_xarray(large),
        "xarray isel of sorted batches, netCDF4": by_xarray_sorted(large),
        "the_well, WellDataset": by_the_well(large),
        "sciops, DataLoader": by_loader(large, DataLoader),
        "sciops, one batch ahead": by_loader(large, StreamLoader),
    }
    present = {name: read for name, read in programs.items() if read is not None}
    first = np.arange(BATCH)[None]
    held = [read(first) for read in present.values()]
    assert all(np.array_equal(values, held[0]) for values in held)
    g = np.random.default_rng(1)
    rows = [f"\n{'batches of 32 x (1, 128, 128) float32 from 4 GiB':<44}{'ms':>8}{'MB/s':>8}{'ours':>8}   from disk"]
    ratios: dict[tuple[str, str], float] = {}
    for cache in ("warm", "cold"):
        remember(large)
        times: dict[str, list[float]] = {name: [] for name in present}
        fetched = dict.fromkeys(present, 0)
        for turn in range(-1, TURNS):
            batches = g.permutation(SAMPLES)[: BATCHES * BATCH].reshape(BATCHES, BATCH)
            for name in list(present)[:: -1 if turn % 2 else 1]:
                if cache == "cold":
                    forget(large)
                before, start = from_disk(), time.perf_counter()
                present[name](batches)
                seconds = time.perf_counter() - start
                if turn >= 0:
                    times[name].append(seconds / BATCHES)
                    fetched[name] += from_disk() - before
        size = BATCH * NODES**2 * 4
        for name in present:
            ours = [a / b for a, b in zip(times[name], times["sciops, DataLoader"], strict=True)]
            ahead = [a / b for a, b in zip(times[name], times["sciops, one batch ahead"], strict=True)]
            ratios[cache, name] = min(statistics.median(ours), statistics.median(ahead))
            median = statistics.median(times[name])
            share = fetched[name] / (size * BATCHES * TURNS)
            speed = f"{median * 1e3:>8.2f}{size / median / 1e6:>8.0f}"
            rows.append(f"{cache + ', ' + name:<44}{speed}{statistics.median(ours):>8.2f}   {share:.2f}")
    with capsys.disabled():
        print("\n".join(rows))
    for cache in ("warm", "cold"):
        assert ratios[cache, "h5py read_direct, handle held"] >= 0.8
        assert ratios[cache, "xarray isel of each sample, netCDF4"] >= 3
        assert ratios[cache, "xarray isel of sorted batches, netCDF4"] >= 1
        assert ratios.get((cache, "the_well, WellDataset"), 2.0) >= 2


@LINUX
def test_loaders_beside_a_step(large: Path, one_thread: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Gates for two workers: with a step as long as a batch the two take at most a third more than one after the other.

    Where no processor is free there is nothing to gain. A step 4 (16) times as long keeps 0.65 (0.9) of its speed. As
    long as a batch: as the loader takes for one where there is no step.
    """
    matrix = torch.randn(NODES, NODES) / NODES**0.5

    def work(x: torch.Tensor, times: int) -> None:
        for _ in range(times):
            x = (x[: BATCH // 4] @ matrix).tanh()  # about a millisecond

    def seconds(batches: Any, times: int) -> float:
        iterator = iter(batches)
        work(next(iterator)["x"], times)  # processes start
        start = time.perf_counter()
        for batch in iterator:
            work(batch["x"], times)
        return (time.perf_counter() - start) / STEPS

    data = dataset(large)
    g = np.random.default_rng(2)
    columns = "".join(f"{column:>8}" for column in ("batch", "step", "both", "share", "gain"))
    rows, found = [f"\n{'ms for 32 x (1, 128, 128), cold, step of 1 thread':<52}{columns}"], {}
    held = [data.batch(range(BATCH))] * (STEPS + 1)
    unit = statistics.median(seconds(held, 8) / 8 for _ in range(3))
    kinds: dict[str, dict[str, Any]] = {
        "2 workers": {"num_workers": 2, "multiprocessing_context": "forkserver", "persistent_workers": True},
        "a thread, one batch ahead": {},
        "neither": {"prefetch": False},
    }
    for name, options in kinds.items():
        order: list[list[int]] = []
        loader = StreamLoader(data, sampler=order, batch_size=None, **options)

        def loaded(times: int, order: list[list[int]] = order, loader: Any = loader) -> float:
            order[:] = g.permutation(SAMPLES)[: (STEPS + 1) * BATCH].reshape(-1, BATCH).tolist()
            forget(large)
            return seconds(loader, times)

        alone = statistics.median(loaded(0) for _ in range(3))
        for longer in (1, 4, 16):
            times = max(1, round(longer * alone / unit))
            turns = [(loaded(0), seconds(held, times), loaded(times)) for _ in range(5)]
            read, step, both = (statistics.median(column) for column in zip(*turns, strict=True))
            share = statistics.median(b / c for _, b, c in turns)
            gain = statistics.median((a + b) / c for a, b, c in turns)
            found[name, longer] = share, gain
            told = "".join(f"{1e3 * value:>8.2f}" for value in (read, step, both))
            what = "a step as long as a batch" if longer == 1 else f"a step {longer} times as long"
            rows.append(f"{f'{name}, {what}':<52}{told}{share:>8.2f}{gain:>8.2f}")
    with capsys.disabled():
        print("\n".join(rows))
    assert found["2 workers", 1][1] >= 0.75
    assert found["2 workers", 4][0] >= 0.65
    assert found["2 workers", 16][0] >= 0.9


def resident(entry: str) -> int:
    found = re.search(rf"{entry}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def stream(path: Path) -> int:
    """Bytes by which a process grows over what it held after its imports, at the peak of 400 batches."""
    dataset(path.with_name("few.h5")).batch([0])  # code that loads when it is first used is no memory of the stream
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    start = resident("VmRSS")
    batches = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(0))[: 400 * BATCH].view(-1, BATCH)
    for batch in StreamLoader(dataset(path), sampler=batches.tolist(), batch_size=None):
        assert batch["x"].isfinite().all()
    return resident("VmHWM") - start


@LINUX
def test_memory_of_a_stream(large: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Gate: 300 MB. The page cache is the kernel's and no part of it: nothing maps the file."""
    few = large.with_name("few.h5")
    write(few, 64)
    run = subprocess.run([sys.executable, __file__, str(large)], capture_output=True, text=True, check=False)
    few.unlink()
    assert run.returncode == 0, run.stderr[-2000:]
    growth = int(run.stdout.split()[-1])
    with capsys.disabled():
        print(f"\n{'growth at the peak while 400 batches stream':<44}{growth / 1e6:>8.1f} MB")
    assert growth <= 300e6


def test_shuffle_by_chunks(tmp_path: Path, compare: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Gate: batches of compressed chunks of 32 samples, 16 chunks at a time, in half the time of a full shuffle."""
    samples = 4096
    values = np.random.default_rng(0).integers(0, 50, (samples, 1, NODES, NODES)).astype("f4")
    with h5py.File(tmp_path / "packed.h5", "w") as file:
        file.create_dataset("u", data=values, chunks=(32, 1, NODES, NODES), compression="gzip", compression_opts=1)
    ds = sciops.data.open(tmp_path / "packed.h5", dims={"u": ("sample", "channel", "x", "y")})
    data = FunctionDataset(ds, inputs="u", outputs=(), cache_bytes=0)
    chunks = data.groups // data.chunk_samples
    orders = itertools.count()

    def some(groups: torch.Tensor | None) -> None:
        sampler = DistributedEpochSampler(len(data), BATCH, seed=next(orders), groups=groups, buffer=16)
        for batch in itertools.islice(StreamLoader(data, sampler=sampler, batch_size=None), 24):
            assert np.array_equal(batch["x"][0].numpy(), values[int(data.samples[batch["index"][0]])])

    result = compare(lambda: some(None), lambda: some(chunks), turns=3, threads=1)
    with capsys.disabled():
        print(f"\n{'milliseconds, median of turns':<44}{'all':>10}{'chunks':>10}{'ratio':>8}   middle half")
        print(result.row("24 batches from gzip chunks of 32 samples"))
    assert result.ratio >= 2


def test_opening_many_groups(tmp_path: Path, take_turns: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Gate: a file of 10,000 groups opens in 4 times the time in which HDF5 alone opens its objects."""
    path = tmp_path / "groups.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for number in range(10_000):
            group = file.create_group(f"{number:05d}")
            group["data"] = np.zeros((2, 8, 1), "f4")
            group["grid/t"], group["grid/x"] = np.arange(2.0), np.arange(8.0)
            group.attrs["nu"] = 0.1

    def alone() -> None:
        with h5py.File(path, "r") as file:
            file.visititems(lambda name, item: None)

    def ours() -> None:
        with sciops.data.open(path) as ds:
            assert ds.sizes["sample"] == 10_000

    times = take_turns({"alone": alone, "ours": ours}, turns=3, threads=1)
    ratio = statistics.median(b / a for a, b in zip(times["alone"], times["ours"], strict=True))
    with capsys.disabled():
        print(f"\n{'milliseconds, median of turns':<44}{'h5py':>10}{'ours':>10}{'ratio':>8}")
        both = "".join(f"{statistics.median(times[name]):>10.0f}" for name in ("alone", "ours"))
        print(f"{'opening 10,000 groups (30,000 arrays)':<44}{both}{ratio:>8.2f}")
    assert ratio <= 4


def test_statistics_beside_dask(tmp_path: Path, compare: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Mean and deviation over eight files of 64 MiB, by `statistics_of` and by dask: told, and the same numbers."""
    dask = pytest.importorskip("dask")
    paths = [tmp_path / f"run_{i}.nc" for i in range(8)]
    for i, path in enumerate(paths):
        values = np.random.default_rng(i).standard_normal((1024, 1, NODES, NODES), dtype="f4") + i
        ds = xr.Dataset({"u": (("sample", "channel", "x", "y"), values)})
        ds.to_netcdf(path, engine="h5netcdf", encoding={"u": {"chunksizes": (16, 1, NODES, NODES)}})
    found: dict[str, Any] = {}

    def ours() -> None:
        with sciops.data.open(paths) as ds:
            data = FunctionDataset(ds, inputs="u", outputs=(), cache_bytes=0)
            measured = statistics_of(data, max_bytes=1 << 24).x
        found["ours"] = (float(measured.mean), float(measured.std))

    def peer() -> None:
        with xr.open_mfdataset(
            paths, engine="h5netcdf", combine="nested", concat_dim="sample", chunks={"sample": 128}
        ) as ds:
            u = ds["u"].astype("f8")
            both = xr.Dataset({"mean": u.mean(), "std": u.std()}).compute()
            found["dask"] = (float(both["mean"]), float(both["std"]))

    rows = [f"\n{'milliseconds, median of turns':<44}{'peer':>10}{'ours':>10}{'ratio':>8}   middle half"]
    for threads in (1, 2):  # of dask; ours has one
        with dask.config.set(scheduler="threads", num_workers=threads):
            name = f"statistics of 512 MiB, dask on {threads} thread{'s' * (threads > 1)}"
            rows.append(compare(peer, ours, turns=5, threads=1).row(name))
    with capsys.disabled():
        print("\n".join(rows))
    assert found["ours"] == pytest.approx(found["dask"], rel=1e-9)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(stream(Path(sys.argv[1])))
