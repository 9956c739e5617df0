"""Families of operators to train on: diffusion through random media, drawn anew for every step.

Each operator has a contrast (the largest permeability over the smallest) that is log-uniform in a range, and each batch
a correlation length that is too, so that what is trained knows the whole range and not one value. The same generator
gives the same functions of space at every resolution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.data.random import GaussianRandomField, LevelSet, Matern, RandomFunction, Series, Spectral
from sciops.errors import InputError
from sciops.solvers.linear import Diffusion
from sciops.solvers.linear.diffusion import Boundary

Draw = Callable[[int, torch.Generator], Tensor]
"""``draw(n, generator)``: n positive permeabilities, ``(n, *space)``."""

_Range = tuple[float, float]
_CONTRAST: _Range = (10.0, 1e4)
_LENGTH: _Range = (0.03, 0.3)
_MODES = {1: 256, 2: 64, 3: 24}


class DiffusionFamily:
    """Diffusion operators whose permeability is a random function.

    Parameters
    ----------
    permeability
        A random function on a grid of cells with positive values, or `draw(n, generator)` that gives ``(n, *space)``;
        of several, each batch has one at random.
    batch
        How many operators a draw has.
    grid
        The grid of what is not a random function, which has its own.
    boundary
        As of :class:`~sciops.solvers.linear.Diffusion`.
    dtype
        Of the operators.

    Raises
    ------
    InputError
        Without a grid, or for values that are not positive (when they are drawn).

    Examples
    --------
    >>> from sciops.data.random import LevelSet
    >>> discs = LevelSet(Grid.unit(16, 16, kind="cell"), count=3, inside=100.0, outside=1.0)
    >>> DiffusionFamily(discs, batch=2)(torch.Generator().manual_seed(0))
    Diffusion((16, 16), batch=2, float32, dirichlet)
    """

    def __init__(
        self,
        permeability: RandomFunction | Draw | Sequence[RandomFunction | Draw],
        *,
        batch: int = 4,
        grid: Grid | None = None,
        boundary: Boundary = "dirichlet",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        several = isinstance(permeability, Sequence)
        self.permeability: tuple[Any, ...] = tuple(permeability) if several else (permeability,)  # type: ignore[arg-type]
        grids = [p.domain for p in self.permeability if isinstance(p, RandomFunction)]
        grids = [grid] if grid is not None else grids
        if not self.permeability or not grids or not isinstance(grids[0], Grid):
            raise InputError("a family needs at least one permeability, and grid= where it is no random function")
        if batch < 1:
            raise InputError(f"batch = {batch}, expected at least 1")
        self.grid, self.batch, self.boundary, self.dtype = grids[0], batch, boundary, dtype

    def __call__(self, generator: torch.Generator) -> Diffusion:
        """A batch of operators."""
        return Diffusion(self.draw(self.batch, generator).to(self.dtype), self.grid, self.boundary)

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, " n *space"]:
        """Permeabilities in float64, ``(n, *space)``.

        Raises
        ------
        InputError
            If the permeability has another shape than the grid, or values that are not positive and finite.
        """
        which = 0
        if len(self.permeability) > 1:
            which = int(torch.randint(len(self.permeability), (1,), generator=generator))
        p = self.permeability[which]
        k: Tensor = p.draw(n, generator) if isinstance(p, RandomFunction) else p(n, generator)
        if tuple(k.shape) != (n, *self.grid.shape) or not bool(((k > 0) & k.isfinite()).all()):
            raise InputError(
                f"the permeability {p!r} has shape {tuple(k.shape)} and values from {float(k.min()):g} to "
                f"{float(k.max()):g}, expected {(n, *self.grid.shape)} and positive finite ones"
            )
        return k

    def __repr__(self) -> str:
        kinds = ", ".join(getattr(p, "name", type(p).__name__) for p in self.permeability)
        sizes = "x".join(map(str, self.grid.shape))
        return f"DiffusionFamily({kinds}, {sizes}, batch={self.batch}, {self.boundary})"


def lognormal(
    *space: int,
    contrast: _Range = _CONTRAST,
    length: _Range = _LENGTH,
    batch: int = 4,
    boundary: Boundary = "dirichlet",
) -> DiffusionFamily:
    """Smooth media: the exponential of a Gaussian field, scaled to the contrast.

    Parameters
    ----------
    *space
        The number of cells along each axis of the unit box.
    contrast
        The range of the largest over the smallest permeability.
    length
        The range of the correlation length.
    batch, boundary
        As of :class:`DiffusionFamily`.

    Returns
    -------
    DiffusionFamily

    Examples
    --------
    >>> k = lognormal(32, 32, contrast=(100.0, 100.0)).draw(2, torch.Generator().manual_seed(0))
    >>> (k.amax((1, 2)) / k.amin((1, 2))).round().tolist()
    [100.0, 100.0]
    """
    grid = _grid(space)
    return DiffusionFamily(Medium("lognormal", grid, contrast, length), grid=grid, batch=batch, boundary=boundary)


def piecewise(
    *space: int,
    contrast: _Range = _CONTRAST,
    length: _Range = _LENGTH,
    batch: int = 4,
    boundary: Boundary = "dirichlet",
) -> DiffusionFamily:
    """Two materials: where a Gaussian field is above a quantile between 0.3 and 0.7, and where it is below.

    Parameters and what is returned are those of :func:`lognormal`.

    Examples
    --------
    >>> k = piecewise(32, 32).draw(1, torch.Generator().manual_seed(0))
    >>> len(k.unique())
    2
    """
    grid = _grid(space)
    return DiffusionFamily(Medium("piecewise", grid, contrast, length), grid=grid, batch=batch, boundary=boundary)


def inclusions(
    *space: int,
    contrast: _Range = _CONTRAST,
    length: _Range = _LENGTH,
    batch: int = 4,
    boundary: Boundary = "dirichlet",
) -> DiffusionFamily:
    """Discs or balls that conduct better or worse than what is around them; `length` is the range of their radii.

    Parameters and what is returned are those of :func:`lognormal`.

    Examples
    --------
    >>> k = inclusions(32, 32).draw(1, torch.Generator().manual_seed(0))
    >>> len(k.unique())
    2
    """
    grid = _grid(space)
    return DiffusionFamily(Medium("inclusions", grid, contrast, length), grid=grid, batch=batch, boundary=boundary)


def layered(
    *space: int,
    contrast: _Range = _CONTRAST,
    length: _Range = _LENGTH,
    batch: int = 4,
    boundary: Boundary = "dirichlet",
) -> DiffusionFamily:
    """Layers of about the thickness `length` across an axis at random, each of another permeability, wavy and long.

    Parameters and what is returned are those of :func:`lognormal`.

    Examples
    --------
    >>> layered(32, 32).draw(1, torch.Generator().manual_seed(0)).shape
    torch.Size([1, 32, 32])
    """
    grid = _grid(space)
    return DiffusionFamily(Medium("layered", grid, contrast, length), grid=grid, batch=batch, boundary=boundary)


def mixed(
    *space: int,
    contrast: _Range = _CONTRAST,
    length: _Range = _LENGTH,
    batch: int = 4,
    boundary: Boundary = "dirichlet",
) -> DiffusionFamily:
    """Each batch of one of the kinds above: lognormal, piecewise, inclusions or layered.

    Parameters and what is returned are those of :func:`lognormal`.

    Examples
    --------
    >>> mixed(32, 32)
    DiffusionFamily(lognormal, piecewise, inclusions, layered, 32x32, batch=4, dirichlet)
    """
    grid = _grid(space)
    media = [Medium(name, grid, contrast, length) for name in MEDIA]
    return DiffusionFamily(media, grid=grid, batch=batch, boundary=boundary)


class Medium:
    """`draw(n, generator)` of one of the kinds of this module, by its name.

    Parameters
    ----------
    name
        "lognormal", "piecewise", "inclusions" or "layered".
    grid, contrast, length
        As of :func:`lognormal`.

    Raises
    ------
    InputError
        For a range that does not ascend, or a contrast below 1.
    """

    def __init__(self, name: str, grid: Grid, contrast: _Range, length: _Range) -> None:
        if not 1 <= contrast[0] <= contrast[1] < math.inf:
            raise InputError(f"contrast = {contrast}, expected an ascending pair of numbers of at least 1")
        if not 0 < length[0] <= length[1] < math.inf:
            raise InputError(f"length = {length}, expected an ascending pair of positive numbers")
        self.name, self.grid, self.contrast, self.length = name, grid, contrast, length

    def __call__(self, n: int, generator: torch.Generator) -> Float[Tensor, " n *space"]:
        """n permeabilities; the geometric mean of the largest and the smallest is 1."""
        shares = MEDIA[self.name](self.grid, n, _log_uniform(self.length, generator), generator)
        axes = tuple(range(1, shares.ndim))
        low, high = shares.amin(axes, keepdim=True), shares.amax(axes, keepdim=True)
        # a sample without an inclusion is homogeneous, and stays so
        shares = torch.where(high > low, (shares - low) / (high - low).clamp_min(1e-300), 0.5)
        logs = torch.tensor([_log_uniform(self.contrast, generator) for _ in range(n)]).double().log()
        return ((shares - 0.5) * logs.view(n, *[1] * len(axes))).exp()


def _lognormal(grid: Grid, n: int, length: float, generator: torch.Generator) -> Tensor:
    return _gaussian(grid, n, (length,) * grid.ndim, generator)


def _piecewise(grid: Grid, n: int, length: float, generator: torch.Generator) -> Tensor:
    g = _lognormal(grid, n, length, generator)
    parts = [0.3 + 0.4 * _uniform(generator) for _ in g]
    return torch.stack([one > one.quantile(part) for one, part in zip(g, parts, strict=True)]).double()


def _inclusions(grid: Grid, n: int, length: float, generator: torch.Generator) -> Tensor:
    shapes = LevelSet(grid, count=(1, 12), radius=(0.7 * length, 1.4 * length)).draw(n, generator)
    signs = [1.0 if _uniform(generator) < 0.5 else -1.0 for _ in range(n)]
    return shapes * torch.tensor(signs, dtype=shapes.dtype).view(n, *[1] * grid.ndim)


def _layered(grid: Grid, n: int, length: float, generator: torch.Generator) -> Tensor:
    across = int(_uniform(generator) * grid.ndim)
    g = _gaussian(grid, n, tuple(length if a == across else 3.0 for a in range(grid.ndim)), generator)
    found = []
    for one in g:
        count = 2 + int(_uniform(generator) * 5)
        between = torch.linspace(0, 1, count + 1, dtype=g.dtype)[1:-1]
        levels = torch.rand(count, generator=generator, dtype=g.dtype)
        found.append(levels[torch.bucketize(one, one.quantile(between))])
    return torch.stack(found)


MEDIA: dict[str, Callable[[Grid, int, float, torch.Generator], Tensor]] = {
    "lognormal": _lognormal,
    "piecewise": _piecewise,
    "inclusions": _inclusions,
    "layered": _layered,
}


def _gaussian(grid: Grid, n: int, lengths: tuple[float, ...], generator: torch.Generator) -> Tensor:
    covariance = Matern(0.5 + 2 * _uniform(generator), lengths)
    # by its density alone: the sum over all images of its kernel would cost more than the samples
    field = GaussianRandomField(grid, Spectral(covariance.density), method=Series(modes=_MODES[grid.ndim]))
    return field.draw(n, generator)


def _grid(space: tuple[int, ...]) -> Grid:
    if not 1 <= len(space) <= 3 or not all(isinstance(n, int) and n >= 2 for n in space):
        raise InputError(f"the cells along the axes are {space}, expected one to three integers of at least 2")
    return Grid.unit(*space, kind="cell")


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator, dtype=torch.float64))


def _log_uniform(ends: _Range, generator: torch.Generator) -> float:
    return float(ends[0] * (ends[1] / ends[0]) ** _uniform(generator))
