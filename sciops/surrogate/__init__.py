"""Surrogates: a trained operator with everything needed to use it on files; made by `fit`, read by `load`."""

from sciops.surrogate.evaluation import Evaluation
from sciops.surrogate.fitting import fit
from sciops.surrogate.saving import load
from sciops.surrogate.surrogate import Surrogate

__all__ = ["Evaluation", "Surrogate", "fit", "load"]
