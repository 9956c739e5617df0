"""Loading one batch ahead in a thread, and memory from which a GPU takes a batch without another copy."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from torch.utils.data import DataLoader

__all__ = ["StreamLoader", "ahead", "empty", "pinned"]

T = TypeVar("T")
_END = object()
_thread = threading.local()


def ahead(batches: Iterable[T], *, pin: torch.device | None = None) -> Iterator[T]:
    """The same batches in the same order, each made in a thread while the one before is in use.

    Parameters
    ----------
    batches
        What to go through; only the thread touches it, one batch at a time.
    pin
        A CUDA device: arrays made by `empty` are then in memory from which it copies at full speed.

    Yields
    ------
    The batches. What the thread raises is raised where its batch would come; the thread ends with the iteration.

    Examples
    --------
    >>> list(ahead(range(3)))
    [0, 1, 2]
    """

    def following(iterator: Iterator[T]) -> Any:
        with pinned() if pin is not None else contextlib.nullcontext():
            return next(iterator, _END)

    def begin() -> None:
        if pin is not None:
            torch.cuda.set_device(pin)  # else memory would be pinned by way of the first device

    with ThreadPoolExecutor(1, thread_name_prefix="sciops-ahead", initializer=begin) as pool:
        iterator = iter(batches)
        waiting = pool.submit(following, iterator)
        while (batch := waiting.result()) is not _END:
            waiting = pool.submit(following, iterator)
            yield batch


class StreamLoader(DataLoader[T]):
    """A loader that is one batch ahead even without worker processes: a thread reads while the training step runs.

    Reading from a file waits for the disk and copies outside of the interpreter, so that it runs beside the step where
    a processor is free. Where none is, step and batch add up as without the thread. With worker processes it is the
    plain loader. `docs/benchmarks/streaming.md` has what both cost a step.

    Parameters
    ----------
    *arguments, **options
        Of `torch.utils.data.DataLoader`.
    prefetch
        False reads each batch when it is asked for: data in memory need no thread.
    device
        Where the batches go; with ``pin_memory`` and CUDA they are read into pinned memory.

    Examples
    --------
    >>> data = torch.utils.data.TensorDataset(torch.arange(4.0))
    >>> [batch[0].tolist() for batch in StreamLoader(data, batch_size=2)]
    [[0.0, 1.0], [2.0, 3.0]]
    """

    def __init__(
        self, *arguments: Any, prefetch: bool = True, device: torch.device | None = None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self.prefetch = prefetch
        self.device = device

    def __iter__(self) -> Any:
        batches = super().__iter__()
        if self.num_workers or not self.prefetch:
            return batches
        pins = self.pin_memory and self.device is not None and self.device.type == "cuda"
        return ahead(batches, pin=self.device if pins else None)


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """Within it, `empty` gives pinned memory to this thread."""
    before = getattr(_thread, "pinned", False)
    _thread.pinned = True
    try:
        yield
    finally:
        _thread.pinned = before


def empty(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """An array to be filled, in pinned memory within `pinned`.

    Parameters
    ----------
    shape
        Its shape.
    dtype
        A floating-point type.

    Examples
    --------
    >>> empty((2, 3), np.float32).shape
    (2, 3)
    """
    if not getattr(_thread, "pinned", False):
        return np.empty(shape, dtype)
    kind = torch.from_numpy(np.empty(0, dtype)).dtype
    return np.asarray(torch.empty(*shape, dtype=kind, pin_memory=True).numpy())
