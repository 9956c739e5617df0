"""One batch ahead in a thread: the same batches, errors at their place, no thread left; and pinned memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import sciops.data
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.loading import StreamLoader, ahead, empty, pinned
from sciops.data.functions.sampling import DistributedEpochSampler
from sciops.errors import DataError


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("sciops-ahead")]


@pytest.fixture
def data(tmp_path: Path, generator: torch.Generator) -> FunctionDataset:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        values = torch.randn(40, 8, 8, generator=generator).numpy()
        file.create_dataset("u", data=values, chunks=(4, 8, 8), compression="gzip")
        file.create_dataset("v", data=2 * values, chunks=(1, 8, 8))
    dims = {name: ("sample", "x", "y") for name in "uv"}
    ds = sciops.data.open(tmp_path / "a.h5", sample_dim="sample", dims=dims)
    return FunctionDataset(ds, inputs="u", outputs="v", cache_bytes=0)


def test_exactly_one_batch_is_made_ahead() -> None:
    made: list[int] = []

    def batches() -> Iterator[int]:
        for i in range(5):
            made.append(i)
            yield i

    stream = ahead(batches())
    assert made == []
    for i in range(5):
        assert next(stream) == i
        deadline = time.monotonic() + 10
        while len(made) < min(i + 2, 5) and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.01)
        assert made == list(range(min(i + 2, 5)))
    assert next(stream, None) is None and threads() == []


def test_errors_come_where_their_batch_would() -> None:
    def batches() -> Iterator[int]:
        yield 1
        raise DataError("a.h5: truncated")

    stream = ahead(batches())
    assert next(stream) == 1
    with pytest.raises(DataError, match=r"a\.h5: truncated"):
        next(stream)
    assert threads() == []


def test_a_stream_left_early_leaves_no_thread() -> None:
    stream = ahead(iter(range(100)))
    assert next(stream) == 0 and len(threads()) == 1
    stream.close()
    assert threads() == []


class Slow(Dataset[int]):
    def __getitem__(self, i: int) -> int:
        time.sleep(0.02)
        return i

    def __len__(self) -> int:
        return 15


def test_reading_and_using_overlap() -> None:
    def seconds(prefetch: bool) -> float:
        start = time.perf_counter()
        for _ in StreamLoader(Slow(), batch_size=None, prefetch=prefetch):
            time.sleep(0.02)
        return time.perf_counter() - start

    assert seconds(True) < 0.8 * seconds(False)  # half and one batch, were there nothing but the waiting


@pytest.mark.parametrize("by_chunks", [False, True])
@pytest.mark.parametrize("options", [{}, {"prefetch": False}, {"num_workers": 2}])
def test_the_order_is_that_of_the_sampler(data: FunctionDataset, options: dict[str, Any], by_chunks: bool) -> None:
    groups = data.groups // data.chunk_samples if by_chunks else None
    sampler = DistributedEpochSampler(len(data), 6, seed=3, groups=groups, buffer=2)
    assert data.chunk_samples == 4
    expected = [data.batch(batch) for batch in sampler]
    if options.get("num_workers"):
        options = {**options, "multiprocessing_context": "forkserver"}
    found = list(StreamLoader(data, sampler=sampler, batch_size=None, **options))
    assert len(found) == len(expected) == 7
    for one, two in zip(expected, found, strict=True):
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
        assert torch.equal(one["y"], 2 * one["x"])


def test_it_is_the_loader_of_torch(data: FunctionDataset) -> None:
    before = torch.get_rng_state()
    plain = list(DataLoader(data, batch_size=7, generator=torch.Generator()))
    stream = StreamLoader(data, batch_size=7, generator=torch.Generator())
    for _ in range(2):  # epochs
        assert len(stream) == len(plain)
        assert all(torch.equal(a["x"], b["x"]) for a, b in zip(plain, stream, strict=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_memory_is_pinned_only_where_asked_for(monkeypatch: pytest.MonkeyPatch, data: FunctionDataset) -> None:
    asked: list[tuple[int, ...]] = []
    plain = torch.empty

    def recorded(*shape: int, pin_memory: bool = False, **options: Any) -> torch.Tensor:
        if pin_memory:
            asked.append(shape)
        return plain(*shape, **options)

    monkeypatch.setattr(torch, "empty", recorded)
    reference = data.batch([3, 1])
    assert not asked
    with pinned():
        inside = data.batch([3, 1])
        elsewhere = threading.Thread(target=empty, args=((9, 9), np.float32))
        elsewhere.start()
        elsewhere.join()
    assert asked == [(2, 1, 8, 8), (2, 1, 8, 8)]  # x and y, and nothing in another thread
    assert all(torch.equal(inside[name], reference[name]) for name in reference)
    assert empty((2,), np.float64).dtype == np.float64 and len(asked) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_batches_are_read_into_pinned_memory(data: FunctionDataset) -> None:
    sampler = DistributedEpochSampler(len(data), 8)
    device = torch.device("cuda", torch.cuda.current_device())
    stream = StreamLoader(data, sampler=sampler, batch_size=None, pin_memory=True, device=device)
    with pinned():
        assert data.batch([0])["x"].is_pinned()
    assert all(batch["x"].is_pinned() and batch["index"].is_pinned() for batch in stream)
