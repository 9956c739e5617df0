from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from sciops.data import Axis, Grid
from sciops.data.domains.axis import KINDS
from sciops.errors import DomainError

LOWER, UPPER = -0.5, 2.5


def quadrature_errors(kind: str, function, exact: float, sizes: list[int]) -> list[float]:
    axes = [Axis("x", size, LOWER, UPPER, kind) for size in sizes]
    return [abs(float((axis.weights() * function(axis.coordinates())).sum()) - exact) for axis in axes]


@pytest.mark.parametrize("kind", ["closed", "cell", "left"])
def test_quadrature_is_of_second_order_and_not_of_a_higher_one(kind: str) -> None:
    # a closed axis of 2n + 1 nodes halves the spacing; exp has different slopes at the two ends
    sizes = [33, 65, 129, 257] if kind == "closed" else [32, 64, 128, 256]
    errors = quadrature_errors(kind, torch.exp, math.exp(UPPER) - math.exp(LOWER), sizes)
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert all(1.85 < order < 2.15 for order in orders), orders
    assert 1.97 < orders[-1] < 2.07


def test_quadrature_of_a_periodic_axis_is_spectral() -> None:
    def analytic(x: torch.Tensor) -> torch.Tensor:
        return torch.exp(torch.cos(2 * math.pi * (x - 0.3) / (UPPER - LOWER)))

    exact = (UPPER - LOWER) * float(torch.special.i0(torch.tensor(1.0, dtype=torch.float64)))
    errors = quadrature_errors("periodic", analytic, exact, [3, 6, 12, 24])
    assert errors[0] > 1e-4
    assert errors[1] < 1e-2 * errors[0]
    assert errors[2] < 1e-11
    assert errors[3] < 1e-12


def test_equal_weights_on_a_left_axis_would_be_of_first_order() -> None:
    exact = math.exp(UPPER) - math.exp(LOWER)
    naive = [
        abs(float(torch.exp(axis.coordinates()).sum()) * axis.spacing - exact)
        for axis in (Axis("x", n, LOWER, UPPER, "left") for n in (64, 128))
    ]
    assert 0.9 < math.log2(naive[0] / naive[1]) < 1.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 3, 7, 64])
def test_nodes_lie_in_the_interval_and_weights_sum_to_its_length(kind: str, size: int) -> None:
    axis = Axis("x", size, LOWER, UPPER, kind)
    x, w = axis.coordinates(), axis.weights()
    assert x.dtype == w.dtype == torch.float64
    assert torch.allclose(x.diff(), torch.full((size - 1,), axis.spacing, dtype=torch.float64), rtol=1e-12)
    assert float(w.sum()) == pytest.approx(axis.extent, rel=1e-14)
    assert bool((w > 0).all())
    first = {"cell": LOWER + axis.spacing / 2}.get(kind, LOWER)
    last = {"closed": UPPER, "cell": UPPER - axis.spacing / 2}.get(kind, UPPER - axis.spacing)
    assert (float(x[0]), float(x[-1])) == (pytest.approx(first, abs=1e-14), pytest.approx(last, abs=1e-14))


@pytest.mark.parametrize("kind", ["periodic", "cell", "left"])
def test_a_single_node_carries_the_whole_interval(kind: str) -> None:
    assert Axis("x", 1, LOWER, UPPER, kind).weights().tolist() == [UPPER - LOWER]


def test_left_and_closed_weights_are_those_of_the_convention() -> None:
    assert Axis("x", 4, 0, 4, "left").weights().tolist() == [0.5, 1.0, 1.0, 1.5]
    assert Axis("x", 5, 0, 4, "closed").weights().tolist() == [0.5, 1.0, 1.0, 1.0, 0.5]


def test_carried_modes_are_those_below_half_the_size() -> None:
    assert [Axis("x", n, kind="periodic").carried_modes for n in (1, 2, 3, 16, 17)] == [0, 0, 1, 7, 8]


def test_numbers_are_taken_in_any_numeric_type_and_kept_as_plain_ones() -> None:
    axis = Axis("x", np.int64(8), np.float32(0), 1, "cell")
    assert (type(axis.size), type(axis.lower), type(axis.upper)) == (int, float, float)
    assert hash(axis) == hash(Axis("x", 8, 0.0, 1.0, "cell"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0, "kind": "cell"}, "axis 'x': a cell axis has at least 1 node"),
        ({"size": 1}, "axis 'x': a closed axis has at least 2 node"),
        ({"size": 4, "lower": 1.0}, r"axis 'x': lower < upper.*got \[1, 1\]"),
        ({"size": 4, "lower": 2.0}, r"axis 'x': lower < upper.*got \[2, 1\]"),
        ({"size": 4, "upper": math.nan}, "axis 'x': lower < upper and finite"),
        ({"size": 4, "upper": math.inf}, "axis 'x': lower < upper and finite"),
        ({"size": 4.5}, "axis 'x': the size is an integer"),
        ({"size": 4, "lower": "a"}, "axis 'x': the size is an integer and the ends are numbers"),
        ({"size": 4, "kind": "periodc"}, "axis 'x': unknown kind 'periodc'; did you mean 'periodic'"),
        ({"size": 4, "name": ""}, "non-empty string"),
    ],
)
def test_a_bad_axis_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        Axis(**{"name": "x", **arguments})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_axis_is_found_from_its_coordinates(kind: str, dtype: type) -> None:
    axis = Axis("x", 200, 3.0, 7.5, kind, "m")
    found = Axis.from_coordinates("x", axis.coordinates().numpy().astype(dtype), kind=kind, units="m")
    assert found.matches(axis)
    assert (found.name, found.units) == ("x", "m")


def test_coordinates_without_a_kind_make_a_closed_axis() -> None:
    assert Axis.from_coordinates("x", np.arange(5)) == Axis("x", 5, 0.0, 4.0, "closed")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.0, 0.1, 0.2, 0.4, 0.5], r"axis 'x': .*not uniform: spacing 0.1 at index 0, 0.2 at index 2.*ds.interp"),
        (np.linspace(0, 1, 50) ** 1.05, "axis 'x': the coordinates are not uniform"),
        ([3.0, 2.0, 1.0], r"axis 'x': the coordinates descend; reverse them by ds.sortby\('x'\)"),
        ([0.0, 1.0, 1.0, 2.0], "axis 'x': the coordinates do not ascend: 1 at index 1, 1 at index 2"),
        ([0.0, math.nan, 2.0], "axis 'x': the coordinate at index 1 is nan"),
        ([0.5], r"axis 'x': 1 coordinate.*ds.squeeze\('x'\)"),
        ([[0.0, 1.0]], r"axis 'x': .*one-dimensional.*shape \(1, 2\)"),
        (["a", "b"], "axis 'x': .*dtype <U1"),
    ],
)
def test_coordinates_that_make_no_axis_are_refused(values, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        Axis.from_coordinates("x", values)


@pytest.mark.parametrize("node", [1, 5, 8])
def test_a_node_may_be_off_by_a_thousandth_of_the_spacing(node: int) -> None:
    x = np.arange(10.0)
    x[node] += 5e-4
    assert Axis.from_coordinates("x", x).size == 10
    x[node] += 5e-3
    with pytest.raises(DomainError, match="not uniform"):
        Axis.from_coordinates("x", x)


def test_a_slow_stretching_is_found_though_neighbouring_spacings_agree() -> None:
    x = np.linspace(0, 1, 2000)
    with pytest.raises(DomainError, match="not uniform"):
        Axis.from_coordinates("x", x + 0.01 * x**2)


def test_grid_arrays_follow_the_order_of_the_axes() -> None:
    grid = Grid((Axis("x", 3), Axis("y", 4, 0, 2, "periodic"), Axis("z", 2, kind="cell")))
    x, y, z = grid.coordinates()
    assert x.shape == grid.shape == (3, 4, 2)
    assert torch.equal(x[:, 1, 1], grid.axis("x").coordinates())
    assert torch.equal(y[1, :, 1], grid.axis("y").coordinates())
    assert torch.equal(z[1, 1, :], grid.axis("z").coordinates())
    assert grid.weights().shape == (3, 4, 2)
    assert float(grid.weights().sum()) == pytest.approx(grid.volume) == 2.0
    assert float((grid.weights() * (1 + x)).sum()) == pytest.approx(3.0)
    assert grid.coordinates(torch.float32).dtype == grid.weights(torch.float32).dtype == torch.float32
    assert (grid.ndim, grid.extents, grid.spacing) == (3, (1.0, 2.0, 1.0), (0.5, 0.5, 0.5))


def test_grid_unit() -> None:
    assert Grid.unit(8).names == ("x",)
    assert Grid.unit(8, 9, 10, kind="left").kinds == ("left",) * 3
    assert Grid.unit(8, 9, kind=("periodic", "cell"), names=("s", "t")).axis("t").kind == "cell"
    assert Grid.unit(8, 8).resized(4, 5).shape == (4, 5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Grid((Axis("x", 4), Axis("y", 4), Axis("x", 8))), "two axes are named 'x'"),
        (lambda: Grid(()), "one Axis or more"),
        (lambda: Grid(("x",)), "one Axis or more"),
        (lambda: Grid.unit(4, 4, kind=("left",)), "2 sizes need as many kinds"),
        (lambda: Grid.unit(4, 4, 4, 4), "names are needed above 3 axes"),
        (lambda: Grid.unit(4, 4).resized(8), "2 axes x, y"),
        (lambda: Grid.unit(4, 4).axis("w"), "no axis 'w'.*available: x, y"),
        (lambda: Axis.from_dict({"name": "x", "size": 4, "knd": "cell"}), "unknown entry 'knd'.*did you mean 'kind'"),
        (lambda: Axis.from_dict({"name": "x"}), "needs name and size"),
        (lambda: Grid.from_dict({"axis": []}), "the one entry 'axes'"),
    ],
)
def test_a_bad_grid_is_refused(build, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        build()


def test_a_grid_goes_through_json_unchanged() -> None:
    grid = Grid((Axis("x", 3, 0.1, 0.7), Axis("y", 4, 0, 2, "periodic", "m")))
    assert Grid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid


def test_grids_match_by_their_nodes() -> None:
    grid = Grid.unit(8, 9, kind="periodic")
    assert grid.matches(Grid.unit(8, 9, kind="periodic", names=("a", "b")))
    assert not grid.matches(Grid.unit(9, 8, kind="periodic"))
    assert not grid.matches(Grid.unit(8, 9, kind="left"))
    assert not grid.matches(Grid.unit(8, kind="periodic"))
    moved = Grid((Axis("x", 8, 0.0, 1.001, "periodic"), grid.axes[1]))
    assert not grid.matches(moved)
    assert grid.matches(moved, rtol=1e-2)


def graded(size: int, lower: float = LOWER, upper: float = UPPER) -> Axis:
    """Nodes that crowd at the lower end, with gaps of the size of the spacing to both ends."""
    t = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    nodes = lower + (upper - lower) * (t + t**2) / 2
    return Axis("z", size, lower, upper, "stretched", nodes=tuple(nodes.tolist()))


def test_quadrature_of_a_stretched_axis_is_of_second_order() -> None:
    errors = []
    for size in (16, 32, 64, 128):
        axis = graded(size)
        total = float((axis.weights() * torch.exp(axis.coordinates())).sum())
        errors.append(abs(total - (math.exp(UPPER) - math.exp(LOWER))))
        assert float(axis.weights().sum()) == pytest.approx(axis.extent, rel=1e-14)
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert all(1.8 < order < 2.2 for order in orders), orders


def test_a_stretched_axis_keeps_its_grading_when_resized() -> None:
    t = torch.linspace(0, 1, 33, dtype=torch.float64)
    axis = Axis("z", 33, 0.0, 1.0, "stretched", nodes=tuple((t**2).tolist()))
    fine = axis.resized(65)
    assert torch.allclose(fine.coordinates(), torch.linspace(0, 1, 65, dtype=torch.float64) ** 2, atol=1e-3)
    assert (fine.lower, fine.upper, fine.nodes[0], fine.nodes[-1]) == (0.0, 1.0, 0.0, 1.0)
    assert fine.resized(33).matches(axis, rtol=1e-3)
    assert axis.resized(33) == axis


def test_a_stretched_axis_matches_by_its_nodes_and_goes_through_json() -> None:
    axis = graded(12)
    assert Axis.from_dict(json.loads(json.dumps(axis.to_dict()))) == axis
    assert "nodes" not in Axis("x", 4).to_dict()
    moved = list(axis.nodes)
    moved[5] += 1e-3
    other = Axis("z", 12, LOWER, UPPER, "stretched", nodes=tuple(moved))
    assert axis.matches(axis)
    assert not axis.matches(other)
    assert axis.matches(other, rtol=1e-2)
    assert not axis.matches(Axis("z", 12, LOWER, UPPER))
    assert Axis.from_coordinates("z", axis.nodes, kind="stretched").nodes == axis.nodes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 3}, r"axis 'z': a stretched axis of 3 nodes needs nodes= with as many coordinates, got 0"),
        ({"size": 3, "nodes": (0.0, 0.5, 0.4)}, "axis 'z': the coordinates do not ascend"),
        ({"size": 3, "nodes": (0.0, 0.5, 1.4)}, r"axis 'z': the nodes reach from 0 to 1.4, outside \[0, 1\]"),
        ({"size": 1, "nodes": (0.5,)}, "axis 'z': a stretched axis has at least 2"),
        ({"size": 3, "kind": "cell", "nodes": (0.0, 0.5, 1.0)}, "only a stretched axis has nodes of its own"),
    ],
)
def test_a_bad_stretched_axis_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        Axis(**{"name": "z", "kind": "stretched", **arguments})


def test_what_needs_uniform_axes_says_how_to_get_them() -> None:
    with pytest.raises(DomainError, match=r"axis 'z' is stretched and has no one spacing; .*ds.interp\(z="):
        _ = graded(8).spacing
    grid = Grid((Axis("x", 4), graded(8)))
    assert not grid.uniform
    with pytest.raises(
        DomainError, match=r"FNO needs uniform axes, and axis 'z' is stretched \(8 nodes.*ds.interp\(z="
    ):
        grid.require_uniform("FNO")


def gauss(size: int) -> Axis:
    nodes = np.degrees(np.arcsin(np.polynomial.legendre.leggauss(size)[0]))
    return Axis("lat", size, -90, 90, "stretched", nodes=tuple(nodes.tolist()))


LATITUDES = [Axis("lat", 19, -90, 90), Axis("lat", 18, -90, 90, "cell"), gauss(18)]


@pytest.mark.parametrize("latitude", LATITUDES, ids=["closed", "cell", "gauss"])
@pytest.mark.parametrize("order", [1, -1])
def test_the_areas_of_a_sphere_are_exact(latitude: Axis, order: int) -> None:
    grid = Grid((latitude, Axis("lon", 24, 0, 360, "periodic"))[::order], metric="sphere")
    assert float(grid.weights().sum()) == pytest.approx(4 * math.pi, rel=1e-14)
    assert grid.volume == pytest.approx(4 * math.pi)
    areas = grid.weights() if order == 1 else grid.weights().T
    edges = np.radians(latitude.edges().numpy())
    np.testing.assert_allclose(areas[:, 3], np.diff(np.sin(edges)) * 2 * math.pi / 24, rtol=1e-13)
    assert bool((areas > 0).all())
    assert areas.shape == (latitude.size, 24)
    assert grid.resized(*(2 * size for size in grid.shape)).metric == "sphere"
    assert Grid.from_dict(json.loads(json.dumps(grid.to_dict()))) == grid
    assert not grid.matches(Grid(grid.axes))


def test_the_areas_at_the_poles_of_a_closed_latitude_are_those_of_caps() -> None:
    grid = Grid((Axis("lat", 19, -90, 90), Axis("lon", 1, 0, 360, "periodic")), metric="sphere")
    cap = 2 * math.pi * (1 - math.sin(math.radians(85)))
    assert grid.weights()[[0, -1], 0].tolist() == pytest.approx([cap, cap], rel=1e-12)


@pytest.mark.parametrize("kind", ["closed", "cell"])
def test_quadrature_on_the_sphere_is_of_second_order(kind: str) -> None:
    errors = []
    for size in (16, 32, 64):
        axes = (Axis("lat", size + (kind == "closed"), -90, 90, kind), Axis("lon", 2 * size, 0, 360, "periodic"))
        grid = Grid(axes, metric="sphere")
        lat, lon = torch.deg2rad(grid.coordinates())
        values = torch.exp(lat.sin()) * (1 + 0.3 * lon.cos() * lat.cos())
        errors.append(abs(float((grid.weights() * values).sum()) - 2 * math.pi * (math.e - 1 / math.e)))
    assert all(1.8 < math.log2(coarse / fine) < 2.2 for coarse, fine in pairwise(errors)), errors


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ((Axis("x", 4), Axis("lon", 4, 0, 360)), "a sphere needs one latitude among the axes.*got x"),
        ((Axis("lat", 4, -90, 90), Axis("latitude", 4, -90, 90)), "a sphere needs one latitude"),
        ((Axis("lat", 4, 0, 180), Axis("lon", 4, 0, 360)), r"axis 'lat': latitudes lie in \[-90, 90\].*got \[0, 180\]"),
        ((Axis("lat", 4, -90, 90), Axis("lon", 4, 0, 400)), "axis 'lon': longitudes span 360 degrees at most, got 400"),
    ],
)
def test_a_bad_sphere_is_refused(axes: tuple, message: str) -> None:
    with pytest.raises(DomainError, match=message):
        Grid(axes, metric="sphere")
    with pytest.raises(DomainError, match="unknown metric 'spher'; did you mean 'sphere'"):
        Grid(axes, metric="spher")
