"""Which files a path stands for: one file, a Zarr store, or those of a pattern, a list or a folder in their order."""

from __future__ import annotations

import contextlib
import difflib
import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from sciops.data.reading.zarrstore import is_zarr_folder
from sciops.errors import DataError, InputError

__all__ = ["data_files", "existing_file", "natural_order", "usable_path"]

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
    place = usable_path(path)
    if _MAGIC.search(str(place)) and not os.path.lexists(place):
        with _looking(place):
            found = [Path(name).absolute() for name in glob.glob(str(place))]
            files = [file for file in found if file.is_file() or is_zarr_folder(file)]
            if not files and os.path.isdir(place.parent):
                os.listdir(place.parent)  # glob finds nothing where it may not look
        if not files:
            raise DataError(f"{place}: no file matches the pattern{_beside(place.parent)}")
        return natural_order(files)
    with _looking(place):
        folder = os.path.isdir(place) and not is_zarr_folder(place)  # says no where Path.is_dir raises
    if folder:
        return _in_folder(place.absolute())
    return [existing_file(place)]


def usable_path(path: Any) -> Path:
    """A path with the home folder put in.

    Raises
    ------
    InputError
        If it is no path, or one that no operating system takes.

    Examples
    --------
    >>> usable_path("runs/a.h5").name
    'a.h5'
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"a path is needed, got {type(path).__name__}; an open data set is used as it is")
    try:
        place = Path(path).expanduser()
        fine = b"\0" not in os.fsencode(place)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path!r}: no usable path ({error}); give the name of a file") from error
    if not fine:
        raise InputError(f"{path!r}: a path without NUL is needed; give the name of a file")
    return place


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
    file = usable_path(path)
    with _looking(file):
        if file.is_file() or is_zarr_folder(file):
            return file.absolute()
        if file.is_dir():
            raise DataError(f"{file}: a folder, not a file{_beside(file)}")
        if file.exists():
            raise DataError(f"{file}: not a regular file; copy its content to a file first")
        if not file.parent.is_dir():
            raise DataError(f"{file}: no such file, and no folder {file.parent}")
        names = [entry.name for entry in file.parent.iterdir() if entry.is_file()]
    close = difflib.get_close_matches(file.name, names, n=3)
    raise DataError(f"{file}: no such file" + (f"; did you mean {' or '.join(map(repr, close))}?" if close else ""))


@contextlib.contextmanager
def _looking(path: Path) -> Iterator[None]:
    """Say in one line why a path cannot be looked at: no permission, too long, a loop of links."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be looked at ({error.strerror or error}); check the path") from error


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
    with _looking(folder):
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
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
    names: list[str] = []
    with contextlib.suppress(OSError):  # nothing to add where it cannot be looked into
        names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    return f"; {'it' if os.path.isdir(folder) else folder} holds {', '.join(names[:5]) or 'no files'}"


def _natural(path: Path) -> list[list[tuple[int, float | str]]]:
    return [
        [(0, float(word)) if word[0].isdecimal() else (1, word) for word in _NUMBER.split(part) if word]
        for part in path.parts
    ]
