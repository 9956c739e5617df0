"""How the variables of one role become channels: order, frames, names, and the stacked array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sciops.data.functions.loading import empty
from sciops.data.functions.selection import Channel
from sciops.data.functions.windows import Windows
from sciops.data.reading.source import VariableSource


@dataclass(frozen=True)
class Part:
    """One variable of a role and its frames.

    Parameters
    ----------
    name
        Name in the file.
    source
        Where it is read.
    offsets
        Frames that belong to the role, after the first one of the item.
    places
        Their places among the frames that are read of the variable.
    """

    name: str
    source: VariableSource
    offsets: NDArray[np.int64]
    places: slice


@dataclass(frozen=True)
class Stacking:
    """The variables of x, of y or of the parameters, and the order of their channels.

    In windows, variables with time alternate frame by frame and come first; else every variable has all its frames.

    Parameters
    ----------
    parts
        The variables, in the order asked for.
    windows
        The windows of the items.
    alternate
        Whether variables with time alternate; else all stand in the order asked for, as parameters do.

    Examples
    --------
    >>> Stacking((), Windows()).channels
    ()
    """

    parts: tuple[Part, ...]
    windows: Windows
    alternate: bool = True

    @property
    def groups(self) -> list[list[Part]]:
        """The variables in the order of the channels; those of one group alternate frame by frame."""
        if self.windows.history is None or not self.alternate:
            return [[part] for part in self.parts]
        moving = [part for part in self.parts if part.source.timed]
        still = [[part] for part in self.parts if not part.source.timed]
        return [moving, *still] if moving else still

    @property
    def count(self) -> int:
        """Number of channels."""
        return sum(len(part.offsets) * part.source.channels for part in self.parts)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What each channel is."""
        windowed = self.windows.history is not None
        last = int(self.windows.past[-1]) if windowed else 0
        found = []
        for group in self.groups:
            for offset in group[0].offsets.tolist():
                for part in group:
                    frame = (offset - last) // self.windows.stride if part.source.timed else None
                    for component in np.ndindex(part.source.component_shape):
                        found.append(Channel(part.name, component, frame, windowed and frame is not None))
        return tuple(found)

    def stacked(
        self, values: Mapping[str, NDArray[Any]], shape: Sequence[int], dtype: type[np.floating[Any]]
    ) -> NDArray[Any]:
        """The channels (b, channel, *shape) of what was read: (b, frame, component, *shape) by variable."""
        arrays = []
        for group in self.groups:
            chosen = [values[part.name][:, part.places] for part in group]
            joined = chosen[0] if len(chosen) == 1 else np.concatenate(chosen, axis=2)
            arrays.append(joined.reshape(len(joined), joined.shape[1] * joined.shape[2], *shape))
        out = empty((len(arrays[0]), sum(array.shape[1] for array in arrays), *shape), dtype)
        return np.concatenate(arrays, axis=1, out=out, casting="unsafe")


def spread_over(values: NDArray[Any], dims: Sequence[str], space: Sequence[str], shape: Sequence[int]) -> NDArray[Any]:
    """Values (b, channel, *dims) on some dimensions of space as (b, channel, *shape), the same along the others.

    The result is a view of the values, not to be written to.

    Examples
    --------
    >>> spread_over(np.array([[[7, 8]]]), ["y"], ["x", "y"], (3, 2))[0, 0].tolist()
    [[7, 8], [7, 8], [7, 8]]
    """
    sizes = [size if dim in dims else 1 for dim, size in zip(space, shape, strict=True)]
    return np.broadcast_to(values.reshape(*values.shape[:2], *sizes), (*values.shape[:2], *shape))
