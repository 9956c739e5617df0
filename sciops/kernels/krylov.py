"""The vector work of conjugate gradients, plain and flexible; conventions in :mod:`~sciops.kernels.systems`."""

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
    require_preconditioned,
    require_scalars,
    require_vectors,
    require_writable,
    step,
    wide,
)

if TYPE_CHECKING:
    from jaxtyping import Float, Int


def dot(x: Float[Tensor, "system n"], y: Float[Tensor, "system n"]) -> Float[Tensor, " system"]:
    """Inner products, <x, y> of each system, summed in float64.

    Parameters
    ----------
    x, y
        Vectors, float32 or float64.

    Returns
    -------
    Tensor
        float64. Differentiable to any order.

    Raises
    ------
    InputError
        For other shapes or dtypes.

    Examples
    --------
    >>> dot(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])).tolist()
    [11.0]
    """
    require_vectors(x=x, y=y)
    found: Tensor = _dot(x, y)
    return found


def cg_update(
    x: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    p: Float[Tensor, "system n"],
    Ap: Float[Tensor, "system n"],
    rz: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
    pAp: Float[Tensor, " system"] | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    r"""Step along p to the minimum of the energy: the first half of an iteration of conjugate gradients.

    .. math:: \alpha = \frac{\langle r, z\rangle}{\langle p, A p\rangle}, \quad x \leftarrow x + \alpha p, \quad
        r \leftarrow r - \alpha A p

    Parameters
    ----------
    x, r, p, Ap
        Iterate, residual, direction, and A applied to the direction.
    rz
        <r, z>, or <r, p>, which is the same number when p is conjugate to what came before.
    status
        See :mod:`~sciops.kernels.systems`.
        Becomes INDEFINITE_OPERATOR where <p, A p> <= 0, NOT_FINITE where it is NaN or infinite.
    pAp
        <p, A p> where it is known already, which saves a pass over p and A p.

    Returns
    -------
    x, r
        After the step.
    rr
        <r, r> after the step.
    pAp
        <p, A p>; 0 for systems that were frozen before.
    status
        After the step.

    Raises
    ------
    InputError
        For other shapes or dtypes.

    Notes
    -----
    Moves 8 n numbers, or 6 n with `pAp`. A system whose residual is zero has to be marked CONVERGED before.

    Examples
    --------
    Minimise x^2 - 2 x from x = 0, where A = 2, b = 2:

    >>> one, running = torch.ones(1, 1), torch.zeros(1, dtype=torch.int32)
    >>> x, r, *_ = cg_update(0 * one, 2 * one, 2 * one, 4 * one, torch.tensor([4.0]), running)
    >>> x.item(), r.item()
    (1.0, 0.0)
    """
    require_vectors(x=x, r=r, p=p, Ap=Ap)
    require_scalars(x, status, rz=rz, pAp=pAp)
    found: tuple[Tensor, Tensor, Tensor, Tensor, Tensor] = _cg_update(x, r, p, Ap, wide(rz), status, wide(pAp))
    return found


def cg_update_(
    x: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    p: Float[Tensor, "system n"],
    Ap: Float[Tensor, "system n"],
    rz: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
    pAp: Float[Tensor, " system"] | None = None,
) -> tuple[Tensor, Tensor]:
    """:func:`cg_update`, written into x, r and status; returns (rr, pAp)."""
    require_vectors(x=x, r=r, p=p, Ap=Ap)
    require_scalars(x, status, rz=rz, pAp=pAp)
    require_writable(x=x, r=r, status=status)
    found: tuple[Tensor, Tensor] = _cg_update_(x, r, p.contiguous(), Ap.contiguous(), wide(rz), status, wide(pAp))
    return found


def cg_direction(
    p: Float[Tensor, "system n"],
    z: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    rz: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
    rz_new: Float[Tensor, " system"] | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Turn to the next direction: the second half of an iteration of conjugate gradients.

    .. math:: \beta = \frac{\langle r, z\rangle}{\langle r_{old}, z_{old}\rangle}, \quad p \leftarrow z + \beta p

    With p = 0 and rz = 1 it makes the first direction.

    Parameters
    ----------
    p
        The direction.
    z
        The preconditioned residual M r, or r itself; may be float32 beside float64.
    r
        The residual.
    rz
        <r, z> of the step before.
    status
        See :mod:`~sciops.kernels.systems`.
        Becomes INDEFINITE_PRECONDITIONER where <r, z> <= 0, NOT_FINITE where it is NaN or infinite.
    rz_new
        <r, z> where it is known already, which saves a pass over r and z.

    Returns
    -------
    p
        The new direction.
    rz
        <r, z>; as given for systems that are frozen.
    status
        After the step.

    Raises
    ------
    InputError
        For other shapes or dtypes.

    Notes
    -----
    Moves 5 n numbers, or 3 n with `rz_new`.

    Examples
    --------
    >>> r, running = torch.tensor([[3.0, 4.0]]), torch.zeros(1, dtype=torch.int32)
    >>> p, rz, _ = cg_direction(torch.zeros(1, 2), r, r, torch.ones(1), running)
    >>> p.tolist(), rz.item()
    ([[3.0, 4.0]], 25.0)
    """
    require_vectors(p=p, r=r)
    require_preconditioned(p, z)
    require_scalars(p, status, rz=rz, rz_new=rz_new)
    found: tuple[Tensor, Tensor, Tensor] = _cg_direction(p, z, r, wide(rz), status, wide(rz_new))
    return found


def cg_direction_(
    p: Float[Tensor, "system n"],
    z: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    rz: Float[Tensor, " system"],
    status: Int[Tensor, " system"],
    rz_new: Float[Tensor, " system"] | None = None,
) -> Tensor:
    """:func:`cg_direction`, written into p and status; returns rz."""
    require_vectors(p=p, r=r)
    require_preconditioned(p, z)
    require_scalars(p, status, rz=rz, rz_new=rz_new)
    require_writable(p=p, status=status)
    found: Tensor = _cg_direction_(p, z.contiguous(), r.contiguous(), wide(rz), status, wide(rz_new))
    return found


def conjugate(
    P: Float[Tensor, "kept system n"],
    AP: Float[Tensor, "kept system n"],
    pAp: Float[Tensor, "kept system"],
    z: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    status: Int[Tensor, " system"],
    slot: int,
    *,
    definite: bool = True,
) -> tuple[Tensor, Tensor, Tensor]:
    r"""The next direction of flexible conjugate gradients: z made conjugate to the directions kept.

    .. math:: p = z - \sum_j \frac{\langle z, A p_j\rangle}{\langle p_j, A p_j\rangle} p_j

    With one direction kept this is the Polak-Ribiere form, beta = <r - r_old, z> / <r_old, z_old>, since r - r_old =
    -alpha A p. With k it is what deep conjugate directions take.

    Parameters
    ----------
    P, AP, pAp
        Directions kept, A applied to them, and <p, A p>; a slot with pAp <= 0 is empty.
    z
        The preconditioned residual, or the answer of a network; may be float32 beside float64.
    r
        The residual.
    status
        See :mod:`~sciops.kernels.systems`.
        Becomes INDEFINITE_PRECONDITIONER where <p, r> <= 0, NOT_FINITE where it is NaN or infinite.
    slot
        Which direction the new one replaces; it takes part until then.
    definite
        Whether <p, r> < 0 stops a system. False for preconditioners that promise nothing (the step is then backwards,
        and lowers the energy all the same); <p, r> = 0 is then a BREAKDOWN.

    Returns
    -------
    P
        With the new direction in its slot, also where a break-down was found.
    pr
        <p, r>, for :func:`cg_update`; 0 for systems that were frozen before.
    status
        After the step.

    Raises
    ------
    InputError
        For other shapes or dtypes, or a slot that is not there.

    Notes
    -----
    Moves (2 k + 4) n numbers for k directions kept. A z that is zero leaves <p, r> <= 0.

    References
    ----------
    Y. Notay, "Flexible conjugate gradients", 2000. A. Kaneda et al., "A deep conjugate direction method for iteratively
    solving linear systems", 2023.

    Examples
    --------
    >>> empty, z = torch.zeros(1, 1, 2), torch.tensor([[3.0, 4.0]])
    >>> P, pr, _ = conjugate(empty, empty, torch.zeros(1, 1), z, z, torch.zeros(1, dtype=torch.int32), 0)
    >>> P.tolist(), pr.item()
    ([[[3.0, 4.0]]], 25.0)
    """
    _require_kept(P, AP, pAp, z, r, status, slot)
    found: tuple[Tensor, Tensor, Tensor] = _conjugate(P, AP, wide(pAp), z, r, status, slot, definite)
    return found


def conjugate_(
    P: Float[Tensor, "kept system n"],
    AP: Float[Tensor, "kept system n"],
    pAp: Float[Tensor, "kept system"],
    z: Float[Tensor, "system n"],
    r: Float[Tensor, "system n"],
    status: Int[Tensor, " system"],
    slot: int,
    *,
    definite: bool = True,
) -> Tensor:
    """:func:`conjugate`, written into P[slot] and status; returns pr."""
    _require_kept(P, AP, pAp, z, r, status, slot)
    require_writable(P=P, status=status)
    found: Tensor = _conjugate_(P, AP.contiguous(), wide(pAp), z.contiguous(), r.contiguous(), status, slot, definite)
    return found


def _require_kept(P: Tensor, AP: Tensor, pAp: Tensor, z: Tensor, r: Tensor, status: Tensor, slot: int) -> None:
    require_vectors(r=r)
    require_preconditioned(r, z)
    require_scalars(r, status)
    for name, kept in (("P", P), ("AP", AP)):
        if kept.ndim != 3 or kept.shape != (len(P), *r.shape) or kept.dtype != r.dtype:
            raise InputError(
                f"{name} has shape {tuple(kept.shape)} and dtype {kept.dtype}, "
                f"expected (kept, {r.shape[0]}, {r.shape[1]}) and {r.dtype} as r has"
            )
    if pAp.shape != P.shape[:2]:
        raise InputError(f"pAp has shape {tuple(pAp.shape)}, expected (kept, system) = {tuple(P.shape[:2])}")
    require_floating(pAp=pAp)
    if not 0 <= slot < len(P):
        raise InputError(f"slot is {slot}, but {len(P)} directions are kept")


def _dot_reference(x: Tensor, y: Tensor) -> Tensor:
    return inner(x, y)


def _cg_update_reference(
    x: Tensor, r: Tensor, p: Tensor, Ap: Tensor, rz: Tensor, status: Tensor, pAp: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    curvature = inner(p, Ap) if pAp is None else pAp
    after = judge(status, curvature, Status.INDEFINITE_OPERATOR)
    alpha = ratio(after == 0, rz, curvature)
    x, r = step(after == 0, x, alpha, p), step(after == 0, r, -alpha, Ap)
    return x, r, inner(r, r), torch.where(status == 0, curvature, 0.0), after


def _cg_direction_reference(
    p: Tensor, z: Tensor, r: Tensor, rz: Tensor, status: Tensor, rz_new: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    found = inner(r, z) if rz_new is None else rz_new
    after = judge(status, found, Status.INDEFINITE_PRECONDITIONER)
    beta = ratio(after == 0, found, rz).to(p.dtype)[:, None]
    p = torch.where((after == 0)[:, None], z + beta * p, p)
    return p, torch.where(after == 0, found, rz), after


def _conjugate_reference(
    P: Tensor, AP: Tensor, pAp: Tensor, z: Tensor, r: Tensor, status: Tensor, slot: int, definite: bool
) -> tuple[Tensor, Tensor, Tensor]:
    run = status == 0
    share = ratio(pAp > 0, inner(AP, z), pAp).to(P.dtype)[..., None]
    p = z - torch.where((pAp > 0)[..., None], share * P, 0.0).sum(0)
    pr = inner(p, r)
    after = judge(status, pr, Status.INDEFINITE_PRECONDITIONER if definite else Status.BREAKDOWN, definite=definite)
    placed = torch.where(run[:, None], p, P[slot])
    return torch.cat([P[:slot], placed[None], P[slot + 1 :]]), torch.where(run, pr, 0.0), after


_dot = Kernel(
    "krylov_dot",
    "(Tensor x, Tensor y) -> Tensor",
    _dot_reference,
    cpu=Path("cpu.krylov:dot", "no array of products: 1.6x at 1024^2", needs="numba"),
    triton=Path("cuda.krylov:dot", "one pass, partial sums in float64", needs="triton"),
)
_UPDATE = "Tensor p, Tensor Ap, Tensor rz, Tensor{} status, Tensor? pAp"
_cg_update = Kernel(
    "cg_update",
    f"(Tensor x, Tensor r, {_UPDATE.format('')}) -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
    _cg_update_reference,
    cpu=Path("cpu.krylov:cg_update", "as cg_update_, on copies", needs="numba"),
    triton=Path("cuda.krylov:cg_update", "two passes over memory", needs="triton"),
    mixed=True,
)
_cg_update_ = Kernel(
    "cg_update_",
    f"(Tensor(a!) x, Tensor(b!) r, {_UPDATE.format('(c!)')}) -> (Tensor, Tensor)",
    in_place(_cg_update_reference, {0: 0, 1: 1, 5: 4}),
    cpu=Path("cpu.krylov:cg_update_", "two passes over memory: 3.9x at 1024^2", needs="numba"),
    triton=Path("cuda.krylov:cg_update_", "two passes over memory", needs="triton"),
    mixed=True,
)
_cg_direction = Kernel(
    "cg_direction",
    "(Tensor p, Tensor z, Tensor r, Tensor rz, Tensor status, Tensor? rz_new) -> (Tensor, Tensor, Tensor)",
    _cg_direction_reference,
    cpu=Path("cpu.krylov:cg_direction", "as cg_direction_, on copies", needs="numba"),
    triton=Path("cuda.krylov:cg_direction", "two passes over memory", needs="triton"),
    mixed=True,
)
_cg_direction_ = Kernel(
    "cg_direction_",
    "(Tensor(a!) p, Tensor z, Tensor r, Tensor rz, Tensor(b!) status, Tensor? rz_new) -> Tensor",
    in_place(_cg_direction_reference, {0: 0, 4: 2}),
    cpu=Path("cpu.krylov:cg_direction_", "two passes over memory: 3.2x at 1024^2", needs="numba"),
    triton=Path("cuda.krylov:cg_direction_", "two passes over memory", needs="triton"),
    mixed=True,
)
_KEPT = "Tensor AP, Tensor pAp, Tensor z, Tensor r, Tensor{} status, SymInt slot, bool definite"
_conjugate = Kernel(
    "conjugate",
    f"(Tensor P, {_KEPT.format('')}) -> (Tensor, Tensor, Tensor)",
    _conjugate_reference,
    cpu=Path("cpu.krylov:conjugate", "as conjugate_, on copies", needs="numba"),
    triton=Path("cuda.krylov:conjugate", "two passes over memory", needs="triton"),
    mixed=True,
)
_conjugate_ = Kernel(
    "conjugate_",
    f"(Tensor(a!) P, {_KEPT.format('(b!)')}) -> Tensor",
    in_place(_conjugate_reference, {0: 0, 5: 2}),
    cpu=Path("cpu.krylov:conjugate_", "two passes over memory: 5.9x at 1024^2", needs="numba"),
    triton=Path("cuda.krylov:conjugate_", "two passes over memory", needs="triton"),
    mixed=True,
)
