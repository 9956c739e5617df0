"""In which blocks arrays are read and written, and in which chunks and by which compression they are kept."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sciops.errors import InputError, did_you_mean

__all__ = ["block_shape", "blocks", "check_chunks", "chosen_chunks"]

_LARGEST_CHUNK = (1 << 32) - 1


def block_shape(
    shape: Sequence[int],
    itemsize: int,
    limit: int,
    *,
    target: Sequence[int] | None = None,
    source: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """The shape of the blocks to copy an array in: whole chunks of the target, and of the source where that fits.

    The last axes grow first, so that a block is contiguous in storage.

    Parameters
    ----------
    shape, itemsize
        Of the array.
    limit
        Bytes of a block; a single chunk of the target may be more.
    target, source
        Shapes of the chunks; None where there are none.

    Examples
    --------
    >>> block_shape((1000, 64, 64), 8, 1 << 20)
    (32, 64, 64)
    >>> block_shape((1000, 64, 64), 8, 1 << 20, target=(100, 8, 8), source=(1, 64, 64))
    (100, 64, 16)
    """
    found = [min(size, chunk) for size, chunk in zip(shape, target or [1] * len(shape), strict=True)]
    for axis, chunk in enumerate(source or ()):
        aligned = min(shape[axis], math.lcm(found[axis], max(1, chunk)))
        if math.prod(found) // max(1, found[axis]) * aligned * itemsize <= limit:
            found[axis] = aligned
    for axis in reversed(range(len(shape))):
        room = limit // max(1, math.prod(found) * itemsize)
        if room > 1:
            found[axis] = min(shape[axis], found[axis] * room)
    return tuple(max(1, size) for size in found)


def blocks(shape: Sequence[int], block: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    """The slices that cut an array into blocks, in the order of storage.

    Examples
    --------
    >>> list(blocks((3,), (2,)))
    [(slice(0, 2, None),), (slice(2, 3, None),)]
    """
    lines = [
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in zip(shape, block, strict=True)
    ]
    return itertools.product(*lines)


def check_chunks(chunks: Mapping[str, int] | None, sizes: Iterable[str], path: Path) -> dict[str, int]:
    """The lengths of chunks that the caller asked for.

    Raises
    ------
    InputError
        If one is no positive whole number, or of a dimension that is not there.

    Examples
    --------
    >>> check_chunks({"sample": 1}, ["sample", "x"], Path("run.nc"))
    {'sample': 1}
    """
    if chunks is not None and not isinstance(chunks, Mapping):
        raise InputError(f"{path}: chunks= gives lengths by dimension, such as {{'sample': 1}}, got {chunks!r}")
    names = [str(name) for name in sizes]
    for dim, length in (chunks or {}).items():
        if dim not in names:
            raise InputError(f"{path}: chunks= names the unknown dimension {dim!r}{did_you_mean(str(dim), names)}")
        if isinstance(length, bool) or not isinstance(length, int) or length < 1:
            raise InputError(f"{path}: chunks= of {dim!r} is a length of at least 1, got {length!r}")
    return dict(chunks or {})


def chosen_chunks(
    name: str, dims: Sequence[str | None], shape: Sequence[int], itemsize: int, chunks: Mapping[str, int], path: Path
) -> tuple[int, ...] | None:
    """The chunks of a variable by the lengths asked for, whole along other dimensions; None if it has none of them.

    Raises
    ------
    InputError
        If a chunk were larger than HDF5 and Zarr hold (4 GiB).

    Examples
    --------
    >>> chosen_chunks("u", ("sample", "x"), (10, 64), 8, {"sample": 1}, Path("run.nc"))
    (1, 64)
    """
    if not set(dims) & set(chunks) or 0 in shape:
        return None
    found = tuple(min(size, chunks.get(str(dim), size)) for dim, size in zip(dims, shape, strict=True))
    if math.prod(found) * itemsize > _LARGEST_CHUNK:
        raise InputError(
            f"{path}: a chunk of {name!r} would have the shape {found}, more than 4 GiB; give chunks= for more of "
            f"{', '.join(map(str, dims))}"
        )
    return found
