from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from sciops.data.domains import interpolation
from sciops.data.domains.domain import Axis, Grid
from sciops.data.domains.interpolation import interpolate, resample
from sciops.data.domains.points import PointCloud
from sciops.errors import DomainError, InputError

LOCAL = ["closed", "cell", "left"]
LOWER, UPPER = -1.0, 2.0


def random(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def inside(generator: torch.Generator, grid: Grid, n: int) -> torch.Tensor:
    u = torch.rand(n, grid.ndim, generator=generator, dtype=torch.float64)
    lower = torch.tensor([axis.lower for axis in grid.axes], dtype=torch.float64)
    return lower + u * torch.tensor(grid.extents, dtype=torch.float64)


def line(size: int, kind: str) -> Grid:
    return Grid((Axis("x", size, LOWER, UPPER, kind),))


def polynomial(x: torch.Tensor, degree: int) -> torch.Tensor:
    return sum((k + 1) * x**k for k in range(degree + 1))


@pytest.mark.parametrize("kind", LOCAL)
@pytest.mark.parametrize("size", [4, 5, 17])
def test_cubics_are_exact_up_to_the_ends_and_quartics_are_not(kind: str, size: int, generator) -> None:
    grid = line(size, kind)
    points = torch.cat([inside(generator, grid, 50), torch.tensor([[LOWER], [UPPER]], dtype=torch.float64)])
    cubic = interpolate(polynomial(grid.coordinates()[0], 3), grid, points)
    assert torch.allclose(cubic, polynomial(points[:, 0], 3), rtol=0, atol=1e-11)
    quartic = interpolate(polynomial(grid.coordinates()[0], 4), grid, points)
    assert (quartic - polynomial(points[:, 0], 4)).abs().max() > 1e-4


def test_the_four_nodes_lie_around_the_point() -> None:
    weights = interpolate(torch.eye(8, dtype=torch.float64), Grid.unit(8), torch.tensor([[3.5 / 7], [0.5 / 7]])).T
    assert weights[0].tolist() == pytest.approx([0, 0, -1 / 16, 9 / 16, 9 / 16, -1 / 16, 0, 0], abs=1e-6)
    assert weights[1].tolist() == pytest.approx([5 / 16, 15 / 16, -5 / 16, 1 / 16, 0, 0, 0, 0], abs=1e-6)


@pytest.mark.parametrize(("size", "degree"), [(1, 0), (2, 1), (3, 2)])
def test_fewer_nodes_give_the_polynomial_they_determine(size: int, degree: int, generator) -> None:
    grid = line(size, "cell")
    points = inside(generator, grid, 20)
    found = interpolate(polynomial(grid.coordinates()[0], degree), grid, points)
    assert torch.allclose(found, polynomial(points[:, 0], degree), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", LOCAL)
def test_interpolation_is_of_fourth_order(kind: str) -> None:
    points = torch.linspace(LOWER, UPPER, 997, dtype=torch.float64)[:, None]
    errors = []
    for size in (65, 129, 257, 513):
        grid = line(size, kind)
        found = interpolate(torch.exp(grid.coordinates()[0]), grid, points)
        errors.append(float((found - torch.exp(points[:, 0])).abs().max()))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert 3.8 < orders[-1] < 4.2, orders


@pytest.mark.parametrize("size", [8, 9])
def test_trigonometric_polynomials_are_exact_at_every_point_of_the_line(size: int, generator) -> None:
    grid = line(size, "periodic")

    def wave(x: torch.Tensor) -> torch.Tensor:
        t = 2 * math.pi * (x - LOWER) / (UPPER - LOWER)
        return 1 + torch.cos(3 * t + 0.4) - 2 * torch.sin(t)

    points = inside(generator, grid, 40) + torch.tensor([[3.0]]) * torch.randint(-5, 5, (40, 1), generator=generator)
    found = interpolate(wave(grid.coordinates()[0]), grid, points)
    assert torch.allclose(found, wave(points[:, 0]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "kinds", [("periodic",), ("periodic", "closed"), ("left", "periodic", "cell"), ("periodic",) * 3]
)
@pytest.mark.parametrize("sizes", [(6, 8, 4), (5, 7, 3)])
def test_the_values_at_the_nodes_are_given_back(kinds, sizes, generator) -> None:
    grid = Grid.unit(*sizes[: len(kinds)], kind=kinds)
    values = random(generator, 2, 3, *grid.shape)
    points = grid.coordinates().flatten(1).T
    assert torch.allclose(interpolate(values, grid, points), values.flatten(2), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "kinds", [("closed", "left"), ("periodic", "cell"), ("cell", "periodic"), ("periodic", "left", "periodic")]
)
def test_resampling_and_scattered_interpolation_agree(kinds, generator) -> None:
    source = Grid.unit(8, 7, 6, kind=(*kinds, "closed")[:3])
    values = random(generator, 2, *source.shape)
    target = Grid.unit(9, 10, 12, kind=["periodic" if kind == "periodic" else "cell" for kind in source.kinds])
    found = resample(values, source, target)
    assert found.shape == (2, *target.shape)
    scattered = interpolate(values, source, target.coordinates().flatten(1).T)
    assert torch.allclose(found.flatten(1), scattered, rtol=0, atol=1e-11)


def test_a_periodic_axis_onto_one_that_is_not_is_trigonometric() -> None:
    source, target = Grid.unit(16, kind="periodic"), Grid.unit(11, kind="closed")
    wave = torch.sin(2 * math.pi * 5 * source.coordinates()[0])
    expected = torch.sin(2 * math.pi * 5 * target.coordinates()[0])
    assert torch.allclose(resample(wave, source, target), expected, rtol=0, atol=1e-12)


def test_a_shifted_periodic_axis_is_evaluated_at_its_own_nodes() -> None:
    source = Grid((Axis("x", 16, 0.0, 1.0, "periodic"),))
    target = Grid((Axis("x", 16, 0.1, 1.1, "periodic"),))
    wave = torch.sin(2 * math.pi * 3 * source.coordinates()[0])
    expected = torch.sin(2 * math.pi * 3 * target.coordinates()[0])
    assert torch.allclose(resample(wave, source, target), expected, rtol=0, atol=1e-12)


def test_a_coarser_periodic_grid_drops_what_it_does_not_carry() -> None:
    source, target = Grid.unit(32, kind="periodic"), Grid.unit(9, kind="periodic")
    x, coarse = source.coordinates()[0], target.coordinates()[0]
    values = torch.cos(2 * math.pi * 3 * x) + torch.cos(2 * math.pi * 10 * x)
    assert torch.allclose(resample(values, source, target), torch.cos(2 * math.pi * 3 * coarse), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", LOCAL)
def test_resampling_is_of_fourth_order(kind: str) -> None:
    errors = []
    for size in (64, 128, 256, 512):
        source, target = line(size, kind), line(size * 3 // 2 + 1, "closed")
        found = resample(torch.exp(source.coordinates()[0]), source, target)
        errors.append(float((found - torch.exp(target.coordinates()[0])).abs().max()))
    assert 3.8 < math.log2(errors[-2] / errors[-1]) < 4.2, errors


def test_the_blocks_do_not_change_the_result(generator, monkeypatch) -> None:
    source = Grid.unit(31, 8, kind=("left", "periodic"))
    target = Grid.unit(57, 8, kind=("cell", "periodic"))
    values, points = random(generator, 3, *source.shape), inside(generator, source, 101)
    whole = resample(values, source, target), interpolate(values, source, points)
    monkeypatch.setattr(interpolation, "_ROWS", 5)
    monkeypatch.setattr(interpolation, "_ELEMENTS", 200)
    parts = resample(values, source, target), interpolate(values, source, points)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-13) for a, b in zip(whole, parts, strict=True))


def test_long_axes_need_no_square_matrix(monkeypatch) -> None:
    widths = []
    original = torch.zeros

    def watch(*size, **keywords):
        widths.append(math.prod(size))
        return original(*size, **keywords)

    source, target = Grid.unit(40_001), Grid.unit(60_001)
    values = source.coordinates()[0] ** 3
    monkeypatch.setattr(torch, "zeros", watch)
    found = resample(values, source, target)
    assert torch.allclose(found, target.coordinates()[0] ** 3, rtol=0, atol=1e-11)
    assert max(widths) < 2_000_000


def test_the_same_grid_gives_the_same_values(generator) -> None:
    grid = Grid.unit(5, 6, kind=("cell", "periodic"))
    values = random(generator, *grid.shape)
    assert torch.equal(resample(values, grid, grid), values)


@pytest.mark.parametrize("kinds", [("periodic", "left"), ("closed", "cell"), ("periodic", "periodic")])
def test_interpolation_is_differentiable_in_values_and_points(kinds, generator) -> None:
    grid = Grid.unit(5, 6, kind=kinds)
    values = random(generator, 2, *grid.shape).requires_grad_()
    points = (0.02 + 0.96 * inside(generator, grid, 4)).requires_grad_()
    assert torch.autograd.gradcheck(lambda v, p: interpolate(v, grid, p), (values, points))


def test_the_slope_at_a_node_of_a_periodic_axis_is_that_of_the_series() -> None:
    grid = Grid.unit(8, kind="periodic")
    point = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    interpolate(torch.sin(2 * math.pi * grid.coordinates()[0]), grid, point).sum().backward()
    assert float(point.grad) == pytest.approx(2 * math.pi, rel=1e-12)


def test_resampling_is_differentiable(generator) -> None:
    source = Grid.unit(5, 4, kind=("left", "periodic"))
    target = Grid.unit(4, 7, kind=("cell", "periodic"))
    values = random(generator, 2, *source.shape).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: resample(v, source, target), (values,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_is_kept(dtype) -> None:
    grid = Grid.unit(6, 5, kind=("periodic", "closed"))
    values = grid.coordinates(dtype)[1]
    points = torch.tensor([[1.3, 0.5]], dtype=torch.float32)
    assert interpolate(values, grid, points).dtype == dtype
    assert resample(values, grid, grid.resized(7, 9)).dtype == dtype
    assert float(interpolate(values, grid, points)) == pytest.approx(0.5, abs=1e-6)


def test_the_device_is_that_of_the_values() -> None:
    # the meta device refuses a mixture with tensors of another one, as an accelerator does
    source = Grid.unit(8, 6, kind=("periodic", "left"))
    values = torch.zeros(2, 8, 6, device="meta")
    found = resample(values, source, Grid.unit(12, 7, kind=("periodic", "cell")))
    assert (found.device.type, found.shape) == ("meta", (2, 12, 7))
    assert interpolate(values, source, torch.zeros(5, 2)).device.type == "meta"
    assert interpolate(values[:, 0], Grid.unit(6), torch.zeros(5, 1)).device.type == "meta"


def test_bool_values_are_taken_as_numbers() -> None:
    grid = Grid.unit(2)
    found = resample(torch.tensor([False, True]), grid, Grid.unit(3))
    assert found.dtype == torch.float64
    assert found.tolist() == [0.0, 0.5, 1.0]


def test_no_points_give_no_values() -> None:
    grid = Grid.unit(4, 4, kind=("periodic", "closed"))
    assert interpolate(torch.zeros(2, 4, 4), grid, torch.zeros(0, 2)).shape == (2, 0)


@pytest.mark.parametrize("kind", LOCAL)
@pytest.mark.parametrize("value", [LOWER - 1e-9, UPPER + 1e-9, math.nan, math.inf])
def test_a_point_outside_names_the_axis_and_the_value(kind: str, value: float) -> None:
    grid = Grid((Axis("s", 5, kind="periodic"), Axis("depth", 6, LOWER, UPPER, kind)))
    with pytest.raises(DomainError, match=rf"axis 'depth': the value {value:g} is outside"):
        interpolate(torch.zeros(5, 6), grid, torch.tensor([[0.5, 0.0], [7.0, value]], dtype=torch.float64))


def test_rounding_at_the_ends_is_let_pass() -> None:
    grid = Grid((Axis("x", 5, 0.1, 0.7),))
    ends = torch.tensor([[0.1 - 1e-8], [0.7 + 1e-7]], dtype=torch.float32)
    assert interpolate(grid.coordinates()[0], grid, ends).tolist() == pytest.approx([0.1, 0.7], abs=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: interpolate(torch.zeros(4), Grid.unit(5), torch.zeros(1, 1)), DomainError, r"shape \(4,\)"),
        (lambda: interpolate(torch.zeros(5), Grid.unit(5), torch.zeros(3)), DomainError, r"shape \(n, 1\)"),
        (lambda: interpolate(torch.zeros(5), Grid.unit(5), torch.zeros(3, 2)), DomainError, r"shape \(n, 1\)"),
        (lambda: interpolate([0.0] * 5, Grid.unit(5), torch.zeros(1, 1)), InputError, "real torch.Tensor, got list"),
        (lambda: resample(torch.zeros(5) * 1j, Grid.unit(5), Grid.unit(5)), InputError, "complex64"),
        (lambda: resample(torch.zeros(5), Grid.unit(5), Grid.unit(5, 5)), DomainError, "same axes in the same order"),
        (
            lambda: resample(torch.zeros(5, 5), Grid.unit(5, 5), Grid.unit(5, 5, names=("y", "x"))),
            DomainError,
            "same axes in the same order",
        ),
        (lambda: resample(torch.zeros(5), Grid.unit(5), line(5, "closed")), DomainError, "axis 'x': the value -1 is"),
        (
            lambda: interpolate(torch.zeros(5), Grid.unit(5, kind="periodic"), torch.tensor([[math.nan]])),
            DomainError,
            "axis 'x': the value nan .*finite",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, error, message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def _graded(size: int) -> Axis:
    t = torch.linspace(0, 1, size, dtype=torch.float64)
    return Axis("z", size, 0.0, 1.0, "stretched", nodes=tuple((0.6 * t + 0.4 * t**2).tolist()))


def test_a_stretched_axis_is_interpolated_by_cubics(generator: torch.Generator) -> None:
    coefficients = torch.randn(4, generator=generator, dtype=torch.float64)
    points = torch.rand(50, 1, generator=generator, dtype=torch.float64)

    def cubic(x: torch.Tensor) -> torch.Tensor:
        return sum(c * x**k for k, c in enumerate(coefficients))

    grid = Grid((_graded(9),))
    assert torch.allclose(interpolate(cubic(grid.coordinates()[0]), grid, points), cubic(points[:, 0]), atol=1e-12)
    assert torch.allclose(
        resample(cubic(grid.coordinates()[0]), grid, Grid.unit(20)), cubic(Grid.unit(20).coordinates()[0])
    )
    errors = []
    for size in (17, 33, 65):
        grid = Grid((_graded(size),))
        fine = Grid((Axis("z", 301),))
        error = resample((5 * grid.coordinates()[0]).sin(), grid, fine) - (5 * fine.coordinates()[0]).sin()
        errors.append(float(error.square().mean().sqrt()))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert all(3.6 < order < 4.6 for order in orders), orders


def test_a_stretched_axis_is_differentiable_in_values_and_points(generator: torch.Generator) -> None:
    grid = Grid((_graded(6), Axis("x", 5, kind="periodic")))
    values = torch.randn(6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    points = (0.05 + 0.9 * torch.rand(3, 2, generator=generator, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(lambda u, p: interpolate(u, grid, p), (values, points))


def test_a_name_of_outside_is_checked() -> None:
    cloud = PointCloud([[0.0], [1.0]])
    with pytest.raises(InputError, match="unknown value 'nearst' of outside=; did you mean 'nearest'"):
        interpolate(torch.zeros(2), cloud, torch.zeros(1, 1), outside="nearst")
    with pytest.raises(DomainError, match=r"do not stand on the .* \(2,\)"):
        interpolate(torch.zeros(3), cloud, torch.zeros(1, 1))
    with pytest.raises(DomainError, match=r"points have shape \(n, 1\)"):
        interpolate(torch.zeros(2), cloud, torch.zeros(1, 2))
