"""Continuation of fields beyond their grid, by the kind of each axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_axes(x: Tensor, widths: Sequence[tuple[int, int]], kinds: Sequence[str]) -> Tensor:
    """Continue the last axes of a field: around the period on a periodic axis, by zeros on any other.

    Parameters
    ----------
    x
        Field (..., *space).
    widths
        Nodes to add before and after, for each of the last axes.
    kinds
        Kind of each of these axes: "periodic", "closed", "cell" or "left".

    Returns
    -------
    Tensor
        (..., *larger space).

    Examples
    --------
    >>> pad_axes(torch.tensor([1.0, 2.0, 3.0]), [(1, 2)], ["periodic"])
    tensor([3., 1., 2., 3., 1., 2.])
    >>> pad_axes(torch.tensor([1.0, 2.0]), [(1, 1)], ["closed"])
    tensor([0., 1., 2., 0.])
    """
    zeros: list[int] = []
    for i, ((before, after), kind) in enumerate(zip(widths, kinds, strict=True)):
        dim = x.ndim - len(kinds) + i
        size = x.shape[dim]
        if kind != "periodic":
            zeros = [before, after, *zeros]
            continue
        zeros = [0, 0, *zeros]
        if max(before, after) > size:
            x = x.index_select(dim, torch.arange(-before, size + after, device=x.device) % size)
        elif before or after:
            parts = (x.narrow(dim, size - before, before), x, x.narrow(dim, 0, after))
            x = torch.cat(parts, dim)
    return torch.nn.functional.pad(x, zeros) if any(zeros) else x
