"""``sciops convert``: a file of any layout as the native one, as a Zarr store, or in the layout of another package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from sciops.cli.command import Command, Invocation
from sciops.cli.options import Option
from sciops.cli.shared import declaration_options, open_declared, progress, require_target, say, shape_of
from sciops.errors import DataError, InputError, did_you_mean

_DESCRIPTION = """\
Write a file of any known or declared layout as netCDF4/HDF5, which sciops and xarray open without being
told anything; as a Zarr store, where OUT ends in .zarr; or in the layout of another package. Files larger
than memory are copied in blocks; the new file appears whole or not at all."""
_EXAMPLES = """
sciops convert piececonst_r421_N1024_smith1.mat darcy.h5
sciops convert runs.h5 native.h5 --dims fields/u=sample,x,y --coords x=grid/x
sciops convert runs.h5 small.h5 --chunks sample=1,x=64 --compression zstd
sciops convert runs.h5 runs.zarr
sciops convert burgers.h5 burgers.hdf5 --to pdebench-1d --rename u=tensor --drop nu
"""


def command(words: Sequence[str]) -> Command:
    """The command for these words."""
    from sciops.data.reading.filters import COMPRESSIONS
    from sciops.data.writing.writers import registry

    options = [
        Option("file", Path, positional=True, help="Data file, Zarr store, folder, or a pattern in quotes."),
        Option("out", Path, positional=True, help="The file or Zarr store to write."),
        Option("overwrite", bool, False, "Replace an existing file."),
        Option(
            "to",
            str | None,
            None,
            f"Layout to write: native, zarr, {', '.join(registry)}. Zarr where OUT ends in .zarr, else native.",
            metavar="LAYOUT",
        ),
        Option(
            "chunks",
            list[str],
            [],
            "Lengths of chunks, such as sample=1,x=64; other axes are kept whole. By default a chunk holds samples.",
            metavar="AXIS=N,...",
        ),
        Option(
            "compression",
            str | None,
            None,
            f"One of {', '.join(COMPRESSIONS)}, or with a level gzip:9.",
            metavar="NAME[:LEVEL]",
        ),
        Option("rename", list[str], [], "New names of variables and axes, such as u=tensor.", metavar="OLD=NEW,..."),
        Option("drop", list[str], [], "Variables and coordinates to leave out.", metavar="NAME,..."),
        *declaration_options(),
    ]
    return Command("convert", _DESCRIPTION, _EXAMPLES, options, _run)


def _run(call: Invocation) -> None:
    from sciops.data import write
    from sciops.data.reading.filters import Compression
    from sciops.data.writing.write_dataset import layout_for

    values = call.values
    out, overwrite = values["out"], values["overwrite"]
    layout = layout_for(out, values["to"])
    try:
        compression = None if values["compression"] is None else Compression.named(values["compression"])
    except InputError as error:
        raise InputError(f"convert: --compression: {error}") from None
    chunks = {dim: _length(dim, text) for dim, text in _entries("chunks", values["chunks"]).items()}
    names = _entries("rename", values["rename"])
    if layout == "zarr" and out.expanduser().is_dir():
        if out.expanduser().resolve() == values["file"].expanduser().resolve():
            raise DataError(f"{out}: {values['file']} is read, and would be overwritten; give another name to write to")
    else:
        require_target(out, overwrite=overwrite, inputs=[values["file"]])
    with open_declared(values["file"], values) as ds:
        chosen = _changed(ds, names, values["drop"], values["file"])
        with progress().status(f"writing {out}"):
            write(chosen, out, layout, overwrite=overwrite, chunks=chunks, compression=compression)
        say(f"wrote {out}: {shape_of(chosen)}, from the layout {ds.attrs['layout']}")


def _entries(option: str, texts: Sequence[str]) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise InputError(f"convert: --{option}: expected NAME=VALUE, got {text!r}")
        found[name] = value
    return found


def _length(dim: str, text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"convert: --chunks: the length of {dim!r} is a whole number of at least 1, got {text!r}")
    return int(text)


def _changed(ds: xr.Dataset, names: dict[str, str], drop: Sequence[str], path: Any) -> xr.Dataset:
    """The data set without some variables and with others renamed, what its attributes say of dimensions too."""
    known = [*map(str, ds.variables), *(str(dim) for dim in ds.dims if dim not in ds.variables)]
    for option, wanted in (("drop", drop), ("rename", names)):
        for name in wanted:
            if name not in known or (option == "drop" and name not in ds.variables):
                raise InputError(f"{path}: --{option} names the unknown {name!r}{did_you_mean(name, known)}")
    try:
        changed = ds.drop_vars(list(drop)).rename({old: new for old, new in names.items() if old not in drop})
    except ValueError as error:
        raise InputError(f"{path}: --rename: {str(error).splitlines()[0]}") from error
    for attribute in ("sample_dim", "time_dim"):
        if attribute in changed.attrs:
            changed.attrs[attribute] = names.get(changed.attrs[attribute], changed.attrs[attribute])
    for attribute in ("channel_dims", "point_dims", "point_coords", "curvilinear_coords"):
        if attribute in changed.attrs:
            changed.attrs[attribute] = [names.get(str(name), str(name)) for name in changed.attrs[attribute]]
    for variable in changed.variables.values():
        if variable.attrs.get("mask") in names:
            variable.attrs = {**variable.attrs, "mask": names[variable.attrs["mask"]]}
    return changed
