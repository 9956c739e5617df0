"""Steady flow through a porous medium with random permeability, on the unit square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.sparse as sparse
import xarray as xr
from scipy.sparse.linalg import splu

from sciops.data.conventions import coordinate
from sciops.data.domains.axis import Axis
from sciops.errors import InputError
from sciops.solvers.pde.simulator import Array, Simulator, check_size, generator, largest_relative_error, simulators

_CHECKED = 4  # samples whose error is estimated by solving them again on the finer grid


def solve_darcy(permeability: npt.ArrayLike, source: npt.ArrayLike = 1.0) -> Array:
    r"""Solve the Darcy equation on the unit square with zero pressure on the boundary.

    .. math:: -\nabla \cdot (a \nabla u) = f, \qquad u = 0 \text{ on the boundary},

    by vertex-centred finite volumes: the flux between two neighbouring nodes takes the harmonic mean of their
    permeabilities, so that mass is conserved cell by cell and jumps of the permeability are allowed. The error is
    :math:`O(h^2)` for smooth permeability and :math:`O(h)` across jumps; the linear system is solved by a sparse
    direct factorisation.

    Parameters
    ----------
    permeability
        The field ``a > 0`` at the nodes of a closed grid, shape (nx, ny), both at least 3.
    source
        The source ``f`` at the same nodes, shape (nx, ny) or a scalar.

    Returns
    -------
    ndarray
        The pressure ``u`` at the nodes, shape (nx, ny), float64; zero on the boundary.

    Raises
    ------
    InputError
        A shape does not fit, or the permeability is not finite and positive.

    References
    ----------
    R. Eymard, T. Gallouet, R. Herbin, "Finite volume methods", Handbook of Numerical Analysis 7 (2000).

    Examples
    --------
    >>> u = solve_darcy(np.ones((17, 17)))
    >>> round(float(u.max()), 4)  # the exact maximum is 0.0737
    0.0734
    """
    a = np.asarray(permeability, dtype=np.float64)
    if a.ndim != 2 or min(a.shape) < 3:
        raise InputError(f"permeability has shape {a.shape}; expected (nx, ny) with at least 3 nodes along each axis")
    if not np.all(np.isfinite(a)) or a.min() <= 0:
        raise InputError(f"permeability must be finite and positive, found values from {a.min():g} to {a.max():g}")
    if np.shape(source) not in ((), a.shape):
        raise InputError(f"source has shape {np.shape(source)}; expected a scalar or {a.shape} like the permeability")
    nx, ny = a.shape
    hx, hy = 1 / (nx - 1), 1 / (ny - 1)
    inner = (slice(1, -1), slice(1, -1))
    # Conductance of each face, times the face's length, over the distance of its two nodes.
    x_faces = _harmonic(a[:-1, 1:-1], a[1:, 1:-1]) * hy / hx
    y_faces = _harmonic(a[1:-1, :-1], a[1:-1, 1:]) * hx / hy
    diagonal = x_faces[:-1] + x_faces[1:] + y_faces[:, :-1] + y_faces[:, 1:]
    # Row-major numbering: neighbours in x are ny - 2 apart; the last node of a row has no neighbour in y.
    upper_y = y_faces[:, 1:].copy()
    upper_y[:, -1] = 0
    near, far = -upper_y.ravel()[:-1], -x_faces[1:-1].ravel()
    offsets = [0, 1, -1, ny - 2, 2 - ny]
    if ny == 3:  # one node per row: the neighbour in y is the boundary
        offsets, bands = [0, 1, -1], [diagonal.ravel(), far, far]
    else:
        bands = [diagonal.ravel(), near, near, far, far]
    matrix = sparse.diags_array(bands, offsets=offsets, format="csc")
    rhs = np.broadcast_to(np.asarray(source, dtype=np.float64), a.shape)[inner] * (hx * hy)
    factors = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
    u = np.zeros_like(a)
    u[inner] = factors.solve(rhs.ravel()).reshape(nx - 2, ny - 2)
    return u


def _harmonic(left: Array, right: Array) -> Array:
    return 2 * left * right / (left + right)


@simulators.register("darcy")
@dataclass(frozen=True)
class DarcySimulator(Simulator):
    r"""Pressure of a steady flow with random permeability: ``-div(a grad u) = 1`` on the unit square, ``u = 0`` around.

    The permeability comes from a Gaussian random field ``g`` of variance 1 with the covariance of
    :math:`(-\Delta + \tau^2)^{-\alpha}` (Neumann boundary), a sum of the 24 x 24 lowest cosines:
    ``a = exp(deviation * g)`` (``"lognormal"``), or ``a = high`` where ``g >= 0`` and ``low`` elsewhere
    (``"two-phase"``).

    Parameters
    ----------
    permeability
        Which of the two.
    deviation
        Standard deviation of ``log a`` of the lognormal field.
    low, high
        The two values of the two-phase field, both positive.
    alpha, tau
        Smoothness and inverse length scale of the Gaussian field.

    Raises
    ------
    InputError
        An option is out of its range.

    References
    ----------
    Z. Li et al., "Fourier neural operator for parametric partial differential equations", ICLR 2021 (the two-phase
    ensemble).

    Examples
    --------
    >>> ds = DarcySimulator().dataset(samples=3, resolution=17)
    >>> dict(ds.sizes), ds.u.attrs["units"], ds.attrs["error_estimate"] < 0.05
    ({'sample': 3, 'x': 17, 'y': 17}, '1', True)
    """

    permeability: Literal["lognormal", "two-phase"] = "lognormal"
    deviation: float = 0.75
    low: float = 3.0
    high: float = 12.0
    alpha: float = 2.0
    tau: float = 3.0

    def __post_init__(self) -> None:
        if self.permeability not in ("lognormal", "two-phase"):
            raise InputError(f"permeability={self.permeability!r}: expected 'lognormal' or 'two-phase'")
        for option in ("deviation", "low", "high", "alpha", "tau"):
            if not 0 < getattr(self, option) < np.inf:
                raise InputError(f"{option}={getattr(self, option)}: expected a positive number")

    def field(self, index: int, resolution: int, *, seed: int = 0) -> Array:
        """The permeability of sample `index` at the nodes of a closed grid, shape (resolution, resolution)."""
        modes = np.arange(24)
        spectrum = (np.pi**2 * (modes[:, None] ** 2 + modes**2) + self.tau**2) ** (-self.alpha / 2)
        spectrum[0, 0] = 0  # the mean of g only scales a lognormal field, and would leave one phase alone
        # cos(pi p x) has mean square 1/2 for p > 0
        mean_square = np.where(modes > 0, 0.5, 1.0)
        spectrum /= np.sqrt(np.sum(spectrum**2 * mean_square[:, None] * mean_square))
        coefficients = generator(seed, index).standard_normal((24, 24)) * spectrum
        cosines = np.cos(np.pi * np.linspace(0, 1, resolution)[:, None] * modes)
        g = cosines @ coefficients @ cosines.T
        if self.permeability == "lognormal":
            return np.asarray(np.exp(self.deviation * g))
        return np.where(g >= 0, self.high, self.low)

    def dataset(self, *, samples: int, resolution: int, seed: int = 0) -> xr.Dataset:
        """Simulate: variables ``a`` and ``u`` (sample, x, y) on a closed grid.

        Parameters
        ----------
        samples, resolution
            How many samples, and how many nodes along each axis, both ends included, at least 5.
        seed
            Chooses the ensemble.

        Returns
        -------
        xarray.Dataset
            With the attribute ``error_estimate``: Richardson's estimate of the largest relative L2 error of ``u``
            among the first samples, from a grid of half the spacing (order 2 for the lognormal, 1 for the
            two-phase permeability).
        """
        check_size(samples, resolution, seed, least=5)
        a = np.stack([self.field(index, resolution, seed=seed) for index in range(samples)])
        u = np.stack([solve_darcy(sample) for sample in a])
        checked = min(samples, _CHECKED)
        fine = np.stack(
            [solve_darcy(self.field(index, 2 * resolution - 1, seed=seed))[::2, ::2] for index in range(checked)]
        )
        order = 2 if self.permeability == "lognormal" else 1
        error = largest_relative_error(u[:checked], fine) * 2**order / (2**order - 1)
        dims = ("sample", "x", "y")
        dataset = xr.Dataset(
            {
                "a": (dims, a, {"long_name": "permeability", "units": "1"}),
                "u": (dims, u, {"long_name": "pressure", "units": "1"}),
            },
            coords={name: coordinate(Axis(name, resolution, kind="closed", units="1")) for name in ("x", "y")},
        )
        kind = f"relative L2 of u, Richardson with order {order}, largest of {checked} samples"
        return self.describe(dataset, name="darcy", seed=seed, error=error, error_kind=kind)
