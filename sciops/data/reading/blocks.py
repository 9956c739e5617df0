"""In which blocks arrays are read: of bounded size, contiguous in storage, whole chunks where that fits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

__all__ = ["block_shape", "blocks"]


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
