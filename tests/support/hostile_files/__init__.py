"""Corrupt, hostile and odd files of every format that is opened, one module for each family."""

from __future__ import annotations

from hostile_files import archives, damage, declarations, hdf5, layouts, matlab, meshes, netcdf3, places, texts, zarr
from hostile_files.base import EXECUTED, SECRET, Hostile

__all__ = ["CASES", "EXECUTED", "SECRET", "Hostile"]

CASES: list[Hostile] = [
    case
    for family in (hdf5, layouts, archives, matlab, netcdf3, texts, meshes, zarr, declarations, places, damage)
    for case in family.CASES
]
