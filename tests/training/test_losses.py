from __future__ import annotations

import itertools
import math
from itertools import pairwise

import pytest
import torch

from sciops.data.domains.domain import Axis, Grid, Kind
from sciops.data.domains.points import PointCloud
from sciops.errors import DomainError, InputError
from sciops.training.losses import RelativeH1, RelativeL2, derivative, losses, masked_derivative

KINDS: tuple[Kind, ...] = ("periodic", "closed", "cell", "left")


def exponential(size: int, kind: Kind) -> tuple[torch.Tensor, torch.Tensor, Grid]:
    """y = exp(x), p = y + x^2/10 on the unit interval."""
    grid = Grid.unit(size, kind=kind)
    x = grid.coordinates()[0]
    y = x.exp()
    return (y + 0.1 * x**2)[None, None], y[None, None], grid


# ||x^2/10|| / ||exp|| in L2 and in H1, by hand
L2 = 0.1 * math.sqrt((1 / 5) / ((math.e**2 - 1) / 2))
H1 = 0.1 * math.sqrt((1 / 5 + 4 / 3) / (math.e**2 - 1))


@pytest.mark.parametrize("kind", ["closed", "cell", "left"])
@pytest.mark.parametrize(("loss", "exact"), [(RelativeL2, L2), (RelativeH1, H1)])
def test_second_order_on_axes_that_are_not_periodic(kind: Kind, loss: type[RelativeL2], exact: float) -> None:
    errors = []
    for size in (33, 65, 129, 257):
        prediction, target, grid = exponential(size, kind)
        errors.append(abs(float(loss(grid)(prediction, target)) - exact))
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert all(1.8 < order < 2.2 for order in orders[1:]), orders


def test_h1_of_a_field_that_is_not_periodic_is_not_that_of_its_jump() -> None:
    prediction, target, grid = exponential(64, "closed")
    assert float(RelativeH1(grid)(prediction, target)) == pytest.approx(H1, rel=1e-3)
    wrong = RelativeH1(Grid.unit(64, kind="periodic"))(prediction, target)
    assert abs(float(wrong) - H1) > 0.1 * H1


def test_h1_on_a_periodic_axis_is_exact() -> None:
    grid = Grid((Axis("x", 16, 0.0, 3.0, "periodic"), Axis("y", 15, -1.0, 1.0, "periodic")))
    x, y = grid.coordinates()
    wave = torch.sin(2 * math.pi * (2 * x / 3 + 3 * (y + 1) / 2))
    target = torch.cos(2 * math.pi * x / 3)
    expected = math.sqrt((1 + (2 * math.pi) ** 2 * 13) / (1 + (2 * math.pi) ** 2))
    error = RelativeH1(grid)((target + wave)[None, None], target[None, None])
    assert float(error) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["l2", "h1"])
def test_the_extent_of_an_axis_does_not_change_the_number(kind: Kind, name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    p, y = torch.randn(2, 3, 2, 12, 9, generator=generator, dtype=torch.float64)
    small = Grid((Axis("x", 12, kind=kind), Axis("y", 9, kind=kind)))
    large = Grid((Axis("x", 12, -5.0, 95.0, kind), Axis("y", 9, 0.0, 1e-3, kind)))
    assert float(losses[name](small)(p, y)) == pytest.approx(float(losses[name](large)(p, y)), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["l2", "h1"])
def test_one_function_has_one_norm_at_every_resolution(kind: Kind, name: str) -> None:
    numbers = []
    loss = losses[name](Grid.unit(64, kind=kind))
    for size in (64, 128, 301):
        x = Grid.unit(size, kind=kind).coordinates()[0]
        y = torch.sin(2 * math.pi * x) + 0.3
        numbers.append(float(loss((y + 0.1 * torch.cos(4 * math.pi * x))[None, None], y[None, None])))
    tolerance = 1e-12 if kind == "periodic" else 6e-3
    assert numbers[1] == pytest.approx(numbers[0], rel=tolerance)
    assert numbers[2] == pytest.approx(numbers[0], rel=tolerance)


@pytest.mark.parametrize("name", ["l2", "h1"])
def test_scale_free_by_sample_and_channel(name: str) -> None:
    generator = torch.Generator().manual_seed(1)
    p, y = torch.randn(2, 4, 3, 16, generator=generator, dtype=torch.float64)
    loss = losses[name](Grid.unit(16, kind="cell"))
    scale = torch.logspace(-8, 8, 12, dtype=torch.float64).view(4, 3, 1)
    torch.testing.assert_close(loss(p * scale, y * scale), loss(p, y), rtol=1e-12, atol=0)
    torch.testing.assert_close(loss.per_sample(p, y).mean(), loss(p, y), rtol=1e-14, atol=0)


def test_a_target_of_zero_is_measured_by_size_and_leaves_the_others_alone() -> None:
    grid = Grid((Axis("x", 16, 0.0, 4.0, "cell"),))
    y = torch.zeros(2, 1, 16, dtype=torch.float64)
    y[1] = 1e-30
    p = (y + 0.5 * (y == 0)).requires_grad_()
    errors = RelativeL2(grid).per_sample(p, y)
    assert errors.tolist() == pytest.approx([0.5, 0.0])
    errors.sum().backward()
    assert p.grad is not None and bool(p.grad.isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["l2", "h1"])
def test_gradients(kind: Kind, name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    p, y = torch.randn(2, 2, 2, 6, 5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(losses[name](Grid.unit(6, 5, kind=kind)), (p.requires_grad_(), y.requires_grad_()))


@pytest.mark.parametrize("name", ["l2", "h1"])
def test_the_gradient_at_the_exact_solution_is_finite(name: str) -> None:
    p = torch.randn(1, 1, 8, requires_grad=True)
    losses[name](Grid.unit(8))(p, p.detach().clone()).backward()
    assert p.grad is not None and bool(p.grad.isfinite().all())


@pytest.mark.parametrize("kind", KINDS)
def test_derivative_along_each_axis(kind: Kind) -> None:
    grid = Grid((Axis("x", 200, 0.0, 2.0, kind), Axis("y", 7, 0.0, 1.0, kind)))
    x, _ = grid.coordinates()
    slope = derivative(torch.sin(math.pi * x), grid.axes[0], 0)
    torch.testing.assert_close(slope, math.pi * torch.cos(math.pi * x), rtol=0, atol=2e-3)
    assert float(derivative(torch.sin(math.pi * x), grid.axes[1], 1).abs().max()) < 1e-12


def test_bad_input() -> None:
    loss = RelativeH1(Grid.unit(8, kind="cell"))
    with pytest.raises(InputError, match="differ in shape"):
        loss(torch.zeros(1, 1, 8), torch.zeros(1, 2, 8))
    with pytest.raises(InputError, match=r"expected .batch, channel, x."):
        loss(torch.zeros(1, 1, 8, 8), torch.ones(1, 1, 8, 8))
    with pytest.raises(DomainError, match="'x' needs at least 3 nodes"):
        loss(torch.zeros(1, 1, 2), torch.ones(1, 1, 2))
    with pytest.raises(DomainError, match="'x' has 8 nodes, the values have 9"):
        derivative(torch.zeros(9), Axis("x", 8), 0)
    with pytest.raises(InputError, match="unknown loss 'h2'"):
        losses["h2"]


@pytest.mark.parametrize("name", ["l2", "h1"])
@pytest.mark.parametrize("kind", ["closed", "cell", "periodic"])
def test_a_full_mask_changes_nothing_and_a_part_leaves_out_the_rest(name, kind, generator):
    grid = Grid.unit(24, 10, kind=("closed", kind))
    loss = losses[name](grid)
    x, y = grid.coordinates()
    target = torch.stack([torch.sin(3 * x) + y, x * y])[None].repeat(2, 1, 1, 1)
    prediction = target + 0.1 * torch.rand(target.shape, generator=generator, dtype=torch.float64)
    if kind != "periodic" or name == "l2":  # a mask takes differences where the periodic derivative is spectral
        full = torch.ones(24, 10, dtype=torch.bool)
        assert torch.allclose(loss(prediction, target, full), loss(prediction, target))
    mask = (x < 0.6).expand(2, 1, 24, 10).clone()
    mask[1] = True
    spoiled = torch.where(mask, prediction, math.nan)
    found = loss.per_sample(spoiled, torch.where(mask, target, math.nan), mask)
    assert torch.allclose(found, loss.per_sample(prediction, target, mask))
    assert torch.isfinite(found).all()
    assert not torch.isclose(found[0], loss.per_sample(prediction, target)[0])
    with pytest.raises(InputError, match="the mask has shape"):
        loss(prediction, target, mask[:, 0])


def test_gradients_under_a_mask_are_finite_and_zero_outside(generator):
    grid = Grid.unit(6, 5, kind=("periodic", "closed"))
    mask = torch.ones(6, 5, dtype=torch.bool)
    mask[2:4, 1:3] = False
    target = torch.randn(1, 1, 6, 5, generator=generator, dtype=torch.float64)
    prediction = torch.randn(1, 1, 6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    for name in ("l2", "h1"):
        loss = losses[name](grid)
        assert torch.autograd.gradcheck(lambda p, loss=loss: loss(p, target, mask), prediction)
        (slope,) = torch.autograd.grad(loss(prediction, torch.where(mask, target, math.nan), mask), prediction)
        assert bool((slope[0, 0][~mask] == 0).all())
        assert bool((slope[0, 0][mask] != 0).any())


def test_the_derivative_under_a_mask_is_of_second_order_where_it_is_given():
    errors = []
    for size in (20, 40, 80):
        axis = Axis("x", size, kind="periodic")
        x = axis.coordinates()
        mask = (x > 0.2) & (x < 0.7)
        values = torch.where(mask, torch.sin(2 * math.pi * x), 0.0)
        slope, good = masked_derivative(values, mask, axis, 0)
        assert int(good.sum()) == int(mask.sum()) - 2
        errors.append(float((slope - 2 * math.pi * torch.cos(2 * math.pi * x))[good].abs().max()))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert all(1.8 < order < 2.2 for order in orders), orders


def test_the_loss_is_that_of_the_domain_on_points_and_stretched_grids(generator):
    cloud = PointCloud(torch.rand(30, 2, generator=generator, dtype=torch.float64))
    prediction, target = torch.rand(2, 3, 1, 30, generator=generator, dtype=torch.float64)
    expected = (cloud.weights() * (prediction - target) ** 2).sum(-1).sqrt() / (cloud.weights() * target**2).sum(
        -1
    ).sqrt()
    assert torch.allclose(losses["l2"](cloud).per_sample(prediction, target), expected[:, 0])
    with pytest.raises(InputError, match="expected values on PointCloud"):
        losses["l2"](cloud)(torch.ones(1, 1, 29), torch.ones(1, 1, 29))
    with pytest.raises(DomainError, match="the H1 norm needs a grid"):
        losses["h1"](cloud)
    errors = []
    for size in (21, 41, 81):
        t = torch.linspace(0, 1, size, dtype=torch.float64)
        axis = Axis("z", size, 0.0, 1.0, "stretched", nodes=tuple((0.5 * t + 0.5 * t**2).tolist()))
        x = axis.coordinates()
        errors.append(float((derivative(x.exp(), axis, 0) - x.exp()).abs().max()))
    assert all(1.7 < math.log2(coarse / fine) < 2.2 for coarse, fine in pairwise(errors)), errors
