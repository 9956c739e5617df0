"""`LearnedMultigrid`: multigrid whose prolongation and damping are learned, symmetric positive definite always."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.stencil import diffusion_apply
from sciops.layers.multigrid import PARTS, DenseSolve, SPDLevel, SPDVCycle
from sciops.preconditioners.base import LearnedPreconditioner, registry
from sciops.solvers.linear import LinearOperator, cg
from sciops.solvers.linear.cycles import Cycle, cycle
from sciops.solvers.linear.levels import CoarseSolve, StencilLevel
from sciops.solvers.linear.multigrid import precisions
from sciops.solvers.linear.operator import require_stencil

_STEPS = (2, 9)  # how many iterations of conjugate gradients come before the one that is trained
_LEAST = 1e-12  # of the error that an iteration leaves: what is below is rounding


@registry.register("multigrid")
class LearnedMultigrid(LearnedPreconditioner):
    r"""A multigrid V-cycle with learned prolongation and damping: a :class:`~sciops.layers.SPDVCycle` for operators.

    It is trained on what conjugate gradients leave of a random error after some iterations with the very
    preconditioner that is being trained, by the error e in the norm of A that one more step leaves of it,

    .. math:: \mathrm{mean}\ \log \min_\alpha \frac{|e - \alpha M A e|_A^2}{|e|_A^2}.

    The weights know ratios of neighbouring entries only, so what is trained on small grids works on large ones.

    Where it stands: black-box multigrid with the same smoothing takes about as many iterations and is set up sooner
    (docs/learned-preconditioners.md has the table and the reason), so it is what `solve` chooses.

    Parameters
    ----------
    d
        Number of axes of the operators: one, two or three.
    width, degree, lower, first, parts, seed
        As of :class:`~sciops.layers.SPDVCycle`.

    References
    ----------
    Y. Notay, "Flexible conjugate gradients", SIAM J. Sci. Comput. 22, 2000, for the loss; D. Greenfeld et al.,
    "Learning to optimize multigrid PDE solvers", ICML 2019, for learned prolongation.

    Examples
    --------
    >>> from sciops.preconditioners import families, train
    >>> from sciops.solvers.linear import cg
    >>> family = families.piecewise(16, 16, batch=2)
    >>> model = train(family, LearnedMultigrid(2), steps=3, progress=False)
    >>> A = families.piecewise(64, 64, batch=1)(torch.Generator().manual_seed(1)).to(torch.float64)
    >>> cg(A, torch.ones(64, 64).double(), M=model).converged
    True
    """

    method = "cg"

    def __init__(
        self,
        d: int = 2,
        *,
        width: int = 16,
        degree: int = 3,
        lower: float = 0.15,
        first: int = 1,
        parts: Sequence[str] = PARTS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.d, self.width, self.degree, self.lower = d, width, degree, lower
        self.first, self.parts, self.seed = first, tuple(parts), seed
        self.layer = SPDVCycle(d, width=width, degree=degree, lower=lower, first=first, parts=parts, seed=seed)

    def setup(self, A: LinearOperator) -> Cycle:
        """The cycle for an operator on a grid, in single precision where its entries allow that.

        Raises
        ------
        InputError
            If the operator has no grid, another number of axes, or is not positive definite.
        """
        with torch.no_grad():
            diagonal, coupling, unit = self._scaled(A)
            made, kept = precisions(diagonal, coupling, one_strength=False)
            levels, coarsest = self.layer.levels(diagonal.to(made), coupling.to(made))
            ready = [_stencil_level(level, kept) for level in levels]
            return Cycle(ready, CoarseSolve(coarsest[0].to(kept), coarsest[1].to(kept)), scale=unit, dtype=kept)

    def loss(self, A: LinearOperator, generator: torch.Generator) -> Tensor:
        """See the class; in double precision, whatever the operator has."""
        diagonal, coupling, _ = self._scaled(A)
        diagonal, coupling = diagonal.double(), coupling.double()
        levels, coarsest = self.layer.levels(diagonal, coupling)
        if len(levels) <= (self.first if self.parts == ("prolongation",) else 0):
            raise InputError(f"the grid of {A!r} is too small to train on: no level of it is learned")
        solve = DenseSolve(*coarsest)
        steps = int(torch.randint(*_STEPS, (1,), generator=generator))
        start = torch.randn(diagonal.shape, generator=generator, dtype=torch.float64).to(diagonal.device)
        with torch.no_grad():
            A = A.to(torch.float64)
            reached = cg(
                A,
                A @ start,
                M=lambda r: cycle(levels, solve, r),
                rtol=_LEAST,
                maxiter=steps,
                raise_on_failure=False,
            )
            e = (start - reached.value)[:, None]
            e = e / _dot(e, diffusion_apply(diagonal, coupling, e)).sqrt()
            r = diffusion_apply(diagonal, coupling, e)
        z = cycle(levels, solve, r)
        Az = diffusion_apply(diagonal, coupling, z)
        left = 1 - _dot(r, z).square() / _dot(z, Az)
        return left.clamp_min(_LEAST).log().mean()

    def _scaled(self, A: LinearOperator) -> tuple[Tensor, Tensor, float]:
        """D and w, divided by the largest entry of D, and that."""
        diagonal, coupling = require_stencil("LearnedMultigrid", A)
        if diagonal.ndim != self.d + 1:
            raise InputError(f"LearnedMultigrid({self.d}) needs an operator on a grid of {self.d} axes, got {A!r}")
        if A.definite is False or A.nullspace is not None:
            raise InputError(
                f"LearnedMultigrid needs a positive definite operator, {A!r} is not; use Multigrid or minres"
            )
        unit = float(diagonal.amax())
        return diagonal.detach() / unit, coupling.detach() / unit, unit


def _stencil_level(level: SPDLevel, dtype: torch.dtype) -> StencilLevel:
    operator = level.diagonal.to(dtype), level.coupling.to(dtype)
    return StencilLevel(*operator, level.sweeps, level.weights.to(dtype), level.scale.to(dtype))


def _dot(x: Tensor, y: Tensor) -> Tensor:
    """Of each field of a batch, to be multiplied with fields."""
    return (x * y).flatten(1).sum(1).view(-1, *(1,) * (x.ndim - 1))
