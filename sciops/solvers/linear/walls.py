"""What stands on the sides of a grid and on the walls of obstacles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.errors import InputError, did_you_mean
from sciops.kernels.diffusion import Side

Sides = tuple[tuple[Side, Side], ...]


def boundary_sides(boundary: Any, d: int, grid: Grid | None) -> Sides:
    """The boundary as a pair (lower, upper) for each axis; periodic where the grid is."""
    each = [boundary] * d if isinstance(boundary, (str, int, float)) else list(boundary)
    if len(each) != d:
        raise InputError(f"the boundary {boundary!r} has {len(each)} axes, expected {d}")
    sides = []
    for a, side in enumerate(each):
        pair: tuple[Side, Side] = (side, side) if isinstance(side, (str, int, float)) else tuple(side)
        if grid is not None:
            periodic = grid.axes[a].kind == "periodic"
            if periodic and isinstance(boundary, (str, int, float)):
                pair = ("periodic", "periodic")
            if periodic != (pair == ("periodic", "periodic")):
                raise InputError(f"axis {grid.axes[a].name!r} is {grid.axes[a].kind}, but its boundary is {pair}")
        sides.append(pair)
    return tuple(sides)


def boundary_source(k: Tensor, spacing: Sequence[float], sides: Sides, values: Any) -> Tensor | None:
    """What values on the boundary add to the right-hand side, (batch, *space); None if all are 0."""
    d = len(spacing)
    each = list(values) if isinstance(values, (list, tuple)) else [values] * d
    if len(each) != d:
        raise InputError(f"the boundary values have {len(each)} axes, expected {d}")
    total = None
    for axis, ((kinds, h), given) in enumerate(zip(zip(sides, spacing, strict=True), each, strict=True)):
        pair = tuple(given) if isinstance(given, (list, tuple)) else (given, given)
        c = k[:, axis] if k.ndim == d + 2 else k
        n = c.shape[axis + 1]
        for end, (kind, value) in enumerate(zip(kinds, pair, strict=True)):
            if isinstance(value, (int, float)) and value == 0:
                continue
            if kind == "periodic":
                if isinstance(given, (list, tuple)) or not isinstance(value, (int, float)) or len(each) == 1:
                    raise InputError(f"axis {axis} is periodic and has no boundary that a value could stand on")
                continue
            face = c.narrow(axis + 1, (n - 1) * end, 1)
            g = torch.as_tensor(value, dtype=k.dtype, device=k.device)
            g = g if g.ndim == 0 else g.unsqueeze(axis - d + 1 + g.ndim if axis < d - 1 else g.ndim)
            added = _weight(face, h, kind) * g
            part = torch.nn.functional.pad(added.movedim(axis + 1, -1), (0, n - 1) if end == 0 else (n - 1, 0)).movedim(
                -1, axis + 1
            )
            total = part if total is None else total + part
    return total


def _weight(k: Tensor, h: float, side: Side) -> Tensor:
    """What a value on the face is multiplied by in the row of its cell."""
    half = 2 * k / h
    if side in ("dirichlet", float("inf")):
        return half / h
    if side == "neumann" or side == 0:
        return torch.full_like(k, 1 / h)
    # the value on the face is eliminated from half (u_f - u) + alpha u_f = g
    return half / (half + float(side)) / h


def walls(
    diagonal: Tensor, k: Tensor, mask: Tensor, spacing: Sequence[float], sides: Sides, obstacle: str
) -> tuple[Tensor, Tensor]:
    """The diagonal with the walls of obstacles and 1 in them, and the mask without the cells that nothing reaches."""
    kinds = ("neumann", "dirichlet")
    if obstacle not in kinds:
        raise InputError(f"unknown kind of obstacle {obstacle!r}{did_you_mean(str(obstacle), kinds)}")
    if obstacle == "dirichlet":
        d = len(spacing)
        for a, (h, (lower, _)) in enumerate(zip(spacing, sides, strict=True)):
            c = k[:, a] if k.ndim == d + 2 else k
            for shift, end in ((1, 0), (-1, mask.shape[a] - 1)):
                closed = ~mask.roll(shift, a)
                if lower != "periodic":  # beyond the grid is no obstacle
                    edge = torch.arange(mask.shape[a], device=mask.device) == end
                    closed = closed & ~edge.view(-1, *(1,) * (d - a - 1))
                diagonal = diagonal + torch.where(closed & mask, 2 * c / h**2, 0.0)
    mask = mask & (diagonal != 0).any(0)
    return torch.where(mask, diagonal, 1.0), mask
