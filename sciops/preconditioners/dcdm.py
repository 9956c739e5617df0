r"""`DCDM`: deep conjugate directions, a convolutional network that takes residuals to directions of search.

Flexible conjugate gradients make a direction conjugate to the last ones and step along it to the minimum of the energy:
whatever the network answers, the error falls. One matrix, or a few, is what it is trained for; it knows of an operator
only what the residuals show.

**One resolution, or all.** As published, the network works on the cells of A. Its reach is a fixed number of cells, and
so on a larger grid the smooth part of the error is left. With ``levels="all"`` the same network works on every level of
a multigrid hierarchy, in the recursion of :func:`~sciops.solvers.linear.cycles.cycle`: each of its answers is
followed by an exact line search with the operator of the level.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from sciops.errors import InputError, did_you_mean
from sciops.kernels.blackbox import blackbox_prolong, blackbox_restrict
from sciops.kernels.stencil import diffusion_apply
from sciops.preconditioners.base import LearnedPreconditioner, registry
from sciops.preconditioners.lanczos import ritz_vectors
from sciops.solvers.linear import LinearOperator, Multigrid
from sciops.solvers.linear.cycles import cycle
from sciops.solvers.linear.levels import CoarseSolve

_CONVOLUTIONS: dict[int, type[nn.Conv1d | nn.Conv2d | nn.Conv3d]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLS: dict[int, Callable[..., Tensor]] = {
    1: functional.avg_pool1d,
    2: functional.avg_pool2d,
    3: functional.avg_pool3d,
}
_LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}
_LEVELS = ("finest", "all")


class DirectionNetwork(nn.Module):
    """Residual blocks of one convolution on two resolutions, from one channel to one.

    Parameters
    ----------
    dimension
        Number of axes, 1 to 3.
    channels
        Channels inside.
    depths
        Blocks before the average pooling, on half the cells, and after the upsampling.
    generator
        Source of the initial weights.

    Examples
    --------
    >>> network = DirectionNetwork(2, 4, (1, 2, 1), torch.Generator())
    >>> network(torch.zeros(3, 1, 8, 7)).shape
    torch.Size([3, 1, 8, 7])
    """

    def __init__(self, dimension: int, channels: int, depths: Sequence[int], generator: torch.Generator) -> None:
        super().__init__()
        convolution = _CONVOLUTIONS[dimension]

        def blocks(count: int) -> nn.ModuleList:
            return nn.ModuleList(convolution(channels, channels, 3, padding=1) for _ in range(count))

        self.dimension = dimension
        self.first = convolution(1, channels, 3, padding=1)
        self.before, self.coarse, self.after = (blocks(count) for count in depths)
        self.last = convolution(channels, 1, 1)
        self._begin(generator)

    @torch.no_grad()
    def _begin(self, generator: torch.Generator) -> None:
        """Nearly the residual and its average over blocks of cells: directions that lower any energy."""
        blocks = [*self.before, *self.coarse, *self.after]
        for p in self.parameters():
            nn.init.zeros_(p)
        for block in blocks:
            std = 1 / math.sqrt(3 * len(blocks) * block.weight[0].numel())
            nn.init.normal_(block.weight, std=std, generator=generator)
        taps = torch.randn(len(self.first.weight), generator=generator)
        self.first.weight.flatten(1)[:, 3**self.dimension // 2] = taps  # the cell itself
        self.last.weight.view(-1).copy_(taps / taps.square().sum())

    def forward(self, x: Float[Tensor, "batch 1 *space"]) -> Float[Tensor, "batch 1 *space"]:
        """Apply the network."""
        lifted = self.first(x)
        if self.dimension in _LAYOUTS:  # of training, a fifth of the time
            lifted = lifted.contiguous(memory_format=_LAYOUTS[self.dimension])
        fine = self._through(self.before, lifted)
        y = self._through(self.coarse, _POOLS[self.dimension](fine, 2, ceil_mode=True))
        y = functional.interpolate(y, scale_factor=2.0, mode="nearest")
        for axis, size in enumerate(x.shape[2:], start=2):
            y = y.narrow(axis, 0, size)
        found: Tensor = self.last(self._through(self.after, fine + y))
        return found

    @staticmethod
    def _through(blocks: nn.ModuleList, x: Tensor) -> Tensor:
        for block in blocks:
            x = x + block(functional.relu(x))
        return x


class Cells:
    """The network on the cells of one operator: r -> S |S r| net(S r / |S r|) with a diagonal S.

    Cells that are coupled to no other, obstacles among them, are kept out of the network's sight; r / D solves them.

    Parameters
    ----------
    network
        The network.
    diagonal
        D, ``(batch, *space)``.
    inside
        Which cells are coupled to others.
    scaled
        Whether S is D^(-1/2), or the same number in all cells.
    """

    def __init__(self, network: nn.Module, diagonal: Tensor, inside: Tensor, *, scaled: bool) -> None:
        self.network, self.axes = network, tuple(range(2, diagonal.ndim + 1))
        within = inside[:, None].to(diagonal)
        count = within.sum(self.axes, keepdim=True).clamp_min(1)
        self.count = count.float()
        mean = (diagonal[:, None] * within).sum(self.axes, keepdim=True) / count
        kept = diagonal[:, None] if scaled else torch.where(mean > 0, mean, 1)
        self.scale = within * kept.rsqrt()
        self.alone = _alone(diagonal, inside)

    def __call__(self, r: Float[Tensor, "batch rhs *space"]) -> Float[Tensor, "batch rhs *space"]:
        scale = self.scale.to(r.dtype)
        seen = scale * r
        largest = seen.abs().amax(self.axes, keepdim=True).clamp_min(torch.finfo(r.dtype).tiny)
        x = (seen / largest).float()
        # the root mean square and not the norm, or fields of more cells would come in smaller
        size = (x.square().sum(self.axes, keepdim=True) / self.count).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
        q: Tensor = self.network((x / size).flatten(0, 1).unsqueeze(1)).view(r.shape)
        q = scale * (size * q).to(r.dtype) * largest
        return q if self.alone is None else q + self.alone.to(r.dtype) * r


class NetworkLevel:
    """A level of a multigrid cycle that the network smooths, with a line search."""

    def __init__(self, network: nn.Module, diagonal: Tensor, coupling: Tensor, weights: Tensor) -> None:
        self.diagonal, self.coupling, self.weights = diagonal, coupling, weights
        self.cells = Cells(network, diagonal, _coupled(coupling), scaled=True)

    def down(self, b: Tensor) -> tuple[Tensor, Tensor]:
        u, r = self._step(b)
        return u, blackbox_restrict(r, self.weights)

    def up(self, b: Tensor, u: Tensor, e: Tensor) -> Tensor:
        better = blackbox_prolong(e, self.weights, b.shape[2:], u)
        return better + self._step(self.residual(b, better))[0]

    def residual(self, b: Tensor, u: Tensor) -> Tensor:
        return b - diffusion_apply(self.diagonal, self.coupling, u)

    def _step(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """The multiple of the network's direction that lowers the energy most, and the residual after it."""
        q = self.cells(r)
        image = diffusion_apply(self.diagonal, self.coupling, q)
        length = _length(q, image, r)
        return length * q, r - length * image


class NetworkCycle:
    """A V-cycle over the levels that :class:`~sciops.solvers.linear.Multigrid` makes, smoothed by the network."""

    def __init__(self, network: nn.Module, A: LinearOperator) -> None:
        hierarchy = Multigrid(A, coarsening="galerkin", dtype=torch.float32)
        self.coarsest: CoarseSolve = hierarchy.coarsest
        self.levels = [
            NetworkLevel(network, level.diagonal, level.coupling, level.weights)  # type: ignore[arg-type]
            for level in hierarchy.levels
        ]
        diagonal = A.diagonal().detach()
        self.unit = float(diagonal.amax())  # the hierarchy is that of A / unit
        self.alone = _alone(diagonal, _inside(A))

    def __call__(self, r: Float[Tensor, "batch rhs *space"]) -> Float[Tensor, "batch rhs *space"]:
        # a line search is for all cells of a level: what is loud in an obstacle must not choose its length
        b = r if self.alone is None else torch.where(self.alone == 0, r, 0)
        size = b.abs().amax(tuple(range(2, r.ndim)), keepdim=True).clamp_min(torch.finfo(r.dtype).tiny)
        u = cycle(self.levels, self.coarsest, (b / size).float()).to(r.dtype) * (size / self.unit)
        return u if self.alone is None else torch.where(self.alone == 0, u, self.alone.to(r.dtype) * r)


class Directions:
    """A network set up for an operator: nonlinear, for flexible conjugate gradients."""

    symmetric = False

    def __init__(self, network: nn.Module, A: LinearOperator, levels: str) -> None:
        self.space, self.levels = A.space, levels
        self.answer: Cells | NetworkCycle = (
            Cells(network, A.diagonal().detach(), _inside(A), scaled=False)
            if levels == "finest"
            else NetworkCycle(network, A)
        )

    def __call__(self, r: Float[Tensor, "batch rhs *space"]) -> Float[Tensor, "batch rhs *space"]:
        """The direction for a residual."""
        with torch.no_grad():
            return self.answer(r)

    @property
    def T(self) -> Directions:
        """Itself: the operator is symmetric, so derivatives of a solve are solves with the same one."""
        return self

    def __repr__(self) -> str:
        return f"Directions({self.space}, levels={self.levels!r})"


@registry.register("dcdm")
class DCDM(LearnedPreconditioner):
    r"""Deep conjugate directions: residual in, direction out, by a small convolutional network; for `fcg`.

    .. math:: M(r) = |r|\, N\!\left(\frac{r}{|r|}\right), \qquad
        \text{loss} = \operatorname{mean} \left| b - A q\, \frac{\langle q, b\rangle}{\langle q, A q\rangle} \right|^2,
        \quad q = N(b)

    over b of norm one, random combinations of Ritz vectors of A (:mod:`sciops.preconditioners.lanczos`). The published
    iteration is ``fcg(A, b, M=model.setup(A), keep=2)``.

    Parameters
    ----------
    dimension
        Number of axes of the operators, 1 to 3.
    channels
        Channels of the network.
    depths
        Residual blocks before the average pooling, on half the cells, and after the upsampling. Those on half the cells
        reach twice as far at a quarter of the cost (an eighth in three dimensions).
    levels
        "finest": as published, for grids of the size trained on; "all": the network on every level of a multigrid
        hierarchy, for grids of any size. The weights of one fit the other, but each is best at what it was trained for.
    ritz
        Ritz vectors of each operator that training takes, at most.
    samples
        Right-hand sides in one step of training.
    seed
        Seed of the initial weights, and of the Ritz vectors.

    Raises
    ------
    InputError
        For options out of range.

    Notes
    -----
    The published network has (5, 6, 4) blocks on 64^3 cells; the norm here is the root mean square. Obstacles of a
    :class:`~sciops.solvers.linear.Diffusion` operator, in fact all cells that are coupled to no other, are kept out of
    the network's sight. It continues fields by zeros, on periodic axes too.

    Ritz vectors are made when an operator is first seen and kept as long as it lives: draw training operators from a
    few that stay (a family that returns the same object again), not new ones for each step.

    References
    ----------
    A. Kaneda, O. Akar, J. Chen, V. Kala, D. Hyde, J. Teran, "A deep conjugate direction method for iteratively solving
    linear systems", 2023.

    Examples
    --------
    >>> from sciops.solvers.linear import Diffusion, fcg
    >>> A = Diffusion(torch.ones(32, 32, dtype=torch.float64), grid=1 / 32)
    >>> model = DCDM(2, channels=4, depths=(1, 1, 1), levels="all")
    >>> fcg(A, torch.ones(32, 32, dtype=torch.float64), M=model.setup(A), keep=2).converged
    True
    """

    method = "fcg"

    def __init__(
        self,
        dimension: int = 2,
        *,
        channels: int = 16,
        depths: Sequence[int] = (2, 12, 2),
        levels: str = "finest",
        ritz: int = 1000,
        samples: int = 16,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if dimension not in _CONVOLUTIONS:
            raise InputError(f"dimension is {dimension!r}, expected 1, 2 or 3")
        if levels not in _LEVELS:
            raise InputError(f"unknown levels {levels!r}{did_you_mean(str(levels), _LEVELS)}")
        self.dimension, self.channels, self.depths = dimension, channels, tuple(depths)
        self.levels, self.ritz, self.samples, self.seed = levels, ritz, samples, seed
        if len(self.depths) != 3 or not all(_whole(count, 0) for count in self.depths):
            raise InputError(
                f"depths are {self.depths}, expected three whole numbers: before, on half the cells, after"
            )
        for name in ("channels", "ritz", "samples"):
            if not _whole(getattr(self, name), 1):
                raise InputError(f"{name} is {getattr(self, name)!r}, a whole number of at least 1 is expected")
        generator = torch.Generator().manual_seed(seed)
        self.network = DirectionNetwork(dimension, channels, self.depths, generator)

    def setup(self, A: LinearOperator) -> Directions:
        """The network as a preconditioner of A; for levels="finest" nothing is computed.

        Raises
        ------
        InputError
            If A is not symmetric or has another number of axes; for levels="all" if it is not on a grid.
        """
        if not A.symmetric or len(A.space) != self.dimension:
            raise InputError(f"this DCDM is for symmetric operators on {self.dimension} axes, got {A!r}")
        return Directions(self.network, A, self.levels)

    def loss(self, A: LinearOperator, generator: torch.Generator) -> Tensor:
        """What is left of right-hand sides of norm one after the best step along the network's directions, squared."""
        directions = self.setup(A)
        b = ritz_vectors(A, self.ritz, self.seed).draw(self.samples, generator)
        q = directions.answer(b)
        image = A.to(torch.float32).apply(q)
        left = b - _length(q, image, b) * image
        return left.square().sum(tuple(range(2, left.ndim))).mean()


def _length(q: Tensor, image: Tensor, r: Tensor) -> Tensor:
    """The step along q to the minimum of the energy, <q, r> / <q, A q>; 0 where q is zero."""
    axes = tuple(range(2, q.ndim))
    energy = (q * image).sum(axes, keepdim=True)
    return torch.where(energy > 0, (q * r).sum(axes, keepdim=True) / torch.where(energy > 0, energy, 1), 0)


def _inside(A: LinearOperator) -> Tensor:
    """Which cells are coupled to any other, as far as A tells, ``(batch, *space)``."""
    coupling = getattr(A, "coupling", None)
    return _coupled(coupling.detach()) if isinstance(coupling, Tensor) else torch.ones_like(A.diagonal()) > 0


def _alone(diagonal: Tensor, inside: Tensor) -> Tensor | None:
    """1 / D in cells that are coupled to no other and 0 elsewhere, ``(batch, 1, *space)``; None if there are none."""
    return None if bool(inside.all()) else (~inside / diagonal)[:, None]


def _coupled(coupling: Float[Tensor, "batch link *space"]) -> Tensor:
    """Which cells are coupled to any other, ``(batch, *space)``."""
    ones = coupling.new_ones(len(coupling), 1, *coupling.shape[2:])
    return diffusion_apply(torch.zeros_like(ones[:, 0]), -coupling.abs(), ones)[:, 0] > 0


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
