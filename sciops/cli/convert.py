"""``sciops convert``: a file of any layout as the native one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sciops.cli.command import Command, Invocation
from sciops.cli.options import Option
from sciops.cli.shared import declaration_options, open_declared, progress, require_target, say, shape_of

_DESCRIPTION = """\
Write a file of any known or declared layout as netCDF4/HDF5, which sciops and xarray open without being
told anything. Files larger than memory are copied in blocks; the new file appears whole or not at all."""
_EXAMPLES = """
sciops convert piececonst_r421_N1024_smith1.mat darcy.h5
sciops convert runs.h5 native.h5 --dims fields/u=sample,x,y --coords x=grid/x
"""


def command(words: Sequence[str]) -> Command:
    """The command for these words."""
    options = [
        Option("file", Path, positional=True, help="HDF5, netCDF4, .mat, .npz or .pt file."),
        Option("out", Path, positional=True, help="The netCDF4/HDF5 file to write."),
        Option("overwrite", bool, False, "Replace an existing file."),
        *declaration_options(),
    ]
    return Command("convert", _DESCRIPTION, _EXAMPLES, options, _run)


def _run(call: Invocation) -> None:
    from sciops.data import write

    out, overwrite = call.values["out"], call.values["overwrite"]
    require_target(out, overwrite=overwrite, inputs=[call.values["file"]])
    with open_declared(call.values["file"], call.values) as ds:
        with progress().status(f"writing {out}"):
            write(ds, out, overwrite=overwrite)
        say(f"wrote {out}: {shape_of(ds)}, from the layout {ds.attrs['layout']}")
