"""Darcy flow of PDEBench: ``nu`` (b, x, y) and ``tensor`` (b, 1, x, y)."""

from __future__ import annotations

from sciops.data.writing.writers import Plan, Source, register


@register("pdebench-darcy")
def pdebench_darcy(source: Source) -> Plan:
    """The variables ``nu`` and ``tensor`` on one grid; the load ``beta`` becomes an attribute."""
    arrays = {
        "nu": source.array("nu", ("sample", "x", "y")),
        "tensor": source.array("tensor", ("sample", None, "x", "y")),
        "x-coordinate": source.line("x"),
        "y-coordinate": source.line("y"),
    }
    return Plan(arrays, source.numbers(("beta",)))
