"""Point clouds: weights, order of quadrature and interpolation, and what is refused."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from sciops.data.domains.domain import Domain, Grid, node_table
from sciops.data.domains.interpolation import interpolate, resample
from sciops.data.domains.points import PointCloud
from sciops.errors import DomainError


def rates(errors):
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def random_cloud(generator, n, d):
    return PointCloud(torch.rand(n, d, generator=generator, dtype=torch.float64))


def bent_lattice(size, d):
    """A smoothly graded lattice of the unit cube: neither uniform nor random, and its hull is the cube."""
    grid = Grid.unit(*[size + 1] * d)
    return node_table(grid) + 0.05 * torch.sin(math.pi * node_table(grid)) * torch.sin(
        math.pi * node_table(grid).flip(1)
    )


@pytest.mark.parametrize("d", [1, 2, 3])
def test_a_cloud_is_a_domain(d, generator):
    cloud = random_cloud(generator, 9, d)
    assert isinstance(cloud, Domain)
    assert (cloud.shape, cloud.ndim, cloud.dimension, cloud.dims) == ((9,), 1, d, ("point",))
    assert torch.equal(cloud.coordinates(), cloud.points.T)
    assert float(cloud.weights().sum()) == pytest.approx(cloud.volume)
    again = PointCloud.from_dict(json.loads(json.dumps(cloud.to_dict())))
    assert again == cloud
    assert hash(again) == hash(cloud)
    assert cloud != random_cloud(generator, 9, d)


@pytest.mark.parametrize(
    ("d", "rule"), [(1, "voronoi"), (2, "voronoi"), (2, "delaunay"), (3, "delaunay"), (3, "equal")]
)
def test_weights_are_positive_and_fill_the_convex_hull(d, rule, generator):
    from scipy.spatial import ConvexHull

    points = torch.rand(200, d, generator=generator, dtype=torch.float64) * 3 - 1
    hull = float(points.max() - points.min()) if d == 1 else ConvexHull(points.numpy()).volume
    weights = PointCloud(points, rule).weights()
    assert bool((weights > 0).all())
    assert float(weights.sum()) == pytest.approx(hull, rel=1e-10)


def test_voronoi_areas_are_those_of_the_nearest_point(generator):
    cloud = random_cloud(generator, 12, 2)
    corner = cloud.triangulation
    probes = torch.rand(200_000, 2, generator=generator, dtype=torch.float64)
    probes = probes[torch.from_numpy(corner.find_simplex(probes.numpy()) >= 0)]
    nearest = torch.cdist(probes, cloud.points).argmin(dim=1)
    counted = torch.bincount(nearest, minlength=12) / 200_000
    assert torch.allclose(cloud.weights(), counted.double(), atol=6 * 0.5 / math.sqrt(200_000))


@pytest.mark.parametrize(("d", "rule"), [(1, "voronoi"), (2, "voronoi"), (2, "delaunay"), (3, "delaunay")])
def test_quadrature_is_of_second_order(d, rule):
    exact = (math.e - 1) ** d
    errors = []
    for size in (4, 8, 16) if d == 3 else (8, 16, 32):
        points = bent_lattice(size, d)
        cloud = PointCloud(points, rule)
        errors.append(abs(float((cloud.weights() * points.sum(dim=1).exp()).sum()) - exact))
    assert all(1.8 < rate < 2.3 for rate in rates(errors)), errors


def test_delaunay_weights_integrate_linear_functions_exactly(generator):
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=torch.float64)
    points = torch.cat([corners, torch.rand(60, 2, generator=generator, dtype=torch.float64)])
    weights = PointCloud(points, "delaunay").weights()
    assert float((weights * (1 + points[:, 0] - 3 * points[:, 1])).sum()) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_linear_functions_are_reproduced_and_smooth_ones_at_second_order(d, generator):
    slope = torch.randn(d, generator=generator, dtype=torch.float64)
    probes = 0.1 + 0.8 * torch.rand(300, d, generator=generator, dtype=torch.float64)
    errors = []
    for size in (4, 8, 16) if d == 3 else (8, 16, 32):
        cloud = PointCloud(bent_lattice(size, d))
        linear = interpolate(cloud.points @ slope + 1, cloud, probes)
        assert torch.allclose(linear, probes @ slope + 1, atol=1e-11)
        error = interpolate((2 * cloud.points).sin().prod(dim=1), cloud, probes) - (2 * probes).sin().prod(dim=1)
        errors.append(float(error.square().mean().sqrt()))
    assert all(1.6 < rate < 2.4 for rate in rates(errors)), errors


def test_resampling_from_points_to_a_grid_and_back(generator):
    cloud, grid = PointCloud(bent_lattice(32, 2)), Grid.unit(24, 20, kind="cell")
    values = cloud.points.sin().sum(dim=1)
    onto = resample(values, cloud, grid)
    assert onto.shape == grid.shape
    assert torch.allclose(onto, grid.coordinates().sin().sum(dim=0), atol=1e-3)
    inner = PointCloud(0.1 + 0.8 * torch.rand(50, 2, generator=generator, dtype=torch.float64))
    assert torch.allclose(resample(onto, grid, inner), inner.points.sin().sum(dim=1), atol=1e-3)
    assert torch.equal(resample(values, cloud, PointCloud(cloud.points)), values)
    assert resample(values.expand(3, 2, -1), cloud, inner).shape == (3, 2, 50)


def test_interpolation_is_differentiable_in_the_values(generator):
    cloud = random_cloud(generator, 7, 2)
    probes = cloud.points[:5].mean(dim=0, keepdim=True)
    values = torch.randn(2, 7, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: interpolate(u, cloud, probes), values)
    assert interpolate(values.detach().float(), cloud, probes).dtype == torch.float32


def test_outside_is_an_error_unless_the_nearest_is_asked_for():
    cloud = PointCloud([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    probes = torch.tensor([[0.2, 0.2], [2.0, 0.1], [3.0, 3.0]])
    with pytest.raises(
        DomainError, match=r"2 of 3 points lie outside of the PointCloud, the first is point 1 at \(2, 0.1\)"
    ):
        interpolate(torch.arange(3.0), cloud, probes)
    assert interpolate(torch.arange(3.0), cloud, probes, outside="nearest")[1] == 1.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PointCloud([0.0, 1.0]), r"points of shape \(n, d\) with d = 1, 2 or 3, got shape \(2,\)"),
        (lambda: PointCloud([[0.0], [math.nan]]), r"point 1 is \(nan\)"),
        (lambda: PointCloud([[0.0], [1.0]], [1.0]), "2 finite numbers"),
        (lambda: PointCloud([[0.0], [1.0]], [1.0, -1.0]), "none negative"),
        (lambda: PointCloud([[0.0], [1.0]], "vornoi"), "did you mean 'voronoi'"),
        (lambda: PointCloud([[0.0], [1.0]], names=("x", "y")), "1 directions"),
        (lambda: PointCloud([[0.0], [1.0]], tags={"wall": [True]}), "the tag 'wall' is a bool array of length 2"),
        (lambda: PointCloud([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]).weights(), "do not span the space"),
        (lambda: PointCloud([[0.0, 0], [1, 0], [0, 1], [1, 0]]).weights(), r"points 1 and 3 are the same, \(1, 0\)"),
        (lambda: PointCloud([[1.0], [1.0]]).weights(), "none twice"),
        (lambda: PointCloud.from_dict({"pts": []}), "the description of a point cloud has points"),
    ],
)
def test_a_bad_cloud_is_refused(build, message):
    with pytest.raises(DomainError, match=message):
        build()


def test_numpy_is_taken():
    assert PointCloud(np.zeros((1, 3))).points.dtype == torch.float64
