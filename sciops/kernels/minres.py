"""The vector work of MINRES, for symmetric indefinite systems; conventions in :mod:`~sciops.kernels.systems`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import Kernel, Path
from sciops.kernels.systems import (
    Status,
    in_place,
    inner,
    judge,
    ratio,
    require_floating,
    require_scalars,
    require_vectors,
    require_writable,
    step,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def minres_start(beta: Float[Tensor, " system"]) -> Float[Tensor, "8 system"]:
    """The scalars that MINRES carries, before its first step, for beta = sqrt(<r, M r>).

    The rows are beta of the step before and of this one, the alpha of Lanczos, the three entries of the column of the
    triangular factor that the next step needs (delta, epsilon) with the rotation (cosine, sine), and phi, the norm of
    the residual in the inner product of M.

    Raises
    ------
    InputError
        Unless beta is floating and has one entry for each system.

    Examples
    --------
    >>> minres_start(torch.tensor([2.0]))[:, 0].tolist()
    [0.0, 2.0, 0.0, 0.0, 0.0, -1.0, 0.0, 2.0]
    """
    if beta.ndim != 1:
        raise InputError(f"beta has shape {tuple(beta.shape)}, expected (system,)")
    require_floating(beta=beta)
    beta = beta.double()
    zero = torch.zeros_like(beta)
    return torch.stack([zero, beta, zero, zero, zero, zero - 1, zero, beta])


def minres_lanczos(
    r_old: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    z: Float[Tensor, "system n"],
    Az: Float[Tensor, "system n"],
    scalars: Float[Tensor, "8 system"],
    status: Int[Tensor, " system"],
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The next vector of Lanczos, before it is normalised.

    .. math:: \alpha = \Big\langle \frac{z}{\beta}, \frac{A z}{\beta} - \frac{\beta}{\beta_{old}} r_{old} \Big\rangle,
        \quad r_{new} = \frac{A z}{\beta} - \frac{\beta}{\beta_{old}} r_{old} - \frac{\alpha}{\beta} r

    Parameters
    ----------
    r_old, r
        The last two vectors; at the start 0 and b - A x.
    z, Az
        M r (or r itself), and A applied to it.
    scalars
        See :func:`minres_start`; alpha is set.
    status
        See :mod:`~sciops.kernels.systems`.
        Becomes NOT_FINITE where alpha is NaN or infinite.

    Returns
    -------
    r_new, scalars, status
        After the step; r_new is r_old for systems that are frozen.

    Raises
    ------
    InputError
        For other shapes or dtypes.

    Notes
    -----
    Moves 7 n numbers. M must be symmetric positive definite, A only symmetric.

    Examples
    --------
    >>> r, running = torch.tensor([[1.0, 0.0]]), torch.zeros(1, dtype=torch.int32)
    >>> Az = torch.tensor([[3.0, 2.0]])
    >>> r_new, *_ = minres_lanczos(0 * r, r, r, Az, minres_start(torch.ones(1)), running)
    >>> r_new.tolist()
    [[0.0, 2.0]]
    """
    require_vectors(r_old=r_old, r=r, z=z, Az=Az)
    _require_minres(r, scalars, status)
    found: tuple[Tensor, Tensor, Tensor] = _minres_lanczos(r_old, r, z, Az, scalars, status)
    return found


def minres_lanczos_(
    r_old: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    z: Float[Tensor, "system n"],
    Az: Float[Tensor, "system n"],
    scalars: Float[Tensor, "8 system"],
    status: Int[Tensor, " system"],
) -> Tensor:
    """:func:`minres_lanczos`, with r_new written into r_old, and into scalars and status; returns alpha."""
    require_vectors(r_old=r_old, r=r, z=z, Az=Az)
    _require_minres(r, scalars, status)
    require_writable(r_old=r_old, scalars=scalars, status=status)
    found: Tensor = _minres_lanczos_(r_old, r.contiguous(), z.contiguous(), Az.contiguous(), scalars, status)
    return found


def minres_update(
    x: Float[Tensor, "system n"],
    w_old: Float[Tensor, "system n"],
    w: Float[Tensor, "system n"],
    z: Float[Tensor, "system n"],
    r_new: Float[Tensor, "system n"],
    z_new: Float[Tensor, "system n"],
    scalars: Float[Tensor, "8 system"],
    status: Int[Tensor, " system"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Rotate the new column of the tridiagonal matrix away, and step.

    .. math:: \beta_{new}^2 = \langle r_{new}, z_{new}\rangle, \quad
        w_{new} = \frac{1}{\gamma}\Big(\frac{z}{\beta} - \epsilon w_{old} - \delta w\Big), \quad
        x \leftarrow x + \varphi w_{new}

    Parameters
    ----------
    x
        The iterate.
    w_old, w
        The last two directions; 0 at the start.
    z
        As :func:`minres_lanczos` had it.
    r_new, z_new
        What it returned, and M applied to it.
    scalars
        As it returned them; all are set.
    status
        See :mod:`~sciops.kernels.systems`.
        Becomes INDEFINITE_PRECONDITIONER where <r_new, z_new> < 0, NOT_FINITE where it is NaN or
        infinite, BREAKDOWN where gamma = 0 (A is singular), and, after the step, EXHAUSTED where beta_new = 0.

    Returns
    -------
    x, w_new, scalars, status
        After the step; w_new is w_old for systems that are frozen. The last row of scalars, phi, is the norm of the
        residual in the inner product of M.

    Raises
    ------
    InputError
        For other shapes or dtypes.

    Notes
    -----
    Moves 8 n numbers.

    References
    ----------
    C. C. Paige and M. A. Saunders, "Solution of sparse indefinite systems of linear equations", 1975.

    Examples
    --------
    >>> r, running = torch.tensor([[1.0, 0.0]]), torch.zeros(1, dtype=torch.int32)
    >>> zero, start = 0 * r, minres_start(torch.ones(1))
    >>> r_new, scalars, _ = minres_lanczos(zero, r, r, -2 * r, start, running)
    >>> x, _, scalars, status = minres_update(zero, zero, zero, r, r_new, r_new, scalars, running)
    >>> x.tolist(), status.item() == Status.EXHAUSTED
    ([[-0.5, 0.0]], True)
    """
    require_vectors(x=x, w_old=w_old, w=w, z=z, r_new=r_new, z_new=z_new)
    _require_minres(x, scalars, status)
    found: tuple[Tensor, Tensor, Tensor, Tensor] = _minres_update(x, w_old, w, z, r_new, z_new, scalars, status)
    return found


def minres_update_(
    x: Float[Tensor, "system n"],
    w_old: Float[Tensor, "system n"],
    w: Float[Tensor, "system n"],
    z: Float[Tensor, "system n"],
    r_new: Float[Tensor, "system n"],
    z_new: Float[Tensor, "system n"],
    scalars: Float[Tensor, "8 system"],
    status: Int[Tensor, " system"],
) -> Tensor:
    """:func:`minres_update`, with w_new written into w_old, and into x, scalars and status; returns phi."""
    require_vectors(x=x, w_old=w_old, w=w, z=z, r_new=r_new, z_new=z_new)
    _require_minres(x, scalars, status)
    require_writable(x=x, w_old=w_old, scalars=scalars, status=status)
    read = (w.contiguous(), z.contiguous(), r_new.contiguous(), z_new.contiguous())
    found: Tensor = _minres_update_(x, w_old, *read, scalars, status)
    return found


def _require_minres(like: Tensor, scalars: Tensor, status: Tensor) -> None:
    require_scalars(like, status)
    if scalars.shape != (8, len(like)) or scalars.dtype != torch.float64:
        raise InputError(
            f"the scalars have shape {tuple(scalars.shape)} and dtype {scalars.dtype}, "
            f"expected (8, {len(like)}) in float64 as minres_start makes them"
        )


def _minres_lanczos_reference(
    r_old: Tensor, r: Tensor, z: Tensor, Az: Tensor, scalars: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    beta_old, beta = scalars[0], scalars[1]
    back = ratio(beta_old > 0, beta, beta_old).to(r.dtype)[:, None]
    size = torch.where(status == 0, beta, 1.0)
    wide = size.to(r.dtype)[:, None]
    r_new = Az / wide - back * r_old
    alpha = inner(z, r_new) / size
    after = torch.where((status == 0) & ~alpha.isfinite(), int(Status.NOT_FINITE), status)
    r_new = r_new - (alpha / size).to(r.dtype)[:, None] * r
    scalars = torch.cat([scalars[:2], torch.where(after == 0, alpha, scalars[2])[None], scalars[3:]])
    return torch.where((after == 0)[:, None], r_new, r_old), scalars, after


def _minres_update_reference(
    x: Tensor,
    w_old: Tensor,
    w: Tensor,
    z: Tensor,
    r_new: Tensor,
    z_new: Tensor,
    scalars: Tensor,
    status: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    _, beta, alpha, dbar, epsilon, cosine, sine, phi = scalars.unbind()
    square = inner(r_new, z_new)
    after = judge(status, torch.where(square == 0, 1.0, square), Status.INDEFINITE_PRECONDITIONER)
    beta_new = torch.where((after == 0) & (square > 0), square, 1.0).sqrt()
    beta_new = torch.where((after == 0) & (square > 0), beta_new, 0.0)
    delta, gbar = cosine * dbar + sine * alpha, sine * dbar - cosine * alpha
    norm = gbar.square() + beta_new.square()
    after = torch.where((after == 0) & (norm == 0), int(Status.BREAKDOWN), after)
    go = after == 0
    gamma = torch.where(go, norm, 1.0).sqrt()
    c, s = gbar / gamma, beta_new / gamma
    start = (1 / torch.where(go, beta * gamma, 1.0)).to(x.dtype)[:, None] * z
    found = start - (epsilon / gamma).to(x.dtype)[:, None] * w_old - (delta / gamma).to(x.dtype)[:, None] * w
    w_new = torch.where(go[:, None], found, w_old)
    x = step(go, x, c * phi, w_new)
    rows = torch.stack([beta, beta_new, alpha, -cosine * beta_new, sine * beta_new, c, s, s * phi])
    ended = torch.where(go & (beta_new == 0), int(Status.EXHAUSTED), after)
    return x, w_new, torch.where(go, rows, scalars), ended


_minres_lanczos = Kernel(
    "minres_lanczos",
    "(Tensor r_old, Tensor r, Tensor z, Tensor Az, Tensor scalars, Tensor status) -> (Tensor, Tensor, Tensor)",
    _minres_lanczos_reference,
    cpu=Path("cpu.minres:minres_lanczos", "as minres_lanczos_, on copies", needs="numba"),
    triton=Path("cuda.minres:minres_lanczos", "two passes over memory", needs="triton"),
    mixed=True,
)
_minres_lanczos_ = Kernel(
    "minres_lanczos_",
    "(Tensor(a!) r_old, Tensor r, Tensor z, Tensor Az, Tensor(b!) scalars, Tensor(c!) status) -> Tensor",
    in_place(_minres_lanczos_reference, {0: 0, 4: 1, 5: 2}, lambda r_new, scalars, after: scalars[2].clone()),
    cpu=Path("cpu.minres:minres_lanczos_", "two passes over memory: 5.0x at 1024^2", needs="numba"),
    triton=Path("cuda.minres:minres_lanczos_", "two passes over memory", needs="triton"),
    mixed=True,
)
_NEW = "Tensor w, Tensor z, Tensor r_new, Tensor z_new"
_minres_update = Kernel(
    "minres_update",
    f"(Tensor x, Tensor w_old, {_NEW}, Tensor scalars, Tensor status) -> (Tensor, Tensor, Tensor, Tensor)",
    _minres_update_reference,
    cpu=Path("cpu.minres:minres_update", "as minres_update_, on copies", needs="numba"),
    triton=Path("cuda.minres:minres_update", "two passes over memory", needs="triton"),
    mixed=True,
)
_minres_update_ = Kernel(
    "minres_update_",
    f"(Tensor(a!) x, Tensor(b!) w_old, {_NEW}, Tensor(c!) scalars, Tensor(d!) status) -> Tensor",
    in_place(_minres_update_reference, {0: 0, 1: 1, 6: 2, 7: 3}, lambda x, w, scalars, after: scalars[7].clone()),
    cpu=Path("cpu.minres:minres_update_", "two passes over memory: 6.3x at 1024^2", needs="numba"),
    triton=Path("cuda.minres:minres_update_", "two passes over memory", needs="triton"),
    mixed=True,
)
