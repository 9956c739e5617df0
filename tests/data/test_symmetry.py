"""Symmetries: what they do to nodes, the group laws, and augmentation as a pure function."""

from __future__ import annotations

import itertools

import pytest
import torch

from sciops.data.domains.domain import Axis, Grid
from sciops.data.functions.symmetry import Symmetry, augment, elements
from sciops.errors import DomainError, InputError

KINDS = ("periodic", "closed", "cell", "left")
SETS = [
    (["flip-x"], 2),
    (["reflect-odd-x"], 2),
    (["flip-x", "flip-y"], 4),
    (["transpose"], 2),
    (["rotate-90"], 4),
    (["transpose-xy", "flip-x"], 8),
    (["transpose-xy", "reflect-odd-y"], 8),
    (["rotate-90-xy", "flip-y"], 8),
    (["flip-x", "reflect-odd-x"], 4),
]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("left", [0, 4, 3, 2, 1]), ("periodic", [0, 4, 3, 2, 1]), ("closed", [4, 3, 2, 1, 0]), ("cell", [4, 3, 2, 1, 0])],
)
def test_flip_moves_nodes_by_the_kind_of_the_axis(kind: str, expected: list[int]) -> None:
    (_, flip) = elements(["flip-x"], Grid.unit(5, kind=kind))  # type: ignore[arg-type]
    assert flip.apply(torch.arange(5)).tolist() == expected


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [6, 7])
def test_flip_is_the_mirror_image_of_a_function(kind: str, size: int) -> None:
    grid = Grid((Axis("x", size, -1.0, 3.0, kind),))  # type: ignore[arg-type]
    x = grid.coordinates()[0]
    wave = torch.sin(torch.pi * (x + 1) / 2) + 0.3 * torch.sin(torch.pi * (x + 1))  # vanishes at both ends
    mirrored = torch.sin(torch.pi * (1 - x + 2) / 2) + 0.3 * torch.sin(torch.pi * (1 - x + 2))
    (_, flip) = elements(["flip"], grid)
    torch.testing.assert_close(flip.apply(wave), mirrored, rtol=0, atol=1e-14)
    (_, odd) = elements(["reflect-odd-x"], grid)
    torch.testing.assert_close(odd.apply(wave), -mirrored, rtol=0, atol=1e-14)


def test_transpose_and_rotation_move_coordinates() -> None:
    grid = Grid.unit(5, 5, kind="cell")
    x, y = grid.coordinates()
    _, transpose = elements(["transpose"], grid)
    torch.testing.assert_close(transpose.apply(x + 10 * y), y + 10 * x)
    quarter = elements(["rotate-90"], grid)[1]
    assert torch.equal(quarter.apply(quarter.apply(quarter.apply(quarter.apply(x)))), x)
    turned = quarter.apply(x + 10 * y)
    candidates = [(1 - y) + 10 * x, y + 10 * (1 - x)]
    assert sum(torch.allclose(turned, one) for one in candidates) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("names", "order"), SETS)
def test_elements_form_a_group(names: list[str], order: int, kind: str, generator: torch.Generator) -> None:
    grid = Grid.unit(6, 6, kind=kind)  # type: ignore[arg-type]
    group = elements(names, grid)
    t = torch.randn(2, 3, 6, 6, generator=generator)
    assert len(group) == order == len(set(group))
    assert group[0] == group[0].identity and torch.equal(group[0].apply(t), t)
    for a, b in itertools.product(group, group):
        assert a @ b in group
        assert torch.equal((a @ b).apply(t), a.apply(b.apply(t)))
    for a in group:
        assert a.inverse in group
        assert torch.equal(a.inverse.apply(a.apply(t)), t) and torch.equal(a.apply(a.inverse.apply(t)), t)


@pytest.mark.parametrize("kind", KINDS)
def test_single_generators_are_involutions(kind: str, generator: torch.Generator) -> None:
    grid = Grid.unit(5, 5, 5, kind=kind)  # type: ignore[arg-type]
    t = torch.randn(1, 2, 5, 5, 5, generator=generator)
    for name in ("flip-x", "flip-y", "flip-z", "reflect-odd-z", "transpose-xy", "transpose-xz", "transpose-yz"):
        identity, other = elements([name], grid)
        assert other.inverse == other and other @ other == identity
        assert torch.equal(other.apply(other.apply(t)), t) and not torch.equal(other.apply(t), t)


def test_cube_group_in_three_dimensions(generator: torch.Generator) -> None:
    group = elements(["transpose-xy", "transpose-yz", "flip-x"], Grid.unit(4, 4, 4))
    t = torch.randn(4, 4, 4, generator=generator)
    assert len(group) == 48 == len({tuple(g.apply(t).flatten().tolist()) for g in group})
    for g in group:  # turns of order three and four: the inverse is not the map itself
        assert torch.equal(g.inverse.apply(g.apply(t)), t) and g.inverse @ g == group[0]


def test_averaging_over_the_group_makes_any_map_equivariant(generator: torch.Generator) -> None:
    grid = Grid.unit(6, 6, kind="left")
    group = elements(["transpose", "flip-x"], grid)
    weights = torch.randn(36, 36, dtype=torch.float64, generator=generator)

    def averaged(t: torch.Tensor) -> torch.Tensor:
        return torch.stack([g.inverse.apply((weights @ g.apply(t).flatten()).view(6, 6)) for g in group]).mean(dim=0)

    t = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    for g in group:
        torch.testing.assert_close(averaged(g.apply(t)), g.apply(averaged(t)), rtol=0, atol=1e-12)


def _pair(generator: torch.Generator, n: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(n, 2, *shape, generator=generator), torch.randn(n, 1, *shape, generator=generator)


def test_augmentation_does_not_depend_on_batches_or_their_order(generator: torch.Generator) -> None:
    grid = Grid.unit(6, 6, kind="periodic")
    names = ["transpose", "flip-x", "shift-x"]
    x, y = _pair(generator, 40, 6, 6)
    index = torch.arange(40)
    before = torch.get_rng_state()
    whole = augment(x, y, grid, names, seed=1, epoch=2, index=index)
    assert torch.equal(torch.get_rng_state(), before)
    order = torch.randperm(40, generator=generator)
    for chunk in torch.tensor_split(order, 6):
        part = augment(x[chunk], y[chunk], grid, names, seed=1, epoch=2, index=index[chunk])
        assert torch.equal(part[0], whole[0][chunk]) and torch.equal(part[1], whole[1][chunk])
    for seed, epoch in ((1, 3), (2, 2)):
        assert not torch.equal(augment(x, y, grid, names, seed=seed, epoch=epoch, index=index)[0], whole[0])


@pytest.mark.parametrize("kind", KINDS)
def test_augmentation_moves_input_and_output_by_one_element_of_the_group(kind: str, generator: torch.Generator) -> None:
    grid = Grid.unit(5, 5, kind=kind)  # type: ignore[arg-type]
    names = ["transpose", "reflect-odd-x"]
    group = elements(names, grid)
    x, y = _pair(generator, 64, 5, 5)
    moved_x, moved_y = augment(x, y, grid, names, seed=0, epoch=0, index=torch.arange(64))
    used = set()
    for i in range(64):
        fits = [k for k, g in enumerate(group) if torch.equal(g.apply(x[i], ends="nearest"), moved_x[i])]
        assert len(fits) == 1 and torch.equal(group[fits[0]].apply(y[i]), moved_y[i])
        used.add(fits[0])
    assert len(used) == len(group) == 8


def test_elements_and_shifts_are_drawn_uniformly() -> None:
    grid = Grid.unit(4, 4, kind="periodic")
    marker = torch.zeros(1, 1, 4, 4)
    marker[0, 0, 0, 1] = 1
    n = 8000
    moved, _ = augment(
        marker.expand(n, 1, 4, 4), marker.expand(n, 1, 4, 4), grid, ["shift-x", "transpose"], seed=3, epoch=1,
        index=torch.arange(n),
    )  # fmt: skip
    counts = moved.sum(dim=(0, 1)).flatten()
    assert float(((counts - n / 16) ** 2 / (n / 16)).sum()) < 44.3  # chi-square, 15 degrees of freedom, p = 1e-4


def test_a_shift_is_conjugated_to_every_axis_that_the_group_reaches(generator: torch.Generator) -> None:
    x, y = _pair(generator, 32, 6, 6)
    grid = Grid.unit(6, 6, kind="periodic")
    alone, _ = augment(x, y, grid, ["shift-x"], seed=0, epoch=0, index=torch.arange(32))
    torch.testing.assert_close(alone.sum(dim=2), x.sum(dim=2))  # rows only wander along x
    both, _ = augment(x, y, grid, ["shift-x", "transpose"], seed=0, epoch=0, index=torch.arange(32))
    assert not torch.allclose(both.sum(dim=2).sort(dim=-1).values, x.sum(dim=2).sort(dim=-1).values)


def test_shift_rolls_whole_nodes_of_input_and_output_together(generator: torch.Generator) -> None:
    grid = Grid.unit(7, kind="periodic")
    x, y = _pair(generator, 50, 7)
    moved_x, moved_y = augment(x, y, grid, ["shift-x"], seed=0, epoch=0, index=torch.arange(50))
    steps = set()
    for i in range(50):
        fits = [k for k in range(7) if torch.equal(x[i].roll(k, -1), moved_x[i])]
        assert len(fits) == 1 and torch.equal(y[i].roll(fits[0], -1), moved_y[i])
        steps.add(fits[0])
    assert steps == set(range(7))


def test_no_symmetry_changes_nothing(generator: torch.Generator) -> None:
    x, y = _pair(generator, 3, 4)
    same = augment(x, y, Grid.unit(4), [], seed=0, epoch=0, index=torch.arange(3))
    assert same[0] is x and same[1] is y


def test_gradients_flow_through_augmentation(generator: torch.Generator) -> None:
    grid = Grid.unit(4, 4, kind="periodic")
    x = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)

    def moved(t: torch.Tensor) -> torch.Tensor:
        return augment(t, t.detach(), grid, ["transpose", "shift-x"], seed=0, epoch=0, index=torch.arange(3))[0]

    assert torch.autograd.gradcheck(moved, x)


def test_names_follow_the_axes_of_the_grid() -> None:
    grid = Grid.unit(4, 4, names=("lat", "lon"))
    assert elements(["flip-lon"], grid)[1] == Symmetry(grid, (0, 1), (False, True))
    assert len(elements(["transpose-lat-lon", "flip-lat"], grid)) == 8


def test_letters_are_positions_where_no_axis_has_such_a_name() -> None:
    grid = Grid.unit(4, 4, names=("x1", "x2"))
    assert elements(["flip-y"], grid) == elements(["flip-x2"], grid)
    assert elements(["transpose-xy"], grid) == elements(["transpose-x1-x2"], grid) == elements(["transpose"], grid)
    swapped = Grid.unit(4, 4, names=("y", "x"))
    assert elements(["flip-x"], swapped)[1].mirrored == (False, True)
    with pytest.raises(DomainError, match="no axis 'x'"):
        elements(["flip-x"], Grid.unit(4, 4, names=("r", "z")))


@pytest.mark.parametrize(
    ("name", "grid", "error", "message"),
    [
        ("flop-x", Grid.unit(4), InputError, "unknown symmetry 'flop-x'"),
        ("flip-q", Grid.unit(4, 4), DomainError, "no axis 'q'.*available: x, y"),
        ("flip", Grid.unit(4, 4), DomainError, "acts on 1 different axis"),
        ("flip-xy", Grid.unit(4, 4), DomainError, "acts on 1 different axis"),
        ("transpose", Grid.unit(4), DomainError, "acts on 2 different axes"),
        ("transpose-xx", Grid.unit(4, 4), DomainError, "acts on 2 different axes"),
        ("transpose", Grid.unit(4, 5), DomainError, r"'x' \(4 nodes.*'y' \(5 nodes"),
        ("rotate-90", Grid.unit(4, 4, kind=("left", "cell")), DomainError, "left.*cell"),
        ("transpose", Grid((Axis("x", 4), Axis("y", 4, 0.0, 2.0))), DomainError, "spacing"),
        ("shift-x", Grid.unit(4, kind="left"), DomainError, "only a periodic axis"),
        ("shift-x", Grid.unit(4, kind="closed"), DomainError, "only a periodic axis"),
    ],
)
def test_refuses(name: str, grid: Grid, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        elements([name], grid)


def test_refuses_values_off_the_grid_and_a_bare_name(generator: torch.Generator) -> None:
    x, y = _pair(generator, 3, 4)
    with pytest.raises(DomainError, match="not on the grid"):
        augment(x, y, Grid.unit(5), ["flip-x"], seed=0, epoch=0, index=torch.arange(3))
    with pytest.raises(InputError, match="2 indices"):
        augment(x, y, Grid.unit(4), ["flip-x"], seed=0, epoch=0, index=torch.arange(2))
    with pytest.raises(InputError, match="a list of names"):
        elements("flip-x", Grid.unit(4))


def test_a_mirrored_left_axis_gives_inputs_the_value_stored_nearest_to_the_upper_end() -> None:
    flip = elements(["flip-x"], Grid.unit(4, kind="left"))[1]
    values = torch.tensor([9.0, 1.0, 2.0, 3.0])
    assert flip.apply(values, ends="nearest").tolist() == [3.0, 3.0, 2.0, 1.0]
    assert flip.apply(values, ends="keep").tolist() == [9.0, 3.0, 2.0, 1.0]
    for kind in ("closed", "cell", "periodic"):
        other = elements(["flip-x"], Grid.unit(4, kind=kind))[1]  # type: ignore[arg-type]
        assert torch.equal(other.apply(values, ends="nearest"), other.apply(values))
