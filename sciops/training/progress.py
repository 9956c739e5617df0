"""`ProgressLine`: the one line that tells how far a training is."""

from __future__ import annotations

import time
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class ProgressLine:
    """One line with a bar, numbers of its own and the time left, brought up to date a few times a second.

    Parameters
    ----------
    total
        Where the bar is full.
    before, after
        What stands before and behind the bar; names in braces are filled in by `update`.
    completed
        Where it begins.
    counted
        Whether it shows ``completed/total``; the percentage if not.

    Examples
    --------
    >>> line = ProgressLine(10, after="loss {loss}")
    >>> line.due
    True
    """

    def __init__(
        self, total: float, *, before: str = "", after: str = "", completed: float = 0, counted: bool = True
    ) -> None:
        words = [TextColumn(text.replace("{", "{task.fields[").replace("}", "]}")) for text in (before, after) if text]
        head, tail = (words[:1], words[1:]) if before else ([], words)
        middle = [BarColumn(), MofNCompleteColumn() if counted else TaskProgressColumn()]
        self._bar = Progress(*head, *middle, *tail, TimeRemainingColumn())
        names = [part.split("}")[0] for part in f"{before}{after}".split("{")[1:]]
        empty: dict[str, Any] = dict.fromkeys(names, "")
        self._task = self._bar.add_task("", total=total, completed=int(completed), **empty)
        self._redrawn = 0.0

    @property
    def due(self) -> bool:
        """Whether the last update was some time ago; reading a loss from a device waits for it."""
        return time.monotonic() - self._redrawn > 0.2

    def start(self) -> None:
        """Show the line."""
        self._bar.start()

    def update(self, completed: float, **fields: Any) -> None:
        """Bring it up to date."""
        self._redrawn = time.monotonic()
        self._bar.update(self._task, completed=completed, **fields)

    def stop(self) -> None:
        """Leave it as it is."""
        self._bar.stop()
