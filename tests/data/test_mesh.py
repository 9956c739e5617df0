"""Meshes: exact measures, boundaries, orders of quadrature and interpolation, and what is refused."""

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
from sciops.data.domains.mesh import Mesh
from sciops.data.domains.points import PointCloud
from sciops.data.files import open, write
from sciops.errors import DomainError

TETRA_OF_CUBE = [(0, 1, 2, 6), (0, 2, 3, 6), (0, 3, 7, 6), (0, 7, 4, 6), (0, 4, 5, 6), (0, 5, 1, 6)]  # Kuhn's six


def rates(errors):
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def bend(points):
    """A smooth map of the unit cube onto itself."""
    return points + 0.06 * torch.sin(math.pi * points).prod(dim=1, keepdim=True)


def build(kind: str, size: int) -> Mesh:
    """The bent unit interval, square or cube in cells of one kind; ``mixed`` has quads and triangles."""
    d = {"line": 1, "tetra": 3, "hexahedron": 3}.get(kind, 2)
    grid = Grid.unit(*[size + 1] * d)
    cells = torch.from_numpy(CurvilinearGrid(grid.coordinates()).cells)
    if kind == "triangle":
        cells = torch.cat([cells[:, [0, 1, 2]], cells[:, [0, 2, 3]]])
    if kind == "tetra":
        cells = torch.cat([cells[:, list(corners)] for corners in TETRA_OF_CUBE])
    if kind == "mixed":
        half = len(cells) // 2
        split = cells[half:]
        rows = {"quad": cells[:half], "triangle": torch.cat([split[:, [0, 1, 2]], split[:, [0, 2, 3]]])}
        return Mesh(bend(node_table(grid)), rows)
    return Mesh(bend(node_table(grid)), {kind: cells})


KINDS = ("line", "triangle", "quad", "mixed", "tetra", "hexahedron")
every_kind = pytest.mark.parametrize("kind", KINDS)


def sizes(mesh_kind):
    return (3, 6, 12) if mesh_kind in ("tetra", "hexahedron") else (6, 12, 24)


@every_kind
def test_a_mesh_is_a_domain_that_fills_its_cube(kind):
    mesh = build(kind, 4)
    assert isinstance(mesh, Domain)
    assert mesh.volume == pytest.approx(1.0, rel=1e-12)
    assert float(sum(volumes.sum() for volumes in mesh.cell_volumes.values())) == pytest.approx(1.0, rel=1e-12)
    assert bool((mesh.weights() > 0).all())
    on_edge = ((mesh.points < 1e-12) | (mesh.points > 1 - 1e-12)).any(dim=1)
    assert torch.equal(mesh.boundary, on_edge)
    faces = {"line": 2, "tetra": 2 * 6 * 16, "hexahedron": 6 * 16}.get(kind, 16)
    assert sum(map(len, mesh.boundary_facets.values())) == faces
    again = Mesh.from_dict(json.loads(json.dumps(mesh.to_dict())))
    assert again == mesh
    assert hash(again) == hash(mesh)
    assert mesh != build(kind, 3)


@every_kind
def test_quadrature_is_of_second_order(kind):
    errors = []
    for size in sizes(kind):
        mesh = build(kind, size)
        exact = (math.e - 1) ** mesh.dimension
        errors.append(abs(float((mesh.weights() * mesh.points.sum(dim=1).exp()).sum()) - exact))
    assert all(1.8 < rate < 2.2 for rate in rates(errors)), errors


@every_kind
def test_interpolation_is_exact_for_linear_functions_and_of_second_order(kind, generator):
    errors = []
    for size in sizes(kind):
        mesh = build(kind, size)
        probes = torch.rand(400, mesh.dimension, generator=generator, dtype=torch.float64)
        slope = torch.randn(mesh.dimension, generator=generator, dtype=torch.float64)
        assert torch.allclose(interpolate(mesh.points @ slope + 1, mesh, probes), probes @ slope + 1, atol=1e-11)
        error = interpolate((2 * mesh.points).sin().prod(dim=1), mesh, probes) - (2 * probes).sin().prod(dim=1)
        errors.append(float(error.square().mean().sqrt()))
    assert all(1.6 < rate < 2.4 for rate in rates(errors)), errors


@every_kind
def test_the_nodes_themselves_are_found(kind):
    mesh = build(kind, 3)
    values = mesh.points.sin().sum(dim=1)
    assert torch.allclose(interpolate(values, mesh, mesh.points), values, atol=1e-7)


def test_resampling_between_mesh_grid_and_points(generator):
    mesh, grid = build("triangle", 24), Grid.unit(15, 17)
    cloud = PointCloud(torch.rand(40, 2, generator=generator, dtype=torch.float64))
    values = mesh.points.sin().sum(dim=1)
    for target in (grid, cloud, build("quad", 7), CurvilinearGrid(grid.coordinates())):
        found = resample(values, mesh, target)
        assert found.shape == target.shape
        assert torch.allclose(found, target.coordinates().sin().sum(dim=0), atol=1e-3)
    back = resample(resample(values, mesh, grid), grid, mesh)
    assert torch.allclose(back, values, atol=2e-3)


def test_interpolation_is_differentiable_in_the_values(generator):
    mesh = build("mixed", 2)
    probes = torch.rand(4, 2, generator=generator, dtype=torch.float64)
    values = torch.randn(2, 9, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda u: interpolate(u, mesh, probes), values)


def test_a_hole_is_outside_and_long_cells_are_found(generator):
    ring = torch.tensor([[0.0, 0], [3, 0], [3, 3], [0, 3], [1, 1], [2, 1], [2, 2], [1, 2]], dtype=torch.float64)
    mesh = Mesh(ring, {"quad": torch.tensor([[0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]])})
    assert mesh.volume == pytest.approx(8.0)
    probes = torch.tensor([[0.5, 1.5], [1.5, 1.5], [1.5, 0.01]], dtype=torch.float64)
    with pytest.raises(
        DomainError, match=r"1 of 3 points lie outside of the Mesh, the first is point 1 at \(1.5, 1.5\)"
    ):
        interpolate(ring[:, 0], mesh, probes)
    # one long cell among many small ones: the nearest centroids are those of the small ones
    x = torch.cat([torch.linspace(0, 1, 200, dtype=torch.float64), torch.tensor([30.0], dtype=torch.float64)])
    line = Mesh(x[:, None], {"line": torch.stack([torch.arange(200), torch.arange(1, 201)], dim=1)})
    place = 1 + 0.5 * torch.rand(5, 1, generator=generator, dtype=torch.float64)
    assert torch.allclose(interpolate(2 * x, line, place), 2 * place[:, 0])


def test_a_surface_in_space_has_areas_and_is_interpolated_on_itself():
    flat = build("triangle", 6)
    lifted = torch.cat([flat.points, flat.points.sum(dim=1, keepdim=True)], dim=1)  # the plane z = x + y
    surface = Mesh(lifted, flat.cells)
    assert surface.volume == pytest.approx(math.sqrt(3))
    on_it = torch.tensor([[0.3, 0.4, 0.7]], dtype=torch.float64)
    assert float(interpolate(lifted[:, 2], surface, on_it)) == pytest.approx(0.7)
    with pytest.raises(DomainError, match="1 of 1 points lie outside"):
        interpolate(lifted[:, 2], surface, on_it + 0.1)


def test_unused_points_weigh_nothing_and_are_said():
    mesh = Mesh(torch.tensor([[0.0, 0], [1, 0], [0, 1], [5, 5]]), {"triangle": torch.tensor([[0, 2, 1]])})
    assert (mesh.unused.tolist(), mesh.weights()[3]) == ([False, False, False, True], 0.0)
    assert "1 unused" in repr(mesh)


SQUARE = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])


@pytest.mark.parametrize(
    ("points", "cells", "message"),
    [
        (SQUARE, {"triangle": [[0, 1, 4]]}, r"cell 0 of type 'triangle' joins the points \[0, 1, 4\].*points 0 to 3"),
        (SQUARE, {"triangle": [[0, 1, 2], [1, 2, -1]]}, "cell 1 of type 'triangle'"),
        (SQUARE, {"triangle": [[0, 1, 2], [0, 1, 1]]}, r"cell 1 .* \[0, 1, 1\] is degenerate"),
        (SQUARE, {"quad": [[0, 2, 1, 3]]}, r"cell 0 of type 'quad' .* \[0, 2, 1, 3\] is (inverted|degenerate)"),
        (
            torch.cat([SQUARE, torch.tensor([[0.5, 0.1]])]),
            {"quad": [[0, 4, 2, 3], [0, 1, 4, 3]]},
            "cell 1 .* is inverted",
        ),
        (SQUARE, {"triangle": [[0, 1, 2], [0, 1, 3]]}, r"cells 0 and 1 of the mesh overlap.* points \[0, 1\]"),
        (
            torch.cat([SQUARE, torch.tensor([[2.0, 0.0]])]),
            {"triangle": [[0, 1, 2], [0, 2, 3], [0, 2, 4]]},
            "belongs to 3 cells, 0, 1, 2",
        ),
        (SQUARE, {"triangel": [[0, 1, 2]]}, "unknown type of cells 'triangel'"),
        (SQUARE, {"triangle": [[0, 1, 2, 3]]}, r"integers of shape \(m, 3\), got shape \(1, 4\)"),
        (SQUARE, {"tetra": [[0, 1, 2, 3]]}, "need 3 directions, the points have 2"),
        (SQUARE, {}, "a mesh has cells"),
    ],
)
def test_a_bad_mesh_is_refused(points, cells, message):
    with pytest.raises(DomainError, match=message):
        Mesh(points, {kind: torch.tensor(rows) for kind, rows in cells.items()})


def test_tags_of_points_and_of_boundary_facets():
    mesh = build("triangle", 2)
    tagged = Mesh(mesh.points, mesh.cells, tags={"wall": mesh.boundary, "inlet": torch.arange(8) < 2})
    assert (int(tagged.tags["wall"].sum()), tagged.tags["inlet"].shape) == (8, (8,))
    with pytest.raises(DomainError, match="the tag 'wall' is a bool array of length 9 or 8"):
        Mesh(mesh.points, mesh.cells, tags={"wall": torch.ones(5, dtype=torch.bool)})


def test_a_field_on_a_mesh_goes_through_a_data_set_and_a_file(tmp_path, generator):
    mesh = build("mixed", 3)
    mesh = Mesh(mesh.points, mesh.cells, tags={"wall": mesh.boundary}, units="m")
    field = Field(torch.rand(2, 1, 16, generator=generator, dtype=torch.float64), mesh, names=["p"], units=["Pa"])
    ds = field.to_xarray()
    assert (ds.attrs["domain"], ds.p.dims, ds.cells_quad.attrs["start_index"]) == ("mesh", ("sample", "point"), 0)
    for data in (ds, open(write(ds, tmp_path / "mesh.nc"))):
        again = Field.from_xarray(data, "p")
        assert again.domain == mesh
        assert torch.equal(again.domain.tags["wall"], mesh.boundary)
        assert torch.equal(again.values, field.values)
        assert again.units == ("Pa",)
    with pytest.raises(DomainError, match="not on a grid; resample it onto one first"):
        _ = field.grid
    assert field.resample(Grid.unit(4, 4)).grid.shape == (4, 4)
    inside = mesh.points[:, 0] < 0.5
    ones = Field(torch.ones(1, 16, dtype=torch.float64), mesh)
    assert float(ones.norm(1, mask=inside)) == pytest.approx(float(mesh.weights()[inside].sum()))
