"""Files that hold arrays by name: which container a file is, by its first bytes, and how each one opens.

Nothing pickled is ever loaded: MATLAB variables and NumPy members that are no plain arrays are left aside or refused,
and PyTorch files load with ``weights_only=True``.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from sciops.data.reading.bounds import refuse_excess
from sciops.data.reading.matlab import read_matlab
from sciops.data.reading.meshfiles import is_mesh, read_mesh
from sciops.data.reading.netcdf3 import read_classic
from sciops.data.reading.safety import broken, is_pickle
from sciops.data.reading.text import is_text, read_text
from sciops.data.reading.zarrstore import is_zarr_folder, is_zarr_zip, open_zarr
from sciops.errors import DataError, SciopsError, UnsafeFileError

__all__ = ["OPENERS", "Array", "reading", "sniff"]

Array = np.ndarray[Any, np.dtype[Any]]
_TORCH_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_MOST_ARRAYS = 1 << 14
_READ_ERRORS = (
    *(OSError, RuntimeError, KeyError, ValueError, TypeError, EOFError, IndexError, AttributeError, AssertionError),
    *(MemoryError, OverflowError, struct.error, zlib.error, zipfile.BadZipFile, SyntaxError, tokenize.TokenError),
)
_KINDS = {
    **dict.fromkeys((".h5", ".hdf5", ".hdf", ".nc", ".nc4", ".he5"), "HDF5"),
    **dict.fromkeys((".pt", ".pth"), "PyTorch"),
    ".mat": "MATLAB",
    ".npz": "NumPy .npz",
    **dict.fromkeys((".zarr", ".zip"), "Zarr"),
}


@contextlib.contextmanager
def reading(path: Path, name: str | None = None) -> Iterator[None]:
    """Turn what h5py, scipy, numpy, torch and zipfile raise on a bad file into one line with its name."""
    what = "" if name is None else f" when reading {name!r}"
    try:
        yield
    except SciopsError:
        raise
    except PermissionError as error:
        raise DataError(f"{path}: no permission to read it; change it with chmod or ask its owner") from error
    except pickle.UnpicklingError as error:
        raise UnsafeFileError(
            f"{path}: holds pickled Python objects, which are never run; save tensors and numbers only "
            f"(torch.save({{'x': x, 'y': y}}, ...))"
        ) from error
    except _READ_ERRORS as error:
        raise broken(path, error, what) from error


def sniff(path: Path) -> str:
    """The container of a file by its first bytes, whatever its name says.

    Raises
    ------
    UnsafeFileError
        If it is a pickle.
    DataError
        If it is empty, or none of the containers.
    """
    if path.is_dir():
        if is_zarr_folder(path):
            return "zarr"
        raise DataError(f"{path}: a folder that is no Zarr store; it holds none of zarr.json, .zgroup, .zarray")
    with reading(path):
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(128)
    if size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes); get the file anew")
    if h5py.is_hdf5(path) or head.startswith((b"\x89HDF", b"MATLAB 7.3 MAT-file")):
        return "hdf5"
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return "matlab"
    if head.startswith(b"PK\x03\x04"):
        return _sniff_zip(path)
    if head.startswith((b"CDF\x01", b"CDF\x02", b"CDF\x05")):
        return "netcdf3"
    if head.startswith(_TORCH_LEGACY):
        return "torch"
    if is_text(head):
        return "text"
    if is_mesh(head):
        return "mesh"
    if is_pickle(path):
        raise UnsafeFileError(
            f"{path}: a Python pickle, which could run any code and is never loaded; re-save its arrays where you "
            f"trust it, for example by numpy.savez('data.npz', x=x, y=y)"
        )
    kind = _KINDS.get(path.suffix.lower())
    claim = f"not {kind} though its name says so" if kind else "unknown format"
    raise DataError(
        f"{path}: {claim} (first bytes {head[:8].hex(' ')}): truncated, corrupt or another format; "
        f"HDF5, netCDF, Zarr, MATLAB .mat, .npz, .pt, COMSOL text, VTK and XDMF are read"
    )


def _sniff_zip(path: Path) -> str:
    with reading(path), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise UnsafeFileError(f"{path}: a TorchScript program, which is never loaded; save its tensors by torch.save")
    if any(name.endswith("/data.pkl") for name in names):
        return "torch"
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    if is_zarr_zip(names):
        return "zarr"
    pickled = [name for name in names if name.endswith((".pkl", ".pickle"))]
    if pickled:
        raise UnsafeFileError(f"{path}: a zip archive with the pickle {pickled[0]!r}, which is never loaded")
    found = ", ".join(names[:8]) or "nothing"
    raise DataError(f"{path}: a zip archive that is neither .npz, .pt nor Zarr; it holds {found}")


class _Arrays(dict[str, Any]):
    """Arrays by name that can be closed, as the file cache asks; it also hands a mode to what opens a file."""

    attributes: Mapping[str, Any] = {}

    def close(self) -> None:
        self.clear()


def _open_hdf5(path: str, mode: str = "r") -> h5py.File:
    return h5py.File(path, mode)


def _open_matlab(path: str, mode: str = "r") -> _Arrays:
    return _Arrays(read_matlab(path))


def _open_npz(path: str, mode: str = "r") -> _Arrays:
    arrays = _Arrays()
    with zipfile.ZipFile(path) as archive:
        others = [name.removesuffix(".npy") for name in archive.namelist()]
        packed = sum(member.file_size for member in archive.infolist() if member.compress_type != zipfile.ZIP_STORED)
        size = Path(path).stat().st_size
        refuse_excess(f"{path}: the archive", packed, size, "if it is right, save it by numpy.savez")
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if name in arrays:
                raise DataError(f"{path}: holds {name!r} twice; save each array under its own name")
            with archive.open(member) as stream:
                shape, fortran, dtype = _npy_header(stream)
                if dtype.hasobject:
                    rest = "".join(f", {other}={other}" for other in others if other != name and other.isidentifier())
                    raise UnsafeFileError(
                        f"{path}: {name!r} is an array of Python objects, which is a pickle and never loaded; re-save "
                        f"its parts as plain arrays where you trust it, for example numpy.savez('data.npz', "
                        f"{name}0={name}[0], {name}1={name}[1]{rest[:200]})"
                    )
                stored = member.compress_type == zipfile.ZIP_STORED
                declared = stream.tell() + math.prod(shape) * dtype.itemsize
                if declared != member.file_size or (stored and member.compress_size != member.file_size):
                    raise DataError(
                        f"{path}: {name!r} declares the shape {shape} of {dtype}, {declared} bytes with its header, "
                        f"but holds {member.file_size}: truncated or corrupt; get the file anew"
                    )
                if stored and math.prod(shape) > 0:
                    arrays[name] = _mapped(path, member, stream.tell(), shape, fortran, dtype)
                    continue
            with archive.open(member) as stream:
                arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays


def _npy_header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)


def _mapped(path: str, member: zipfile.ZipInfo, skip: int, shape: Any, fortran: bool, dtype: Any) -> Array:
    """An uncompressed member of a zip as a memory map: its values start after the local header (30 bytes and names)."""
    with Path(path).open("rb") as file:
        file.seek(member.header_offset + 26)
        name, extra = np.frombuffer(file.read(4), "<u2").tolist()
    offset = member.header_offset + 30 + name + extra + skip
    return np.memmap(path, dtype, "r", offset, shape, "F" if fortran else "C")


def _open_torch(path: str, mode: str = "r") -> _Arrays:
    zipped = zipfile.is_zipfile(path)
    if zipped:
        with zipfile.ZipFile(path) as archive:
            packed = [each.filename for each in archive.infolist() if each.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise DataError(f"{path}: {packed[0]!r} is packed, which torch does not read; save it anew by torch.save")
    # without the check, indices of a sparse tensor that lie outside of it would be written to
    with torch.sparse.check_sparse_tensor_invariants(enable=True):  # type: ignore[no-untyped-call]
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    arrays = _Arrays()
    for name, tensor in _tensors(loaded):
        if len(arrays) >= _MOST_ARRAYS:
            raise DataError(f"{path}: holds more than {_MOST_ARRAYS} tensors and numbers; stack them before torch.save")
        dense = tensor.layout == torch.strided
        if dense and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise DataError(
                f"{path}: {name!r} has shape {tuple(tensor.shape)} but only {tensor.untyped_storage().nbytes()} bytes "
                f"of values, an expanded tensor; save it by torch.save(tensor.contiguous(), ...)"
            )
        if not dense:
            size, kept = tensor.numel() * tensor.element_size(), Path(path).stat().st_size
            refuse_excess(f"{path}: {name!r}, a sparse tensor,", size, kept, "if it is right, save it as a dense one")
        arrays[name] = _numpy(tensor)
    return arrays


def _tensors(loaded: Any, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """The tensors and numbers of nested dicts and lists; a bare tensor is named data."""
    if isinstance(loaded, torch.Tensor):
        yield prefix.rstrip("/") or "data", loaded
    elif isinstance(loaded, bool | int | float | complex):
        yield prefix.rstrip("/") or "data", torch.as_tensor(loaded, dtype=_number_dtype(loaded))
    elif isinstance(loaded, list | tuple) and loaded and all(isinstance(item, int | float) for item in loaded):
        yield prefix.rstrip("/") or "data", torch.from_numpy(np.asarray(loaded))
    elif isinstance(loaded, Mapping | list | tuple):
        items = loaded.items() if isinstance(loaded, Mapping) else enumerate(loaded)
        for key, value in items:
            yield from _tensors(value, f"{prefix}{key}/")


def _number_dtype(value: complex) -> torch.dtype:
    dtypes = {bool: torch.bool, int: torch.int64, float: torch.float64}
    return dtypes.get(type(value), torch.complex128)


def _numpy(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).resolve_conj().resolve_neg().numpy()


def _open_text(path: str, mode: str = "r") -> _Arrays:
    columns, header = read_text(path)
    arrays = _Arrays(columns)
    arrays.attributes = header
    return arrays


def _open_mesh(path: str, mode: str = "r") -> _Arrays:
    found, attributes = read_mesh(path)
    arrays = _Arrays(found)
    arrays.attributes = attributes
    return arrays


def _open_classic(path: str, mode: str = "r") -> _Arrays:
    variables, attributes = read_classic(path)
    arrays = _Arrays(variables)
    arrays.attributes = attributes
    return arrays


OPENERS: dict[str, Callable[[str], Any]] = {
    "hdf5": _open_hdf5,
    "netcdf3": _open_classic,
    "zarr": open_zarr,
    "matlab": _open_matlab,
    "npz": _open_npz,
    "torch": _open_torch,
    "text": _open_text,
    "mesh": _open_mesh,
}
