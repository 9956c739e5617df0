"""`LearnedMultigrid`: multigrid whose prolongation and damping are learned, symmetric positive definite always."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.stencil import diffusion_apply
from sciops.layers.multigrid import PARTS, SPDVCycle
from sciops.preconditioners.base import LearnedPreconditioner, registry
from sciops.solvers.linear import LinearOperator
from sciops.solvers.linear.multigrid import CoarseSolve, StencilLevel, cycle


@registry.register("multigrid")
class LearnedMultigrid(LearnedPreconditioner):
    method = "cg"

    def __init__(
        self,
        d: int = 2,
        *,
        width: int = 16,
        degree: int = 2,
        lower: float = 0.25,
        first: int = 1,
        parts: Sequence[str] = PARTS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.d, self.width, self.degree, self.lower = d, width, degree, lower
        self.first, self.parts, self.seed = first, tuple(parts), seed
        self.cycle = SPDVCycle(d, width=width, degree=degree, lower=lower, first=first, parts=parts, seed=seed)

    def setup(self, A: LinearOperator):
        with torch.no_grad():
            return SetUp(self.cycle, A)

    def loss(self, A: LinearOperator, generator: torch.Generator) -> Tensor:
        """Notay"""
        dtype = next(self.parameters()).dtype
        diagonal, coupling = A.stencil_diagonal.detach(), A.coupling.detach()
        unit = diagonal.amax(tuple(range(1, diagonal.ndim)), keepdim=True)
        diagonal, coupling = (diagonal / unit).to(dtype), (coupling / unit[:, None]).to(dtype)
        levels, coarsest = self.cycle.levels(diagonal, coupling)
        from sciops.layers.multigrid import DenseSolve
        solve = DenseSolve(*coarsest)
        e = torch.randn(len(diagonal), 1, *diagonal.shape[1:], generator=generator, dtype=torch.float64).to(dtype)
        steps = int(torch.randint(2, 9, (1,), generator=generator))
        dot = lambda a, b: (a * b).flatten(1).sum(1).view(-1, *(1,) * (a.ndim - 1))
        with torch.no_grad():
            # what the method itself leaves after some iterations for a random error
            r = diffusion_apply(diagonal, coupling, e)
            p, rz = None, None
            for _ in range(steps):
                z = cycle(levels, solve, r)
                new = dot(r, z)
                p = z if p is None else z + new / rz * p
                rz = new
                Ap = diffusion_apply(diagonal, coupling, p)
                alpha = rz / dot(p, Ap)
                e, r = e - alpha * p, r - alpha * Ap
            size = dot(e, r).sqrt()
            e, r = e / size, r / size
        z = cycle(levels, solve, r)
        Az = diffusion_apply(diagonal, coupling, z)
        left = 1 - dot(r, z).square() / dot(z, Az) / dot(e, r)
        return left.clamp_min(1e-12).log().mean()


class SetUp:
    symmetric = True

    def __init__(self, layer, A):
        self.dtype = torch.float32
        self._scale = float(A.stencil_diagonal.amax())
        diagonal, coupling = A.stencil_diagonal.detach() / self._scale, A.coupling.detach() / self._scale
        dtype = next(layer.parameters()).dtype
        levels, coarsest = layer.levels(diagonal.to(dtype), coupling.to(dtype))
        self.levels = [StencilLevel(*(x.to(self.dtype) for x in (L.diagonal, L.coupling)), L.sweeps, L.weights.to(self.dtype), scale=L.scale.to(self.dtype)) for L in levels]
        self.coarsest = CoarseSolve(*(x.to(self.dtype) for x in coarsest), 0)

    def __call__(self, r):
        u = cycle(self.levels, self.coarsest, r.to(self.dtype))
        return u.to(r.dtype) / self._scale
