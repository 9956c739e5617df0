import numpy as np
import pytest

import sciops
from sciops.errors import InputError
from sciops.solvers.pde import DarcySimulator, simulate, solve_darcy


def manufactured(n):
    """Nodes, permeability, source and solution of a problem without symmetry between x and y."""
    x, y = np.meshgrid(np.linspace(0, 1, n), np.linspace(0, 1, n), indexing="ij")
    pi = np.pi
    a = np.exp(x + 0.5 * np.sin(2 * y))
    u = np.sin(pi * x) * np.sin(2 * pi * y)
    ux, uy = pi * np.cos(pi * x) * np.sin(2 * pi * y), 2 * pi * np.sin(pi * x) * np.cos(2 * pi * y)
    source = -a * (ux + np.cos(2 * y) * uy - 5 * pi**2 * u)
    return a, source, u


def test_order_two_on_smooth_permeability():
    errors = []
    for n in (17, 33, 65, 129):
        a, source, exact = manufactured(n)
        errors.append(np.sqrt(np.mean((solve_darcy(a, source) - exact) ** 2)))
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all(np.abs(orders - 2) < 0.1), orders


def test_axes_are_not_confused_and_grids_may_be_oblong():
    a, source, exact = manufactured(33)
    oblong = np.s_[:, ::2]
    assert np.abs(solve_darcy(a[oblong], source[oblong]) - exact[oblong]).max() < 0.03
    np.testing.assert_allclose(solve_darcy(a.T, source.T), solve_darcy(a, source).T, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (5, 3), (4, 6)])
def test_smallest_grids_satisfy_the_balance_of_each_cell(shape):
    a = np.random.default_rng(0).uniform(1, 5, shape)
    assert np.abs(imbalance(a, solve_darcy(a))).max() < 1e-13


def imbalance(a, u, source=1.0):
    """Outflow minus source of the cell around each inner node."""
    hx, hy = (1 / (n - 1) for n in a.shape)
    x = 2 / (1 / a[1:] + 1 / a[:-1]) * np.diff(u, axis=0) * hy / hx
    y = 2 / (1 / a[:, 1:] + 1 / a[:, :-1]) * np.diff(u, axis=1) * hx / hy
    return -np.diff(x, axis=0)[:, 1:-1] - np.diff(y, axis=1)[1:-1] - source * hx * hy


def test_mass_is_conserved_cell_by_cell_across_jumps():
    a = DarcySimulator(permeability="two-phase", low=1e-3, high=1e3).field(0, 33)
    assert np.abs(imbalance(a, solve_darcy(a))).max() < 1e-12


@pytest.mark.parametrize(
    ("permeability", "source", "words"),
    [
        (np.ones((2, 9)), 1.0, "at least 3 nodes"),
        (np.ones(9), 1.0, "at least 3 nodes"),
        (np.zeros((5, 5)), 1.0, "finite and positive"),
        (np.full((5, 5), np.nan), 1.0, "finite and positive"),
        (np.ones((5, 5)), np.ones((4, 5)), "source has shape"),
    ],
)
def test_bad_input_is_refused(permeability, source, words):
    with pytest.raises(InputError, match=words):
        solve_darcy(permeability, source)


def test_permeability_is_one_function_at_every_resolution():
    for kind in ("lognormal", "two-phase"):
        simulator = DarcySimulator(permeability=kind)
        np.testing.assert_allclose(simulator.field(3, 33)[::2, ::2], simulator.field(3, 17), rtol=1e-12)


def test_lognormal_field_has_the_stated_deviation():
    simulator = DarcySimulator(deviation=0.5)
    g = np.log(np.stack([simulator.field(i, 12) for i in range(400)]))
    assert abs(g.mean()) < 0.03
    assert abs(np.sqrt(np.mean(g[:, 1:-1, 1:-1] ** 2)) - 0.5) < 0.08


def test_two_phase_field_has_two_values():
    assert set(np.unique(DarcySimulator(permeability="two-phase", low=2, high=7).field(0, 33))) == {2, 7}


def test_samples_do_not_depend_on_how_many_are_asked_for():
    few, many = (DarcySimulator().dataset(samples=n, resolution=9, seed=5) for n in (2, 5))
    np.testing.assert_array_equal(few.u, many.u[:2])
    np.testing.assert_array_equal(few.a, many.a[:2])
    assert not np.array_equal(many.a[0], many.a[1])
    assert not np.array_equal(DarcySimulator().dataset(samples=1, resolution=9, seed=6).a[0], few.a[0])


@pytest.mark.parametrize("kind", ["lognormal", "two-phase"])
def test_error_estimate_is_neither_optimistic_nor_far_too_large(kind):
    simulator = DarcySimulator(permeability=kind)
    dataset = simulator.dataset(samples=4, resolution=17)
    exact = np.stack([solve_darcy(simulator.field(i, 129))[::8, ::8] for i in range(4)])
    difference = np.sqrt(np.sum((dataset.u.values - exact) ** 2, (1, 2)) / np.sum(exact**2, (1, 2))).max()
    assert 0.5 < dataset.attrs["error_estimate"] / difference < 3


def test_file_carries_the_conventions(tmp_path):
    path = simulate("darcy", tmp_path / "darcy.h5", samples=2, resolution=9, seed=1)
    dataset = sciops.data.open(path)
    assert dataset.u.dims == ("sample", "x", "y")
    assert dataset.attrs["sample_dim"] == "sample"
    assert dataset.x.attrs["kind"] == "closed"
    assert (float(dataset.x[0]), float(dataset.x[-1])) == (0.0, 1.0)
    assert (dataset.attrs["simulator"], dataset.attrs["seed"]) == ("darcy", 1)
    assert dataset.a.attrs["units"] == dataset.u.attrs["units"] == "1"
    np.testing.assert_array_equal(dataset.u, DarcySimulator().dataset(samples=2, resolution=9, seed=1).u)


@pytest.mark.parametrize(
    "options", [{"permeability": "uniform"}, {"deviation": 0.0}, {"low": -1.0}, {"tau": float("nan")}]
)
def test_bad_options_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        DarcySimulator(**options)


@pytest.mark.parametrize("size", [{"samples": 0}, {"resolution": 4}, {"seed": -1}])
def test_bad_sizes_are_refused(size):
    with pytest.raises(InputError, match=next(iter(size))):
        DarcySimulator().dataset(**{"samples": 1, "resolution": 9, **size})
