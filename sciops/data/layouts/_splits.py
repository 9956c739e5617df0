"""Files with groups ``train``, ``valid`` and ``test``: samples one after another, with a coordinate that says which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from sciops.data.layouts import Contents
from sciops.data.layouts._arrays import concatenated
from sciops.data.reading.containers import Array
from sciops.errors import LayoutError

__all__ = ["joined", "rows", "split_coordinate", "splits"]

_NAMES = ("train", "valid", "test")


def splits(contents: Contents) -> list[str]:
    """Those of ``train``, ``valid``, ``test`` that a file has, where it has nothing else."""
    if contents.container != "hdf5" or contents.self_describing:
        return []
    groups = {name.partition("/")[0] for name in contents.entries}
    return [name for name in _NAMES if name in groups] if groups and groups <= set(_NAMES) else []


def joined(contents: Contents, found: Sequence[str], name: str, dims: Sequence[str]) -> xr.Variable:
    """The variable of that name over all splits."""
    return concatenated(contents, [f"{split}/{name}" for split in found], dims)


def split_coordinate(contents: Contents, found: Sequence[str], name: str) -> xr.Variable:
    """The split of each sample: ``ds.isel(sample=ds.split == "train")`` takes one."""
    lengths = [contents.entries[f"{split}/{name}"].shape[0] for split in found]
    return xr.Variable(("sample",), np.repeat(np.array(found, dtype=object), lengths))


def rows(contents: Contents, found: Sequence[str], name: str, size: int) -> Array | None:
    """Coordinates ``(n, size)`` of the samples of every split: all rows, or None where the file has none.

    Raises
    ------
    LayoutError
        If the shape is another.
    """
    paths = [f"{split}/{name}" for split in found]
    if any(path not in contents.entries for path in paths):
        return None
    for path in paths:
        shape = contents.entries[path].shape
        if shape[-1:] != (size,) or len(shape) > 2:
            raise LayoutError(f"{contents.path}: {path!r} has shape {shape}; (samples, {size}) is needed")
    return np.concatenate([contents.read(path).reshape(-1, size) for path in paths])
