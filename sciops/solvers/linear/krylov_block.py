"""Conjugate gradients for all right-hand sides of an operator together."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciops.kernels.krylov import dot
from sciops.solvers.linear.krylov_conjugate import mark_asymmetry
from sciops.solvers.linear.krylov_system import Run, System, Vectors, norm
from sciops.solvers.linear.solution import Outcome

_DEPENDENT = 1e-13
"""The smallest eigenvalue of a Gram matrix of unit vectors, beside its largest, that is more than rounding."""

Block = Float[Tensor, "batch rhs n"]
Small = Float[Tensor, "batch rhs rhs"]


class BlockConjugateGradients(Run):
    """The right-hand sides share their directions: each residual is minimised over the sum of all Krylov spaces.

    Directions are kept orthonormal, and those that depend on others are zero: residuals may become dependent, or be so
    from the start. The numbers of a step come from the directions, not from the residuals, so that they exist all the
    same. A system that has ended gives no new directions.
    """

    def __init__(self, system: System, x: Vectors, r: Vectors, status: Tensor, goal: Tensor, room: int) -> None:
        super().__init__(system, x, r, status)
        batch, rhs = system.shape[:2]
        self.shape = batch, rhs, r.shape[1]
        self.P = self.AP = torch.zeros_like(r).view(self.shape)
        self.Z, self.kept = torch.empty_like(self.P), torch.empty_like(r)
        self.inverse = torch.zeros(batch, rhs, rhs, dtype=torch.float64, device=r.device)
        self.first = r.clone() if system.M is not None else None
        self.curvature = self.asymmetry = torch.zeros(len(r), dtype=torch.float64, device=r.device)
        self.steps = 0

    def step(self) -> Tensor:
        system, r = self.system, self.r
        z = self.answer = system.precondition(r)
        if self.steps == 1 and self.first is not None:
            self.asymmetry = mark_asymmetry(self.status, z, self.first, r, system.precision(z))
            self.first = None
        self._mark(dot(r, z.to(r.dtype)) > 0, dot(z, z).isfinite(), Outcome.INDEFINITE_PRECONDITIONER)
        Z = self.Z.copy_(z.view(self.shape))
        Z.view(r.shape).masked_fill_((self.status != 0)[:, None], 0.0)
        self.P = _independent(_subtract(Z, _products(Z, self.AP) @ self.inverse, self.P))
        self.image, _ = system.apply_dot(self.P.view(r.shape), self.kept)
        self.AP = self.image.view(self.shape)
        curvature = _products(self.P, self.AP)
        finite = curvature.isfinite().all(-1).all(-1)
        if not bool(finite.all()):
            # operators of the batch that have ended must not break those that have not
            self.P, self.AP = (torch.where(finite[:, None, None], v, 0.0) for v in (self.P, self.AP))
        moving = self.status == 0
        self.inverse, least, positive = _inverse(curvature)
        self._mark(self._each(positive), self._each(finite), Outcome.INDEFINITE_OPERATOR)
        self.curvature = torch.where(moving, self._each(least), self.curvature)
        share = _products(r.view(self.shape), self.P) @ self.inverse
        share = torch.where((self.status == 0).view(self.shape[:2])[..., None], share, 0.0)
        _subtract(self.x.view(self.shape), -share, self.P)
        _subtract(r.view(self.shape), share, self.AP)
        self.steps += 1
        return norm(r)

    def _each(self, of_operator: Tensor) -> Tensor:
        """What holds for an operator, for each of its systems."""
        return of_operator.repeat_interleave(self.shape[1])

    def _mark(self, fine: Bool[Tensor, " system"], finite: Bool[Tensor, " system"], code: Outcome) -> None:
        running = self.status == 0
        self.status.masked_fill_(running & finite & ~fine, int(code))
        self.status.masked_fill_(running & ~finite, int(Outcome.NOT_FINITE))

    def evidence(self) -> dict[Outcome, Tensor]:
        return {
            Outcome.INDEFINITE_OPERATOR: self.curvature,
            Outcome.INDEFINITE_PRECONDITIONER: dot(self.r, self.answer.to(self.r.dtype)),
            Outcome.NONSYMMETRIC_PRECONDITIONER: self.asymmetry,
        }


def _products(u: Block, v: Block) -> Small:
    """<u_i, v_j>, summed in float64."""
    return u.double() @ v.double().mT


def _subtract(u: Block, share: Small, v: Block) -> Block:
    """u_i less the sum of share_ij v_j, in place."""
    found: Tensor = u.baddbmm_(share.to(u.dtype), v, alpha=-1)
    return found


def _independent(P: Block) -> Block:
    """An orthonormal basis of the vectors, filled up with zeros, by the eigenvectors of their Gram matrix."""
    gram = _products(P, P)
    gram = torch.where(gram.isfinite(), gram, 0.0)
    size = gram.diagonal(dim1=1, dim2=2)
    # each vector counts by its direction, however near to convergence its system is
    unit = torch.where(size > 0, size, 1.0).rsqrt()
    values, vectors = torch.linalg.eigh(unit[:, :, None] * gram * unit[:, None])
    keep = values > _DEPENDENT * values[:, -1:]
    mix = unit[:, :, None] * vectors * torch.where(keep, values, 1.0).rsqrt()[:, None] * keep[:, None]
    found: Tensor = mix.mT.to(P.dtype) @ P
    return found


def _inverse(curvature: Small) -> tuple[Small, Float[Tensor, " batch"], Bool[Tensor, " batch"]]:
    """The inverse of P' A P on the directions that are not zero, its least eigenvalue there, and whether it is > 0."""
    finite = curvature.isfinite()
    values, vectors = torch.linalg.eigh(torch.where(finite, curvature + curvature.mT, 0.0) / 2)
    largest = values.abs().amax(-1, keepdim=True)
    used = values.abs() > _DEPENDENT * largest
    least = torch.where(used, values, torch.inf).amin(-1)
    share = used / torch.where(used, values, 1.0)
    return (vectors * share[:, None]) @ vectors.mT, torch.where(used.any(-1), least, 0.0), (least > 0) & used.any(-1)
