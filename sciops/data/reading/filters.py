"""Compression filters of HDF5: by short name when writing, and what a file needs when reading."""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from sciops.errors import DataError, InputError, MissingDependencyError, did_you_mean

__all__ = ["COMPRESSIONS", "Compression", "filter_remedy", "require_filters"]

COMPRESSIONS = {
    "none": (0, 0, 0),
    "gzip": (4, 1, 9),
    "lzf": (0, 0, 0),
    "zstd": (3, 1, 22),
    "blosc": (5, 0, 9),
    "lz4": (0, 0, 0),
}
"""Names of compressions, each with its usual, lowest and highest level; gzip and lzf come with h5py."""

_FILTERS = {
    307: "bzip2",
    32000: "lzf",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
    32017: "sz",
    32024: "sz3",
    32026: "blosc2",
    32028: "sperr",
    32018: "fcidecomp",
}
_INSTALL = "pip install 'sciops[formats]' (it brings hdf5plugin)"
_OTHER = "install the plugin that has it, or write the file anew with gzip (h5repack)"


@dataclass(frozen=True)
class Compression:
    """A lossless compression and how hard it tries.

    Parameters
    ----------
    name
        ``"none"``, ``"gzip"``, ``"lzf"``, ``"zstd"``, ``"blosc"`` or ``"lz4"``.
    level
        Higher is smaller and slower; None is the usual one.

    Raises
    ------
    InputError
        If there is no such compression or level.

    Examples
    --------
    >>> Compression.named("zstd:9")
    Compression(name='zstd', level=9)
    """

    name: str = "none"
    level: int | None = None

    def __post_init__(self) -> None:
        if self.name not in COMPRESSIONS:
            raise InputError(f"unknown compression {self.name!r}{did_you_mean(str(self.name), COMPRESSIONS)}")
        usual, lowest, highest = COMPRESSIONS[self.name]
        level = usual if self.level is None else self.level
        if not lowest <= level <= highest:
            levels = f"levels {lowest} to {highest}" if highest else "no levels"
            raise InputError(f"the compression {self.name!r} has {levels}, got {self.level}")
        object.__setattr__(self, "level", level)

    @classmethod
    def named(cls, text: str | Compression | None) -> Compression:
        """The compression of a text such as ``"zstd"`` or ``"zstd:9"``; None is none."""
        if isinstance(text, cls):
            return text
        if text is None:
            return cls()
        name, colon, level = str(text).partition(":")
        if colon and not level.isdecimal():
            raise InputError(f"the compression {text!r} is a name, or a name and a level such as 'gzip:4'")
        return cls(name, int(level) if colon else None)

    def hdf5(self) -> dict[str, Any]:
        """The arguments of `h5py.Group.create_dataset`.

        Raises
        ------
        MissingDependencyError
            If hdf5plugin is needed and is not there.

        Examples
        --------
        >>> Compression("gzip").hdf5()
        {'compression': 'gzip', 'compression_opts': 4, 'shuffle': True}
        """
        if self.name == "none":
            return {}
        if self.name == "lzf":
            return {"compression": "lzf", "shuffle": True}
        if self.name == "gzip":
            return {"compression": "gzip", "compression_opts": self.level, "shuffle": True}
        try:
            plugin = importlib.import_module("hdf5plugin")
        except ImportError as error:
            raise MissingDependencyError(f"the compression {self.name!r} needs a plugin; {_INSTALL}") from error
        made = {
            "zstd": lambda: plugin.Zstd(clevel=self.level),
            # version 2: hdf5plugin's version 1 fails where the HDF5 library of netCDF4 was loaded before it
            "blosc": lambda: plugin.Blosc2(cname="lz4", clevel=self.level, filters=plugin.Blosc2.SHUFFLE),
            "lz4": lambda: plugin.LZ4(),
        }[self.name]()
        return {**made, "shuffle": self.name != "blosc"}


def require_filters(path: str | Path, name: str, dataset: h5py.h5d.DatasetID) -> None:
    """Make sure that the filters of an HDF5 data set can be undone; hdf5plugin is loaded where that helps.

    Processes started from then on find its filters too, by the variable HDF5_PLUGIN_PATH.

    Parameters
    ----------
    path, name
        The file and the data set, for messages.
    dataset
        The data set.

    Raises
    ------
    MissingDependencyError
        If hdf5plugin would help and is not installed.
    DataError
        If no package is known to have the filter.

    Examples
    --------
    >>> import tempfile
    >>> with h5py.File(Path(tempfile.mkdtemp()) / "run.h5", "w") as file:
    ...     require_filters("run.h5", "u", file.create_dataset("u", (8,), "f8", compression="gzip").id)
    """
    creation = dataset.get_create_plist()
    for index in range(creation.get_nfilters()):
        code, _, _, label = creation.get_filter(index)
        if h5py.h5z.filter_avail(code):
            continue
        installed = _load_plugin()
        if installed and h5py.h5z.filter_avail(code):
            continue
        told = _FILTERS.get(code) or label.decode("utf-8", "replace").split(";")[0].strip()[:40] or "unknown"
        what = f"{path}: {name!r} is compressed by the HDF5 filter {told!r} (number {code}), which is not there"
        if code in _FILTERS and not installed:
            raise MissingDependencyError(f"{what}; {_INSTALL}")
        raise DataError(f"{what}; {_OTHER}")


def filter_remedy() -> str:
    """What to do about a filter that is not there: install hdf5plugin, which is loaded by itself, or another plugin.

    Examples
    --------
    >>> "install" in filter_remedy()
    True
    """
    return _OTHER if importlib.util.find_spec("hdf5plugin") else _INSTALL


def _load_plugin() -> bool:
    """Whether hdf5plugin is there; its filters are, then."""
    try:
        plugin = importlib.import_module("hdf5plugin")
    except ImportError:
        return False
    known = os.environ.get("HDF5_PLUGIN_PATH", "")
    if plugin.PLUGIN_PATH not in known.split(os.pathsep):
        os.environ["HDF5_PLUGIN_PATH"] = os.pathsep.join(filter(None, (known, plugin.PLUGIN_PATH)))
    return True
