"""Weights of prolongation: linear between cell centres, and such that follow the operator; see :mod:`.transfer`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.stencil import _apply_reference, require_axes, require_operator

if TYPE_CHECKING:
    from jaxtyping import Float


def linear_weights(
    space: Sequence[int],
    boundary: str | Sequence[str] = "neumann",
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> Float[Tensor, "2 total"]:
    """The weights of linear interpolation between cell centres, axis by axis.

    Parameters
    ----------
    space
        The numbers of fine cells.
    boundary
        What happens beyond the ends, for all axes or for each: "dirichlet" (zero on the face), "neumann" (constant) or
        "periodic".
    dtype, device
        Of the result.

    Returns
    -------
    Tensor
        Two rows, for each cell of each axis the weight of its own coarse cell and that of the neighbour.

    Raises
    ------
    InputError
        For another boundary, or not one for each axis.

    Examples
    --------
    >>> linear_weights([4])
    tensor([[1.0000, 0.7500, 0.7500, 1.0000],
            [0.0000, 0.2500, 0.2500, 0.0000]])
    """
    kinds = [boundary] * len(space) if isinstance(boundary, str) else list(boundary)
    if len(kinds) != len(space):
        raise InputError(f"{len(kinds)} boundaries are given for {len(space)} axes")
    if min(space, default=0) < 1:
        raise InputError(f"a grid of {' x '.join(map(str, space)) or 'no'} cells; every axis has at least one")
    columns = []
    for n, kind in zip(space, kinds, strict=True):
        if kind not in ("dirichlet", "neumann", "periodic"):
            raise InputError(f"unknown boundary {kind!r} of a linear prolongation; dirichlet, neumann or periodic")
        columns.append(_linear_axis(n, kind))
    return torch.cat(columns, 1).to(device, dtype)


def interpolation_weights(
    diagonal: Float[Tensor, " batch *space"], coupling: Float[Tensor, "batch d *space"]
) -> Float[Tensor, "batch corner *space"]:
    r"""Weights of prolongation that follow the operator: the flux between coarse centres is constant, axis by axis.

    Between a fine cell and the centre of its own coarse cell lies half the resistance 1/w to its twin, and between it
    and the centre of the neighbour the resistance of the common face and half of that inside the neighbour. What the
    diagonal of a cell at the end of an axis has beyond its couplings is a path to zero. Where all couplings are equal
    this is linear interpolation. The weights of an axis are positive and add up to at most one, those of a cell are
    products over the axes.

    Parameters
    ----------
    diagonal, coupling
        D and w of :mod:`sciops.kernels.stencil`.

    Returns
    -------
    Tensor
        W of shape (batch, 2^d, *space), differentiable.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    References
    ----------
    J. Dendy, "Black box multigrid", J. Comput. Phys. 48, 1982; P. Wesseling, "An introduction to multigrid methods",
    1992, section 5.4.

    Examples
    --------
    >>> interpolation_weights(torch.full((1, 4), 2.0), torch.ones(1, 1, 4))[0].tolist()
    [[0.75, 0.75, 0.75, 0.75], [0.25, 0.25, 0.25, 0.25]]
    """
    require_operator(diagonal, coupling, diagonal[:, None])
    require_axes(coupling)
    d = coupling.shape[1]
    outward, beyond, within, ends = [], [], [], []
    for a in range(d):
        w, axis = coupling[:, a], a + 1
        n = w.shape[axis]
        index = torch.arange(n, device=w.device).view(-1, *(1,) * (d - a - 1))
        second = index % 2 == 1
        alone = (index == n - 1) & ~second
        below = w.roll(1, axis)
        # the other cell of the pair, the cell across the face, and inside the pair of that one
        inner = torch.where(alone, torch.inf, torch.where(second, below, w))
        within.append(inner)
        outward.append(torch.where(second, w, below))
        closed = torch.where(alone, (w == 0).to(w.dtype) + (below == 0), (outward[-1] == 0).to(w.dtype))
        ends.append(closed)
        beyond.append(torch.where(second, inner.roll(-1, axis), inner.roll(1, axis)))
    leak = diagonal - _apply_reference(torch.zeros_like(diagonal), -coupling, torch.ones_like(diagonal)[:, None])[:, 0]
    share = torch.where(leak > 0, leak, 0) / torch.stack(ends).sum(0).clamp_min(1)
    pairs = []
    for a in range(d):
        # resistances over that of the way to the own centre: no division by a coupling of zero is left
        own, face, other = 2 * within[a], outward[a], 2 * beyond[a]
        across = _harmonic(face, other)
        ground = torch.where(ends[a] > 0, share, 0)
        total = across + ground
        pairs.append((_part(own, total), _part(own, total, across)))
    weights = []
    for choice in itertools.product((0, 1), repeat=d):
        w = torch.ones_like(diagonal)
        for a, c in enumerate(reversed(choice)):
            w = w * pairs[a][c]
        weights.append(w)
    return torch.stack(weights, 1)


def _harmonic(a: Tensor, b: Tensor) -> Tensor:
    """a b / (a + b): two conductances in a row, of which b may be infinite and both zero."""
    finite = torch.where(torch.isinf(b), 0, b)
    total = torch.where(a + finite > 0, a + finite, 1)
    return torch.where(torch.isinf(b), a, a * finite / total)


def _part(own: Tensor, rest: Tensor, of: Tensor | None = None) -> Tensor:
    """own / (own + rest), or of / (own + rest); own may be infinite; with no way at all the own cell has all."""
    finite = torch.where(torch.isinf(own), 0, own)
    total = finite + rest
    lost = torch.isinf(own) | (total <= 0)
    found = (finite if of is None else of) / torch.where(total > 0, total, 1)
    return torch.where(lost, 1.0 if of is None else 0.0, found)


def _linear_axis(n: int, kind: str) -> Tensor:
    i = torch.arange(n)
    count = (n + 1) // 2
    second, own = i % 2, i // 2
    centre = (4 * torch.arange(count) + 1).double() / 2  # in fine cells, of pairs
    if n % 2:
        centre[-1] = n - 1
    neighbour = own + 2 * second - 1
    ends = (neighbour < 0) | (neighbour >= count)
    place = centre[neighbour % count] + n * torch.where(neighbour < 0, -1, torch.where(neighbour >= count, 1, 0))
    near, far = (i - centre[own]).abs(), (place - i).abs()
    theta = near / (near + far)
    weights = torch.stack([1 - theta, theta])
    if kind != "periodic":
        # a face with the value zero stands half a fine cell beyond its last centre
        face = torch.where(neighbour < 0, i + 0.5, n - 0.5 - i)
        weights[0] = torch.where(ends, face / (near + face) if kind == "dirichlet" else 1.0, weights[0])
        weights[1] = torch.where(ends, 0.0, weights[1])
    return weights
