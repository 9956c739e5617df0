"""The viscous Burgers equation with periodic boundary and random initial condition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.fft import irfft, next_fast_len, rfft
from scipy.integrate import ode

from sciops.data.conventions import coordinate
from sciops.data.domains.axis import Axis
from sciops.errors import InputError
from sciops.solvers.pde.simulator import Array, Simulator, check_size, generator, largest_relative_error, simulators

Complex = npt.NDArray[np.complex128]
_BLOCK = 32  # samples stepped together; always whole blocks, so that no sample depends on how many are asked for
_INITIAL_MODES = 12
_CHECKED = 4


def solve_burgers(
    initial: Complex,
    viscosity: npt.ArrayLike,
    times: npt.ArrayLike,
    *,
    modes: int,
    rtol: float = 1e-8,
) -> Complex:
    r"""Solve the viscous Burgers equation with period 1 for several initial conditions at once.

    .. math:: u_t + u\,u_x = \nu\,u_{xx}, \qquad u = \sum_{|k| \le K} \hat u_k e^{2\pi i k x},

    by a Fourier-Galerkin method (products without aliasing), stepped by the adaptive Dormand-Prince pair of order 5.
    The error falls exponentially with the number of modes; the cost grows as its square times the largest
    viscosity, because the steps are explicit.

    Parameters
    ----------
    initial
        Coefficients :math:`\hat u_k`, k = 0..K0, of the initial conditions (forward-normalised: the coefficient 0 is
        the mean), shape (sample, K0 + 1) with K0 <= modes.
    viscosity
        :math:`\nu > 0` of each sample, shape (sample,), or one for all.
    times
        Increasing times at which to return the solution; the first belongs to the initial condition.
    modes
        The highest frequency K that is kept.
    rtol
        Relative tolerance of the time steps.

    Returns
    -------
    ndarray
        Coefficients of the solution, shape (sample, time, modes + 1), complex128.

    Raises
    ------
    InputError
        Shapes do not fit, the initial condition is not finite, or a viscosity is not positive.

    References
    ----------
    C. Canuto, M. Hussaini, A. Quarteroni, T. Zang, "Spectral methods in fluid dynamics", 1988, chapter 3.

    Examples
    --------
    A single wave of small amplitude decays by the heat equation:

    >>> u = solve_burgers(np.array([[0.0, 1e-6]]), 0.05, [0.0, 0.5], modes=8)
    >>> bool(abs(u[0, 1, 1] / 1e-6 - np.exp(-0.05 * 4 * np.pi**2 * 0.5)) < 1e-6)
    True
    """
    start = np.asarray(initial, dtype=np.complex128)
    if start.ndim != 2 or not 1 <= start.shape[1] <= modes + 1:
        raise InputError(f"initial has shape {start.shape}; expected (sample, at most modes + 1 = {modes + 1})")
    if not np.all(np.isfinite(start)):
        raise InputError("initial holds values that are not finite")
    samples = len(start)
    if np.shape(viscosity) not in ((), (samples,)):
        raise InputError(f"viscosity has shape {np.shape(viscosity)}; expected a scalar or ({samples},)")
    nu = np.broadcast_to(np.asarray(viscosity, dtype=np.float64), (samples,))
    if not nu.min() > 0:
        raise InputError(f"viscosity must be positive, found {nu.min():g}")
    instants = np.asarray(times, dtype=np.float64)
    if instants.ndim != 1 or len(instants) < 1 or not np.all(np.diff(instants) > 0):
        raise InputError("times must be one-dimensional and increase strictly")
    wavenumber = 2 * np.pi * np.arange(modes + 1)
    decay = nu[:, None] * wavenumber**2
    points = next_fast_len(3 * modes + 1, real=True)  # the three-halves rule: quadratic products without aliasing
    shape = (samples, modes + 1)

    def slope(_: float, state: Array) -> Array:
        coefficients = state.view(np.complex128).reshape(shape)
        u = irfft(coefficients, n=points, norm="forward")
        square = rfft(u * u, norm="forward")[:, : modes + 1]
        return np.asarray(-0.5j * wavenumber * square - decay * coefficients).view(np.float64).ravel()

    solution = np.zeros((len(instants), *shape), dtype=np.complex128)
    solution[0, :, : start.shape[1]] = start
    # `ode` rather than `solve_ivp`: its steps are compiled and call no threaded BLAS, which on small states costs more.
    atol = 1e-3 * rtol * max(float(np.abs(start).max()), np.finfo(np.float64).tiny)
    stepper = ode(slope).set_integrator("dopri5", rtol=rtol, atol=atol, nsteps=10_000_000)
    stepper.set_initial_value(solution[0].view(np.float64).ravel(), instants[0])
    for index, instant in enumerate(instants[1:], start=1):
        state = stepper.integrate(instant)
        if not stepper.successful():
            raise InputError(f"the time steps failed near t = {stepper.t:g}: initial condition or viscosity not usable")
        solution[index] = state.view(np.complex128).reshape(shape)
    return np.ascontiguousarray(np.moveaxis(solution, 0, 1))


def sample_fourier(coefficients: Complex, points: int) -> Array:
    """Values at ``x = i / points`` of real functions of period 1 with the coefficients k >= 0 (last axis)."""
    k = np.arange(coefficients.shape[-1])
    # Exact phases: i k mod points, before the multiplication by 2 pi.
    phase = 2 * np.pi * ((k[:, None] * np.arange(points)) % points) / points
    weight = np.where(k > 0, 2.0, 1.0)[:, None]
    return np.asarray(
        coefficients.real @ (weight * np.cos(phase)) - coefficients.imag @ (weight * np.sin(phase)), dtype=np.float64
    )


@simulators.register("burgers")
@dataclass(frozen=True)
class BurgersSimulator(Simulator):
    r"""Trajectories of ``u_t + u u_x = nu u_xx``, period 1, from random initial conditions and viscosities.

    The initial condition is a Gaussian random field of the covariance :math:`(-\Delta + 25)^{-2}` (frequencies 1 to
    12) around a random mean, scaled to the standard deviation `amplitude`; the viscosity is drawn
    log-uniformly between `lowest_viscosity` and `highest_viscosity`.

    Parameters
    ----------
    lowest_viscosity, highest_viscosity
        Range of the viscosity.
    amplitude
        Standard deviation of the initial condition over samples, at each point.
    mean
        Standard deviation of its spatial mean, which is conserved.
    duration
        The last time.
    frames
        How many times are written, the initial one included.

    Raises
    ------
    InputError
        An option is out of its range.

    Examples
    --------
    >>> ds = BurgersSimulator(frames=5, duration=0.1).dataset(samples=2, resolution=32)
    >>> dict(ds.u.sizes), ds.nu.dims, ds.attrs["error_estimate"] < 1e-4
    ({'sample': 2, 'time': 5, 'x': 32}, ('sample',), True)
    """

    lowest_viscosity: float = 0.01
    highest_viscosity: float = 0.03
    amplitude: float = 0.5
    mean: float = 0.2
    duration: float = 1.0
    frames: int = 21

    def __post_init__(self) -> None:
        if not 0 < self.lowest_viscosity <= self.highest_viscosity < np.inf:
            raise InputError(
                f"viscosity from {self.lowest_viscosity} to {self.highest_viscosity}: expected 0 < lowest <= highest"
            )
        for option, least in (("amplitude", 0.0), ("duration", 0.0), ("frames", 1)):
            if not least < getattr(self, option) < np.inf:
                raise InputError(f"{option}={getattr(self, option)}: expected a number above {least:g}")
        if not 0 <= self.mean < np.inf:
            raise InputError(f"mean={self.mean}: expected a number >= 0")

    @property
    def modes(self) -> int:
        """Frequencies that the solver keeps: a shock of width ``nu / amplitude`` is resolved to about 1e-5."""
        return max(2 * _INITIAL_MODES, int(np.ceil(1.2 * self.amplitude / self.lowest_viscosity)))

    def draw(self, index: int, *, seed: int = 0) -> tuple[Complex, float]:
        """Coefficients k = 0..12 of the initial condition of sample `index`, and its viscosity."""
        random = generator(seed, index)
        k = np.arange(1, _INITIAL_MODES + 1)
        deviation = 1 / ((2 * np.pi * k) ** 2 + 25)
        deviation *= self.amplitude / np.sqrt(2 * np.sum(deviation**2))
        pair = random.standard_normal((2, _INITIAL_MODES)) / np.sqrt(2)
        mean = self.mean * random.standard_normal()
        low, high = np.log(self.lowest_viscosity), np.log(self.highest_viscosity)
        nu = float(np.exp(low + (high - low) * random.random()))
        return np.concatenate([[mean], deviation * (pair[0] + 1j * pair[1])]), nu

    def dataset(self, *, samples: int, resolution: int, seed: int = 0) -> xr.Dataset:
        """Simulate: variables ``u`` (sample, time, x) on a periodic grid and ``nu`` (sample,).

        Parameters
        ----------
        samples, resolution
            How many trajectories, and at how many points each frame is written, at least 8. The solver's own
            resolution follows from the viscosity, so that the values do not depend on this number.
        seed
            Chooses the ensemble.

        Returns
        -------
        xarray.Dataset
            With the attribute ``error_estimate``: the largest relative L2 distance of the first trajectories to
            ones computed with half as many modes again and a tolerance ten times smaller.
        """
        check_size(samples, resolution, seed, least=8)
        times = np.linspace(0, self.duration, self.frames)
        drawn = [self.draw(index, seed=seed) for index in range(-(-samples // _BLOCK) * _BLOCK)]
        initial, nu = np.stack([member[0] for member in drawn]), np.array([member[1] for member in drawn])
        u = np.empty((samples, self.frames, resolution))
        for first in range(0, samples, _BLOCK):
            block = slice(first, first + _BLOCK)
            coefficients = solve_burgers(initial[block], nu[block], times, modes=self.modes)
            u[block] = sample_fourier(coefficients, resolution)[: samples - first]
        few = slice(min(samples, _CHECKED))
        fine = solve_burgers(initial[few], nu[few], times, modes=-(-3 * self.modes // 2), rtol=1e-9)
        error = largest_relative_error(u[few], sample_fourier(fine, resolution))
        dataset = xr.Dataset(
            {
                "u": (("sample", "time", "x"), u, {"long_name": "velocity", "units": "1"}),
                "nu": (("sample",), nu[:samples], {"long_name": "viscosity", "units": "1"}),
            },
            coords={
                "time": ("time", times, {"long_name": "time", "units": "1"}),
                "x": coordinate(Axis("x", resolution, kind="periodic", units="1")),
            },
            attrs={"time_dim": "time"},
        )
        kind = f"relative L2 of u, against 3/2 of the modes, largest of {few.stop} samples"
        return self.describe(dataset, name="burgers", seed=seed, error=error, error_kind=kind)
