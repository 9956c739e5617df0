"""Diffusion problems that linear solvers are compared on: -div(k grad u) = f in a square or cube, u = 0 around it.

Cells n^d, second-order finite volumes; f is white noise. The coefficient is constant, or made of one smooth random
field, the same function at every resolution: "lognormal" has the contrast 1000 in all, "piecewise" jumps by 1000 where
the field crosses its median.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sparse
import torch

from sciops.solvers.linear import Diffusion

KINDS = ("constant", "lognormal", "piecewise")
CONTRAST = 1e3
_CORRELATION = 3.0  # the spectrum is flat up to this wavenumber


@dataclass(frozen=True)
class Problem:
    """A problem by its name: kind of coefficient, cells along an axis, dimensions, and the seed of the field."""

    kind: str
    cells: int
    dimensions: int = 2
    seed: int = 0

    @property
    def space(self) -> tuple[int, ...]:
        return (self.cells,) * self.dimensions

    @cached_property
    def permeability(self) -> torch.Tensor:
        """k, ``(*space)``, float64."""
        if self.kind == "constant":
            return torch.ones(self.space, dtype=torch.float64)
        return medium(self.kind, smooth_field(self.cells, self.dimensions, self.seed))

    @cached_property
    def rhs(self) -> torch.Tensor:
        """f, ``(*space)``."""
        return torch.from_numpy(np.random.default_rng(self.seed + 1).standard_normal(self.space))

    def operator(self) -> Diffusion:
        """A, with the width of a cell as the unit of length."""
        return Diffusion(self.permeability, grid=1.0)

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """A as the peers take it: assembled, the entries of each row in order."""
        found = self.operator().to_scipy()
        found.sum_duplicates()
        return found

    def residual(self, x: np.ndarray | torch.Tensor) -> float:
        """|b - A x| / |b|, for every solver by the assembled matrix."""
        b = self.rhs.numpy().ravel()
        return float(np.linalg.norm(b - self.matrix @ np.asarray(x).ravel()) / np.linalg.norm(b))

    def __str__(self) -> str:
        return f"{self.cells}^{self.dimensions} {self.kind}"


def medium(kind: str, g: np.ndarray, contrast: float = CONTRAST) -> torch.Tensor:
    """The "lognormal" or "piecewise" coefficient of a field."""
    if kind == "piecewise":
        return torch.from_numpy(np.where(g > np.median(g), contrast, 1.0))
    return torch.from_numpy(contrast ** ((g - g.min()) / np.ptp(g)))


def smooth_field(
    cells: int, dimensions: int, seed: int, *, correlation: float = _CORRELATION, power: float = 2.0
) -> np.ndarray:
    """A Gaussian field at the centres of cells: a cosine series whose coefficients fall like the inverse Laplacian.

    They are flat up to the wavenumber `correlation`, and fall like wavenumbers to the minus `power`.
    """
    modes = {2: 64, 3: 32}[dimensions]
    m = np.arange(modes, dtype=float)
    squares = sum(np.meshgrid(*[m**2] * dimensions, indexing="ij"))
    c = np.random.default_rng(seed).standard_normal(squares.shape) / (np.pi**2 * squares + correlation**2) ** (
        power / 2
    )
    c[(0,) * dimensions] = 0.0
    waves = np.cos(np.pi * np.outer((np.arange(cells) + 0.5) / cells, m))
    for _ in range(dimensions):
        c = np.tensordot(c, waves, axes=(0, 1))  # the first axis in modes becomes the last one in cells
    return c
