from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.special
import torch

from sciops.data import Axis, Grid
from sciops.data.random import (
    Cholesky,
    Circulant,
    Exponential,
    FourierFeatures,
    GaussianRandomField,
    LevelSet,
    Matern,
    Mixture,
    PiecewiseConstant,
    PowerLaw,
    Series,
    Spectral,
    SquaredExponential,
    Voronoi,
    WaveletField,
)
from sciops.data.random.wavelets import _scaling_filter
from sciops.errors import DomainError, InputError

KERNELS = [
    Matern(0.5, 0.2, 2.0),
    Matern(1.2, 0.2),
    Matern(1.5, 0.15),
    Matern(2.5, 0.1),
    Matern(7.3, 0.1),
    SquaredExponential(0.08),
    PowerLaw(2.6, 12.0, 3e3),
]


def grid_of(*axes: str) -> Grid:
    """A grid from codes such as "periodic9": unequal extents, away from the origin."""
    made = []
    for i, code in enumerate(axes):
        kind = code.rstrip("0123456789")
        made.append(Axis("xyz"[i], int(code[len(kind) :]), -0.3, 0.7 + 0.2 * i, kind))
    return Grid(tuple(made))


# covariances


@pytest.mark.parametrize("covariance", [*KERNELS, Exponential(0.3), SquaredExponential((0.2,))], ids=repr)
def test_the_density_is_the_fourier_transform_of_the_kernel(covariance) -> None:
    h = torch.linspace(0, 40, 400_001, dtype=torch.float64)
    c = covariance.kernel(h[:, None])
    for omega in (0.0, 3.0, 20.0):
        exact = 2 * torch.trapezoid(c * torch.cos(omega * h), h)
        found = covariance.density(torch.tensor([[omega]], dtype=torch.float64))
        assert float(found) == pytest.approx(float(exact), rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("d", [2, 3])
@pytest.mark.parametrize("covariance", KERNELS, ids=repr)
def test_the_density_integrates_to_the_variance_in_more_dimensions(covariance, d: int) -> None:
    r = torch.logspace(-4, 7, 200_001, dtype=torch.float64)
    wavenumbers = torch.zeros(len(r), d, dtype=torch.float64)
    wavenumbers[:, 0] = r
    sphere = {2: 2 * math.pi, 3: 4 * math.pi}[d]
    integral = torch.trapezoid(covariance.density(wavenumbers) * sphere * r**d, r.log()) / (2 * math.pi) ** d
    variance = float(covariance.kernel(torch.zeros(1, d, dtype=torch.float64)))
    assert float(integral) == pytest.approx(variance, rel=1e-2 if getattr(covariance, "smoothness", 9) == 0.5 else 1e-5)


def test_the_bessel_form_agrees_with_the_closed_ones_and_is_smooth_at_zero() -> None:
    h = torch.tensor([0.0, 1e-300, 1e-12, 1e-3, 0.1, 1.0, 30.0], dtype=torch.float64)[:, None]
    for nu in (0.5, 1.5, 2.5):
        near = Matern(nu + 1e-9, 0.7).kernel(h)
        assert torch.allclose(near, Matern(nu, 0.7).kernel(h), rtol=0, atol=1e-7)
    assert float(Matern(30.0, 1.0).kernel(h)[0]) == 1.0
    assert Matern(49.0, 1.0).kernel(h).isfinite().all()


def test_the_power_law_is_the_matern_covariance_of_its_operator() -> None:
    law = PowerLaw(2.0, 3.0, 5.0)
    omega = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64)
    assert torch.allclose(law.matern(2).density(omega), law.density(omega), rtol=1e-12)


# the covariance of what is sampled, from the linear map of the sampler


@pytest.mark.parametrize("covariance", KERNELS, ids=repr)
@pytest.mark.parametrize(
    "axes",
    [("closed24",), ("cell7", "left6"), ("periodic16",), ("periodic9", "closed6"), ("left4", "cell3", "closed4")],
)
def test_circulant_embedding_has_the_exact_covariance(covariance, axes) -> None:
    field = GaussianRandomField(grid_of(*axes), covariance, method=Circulant())
    assert field.error == 0
    assert (field.sampled_covariance() - field.covariance()).abs().max() < 1e-10 * float(field.variance().max())


def test_on_axes_that_are_not_periodic_the_covariance_is_the_kernel() -> None:
    grid, covariance = grid_of("closed7", "left5"), Matern(1.5, (0.2, 0.4))
    places = torch.stack([x.flatten() for x in grid.coordinates()], 1)
    exact = covariance.kernel(places[:, None] - places[None])
    for method in (Circulant(), Cholesky()):
        assert (GaussianRandomField(grid, covariance, method=method).sampled_covariance() - exact).abs().max() < 1e-10


def test_smooth_long_kernels_need_padding_that_grows() -> None:
    grid, covariance = grid_of("closed20", "closed12"), SquaredExponential(0.15)
    few = GaussianRandomField(grid, covariance, method=Circulant(limit=1000))
    assert 0 < few.error < 0.1
    difference = (few.sampled_covariance() - few.covariance()).abs().max()
    assert 1e-12 < float(difference) <= few.error * 1.0001
    enough = GaussianRandomField(grid, covariance)
    assert enough.error == 0 and enough.noise_size > few.noise_size
    assert (enough.sampled_covariance() - enough.covariance()).abs().max() < 1e-10


@pytest.mark.parametrize("axes", [("periodic16",), ("periodic7", "periodic9"), ("periodic4", "periodic3", "periodic3")])
def test_the_fourier_series_has_the_covariance_of_the_torus(axes) -> None:
    # one length is longer than the axis x: images count
    for covariance in (SquaredExponential(0.3), SquaredExponential(1.2, 3.0)):
        field = GaussianRandomField(grid_of(*axes), covariance)
        assert field.method == Series() and field.error == 0
        assert (field.sampled_covariance() - field.covariance()).abs().max() < 1e-10 * float(field.variance().max())


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet"])
@pytest.mark.parametrize(
    "axes",
    [("closed9",), ("cell8",), ("left7",), ("closed2",), ("cell1",), ("left1",), ("closed6", "cell5"),
     ("periodic6", "left5"), ("cell4", "periodic5"), ("closed3", "periodic4", "cell3")],
)  # fmt: skip
def test_cosine_and_sine_series_have_the_covariance_of_the_reflected_kernel(axes, boundary: str) -> None:
    for covariance in (SquaredExponential(0.35), SquaredExponential(0.9)):
        field = GaussianRandomField(grid_of(*axes), covariance, method=Series(boundary=boundary))
        assert field.error == 0
        assert (field.sampled_covariance() - field.covariance()).abs().max() < 1e-10


@pytest.mark.parametrize("axes", [("periodic12",), ("closed9",), ("periodic6", "cell5"), ("left4", "closed5")])
@pytest.mark.parametrize("zero_mean", [False, True])
def test_the_omitted_variance_is_stated(axes, zero_mean: bool) -> None:
    field = GaussianRandomField(grid_of(*axes), Matern(1.5, 0.2), method=Series(modes=9, zero_mean=zero_mean))
    difference = float((field.sampled_covariance() - field.covariance()).abs().max())
    assert 1e-6 < difference <= field.error * (1 + 1e-9) < 0.3
    if zero_mean and axes == ("periodic12",):
        assert abs(float(field.covariance().mean())) < 1e-3
    assert 0 < GaussianRandomField(grid_of("periodic8"), Exponential(0.1)).error < 1e-3


@pytest.mark.parametrize("axes", [("periodic12",), ("cell9",), ("periodic6", "closed5"), ("periodic4", "periodic3")])
def test_a_density_alone_is_sampled_by_its_series(axes) -> None:
    law = PowerLaw(3.0, 4.0)
    same = Spectral(law.density)
    field = GaussianRandomField(grid_of(*axes), same, method=Series(modes=7))
    assert (field.sampled_covariance() - field.covariance()).abs().max() < 1e-12
    twin = GaussianRandomField(grid_of(*axes), law, method=Series(modes=7))
    assert torch.equal(field.sample(2, 3).values, twin.sample(2, 3).values)
    assert isinstance(GaussianRandomField(grid_of("closed5"), same).method, Series)


def test_cholesky_is_exact_on_stretched_axes_spheres_and_singular_matrices() -> None:
    nodes = (0.0, 0.1, 0.25, 0.7, 1.0)
    stretched = Grid((Axis("x", 5, kind="stretched", nodes=nodes), Axis("y", 6)))
    latitude, longitude = (
        Axis("lat", 5, -90, 90, "cell", "degrees_north"),
        Axis("lon", 8, 0, 360, "periodic", "degrees_east"),
    )
    sphere = Grid((latitude, longitude), metric="sphere")
    for grid in (stretched, sphere, grid_of("closed40")):
        field = GaussianRandomField(grid, SquaredExponential(0.8), method=Cholesky())
        assert (field.sampled_covariance() - field.covariance()).abs().max() < 1e-10
    poles = GaussianRandomField(sphere, Matern(1.5, 0.5)).covariance(torch.tensor([0])).reshape(5, 8)
    # the mirrored longitude is as far away, the opposite one farthest
    assert torch.allclose(poles[:, 1:], poles[:, 1:].flip(1))
    assert bool((poles[:, 4] <= poles[:, 1]).all())


def test_fourier_features_err_as_stated() -> None:
    for covariance in (Matern(0.5, 0.2), Matern(2.5, 0.2), SquaredExponential(0.2), PowerLaw(2.6, 12.0, 3e3)):
        squares = []
        for seed in range(20):
            field = GaussianRandomField(grid_of("closed5", "left6"), covariance, method=FourierFeatures(500, seed))
            difference = (field.sampled_covariance() - field.covariance()) / field.variance().max()
            assert difference.diagonal().abs().max() < 1e-12
            squares.append(difference.square())
        deviations = torch.stack(squares).mean(0).sqrt() / field.error
        assert 0.4 < float(deviations.max()) < 1.6
        assert float(torch.stack(squares).mean().sqrt()) < field.error


# samples


@pytest.mark.parametrize(
    ("grid", "method"),
    [
        (grid_of("closed9"), Circulant()),
        (grid_of("periodic8"), Series()),
        (grid_of("cell4", "left3"), Cholesky()),
        (grid_of("closed5", "periodic4"), Series(modes=20)),
        (grid_of("closed7"), FourierFeatures(1000)),
    ],
)
def test_samples_have_mean_and_covariance_within_statistical_bounds(grid, method, generator) -> None:
    n = 20_000
    field = GaussianRandomField(grid, SquaredExponential(0.3, 2.0), mean=lambda x: x[:, 0], method=method)
    values = field.sample(n, generator).values.flatten(1)
    centred = values - grid.coordinates()[0].flatten()
    exact = field.sampled_covariance()
    assert (centred.mean(0) / (exact.diagonal() / n).sqrt()).abs().max() < 6
    # the variance of x y is c_xx c_yy + c_xy^2
    deviation = ((exact.diagonal()[:, None] * exact.diagonal() + exact**2) / n).sqrt()
    assert ((centred.T @ centred / n - exact) / deviation).abs().max() < 6.5
    kurtosis = (centred**4).mean(0) / (centred**2).mean(0) ** 2
    assert (kurtosis - 3).abs().max() < 6 * math.sqrt(96 / n)


def test_marginal_variance_and_stationarity() -> None:
    for grid in (grid_of("closed9", "cell6"), grid_of("periodic9", "periodic6")):
        field = GaussianRandomField(grid, SquaredExponential(0.1, 1.7), method=Circulant())
        assert torch.allclose(
            field.sampled_covariance().diagonal(), torch.full((54,), 1.7, dtype=torch.float64), rtol=1e-10
        )
    shifted = GaussianRandomField(grid, Matern(1.5, 0.3), method=Circulant()).sampled_covariance().reshape(9, 6, 9, 6)
    assert torch.allclose(shifted.roll((2, 1, 2, 1), (0, 1, 2, 3)), shifted, atol=1e-12)
    ends = GaussianRandomField(
        grid_of("closed9"), SquaredExponential(0.05), method=Series(boundary="neumann")
    ).variance()
    assert ends[[0, 4, 8]].tolist() == pytest.approx([2, 1, 2])


@pytest.mark.parametrize("nu", [0.5, 1.5, 3.0])
def test_the_slope_of_the_spectrum_is_that_of_the_smoothness(nu: float, generator) -> None:
    field = GaussianRandomField(Grid.unit(256, kind="periodic"), Matern(nu, 0.3), method=Series(modes=100))
    power = torch.fft.rfft(field.sample(800, generator).values[:, 0]).abs().square().mean(0)
    k = torch.arange(20, 81, dtype=torch.float64)
    slope = np.polyfit(k.log().numpy(), power[20:81].log().numpy(), 1)[0]
    assert slope == pytest.approx(-2 * nu - 1, abs=0.12)


RANDOM = {
    "series": lambda g: GaussianRandomField(g, Matern(1.5, 0.2), method=Series(modes=30)),
    "dirichlet": lambda g: GaussianRandomField(g, Matern(1.5, 0.2), method=Series(modes=30, boundary="dirichlet")),
    "circulant": lambda g: GaussianRandomField(g, Matern(1.5, 0.2), method=Circulant()),
    "cholesky": lambda g: GaussianRandomField(g, Matern(1.5, 0.2), method=Cholesky()),
    "phases": lambda g: PiecewiseConstant(RANDOM["series"](g), [-0.5, 0.5], [1.0, 5.0, 2.0]),
    "discs": lambda g: LevelSet(g, count=(2, 4), overlap=False, radius=(0.04, 0.08), signed_distance=True),
    "ellipses": lambda g: LevelSet(g, count=4, aspect=(0.3, 0.8), signed_distance=True),
    "voronoi": lambda g: Voronoi(g, cells=7),
    "haar": lambda g: WaveletField(g, smoothness=1.6, levels=4),
    "besov": lambda g: WaveletField(g, smoothness=2.6, p=1, wavelet="db3", levels=4),
    "mixture": lambda g: Mixture([Voronoi(g, cells=7), RANDOM["haar"](g)], [0.3, 0.7]),
}


@pytest.mark.parametrize("name", RANDOM)
@pytest.mark.parametrize("axes", [("periodic12",), ("closed9", "periodic6")])
def test_samples_depend_on_the_seed_and_their_index_alone(name: str, axes) -> None:
    field = RANDOM[name](grid_of(*axes))
    before = torch.get_rng_state()
    many = field.sample(5, 7)
    assert torch.equal(torch.get_rng_state(), before)
    assert many.values.dtype == torch.float64 and many.values.isfinite().all()
    assert torch.allclose(field.sample(2, 7).values, many.values[:2], rtol=0, atol=1e-12)
    assert torch.equal(field.sample(5, torch.Generator().manual_seed(7)).values, many.values)
    assert not torch.equal(field.sample(5, 8).values, many.values)
    assert len(torch.unique(many.values, dim=0)) == 5
    single = field.sample(5, 7, dtype=torch.float32).values
    assert single.dtype == torch.float32 and torch.equal(single, many.values.float())


@pytest.mark.parametrize("name", [name for name in RANDOM if name not in ("circulant", "cholesky")])
@pytest.mark.parametrize("kind", ["periodic", "closed", "cell", "left"])
@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_same_seed_gives_the_same_function_at_every_resolution(name: str, kind: str, d: int) -> None:
    if d == 3 and name in ("besov", "haar", "mixture", "dirichlet"):
        build = {"dirichlet": RANDOM["dirichlet"]}.get(name, lambda g: WaveletField(g, smoothness=3.1, levels=3))
    else:
        build = RANDOM[name]
    coarse_size, fine_size, step = {"closed": (7, 13, np.s_[::2]), "cell": (6, 18, np.s_[1::3])}.get(
        kind, (6, 12, np.s_[::2])
    )
    coarse = build(grid_of(*[f"{kind}{coarse_size}"] * d)).sample(3, 11).values
    fine = build(grid_of(*[f"{kind}{fine_size}"] * d)).sample(3, 11).values
    assert torch.allclose(fine[(..., *[step] * d)], coarse, rtol=0, atol=1e-9)


def test_long_batches_are_drawn_in_blocks_that_leave_no_trace() -> None:
    field = GaussianRandomField(Grid.unit(4, 4, kind="periodic"), Exponential(0.2), method=Series(modes=256))
    n = 2 + (1 << 24) // field.noise_size
    assert torch.allclose(field.sample(n, 1).values[:2], field.sample(2, 1).values, rtol=0, atol=1e-12)


# phases, inclusions, cells, wavelets, mixtures


def test_phases_fill_the_fractions_that_are_asked_for(generator) -> None:
    grid = grid_of("closed12", "cell10")
    for method in (Circulant(), Series(modes=20, boundary="neumann")):
        g = GaussianRandomField(grid, SquaredExponential(0.08, 4.0), mean=lambda x: 3 + x[:, 0], method=method)
        phases = PiecewiseConstant.with_fractions(g, [0.2, 0.5, 0.3], [7.0, 1.0, 4.0])
        values = phases.sample(2000, generator)
        for level, fraction in ((7.0, 0.2), (1.0, 0.5), (4.0, 0.3)):
            found = ((values.values == level) * grid.weights()).sum((-2, -1)) / grid.volume
            assert abs(float(found.mean()) - fraction) < 6 * float(found.std()) / math.sqrt(2000)


def test_a_threshold_belongs_to_the_upper_phase() -> None:
    g = GaussianRandomField(Grid.unit(5), Matern(1.5, 0.3))
    value = float(g.sample(1, 0).values[0, 0, 2])
    phase = PiecewiseConstant(g, [value], [0.0, 1.0]).sample(1, 0).values[0, 0]
    assert torch.equal(phase, (g.sample(1, 0).values[0, 0] >= value).double())


def test_discs_do_not_overlap_and_have_the_area_of_discs(generator) -> None:
    grid = Grid.unit(200, 200, kind="periodic")
    discs = LevelSet(grid, count=8, radius=0.09, overlap=False, inside=3.0, outside=1.0)
    values = discs.sample(6, generator).values
    assert set(values.unique().tolist()) == {1.0, 3.0}
    area = (values == 3).double().mean((-2, -1))
    assert torch.allclose(area, torch.full_like(area, 8 * math.pi * 0.09**2), atol=2e-3)
    many = LevelSet(grid, count=8, radius=0.09).sample(40, generator).values
    covered = 1 - (1 - math.pi * 0.09**2) ** 8
    assert float((many == 1).double().mean()) == pytest.approx(covered, abs=0.02)


def test_the_signed_distance_is_one(generator) -> None:
    grid = Grid.unit(400, kind="periodic")
    distance = LevelSet(grid, count=1, radius=0.1, signed_distance=True).sample(5, generator).values[:, 0]
    assert distance.min() >= -0.1 and distance.min() < -0.095
    assert distance.max() <= 0.4 and distance.max() > 0.395
    assert torch.allclose((distance.roll(1, -1) - distance).abs().median(), torch.tensor(1 / 400).double())
    plane = Grid.unit(64, 64, kind="cell")
    ellipse = LevelSet(plane, count=1, radius=0.3, aspect=0.5, signed_distance=True).sample(300, generator).values
    assert float((ellipse < 0).double().flatten(1).mean(1).max()) == pytest.approx(math.pi * 0.3 * 0.15, rel=0.05)
    assert float(ellipse.min()) == pytest.approx(-0.15, abs=0.01)
    empty = LevelSet(plane, count=(0, 1), radius=0.1, signed_distance=True).sample(40, generator).values
    assert empty.isfinite().all() and 0 < int((empty == math.sqrt(2)).flatten(1).all(1).sum()) < 40


def test_balls_and_rods_in_three_dimensions(generator) -> None:
    grid = Grid.unit(40, 40, 40, kind="periodic")
    for aspect in (1.0, 0.6):
        volume = LevelSet(grid, count=3, radius=0.2, aspect=aspect, overlap=False).sample(3, generator).values.mean()
        assert float(volume) == pytest.approx(3 * 4 / 3 * math.pi * 0.2**3 * aspect**2, rel=0.03)


def test_cells_belong_to_the_nearest_point_and_take_all_levels(generator) -> None:
    grid = Grid.unit(50, 50, kind="periodic")
    values = Voronoi(grid, cells=9, values=(2.0, 3.0)).sample(50, generator).values
    assert values.min() >= 2 and values.max() < 3
    assert [len(v.unique()) for v in values] == [9] * 50
    levels = Voronoi(grid, cells=9, levels=[1.0, 4.0]).sample(200, generator).values
    assert float((levels == 4).double().mean()) == pytest.approx(0.5, abs=0.08)
    one = Voronoi(Grid.unit(30), cells=1).sample(3, generator).values
    assert (one == one[..., :1]).all()


@pytest.mark.parametrize("moments", range(1, 7))
def test_the_scaling_filter_is_orthonormal_and_its_wavelets_have_vanishing_moments(moments: int) -> None:
    h = _scaling_filter(moments)
    assert len(h) == 2 * moments
    for shift in range(moments):
        product = float((h[2 * shift :] * h[: len(h) - 2 * shift]).sum())
        assert product == pytest.approx(float(shift == 0), abs=1e-9)
    k = torch.arange(len(h), dtype=torch.float64)
    for power in range(moments):
        assert abs(float(((-1) ** k * h * (k / len(h)) ** power).sum())) < 1e-7


@pytest.mark.parametrize("wavelet", ["haar", "db2", "db4"])
@pytest.mark.parametrize("p", [1, 2])
def test_wavelet_fields_have_the_variance_of_their_coefficients(wavelet: str, p: int, generator) -> None:
    n = 2000
    for grid, levels in ((Grid.unit(512, kind="periodic"), 4), (Grid.unit(64, 64, kind="periodic"), 2)):
        field = WaveletField(grid, smoothness=2.2, p=p, wavelet=wavelet, levels=levels, scale=1.5)
        square = field.sample(n, generator).values.square().flatten(1).mean(1)
        assert abs(float(square.mean()) - field.variance) < 6 * float(square.std()) / math.sqrt(n)


def test_haar_fields_are_constant_between_dyadic_points_and_daubechies_fields_reproduce_their_norm(generator) -> None:
    values = WaveletField(Grid.unit(64, kind="periodic"), smoothness=1.0, levels=3).sample(2, generator).values
    blocks = values.reshape(2, 8, 8)
    assert torch.allclose(blocks, blocks[..., :1].expand_as(blocks), atol=1e-12)
    jumps = blocks[..., 0].diff().abs()
    assert (jumps > 1e-6).all()
    rough, smooth = (
        WaveletField(Grid.unit(256, kind="periodic"), smoothness=2.5, wavelet=w, levels=6).sample(20, 5).values
        for w in ("haar", "db6")
    )
    assert smooth.diff(n=3).abs().mean() < 0.1 * rough.diff(n=3).abs().mean()


def test_a_mixture_draws_from_its_components_by_their_weights(generator) -> None:
    grid = Grid.unit(6)
    parts = [PiecewiseConstant(GaussianRandomField(grid, Matern(1.5, 0.3)), [99.0], [c, 0.0]) for c in (1.0, 2.0, 3.0)]
    values = Mixture(parts, [0.5, 0.0, 1.5]).sample(2000, generator).values[:, 0, 0]
    assert not (values == 2).any()
    assert float((values == 1).double().mean()) == pytest.approx(0.25, abs=0.06)


def test_fields_on_point_clouds_and_meshes(generator) -> None:
    from sciops.data.domains.mesh import Mesh
    from sciops.data.domains.points import PointCloud

    points = torch.rand(60, 2, generator=generator, dtype=torch.float64)
    square = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
    cells = {"triangle": torch.tensor([[0, 1, 2], [0, 2, 3]])}
    for domain in (PointCloud(points), Mesh(square, cells)):
        field = GaussianRandomField(domain, Matern(1.5, 0.3))
        assert field.method == Cholesky()
        exact = Matern(1.5, 0.3).kernel(domain.points[:, None] - domain.points[None])
        assert (field.sampled_covariance() - exact).abs().max() < 1e-10
        assert field.sample(3, 0).values.shape == (3, 1, len(domain.points))
        for other in (Voronoi(domain, cells=3), LevelSet(domain, count=2), WaveletField(domain, smoothness=1.5)):
            assert other.sample(2, 0).values.shape == (2, 1, len(domain.points))
    large = PointCloud(torch.rand(5000, 3, generator=generator, dtype=torch.float64))
    features = GaussianRandomField(large, Matern(1.5, 0.3))
    assert features.method == FourierFeatures() and features.error == pytest.approx(2048**-0.5)
    assert features.sample(2, 0).values.shape == (2, 1, 5000)


def test_fields_on_curvilinear_grids(generator) -> None:
    """On a bent grid the covariance is that between its nodes."""
    from sciops.data.domains.curvilinear import CurvilinearGrid

    r, t = torch.meshgrid(torch.linspace(1, 2, 7).double(), torch.linspace(0, 3, 9).double(), indexing="ij")
    domain = CurvilinearGrid(torch.stack([r * t.cos(), r * t.sin()]))
    field = GaussianRandomField(domain, Matern(1.5, 0.3))
    nodes = torch.stack([(r * t.cos()).flatten(), (r * t.sin()).flatten()], 1)
    exact = Matern(1.5, 0.3).kernel(nodes[:, None] - nodes[None])
    assert (field.sampled_covariance() - exact).abs().max() < 1e-10
    assert field.sample(3, generator).values.shape == (3, 1, 7, 9)
    for other in (Voronoi(domain, cells=3), LevelSet(domain, count=2), WaveletField(domain, smoothness=1.5)):
        assert other.sample(2, generator).values.shape == (2, 1, 7, 9)


def test_wavelets_and_shapes_agree_on_a_grid_and_at_its_nodes() -> None:
    from sciops.data.domains.points import PointCloud

    grid = Grid.unit(9, 9)
    cloud = PointCloud(torch.stack([x.flatten() for x in grid.coordinates()], 1))
    for build in (
        lambda d: WaveletField(d, smoothness=1.7, wavelet="db2", levels=4),
        lambda d: Voronoi(d, cells=5),
        lambda d: LevelSet(d, count=3, aspect=0.5, signed_distance=True),
        lambda d: GaussianRandomField(d, Matern(1.5, 0.3), method=FourierFeatures(50)),
    ):
        assert torch.allclose(build(grid).sample(2, 3).values.flatten(2), build(cloud).sample(2, 3).values, atol=1e-10)


def test_conditions_of_the_ends_hold() -> None:
    law = PowerLaw(3, 3)
    zero = (
        GaussianRandomField(grid_of("closed9", "closed7"), law, method=Series(boundary="dirichlet")).sample(3, 0).values
    )
    assert zero[..., 0, :].abs().max() == 0 and zero[..., -1].abs().max() == 0 and zero.abs().max() > 0
    fine = GaussianRandomField(grid_of("closed2001"), law, method=Series(modes=10)).sample(3, 0).values
    slope = (fine[..., 1] - fine[..., 0]).abs().max() / (fine.diff().abs().max())
    assert slope < 0.05
    mean = GaussianRandomField(Grid.unit(32, kind="periodic"), law, mean=2.0, method=Series(zero_mean=True)).sample(
        4, 0
    )
    assert torch.allclose(mean.values.mean(-1), torch.tensor(2.0).double(), atol=1e-12)


def test_a_series_takes_given_numbers() -> None:
    """Cosines with the coefficients that are given, as a simulator with streams of its own needs them."""
    law = PowerLaw(2, 3)
    field = GaussianRandomField(Grid.unit(9), law, method=Series(modes=3))
    noise = torch.tensor([[1.0, -2.0, 0.5, 3.0]], dtype=torch.float64)
    k = torch.arange(4, dtype=torch.float64)
    root = law.density(math.pi * k[:, None]).sqrt() * torch.where(k > 0, math.sqrt(2), 1.0)
    x = torch.linspace(0, 1, 9, dtype=torch.float64)
    exact = (noise[0] * root) @ torch.cos(math.pi * k[:, None] * x)
    assert torch.allclose(field.from_noise(noise)[0], exact, atol=1e-14)


GRID, PERIODIC = Grid.unit(8), Grid.unit(8, kind="periodic")
FIELD = GaussianRandomField(GRID, Matern(1.5, 0.3))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Matern(0, 1.0), InputError, "smoothness = 0"),
        (lambda: Matern(60, 1.0), InputError, "SquaredExponential"),
        (lambda: SquaredExponential(-1.0), InputError, "length = -1"),
        (lambda: PowerLaw(2, 0), InputError, "tau = 0"),
        (lambda: GaussianRandomField(GRID, Matern(1.5, (0.1, 0.2))), InputError, "length has 2 entries for 1"),
        (lambda: GaussianRandomField(Grid.unit(8, 8), PowerLaw(1, 3)), InputError, "no finite variance in 2"),
        (lambda: GaussianRandomField(GRID, "matern"), InputError, "expected a Covariance"),
        (lambda: GaussianRandomField(GRID, Matern(1.5, 1), mean=torch.zeros(3)), InputError, r"mean has shape \(3,\)"),
        (lambda: GaussianRandomField(GRID, Spectral(torch.ones_like), method=Circulant()), InputError, "method=Series"),
        (lambda: GaussianRandomField(GRID, Spectral(lambda w: -w[..., 0] - 1)), InputError, "negative or not finite"),
        (lambda: GaussianRandomField(GRID, Spectral(lambda w: w)), InputError, "density gave shape"),
        (lambda: GaussianRandomField(PERIODIC, Matern(1.5, 1), method=FourierFeatures()), DomainError, "periodic"),
        (lambda: GaussianRandomField(GRID, Matern(1.5, 1), method=Cholesky(limit=7)), DomainError, "8 nodes"),
        (lambda: GaussianRandomField(GRID, Matern(1.5, 1), method=Circulant(limit=7)), DomainError, "limit = 7"),
        (lambda: Series(modes=0), InputError, "modes = 0"),
        (lambda: Series(boundary="robin"), InputError, "boundary = 'robin'"),
        (lambda: FIELD.sample(0, 0), InputError, "n = 0"),
        (lambda: FIELD.sample(1, -1), InputError, "generator = -1"),
        (lambda: FIELD.sample(1, 0, dtype=torch.int64), InputError, "int64"),
        (lambda: FIELD.from_noise(torch.zeros(2, 3)), InputError, r"shape \(2, 3\)"),
        (lambda: PiecewiseConstant(FIELD, [1.0, 0.0], [1, 2, 3]), InputError, "ascending"),
        (lambda: PiecewiseConstant(FIELD, [1.0], [1, 2, 3]), InputError, "3 levels for 1 thresholds"),
        (lambda: PiecewiseConstant.with_fractions(FIELD, [0.5, 0.6], [1, 2]), InputError, "sum to 1"),
        (lambda: LevelSet(GRID, radius=(0.2, 0.1)), InputError, "radius"),
        (lambda: LevelSet(GRID, aspect=2.0), InputError, "aspect"),
        (lambda: LevelSet(GRID, count=9, radius=0.1, overlap=False).sample(1, 0), InputError, "no place for inclusion"),
        (lambda: Voronoi(GRID, cells=0), InputError, "cells = 0"),
        (lambda: WaveletField(GRID, smoothness=0.5), InputError, "diverges"),
        (lambda: WaveletField(GRID, smoothness=2, wavelet="db9"), InputError, "unknown wavelet 'db9'"),
        (lambda: WaveletField(GRID, smoothness=2, levels=30), InputError, "levels = 30"),
        (lambda: Mixture([FIELD], [-1.0]), InputError, "weights"),
        (lambda: Mixture([FIELD, Voronoi(PERIODIC)]), DomainError, "component 1"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_in_one_line(make, error, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_general_smoothness_is_the_bessel_kernel() -> None:
    h, nu = np.array([0.05, 0.3, 1.1]), 0.8
    z = math.sqrt(2 * nu) * h / 0.4
    exact = 2 ** (1 - nu) / scipy.special.gamma(nu) * z**nu * scipy.special.kv(nu, z)
    assert Matern(nu, 0.4).kernel(torch.tensor(h)[:, None]).tolist() == pytest.approx(exact.tolist(), rel=1e-12)


def test_the_code_of_the_page_runs() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "random-functions.md").read_text()
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(code, names)
    assert names["a"].shape == (100, 1, 64, 64)
    permeability = names["permeability"].sample(2, 0).values
    assert permeability.shape == (2, 1, 85, 85) and set(permeability.unique().tolist()) == {3.0, 12.0}
    assert float(names["burgers"].variance().mean()) == pytest.approx(625 / (4 * 5**3), rel=0.1)


def test_kernels_that_reach_over_many_boxes_are_sampled_by_their_series() -> None:
    field = GaussianRandomField(Grid.unit(4, 4, 4, kind="periodic"), Matern(1.5, 3.0), method=Series(modes=3))
    assert (field.sampled_covariance() - field.covariance()).abs().max() < 1e-10
    with pytest.raises(DomainError, match="use method=Series"):
        GaussianRandomField(Grid.unit(4, 4, 4, kind="periodic"), Matern(1.5, 3.0), method=Circulant())
