"""Items, windows, channels and parameters; reading from a real file in few pieces and from several processes."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch.utils.data import DataLoader

import sciops.data
from sciops.data.conventions import coordinate
from sciops.data.domains.domain import Axis
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.sampling import DistributedEpochSampler
from sciops.data.functions.statistics import statistics_of
from sciops.data.reading.source import VariableSource
from sciops.errors import DataError, DomainError, InputError


def _values(generator: torch.Generator, *shape: int) -> np.ndarray:
    return torch.randn(*shape, dtype=torch.float64, generator=generator).numpy()


@pytest.fixture
def ds(generator: torch.Generator) -> xr.Dataset:
    """Nine trajectories of 12 frames: u, v with two components, a coefficient, a mask, numbers."""
    axes = (Axis("x", 6, kind="periodic"), Axis("y", 5))
    return xr.Dataset(
        {
            "u": (("sample", "time", "x", "y"), _values(generator, 9, 12, 6, 5)),
            "v": (("sample", "time", "c", "x", "y"), _values(generator, 9, 12, 2, 6, 5)),
            "a": (("sample", "x", "y"), _values(generator, 9, 6, 5)),
            "mask": (("x", "y"), np.arange(30).reshape(6, 5) % 2 == 0),
            "nu": (("sample",), _values(generator, 9)),
            "rho": ((), 2.5),
            "beta": (("sample", "c"), _values(generator, 9, 2)),
        },
        coords={axis.name: coordinate(axis) for axis in axes},
        attrs={"sample_dim": "sample", "time_dim": "time", "channel_dims": ["c"]},
    )


@pytest.fixture
def stored(ds: xr.Dataset, tmp_path: Path) -> xr.Dataset:
    """The same in a chunked HDF5 file, opened lazily."""
    path = tmp_path / "flow.h5"
    encoding: dict[str, dict[str, Any]] = {
        "u": {"chunksizes": (2, 3, 6, 5)},
        "v": {"chunksizes": (1, 12, 2, 6, 5), "zlib": True},
    }
    ds.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    return xr.open_dataset(path, engine="h5netcdf")


def _same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_static_map_stacks_variables_in_order(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs=["mask", "a"], outputs="a", parameters=["rho", "beta", "nu"], dtype=torch.float64)
    assert len(data) == 9 and data.in_channels == 2 and data.out_channels == 1
    assert data.input_names == ("mask", "a") and data.parameter_names == ("rho", "beta[0]", "beta[1]", "nu")
    item = data[4]
    np.testing.assert_array_equal(item["x"][0], ds["mask"].values)
    np.testing.assert_array_equal(item["x"][1], ds["a"].values[4])
    np.testing.assert_array_equal(item["parameters"], [2.5, *ds["beta"].values[4], ds["nu"].values[4]])
    assert item["index"].dtype == torch.int64 and int(item["index"]) == 4
    assert data.grid.kinds == ("periodic", "closed") and data.input_grid is data.grid
    assert FunctionDataset(ds, inputs="a", outputs="a")[0]["x"].dtype == torch.float32
    assert "parameters" not in FunctionDataset(ds, inputs="a", outputs="a")[0]


def test_whole_trajectories_have_their_frames_as_channels(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs="a", outputs=["v", "a"], dtype=torch.float64)
    assert data.out_channels == 25 and data.output_names[:3] == ("v[0]@0", "v[1]@0", "v[0]@1")
    np.testing.assert_array_equal(data[3]["y"][:24], ds["v"].values[3].reshape(24, 6, 5))
    assert data.output_channels[3].frame == 1 and data.output_channels[24].name == "a"


@pytest.mark.parametrize("stride", [1, 2])
def test_windows_are_frames_in_order(ds: xr.Dataset, stride: int) -> None:
    data = FunctionDataset(
        ds, inputs=["u", "v"], outputs=["v", "u"], history=2, horizon=3, stride=stride, dtype=torch.float64
    )
    per_sample = 12 - 4 * stride
    assert len(data) == 9 * per_sample
    assert torch.equal(data.groups, torch.arange(9).repeat_interleave(per_sample))
    u, v = ds["u"].values, ds["v"].values
    for item in (0, 1, per_sample, 5 * per_sample + 3, len(data) - 1):
        sample, start = divmod(item, per_sample)
        frames = start + stride * np.arange(5)
        x = np.concatenate([[u[sample, f], *v[sample, f]] for f in frames[:2]])
        y = np.concatenate([[*v[sample, f], u[sample, f]] for f in frames[2:]])
        np.testing.assert_array_equal(data[item]["x"], x)
        np.testing.assert_array_equal(data[item]["y"], y)
    assert data.input_names == ("u(t-1)", "v[0](t-1)", "v[1](t-1)", "u(t)", "v[0](t)", "v[1](t)")
    assert data.output_names[-3:] == ("v[0](t+3)", "v[1](t+3)", "u(t+3)")
    assert [channel.frame for channel in data.input_channels] == [-1] * 3 + [0] * 3


def test_windows_carry_static_inputs_and_numbers(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs=["a", "u", "mask"], outputs="u", parameters="nu", history=1, dtype=torch.float64)
    assert data.horizon == 1 and data.input_names == ("u(t)", "a", "mask") and data.output_names == ("u(t+1)",)
    item = data[2 * 11 + 7]
    np.testing.assert_array_equal(item["x"], [ds["u"].values[2, 7], ds["a"].values[2], ds["mask"].values])
    np.testing.assert_array_equal(item["y"][0], ds["u"].values[2, 8])
    assert item["parameters"].tolist() == [ds["nu"].values[2]]


def test_variables_of_another_axis_order_are_transposed(ds: xr.Dataset) -> None:
    swapped = ds.assign(b=ds["a"].transpose("sample", "y", "x"))
    item = FunctionDataset(swapped, inputs="b", outputs="a")[1]
    assert torch.equal(item["x"], item["y"]) and item["x"].shape == (1, 6, 5)
    assert FunctionDataset(swapped, inputs="a", outputs="b").grid.names == ("y", "x")


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", ">f4", "float16", "longdouble"])
def test_every_real_dtype_is_read(ds: xr.Dataset, dtype: str) -> None:
    values = (np.arange(9 * 30).reshape(9, 6, 5) % 2).astype(dtype)
    data = FunctionDataset(ds.assign(a=(("sample", "x", "y"), values)), inputs="a", outputs="a")
    assert data[3]["x"].dtype == torch.float32
    np.testing.assert_array_equal(data[3]["x"][0], values[3].astype("float32"))


def test_file_memory_and_cache_give_the_same_values(
    ds: xr.Dataset, stored: xr.Dataset, generator: torch.Generator
) -> None:
    options: dict[str, Any] = {"inputs": ["u", "v", "a", "mask"], "outputs": ["v", "u"], "parameters": ["nu", "rho"]}
    trajectories: dict[str, Any] = {"history": 3, "horizon": 2, "stride": 2}
    for windows in ({}, trajectories):
        memory = FunctionDataset(ds, **options, **windows)
        cached = FunctionDataset(stored, **options, **windows)
        read = FunctionDataset(stored, **options, **windows, cache_bytes=0)
        items = torch.randint(-len(memory), len(memory), (17,), generator=generator).tolist()
        assert _same(memory.batch(items), cached.batch(items)) and _same(memory.batch(items), read.batch(items))
        for i, (one, listed) in enumerate(zip(items, read.__getitems__(items), strict=True)):
            assert _same(read[one], listed)
            assert torch.equal(read[items]["x"][i], listed["x"])
    with pytest.raises(IndexError, match="item 9 of a data set of 9 items"):
        FunctionDataset(ds, **options)[9]
    assert len(list(FunctionDataset(ds, **options))) == 9


def test_batch_never_shares_memory_with_the_cache(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs="a", outputs="u", dtype=torch.float64, history=None)
    before = ds["a"].values.copy()
    batch = data.batch(range(9))
    batch["x"].zero_()
    np.testing.assert_array_equal(ds["a"].values, before)
    assert data.batch([])["x"].shape == (0, 1, 6, 5)


def _count_reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], int, int]]:
    reads: list[tuple[list[int], int, int]] = []
    plain = VariableSource._slab

    def counted(self: VariableSource, samples: slice | np.ndarray, first: int, last: int) -> np.ndarray:
        numbers = range(samples.start, samples.stop) if isinstance(samples, slice) else samples
        reads.append(([int(number) for number in numbers], first, last))
        return plain(self, samples, first, last)

    monkeypatch.setattr(VariableSource, "_slab", counted)
    monkeypatch.setattr("sciops.data.reading.source.FileRows.of", lambda *where: None)  # rows need no slabs
    return reads


def test_a_batch_costs_few_reads(stored: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = _count_reads(monkeypatch)
    data = FunctionDataset(stored, inputs="u", outputs="u", history=2, horizon=1, cache_bytes=0)
    data.batch(torch.randperm(len(data), generator=torch.Generator().manual_seed(0)))
    assert reads == [(list(range(9)), 0, 12)]
    reads.clear()
    data.batch([0])
    assert reads == [([0], 0, 3)]  # one read serves x and y
    reads.clear()
    data.batch([1])
    assert reads == [([0], 0, 6)]  # whole chunks of three frames


def _large(samples: int, frames: int) -> tuple[VariableSource, np.ndarray]:
    """Frames of 1.5 MiB: more than a call is worth."""
    values = np.broadcast_to(np.arange(samples * frames).reshape(samples, frames, 1), (samples, frames, 196608))
    variable = xr.Variable(("sample", "time", "x"), values)
    return VariableSource(variable, sample="sample", time="time", space=("x",)), values


def test_samples_far_apart_are_selected_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    source, values = _large(40, 1)
    reads = _count_reads(monkeypatch)
    samples = np.array([31, 2, 3, 3, 30])
    out = source.read(samples, np.zeros((5, 1), dtype=np.int64))
    np.testing.assert_array_equal(out[:, 0, 0, 0], values[samples, 0, 0])
    assert reads == [([2, 3, 30, 31], 0, 1)]
    reads.clear()
    source.read(np.array([8, 6]), np.zeros((2, 1), dtype=np.int64))
    assert reads == [([6, 7, 8], 0, 1)]


def test_frames_far_apart_are_read_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    source, values = _large(3, 30)
    reads = _count_reads(monkeypatch)
    frames = np.array([[2, 20], [3, 21]])
    out = source.read(np.array([1, 1]), frames)
    np.testing.assert_array_equal(out[:, :, 0, 0], values[1, frames, 0])
    assert reads == [([1], 2, 4), ([1], 20, 22)]


def test_long_selections_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(9000.0)[:, None] * np.ones(2000)
    source = VariableSource(xr.Variable(("sample", "x"), values), sample="sample", time=None, space=("x",))
    reads = _count_reads(monkeypatch)
    samples = np.arange(0, 9000, 4)[::-1]
    out = source.read(samples, np.zeros((len(samples), 1), dtype=np.int64))
    np.testing.assert_array_equal(out[:, 0, 0, 0], samples)
    assert [len(numbers) for numbers, _, _ in reads] == [1000, 1000, 250]


@pytest.mark.parametrize("chunk", [1, 4])
def test_any_request_is_answered_whatever_the_plan(
    chunk: int, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = _values(generator, 30, 25, 3)
    variable = xr.Variable(("sample", "time", "x"), values, encoding={"preferred_chunks": {"time": chunk}})
    source = VariableSource(variable, sample="sample", time="time", space=("x",))
    for call_bytes in (0, 24, 500, 1 << 20):
        monkeypatch.setattr("sciops.data.reading.source._CALL_BYTES", call_bytes)
        samples = np.asarray(torch.randint(0, 30, (17,), generator=generator))
        scattered = np.asarray(torch.randint(0, 25, (17, 4), generator=generator))
        for frames in (scattered, np.arange(17)[:, None] + np.array([0, 1, 7])):
            out = source.read(samples, frames)
            np.testing.assert_array_equal(out[:, :, 0], values[samples[:, None], frames])


def test_samples_select_and_order(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs="u", outputs="u", history=1, samples=torch.tensor([7, 2, 5]))
    assert len(data) == 33 and data.samples.tolist() == [7, 2, 5] and sorted(set(data.groups.tolist())) == [2, 5, 7]
    part = data.subset([5, 7])
    assert part.groups.tolist() == [5] * 11 + [7] * 11 and len(data) == 33
    assert torch.equal(part[11]["x"], data[0]["x"])
    with pytest.raises(InputError, match="sample 3 is not among the 3"):
        data.subset([5, 3])
    assert part.astype(torch.float64)[0]["y"].dtype == torch.float64 and part[0]["y"].dtype == torch.float32


def test_subsets_share_what_is_in_memory(stored: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FunctionDataset(stored, inputs="a", outputs="u")
    reads = _count_reads(monkeypatch)
    data.subset([1])[0], data.subset([2, 3])[1], data[0]
    assert len(reads) == 2


def test_pickles_without_its_data(stored: xr.Dataset) -> None:
    data = FunctionDataset(stored, inputs="a", outputs="u", parameters="nu")
    first = data[5]
    frozen = pickle.dumps(data)
    assert len(frozen) < stored["u"].nbytes / 2
    assert _same(pickle.loads(frozen)[5], first)


def test_forkserver_workers_read_a_file_in_the_order_of_the_sampler(stored: xr.Dataset) -> None:
    data = FunctionDataset(stored, inputs="u", outputs="v", history=2, horizon=2, cache_bytes=0)
    data.batch([0])  # the file is open here when the workers start
    sampler = DistributedEpochSampler(len(data), 16, seed=3)
    alone = list(DataLoader(data, sampler=sampler, batch_size=None))
    together = list(
        DataLoader(data, sampler=sampler, batch_size=None, num_workers=2, multiprocessing_context="forkserver")
    )
    assert len(alone) == len(together) == len(sampler)
    assert all(_same(a, b) for a, b in zip(alone, together, strict=True))
    assert torch.cat([batch["index"] for batch in alone]).sort().values.equal(torch.arange(len(data)))


def test_a_loader_that_collates_works_too(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs="a", outputs="u", parameters="nu")
    batches = list(DataLoader(data, batch_size=4))
    assert _same(batches[2], data.batch([8])) and batches[0]["parameters"].shape == (4, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["u", "nu", "a"])
def test_check_finite_names_variable_sample_and_count(ds: xr.Dataset, name: str, bad: float) -> None:
    data = FunctionDataset(ds, inputs=["a", "mask", "u"], outputs="u", parameters="nu", history=1)
    data.check_finite()
    ds[name].values[(6, ...)] = bad
    ds[name].values[(8, ...)] = bad
    count = 2 * ds[name][0].size
    kind = f"{count} NaN and 0" if np.isnan(bad) else f"0 NaN and {count}"
    with pytest.raises(DataError, match=rf"variable '{name}' has {kind} infinite values, first in sample 6; leave"):
        data.check_finite()
    data.subset([0, 1, 7]).check_finite()


def test_blocks_are_bounded_and_complete(ds: xr.Dataset) -> None:
    source = VariableSource(ds["v"].variable, sample="sample", time="time", space=("x", "y"))
    for max_bytes in (1, 1000, 5000, 20_000, 1 << 30):
        total = 0.0
        for samples, block in source.blocks(np.array([8, 1, 2]), max_bytes):
            assert block.nbytes <= max(max_bytes, source.frame_bytes) and len(samples) == len(block)
            total += block.sum()
        assert total == pytest.approx(ds["v"].values[[8, 1, 2]].sum(), rel=1e-12)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"inputs": "uu"}, DataError, "no variable 'uu'; did you mean 'u'"),
        ({"parameters": "nuu"}, DataError, "no variable 'nuu'; did you mean 'nu'"),
        ({"inputs": ()}, InputError, "inputs names no variable"),
        ({"inputs": ["a", "a"]}, InputError, "inputs names 'a' twice"),
        ({"inputs": [3]}, InputError, "inputs holds 3"),
        ({"inputs": "z"}, DataError, "'z' is complex.*real and imaginary"),
        ({"inputs": "title"}, DataError, "'title' has dtype .*expected numbers"),
        ({"inputs": "when"}, DataError, "'when' has dtype datetime64"),
        ({"inputs": "nu"}, DataError, r"input 'nu' .* name it in parameters="),
        ({"outputs": "nu"}, DataError, r"output 'nu' .* expected a function of space"),
        ({"outputs": "mask"}, DataError, r"output 'mask' .* without 'sample'"),
        ({"parameters": "a"}, DataError, r"parameter 'a' has the dimensions .*'x', 'y'"),
        ({"inputs": "fine"}, DomainError, r"'u' on \(x: 6, y: 5\) and 'fine' on \(x2: 12, y2: 10\)"),
        ({"inputs": "line"}, DomainError, r"'u' on \(x: 6, y: 5\) and 'line' on \(x: 6\)"),
        ({"outputs": ["u", "fine"]}, DomainError, "'fine' on"),
        ({"history": 8, "horizon": 5, "inputs": "u"}, DataError, "spans 13 frames, and 'u' has 12"),
        ({"history": 2, "horizon": 1, "stride": 6, "inputs": "u"}, DataError, "stride=6 spans 13 frames"),
        ({"history": 1}, DataError, "input 'a' has no time dimension"),
        ({"history": 1, "inputs": "u", "outputs": "a"}, DataError, "output 'a' has no time dimension"),
        ({"history": 0, "inputs": "u"}, InputError, "history is 0"),
        ({"history": 1, "horizon": 0, "inputs": "u"}, InputError, "horizon is 0"),
        ({"history": 1, "stride": 0, "inputs": "u"}, InputError, "stride is 0"),
        ({"horizon": 1}, InputError, "give history"),
        ({"stride": 2}, InputError, "give history"),
        ({"samples": [0, 9]}, InputError, "sample 9 does not exist; there are 0 to 8"),
        ({"samples": [-1]}, InputError, "sample -1 does not exist"),
        ({"samples": [1, 2, 1]}, InputError, "sample 1 is chosen 2 times"),
        ({"samples": []}, DataError, "no sample chosen"),
        ({"samples": [0.5]}, InputError, "expected whole numbers"),
        ({"dtype": torch.float16}, InputError, "torch.float16; expected torch.float32"),
    ],
)
def test_refuses(ds: xr.Dataset, options: dict[str, Any], error: type[Exception], message: str) -> None:
    more = ds.assign(
        z=ds["a"] * 1j,
        title=(("sample", "x", "y"), np.full((9, 6, 5), "text")),
        when=(("sample", "x", "y"), np.zeros((9, 6, 5), dtype="datetime64[ns]")),
        fine=(("sample", "x2", "y2"), np.zeros((9, 12, 10))),
        line=(("sample", "x"), np.zeros((9, 6))),
    )
    with pytest.raises(error, match=message):
        FunctionDataset(more, **{"inputs": "a", "outputs": "u", **options})


def test_refuses_a_data_set_without_samples_and_names_the_file(stored: xr.Dataset) -> None:
    with pytest.raises(DataError, match=r"flow\.h5: no variable 'w'"):
        FunctionDataset(stored, inputs="w", outputs="u")
    with pytest.raises(DataError, match=r"no sample dimension; name it when opening \(sample_dim=\.\.\.\)"):
        FunctionDataset(stored.isel(sample=0), inputs="a", outputs="u")
    with pytest.raises(DataError, match=r"'u' is empty, .*'sample': 0"):
        FunctionDataset(stored.isel(sample=slice(0)), inputs="u", outputs="u")


def test_reads_the_files_of_others(shared_data: Path) -> None:
    darcy = sciops.data.open(shared_data / "darcy_train_16.pt")
    data = FunctionDataset(darcy, inputs="x", outputs="y")
    assert len(data) == 1000 and data.grid.kinds == ("left", "left") and data[0]["x"].dtype == torch.float32
    tensors = torch.load(shared_data / "darcy_train_16.pt", weights_only=True)
    chosen = [999, 3, 500]
    batch = data.batch(chosen)
    assert torch.equal(batch["x"][:, 0], tensors["x"][chosen].float()) and torch.equal(
        batch["y"][:, 0], tensors["y"][chosen]
    )
    data.check_finite()
    assert statistics_of(data).y.std.item() == pytest.approx(tensors["y"].double().std(correction=0).item(), rel=1e-12)

    burgers = sciops.data.open(shared_data / "burgers_train_16.pt")
    steps = FunctionDataset(burgers, inputs="y", outputs="y", history=1, samples=range(600))
    frames = torch.load(shared_data / "burgers_train_16.pt", weights_only=True)["y"].float()
    assert len(steps) == 9600
    assert torch.equal(steps[16 * 7 + 3]["x"][0], frames[7, 3]) and torch.equal(steps[16 * 7 + 3]["y"][0], frames[7, 4])


def test_nan_over_land_is_refused_with_the_mask_that_leaves_it_out() -> None:
    sst = np.random.default_rng().normal(size=(2, 3, 5))
    sst[..., 2] = np.nan
    ds = xr.Dataset({"sst": (("sample", "time", "x"), sst), "nu": ("sample", [1.0, 2.0])})
    with pytest.raises(DataError) as error:
        FunctionDataset(ds, inputs="sst", outputs="sst", history=1).check_finite()
    remedy = "ds['sea'] = ds['sst'].notnull().all('time').assign_attrs(role='mask')"
    assert remedy in str(error.value) and "\n" not in str(error.value)
    ds["sea"] = ds["sst"].notnull().all("time").assign_attrs(role="mask")
    ds["sst"].attrs["mask"] = "sea"
    data = FunctionDataset(ds, inputs="sst", outputs="sst", history=1)
    data.check_finite()
    assert data[0]["mask"].flatten().tolist() == [True, True, False, True, True]


def test_it_says_what_it_is(ds: xr.Dataset) -> None:
    found = repr(FunctionDataset(ds, inputs=["a", "u"], outputs="u", parameters="nu", history=2))
    assert found.startswith("FunctionDataset(") and "a, u -> u, parameters nu, history 2, horizon 1" in found
    assert "\n" not in found
    assert "u -> nothing" in repr(FunctionDataset(ds, inputs="u", outputs=()))
