"""The order of the samples: pure functions of (seed, epoch), the same for any number of workers and processes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.utils.data import Sampler

from sciops.errors import DataError, InputError, TrainingError


def stream_seed(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part, so that (seed 0, epoch 1) and (seed 1, epoch 0) share nothing.

    Parameters
    ----------
    *parts
        Integers and names that tell one stream of random numbers from another.

    Returns
    -------
    int
        The first 63 bits of the BLAKE2b digest of the parts; the same on every machine.

    Examples
    --------
    >>> stream_seed(0, 1) == stream_seed(0, 1), stream_seed(0, 1) == stream_seed(1, 0)
    (True, False)
    """
    digest = hashlib.blake2b(repr(tuple(parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def epoch_order(n: int, seed: int, epoch: int, shuffle: bool = True) -> Int64[Tensor, " n"]:
    """The order in which one epoch visits `n` items: a permutation drawn from (seed, epoch) alone.

    Parameters
    ----------
    n
        Number of items.
    seed, epoch
        The permutation is a pure function of the two; the global random state is neither read nor changed.
    shuffle
        False gives 0, 1, ..., n-1.

    Returns
    -------
    Tensor
        (n,) int64.

    Examples
    --------
    >>> epoch_order(4, seed=0, epoch=0, shuffle=False)
    tensor([0, 1, 2, 3])
    >>> bool((epoch_order(100, 0, 3) == epoch_order(100, 0, 3)).all())
    True
    """
    if not shuffle:
        return torch.arange(n)
    generator = torch.Generator().manual_seed(stream_seed("order", seed, epoch))
    return torch.randperm(n, generator=generator)


def chunk_order(groups: Int64[Tensor, " n"], seed: int, epoch: int, buffer: int = 16) -> Int64[Tensor, " n"]:
    """An order that visits items of a few chunks of the storage at a time: a pure function of (seed, epoch).

    The chunks are permuted; items of the first `buffer` of them come in an order by chance, then those of the next.
    What is read stays near, and a batch mixes as many chunks as the buffer has.

    Parameters
    ----------
    groups
        (n,) the chunk of each item, any integers.
    seed, epoch
        The order depends on nothing else; the global random state is neither read nor changed.
    buffer
        Chunks whose items are mixed.

    Returns
    -------
    Tensor
        (n,) int64, a permutation.

    Examples
    --------
    >>> order = chunk_order(torch.arange(8) // 2, seed=0, epoch=0, buffer=1)
    >>> (order // 2).reshape(4, 2).diff().abs().sum().item()
    0
    """
    generator = torch.Generator().manual_seed(stream_seed("chunks", seed, epoch))
    _, chunk = torch.unique(groups, return_inverse=True)
    place = torch.randperm(int(chunk.max()) + 1, generator=generator)
    within = torch.randperm(len(chunk), generator=generator)
    return (place[chunk] // buffer * len(chunk) + within).argsort()


class Request(list[int]):
    """The item numbers of one batch, with what else says what is in it; a plain list where nothing is said.

    Parameters
    ----------
    items
        Item numbers.
    epoch
        Of which the batch is.
    resolution
        Nodes of each axis to which the fields are reduced; None: as they are.

    Examples
    --------
    >>> request = Request([4, 2], epoch=3)
    >>> request == [4, 2], request.epoch
    (True, 3)
    """

    def __init__(
        self, items: Iterable[int] = (), epoch: int = 0, resolution: int | tuple[int, ...] | None = None
    ) -> None:
        super().__init__(items)
        self.epoch, self.resolution = epoch, resolution


class DistributedEpochSampler(Sampler[list[int]]):
    """Batches of item numbers for one of several processes that train on the same global batches.

    Global batch k of an epoch is entries ``k*B ... (k+1)*B - 1`` of `epoch_order`, for any number of processes;
    process r takes the r-th contiguous share of it. Every process makes the same number of batches.

    Parameters
    ----------
    n
        Number of items.
    batch_size
        Items of a *global* batch, over all processes.
    seed
        Seed of the order.
    shuffle
        New order each epoch; or always 0 ... n-1, and the query points of epoch 0.
    drop_last
        True (training): an incomplete last global batch is left out, and where ``n < batch_size`` the batch is all n
        items. Shares are equal, so the mean of the processes' gradients is the gradient of the global batch; a batch
        that the processes cannot share equally is refused. False (evaluation): every item is visited once, the last
        batch is smaller, and shares differ by at most one and can be empty: add sums over the processes and divide
        by `global_sizes`.
    rank, world_size
        This process, and how many there are.
    groups, buffer
        With `shuffle`: the chunk of the storage in which each item lies, as `chunk_order` takes it, and how many of
        them are mixed at a time; None mixes all items.
    resolutions
        Resolutions of which each global batch has one, drawn from (seed, epoch, number of the batch); none: as stored.

    Raises
    ------
    InputError
        If a size is not positive, the rank does not exist, or with `drop_last` the batch cannot be shared equally.

    Notes
    -----
    With ``DataLoader(dataset, sampler=sampler, batch_size=None)`` each list of numbers goes to the data set as one
    index. Call `set_epoch` at the start of an epoch and `advance` after each finished batch: the loader's workers
    read ahead, so only the consumer knows the position. `state_dict` then stands exactly between two batches, and
    iteration after `load_state_dict` yields exactly the remaining ones.

    Examples
    --------
    >>> sampler = DistributedEpochSampler(10, 4, shuffle=False, drop_last=True, rank=1, world_size=2)
    >>> list(sampler)
    [[2, 3], [6, 7]]
    >>> sampler.advance()
    >>> list(sampler), len(sampler)
    ([[6, 7]], 2)
    >>> list(DistributedEpochSampler(10, 4, shuffle=False))
    [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        rank: int = 0,
        world_size: int = 1,
        groups: Int64[Tensor, " n"] | None = None,
        buffer: int = 16,
        resolutions: Sequence[int | Sequence[int]] = (),
    ) -> None:
        sizes = (("n", n), ("batch_size", batch_size), ("world_size", world_size), ("buffer", buffer))
        for name, value in sizes:
            if value < 1:
                raise InputError(f"{name} is {value}; expected at least 1")
        if groups is not None and groups.shape != (n,):
            raise InputError(f"groups have the shape {tuple(groups.shape)}; expected the chunk of each of {n} items")
        if not 0 <= rank < world_size:
            raise InputError(f"rank is {rank}; expected 0 to {world_size - 1} for {world_size} processes")
        self.n = n
        self.batch_size = min(batch_size, n)
        self.seed = seed
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.rank = rank
        self.world_size = world_size
        self.groups = groups if shuffle else None
        self.buffer = buffer if self.groups is not None else 0
        self.resolutions = [each if isinstance(each, int) else list(each) for each in resolutions]
        self.epoch = 0
        self.batch = 0
        if drop_last and self.batch_size % world_size:
            raise InputError(
                f"a global batch of {self.batch_size} items cannot be shared equally by {world_size} processes; "
                f"choose a batch size that {world_size} divides and that is at most the {n} items"
            )

    @property
    def global_sizes(self) -> tuple[int, ...]:
        """Items of each global batch of an epoch, over all processes."""
        full, rest = divmod(self.n, self.batch_size)
        return (self.batch_size,) * full + ((rest,) if rest and not self.drop_last else ())

    def __len__(self) -> int:
        """Batches of a whole epoch, also where iteration starts in its middle."""
        return len(self.global_sizes)

    def __iter__(self) -> Iterator[list[int]]:
        if self.groups is None:
            order = epoch_order(self.n, self.seed, self.epoch, self.shuffle).tolist()
        else:
            order = chunk_order(self.groups, self.seed, self.epoch, self.buffer).tolist()
        for batch, size in list(enumerate(self.global_sizes))[self.batch :]:
            start = batch * self.batch_size
            share = order[
                start + self.rank * size // self.world_size : start + (self.rank + 1) * size // self.world_size
            ]
            yield Request(share, self.epoch if self.shuffle else 0, self.resolution_of(batch))

    def resolution_of(self, batch: int) -> int | tuple[int, ...] | None:
        """The resolution of a batch of the present epoch: one of those given, drawn from (seed, epoch, batch) alone."""
        if not self.resolutions:
            return None
        number = stream_seed("resolution", self.seed, self.epoch, batch) % len(self.resolutions)
        chosen = self.resolutions[number]
        return chosen if isinstance(chosen, int) else tuple(chosen)

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch; the present epoch's position is kept, so a resumed one goes on where it was."""
        if epoch != self.epoch:
            self.epoch, self.batch = epoch, 0

    def advance(self, batches: int = 1) -> None:
        """Count batches that the consumer has finished."""
        self.batch += batches

    def state_dict(self) -> dict[str, Any]:
        """Position (epoch, batches finished) and what the order depends on, as plain numbers."""
        return {"epoch": self.epoch, "batch": self.batch, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the position of `state_dict`; the number of processes may differ.

        Raises
        ------
        TrainingError
            If items, batch size, seed, shuffle, drop_last, chunks or resolutions are not those of this sampler.
        """
        absent: dict[str, Any] = {"resolutions": [], "buffer": 0, "groups": 0}
        for name, value in {**absent, **self._identity()}.items():
            if state.get(name, absent.get(name, value)) != value:
                raise TrainingError(
                    f"cannot resume the sample order: {name} was {state.get(name)} and is now {value}; "
                    f"resume with the same data and batch size, or start a new run"
                )
        self.epoch, self.batch = int(state["epoch"]), int(state["batch"])

    def _identity(self) -> dict[str, Any]:
        names = ("n", "batch_size", "seed", "shuffle", "drop_last", *(["resolutions"] if self.resolutions else []))
        identity = {name: getattr(self, name) for name in names}
        if self.groups is not None:
            chunks = hashlib.blake2b(self.groups.to(torch.int64).contiguous().numpy().tobytes(), digest_size=7)
            identity.update(buffer=self.buffer, groups=int.from_bytes(chunks.digest(), "little"))
        return identity


def split(
    groups: int | Tensor | Sequence[int],
    fractions: Sequence[float] = (0.8, 0.1, 0.1),
    *,
    seed: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Share samples (or whole trajectories) among training, validation and calibration, by chance.

    Parameters
    ----------
    groups
        How many samples there are, or the sample of each item (`FunctionDataset.groups`); repeats count once.
    fractions
        Shares of the three parts: not negative, training positive, sum 1. Sizes are rounded by largest remainder,
        and a part with a positive share gets at least one sample.
    seed
        The split is a pure function of the samples, the fractions and the seed.

    Returns
    -------
    tuple of Tensor
        Sample numbers (int64, sorted) of the training, validation and calibration parts; no two overlap.

    Raises
    ------
    InputError
        If the fractions are not three shares of one.
    DataError
        If there are fewer samples than parts.

    Examples
    --------
    >>> [len(part) for part in split(100, (0.8, 0.1, 0.1), seed=0)]
    [80, 10, 10]
    """
    shares = [float(fraction) for fraction in fractions]
    if len(shares) != 3 or not shares[0] > 0 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(
            f"split fractions are {tuple(fractions)}; expected three shares (training, validation, calibration) "
            f"that are not negative, with sum 1 and a positive training share"
        )
    samples = torch.arange(groups) if isinstance(groups, int) else torch.unique(torch.as_tensor(groups))
    n, parts = len(samples), sum(share > 0 for share in shares)
    if n < parts:
        raise DataError(
            f"{n} sample{'s' if n != 1 else ''} cannot be split into {parts} parts with fractions {tuple(shares)}; "
            f"bring at least {parts} samples, or set a fraction to 0"
        )
    sizes = [max(int(share * n + 1e-9), int(share > 0)) for share in shares]
    while sum(sizes) != n:
        step = 1 if sum(sizes) < n else -1
        allowed = [i for i in range(3) if shares[i] > 0 and (step > 0 or sizes[i] > 1)]
        chosen = max(allowed, key=lambda i: step * (shares[i] * n - sizes[i]))
        sizes[chosen] += step
    generator = torch.Generator().manual_seed(stream_seed("split", seed))
    train, validation, calibration = samples[torch.randperm(n, generator=generator)].split(sizes)
    return train.sort().values, validation.sort().values, calibration.sort().values
