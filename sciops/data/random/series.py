r"""Random series of the eigenfunctions of the Laplacian on a box: one function of space at every resolution.

.. math:: u(x) = \sum_{|k_i| \le K} \sqrt{S(\omega_k) / V}\; \xi_k\, \varphi_k(x)

==========  ===========================================================  =======================  ==============
condition   :math:`\varphi_k` along an axis, s from 0 to L               :math:`\omega_k`         k
==========  ===========================================================  =======================  ==============
periodic    :math:`e^{i \omega_k s}`, the real part of complex numbers    :math:`2 \pi k / L`      -K ... K
neumann     1, :math:`\sqrt2 \cos \omega_k s`                             :math:`\pi k / L`        0 ... K
dirichlet   :math:`\sqrt2 \sin \omega_k s`                                :math:`\pi k / L`        1 ... K
==========  ===========================================================  =======================  ==============

On nodes too coarse for a frequency its values coincide with those of a lower one, to which its coefficient is added:
the sum at the nodes is exact for any K.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.domains.axis import Axis
from sciops.data.domains.domain import Domain, Grid
from sciops.data.random.base import box_of
from sciops.data.random.covariance import Covariance
from sciops.data.random.images import Condition, CovarianceFunction, ImageSum, shifts
from sciops.data.random.methods import LinearMap, Method, uniform_grid
from sciops.errors import InputError
from sciops.kernels.trigonometric import cosine_transform, sine_transform

_CAPS = {1: 4096, 2: 256, 3: 32}
_SMALL = 1e-10


@dataclass(frozen=True)
class Series(Method):
    """A series of Fourier modes on periodic axes, and of cosines or sines on the others.

    The same seed gives the same function of space at every resolution, because neither the modes nor the numbers that
    are drawn depend on the nodes. What the modes leave out is known where the covariance has a kernel that does not
    reach over too many images of the box; otherwise the covariance of the series itself is what counts as exact.

    Parameters
    ----------
    modes
        The highest frequency K along each axis. None takes the lowest of 8, 16, 32, ... that leaves out less than 1e-10
        of the variance, but at most 4096, 256 and 32 in one, two and three dimensions: then the field's `error` says
        how much is left out. Another number of modes is another function.
    boundary
        The condition at the ends of the axes that are not periodic; it makes the variance vary near them: twice as
        large at a Neumann end, 0 at a Dirichlet end. For a stationary field on such axes use `Circulant`.
    zero_mean
        Leave out the constant function, as the papers on Fourier neural operators do.

    References
    ----------
    G. Lord, C. Powell, T. Shardlow, "An introduction to computational stochastic PDEs", 2014, chapter 7.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> from sciops.data.random import GaussianRandomField, PowerLaw
    >>> field = GaussianRandomField(Grid.unit(17), PowerLaw(2, 3), method=Series(modes=12, boundary="neumann"))
    >>> fine = GaussianRandomField(Grid.unit(33), PowerLaw(2, 3), method=Series(modes=12, boundary="neumann"))
    >>> bool((fine.sample(2, 0).values[..., ::2] - field.sample(2, 0).values).abs().max() < 1e-14)
    True
    """

    modes: int | None = None
    boundary: Literal["neumann", "dirichlet"] = "neumann"
    zero_mean: bool = False

    def __post_init__(self) -> None:
        if self.modes is not None and self.modes < 1:
            raise InputError(f"modes = {self.modes}, expected at least 1, or None")
        if self.boundary not in ("neumann", "dirichlet"):
            raise InputError(f"boundary = {self.boundary!r}, expected 'neumann' or 'dirichlet'")

    def prepare(self, domain: Domain, covariance: Covariance) -> LinearMap:
        """The map for a uniform grid."""
        grid = uniform_grid(domain, "Series")
        conditions: tuple[Condition, ...] = tuple(
            "periodic" if axis.kind == "periodic" else self.boundary for axis in grid.axes
        )
        if self.zero_mean and "dirichlet" in conditions:
            raise InputError("zero_mean=True with boundary='dirichlet': sines hold no constant, leave it out")
        total = _lattice_total(covariance, grid, conditions)
        modes, kept = self._modes(covariance, grid, conditions, total)
        basis = _Basis(grid, conditions, modes)
        power = _density(covariance, basis.wavenumbers()) / grid.volume
        if self.zero_mean:
            power[tuple(basis.axis_modes(i).abs().argmin() for i in range(grid.ndim))] = 0.0
        if math.isnan(total):
            return LinearMap(basis.size, basis.synthesis(power), basis.covariance(power), 0.0)
        target: CovarianceFunction = ImageSum(covariance, box_of(grid), conditions)
        if self.zero_mean:
            constant = float(covariance.density(torch.zeros(1, grid.ndim, dtype=torch.float64))) / grid.volume
            full = target

            def target(x: Tensor, y: Tensor) -> Tensor:
                return full(x, y) - constant

        variance = float(covariance.kernel(torch.zeros(1, grid.ndim, dtype=torch.float64)))
        omitted = (total - kept) / variance
        return LinearMap(basis.size, basis.synthesis(power), target, omitted if omitted > _SMALL else 0.0)

    def _modes(
        self, covariance: Covariance, grid: Grid, conditions: tuple[Condition, ...], total: float
    ) -> tuple[int, float]:
        """K, and the sum of the largest variances of the modes up to it."""
        if self.modes is not None:
            return self.modes, _lattice_sum(covariance, grid, conditions, self.modes)
        cap = _CAPS.get(grid.ndim, 8)
        modes = 8
        while True:
            kept = _lattice_sum(covariance, grid, conditions, modes)
            # a density alone has no total: twice the modes stand for it
            whole = _lattice_sum(covariance, grid, conditions, 2 * modes) if math.isnan(total) else total
            if modes >= cap or whole - kept <= _SMALL * kept / 2**grid.ndim:
                return modes, kept
            modes *= 2


def _density(covariance: Covariance, wavenumbers: Tensor) -> Tensor:
    return covariance.density(wavenumbers).to(torch.float64)


def _periods(grid: Grid, conditions: tuple[Condition, ...]) -> list[float]:
    return [
        extent * (1 if condition == "periodic" else 2)
        for extent, condition in zip(grid.extents, conditions, strict=True)
    ]


def _lattice_sum(covariance: Covariance, grid: Grid, conditions: tuple[Condition, ...], modes: int) -> float:
    """The sum of S / V over all frequencies up to the modes, of both signs: the largest variance of the series."""
    k = torch.arange(-modes, modes + 1, dtype=torch.float64)
    axes = [2 * math.pi / period * k for period in _periods(grid, conditions)]
    return float(_density(covariance, torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)).sum()) / grid.volume


def _lattice_total(covariance: Covariance, grid: Grid, conditions: tuple[Condition, ...]) -> float:
    """The same over all frequencies, by Poisson's sum of the kernel; NaN without a kernel or with too many images."""
    reach = covariance.reach(grid.ndim)
    if reach is None or shifts(_periods(grid, conditions), reach) is None:
        return math.nan
    mirrored: tuple[Condition, ...] = tuple("periodic" if c == "periodic" else "neumann" for c in conditions)
    origin = box_of(grid).lower[None]
    return float(ImageSum(covariance, box_of(grid), mirrored)(origin, origin))


@dataclass(frozen=True, eq=False)
class _Basis:
    """The eigenfunctions up to a frequency, and their sums at the nodes of a grid."""

    grid: Grid
    conditions: tuple[Condition, ...]
    modes: int

    @property
    def half(self) -> int | None:
        """The periodic axis along which frequencies k >= 0 stand for both signs; None without a periodic axis."""
        return max((i for i, c in enumerate(self.conditions) if c == "periodic"), default=None)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(self.axis_modes(i)) for i in range(self.grid.ndim))

    @property
    def size(self) -> int:
        return math.prod(self.shape) * (1 if self.half is None else 2)

    def axis_modes(self, i: int) -> Tensor:
        lowest = {"neumann": 0, "dirichlet": 1}.get(self.conditions[i], 0 if i == self.half else -self.modes)
        return torch.arange(lowest, self.modes + 1)

    def wavenumbers(self) -> Float[Tensor, "*modes d"]:
        periods = _periods(self.grid, self.conditions)
        axes = [2 * math.pi / period * self.axis_modes(i).double() for i, period in enumerate(periods)]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)

    def weighted(self, power: Tensor) -> Tensor:
        """The power times the squares of the factors of the eigenfunctions, and twice where k stands for -k too."""
        for i, condition in enumerate(self.conditions):
            if condition != "periodic" or i == self.half:
                factor = torch.where(self.axis_modes(i) == 0, 1.0, 2.0).double()
                power = power * factor.reshape(-1, *[1] * (self.grid.ndim - 1 - i))
        return power

    def synthesis(self, power: Tensor) -> Callable[[Tensor], Tensor]:
        amplitude = self.weighted(power).sqrt()
        complex_numbers = self.half is not None

        def apply(noise: Tensor) -> Tensor:
            scale = amplitude.to(noise.device)
            if not complex_numbers:
                values = noise.reshape(-1, *self.shape) * scale
            else:
                pair = noise.reshape(-1, 2, *self.shape)
                values = torch.complex(pair[:, 0], pair[:, 1]) * scale
            for i, (axis, condition) in enumerate(zip(self.grid.axes, self.conditions, strict=True)):
                values = _along(values.movedim(i + 1, -1), self.axis_modes(i).to(noise.device), axis, condition)
                values = values.movedim(-1, i + 1)
            return values.real if complex_numbers else values

        return apply

    def covariance(self, power: Tensor) -> CovarianceFunction:
        """The covariance of the series at pairs of places."""
        weighted = self.weighted(power).to(torch.complex128)
        lower = box_of(self.grid).lower
        periods = _periods(self.grid, self.conditions)

        def evaluate(x: Tensor, y: Tensor) -> Tensor:
            shape = np.broadcast_shapes(x.shape, y.shape)
            x = (x - lower).expand(shape).reshape(-1, len(lower))
            y = (y - lower).expand(shape).reshape(-1, len(lower))
            results = []
            rows = max(1, (1 << 22) // weighted.numel())
            for a, b in zip(torch.split(x, rows), torch.split(y, rows), strict=True):
                total = weighted.expand(len(a), *weighted.shape)
                for i, condition in enumerate(self.conditions):
                    omega = 2 * math.pi / periods[i] * self.axis_modes(i).double()
                    s, t = a[:, i, None] * omega, b[:, i, None] * omega
                    products = {"neumann": s.cos() * t.cos(), "dirichlet": s.sin() * t.sin()}
                    product = products.get(condition, torch.exp(1j * (s - t))).to(torch.complex128)
                    total = torch.einsum("nk...,nk->n...", total, product)
                results.append(total.real)
            return torch.cat(results).reshape(shape[:-1])

        return evaluate


def _along(c: Tensor, k: Tensor, axis: Axis, condition: Condition) -> Tensor:
    """Values at the nodes of an axis of a sum of waves, whose coefficients are the last dimension of c."""
    if condition == "periodic":
        waves: Tensor = torch.fft.ifft(_gather(c, k % axis.size, torch.ones_like(k), axis.size), norm="forward")
        return waves
    parts = torch.view_as_real(c).movedim(-1, 0) if c.is_complex() else c
    values = _at_centres(parts, k, axis.size, condition) if axis.kind == "cell" else _at_ends(parts, k, axis, condition)
    return torch.complex(values[0], values[1]) if c.is_complex() else values


def _gather(c: Tensor, index: Tensor, sign: Tensor, size: int) -> Tensor:
    """The coefficients, each with its sign, added up at the given frequencies."""
    out = torch.zeros(*c.shape[:-1], size, dtype=c.dtype, device=c.device)
    return out.index_add_(-1, index, c * sign.to(c.real.dtype))


def _at_ends(c: Tensor, k: Tensor, axis: Axis, condition: Condition) -> Tensor:
    """Cosines or sines at the nodes i / P, from the transforms of type I."""
    intervals = axis.size - 1 if axis.kind == "closed" else axis.size
    k = k % (2 * intervals)
    mirrored = k > intervals
    k = torch.where(mirrored, 2 * intervals - k, k)
    if condition == "neumann":
        a = _gather(c, k, torch.ones_like(k), intervals + 1)
        a[..., 1:-1] /= 2
        return cosine_transform(a, [-1], kind=1, norm="backward")[..., : axis.size]
    a = _gather(c, k, torch.where(mirrored, -1, 1), intervals + 1)[..., 1:-1]
    values = torch.zeros(*c.shape[:-1], axis.size, dtype=c.dtype, device=c.device)
    if intervals > 1:
        values[..., 1:intervals] = sine_transform(a / 2, [-1], kind=1, norm="backward")
    return values


def _at_centres(c: Tensor, k: Tensor, size: int, condition: Condition) -> Tensor:
    """Cosines or sines at the nodes (i + 1/2) / N, from the transforms of type III."""
    k = k % (4 * size)
    back = k > 2 * size
    k = torch.where(back, 4 * size - k, k)
    mirrored = k > size
    k = torch.where(mirrored, 2 * size - k, k)
    if condition == "neumann":
        a = _gather(c, k, torch.where(mirrored, -1, 1), size + 1)[..., :size]
        a[..., 1:] /= 2
        return cosine_transform(a, [-1], kind=3, norm="backward")
    a = _gather(c, k, torch.where(back, -1, 1), size + 1)[..., 1:].clone()
    a[..., :-1] /= 2
    return sine_transform(a, [-1], kind=3, norm="backward")
