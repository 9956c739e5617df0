"""The vector work of GMRES and BiCGStab, for any system; conventions in :mod:`~sciops.kernels.systems`."""

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
    require_scalars,
    require_vectors,
    require_writable,
    step,
    wide,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def arnoldi(
    V: Float[Tensor, "kept system n"], w: Float[Tensor, "system n"], status: Int[Tensor, " system"], count: int
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Make w orthonormal to the vectors kept, by classical Gram-Schmidt done twice.

    .. math:: h = V^T w, \quad w \leftarrow w - V h \quad \text{(twice, h summed)}, \quad v = w / |w|

    Parameters
    ----------
    V
        Orthonormal vectors in V[:count]; V[count] becomes v.
    w
        A applied to the last of them (preconditioned for GMRES, to what is kept beside V for FGMRES).
    status
        See :mod:`~sciops.kernels.systems`. Becomes NOT_FINITE for a NaN or infinity, EXHAUSTED where nothing but
        rounding is left of w: h is then complete, its last entry 0, and the least squares problem gives the solution.
    count
        How many vectors are kept.

    Returns
    -------
    V
        With v in V[count]; 0 there where the space is exhausted.
    h
        (system, count + 1), the coefficients and the norm of what was left; 0 for systems that were frozen before.
    status
        After the step.

    Raises
    ------
    InputError
        For other shapes or dtypes, or no room for another vector.

    Notes
    -----
    Moves about (3 count + 7) n numbers on a processor: the second products are taken while a block is in the cache.
    Twice is enough for orthogonality to rounding, which the modified form does not give.

    References
    ----------
    L. Giraud, J. Langou and M. Rozloznik, "The loss of orthogonality in the Gram-Schmidt process", 2005.

    Examples
    --------
    >>> V = torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]])
    >>> V, h, _ = arnoldi(V, torch.tensor([[3.0, 4.0]]), torch.zeros(1, dtype=torch.int32), 1)
    >>> V[1].tolist(), h.tolist()
    ([[0.0, 1.0]], [[3.0, 4.0]])
    """
    _require_basis(V, w, status, count)
    found: tuple[Tensor, Tensor, Tensor] = _arnoldi(V, w, status, count)
    return found


def arnoldi_(
    V: Float[Tensor, "kept system n"], w: Float[Tensor, "system n"], status: Int[Tensor, " system"], count: int
) -> Tensor:
    """:func:`arnoldi`, written into V[count] and status; returns h."""
    _require_basis(V, w, status, count)
    require_writable(V=V, status=status)
    found: Tensor = _arnoldi_(V, w.contiguous(), status, count)
    return found


def gmres_rotate(
    R: Float[Tensor, "system m m"],
    rotations: Float[Tensor, "2 system m"],
    g: Float[Tensor, "system m+1"],
    h: Float[Tensor, "system count+1"],
    status: Int[Tensor, " system"],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Take one more column into the QR factors of the Hessenberg matrix of GMRES, by Givens rotations.

    Parameters
    ----------
    R
        The triangular factor, float64; column count - 1 is set.
    rotations
        Cosines and sines so far.
    g
        The rotated right-hand side; at the start (|r|, 0, 0, ...).
    h
        The column that :func:`arnoldi` returned; its width tells which column it is.
    status
        See :mod:`~sciops.kernels.systems`. RUNNING and EXHAUSTED systems take the column unless it is 0, so that the
        last one of an exhausted space is not lost; others are frozen.

    Returns
    -------
    R, rotations, g
        After the step. The coefficients y of the solution solve R y = g over the columns taken, those whose diagonal
        entry of R is not 0.
    residual
        The norm of the residual of the system, abs(g[count]); 0 for systems that are frozen.

    Raises
    ------
    InputError
        For other shapes or dtypes.

    Examples
    --------
    >>> R, c, g = torch.zeros(1, 1, 1).double(), torch.zeros(2, 1, 1).double(), torch.tensor([[5.0, 0.0]]).double()
    >>> h = torch.tensor([[3.0, 4.0]]).double()
    >>> R, c, g, residual = gmres_rotate(R, c, g, h, torch.zeros(1, dtype=torch.int32))
    >>> [round(value, 6) for value in (R.item(), g[0, 0].item(), residual.item())]
    [5.0, 3.0, 4.0]
    """
    _require_triangle(R, rotations, g, h, status)
    found: tuple[Tensor, Tensor, Tensor, Tensor] = _gmres_rotate(R, rotations, g, h, status)
    return found


def gmres_rotate_(
    R: Float[Tensor, "system m m"],
    rotations: Float[Tensor, "2 system m"],
    g: Float[Tensor, "system m+1"],
    h: Float[Tensor, "system count+1"],
    status: Int[Tensor, " system"],
) -> Tensor:
    """:func:`gmres_rotate`, written into R, rotations and g; returns the residual."""
    _require_triangle(R, rotations, g, h, status)
    require_writable(R=R, rotations=rotations, g=g)
    found: Tensor = _gmres_rotate_(R, rotations, g, h.contiguous(), status.contiguous())
    return found


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


def _require_basis(V: Tensor, w: Tensor, status: Tensor, count: int) -> None:
    require_vectors(w=w)
    require_scalars(w, status)
    if V.ndim != 3 or V.shape[1:] != w.shape or V.dtype != w.dtype:
        raise InputError(
            f"V has shape {tuple(V.shape)} and dtype {V.dtype}, "
            f"expected (kept, {w.shape[0]}, {w.shape[1]}) and {w.dtype} as w has"
        )
    if not 0 <= count < len(V):
        raise InputError(f"{count} vectors are kept, so V needs room for {count + 1}, but holds {len(V)}")


def _require_triangle(R: Tensor, rotations: Tensor, g: Tensor, h: Tensor, status: Tensor) -> None:
    if R.ndim != 3:
        raise InputError(f"R has shape {tuple(R.shape)}, expected (system, m, m)")
    systems, m = R.shape[0], R.shape[-1]
    require_scalars(R, status)
    expected = {"R": (systems, m, m), "rotations": (2, systems, m), "g": (systems, m + 1)}
    for (name, shape), tensor in zip(expected.items(), (R, rotations, g), strict=True):
        if tensor.shape != shape or tensor.dtype != torch.float64:
            raise InputError(
                f"{name} has shape {tuple(tensor.shape)} and dtype {tensor.dtype}, expected {shape}, float64"
            )
    if h.ndim != 2 or len(h) != systems or not 2 <= h.shape[1] <= m + 1 or h.dtype != torch.float64:
        raise InputError(
            f"h has shape {tuple(h.shape)} and dtype {h.dtype}, expected ({systems}, 2 to {m + 1}) in float64"
        )


def rounding(dtype: torch.dtype) -> float:
    """The square of what Gram-Schmidt leaves, relative to w, below which it is but rounding."""
    return (10 * torch.finfo(dtype).eps) ** 2


def _arnoldi_reference(V: Tensor, w: Tensor, status: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    run = status == 0
    kept, size = V[:count], inner(w, w)
    h = torch.zeros((count, len(w)), dtype=torch.float64, device=w.device)
    for _ in range(2):
        part = inner(kept, w)
        h, w = h + part, w - (part.to(w.dtype)[..., None] * kept).sum(0)
    square = inner(w, w)
    ended = torch.where(square <= rounding(w.dtype) * size, int(Status.EXHAUSTED), 0).to(status.dtype)
    after = torch.where((size + square).isfinite(), ended, int(Status.NOT_FINITE))
    after = torch.where(run, after, status)
    norm = torch.where(after == 0, square, 1.0).sqrt()
    v = torch.where((after == 0)[:, None], w / norm.to(w.dtype)[:, None], 0.0)
    h = torch.cat([h, torch.where(after == 0, norm, 0.0)[None]])
    V = torch.cat([V[:count], torch.where(run[:, None], v, V[count])[None], V[count + 1 :]])
    return V, torch.where(run, h, 0.0).transpose(0, 1), after


def _gmres_rotate_reference(
    R: Tensor, rotations: Tensor, g: Tensor, h: Tensor, status: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    last = h.shape[1] - 2
    run = ((status == int(Status.RUNNING)) | (status == int(Status.EXHAUSTED))) & (h != 0).any(1)
    column = list(h.unbind(1))
    for i in range(last):
        c, s = rotations[0, :, i], rotations[1, :, i]
        column[i], column[i + 1] = c * column[i] + s * column[i + 1], c * column[i + 1] - s * column[i]
    a, b = column[last], column[last + 1]
    turns = run & ((a != 0) | (b != 0))
    length = torch.where(turns, a.square() + b.square(), 1.0).sqrt()
    c, s = torch.where(turns, a / length, 1.0), torch.where(turns, b / length, 0.0)
    column[last] = c * a + s * b
    zeros = torch.zeros_like(R[:, last + 1 :, 0])
    filled = torch.cat([torch.stack(column[: last + 1], 1), zeros], 1)
    R_new = torch.cat([R[..., :last], filled[..., None], R[..., last + 1 :]], -1)
    turn = torch.stack([c, s])[..., None]
    rotations_new = torch.cat([rotations[..., :last], turn, rotations[..., last + 1 :]], -1)
    pair = torch.stack([c * g[:, last], -s * g[:, last]], 1)
    g_new = torch.cat([g[:, :last], pair, g[:, last + 2 :]], 1)
    return (
        torch.where(run[:, None, None], R_new, R),
        torch.where(run[None, :, None], rotations_new, rotations),
        torch.where(run[:, None], g_new, g),
        torch.where(run, pair[:, 1].abs(), 0.0),
    )


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


_arnoldi = Kernel(
    "arnoldi",
    "(Tensor V, Tensor w, Tensor status, SymInt count) -> (Tensor, Tensor, Tensor)",
    _arnoldi_reference,
    cpu=Path("cpu.nonsymmetric:arnoldi", "as arnoldi_, on copies", needs="numba"),
    triton=Path("cuda.nonsymmetric:arnoldi", "blocks of w in registers, no copy in float64", needs="triton"),
)
_arnoldi_ = Kernel(
    "arnoldi_",
    "(Tensor(a!) V, Tensor w, Tensor(b!) status, SymInt count) -> Tensor",
    in_place(_arnoldi_reference, {0: 0, 2: 2}),
    cpu=Path("cpu.nonsymmetric:arnoldi_", "blocks stay in the cache, no copy in float64: 14x at 1024^2", needs="numba"),
    triton=Path("cuda.nonsymmetric:arnoldi_", "blocks of w in registers, no copy in float64", needs="triton"),
)
_gmres_rotate = Kernel(
    "gmres_rotate",
    "(Tensor R, Tensor rotations, Tensor g, Tensor h, Tensor status) -> (Tensor, Tensor, Tensor, Tensor)",
    _gmres_rotate_reference,
    cpu=Path("cpu.nonsymmetric:gmres_rotate", "one loop instead of 6 operations a rotation", needs="numba"),
    triton=Path("cuda.nonsymmetric:gmres_rotate", "one launch instead of 6 a rotation", needs="triton"),
)
_gmres_rotate_ = Kernel(
    "gmres_rotate_",
    "(Tensor(a!) R, Tensor(b!) rotations, Tensor(c!) g, Tensor h, Tensor status) -> Tensor",
    in_place(_gmres_rotate_reference, {0: 0, 1: 1, 2: 2}),
    cpu=Path("cpu.nonsymmetric:gmres_rotate_", "one loop instead of 6 operations a rotation", needs="numba"),
    triton=Path("cuda.nonsymmetric:gmres_rotate_", "one launch instead of 6 a rotation", needs="triton"),
)
_bicgstab_half = Kernel(
    "bicgstab_half",
    "(Tensor r, Tensor r_hat, Tensor v, Tensor rho, Tensor status) -> (Tensor, Tensor, Tensor, Tensor)",
    _bicgstab_half_reference,
    cpu=Path("cpu.nonsymmetric:bicgstab_half", "as bicgstab_half_, on copies", needs="numba"),
    triton=Path("cuda.nonsymmetric:bicgstab_half", "two passes over memory", needs="triton"),
    mixed=True,
)
_bicgstab_half_ = Kernel(
    "bicgstab_half_",
    "(Tensor(a!) r, Tensor r_hat, Tensor v, Tensor rho, Tensor(b!) status) -> (Tensor, Tensor)",
    in_place(_bicgstab_half_reference, {0: 0, 4: 3}),
    cpu=Path("cpu.nonsymmetric:bicgstab_half_", "two passes over memory: 3.6x at 1024^2", needs="numba"),
    triton=Path("cuda.nonsymmetric:bicgstab_half_", "two passes over memory", needs="triton"),
    mixed=True,
)
_SECOND = "Tensor Mp, Tensor Ms, Tensor t, Tensor r_hat, Tensor alpha, Tensor{} status"
_bicgstab_update = Kernel(
    "bicgstab_update",
    f"(Tensor x, Tensor s, {_SECOND.format('')}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _bicgstab_update_reference,
    cpu=Path("cpu.nonsymmetric:bicgstab_update", "as bicgstab_update_, on copies", needs="numba"),
    triton=Path("cuda.nonsymmetric:bicgstab_update", "two passes over memory", needs="triton"),
    mixed=True,
)
_bicgstab_update_ = Kernel(
    "bicgstab_update_",
    f"(Tensor(a!) x, Tensor(b!) s, {_SECOND.format('(c!)')}) -> (Tensor, Tensor, Tensor)",
    in_place(_bicgstab_update_reference, {0: 0, 1: 1, 7: 5}),
    cpu=Path("cpu.nonsymmetric:bicgstab_update_", "two passes over memory: 7.0x at 1024^2", needs="numba"),
    triton=Path("cuda.nonsymmetric:bicgstab_update_", "two passes over memory", needs="triton"),
    mixed=True,
)
_STEPS = "Tensor r, Tensor v, Tensor rho, Tensor rho_old, Tensor alpha, Tensor omega, Tensor{} status"
_bicgstab_direction = Kernel(
    "bicgstab_direction",
    f"(Tensor p, {_STEPS.format('')}) -> (Tensor, Tensor, Tensor)",
    _bicgstab_direction_reference,
    cpu=Path("cpu.nonsymmetric:bicgstab_direction", "as bicgstab_direction_, on copies", needs="numba"),
    triton=Path("cuda.nonsymmetric:bicgstab_direction", "one pass over memory", needs="triton"),
    mixed=True,
)
_bicgstab_direction_ = Kernel(
    "bicgstab_direction_",
    f"(Tensor(a!) p, {_STEPS.format('(b!)')}) -> Tensor",
    in_place(_bicgstab_direction_reference, {0: 0, 7: 2}),
    cpu=Path("cpu.nonsymmetric:bicgstab_direction_", "one pass over memory: 3.9x at 1024^2", needs="numba"),
    triton=Path("cuda.nonsymmetric:bicgstab_direction_", "one pass over memory", needs="triton"),
    mixed=True,
)
