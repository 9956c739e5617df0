"""Batches for training: rank-aware, in an order that is a pure function of (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from sciops.data.function_dataset import FunctionDataset
from sciops.data.sampling import DistributedEpochSampler
from sciops.data.symmetry import augment
from sciops.errors import InputError


class _Batches(Dataset[dict[str, Tensor]]):
    """A data set indexed by whole batches, read once into memory if it is small."""

    def __init__(self, source: FunctionDataset, *, cache_bytes: int) -> None:
        self.source: FunctionDataset | None = source
        self.items: dict[str, Tensor] | None = None
        first = source.batch([0])
        size = len(source) * sum(value.numel() * value.element_size() for value in first.values())
        if size <= cache_bytes:
            self.items = source.batch(list(range(len(source))))
            self.source = None

    def __getitem__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        if not indices:  # a process without a share of the last batch takes part with an item that does not count
            return {**self[[0]], "padding": torch.tensor(True)}
        if self.items is None:
            assert self.source is not None
            return self.source.batch(list(indices))
        selection = torch.as_tensor(indices, dtype=torch.int64)
        return {name: value.index_select(0, selection) for name, value in self.items.items()}


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
        Names of the symmetries of the problem; each training item is moved by a random one.
    workers
        Processes that read ahead, started by forkserver; 0 reads in the training process, and then a data set up to
        `cache_bytes` is kept in memory.
    dtype
        Dtype of the fields and parameters in a batch.
    cache_bytes
        See `workers`.

    Raises
    ------
    InputError
        Batch size below 1, or an empty data set.

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
        workers: int = 0,
        dtype: torch.dtype = torch.float32,
        cache_bytes: int = 2**28,
    ) -> None:
        super().__init__()
        for name, data in (("training", train_set), ("validation", validation_set)):
            if len(data) == 0:
                raise InputError(f"the {name} set is empty; give it at least one item")
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, got {batch_size}")
        if workers < 0:
            raise InputError(f"workers must be zero or more, got {workers}")
        self.train_set, self.validation_set = train_set.astype(dtype), validation_set.astype(dtype)
        self.batch_size = min(batch_size, len(train_set))
        self.seed, self.symmetries = seed, tuple(symmetries)
        self.workers, self.cache_bytes = workers, cache_bytes
        self._position: dict[str, Any] | None = None

    @property
    def batches_per_epoch(self) -> int:
        return len(self.train_set) // self.batch_size

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        sampler = self._sampler(len(self.train_set), self.batch_size, shuffle=True)
        if self._position is not None:
            sampler.load_state_dict(self._position)
        self._train_sampler = sampler
        return self._loader(self.train_set, sampler)

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        sampler = self._sampler(len(self.validation_set), 4 * self.batch_size, shuffle=False)
        return self._loader(self.validation_set, sampler)

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        assert self.trainer is not None
        if not self.symmetries or not self.trainer.training:
            return batch
        x, y = augment(
            batch["x"],
            batch["y"],
            self.train_set.grid,
            self.symmetries,
            seed=self.seed,
            epoch=self.trainer.current_epoch,
            index=batch["index"],
        )
        return {**batch, "x": x, "y": y}

    def state_dict(self) -> dict[str, Any]:
        """Where the next batch stands: its epoch and its number there."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        epoch = loop.epoch_progress.current.processed  # type: ignore[attr-defined]
        batch = loop.epoch_loop.batch_progress.current.ready % self.batches_per_epoch
        return {**self._train_sampler.state_dict(), "epoch": epoch, "batch": batch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._position = state_dict

    def _sampler(self, items: int, size: int, *, shuffle: bool) -> DistributedEpochSampler:
        assert self.trainer is not None
        return DistributedEpochSampler(
            items,
            batch_size=size,
            seed=self.seed,
            shuffle=shuffle,
            drop_last=shuffle,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )

    def _loader(self, data: FunctionDataset, sampler: DistributedEpochSampler) -> DataLoader[dict[str, Tensor]]:
        assert self.trainer is not None
        return DataLoader(
            _Batches(data, cache_bytes=0 if self.workers else self.cache_bytes),
            batch_size=None,
            sampler=sampler,
            num_workers=self.workers,
            multiprocessing_context="forkserver" if self.workers else None,
            persistent_workers=self.workers > 0,
            pin_memory=self.trainer.strategy.root_device.type == "cuda",
            generator=torch.Generator(),  # the loader draws a worker seed; never from the global state
        )
