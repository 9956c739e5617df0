"""Symmetries of vectors and tensors: the moved gradient is the gradient of the moved field; stretched axes, spheres."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from sciops.data.domains.domain import Axis, Grid
from sciops.data.functions.symmetry import augment, draw, elements
from sciops.data.functions.tensors import TensorChannels
from sciops.errors import DomainError, InputError

GROUPS = {
    2: ["transpose-xy", "flip-x", "reflect-odd-y", "rotate-90-xy"],
    3: ["transpose-xy", "transpose-yz", "flip-x", "reflect-odd-z", "rotate-90-xz"],
}


def fields(ndim: int) -> tuple[TensorChannels, TensorChannels]:
    names = tuple("xyz"[:ndim])
    return TensorChannels(1, names, tuple(range(ndim))), TensorChannels(2, names, tuple(range(ndim**2)))


@pytest.mark.parametrize("ndim", [2, 3])
def test_moved_derivatives_are_derivatives_of_the_moved_field(ndim: int, generator: torch.Generator) -> None:
    grid = Grid.unit(*(8,) * ndim, kind="periodic")
    x = grid.coordinates()
    vector, tensor = fields(ndim)
    k = 2 * torch.pi * torch.randint(-2, 3, (5, ndim), generator=generator).double()
    phase = torch.rand(5, generator=generator, dtype=torch.float64)

    def all_of(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        angle = torch.einsum("wd,d...->w...", k, points) + phase.view(-1, *(1,) * ndim)
        return (
            angle.cos().sum(dim=0)[None],
            torch.einsum("wd,w...->d...", k, -angle.sin()),
            torch.einsum("wd,we,w...->de...", k, k, -angle.cos()).flatten(0, 1),
        )

    u, gradient, hessian = all_of(x)
    for element in elements(GROUPS[ndim], grid)[:: 1 if ndim == 2 else 7]:  # of 96 in space
        # the moved field as a function: u'(x) = sign u(z(x)), by the chain rule through z
        points = x.clone().requires_grad_()
        z = [None] * ndim
        for d in range(ndim):
            z[element.axes[d]] = (1 - points[d]) if element.mirrored[d] else points[d]
        value = element.sign * all_of(torch.stack(z))[0].sum()  # type: ignore[arg-type]
        (slope,) = torch.autograd.grad(value, points, create_graph=True)
        curvature = torch.stack(
            [torch.autograd.grad(slope[d].sum(), points, retain_graph=True)[0] for d in range(ndim)]
        )
        torch.testing.assert_close(element.apply(gradient, tensors=[vector]), slope.detach(), rtol=0, atol=1e-10)
        torch.testing.assert_close(element.apply(hessian, tensors=[tensor]), curvature.flatten(0, 1), rtol=0, atol=1e-9)
        moved = element.apply(u)
        torch.testing.assert_close(moved, element.sign * all_of(torch.stack(z).detach())[0], rtol=0, atol=1e-11)  # type: ignore[arg-type]


def test_moved_spectral_gradient_is_that_of_the_moved_values(generator: torch.Generator) -> None:
    grid = Grid.unit(9, 9, kind="periodic")  # an odd number of nodes has no highest frequency that a sign would lose
    a = torch.randn(2, 1, 9, 9, dtype=torch.float64, generator=generator)
    frequencies = 2j * torch.pi * torch.fft.fftfreq(9, 1 / 9, dtype=torch.float64)

    def gradient(t: Tensor) -> Tensor:
        spectrum = torch.fft.fftn(t, dim=(-2, -1))
        parts = [spectrum * frequencies[:, None], spectrum * frequencies]
        return torch.cat([torch.fft.ifftn(part, dim=(-2, -1)).real for part in parts], dim=1)

    vector = TensorChannels(1, ("x", "y"), (0, 1))
    for element in elements(GROUPS[2], grid):
        torch.testing.assert_close(
            element.apply(gradient(a), tensors=[vector]), gradient(element.apply(a)), rtol=0, atol=1e-11
        )


def test_tensors_keep_the_laws_of_the_group(generator: torch.Generator) -> None:
    grid = Grid.unit(4, 4, 4)
    group = elements(["transpose-xy", "transpose-yz", "flip-x"], grid)
    vector, stress = (
        TensorChannels(1, ("z", "x", "y"), (0, 2, 3)),
        TensorChannels(2, ("x", "y", "z"), tuple(range(4, 13))),
    )
    t = torch.randn(2, 13, 4, 4, 4, generator=generator)
    for a, b in itertools.product(group[::5], group[::7]):
        whole = (a @ b).apply(t, tensors=[vector, stress])
        assert torch.equal(whole, a.apply(b.apply(t, tensors=[vector, stress]), tensors=[vector, stress]))
        back = a.inverse.apply(a.apply(t, tensors=[vector, stress]), tensors=[vector, stress])
        assert torch.equal(back, t)
        assert torch.equal(a.apply(t, tensors=[vector, stress])[:, 1], a.apply(t)[:, 1])  # a scalar among them


def test_augmentation_turns_fields_parameters_and_masks_by_one_element(generator: torch.Generator) -> None:
    grid = Grid.unit(5, 5, kind="cell")
    names = ["transpose", "flip-x"]
    group = elements(names, grid)
    vector = [TensorChannels(1, ("x", "y"), (1, 2))]
    x, y = torch.randn(24, 3, 5, 5, generator=generator), torch.randn(24, 3, 5, 5, generator=generator)
    beta, mask = torch.randn(24, 3, generator=generator), torch.rand(24, 1, 5, 5, generator=generator) > 0.5
    index = torch.arange(24)
    options = {"seed": 2, "epoch": 1, "index": index}
    moved_x, moved_y = augment(x, y, grid, names, **options, x_tensors=vector, y_tensors=vector)
    drawn = draw(grid, names, **options)
    turned, inside = drawn.turn(beta, vector), drawn.apply_mask(mask)
    used = set()
    for i in range(24):
        (number,) = [n for n, g in enumerate(group) if torch.equal(g.apply(x[i], tensors=vector), moved_x[i])]
        used.add(number)
        element = group[number]
        assert torch.equal(element.apply(y[i], tensors=vector), moved_y[i])
        assert torch.equal(element.turn(beta[i : i + 1], vector)[0], turned[i])
        assert torch.equal(element.apply(mask[i].float()) > 0, inside[i])
    assert len(used) > 4


def test_components_along_no_axis_of_the_grid_stay(generator: torch.Generator) -> None:
    grid = Grid.unit(4, 4)
    velocity = TensorChannels(1, ("x", "y", "z"), (0, 1, 2))
    t = torch.randn(3, 4, 4, generator=generator)
    flip = elements(["flip-x"], grid)[1]
    moved = flip.apply(t, tensors=[velocity])
    assert torch.equal(moved[0], -t[0].flip(0)) and torch.equal(moved[1:], t[1:].flip(1))
    with pytest.raises(DomainError, match="exchanges axis 'x' with one along which the field has no component"):
        elements(["transpose"], grid)[1].apply(t[:1], tensors=[TensorChannels(1, ("x",), (0,))])
    with pytest.raises(InputError, match="3 channels do not make a field of rank 2"):
        TensorChannels(2, ("x", "y"), (0, 1, 2))


def test_a_mask_under_a_mirrored_left_axis_holds_only_where_both_ends_are_inside() -> None:
    flip = elements(["flip-x"], Grid.unit(4, kind="left"))[1]
    assert flip.apply_mask(torch.tensor([True, True, True, False])).tolist() == [False, False, True, True]
    odd = elements(["reflect-odd-x"], Grid.unit(4, kind="cell"))[1]
    assert odd.apply_mask(torch.tensor([True, True, False, False])).tolist() == [False, False, True, True]


def chebyshev(name: str, n: int, lower: float = -1.0, upper: float = 1.0) -> Axis:
    nodes = (lower + upper) / 2 - (upper - lower) / 2 * torch.cos(
        torch.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n
    )
    return Axis(name, n, lower, upper, "stretched", nodes=tuple(nodes.tolist()))


def test_stretched_axes_are_mirrored_where_their_nodes_are_symmetric(generator: torch.Generator) -> None:
    grid = Grid((chebyshev("x", 7), Axis("y", 4)))
    flip = elements(["flip-x"], grid)[1]
    x = grid.coordinates()[0]
    torch.testing.assert_close(flip.apply(x**3 + x**2), -(x**3) + x**2, rtol=0, atol=1e-13)
    torch.testing.assert_close(flip.apply(grid.weights()), grid.weights())
    graded = Grid((Axis("x", 4, 0.0, 1.0, "stretched", nodes=(0.0, 0.1, 0.3, 1.0)),))
    with pytest.raises(DomainError, match=r"axis 'x' \(stretched.*not its own mirror image"):
        elements(["flip-x"], graded)
    one_sided = Grid((Axis("x", 3, 0.0, 2.0, "stretched", nodes=(0.0, 0.5, 1.0)),))
    with pytest.raises(DomainError, match="not its own mirror image"):
        elements(["flip-x"], one_sided)


def test_stretched_axes_are_exchanged_where_they_are_alike() -> None:
    alike = Grid((chebyshev("x", 6), chebyshev("y", 6, 4.0, 6.0)))
    assert len(elements(["transpose", "flip-x"], alike)) == 8
    with pytest.raises(
        DomainError, match=r"'x' \(6 nodes, stretched, \[-1, 1\]\) and 'y' \(6 nodes, stretched, \[0, 4\]\)"
    ):
        elements(["transpose"], Grid((chebyshev("x", 6), chebyshev("y", 6, 0.0, 4.0))))


def test_a_sphere_is_mirrored_at_the_equator_and_its_axes_are_not_exchanged() -> None:
    lat, lon = Axis("lat", 6, -90, 90, "cell", "degrees_north"), Axis("lon", 8, 0, 360, "periodic", "degrees_east")
    globe = Grid((lat, lon), metric="sphere")
    flip = elements(["flip-lat"], globe)[1]
    torch.testing.assert_close(flip.apply(globe.weights()), globe.weights())
    assert len(elements(["flip-lat", "flip-lon"], globe)) == 4
    north = Grid((Axis("lat", 6, 0, 90, "cell", "degrees_north"), lon), metric="sphere")
    with pytest.raises(DomainError, match="not its own mirror image"):
        elements(["flip-lat"], north)
    square = Grid((Axis("lat", 6, -60, 60, "cell"), Axis("lon", 6, 0, 120, "cell")), metric="sphere")
    with pytest.raises(DomainError, match="none of a sphere"):
        elements(["transpose-lat-lon"], square)
