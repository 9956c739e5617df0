"""Which process this one is, told from the environment, before anything is started."""

from __future__ import annotations

import os

_VARIABLES = ("RANK", "SLURM_PROCID", "LOCAL_RANK")


def is_first_process() -> bool:
    """Whether this process has rank 0 among all that were started together; alone, it has.

    The number is read from ``RANK`` (torchrun), else ``SLURM_PROCID`` (srun), else ``LOCAL_RANK``. Only the first
    process should write files and reports that the processes share.

    Returns
    -------
    bool

    Examples
    --------
    >>> is_first_process()
    True
    """
    values = (os.environ.get(name, "").strip() for name in _VARIABLES)
    return next((value for value in values if value), "0") == "0"
