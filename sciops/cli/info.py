"""``sciops info``: what is in a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sciops.cli.command import Command, Invocation
from sciops.cli.options import Option
from sciops.cli.shared import console, declaration_options, open_declared, progress, require_picture, say_json

_DESCRIPTION = """\
Show what is in a file: its layout and why it was recognised, grids, variables, their statistics, and
how many values are not finite. Files larger than memory are read in blocks."""
_EXAMPLES = """
sciops info darcy.h5
sciops info darcy.h5 --plot darcy.png
sciops info runs.h5 --sample-dim run --dims fields/u=run,x,y --coords x=grid/x --kinds y=periodic
sciops info darcy.h5 --json
"""


def command(words: Sequence[str]) -> Command:
    """The command for these words."""
    options = [
        Option("file", Path, positional=True, help="Data file, Zarr store, folder, or a pattern in quotes."),
        Option("plot", Path | None, None, "Draw the first samples of every field into this PNG, PDF or SVG."),
        Option("statistics", bool, True, "Only names, shapes and grids: read no values."),
        Option("json", bool, False, "Print JSON instead of a table."),
        *declaration_options(),
    ]
    return Command("info", _DESCRIPTION, _EXAMPLES, options, _run)


def _run(call: Invocation) -> None:
    from sciops.data.reading.summary import summarise

    plot = call.values["plot"]
    if plot is not None:
        require_picture(plot, inputs=[call.values["file"]])
    with open_declared(call.values["file"], call.values) as ds:
        with progress().status("reading"):
            found = summarise(ds, statistics=call.values["statistics"])
        if plot is not None:
            from sciops.plotting import info_plot

            info_plot(ds, path=plot)
    if call.values["json"]:
        say_json({**vars(found), "defects": found.defects})
    else:
        console().print(found)
