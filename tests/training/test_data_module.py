from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.sampling import epoch_order
from sciops.errors import InputError, TrainingError
from sciops.training.data_module import OperatorData


def data_module(small: ModuleType, *, rank: int = 0, world: int = 1, **options: Any) -> OperatorData:
    train_set, validation_set = small.problem()
    made = OperatorData(train_set, validation_set, **{"batch_size": 16, **options})
    progress = SimpleNamespace(current=SimpleNamespace(ready=0, processed=0))
    loop = SimpleNamespace(epoch_progress=progress, epoch_loop=SimpleNamespace(batch_progress=progress))
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    made.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=rank, world_size=world, training=True, current_epoch=0, fit_loop=loop, strategy=strategy
    )
    return made


def batches(made: OperatorData) -> list[dict[str, torch.Tensor]]:
    return list(made.train_dataloader())


def test_batches_follow_the_order_of_the_epoch(small: ModuleType) -> None:
    made = data_module(small, seed=5)
    order = epoch_order(68, 5, 0)
    assert made.batches_per_epoch == 4
    indices = torch.cat([batch["index"] for batch in batches(made)])
    assert torch.equal(indices, order[:64])
    direct = made.train_set.batch(order[:16])
    assert torch.equal(batches(made)[0]["x"], direct["x"])


@pytest.mark.parametrize("cache_bytes", [0, 2**28])
def test_kept_in_memory_or_read_each_time(small: ModuleType, cache_bytes: int) -> None:
    read = batches(data_module(small, cache_bytes=cache_bytes))
    assert all(torch.equal(a["y"], b["y"]) for a, b in zip(read, batches(data_module(small)), strict=True))


@pytest.mark.slow
def test_any_number_of_workers_gives_the_same_batches(small: ModuleType) -> None:
    expected = batches(data_module(small))
    for workers in (1, 2):
        read = batches(data_module(small, workers=workers))
        assert len(read) == len(expected)
        for one, two in zip(expected, read, strict=True):
            assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("cache_bytes", [0, 2**28])
def test_batches_by_chunks_of_the_file(small: ModuleType, cache_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FunctionDataset, "chunk_samples", 4)
    made = data_module(small, cache_bytes=cache_bytes, chunk_buffer=3)
    read = batches(made)
    assert len(read) == 4
    for batch in read:  # a batch of 16 items may end one buffer of three chunks of four and begin the next ones
        assert len((made.train_set.groups[batch["index"]] // 4).unique()) <= 9
    parts = [batches(data_module(small, rank=rank, world=2, chunk_buffer=3)) for rank in (0, 1)]
    for batch, first, second in zip(read, *parts, strict=True):
        assert torch.equal(batch["index"], torch.cat([first["index"], second["index"]]))
    with pytest.raises(InputError, match="chunk_buffer must be at least 1 chunk, got 0"):
        data_module(small, chunk_buffer=0)


def test_two_processes_share_each_global_batch(small: ModuleType) -> None:
    whole = batches(data_module(small))
    parts = [batches(data_module(small, rank=rank, world=2)) for rank in (0, 1)]
    for batch, first, second in zip(whole, *parts, strict=True):
        assert torch.equal(batch["index"], torch.cat([first["index"], second["index"]]))


def test_validation_visits_every_item_once_over_uneven_shares(small: ModuleType) -> None:
    seen: list[int] = []
    for rank in range(4):
        made = data_module(small, rank=rank, world=4, batch_size=4)
        made.validation_set = made.validation_set.subset(range(68, 70))
        for batch in made.val_dataloader():
            seen += [] if "padding" in batch else batch["index"].tolist()
    assert sorted(seen) == [0, 1]


def test_position_goes_on_in_the_middle_of_an_epoch(small: ModuleType) -> None:
    first = data_module(small)
    whole = batches(first)
    first.trainer.fit_loop.epoch_loop.batch_progress.current.ready = 3  # type: ignore[union-attr]
    second = data_module(small)
    second.load_state_dict(first.state_dict())
    rest = batches(second)
    assert [batch["index"].tolist() for batch in rest] == [batch["index"].tolist() for batch in whole[3:]]
    other = data_module(small, seed=1)
    other.load_state_dict(first.state_dict())
    with pytest.raises(TrainingError, match="seed was 0 and is now 1"):
        other.train_dataloader()


def test_augmentation_moves_training_batches_only(small: ModuleType) -> None:
    made = data_module(small, symmetries=("shift-x",))
    batch = batches(made)[0]
    moved = made.on_after_batch_transfer(batch, 0)
    assert not torch.equal(moved["x"], batch["x"])
    torch.testing.assert_close(moved["y"], 0.5 * moved["x"].roll(1, 2) + 0.1 * moved["x"].square() + 3)
    assert torch.equal(made.on_after_batch_transfer(batch, 0)["x"], moved["x"])
    made.trainer.training = False  # type: ignore[union-attr]
    assert made.on_after_batch_transfer(batch, 0) is batch


def test_reading_draws_nothing_from_the_global_state(small: ModuleType) -> None:
    state = torch.get_rng_state()
    batches(data_module(small, symmetries=("shift-x",)))
    assert torch.equal(torch.get_rng_state(), state)


def test_bad_input(small: ModuleType) -> None:
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        data_module(small, batch_size=0)
    with pytest.raises(InputError, match="workers must be zero or more"):
        data_module(small, workers=-1)
