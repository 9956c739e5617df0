r"""What damps the rough part of the error on a level of multigrid, and how one is chosen for an operator.

A smoother is a polynomial in S A for some scaling S: one over the diagonal (:class:`Chebyshev`), or the inverse of what
the operator couples along the lines of an axis (:class:`Line`). The first damps what is rough along every axis as long
as neighbours along all axes are coupled about equally. Where one axis has the strong couplings, errors that are rough
along the others only are all but null vectors of it, and lines along the strong axis find them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sciops.errors import InputError, did_you_mean
from sciops.kernels.krylov import dot
from sciops.kernels.minres import minres_lanczos, minres_start
from sciops.kernels.stencil import diffusion_apply, offsets
from sciops.kernels.sweeps import Sweeps, chebyshev, gauss_seidel, jacobi

_SAFETY = 1.1  # over the largest eigenvalue, which Lanczos finds from below
_STRONG = 5.0  # times as strong as along another axis, from where on lines pay
_SHARE = 0.15  # of the cells for which that holds
_SAMPLE, _LEAST = 4096, 64  # cells that are looked at, of all operators of a batch and of each at least


def _require_polynomial(smoother: Chebyshev | Line) -> None:
    if smoother.degree < 1 or not 0 < smoother.lower < 1:
        raise InputError(f"{smoother}: a degree of at least 1 and a lower bound between 0 and 1 are expected")


@dataclass(frozen=True)
class Chebyshev:
    """The smoother that damps best, in so many products, the eigenvalues from `lower` times the largest one upwards.

    Parameters
    ----------
    degree
        Products with A.
    lower
        Where damping begins, as a share of the largest eigenvalue of D^-1 A.

    Examples
    --------
    >>> Chebyshev()
    Chebyshev(degree=3, lower=0.15)
    """

    degree: int = 3
    lower: float = 0.15

    def __post_init__(self) -> None:
        _require_polynomial(self)

    def sweeps(self, largest: float) -> Sweeps:
        """The sweeps for a level whose largest eigenvalue of D^-1 A is given."""
        return chebyshev(self.degree, (self.lower * largest, largest))


@dataclass(frozen=True)
class L1Jacobi:
    """Jacobi's method with the sums of the magnitudes of the rows in place of the diagonal.

    It takes something off every error, whatever the couplings are, and needs no eigenvalue; :class:`Chebyshev` takes
    off more for the same work.

    Parameters
    ----------
    steps
        Products with A.

    References
    ----------
    A. Baker, R. Falgout, T. Kolev, U. Yang, "Multigrid smoothers for ultraparallel computing", SIAM J. Sci. Comput.
    33, 2011.

    Examples
    --------
    >>> L1Jacobi()
    L1Jacobi(steps=2)
    """

    steps: int = 2

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"{self}: at least one step is expected")

    def sweeps(self) -> Sweeps:
        """The sweeps, the same for every level."""
        return jacobi(self.steps)


@dataclass(frozen=True)
class RedBlack:
    """Gauss-Seidel on a checkerboard, for couplings along the axes.

    Parameters
    ----------
    steps
        Sweeps over both colours.
    """

    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"{self}: at least one step is expected")

    def sweeps(self, largest: float) -> Sweeps:
        """The sweeps, the same for every level."""
        return gauss_seidel(self.steps)


@dataclass(frozen=True)
class Line:
    """Chebyshev polynomials with whole lines solved for at once, for operators with strong couplings along some axes.

    Parameters
    ----------
    axes
        Along which the lines run, one axis after the other (in reverse on the way up of a cycle); None for all axes.
    degree
        Solves along each axis.
    lower
        Where damping begins, as a share of the largest eigenvalue.

    Notes
    -----
    One axis is enough where it is the strong one everywhere. In three dimensions lines do not damp what two strong axes
    hold together, :class:`Chebyshev` of a high degree does so better.

    Examples
    --------
    >>> Line(axes=0)
    Line(axes=(0,), degree=2, lower=0.25)
    """

    axes: int | tuple[int, ...] | None = None
    degree: int = 2
    lower: float = 0.25

    def __post_init__(self) -> None:
        if isinstance(self.axes, int):
            object.__setattr__(self, "axes", (self.axes,))
        if self.axes is not None and (not isinstance(self.axes, tuple) or not self.axes):
            raise InputError(f"lines run along an axis, a tuple of axes or None for all, got {self.axes!r}")
        _require_polynomial(self)

    def along(self, d: int) -> tuple[int, ...]:
        """The axes of an operator with d of them.

        Raises
        ------
        InputError
            For axes that are not there, or twice.
        """
        axes = tuple(range(d)) if self.axes is None else self.axes
        assert isinstance(axes, tuple)
        if len(set(axes)) != len(axes) or not all(isinstance(a, int) and 0 <= a < d for a in axes):
            raise InputError(f"{self} on a grid with the axes 0 to {d - 1}; take each of them once at most")
        return axes


Smoother = Chebyshev | L1Jacobi | RedBlack | Line
PLAIN, PLANES = Chebyshev(), Chebyshev(8, 0.02)
SMOOTHERS: dict[str, Callable[[], Smoother]] = {
    "chebyshev": Chebyshev,
    "l1-jacobi": L1Jacobi,
    "red-black": RedBlack,
    "line": Line,
}


def as_smoother(smoother: Smoother | str) -> Smoother:
    """A smoother, or that of a name.

    Raises
    ------
    InputError
        For anything else.

    Examples
    --------
    >>> as_smoother("red-black")
    RedBlack(steps=1)
    """
    if isinstance(smoother, str):
        if smoother not in SMOOTHERS:
            raise InputError(f"unknown smoother {smoother!r}{did_you_mean(smoother, list(SMOOTHERS))}")
        return SMOOTHERS[smoother]()
    if not isinstance(smoother, Smoother):
        raise InputError(
            f"a smoother is Chebyshev(...), L1Jacobi(...), RedBlack(...), Line(...) or a name of one, got {smoother!r}"
        )
    return smoother


def choose_smoother(coupling: Tensor) -> Smoother:
    """A smoother for an operator, by what its cells are coupled to.

    Parameters
    ----------
    coupling
        w of :mod:`sciops.kernels.stencil`, ``(batch, link, *space)``.

    Returns
    -------
    Chebyshev or Line
        Chebyshev(3, 0.15) where all axes are about equally strong, lines along the axes that are much stronger than
        another in many cells, and Chebyshev(8, 0.02) where two of three are: no line holds the plane that they span.

    Notes
    -----
    What counts is all that leads from a cell to either side. A cell beside a jump of the coefficient has one weak side
    along one axis and is not meant.

    Examples
    --------
    >>> choose_smoother(torch.tensor([1.0, 100.0]).view(1, 2, 1, 1).expand(1, 2, 8, 8))
    Line(axes=(1,), degree=2, lower=0.25)
    """
    d = coupling.ndim - 2
    if d == 1:
        return PLAIN
    space = coupling.shape[2:]
    cells = torch.arange(space.numel(), device=coupling.device)
    sample = max(_SAMPLE // len(coupling), _LEAST)
    if cells.numel() > sample:
        # drawn by chance, lest what repeats itself is met at one place only
        draw = torch.randint(cells.numel(), (sample,), generator=torch.Generator().manual_seed(0))
        cells = draw.to(coupling.device)
    links, sides, stride = coupling.flatten(2), [], space.numel()
    for axis, n in enumerate(space):
        stride //= n
        below = torch.where(cells // stride % n > 0, cells - stride, cells + (n - 1) * stride)
        # a coarse operator spreads what it couples along an axis over all links that lead there
        there = [number for number, o in enumerate(offsets(d, coupling.shape[1])) if o[axis]]
        leading = links[:, there]
        sides.append((leading[..., cells] + leading[..., below]).sum(1))
    strengths = torch.stack(sides)
    weakest, strongest = strengths.amin(0).clamp_min(0), strengths.amax(0)
    # against the weakest axis, and not weak itself: between two weak ones there is little but rounding
    strong = (strengths > _STRONG * weakest) & (_STRONG * strengths > strongest)
    some = _SHARE * (strongest > 0).sum()
    if bool((strong.sum(0) > 1).sum() > some):
        return PLANES
    axes = tuple(axis for axis, many in enumerate((strong.flatten(1).sum(1) > some).tolist()) if many)
    return Line(axes) if axes else PLAIN


def largest_eigenvalue(
    diagonal: Tensor, coupling: Tensor, scaling: Callable[[Tensor], Tensor] | None = None, steps: int = 10
) -> float:
    """A bound of the spectrum of S A: the smaller one of Gershgorin's, where it holds, and of some steps of Lanczos.

    Parameters
    ----------
    diagonal, coupling
        Of A.
    scaling
        S, symmetric and positive; D^-1 when None.
    steps
        Of Lanczos.
    """
    ones = torch.ones_like(diagonal)[:, None]
    around = diffusion_apply(torch.zeros_like(diagonal), coupling.abs().neg_(), ones)[:, 0]
    gershgorin = float((1 + around / diagonal).amax())
    if gershgorin <= 2 * (1 + 1e-5):
        # couplings of one sign: sharp, and for lines 2 T - A is diagonally dominant too
        return gershgorin
    start = torch.randn(ones[:1].shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    r = start.to(ones).flatten(1).repeat(len(ones), 1)

    def scaled(v: Tensor) -> Tensor:
        field = v.view_as(ones)
        return (field / diagonal[:, None] if scaling is None else scaling(field)).reshape(v.shape)

    old, status = torch.zeros_like(r), torch.zeros(len(r), dtype=torch.int32, device=r.device)
    z = scaled(r)
    scalars = minres_start(dot(r, z).sqrt())
    alphas, betas = [], []
    for _ in range(steps):
        image = diffusion_apply(diagonal, coupling, z.view_as(ones)).flatten(1)
        new, scalars, status = minres_lanczos(old, r, z, image, scalars, status)
        alphas.append(scalars[2])
        old, r, z = r, new, scaled(new)
        betas.append(dot(new, z).clamp_min(0).sqrt())
        scalars = torch.cat([scalars[1:2], betas[-1][None], scalars[2:]])
    beside = torch.diag_embed(torch.stack(betas[:-1], -1), 1)
    found = torch.linalg.eigvalsh(torch.diag_embed(torch.stack(alphas, -1)) + beside + beside.mT)
    bound = _SAFETY * float(found.amax())
    return min(gershgorin, bound) if scaling is None else bound
