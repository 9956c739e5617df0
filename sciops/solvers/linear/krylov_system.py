"""What every Krylov method stands on: A and M on vectors ``(system, n)``, and the form of one run of a method."""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.krylov import dot
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import Preconditioner
from sciops.solvers.linear.solution import Outcome

Vectors = Float[Tensor, "system n"]


class System:
    """A and M on flat vectors, counted; fields are views of them, ``(batch, rhs, *space)``."""

    def __init__(self, A: LinearOperator, M: Preconditioner | None, shape: torch.Size) -> None:
        self.A, self.M, self.shape = A, M, shape
        self.applied = self.preconditioned = 0
        self._answer: Tensor | None = None

    def field(self, v: Vectors) -> Tensor:
        """The vectors as fields."""
        return v.view(self.shape)

    def apply(self, v: Vectors) -> Vectors:
        """A v."""
        self.applied += 1
        return self.A.apply(self.field(v)).reshape(v.shape)

    def apply_dot(self, v: Vectors, out: Vectors | None = None) -> tuple[Vectors, Float[Tensor, " system"] | None]:
        """A v, and <v, A v> where it comes free; A v may stand in `out`, memory that is kept."""
        self.applied += 1
        image, energy = self.A.apply_dot(self.field(v), None if out is None else self.field(out))
        return image.reshape(v.shape), None if energy is None else energy.reshape(-1)

    def residual(self, x: Vectors, b: Vectors) -> Vectors:
        """b - A x."""
        self.applied += 1
        return self.A.residual(self.field(x), self.field(b)).reshape(x.shape).contiguous()

    def preconditioned_copy(self, r: Vectors) -> Vectors:
        """M r in the dtype of r and in memory of its own: M may answer in the same memory each time."""
        z = self.precondition(r)
        return z.to(r.dtype, copy=self.M is not None)

    def precondition(self, r: Vectors) -> Vectors:
        """M r in the dtype of r or float32, good until the next call; r itself without M."""
        if self.M is None:
            return r
        self.preconditioned += 1
        into = getattr(self.M, "into", None)
        if into is None:
            z = self.M(self.field(r))
        else:
            self._answer = torch.empty_like(r) if self._answer is None else self._answer
            z = into(self.field(r), self.field(self._answer))
        if not isinstance(z, Tensor) or z.shape != self.shape or z.device != r.device:
            found = f"{tuple(z.shape)} on {z.device}" if isinstance(z, Tensor) else f"a {type(z).__name__}"
            raise InputError(
                f"the preconditioner {type(self.M).__name__} returned {found}, "
                f"expected a tensor of shape {tuple(self.shape)} on {r.device}"
            )
        if self.A.nullspace is not None:
            # what M makes of the rounding in the null space may be large: M becomes P M on its complement
            z = split(z, self.A.nullspace)[0]
        z = z.reshape(r.shape)
        return z if z.dtype in (r.dtype, torch.float32) else z.to(r.dtype)

    def precision(self, z: Vectors) -> torch.dtype:
        """In which M computed z: a cycle in single precision may answer in double."""
        return torch.float32 if torch.float32 in (z.dtype, getattr(self.M, "dtype", None)) else z.dtype


class Run(abc.ABC):
    """One run of a method from a residual on; it moves x and status in place, and r is its own.

    Attributes
    ----------
    length
        Iterations after which it starts again from x, None for never.
    exact
        Whether `r` is b - A x itself, not what a recurrence makes of it.
    """

    length: int | None = None
    exact = False

    def __init__(self, system: System, x: Vectors, r: Vectors, status: Int[Tensor, " system"]) -> None:
        self.system, self.x, self.r, self.status = system, x, r, status
        self.image = self.answer = r  # the last products of A and of M

    @abc.abstractmethod
    def step(self) -> Float[Tensor, " system"]:
        """One iteration of all systems that are RUNNING; what the method knows of the norms of their residuals."""

    def finish(self) -> None:
        """Bring x up to date."""
        return None

    def evidence(self) -> dict[Outcome, Float[Tensor, " system"]]:
        """The numbers that break-downs are named with."""
        return {}


Start = Callable[[System, Vectors, Vectors, Int[Tensor, " system"], Float[Tensor, " system"], int], Run]
"""``start(system, x, r, status, goal, room)``: begin a run with room for so many iterations."""


def norm(v: Vectors) -> Float[Tensor, " system"]:
    """The norms of vectors, float64."""
    return dot(v, v).sqrt()


def split(b: Tensor, nullspace: Tensor) -> tuple[Tensor, Float[Tensor, " system"]]:
    """Fields ``(batch, rhs, *space)`` without their part in the null space, and the norm of that part of each."""
    flat, basis = b.flatten(2).double(), nullspace.flatten(2).double()
    share = flat @ basis.transpose(1, 2)
    rest = (flat - share @ basis).to(b.dtype).view(b.shape)
    lost = share.square().sum(-1).sqrt().reshape(-1)
    rounding = 10 * torch.finfo(b.dtype).eps * flat.square().sum(-1).sqrt().reshape(-1)
    return rest, torch.where(lost <= rounding, 0.0, lost)
