"""Function spaces and files: axes, grids, fields, lazy data sets, statistics. Public names load when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "Axis": "sciops.data.domains.axis",
    "CurvilinearGrid": "sciops.data.domains.curvilinear",
    "Declaration": "sciops.data.reading.declaration",
    "Field": "sciops.data.domains.field",
    "FunctionDataset": "sciops.data.functions.function_dataset",
    "Grid": "sciops.data.domains.domain",
    "Mesh": "sciops.data.domains.mesh",
    "Normaliser": "sciops.data.functions.normaliser",
    "PointCloud": "sciops.data.domains.points",
    "Statistics": "sciops.data.functions.statistics",
    "StreamWriter": "sciops.data.writing.appending",
    "open": "sciops.data.files",
    "write": "sciops.data.files",
}
__all__ = [
    "Axis",
    "CurvilinearGrid",
    "Declaration",
    "Field",
    "FunctionDataset",
    "Grid",
    "Mesh",
    "Normaliser",
    "PointCloud",
    "Statistics",
    "StreamWriter",
    "open",
    "random",
    "write",
]

if TYPE_CHECKING:
    from sciops.data import random
    from sciops.data.domains.axis import Axis
    from sciops.data.domains.curvilinear import CurvilinearGrid
    from sciops.data.domains.domain import Grid
    from sciops.data.domains.field import Field
    from sciops.data.domains.mesh import Mesh
    from sciops.data.domains.points import PointCloud
    from sciops.data.files import open, write
    from sciops.data.functions.function_dataset import FunctionDataset
    from sciops.data.functions.normaliser import Normaliser
    from sciops.data.functions.statistics import Statistics
    from sciops.data.reading.declaration import Declaration
    from sciops.data.writing.appending import StreamWriter


def __getattr__(name: str) -> Any:
    if name == "random":
        return importlib.import_module("sciops.data.random")
    if name not in _NAMES:
        raise AttributeError(f"module 'sciops.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
