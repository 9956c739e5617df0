"""The layouts of files, one module each: a module here that registers a `Layout` is all that a new one takes.

A layout recognises a file by what is in it and maps its arrays to named dimensions; `sciops.data.conventions` says what
the result looks like. Modules whose name starts with an underscore are helpers.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from abc import ABC, abstractmethod

import xarray as xr

from sciops.data.reading.assembly import Options
from sciops.data.reading.storage import Contents
from sciops.errors import InputError, LayoutError
from sciops.registry import Registry

__all__ = ["Contents", "Layout", "Options", "detect", "register", "registry"]


class Layout(ABC):
    """One way to lay out simulations in a file."""

    @abstractmethod
    def detect(self, contents: Contents) -> str | None:
        """Why the file has this layout, in one line; None if it has another. Nothing is read but names and shapes."""

    @abstractmethod
    def read(self, contents: Contents, options: Options) -> xr.Dataset:
        """The file as a lazy data set, by `sciops.data.reading.assembly.assemble` in most layouts."""


registry: Registry[type[Layout]] = Registry("layout")
register = registry.register


def detect(contents: Contents, layout: str | None = None) -> tuple[str, str]:
    """The name of the layout of a file and the reason.

    Parameters
    ----------
    contents
        The file.
    layout
        The name, where the caller knows it.

    Raises
    ------
    LayoutError
        If none fits, or several: the message names every array of the file.
    InputError
        If there is no layout of the given name.
    """
    if layout is not None:
        try:
            registry[layout]
        except InputError as error:
            raise InputError(f"{contents.path}: {error}") from None
        reason = registry[layout]().detect(contents)
        if reason is None:
            raise LayoutError(f"{contents.path}: not of the layout {layout!r}; {describe(contents)}")
        return layout, reason
    reasons = {name: reason for name, entry in registry.items() if (reason := entry().detect(contents)) is not None}
    if not reasons:
        raise LayoutError(f"{contents.path}: no known layout; {describe(contents)}")
    if len(reasons) > 1:
        choices = " or ".join(map(repr, reasons))
        raise LayoutError(f"{contents.path}: fits several layouts; choose one by layout={choices}")
    return next(iter(reasons.items()))


def describe(contents: Contents) -> str:
    """Every array of a file with shape and dtype, and the line that declares it by hand where there is one."""
    entries = sorted(contents.entries.items())
    if not entries:
        return "it holds no arrays"
    shown = [(name if name.isprintable() else repr(name), entry) for name, entry in entries[:40]]
    listed = ", ".join(f"{name} {entry.shape} {entry.dtype}" for name, entry in shown)
    more = f" and {len(entries) - 40} more" if len(entries) > 40 else ""
    arrays = [(name, entry) for name, entry in entries if entry.shape]
    if not arrays:
        return f"it holds {listed}{more}: single values, no fields"
    name, largest = max(arrays, key=lambda item: (item[1].dtype.kind in "fc", math.prod(item[1].shape)))
    dims = ("sample", "x", "y", "z", *(f"x{i}" for i in range(4, 40)))[: len(largest.shape)]
    command = f" (command line: --sample-dim sample --dims {name}={','.join(dims)})" if name.isprintable() else ""
    return (
        f"it holds {listed}{more}; declare its dimensions by hand, such as "
        f"sciops.data.open({contents.path.name!r}, sample_dim='sample', dims={{{name!r}: {dims}}}){command}"
    )


for _module in pkgutil.iter_modules(__path__):
    if not _module.name.startswith("_"):
        importlib.import_module(f"{__name__}.{_module.name}")
