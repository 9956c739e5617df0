"""The levels of multigrid for operators on a grid: what smooths them, and how they reach the next one."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from sciops.kernels.blackbox import blackbox_prolong, blackbox_restrict
from sciops.kernels.cpu.memory import apart
from sciops.kernels.lines import line_factors, line_solve, line_solve_
from sciops.kernels.smoothing import smooth_, smooth_residual_
from sciops.kernels.stencil import diffusion_apply, diffusion_residual
from sciops.kernels.sweeps import Sweeps, chebyshev
from sciops.kernels.transfer import coarse_shape, prolong, prolong_add, restrict
from sciops.solvers.linear.smoothers import Line, largest_eigenvalue

_PIVOT = 1e-5  # of the largest, below which a matrix counts as nearly singular


class CoarseSolve:
    """The inverse of a small symmetric operator, dense.

    Parameters
    ----------
    diagonal, coupling
        Of :mod:`sciops.kernels.stencil`.
    kept
        How many of the smallest eigenvalues are zero but for rounding, and stay zero in the inverse.
    """

    def __init__(self, diagonal: Tensor, coupling: Tensor, kept: int = 0) -> None:
        n = diagonal[0].numel()
        unit = torch.eye(n, dtype=torch.float64, device=diagonal.device).view(1, n, *diagonal.shape[1:])
        unit = unit.expand(diagonal.shape[0], *unit.shape[1:]).contiguous()
        matrix = diffusion_apply(diagonal.double(), coupling.double(), unit).flatten(2)
        self.inverse = _inverse((matrix + matrix.mT) / 2, kept).to(diagonal.dtype)

    def __call__(self, b: Tensor) -> Tensor:
        u: Tensor = b.flatten(2) @ self.inverse
        return u.view(b.shape)


def _inverse(matrix: Tensor, kept: int) -> Tensor:
    """Of each symmetric matrix of a batch, with the `kept` smallest eigenvalues left zero."""
    if not kept:
        # a third of the time of eigenvectors, which are for what is nearly singular
        factor, failed = torch.linalg.cholesky_ex(matrix)
        pivots = factor.diagonal(dim1=1, dim2=2)
        if not bool(failed.any()) and bool((pivots.amin(1) > _PIVOT * pivots.amax(1)).all()):
            found: Tensor = torch.cholesky_inverse(factor)
            return found
    values, vectors = torch.linalg.eigh(matrix)
    inverse = torch.where(torch.arange(matrix.shape[1], device=values.device) < kept, 0, 1 / values)
    product: Tensor = (vectors * inverse[:, None]) @ vectors.mT
    return product


class StencilLevel:
    """A level of an operator that couples neighbours.

    Parameters
    ----------
    diagonal, coupling
        Of :mod:`sciops.kernels.stencil`.
    sweeps
        The smoother on the way down; on the way up its adjoint.
    weights
        Of :func:`~sciops.kernels.blackbox.blackbox_weights`; None for the constant prolongation.
    scale
        The damping s of the sweeps; None for 1/D, which is quicker than that array.
    """

    def __init__(
        self,
        diagonal: Tensor,
        coupling: Tensor,
        sweeps: Sweeps,
        weights: Tensor | None,
        scale: Tensor | None = None,
    ) -> None:
        self.sweeps, self.weights, self.scale = sweeps, weights, scale
        self.diagonal, self.coupling = apart([diagonal.shape, coupling.shape], diagonal)
        self.diagonal.copy_(diagonal)
        self.coupling.copy_(coupling)
        self._kept: dict[torch.Size, list[Tensor]] = {}

    def down(self, b: Tensor) -> tuple[Tensor, Tensor]:
        u, r = self._memory(b)
        operator = self.diagonal, self.coupling, self.scale
        smooth_residual_(u, r, *operator, b, sweeps=self.sweeps, coarse=self.weights is None)
        return u, r if self.weights is None else blackbox_restrict(r, self.weights)

    def up(self, b: Tensor, u: Tensor, e: Tensor) -> Tensor:
        operator, back = (self.diagonal, self.coupling, self.scale), self.sweeps.adjoint()
        if self.weights is None:
            return smooth_(u, *operator, b, u, sweeps=back, correction=e)
        better = blackbox_prolong(e, self.weights, b.shape[2:], u)
        return smooth_(u, *operator, b, better, sweeps=back)

    def residual(self, b: Tensor, u: Tensor) -> Tensor:
        return diffusion_residual(self.diagonal, self.coupling, u, b)

    def restrict(self, r: Tensor) -> Tensor:
        return restricted(r, self.weights)

    def prolong(self, e: Tensor, b: Tensor) -> Tensor:
        return prolonged(e, self.weights, b)

    def _memory(self, b: Tensor) -> list[Tensor]:
        """Where solution and residual go, kept from cycle to cycle: fresh memory costs as much as the smoothing."""
        if b.shape not in self._kept:
            rest = b.shape[2:] if self.weights is not None else coarse_shape(b.shape[2:])
            self._kept = {b.shape: apart([b.shape, (*b.shape[:2], *rest)], b)}
        return self._kept[b.shape]


class LineLevel:
    """A level that is smoothed along lines.

    Parameters
    ----------
    diagonal, coupling
        Of :mod:`sciops.kernels.stencil`.
    smoother
        Along which axes, and how often.
    weights
        Of :func:`~sciops.kernels.blackbox.blackbox_weights`; None for the constant prolongation.
    """

    def __init__(self, diagonal: Tensor, coupling: Tensor, smoother: Line, weights: Tensor | None) -> None:
        self.diagonal, self.coupling, self.weights = diagonal.contiguous(), coupling.contiguous(), weights
        self.parts: list[tuple[int, Tensor, Sweeps]] = []
        for axis in smoother.along(diagonal.ndim - 1):
            factors = line_factors(diagonal, coupling, axis)
            largest = largest_eigenvalue(diagonal, coupling, functools.partial(_on_lines, factors, axis))
            sweeps = chebyshev(smoother.degree, (smoother.lower * largest, largest))
            self.parts.append((axis, factors, sweeps))

    def down(self, b: Tensor) -> tuple[Tensor, Tensor]:
        u = None
        for part in self.parts:
            u = self._smoothed(part, b, u)
        assert u is not None
        return u, self.restrict(self.residual(b, u))

    def up(self, b: Tensor, u: Tensor, e: Tensor) -> Tensor:
        u = self.prolong(e, b, u)
        for part in reversed(self.parts):
            u = self._smoothed(part, b, u)
        return u

    def residual(self, b: Tensor, u: Tensor) -> Tensor:
        return diffusion_residual(self.diagonal, self.coupling, u, b)

    def restrict(self, r: Tensor) -> Tensor:
        return restricted(r, self.weights)

    def prolong(self, e: Tensor, b: Tensor, u: Tensor | None = None) -> Tensor:
        return prolonged(e, self.weights, b, u)

    def _smoothed(self, part: tuple[int, Tensor, Sweeps], b: Tensor, u: Tensor | None) -> Tensor:
        """After the sweeps along one axis; u is overwritten."""
        axis, factors, sweeps = part
        move: Tensor | None = None
        for alpha, beta in zip(sweeps.momentum, sweeps.step, strict=True):
            r = b.clone() if u is None else self.residual(b, u)
            line_solve_(r, factors, axis)
            move = r.mul_(beta) if move is None else move.mul_(alpha).add_(r, alpha=beta)
            u = move.clone() if u is None else u.add_(move)
        assert u is not None
        return u


def _on_lines(factors: Tensor, axis: int, r: Tensor) -> Tensor:
    return line_solve(factors, r, axis)


def restricted(r: Tensor, weights: Tensor | None) -> Tensor:
    """P' r, of the constant prolongation where there are no weights."""
    return restrict(r) if weights is None else blackbox_restrict(r, weights)


def prolonged(e: Tensor, weights: Tensor | None, b: Tensor, u: Tensor | None = None) -> Tensor:
    """P e or u + P e, on the cells of b; of the constant prolongation where there are no weights."""
    if weights is not None:
        return blackbox_prolong(e, weights, b.shape[2:], u)
    return prolong(e, b.shape[2:]) if u is None else prolong_add(u, e)
