"""How loops for the processor are compiled: numba, kept on disk, with the threads that torch has."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import torch
from numba import njit, prange
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["borrowed", "compiled", "prange"]

# sums may be reordered and products fused; NaN and infinity keep their meaning, or a diverging solver would go unseen
_FAST = {"reassoc", "contract", "nsz", "arcp"}
_MOST_THREADS: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]


def compiled(function: Callable[..., Any] | None = None, *, parallel: bool = False, inline: bool = False) -> Any:
    """Compile a function over NumPy arrays.

    Parameters
    ----------
    function
        Loops over arrays.
    parallel
        Whether its ``prange`` loops run on the threads that torch uses. Such a function costs some 20 microseconds
        to start.
    inline
        Whether it always becomes part of its callers: for what is called once for each row with many arrays.

    Examples
    --------
    >>> import numpy as np
    >>> @compiled
    ... def total(x):
    ...     s = 0.0
    ...     for v in x:
    ...         s += v
    ...     return s
    >>> total(np.ones(3))
    3.0
    """
    if function is None:
        return functools.partial(compiled, parallel=parallel, inline=inline)
    on_disk = Path(function.__code__.co_filename).is_file()  # typed into a console, there is nothing to keep it beside
    options: dict[str, Any] = {"cache": on_disk, "fastmath": _FAST, "error_model": "numpy", "nogil": True}
    jitted = njit(function, parallel=parallel, forceinline=inline, **options)
    if not parallel:
        return jitted

    @functools.wraps(function)
    def run(*args: Any) -> Any:
        threads = torch.get_num_threads()
        numba.set_num_threads(min(threads, _MOST_THREADS))
        result = jitted(*args)
        # where the two share one OpenMP library, numba's first parallel call sets the threads of torch to its own
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        return result

    return run


def _borrow(context: Any, array: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        fields = context.make_array(signature.args[0])(context, builder, args[0])
        fields.meminfo = cgutils.get_null_value(fields.meminfo.type)  # type: ignore[no-untyped-call]
        fields.parent = cgutils.get_null_value(fields.parent.type)  # type: ignore[no-untyped-call]
        return fields._getvalue()

    return array(array), generate


borrowed: Any = intrinsic(_borrow)
"""The same array without an owner, for compiled functions that take many short slices.

Every slice of an owned array counts its references by two atomic operations, which takes longer than a row of some tens
of values. What is borrowed must outlive its slices: an argument does, but what a function has made itself is freed
after the last line that names it, so that a function borrows its arguments only.
"""
