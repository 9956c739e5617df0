"""The native file written block by block of samples, while they are simulated; a writer that is killed goes on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5netcdf
import h5py
import numpy as np
import xarray as xr

from sciops.data.conventions import origin, sample_dim
from sciops.data.reading.filters import Compression
from sciops.data.reading.paths import usable_path
from sciops.data.writing.chunks import check_chunks, chosen_chunks
from sciops.data.writing.copying import copy_blocks
from sciops.data.writing.encoding import (
    RESERVED,
    attach,
    attribute,
    check_names,
    chunk_shape,
    encoded,
    stored_dtype,
)
from sciops.data.writing.finished import first_difference
from sciops.data.writing.fitting import check_coordinates, check_kind, check_units, fitted
from sciops.data.writing.journal import RecoverableSink, journal_of
from sciops.data.writing.sink import Sink
from sciops.data.writing.target import Target
from sciops.errors import DataError, InputError

__all__ = ["StreamWriter", "require_file_name"]

_LEAST_COMPRESSED = 1 << 10
_OTHER_KINDS = {
    *(".txt", ".csv", ".tsv", ".dat", ".json", ".yaml", ".yml", ".npz", ".npy", ".mat", ".pt", ".pth", ".pkl"),
    *(".zip", ".vtk", ".vtu", ".xdmf", ".parquet", ".grib", ".png", ".pdf"),
}
_MOST = 1 << 63
_WRITE_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError)


def require_file_name(path: Path) -> None:
    """Refuse a name that says Zarr store, or another kind of file, for the netCDF4/HDF5 file that is written.

    Raises
    ------
    InputError
        Says how a store is made.
    """
    if path.suffix == ".zarr":
        file = path.with_suffix(".h5").name
        raise InputError(
            f"{path}: what is written sample by sample is one netCDF4/HDF5 file, no Zarr store; call it {file}, and "
            f"make the store of it by sciops convert {file} {path.name}"
        )
    if path.suffix.lower() in _OTHER_KINDS:
        raise InputError(
            f"{path}: what is written is netCDF4/HDF5, no {path.suffix} file; end the name in .h5, .hdf5 or .nc (in "
            f".zarr for a Zarr store)"
        )


class StreamWriter:
    """Write the native file block of samples by block of samples; a context manager.

    The file gets its name when the block ends without an error and all samples were written; else nothing is left,
    unless it is resumable. Then what was appended survives errors, interrupts and the death of the process, in a
    hidden file ``.NAME.partial`` beside the path, and the same call goes on after the last sample that was appended.

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
    resume
        Keep what is appended for good, and go on with what an earlier writer of this path left; where that has ended,
        and the file is there, nothing is left to do: `written` is `n_samples`. Each call of `append`
        then waits for the disk, so append several samples at once where they are quick to make.
    chunks
        Lengths of the chunks by dimension; other dimensions of the same variables are kept whole.
    compression
        Such as ``"gzip"``, ``"lzf"``, ``"zstd:9"``, ``"blosc"``, ``"lz4"``, see
        `sciops.data.reading.filters.Compression`.

    Attributes
    ----------
    written : int
        Samples that are in the file; of a resumed file this is where to go on.

    Raises
    ------
    InputError
        If the template or a block does not fit netCDF4 or one another.
    DataError
        If the file exists or cannot be written, fewer samples came than were announced, or what is to be resumed was
        begun with other names, grids or attributes, or is being written by another process.

    Examples
    --------
    >>> import tempfile
    >>> block = xr.Dataset({"u": (("sample", "x"), np.ones((2, 3)))})
    >>> with StreamWriter(Path(tempfile.mkdtemp()) / "run.nc", block, 4) as writer:
    ...     writer.append(block)
    ...     writer.append(2 * block)
    >>> xr.open_dataset(writer.path).u.values[:, 0].tolist()
    [1.0, 1.0, 2.0, 2.0]

    A simulation that was stopped after two of four samples goes on with the third:

    >>> path = Path(tempfile.mkdtemp()) / "run.nc"
    >>> for _ in range(2):
    ...     try:
    ...         with StreamWriter(path, block, 4, resume=True) as writer:
    ...             print("from sample", writer.written)
    ...             for start in range(writer.written, 4, 2):
    ...                 writer.append(block)
    ...                 if start == 0:
    ...                     raise KeyboardInterrupt
    ...     except KeyboardInterrupt:
    ...         pass
    from sample 0
    from sample 2
    >>> xr.open_dataset(path).sizes["sample"]
    4
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        template: xr.Dataset,
        n_samples: int,
        *,
        overwrite: bool = False,
        resume: bool = False,
        chunks: Mapping[str, int] | None = None,
        compression: str | Compression | None = None,
    ) -> None:
        name = usable_path(path).absolute()
        require_file_name(name)
        if not isinstance(template, xr.Dataset):
            raise InputError(f"{name}: the template is an xarray.Dataset, got {type(template).__name__}")
        if isinstance(n_samples, bool) or not isinstance(n_samples, int | np.integer) or not 0 <= n_samples < _MOST:
            raise InputError(f"{name}: n_samples= is a whole number from 0 to 2^63 - 1, got {n_samples!r}")
        partial = name.with_name(f".{name.name}.partial") if resume else None
        # a job that is submitted again finds the whole file there; it is then looked at, and never replaced
        self._finished = partial is not None and not overwrite and name.is_file() and not partial.exists()
        self._target = Target(path, overwrite=overwrite or self._finished, temporary=partial)
        self.path = self._target.path
        self.dim = sample_dim(template)
        self.n_samples = int(n_samples)
        self.written = 0
        self.resume = resume
        if resume and self.dim is None:
            raise InputError(f"{self.path}: resume= goes on after a sample, but the template has no sample dimension")
        self._template = template
        self._chunks = check_chunks(chunks, map(str, template.sizes), self.path)
        self._compression = Compression.named(compression)
        self._file: h5netcdf.File | None = None
        self._sink: Sink | None = None
        self._parts: dict[str, _Part] = {}

    def __repr__(self) -> str:
        resumable = ", resumable" if self.resume else ""
        return f"StreamWriter({str(self.path)!r}, {self.written} of {self.n_samples} samples written{resumable})"

    def __enter__(self) -> Self:
        with self._target.cleaned(self._discard):
            self._parts = self._planned()
            if self._finished:
                self._check_finished()
                journal_of(self._target.temporary).unlink(missing_ok=True)
                self.written = self.n_samples
                return self
            self._sink = RecoverableSink(self._target.temporary) if self.resume else Sink(self._target.temporary)
            if not isinstance(self._sink, RecoverableSink):
                self._create(self._sink)
            elif self._sink.state is None:
                self._create(self._sink)
                self._commit(self._sink, self._described())
            else:
                self._check_same(self._sink.state["template"])
                self._file = h5netcdf.File(self._sink, "r+")
                self.written = int(self._sink.state["written"])
            self._sink.check()
        return self

    def append(self, block: xr.Dataset) -> None:
        """Write the next samples, in blocks, so that lazy ones may be larger than memory.

        Parameters
        ----------
        block
            A data set with every variable of the template that has the sample dimension; others are left aside.

        Raises
        ------
        InputError
            If the block does not fit the template (its variables, shapes, units and coordinates), its dtypes cannot
            hold the values (floats may be rounded), or there are more samples than were announced.
        DataError
            If the block cannot be read, or the file cannot be written.
        """
        if self._finished:
            raise InputError(
                f"{self.path}: is complete, all {self.n_samples} samples are written; append from writer.written on"
            )
        if self._file is None or self._sink is None or self.dim is None:
            why = "it is not open: use it in a with statement" if self.dim else "its template has no sample dimension"
            raise InputError(f"{self.path}: cannot append, {why}")
        if not isinstance(block, xr.Dataset):
            raise InputError(f"{self.path}: append takes an xarray.Dataset, got {type(block).__name__}")
        with self._target.cleaned(self._discard):
            count = self._checked_count(block)
            for name, part in self._parts.items():
                if part.sampled:
                    offset = {self.dim: self.written}
                    part.fill(self._file.variables[name], block.variables[name], origin(block), self.path, offset)
            self._sink.check()
            self.written += count
            if isinstance(self._sink, RecoverableSink) and self._sink.state is not None:
                self._commit(self._sink, self._sink.state["template"])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._finished:
            return
        if kind is not None:
            self._discard()
            return
        with self._target.cleaned(self._discard):
            if self.dim is not None and self.written != self.n_samples:
                further = "; the same call with resume=True goes on" if self.resume else ""
                raise DataError(
                    f"{self.path}: {self.written} samples were written of {self.n_samples} announced{further}"
                )
            self._target.check()
            self._close()
            self._target.publish()
            journal_of(self._target.temporary).unlink(missing_ok=True)

    def _discard(self) -> None:
        # What was written is thrown away, so whatever closing it brings up is of no interest any more.
        useless = not self.resume
        if isinstance(self._sink, RecoverableSink):
            self._sink.abandon()
            useless = self._sink.state is None
        try:
            with contextlib.suppress(*_WRITE_ERRORS):
                self._close()
        finally:
            if useless:
                self._target.discard()

    def _close(self) -> None:
        file, self._file = self._file, None
        sink, self._sink = self._sink, None
        try:
            if file is not None:
                file.close()
            if sink is not None:
                sink.check()
            if isinstance(sink, RecoverableSink) and sink.state is not None:
                sink.commit(sink.state)
        finally:
            if sink is not None:
                sink.close()

    def _commit(self, sink: RecoverableSink, template: Any) -> None:
        """Make what was appended last for good."""
        assert self._file is not None
        self._file.flush()
        self._file._h5file.flush()
        sink.commit({"written": self.written, "template": template})

    def _planned(self) -> dict[str, _Part]:
        """What to create, checked before anything is."""
        check_names(self._template.sizes, self.path)
        check_names(self._template.variables, self.path)
        sizes = {str(dim): self.n_samples if dim == self.dim else size for dim, size in self._template.sizes.items()}
        parts = {}
        for name, given in self._template.variables.items():
            sampled = self.dim is not None and self.dim in given.dims
            variable = encoded(str(name), given, sampled=sampled, path=self.path)
            shape = tuple(sizes[str(dim)] for dim in variable.dims)
            dtype = stored_dtype(str(name), variable.dtype, self.path)
            marks = {**variable.attrs, "dtype": "bool"} if given.dtype == bool else dict(variable.attrs)
            chunks = self._chosen(str(name), tuple(map(str, variable.dims)), shape, dtype, sampled)
            parts[str(name)] = _Part(str(name), variable, shape, dtype, chunks, marks, sampled)
        return parts

    def _chosen(
        self, name: str, dims: tuple[str, ...], shape: tuple[int, ...], dtype: np.dtype[Any], sampled: bool
    ) -> tuple[int, ...] | None:
        found = chosen_chunks(name, dims, shape, dtype.itemsize, self._chunks, self.path)
        first = dims.index(str(self.dim)) if sampled else 0
        compressed = self._compression.name != "none" and dtype.kind not in "OU" and len(shape) > 0
        if found is None and (sampled or compressed):
            found = chunk_shape(shape, dtype.itemsize, first)
        if found is None and compressed and np.prod(shape) * dtype.itemsize >= _LEAST_COMPRESSED:
            found = shape
        return found

    def _create(self, sink: Sink) -> None:
        """Create dimensions, variables and attributes, and write what does not depend on the sample."""
        self._file = file = h5netcdf.File(sink, "w")
        sizes = {str(dim): self.n_samples if dim == self.dim else size for dim, size in self._template.sizes.items()}
        file.dimensions = sizes
        for key, value in self._attributes().items():
            attach(file.attrs, key, value, str(self.path))
        for name, part in self._parts.items():
            compression = self._compression.hdf5() if part.chunks and part.dtype.kind not in "OU" else {}
            created = file.create_variable(
                name,
                tuple(map(str, part.variable.dims)),
                h5py.string_dtype() if part.dtype.kind in "OU" else part.dtype,
                chunks=part.chunks,
                **compression,
            )
            for key, value in part.marks.items():
                attach(created.attrs, key, value, f"{self.path}: {name!r}")
            if not part.sampled:
                part.fill(created, part.variable, origin(self._template), self.path, {})

    def _attributes(self) -> dict[Any, Any]:
        attributes = {key: value for key, value in self._template.attrs.items() if key not in RESERVED}
        extra = [str(name) for name in self._template.coords if name not in self._template.dims]
        if extra:
            attributes["coordinates"] = " ".join(name for name in extra if " " not in name)
        return attributes

    def _described(self) -> dict[str, Any]:
        """Names, shapes, dtypes, attributes and the values that do not depend on the sample, for a later writer."""
        description: dict[str, Any] = {"the attributes": _texts(self._attributes())}
        for name, part in self._parts.items():
            about = [part.variable.dims, part.shape, str(part.dtype), part.chunks, str(self._compression)]
            description[f"the shape, dtype, chunks or compression of {name!r}"] = about
            description[f"the attributes of {name!r}"] = _texts(part.marks)
            if not part.sampled:
                description[f"the values of {name!r}"] = part.digest()
        return json.loads(json.dumps(description))  # type: ignore[no-any-return]

    def _check_same(self, before: Mapping[str, Any]) -> None:
        now = self._described()
        changed = [what for what in {**before, **now} if before.get(what) != now.get(what)]
        if changed:
            raise DataError(
                f"{self.path}: cannot be resumed, {changed[0]} changed since {self._target.temporary} was begun; "
                f"resume with the same template and options, or delete that file to start anew"
            )

    def _check_finished(self) -> None:
        """Refuse a file that another simulation made."""
        try:
            changed = first_difference(self.path, self._attributes(), self._parts.values())
        except _WRITE_ERRORS as error:
            changed = f"it is no file of this writer ({error})"
        if changed:
            raise DataError(
                f"{self.path}: exists already and is not what is to be resumed, {changed} is other; give "
                f"overwrite=True (--overwrite) or another name"
            )

    def _checked_count(self, block: xr.Dataset) -> int:
        """The number of samples in a block that fits the template."""
        assert self.dim is not None
        count = int(block.sizes.get(self.dim, 0))
        if self.written + count > self.n_samples:
            raise InputError(
                f"{self.path}: {self.written + count} samples come, {self.n_samples} were announced by n_samples="
            )
        if block is self._template:
            return count
        for name, part in self._parts.items():
            if not part.sampled:
                continue
            expected, found = part.variable.dims, block.variables.get(name)
            if found is None or set(found.dims) != set(expected):
                has = "lacks it" if found is None else f"has it with the dimensions {found.dims}"
                raise InputError(f"{self.path}: {name!r} has the dimensions {expected}, a block {has}")
            for dim in expected:
                if dim != self.dim and found.sizes[dim] != self._template.sizes[dim]:
                    raise InputError(
                        f"{self.path}: dimension {dim!r} has length {self._template.sizes[dim]}, in a block "
                        f"{found.sizes[dim]}"
                    )
            check_kind(name, self._template.variables[name].dtype, found.dtype, self.path)
            check_units(name, self._template.variables[name], found, self.path)
        fixed = [name for name in self._template.coords if not self._parts[str(name)].sampled]
        check_coordinates(fixed, self._template, block, self.path)
        return count


@dataclass(frozen=True)
class _Part:
    """One variable of the file."""

    name: str
    variable: xr.Variable
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    marks: Mapping[str, Any]
    sampled: bool

    def fill(self, target: Any, values: xr.Variable, source: str, path: Path, offset: Mapping[Any, int]) -> None:
        """Write values block by block, from `offset` on along some dimension."""
        for where, block in copy_blocks(values, self.variable.dims, self.dtype, self.chunks, source, self.name):
            stored = fitted(self.name, block, self.dtype, path, truth=self.marks.get("dtype") == "bool")
            starts = [offset.get(dim, 0) for dim in self.variable.dims]
            moved = tuple(
                slice(piece.start + start, piece.stop + start) for piece, start in zip(where, starts, strict=True)
            )
            target[moved or ...] = stored if where else stored[()]

    def blocks(self) -> Iterator[tuple[tuple[slice, ...], Any]]:
        """The values as they are stored, block by block with their places."""
        for where, block in copy_blocks(self.variable, self.variable.dims, self.dtype, self.chunks, "", self.name):
            yield where, block if self.dtype.kind in "OU" else block.astype(self.dtype, copy=False)

    def digest(self) -> str:
        """A hash of the values."""
        found = hashlib.sha256()
        for _, block in copy_blocks(self.variable, self.variable.dims, self.dtype, self.chunks, "", self.name):
            values = block.astype(self.dtype, copy=False)
            found.update(repr(values.tolist()).encode() if values.dtype.kind in "OU" else values.tobytes())
        return found.hexdigest()


def _texts(attributes: Mapping[Any, Any]) -> dict[str, str]:
    """Attributes as they are kept, in a form to compare."""
    found = {}
    for key, value in attributes.items():
        with contextlib.suppress(ValueError, TypeError, OverflowError, RecursionError):  # refused when attached
            kept = attribute(value)
            found[str(key)] = repr(kept.tolist() if isinstance(kept, np.ndarray | np.generic) else kept)
    return found
