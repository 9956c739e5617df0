# ruff: noqa: E501  the table
"""The instances that drive the conformance suite: operators by name, and the methods and preconditioners that fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sparse
import torch
from torch import Tensor

from sciops.data import Grid
from sciops.kernels.stencil import diffusion_apply
from sciops.solvers.linear import Diffusion, Helmholtz, LinearOperator, MatrixFree, Sparse

SYMMETRIC = ("cg", "block_cg", "fcg", "minres", "gmres", "fgmres", "bicgstab")
ANY = ("gmres", "fgmres", "bicgstab")


@dataclass(frozen=True)
class Instance:
    """How to make a fresh operator, and what it promises."""

    make: Callable[[torch.Generator], LinearOperator]
    methods: tuple[str, ...] = SYMMETRIC
    preconditioners: tuple[str | None, ...] = (None, "jacobi")


def lognormal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).exp()


def random_sparse(generator: torch.Generator, n: int, *, symmetric: bool, shift: float = 0.0) -> sparse.csr_matrix:
    """Some random entries, diagonally dominant before the shift."""
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    A = sparse.random(n, n, 0.1, random_state=rng, data_rvs=rng.standard_normal)
    A = A + A.T if symmetric else A
    return sparse.csr_matrix(A + sparse.diags(np.asarray(abs(A).sum(1)).ravel() + 0.5 - shift))


def convection(generator: torch.Generator) -> LinearOperator:
    """Upwind transport along the last axis on top of diffusion, by a function of a field."""
    A = Diffusion(lognormal(generator, 7, 6), grid=(1 / 7, 1 / 6))

    def blown(u: Tensor, wind: Tensor, *stencil: Tensor) -> Tensor:
        return diffusion_apply(*stencil, u.contiguous()) + wind * (u - torch.nn.functional.pad(u, (1, 0))[..., :-1])

    wind = 20 * torch.rand(7, 6, generator=generator, dtype=torch.float64)
    return MatrixFree(blown, (7, 6), parameters=[wind, *A.tensors()], diagonal=A.diagonal() + wind)


def masked(generator: torch.Generator, obstacle: str) -> LinearOperator:
    """A block that leaves no closed room."""
    mask = torch.ones(8, 7, dtype=torch.bool)
    i, j = (int(torch.randint(1, 4, (1,), generator=generator)) for _ in range(2))
    mask[i : i + 3, j : j + 2] = False
    return Diffusion(lognormal(generator, 8, 7), grid=(0.1, 0.2), mask=mask, obstacle=obstacle)


INSTANCES: dict[str, Instance] = {
    "line": Instance(lambda g: Diffusion(lognormal(g, 20), grid=0.05)),
    "plane": Instance(lambda g: Diffusion(lognormal(g, 9, 8), grid=(0.1, 0.2)), preconditioners=(None, "jacobi", "ic0", "fast", "lu", "amg", "schwarz", "multigrid")),
    "cube": Instance(lambda g: Diffusion(lognormal(g, 5, 4, 6), grid=(1.0, 2.0, 0.5)), preconditioners=(None, "jacobi", "ic0", "fast", "schwarz", "multigrid")),
    "batch": Instance(lambda g: Diffusion(lognormal(g, 3, 6, 7), grid=(0.1, 0.2)), preconditioners=(None, "jacobi", "ic0", "fast", "schwarz", "multigrid")),
    "anisotropic": Instance(lambda g: Diffusion(lognormal(g, 1, 2, 7, 6), grid=(0.2, 0.2)), preconditioners=(None, "ic0", "fast")),
    "robin and mixed": Instance(
        lambda g: Diffusion(lognormal(g, 7, 9), (0.1, 0.1), [("neumann", 2.0), ("dirichlet", "neumann")]),
        preconditioners=(None, "ic0"),
    ),
    "periodic with reaction": Instance(
        lambda g: Diffusion(lognormal(g, 8, 8), Grid.unit(8, 8, kind="periodic"), "periodic", lognormal(g, 8, 8)),
        preconditioners=(None, "jacobi", "ic0", "fast"),
    ),
    "neumann obstacles": Instance(lambda g: masked(g, "neumann"), preconditioners=(None, "jacobi", "ic0")),
    "dirichlet obstacles": Instance(lambda g: masked(g, "dirichlet"), preconditioners=(None, "jacobi", "ic0", "schwarz")),
    "helmholtz": Instance(lambda g: Helmholtz(9.0, Grid.unit(9, 8, kind="cell")), ("minres", "gmres", "fgmres"), (None,)),
    "sparse": Instance(lambda g: Sparse(random_sparse(g, 60, symmetric=True)), preconditioners=(None, "jacobi", "ic0", "lu", "amg")),
    # fewer unknowns than directions kept: a restart may stall where eigenvalues lie on both sides of zero
    "sparse indefinite": Instance(
        lambda g: Sparse(random_sparse(g, 24, symmetric=True, shift=3.0)), ("minres", "gmres", "fgmres"), (None,)
    ),
    "sparse nonsymmetric": Instance(
        lambda g: Sparse(random_sparse(g, 60, symmetric=False)), ANY, (None, "jacobi", "lu")
    ),
    "convection": Instance(convection, ANY, (None, "jacobi", "lu")),
    "sum": Instance(
        lambda g: Diffusion(lognormal(g, 6, 6), (0.2, 0.2)) + 3.0 * Diffusion(lognormal(g, 6, 6), (0.2, 0.2), "neumann")
    ),
    "composed": Instance(
        lambda g: Sparse(random_sparse(g, 30, symmetric=False)) @ Sparse(random_sparse(g, 30, symmetric=False)),
        ANY,
        (None,),
    ),
}  # fmt: skip
