"""Iterative refinement: the loop around direct solvers."""

from __future__ import annotations

import torch
from torch import Tensor

from sciops.solvers.linear.krylov_system import Run, System, norm
from sciops.solvers.linear.solution import Outcome

_LEAST = 0.9  # of the residual that an iteration must leave at most


class Refinement(Run):
    """x becomes x + M (b - A x); one product with each."""

    exact = True

    def __init__(self, system: System, x: Tensor, r: Tensor, status: Tensor, goal: Tensor, room: int) -> None:
        super().__init__(system, x, r, status)
        # r is replaced at every step and never written to, so that its first value stays what it is
        self.start, self.b, self.size = x.clone() if bool(x.any()) else None, r, norm(r)
        self.moved = False

    def step(self) -> Tensor:
        moving = self.status == 0
        self.answer = self.system.precondition(self.r).to(self.x.dtype)
        x = self.x + self.answer if self.moved or self.start is not None else self.answer
        moved = x if self.start is None else x - self.start
        r = self.system.residual(moved, self.b)
        self.image, size, self.moved = r, norm(r), True
        better = moving & (size <= _LEAST * self.size)
        if bool(better.all()):
            self.x.copy_(x)
            self.r, self.size = r, size
            return size
        # where the step is not finite, or makes it worse, the last iterate stays
        self.x.copy_(torch.where(better[:, None], x, self.x))
        self.r = torch.where(better[:, None], r, self.r)
        code = torch.where(size.isfinite(), int(Outcome.STAGNATED), int(Outcome.NOT_FINITE)).to(self.status.dtype)
        stuck = moving & ~better
        self.status.copy_(torch.where(stuck, code, self.status))
        self.size = torch.where(better, size, self.size)
        return self.size
