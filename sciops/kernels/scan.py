r"""Linear recurrences along time, solved as one scan: what linear layers of states and DEER are made of.

.. math:: y_i = A_i\, y_{i-1} + b_i, \qquad y_{-1} = \text{initial},

or, in reverse, :math:`y_i = A_i y_{i+1} + b_i` with the initial state after the last. A is diagonal,
``(batch, time, n)``, or dense, ``(batch, time, n, n)``; b and y are ``(batch, time, n)``.

The map is linear in b, and its transpose is the dual scan :math:`\lambda_i = A_{i+1}^T \lambda_{i+1} + g_i`. So one
kernel with two flags is closed under differentiation, to any order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional

from sciops.errors import InputError
from sciops.kernels.dispatch import ALL_FLOATS, Kernel, Path

if TYPE_CHECKING:
    from jaxtyping import Float

_LEVELS = 48  # of doubling, enough for any time that fits into memory
_LARGEST_DENSE = 16  # n up to which a matrix of each step stays in the registers of a GPU's block


def affine_scan(
    A: Float[Tensor, "batch time n"] | Float[Tensor, "batch time n n"],
    b: Float[Tensor, "batch time n"],
    initial: Float[Tensor, "batch n"] | None = None,
    *,
    reverse: bool = False,
) -> Float[Tensor, "batch time n"]:
    r"""All states of :math:`y_i = A_i y_{i-1} + b_i`; in reverse, of :math:`y_i = A_i y_{i+1} + b_i`.

    Parameters
    ----------
    A
        The maps, diagonal or dense.
    b
        What is added.
    initial
        The state before the first step, in reverse after the last; zero when None.
    reverse
        Whether time runs from the last step to the first.

    Returns
    -------
    Tensor
        y. Differentiable in A, b and initial to any order; each derivative is a scan of the same cost.

    Raises
    ------
    InputError
        For shapes or dtypes that do not fit each other.

    Notes
    -----
    The reference and the CUDA path multiply maps of many steps: where such a product overflows, the result is NaN
    though the states may be finite. The path for processors runs through time and does not.

    References
    ----------
    G. Blelloch, Prefix sums and their applications, 1990. Y. H. Lim, Q. Zhu, J. Selfridge, M. F. Kasim, Parallelizing
    non-linear sequential models over the sequence length, 2024.

    Examples
    --------
    >>> affine_scan(torch.full((1, 3, 1), 0.5), torch.ones(1, 3, 1)).flatten()
    tensor([1.0000, 1.5000, 1.7500])
    >>> affine_scan(torch.full((1, 3, 1), 0.5), torch.ones(1, 3, 1), torch.full((1, 1), 8.0), reverse=True).flatten()
    tensor([2.7500, 3.5000, 5.0000])
    """
    if b.ndim != 3 or 0 in b.shape[1:]:
        raise InputError(f"b has shape {tuple(b.shape)}; (batch, time, n) with time and n above 0 is expected")
    if A.shape not in (b.shape, (*b.shape, b.shape[2])):
        raise InputError(
            f"A has shape {tuple(A.shape)}, expected {tuple(b.shape)} (diagonal) or {(*b.shape, b.shape[2])} (dense)"
        )
    if initial is not None and initial.shape != (b.shape[0], b.shape[2]):
        raise InputError(f"initial has shape {tuple(initial.shape)}, expected {(b.shape[0], b.shape[2])}")
    for name, tensor in (("A", A), ("b", b), ("initial", initial)):
        if tensor is not None and not tensor.is_floating_point():
            raise InputError(f"{name} has dtype {tensor.dtype}; a real floating-point tensor is expected: convert it")
    y: Tensor = _affine_scan(A, b, initial, reverse, False)
    return y


def _apply(A: Tensor, x: Tensor) -> Tensor:
    return (A @ x[..., None])[..., 0] if A.ndim > x.ndim else A * x


def _delayed(x: Tensor, steps: int) -> Tensor:
    """x later by some steps, zeros before; right for any number of steps and for symbolic sizes."""
    padding = (0, 0) * (x.ndim - 2) + (steps, 0)
    return functional.pad(x, padding).narrow(1, 0, x.shape[1])


def _affine_scan_reference(A: Tensor, b: Tensor, initial: Tensor | None, reverse: bool, dual: bool) -> Tensor:
    if reverse != dual:
        A, b = A.flip(1), b.flip(1)
    if dual:
        A = _delayed(A.mT if A.ndim == 4 else A, 1)
    y = b
    if initial is not None:
        y = torch.cat((b[:, :1] + _apply(A[:, :1], initial[:, None]), b[:, 1:]), 1)
    # after k doublings, y_i is the sum over the last 2^k steps; products of A that reach before the start become 0
    for level in range(_LEVELS):
        if statically_known_true(2**level >= b.shape[1]):
            break
        y = y + _apply(A, _delayed(y, 2**level))
        A = A @ _delayed(A, 2**level) if A.ndim == 4 else A * _delayed(A, 2**level)
    return y.flip(1) if reverse != dual else y


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    A, _, initial, ctx.reverse, ctx.dual = inputs
    ctx.has_initial = initial is not None
    ctx.save_for_backward(A, output, *(() if initial is None else (initial,)))


def _backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    A, y, *rest = ctx.saved_tensors
    initial = rest[0] if ctx.has_initial else None
    # the transpose of a scan is its dual, and the other way round; a scan without initial state ignores its first A
    adjoint = _affine_scan(A, g, None, ctx.reverse, not ctx.dual)
    slope = _slope_of_maps(A, y, initial, adjoint, ctx.reverse, ctx.dual) if ctx.needs_input_grad[0] else None
    start = None
    if ctx.has_initial and ctx.needs_input_grad[2]:
        first = -1 if ctx.reverse else 0
        start = _apply(A[:, first].mT if A.ndim == 4 else A[:, first], adjoint[:, first])
    return slope, adjoint, start, None, None


def _slope_of_maps(A: Tensor, y: Tensor, initial: Tensor | None, adjoint: Tensor, reverse: bool, dual: bool) -> Tensor:
    """A_i meets y_{i-1} and gives to y_i; of the dual, A_i meets y_i and gives to y_{i-1}, transposed."""
    left, right = (y, adjoint) if dual else (adjoint, y)
    edge = torch.zeros_like(y[:, :1]) if initial is None else initial[:, None]
    right = torch.cat((right[:, 1:], edge), 1) if reverse else torch.cat((edge, right[:, :-1]), 1)
    return left[..., None] * right[..., None, :] if A.ndim == 4 else left * right


def _fits_gpu(A: Tensor, b: Tensor, initial: Tensor | None, reverse: bool, dual: bool) -> str | None:
    if A.ndim == 4 and A.shape[-1] > _LARGEST_DENSE:
        return f"matrices of {A.shape[-1]} rows are larger than {_LARGEST_DENSE}"
    return None


_affine_scan = Kernel(
    "affine_scan",
    "(Tensor A, Tensor b, Tensor? initial, bool reverse, bool dual) -> Tensor",
    _affine_scan_reference,
    cpu=Path("cpu.scan:affine_scan", "one pass through time instead of log2(time) passes", needs="numba"),
    triton=Path(
        "cuda.scan:affine_scan",
        "two passes over memory, in blocks of time",
        needs="triton",
        dtypes=ALL_FLOATS,
        takes=_fits_gpu,
    ),
    setup=_save,
    backward=_backward,
)
