r"""Smoothers of multigrid: a few sweeps over the diffusion operator of :mod:`sciops.kernels.stencil` in one pass.

What they do is described by :class:`~sciops.kernels.sweeps.Sweeps`, with the equation of :mod:`sciops.kernels.sweeps`.
The derivative in b of a smoother from a zero guess is the smoother of :meth:`~sciops.kernels.sweeps.Sweeps.adjoint`: so
every derivative is made of the same kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import ALL_FLOATS, Kernel, Path, saved_arguments
from sciops.kernels.stencil import (
    _apply_reference,
    diffusion_residual,
    diffusion_slopes,
    offsets,
    require_operator,
    require_shape,
)
from sciops.kernels.sweeps import Sweeps
from sciops.kernels.transfer import _prolong_reference, _restrict_reference, coarse_shape, prolong, restrict

if TYPE_CHECKING:
    from jaxtyping import Float


def l1_scale(
    diagonal: Float[Tensor, " batch *space"], coupling: Float[Tensor, "batch link *space"]
) -> Float[Tensor, " batch *space"]:
    r"""The scale of l1-Jacobi: one over the sum of the magnitudes in each row of A.

    :math:`s_i = 1 / \sum_j |A_{ij}|`; with it Jacobi converges for every symmetric positive definite A.

    Parameters
    ----------
    diagonal, coupling
        D and w of :mod:`sciops.kernels.stencil`.

    Returns
    -------
    Tensor
        s, of the shape of the diagonal.

    References
    ----------
    A. Baker, R. Falgout, T. Kolev, U. Yang, "Multigrid smoothers for ultraparallel computing", SIAM J. Sci. Comput.
    33, 2011.

    Examples
    --------
    >>> l1_scale(torch.full((1, 4), 2.0), torch.ones(1, 1, 4))
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    require_operator(diagonal, coupling, diagonal.unsqueeze(min(1, diagonal.ndim)))
    total, axes = diagonal.abs(), tuple(range(1, diagonal.ndim))
    for a, offset in enumerate(offsets(diagonal.ndim - 1, coupling.shape[1])):
        w = coupling[:, a].abs()
        total = total + w + w.roll(offset, axes)
    return 1 / total


def smooth(
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    scale: Float[Tensor, " batch *space"] | None,
    b: Float[Tensor, "batch rhs *space"],
    u: Float[Tensor, "batch rhs *space"] | None = None,
    *,
    sweeps: Sweeps,
    correction: Float[Tensor, "batch rhs *coarse"] | None = None,
) -> Float[Tensor, "batch rhs *space"]:
    """Some sweeps of a smoother, in one pass: u after them.

    Parameters
    ----------
    diagonal, coupling
        D and w of :mod:`sciops.kernels.stencil`; a batch of 1 serves any batch of fields.
    scale
        s of :mod:`sciops.kernels.sweeps`, of the shape of the diagonal; None for 1/D, which is quicker than that array.
    b
        Right-hand sides.
    u
        The guess; zero when None, which saves the first residual.
    sweeps
        What :func:`~sciops.kernels.sweeps.jacobi`, :func:`~sciops.kernels.sweeps.chebyshev` or
        :func:`~sciops.kernels.sweeps.gauss_seidel` returns.
    correction
        A field on the coarse grid of :func:`~sciops.kernels.transfer.restrict`; its constant prolongation is added to
        the guess first.

    Returns
    -------
    Tensor
        u after the sweeps, differentiable in all tensors to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> from sciops.kernels.sweeps import gauss_seidel
    >>> diagonal, coupling = torch.full((1, 4), 2.0), torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    >>> smooth(diagonal, coupling, 1 / diagonal, torch.ones(1, 1, 4), sweeps=gauss_seidel())
    tensor([[[0.5000, 1.0000, 0.5000, 0.7500]]])
    """
    _require_fields(diagonal, coupling, scale, b, u, correction, sweeps)
    y: Tensor = _smooth(
        diagonal, coupling, scale, b, u, correction, list(sweeps.momentum), list(sweeps.step), list(sweeps.colour)
    )
    return y


def smooth_residual(
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    scale: Float[Tensor, " batch *space"] | None,
    b: Float[Tensor, "batch rhs *space"],
    u: Float[Tensor, "batch rhs *space"] | None = None,
    *,
    sweeps: Sweeps,
    correction: Float[Tensor, "batch rhs *coarse"] | None = None,
    coarse: bool = False,
) -> tuple[Float[Tensor, "batch rhs *space"], Float[Tensor, "batch rhs *rest"]]:
    """Some sweeps of a smoother and the residual after them, in one pass.

    Parameters
    ----------
    diagonal, coupling, scale, b, u, sweeps, correction
        As of :func:`smooth`.
    coarse
        Restrict the residual by the adjoint of the constant prolongation: what the way down of a cycle needs.

    Returns
    -------
    tuple of Tensor
        u after the sweeps and b - A u, or its sums over the cells of each coarse cell. Differentiable in all tensors to
        any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> from sciops.kernels.sweeps import jacobi
    >>> diagonal, coupling = torch.full((1, 4), 2.0), torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    >>> u, r = smooth_residual(diagonal, coupling, 1 / diagonal, torch.ones(1, 1, 4), sweeps=jacobi(), coarse=True)
    >>> r
    tensor([[[1.5000, 1.5000]]])
    """
    _require_fields(diagonal, coupling, scale, b, u, correction, sweeps)
    y, r = _smooth_residual(
        diagonal,
        coupling,
        scale,
        b,
        u,
        correction,
        list(sweeps.momentum),
        list(sweeps.step),
        list(sweeps.colour),
        coarse,
    )
    return y, r


def smooth_(
    out: Float[Tensor, "batch rhs *space"],
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    scale: Float[Tensor, " batch *space"] | None,
    b: Float[Tensor, "batch rhs *space"],
    u: Float[Tensor, "batch rhs *space"] | None = None,
    *,
    sweeps: Sweeps,
    correction: Float[Tensor, "batch rhs *coarse"] | None = None,
) -> Float[Tensor, "batch rhs *space"]:
    """`smooth` into memory that the caller keeps, for loops; no derivative is recorded.

    A fresh result of some megabytes takes the system as long as the sweeps themselves.

    Parameters
    ----------
    out
        Where u after the sweeps goes, contiguous; not the memory of another argument, but `u` itself is allowed.
    diagonal, coupling, scale, b, u, sweeps, correction
        As of :func:`smooth`.

    Returns
    -------
    Tensor
        `out`.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or an `out` that shares memory with another argument.

    Examples
    --------
    >>> from sciops.kernels.sweeps import gauss_seidel
    >>> diagonal, coupling = torch.full((1, 4), 2.0), torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    >>> smooth_(torch.empty(1, 1, 4), diagonal, coupling, 1 / diagonal, torch.ones(1, 1, 4), sweeps=gauss_seidel())
    tensor([[[0.5000, 1.0000, 0.5000, 0.7500]]])
    """
    _require_fields(diagonal, coupling, scale, b, u, correction, sweeps)
    _require_apart("out", out, b.shape, diagonal, coupling, scale, b, None if u is out else u, correction)
    numbers = list(sweeps.momentum), list(sweeps.step), list(sweeps.colour)
    _smooth_inplace(out, diagonal, coupling, scale, b, u, correction, *numbers)
    return out


def smooth_residual_(
    out: Float[Tensor, "batch rhs *space"],
    residual: Float[Tensor, "batch rhs *rest"],
    diagonal: Float[Tensor, " batch *space"],
    coupling: Float[Tensor, "batch link *space"],
    scale: Float[Tensor, " batch *space"] | None,
    b: Float[Tensor, "batch rhs *space"],
    u: Float[Tensor, "batch rhs *space"] | None = None,
    *,
    sweeps: Sweeps,
    correction: Float[Tensor, "batch rhs *coarse"] | None = None,
    coarse: bool = False,
) -> tuple[Float[Tensor, "batch rhs *space"], Float[Tensor, "batch rhs *rest"]]:
    """`smooth_residual` into memory that the caller keeps, for loops; no derivative is recorded.

    Parameters
    ----------
    out, residual
        Where u after the sweeps and its residual (or its restriction) go, contiguous; not the memory of another
        argument, but `out` may be `u` itself.
    diagonal, coupling, scale, b, u, sweeps, correction, coarse
        As of :func:`smooth_residual`.

    Returns
    -------
    tuple of Tensor
        `out` and `residual`.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or results that share memory with another argument.

    Examples
    --------
    >>> from sciops.kernels.sweeps import jacobi
    >>> diagonal, coupling = torch.full((1, 4), 2.0), torch.tensor([[[1.0, 1.0, 1.0, 0.0]]])
    >>> u, r = torch.empty(1, 1, 4), torch.empty(1, 1, 2)
    >>> operator = diagonal, coupling, 1 / diagonal
    >>> smooth_residual_(u, r, *operator, torch.ones(1, 1, 4), sweeps=jacobi(), coarse=True)[1]
    tensor([[[1.5000, 1.5000]]])
    """
    _require_fields(diagonal, coupling, scale, b, u, correction, sweeps)
    rest = coarse_shape(b.shape[2:]) if coarse else b.shape[2:]
    guess = None if u is out else u
    _require_apart("out", out, b.shape, residual, diagonal, coupling, scale, b, guess, correction)
    _require_apart("residual", residual, (*b.shape[:2], *rest), diagonal, coupling, scale, b, u, correction)
    numbers = list(sweeps.momentum), list(sweeps.step), list(sweeps.colour)
    _smooth_residual_inplace(out, residual, diagonal, coupling, scale, b, u, correction, *numbers, coarse)
    return out, residual


def _require_apart(name: str, out: Tensor, shape: Sequence[int], *others: Tensor | None) -> None:
    require_shape(name, out, tuple(shape))
    if not out.is_contiguous():
        raise InputError(f"{name} of strides {out.stride()} is not contiguous; give it memory of its own")
    start = out.untyped_storage().data_ptr()
    for other in others:
        if other is not None and other.untyped_storage().data_ptr() == start and _overlap(out, other):
            raise InputError(f"{name} shares memory with another argument; give it memory of its own")


def _overlap(a: Tensor, b: Tensor) -> bool:
    """Whether the parts of one memory that two tensors reach over overlap."""
    ends = [t.storage_offset() + sum((n - 1) * s for n, s in zip(t.shape, t.stride(), strict=True)) for t in (a, b)]
    return a.storage_offset() <= ends[1] and b.storage_offset() <= ends[0]


def _require_fields(
    diagonal: Tensor,
    coupling: Tensor,
    scale: Tensor | None,
    b: Tensor,
    u: Tensor | None,
    correction: Tensor | None,
    sweeps: Sweeps,
) -> None:
    if not isinstance(sweeps, Sweeps):
        raise InputError(f"sweeps are what jacobi, chebyshev or gauss_seidel return, got {sweeps!r}")
    require_operator(diagonal, coupling, b)
    if scale is not None:
        require_shape("scale", scale, diagonal.shape)
    if u is not None:
        require_shape("guess", u, b.shape)
    if correction is not None:
        require_shape("correction", correction, (*b.shape[:2], *coarse_shape(b.shape[2:])))


def _checkerboard(b: Tensor, colour: int) -> Tensor:
    """One where a sweep changes the cell."""
    if colour == 0:
        return b.new_ones((1,) * b.ndim)
    d = b.ndim - 2
    total = torch.zeros((1,) * b.ndim, dtype=torch.int64, device=b.device)
    for a in range(d):
        total = total + torch.arange(b.shape[a + 2], device=b.device).view(-1, *(1,) * (d - a - 1))
    return (total % 2 == colour - 1).to(b.dtype)


def _start(b: Tensor, u: Tensor | None, correction: Tensor | None) -> Tensor:
    if correction is not None:
        return _prolong_reference(correction, u, list(b.shape[2:]))
    return torch.zeros_like(b) if u is None else u


def _smooth_reference(
    diagonal: Tensor,
    coupling: Tensor,
    scale: Tensor | None,
    b: Tensor,
    u: Tensor | None,
    correction: Tensor | None,
    momentum: list[float],
    step: list[float],
    colour: list[int],
) -> Tensor:
    s = (1 / diagonal if scale is None else scale)[:, None]
    x = before = _start(b, u, correction)
    for alpha, beta, c in zip(momentum, step, colour, strict=True):
        r = b - _apply_reference(diagonal, coupling, x)
        x, before = x + alpha * (x - before) + beta * _checkerboard(b, c) * s * r, x
    return x


def _smooth_residual_reference(
    diagonal: Tensor,
    coupling: Tensor,
    scale: Tensor | None,
    b: Tensor,
    u: Tensor | None,
    correction: Tensor | None,
    momentum: list[float],
    step: list[float],
    colour: list[int],
    coarse: bool,
) -> tuple[Tensor, Tensor]:
    x = _smooth_reference(diagonal, coupling, scale, b, u, correction, momentum, step, colour)
    r = b - _apply_reference(diagonal, coupling, x)
    if coarse:
        r = _restrict_reference(r)
    return x, r


def _smooth_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    return _slopes_of(ctx, g, None, False, 9)


def _smooth_residual_backward(ctx: Any, g: Tensor | None, of_r: Tensor | None) -> tuple[Tensor | None, ...]:
    coarse = ctx.others[9]
    if g is None:
        g = torch.zeros_like(ctx.saved_tensors[3])
    return _slopes_of(ctx, g, of_r, coarse, 10)


def _slopes_of(ctx: Any, g: Tensor, of_r: Tensor | None, coarse: bool, count: int) -> tuple[Tensor | None, ...]:
    args = saved_arguments(ctx)
    diagonal, coupling, scale, b, u, correction = args[:6]
    sweeps = Sweeps(*(tuple(a) for a in args[6:9]))
    wanted, of_b = ctx.needs_input_grad, None
    if of_r is not None:
        # r = b - A u: its gradient adds to those of b and of the last u
        of_b = prolong(of_r, b.shape[2:]) if coarse else of_r
        g = diffusion_residual(diagonal, coupling, of_b, g)
    found: list[Tensor | None] = [None] * count
    if any(wanted[:3]):
        found[:3], in_b, in_u = _slopes_with_operator(diagonal, coupling, scale, b, u, correction, sweeps, g, of_b)
    else:
        back = sweeps.adjoint()
        if wanted[4] or wanted[5]:
            in_b, in_u = smooth_residual(diagonal, coupling, scale, g, sweeps=back)
        else:
            in_b, in_u = smooth(diagonal, coupling, scale, g, sweeps=back), None
    found[3] = in_b if of_b is None else in_b + of_b
    if in_u is not None and wanted[4]:
        found[4] = in_u
    if in_u is not None and wanted[5]:
        found[5] = restrict(in_u)
    return tuple(f if w else None for f, w in zip(found, (*wanted, *(False,) * count), strict=False))


def _slopes_with_operator(
    diagonal: Tensor,
    coupling: Tensor,
    scale: Tensor | None,
    b: Tensor,
    u: Tensor | None,
    correction: Tensor | None,
    sweeps: Sweeps,
    g: Tensor,
    of_b: Tensor | None,
) -> tuple[list[Tensor | None], Tensor, Tensor]:
    """All derivatives, by going through the sweeps again: those in the operator need every u_k and residual."""
    s, shared = (1 / diagonal if scale is None else scale)[:, None], diagonal.shape[0] == 1
    masks = [s * beta * _checkerboard(b, c) for beta, c in zip(sweeps.step, sweeps.colour, strict=True)]
    states, residuals, x, move = [], [], None, None
    if correction is not None:
        x = prolong(correction, b.shape[2:])
    if u is not None:
        x = u if x is None else x + u
    for alpha, mask in zip(sweeps.momentum, masks, strict=True):
        r = b if x is None else diffusion_residual(diagonal, coupling, x, b)
        states.append(torch.zeros_like(b) if x is None else x)
        residuals.append(r)
        move = mask * r if move is None or not alpha else alpha * move + mask * r
        x = move if x is None else x + move
    assert x is not None
    pulls, in_scale, in_b, carry = [], None, None, None
    momenta = (*sweeps.momentum[1:], 0.0)
    for k in reversed(range(len(masks))):
        carry = g if carry is None or not momenta[k] else g + momenta[k] * carry
        pull = masks[k] * carry
        pulls.append(pull)
        part = residuals[k] * carry * (sweeps.step[k] * _checkerboard(b, sweeps.colour[k]))
        in_scale = part if in_scale is None else in_scale + part
        in_b = pull if in_b is None else in_b + pull
        g = diffusion_residual(diagonal, coupling, pull, g)
    states.reverse()
    if of_b is not None:
        pulls.append(of_b)
        states.append(x)
    assert in_scale is not None and in_b is not None
    # the sum over sweeps is one over more right-hand sides
    in_diagonal, in_coupling = diffusion_slopes(-torch.cat(pulls, 1), torch.cat(states, 1), shared, coupling.shape[1])
    in_scale = in_scale.sum((0, 1))[None] if shared else in_scale.sum(1)
    if scale is None:
        return [in_diagonal - in_scale / diagonal.square(), in_coupling, None], in_b, g
    return [in_diagonal, in_coupling, in_scale], in_b, g


_ARGUMENTS = (
    "Tensor diagonal, Tensor coupling, Tensor? scale, Tensor b, Tensor? u, Tensor? correction, "
    "float[] momentum, float[] step, int[] colour"
)
_smooth = Kernel(
    "smooth",
    f"({_ARGUMENTS}) -> Tensor",
    _smooth_reference,
    cpu=Path(
        "cpu.smoothing:smooth", "all sweeps in one pass: planes follow each other through the cache", needs="numba"
    ),
    triton=Path("cuda.smoothing:smooth", "one pass for each sweep", needs="triton", dtypes=ALL_FLOATS),
    backward=_smooth_backward,
)
_smooth_residual = Kernel(
    "smooth_residual",
    f"({_ARGUMENTS}, bool coarse) -> (Tensor, Tensor)",
    _smooth_residual_reference,
    cpu=Path("cpu.smoothing:smooth_residual", "all sweeps, residual and restriction in one pass", needs="numba"),
    triton=Path(
        "cuda.smoothing:smooth_residual",
        "one pass for each sweep, one for residual and restriction",
        needs="triton",
        dtypes=ALL_FLOATS,
    ),
    backward=_smooth_residual_backward,
)


def _smooth_inplace_reference(out: Tensor, *args: Any) -> None:
    out.copy_(_smooth_reference(*args))


def _smooth_residual_inplace_reference(out: Tensor, residual: Tensor, *args: Any) -> None:
    u, r = _smooth_residual_reference(*args)
    out.copy_(u)
    residual.copy_(r)


_smooth_inplace = Kernel(
    "smooth_",
    f"(Tensor(a!) out, {_ARGUMENTS}) -> ()",
    _smooth_inplace_reference,
    cpu=Path("cpu.smoothing:smooth_", "the same into memory that is kept", needs="numba"),
    triton=Path("cuda.smoothing:smooth_", "one pass for each sweep", needs="triton", dtypes=ALL_FLOATS),
)
_smooth_residual_inplace = Kernel(
    "smooth_residual_",
    f"(Tensor(a!) out, Tensor(b!) residual, {_ARGUMENTS}, bool coarse) -> ()",
    _smooth_residual_inplace_reference,
    cpu=Path("cpu.smoothing:smooth_residual_", "the same into memory that is kept", needs="numba"),
    triton=Path(
        "cuda.smoothing:smooth_residual_",
        "one pass for each sweep, one for residual and restriction",
        needs="triton",
        dtypes=ALL_FLOATS,
    ),
)
