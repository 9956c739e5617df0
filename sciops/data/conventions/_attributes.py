"""Attributes of data sets as text and lists, whoever wrote them."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr


def text(value: Any) -> str:
    """A value as text: bytes are decoded."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def listed(ds: xr.Dataset, attribute: str) -> tuple[str, ...]:
    """The texts of an attribute that lists them, or is one."""
    return tuple(text(name) for name in np.atleast_1d(ds.attrs.get(attribute, ())))
