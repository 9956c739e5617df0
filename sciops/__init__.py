"""sciops: operator learning and scientific machine learning on one function-space layer.

The public names are resolved when first used, so that ``import sciops`` is quick and loads neither
Lightning nor matplotlib.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_MODULES = ("data", "kernels", "layers", "operators", "plotting", "preconditioners", "solvers", "training")
_NAMES = {
    "Surrogate": "sciops.surrogate",
    "fit": "sciops.surrogate",
    "load": "sciops.surrogate",
    "SciopsError": "sciops.errors",
}
__all__ = ["SciopsError", "Surrogate", "__version__", "data", "fit", "kernels", "layers", "load", "operators",
           "plotting", "preconditioners", "solvers", "training"]  # fmt: skip

if TYPE_CHECKING:
    from sciops import data, kernels, layers, operators, plotting, preconditioners, solvers, training
    from sciops.errors import SciopsError
    from sciops.surrogate import Surrogate, fit, load


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"sciops.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'sciops' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
