"""``sciops simulate``: solve an equation for a random ensemble and write the data set."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path

from sciops.cli.command import Command, Invocation
from sciops.cli.options import Option, options_of
from sciops.cli.shared import progress, require_target, say, shape_of
from sciops.errors import InputError
from sciops.solvers.pde import simulate, simulators

_DESCRIPTION = """\
Solve a differential equation for a random ensemble of inputs, and write inputs and solutions to a
netCDF4/HDF5 file, with an estimate of the numerical error in it. Sample i is the same however many are
asked for, and the same function of space at every resolution.

simulators (sciops simulate NAME --help lists their options):"""
_EXAMPLES = """
sciops simulate darcy darcy.h5 --samples 200 --resolution 32
sciops simulate burgers burgers.h5 --samples 64 --resolution 128 --lowest-viscosity 0.02 --frames 11
"""
_HELP = {
    "samples": {"help": "How many members of the ensemble."},
    "resolution": {"help": "How many grid points along each axis."},
    "overwrite": {"help": "Replace an existing file."},
}


def command(words: Sequence[str]) -> Command:
    """The command for these words: with the options of the simulator where the first one names it."""
    shared = [
        Option("out", Path, positional=True, help="The netCDF4/HDF5 file to write."),
        *options_of(simulate, skip={"simulator", "path"}, changes=_HELP),
    ]
    name = Option("name", str, positional=True, help="Short name of the simulator.")
    if words and not words[0].startswith("-"):
        simulator = simulators[words[0]]
        own = options_of(simulator, group=f"options of {words[0]}")
        title = f"{_first_line(simulator)}\n\n{_DESCRIPTION.partition(chr(10) * 2)[0]}"
        return Command("simulate", title, _EXAMPLES, [name, *shared, *own], _run)
    if not set(words) & {"-h", "--help"}:
        raise InputError(f"simulate: the name of a simulator comes first, one of {', '.join(simulators)}")
    listed = "".join(f"\n  {known:<10}{_first_line(simulator)}" for known, simulator in simulators.items())
    return Command("simulate", _DESCRIPTION + listed, _EXAMPLES, [name, *shared], _run)


def _run(call: Invocation) -> None:
    import sciops.data

    shared = ("samples", "resolution", "seed", "overwrite")
    own = {key: value for key, value in call.values.items() if key not in (*shared, "name", "out")}
    simulator, out = simulators[call.values["name"]](**own), call.values["out"]
    require_target(out, overwrite=call.values["overwrite"])
    with progress().status(f"simulating {call.values['name']}"):
        simulate(simulator, out, **{key: call.values[key] for key in shared})
    with sciops.data.open(out) as ds:
        error = f"{ds.attrs['error_estimate']:.1e} ({ds.attrs['error_estimate_kind']})"
        say(f"wrote {out}: {shape_of(ds)}\nestimated error {error}")


def _first_line(simulator: type) -> str:
    return (inspect.getdoc(simulator) or "").split("\n\n")[0].replace("`", "").replace("\n", " ")
