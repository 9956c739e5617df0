"""Which channels are the components of a vector or tensor, so that a symmetry can turn them with the axes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from sciops.data.conventions import channel_dim
from sciops.data.conventions.attributes import text
from sciops.data.functions.selection import Channel
from sciops.errors import DomainError, InputError


@dataclass(frozen=True)
class TensorChannels:
    """Channels that are the components of one vector or tensor field, row by row.

    Parameters
    ----------
    rank
        1 for a vector, 2 for a tensor.
    components
        Names of the axes, in the order of the components.
    channels
        Numbers of the channels, ``len(components) ** rank``.

    Raises
    ------
    InputError
        If the numbers do not fit.

    Examples
    --------
    >>> velocity = TensorChannels(1, ("x", "y"), (0, 1))
    >>> turned = velocity.turned((1, 0), (True, False), {"x": 0, "y": 1})
    >>> turned  # of each channel: the one it comes from, and its sign
    [(0, 1, -1), (1, 0, 1)]
    """

    rank: int
    components: tuple[str, ...]
    channels: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "components", tuple(self.components))
        object.__setattr__(self, "channels", tuple(self.channels))
        if self.rank not in (1, 2) or len(self.channels) != len(self.components) ** self.rank:
            raise InputError(
                f"{len(self.channels)} channels do not make a field of rank {self.rank} with the components "
                f"{', '.join(self.components)}"
            )

    def turned(
        self, axes: Sequence[int], mirrored: Sequence[bool], places: Mapping[str, int]
    ) -> list[tuple[int, int, int]]:
        """Of each channel the one it comes from and its sign, where axis d is that called ``axes[d]`` before.

        Components along other axes than those of the grid stay as they are.

        Parameters
        ----------
        axes, mirrored
            As in `sciops.data.functions.symmetry.Symmetry`.
        places
            Numbers of the axes of the grid by name.

        Raises
        ------
        DomainError
            If an axis is exchanged with one along which there is no component.
        """
        where = {places[name]: number for number, name in enumerate(self.components) if name in places}
        source, sign = [], []
        for number, name in enumerate(self.components):
            axis = places.get(name)
            if axis is None:
                source.append(number)
                sign.append(1)
                continue
            if axes[axis] not in where:
                raise DomainError(
                    f"the symmetry exchanges axis {name!r} with one along which the field has no component; it has "
                    f"components along {', '.join(self.components)}"
                )
            source.append(where[axes[axis]])
            sign.append(-1 if mirrored[axis] else 1)
        numbers = range(len(self.components))
        found = []
        for new in itertools.product(numbers, repeat=self.rank):
            old, product = 0, 1
            for part in new:
                old, product = old * len(self.components) + source[part], product * sign[part]
            flat = 0
            for part in new:
                flat = flat * len(self.components) + part
            found.append((self.channels[flat], self.channels[old], product))
        return found

    def to_dict(self) -> dict[str, Any]:
        """JSON-able values; `from_dict` is the inverse."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, entries: Mapping[str, Any]) -> TensorChannels:
        """The channels that `to_dict` described.

        Examples
        --------
        >>> velocity = TensorChannels(1, ("x", "y"), (0, 1))
        >>> TensorChannels.from_dict(velocity.to_dict()) == velocity
        True
        """
        return cls(int(entries["rank"]), tuple(map(str, entries["components"])), tuple(map(int, entries["channels"])))


def turned(t: Tensor, dim: int, moves: Sequence[tuple[int, int, int]]) -> Tensor:
    """The tensor with channels along `dim` taken from others, with a sign; those not named stay.

    Examples
    --------
    >>> turned(torch.tensor([[1.0, 2.0, 3.0]]), 1, [(0, 1, -1), (1, 0, 1)]).tolist()
    [[-2.0, 1.0, 3.0]]
    """
    if all(new == old and sign == 1 for new, old, sign in moves):
        return t
    source, signs = list(range(t.shape[dim])), torch.ones(t.shape[dim], dtype=t.dtype, device=t.device)
    for new, old, sign in moves:
        source[new] = old
        signs[new] = sign
    shape = [1] * t.ndim
    shape[dim] = -1
    return t.index_select(dim, torch.tensor(source, device=t.device)) * signs.view(shape)


def declared_rank(ds: xr.Dataset, name: str) -> tuple[int, tuple[str, ...]] | None:
    """Rank and names of the components of a variable that declares them by ``rank`` and ``components``, or None.

    Examples
    --------
    >>> attributes = {"rank": 1, "components": ["x", "y"]}
    >>> ds = xr.Dataset({"v": (("c", "x"), np.zeros((2, 3)), attributes)}, attrs={"channel_dims": ["c"]})
    >>> declared_rank(ds, "v")
    (1, ('x', 'y'))
    """
    attributes = ds[name].attrs
    rank = np.asarray(attributes.get("rank", 0))
    if rank.size != 1 or rank.dtype.kind not in "iuf" or int(rank.item()) not in (1, 2):
        return None
    given = np.atleast_1d(np.asarray(attributes.get("components", ()), dtype=object)).tolist()
    components = tuple(map(text, given))
    dim = channel_dim(ds, name)
    order = int(rank.item())
    fits = dim is not None and components and int(ds.sizes[dim]) == len(components) ** order
    return (order, components) if fits else None


def tensor_channels(
    channels: Sequence[Channel], ranks: Mapping[str, tuple[int, tuple[str, ...]]]
) -> tuple[TensorChannels, ...]:
    """The vectors and tensors among the channels of x or y: each variable in each frame is one.

    Examples
    --------
    >>> channels = [Channel("v", (0,), 0, True), Channel("v", (1,), 0, True), Channel("p")]
    >>> tensor_channels(channels, {"v": (1, ("x", "y"))})
    (TensorChannels(rank=1, components=('x', 'y'), channels=(0, 1)),)
    """
    groups: dict[tuple[str, int | None], list[int]] = {}
    for number, channel in enumerate(channels):
        if channel.variable in ranks and not channel.face:
            groups.setdefault((channel.variable, channel.frame), []).append(number)
    return tuple(TensorChannels(*ranks[variable], tuple(members)) for (variable, _), members in groups.items())
