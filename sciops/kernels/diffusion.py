r"""Finite volumes for -div(k grad u) + c u: from a cell-centred coefficient to the numbers of an operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciops.errors import InputError, did_you_mean
from sciops.kernels.dispatch import Kernel, Path
from sciops.kernels.stencil import require_cells

if TYPE_CHECKING:
    from jaxtyping import Float

Side = str | float
_NAMES = ("dirichlet", "neumann", "periodic")
PERIODIC = -1.0  # beside Robin's alpha, which is at least 0


def diffusion_operator(
    k: Float[Tensor, " batch *space"],
    spacing: Sequence[float],
    boundary: Side | Sequence[Side | Sequence[Side]] = "dirichlet",
    reaction: Float[Tensor, " batch *space"] | float | None = None,
) -> tuple[Float[Tensor, " batch *space"], Float[Tensor, "batch d *space"]]:
    r"""The diagonal and coupling of -div(k grad u) + c u on a cell-centred grid, of second order.

    The flux across a face takes the harmonic mean of the coefficients of its two cells, exact for coefficients that
    jump there; a boundary stands on the outer faces, half a cell from the last centre:

    .. math:: w = \frac{1}{h^2} \frac{2 k_i k_{i+1}}{k_i + k_{i+1}}, \qquad
              D = \sum w + c + \frac{1}{h} \frac{\alpha\, 2 k / h}{\alpha + 2 k / h} \text{ on outer faces}

    where Robin's condition is :math:`k\, \partial_n u + \alpha u = 0`; Dirichlet is :math:`\alpha = \infty`, Neumann
    :math:`\alpha = 0`.

    Parameters
    ----------
    k
        The coefficient in the cells, ``(batch, *space)``, or one for each axis, ``(batch, d, *space)``; zero in cells
        through which nothing flows.
    spacing
        The width of a cell along each axis; their number is d.
    boundary
        "dirichlet", "neumann", "periodic", or the number alpha of Robin's condition: one for all sides, or for each
        axis one or a pair (lower, upper).
    reaction
        c, if any.

    Returns
    -------
    tuple of Tensor
        D ``(batch, *space)`` and w ``(batch, d, *space)`` of :mod:`sciops.kernels.stencil`; differentiable.

    Raises
    ------
    InputError
        For a spacing or boundary that does not fit, or only one periodic side of an axis.

    Examples
    --------
    >>> diagonal, coupling = diffusion_operator(torch.ones(1, 4), [1.0], [("dirichlet", "neumann")])
    >>> diagonal.tolist(), coupling.tolist()
    ([[3.0, 2.0, 2.0, 1.0]], [[[1.0, 1.0, 1.0, 0.0]]])
    """
    numbers = isinstance(spacing, Sequence) and all(isinstance(h, int | float) for h in spacing)
    if not numbers or not 1 <= len(spacing) <= 3 or any(not 0 < h < math.inf for h in spacing):
        raise InputError(f"the spacing is {spacing!r}; a sequence of one, two or three positive widths is expected")
    d = len(spacing)
    anisotropic = k.ndim == d + 2 and k.shape[1] == d
    if k.ndim != d + 1 and not anisotropic:
        raise InputError(
            f"the coefficient has shape {tuple(k.shape)}, expected (batch, *space) or (batch, {d}, *space) with "
            f"{d} axes as the spacing has"
        )
    if not k.is_floating_point():
        raise InputError(f"the coefficient is {k.dtype}; real floating-point numbers are expected")
    shape = (k.shape[0], *k.shape[-d:])
    require_cells(shape[1:])
    if isinstance(reaction, Tensor) and reaction.shape != shape:
        raise InputError(f"the reaction has shape {tuple(reaction.shape)}, expected {shape} as the coefficient has")
    held = reaction if isinstance(reaction, Tensor) else None
    constant = 0.0 if reaction is None or held is not None else float(reaction)  # type: ignore[arg-type]
    diagonal, coupling = _operator(
        k, None if held is None else held.to(k.dtype), [float(h) for h in spacing], _numbers(boundary, d), constant
    )
    return diagonal, coupling


def _numbers(boundary: Side | Sequence[Side | Sequence[Side]], d: int) -> list[float]:
    """Robin's alpha of each side, lower and upper in turn: infinity for Dirichlet, 0 for Neumann, -1 for periodic."""
    named = {"dirichlet": math.inf, "neumann": 0.0, "periodic": PERIODIC}
    return [named[side] if isinstance(side, str) else float(side) for sides in _sides(boundary, d) for side in sides]


def _sides(boundary: Side | Sequence[Side | Sequence[Side]], d: int) -> list[tuple[Side, Side]]:
    if isinstance(boundary, (str, int, float)):
        boundary = [boundary] * d
    if not isinstance(boundary, Sequence):
        raise InputError(f"the boundary is {boundary!r}, expected a kind, a number (Robin), or one per axis")
    if len(boundary) != d:
        raise InputError(f"the boundary {boundary!r} has {len(boundary)} axes, expected {d} as the spacing has")
    found = []
    for a, sides in enumerate(boundary):
        pair = (sides, sides) if isinstance(sides, (str, int, float)) else tuple(sides) if sides is not None else ()
        if len(pair) != 2 or not all(isinstance(side, (str, int, float)) for side in pair):
            raise InputError(f"the boundary of axis {a} is {sides!r}, expected a kind or a pair (lower, upper)")
        for side in pair:
            if isinstance(side, str) and side not in _NAMES:
                hint = did_you_mean(side, _NAMES)
                raise InputError(f"unknown boundary {side!r} of axis {a}, or a number for Robin's condition{hint}")
            if not isinstance(side, str) and not side >= 0:
                raise InputError(f"Robin's condition on axis {a} has alpha = {side}, at least 0 is expected")
        if ("periodic" in pair) and pair != ("periodic", "periodic"):
            raise InputError(f"the boundary of axis {a} is {pair}: both sides of an axis are periodic, or none")
        found.append(pair)
    return found


def _operator_reference(
    k: Tensor, reaction: Tensor | None, spacing: Sequence[float], sides: Sequence[float], constant: float
) -> tuple[Tensor, Tensor]:
    d = len(spacing)
    anisotropic = k.ndim == d + 2
    faces: list[Tensor] = []
    total = torch.full_like(k[:, 0] if anisotropic else k, constant) if reaction is None else reaction + constant
    for a, h in enumerate(spacing):
        c = k[:, a] if anisotropic else k
        axis, n = a + 1, c.shape[a + 1]
        lower, upper = sides[2 * a : 2 * a + 2]
        first, last = c.narrow(axis, 0, 1), c.narrow(axis, n - 1, 1)
        inner = _harmonic_mean(c.narrow(axis, 0, n - 1), c.narrow(axis, 1, n - 1)) / h**2
        if lower == PERIODIC:
            closing = _harmonic_mean(last, first) / h**2
            below, above = closing, closing
        else:
            closing, below, above = torch.zeros_like(last), _outer(first, h, lower), _outer(last, h, upper)
        faces.append(torch.cat([inner, closing], axis))
        total = total + torch.cat([below, inner], axis) + torch.cat([inner, above], axis)
    return total, torch.stack(faces, 1)


def _harmonic_mean(a: Tensor, b: Tensor) -> Tensor:
    total = a + b
    # between two cells without flow: zero, and no division by it in the derivative either
    open_ = total != 0
    return torch.where(open_, 2 * a * b / torch.where(open_, total, 1), 0)


def _outer(k: Tensor, h: float, alpha: float) -> Tensor:
    if alpha == 0:
        return torch.zeros_like(k)
    conductance = 2 * k / h
    if alpha == math.inf:
        return conductance / h
    return _harmonic_mean(conductance, torch.full_like(k, alpha)) / (2 * h)


_operator = Kernel(
    "diffusion_operator",
    "(Tensor k, Tensor? reaction, float[] spacing, float[] sides, float constant) -> (Tensor, Tensor)",
    _operator_reference,
    cpu=Path("cpu.diffusion:diffusion_operator", "one pass over memory, no array of faces besides", needs="numba"),
)
