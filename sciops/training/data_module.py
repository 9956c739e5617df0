"""Batches for training: rank-aware, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sciops.data.functions.coarsening import Resolution
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.loading import StreamLoader
from sciops.data.functions.sampling import DistributedEpochSampler, Request
from sciops.data.functions.symmetry import draw
from sciops.errors import InputError


class _Batches(Dataset[dict[str, Tensor]]):
    """A data set indexed by whole batches, read once into memory if it is small."""

    def __init__(self, source: FunctionDataset, *, cache_bytes: int) -> None:
        self.source = source
        self.items: dict[str, Tensor] | None = None
        first = source.read([0])
        size = len(source) * sum(value.numel() * value.element_size() for value in first.values())
        if size <= cache_bytes:
            self.items = source.read(range(len(source)))

    def __getitem__(self, request: Sequence[int]) -> dict[str, Tensor]:
        if not request:  # a process without a share of the last batch takes part with an item that does not count
            alone = Request([0], getattr(request, "epoch", 0), getattr(request, "resolution", None))
            return {**self[alone], "padding": torch.tensor(True)}
        if self.items is None:
            return self.source.batch(request)
        selection = torch.as_tensor(request, dtype=torch.int64)
        chosen = {name: value.index_select(0, selection) for name, value in self.items.items()}
        return self.source.derived(chosen, getattr(request, "epoch", 0), getattr(request, "resolution", None))


class OperatorData(lightning.LightningDataModule):
    """Training and validation batches of two function data sets.

    Every process reads its part of each global batch of `batch_size` items, so that several processes take the
    steps that one would. The order of an epoch is a pure function of (seed, epoch), so it is the same for any number
    of workers and processes, and a run goes on in the middle of an epoch without reading what came before.

    Parameters
    ----------
    train_set, validation_set
        Function data sets.
    batch_size
        Items in one batch, over all processes.
    seed
        Seed of the order and of the augmentation.
    symmetries
        Names of the symmetries of the problem; each training item is moved by a random one, with its mask, and the
        components of vectors and tensors turn with it.
    resolutions
        Resolutions of which every training batch has one at random, a pure function of (seed, epoch, batch number);
        none: that of the data set.
    workers
        Processes that read ahead, started by forkserver; 0 reads in the training process, and then a data set up to
        `cache_bytes` is kept in memory.
    dtype
        Dtype of the fields and parameters in a batch.
    cache_bytes
        See `workers`.
    chunk_buffer
        Shuffle by chunks of the file, this many at a time, so that a compressed chunk is read while it is at hand;
        None: all items are mixed.

    Raises
    ------
    InputError
        Batch size below 1, an empty data set, a resolution that the data cannot be brought to, or symmetries of items
        with query points, which are no longer on a grid.

    Examples
    --------
    >>> OperatorData.__name__
    'OperatorData'
    """

    def __init__(
        self,
        train_set: FunctionDataset,
        validation_set: FunctionDataset,
        *,
        batch_size: int,
        seed: int = 0,
        symmetries: Sequence[str] = (),
        resolutions: Sequence[Resolution] = (),
        workers: int = 0,
        dtype: torch.dtype = torch.float32,
        cache_bytes: int = 2**28,
        chunk_buffer: int | None = None,
    ) -> None:
        super().__init__()
        for name, data in (("training", train_set), ("validation", validation_set)):
            if len(data) == 0:
                raise InputError(f"the {name} set is empty; give it at least one item")
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        if workers < 0:
            raise InputError(f"workers must be zero or more, got {workers}")
        if chunk_buffer is not None and chunk_buffer < 1:
            raise InputError(f"chunk_buffer must be at least 1 chunk, got {chunk_buffer}")
        for resolution in resolutions:
            train_set.check_resolution(resolution)
        if symmetries and train_set.query is not None:
            raise InputError("symmetries move whole fields, and query points are single nodes; leave one of them out")
        self.train_set, self.validation_set = train_set.astype(dtype), validation_set.astype(dtype)
        self.batch_size = min(batch_size, len(train_set))
        self.seed, self.symmetries = seed, tuple(symmetries)
        self.resolutions = tuple(resolutions)
        self.workers, self.cache_bytes, self.chunk_buffer = workers, cache_bytes, chunk_buffer
        self._position: dict[str, Any] | None = None

    @property
    def batches_per_epoch(self) -> int:
        return len(self.train_set) // self.batch_size

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        sampler = self._sampler(self.train_set, self.batch_size, shuffle=True)
        if self._position is not None:
            sampler.load_state_dict(self._position)
        self._train_sampler = sampler
        return self._loader(self.train_set, sampler)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        sampler = self._sampler(self.validation_set, 4 * self.batch_size, shuffle=False)
        return self._loader(self.validation_set, sampler)

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        assert self.trainer is not None
        if not self.symmetries or not self.trainer.training:
            return batch
        data = self.train_set
        grid = data.grid.resized(*batch["x"].shape[2:])
        drawn = draw(grid, self.symmetries, seed=self.seed, epoch=self.trainer.current_epoch, index=batch["index"])
        moved = {
            "x": drawn.apply(batch["x"], ends="nearest", tensors=data.input_tensors),
            "y": drawn.apply(batch["y"], tensors=data.output_tensors),
        }
        if "parameters" in batch:
            moved["parameters"] = drawn.turn(batch["parameters"], data.parameter_tensors)
        if "mask" in batch:
            moved["mask"] = drawn.apply_mask(batch["mask"])
        return {**batch, **moved}

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch stands: its epoch and its number there."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        epoch = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        batch = loop.epoch_loop.batch_progress.current.ready % self.batches_per_epoch
        return {**self._train_sampler.state_dict(), "epoch": epoch, "batch": batch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._position = state_dict

    def _sampler(self, data: FunctionDataset, size: int, *, shuffle: bool) -> DistributedEpochSampler:
        assert self.trainer is not None
        return DistributedEpochSampler(
            len(data),
            batch_size=size,
            seed=self.seed,
            shuffle=shuffle,
            drop_last=shuffle,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
            resolutions=self.resolutions if shuffle else (),
            groups=data.groups // data.chunk_samples if shuffle and self.chunk_buffer is not None else None,
            buffer=self.chunk_buffer or 1,
        )

    def _loader(self, data: FunctionDataset, sampler: DistributedEpochSampler) -> DataLoader[dict[str, Tensor]]:
        assert self.trainer is not None
        batches = _Batches(data, cache_bytes=0 if self.workers else self.cache_bytes)
        return StreamLoader(
            batches,
            prefetch=batches.items is None,
            device=self.trainer.strategy.root_device,
            batch_size=None,
            sampler=sampler,
            num_workers=self.workers,
            multiprocessing_context="forkserver" if self.workers else None,
            persistent_workers=self.workers > 0,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
            generator=torch.Generator(),  # the loader draws a worker seed; never from the global state
        )
