r"""`Multigrid`: the preconditioner with which iterations for diffusion on a grid hardly grow as the grid is refined.

**The recursion.** :func:`cycle` is all that a multigrid cycle is: smooth, restrict the residual, solve on the next
level, prolong, smooth. It knows nothing of operators, only of a :class:`Level`, so that a method with other levels,
learned ones among them, is other levels and not another recursion.

**The levels here** (:class:`StencilLevel`) come from the operator alone. Prolongation follows its equations
(:mod:`sciops.kernels.blackbox`) and the coarse operator is the Galerkin product P' A P: jumps of the coefficient that
the grid resolves do not make the iterations more. (A coefficient that is another random number in every cell is
resolved by no grid, and there they do grow.) A polynomial in D^-1 A, the same on the way down and up, makes the cycle
symmetric; its bounds come from the largest eigenvalue on each level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.errors import InputError, did_you_mean
from sciops.kernels.blackbox import (
    blackbox_prolong,
    blackbox_restrict,
    blackbox_weights,
    galerkin,
    halves_evenly,
)
from sciops.kernels.cpu.memory import apart
from sciops.kernels.krylov import dot
from sciops.kernels.minres import minres_lanczos, minres_start
from sciops.kernels.smoothing import Sweeps, chebyshev, gauss_seidel, smooth_, smooth_residual_
from sciops.kernels.stencil import diffusion_apply, diffusion_residual
from sciops.kernels.transfer import coarse_shape, coarsen
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import preconditioners

_COARSEST = 100  # unknowns that are solved for by a dense inverse
_SAFETY = 1.1  # over the largest eigenvalue, which Lanczos finds from below
_CONTRAST = 1e6  # of the diagonal, beyond which single precision would lose the weak part
SMOOTHERS = ("chebyshev", "red-black")


class Level(Protocol):
    """What a cycle asks of a level."""

    def down(self, b: Tensor) -> tuple[Tensor, Tensor]:
        """The smoothed solution from zero, and the restriction of what is left of b."""

    def up(self, b: Tensor, u: Tensor, e: Tensor) -> Tensor:
        """The solution with the coarse correction e, smoothed."""

    def residual(self, b: Tensor, u: Tensor) -> Tensor:
        """b - A u."""


def cycle(levels: Sequence[Level], solve: CoarseSolve, b: Tensor, turns: int = 1, level: int = 0) -> Tensor:
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
    >>> from sciops.solvers.linear import Diffusion
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
        values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
        inverse = torch.where(torch.arange(n, device=values.device) < kept, 0, 1 / values)
        self.inverse = ((vectors * inverse[:, None]) @ vectors.mT).to(diagonal.dtype)

    def __call__(self, b: Tensor) -> Tensor:
        u: Tensor = b.flatten(2) @ self.inverse
        return u.view(b.shape)


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
    """

    def __init__(self, diagonal: Tensor, coupling: Tensor, sweeps: Sweeps, weights: Tensor | None) -> None:
        self.sweeps, self.weights = sweeps, weights
        self.diagonal, self.coupling = apart([diagonal.shape, coupling.shape], diagonal)
        self.diagonal.copy_(diagonal)
        self.coupling.copy_(coupling)
        self._kept: dict[torch.Size, list[Tensor]] = {}

    def down(self, b: Tensor) -> tuple[Tensor, Tensor]:
        u, r = self._memory(b)
        operator = self.diagonal, self.coupling, None
        smooth_residual_(u, r, *operator, b, sweeps=self.sweeps, coarse=self.weights is None)
        return u, r if self.weights is None else blackbox_restrict(r, self.weights)

    def up(self, b: Tensor, u: Tensor, e: Tensor) -> Tensor:
        operator, back = (self.diagonal, self.coupling, None), self.sweeps.adjoint()
        if self.weights is None:
            return smooth_(u, *operator, b, u, sweeps=back, correction=e)
        better = blackbox_prolong(e, self.weights, b.shape[2:], u)
        return smooth_(u, *operator, b, better, sweeps=back)

    def residual(self, b: Tensor, u: Tensor) -> Tensor:
        return diffusion_residual(self.diagonal, self.coupling, u, b)

    def _memory(self, b: Tensor) -> list[Tensor]:
        """Where solution and residual go, kept from cycle to cycle: fresh memory costs as much as the smoothing."""
        if b.shape not in self._kept:
            rest = b.shape[2:] if self.weights is not None else coarse_shape(b.shape[2:])
            self._kept = {b.shape: apart([b.shape, (*b.shape[:2], *rest)], b)}
        return self._kept[b.shape]


@dataclass(frozen=True)
class Chebyshev:
    """The smoother that damps best, in so many products, the eigenvalues from `lower` times the largest one upwards.

    Parameters
    ----------
    degree
        Products with A.
    lower
        Where damping begins, as a share of the largest eigenvalue of D^-1 A.

    Examples
    --------
    >>> Chebyshev(degree=3)
    Chebyshev(degree=3, lower=0.25)
    """

    degree: int = 2
    lower: float = 0.25

    def __post_init__(self) -> None:
        if self.degree < 1 or not 0 < self.lower < 1:
            raise InputError(f"{self}: a degree of at least 1 and a lower bound between 0 and 1 are expected")

    def sweeps(self, largest: float) -> Sweeps:
        """The sweeps for a level whose largest eigenvalue of D^-1 A is given."""
        return chebyshev(self.degree, (self.lower * largest, largest))


@dataclass(frozen=True)
class RedBlack:
    """Gauss-Seidel on a checkerboard, for couplings along the axes.

    Parameters
    ----------
    steps
        Sweeps over both colours.
    """

    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"{self}: at least one step is expected")

    def sweeps(self, largest: float) -> Sweeps:
        """The sweeps, the same for every level."""
        return gauss_seidel(self.steps)


@preconditioners.register("multigrid")
class Multigrid:
    r"""One multigrid cycle for a diffusion operator on a grid, symmetric positive definite.

    .. math:: M = B + (I - B A)\, P M_c P'\, (I - A B) + \dots, \qquad M_c \approx (P' A P)^{-1}

    Parameters
    ----------
    A
        An operator with `stencil_diagonal` and `coupling`, as :class:`~sciops.solvers.linear.Diffusion` has them;
        positive definite, or singular with constants in its null space.
    turns
        How often each coarser level is visited: 1 is a V-cycle, 2 a W-cycle. None is 1 in one and two dimensions and 2
        in three, where coarse levels cost little.
    smoother
        :class:`Chebyshev` or :class:`RedBlack`, or "chebyshev" or "red-black" for the default ones. None is
        Chebyshev(2, 0.25) in one and two dimensions and Chebyshev(3, 0.15) in three.
    coarsening
        "galerkin": prolongation by the equations and P' A P, which needs an even number of cells on periodic axes as
        far down as it goes; "sums": constant prolongation and sums of couplings, quicker to set up, with more
        iterations where the coefficient jumps (:func:`~sciops.kernels.transfer.coarsen`); smoothed by :class:`RedBlack`
        or :class:`Chebyshev`. None is "galerkin" where it can be.
    dtype
        Precision of the cycle, single as a rule: an iteration in double precision corrects what that loses. None is
        single precision unless the entries of the diagonal differ by more than 1e6.

    Attributes
    ----------
    levels : list of StencilLevel
        From the finest to the last but one.
    coarsest : CoarseSolve
        The dense inverse at the end.
    symmetric : bool
        True.

    Raises
    ------
    InputError
        For an operator without a grid, or options that do not fit it.

    Notes
    -----
    Work per cycle: 2 degree + 1 products on every level. Memory: D and w on all levels and the weights of prolongation,
    about 14 numbers for a cell in two dimensions and 12 in three, in single precision.

    References
    ----------
    J. Dendy, "Black box multigrid", J. Comput. Phys. 48, 1982; M. Adams, M. Brezina, J. Hu, R. Tuminaro, "Parallel
    multigrid smoothing: polynomial versus Gauss-Seidel", J. Comput. Phys. 188, 2003; W. Briggs, V. Henson,
    S. McCormick, "A multigrid tutorial", 2000.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion, cg
    >>> generator = torch.Generator().manual_seed(0)
    >>> k = torch.rand(64, 64, generator=generator).double().mul(6).exp()
    >>> A, b = Diffusion(k, grid=1 / 64), torch.ones(64, 64).double()
    >>> M = Multigrid(A)
    >>> M
    Multigrid((64, 64), V-cycle, Chebyshev(degree=2, lower=0.25), galerkin, float32, levels 64x64 32x32 16x16 8x8)
    >>> cg(A, b, M=M, rtol=1e-8).converged
    True
    """

    symmetric = True

    def __init__(
        self,
        A: LinearOperator,
        *,
        turns: int | None = None,
        smoother: Chebyshev | RedBlack | str | None = None,
        coarsening: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        diagonal, coupling = getattr(A, "stencil_diagonal", None), getattr(A, "coupling", None)
        if not isinstance(diagonal, Tensor) or not isinstance(coupling, Tensor):
            raise InputError(f"multigrid needs an operator on a grid, as Diffusion is, got {A!r}; PyAMG takes matrices")
        if A.definite is False:
            raise InputError(
                f"multigrid needs an operator that is positive definite, {A!r} is not; use minres or gmres"
            )
        if turns not in (None, 1, 2, 3):
            raise InputError(f"a cycle takes 1 (V), 2 (W) or 3 turns on each level, got {turns!r}")
        if dtype not in (None, torch.float32, torch.float64):
            raise InputError(f"a cycle computes in torch.float32 or torch.float64, got {dtype!r}")
        self.turns = (1 if coupling.ndim < 5 else 2) if turns is None else turns
        self.smoother = _smoother(smoother, coupling.ndim - 2)
        natural = "galerkin" if halves_evenly(coupling) else "sums"
        self.coarsening = natural if coarsening is None else coarsening
        if self.coarsening not in ("galerkin", "sums"):
            raise InputError(f"unknown coarsening {coarsening!r}{did_you_mean(str(coarsening), ['galerkin', 'sums'])}")
        if self.coarsening == "galerkin" and isinstance(self.smoother, RedBlack):
            raise InputError("RedBlack smooths couplings along the axes; with it goes coarsening='sums'")
        self.space = A.space
        with torch.no_grad():
            kept = 0 if A.nullspace is None else A.nullspace.shape[1]
            self._set_up(diagonal.detach(), coupling.detach(), dtype, kept)

    def _set_up(self, diagonal: Tensor, coupling: Tensor, dtype: torch.dtype | None, kept: int) -> None:
        largest = diagonal.amax()
        smallest = diagonal.amin()
        finite = bool(torch.stack(torch.aminmax(coupling)).isfinite().all())  # without an array of truths
        if not bool(largest > 0) or not bool(smallest > 0) or not finite:
            raise InputError(
                f"the diagonal of A reaches from {float(smallest):g} to {float(largest):g}: multigrid needs one that "
                f"is positive and finite everywhere"
            )
        self.dtype = dtype or (torch.float32 if bool(largest < _CONTRAST * smallest) else diagonal.dtype)
        # entries around one, whatever the units: single precision ends at 1e38
        self._scale = float(largest)
        diagonal, coupling = (diagonal / largest).to(self.dtype), (coupling / largest).to(self.dtype)
        self.levels: list[StencilLevel] = []
        while diagonal[0].numel() > _COARSEST:
            sweeps = self.smoother.sweeps(_largest_eigenvalue(diagonal, coupling))
            if self.coarsening == "galerkin" and halves_evenly(coupling):
                weights: Tensor | None = blackbox_weights(diagonal, coupling)
                coarse = galerkin(diagonal, coupling, weights)  # type: ignore[arg-type]
            elif coupling.shape[1] == coupling.ndim - 2:
                weights, coarse = None, coarsen(diagonal, coupling)
            else:
                raise InputError(
                    f"the grid of {' x '.join(map(str, self.space))} cells ends at "
                    f"{' x '.join(map(str, diagonal.shape[1:]))}, where a periodic axis is odd; take a number of cells "
                    f"that halves more often, or coarsening='sums'"
                )
            self.levels.append(StencilLevel(diagonal, coupling, sweeps, weights))
            diagonal, coupling = coarse
        self.coarsest = CoarseSolve(diagonal, coupling, kept)
        self._last = tuple(diagonal.shape[1:])
        self._kept: Tensor | None = None

    def __call__(self, r: Float[Tensor, "batch rhs *space"]) -> Float[Tensor, "batch rhs *space"]:
        """M r, in the dtype of r."""
        return self.into(r, torch.empty_like(r, memory_format=torch.contiguous_format, requires_grad=False))

    def into(
        self, r: Float[Tensor, "batch rhs *space"], out: Float[Tensor, "batch rhs *space"]
    ) -> Float[Tensor, "batch rhs *space"]:
        """M r written into memory of the shape and dtype of r."""
        with torch.no_grad():
            size = max(abs(float(end)) for end in torch.aminmax(r)) if r.numel() else 0.0
            if not 0 < size < math.inf:
                return out.fill_(0.0 if size == 0 else math.nan)
            # what leaves the range of single precision is brought to one
            unit = 1.0 if 1e-12 < size < 1e12 else size
            r = r if unit == 1.0 else r / unit
            b = r.contiguous() if self.dtype == r.dtype else self._rounded(r)
            return out.copy_(cycle(self.levels, self.coarsest, b, self.turns)).mul_(unit / self._scale)

    def _rounded(self, r: Tensor) -> Tensor:
        """r in the precision of the cycle, in memory that is kept as the levels keep theirs."""
        if self._kept is None or self._kept.shape != r.shape:
            self._kept = torch.empty(r.shape, dtype=self.dtype, device=r.device)
        return self._kept.copy_(r)

    def __repr__(self) -> str:
        sizes = [tuple(level.diagonal.shape[1:]) for level in self.levels] + [self._last]
        names = " ".join("x".join(map(str, size)) for size in sizes)
        kind = {1: "V-cycle", 2: "W-cycle"}.get(self.turns, f"{self.turns} turns")
        dtype = str(self.dtype).removeprefix("torch.")
        return f"Multigrid({self.space}, {kind}, {self.smoother}, {self.coarsening}, {dtype}, levels {names})"


def _smoother(smoother: Chebyshev | RedBlack | str | None, d: int) -> Chebyshev | RedBlack:
    if smoother is None:
        return Chebyshev() if d < 3 else Chebyshev(3, 0.15)
    if isinstance(smoother, str):
        if smoother not in SMOOTHERS:
            raise InputError(f"unknown smoother {smoother!r}{did_you_mean(smoother, SMOOTHERS)}")
        return Chebyshev() if smoother == "chebyshev" else RedBlack()
    if not isinstance(smoother, Chebyshev | RedBlack):
        raise InputError(f"a smoother is Chebyshev(...), RedBlack(...) or the name of one, got {smoother!r}")
    return smoother


def _largest_eigenvalue(diagonal: Tensor, coupling: Tensor, steps: int = 10) -> float:
    """A bound of the spectrum of D^-1 A: the smaller one of Gershgorin's and of what some steps of Lanczos find."""
    ones = torch.ones_like(diagonal)[:, None]
    around = diffusion_apply(torch.zeros_like(diagonal), -coupling.abs(), ones)[:, 0]
    gershgorin = float((1 + around / diagonal).amax())
    if gershgorin <= 2 * (1 + 1e-5):
        return gershgorin  # couplings of one sign: sharp
    start = torch.randn(ones[:1].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    r, D = start.to(ones).flatten(1).repeat(len(ones), 1), diagonal.flatten(1)
    old, status = torch.zeros_like(r), torch.zeros(len(r), dtype=torch.int32, device=r.device)
    scalars = minres_start(dot(r, r / D).sqrt())
    alphas, betas = [], []
    for _ in range(steps):
        z = r / D
        new, scalars, status = minres_lanczos(
            old, r, z, diffusion_apply(diagonal, coupling, z.view_as(ones)).flatten(1), scalars, status
        )
        alphas.append(scalars[2])
        betas.append(dot(new, new / D).sqrt())
        scalars = torch.cat([scalars[1:2], betas[-1][None], scalars[2:]])
        old, r = r, new
    beside = torch.diag_embed(torch.stack(betas[:-1], -1), 1)
    found = torch.linalg.eigvalsh(torch.diag_embed(torch.stack(alphas, -1)) + beside + beside.mT)
    return min(gershgorin, _SAFETY * float(found.amax()))
