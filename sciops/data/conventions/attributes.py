"""Attributes of data sets as text and lists, whoever wrote them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

__all__ = ["listed", "text"]


def text(value: Any) -> str:
    """A value as text: bytes, as HDF5 gives them, are decoded.

    Examples
    --------
    >>> text(b"wall"), text("wall"), text(3)
    ('wall', 'wall', '3')
    """
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def listed(ds: xr.Dataset, attribute: str) -> tuple[str, ...]:
    """The texts of an attribute that lists them, or is one.

    Examples
    --------
    >>> listed(xr.Dataset(attrs={"point_dims": [b"p", "q"]}), "point_dims")
    ('p', 'q')
    """
    return tuple(text(name) for name in np.atleast_1d(ds.attrs.get(attribute, ())))
