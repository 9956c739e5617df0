"""In which chunks arrays are kept: what a caller asks for by dimension, checked."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sciops.errors import InputError, did_you_mean

__all__ = ["check_chunks", "chosen_chunks"]

_LARGEST_CHUNK = (1 << 32) - 1


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
