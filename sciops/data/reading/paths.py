"""Which files a path stands for: one file, a Zarr store, or those of a pattern, a list or a folder in their order."""

from __future__ import annotations

import difflib
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from sciops.data.reading.zarrstore import is_zarr_folder
from sciops.errors import DataError, InputError

__all__ = ["data_files", "existing_file", "natural_order"]

PathLike = str | os.PathLike[str]
_SUFFIXES = {
    *(".h5", ".hdf5", ".hdf", ".nc", ".nc3", ".nc4", ".cdf", ".he5", ".zarr", ".mat", ".npz", ".pt", ".pth"),
    *(".out", ".vtk", ".vtu", ".xdmf"),
}
_SECOND = {".zip", ".txt", ".csv"}  # data where a folder holds nothing better
_NUMBER = re.compile(r"(\d+(?:\.\d+)?)", re.ASCII)
_MAGIC = re.compile(r"[*?\[]")


def data_files(path: PathLike | Sequence[PathLike]) -> list[Path]:
    """The files that a path, a pattern, a list or a folder stands for.

    Parameters
    ----------
    path
        A file; a pattern such as ``"run_*.h5"``, where no file has that very name; a folder, of which all files with
        the endings of data are taken, which must be of one kind; or a list of files, whose order is kept.

    Returns
    -------
    list of pathlib.Path
        Absolute paths, those of patterns and folders in natural order.

    Raises
    ------
    InputError
        If it is none of these.
    DataError
        If nothing is there, or a folder holds data files of several kinds.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for i in (10, 2):
    ...     (folder / f"run_{i}.h5").touch()
    >>> [file.name for file in data_files(folder)], [file.name for file in data_files(folder / "run_?.h5")]
    (['run_2.h5', 'run_10.h5'], ['run_2.h5'])
    """
    if isinstance(path, Sequence) and not isinstance(path, str | bytes):
        return _listed(path)
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"a path is needed, got {type(path).__name__}; an open data set is used as it is")
    place = Path(path).expanduser()
    if _MAGIC.search(str(place)) and not os.path.lexists(place):
        found = [Path(name).absolute() for name in glob.glob(str(place))]
        files = [file for file in found if file.is_file() or is_zarr_folder(file)]
        if not files:
            raise DataError(f"{place}: no file matches the pattern{_beside(place.parent)}")
        return natural_order(files)
    if os.path.isdir(place) and not is_zarr_folder(place):  # says no where Path.is_dir raises
        return _in_folder(place.absolute())
    return [existing_file(place)]


def natural_order(files: Iterable[Path]) -> list[Path]:
    """Paths sorted with numbers by their value: run_2 before run_10.

    Examples
    --------
    >>> [file.name for file in natural_order([Path("run_10.h5"), Path("run_2.h5")])]
    ['run_2.h5', 'run_10.h5']
    """
    return sorted(files, key=_natural)


def existing_file(path: PathLike) -> Path:
    """The absolute path of a file or Zarr store that is there.

    Raises
    ------
    DataError
        If it is missing, another folder or a special file; the message names the near files of the folder.

    Examples
    --------
    >>> existing_file(__file__).name
    'paths.py'
    """
    file = Path(path).expanduser()
    try:
        if file.is_file() or is_zarr_folder(file):
            return file.absolute()
        if file.is_dir():
            raise DataError(f"{file}: a folder, not a file{_beside(file)}")
        if file.exists():
            raise DataError(f"{file}: not a regular file; copy its content to a file first")
        if not file.parent.is_dir():
            raise DataError(f"{file}: no such file, and no folder {file.parent}")
        names = [entry.name for entry in file.parent.iterdir() if entry.is_file()]
    except OSError as error:
        raise DataError(f"{file}: cannot be looked at ({error.strerror or error}); check the path") from error
    close = difflib.get_close_matches(file.name, names, n=3)
    raise DataError(f"{file}: no such file" + (f"; did you mean {' or '.join(map(repr, close))}?" if close else ""))


def _listed(paths: Sequence[Any]) -> list[Path]:
    for path in paths:
        if not isinstance(path, str | os.PathLike):
            raise InputError(f"a list of paths is needed, got {type(path).__name__} in it")
    files = [existing_file(path) for path in paths]
    if not files:
        raise InputError("a list of paths is needed, got an empty one")
    twice = [file for file, count in Counter(files).items() if count > 1]
    if twice:
        raise InputError(f"{twice[0]}: listed twice; name each file once")
    return files


def _in_folder(folder: Path) -> list[Path]:
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: cannot be looked at ({error.strerror or error}); check the path") from error
    files = [entry for entry in entries if entry.is_file() or is_zarr_folder(entry)]
    chosen: list[Path] = []
    for endings in (_SUFFIXES, _SECOND):
        chosen = chosen or [file for file in files if file.suffix.lower() in endings]
    stems = {file.stem for file in chosen if file.suffix.lower() == ".xdmf"}
    chosen = [file for file in chosen if file.suffix.lower() == ".xdmf" or file.stem not in stems]
    if not chosen:
        raise DataError(f"{folder}: a folder without data files{_beside(folder)}")
    kinds = Counter(file.suffix.lower() for file in chosen)
    if len(kinds) > 1:
        found = ", ".join(f"{count} {suffix}" for suffix, count in kinds.most_common())
        raise DataError(
            f"{folder}: a folder with files of several kinds ({found}); choose by a pattern, such as "
            f"{str(folder / ('*' + kinds.most_common()[0][0]))!r}"
        )
    return natural_order(chosen)


def _beside(folder: Path) -> str:
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file()) if folder.is_dir() else []
    return f"; {'it' if folder.is_dir() else folder} holds {', '.join(names[:5]) or 'no files'}"


def _natural(path: Path) -> list[list[tuple[int, float | str]]]:
    return [
        [(0, float(word)) if word[0].isdecimal() else (1, word) for word in _NUMBER.split(part) if word]
        for part in path.parts
    ]
