"""The native file: netCDF4/HDF5 chunked by sample, written block by block under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5netcdf
import h5py
import numpy as np
import xarray as xr

from sciops.data.containers import reading
from sciops.data.conventions import origin, sample_dim
from sciops.data.encoding import RESERVED, attach, check_names, check_texts, chunk_shape, encoded, stored_dtype
from sciops.data.sink import Sink, failure, synchronise
from sciops.errors import DataError, InputError

_BLOCK_BYTES = 32 << 20
_WRITE_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError)


def write(ds: xr.Dataset, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write a data set as the native netCDF4/HDF5 file, which xarray opens without us too.

    Variables are read and written in blocks of samples, so a data set larger than memory is no problem. Nothing is
    left behind when it fails: the file appears under its name complete or not at all.

    Parameters
    ----------
    ds
        The data set; float16 is stored as float32, and booleans as bytes that come back as booleans. Attributes of
        netCDF types are kept, booleans become 0 or 1, anything else JSON text. Attributes that tell readers to decode
        values (``_FillValue``, ``missing_value``, ``scale_factor``, ``add_offset``, ``_Unsigned``, ``dtype``) are
        dropped, since the values are already decoded.
    path
        The file to write.
    overwrite
        Replace an existing file.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    InputError
        If `ds` is no data set, or holds something that netCDF4 does not.
    DataError
        If the file exists, or cannot be written: no permission, no folder, disk full.

    Examples
    --------
    >>> import tempfile
    >>> from sciops.data.files import open
    >>> ds = xr.Dataset({"u": (("sample", "x"), np.eye(3))})
    >>> path = write(ds, Path(tempfile.mkdtemp()) / "run.nc")
    >>> open(path).u.values.tolist() == ds.u.values.tolist()
    True
    """
    if not isinstance(ds, xr.Dataset):
        raise InputError(f"{path}: write takes an xarray.Dataset, got {type(ds).__name__}")
    dim = sample_dim(ds)
    count = 0 if dim is None else ds.sizes[dim]
    with StreamWriter(path, ds, count, overwrite=overwrite) as writer:
        if dim is not None:
            per_sample = sum(v.nbytes for v in ds.variables.values() if dim in v.dims) // max(count, 1)
            step = max(1, _BLOCK_BYTES // max(per_sample, 1))
            for start in range(0, count, step):
                writer.append(ds.isel({dim: slice(start, start + step)}))
    return writer.path


class StreamWriter:
    """Write the native file block of samples by block of samples; a context manager.

    The file gets its name when the block ends without an error and all samples were written; else nothing is left.

    Parameters
    ----------
    path
        The file to write.
    template
        A data set with the variables, dimensions, dtypes, attributes and coordinates to write. Of what has the sample
        dimension only shapes and dtypes are used, whatever its length there; the rest is written at once.
    n_samples
        Number of samples that will be appended.
    overwrite
        Replace an existing file.

    Raises
    ------
    InputError
        If the template or a block does not fit netCDF4 or one another.
    DataError
        If the file exists or cannot be written, or fewer samples came than were announced.

    Examples
    --------
    >>> import tempfile
    >>> block = xr.Dataset({"u": (("sample", "x"), np.ones((2, 3)))})
    >>> with StreamWriter(Path(tempfile.mkdtemp()) / "run.nc", block, 4) as writer:
    ...     writer.append(block)
    ...     writer.append(2 * block)
    >>> xr.open_dataset(writer.path).u.values[:, 0].tolist()
    [1.0, 1.0, 2.0, 2.0]
    """

    def __init__(
        self, path: str | os.PathLike[str], template: xr.Dataset, n_samples: int, *, overwrite: bool = False
    ) -> None:
        self.path = Path(path).expanduser().absolute()
        self.dim = sample_dim(template)
        self.n_samples = n_samples
        self.written = 0
        self.overwrite = overwrite
        self._template = template
        self._temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        self._file: h5netcdf.File | None = None
        self._sink: Sink | None = None
        self._dtypes: dict[str, np.dtype[Any]] = {}
        self._check_target()

    def __enter__(self) -> Self:
        with self._clean():
            self._sink = Sink(self._temporary)
            self._file = h5netcdf.File(self._sink, "w")
            self._declare(self._file)
            self._sink.check()
        return self

    def append(self, block: xr.Dataset) -> None:
        """Write the next samples.

        Parameters
        ----------
        block
            A data set with every variable of the template that has the sample dimension; others are left aside.
        """
        if self._file is None or self._sink is None or self.dim is None:
            why = "it is not open: use it in a with statement" if self.dim else "its template has no sample dimension"
            raise InputError(f"{self.path}: cannot append, {why}")
        with self._clean():
            count = self._checked_count(block)
            for name, variable in self._sampled().items():
                with reading(Path(origin(block)), name):
                    values = block.variables[name].transpose(*variable.dims).values
                if values.dtype.kind in "OU":
                    check_texts(name, values, self.path)
                where = tuple(
                    slice(self.written, self.written + count) if dim == self.dim else slice(None)
                    for dim in variable.dims
                )
                self._file.variables[name][where] = values.astype(self._dtypes[name], copy=False)
            self._sink.check()
            self.written += count

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        with self._clean():
            if self.dim is not None and self.written != self.n_samples:
                raise DataError(f"{self.path}: {self.written} samples were written of {self.n_samples} announced")
            self._close()
            self._check_target()
            synchronise(self._temporary)
            os.replace(self._temporary, self.path)
        with contextlib.suppress(OSError):
            synchronise(self.path.parent)

    def _check_target(self) -> None:
        if self.path.is_dir():
            raise DataError(f"{self.path}: a folder; give the name of a file to write")
        if self.path.exists() and not self.overwrite:
            raise DataError(f"{self.path}: exists already; give overwrite=True (--overwrite) or another name")
        if not self.path.parent.is_dir():
            raise DataError(f"{self.path}: cannot be written, there is no folder {self.path.parent}; create it first")

    @contextlib.contextmanager
    def _clean(self) -> Iterator[None]:
        """Leave nothing behind on any error, also an interrupt, and say in one line what the operating system said."""
        try:
            yield
        except (OSError, RuntimeError) as error:
            self._discard()
            raise DataError(f"{self.path}: {failure(error)}") from error
        except BaseException:
            self._discard()
            raise

    def _discard(self) -> None:
        # What was written is thrown away, so whatever closing it brings up is of no interest any more.
        try:
            with contextlib.suppress(*_WRITE_ERRORS):
                self._close()
        finally:
            self._temporary.unlink(missing_ok=True)

    def _close(self) -> None:
        file, self._file = self._file, None
        sink, self._sink = self._sink, None
        try:
            if file is not None:
                file.close()
            if sink is not None:
                sink.check()
        finally:
            if sink is not None:
                sink.close()

    def _sampled(self) -> dict[str, xr.Variable]:
        return {str(n): v for n, v in self._template.variables.items() if self.dim is not None and self.dim in v.dims}

    def _declare(self, file: h5netcdf.File) -> None:
        """Create dimensions, variables and attributes, and write what does not depend on the sample."""
        check_names(self._template.sizes, self.path)
        check_names(self._template.variables, self.path)
        sizes = {str(dim): self.n_samples if dim == self.dim else size for dim, size in self._template.sizes.items()}
        file.dimensions = sizes
        attributes = {key: value for key, value in self._template.attrs.items() if key not in RESERVED}
        extra = [str(name) for name in self._template.coords if name not in self._template.dims]
        if extra:
            attributes["coordinates"] = " ".join(name for name in extra if " " not in name)
        for key, value in attributes.items():
            attach(file.attrs, key, value, str(self.path))
        for name, given in self._template.variables.items():
            sampled = self.dim is not None and self.dim in given.dims
            variable = encoded(str(name), given, sampled=sampled, path=self.path)
            shape = tuple(sizes[str(dim)] for dim in variable.dims)
            dtype = stored_dtype(str(name), variable.dtype, self.path)
            self._dtypes[str(name)] = dtype
            created = file.create_variable(
                str(name),
                tuple(map(str, variable.dims)),
                h5py.string_dtype() if dtype.kind in "OU" else dtype,
                chunks=chunk_shape(shape, dtype.itemsize, variable.dims.index(self.dim)) if sampled else None,
            )
            for key, value in variable.attrs.items():
                attach(created.attrs, key, value, f"{self.path}: {str(name)!r}")
            if given.dtype == bool:
                created.attrs["dtype"] = "bool"
            if not sampled:
                _fill(created, variable, dtype)

    def _checked_count(self, block: xr.Dataset) -> int:
        """The number of samples in a block that fits the template."""
        assert self.dim is not None
        count = int(block.sizes.get(self.dim, 0))
        if self.written + count > self.n_samples:
            raise InputError(
                f"{self.path}: {self.written + count} samples come, {self.n_samples} were announced by n_samples="
            )
        for name, expected in self._sampled().items():
            found = block.variables.get(name)
            if found is None or set(found.dims) != set(expected.dims):
                has = "lacks it" if found is None else f"has it with the dimensions {found.dims}"
                raise InputError(f"{self.path}: {name!r} has the dimensions {expected.dims}, a block {has}")
            for dim in expected.dims:
                if dim != self.dim and found.sizes[dim] != self._template.sizes[dim]:
                    raise InputError(
                        f"{self.path}: dimension {dim!r} has length {self._template.sizes[dim]}, in a block "
                        f"{found.sizes[dim]}"
                    )
        return count


def _fill(target: Any, variable: xr.Variable, dtype: np.dtype[Any]) -> None:
    """Write a variable in blocks along its first dimension."""
    if not variable.dims:
        target[...] = variable.values.astype(dtype)[()]
        return
    step = max(1, _BLOCK_BYTES // max(1, variable.nbytes // max(1, variable.shape[0])))
    for start in range(0, variable.shape[0], step):
        block = slice(start, start + step)
        target[block] = variable[block].values.astype(dtype, copy=False)
