"""Compressible flow of PDEBench: ``density``, ``pressure`` and velocities (b, t, x[, y[, z]])."""

from __future__ import annotations

from typing import Any

from sciops.data.writing.writers import Plan, Source, register
from sciops.data.writing.writers.pdebench_1d import time_edges


@register("pdebench-flow")
def pdebench_flow(source: Source) -> Plan:
    """The variables ``density``, ``pressure``, ``Vx``, ``Vy``, ``Vz``, as many as there are directions."""
    space = ("x", "y", "z")[: max(1, len(source.space("density")))]
    fields = ("density", "pressure", *(f"V{dim}" for dim in space))
    arrays: dict[str, Any] = {name: source.array(name, ("sample", "time", *space)) for name in fields}
    arrays |= {f"{dim}-coordinate": source.line(dim) for dim in space}
    arrays["t-coordinate"] = time_edges(source.line("time"))
    return Plan(arrays, source.numbers(("eta", "zeta", "M")))
