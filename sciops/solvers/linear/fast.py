"""`FastDiffusion`: the inverse of a diffusion operator with constant coefficients on a box, by fast transforms."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.diffusion import Side
from sciops.kernels.trigonometric import cosine_transform, sine_transform
from sciops.solvers.linear.diffusion import Diffusion
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.preconditioner import preconditioners

# sine or cosine, type and phase of the eigenvectors: the angle of the k-th is pi (k + phase) / n
_BASES = {
    ("dirichlet", "dirichlet"): (True, 2, 1.0),
    ("neumann", "neumann"): (False, 2, 0.0),
    ("dirichlet", "neumann"): (True, 4, 0.5),
    ("neumann", "dirichlet"): (False, 4, 0.5),
}


class FastDiffusion:
    r"""The inverse of -div(k grad u) + c u for constant k and c, exact to rounding; for others, with their means.

    The eigenvectors are sines (Dirichlet), cosines (Neumann) or complex exponentials (periodic) along each axis, the
    types IV where the sides of an axis differ, with the eigenvalues

    .. math:: \lambda = c + \sum_a \frac{k_a}{h_a^2} (2 - 2 \cos\theta_a).

    An eigenvalue 0 is left out: the answer is that of least norm. O(n log n) for n unknowns.

    Parameters
    ----------
    A
        A Diffusion operator, or a batch of them, with Dirichlet, Neumann or periodic sides.

    Attributes
    ----------
    exact : bool
        Whether it is the inverse and no approximation.

    Raises
    ------
    InputError
        For another operator, a Robin side, or eigenvalues that are not all of one sign.

    References
    ----------
    R. W. Hockney, "A fast direct solution of Poisson's equation using Fourier analysis", 1965.

    Examples
    --------
    >>> A = Diffusion(torch.ones(8, 8, dtype=torch.float64), grid=1 / 8)
    >>> b = torch.ones(1, 1, 8, 8, dtype=torch.float64)
    >>> bool((A @ FastDiffusion(A)(b) - b).abs().max() < 1e-12)
    True
    """

    symmetric = True

    def __init__(self, A: Diffusion) -> None:
        if not isinstance(A, Diffusion):
            raise InputError(f"a fast transform inverts Diffusion operators, not {A!r}")
        self.sides, self.space, self.exact = A.sides, A.space, A.constant
        axes = tuple(range(-len(A.space), 0))
        k = A.permeability.detach()
        k = k if k.ndim == len(A.space) + 2 else k[:, None]
        # of what is constant one value is the mean
        means = (k.flatten(2)[..., 0] if self.exact else k.mean(axes)).double().expand(-1, len(A.space))
        c = torch.as_tensor(A.reaction, dtype=torch.float64, device=A.device).detach()
        eigenvalues = (c.mean(axes) if c.ndim else c).view(-1, *(1,) * (1 + len(A.space)))
        for a, (pair, n, h) in enumerate(zip(A.sides, A.space, A.spacing, strict=True)):
            values = _angles(pair, n, a, last=_periodic(A.sides)[-1:] == [a]).mul(0.5).sin().square() * (4 / h**2)
            shape = [1] * (2 + len(A.space))
            shape[0], shape[2 + a] = len(means), len(values)
            eigenvalues = eigenvalues + (means[:, a, None] * values.to(A.device)).view(shape)
        low, high = (float(bound) for bound in eigenvalues.aminmax())
        least = 1e-13 * max(-low, high)
        if not self.exact and low < 0:
            raise InputError(
                "the mean reaction makes the operator indefinite; a fast transform is no preconditioner then"
            )
        if low > least:
            inverse = eigenvalues.reciprocal_()
        else:
            zero = eigenvalues.abs() <= least
            inverse = torch.where(zero, 0.0, 1 / torch.where(zero, 1.0, eigenvalues))
        self.inverse: Float[Tensor, "batch 1 *modes"] = inverse.to(A.dtype)

    def __call__(self, r: Tensor) -> Tensor:
        """The inverse applied to ``(batch, rhs, *space)``."""
        y = r
        for dims, sine, kind in self._transforms():
            y = (sine_transform if sine else cosine_transform)(y, dims, kind=kind)
        periodic = [2 + a for a in _periodic(self.sides)]
        if periodic:
            spectrum = torch.fft.rfftn(y, dim=periodic) * self.inverse.to(y.dtype)
            y = torch.fft.irfftn(spectrum, s=[r.shape[a] for a in periodic], dim=periodic)
        else:
            y = y * self.inverse.to(y.dtype)
        for dims, sine, kind in self._transforms():
            y = (sine_transform if sine else cosine_transform)(y, dims, kind=kind, inverse=True)
        return y

    def _transforms(self) -> list[tuple[list[int], bool, int]]:
        """Dimensions, family and type, those of one kind together."""
        found: dict[tuple[bool, int], list[int]] = {}
        for a, pair in enumerate(self.sides):
            if "periodic" not in pair:
                sine, kind, _ = _BASES[_kinds(pair, a)]
                found.setdefault((sine, kind), []).append(2 + a)
        return [(dims, sine, kind) for (sine, kind), dims in found.items()]

    def __repr__(self) -> str:
        return f"FastDiffusion({self.space}, {'exact' if self.exact else 'mean coefficients'})"


def fast_solver(A: Diffusion) -> FastDiffusion:
    """The exact inverse of a diffusion operator with constant coefficients on a box.

    Raises
    ------
    InputError
        If the coefficients are not constant, there is a mask, or a side has Robin's condition.

    Examples
    --------
    >>> fast_solver(Diffusion(torch.ones(8, dtype=torch.float64), grid=1.0))
    FastDiffusion((8,), exact)
    """
    made = FastDiffusion(A)
    if not made.exact:
        raise InputError(
            f"the coefficients of {A!r} are not constant; use cg(A, b, M='fast') or another preconditioner"
        )
    return made


@preconditioners.register("fast")
def _fast(A: LinearOperator) -> FastDiffusion:
    return FastDiffusion(A)  # type: ignore[arg-type]


def _periodic(sides: tuple[tuple[Side, Side], ...]) -> list[int]:
    return [a for a, pair in enumerate(sides) if "periodic" in pair]


def _kinds(pair: tuple[Side, Side], axis: int) -> tuple[str, str]:
    names = {0: "neumann", math.inf: "dirichlet"}
    first, second = (side if isinstance(side, str) else names.get(side, "robin") for side in pair)
    if "robin" in (first, second):
        raise InputError(f"axis {axis} has Robin's condition, which no fast transform diagonalises; use another solver")
    return first, second


def _angles(pair: tuple[Side, Side], n: int, axis: int, *, last: bool) -> Tensor:
    """The angles of the eigenvectors of an axis, half of them on the last periodic axis, whose transform is real."""
    if "periodic" in pair:
        return 2 * torch.pi * torch.arange(n // 2 + 1 if last else n, dtype=torch.float64) / n
    _, _, phase = _BASES[_kinds(pair, axis)]
    return torch.pi * (torch.arange(n, dtype=torch.float64) + phase) / n
