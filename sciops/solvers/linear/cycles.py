r"""The multigrid recursion: :func:`cycle`, :func:`full_multigrid`, and :class:`Cycle`, a cycle as a preconditioner.

:func:`cycle` is all that a multigrid cycle is: smooth, restrict the residual, solve on the next level, prolong, smooth.
It knows nothing of operators, only of a :class:`Level`, so that a method with other levels, learned ones among them, is
other levels and not another recursion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.kernels.krylov import dot


class Level(Protocol):
    """What a cycle asks of a level."""

    def down(self, b: Tensor) -> tuple[Tensor, Tensor]:
        """The smoothed solution from zero, and the restriction of what is left of b."""

    def up(self, b: Tensor, u: Tensor, e: Tensor) -> Tensor:
        """The solution with the coarse correction e, smoothed."""

    def residual(self, b: Tensor, u: Tensor) -> Tensor:
        """b - A u."""


def cycle(
    levels: Sequence[Level], solve: Callable[[Tensor], Tensor], b: Tensor, turns: int = 1, level: int = 0
) -> Tensor:
    """One multigrid cycle from zero: an approximate solution of A u = b.

    Parameters
    ----------
    levels
        From the finest to the last but one.
    solve
        Solves on the coarsest level.
    b
        Right-hand sides on the finest level.
    turns
        How often each coarser level is visited: 1 for a V-cycle, 2 for a W-cycle.
    level
        Where to begin.

    Returns
    -------
    Tensor
        Of the shape of b; it may be memory that the finest level writes again in the next cycle.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion, Multigrid
    >>> M = Multigrid(Diffusion(torch.ones(32, 32).double(), grid=1.0))
    >>> cycle(M.levels, M.coarsest, torch.ones(1, 1, 32, 32)).shape
    torch.Size([1, 1, 32, 32])
    """
    if level == len(levels):
        return solve(b)
    here = levels[level]
    u, r = here.down(b)
    e = cycle(levels, solve, r, turns, level + 1)
    # on the coarsest level a second turn would find nothing left
    if level + 1 < len(levels):
        for _ in range(turns - 1):
            first = e.clone()  # a level may keep the memory of its answer for the next one
            e = first + cycle(levels, solve, levels[level + 1].residual(r, first), turns, level + 1)
    return here.up(b, u, e)


class NestedLevel(Level, Protocol):
    """What :func:`full_multigrid` asks of a level: to go to the next one and back without smoothing."""

    def restrict(self, r: Tensor) -> Tensor:
        """P' r."""

    def prolong(self, e: Tensor, b: Tensor) -> Tensor:
        """P e, on the cells of b."""


def full_multigrid(
    levels: Sequence[NestedLevel], solve: Callable[[Tensor], Tensor], b: Tensor, turns: int = 1, cycles: int = 1
) -> Tensor:
    """Nested iteration: the solution of the coarsest level, prolonged and improved by cycles level after level.

    Parameters
    ----------
    levels, solve, b, turns
        As of :func:`cycle`.
    cycles
        On each level.

    Returns
    -------
    Tensor
        An approximate solution of A u = b, in memory of its own; no symmetric map of b. For a smooth b its error is
        below that of the discretisation with two cycles on each level, some times that with one.

    References
    ----------
    A. Brandt, "Multi-level adaptive solutions to boundary-value problems", Math. Comp. 31, 1977.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion, Multigrid
    >>> M = Multigrid(Diffusion(torch.ones(32, 32).double(), grid=1.0))
    >>> b = torch.ones(1, 1, 32, 32)
    >>> u = full_multigrid(M.levels, M.coarsest, b)
    >>> bool(M.levels[0].residual(b, u).norm() < 0.05 * b.norm())
    True
    """
    sides = [b]
    for level in levels:
        sides.append(level.restrict(sides[-1]))
    u = solve(sides[-1])
    for number in reversed(range(len(levels))):
        here, f = levels[number], sides[number]
        u = here.prolong(u, f)
        for _ in range(cycles):
            u = u + cycle(levels, solve, here.residual(f, u), turns, number)
    return u


class Cycle:
    """A multigrid cycle as a preconditioner, in a precision of its own: what :class:`Multigrid` is, or a learned one.

    Parameters
    ----------
    levels, coarsest, turns
        As of :func:`cycle`.
    scale
        By which the operator was divided before its levels were made.
    dtype
        Of the levels.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion, Multigrid
    >>> M = Multigrid(Diffusion(torch.ones(32, 32).double(), grid=1.0))
    >>> isinstance(M, Cycle), M(torch.ones(1, 1, 32, 32).double()).dtype
    (True, torch.float64)
    """

    symmetric = True

    def __init__(
        self,
        levels: Sequence[Level],
        coarsest: Callable[[Tensor], Tensor],
        *,
        turns: int = 1,
        scale: float = 1.0,
        dtype: torch.dtype,
    ) -> None:
        self.levels, self.coarsest, self.turns, self.dtype, self._scale = levels, coarsest, turns, dtype, scale
        self._kept: Tensor | None = None

    def __call__(self, r: Float[Tensor, "batch rhs *space"]) -> Float[Tensor, "batch rhs *space"]:
        """M r, in the dtype of r."""
        return self.into(r, torch.empty_like(r, memory_format=torch.contiguous_format, requires_grad=False))

    def into(
        self, r: Float[Tensor, "batch rhs *space"], out: Float[Tensor, "batch rhs *space"]
    ) -> Float[Tensor, "batch rhs *space"]:
        """M r written into memory of the shape and dtype of r."""
        return self._scaled(r, out, lambda b: cycle(self.levels, self.coarsest, b, self.turns))

    def _scaled(self, r: Tensor, out: Tensor, approximate: Callable[[Tensor], Tensor]) -> Tensor:
        """What the levels make of r, whatever its units."""
        with torch.no_grad():
            if not r.numel():
                return out
            flat = r.flatten(2).flatten(0, 1)
            size = dot(flat, flat).sqrt()
            if bool(((size > 1e-12) & (size < 1e12)).all()):
                b = r.contiguous() if self.dtype == r.dtype else self._rounded(r)
                return out.copy_(approximate(b)).mul_(1 / self._scale)
            low, high = torch.aminmax(r.flatten(2), dim=-1)
            size = torch.maximum(-low, high)
            # what leaves the range of single precision is brought to one; a NaN must not reach the other systems
            fit, lost = (size > 0) & (size < math.inf), ~(size < math.inf)
            shape = (*size.shape, *(1,) * (r.ndim - 2))
            unit = torch.where(fit, size, 1.0).view(shape)
            b = torch.where(fit.view(shape), r / unit, 0.0).to(self.dtype)
            out.copy_(approximate(b)).mul_(unit / self._scale)
            return out.masked_fill_(lost.view(shape), math.nan)

    def _rounded(self, r: Tensor) -> Tensor:
        """r in the precision of the cycle, in memory that is kept as the levels keep theirs."""
        if self._kept is None or self._kept.shape != r.shape:
            self._kept = torch.empty(r.shape, dtype=self.dtype, device=r.device)
        return self._kept.copy_(r)
