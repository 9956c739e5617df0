"""The errors of sciops: each message names the file, variable or axis, what was found, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SciopsError(Exception):
    """Base of every error that sciops raises on purpose. The command line prints it in one line and exits with 2."""


class InputError(SciopsError, ValueError):
    """An argument is not what the function takes: a wrong name, shape, dtype or range."""


class DomainError(InputError):
    """Grids, axes or coordinates do not fit what is asked of them."""


class DataError(SciopsError):
    """A file or data set cannot be used: missing, corrupt, empty, not finite, or without the variable asked for."""


class LayoutError(DataError):
    """No reader recognises the layout of a file, or a declared layout does not fit it."""


class UnsafeFileError(DataError):
    """A file holds what an untrusted file must not: pickles, external links or storage, virtual data sets."""


class ModelError(SciopsError):
    """A saved model cannot be loaded, or a module does not fit the data."""


class TrainingError(SciopsError):
    """Training cannot go on: a loss that is not finite, a run folder that does not fit."""


class SolverError(SciopsError):
    """A solver has no answer: the message says which system failed, why, what to do; `solution` has what there is."""

    def __init__(self, message: str, solution: object = None) -> None:
        super().__init__(message)
        self.solution = solution


class MissingDependencyError(SciopsError, ImportError):
    """An optional library is needed; the message names the extra that installs it."""


class ExtrapolationWarning(UserWarning):
    """Inputs leave the range of the training data."""


class ResolutionWarning(UserWarning):
    """A surrogate is used on a grid that it was not trained on."""


class SkillWarning(UserWarning):
    """A baseline that needs no training is as good as the trained model."""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint ' (did you mean 'a'? there are: a, b)' for a name that is not among the candidates.

    Examples
    --------
    >>> did_you_mean("presure", ["pressure", "velocity"])
    "; did you mean 'pressure'? available: pressure, velocity"
    """
    names = [str(candidate) for candidate in candidates]
    close = difflib.get_close_matches(name, names, n=1)
    guess = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{guess} available: {', '.join(names) or 'none'}"
