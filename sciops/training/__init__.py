"""Training: losses, metrics, baselines, and `train`, which takes modules and never names.

The names are resolved when first used, so that losses, metrics and baselines do not load Lightning.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_NAMES = {
    "OperatorData": "data_module",
    "OperatorModule": "module",
    "Optimisation": "module",
    "RelativeH1": "losses",
    "RelativeL2": "losses",
    "PhysicalOperator": "physical",
    "Rollout": "physical",
    "SkillTable": "skill",
    "Snapshots": "snapshots",
    "TrainingResult": "run",
    "baseline_errors": "baselines",
    "metrics": "metrics",
    "skill_table": "skill",
    "train": "run",
}
__all__ = [
    "OperatorData",
    "OperatorModule",
    "Optimisation",
    "PhysicalOperator",
    "RelativeH1",
    "RelativeL2",
    "Rollout",
    "SkillTable",
    "Snapshots",
    "TrainingResult",
    "baseline_errors",
    "metrics",
    "skill_table",
    "train",
]

if TYPE_CHECKING:
    from sciops.training import metrics
    from sciops.training.baselines import baseline_errors
    from sciops.training.data_module import OperatorData
    from sciops.training.losses import RelativeH1, RelativeL2
    from sciops.training.module import OperatorModule, Optimisation
    from sciops.training.physical import PhysicalOperator, Rollout
    from sciops.training.run import TrainingResult, train
    from sciops.training.skill import SkillTable, skill_table
    from sciops.training.snapshots import Snapshots


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'sciops.training' has no attribute {name!r}")
    module = importlib.import_module(f"sciops.training.{_NAMES[name]}")
    return module if name == "metrics" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
