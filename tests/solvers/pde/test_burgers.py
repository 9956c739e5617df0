import numpy as np
import pytest

import sciops
from sciops.errors import InputError
from sciops.solvers.pde import BurgersSimulator, simulate, solve_burgers
from sciops.solvers.pde.burgers import sample_fourier

SHORT = BurgersSimulator(duration=0.2, frames=5)


def cole_hopf(nu, t, points):
    """Burgers from u0 = -2 nu phi_x / phi with phi = 1 + 0.6 cos 2 pi x + 0.3 sin 4 pi x, which diffuses exactly."""
    x = np.arange(points) / points
    first, second = 0.6 * np.exp(-nu * (2 * np.pi) ** 2 * t), 0.3 * np.exp(-nu * (4 * np.pi) ** 2 * t)
    phi = 1 + first * np.cos(2 * np.pi * x) + second * np.sin(4 * np.pi * x)
    slope = -2 * np.pi * first * np.sin(2 * np.pi * x) + 4 * np.pi * second * np.cos(4 * np.pi * x)
    return -2 * nu * slope / phi


def start(nu, modes):
    return np.fft.rfft(cole_hopf(nu, 0.0, 512), norm="forward")[None, : modes + 1]


def test_cole_hopf_solution_is_reached_to_the_tolerance():
    nu, times = 0.05, np.array([0.0, 0.1, 0.5])
    u = sample_fourier(solve_burgers(start(nu, 64), nu, times, modes=64, rtol=1e-10), 96)[0]
    for value, t in zip(u, times, strict=True):
        assert np.abs(value - cole_hopf(nu, t, 96)).max() < 1e-9


def test_error_falls_exponentially_with_the_modes():
    nu, t = 0.05, 0.1
    errors = []
    for modes in (8, 16, 32):
        u = sample_fourier(solve_burgers(start(nu, modes), nu, [0.0, t], modes=modes, rtol=1e-11), 96)[0, -1]
        errors.append(np.abs(u - cole_hopf(nu, t, 96)).max())
    rates = np.log(errors[:-1]) - np.log(errors[1:])
    assert errors[0] > 1e-5  # the coarsest is not exact already
    assert 1.5 < rates[1] / rates[0] < 2.5, errors  # twice the modes: twice the digits


def test_stacked_viscosities_equal_single_runs():
    nu = np.array([0.02, 0.08])
    initial = np.concatenate([start(n, 32) for n in nu])
    both = solve_burgers(initial, nu, [0.0, 0.1], modes=32, rtol=1e-10)
    for i in range(2):
        alone = solve_burgers(initial[i : i + 1], nu[i], [0.0, 0.1], modes=32, rtol=1e-10)
        assert np.abs(both[i] - alone[0]).max() < 1e-9


def test_mean_is_conserved_and_energy_falls():
    u = SHORT.dataset(samples=3, resolution=64).u.values
    np.testing.assert_allclose(u.mean(-1), np.repeat(u.mean(-1)[:, :1], 5, 1), atol=1e-10)
    assert np.all(np.diff((u**2).mean(-1), axis=1) < 0)


def test_sample_fourier_inverts_the_transform_and_samples_more_modes_pointwise():
    random = np.random.default_rng(0)
    values = random.standard_normal((2, 17))
    np.testing.assert_allclose(sample_fourier(np.fft.rfft(values, norm="forward"), 17), values, atol=1e-13)
    coefficients = random.standard_normal((1, 9)) + 0j
    np.testing.assert_allclose(sample_fourier(coefficients, 24)[:, ::3], sample_fourier(coefficients, 8), atol=1e-13)


def test_samples_depend_neither_on_their_number_nor_on_the_resolution():
    few = SHORT.dataset(samples=2, resolution=16, seed=3)
    many = SHORT.dataset(samples=34, resolution=32, seed=3)
    np.testing.assert_allclose(few.u, many.u[:2, :, ::2], atol=1e-14)
    np.testing.assert_array_equal(few.nu, many.nu[:2])
    assert len(np.unique(many.nu)) == 34


def test_viscosity_and_amplitude_are_as_stated():
    simulator = BurgersSimulator(lowest_viscosity=0.01, highest_viscosity=0.04, amplitude=0.7, mean=0.0)
    drawn = [simulator.draw(i) for i in range(500)]
    nu = np.array([d[1] for d in drawn])
    assert nu.min() >= 0.01 and nu.max() <= 0.04
    assert abs(np.mean(nu < 0.02) - 0.5) < 0.07
    assert abs(sample_fourier(np.stack([d[0] for d in drawn]), 32).std() / 0.7 - 1) < 0.05


def test_error_estimate_is_small_and_honest():
    simulator = BurgersSimulator(duration=0.3, frames=3, mean=0.0)
    dataset = simulator.dataset(samples=2, resolution=32)
    drawn = [simulator.draw(i) for i in range(2)]
    fine = solve_burgers(
        np.stack([d[0] for d in drawn]), np.array([d[1] for d in drawn]), dataset.time.values, modes=128, rtol=1e-10
    )
    exact = sample_fourier(fine, 32)
    true = np.sqrt(np.sum((dataset.u.values - exact) ** 2, (1, 2)) / np.sum(exact**2, (1, 2))).max()
    assert true < 1e-5
    assert 0.5 * true < dataset.attrs["error_estimate"] < 1e-5


def test_file_carries_the_conventions(tmp_path):
    path = simulate(SHORT, tmp_path / "burgers.h5", samples=2, resolution=16, seed=1)
    dataset = sciops.data.open(path)
    assert dataset.u.dims == ("sample", "time", "x")
    assert dataset.nu.dims == ("sample",)
    assert (dataset.attrs["sample_dim"], dataset.attrs["time_dim"]) == ("sample", "time")
    assert dataset.x.attrs["kind"] == "periodic"
    np.testing.assert_allclose(dataset.x, np.arange(16) / 16)
    np.testing.assert_allclose(dataset.time, np.linspace(0, 0.2, 5))
    assert '"duration": 0.2' in dataset.attrs["options"]


@pytest.mark.parametrize(
    ("options", "word"),
    [({"lowest_viscosity": 0.0}, "viscosity"), ({"lowest_viscosity": 1.0}, "viscosity"), ({"frames": 1}, "frames"),
     ({"duration": 0.0}, "duration"), ({"amplitude": -1.0}, "amplitude"), ({"mean": -1.0}, "mean")],
)  # fmt: skip
def test_bad_options_are_refused(options, word):
    with pytest.raises(InputError, match=word):
        BurgersSimulator(**options)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="initial has shape"):
        solve_burgers(np.zeros((1, 9)), 0.1, [0, 1], modes=4)
    with pytest.raises(InputError, match="viscosity has shape"):
        solve_burgers(np.zeros((1, 3)), [0.1, 0.1], [0, 1], modes=4)
    with pytest.raises(InputError, match="must be positive"):
        solve_burgers(np.zeros((1, 3)), 0.0, [0, 1], modes=4)
    with pytest.raises(InputError, match="times"):
        solve_burgers(np.zeros((1, 3)), 0.1, [0.0, 0.5, 0.2], modes=4)
