"""Learned preconditioners: trained on a family of operators, then set up for any operator like those."""

from __future__ import annotations

from sciops.preconditioners import families
from sciops.preconditioners.adapters import to_petsc, to_scipy
from sciops.preconditioners.base import LearnedPreconditioner, OperatorFamily, TrainingRecord, registry
from sciops.preconditioners.dcdm import DCDM
from sciops.preconditioners.families import DiffusionFamily
from sciops.preconditioners.lanczos import RitzVectors, ritz_vectors
from sciops.preconditioners.multigrid import LearnedMultigrid
from sciops.preconditioners.neural import NeuralPreconditioner
from sciops.preconditioners.saving import load
from sciops.preconditioners.training import train

__all__ = [
    "DCDM",
    "DiffusionFamily",
    "LearnedMultigrid",
    "LearnedPreconditioner",
    "NeuralPreconditioner",
    "OperatorFamily",
    "RitzVectors",
    "TrainingRecord",
    "families",
    "load",
    "registry",
    "ritz_vectors",
    "to_petsc",
    "to_scipy",
    "train",
]
