"""The vector work of GMRES, for any system: orthogonal vectors and their least squares problem, column by column.

Conventions in :mod:`~sciops.kernels.systems`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import Kernel, Path
from sciops.kernels.systems import Status, in_place, inner, require_scalars, require_vectors, require_writable

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


_arnoldi = Kernel(
    "arnoldi",
    "(Tensor V, Tensor w, Tensor status, SymInt count) -> (Tensor, Tensor, Tensor)",
    _arnoldi_reference,
    cpu=Path("cpu.gmres:arnoldi", "as arnoldi_, on copies", needs="numba"),
    triton=Path("cuda.gmres:arnoldi", "blocks of w in registers, no copy in float64", needs="triton"),
)
_arnoldi_ = Kernel(
    "arnoldi_",
    "(Tensor(a!) V, Tensor w, Tensor(b!) status, SymInt count) -> Tensor",
    in_place(_arnoldi_reference, {0: 0, 2: 2}),
    cpu=Path("cpu.gmres:arnoldi_", "blocks stay in the cache, no copy in float64: 14x at 1024^2", needs="numba"),
    triton=Path("cuda.gmres:arnoldi_", "blocks of w in registers, no copy in float64", needs="triton"),
)
_gmres_rotate = Kernel(
    "gmres_rotate",
    "(Tensor R, Tensor rotations, Tensor g, Tensor h, Tensor status) -> (Tensor, Tensor, Tensor, Tensor)",
    _gmres_rotate_reference,
    cpu=Path("cpu.gmres:gmres_rotate", "one loop instead of 6 operations a rotation", needs="numba"),
    triton=Path("cuda.gmres:gmres_rotate", "one launch instead of 6 a rotation", needs="triton"),
)
_gmres_rotate_ = Kernel(
    "gmres_rotate_",
    "(Tensor(a!) R, Tensor(b!) rotations, Tensor(c!) g, Tensor h, Tensor status) -> Tensor",
    in_place(_gmres_rotate_reference, {0: 0, 1: 1, 2: 2}),
    cpu=Path("cpu.gmres:gmres_rotate_", "one loop instead of 6 operations a rotation", needs="numba"),
    triton=Path("cuda.gmres:gmres_rotate_", "one launch instead of 6 a rotation", needs="triton"),
)
