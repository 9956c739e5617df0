"""``sciops kernels``: which implementation of each kernel runs on this machine, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from rich.table import Table

from sciops.cli.command import Command, Invocation
from sciops.cli.options import Option
from sciops.cli.shared import console, say_json

_DESCRIPTION = """\
Show which implementation of each kernel runs on this machine, and why. The environment variable
SCIOPS_KERNELS forces one: SCIOPS_KERNELS=reference, or stencil=reference,krylov=cpu for some families."""
_EXAMPLES = """
sciops kernels --json
SCIOPS_KERNELS=reference sciops kernels
"""


def command(words: Sequence[str]) -> Command:
    """The command for these words."""
    options = [Option("json", bool, False, "Print JSON instead of a table.")]
    return Command("kernels", _DESCRIPTION, _EXAMPLES, options, _run)


def _run(call: Invocation) -> None:
    import torch

    from sciops import kernels

    found = kernels.info()
    if call.values["json"]:
        say_json(asdict(found))
        return
    table = Table(
        title=found.machine, title_justify="left", caption_justify="left", box=None, header_style="bold", pad_edge=False
    )
    for heading in ("family", "kernel", "device", "path", "why"):
        table.add_column(heading, overflow="fold")
    before, rows = "", found.rows
    if not torch.cuda.is_available():
        rows = tuple(row for row in rows if row.device != "cuda")
        table.caption = "no CUDA here: the paths on a GPU are left out; --json lists them all"
    for row in rows:
        family = row.family if row.family != before else ""
        before = row.family
        table.add_row(family, row.kernel, row.device, row.path, row.reason)
    console().print(table)
