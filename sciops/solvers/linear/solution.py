"""`Solution`: what a solver returns, with the true residual and the status of each system."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxtyping import Float, Int
from torch import Tensor


class Outcome(enum.IntEnum):
    """How a system ended; the first are those of :class:`sciops.kernels.systems.Status`."""

    RUNNING = 0
    CONVERGED = 1
    INDEFINITE_OPERATOR = 2
    INDEFINITE_PRECONDITIONER = 3
    NOT_FINITE = 4
    BREAKDOWN = 5
    EXHAUSTED = 6
    STAGNATED = 7
    MAXITER = 8
    NONSYMMETRIC_PRECONDITIONER = 9
    INCONSISTENT = 10

    @property
    def words(self) -> str:
        """The name as `Solution.status` has it."""
        return self.name.lower().replace("_", " ")


class Applications(NamedTuple):
    """How often the operator and the preconditioner were applied to all systems at once."""

    A: int
    M: int


@dataclass(frozen=True)
class Solution:
    """The answer to A x = b, for each system of a batch.

    Systems are counted in the order of the leading dimensions of b.

    Parameters
    ----------
    value
        x, of the shape of b (a Field from :func:`sciops.solvers.solve`); differentiable.
    method
        Its name.
    status
        One word or two for each system: "converged", or why not: "maxiter", "stagnated", "indefinite operator",
        "indefinite preconditioner", "nonsymmetric preconditioner", "not finite", "breakdown", "inconsistent".
    iterations
        int64 ``(system,)``.
    residuals
        The true ``|b - A x| / |b|`` of each system, computed at the end, float64; 0 where b = 0.
    goal
        What it had to be at most: ``max(rtol, atol / |b|)``.
    history
        ``(iteration + 1, system)``, what the method knew of the relative residual after each iteration, the start
        first; the last value stays where a system had ended.
    applications
        Of A and M.
    message
        One line that says how it went; for failures the worst system, the reason and the remedy.

    Examples
    --------
    >>> import torch
    >>> from sciops.solvers.linear import Diffusion, cg
    >>> A = Diffusion(torch.ones(8, dtype=torch.float64), grid=1 / 8)
    >>> found = cg(A, torch.ones(8, dtype=torch.float64))
    >>> found.converged, found.status, found.iterations.tolist()
    (True, ('converged',), [4])
    """

    value: Any
    method: str
    status: tuple[str, ...]
    iterations: Int[Tensor, " system"]
    residuals: Float[Tensor, " system"]
    goal: Float[Tensor, " system"] = field(repr=False)
    history: Float[Tensor, "iteration system"] = field(repr=False)
    applications: Applications
    message: str

    @property
    def converged(self) -> bool:
        """Whether every system met its goal by the true residual."""
        return all(status == "converged" for status in self.status)


REMEDIES = {
    Outcome.INDEFINITE_OPERATOR: "A is not positive definite: <p, A p> = {value:.3g}{place}; use minres, or gmres",
    Outcome.INDEFINITE_PRECONDITIONER: "M is not positive definite: <r, M r> = {value:.3g}{place}; "
    "use another M, or fgmres, which needs no definite one",
    Outcome.NONSYMMETRIC_PRECONDITIONER: "M is not symmetric (or not linear): <M r_1, r_0> / |M r_1| |r_0| = "
    "{value:.3g} where a symmetric M has 0{place}; use fcg, fgmres, or a symmetric M",
    Outcome.NOT_FINITE: "{detail}{place}",
    Outcome.BREAKDOWN: "a divisor of the method vanished{place}; use gmres with a larger restart",
    Outcome.EXHAUSTED: "the Krylov space holds no better answer{place}: A is singular",
    Outcome.STAGNATED: "the residual does not fall any more{place}; rounding alone leaves about "
    "{value:.1e} of b in {detail}: ask for less by rtol, compute in float64, or scale the system",
    Outcome.MAXITER: "maxiter was reached{place}; raise it, or give a better preconditioner M",
    Outcome.INCONSISTENT: "A is singular and b is not in its range: a part of relative size {value:.3g} of b cannot be "
    "reached; remove it from b, or fix the null space",
}
