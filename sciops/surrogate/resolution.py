"""On a grid that a surrogate was not trained on: apply the operator there, or interpolate from the training grid?"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.data.domains.interpolation import resample
from sciops.errors import InputError, ModelError, ResolutionWarning, SciopsError, did_you_mean
from sciops.training.metrics import relative_l2

Choice = Literal["native", "interpolation"]
Resolution = Literal["auto", "native", "interpolation"]
Apply = Callable[..., Tensor]
"""From inputs (batch, channel, *space), parameters or None, and a mask or nothing, to outputs."""

_NODES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class ResolutionCheck:
    """Validation errors of the two ways to use a surrogate away from its training grid.

    Parameters
    ----------
    native
        Relative L2 error when the operator is applied on the other grid; None if it cannot be.
    interpolation
        The same when the input is resampled to the training grid and the prediction back.
    """

    native: float | None
    interpolation: float

    @property
    def choice(self) -> Choice:
        """The way with the smaller error."""
        return "native" if self.native is not None and self.native <= self.interpolation else "interpolation"

    def __str__(self) -> str:
        native = "not possible" if self.native is None else f"{self.native:.4g}"
        return f"validation error {native} native, {self.interpolation:.4g} interpolated"


@dataclass(frozen=True)
class ResolutionPolicy:
    """Which way is better on finer and on coarser grids, measured on the validation fields; see `measure`.

    Parameters
    ----------
    finer, coarser
        Measured at twice and at half the resolution of the training grid; None where it could not be measured.

    Examples
    --------
    >>> policy = ResolutionPolicy(ResolutionCheck(0.2, 0.1), None)
    >>> policy.choose(Grid.unit(64), Grid.unit(32)), policy.choose(Grid.unit(16), Grid.unit(32))
    ('interpolation', 'native')
    """

    finer: ResolutionCheck | None
    coarser: ResolutionCheck | None

    def choose(self, grid: Grid, training: Grid) -> Choice:
        """What to do on `grid`: native on the training grid and where nothing was measured."""
        check = self.check(grid, training)
        return "native" if check is None else check.choice

    def check(self, grid: Grid, training: Grid) -> ResolutionCheck | None:
        """The measurement that stands for `grid`, or None; where it is finer and coarser, the larger errors of both."""
        if grid.shape == training.shape:
            return None
        pairs = list(zip(grid.shape, training.shape, strict=True))
        if all(size >= known for size, known in pairs):
            return self.finer
        if self.finer is None or all(size <= known for size, known in pairs):
            return self.coarser
        if self.coarser is None:
            return self.finer
        native = None
        if self.finer.native is not None and self.coarser.native is not None:
            native = max(self.finer.native, self.coarser.native)
        return ResolutionCheck(native, max(self.finer.interpolation, self.coarser.interpolation))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; `from_dict` is the inverse."""
        return {name: None if check is None else asdict(check) for name, check in vars(self).items()}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Mapping[str, float | None] | None]) -> ResolutionPolicy:
        """The policy that `to_dict` wrote."""
        checks = {name: None if check is None else _check_from(check) for name, check in entries.items()}
        return cls(**checks)


def chosen(resolution: Resolution, policy: ResolutionPolicy, *, grid: Grid, training: Grid) -> Choice:
    """What to do on `grid`: as asked, or by the policy, with a warning that says why.

    Raises
    ------
    InputError
        If `resolution` is none of the words.

    Warns
    -----
    ResolutionWarning
        Where the policy chose.
    """
    words = get_args(Resolution)
    if resolution not in words:
        raise InputError(f"unknown resolution {resolution!r}{did_you_mean(str(resolution), words)}")
    if grid.shape == training.shape:
        return "native"
    if resolution != "auto":
        return resolution
    choice, check = policy.choose(grid, training), policy.check(grid, training)
    how = "applied on it" if choice == "native" else "applied on the training grid and interpolated"
    why = str(check or "it could not be measured in validation which way is better")
    size, known = (" x ".join(map(str, g.shape)) for g in (grid, training))
    warnings.warn(
        f"the grid {size} is not the training grid {known}: the operator is {how} ({why})",
        ResolutionWarning,
        stacklevel=3,
    )
    return choice


def through(grid: Grid, training: Grid, apply: Apply) -> Apply:
    """The operator on `grid` that resamples to the training grid, applies there, and resamples back."""

    def interpolated(x: Tensor, parameters: Tensor | None, mask: Tensor | None = None) -> Tensor:
        if mask is not None:
            raise InputError("masked fields are not interpolated to the training grid; use resolution='native'")
        return resample(apply(resample(x, grid, training), parameters), training, grid)

    return interpolated


def measure(apply: Apply, x: Tensor, y: Tensor, parameters: Tensor | None, *, grid: Grid) -> ResolutionPolicy:
    r"""Compare the two ways on validation fields of the training grid.

    Coarser: inputs and outputs are resampled to half the resolution, and both ways are compared with that output.

    Finer, native: the inputs are resampled to twice the resolution; there the operator acts, and its output is compared
    with the known one at the nodes of the training grid. Finer, interpolated: the error on the training grid plus half
    of what going through the next coarser grid adds there. Fields measured at a finer resolution have details that
    resampling to the training grid loses; no validation field shows how much, but the loss one level below does, and it
    halves from level to level for a method of first order.

    Parameters
    ----------
    apply
        The operator between physical fields, at any resolution.
    x, y, parameters
        Validation fields (n, channel, *space) on `grid`.
    grid
        The training grid.
    """
    fine = grid.resized(*(2 * axis.size - (axis.kind == "closed") for axis in grid.axes))
    size = max(1, _NODES_AT_ONCE // math.prod(fine.shape))
    finer: list[_Errors] = []
    coarser: list[_Errors] = []
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        p = None if parameters is None else parameters[part]
        finer.append(_finer(apply, x[part], y[part], p, grid, fine))
        if min(grid.shape) >= 8:
            coarser.append(_coarser(apply, x[part], y[part], p, grid))
    below = _joined(coarser)
    return ResolutionPolicy(_with_lost_details(_joined(finer), below), below)


_Errors = tuple[Tensor | None, Tensor]


def _finer(apply: Apply, x: Tensor, y: Tensor, parameters: Tensor | None, grid: Grid, fine: Grid) -> _Errors:
    outcome = _tried(apply, resample(x, grid, fine), parameters)
    native = None if outcome is None else relative_l2(resample(outcome, fine, grid), y, grid)
    return native, relative_l2(apply(x, parameters), y, grid)


def _with_lost_details(finer: ResolutionCheck | None, below: ResolutionCheck | None) -> ResolutionCheck | None:
    """The finer check, with what interpolation loses there estimated from the level below; see `measure`."""
    if finer is None or below is None:
        return finer
    return ResolutionCheck(finer.native, finer.interpolation + max(0.0, below.interpolation - finer.interpolation) / 2)


def _coarser(apply: Apply, x: Tensor, y: Tensor, parameters: Tensor | None, grid: Grid) -> _Errors:
    sizes = (axis.size // 2 + (axis.size % 2 if axis.kind == "closed" else 0) for axis in grid.axes)
    coarse = grid.resized(*sizes)
    small_x, small_y = resample(x, grid, coarse), resample(y, grid, coarse)
    outcome = _tried(apply, small_x, parameters)
    native = None if outcome is None else relative_l2(outcome, small_y, coarse)
    return native, relative_l2(through(coarse, grid, apply)(small_x, parameters), small_y, coarse)


def _joined(parts: list[_Errors]) -> ResolutionCheck | None:
    """The mean errors over all parts; None if nothing was measured, or the interpolated prediction is not finite."""
    if not parts:
        return None
    interpolation = float(torch.cat([part[1] for part in parts]).mean())
    measured = [native for native, _ in parts if native is not None]
    native = float(torch.cat(measured).mean()) if len(measured) == len(parts) else None
    return ResolutionCheck(native, interpolation) if math.isfinite(interpolation) else None


def _check_from(entries: Mapping[str, float | None]) -> ResolutionCheck:
    try:
        native, interpolation = entries["native"], entries["interpolation"]
        return ResolutionCheck(None if native is None else float(native), float(interpolation or 0.0))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"the resolution policy of the surrogate is damaged ({error})") from error


def _tried(apply: Apply, x: Tensor, parameters: Tensor | None) -> Tensor | None:
    """The output at another resolution, or None from a model that has only one."""
    try:
        outcome = apply(x, parameters)
    except (RuntimeError, ValueError, SciopsError):
        return None
    return outcome if outcome.shape[2:] == x.shape[2:] and bool(torch.isfinite(outcome).all()) else None
