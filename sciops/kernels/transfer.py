r"""Transfers between cell-centred grids whose cells differ by a factor of two, and the coarse diffusion operator.

A coarse cell I holds the cells 2I and 2I + 1 along every axis; where their number is odd, the last one holds one.
Prolongation gives each fine cell a weighted sum of its own coarse cell and of the coarse cells nearest to it along some
axes (below for the first of a pair, above for the second, around the ends):

.. math:: (P e)_i = \sum_m W_{m,i}\, e_{I_m(i)},

and restriction is its adjoint, :math:`(P' r)_I = \sum_{m,i:\, I_m(i)=I} W_{m,i}\, r_i`. There are three forms of W:

- none: constant, (P e)_i = e_I, and P' the sum over the cells of a coarse cell;
- ``(2, n_1 + ... + n_d)``: a product over the axes; for each axis the weight of the own cell in the first row and
  that of its neighbour in the second (:func:`linear_weights`);
- ``(batch, m, *space)``: any weights, operator-dependent (:func:`interpolation_weights`) or learned, with m = d + 1
  (the own cell, then the neighbour along each axis) or m = 2^d (bit a of m says whether axis a takes the neighbour).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import ALL_FLOATS, Kernel, Path, saved_arguments, vector_jacobian
from sciops.kernels.interpolation import interpolation_weights, linear_weights
from sciops.kernels.stencil import _apply_reference, require_axes, require_cells, require_operator

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["coarse_shape", "coarsen", "interpolation_weights", "linear_weights", "prolong", "prolong_add", "restrict"]


def coarse_shape(space: Sequence[int]) -> tuple[int, ...]:
    """The numbers of coarse cells along the axes.

    Examples
    --------
    >>> coarse_shape([8, 5, 1])
    (4, 3, 1)
    """
    return tuple((n + 1) // 2 for n in space)


def prolong(
    coarse: Float[Tensor, "batch rhs *coarse"],
    space: Sequence[int],
    weights: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "batch rhs *space"]:
    """Prolong coarse fields, P e.

    Parameters
    ----------
    coarse
        e, on the grid of :func:`coarse_shape`.
    space
        The numbers of fine cells.
    weights
        None for the constant prolongation, else one of the forms of W of this module.

    Returns
    -------
    Tensor
        P e, differentiable in all tensors to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> prolong(torch.tensor([[[1.0, 2.0]]]), [3]).tolist()
    [[[1.0, 1.0, 2.0]]]
    """
    return _prolong_any(coarse, None, list(space), weights)


def prolong_add(
    u: Float[Tensor, "batch rhs *space"],
    coarse: Float[Tensor, "batch rhs *coarse"],
    weights: Float[Tensor, "..."] | None = None,
) -> Float[Tensor, "batch rhs *space"]:
    """Add prolonged coarse fields, u + P e, in one pass.

    Parameters
    ----------
    u
        Fine fields.
    coarse, weights
        As of :func:`prolong`.

    Returns
    -------
    Tensor
        u + P e, differentiable in all tensors to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> prolong_add(torch.ones(1, 1, 3), torch.tensor([[[1.0, 2.0]]])).tolist()
    [[[2.0, 2.0, 3.0]]]
    """
    return _prolong_any(coarse, u, list(u.shape[2:]), weights)


def restrict(
    r: Float[Tensor, "batch rhs *space"], weights: Float[Tensor, "..."] | None = None
) -> Float[Tensor, "batch rhs *coarse"]:
    """Restrict fine fields by the adjoint of the prolongation, P' r.

    Parameters
    ----------
    r
        Fine fields.
    weights
        As of :func:`prolong`; None sums over the cells of each coarse cell.

    Returns
    -------
    Tensor
        P' r on the grid of :func:`coarse_shape`, differentiable in all tensors to any order.

    Raises
    ------
    InputError
        For weights that do not fit the fields.

    Examples
    --------
    >>> restrict(torch.tensor([[[1.0, 2.0, 4.0]]])).tolist()
    [[[3.0, 4.0]]]
    """
    form = _form(weights, r.shape[0], r.shape[2:], tuple(r.shape))
    if weights is None:
        y: Tensor = _restrict(r)
    else:
        y = _restrict_product(r, weights) if form == "product" else _restrict_weighted(r, weights)
    return y


def coarsen(
    diagonal: Float[Tensor, " batch *space"], coupling: Float[Tensor, "batch d *space"], factor: float = 0.5
) -> tuple[Float[Tensor, " batch *coarse"], Float[Tensor, "batch d *coarse"]]:
    r"""The diffusion operator on the coarse grid, from sums of couplings.

    Coarse cells are coupled by a factor times the sum of the couplings across their common face; what a diagonal has
    beyond the sum of its couplings is summed over the cells and takes a factor too:

    .. math:: W = f \sum w, \quad \hat D = \sum_a (W_a + W_{a,-}) + \sum g \,(D - \sum_a (w_a + w_{a,-})), \quad g = f.

    At the last cell of an odd axis, which stays alone and so nearer to its neighbours and to the boundary, f is
    2 f / (1 + f) across its two faces, and g is one. (Where such a cell has a boundary on another axis too, one is more
    than its due; too stiff a coarse operator only corrects too little, too soft a one would diverge.)

    With f = 1 this is P' A P of the constant prolongation; f = 1/2 makes up for the factor two by which that is too
    stiff, in the cells and on Dirichlet faces alike.

    Parameters
    ----------
    diagonal, coupling
        D and w of :mod:`sciops.kernels.stencil`.
    factor
        f.

    Returns
    -------
    tuple of Tensor
        The diagonal and the coupling on the grid of :func:`coarse_shape`, differentiable to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Notes
    -----
    A reaction term c u is the same on every grid and takes no factor. Leave it out here and carry it by sums: the
    coarse reaction is ``restrict(c[:, None])[:, 0]``, to be added to the coarse diagonal.

    References
    ----------
    D. Braess, "Towards algebraic multigrid for elliptic problems of second order", Computing 55, 1995 (the factor).

    Examples
    --------
    >>> diagonal, coupling = coarsen(torch.full((1, 4), 2.0), torch.ones(1, 1, 4))
    >>> diagonal, coupling
    (tensor([[1., 1.]]), tensor([[[0.5000, 0.5000]]]))
    """
    require_operator(diagonal, coupling, diagonal.unsqueeze(min(1, diagonal.ndim)))
    require_axes(coupling)
    if not 0 < factor < math.inf:
        raise InputError(f"the factor is {factor}; a positive number is expected, 0.5 as a rule")
    coarse, couplings = _coarsen(diagonal, coupling, float(factor))
    return coarse, couplings


def _form(weights: Tensor | None, batch: int, space: Sequence[int], shape: tuple[int, ...]) -> str:
    d = len(space)
    if not 1 <= d <= 3:
        raise InputError(f"the field has shape {shape}, expected (batch, rhs, *space) with 1 to 3 axes")
    require_cells(space)
    if weights is None:
        return "constant"
    if weights.shape == (2, sum(space)):
        return "product"
    fits = weights.ndim == d + 2 and weights.shape[2:] == tuple(space) and weights.shape[1] in (d + 1, 2**d)
    if not fits or weights.shape[0] not in (1, batch):
        names = ", ".join(map(str, space))
        raise InputError(
            f"the weights have shape {tuple(weights.shape)}, expected (2, {sum(space)}), or (1 or {batch}, "
            f"{d + 1} or {2**d}, {names}) for fields on {names} cells"
        )
    return "weighted"


def _prolong_any(coarse: Tensor, u: Tensor | None, space: list[int], weights: Tensor | None) -> Tensor:
    if coarse.shape[2:] != coarse_shape(space) or (u is not None and u.shape[:2] != coarse.shape[:2]):
        lead = coarse.shape[:2] if u is None else u.shape[:2]
        raise InputError(
            f"the coarse field has shape {tuple(coarse.shape)}, expected {(*lead, *coarse_shape(space))} "
            f"for {', '.join(map(str, space))} fine cells"
        )
    form = _form(weights, coarse.shape[0], space, tuple(coarse.shape))
    if weights is None:
        y: Tensor = _prolong(coarse, u, space)
    else:
        y = _prolong_product(coarse, u, weights, space) if form == "product" else _prolong_weighted(coarse, u, weights)
    return y


def _own(x: Tensor, axis: int, n: int) -> Tensor:
    return x.index_select(axis, torch.arange(n, device=x.device) // 2)


def _neighbour_index(n: int, device: torch.device) -> Tensor:
    i = torch.arange(n, device=device)
    return (i // 2 + 2 * (i % 2) - 1) % ((n + 1) // 2)


def _corners(d: int, count: int) -> list[tuple[int, ...]]:
    """For each weight of a cell, the axes along which it belongs to the neighbour."""
    if count == d + 1:
        return [(), *((a,) for a in range(d))]
    return [tuple(a for a in range(d) if m >> a & 1) for m in range(count)]


def _with(u: Tensor | None, y: Tensor) -> Tensor:
    return y if u is None else u + y


def _prolong_reference(coarse: Tensor, u: Tensor | None, space: list[int]) -> Tensor:
    for a, n in enumerate(space):
        coarse = _own(coarse, a + 2, n)
    return _with(u, coarse)


def _sum_pairs(x: Tensor, axis: int) -> Tensor:
    """Sums of two cells along an axis; a last one without a second stays as it is."""
    n = x.shape[axis]
    padded = torch.nn.functional.pad(x, [0, 0] * (x.ndim - 1 - axis) + [0, n % 2])
    return padded.reshape(*x.shape[:axis], (n + 1) // 2, 2, *x.shape[axis + 1 :]).sum(axis + 1)


def _restrict_reference(r: Tensor) -> Tensor:
    for axis in range(2, r.ndim):
        r = _sum_pairs(r, axis)
    return r


def _prolong_product_reference(coarse: Tensor, u: Tensor | None, weights: Tensor, space: list[int]) -> Tensor:
    start = 0
    for a, n in enumerate(space):
        near, far = (weights[row, start : start + n].view(-1, *(1,) * (len(space) - a - 1)) for row in (0, 1))
        other = coarse.index_select(a + 2, _neighbour_index(n, coarse.device))
        coarse = near * _own(coarse, a + 2, n) + far * other
        start = start + n
    return _with(u, coarse)


def _restrict_product_reference(r: Tensor, weights: Tensor) -> Tensor:
    start, d = 0, r.ndim - 2
    for a in range(d):
        n = r.shape[a + 2]
        near, far = (weights[row, start : start + n].view(-1, *(1,) * (d - a - 1)) for row in (0, 1))
        r = _scatter(near * r, a + 2, False) + _scatter(far * r, a + 2, True)
        start = start + n
    return r


def _scatter(x: Tensor, axis: int, to_neighbour: bool) -> Tensor:
    n = x.shape[axis]
    index = _neighbour_index(n, x.device) if to_neighbour else torch.arange(n, device=x.device) // 2
    shape = (*x.shape[:axis], (n + 1) // 2, *x.shape[axis + 1 :])
    return x.new_zeros(shape).index_add(axis, index, x)


def _taken(coarse: Tensor, space: Sequence[int], count: int) -> list[Tensor]:
    """The coarse values that meet each weight."""
    found = []
    for axes in _corners(len(space), count):
        x = coarse
        for a, n in enumerate(space):
            x = x.index_select(a + 2, _neighbour_index(n, x.device)) if a in axes else _own(x, a + 2, n)
        found.append(x)
    return found


def _prolong_weighted_reference(coarse: Tensor, u: Tensor | None, weights: Tensor) -> Tensor:
    taken = _taken(coarse, weights.shape[2:], weights.shape[1])
    y = weights[:, None, 0] * taken[0]
    for m in range(1, len(taken)):
        y = y + weights[:, None, m] * taken[m]
    return _with(u, y)


def _restrict_weighted_reference(r: Tensor, weights: Tensor) -> Tensor:
    d, total = r.ndim - 2, None
    for m, axes in enumerate(_corners(d, weights.shape[1])):
        x = weights[:, None, m] * r
        for a in range(d):
            x = _scatter(x, a + 2, a in axes)
        total = x if total is None else total + x
    assert total is not None
    return total


def _transfer_slopes_reference(fine: Tensor, coarse: Tensor, count: int, shared: bool) -> Tensor:
    over = (0, 1) if shared else (1,)
    found = [(fine * x).sum(over) for x in _taken(coarse, fine.shape[2:], count)]
    stacked = torch.stack(found, 0 if shared else 1)
    return stacked[None] if shared else stacked


def _coarsen_reference(diagonal: Tensor, coupling: Tensor, factor: float) -> tuple[Tensor, Tensor]:
    d = coupling.shape[1]
    ones = torch.ones_like(diagonal)[:, None]
    extra = _apply_reference(diagonal, coupling, ones)
    coarse = _restrict_reference(torch.where(_alone(extra), extra, factor * extra))[:, 0]
    faces = []
    for a in range(d):
        n = coupling.shape[a + 2]
        last = torch.arange(1, n + 1, 2, device=coupling.device).clamp_max(n - 1)
        w = coupling[:, a].index_select(a + 1, last)
        for b in range(d):
            if b != a:
                w = _sum_pairs(w, b + 1)
        near = ((last >= n - 2) & (n % 2 == 1)).to(w.dtype).view(-1, *(1,) * (d - a - 1))
        faces.append((factor + (2 * factor / (1 + factor) - factor) * near) * w)
    for a, w in enumerate(faces):
        coarse = coarse + w + w.roll(1, a + 1)
    return coarse, torch.stack(faces, 1)


def _alone(field: Tensor) -> Tensor:
    """Where a cell has no twin along some axis."""
    d, found = field.ndim - 2, torch.zeros((1,) * field.ndim, dtype=torch.bool, device=field.device)
    for a in range(d):
        n = field.shape[a + 2]
        last = torch.arange(n, device=field.device).view(-1, *(1,) * (d - a - 1)) == n - 1
        found = found | (last & (n % 2 == 1))
    return found


def _prolong_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.has_u = inputs[1] is not None


def _prolong_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    return _restrict(g) if ctx.needs_input_grad[0] else None, g.clone() if ctx.has_u else None, None


def _restrict_setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.space = list(inputs[0].shape[2:])


def _restrict_backward(ctx: Any, g: Tensor) -> Tensor:
    y: Tensor = _prolong(g, None, ctx.space)
    return y


def _prolong_product_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    coarse, u, weights, space = saved_arguments(ctx)
    wanted, in_weights = ctx.needs_input_grad, None
    if wanted[2]:
        args = [coarse, None, weights, space]
        in_weights = vector_jacobian(_prolong_product_reference, args, [False, False, True, False], [g])[2]
    in_u = g.clone() if u is not None else None
    return _restrict_product(g, weights) if wanted[0] else None, in_u, in_weights, None


def _restrict_product_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    r, weights = saved_arguments(ctx)
    in_weights = None
    if ctx.needs_input_grad[1]:
        in_weights = vector_jacobian(_restrict_product_reference, [r, weights], [False, True], [g])[1]
    return _prolong_product(g, None, weights, list(r.shape[2:])) if ctx.needs_input_grad[0] else None, in_weights


def _prolong_weighted_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    coarse, u, weights = saved_arguments(ctx)
    in_coarse = _restrict_weighted(g, weights) if ctx.needs_input_grad[0] else None
    shared = weights.shape[0] == 1
    in_weights = _transfer_slopes(g, coarse, weights.shape[1], shared) if ctx.needs_input_grad[2] else None
    return in_coarse, g.clone() if u is not None else None, in_weights


def _restrict_weighted_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    r, weights = saved_arguments(ctx)
    in_r = _prolong_weighted(g, None, weights) if ctx.needs_input_grad[0] else None
    shared = weights.shape[0] == 1
    return in_r, _transfer_slopes(r, g, weights.shape[1], shared) if ctx.needs_input_grad[1] else None


def _transfer_slopes_backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
    fine, coarse, *_ = saved_arguments(ctx)
    # <r, P e> is linear in r, in e and in the weights, so its derivatives are transfers again
    in_fine = _prolong_weighted(coarse, None, weights) if ctx.needs_input_grad[0] else None
    return in_fine, _restrict_weighted(fine, weights) if ctx.needs_input_grad[1] else None, None, None


def _paths(name: str, cpu: str) -> dict[str, Any]:
    return {
        "cpu": Path(f"cpu.transfer:{name}", cpu, needs="numba"),
        "triton": Path(f"cuda.transfer:{name}", "one pass over memory", needs="triton", dtypes=ALL_FLOATS),
    }


_prolong = Kernel(
    "prolong",
    "(Tensor coarse, Tensor? u, SymInt[] space) -> Tensor",
    _prolong_reference,
    **_paths("prolong", "one pass over memory, the sum included"),
    setup=_prolong_setup,
    backward=_prolong_backward,
)
_restrict = Kernel(
    "restrict",
    "(Tensor r) -> Tensor",
    _restrict_reference,
    **_paths("restrict", "one pass over memory instead of one for each axis"),
    setup=_restrict_setup,
    backward=_restrict_backward,
)
_prolong_product = Kernel(
    "prolong_product",
    "(Tensor coarse, Tensor? u, Tensor weights, SymInt[] space) -> Tensor",
    _prolong_product_reference,
    **_paths("prolong_product", "one pass over memory instead of three for each axis"),
    backward=_prolong_product_backward,
)
_restrict_product = Kernel(
    "restrict_product",
    "(Tensor r, Tensor weights) -> Tensor",
    _restrict_product_reference,
    **_paths("restrict_product", "one pass over memory instead of three for each axis"),
    backward=_restrict_product_backward,
)
_prolong_weighted = Kernel(
    "prolong_weighted",
    "(Tensor coarse, Tensor? u, Tensor weights) -> Tensor",
    _prolong_weighted_reference,
    **_paths("prolong_weighted", "one pass over memory instead of three for each weight"),
    backward=_prolong_weighted_backward,
)
_restrict_weighted = Kernel(
    "restrict_weighted",
    "(Tensor r, Tensor weights) -> Tensor",
    _restrict_weighted_reference,
    **_paths("restrict_weighted", "one pass over memory instead of four for each weight"),
    backward=_restrict_weighted_backward,
)
_transfer_slopes = Kernel(
    "transfer_slopes",
    "(Tensor fine, Tensor coarse, int count, bool shared) -> Tensor",
    _transfer_slopes_reference,
    **_paths("transfer_slopes", "one pass over memory; fields that share weights are summed on the way"),
    backward=_transfer_slopes_backward,
)
_coarsen = Kernel(
    "coarsen",
    "(Tensor diagonal, Tensor coupling, float factor) -> (Tensor, Tensor)",
    _coarsen_reference,
    **_paths("coarsen", "one pass over memory instead of some twenty"),
)
