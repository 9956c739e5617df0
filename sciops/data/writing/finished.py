"""Whether a file that is there already is what a writer that was started once more would make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np

from sciops.data.reading.safety import scan_hdf5
from sciops.data.writing.encoding import attribute

__all__ = ["first_difference"]


def first_difference(path: Path, attributes: Mapping[Any, Any], parts: Iterable[Any]) -> str:
    """What is other in a native file than a writer would make it, apart from values that depend on the sample.

    Parameters
    ----------
    path
        The file.
    attributes
        Of the file.
    parts
        The variables that would be written: with name, variable, shape, dtype, marks, sampled and blocks.

    Returns
    -------
    str
        Empty where nothing is.
    """
    scan_hdf5(path)
    with h5netcdf.File(path, "r") as file:
        wanted = {part.name: part for part in parts}
        for name in {**dict.fromkeys(file.variables), **wanted}:
            if name not in wanted or name not in file.variables:
                return f"the variable {name!r}"
        if _differ(attributes, file.attrs):
            return "its attributes"
        for name, part in wanted.items():
            found = file.variables[name]
            texts = part.dtype.kind in "OU"
            if found.dimensions != tuple(map(str, part.variable.dims)) or found.shape != part.shape:
                return f"the shape of {name!r}"
            if not texts and found.dtype != part.dtype:
                return f"the dtype of {name!r}"
            if _differ(part.marks, found.attrs):
                return f"the attributes of {name!r}"
            if not part.sampled and not _same(found, part.blocks(), texts):
                return f"the values of {name!r}"
    return ""


def _differ(wanted: Mapping[Any, Any], found: Mapping[str, Any]) -> bool:
    return any(str(key) not in found or _plain(value) != _plain(found[str(key)]) for key, value in wanted.items())


def _plain(value: Any) -> str:
    return repr(np.ravel(attribute(value)).tolist())


def _same(stored: Any, blocks: Iterable[Any], texts: bool) -> bool:
    for where, block in blocks:
        held = np.asarray(stored[where or ...])
        if texts:
            held = np.asarray([x.decode() if isinstance(x, bytes) else x for x in held.ravel().tolist()], object)
            block = np.ravel(block).astype(object)
        if held.shape != block.shape or not np.array_equal(held, block, equal_nan=block.dtype.kind == "f"):
            return False
    return True
