r"""Solves along the lines of a grid: how multigrid smooths where one axis has much stronger couplings than another.

What the diffusion operator of :mod:`sciops.kernels.stencil` couples along the lines of one axis is a tridiagonal matrix
for each line, with the diagonal of the operator,

.. math:: (T u)_p = D_p u_p - w_p u_{p+1} - w_{p-1} u_{p-1},

a block of the operator's diagonal and positive definite as it is. It is factored once for many solves (Thomas),

.. math:: m_p = 1 / (D_p - w_{p-1} l_{p-1}), \qquad l_p = w_p m_p,

and where the axis goes around, the last cell of the line is kept apart, with the vector q by which the others answer to
it. Where rounding leaves nothing of a pivot, as at the end of a line that nothing holds, the cell stays zero.

References: G. Golub, C. Van Loan, "Matrix computations", 2013, 4.3; U. Trottenberg, C. Oosterlee, A. Schueller,
"Multigrid", 2001, 5.1.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.blackbox import cells_at, columns, require_columns
from sciops.kernels.dispatch import Kernel, Path, saved_arguments, vector_jacobian
from sciops.kernels.stencil import offsets, require_operator, require_shape

if TYPE_CHECKING:
    from jaxtyping import Float

_NOTHING = 8.0  # units of rounding of the diagonal up to which a pivot counts as nothing


def line_factors(
    diagonal: Float[Tensor, " batch *space"], coupling: Float[Tensor, "batch link *space"], axis: int
) -> Float[Tensor, "batch factor *space"]:
    """The factors of the tridiagonal matrices along the lines of one axis.

    Parameters
    ----------
    diagonal, coupling
        D and w of :mod:`sciops.kernels.stencil`, along the axes or to all cells around.
    axis
        Along which the lines run, from 0.

    Returns
    -------
    Tensor
        m and l of the module, and q where the axis goes around. Differentiable.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or an axis that is not there.

    Examples
    --------
    >>> line_factors(torch.full((1, 2), 2.0), torch.tensor([[[1.0, 0.0]]]), 0)[0].tolist()
    [[0.5, 0.6666666865348816], [0.5, 0.0]]
    """
    require_operator(diagonal, coupling, diagonal[:, None])
    d = diagonal.ndim - 1
    _require_axis(axis, d)
    along = tuple(int(a == axis) for a in range(d))
    link = coupling[:, offsets(d, coupling.shape[1]).index(along)]
    around = bool((link.detach().select(axis + 1, -1) != 0).any())
    factors: Tensor = _factors(diagonal, link, axis, around)
    return factors


def line_solve(
    factors: Float[Tensor, "batch factor *space"], r: Float[Tensor, "batch rhs *space"], axis: int
) -> Float[Tensor, "batch rhs *space"]:
    """The solutions of T u = r on all lines of an axis.

    Parameters
    ----------
    factors
        Of :func:`line_factors`; a batch of 1 serves any batch of fields.
    r
        Right-hand sides.
    axis
        That of the factors.

    Returns
    -------
    Tensor
        u. Differentiable in both to any order; in r it is the same solve again.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or an axis that is not there.

    Examples
    --------
    >>> factors = line_factors(torch.full((1, 3), 2.0), torch.tensor([[[1.0, 1.0, 0.0]]]), 0)
    >>> line_solve(factors, torch.tensor([[[1.0, 0.0, 1.0]]]), 0)
    tensor([[[1.0000, 1.0000, 1.0000]]])
    """
    _require_factors(factors, r, axis)
    u: Tensor = _solve(factors, r, axis)
    return u


def line_solve_(
    r: Float[Tensor, "batch rhs *space"], factors: Float[Tensor, "batch factor *space"], axis: int
) -> Float[Tensor, "batch rhs *space"]:
    """`line_solve` in place, for loops; no derivative is recorded.

    Parameters
    ----------
    r
        Right-hand sides, contiguous, where the solutions go.
    factors, axis
        As of :func:`line_solve`.

    Returns
    -------
    Tensor
        `r`.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or an r that is not contiguous.

    Examples
    --------
    >>> factors = line_factors(torch.full((1, 3), 2.0), torch.tensor([[[1.0, 1.0, 0.0]]]), 0)
    >>> line_solve_(torch.tensor([[[1.0, 0.0, 1.0]]]), factors, 0)
    tensor([[[1.0000, 1.0000, 1.0000]]])
    """
    _require_factors(factors, r, axis)
    if not r.is_contiguous():
        raise InputError(f"r of strides {r.stride()} is not contiguous; line_solve takes any strides")
    _solve_inplace(r, factors, axis)
    return r


def line_weights(
    weights: Float[Tensor, "batch column *coarse"],
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    axis: int,
) -> Float[Tensor, "batch column *coarse"]:
    r"""Weights of prolongation that follow whole lines, where the couplings along one axis are much the strongest.

    Weights that follow each equation by itself differ from cell to cell along a strong line, and what they make of a
    field that is constant along it is not: it has a large energy, and the coarse grid does not correct such fields.
    Here the shares s of the lines around hold all equations of a line at once, with T of this module and the sums S of
    all couplings to a line around,

    .. math:: s_j = T^{-1} S_j, \qquad (P e)_i = \sum_j s_{j,i}\, (Q e)_{i_j},

    where Q prolongs along the lines of the coarse points and i_j is the cell beside i on line j.

    Parameters
    ----------
    weights
        Of :func:`~sciops.kernels.blackbox.blackbox_weights`; those along the lines are kept.
    diagonal, coupling
        Of the operator, on two or three axes.
    axis
        Along which the lines run.

    Returns
    -------
    Tensor
        Of the shape of the weights. Differentiable.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or an axis that is not there.

    Notes
    -----
    Among lines, the rule of :mod:`sciops.kernels.blackbox` holds with T in place of the diagonal: what leads across an
    axis on which a line is even adds to the diagonal, lines with two odd indices take from those with one.

    Examples
    --------
    >>> from sciops.kernels import blackbox_weights, diffusion_operator
    >>> operator = diffusion_operator(torch.tensor([100.0, 1.0]).view(1, 2, 1, 1).expand(1, 2, 5, 5), [1.0, 1.0])
    >>> weights = line_weights(blackbox_weights(*operator), *operator, 0)
    >>> weights.shape
    torch.Size([1, 8, 3, 3])
    """
    require_operator(diagonal, coupling, diagonal[:, None])
    d = diagonal.ndim - 1
    _require_axis(axis, d)
    require_columns(weights, diagonal.shape[0], diagonal.shape[1:])
    spaces, across = tuple(range(1, d + 1)), [a for a in range(d) if a != axis]
    # all that leads from a cell to the line beside it, by the offset of that line
    sums: dict[tuple[int, ...], Tensor] = {}
    for number, o in enumerate(offsets(d, coupling.shape[1])):
        here = coupling[:, number]
        for to, value in ((o, here), (tuple(-x for x in o), here.roll(o, spaces))):
            line = tuple(0 if a == axis else x for a, x in enumerate(to))
            if any(line):
                sums[line] = sums.get(line, torch.zeros_like(value)) + value
    ones = torch.ones_like(diagonal)
    shares = {(0,) * d: ones}  # by the corner, 0 or 1 on each axis, that a line with these odd indices takes from
    odd = [
        (torch.arange(n, device=ones.device) % 2 == 1).view(-1, *(1,) * (d - a - 1))
        for a, n in enumerate(ones.shape[1:])
    ]
    for count in range(1, d):
        for along in itertools.combinations(across, count):
            here = torch.ones((), dtype=torch.bool, device=ones.device)
            for a in across:
                here = here & (odd[a] if a in along else ~odd[a])
            beside: dict[tuple[int, ...], Tensor] = {}
            kept = diagonal
            for line, value in sums.items():
                key = tuple(x if a in along else 0 for a, x in enumerate(line))
                if any(key):
                    beside[key] = beside.get(key, torch.zeros_like(value)) + value
                else:
                    kept = kept - value
            factors = line_factors(kept, coupling, axis)
            corners = [
                c for c in itertools.product((0, 1), repeat=d) if not any(c[a] for a in range(d) if a not in along)
            ]
            rights = []
            for corner in corners:
                total = torch.zeros_like(diagonal)
                for key, value in beside.items():
                    if any(x and (x > 0) != bool(bit) for x, bit in zip(key, corner, strict=True)):
                        continue
                    reached = tuple(0 if x else bit for x, bit in zip(key, corner, strict=True))
                    total = total + value * shares.get(reached, torch.zeros_like(value)).roll([-x for x in key], spaces)
                rights.append(total)
            for corner, share in zip(corners, line_solve(factors, torch.stack(rights, 1), axis).unbind(1), strict=True):
                before = shares.get(corner, torch.zeros_like(share))
                shares[corner] = torch.where(here, share, before)
    found = []
    for number, o in enumerate(columns(d)):
        if not any(o[a] for a in across):
            found.append(weights[:, number])
            continue
        # the cell below a coarse point takes it as its upper one, the cell above as its lower one
        share = cells_at(shares[tuple(int(x < 0 and a != axis) for a, x in enumerate(o))][:, None], o)[:, 0]
        line = tuple(x if a == axis else 0 for a, x in enumerate(o))
        found.append(share * weights[:, columns(d).index(line)] if any(line) else share)
    return torch.stack(found, 1)


def _require_axis(axis: int, d: int) -> None:
    if not isinstance(axis, int) or isinstance(axis, bool) or not 0 <= axis < d:
        raise InputError(f"lines run along one of the axes 0 to {d - 1}, got {axis!r}")


def _require_factors(factors: Tensor, r: Tensor, axis: int) -> None:
    d = r.ndim - 2
    if not 1 <= d <= 3:
        raise InputError(f"fields of shape {tuple(r.shape)}; (batch, rhs, *space) with 1 to 3 axes is expected")
    _require_axis(axis, d)
    if factors.ndim != r.ndim or factors.shape[0] not in (1, r.shape[0]) or factors.shape[1] not in (2, 3):
        raise InputError(
            f"the factors have shape {tuple(factors.shape)}, expected (1 or {r.shape[0]}, 2 or 3, *space) as "
            f"line_factors returns them"
        )
    require_shape("factors", factors, (*factors.shape[:2], *r.shape[2:]))
    if not r.shape[2 + axis]:
        raise InputError(f"fields of shape {tuple(r.shape)} have no cells along axis {axis}")


def _factors_reference(diagonal: Tensor, link: Tensor, axis: int, around: bool) -> Tensor:
    d, w = diagonal.movedim(axis + 1, 0), link.movedim(axis + 1, 0)
    n, none = len(d), torch.zeros_like(d[0])
    end = n - 1 if around else n
    m: list[Tensor] = []
    l: list[Tensor] = []  # noqa: E741  the name of the equation
    for p in range(end):
        m.append(_reciprocal(d[p] - w[p - 1] * l[p - 1] if p else d[p], d[p]))
        l.append(w[p] * m[p] if p + 1 < end else none)
    found = [m, l]
    if around:
        sides = [none] * end
        if end:
            sides[0] = sides[0] + w[-1]
            sides[-1] = sides[-1] + w[end - 1]
        q = _substitute(m, l, sides)
        pulled = sum((c * x for c, x in zip(sides, q, strict=True)), start=none) if end else 2 * w[0]
        m.append(_reciprocal(d[-1] - pulled, d[-1]))
        l.append(none)
        found.append([*q, none])
    return torch.stack([torch.stack(part).movedim(0, axis + 1) for part in found], 1)


def _reciprocal(pivot: Tensor, diagonal: Tensor) -> Tensor:
    there = pivot > _NOTHING * torch.finfo(pivot.dtype).eps * diagonal
    return torch.where(there, 1 / torch.where(there, pivot, 1), 0)


def _substitute(m: list[Tensor], l: list[Tensor], r: list[Tensor]) -> list[Tensor]:  # noqa: E741
    y = list(r)
    for p in range(1, len(y)):
        y[p] = y[p] + l[p - 1] * y[p - 1]
    for p in reversed(range(len(y))):
        y[p] = m[p] * y[p] + (l[p] * y[p + 1] if p + 1 < len(y) else 0)
    return y


def _solve_reference(factors: Tensor, r: Tensor, axis: int) -> Tensor:
    parts = [list(part[:, None].movedim(axis + 2, 0)) for part in factors.unbind(1)]
    m, l, rows = parts[0], parts[1], list(r.movedim(axis + 2, 0))  # noqa: E741
    if len(parts) == 2:
        return torch.stack(_substitute(m, l, rows)).movedim(0, axis + 2)
    q = parts[2]
    last = m[-1] * sum((x * y for x, y in zip(q[:-1], rows[:-1], strict=True)), start=rows[-1])
    u = [y + x * last for x, y in zip(q[:-1], _substitute(m[:-1], l[:-1], rows[:-1]), strict=True)]
    return torch.stack([*u, last]).movedim(0, axis + 2)


def _solve_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    factors, r, axis = saved_arguments(ctx)
    of_r = line_solve(factors, g, axis) if ctx.needs_input_grad[1] else None
    of_factors = None
    if ctx.needs_input_grad[0]:
        of_factors = vector_jacobian(_solve_reference, (factors, r, axis), (True, False, False), (g,))[0]
    return of_factors, of_r, None


def _solve_inplace_reference(r: Tensor, factors: Tensor, axis: int) -> None:
    r.copy_(_solve_reference(factors, r, axis))


_factors = Kernel(
    "line_factors",
    "(Tensor diagonal, Tensor link, SymInt axis, bool around) -> Tensor",
    _factors_reference,
    cpu=Path("cpu.lines:line_factors", "one pass over memory", needs="numba"),
)
_solve = Kernel(
    "line_solve",
    "(Tensor factors, Tensor r, SymInt axis) -> Tensor",
    _solve_reference,
    cpu=Path("cpu.lines:line_solve", "there and back in the cache, several lines at once", needs="numba"),
    backward=_solve_backward,
)
_solve_inplace = Kernel(
    "line_solve_",
    "(Tensor(a!) r, Tensor factors, SymInt axis) -> ()",
    _solve_inplace_reference,
    cpu=Path("cpu.lines:line_solve_", "the same in place", needs="numba"),
)
