"""Curvilinear grids: weights from Jacobians, orders of quadrature and interpolation, and what is refused."""

from __future__ import annotations

import json
import math
from itertools import pairwise

import pytest
import torch

from sciops.data import Field
from sciops.data.domains.curvilinear import CurvilinearGrid
from sciops.data.domains.domain import Domain, Grid, node_table
from sciops.data.domains.interpolation import interpolate, resample
from sciops.errors import DomainError


def rates(errors):
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def half_ring(size: int) -> CurvilinearGrid:
    """The half ring 1 < r < 2 in polar coordinates."""
    r, t = Grid.unit(size + 1, 2 * size + 1).coordinates()
    return CurvilinearGrid(torch.stack([(1 + r) * torch.cos(math.pi * t), (1 + r) * torch.sin(math.pi * t)]))


def arc(size: int) -> CurvilinearGrid:
    t = torch.linspace(0, 1, size + 1, dtype=torch.float64)
    return CurvilinearGrid(torch.stack([torch.cos(t), torch.sin(t)]))


def twisted(size: int) -> CurvilinearGrid:
    x, y, z = Grid.unit(size + 1, size + 1, size + 1).coordinates()
    a = 0.6 * z
    return CurvilinearGrid(torch.stack([x * a.cos() - y * a.sin(), x * a.sin() + y * a.cos(), z]))


def test_it_is_a_domain_and_goes_through_json():
    grid = half_ring(4)
    assert isinstance(grid, Domain)
    assert (grid.shape, grid.ndim, grid.dimension, grid.dims, grid.names) == ((5, 9), 2, 2, ("i", "j"), ("x", "y"))
    again = CurvilinearGrid.from_dict(json.loads(json.dumps(grid.to_dict())))
    assert again == grid
    assert hash(again) == hash(grid)
    assert grid != half_ring(5)
    assert torch.equal(grid.coordinates().flatten(1).T, node_table(grid))


@pytest.mark.parametrize(
    ("build", "integrand", "exact"),
    [
        (half_ring, lambda x: x[0] ** 2 + x[1], math.pi * 15 / 8 + 14 / 3),
        (arc, lambda x: x[0] * x[1], math.sin(1) ** 2 / 2),
        (twisted, lambda x: (x[0] ** 2 + x[1] ** 2) * x[2].exp(), 2 / 3 * (math.e - 1)),
    ],
)
def test_quadrature_is_of_second_order(build, integrand, exact):
    errors = []
    for size in (4, 8, 16):
        grid = build(size)
        errors.append(abs(float((grid.weights() * integrand(grid.coordinates())).sum()) - exact))
    assert all(1.8 < rate < 2.2 for rate in rates(errors)), errors


def test_weights_of_a_straight_grid_are_those_of_its_axes():
    grid = Grid.unit(5, 7)
    assert torch.allclose(CurvilinearGrid(grid.coordinates()).weights(), grid.weights(), atol=1e-15)
    assert CurvilinearGrid(grid.coordinates().flip(0)).volume == pytest.approx(1.0)  # either orientation


def test_interpolation_is_exact_for_linear_functions_and_of_second_order(generator):
    errors = []
    for size in (8, 16, 32):
        grid = half_ring(size)
        polar = torch.rand(300, 2, generator=generator, dtype=torch.float64) * 0.8 + 0.1
        probes = torch.stack(
            [
                (1 + polar[:, 0]) * torch.cos(math.pi * polar[:, 1]),
                (1 + polar[:, 0]) * torch.sin(math.pi * polar[:, 1]),
            ],
            1,
        )
        x, y = grid.coordinates()
        assert torch.allclose(
            interpolate(2 * x - y, grid, probes), probes @ torch.tensor([2.0, -1.0]).double(), atol=1e-10
        )
        error = interpolate((2 * x).sin() * y.cos(), grid, probes) - (2 * probes[:, 0]).sin() * probes[:, 1].cos()
        errors.append(float(error.square().mean().sqrt()))
    assert all(1.7 < rate < 2.3 for rate in rates(errors)), errors


def test_values_resample_and_gradients_flow(generator):
    grid = twisted(3)
    target = Grid.unit(3, 3, 3)
    values = torch.randn(2, *grid.shape, generator=generator, dtype=torch.float64, requires_grad=True)
    centre = 0.3 * torch.ones(1, 3, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda u: interpolate(u, grid, centre), values)
    with pytest.raises(DomainError, match="of 27 points lie outside of the CurvilinearGrid"):
        resample(values, grid, target)
    assert resample(values, grid, target, outside="nearest").shape == (2, 3, 3, 3)


def test_a_field_goes_through_a_data_set(generator):
    field = Field(torch.rand(3, 1, 5, 9, generator=generator), half_ring(4), names=["T"])
    ds = field.to_xarray()
    assert (ds["T"].dims, list(ds.attrs["curvilinear_coords"]), ds.x.dims) == (
        ("sample", "i", "j"),
        ["x", "y"],
        ("i", "j"),
    )
    again = Field.from_xarray(ds, "T")
    assert again.domain == field.domain
    assert torch.equal(again.values, field.values)
    assert again.norm(1).shape == (3, 1)


def folded() -> torch.Tensor:
    nodes = Grid.unit(4, 4).coordinates().clone()
    nodes[:, 1, 2] = nodes[:, 3, 3]
    return nodes


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (torch.zeros(1, 3, 3), "one to three dimensions, no more than d"),
        (torch.zeros(2, 3, 1), "of 2 nodes at least"),
        (torch.zeros(2, 3, 3), r"at \(i, j\) = \(0, 0\) is degenerate"),
        (folded(), r"at \(i, j\) = \(\d, \d\) is inverted"),
    ],
)
def test_a_bad_grid_is_refused(nodes, message):
    with pytest.raises(DomainError, match=message):
        CurvilinearGrid(nodes)
