"""Conjugate gradients, plain and flexible, on the kernels of :mod:`sciops.kernels.krylov`."""

from __future__ import annotations

import torch
from torch import Tensor

from sciops.kernels import krylov
from sciops.solvers.linear.krylov_system import Run, System, norm
from sciops.solvers.linear.solution import Outcome

ASYMMETRY = {torch.float64: 1e-4, torch.float32: 1e-2}
"""The largest <M r_1, r_0> / |M r_1| |r_0| of a symmetric M, by the precision that it computes in: the rounding of
incomplete factors, transforms, domain decomposition and algebraic multigrid leaves 1e-7, and 4e-9 at contrast 1e12."""
FALLEN = {torch.float64: 1e-3, torch.float32: 1e-1}
"""A residual that one iteration brought below this carries too much of the rounding of the first one to tell."""


class ConjugateGradients(Run):
    """The preconditioned method of Hestenes and Stiefel; one product with A and one with M."""

    def __init__(self, system: System, x: Tensor, r: Tensor, status: Tensor, goal: Tensor, room: int) -> None:
        super().__init__(system, x, r, status)
        # fresh memory for the product would cost as much as the product itself
        self.p, self.kept = torch.zeros_like(r), torch.empty_like(r)
        self.rz = torch.ones(len(r), dtype=torch.float64, device=r.device)
        self.rr: Tensor | None = None
        self.curvature = self.rz
        self.first = r.clone() if system.M is not None else None
        self.steps, self.asymmetry = 0, torch.zeros_like(self.rz)

    def step(self) -> Tensor:
        system, r = self.system, self.r
        z = self.answer = system.precondition(r)
        if self.steps == 1 and self.first is not None:
            self.asymmetry = mark_asymmetry(self.status, z, self.first, r, system.precision(z))
            self.first = None
        # without M, <r, z> is the <r, r> of the step before
        self.rz = krylov.cg_direction_(self.p, z, r, self.rz, self.status, self.rr if system.M is None else None)
        self.image, pAp = system.apply_dot(self.p, self.kept)
        moving = self.status == 0
        self.rr, pAp = krylov.cg_update_(self.x, r, self.p, self.image, self.rz, self.status, pAp)
        self.curvature = torch.where(moving, pAp, self.curvature)
        self.steps += 1
        return self.rr.sqrt()

    def evidence(self) -> dict[Outcome, Tensor]:
        return {
            Outcome.INDEFINITE_OPERATOR: self.curvature,
            Outcome.INDEFINITE_PRECONDITIONER: krylov.dot(self.r, self.answer.to(self.r.dtype)),
            Outcome.NONSYMMETRIC_PRECONDITIONER: self.asymmetry,
        }


class FlexibleConjugateGradients(Run):
    """Notay's method: each direction is made conjugate to the last `keep`, so that M may be anything."""

    def __init__(
        self, system: System, x: Tensor, r: Tensor, status: Tensor, goal: Tensor, room: int, *, keep: int = 1
    ) -> None:
        super().__init__(system, x, r, status)
        slots = max(keep, 1)
        self.P, self.AP = r.new_zeros(2, slots, *r.shape)
        self.pAp = torch.zeros(slots, len(r), dtype=torch.float64, device=r.device)
        self.keep = keep
        self.curvature, self.steps = torch.zeros_like(self.pAp[0]), 0

    def step(self) -> Tensor:
        slot = self.steps % len(self.P)
        z = self.answer = self.system.precondition(self.r)
        pr = krylov.conjugate_(self.P, self.AP, self.pAp, z, self.r, self.status, slot, definite=False)
        self.image, pAp = self.system.apply_dot(self.P[slot])
        self.AP[slot] = self.image
        moving = self.status == 0
        rr, pAp = krylov.cg_update_(self.x, self.r, self.P[slot], self.image, pr, self.status, pAp)
        self.curvature = torch.where(moving, pAp, self.curvature)
        if self.keep:
            self.pAp[slot] = pAp  # a slot without it is empty
        self.steps += 1
        return rr.sqrt()

    def evidence(self) -> dict[Outcome, Tensor]:
        return {Outcome.INDEFINITE_OPERATOR: self.curvature}


def mark_asymmetry(status: Tensor, z: Tensor, first: Tensor, r: Tensor, precision: torch.dtype) -> Tensor:
    """Mark systems whose M is not symmetric, by z = M r_1 and the residuals r_0 and r_1; by how much, 0 for others.

    <M r_1, r_0> = <r_1, M r_0>, and r_1 is orthogonal to M r_0, the first direction: 0 for a symmetric M.
    """
    wide = z.to(first.dtype)
    size, before = norm(wide), norm(first)
    share = krylov.dot(wide, first).abs() / (size * before).clamp_min(torch.finfo(torch.float64).tiny)
    far = norm(r) < FALLEN[precision] * before
    wrong = (status == 0) & ~far & (share > ASYMMETRY[precision])
    status.masked_fill_(wrong, int(Outcome.NONSYMMETRIC_PRECONDITIONER))
    return torch.where(wrong, share, 0.0)
