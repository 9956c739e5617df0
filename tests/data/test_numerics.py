"""What is promised of the numbers on every kind of domain: gradients, exact resampling, orders of quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from sciops.data import Axis, CurvilinearGrid, Field, Grid, Mesh, PointCloud
from sciops.data.domains.domain import Domain, node_table
from sciops.data.domains.interpolation import interpolate, resample
from sciops.errors import InputError


def stretched(size: int) -> Axis:
    """Nodes of [0, 1] that crowd at its lower end, gaps shrinking with 1 / size."""
    t = torch.linspace(0, 1, size, dtype=torch.float64)
    return Axis("x", size, 0.0, 1.0, "stretched", nodes=tuple((0.7 * t + 0.3 * t**2).tolist()))


def gauss_sphere(size: int) -> Grid:
    nodes = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(size)[0]))
    latitude = Axis("lat", size, -90, 90, "stretched", nodes=tuple(nodes.tolist()))
    return Grid((latitude, Axis("lon", 2 * size, 0, 360, "periodic")), metric="sphere")


def uniform_sphere(kind: str) -> Callable[[int], Grid]:
    def build(size: int) -> Grid:
        latitude = Axis("lat", size + (kind == "closed"), -90, 90, kind)
        return Grid((latitude, Axis("lon", 2 * size, 0, 360, "periodic")), metric="sphere")

    return build


def bent(size: int) -> Tensor:
    """Nodes (2, size + 1, size + 1) of the unit square, smoothly displaced within it."""
    x, y = Grid.unit(size + 1, size + 1).coordinates()
    shift = 0.08 * torch.sin(math.pi * x) * torch.sin(math.pi * y)
    return torch.stack([x + shift, y - shift])


def mesh(kind: str) -> Callable[[int], Mesh]:
    def build(size: int) -> Mesh:
        nodes = bent(size)
        quads = torch.from_numpy(CurvilinearGrid(nodes).cells)
        triangles = torch.cat([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        half = len(quads) // 2
        cells = {
            "triangle": {"triangle": triangles},
            "quad": {"quad": quads},
            "mixed": {"quad": quads[:half], "triangle": torch.cat([quads[half:, [0, 1, 2]], quads[half:, [0, 2, 3]]])},
        }
        return Mesh(nodes.flatten(1).T.contiguous(), cells[kind])

    return build


def weighted_points(size: int) -> PointCloud:
    """Gauss points of squares with their weights: fourth order, kept as they were given."""
    nodes, weights = np.polynomial.legendre.leggauss(2)
    line = ((np.arange(size)[:, None] + (nodes + 1) / 2) / size).ravel()
    w = np.tile(weights / 2 / size, size)
    points = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    return PointCloud(points, np.outer(w, w).ravel())


def cloud(rule: str) -> Callable[[int], PointCloud]:
    return lambda size: PointCloud(bent(size).flatten(1).T, rule)


def square(kind: str) -> Callable[[int], Grid]:
    return lambda size: Grid.unit(size + (kind == "closed"), size + (kind == "closed"), kind=kind)


@dataclass(frozen=True)
class Kind:
    """A family of domains that are refined.

    Parameters
    ----------
    build
        The domain of a size; twice the size is half the spacing.
    order
        That of its quadrature.
    sizes
        Those to compare, each twice the one before.
    sphere
        Whether it is the sphere and not the unit square.
    """

    build: Callable[[int], Domain]
    order: float
    sizes: tuple[int, ...] = (8, 16, 32, 64)
    sphere: bool = False


KINDS: dict[str, Kind] = {
    "closed": Kind(square("closed"), 2),
    "cell": Kind(square("cell"), 2),
    "left": Kind(square("left"), 2, (16, 32, 64, 128)),
    "stretched": Kind(lambda n: Grid((stretched(n + 1), Axis("y", n + 1))), 2),
    "mixed axes": Kind(lambda n: Grid((stretched(n + 1), Axis("y", n, kind="cell"))), 2),
    "sphere, closed": Kind(uniform_sphere("closed"), 2, sphere=True),
    "sphere, cell": Kind(uniform_sphere("cell"), 2, sphere=True),
    "sphere, Gauss": Kind(gauss_sphere, 2, sphere=True),
    "curvilinear": Kind(lambda n: CurvilinearGrid(bent(n)), 2),
    "triangles": Kind(mesh("triangle"), 2),
    "quads": Kind(mesh("quad"), 2),
    "quads and triangles": Kind(mesh("mixed"), 2, (8, 16, 32)),
    "Voronoi": Kind(cloud("voronoi"), 2, (8, 16, 32)),
    "Delaunay": Kind(cloud("delaunay"), 2, (8, 16, 32)),
    "given weights": Kind(weighted_points, 4, (4, 8, 16)),
}


def quadrature_error(domain: Domain, sphere: bool) -> float:
    """Of exp(x - y), or on the sphere of exp(z) (1 + x / 3)."""
    if sphere:
        lat, lon = torch.deg2rad(domain.coordinates())
        values = lat.sin().exp() * (1 + lon.cos() * lat.cos() / 3)
        return abs(float((domain.weights() * values).sum()) - 2 * math.pi * (math.e - 1 / math.e))
    x, y = domain.coordinates()
    exact = (math.e - 1) * (1 - 1 / math.e)
    return abs(float((domain.weights() * torch.exp(x - y)).sum()) - exact)


@pytest.mark.parametrize("name", KINDS)
def test_quadrature_converges_at_its_order(name: str) -> None:
    kind = KINDS[name]
    errors = [quadrature_error(kind.build(size), kind.sphere) for size in kind.sizes]
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert all(abs(order - kind.order) < 0.25 for order in orders), orders


@pytest.mark.parametrize("name", KINDS)
def test_the_norm_of_a_field_converges_with_the_quadrature(name: str) -> None:
    kind = KINDS[name]
    volume = 4 * math.pi if kind.sphere else 1.0
    domain = kind.build(kind.sizes[-1])
    field = Field(torch.full((1, *domain.shape), 3.0, dtype=torch.float64), domain)
    assert float(field.norm(1)) == pytest.approx(3 * volume, rel=1e-10)
    assert float(field.norm(2)) == pytest.approx(3 * math.sqrt(volume), rel=1e-10)


def test_quadrature_of_a_periodic_square_is_spectral() -> None:
    errors = []
    for size in (4, 8, 16):
        grid = Grid.unit(size, size, kind="periodic")
        x, y = 2 * math.pi * grid.coordinates()
        exact = float(torch.special.i0(torch.tensor(1.0, dtype=torch.float64))) ** 2
        errors.append(abs(float((grid.weights() * torch.exp(x.cos() + y.sin())).sum()) - exact))
    assert errors[0] > 1e-3 and errors[1] < 1e-5 and errors[2] < 1e-13, errors


SMALL: dict[str, Callable[[], Domain]] = {
    **{kind: lambda kind=kind: Grid.unit(5, 4, kind=kind) for kind in ("periodic", "closed", "cell", "left")},
    "stretched": lambda: Grid((stretched(5), Axis("y", 4))),
    "sphere": lambda: uniform_sphere("cell")(3),
    "curvilinear": lambda: CurvilinearGrid(bent(3)),
    "triangles": lambda: mesh("triangle")(2),
    "quads": lambda: mesh("quad")(2),
    "points": lambda: PointCloud(bent(2).flatten(1).T),
}


def inner(domain: Domain, generator: torch.Generator, n: int) -> Tensor:
    """Points well inside, at no node and on no edge."""
    table = node_table(domain)
    lower, upper = table.amin(dim=0), table.amax(dim=0)
    return lower + (upper - lower) * (0.2 + 0.6 * torch.rand(n, domain.dimension, generator=generator).double())


@pytest.mark.parametrize("name", SMALL)
def test_interpolation_and_resampling_pass_gradients_to_the_values(name: str, generator: torch.Generator) -> None:
    domain = SMALL[name]()
    points, target = inner(domain, generator, 3), PointCloud(inner(domain, generator, 4))
    values = torch.randn(2, *domain.shape, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: interpolate(u, domain, points), values)
    assert torch.autograd.gradcheck(lambda u: resample(u, domain, target), values)
    assert torch.autograd.gradgradcheck(lambda u: interpolate(u, domain, points).square(), values)
    moved = Field(values, domain).resample(target).norm()
    (gradient,) = torch.autograd.grad(moved.sum(), values)
    assert bool(gradient.isfinite().all()) and float(gradient.abs().max()) > 0


@pytest.mark.parametrize("name", ["periodic", "closed", "cell", "left", "stretched", "sphere"])
def test_interpolation_on_grids_passes_gradients_to_the_points(name: str, generator: torch.Generator) -> None:
    domain = SMALL[name]()
    points = inner(domain, generator, 3).requires_grad_()
    values = torch.randn(2, *domain.shape, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: interpolate(values, domain, p), points)


@pytest.mark.parametrize("kind", ["closed", "cell", "left", "stretched"])
def test_the_gradient_in_the_points_is_the_derivative_of_the_field(kind: str, generator: torch.Generator) -> None:
    axis = stretched(65) if kind == "stretched" else Axis("x", 64, kind=kind)
    points = (0.1 + 0.8 * torch.rand(20, 1, generator=generator, dtype=torch.float64)).requires_grad_()
    found = interpolate(torch.sin(3 * axis.coordinates()), Grid((axis,)), points)
    (slope,) = torch.autograd.grad(found.sum(), points)
    assert torch.allclose(slope, 3 * torch.cos(3 * points.detach()), atol=1e-4)


@pytest.mark.parametrize(
    ("source", "target"), [("grid", "mesh"), ("mesh", "points"), ("points", "grid"), ("mesh", "grid")]
)
def test_resampling_between_domains_passes_gradients(source: str, target: str, generator: torch.Generator) -> None:
    grid = Grid((Axis("x", 4, 0.2, 0.8), Axis("y", 3, 0.2, 0.8))) if target == "grid" else Grid.unit(5, 4)
    domains: dict[str, Domain] = {"grid": grid, "mesh": mesh("mixed")(2)}
    domains["points"] = PointCloud(0.3 + 0.4 * bent(2).flatten(1).T) if target == "points" else SMALL["points"]()
    values = torch.randn(*domains[source].shape, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: resample(u, domains[source], domains[target]), values)


def series(kind: str, x: Tensor, coefficients: Tensor) -> Tensor:
    """A trigonometric polynomial, or one of cosines, on [-1, 2]."""
    s = (x + 1) / 3 * (2 * math.pi if kind == "periodic" else math.pi)
    waves = [c * torch.cos(k * s) for k, c in enumerate(coefficients[0])]
    if kind == "periodic":
        waves += [c * torch.sin(k * s) for k, c in enumerate(coefficients[1])]
    return torch.stack(waves).sum(dim=0)


@pytest.mark.parametrize("target", [(-1.0, 2.0, None), (-0.4, 1.1, "closed"), (-1.0, 2.0, "left"), (-1.0, 2.0, "cell")])
@pytest.mark.parametrize("sizes", [(16, 31), (17, 12), (23, 64)])
@pytest.mark.parametrize("kind", ["periodic", "closed", "cell"])
def test_resampling_of_a_band_limited_field_is_exact_to_rounding(kind, sizes, target, generator) -> None:
    lower, upper, to = target
    source = Grid((Axis("x", sizes[0], -1.0, 2.0, kind),))
    place = Grid((Axis("x", sizes[1], lower, upper, to or kind),))
    coefficients = torch.randn(2, 6, generator=generator, dtype=torch.float64)
    values = series(kind, source.coordinates()[0], coefficients)
    found = resample(values.expand(3, 2, -1), source, place, method="cosine")
    expected = series(kind, place.coordinates()[0], coefficients)
    assert torch.allclose(found, expected.expand(3, 2, -1), rtol=0, atol=2e-13 * float(coefficients.abs().sum()))


def test_every_mode_that_the_nodes_carry_is_exact() -> None:
    for kind, size in (("closed", 9), ("cell", 8), ("cell", 9), ("periodic", 9)):
        source, fine = Grid((Axis("x", size, -1.0, 2.0, kind),)), Grid((Axis("x", 40, -1.0, 2.0, "cell"),))
        modes = (size - 1) // 2 if kind == "periodic" else size - 1
        for k in range(modes + 1):
            coefficients = torch.zeros(2, modes + 1, dtype=torch.float64)
            coefficients[0, k] = 1.0
            found = resample(series(kind, source.coordinates()[0], coefficients), source, fine, method="cosine")
            assert torch.allclose(found, series(kind, fine.coordinates()[0], coefficients), rtol=0, atol=1e-13), (
                kind,
                k,
            )


def test_in_three_dimensions_every_axis_goes_its_way_and_back(generator: torch.Generator) -> None:
    kinds, fine = ("periodic", "closed", "cell"), (17, 19, 16)
    source, target = Grid.unit(7, 6, 8, kind=kinds), Grid.unit(*fine, kind=kinds)
    values = torch.randn(2, *source.shape, generator=generator, dtype=torch.float64)
    there = resample(values, source, target, method="cosine")
    assert there.shape == (2, *fine)
    assert torch.allclose(resample(there, target, source, method="cosine"), values, rtol=0, atol=1e-12)
    assert torch.allclose(Field(values, source).resample(target, method="cosine").values, there, rtol=0, atol=0)


def test_the_cosine_series_is_spectral_without_flux_and_of_first_order_at_the_ends_with_it() -> None:
    fine = Grid.unit(301)

    def errors(function: Callable[[Tensor], Tensor]) -> list[float]:
        found = []
        for size in (8, 16, 32, 64):
            source = Grid.unit(size, kind="cell")
            error = resample(function(source.coordinates()[0]), source, fine, method="cosine")
            found.append(float((error - function(fine.coordinates()[0])).abs().max()))
        return found

    smooth = errors(lambda x: torch.exp(torch.cos(math.pi * x)))
    assert smooth[0] < 1e-4 and smooth[1] < 1e-12, smooth
    kinked = [math.log2(coarse / fine) for coarse, fine in pairwise(errors(torch.exp))]
    assert all(0.8 < rate < 1.2 for rate in kinked), kinked


def test_resampling_by_cosines_passes_gradients(generator: torch.Generator) -> None:
    source, target = Grid.unit(5, 4, kind=("closed", "cell")), Grid.unit(3, 7, kind=("cell", "closed"))
    values = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: resample(u, source, target, method="cosine"), values)


def test_a_wrong_method_is_refused() -> None:
    with pytest.raises(InputError, match="unknown method 'cosin'; did you mean 'cosine'"):
        resample(torch.zeros(4), Grid.unit(4), Grid.unit(5), method="cosin")
    points = PointCloud([[0.0], [1.0]])
    with pytest.raises(InputError, match="method='cosine' is for grids, not from PointCloud to Grid"):
        resample(torch.zeros(2), points, Grid.unit(5), method="cosine")
