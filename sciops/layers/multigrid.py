r"""Multigrid cycles whose parts are learned: one recursion, :func:`sciops.solvers.linear.cycles.cycle`, two kinds.

:class:`SPDVCycle` is a preconditioner of a given operator: the same few weights serve every level, grid size and
operator, and the map is symmetric positive definite whatever they are. :class:`LinearVCycle` is a layer of a neural
operator (MgNO): convolutions of its own on every level, from all input to all output channels, nothing else asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from sciops.errors import InputError
from sciops.kernels.blackbox import around, blackbox_prolong, blackbox_restrict, blackbox_weights, columns, galerkin
from sciops.kernels.smoothing import l1_scale, smooth, smooth_residual
from sciops.kernels.stencil import diffusion_apply, diffusion_residual, offsets
from sciops.kernels.sweeps import Sweeps, chebyshev
from sciops.layers.convolution import CONVOLUTIONS, TRANSPOSED
from sciops.layers.padding import pad_axes
from sciops.layers.pointwise import PointwiseLinear
from sciops.solvers.linear.cycles import cycle

_COARSEST = 100  # unknowns that are solved for by a dense inverse
_LEAST = 1e-7  # of the entries of a row: what is below counts as this in logarithms
_MOST_SWEEPS = 100
_FARTHEST = 4.0  # of the logarithms by which shares are changed
PARTS = ("prolongation", "damping")


class SPDLevel:
    """A level whose operations are all differentiable in the operator, the damping and the prolongation.

    Parameters
    ----------
    diagonal, coupling
        Of :mod:`sciops.kernels.stencil`.
    scale
        The damping s of the smoother, for which no eigenvalue of s A is above 2.
    weights
        Of the prolongation, as :func:`~sciops.kernels.blackbox.blackbox_weights` has them.
    sweeps
        A polynomial in s A.
    """

    def __init__(self, diagonal: Tensor, coupling: Tensor, scale: Tensor, weights: Tensor, sweeps: Sweeps) -> None:
        self.diagonal, self.coupling, self.scale, self.weights = diagonal, coupling, scale, weights
        self.sweeps = sweeps

    def down(self, b: Tensor) -> tuple[Tensor, Tensor]:
        u, r = smooth_residual(self.diagonal, self.coupling, self.scale, b, sweeps=self.sweeps)
        return u, blackbox_restrict(r, self.weights)

    def up(self, b: Tensor, u: Tensor, e: Tensor) -> Tensor:
        better = blackbox_prolong(e, self.weights, b.shape[2:], u)
        return smooth(self.diagonal, self.coupling, self.scale, b, better, sweeps=self.sweeps)

    def residual(self, b: Tensor, u: Tensor) -> Tensor:
        return diffusion_residual(self.diagonal, self.coupling, u, b)


class SPDVCycle(nn.Module):
    r"""A multigrid V-cycle with learned prolongation and damping, symmetric positive definite for all weights.

    Each cell of the fine grid that is no coarse point takes its value from the coarse points around it, with shares

    .. math:: P_{iI} = \sigma_i\, \mathrm{softmax}_I\big(\log p_{iI} + \phi(\text{row } i, \text{row } I)\big),
              \qquad \sigma_i = \sum_I p_{iI},

    where p is the black-box prolongation and :math:`\phi` a small perceptron of ratios of the entries of the two rows,
    seen from the coarse point: what it answers does not change when the grid is mirrored, the operator scaled or the
    grid refined. Constants are prolonged as p does. The coarse operator is :math:`P' A P`. The smoother is a Chebyshev
    polynomial in s A with

    .. math:: s_i = \frac{2\, w_i}{\sum_j |A_{ij}|},
              \qquad w_i = 1 - \tfrac{3}{4} \frac{1}{1 + e^{4 - \psi(\text{row } i)}} \in (\tfrac14, 1).

    **Why it is positive definite.** By Gershgorin's theorem no eigenvalue of s A is above 2, so that the polynomial,
    the same before and after, takes something off every error in the norm of A and adds to none. With R = P' and an
    exact solve on the coarsest grid each level is then symmetric and positive definite if the next one is.

    Before training :math:`\phi = \psi = 0`: black-box multigrid with an l1-Jacobi-Chebyshev smoother.

    Parameters
    ----------
    d
        Number of axes: one, two or three.
    width
        Hidden units of each perceptron.
    degree, lower
        The Chebyshev polynomial: sweeps, and where damping begins as a share of the bound 2.
    first
        The first level (0 is the finest) on which the prolongation is learned. A finer one has more cells than all
        that are coarser, and perceptrons there cost more than the cycles they save.
    parts
        Which parts are learned: any of "prolongation" and "damping".
    seed
        Of the initial weights.

    Raises
    ------
    InputError
        For a dimension, count or part that there is not.

    References
    ----------
    D. Greenfeld, M. Galun, R. Basri, I. Yavneh, R. Kimmel, "Learning to optimize multigrid PDE solvers", ICML 2019;
    A. Baker, R. Falgout, T. Kolev, U. Yang, "Multigrid smoothers for ultraparallel computing", 2011.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion
    >>> A = Diffusion(torch.ones(32, 32).double(), grid=1.0)
    >>> layer = SPDVCycle(2)
    >>> layer(A.stencil_diagonal, A.coupling, torch.ones(1, 1, 32, 32).double()).shape
    torch.Size([1, 1, 32, 32])
    """

    def __init__(
        self,
        d: int,
        *,
        width: int = 16,
        degree: int = 3,
        lower: float = 0.15,
        first: int = 1,
        parts: Sequence[str] = PARTS,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if d not in (1, 2, 3):
            raise InputError(f"a multigrid cycle on a grid of {d!r} axes; one, two or three are expected")
        if width < 1 or not 1 <= degree <= _MOST_SWEEPS or first < 0 or not 0 < lower < 1:
            raise InputError(
                f"width {width} of at least 1, degree {degree} of 1 to {_MOST_SWEEPS}, first {first} of at least 0 and "
                f"lower {lower} between 0 and 1 are expected"
            )
        unknown = [part for part in parts if part not in PARTS]
        if unknown:
            raise InputError(f"unknown part {unknown[0]!r} of a cycle; there are {', '.join(PARTS)}")
        self.d, self.first, self.parts = d, first, tuple(parts)
        self.sweeps = chebyshev(degree, (2 * lower, 2.0))
        generator = torch.Generator().manual_seed(seed)
        row = 2 * 3**d
        # one perceptron for cells between two coarse points, one for those between four, one for eight
        counts = range(1, d + 1) if "prolongation" in self.parts else ()
        self.shares = nn.ModuleDict({str(count): _perceptron(row + 2, width, generator) for count in counts})
        self.damping = _perceptron(4, width, generator) if "damping" in self.parts else None

    def levels(
        self, diagonal: Float[Tensor, " batch *space"], coupling: Float[Tensor, "batch link *space"]
    ) -> tuple[list[SPDLevel], tuple[Tensor, Tensor]]:
        """The levels of an operator, from the finest to the last but one, and the operator of the coarsest grid.

        Raises
        ------
        InputError
            If the operator has another number of axes, or shapes that do not fit each other, or is of half precision.
        """
        if diagonal.ndim != self.d + 1:
            raise InputError(f"a cycle for {self.d} axes was given an operator on a grid of {diagonal.ndim - 1}")
        if diagonal.dtype not in (torch.float32, torch.float64):
            raise InputError(f"a cycle computes in torch.float32 or torch.float64, the operator is {diagonal.dtype}")
        found: list[SPDLevel] = []
        while diagonal[0].numel() > _COARSEST:
            weights = blackbox_weights(diagonal, coupling)
            if self.shares and len(found) >= self.first:
                weights = self._learned(diagonal, coupling, weights)
            found.append(SPDLevel(diagonal, coupling, self._scale(diagonal, coupling), weights, self.sweeps))
            diagonal, coupling = galerkin(diagonal, coupling, weights)
        return found, (diagonal, coupling)

    def forward(
        self,
        diagonal: Float[Tensor, " batch *space"],
        coupling: Float[Tensor, "batch link *space"],
        b: Float[Tensor, "batch rhs *space"],
    ) -> Float[Tensor, "batch rhs *space"]:
        """One cycle from zero, differentiable in the weights, the operator and b."""
        levels, coarsest = self.levels(diagonal, coupling)
        return cycle(levels, DenseSolve(*coarsest), b)

    def _scale(self, diagonal: Tensor, coupling: Tensor) -> Tensor:
        """The damping s."""
        if self.damping is None:
            return 2 * l1_scale(diagonal, coupling)
        rows = _rows(diagonal, coupling)
        total = diagonal.abs() + rows.abs().sum(1)
        share = rows / total[:, None]
        # what does not depend on the order of the neighbours
        features = torch.stack([diagonal / total, share.amax(1), share.square().sum(1), share.clamp(max=0).sum(1)], -1)
        psi = _answer(self.damping, features)
        return (2 - 1.5 * torch.sigmoid(psi - 4)) / total

    def _learned(self, diagonal: Tensor, coupling: Tensor, weights: Tensor) -> Tensor:
        """The prolongation, from the black-box one."""
        d = self.d
        rows = _rows(diagonal, coupling)
        total = diagonal.abs() + rows.abs().sum(1)
        middle = len(rows[0]) // 2
        ratios = torch.cat([rows[:, :middle], diagonal[:, None], rows[:, middle:]], 1) / total[:, None]
        entries = around(torch.cat([ratios, _logarithm(ratios.abs())], 1))
        # (batch, 2, 3, ..., 3, column, *coarse): the entries as they lie around the cell
        entries = entries.reshape(len(entries), 2, *(3,) * d, *entries.shape[2:])
        size = around(total[:, None])[:, 0] / around(total[:, None], centre=True)[:, 0]
        beside = torch.stack([_logarithm(weights), _logarithm(size)], -1)
        logits = []
        for n, offset in enumerate(columns(d)):
            seen = entries.select(d + 2, n)
            for a, o in enumerate(offset, start=2):
                # mirrored so that the coarse point always stands on the same side; where it stands on neither, both
                # sides count alike
                seen = seen.flip(a) if o > 0 else seen if o < 0 else _both_sides(seen, a)
            features = torch.cat([seen.flatten(1, d + 1).movedim(1, -1), beside[:, n]], -1)
            logits.append(_answer(self.shares[str(sum(map(abs, offset)))], features))
        share = weights.clamp_min(0) * torch.stack(logits, 1).clamp(-_FARTHEST, _FARTHEST).exp()
        one = torch.ones_like(share[:, :1])
        space = diagonal.shape[1:]
        whole, kept = blackbox_prolong(one, share, space), blackbox_prolong(one, weights, space)
        there = whole > 0
        factor = torch.where(there, kept / torch.where(there, whole, 1), 1)
        return torch.where(around(there.to(share))[:, 0] > 0, share, weights) * around(factor)[:, 0]


class DenseSolve:
    """The exact solution on the coarsest grid, differentiable in the operator.

    Parameters
    ----------
    diagonal, coupling
        Of :mod:`sciops.kernels.stencil`, of a positive definite operator.
    """

    def __init__(self, diagonal: Tensor, coupling: Tensor) -> None:
        # CoarseSolve goes by eigenvectors, whose derivatives fail where eigenvalues are equal, to keep null spaces; an
        # inverse has derivatives, and what is trained has no null space
        unit = torch.eye(diagonal[0].numel(), dtype=diagonal.dtype, device=diagonal.device)
        unit = unit.view(1, -1, *diagonal.shape[1:]).expand(len(diagonal), -1, *diagonal.shape[1:])
        self.inverse = torch.linalg.inv(diffusion_apply(diagonal, coupling, unit.contiguous()).flatten(2))

    def __call__(self, b: Tensor) -> Tensor:
        u: Tensor = b.flatten(2) @ self.inverse
        return u.view(b.shape)


class LinearVCycle(nn.Module):
    r"""The linear map of MgNO: a multigrid V-cycle from all input to all output channels, with weights of its own.

    On each level :math:`u \leftarrow S_0 f,\ u \leftarrow u + S_\nu (f - A u)`, with convolutions A and S of three
    cells per axis, the residual goes down by a convolution of stride 2 and the correction up by a transposed one. It is
    linear in f, and has no other structure: as a preconditioner it would be neither symmetric nor positive.

    Parameters
    ----------
    in_channels, out_channels
        Number of channels in and out.
    kinds
        Kind of each axis: a field goes on around a "periodic" one and is zero beyond the ends of any other.
    levels
        Grids, the finest included. An axis of n cells has ceil(n / 2) on the next one.
    smoothings
        How often f is smoothed before the coarse correction, and after it.
    seed
        Of the initial weights.

    Raises
    ------
    InputError
        For a count below one.

    References
    ----------
    J. He, X. Liu, J. Xu, "MgNO: efficient parameterization of linear operators via multigrid", ICLR 2024.

    Examples
    --------
    >>> LinearVCycle(3, 8, ["closed", "closed"], levels=3)(torch.ones(2, 3, 33, 20)).shape
    torch.Size([2, 8, 33, 20])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kinds: Sequence[str],
        *,
        levels: int = 4,
        smoothings: tuple[int, int] = (1, 1),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(in_channels, out_channels, levels, smoothings[0]) < 1 or smoothings[1] < 0:
            raise InputError(
                f"{in_channels} and {out_channels} channels, {levels} levels, {smoothings} smoothings; at least 1 of "
                f"each is needed, but for the smoothings after"
            )
        generator = torch.Generator().manual_seed(seed)
        self.in_channels, self.kinds = in_channels, tuple(kinds)
        last = range(levels)[-1]
        self.grids = nn.ModuleList(
            _Grid(in_channels, out_channels, kinds, smoothings, coarser=level < last, generator=generator)
            for level in range(levels)
        )

    def forward(self, f: Float[Tensor, "batch in_channel *space"]) -> Float[Tensor, "batch out_channel *space"]:
        """Apply the map.

        Raises
        ------
        InputError
            If the number of channels or axes does not fit.
        """
        if f.ndim != 2 + len(self.kinds) or f.shape[1] != self.in_channels:
            raise InputError(
                f"LinearVCycle takes f of shape (batch, {self.in_channels}, {len(self.kinds)} space axes), got "
                f"{tuple(f.shape)}"
            )
        grids = [grid for grid in self.grids if isinstance(grid, _Grid)]
        return cycle(grids[:-1], grids[-1].solve, f)


class _Grid(nn.Module):
    """The convolutions of a level; meets :class:`~sciops.solvers.linear.cycles.Level`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kinds: Sequence[str],
        smoothings: tuple[int, int],
        *,
        coarser: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.kinds, self.before = tuple(kinds), smoothings[0]
        d = len(kinds)

        def weights(first: int, second: int, inputs: int, size: int = 3, gain: float = 1.0) -> nn.Parameter:
            drawn = torch.randn(first, second, *(size,) * d, generator=generator)
            return nn.Parameter(drawn * (gain / math.sqrt(inputs * 3**d)))

        self.operator = weights(inputs, outputs, outputs)
        self.smoothers = nn.ParameterList(weights(outputs, inputs, inputs) for _ in range(sum(smoothings)))
        self.restriction = weights(inputs, inputs, inputs) if coarser else None
        # of four cells at each axis two reach a cell of the fine grid
        self.prolongation = weights(outputs, outputs, outputs, 4, (3 / 2) ** (d / 2)) if coarser else None

    def solve(self, b: Tensor) -> Tensor:
        """On the coarsest grid all smoothings follow each other."""
        return self._after(b, self._before(b))

    def down(self, b: Tensor) -> tuple[Tensor, Tensor]:
        u = self._before(b)
        return u, self._convolve(self.residual(b, u), self.restriction, stride=2)

    def up(self, b: Tensor, u: Tensor, e: Tensor) -> Tensor:
        # one coarse cell more at the ends, as the axis goes on; the fine grid begins a cell into what that gives
        d = len(self.kinds)
        wide = TRANSPOSED[d](pad_axes(e, [(1, 1)] * d, self.kinds), self.prolongation, stride=2)
        for a, n in enumerate(b.shape[2:], start=2):
            wide = wide.narrow(a, 3, n)
        return self._after(b, u + wide)

    def _before(self, b: Tensor) -> Tensor:
        u = self._convolve(b, self.smoothers[0])
        for weight in list(self.smoothers)[1 : self.before]:
            u = u + self._convolve(self.residual(b, u), weight)
        return u

    def _after(self, b: Tensor, u: Tensor) -> Tensor:
        for weight in list(self.smoothers)[self.before :]:
            u = u + self._convolve(self.residual(b, u), weight)
        return u

    def residual(self, b: Tensor, u: Tensor) -> Tensor:
        return b - self._convolve(u, self.operator)

    def _convolve(self, x: Tensor, weight: Tensor | None, stride: int = 1) -> Tensor:
        assert weight is not None  # the coarsest grid is never left
        found: Tensor = CONVOLUTIONS[len(self.kinds)](
            pad_axes(x, [(1, 1)] * len(self.kinds), self.kinds), weight, stride=stride
        )
        return found


def _perceptron(inputs: int, width: int, generator: torch.Generator) -> nn.Sequential:
    """One hidden layer; the last one begins at zero."""
    hidden = PointwiseLinear(inputs, width, generator=generator)
    last = PointwiseLinear(width, 1, bias=False, gain=0.0, generator=generator)
    return nn.Sequential(hidden, nn.SiLU(), last)


def _both_sides(x: Tensor, axis: int) -> Tensor:
    """From what lies below, at and above: the mean of below and above, at, and how much they differ."""
    below, at, above = x.unbind(axis)
    return torch.stack([(below + above) / 2, at, (below - above).abs()], axis)


def _answer(perceptron: nn.Module, features: Tensor) -> Tensor:
    """In the precision of the weights, and back."""
    weights = next(perceptron.parameters())
    found: Tensor = perceptron(features.to(weights.dtype))[..., 0]
    return found.to(features.dtype)


def _rows(diagonal: Tensor, coupling: Tensor) -> Tensor:
    """The entries of the matrix beside the diagonal, with their signs turned: (batch, 3^d - 1, *space)."""
    axes, links = tuple(range(1, diagonal.ndim)), offsets(diagonal.ndim - 1, coupling.shape[1])
    found = {o: coupling[:, a] for a, o in enumerate(links)}
    found |= {tuple(-x for x in o): coupling[:, a].roll(o, axes) for a, o in enumerate(links)}
    zero = torch.zeros_like(diagonal)
    return torch.stack([found.get(o, zero) for o in columns(diagonal.ndim - 1)], 1)


def _logarithm(ratio: Tensor) -> Tensor:
    """From 1 to 0, and what is very small to -1."""
    return ratio.clamp_min(_LEAST).log() / -math.log(_LEAST)
