r"""Black-box multigrid: prolongation that follows any operator of 3^d links, and the coarse operator P' A P it makes.

The coarse grid holds the cells whose indices are all even, as points. A cell between two coarse points takes from them
what makes its own equation hold, once the operator has been summed up across the axes on which the cell is even: with
the sum C of the entries of A whose offsets agree on the odd axes,

.. math:: (P e)_i = -\frac{1}{C_0} \sum_{o \neq 0} C_o\, (P e)_{i+o},

first for cells with one odd index, which lie between two coarse points, then for those with more, which lie between
cells that have their weights already. Where :math:`C_0 \le 0`, as it can be on coarse grids, the neighbours share by
the magnitude of their entries, so that constants stay constants. The entries of A may jump by orders of magnitude:
what counts is that along a line the flux stays the same.

The weights are kept by columns of P, ``(batch, 3^d - 1, *coarse)``: what a coarse point I gives to each of the cells
2I + o around it, with the offsets o of :func:`columns` in order; to the cell 2I it gives its value. An axis with an
even number of cells goes around, on one with an odd number nothing lies beyond the ends.

P' A P couples every coarse point to the 3^d - 1 around it, whatever A does; see
:func:`~sciops.kernels.stencil.offsets`. On a periodic axis the number of cells has to be even.

References: J. Dendy, "Black box multigrid", J. Comput. Phys. 48, 1982; R. Alcouffe, A. Brandt, J. Dendy, J. Painter,
"The multi-grid method for the diffusion equation with strongly discontinuous coefficients", SIAM J. Sci. Stat. Comput.
2, 1981.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import ALL_FLOATS, Kernel, Path, saved_arguments
from sciops.kernels.stencil import _apply_reference, offsets, require_operator, require_shape
from sciops.kernels.transfer import coarse_shape

if TYPE_CHECKING:
    from jaxtyping import Float


def columns(d: int) -> list[tuple[int, ...]]:
    """The offsets of the cells to which a coarse point gives something beside its own.

    Examples
    --------
    >>> columns(1), len(columns(3))
    ([(-1,), (1,)], 26)
    """
    return [o for o in itertools.product((-1, 0, 1), repeat=d) if any(o)]


def around(
    x: Float[Tensor, "batch channel *space"], *, centre: bool = False
) -> Float[Tensor, "batch channel column *coarse"]:
    """The values at the cells 2I + o around every coarse point, zero beyond the ends.

    Parameters
    ----------
    x
        Fields on the cells.
    centre
        Whether to give each of these cells the value at 2I instead.

    Returns
    -------
    Tensor
        One value for each offset of :func:`columns`. Differentiable.

    Examples
    --------
    >>> around(torch.tensor([[[1.0, 2.0, 3.0]]])).tolist()
    [[[[0.0, 2.0], [2.0, 0.0]]]]
    """
    d = x.ndim - 2
    if centre:
        own = cells_at(x, (0,) * d)[:, :, None]
        return own.expand(*own.shape[:2], 3**d - 1, *own.shape[3:])
    return torch.stack([cells_at(x, o) for o in columns(d)], 2)


def blackbox_prolong(
    coarse: Float[Tensor, "batch rhs *coarse"],
    weights: Float[Tensor, "batch column *coarse"],
    space: Sequence[int],
    u: Float[Tensor, "batch rhs *space"] | None = None,
) -> Float[Tensor, "batch rhs *space"]:
    """P e, or u + P e.

    Parameters
    ----------
    coarse
        e, on the coarse points.
    weights
        As of :func:`blackbox_weights`; a batch of 1 serves any batch of fields.
    space
        The numbers of fine cells.
    u
        What to add to, if anything.

    Returns
    -------
    Tensor
        On the cells. Differentiable in all tensors to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> weights = torch.full((1, 2, 2), 0.5)
    >>> blackbox_prolong(torch.tensor([[[1.0, 3.0]]]), weights, [3]).tolist()
    [[[1.0, 2.0, 3.0]]]
    """
    require_columns(weights, coarse.shape[0], space)
    require_shape("coarse field", coarse, (*coarse.shape[:2], *coarse_shape(space)))
    if u is not None:
        require_shape("field", u, (*coarse.shape[:2], *space))
    y: Tensor = _prolong(coarse, weights, u, list(space))
    return y


def blackbox_restrict(
    r: Float[Tensor, "batch rhs *space"], weights: Float[Tensor, "batch column *coarse"]
) -> Float[Tensor, "batch rhs *coarse"]:
    """P' r, the adjoint of :func:`blackbox_prolong`.

    Parameters
    ----------
    r
        Fields on the cells.
    weights
        As of :func:`blackbox_weights`; a batch of 1 serves any batch of fields.

    Returns
    -------
    Tensor
        On the coarse points. Differentiable in all tensors to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> weights = torch.tensor([[[0.0, 0.5], [0.5, 0.0]]])
    >>> blackbox_restrict(torch.tensor([[[1.0, 2.0, 3.0]]]), weights).tolist()
    [[[2.0, 4.0]]]
    """
    require_columns(weights, r.shape[0], r.shape[2:])
    y: Tensor = _restrict(r, weights)
    return y


def halves_evenly(coupling: Float[Tensor, "batch link *space"]) -> bool:
    """Whether every axis that goes around has an even number of cells.

    Examples
    --------
    >>> halves_evenly(torch.ones(1, 1, 4)), halves_evenly(torch.ones(1, 1, 5))
    (True, False)
    """
    return _odd_periodic(coupling) is None


def _odd_periodic(coupling: Tensor) -> int | None:
    """The first axis that goes around with an odd number of cells."""
    d = coupling.ndim - 2
    for a, n in enumerate(coupling.shape[2:]):
        for number, offset in enumerate(offsets(d, coupling.shape[1])):
            if n % 2 and offset[a]:
                end = coupling[:, number].select(a + 1, -1 if offset[a] > 0 else 0)
                if bool((end != 0).any()):
                    return a
    return None


def _require_even(coupling: Tensor) -> None:
    axis = _odd_periodic(coupling)
    if axis is not None:
        raise InputError(
            f"axis {axis} is periodic with {coupling.shape[axis + 2]} cells; every other one makes a coarse axis only "
            f"of an even number"
        )


def require_columns(weights: Tensor, batch: int, space: Sequence[int]) -> None:
    """Raise InputError unless weights of prolongation fit a grid and a batch of operators."""
    d = len(space)
    if not 1 <= d <= 3:
        raise InputError(f"a grid of {d} axes; one, two or three are expected")
    expected = (3**d - 1, *coarse_shape(space))
    if weights.shape[1:] != expected or weights.shape[0] not in (1, batch):
        raise InputError(
            f"the weights have shape {tuple(weights.shape)}, expected (1 or {batch}, {', '.join(map(str, expected))}) "
            f"for {' x '.join(map(str, space))} cells"
        )


def blackbox_weights(
    diagonal: Float[Tensor, " batch *space"], coupling: Float[Tensor, "batch link *space"]
) -> Float[Tensor, "batch column *coarse"]:
    """The weights of prolongation by the equations of the operator; see the module.

    Parameters
    ----------
    diagonal, coupling
        D and w of :mod:`sciops.kernels.stencil`, along the axes or to all cells around.

    Returns
    -------
    Tensor
        For each offset of :func:`columns` what the coarse points give to the cells there; zero where an equation says
        nothing, and beyond the ends. Differentiable.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or an odd number of cells on a periodic axis.

    Examples
    --------
    >>> coupling = torch.tensor([[[1.0, 3.0, 1.0, 0.0]]])
    >>> blackbox_weights(torch.tensor([[2.0, 4.0, 4.0, 2.0]]), coupling)[0, :, 1].tolist()
    [0.75, 0.5]
    """
    require_operator(diagonal, coupling, diagonal[:, None])
    _require_even(coupling)
    weights: Tensor = _weights(diagonal, coupling)
    return weights


def galerkin(
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    weights: Float[Tensor, "batch column *coarse"],
) -> tuple[Float[Tensor, " batch *coarse"], Float[Tensor, "batch link *coarse"]]:
    """The coarse operator P' A P, which couples every coarse point to all those around it.

    Parameters
    ----------
    diagonal, coupling
        D and w of :mod:`sciops.kernels.stencil`, along the axes or to all cells around.
    weights
        As of :func:`blackbox_weights`, one for each operator.

    Returns
    -------
    tuple of Tensor
        The diagonal and the (3^d - 1)/2 couplings on the grid of :func:`~sciops.kernels.transfer.coarse_shape`.
        Differentiable.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or an odd number of cells on a periodic axis.

    Examples
    --------
    >>> operator = torch.full((1, 5), 2.0), torch.tensor([[[1.0, 1.0, 1.0, 1.0, 0.0]]])
    >>> diagonal, coupling = galerkin(*operator, blackbox_weights(*operator))
    >>> diagonal.tolist(), coupling.tolist()
    ([[1.5, 1.0, 1.5]], [[[0.5, 0.5, 0.0]]])
    """
    require_operator(diagonal, coupling, diagonal[:, None])
    _require_even(coupling)
    require_columns(weights, diagonal.shape[0], diagonal.shape[1:])
    require_shape("weights", weights, (diagonal.shape[0], *weights.shape[1:]))
    coarse, couplings = _galerkin(diagonal, coupling, weights)
    return coarse, couplings


def _weights_reference(diagonal: Tensor, coupling: Tensor) -> Tensor:
    d, axes = diagonal.ndim - 1, tuple(range(1, diagonal.ndim))
    entries = {(0,) * d: diagonal}
    for a, o in enumerate(offsets(d, coupling.shape[1])):
        entries[o] = -coupling[:, a]
        entries[tuple(-x for x in o)] = -coupling[:, a].roll(o, axes)
    odd = [
        (torch.arange(n, device=diagonal.device) % 2 == 1).view(-1, *(1,) * (d - a - 1)).expand(diagonal.shape[1:])
        for a, n in enumerate(diagonal.shape[1:])
    ]
    zero = torch.zeros_like(diagonal)
    weights = {corner: zero for corner in itertools.product((0, 1), repeat=d)}
    even = torch.stack([~o for o in odd]).all(0)
    weights[(0,) * d] = even.to(diagonal.dtype).expand_as(diagonal)
    for count in range(1, d + 1):
        for along in itertools.combinations(range(d), count):
            collapsed: dict[tuple[int, ...], Tensor] = {}
            for o, entry in entries.items():
                key = tuple(x if a in along else 0 for a, x in enumerate(o))
                collapsed[key] = collapsed.get(key, zero) + entry
            centre = collapsed.pop((0,) * d)
            here = torch.stack([odd[a] if a in along else ~odd[a] for a in range(d)]).all(0)
            # a coarse operator may leave nothing positive here: then the neighbours share by magnitude
            lost = centre <= 0
            collapsed = {o: torch.where(lost, -entry.abs(), entry) for o, entry in collapsed.items()}
            centre = torch.where(lost, -sum(collapsed.values(), start=zero), centre)
            here = here & (centre > 0)
            share = 1 / torch.where(here, centre, 1)
            for corner in itertools.product((0, 1), repeat=d):
                if any(bit and a not in along for a, bit in enumerate(corner)):
                    continue
                total = zero
                for o, entry in collapsed.items():
                    # a neighbour stands on the side of the corner, or beside the cell and reaches there itself
                    if any(x and (x > 0) != bool(bit) for x, bit in zip(o, corner, strict=True)):
                        continue
                    reached = tuple(0 if x else bit for x, bit in zip(o, corner, strict=True))
                    total = total - entry * weights[reached].roll([-x for x in o], axes)
                weights[corner] = torch.where(here, total * share, weights[corner])
    # the cell below a coarse point takes it as its upper one, the cell above as its lower one
    found = []
    for o in columns(d):
        column = weights[tuple(int(x < 0) for x in o)]
        found.append(cells_at(column[:, None], o)[:, 0])
    return torch.stack(found, 1)


def cells_at(x: Tensor, offset: tuple[int, ...]) -> Tensor:
    """The values at the cells 2I + o."""
    for a, o in enumerate(offset):
        index, there = _beside(x.shape[a + 2], o, x)
        x = x.index_select(a + 2, index) * there.view(-1, *(1,) * (x.ndim - a - 3))
    return x


def _place(x: Tensor, offset: tuple[int, ...], space: Sequence[int]) -> Tensor:
    """The adjoint of :func:`cells_at`."""
    for a, (o, n) in enumerate(zip(offset, space, strict=True)):
        index, there = _beside(n, o, x)
        x = x * there.view(-1, *(1,) * (x.ndim - a - 3))
        x = x.new_zeros(*x.shape[: a + 2], n, *x.shape[a + 3 :]).index_add(a + 2, index, x)
    return x


def _beside(n: int, o: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Along an axis, which cells 2I + o are, and one where they are there."""
    index = torch.arange(0, n, 2, device=like.device) + o
    there = torch.ones_like(index) if n % 2 == 0 else (index >= 0) & (index < n)
    return index % n, there.to(like.dtype)


def _prolong_reference(coarse: Tensor, weights: Tensor, u: Tensor | None, space: list[int]) -> Tensor:
    d = len(space)
    y = _place(coarse, (0,) * d, space)
    for number, o in enumerate(columns(d)):
        y = y + _place(weights[:, None, number] * coarse, o, space)
    return y if u is None else u + y


def _restrict_reference(r: Tensor, weights: Tensor) -> Tensor:
    d = r.ndim - 2
    y = cells_at(r, (0,) * d)
    for number, o in enumerate(columns(d)):
        y = y + weights[:, None, number] * cells_at(r, o)
    return y


def _slopes_reference(fine: Tensor, coarse: Tensor, shared: bool) -> Tensor:
    over = (0, 1) if shared else (1,)
    found = [(coarse * cells_at(fine, o)).sum(over) for o in columns(fine.ndim - 2)]
    stacked = torch.stack(found, 0 if shared else 1)
    return stacked[None] if shared else stacked


def _prolong_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    coarse, weights, u, space = inputs
    ctx.save_for_backward(coarse, weights)
    ctx.space, ctx.added = space, u is not None


def _prolong_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    coarse, weights = ctx.saved_tensors
    in_coarse = _restrict(g, weights) if ctx.needs_input_grad[0] else None
    in_weights = _slopes(g, coarse, weights.shape[0] == 1) if ctx.needs_input_grad[1] else None
    return in_coarse, in_weights, g.clone() if ctx.added else None, None


def _restrict_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    r, weights = saved_arguments(ctx)
    in_r = _prolong(g, weights, None, list(r.shape[2:])) if ctx.needs_input_grad[0] else None
    return in_r, _slopes(r, g, weights.shape[0] == 1) if ctx.needs_input_grad[1] else None


def _slopes_backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
    fine, coarse, _ = saved_arguments(ctx)
    # <r, P e> without what the points keep: linear in r, in e and in the weights
    space = list(fine.shape[2:])
    in_fine = in_coarse = None
    if ctx.needs_input_grad[0]:
        in_fine = _prolong(coarse, weights, None, space) - _place(coarse, (0,) * len(space), space)
    if ctx.needs_input_grad[1]:
        in_coarse = _restrict(fine, weights) - cells_at(fine, (0,) * len(space))
    return in_fine, in_coarse, None


def _galerkin_reference(diagonal: Tensor, coupling: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    d, space = diagonal.ndim - 1, list(diagonal.shape[1:])
    coarse = coarse_shape(space)
    coupling = _within(coupling)
    # unit vectors of points that do not meet in any row of P' A P, many at once
    colour, colours = torch.zeros(coarse, dtype=torch.int64, device=diagonal.device), 1
    for a, n in enumerate(coarse):
        labels = _labels(n)
        label = torch.tensor(labels, device=diagonal.device)
        colour = colour * (max(labels) + 1) + label.view(-1, *(1,) * (d - a - 1))
        colours *= max(labels) + 1
    units = (colour == torch.arange(colours, device=colour.device).view(-1, *(1,) * d)).to(diagonal.dtype)[None]
    images = _prolong_reference(units.expand(diagonal.shape[0], -1, *coarse), weights, None, space)
    images = _restrict_reference(_apply_reference(diagonal, coupling, images), weights)
    batch, axes = diagonal.shape[0], tuple(range(d))
    found = []
    for o in [(0,) * d, *offsets(d, 3**d // 2)]:
        index = colour.roll([-x for x in o], axes).expand(batch, 1, *coarse)
        entry = images.gather(1, index)[:, 0]
        for a, (n, x) in enumerate(zip(coarse, o, strict=True)):
            if x and n <= 2:
                # around the end lies the same point as on this side, or the point itself
                at = torch.arange(n, device=colour.device).view(-1, *(1,) * (d - a - 1)) + x
                entry = torch.where((at >= 0) & (at < n), entry, 0)
        found.append(entry)
    return found[0], -torch.stack(found[1:], 1)


def _within(coupling: Tensor) -> Tensor:
    """Without links that lead around the ends of an odd number of cells."""
    d = coupling.ndim - 2
    kept = []
    for a, offset in enumerate(offsets(d, coupling.shape[1])):
        w = coupling[:, a]
        for axis, (o, n) in enumerate(zip(offset, coupling.shape[2:], strict=True)):
            if o and n % 2:
                at = torch.arange(n, device=w.device) + o
                w = w * ((at >= 0) & (at < n)).to(w.dtype).view(-1, *(1,) * (d - axis - 1))
        kept.append(w)
    return torch.stack(kept, 1)


def _labels(n: int) -> list[int]:
    """Small numbers for the points around an axis of which any three in a row differ."""
    if n <= 5:
        return list(range(n))
    fours = n % 3  # n is a sum of threes and fours
    return [0, 1, 2] * ((n - 4 * fours) // 3) + [0, 1, 2, 3] * fours


def _paths(name: str, cpu: str, transfer: bool = True) -> dict[str, Any]:
    found = {"cpu": Path(f"cpu.blackbox:{name}", cpu, needs="numba")}
    if transfer:
        found["triton"] = Path(f"cuda.blackbox:{name}", "one pass over memory", needs="triton", dtypes=ALL_FLOATS)
    return found


_weights = Kernel(
    "blackbox_weights",
    "(Tensor diagonal, Tensor coupling) -> Tensor",
    _weights_reference,
    **_paths("weights", "row by row, each weight once", transfer=False),
)
_galerkin = Kernel(
    "galerkin",
    "(Tensor diagonal, Tensor coupling, Tensor weights) -> (Tensor, Tensor)",
    _galerkin_reference,
    **_paths("galerkin", "row by row, without a column of zeros", transfer=False),
)
_prolong = Kernel(
    "blackbox_prolong",
    "(Tensor coarse, Tensor weights, Tensor? u, SymInt[] space) -> Tensor",
    _prolong_reference,
    **_paths("prolong", "one pass over memory, the sum included"),
    setup=_prolong_setup,
    backward=_prolong_backward,
)
_restrict = Kernel(
    "blackbox_restrict",
    "(Tensor r, Tensor weights) -> Tensor",
    _restrict_reference,
    **_paths("restrict", "one pass over memory"),
    backward=_restrict_backward,
)
_slopes = Kernel(
    "blackbox_slopes",
    "(Tensor fine, Tensor coarse, bool shared) -> Tensor",
    _slopes_reference,
    **_paths("slopes", "one pass over memory"),
    backward=_slopes_backward,
)
