"""Which frames of a trajectory belong to an item: windows of a length, rollouts, and whole trajectories."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciops.errors import DataError, InputError


def check_whole(option: str, value: Any) -> None:
    """Refuse an option that is no whole number; True and False are none.

    Raises
    ------
    InputError
        Names the option.

    Examples
    --------
    >>> check_whole("history", np.int64(2))
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InputError(f"{option} is {value!r}; expected a whole number")


@dataclass(frozen=True)
class Windows:
    """Frames ``t, t + stride, ...`` of a trajectory: first those of x, then those of y.

    Parameters
    ----------
    history, horizon
        Frames of x and of y; both None: no windows, an item has all frames. Without outputs the horizon is None.
    stride
        Frames between two frames of a window.
    start, every
        The first frame of the first window, and how far the next one starts after it; None: one window.
    rollout
        Whether y is all frames after x up to `horizon` (None: all there are) instead of exactly so many.

    Raises
    ------
    InputError
        If an option is no whole number or out of range, or the options do not go together.

    Examples
    --------
    >>> windows = Windows(history=2, horizon=3, stride=2)
    >>> windows.past.tolist(), windows.future.tolist(), windows.count(12, "u", "flow.h5")
    ([0, 2], [4, 6, 8], 4)
    """

    history: int | None = None
    horizon: int | None = None
    stride: int = 1
    start: int = 0
    every: int | None = 1
    rollout: bool = False

    def __post_init__(self) -> None:
        for option, value, least in (
            ("history", self.history, 1),
            ("rollout" if self.rollout else "horizon", self.horizon, 1),
            ("stride", self.stride, 1),
            ("start", self.start, 0),
            ("every", self.every, 1),
        ):
            if value is None and option not in ("stride", "start"):
                continue
            check_whole(option, value)
            if value is not None and value < least:
                raise InputError(f"{option} is {value}; expected at least {least}")
        given = self.horizon is not None or self.stride != 1 or self.start or self.every != 1 or self.rollout
        if self.history is None and given:
            raise InputError("horizon, stride, start and every describe windows of a trajectory; give history as well")

    @property
    def past(self) -> NDArray[np.int64]:
        """The frames of x after the first one."""
        return np.arange(self.history or 0) * self.stride

    @property
    def future(self) -> NDArray[np.int64]:
        """The frames of y after the first one of x."""
        return ((self.history or 0) + np.arange(self.horizon or 0)) * self.stride

    def fitted(self, frames: int, outputs: Sequence[str]) -> Windows:
        """The windows of trajectories of that many frames: a rollout takes what is left, up to its length."""
        if not self.rollout or not outputs:
            return self
        left = (frames - 1 - self.start) // self.stride + 1 - (self.history or 0)
        length = max(1, left if self.horizon is None else min(self.horizon, left))
        return Windows(self.history, length, self.stride, self.start, self.every)

    def count(self, frames: int, name: str, file: str) -> int:
        """How many windows a trajectory of that many frames has.

        Raises
        ------
        DataError
            If it is too short for one.
        """
        span = ((self.history or 0) + (self.horizon or 0) - 1) * self.stride + 1
        if frames < self.start + span:
            after = f" from frame {self.start}" if self.start else ""
            raise DataError(
                f"{file}: a window of history={self.history}, horizon={self.horizon or 0}, stride={self.stride} spans "
                f"{span} frames{after}, and {name!r} has {frames}; make the window shorter"
            )
        return 1 if self.every is None else (frames - self.start - span) // self.every + 1

    def first(self, number: NDArray[np.int64]) -> NDArray[np.int64]:
        """The first frame of the windows of these numbers."""
        return self.start + number * (self.every or 0)


def windows_of(
    *,
    history: int | None,
    horizon: int | None,
    stride: int,
    rollout: bool | int,
    start: int,
    every: int | None,
    outputs: Sequence[Any],
) -> Windows:
    """The windows that the options of `FunctionDataset` ask for.

    Examples
    --------
    >>> windows_of(history=1, horizon=None, stride=1, rollout=True, start=0, every=None, outputs=["u"]).every is None
    True
    """
    if rollout is None or (isinstance(rollout, bool | np.bool_) and not rollout):
        if history is not None and horizon is None and outputs:
            horizon = 1
        return Windows(history, horizon, stride, start, 1 if every is None else every)
    if horizon is not None:
        raise InputError(f"horizon={horizon} and rollout={rollout} both say how many frames y has; give one of them")
    length = None if isinstance(rollout, bool | np.bool_) else rollout
    return Windows(1 if history is None else history, length, stride, start, every, rollout=True)
