"""MINRES and GMRES: the smallest residual in a Krylov space, on their kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from sciops.kernels import gmres, krylov, minres
from sciops.solvers.linear.krylov_system import Run, System, norm
from sciops.solvers.linear.solution import Outcome


class MinimalResidual(Run):
    """The method of Paige and Saunders; M symmetric positive definite, A only symmetric.

    What it knows is the norm of the residual in the inner product of M. A goal is met by the true residual, which is
    computed when the estimate, scaled as the last true one was, falls to the goal.
    """

    def __init__(self, system: System, x: Tensor, r: Tensor, status: Tensor, goal: Tensor, room: int) -> None:
        super().__init__(system, x, r, status)
        self.b, self.start = r.clone(), x.clone()
        self.z = self.answer = system.preconditioned_copy(r)
        self.square = krylov.dot(r, self.z)
        wrong = (status == 0) & ~(self.square > 0)
        named = torch.where(self.square.isfinite(), int(Outcome.INDEFINITE_PRECONDITIONER), int(Outcome.NOT_FINITE))
        status.copy_(torch.where(wrong, named.to(status.dtype), status))
        self.scalars = minres.minres_start(self.square.clamp_min(0).sqrt())
        self.r_old, self.w_old, self.w = (torch.zeros_like(r) for _ in range(3))
        self.scale = norm(r) / self.scalars[7].clamp_min(torch.finfo(torch.float64).tiny)
        self.goal, self.plain = goal, system.M is None

    def step(self) -> Tensor:
        system, r = self.system, self.r
        self.image = system.apply(self.z)
        minres.minres_lanczos_(self.r_old, r, self.z, self.image, self.scalars, self.status)
        self.r_old, self.r = r, self.r_old
        z_new = system.preconditioned_copy(self.r)
        moving = self.status == 0
        self.answer = z_new
        square = krylov.dot(self.r, z_new)
        self.square = torch.where(moving, square, self.square)
        phi = minres.minres_update_(self.x, self.w_old, self.w, self.z, self.r, z_new, self.scalars, self.status)
        self.w_old, self.w, self.z = self.w, self.w_old, z_new
        return phi if self.plain else self._certified(phi, moving)

    def _certified(self, phi: Tensor, moving: Tensor) -> Tensor:
        estimate = phi * self.scale
        near = moving & (estimate <= self.goal)
        if bool(near.any()):
            true = norm(self.b - self.system.apply(self.x - self.start))
            self.scale = torch.where(near & (phi > 0), true / phi, self.scale)
            estimate = torch.where(near, true, estimate)
        return estimate

    def evidence(self) -> dict[Outcome, Tensor]:
        return {Outcome.INDEFINITE_PRECONDITIONER: self.square}


class GeneralizedMinimalResidual(Run):
    """The method of Saad and Schultz, preconditioned from the right; flexible, it keeps what M made of each vector."""

    def __init__(
        self,
        system: System,
        x: Tensor,
        r: Tensor,
        status: Tensor,
        goal: Tensor,
        room: int,
        *,
        restart: int = 30,
        flexible: bool = False,
    ) -> None:
        super().__init__(system, x, r, status)
        m = self.length = min(restart, room, r.shape[1])
        systems, size = len(r), norm(r)
        self.V = r.new_zeros(m + 1, *r.shape)
        self.V[0] = r / torch.where(size > 0, size, 1.0).to(r.dtype)[:, None]
        self.Z = r.new_zeros(m, *r.shape) if flexible and system.M is not None else None
        self.R, self.rotations, self.g = (
            torch.zeros(shape, dtype=torch.float64, device=r.device)
            for shape in ((systems, m, m), (2, systems, m), (systems, m + 1))
        )
        self.g[:, 0] = size
        self.steps = 0

    def step(self) -> Tensor:
        j, V = self.steps, self.V
        z = self.answer = self.system.precondition(V[j]).to(V.dtype)
        if self.Z is not None:
            self.Z[j] = z
        self.image = self.system.apply(z)
        h = gmres.arnoldi_(V, self.image, self.status, j + 1)
        self.steps += 1
        return gmres.gmres_rotate_(self.R, self.rotations, self.g, h, self.status)

    def finish(self) -> None:
        m = self.steps
        R, g = self.R[:, :m, :m], self.g[:, :m]
        # columns that were never taken, or that a singular A left without a pivot, have no part in the answer
        diagonal = R.diagonal(dim1=1, dim2=2)
        unused = diagonal.abs() <= torch.finfo(torch.float64).eps * R.abs().amax((1, 2))[:, None]
        triangle = R + torch.diag_embed(torch.where(unused, 1.0 - diagonal, 0.0))
        y = torch.linalg.solve_triangular(triangle, torch.where(unused, 0.0, g)[..., None], upper=True)[..., 0]
        y = y.to(self.x.dtype)
        if self.Z is not None:
            self.x += torch.einsum("sj,jsn->sn", y, self.Z[:m])
        else:
            self.x += self.system.precondition(torch.einsum("sj,jsn->sn", y, self.V[:m]))
