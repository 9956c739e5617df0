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

The components of vectors and tensors turn with the axes: where `TensorChannels` say which channels they are, the
moved gradient of u is the gradient of the moved u. (``reflect-odd`` changes their sign once more, as that of all.)

What mirroring does to node i of an axis of N nodes depends on its kind. Closed, cell and stretched: node N-1-i; a
stretched axis must have nodes that are symmetric about its middle, and so must a latitude. Periodic: node
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

from sciops.data.domains.domain import Grid, is_latitude
from sciops.data.functions.sampling import stream_seed
from sciops.data.functions.symmetry_map import Symmetry, check_shape
from sciops.data.functions.tensors import TensorChannels
from sciops.errors import DomainError, InputError, did_you_mean
from sciops.registry import Registry

__all__ = ["Draw", "Symmetry", "augment", "draw", "elements", "families"]


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
        Names; see `sciops.data.functions.symmetry`.
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


@dataclass(frozen=True)
class Draw:
    """Random symmetries of the items of a batch; see `draw`.

    Parameters
    ----------
    grid
        The grid.
    members
        Symmetries, and the items that each of them moves.
    shifts
        Axes that are shifted, and from where each node of each item then comes: (batch, size).
    """

    grid: Grid
    members: tuple[tuple[Symmetry, Int64[Tensor, " rows"]], ...]
    shifts: tuple[tuple[int, Int64[Tensor, "batch size"]], ...]

    def apply(
        self,
        t: Float[Tensor, "batch channel *space"],
        *,
        ends: Literal["keep", "nearest"] = "keep",
        tensors: Sequence[TensorChannels] = (),
    ) -> Float[Tensor, "batch channel *space"]:
        """Move fields; see `Symmetry.apply`."""
        return self._shifted(self._each(t, lambda element, part: element.apply(part, ends=ends, tensors=tensors)))

    def apply_mask(self, mask: Tensor) -> Tensor:
        """Move masks (batch, 1, *space)."""
        return self._shifted(self._each(mask, lambda element, part: element.apply_mask(part)))

    def turn(self, parameters: Float[Tensor, "batch p"], tensors: Sequence[TensorChannels]) -> Float[Tensor, "batch p"]:
        """Turn the vectors and tensors among parameters."""
        return self._each(parameters, lambda element, part: element.turn(part, tensors)) if tensors else parameters

    def _each(self, t: Tensor, move: Callable[[Symmetry, Tensor], Tensor]) -> Tensor:
        if not self.members:
            return t
        moved = torch.empty_like(t)
        for element, rows in self.members:
            rows = rows.to(t.device)
            moved[rows] = move(element, t[rows])
        return moved

    def _shifted(self, t: Tensor) -> Tensor:
        for axis, source in self.shifts:
            t = _gathered(t, source, axis)
        return t


def draw(grid: Grid, symmetries: Sequence[str], *, seed: int, epoch: int, index: Int64[Tensor, " batch"]) -> Draw:
    """Random elements of the group that the named symmetries generate, one for each item of a batch.

    Parameters
    ----------
    grid
        The grid of the fields to move.
    symmetries
        Names; see `sciops.data.functions.symmetry`. Shifts are drawn uniformly over the nodes of an axis.
    seed, epoch, index
        The element of item i is uniformly distributed and a pure function of (seed, epoch, index[i]): not of the batch
        it is in, its place there, or the process.

    Raises
    ------
    InputError
        If a name is unknown.
    DomainError
        If the grid does not have a symmetry.

    Examples
    --------
    >>> drawn = draw(Grid.unit(8, 8), ["flip-x"], seed=0, epoch=0, index=torch.arange(4))
    >>> drawn.apply(torch.rand(4, 1, 8, 8)).shape
    torch.Size([4, 1, 8, 8])
    """
    group, shifted = _generate(symmetries, grid)
    counters = index.detach().cpu().numpy().astype(np.uint64)
    members: list[tuple[Symmetry, Tensor]] = []
    if len(group) > 1:
        chosen = (_random_bits(counters, seed, epoch, "element") % np.uint64(len(group))).astype(np.int64)
        members = [(group[g], torch.from_numpy(np.flatnonzero(chosen == g))) for g in np.unique(chosen)]
    shifts = []
    for axis in shifted:
        size = grid.shape[axis]
        steps = _random_bits(counters, seed, epoch, f"shift {axis}") % np.uint64(size)
        shifts.append((axis, (torch.arange(size) - torch.from_numpy(steps.astype(np.int64))[:, None]) % size))
    return Draw(grid, tuple(members), tuple(shifts))


def augment(
    x: Float[Tensor, "batch in_channel *space"],
    y: Float[Tensor, "batch out_channel *space"],
    grid: Grid,
    symmetries: Sequence[str],
    *,
    seed: int,
    epoch: int,
    index: Int64[Tensor, " batch"],
    x_tensors: Sequence[TensorChannels] = (),
    y_tensors: Sequence[TensorChannels] = (),
) -> tuple[Tensor, Tensor]:
    """Move each pair (x, y) by a random element of the group that the named symmetries generate.

    Parameters
    ----------
    x, y
        Inputs and outputs on `grid`.
    grid, symmetries, seed, epoch, index
        As in `draw`, which also moves masks and turns vectors among parameters.
    x_tensors, y_tensors
        Channels that are components of vectors and tensors, such as `FunctionDataset.input_tensors`.

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
    if x.shape[0] != len(index) or y.shape[0] != len(index):
        raise InputError(f"x has {x.shape[0]} items, y has {y.shape[0]}, and there are {len(index)} indices")
    check_shape(x, grid)
    check_shape(y, grid)
    drawn = draw(grid, symmetries, seed=seed, epoch=epoch, index=index)
    return drawn.apply(x, ends="nearest", tensors=x_tensors), drawn.apply(y, tensors=y_tensors)


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
    line = grid.axes[axis]
    nodes = line.coordinates()
    own = not line.uniform or (grid.metric == "sphere" and is_latitude(line))
    middle = 0.0 if grid.metric == "sphere" and is_latitude(line) else (line.lower + line.upper) / 2
    ends = abs(line.lower + line.upper - 2 * middle)
    off = float((nodes + nodes.flip(0) - 2 * middle).abs().max())
    if own and max(off, ends) > 1e-6 * line.extent:
        raise DomainError(
            f"axis {line.name!r} ({line.kind}, [{line.lower:g}, {line.upper:g}]) is not its own mirror image: "
            f"a node is {off:.3g} off about {middle:g}; leave the symmetry out, or interpolate to a symmetric axis"
        )
    return Symmetry(grid, tuple(range(grid.ndim)), tuple(other == axis for other in range(grid.ndim)), sign)


def _exchange(grid: Grid, axes: tuple[int, ...]) -> Symmetry:
    order = list(range(grid.ndim))
    order[axes[0]], order[axes[1]] = axes[1], axes[0]
    return Symmetry(grid, tuple(order), (False,) * grid.ndim)


def _alike(grid: Grid, axes: tuple[int, ...], family: str) -> tuple[int, ...]:
    first, second = (grid.axes[axis] for axis in _expect(grid, axes, 2, family))
    if grid.metric == "sphere" and (is_latitude(first) or is_latitude(second)):
        raise DomainError(
            f"symmetry {family!r} exchanges {first.name!r} and {second.name!r}, which is none of a sphere; leave it out"
        )
    alike = first.size == second.size and first.kind == second.kind
    if alike and first.uniform:
        alike = abs(first.spacing - second.spacing) <= 1e-6 * abs(first.spacing)
    elif alike:
        lines = [axis.edges() - axis.lower for axis in (first, second)]
        alike = float((lines[0] - lines[1]).abs().max()) <= 1e-6 * first.extent
    if not alike:
        described = [
            f"{axis.name!r} ({axis.size} nodes, {axis.kind}, "
            + (f"spacing {axis.spacing:g})" if axis.uniform else f"[{axis.lower:g}, {axis.upper:g}])")
            for axis in (first, second)
        ]
        raise DomainError(f"symmetry {family!r} needs two axes that are alike, got {described[0]} and {described[1]}")
    return axes


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
