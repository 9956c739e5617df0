"""Function spaces and files: axes, grids, fields, lazy data sets, statistics. Public names load when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "Axis": "sciops.data.axis",
    "CurvilinearGrid": "sciops.data.curvilinear",
    "Declaration": "sciops.data.declaration",
    "Field": "sciops.data.field",
    "FunctionDataset": "sciops.data.function_dataset",
    "Grid": "sciops.data.domain",
    "Mesh": "sciops.data.mesh",
    "Normaliser": "sciops.data.statistics",
    "PointCloud": "sciops.data.points",
    "Statistics": "sciops.data.statistics",
    "StreamWriter": "sciops.data.appending",
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
    from sciops.data.appending import StreamWriter
    from sciops.data.axis import Axis
    from sciops.data.curvilinear import CurvilinearGrid
    from sciops.data.declaration import Declaration
    from sciops.data.domain import Grid
    from sciops.data.field import Field
    from sciops.data.files import open, write
    from sciops.data.function_dataset import FunctionDataset
    from sciops.data.mesh import Mesh
    from sciops.data.points import PointCloud
    from sciops.data.statistics import Normaliser, Statistics


def __getattr__(name: str) -> Any:
    if name == "random":
        return importlib.import_module("sciops.data.random")
    if name not in _NAMES:
        raise AttributeError(f"module 'sciops.data' has no attribute {name!r}")
    return getattr(importlib.import_module(_NAMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
