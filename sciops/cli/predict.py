"""``sciops predict``: apply a surrogate to a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sciops.cli.command import Command, Invocation
from sciops.cli.evaluate import _HELP
from sciops.cli.options import Option, options_of
from sciops.cli.shared import declaration_options, open_declared, progress, require_target, say, shape_of
from sciops.surrogate import Surrogate, load

_DESCRIPTION = """\
Apply a surrogate to the inputs in a file and write the outputs to a netCDF4/HDF5 file, in the variables,
units and coordinates of that file and at its resolution. The file is read and written in blocks."""
_EXAMPLES = """
sciops predict darcy-fno new.h5 prediction.h5
sciops predict darcy-fno new.h5 prediction.h5 --coverage 0.9
sciops predict burgers-fno initial.h5 rollout.h5 --steps 16 --device cuda
"""


def command(words: Sequence[str]) -> Command:
    """The command for these words."""
    own = {
        "coverage": {"help": "Add NAME_lower and NAME_upper: a band that holds whole fields with this probability."},
        "steps": {"help": "Frames to predict, for an evolution. Default: as many as the file has after the first."},
    }
    options = [
        Option("surrogate", Path, positional=True, help="Folder of a saved surrogate or of a finished run."),
        Option("file", Path, positional=True, help="File with the inputs."),
        Option("out", Path, positional=True, help="The netCDF4/HDF5 file to write."),
        *options_of(Surrogate.predict, skip={"self", "data", "output"}, changes=_HELP | own),
        *declaration_options(),
    ]
    return Command("predict", _DESCRIPTION, _EXAMPLES, options, _run)


def _run(call: Invocation) -> None:
    values, out = call.values, call.values["out"]
    require_target(out, overwrite=values["overwrite"], inputs=[values["file"]])
    surrogate = load(values["surrogate"])
    shared = ("coverage", "steps", "resolution", "overwrite", "batch_size", "device", "precision")
    options = {name: values[name] for name in shared}
    with (
        open_declared(values["file"], values) as ds,
        progress().status(f"writing {out}"),
        surrogate.predict(ds, output=out, **options) as prediction,
    ):
        text = shape_of(prediction)
    say(f"wrote {out}: {text}")
