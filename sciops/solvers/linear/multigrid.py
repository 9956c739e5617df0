r"""`Multigrid`: the preconditioner with which iterations for diffusion on a grid hardly grow as the grid is refined.

The recursion is :func:`~sciops.solvers.linear.cycles.cycle`; the levels here
(:class:`~sciops.solvers.linear.levels.StencilLevel`) come from the operator alone. Prolongation follows its equations
(:mod:`sciops.kernels.blackbox`) and the coarse operator is the Galerkin product P' A P: jumps of the coefficient that
the grid resolves do not make the iterations more. (A coefficient that is another random number in every cell is
resolved by no grid, and there they do grow.) A polynomial in D^-1 A, the same on the way down and up, makes the cycle
symmetric; its bounds come from the largest eigenvalue on each level.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.errors import InputError, did_you_mean
from sciops.kernels.blackbox import blackbox_weights, galerkin, halves_evenly
from sciops.kernels.lines import line_weights
from sciops.kernels.smoothing import l1_scale
from sciops.kernels.stencil import offsets
from sciops.kernels.transfer import coarsen
from sciops.solvers.linear.cycles import Cycle, full_multigrid
from sciops.solvers.linear.levels import CoarseSolve, LineLevel, StencilLevel
from sciops.solvers.linear.operator import LinearOperator, require_stencil
from sciops.solvers.linear.preconditioner import preconditioners
from sciops.solvers.linear.smoothers import (
    PLAIN,
    L1Jacobi,
    Line,
    RedBlack,
    Smoother,
    as_smoother,
    choose_smoother,
    largest_eigenvalue,
)

_COARSEST = 100  # unknowns that are solved for by a dense inverse
# of the entries, beyond which single precision loses the weak ones: in the products that make coarse operators, which
# cancel, and in a cycle
_CONTRAST_MADE, _CONTRAST_KEPT, _CONTRAST_OF_AXES = 4e3, 1e6, 3e4
_HELD = 3e-5  # of the diagonal, what a side or a reaction adds on average, below which single precision would lose it


def precisions(diagonal: Tensor, coupling: Tensor, *, one_strength: bool = True) -> tuple[torch.dtype, torch.dtype]:
    """In which precision to make levels, and in which to keep them: what single precision holds of the weak entries.

    With `one_strength` no axis is known to be much stronger than the others, and the diagonal tells enough. What holds
    the constants, beside the couplings, must not be lost either.

    Examples
    --------
    >>> precisions(torch.tensor([[1.0, 1e5]]), torch.tensor([[[1.0, 0.0]]]))
    (torch.float64, torch.float32)
    """
    largest, smallest = diagonal.amax(), diagonal.amin()
    if not one_strength:
        # a weak axis beside a strong one does not show in the diagonal
        weakest = torch.where(coupling > 0, coupling, largest).amin()
        smallest = torch.minimum(smallest, 2 * (coupling.ndim - 2) * weakest)
    contrast = float(largest / smallest)
    # <1, A 1> / <1, D 1>
    couplings = coupling.flatten(1).sum(1, dtype=torch.float64)
    held = 1 - 2 * couplings / diagonal.flatten(1).sum(1, dtype=torch.float64)
    if float(held.min()) < _HELD:
        return torch.float64, torch.float64
    made = torch.float32 if contrast < _CONTRAST_MADE else torch.float64
    most = _CONTRAST_KEPT if one_strength else _CONTRAST_OF_AXES
    return made, torch.float32 if contrast < most else torch.float64


def _halves_to_the_end(coupling: Tensor) -> bool:
    """Whether every periodic axis has an even number of cells on all grids down to the coarsest."""
    space = list(coupling.shape[2:])
    d, links = len(space), offsets(coupling.ndim - 2, coupling.shape[1])
    periodic = [
        any(o[a] and bool(coupling[:, n].select(a + 1, -1).any()) for n, o in enumerate(links)) for a in range(d)
    ]
    while math.prod(space) > _COARSEST:
        if any(around and n % 2 for around, n in zip(periodic, space, strict=True)):
            return False
        space = [(n + 1) // 2 for n in space]
    return True


@preconditioners.register("multigrid")
class Multigrid(Cycle):
    r"""One multigrid cycle for a diffusion operator on a grid, symmetric positive definite.

    .. math:: M = B + (I - B A)\, P M_c P'\, (I - A B) + \dots, \qquad M_c \approx (P' A P)^{-1}

    Parameters
    ----------
    A
        An operator with `stencil_diagonal` and `coupling`, as :class:`~sciops.solvers.linear.Diffusion` has them;
        positive definite, or singular with constants in its null space.
    turns
        How often each coarser level is visited: 1 is a V-cycle, 2 a W-cycle.
    smoother
        :class:`Chebyshev`, :class:`L1Jacobi`, :class:`RedBlack` or :class:`Line`, or "chebyshev", "l1-jacobi",
        "red-black" or "line" for the default ones. None chooses for each level by its couplings
        (:func:`~sciops.solvers.linear.smoothers.choose_smoother`).
    coarsening
        "galerkin": prolongation by the equations and P' A P, which needs an even number of cells on periodic axes as
        far down as it goes; "sums": constant prolongation and sums of couplings, quicker to set up, with more
        iterations where the coefficient jumps (:func:`~sciops.kernels.transfer.coarsen`). None is "galerkin" where it
        can be.
    dtype
        Precision of the cycle, single as a rule: an iteration in double precision corrects what that loses. None is
        single precision unless the entries of the diagonal, or the couplings, differ by more than 1e6 (from 4e3 on
        coarse operators are made in double), or sides and reaction hardly hold the constants.

    Attributes
    ----------
    levels : list of StencilLevel or LineLevel
        From the finest to the last but one.
    smoothers : list of Chebyshev, L1Jacobi, RedBlack or Line
        Those of the levels.
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
    Work per cycle: 2 degree + 1 products on every level; on those with lines as many for each axis, and 2 degree solves
    along it. The defaults were held against a search over systems apart from those that are reported:
    nothing with coarse equations was more than 10 % quicker (docs/benchmarks/multigrid-search.md). Memory: D and w on
    all levels and the weights of prolongation, about 14 numbers for a cell in two dimensions and 12 in three, in single
    precision.

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
    Multigrid((64, 64), V-cycle, Chebyshev(degree=3, lower=0.15), galerkin, float32, levels 64x64 32x32 16x16 8x8)
    >>> cg(A, b, M=M, rtol=1e-8).converged
    True

    Flow that is a thousand times easier along the last axis:

    >>> Multigrid(Diffusion(torch.stack([k, 1000 * k])[None], grid=(1 / 64, 1 / 64))).smoothers[0]
    Line(axes=(1,), degree=2, lower=0.25)
    """

    def __init__(
        self,
        A: LinearOperator,
        *,
        turns: int = 1,
        smoother: Smoother | str | None = None,
        coarsening: str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        diagonal, coupling = require_stencil("multigrid", A)
        if A.definite is False:
            raise InputError(
                f"multigrid needs an operator that is positive definite, {A!r} is not; use minres or gmres"
            )
        if turns not in (1, 2, 3):
            raise InputError(f"a cycle takes 1 (V), 2 (W) or 3 turns on each level, got {turns!r}")
        if dtype not in (None, torch.float32, torch.float64):
            raise InputError(f"a cycle computes in torch.float32 or torch.float64, got {dtype!r}")
        self.turns = turns
        self.smoother = None if smoother is None else as_smoother(smoother)
        natural = "galerkin" if _halves_to_the_end(coupling) else "sums"
        self.coarsening = natural if coarsening is None else coarsening
        if self.coarsening not in ("galerkin", "sums"):
            raise InputError(f"unknown coarsening {coarsening!r}{did_you_mean(str(coarsening), ['galerkin', 'sums'])}")
        if self.coarsening == "galerkin" and isinstance(self.smoother, RedBlack):
            raise InputError("RedBlack smooths couplings along the axes; with it goes coarsening='sums'")
        self.A, self.space = A, A.space
        with torch.no_grad():
            kept = 0 if A.nullspace is None else A.nullspace.shape[1]
            self._set_up(diagonal.detach(), coupling.detach(), dtype, kept)

    def _set_up(self, diagonal: Tensor, coupling: Tensor, dtype: torch.dtype | None, zeros: int) -> None:
        largest = diagonal.amax()
        smallest = diagonal.amin()
        finite = bool(torch.stack(torch.aminmax(coupling)).isfinite().all())  # without an array of truths
        if not bool(largest > 0) or not bool(smallest > 0) or not finite:
            raise InputError(
                f"the diagonal of A reaches from {float(smallest):g} to {float(largest):g}: multigrid needs one that "
                f"is positive and finite everywhere"
            )
        # entries around one, whatever the units: single precision ends at 1e38
        scale = float(largest)
        smoother = self.smoother or choose_smoother(coupling)
        made, kept = precisions(diagonal, coupling, one_strength=self.smoother is None and smoother == PLAIN)
        made, kept = (torch.float64 if dtype == torch.float64 else made), dtype or kept
        # in one pass over memory, which the quotient and its conversion would take three of
        diagonal, coupling = (torch.div(t, scale, out=torch.empty_like(t, dtype=made)) for t in (diagonal, coupling))
        levels: list[StencilLevel | LineLevel] = []
        self.smoothers: list[Smoother] = []
        while diagonal[0].numel() > _COARSEST:
            if self.smoother is None and levels:
                smoother = choose_smoother(coupling)
            if self.coarsening == "galerkin" and halves_evenly(coupling):
                weights: Tensor | None = blackbox_weights(diagonal, coupling)
                if isinstance(smoother, Line) and len(smoother.along(diagonal.ndim - 1)) == 1:
                    (axis,) = smoother.along(diagonal.ndim - 1)
                    weights = line_weights(weights, diagonal, coupling, axis)  # type: ignore[arg-type]
                coarse = galerkin(diagonal, coupling, weights)  # type: ignore[arg-type]
            elif coupling.shape[1] == coupling.ndim - 2:
                weights, coarse = None, coarsen(diagonal, coupling)
            else:
                raise InputError(
                    f"the grid of {' x '.join(map(str, self.space))} cells ends at "
                    f"{' x '.join(map(str, diagonal.shape[1:]))}, where a periodic axis is odd; take a number of cells "
                    f"that halves more often, or coarsening='sums'"
                )
            self.smoothers.append(smoother)
            operator = diagonal.to(kept), coupling.to(kept)
            weights = None if weights is None else weights.to(kept)
            if isinstance(smoother, Line):
                levels.append(LineLevel(*operator, smoother, weights))
            elif isinstance(smoother, L1Jacobi):
                levels.append(StencilLevel(*operator, smoother.sweeps(), weights, l1_scale(*operator)))
            else:
                sweeps = smoother.sweeps(largest_eigenvalue(diagonal, coupling))
                levels.append(StencilLevel(*operator, sweeps, weights))
            diagonal, coupling = coarse
            # rooms that nothing holds leave rows of zeros, but for rounding; any diagonal does for them
            diagonal = torch.where(diagonal < 8 * torch.finfo(made).eps, 1, diagonal)
        coarsest = CoarseSolve(diagonal.to(kept), coupling.to(kept), zeros)
        super().__init__(levels, coarsest, turns=self.turns, scale=scale, dtype=kept)
        self.levels: list[StencilLevel | LineLevel] = levels
        self.coarsest: CoarseSolve = coarsest
        self._last = tuple(diagonal.shape[1:])

    def guess(self, b: Float[Tensor, "*lead *space"], cycles: int = 1) -> Float[Tensor, "*lead *space"]:
        """A first guess for A u = b by nested iteration (:func:`full_multigrid`), to be handed over as ``x0``.

        Parameters
        ----------
        b
            Right-hand sides, in any shape that A takes.
        cycles
            On each level.

        Returns
        -------
        Tensor
            An approximate solution, of the shape and dtype of b.

        Raises
        ------
        InputError
            For a shape that does not fit, or less than one cycle.

        Examples
        --------
        >>> from sciops.solvers.linear import Diffusion, cg
        >>> A, b = Diffusion(torch.ones(64, 64).double(), grid=1 / 64), torch.ones(64, 64).double()
        >>> M = Multigrid(A)
        >>> int(cg(A, b, M=M, x0=M.guess(b)).iterations) < int(cg(A, b, M=M).iterations)
        True
        """
        if not isinstance(cycles, int) or cycles < 1:
            raise InputError(f"nested iteration takes a whole number of cycles, at least one, got {cycles!r}")
        fields = self.A.canonical(b, "b")
        u = torch.empty_like(fields, memory_format=torch.contiguous_format, requires_grad=False)
        self._scaled(fields, u, lambda f: full_multigrid(self.levels, self.coarsest, f, self.turns, cycles))
        return u.to(b.dtype).reshape(b.shape)

    def __repr__(self) -> str:
        sizes = [tuple(level.diagonal.shape[1:]) for level in self.levels] + [self._last]
        names = " ".join("x".join(map(str, size)) for size in sizes)
        kind = {1: "V-cycle", 2: "W-cycle"}.get(self.turns, f"{self.turns} turns")
        dtype = str(self.dtype).removeprefix("torch.")
        smoothers = ", ".join(dict.fromkeys(map(str, self.smoothers)))
        return f"Multigrid({self.space}, {kind}, {smoothers}, {self.coarsening}, {dtype}, levels {names})"
