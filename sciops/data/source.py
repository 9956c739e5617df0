"""Reads samples and frames of one variable from its own storage, few contiguous slabs at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

# Reading this many unwanted bytes is cheaper than one more call into the storage library.
_GAP_BYTES = 1 << 16


def runs(values: NDArray[np.int64], gap: int) -> list[tuple[int, int]]:
    """Half-open intervals that cover sorted integers; neighbours at most `gap` numbers apart share an interval.

    Examples
    --------
    >>> import numpy as np
    >>> runs(np.array([0, 1, 2, 7, 8]), 1)
    [(0, 3), (7, 9)]
    >>> runs(np.array([0, 2, 4]), 2)
    [(0, 5)]
    """
    breaks = np.flatnonzero(np.diff(values) > gap)
    first = values[np.concatenate(([0], breaks + 1))]
    last = values[np.concatenate((breaks, [len(values) - 1]))]
    return [(int(a), int(b) + 1) for a, b in zip(first, last, strict=True)]


class VariableSource:
    """One variable of a lazy data set, seen as an array (sample, frame, channel, *space).

    A missing sample, time or channel dimension counts as one of length 1; several channel dimensions are
    flattened. Pickling keeps the way to the storage, never what was read: another process opens its own handle.

    Parameters
    ----------
    variable
        The (lazy) variable.
    sample, time
        Names of the sample and time dimensions, or None where the variable has none.
    space
        Names of the space dimensions in the order in which they are returned.
    in_memory
        Load the whole variable at the first read and serve every read from memory. The values are the same.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> source = VariableSource(xr.Variable(("sample", "x"), np.eye(3)), sample="sample", time=None, space=("x",))
    >>> source.read(np.array([2, 0]), np.zeros((2, 1), dtype=int)).shape
    (2, 1, 1, 3)
    """

    def __init__(
        self,
        variable: xr.Variable,
        *,
        sample: str | None,
        time: str | None,
        space: Sequence[str],
        in_memory: bool = False,
    ) -> None:
        self.variable = variable
        self.in_memory = in_memory
        self._sample = sample if sample in variable.dims else None
        self._time = time if time in variable.dims else None
        lead = [dim for dim in (self._sample, self._time) if dim is not None]
        channel = [str(dim) for dim in variable.dims if dim not in lead and dim not in space]
        self._order = (*lead, *channel, *space)
        sizes = dict(zip(variable.dims, variable.shape, strict=True))
        self.component_shape = tuple(sizes[dim] for dim in channel)
        self.channels = math.prod(self.component_shape)
        self.space_shape = tuple(sizes[dim] for dim in space)
        self.timed = self._time is not None
        self.samples = sizes[self._sample] if self._sample else 1
        self.frames = sizes[self._time] if self._time else 1
        self.frame_bytes: int = max(1, variable.dtype.itemsize * self.channels * math.prod(self.space_shape))
        chunks: dict[Any, int] = variable.encoding.get("preferred_chunks") or {}
        self._chunk = (int(chunks.get(self._sample, 1)), int(chunks.get(self._time, 1)))
        self._array: NDArray[Any] | None = None

    @property
    def nbytes(self) -> int:
        """Size of the whole variable in bytes, as stored."""
        return self.samples * self.frames * self.frame_bytes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None}

    def read(self, samples: NDArray[np.int64], frames: NDArray[np.int64]) -> NDArray[Any]:
        """The frames of the samples, in the order asked for.

        Parameters
        ----------
        samples
            (b,), any order, repeats allowed; ignored when the variable has no sample dimension.
        frames
            (b, k), the frames wanted of each sample; for a variable without time, zeros (b, 1).

        Returns
        -------
        ndarray
            (b, k, channel, *space) in the stored dtype, never a view of the storage.
        """
        if self._sample is None:
            samples = np.zeros_like(samples)
        if self.in_memory:
            if self._array is None:
                self._array = self._slab(0, self.samples, 0, self.frames)
            return np.asarray(self._array[samples[:, None], frames])
        out = np.empty((frames.size, self.channels, *self.space_shape), dtype=self.variable.dtype)
        rows, columns = np.repeat(samples, frames.shape[1]), frames.reshape(-1)
        for low, high, first, last in self._slabs(rows, columns):
            inside = (rows >= low) & (rows < high) & (columns >= first) & (columns < last)
            out[inside] = self._slab(low, high, first, last)[rows[inside] - low, columns[inside] - first]
        return out.reshape(*frames.shape, self.channels, *self.space_shape)

    def blocks(self, samples: NDArray[np.int64], max_bytes: int) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Every frame of the samples in blocks of at most `max_bytes` (at least one frame): pairs (samples, values)."""
        frames_at_once = min(self.frames, max(1, max_bytes // self.frame_bytes))
        samples_at_once = max(1, max_bytes // (self.frame_bytes * frames_at_once))
        for start in range(0, len(samples), samples_at_once):
            chosen = samples[start : start + samples_at_once]
            for frame in range(0, self.frames, frames_at_once):
                wanted = np.arange(frame, min(frame + frames_at_once, self.frames))
                yield chosen, self.read(chosen, np.broadcast_to(wanted, (len(chosen), len(wanted))))

    def _slabs(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> list[tuple[int, int, int, int]]:
        """Rectangles (sample range, frame range) that cover all (row, column) pairs."""
        if not len(rows):
            return []
        frame_gap = max(_GAP_BYTES // self.frame_bytes, self._chunk[1], 1)
        wanted: dict[tuple[int, int], list[int]] = {}
        order = np.lexsort((columns, rows))
        rows, columns = rows[order], columns[order]
        ends = np.flatnonzero(np.diff(rows)) + 1
        for row, block in zip(rows[np.concatenate(([0], ends))], np.split(columns, ends), strict=True):
            for interval in runs(block, frame_gap):
                wanted.setdefault(interval, []).append(int(row))
        slabs = []
        for (first, last), members in wanted.items():
            gap = max(_GAP_BYTES // (self.frame_bytes * (last - first)), self._chunk[0], 1)
            slabs += [(low, high, first, last) for low, high in runs(np.array(members), gap)]
        return slabs

    def _slab(self, low: int, high: int, first: int, last: int) -> NDArray[Any]:
        selection = {}
        if self._sample is not None:
            selection[self._sample] = slice(low, high)
        if self._time is not None:
            selection[self._time] = slice(first, last)
        block = self.variable.isel(selection).transpose(*self._order).to_numpy()
        return np.asarray(block).reshape(high - low, last - first, self.channels, *self.space_shape)
