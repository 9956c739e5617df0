"""Reads samples and frames of one variable from its own storage: by rows of the file, or few slabs at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sciops.data.reading.placement import joined_parts, placement
from sciops.data.reading.rows import FileRows, Slabs

# A call into the storage library costs about as much time as reading this many bytes.
_CALL_BYTES = 1 << 20
_LONGEST_SELECTION = 1000


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
        self._chunk_frames = max(1, int(chunks.get(self._time, 1)))
        self.chunk_samples = max(1, min(self.samples, int(chunks.get(self._sample, 1)))) if self._sample else 1
        self._array: NDArray[Any] | None = None
        self._space = tuple(space)
        self._readers: tuple[FileRows | None, Slabs | None] | None = None
        self._files: tuple[NDArray[np.int64], list[VariableSource]] | tuple[()] | None = None

    @property
    def nbytes(self) -> int:
        """Size of the whole variable in bytes, as stored."""
        return self.samples * self.frames * self.frame_bytes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_array": None, "_readers": None, "_files": None}

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
                self._array = self._slab(slice(0, self.samples), 0, self.frames)
            return np.asarray(self._array[samples[:, None], frames])
        shape = (*frames.shape, self.channels, *self.space_shape)
        if not math.prod(shape):
            return np.empty(shape, dtype=self.variable.dtype)
        if (shards := self._shards()) is not None:
            return self._read_shards(shards, samples, frames)
        rows = self._reader()[0]
        if rows is not None:
            entries = {self._sample: samples[:, None], self._time: frames}
            values = rows.read({dim: each for dim, each in entries.items() if dim is not None}, frames.shape)
            if values is not None:
                return values.reshape(shape).astype(self.variable.dtype, copy=False)
        out = np.empty(shape, dtype=self.variable.dtype)
        first, last = frames.min(axis=1), frames.max(axis=1) + 1
        count = frames.shape[1]
        if (int((last - first).max()) - count) * self.frame_bytes > (count - 1) * _CALL_BYTES:
            for column in range(count):  # frames so far apart that reading what lies between costs more
                out[:, column] = self.read(samples, frames[:, column : column + 1])[:, 0]
            return out
        chunk = self._chunk_frames
        first, last = first // chunk * chunk, np.minimum(-(-last // chunk) * chunk, self.frames)
        for low, high, members in self._groups(samples, first, last):
            wanted = np.unique(samples[members])
            for selection, chosen in self._selections(wanted, high - low):
                here = members[np.isin(samples[members], chosen)]
                places = (
                    samples[here] - chosen[0] if isinstance(selection, slice) else chosen.searchsorted(samples[here])
                )
                out[here] = self._slab(selection, low, high)[places[:, None], frames[here] - low]
        return out

    def blocks(self, samples: NDArray[np.int64], max_bytes: int) -> Iterator[tuple[NDArray[np.int64], NDArray[Any]]]:
        """Every frame of the samples in blocks of at most `max_bytes` (at least one frame): pairs (samples, values)."""
        frames_at_once = min(self.frames, max(1, max_bytes // self.frame_bytes))
        samples_at_once = max(1, max_bytes // (self.frame_bytes * frames_at_once))
        for start in range(0, len(samples), samples_at_once):
            chosen = samples[start : start + samples_at_once]
            for frame in range(0, self.frames, frames_at_once):
                wanted = np.arange(frame, min(frame + frames_at_once, self.frames))
                yield chosen, self.read(chosen, np.broadcast_to(wanted, (len(chosen), len(wanted))))

    def _groups(
        self, samples: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
    ) -> list[tuple[int, int, NDArray[np.int64]]]:
        """Requests to read together: (first frame, last frame, request numbers), as one call costs less than two."""
        intervals, kind = np.unique(np.stack((first, last), axis=1), axis=0, return_inverse=True)
        kind = kind.reshape(-1)
        groups: list[tuple[int, int, NDArray[np.int64]]] = []
        for number, (low, high) in enumerate(intervals.tolist()):
            members = np.flatnonzero(kind == number)
            if groups:
                start, stop, others = groups[-1]
                joined = np.concatenate((others, members))
                together = self._cost(samples[joined], max(stop, high) - start)
                apart = self._cost(samples[others], stop - start) + self._cost(samples[members], high - low)
                if together <= apart:
                    groups[-1] = (start, max(stop, high), joined)
                    continue
            groups.append((low, high, members))
        return groups

    def _cost(self, samples: NDArray[np.int64], frames: int) -> int:
        return len(np.unique(samples)) * frames * self.frame_bytes + _CALL_BYTES

    def _selections(
        self, wanted: NDArray[np.int64], frames: int
    ) -> Iterator[tuple[slice | NDArray[np.int64], NDArray[np.int64]]]:
        """How to select sorted samples: a slice where they are dense, else lists of bounded length."""
        low, high = int(wanted[0]), int(wanted[-1]) + 1
        unwanted = (high - low - len(wanted)) * frames * self.frame_bytes
        if high - low <= 2 * len(wanted) or unwanted <= _CALL_BYTES:
            yield slice(low, high), wanted
            return
        for start in range(0, len(wanted), _LONGEST_SELECTION):
            part = wanted[start : start + _LONGEST_SELECTION]
            yield part, part

    def _shards(self) -> tuple[NDArray[np.int64], list[VariableSource]] | None:
        """Where each file of a data set in many files begins, and its own source; None where files are not joined."""
        if self._files is None:
            files, time, space = joined_parts(self.variable, self._sample), self._time, self._space
            self._files = ()
            if files is not None:
                starts, parts, sample = files
                self._files = starts, [VariableSource(p, sample=sample, time=time, space=space) for p in parts]
        return self._files or None

    def _read_shards(
        self,
        shards: tuple[NDArray[np.int64], list[VariableSource]],
        samples: NDArray[np.int64],
        frames: NDArray[np.int64],
    ) -> NDArray[Any]:
        starts, sources = shards
        out = np.empty((*frames.shape, self.channels, *self.space_shape), dtype=self.variable.dtype)
        owners = np.searchsorted(starts, samples, side="right") - 1
        for owner in np.unique(owners).tolist():
            mine = np.flatnonzero(owners == owner)
            out[mine] = sources[owner].read(samples[mine] - starts[owner], frames[mine])
        return out

    def _reader(self) -> tuple[FileRows | None, Slabs | None]:
        """The readers below xarray, found at the first read in each process and after the file was written to."""
        rows = self._readers[0] if self._readers else None
        if self._readers is None or (rows is not None and not rows.fresh):
            self._readers = self._found()
        return self._readers

    def _found(self) -> tuple[FileRows | None, Slabs | None]:
        place = placement(self.variable)
        if place is None:
            return None, None
        where = (place, self._sample, self._time, self._order)
        return FileRows.of(*where), Slabs.of(*where)

    def _slab(self, samples: slice | NDArray[np.int64], first: int, last: int) -> NDArray[Any]:
        slabs = self._reader()[1]
        if slabs is not None:
            return slabs.read(samples, first, last).reshape(-1, last - first, self.channels, *self.space_shape)
        selection: dict[str, slice | NDArray[np.int64]] = {}
        if self._sample is not None:
            selection[self._sample] = samples
        if self._time is not None:
            selection[self._time] = slice(first, last)
        block = self.variable.isel(selection).transpose(*self._order).to_numpy()
        return np.asarray(block).reshape(-1, last - first, self.channels, *self.space_shape)
