r"""Stencils on structured grids: the diffusion operator that multigrid is made of, and constant 3^d stencils.

**The diffusion operator.** A cell-centred, variable-coefficient, symmetric operator on a grid with d axes is kept as
what each cell has on its diagonal, and how strongly it is coupled to its upper neighbour along each axis:

.. math:: (A u)_i = D_i u_i - \sum_{a=1}^{d} \big( w_{a,i}\, u_{i + e_a} + w_{a,i-e_a}\, u_{i-e_a} \big)

with indices that wrap around. Every boundary condition is in the numbers: a last coupling that is not zero makes an
axis periodic; where it is zero the axis ends, and what D has beyond the sum of the couplings says how (nothing:
Neumann; twice the coefficient: Dirichlet on the face; anything between: Robin). A is symmetric, so the derivative in u
is A itself, and the derivatives in D and w are products of the gradient with u and its neighbours.

What multigrid makes of it on coarser grids couples each cell to all of the 3^d - 1 around it. The same functions take
such an operator, with the links o of :func:`offsets` in place of the axes,
:math:`(A u)_i = D_i u_i - \sum_o (w_{o,i} u_{i+o} + w_{o,i-o} u_{i-o})`.

Shapes: D ``(batch, *space)``, w ``(batch, d, *space)`` or ``(batch, (3^d - 1)/2, *space)``, fields ``(batch, rhs,
*space)``, with one, two or three axes.

**Constant stencils.** Weights ``(3,) * d`` for all channels, or ``(channels, 3, ...)`` for each its own, meet fields
``(batch, channels, *space)``: :math:`y_i = \sum_{o \in \{-1,0,1\}^d} K_{o+1}\, u_{i+o}`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from sciops.errors import InputError, did_you_mean
from sciops.kernels.dispatch import ALL_FLOATS, Kernel, Path, saved_arguments
from sciops.kernels.systems import in_place, require_writable

if TYPE_CHECKING:
    from jaxtyping import Float

Edge = Literal["zero", "periodic", "reflect"]
EDGES: tuple[Edge, ...] = ("zero", "periodic", "reflect")


def diffusion_apply(
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    u: Float[Tensor, "batch rhs *space"],
) -> Float[Tensor, "batch rhs *space"]:
    """Apply the diffusion operator of this module, y = A u.

    Parameters
    ----------
    diagonal, coupling
        D and w of the module's equation; a batch of 1 serves any batch of fields.
    u
        The fields.

    Returns
    -------
    Tensor
        A u, of the shape of u. Differentiable in all arguments to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    The second difference on a periodic axis of four cells:

    >>> y = diffusion_apply(torch.full((1, 4), 2.0), torch.ones(1, 1, 4), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]]))
    >>> y.tolist()
    [[[2.0, -1.0, 0.0, -1.0]]]
    """
    require_operator(diagonal, coupling, u)
    y: Tensor = _apply(diagonal, coupling, u)
    return y


def diffusion_residual(
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    u: Float[Tensor, "batch rhs *space"],
    b: Float[Tensor, "batch rhs *space"],
) -> Float[Tensor, "batch rhs *space"]:
    """The residual r = b - A u of the diffusion operator of this module, in one pass.

    Parameters
    ----------
    diagonal, coupling
        D and w of the module's equation; a batch of 1 serves any batch of fields.
    u, b
        The fields and the right-hand sides, of one shape.

    Returns
    -------
    Tensor
        b - A u. Differentiable in all arguments to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> u = torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])
    >>> diffusion_residual(torch.full((1, 4), 2.0), torch.ones(1, 1, 4), u, torch.ones(1, 1, 4)).tolist()
    [[[-1.0, 2.0, 1.0, 2.0]]]
    """
    require_operator(diagonal, coupling, u)
    require_shape("right-hand side", b, u.shape)
    r: Tensor = _residual(diagonal, coupling, u, b)
    return r


def diffusion_apply_dot(
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    u: Float[Tensor, "batch rhs *space"],
) -> tuple[Float[Tensor, "batch rhs *space"], Float[Tensor, "batch rhs"]]:
    """A u and the energy <u, A u> of each field, in one pass: what an iteration of conjugate gradients needs.

    Parameters
    ----------
    diagonal, coupling
        D and w of the module's equation; a batch of 1 serves any batch of fields.
    u
        The fields.

    Returns
    -------
    tuple of Tensor
        A u, of the shape of u, and <u, A u> of shape (batch, rhs). Differentiable to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> y, energy = diffusion_apply_dot(torch.full((1, 4), 2.0), torch.ones(1, 1, 4), torch.ones(1, 1, 4))
    >>> energy.tolist()
    [[0.0]]
    """
    require_operator(diagonal, coupling, u)
    y, energy = _apply_dot(diagonal, coupling, u)
    return y, energy


def diffusion_apply_dot_(
    y: Float[Tensor, "batch rhs *space"],
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    u: Float[Tensor, "batch rhs *space"],
) -> Float[Tensor, "batch rhs"]:
    """:func:`diffusion_apply_dot` written into y, which is contiguous and not u; returns the energy."""
    require_operator(diagonal, coupling, u)
    require_shape("result", y, u.shape)
    require_writable(y=y)
    energy: Tensor = _apply_dot_inplace(y, diagonal.contiguous(), coupling.contiguous(), u.contiguous())
    return energy


def stencil_apply(
    weights: Float[Tensor, "*three"], u: Float[Tensor, "batch channel *space"], boundary: Edge = "zero"
) -> Float[Tensor, "batch channel *space"]:
    """Apply a constant 3^d stencil, y_i = sum over o of K_{o+1} u_{i+o}.

    Parameters
    ----------
    weights
        K, of shape (3,) * d, or (channel, 3, ..., 3) for a stencil of its own in each channel.
    u
        Fields with d = 1, 2 or 3 axes in space.
    boundary
        What lies beyond the edge: "zero"; "periodic": the other end; "reflect": the cells mirrored at the face, so
        that the first one meets itself (what scipy.ndimage calls by this name).

    Returns
    -------
    Tensor
        y, of the shape of u. Differentiable in both arguments to any order.

    Raises
    ------
    InputError
        For an unknown boundary, or weights that do not fit the fields.

    Examples
    --------
    >>> stencil_apply(torch.tensor([-1.0, 0.0, 1.0]), torch.tensor([[[1.0, 2.0, 4.0]]]), "reflect").tolist()
    [[[1.0, 3.0, 2.0]]]
    """
    y: Tensor = _stencil(*_stencil_arguments(weights, u, boundary))
    return y


def stencil_adjoint(
    weights: Float[Tensor, "*three"], y: Float[Tensor, "batch channel *space"], boundary: Edge = "zero"
) -> Float[Tensor, "batch channel *space"]:
    """The adjoint of :func:`stencil_apply` with the same weights and boundary: <K u, y> = <u, K' y>.

    Parameters
    ----------
    weights, boundary
        As of :func:`stencil_apply`.
    y
        Fields.

    Returns
    -------
    Tensor
        K' y, of the shape of y. Differentiable in both arguments to any order.

    Raises
    ------
    InputError
        For an unknown boundary, or weights that do not fit the fields.

    Examples
    --------
    >>> stencil_adjoint(torch.tensor([0.0, 0.0, 1.0]), torch.tensor([[[1.0, 2.0, 4.0]]])).tolist()
    [[[0.0, 1.0, 2.0]]]
    """
    u: Tensor = _stencil_adjoint(*_stencil_arguments(weights, y, boundary))
    return u


def offsets(d: int, links: int) -> list[tuple[int, ...]]:
    """To which neighbours the couplings of an operator lead: along each axis, or to all those that come later.

    Parameters
    ----------
    d
        The number of axes.
    links
        The number of couplings, d or (3^d - 1)/2.

    Returns
    -------
    list of tuple of int
        One offset for each coupling, in order.

    Examples
    --------
    >>> offsets(2, 2)
    [(1, 0), (0, 1)]
    >>> offsets(2, 4)
    [(0, 1), (1, -1), (1, 0), (1, 1)]
    """
    if links == d:
        return [tuple(int(a == b) for b in range(d)) for a in range(d)]
    return list(itertools.product((-1, 0, 1), repeat=d))[3**d // 2 + 1 :]


def require_operator(diagonal: Tensor, coupling: Tensor, u: Tensor) -> None:
    """Raise InputError unless the shapes are those of an operator and of fields on its grid."""
    d = coupling.ndim - 2
    if not 1 <= d <= 3 or coupling.shape[1] not in (d, 3**d // 2):
        raise InputError(
            f"the coupling has shape {tuple(coupling.shape)}; (batch, d, *space) or (batch, (3^d - 1)/2, *space) with "
            f"d = 1, 2 or 3 axes is expected"
        )
    space = coupling.shape[2:]
    require_cells(space)
    if diagonal.shape != (coupling.shape[0], *space):
        raise InputError(
            f"the diagonal has shape {tuple(diagonal.shape)}, expected {(coupling.shape[0], *space)}: the coupling has"
        )
    if u.ndim != d + 2 or u.shape[2:] != space or coupling.shape[0] not in (1, u.shape[0]):
        raise InputError(
            f"the field has shape {tuple(u.shape)}, expected (batch, rhs, {', '.join(map(str, space))}) "
            f"with a batch that the operator's, {coupling.shape[0]}, serves"
        )


def require_axes(coupling: Tensor) -> None:
    """Raise InputError for an operator that couples cells across corners."""
    if coupling.shape[1] != coupling.ndim - 2:
        raise InputError(
            f"the coupling has shape {tuple(coupling.shape)} with links across corners; (batch, d, *space), one link "
            f"along each axis, is expected"
        )


def require_cells(space: Sequence[int]) -> None:
    """Raise InputError for an axis without cells."""
    for size in space:
        if size < 1:
            raise InputError(f"a grid of {' x '.join(map(str, space))} cells; every axis has at least one")


def require_shape(name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    """Raise InputError unless a tensor has the shape expected."""
    if tensor.shape != expected:
        raise InputError(f"the {name} has shape {tuple(tensor.shape)}, expected {tuple(expected)}")


def diffusion_slopes(g: Tensor, u: Tensor, shared: bool, links: int) -> tuple[Tensor, Tensor]:
    """Derivatives of <g, A u> in the diagonal and the couplings, summed over the fields that share an operator."""
    diagonal, coupling = _slopes(g, u, shared, links)
    return diagonal, coupling


def _stencil_arguments(weights: Tensor, u: Tensor, boundary: str) -> tuple[Tensor, Tensor, int]:
    if boundary not in EDGES:
        raise InputError(f"unknown boundary {boundary!r} of a stencil{did_you_mean(boundary, EDGES)}")
    d = u.ndim - 2
    if not 1 <= d <= 3:
        raise InputError(f"the field has shape {tuple(u.shape)}, expected (batch, channel, *space) with 1 to 3 axes")
    require_cells(u.shape[2:])
    if weights.shape not in ((3,) * d, (u.shape[1], *(3,) * d)):
        raise InputError(
            f"the weights have shape {tuple(weights.shape)}, expected {(3,) * d} or {(u.shape[1], *(3,) * d)} "
            f"for a field of shape {tuple(u.shape)}"
        )
    return weights, u, EDGES.index(boundary)


def _apply_reference(diagonal: Tensor, coupling: Tensor, u: Tensor) -> Tensor:
    y, axes = diagonal[:, None] * u, tuple(range(2, u.ndim))
    for a, offset in enumerate(offsets(u.ndim - 2, coupling.shape[1])):
        w = coupling[:, None, a]
        y = y - w * u.roll([-o for o in offset], axes) - (w * u).roll(offset, axes)
    return y


def _residual_reference(diagonal: Tensor, coupling: Tensor, u: Tensor, b: Tensor) -> Tensor:
    return b - _apply_reference(diagonal, coupling, u)


def _apply_dot_reference(diagonal: Tensor, coupling: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
    y = _apply_reference(diagonal, coupling, u)
    return y, (u * y).flatten(2).sum(-1)


def _slopes_reference(g: Tensor, u: Tensor, shared: bool, links: int) -> tuple[Tensor, Tensor]:
    over, axes, found = (0, 1) if shared else (1,), tuple(range(2, u.ndim)), []
    diagonal = (g * u).sum(over)
    for offset in offsets(u.ndim - 2, links):
        back = [-o for o in offset]
        found.append(-(g * u.roll(back, axes) + g.roll(back, axes) * u).sum(over))
    coupling = torch.stack(found, -u.ndim + 1)
    return (diagonal[None], coupling[None]) if shared else (diagonal, coupling)


def _apply_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    diagonal, coupling, u = saved_arguments(ctx)
    field = _apply(diagonal, coupling, g) if ctx.needs_input_grad[2] else None
    return *_operator_slopes(ctx, g, u, coupling), field


def _residual_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    diagonal, coupling, u, _ = saved_arguments(ctx)
    field = -_apply(diagonal, coupling, g) if ctx.needs_input_grad[2] else None
    slopes = _operator_slopes(ctx, -g, u, coupling) if any(ctx.needs_input_grad[:2]) else (None, None)
    return *slopes, field, g.clone()


def _apply_dot_backward(ctx: Any, g: Tensor | None, energy: Tensor | None) -> tuple[Tensor | None, ...]:
    diagonal, coupling, u = saved_arguments(ctx)
    # d <u, A u> = <2 A u, du> + <u, dA u>
    if energy is None:
        twice = once = torch.zeros_like(u) if g is None else g
    else:
        scaled = energy.view(*u.shape[:2], *(1,) * (u.ndim - 2)) * u
        once = scaled if g is None else g + scaled
        twice = once + scaled
    field = _apply(diagonal, coupling, twice) if ctx.needs_input_grad[2] else None
    return *_operator_slopes(ctx, once, u, coupling), field


def _operator_slopes(ctx: Any, g: Tensor, u: Tensor, coupling: Tensor) -> tuple[Tensor | None, Tensor | None]:
    if not any(ctx.needs_input_grad[:2]):
        return None, None
    return diffusion_slopes(g, u, coupling.shape[0] == 1, coupling.shape[1])


def _slopes_backward(ctx: Any, diagonal: Tensor, coupling: Tensor) -> tuple[Tensor | None, ...]:
    g, u, *_ = saved_arguments(ctx)
    # <g, A u> is linear in g, in u and in A, so its derivatives are products with A again
    in_g = _apply(diagonal, coupling, u) if ctx.needs_input_grad[0] else None
    in_u = _apply(diagonal, coupling, g) if ctx.needs_input_grad[1] else None
    return in_g, in_u, None, None


def _extended(u: Tensor, axis: int, edge: int) -> Tensor:
    """The field with one cell more at either end of an axis."""
    low, high = u.narrow(axis, 0, 1), u.narrow(axis, u.shape[axis] - 1, 1)
    if edge == 0:
        low, high = torch.zeros_like(low), torch.zeros_like(high)
    elif edge == 1:
        low, high = high, low
    return torch.cat([low, u, high], axis)


def _neighbours(u: Tensor, edge: int) -> Tensor:
    """The 3^d shifts of the field, stacked in front in the order of the weights."""
    extended = u
    for axis in range(2, u.ndim):
        extended = _extended(extended, axis, edge)
    shifts = []
    for offset in itertools.product(range(3), repeat=u.ndim - 2):
        part = extended
        for axis, o in enumerate(offset):
            part = part.narrow(axis + 2, o, u.shape[axis + 2])
        shifts.append(part)
    return torch.stack(shifts)


def _per_channel(weights: Tensor, u: Tensor) -> Tensor:
    """The weights as (3^d, 1, channel or 1, 1, ...), to meet the shifts."""
    d = u.ndim - 2
    return weights.reshape(-1, 3**d).T.reshape(3**d, 1, -1, *(1,) * d)


def _stencil_reference(weights: Tensor, u: Tensor, edge: int) -> Tensor:
    return (_per_channel(weights, u) * _neighbours(u, edge)).sum(0)


def _stencil_adjoint_reference(weights: Tensor, y: Tensor, edge: int) -> Tensor:
    d = y.ndim - 2
    parts = _per_channel(weights, y) * y
    total = parts.new_zeros(*y.shape[:2], *(n + 2 for n in y.shape[2:]))
    for part, offset in zip(parts, itertools.product(range(3), repeat=d), strict=True):
        sides = [side for o, n in zip(reversed(offset), reversed(y.shape[2:]), strict=True) for side in (o, 2 - o)]
        total = total + torch.nn.functional.pad(part, sides)
    for axis in range(2, y.ndim):
        n = y.shape[axis]
        low, inner, high = (total.narrow(axis, at, size) for at, size in ((0, 1), (1, n), (n + 1, 1)))
        ends = {0: None, 1: (high, low), 2: (low, high)}[edge]
        if ends is not None:
            zeros = torch.zeros_like(inner.narrow(axis, 0, n - 1))
            inner = inner + torch.cat([ends[0], zeros], axis) + torch.cat([zeros, ends[1]], axis)
        total = inner
    return total


def _stencil_slopes_reference(g: Tensor, u: Tensor, edge: int, own: bool) -> Tensor:
    d = u.ndim - 2
    products = (_neighbours(u, edge) * g).transpose(1, 2).flatten(2).sum(-1)  # (3^d, channel)
    return products.T.reshape(-1, *(3,) * d) if own else products.sum(1).reshape((3,) * d)


def _stencil_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    weights, u, edge = saved_arguments(ctx)
    in_weights = _stencil_slopes(g, u, edge, weights.ndim == u.ndim - 1) if ctx.needs_input_grad[0] else None
    return in_weights, _stencil_adjoint(weights, g, edge) if ctx.needs_input_grad[1] else None, None


def _stencil_adjoint_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    weights, y, edge = saved_arguments(ctx)
    in_weights = _stencil_slopes(y, g, edge, weights.ndim == y.ndim - 1) if ctx.needs_input_grad[0] else None
    return in_weights, _stencil(weights, g, edge) if ctx.needs_input_grad[1] else None, None


def _stencil_slopes_backward(ctx: Any, weights: Tensor) -> tuple[Tensor | None, ...]:
    g, u, edge, _ = saved_arguments(ctx)
    in_g = _stencil(weights, u, edge) if ctx.needs_input_grad[0] else None
    return in_g, _stencil_adjoint(weights, g, edge) if ctx.needs_input_grad[1] else None, None, None


def _paths(name: str, cpu: str, triton: str = "one pass over memory") -> dict[str, Any]:
    return {
        "cpu": Path(f"cpu.stencil:{name}", cpu, needs="numba"),
        "triton": Path(f"cuda.stencil:{name}", triton, needs="triton", dtypes=ALL_FLOATS),
    }


_apply = Kernel(
    "diffusion_apply",
    "(Tensor diagonal, Tensor coupling, Tensor u) -> Tensor",
    _apply_reference,
    **_paths("diffusion_apply", "one pass over memory instead of nine"),
    backward=_apply_backward,
)
_residual = Kernel(
    "diffusion_residual",
    "(Tensor diagonal, Tensor coupling, Tensor u, Tensor b) -> Tensor",
    _residual_reference,
    **_paths("diffusion_residual", "one pass over memory instead of ten"),
    backward=_residual_backward,
)
_apply_dot = Kernel(
    "diffusion_apply_dot",
    "(Tensor diagonal, Tensor coupling, Tensor u) -> (Tensor, Tensor)",
    _apply_dot_reference,
    **_paths("diffusion_apply_dot", "one pass over memory instead of eleven"),
    backward=_apply_dot_backward,
)
_apply_dot_inplace = Kernel(
    "diffusion_apply_dot_",
    "(Tensor(a!) y, Tensor diagonal, Tensor coupling, Tensor u) -> Tensor",
    in_place(lambda y, *args: _apply_dot_reference(*args), {0: 0}),
    **_paths("diffusion_apply_dot_", "the same into memory that is kept"),
)
_slopes = Kernel(
    "diffusion_slopes",
    "(Tensor g, Tensor u, bool shared, SymInt links) -> (Tensor, Tensor)",
    _slopes_reference,
    **_paths("diffusion_slopes", "one pass over memory; fields that share an operator are summed on the way"),
    backward=_slopes_backward,
)
_stencil = Kernel(
    "stencil_apply",
    "(Tensor weights, Tensor u, int edge) -> Tensor",
    _stencil_reference,
    **_paths("stencil_apply", "one pass over memory, no padded copy"),
    backward=_stencil_backward,
)
_stencil_adjoint = Kernel(
    "stencil_adjoint",
    "(Tensor weights, Tensor y, int edge) -> Tensor",
    _stencil_adjoint_reference,
    **_paths("stencil_adjoint", "one pass over memory, no padded copy"),
    backward=_stencil_adjoint_backward,
)
_stencil_slopes = Kernel(
    "stencil_slopes",
    "(Tensor g, Tensor u, int edge, bool own) -> Tensor",
    _stencil_slopes_reference,
    **_paths("stencil_slopes", "one pass over memory, all sums at once", "one pass over memory, then one small sum"),
    backward=_stencil_slopes_backward,
)
