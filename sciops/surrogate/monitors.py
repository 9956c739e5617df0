"""What is watched while a prediction is made: inputs that leave the training range, outputs that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sciops.data.functions.statistics import Statistics
from sciops.surrogate.description import Description


class RangeMonitor:
    """Watches whether inputs leave the range of the training data by more than a part of its width."""

    def __init__(self, description: Description) -> None:
        self._known = {"x": description.statistics.x, "parameters": description.statistics.parameters}
        self._worst: tuple[float, str] = (0.0, "")

    def see(self, batch: dict[str, Tensor], first_sample: int) -> None:
        """Look at one batch, whose first item is sample `first_sample`."""
        for role, statistics in self._known.items():
            if statistics is None or role not in batch:
                continue
            values = batch[role].double()
            if role == "x":
                if "mask" in batch:
                    usual = statistics.mean.view(-1, *(1,) * (values.ndim - 2))
                    values = torch.where(batch["mask"], values, usual)
                values = values.flatten(2)
            self._compare(values, statistics, first_sample)

    def _compare(self, values: Tensor, known: Statistics, first_sample: int) -> None:
        low, high = (values.amin(-1), values.amax(-1)) if values.ndim == 3 else (values, values)
        width = torch.where(known.maximum > known.minimum, known.maximum - known.minimum, known.maximum.abs() + 1e-30)
        beyond = torch.maximum((known.minimum - low) / width, (high - known.maximum) / width)
        largest, where = beyond.flatten().max(0)
        if float(largest) > max(0.05, self._worst[0]):
            sample, channel = divmod(int(where), beyond.shape[1])
            under = known.minimum[channel] - low[sample, channel] > high[sample, channel] - known.maximum[channel]
            value = float((low if under else high)[sample, channel])
            self._worst = (
                float(largest),
                f"{known.names[channel]} reaches {value:.4g} in sample {first_sample + sample}, and training saw "
                f"{float(known.minimum[channel]):.4g} to {float(known.maximum[channel]):.4g}",
            )

    @property
    def message(self) -> str | None:
        """What to warn of, or None."""
        if not self._worst[1]:
            return None
        return (
            f"outside the training range: {self._worst[1]}; the prediction is an extrapolation without its error bound"
        )


class FiniteMonitor:
    """Watches whether predictions are finite."""

    def __init__(self, description: Description, *, steps: int) -> None:
        self._variables, self._steps = description.variables, steps
        self._count, self._first = 0, ""

    def see(self, values: NDArray[Any], first_sample: int) -> None:
        """Look at one batch of predictions (b, steps * channel, *space), whose first item is sample `first_sample`."""
        wrong = ~np.isfinite(values.reshape(len(values), self._steps, -1, *values.shape[2:]))
        count = int(wrong.sum())
        if count and not self._count:
            item, step, channel = (int(index) for index in np.argwhere(wrong)[0][:3])
            self._first = f"{self._place(step, channel)}of sample {first_sample + item}"
        self._count += count

    def _place(self, step: int, channel: int) -> str:
        """The variable of a channel and, where it has time, the frame."""
        for variable in self._variables:
            if channel < variable.channels:
                frame = step + channel // (variable.channels // (variable.frames or 1))
                timed = self._steps > 1 or variable.frames is not None
                return f"{variable.name} in frame {frame} " if timed else f"{variable.name} "
            channel -= variable.channels
        raise AssertionError(f"no output variable has channel {channel}")

    @property
    def message(self) -> str | None:
        """What to warn of, or None."""
        if not self._count:
            return None
        return (
            f"the prediction is not finite: {self._count} values are NaN or infinite, first in {self._first}; "
            f"the inputs or the number of steps are beyond what the surrogate can do"
        )
