"""One-dimensional PDEBench trajectories: ``tensor`` (b, t, x) and its coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sciops.data.writing.writers import Plan, Source, register

__all__ = ["time_edges"]


@register("pdebench-1d")
def pdebench_1d(source: Source) -> Plan:
    """The variable ``tensor``; ``beta``, ``Nu`` and ``rho`` become attributes, ``t-coordinate`` is one longer."""
    arrays = {
        "tensor": source.array("tensor", ("sample", "time", "x")),
        "x-coordinate": source.line("x"),
        "t-coordinate": time_edges(source.line("time")),
    }
    return Plan(arrays, source.numbers(("beta", "Nu", "rho", "Rho")))


def time_edges(times: NDArray[np.number]) -> NDArray[np.number]:
    """The times and one more, a step after the last, as PDEBench keeps the edges of its steps.

    Examples
    --------
    >>> time_edges(np.array([0.0, 0.5])).tolist()
    [0.0, 0.5, 1.0]
    """
    step = times[-1] - times[-2] if len(times) > 1 else times.dtype.type(1)
    return np.append(times, times[-1] + step)
