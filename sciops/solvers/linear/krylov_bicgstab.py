"""BiCGStab on the kernels of :mod:`sciops.kernels.bicgstab`."""

from __future__ import annotations

import torch
from torch import Tensor

from sciops.kernels import bicgstab, krylov
from sciops.solvers.linear.krylov_system import Run, System


class StabilizedBiconjugateGradients(Run):
    """The method of van der Vorst, preconditioned from the right; two products with A and two with M."""

    def __init__(self, system: System, x: Tensor, r: Tensor, status: Tensor, goal: Tensor, room: int) -> None:
        super().__init__(system, x, r, status)
        self.shadow, self.p = r.clone(), r.clone()
        self.rho = krylov.dot(r, r)
        self.goal = goal

    def step(self) -> Tensor:
        system, r, status = self.system, self.r, self.status
        Mp = self._preconditioned(self.p)
        v = self.image = system.apply(Mp)
        alpha, _ = bicgstab.bicgstab_half_(r, self.shadow, v, self.rho, status)
        Ms = self._preconditioned(r)
        t = system.apply(Ms)
        old = self.rho
        omega, self.rho, rr = bicgstab.bicgstab_update_(self.x, r, Mp, Ms, t, self.shadow, alpha, status)
        known = rr.sqrt()
        # a system that is done must not go on into a break-down of the next direction
        frozen = torch.where((status == 0) & (known <= self.goal), 1, status).to(status.dtype)
        bicgstab.bicgstab_direction_(self.p, r, v, self.rho, old, alpha, omega, frozen)
        status.copy_(torch.where(frozen == 1, status, frozen))
        return known

    def _preconditioned(self, v: Tensor) -> Tensor:
        z = self.answer = self.system.preconditioned_copy(v)
        # what is written must not be what is read, which without M is one
        return z.clone() if z.data_ptr() == v.data_ptr() else z
