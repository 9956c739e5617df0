"""Random wavelet series: functions of Besov smoothness, with jumps where the wavelets have them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from sciops.data.domains.domain import Domain, Grid
from sciops.data.random.base import RandomFunction, block_length, box_of, nodes_of, normal, positive, uniform
from sciops.errors import InputError, did_you_mean

_WAVELETS = {"haar": 1, "db2": 2, "db3": 3, "db4": 4, "db5": 5, "db6": 6}
_LEVELS = {1: 10, 2: 7, 3: 5}
_MOST = 1 << 24


class WaveletField(RandomFunction):
    r"""A random function of the Besov space of smoothness below s - d/p.

    .. math:: u = \sigma \Big( \xi + \sum_{j < J} 2^{-j (s + d/2 - d/p)} \sum_{k, e} \xi_{jke}\, \psi_{jke} \Big)

    with orthonormal periodic wavelets :math:`\psi_{jke}` of scale :math:`2^{-j}` (for each place k and each of
    the :math:`2^d - 1` types e) and independent coefficients :math:`\xi` of mean 0 and variance 1: normal for p = 2,
    where they decay as :math:`2^{-js}`, Laplace for p = 1. An axis that is not periodic shows the first half of a
    period twice as long. The function is evaluated at the nodes themselves, to rounding: the same seed gives the same
    function at every resolution and at scattered points.

    Parameters
    ----------
    domain
        A grid, point cloud or mesh in one, two or three dimensions.
    smoothness
        s, above d/p for the sum to converge.
    p
        1 or 2.
    wavelet
        "haar" (jumps), or "db2" to "db6", Daubechies' with so many vanishing moments.
    levels
        J; None takes 10, 7, 5 in one, two, three dimensions. Another number is another function.
    scale
        :math:`\sigma`.

    Raises
    ------
    InputError
        If an option is out of its range.

    References
    ----------
    M. Lassas, E. Saksman, S. Siltanen, "Discretization-invariant Bayesian inversion and Besov space priors", Inverse
    Problems and Imaging 3, 2009. I. Daubechies, J. Lagarias, "Two-scale difference equations II", SIAM Journal on
    Mathematical Analysis 23, 1992 (the values of the wavelets).

    Examples
    --------
    >>> coarse = WaveletField(Grid.unit(32, kind="periodic"), smoothness=1.5, wavelet="db2", levels=6)
    >>> fine = WaveletField(Grid.unit(96, kind="periodic"), smoothness=1.5, wavelet="db2", levels=6)
    >>> bool((fine.sample(2, 0).values[..., ::3] - coarse.sample(2, 0).values).abs().max() < 1e-12)
    True
    """

    def __init__(
        self,
        domain: Domain,
        *,
        smoothness: float,
        p: int = 2,
        wavelet: str = "haar",
        levels: int | None = None,
        scale: float = 1.0,
    ) -> None:
        self.domain, self._box = domain, box_of(domain)
        d = self._box.ndim
        if p not in (1, 2):
            raise InputError(f"p = {p}, expected 1 or 2")
        if not smoothness > d / p:
            raise InputError(f"smoothness = {smoothness}, expected more than d / p = {d / p:g}, else the sum diverges")
        if wavelet not in _WAVELETS:
            raise InputError(f"unknown wavelet {wavelet!r}{did_you_mean(wavelet, _WAVELETS)}")
        self.levels = _LEVELS.get(d, 3) if levels is None else levels
        if self.levels < 1 or 2 ** (self.levels * d) > _MOST:
            raise InputError(f"levels = {self.levels} in {d} dimension(s), expected 1 to {int(math.log2(_MOST)) // d}")
        self.smoothness, self.p, self.wavelet, self.scale = smoothness, p, wavelet, positive("scale", scale)
        self._filter = _scaling_filter(_WAVELETS[wavelet])

    @property
    def variance(self) -> float:
        """The variance of the values, averaged over the period; that of every value for the Haar wavelet."""
        d, total = self._box.ndim, 1.0
        for j in range(self.levels):
            total += (2**d - 1) * 2.0 ** (j * d) * self._decay(j) ** 2
        return self.scale**2 * total

    def draw(self, n: int, generator: torch.Generator) -> Float[Tensor, " n *space"]:
        """`n` samples in float64; `sample` is the public way."""
        size = 2 ** (self.levels * self._box.ndim)
        block = block_length(4 * size)
        return torch.cat([self._block(min(block, n - i), size, generator) for i in range(0, n, block)])

    def _decay(self, j: int) -> float:
        d = self._box.ndim
        return float(2.0 ** (-j * (self.smoothness + d / 2 - d / self.p)))

    def _block(self, n: int, size: int, generator: torch.Generator) -> Tensor:
        d = self._box.ndim
        numbers = normal(n, size, generator) if self.p == 2 else _laplace(uniform(n, size, generator=generator))
        c, used = numbers[:, :1].reshape(n, *[1] * d), 1
        for j in range(self.levels):
            count = (2**d - 1) * 2 ** (j * d)
            details = numbers[:, used : used + count].reshape(n, 2**d - 1, *[2**j] * d) * self._decay(j)
            bands = torch.cat([c[:, None], details], 1).reshape(n, *[2] * d, *[2**j] * d)
            for _ in range(d):
                bands = self._synthesis(bands.select(1, 0), bands.select(1, 1), d)
            c, used = bands, used + count
        return self._evaluate(c * self.scale * 2 ** (self.levels * d / 2))

    def _synthesis(self, low: Tensor, high: Tensor, dim: int) -> Tensor:
        """One axis from its two bands of half the length."""
        low, high = low.movedim(dim, -1), high.movedim(dim, -1)
        out = torch.zeros(*low.shape[:-1], 2 * low.shape[-1], dtype=low.dtype, device=low.device)
        taps = self._filter.tolist()
        for m, h in enumerate(taps):
            spread = torch.zeros_like(out)
            spread[..., ::2] = h * low + (-1) ** m * taps[-1 - m] * high
            out += spread.roll(m, -1)
        return out.movedim(-1, dim)

    def _evaluate(self, c: Tensor) -> Tensor:
        """The sum of scaling functions of the finest level at the nodes."""
        d = self._box.ndim
        if isinstance(self.domain, Grid) and self.domain.metric == "flat":
            for i, axis in enumerate(self.domain.axes):
                places, weights = self._scaling(axis.coordinates(), i)
                places, weights = places.to(c.device), weights.to(c.device)
                c = c.movedim(i + 1, -1)
                values = torch.zeros(*c.shape[:-1], len(places), dtype=c.dtype, device=c.device)
                for s in range(places.shape[1]):
                    values += c[..., places[:, s]] * weights[:, s]
                c = values.movedim(-1, i + 1)
            return c
        nodes = nodes_of(self.domain)
        axes = [
            (places.to(c.device), weights.to(c.device)) for places, weights in map(self._scaling, nodes.T, range(d))
        ]
        total = torch.zeros(len(c), len(nodes), dtype=c.dtype, device=c.device)
        for chosen in itertools.product(range(len(self._filter) - 1), repeat=d):
            weight = torch.ones(len(nodes), dtype=c.dtype, device=c.device)
            flat = torch.zeros(len(nodes), dtype=torch.int64, device=c.device)
            for (places, weights), s in zip(axes, chosen, strict=True):
                flat = flat * 2**self.levels + places[:, s]
                weight = weight * weights[:, s]
            total += c.flatten(1)[:, flat] * weight
        return total.reshape(len(c), *self.domain.shape)

    def _scaling(self, x: Tensor, i: int) -> tuple[Tensor, Tensor]:
        """Which scaling functions of the finest level live at each place along axis i, and their values."""
        n = 2**self.levels
        period = float(self._box.extent[i]) * (1 if self._box.periodic[i] else 2)
        y = (x - self._box.lower[i]) / (period or 1.0) * n
        y = torch.where((y - y.round()).abs() < 1e-9, y.round(), y)
        cell = y.floor()
        values = _scaling_values(self._filter, (y - cell).numpy())
        shift = torch.arange(values.shape[1])
        return (cell.long()[:, None] - shift) % n, values


def _laplace(u: Tensor) -> Tensor:
    """Laplace numbers of variance 1 from uniform ones."""
    centred = u - 0.5
    return -centred.sign() * torch.log((1 - 2 * centred.abs()).clamp(min=2.0**-54)) / math.sqrt(2)


def _scaling_filter(moments: int) -> Tensor:
    """Daubechies' filter of the scaling function with that many vanishing moments: sum and norm sqrt(2) and 1."""
    # |H|^2 = (1 + cos)^N P(y) with y = (1 - cos) / 2; of the roots z + 1/z = 2 - 4 y those inside the circle are taken
    coefficients = [math.comb(moments - 1 + k, k) for k in range(moments)]
    h = np.array([1.0])
    for y in np.roots(coefficients[::-1]):
        root = min(np.roots([1, 4 * y - 2, 1]), key=abs)
        h = np.convolve(h, [1, -root])
    for _ in range(moments):
        h = np.convolve(h, [1.0, 1.0])
    h = np.real(h)
    return torch.from_numpy(h * math.sqrt(2) / h.sum())


def _scaling_values(h: Tensor, u: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Tensor:
    """The scaling function at u, u + 1, ..., u + 2N - 2 for u in [0, 1): a product of matrices by the digits of u."""
    taps = math.sqrt(2) * h.numpy()
    length = len(taps) - 1
    i, j = np.meshgrid(np.arange(length), np.arange(length), indexing="ij")

    def matrix(shift: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        index = 2 * i - j + shift
        return np.where((index >= 0) & (index <= length), taps[np.clip(index, 0, length)], 0.0)

    digits = np.stack([matrix(0), matrix(1)])
    # beyond the 53 digits of a number in double precision all are 0
    product = np.broadcast_to(np.linalg.matrix_power(digits[0], 128), (len(u), length, length))
    bits = (u * 2.0**53).astype(np.int64)
    for place in range(53):
        product = digits[(bits >> place) & 1] @ product
    return torch.from_numpy(np.ascontiguousarray(product.mean(-1)))
