"""The sample order: pure, equal for any number of processes, resumable."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from sciops.data.functions.sampling import DistributedEpochSampler, chunk_order, epoch_order, split, stream_seed
from sciops.errors import DataError, InputError, TrainingError


def test_order_is_a_permutation_that_depends_on_seed_and_epoch_alone() -> None:
    before = torch.get_rng_state()
    order = epoch_order(257, seed=3, epoch=5)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(order.sort().values, torch.arange(257))
    torch.manual_seed(99)
    assert torch.equal(order, epoch_order(257, seed=3, epoch=5))
    assert not torch.equal(order, epoch_order(257, seed=3, epoch=6))
    assert not torch.equal(order, epoch_order(257, seed=4, epoch=5))


def test_streams_are_the_same_on_every_machine() -> None:
    assert stream_seed("order", 7, 2) == 7683381920613536349


def test_neighbouring_seeds_and_epochs_share_no_stream() -> None:
    seeds = {stream_seed("order", seed, epoch) for seed in range(40) for epoch in range(40)}
    assert len(seeds) == 1600
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_first_position_is_uniform() -> None:
    first = torch.tensor([int(epoch_order(4, 0, epoch)[0]) for epoch in range(4000)])
    counts = torch.bincount(first, minlength=4).double()
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 21.1  # chi-square, 3 degrees of freedom, p = 1e-4


@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_share_the_global_batches_of_one_process(world_size: int, drop_last: bool) -> None:
    def sampler(rank: int, world: int) -> DistributedEpochSampler:
        made = DistributedEpochSampler(103, 12, seed=1, drop_last=drop_last, rank=rank, world_size=world)
        made.set_epoch(4)
        return made

    alone = list(sampler(0, 1))
    ranks = [list(sampler(rank, world_size)) for rank in range(world_size)]
    assert {len(batches) for batches in ranks} == {len(alone)} == {len(sampler(0, 1))}
    for k, batch in enumerate(alone):
        shares = [batches[k] for batches in ranks]
        assert list(itertools.chain(*shares)) == batch
        sizes = {len(share) for share in shares}
        assert max(sizes) - min(sizes) <= (0 if drop_last else 1)
        assert sampler(0, world_size).global_sizes[k] == len(batch)
    assert sum(map(len, alone)) == (96 if drop_last else 103)


def test_fewer_items_than_a_batch_make_one_batch_of_all() -> None:
    assert [len(batch) for batch in DistributedEpochSampler(5, 32, drop_last=True)] == [5]


def test_mean_of_the_gradients_of_equal_shares_is_the_gradient_of_the_global_batch(generator: torch.Generator) -> None:
    data = torch.randn(26, 3, dtype=torch.float64, generator=generator)

    def run(world_size: int) -> list[float]:
        weight = torch.zeros(3, dtype=torch.float64)
        losses = []
        samplers = [
            DistributedEpochSampler(26, 8, drop_last=True, rank=r, world_size=world_size) for r in range(world_size)
        ]
        for epoch in range(3):
            for sampler in samplers:
                sampler.set_epoch(epoch)
            for shares in zip(*samplers, strict=True):
                gradients, parts = [], []
                for share in shares:
                    w = weight.clone().requires_grad_()
                    loss = ((data[share] @ w - 1) ** 2).mean()
                    gradients.append(torch.autograd.grad(loss, w)[0])
                    parts.append(loss.item())
                weight = weight - 0.05 * torch.stack(gradients).mean(dim=0)
                losses.append(sum(parts) / world_size)
        return losses

    alone = torch.tensor(run(1), dtype=torch.float64)
    assert len(alone) == 9
    for world_size in (2, 4):
        assert torch.allclose(alone, torch.tensor(run(world_size), dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("stop", [0, 1, 4, 8])
def test_a_resumed_sampler_yields_exactly_the_remaining_batches(stop: int) -> None:
    left_alone = DistributedEpochSampler(67, 8, seed=2, drop_last=True)
    left_alone.set_epoch(3)
    batches = list(left_alone)

    stopped = DistributedEpochSampler(67, 8, seed=2, drop_last=True)
    stopped.set_epoch(3)
    reader = iter(stopped)
    for _ in range(min(stop + 2, len(batches))):  # the loader reads two batches ahead
        next(reader)
    stopped.advance(stop)

    resumed = DistributedEpochSampler(67, 8, seed=2, drop_last=True)
    resumed.load_state_dict(stopped.state_dict())
    resumed.set_epoch(3)
    assert list(resumed) == batches[stop:]
    assert len(resumed) == len(batches)
    resumed.set_epoch(4)
    assert next(iter(resumed)) == epoch_order(67, 2, 4)[:8].tolist()


def test_order_by_chunks_is_a_permutation_that_depends_on_seed_and_epoch_alone(generator: torch.Generator) -> None:
    groups = torch.randint(-5, 40, (311,), generator=generator)
    before = torch.get_rng_state()
    order = chunk_order(groups, seed=3, epoch=5, buffer=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(order.sort().values, torch.arange(311))
    torch.manual_seed(99)
    assert torch.equal(order, chunk_order(groups, seed=3, epoch=5, buffer=4))
    assert torch.equal(order, chunk_order(groups * 7 + 2, seed=3, epoch=5, buffer=4))  # labels mean nothing
    assert not torch.equal(order, chunk_order(groups, seed=3, epoch=6, buffer=4))
    assert not torch.equal(order, chunk_order(groups, seed=4, epoch=5, buffer=4))


@pytest.mark.parametrize("buffer", [1, 3, 10, 50])
def test_chunks_of_one_buffer_are_left_before_the_next_is_begun(buffer: int, generator: torch.Generator) -> None:
    groups = (torch.arange(400) // 20)[torch.randperm(400, generator=generator)]
    visited = groups[chunk_order(groups, seed=1, epoch=2, buffer=buffer)]
    for block in visited.split(20 * buffer):
        found, counts = block.unique(return_counts=True)
        assert len(found) == min(buffer, 20, len(block) // 20) and bool((counts == 20).all())
    if buffer > 1:  # within a buffer the chunks are mixed
        assert len(visited[: 4 * buffer].unique()) > 1
    firsts = [int(groups[chunk_order(groups, seed=1, epoch=epoch, buffer=buffer)[0]]) for epoch in range(60)]
    assert len(set(firsts)) > 10


@pytest.mark.parametrize("world_size", [2, 4])
def test_batches_by_chunks_are_shared_and_resumed_as_any(world_size: int) -> None:
    groups = torch.arange(96) // 8

    def sampler(rank: int, world: int) -> DistributedEpochSampler:
        options: dict[str, Any] = {"groups": groups, "buffer": 3, "rank": rank, "world_size": world}
        made = DistributedEpochSampler(96, 12, seed=1, drop_last=True, **options)
        made.set_epoch(2)
        return made

    alone = list(sampler(0, 1))
    shares = [list(sampler(rank, world_size)) for rank in range(world_size)]
    for k, batch in enumerate(alone):
        assert list(itertools.chain(*(share[k] for share in shares))) == batch
        assert len({item // 8 for item in batch}) <= 3
    assert sorted(itertools.chain(*alone)) == list(range(96))
    stopped = sampler(0, 1)
    stopped.advance(3)
    resumed = sampler(0, 1)
    resumed.load_state_dict(stopped.state_dict())
    assert list(resumed) == alone[3:]


def test_another_way_to_shuffle_is_no_way_to_resume() -> None:
    groups = torch.arange(20) // 5
    state = DistributedEpochSampler(20, 4, groups=groups, buffer=2).state_dict()
    assert all(isinstance(value, int) for value in state.values())
    others = (DistributedEpochSampler(20, 4), DistributedEpochSampler(20, 4, groups=groups, buffer=3))
    for other in (*others, DistributedEpochSampler(20, 4, groups=groups // 2, buffer=2)):
        with pytest.raises(TrainingError, match=r"cannot resume the sample order: (buffer|groups) was"):
            other.load_state_dict(state)
    with pytest.raises(TrainingError, match="buffer was None and is now 2"):
        DistributedEpochSampler(20, 4, groups=groups, buffer=2).load_state_dict(others[0].state_dict())
    in_order = DistributedEpochSampler(20, 4, groups=groups, shuffle=False)
    assert list(in_order) == list(DistributedEpochSampler(20, 4, shuffle=False))


def test_state_is_plain_and_refuses_another_run() -> None:
    state = DistributedEpochSampler(20, 4, seed=1).state_dict()
    assert all(isinstance(value, int) for value in state.values())
    for changed in ({"n": 21}, {"batch_size": 5}, {"seed": 2}, {"shuffle": False}):
        with pytest.raises(TrainingError, match=next(iter(changed))):
            DistributedEpochSampler(20, 4, seed=1).load_state_dict({**state, **changed})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"world_size": 0}, "world_size is 0"),
        ({"rank": 2, "world_size": 2}, "rank is 2"),
        ({"buffer": 0}, "buffer is 0"),
        ({"groups": torch.arange(9)}, r"groups have the shape \(9,\); expected the chunk of each of 10 items"),
        ({"batch_size": 5, "world_size": 2, "drop_last": True}, "5 items cannot be shared equally by 2"),
        ({"n": 7, "batch_size": 8, "world_size": 2, "drop_last": True}, "at most the 7 items"),
    ],
)
def test_sampler_refuses(options: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"n": 10, "batch_size": 4, **options}
    with pytest.raises(InputError, match=message):
        DistributedEpochSampler(arguments.pop("n"), arguments.pop("batch_size"), **arguments)


@pytest.mark.parametrize("n", [3, 4, 7, 10, 29, 100, 1001])
@pytest.mark.parametrize("fractions", [(0.8, 0.1, 0.1), (1 / 3, 1 / 3, 1 / 3), (0.9, 0.1, 0.0), (1.0, 0.0, 0.0)])
def test_split_is_a_partition_with_the_asked_shares(n: int, fractions: tuple[float, float, float]) -> None:
    parts = split(n, fractions, seed=5)
    assert torch.equal(torch.cat(parts).sort().values, torch.arange(n))
    for part, fraction in zip(parts, fractions, strict=True):
        assert (len(part) == 0) == (fraction == 0)
        assert abs(len(part) - n * fraction) < 1 or n < 10
        assert torch.equal(part, part.sort().values)


def test_split_is_pure_and_by_trajectory() -> None:
    before = torch.get_rng_state()
    groups = torch.tensor([4, 4, 9, 9, 2, 2, 7, 7, 30, 30])
    parts = split(groups, (0.6, 0.2, 0.2), seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(torch.cat(parts).tolist()) == [2, 4, 7, 9, 30]
    assert all(torch.equal(a, b) for a, b in zip(parts, split(groups, (0.6, 0.2, 0.2), seed=0), strict=True))
    assert len({tuple(split(20, seed=seed)[0].tolist()) for seed in range(5)}) == 5


@pytest.mark.parametrize(
    "fractions", [(0.5, 0.5), (0.8, 0.3, 0.1), (1.2, -0.1, -0.1), (0.0, 0.5, 0.5), (float("nan"), 0.5, 0.5)]
)
def test_split_refuses_fractions(fractions: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="fractions"):
        split(10, fractions)


def test_split_refuses_too_few_samples() -> None:
    with pytest.raises(DataError, match="2 samples cannot be split into 3 parts"):
        split(2)
    assert [len(part) for part in split(2, (0.5, 0.5, 0))] == [1, 1, 0]


def test_each_batch_has_one_resolution_drawn_from_seed_epoch_and_number_alone() -> None:
    def made(**options: Any) -> DistributedEpochSampler:
        chosen: dict[str, Any] = {"seed": 5, "drop_last": True, "resolutions": [16, [8, 8], [4, 4]], **options}
        return DistributedEpochSampler(60, 4, **chosen)

    def resolutions(sampler: DistributedEpochSampler) -> list[Any]:
        return [request.resolution for request in sampler]  # type: ignore[attr-defined]

    first = resolutions(made())
    assert set(first) == {16, (8, 8), (4, 4)} and len(first) == 15
    assert resolutions(made()) == first and list(made()) == list(made(resolutions=()))
    assert [resolutions(made(rank=rank, world_size=2)) for rank in (0, 1)] == [first, first]
    assert resolutions(made(seed=6)) != first
    later = made()
    later.set_epoch(3)
    assert resolutions(later) != first and {request.epoch for request in later} == {3}  # type: ignore[attr-defined]
    assert resolutions(made(resolutions=())) == [None] * 15

    stopped = made()
    stopped.advance(6)
    resumed = made()
    resumed.load_state_dict(stopped.state_dict())
    assert resolutions(resumed) == first[6:]
    for other in (made(resolutions=()), made(resolutions=[16])):
        with pytest.raises(TrainingError, match="cannot resume the sample order: resolutions was"):
            other.load_state_dict(stopped.state_dict())
    with pytest.raises(TrainingError, match=r"resolutions was \[\] and is now|resolutions was None and is now"):
        made().load_state_dict(made(resolutions=()).state_dict())


def test_resolutions_are_drawn_uniformly() -> None:
    sampler = DistributedEpochSampler(3000, 1, resolutions=[8, 16, 32])
    drawn = torch.tensor([request.resolution for request in sampler])  # type: ignore[attr-defined]
    counts = torch.stack([(drawn == size).sum() for size in (8, 16, 32)]).double()
    assert float(((counts - 1000) ** 2 / 1000).sum()) < 18.4  # chi-square, 2 degrees of freedom, p = 1e-4


def test_evaluation_keeps_its_query_points_in_every_epoch() -> None:
    sampler = DistributedEpochSampler(8, 4, shuffle=False)
    sampler.set_epoch(7)
    assert {request.epoch for request in sampler} == {0}  # type: ignore[attr-defined]
