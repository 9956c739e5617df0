"""The vector work of BiCGStab, for any system; conventions in :mod:`~sciops.kernels.systems`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciops.kernels.dispatch import Kernel, Path
from sciops.kernels.systems import (
    Status,
    in_place,
    inner,
    judge,
    ratio,
    require_scalars,
    require_vectors,
    require_writable,
    step,
    wide,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def bicgstab_half(
    r: Float[Tensor, "system n"],
    r_hat: Float[Tensor, "system n"],
    v: Float[Tensor, "system n"],
    rho: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""The first half of BiCGStab.

    .. math:: \alpha = \rho / \langle \hat r, v\rangle, \quad s = r - \alpha v

    Parameters
    ----------
    r, r_hat
        The residual, and the shadow residual, which never changes.
    v
        A M p.
    rho
        <r_hat, r>.
    status
        See :mod:`~sciops.kernels.systems`. Becomes BREAKDOWN where <r_hat, v> = 0, NOT_FINITE for a NaN or infinity.

    Returns
    -------
    s
        The residual after half a step; r for systems that are frozen.
    alpha
        The step; 0 for systems that are frozen.
    ss
        <s, s>.
    status
        After the step.

    Raises
    ------
    InputError
        For other shapes or dtypes.

    Notes
    -----
    Moves 5 n numbers.

    Examples
    --------
    >>> one, running = torch.ones(1, 1), torch.zeros(1, dtype=torch.int32)
    >>> s, alpha, *_ = bicgstab_half(2 * one, one, 4 * one, torch.tensor([2.0]), running)
    >>> s.item(), alpha.item()
    (0.0, 0.5)
    """
    require_vectors(r=r, r_hat=r_hat, v=v)
    require_scalars(r, status, rho=rho)
    found: tuple[Tensor, Tensor, Tensor, Tensor] = _bicgstab_half(r, r_hat, v, wide(rho), status)
    return found


def bicgstab_half_(
    r: Float[Tensor, "system n"],
    r_hat: Float[Tensor, "system n"],
    v: Float[Tensor, "system n"],
    rho: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
) -> tuple[Tensor, Tensor]:
    """:func:`bicgstab_half`, with s written into r, and into status; returns (alpha, ss)."""
    require_vectors(r=r, r_hat=r_hat, v=v)
    require_scalars(r, status, rho=rho)
    require_writable(r=r, status=status)
    found: tuple[Tensor, Tensor] = _bicgstab_half_(r, r_hat.contiguous(), v.contiguous(), wide(rho), status)
    return found


def bicgstab_update(
    x: Float[Tensor, "system n"],
    s: Float[Tensor, "system n"],
    Mp: Float[Tensor, "system n"],
    Ms: Float[Tensor, "system n"],
    t: Float[Tensor, "system n"],
    r_hat: Float[Tensor, "system n"],
    alpha: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""The second half of BiCGStab.

    .. math:: \omega = \langle t, s\rangle / \langle t, t\rangle, \quad x \leftarrow x + \alpha M p + \omega M s, \quad
        r = s - \omega t

    Parameters
    ----------
    x, s
        The iterate, and the residual after half a step.
    Mp, Ms, t
        M p, M s, and A M s.
    r_hat
        The shadow residual.
    alpha
        The step of the first half.
    status
        See :mod:`~sciops.kernels.systems`. Becomes NOT_FINITE for a NaN or infinity, and, after the step, BREAKDOWN
        where omega = 0, which is also how a system ends that s = 0 has solved.

    Returns
    -------
    x, r
        After the step; s for systems that are frozen.
    omega, rho, rr
        The step, <r_hat, r> and <r, r>; omega is 0 for systems that were frozen before.
    status
        After the step.

    Raises
    ------
    InputError
        For other shapes or dtypes.

    Notes
    -----
    Moves 10 n numbers.

    Examples
    --------
    >>> one, running = torch.ones(1, 1), torch.zeros(1, dtype=torch.int32)
    >>> x, r, *_ = bicgstab_update(0 * one, one, one, one, 2 * one, one, torch.tensor([1.0]), running)
    >>> x.item(), r.item()
    (1.5, 0.0)
    """
    require_vectors(x=x, s=s, Mp=Mp, Ms=Ms, t=t, r_hat=r_hat)
    require_scalars(x, status, alpha=alpha)
    found: tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
    found = _bicgstab_update(x, s, Mp, Ms, t, r_hat, wide(alpha), status)
    return found


def bicgstab_update_(
    x: Float[Tensor, "system n"],
    s: Float[Tensor, "system n"],
    Mp: Float[Tensor, "system n"],
    Ms: Float[Tensor, "system n"],
    t: Float[Tensor, "system n"],
    r_hat: Float[Tensor, "system n"],
    alpha: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`bicgstab_update`, with r written into s, and into x and status; returns (omega, rho, rr)."""
    require_vectors(x=x, s=s, Mp=Mp, Ms=Ms, t=t, r_hat=r_hat)
    require_scalars(x, status, alpha=alpha)
    require_writable(x=x, s=s, status=status)
    read = (a.contiguous() for a in (Mp, Ms, t, r_hat))
    found: tuple[Tensor, Tensor, Tensor] = _bicgstab_update_(x, s, *read, wide(alpha), status)
    return found


def bicgstab_direction(
    p: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    v: Float[Tensor, "system n"],
    rho: Float[Tensor, " system"],
    rho_old: Float[Tensor, " system"],
    alpha: Float[Tensor, " system"],
    omega: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The next direction of BiCGStab.

    .. math:: \beta = \frac{\rho}{\rho_{old}} \frac{\alpha}{\omega}, \quad p \leftarrow r + \beta (p - \omega v)

    Parameters
    ----------
    p, r, v
        The direction, the residual, and A M p.
    rho, rho_old
        <r_hat, r> now and in the step before.
    alpha, omega
        The steps of both halves.
    status
        See :mod:`~sciops.kernels.systems`. Becomes BREAKDOWN where rho = 0 (r has become orthogonal to r_hat),
        NOT_FINITE for a NaN or infinity.

    Returns
    -------
    p
        The new direction.
    beta
        Its coefficient; 0 for systems that are frozen.
    status
        After the step.

    Raises
    ------
    InputError
        For other shapes or dtypes.

    Notes
    -----
    Moves 4 n numbers.

    References
    ----------
    H. A. van der Vorst, "Bi-CGSTAB: a fast and smoothly converging variant of Bi-CG", 1992.

    Examples
    --------
    >>> one, s, running = torch.ones(1, 1), torch.ones(1), torch.zeros(1, dtype=torch.int32)
    >>> p, beta, _ = bicgstab_direction(3 * one, one, one, s, s, s, 2 * s, running)
    >>> p.item(), beta.item()
    (1.5, 0.5)
    """
    require_vectors(p=p, r=r, v=v)
    require_scalars(p, status, rho=rho, rho_old=rho_old, alpha=alpha, omega=omega)
    scalars = (wide(rho), wide(rho_old), wide(alpha), wide(omega))
    found: tuple[Tensor, Tensor, Tensor] = _bicgstab_direction(p, r, v, *scalars, status)
    return found


def bicgstab_direction_(
    p: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    v: Float[Tensor, "system n"],
    rho: Float[Tensor, " system"],
    rho_old: Float[Tensor, " system"],
    alpha: Float[Tensor, " system"],
    omega: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
) -> Tensor:
    """:func:`bicgstab_direction`, written into p and status; returns beta."""
    require_vectors(p=p, r=r, v=v)
    require_scalars(p, status, rho=rho, rho_old=rho_old, alpha=alpha, omega=omega)
    require_writable(p=p, status=status)
    scalars = (wide(rho), wide(rho_old), wide(alpha), wide(omega))
    found: Tensor = _bicgstab_direction_(p, r.contiguous(), v.contiguous(), *scalars, status)
    return found


def _bicgstab_half_reference(
    r: Tensor, r_hat: Tensor, v: Tensor, rho: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    divisor = inner(r_hat, v)
    after = judge(status, divisor, Status.BREAKDOWN, definite=False)
    alpha = ratio(after == 0, rho, divisor)
    s = step(after == 0, r, -alpha, v)
    return s, alpha, inner(s, s), after


def _bicgstab_update_reference(
    x: Tensor, s: Tensor, Mp: Tensor, Ms: Tensor, t: Tensor, r_hat: Tensor, alpha: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    ts, tt = inner(t, s), inner(t, t)
    after = torch.where((status == 0) & ~(ts + tt).isfinite(), int(Status.NOT_FINITE), status)
    go = after == 0
    omega = ratio(go & (tt > 0), ts, tt)
    x = step(go, step(go, x, alpha, Mp), omega, Ms)
    r = step(go, s, -omega, t)
    ended = torch.where(go & (omega == 0), int(Status.BREAKDOWN), after)
    return x, r, omega, inner(r_hat, r), inner(r, r), ended


def _bicgstab_direction_reference(
    p: Tensor,
    r: Tensor,
    v: Tensor,
    rho: Tensor,
    rho_old: Tensor,
    alpha: Tensor,
    omega: Tensor,
    status: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    divisor = torch.where(rho == 0, 0.0, rho_old * omega)
    after = judge(status, divisor, Status.BREAKDOWN, definite=False)
    beta = ratio(after == 0, rho * alpha, divisor)
    size, turn = beta.to(p.dtype)[:, None], (beta * omega).to(p.dtype)[:, None]
    return torch.where((after == 0)[:, None], r + size * p - turn * v, p), beta, after


_bicgstab_half = Kernel(
    "bicgstab_half",
    "(Tensor r, Tensor r_hat, Tensor v, Tensor rho, Tensor status) -> (Tensor, Tensor, Tensor, Tensor)",
    _bicgstab_half_reference,
    cpu=Path("cpu.bicgstab:bicgstab_half", "as bicgstab_half_, on copies", needs="numba"),
    triton=Path("cuda.bicgstab:bicgstab_half", "two passes over memory", needs="triton"),
    mixed=True,
)
_bicgstab_half_ = Kernel(
    "bicgstab_half_",
    "(Tensor(a!) r, Tensor r_hat, Tensor v, Tensor rho, Tensor(b!) status) -> (Tensor, Tensor)",
    in_place(_bicgstab_half_reference, {0: 0, 4: 3}),
    cpu=Path("cpu.bicgstab:bicgstab_half_", "two passes over memory: 3.6x at 1024^2", needs="numba"),
    triton=Path("cuda.bicgstab:bicgstab_half_", "two passes over memory", needs="triton"),
    mixed=True,
)
_SECOND = "Tensor Mp, Tensor Ms, Tensor t, Tensor r_hat, Tensor alpha, Tensor{} status"
_bicgstab_update = Kernel(
    "bicgstab_update",
    f"(Tensor x, Tensor s, {_SECOND.format('')}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _bicgstab_update_reference,
    cpu=Path("cpu.bicgstab:bicgstab_update", "as bicgstab_update_, on copies", needs="numba"),
    triton=Path("cuda.bicgstab:bicgstab_update", "two passes over memory", needs="triton"),
    mixed=True,
)
_bicgstab_update_ = Kernel(
    "bicgstab_update_",
    f"(Tensor(a!) x, Tensor(b!) s, {_SECOND.format('(c!)')}) -> (Tensor, Tensor, Tensor)",
    in_place(_bicgstab_update_reference, {0: 0, 1: 1, 7: 5}),
    cpu=Path("cpu.bicgstab:bicgstab_update_", "two passes over memory: 7.0x at 1024^2", needs="numba"),
    triton=Path("cuda.bicgstab:bicgstab_update_", "two passes over memory", needs="triton"),
    mixed=True,
)
_STEPS = "Tensor r, Tensor v, Tensor rho, Tensor rho_old, Tensor alpha, Tensor omega, Tensor{} status"
_bicgstab_direction = Kernel(
    "bicgstab_direction",
    f"(Tensor p, {_STEPS.format('')}) -> (Tensor, Tensor, Tensor)",
    _bicgstab_direction_reference,
    cpu=Path("cpu.bicgstab:bicgstab_direction", "as bicgstab_direction_, on copies", needs="numba"),
    triton=Path("cuda.bicgstab:bicgstab_direction", "one pass over memory", needs="triton"),
    mixed=True,
)
_bicgstab_direction_ = Kernel(
    "bicgstab_direction_",
    f"(Tensor(a!) p, {_STEPS.format('(b!)')}) -> Tensor",
    in_place(_bicgstab_direction_reference, {0: 0, 7: 2}),
    cpu=Path("cpu.bicgstab:bicgstab_direction_", "one pass over memory: 3.9x at 1024^2", needs="numba"),
    triton=Path("cuda.bicgstab:bicgstab_direction_", "one pass over memory", needs="triton"),
    mixed=True,
)
