"""Random functions with jumps: phases of a field, inclusions, Voronoi cells, and mixtures of distributions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.special import ndtr
from torch import Tensor

from sciops.data.domains.domain import Domain
from sciops.data.random.base import RandomFunction, block_length, box_of, nodes_of, uniform
from sciops.data.random.gaussian import GaussianRandomField
from sciops.errors import DomainError, InputError


class PiecewiseConstant(RandomFunction):
    """The phases of a random function: `levels[j]` where it lies between the thresholds j - 1 and j.

    Two phases have one threshold. The same seed gives the same phases at every resolution where that of the field does.

    Parameters
    ----------
    field
        The function whose values choose the phase.
    thresholds
        Ascending, in the units of the field; the phase at a threshold is the upper one.
    levels
        The value of each phase, one more than thresholds.

    Raises
    ------
    InputError
        If the thresholds do not ascend, or the numbers do not fit.

    Examples
    --------
    The two-phase permeability of Darcy flow in the papers on Fourier neural operators:

    >>> from sciops.data import Grid
    >>> from sciops.data.random import PowerLaw, Series
    >>> g = GaussianRandomField(Grid.unit(17, 17), PowerLaw(2, 3), method=Series(modes=16, zero_mean=True))
    >>> PiecewiseConstant(g, thresholds=[0.0], levels=[3.0, 12.0]).sample(2, 0).values.unique().tolist()
    [3.0, 12.0]
    """

    def __init__(self, field: RandomFunction, thresholds: Sequence[float], levels: Sequence[float]) -> None:
        self.domain = field.domain
        self.field = field
        self.thresholds = torch.tensor(list(thresholds), dtype=torch.float64)
        self.levels = torch.tensor(list(levels), dtype=torch.float64)
        if not len(self.thresholds) or not bool((self.thresholds.diff() > 0).all()):
            raise InputError(f"thresholds = {list(thresholds)}, expected at least one, ascending")
        if len(self.levels) != len(self.thresholds) + 1:
            raise InputError(f"{len(self.levels)} levels for {len(self.thresholds)} thresholds, expected one more")

    @classmethod
    def with_fractions(
        cls, field: GaussianRandomField, fractions: Sequence[float], levels: Sequence[float]
    ) -> PiecewiseConstant:
        """Phases that fill given fractions of the volume on average over samples.

        Parameters
        ----------
        field
            A Gaussian field.
        fractions
            The fraction of each phase, positive, summing to 1.
        levels
            The value of each phase.

        Raises
        ------
        InputError
            If the fractions are not positive or do not sum to 1.

        Examples
        --------
        >>> from sciops.data import Grid
        >>> from sciops.data.random import Matern
        >>> g = GaussianRandomField(Grid.unit(33), Matern(1.5, 0.2))
        >>> PiecewiseConstant.with_fractions(g, [0.5, 0.3, 0.2], [1.0, 2.0, 3.0]).thresholds.round(decimals=4).tolist()
        [0.0, 0.8416]
        """
        if not fractions or not min(fractions) > 0 or abs(sum(fractions) - 1) > 1e-9:
            raise InputError(f"fractions = {list(fractions)}, expected positive numbers that sum to 1")
        deviation = field.variance().clamp(min=1e-300).sqrt()
        weights = field.domain.weights(torch.float64) / field.domain.volume
        mean, spread = field.mean.expand_as(deviation), float(deviation.max())

        def excess(threshold: float, wanted: float) -> float:
            below = torch.from_numpy(ndtr(((threshold - mean) / deviation).numpy()))
            return float((weights * below).sum() / weights.sum()) - wanted

        lower, upper = float(mean.min()) - 40 * spread, float(mean.max()) + 40 * spread
        sums = torch.tensor(list(fractions), dtype=torch.float64).cumsum(0)[:-1].tolist()
        return cls(
            field, [brentq(excess, lower, upper, args=(wanted,), xtol=1e-13 * spread) for wanted in sums], levels
        )

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, " n *space"]:
        """`n` samples in float64; `sample` is the public way."""
        values = self.field.draw(n, generator)
        phase = torch.bucketize(values, self.thresholds.to(values.device), right=True)
        return self.levels.to(values.device)[phase]


class LevelSet(RandomFunction):
    r"""Discs, balls or ellipses at random places: two values, or the signed distance to their union.

    Centres are uniform in the domain's box, inclusions may reach over its border and continue across periodic axes.
    They do not depend on the nodes: the same seed gives the same function at every resolution.

    Parameters
    ----------
    domain
        A grid, point cloud or mesh in one, two or three dimensions.
    count
        How many inclusions in a sample, or the lowest and highest number, which are equally likely.
    radius
        The largest semi-axis in the units of the coordinates, or its range.
    aspect
        Smallest over largest semi-axis, or its range, in (0, 1]; below 1 the inclusions are ellipses (in three
        dimensions rods: one long axis) in random directions.
    overlap
        Whether inclusions may overlap. If not, each takes the first of `attempts` places at which the discs of its
        and the other largest semi-axes are apart (random sequential addition).
    attempts
        How many places are tried.
    inside, outside
        The two values.
    signed_distance
        Give the distance to the union instead, negative inside: exact outside of discs and inside a single one;
        to first order near the border, :math:`f / |\nabla f|` of the quadratic form, for ellipses.

    Raises
    ------
    InputError
        If an option is out of range; when sampling, if no place is left without overlap.

    References
    ----------
    B. Widom, "Random sequential addition of hard spheres to a volume", Journal of Chemical Physics 44, 1966.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> discs = LevelSet(Grid.unit(64, 64, kind="periodic"), count=5, radius=0.1, overlap=False)
    >>> area = discs.sample(8, generator=0).values.mean()
    >>> bool(abs(area - 5 * torch.pi * 0.1**2) < 0.01)
    True
    """

    def __init__(
        self,
        domain: Domain,
        *,
        count: int | tuple[int, int] = 10,
        radius: float | tuple[float, float] = (0.05, 0.15),
        aspect: float | tuple[float, float] = 1.0,
        overlap: bool = True,
        attempts: int = 100,
        inside: float = 1.0,
        outside: float = 0.0,
        signed_distance: bool = False,
    ) -> None:
        self.domain = domain
        self.count = _range("count", count, 0)
        self.radius = _range("radius", radius, 0)
        self.aspect = _range("aspect", aspect, 0)
        if self.aspect[1] > 1:
            raise InputError(f"aspect = {aspect}, expected at most 1: radius is the largest semi-axis")
        if any(number != int(number) for number in self.count):
            raise InputError(f"count = {count}, expected an integer or two")
        if attempts < 1:
            raise InputError(f"attempts = {attempts}, expected at least 1")
        self.overlap, self.attempts = overlap, attempts
        self.inside, self.outside, self.signed_distance = float(inside), float(outside), signed_distance
        self._box = box_of(domain)
        if self._box.ndim > 3:
            raise DomainError(f"LevelSet knows one, two and three dimensions, got {self._box.ndim}")

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, " n *space"]:
        """`n` samples in float64; `sample` is the public way."""
        most, d = int(self.count[1]), self._box.ndim
        tries = 1 if self.overlap else self.attempts
        numbers = uniform(n, most * (tries * d + 6) + 1, generator=generator)
        places = numbers[:, : most * tries * d].reshape(n, most, tries, d) * self._box.extent.to(numbers.device)
        rest = numbers[:, most * tries * d : -1].reshape(n, most, 6)
        low, high = self.count
        present = torch.arange(most, device=numbers.device) < low + (numbers[:, -1:] * (high - low + 1)).floor()
        radius = _between(self.radius, rest[..., 0])
        centres = places[:, :, 0] if self.overlap else self._place(places, radius, present)
        shapes = _quadratic_forms(radius, _between(self.aspect, rest[..., 1]), rest[..., 2:], d)
        nodes = (nodes_of(self.domain) - self._box.lower).to(numbers.device)
        step = block_length(4 * d * len(nodes))
        parts = [
            self._evaluate(nodes, centres[i : i + step], shapes[i : i + step], present[i : i + step])
            for i in range(0, n, step)
        ]
        return torch.cat(parts).reshape(n, *self.domain.shape)

    def _place(self, places: Tensor, radius: Tensor, present: Tensor) -> Tensor:
        """The first of the tried places that is apart from the inclusions before it, for all samples at once."""
        n, most = radius.shape
        centres = places[:, :, 0].clone()
        for i in range(1, most):
            offset = self._box.nearest(places[:, i, :, None] - centres[:, None, :i])
            apart = torch.linalg.vector_norm(offset, dim=-1) >= radius[:, i, None, None] + radius[:, None, :i]
            free = (apart | ~present[:, None, :i]).all(-1)
            failed = ~free.any(-1) & present[:, i]
            if bool(failed.any()):
                raise InputError(
                    f"sample {int(failed.nonzero()[0])}: no place for inclusion {i + 1} without overlap in "
                    f"{self.attempts} attempts: choose fewer or smaller inclusions, or more attempts"
                )
            first = free.int().argmax(-1)
            centres[:, i] = places[torch.arange(n, device=places.device), i, first]
        return centres

    def _evaluate(self, nodes: Tensor, centres: Tensor, shapes: Tensor, present: Tensor) -> Tensor:
        """The values at the nodes of some samples, from one inclusion after the other."""
        level = torch.full((len(centres), len(nodes)), torch.inf, dtype=torch.float64, device=nodes.device)
        for i in range(centres.shape[1]):
            offset = self._box.nearest(nodes - centres[:, i, None])
            scaled = offset @ shapes[:, i]
            norm = torch.linalg.vector_norm(scaled, dim=-1)
            # |B x| - 1 over the length of its gradient B' B x / |B x|; r - R for a disc
            slope = torch.linalg.vector_norm(scaled @ shapes[:, i].mT, dim=-1) / norm
            flat = torch.linalg.matrix_norm(shapes[:, i], 2)[:, None]
            # nowhere inside is the border farther than the smallest semi-axis 1 / |B|
            distance = ((norm - 1) / torch.where(norm > 0, slope, flat)).maximum(-1 / flat)
            level = torch.minimum(level, torch.where(present[:, i, None], distance, torch.inf))
        if self.signed_distance:
            # without any inclusion the distance is that across the box
            across = float(torch.linalg.vector_norm(self._box.extent))
            return torch.where(level.isfinite(), level, across)
        return torch.where(level < 0, self.inside, self.outside).to(torch.float64)


def _quadratic_forms(radius: Tensor, aspect: Tensor, numbers: Tensor, d: int) -> Tensor:
    """Symmetric matrices B with |B x| = 1 on the border: 1 / radius along one random direction, larger across it."""
    across = 1 / (radius * aspect)
    along = 1 / radius
    if d == 1:
        return along[..., None, None]
    angle = 2 * math.pi * numbers[..., 0]
    if d == 2:
        direction = torch.stack([angle.cos(), angle.sin()], -1)
    else:
        height = 2 * numbers[..., 1] - 1
        flat = (1 - height**2).clamp(min=0).sqrt()
        direction = torch.stack([flat * angle.cos(), flat * angle.sin(), height], -1)
    identity = torch.eye(d, dtype=torch.float64, device=radius.device)
    outer = direction[..., :, None] * direction[..., None, :]
    return across[..., None, None] * identity + (along - across)[..., None, None] * outer


class Voronoi(RandomFunction):
    """Cells around random points, each with a value of its own.

    The points are uniform in the domain's box and have images across periodic axes. They do not depend on the nodes:
    the same seed gives the same function at every resolution.

    Parameters
    ----------
    domain
        A grid, point cloud or mesh.
    cells
        How many.
    values
        The two ends of the interval in which the value of a cell is uniform.
    levels
        Values of which each cell takes one, all equally likely, instead.

    Raises
    ------
    InputError
        If there is no cell, or values and levels are both given.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> Voronoi(Grid.unit(32, 32), cells=6).sample(1, generator=0).values.unique().numel()
    6
    """

    def __init__(
        self,
        domain: Domain,
        *,
        cells: int = 10,
        values: tuple[float, float] = (0.0, 1.0),
        levels: Sequence[float] | None = None,
    ) -> None:
        if cells < 1:
            raise InputError(f"cells = {cells}, expected at least 1")
        if levels is not None and not len(levels):
            raise InputError("levels has no entry, expected the values that a cell may take")
        self.domain, self.cells, self.values = domain, cells, values
        self.levels = None if levels is None else torch.tensor(list(levels), dtype=torch.float64)
        self._box = box_of(domain)

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, " n *space"]:
        """`n` samples in float64; `sample` is the public way."""
        numbers = uniform(n, self.cells, self._box.ndim + 1, generator=generator)
        points = numbers[..., 1:] * self._box.extent.to(numbers.device)
        if self.levels is None:
            values = _between(self.values, numbers[..., 0])
        else:
            values = self.levels.to(numbers.device)[(numbers[..., 0] * len(self.levels)).long()]
        nodes = (nodes_of(self.domain) - self._box.lower).to(numbers.device)
        step = block_length(4 * self._box.ndim * len(nodes))
        parts = []
        for first in range(0, n, step):
            chosen, few = points[first : first + step], values[first : first + step]
            nearest = torch.full((len(chosen), len(nodes)), torch.inf, dtype=torch.float64, device=nodes.device)
            value = torch.zeros_like(nearest)
            for cell in range(self.cells):
                square = self._box.nearest(nodes - chosen[:, cell, None]).square().sum(-1)
                value = torch.where(square < nearest, few[:, cell, None], value)
                nearest = torch.minimum(nearest, square)
            parts.append(value)
        return torch.cat(parts).reshape(n, *self.domain.shape)


class Mixture(RandomFunction):
    """Each sample comes from one of several distributions, chosen at random.

    All components draw all samples, so that no sample depends on how many are asked for.

    Parameters
    ----------
    components
        Random functions on the same domain.
    weights
        The probability of each, up to a common factor; None takes equal ones.

    Raises
    ------
    InputError
        If there is no component, the weights are not as many, or negative.
    DomainError
        If the domains differ.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> grid = Grid.unit(16, 16)
    >>> mixture = Mixture([Voronoi(grid, cells=5), LevelSet(grid, count=3, inside=-1.0)], weights=[0.8, 0.2])
    >>> mixture.sample(6, generator=0).values.shape
    torch.Size([6, 1, 16, 16])
    """

    def __init__(self, components: Sequence[RandomFunction], weights: Sequence[float] | None = None) -> None:
        self.components = tuple(components)
        given = [1.0] * len(self.components) if weights is None else list(weights)
        if not self.components or len(given) != len(self.components):
            raise InputError(f"{len(given)} weights for {len(self.components)} components, expected one for each")
        if not min(given) >= 0 or not 0 < sum(given) < math.inf:
            raise InputError(f"weights = {given}, expected numbers >= 0 with a positive sum")
        self.domain = self.components[0].domain
        for i, component in enumerate(self.components):
            if not self.domain.matches(component.domain):
                raise DomainError(f"component {i} is on another domain than component 0: make both on the same one")
        self.weights = torch.tensor(given, dtype=torch.float64) / sum(given)

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, " n *space"]:
        """`n` samples in float64; `sample` is the public way."""
        device = generator.device
        seeds = torch.randint(2**62, (len(self.components) + 1,), generator=generator, device=device).tolist()
        own = [torch.Generator(device).manual_seed(seed) for seed in seeds]
        chosen = torch.bucketize(
            uniform(n, generator=own[-1]), self.weights.cumsum(0)[:-1].to(generator.device), right=True
        )
        values = torch.empty(n, *self.domain.shape, dtype=torch.float64, device=device)
        for i, component in enumerate(self.components):
            mine = chosen == i
            if bool(mine.any()):
                values[mine] = component.draw(n, own[i])[mine]
        return values


def _range(what: str, given: float | tuple[float, float], least: float) -> tuple[float, float]:
    low, high = given if isinstance(given, tuple) else (given, given)
    if not least < high or not least <= low <= high < math.inf or (what != "count" and low <= least):
        raise InputError(f"{what} = {given}, expected a positive number or an ascending pair of them")
    return low, high


def _between(ends: tuple[float, float], numbers: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * numbers
