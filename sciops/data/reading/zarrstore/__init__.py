"""Zarr versions 2 and 3 in a folder or a zip archive, read lazily and without trust in the store.

Nothing here runs code from a store: codecs are taken from a fixed list, no chunk unpacks to more bytes than its shape
allows, and no key leads out of the store.

References
----------
Zarr Developers, "Zarr storage specification version 2" (2015) and "Zarr core specification version 3" (2023).
"""

from __future__ import annotations

from sciops.data.reading.zarrstore.arrays import ZarrArray, ZarrFile, open_zarr
from sciops.data.reading.zarrstore.stores import is_zarr_folder, is_zarr_zip

__all__ = ["ZarrArray", "ZarrFile", "is_zarr_folder", "is_zarr_zip", "open_zarr"]
