"""Many small dense systems at once, right on every number of threads.

torch 2.13 on a processor gives wrong answers for LU of batches of matrices of 200 and more with two threads; what is
here takes matrices one by one there, and many together where that is quicker.

LU is with row pivoting, P A = L U, in LAPACK's form: ``lu`` holds U and the strict part of L, ``pivots`` (int32) the
row, counted from 1, that each row was swapped with in turn. ``status`` (int32) is 0, or tells the first pivot, counted
from 1, that was zero (not positive for Cholesky) or not finite; the solution of such a system is all NaN. Nothing
raises and nothing reads a value on the host. A matrix singular but for rounding is not noticed.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import SINGLE_AND_DOUBLE, Kernel, Path, vector_jacobian

if TYPE_CHECKING:
    from jaxtyping import Float, Int

SAFE = 128  # up to here batched LU of torch is right on a processor
_SMALL = 32  # up to here a matrix fits into the registers of a program on a GPU


class Factors(NamedTuple):
    """A matrix and its LU factors; see the module. `A` is kept for derivatives."""

    A: Float[Tensor, "*batch n n"]
    lu: Float[Tensor, "*batch n n"]
    pivots: Int[Tensor, "*batch n"]
    status: Int[Tensor, " *batch"]


def dense_solve(A: Float[Tensor, "*batch n n"], b: Tensor, *, transpose: bool = False) -> Tensor:
    """Solve A x = b by LU with row pivoting.

    Parameters
    ----------
    A
        Matrices.
    b
        (*batch, n), or (*batch, n, k) for k right-hand sides each.
    transpose
        Solve with the transposed matrices.

    Returns
    -------
    Tensor
        x, of the shape of b; all NaN for a matrix with a zero or infinite pivot (:func:`dense_factor` has a status that
        tells which). Differentiable to any order, with the same factors.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or dtypes that differ.

    Examples
    --------
    >>> dense_solve(torch.tensor([[2.0, 1.0], [1.0, 3.0]]), torch.tensor([3.0, 4.0])).tolist()
    [1.0, 1.0]
    """
    require_square(A)
    x: Tensor = _solve(_flat(A, 2), _columns(A, b), transpose)[0]
    return x.reshape(b.shape)


def dense_inverse(A: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch n n"]:
    """The inverse matrices; all NaN where :func:`dense_solve` has NaN.

    Raises
    ------
    InputError
        If the matrices are not square.

    Examples
    --------
    >>> dense_inverse(torch.tensor([[2.0, 0.0], [0.0, 4.0]])).tolist()
    [[0.5, 0.0], [0.0, 0.25]]
    """
    require_square(A)
    return dense_solve(A, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape))


def dense_factor(A: Float[Tensor, "*batch n n"]) -> Factors:
    """LU factors, for several solves with the same matrices.

    Parameters
    ----------
    A
        Matrices.

    Returns
    -------
    Factors
        For :func:`dense_factor_solve`; its status tells the matrices that cannot be solved with.

    Raises
    ------
    InputError
        If the matrices are not square.

    Examples
    --------
    >>> factors = dense_factor(torch.tensor([[[0.0, 1.0], [2.0, 3.0]], [[1.0, 1.0], [1.0, 1.0]]]))
    >>> factors.pivots.tolist(), factors.status.tolist()
    ([[2, 2], [1, 2]], [0, 2])
    """
    require_square(A)
    lu, pivots, status = _factor(_flat(A, 2))
    return Factors(A, lu.reshape(A.shape), pivots.reshape(A.shape[:-1]), status.reshape(A.shape[:-2]))


def dense_factor_solve(factors: Factors, b: Tensor, *, transpose: bool = False) -> Tensor:
    """Solve as :func:`dense_solve` does, with factors at hand.

    Parameters
    ----------
    factors
        Of :func:`dense_factor`.
    b
        (*batch, n) or (*batch, n, k).
    transpose
        Solve with the transposed matrices.

    Returns
    -------
    Tensor
        x, differentiable in b and in the matrices that were factored, to any order.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> factors = dense_factor(torch.tensor([[0.0, 1.0], [2.0, 0.0]]))
    >>> dense_factor_solve(factors, torch.tensor([3.0, 4.0])).tolist()
    [2.0, 3.0]
    """
    A, lu, pivots, _ = factors
    flat = (_flat(A, 2), _flat(lu.detach(), 2), _flat(pivots, 1))
    x: Tensor = _substitute(*flat, _columns(A, b), transpose)
    return x.reshape(b.shape)


def spd_solve(A: Float[Tensor, "*batch n n"], b: Tensor) -> Tensor:
    """Solve A x = b for symmetric positive definite matrices by Cholesky.

    Parameters
    ----------
    A
        Matrices; the mean of each and its transpose is what is solved with.
    b
        (*batch, n) or (*batch, n, k).

    Returns
    -------
    Tensor
        x, of the shape of b; all NaN for a matrix that is not positive definite. Differentiable to any order, with the
        same factors.

    Raises
    ------
    InputError
        For shapes that do not fit each other, or dtypes that differ.

    Examples
    --------
    >>> spd_solve(torch.tensor([[4.0, 0.0], [0.0, 9.0]]), torch.tensor([8.0, 9.0])).tolist()
    [2.0, 1.0]
    """
    require_square(A)
    x: Tensor = _spd_solve(_flat(A, 2), _columns(A, b))[0]
    return x.reshape(b.shape)


def dense_slogdet(A: Float[Tensor, "*batch n n"]) -> tuple[Tensor, Tensor]:
    """The sign of the determinant and the logarithm of its absolute value; (0, -inf) for a zero pivot.

    Raises
    ------
    InputError
        If the matrices are not square.

    Examples
    --------
    >>> sign, logarithm = dense_slogdet(torch.tensor([[0.0, 2.0], [3.0, 0.0]]))
    >>> sign.item(), round(logarithm.exp().item(), 4)
    (-1.0, 6.0)
    """
    _, lu, pivots, _ = dense_factor(A)
    diagonal = lu.diagonal(dim1=-2, dim2=-1)
    places = torch.arange(1, A.shape[-1] + 1, device=A.device)
    swaps = (pivots != places).sum(-1) % 2
    return diagonal.sign().prod(-1) * (1 - 2 * swaps), diagonal.abs().log().sum(-1)


def require_square(A: Tensor) -> None:
    """Raise InputError unless A is (*batch, n, n) in float32 or float64, with n of at least 1."""
    if A.ndim < 2 or A.shape[-1] != A.shape[-2] or A.shape[-1] == 0 or A.dtype not in SINGLE_AND_DOUBLE:
        raise InputError(
            f"A has shape {tuple(A.shape)} and dtype {A.dtype}, "
            "expected (*batch, n, n) in float32 or float64 with n of at least 1"
        )


def _flat(tensor: Tensor, last: int) -> Tensor:
    front = tensor.ndim - last
    return tensor.reshape(math.prod(tensor.shape[:front]), *tensor.shape[front:])


def _columns(A: Tensor, b: Tensor) -> Tensor:
    if b.shape != A.shape[:-1] and (b.ndim != A.ndim or b.shape[:-1] != A.shape[:-1]):
        raise InputError(
            f"b has shape {tuple(b.shape)}, expected {tuple(A.shape[:-1])} or {(*A.shape[:-1], 'k')} to fit A"
        )
    if b.dtype != A.dtype:
        raise InputError(f"b has dtype {b.dtype}, A has {A.dtype}")
    return _flat(b, 2) if b.ndim == A.ndim else _flat(b, 1)[..., None]


def _one_by_one(A: Tensor) -> bool:
    """Whether torch's batched LU fails on such matrices."""
    return bool(A.device.type == "cpu" and A.shape[-1] > SAFE and A.shape[0] > 1 and not torch.compiler.is_compiling())


def _factor_reference(A: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    if _one_by_one(A):
        lu, pivots = (torch.stack(t) for t in zip(*(torch.linalg.lu_factor_ex(a)[:2] for a in A), strict=True))
    else:
        lu, pivots = torch.linalg.lu_factor_ex(A)[:2]
    return lu, pivots, first_bad(lu)


def first_bad(lu: Tensor) -> Tensor:
    """The status of LU factors."""
    diagonal = lu.diagonal(dim1=-2, dim2=-1)
    bad = (diagonal == 0) | ~diagonal.isfinite()
    places = torch.arange(1, lu.shape[-1] + 1, device=lu.device)
    first = torch.where(bad, places, lu.shape[-1] + 1).amin(-1)
    return torch.where(bad.any(-1), first, 0).to(torch.int32)


def _substitute_reference(A: Tensor, lu: Tensor, pivots: Tensor, B: Tensor, transpose: bool) -> Tensor:
    # the factors are those of A: the reference does not need them, and differentiates in A itself
    bad = (first_bad(lu) != 0)[:, None, None]
    sound = torch.where(bad, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device), A)
    sound = sound.mT if transpose else sound
    if _one_by_one(A):
        X = torch.stack([torch.linalg.solve_ex(a, b)[0] for a, b in zip(sound, B, strict=True)])
    else:
        X = torch.linalg.solve_ex(sound, B)[0]
    return torch.where(bad, torch.nan, X)


def _solve_reference(A: Tensor, B: Tensor, transpose: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    lu, pivots, status = _factor_reference(A)
    return _substitute_reference(A, lu, pivots, B, transpose), lu, pivots, status


def _spd_substitute_reference(A: Tensor, factor: Tensor, B: Tensor) -> Tensor:
    bad = ~factor.diagonal(dim1=-2, dim2=-1).isfinite().all(-1)[:, None, None]
    sound = torch.where(bad, torch.eye(A.shape[-1], dtype=A.dtype, device=A.device), (A + A.mT) / 2)
    return torch.where(bad, torch.nan, torch.cholesky_solve(B, torch.linalg.cholesky_ex(sound)[0]))


def _spd_factor(A: Tensor) -> tuple[Tensor, Tensor]:
    factor, status = torch.linalg.cholesky_ex((A + A.mT) / 2)
    return torch.where((status != 0)[:, None, None], torch.nan, factor).tril(), status


def _spd_solve_reference(A: Tensor, B: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    factor, status = _spd_factor(A)
    return _spd_substitute_reference(A, factor, B), factor, status


def _solve_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    A, _, ctx.transpose = inputs
    ctx.save_for_backward(A, output[0], output[1], output[2])
    ctx.set_materialize_grads(False)


def _solve_backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    A, X, lu, pivots = ctx.saved_tensors
    by_A = by_B = None
    if gradients[0] is not None:
        by_B = _substitute(A, lu.detach(), pivots, gradients[0], not ctx.transpose)
        by_A = -(X @ by_B.mT if ctx.transpose else by_B @ X.mT)
    if gradients[1] is not None:
        (through,) = vector_jacobian(lambda a: _factor_reference(a)[0], [A], [True], [gradients[1]])
        by_A = through if by_A is None or through is None else by_A + through
    return by_A, by_B, None


def _substitute_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    A, lu, pivots, _, ctx.transpose = inputs
    ctx.save_for_backward(A, lu, pivots, output)


def _substitute_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    A, lu, pivots, X = ctx.saved_tensors
    by_B = _substitute(A, lu, pivots, gradient, not ctx.transpose)
    return -(X @ by_B.mT if ctx.transpose else by_B @ X.mT), None, None, by_B, None


def _spd_solve_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[0], output[0], output[1])
    ctx.set_materialize_grads(False)


def _spd_solve_backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    A, X, factor = ctx.saved_tensors
    by_A = by_B = None
    if gradients[0] is not None:
        by_B = _spd_substitute(A, factor.detach(), gradients[0])
        by_A = _symmetric(-by_B @ X.mT)
    if gradients[1] is not None:
        (through,) = vector_jacobian(lambda a: _spd_factor(a)[0], [A], [True], [gradients[1]])
        by_A = through if by_A is None or through is None else by_A + through
    return by_A, by_B


def _spd_substitute_setup(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.save_for_backward(inputs[0], inputs[1], output)


def _spd_substitute_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    A, factor, X = ctx.saved_tensors
    by_B = _spd_substitute(A, factor, gradient)
    return _symmetric(-by_B @ X.mT), None, by_B


def _symmetric(A: Tensor) -> Tensor:
    return (A + A.mT) / 2


def _too_large(A: Tensor, *_: Any) -> str | None:
    n = A.shape[-1]
    return None if n <= _SMALL else f"matrices of {n} do not fit into registers; {_SMALL} do"


_factor = Kernel(
    "dense_factor",
    "(Tensor A) -> (Tensor, Tensor, Tensor)",
    _factor_reference,
    backward=lambda ctx, by_lu, *_: vector_jacobian(
        lambda a: _factor_reference(a)[0], ctx.saved_tensors, [True], [by_lu]
    ),
    cpu=Path("cpu.dense:factor", "matrices up to 32 side by side in vector lanes", needs="numba"),
    triton=Path("cuda.dense:factor", "a matrix in the registers of a program", needs="triton", takes=_too_large),
)
_substitute = Kernel(
    "dense_substitute",
    "(Tensor A, Tensor lu, Tensor pivots, Tensor B, bool transpose) -> Tensor",
    _substitute_reference,
    setup=_substitute_setup,
    backward=_substitute_backward,
    cpu=Path("cpu.dense:substitute", "matrices up to 32 side by side in vector lanes", needs="numba"),
    triton=Path("cuda.dense:substitute", "a matrix in the registers of a program", needs="triton", takes=_too_large),
)
_solve = Kernel(
    "dense_solve",
    "(Tensor A, Tensor B, bool transpose) -> (Tensor, Tensor, Tensor, Tensor)",
    _solve_reference,
    setup=_solve_setup,
    backward=_solve_backward,
    cpu=Path(
        "cpu.dense:solve",
        "matrices up to 32 side by side in vector lanes: 1.4x to 2.7x torch.linalg.solve",
        needs="numba",
    ),
    triton=Path("cuda.dense:solve", "a matrix in the registers of a program", needs="triton", takes=_too_large),
)
_spd_substitute = Kernel(
    "spd_substitute",
    "(Tensor A, Tensor factor, Tensor B) -> Tensor",
    _spd_substitute_reference,
    setup=_spd_substitute_setup,
    backward=_spd_substitute_backward,
    cpu=Path("cpu.dense:spd_substitute", "matrices up to 32 side by side in vector lanes", needs="numba"),
)
_spd_solve = Kernel(
    "spd_solve",
    "(Tensor A, Tensor B) -> (Tensor, Tensor, Tensor)",
    _spd_solve_reference,
    setup=_spd_solve_setup,
    backward=_spd_solve_backward,
    cpu=Path("cpu.dense:spd_solve", "matrices up to 32 side by side in vector lanes", needs="numba"),
)
