"""Coordinates as channels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from sciops.kernels.fourier import unit_nodes


def coordinate_channels(
    sizes: Sequence[int], kinds: Sequence[str], *, periodic: bool, others: bool, like: Tensor
) -> Tensor | None:
    r"""The coordinates of a grid as channels that every sample shares.

    A non-periodic axis gives its coordinate in units of its extent, mapped to [-1, 1]; a periodic axis gives
    :math:`\cos 2\pi s` and :math:`\sin 2\pi s`, which are continuous across its end.

    Parameters
    ----------
    sizes
        Number of nodes of each axis.
    kinds
        Kind of each axis: "periodic", "closed", "cell" or "left".
    periodic, others
        Whether periodic axes, and the others, give channels.
    like
        Tensor whose dtype and device the channels take.

    Returns
    -------
    Tensor or None
        (channel, *sizes), or None if there is no channel.

    Examples
    --------
    >>> coordinate_channels([3, 4], ["closed", "periodic"], periodic=False, others=True, like=torch.zeros(1))[0, :, 0]
    tensor([-1.,  0.,  1.])
    """
    channels = []
    for i, (size, kind) in enumerate(zip(sizes, kinds, strict=True)):
        s = unit_nodes(size, kind, like.device)
        values = []
        if kind == "periodic" and periodic:
            values = [torch.cos(2 * math.pi * s), torch.sin(2 * math.pi * s)]
        elif kind != "periodic" and others:
            values = [2 * s - 1]
        shape = [1] * len(sizes)
        shape[i] = -1
        channels += [value.view(shape).expand(*sizes) for value in values]
    return torch.stack(channels).to(like.dtype) if channels else None


def coordinate_count(kinds: Sequence[str], *, periodic: bool, others: bool) -> int:
    """Number of channels that `coordinate_channels` gives.

    Examples
    --------
    >>> coordinate_count(["closed", "periodic"], periodic=True, others=True)
    3
    """
    return sum(2 * periodic if kind == "periodic" else int(others) for kind in kinds)
