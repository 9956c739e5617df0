"""Symmetries that a problem is declared to have: maps of the grid onto itself, for augmentation and averaging.

A symmetry moves input and output alike, so that ``y`` solves the problem for ``x`` exactly if the moved ``y`` solves it
for the moved ``x``. Names are a family and the axes of the grid it acts on:

===================  ==================================================================================
``flip-x``           mirror the axis: ``u(x) -> u(-x)``
``reflect-odd-x``    mirror the axis and the sign of every channel: ``u(x) -> -u(-x)``, as Burgers' equation allows
``transpose-xy``     exchange two axes that are alike; ``transpose`` alone means the first two
``rotate-90-xy``     a quarter turn of two axes that are alike; ``rotate-90`` alone means the first two
``shift-x``          roll a periodic axis by any number of nodes
===================  ==================================================================================

Axes of longer names are joined by dashes, as in ``transpose-lat-lon``; on a grid of one axis its name may be left out.
Where no axis is called x, y or z, these letters stand for the first, second and third axis.

What mirroring does to node i of an axis of N nodes depends on its kind. Closed and cell: node N-1-i. Periodic: node
(N-i) mod N. Left: nodes 1 ... N-1 go to N-i; the mirror image of node 0 is node N, which is not stored, so node 0
keeps its value, which loses nothing where the values at both ends agree, as those of outputs under a Dirichlet
condition do; inputs take the value stored nearest to node N instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from sciops.data.domain import Grid
from sciops.data.sampling import stream_seed
from sciops.errors import DomainError, InputError, did_you_mean
from sciops.registry import Registry


@dataclass(frozen=True)
class Symmetry:
    """A map of a grid onto itself: exchange axes, then mirror some, then perhaps change the sign.

    ``apply(t)[..., i_0, i_1, ...] = sign * t'[..., m_0(i_0), m_1(i_1), ...]``. Axis d of t' is axis ``axes[d]`` of
    t, and ``m_d(i)`` is the mirrored index where ``mirrored[d]``, else i.

    Parameters
    ----------
    grid
        The grid.
    axes
        Permutation of the axes.
    mirrored
        Which axes are mirrored afterwards.
    sign
        1, or -1 to change the sign of the values.

    Examples
    --------
    >>> flip = Symmetry(Grid.unit(4, kind="left"), (0,), (True,))
    >>> flip.apply(torch.tensor([0.0, 1.0, 2.0, 3.0])).tolist()
    [0.0, 3.0, 2.0, 1.0]
    >>> flip @ flip == flip.identity
    True
    """

    grid: Grid
    axes: tuple[int, ...]
    mirrored: tuple[bool, ...]
    sign: int = 1

    @property
    def identity(self) -> Symmetry:
        """The map that changes nothing."""
        return Symmetry(self.grid, tuple(range(self.grid.ndim)), (False,) * self.grid.ndim)

    @property
    def inverse(self) -> Symmetry:
        """The map that undoes this one."""
        axes = tuple(int(axis) for axis in np.argsort(self.axes))
        return Symmetry(self.grid, axes, tuple(self.mirrored[axis] for axis in axes), self.sign)

    def __matmul__(self, other: Symmetry) -> Symmetry:
        """First `other`, then this map."""
        axes = tuple(other.axes[axis] for axis in self.axes)
        mirrored = tuple(mine != other.mirrored[axis] for mine, axis in zip(self.mirrored, self.axes, strict=True))
        return Symmetry(self.grid, axes, mirrored, self.sign * other.sign)

    def apply(
        self, t: Float[Tensor, "*batch *space"], *, ends: Literal["keep", "nearest"] = "keep"
    ) -> Float[Tensor, "*batch *space"]:
        """The moved values; any dimensions before those of space.

        Parameters
        ----------
        t
            (*batch, *space).
        ends
            What node 0 of a mirrored left axis gets: ``"keep"`` its own value, right for a field with equal values at
            both ends, such as a solution under a Dirichlet condition; ``"nearest"`` the value stored nearest to its
            mirror image, right for a field that is free there, such as a coefficient.

        Raises
        ------
        DomainError
            If the last dimensions are not the shape of the grid.
        """
        _check_shape(t, self.grid)
        lead = t.ndim - self.grid.ndim
        moved = t.permute(*range(lead), *(lead + axis for axis in self.axes))
        for axis, kind in enumerate(self.grid.kinds):
            if self.mirrored[axis]:
                moved = moved.flip(lead + axis)
                if kind in ("periodic", "left"):
                    moved = moved.roll(1, lead + axis)
                if kind == "left" and ends == "nearest" and self.grid.shape[axis] > 1:
                    inner = moved.narrow(lead + axis, 1, self.grid.shape[axis] - 1)
                    moved = torch.cat([inner.narrow(lead + axis, 0, 1), inner], lead + axis)
        return moved if self.sign == 1 else -moved


Family = Callable[[Grid, tuple[int, ...]], Symmetry | None]
"""Makes the symmetry of some axes of a grid; None for a shift, which is not one map but as many as there are nodes."""

families: Registry[Family] = Registry("symmetry")


@families.register("flip")
def _flip(grid: Grid, axes: tuple[int, ...]) -> Symmetry:
    return _mirror(grid, _expect(grid, axes, 1, "flip")[0], 1)


@families.register("reflect-odd")
def _reflect_odd(grid: Grid, axes: tuple[int, ...]) -> Symmetry:
    return _mirror(grid, _expect(grid, axes, 1, "reflect-odd")[0], -1)


@families.register("transpose")
def _transpose(grid: Grid, axes: tuple[int, ...]) -> Symmetry:
    return _exchange(grid, _alike(grid, axes, "transpose"))


@families.register("rotate-90")
def _rotate(grid: Grid, axes: tuple[int, ...]) -> Symmetry:
    return _mirror(grid, axes[0], 1) @ _exchange(grid, _alike(grid, axes, "rotate-90"))


@families.register("shift")
def _shift(grid: Grid, axes: tuple[int, ...]) -> None:
    (axis,) = _expect(grid, axes, 1, "shift")
    if grid.kinds[axis] != "periodic":
        raise DomainError(
            f"shift-{grid.names[axis]}: axis {grid.names[axis]!r} is {grid.kinds[axis]}; only a periodic axis can be "
            f"shifted"
        )


def elements(symmetries: Sequence[str], grid: Grid) -> list[Symmetry]:
    """The group that the named symmetries generate, the identity first; shifts are left out.

    Averaging a model over the group, ``mean of g.inverse.apply(model(g.apply(x)))``, makes it exactly equivariant.

    Parameters
    ----------
    symmetries
        Names; see `sciops.data.symmetry`.
    grid
        The grid they act on.

    Returns
    -------
    list of Symmetry
        Closed under composition and inverse, each map once, in an order that depends only on the arguments.

    Raises
    ------
    InputError
        If a name is unknown.
    DomainError
        If the grid has no such axis, or the symmetry does not map it onto itself.

    Examples
    --------
    >>> len(elements(["transpose", "flip-x"], Grid.unit(8, 8)))
    8
    """
    return _generate(symmetries, grid)[0]


def augment(
    x: Float[Tensor, "batch in_channel *space"],
    y: Float[Tensor, "batch out_channel *space"],
    grid: Grid,
    symmetries: Sequence[str],
    *,
    seed: int,
    epoch: int,
    index: Int64[Tensor, " batch"],
) -> tuple[Tensor, Tensor]:
    """Move each pair (x, y) by a random element of the group that the named symmetries generate.

    Parameters
    ----------
    x, y
        Inputs and outputs on `grid`.
    grid
        The grid.
    symmetries
        Names; see `sciops.data.symmetry`. Shifts are drawn uniformly over the nodes of an axis.
    seed, epoch, index
        The element of item i is uniformly distributed and a pure function of (seed, epoch, index[i]): not of the batch
        it is in, its place there, or the process.

    Returns
    -------
    tuple of Tensor
        New x and y of the same shapes; the arguments themselves if there is nothing to do.

    Raises
    ------
    InputError
        If a name is unknown, or there are not as many indices as items.
    DomainError
        If x or y is not on the grid, or the grid does not have a symmetry.

    Examples
    --------
    >>> x = torch.rand(4, 1, 8, 8)
    >>> moved, same = augment(x, x, Grid.unit(8, 8), ["flip-x"], seed=0, epoch=0, index=torch.arange(4))
    >>> bool((moved == same).all())
    True
    """
    group, shifted = _generate(symmetries, grid)
    if x.shape[0] != len(index) or y.shape[0] != len(index):
        raise InputError(f"x has {x.shape[0]} items, y has {y.shape[0]}, and there are {len(index)} indices")
    _check_shape(x, grid)
    _check_shape(y, grid)
    counters = index.detach().cpu().numpy().astype(np.uint64)
    if len(group) > 1:
        chosen = (_random_bits(counters, seed, epoch, "element") % np.uint64(len(group))).astype(np.int64)
        members = [(group[g], torch.from_numpy(np.flatnonzero(chosen == g)).to(x.device)) for g in np.unique(chosen)]
        x, y = _moved(x, members, ends="nearest"), _moved(y, members, ends="keep")
    for axis in shifted:
        size = grid.shape[axis]
        steps = _random_bits(counters, seed, epoch, f"shift {axis}") % np.uint64(size)
        source = (torch.arange(size) - torch.from_numpy(steps.astype(np.int64))[:, None]) % size
        x, y = _gathered(x, source, axis), _gathered(y, source, axis)
    return x, y


def _generate(symmetries: Sequence[str], grid: Grid) -> tuple[list[Symmetry], list[int]]:
    """All elements without shifts, and the axes that are shifted: with one, every axis that an element maps it to."""
    if isinstance(symmetries, str):
        raise InputError(f"symmetries is {symmetries!r}; expected a list of names, such as [{symmetries!r}]")
    generators: list[Symmetry] = []
    shifts: set[int] = set()
    for name in symmetries:
        family, axes = _parse(name, grid)
        generator = families[family](grid, axes)
        if generator is None:
            shifts.add(axes[0])
        else:
            generators.append(generator)
    group = [Symmetry(grid, tuple(range(grid.ndim)), (False,) * grid.ndim)]
    known = {(group[0].axes, group[0].mirrored, group[0].sign)}
    for member in group:  # grows while it is walked: breadth first from the identity
        for generator in generators:
            new = generator @ member
            key = (new.axes, new.mirrored, new.sign)
            if key not in known:
                known.add(key)
                group.append(new)
    shifted = sorted({member.axes.index(axis) for member in group for axis in shifts})
    return group, shifted


def _parse(name: str, grid: Grid) -> tuple[str, tuple[int, ...]]:
    family = next((family for family in families if name == family or name.startswith(f"{family}-")), None)
    if family is None:
        raise InputError(f"unknown symmetry {name!r}{did_you_mean(name, families)}")
    text = name[len(family) + 1 :]
    if not text:
        return family, tuple(range(min(2, grid.ndim)))
    names = [text] if text in grid.names else text.split("-") if "-" in text else list(text)
    positions = dict(zip("xyz", range(grid.ndim), strict=False)) if not set("xyz") & set(grid.names) else {}
    positions |= {axis: number for number, axis in enumerate(grid.names)}
    for axis in names:
        if axis not in positions:
            raise DomainError(f"symmetry {name!r}: the grid has no axis {axis!r}{did_you_mean(axis, grid.names)}")
    return family, tuple(positions[axis] for axis in names)


def _expect(grid: Grid, axes: tuple[int, ...], count: int, family: str) -> tuple[int, ...]:
    if len(set(axes)) != count or len(axes) != count:
        named = ", ".join(grid.names[axis] for axis in axes)
        raise DomainError(
            f"symmetry {family!r} acts on {count} different ax{'es' if count > 1 else 'is'}, got {named}; "
            f"name {'them' if count > 1 else 'it'}, such as {family}-{''.join('xyz'[:count])}"
        )
    return axes


def _mirror(grid: Grid, axis: int, sign: int) -> Symmetry:
    return Symmetry(grid, tuple(range(grid.ndim)), tuple(other == axis for other in range(grid.ndim)), sign)


def _exchange(grid: Grid, axes: tuple[int, ...]) -> Symmetry:
    order = list(range(grid.ndim))
    order[axes[0]], order[axes[1]] = axes[1], axes[0]
    return Symmetry(grid, tuple(order), (False,) * grid.ndim)


def _alike(grid: Grid, axes: tuple[int, ...], family: str) -> tuple[int, ...]:
    first, second = (grid.axes[axis] for axis in _expect(grid, axes, 2, family))
    equal_spacing = abs(first.spacing - second.spacing) <= 1e-6 * abs(first.spacing)
    if first.size != second.size or first.kind != second.kind or not equal_spacing:
        described = [
            f"{axis.name!r} ({axis.size} nodes, {axis.kind}, spacing {axis.spacing:g})" for axis in (first, second)
        ]
        raise DomainError(f"symmetry {family!r} needs two axes that are alike, got {described[0]} and {described[1]}")
    return axes


def _check_shape(t: Tensor, grid: Grid) -> None:
    if tuple(t.shape[-grid.ndim :]) != grid.shape:
        raise DomainError(f"values of shape {tuple(t.shape)} are not on the grid of shape {grid.shape}")


def _moved(t: Tensor, members: Sequence[tuple[Symmetry, Tensor]], *, ends: Literal["keep", "nearest"]) -> Tensor:
    moved = torch.empty_like(t)
    for element, rows in members:
        moved[rows] = element.apply(t[rows], ends=ends)
    return moved


def _gathered(t: Tensor, source: Tensor, axis: int) -> Tensor:
    shape = [1] * t.ndim
    shape[0], shape[2 + axis] = source.shape
    return torch.take_along_dim(t, source.to(t.device).view(shape), dim=2 + axis)


def _random_bits(counters: NDArray[np.uint64], seed: int, epoch: int, stream: str) -> NDArray[np.uint64]:
    """64 random bits for every counter, by SplitMix64 (Steele, Lea, Flood 2014) from a start of its own per stream."""
    z = counters * np.uint64(0x9E3779B97F4A7C15) + np.uint64(stream_seed(stream, seed, epoch))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
