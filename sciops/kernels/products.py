"""Real matrix products, on the quickest path that the machine offers.

On a CPU, float32 products of some size go through oneDNN, whose kernels use the widest vectors of any processor and
fuse the bias and GELU. Everything else takes the plain operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from sciops.errors import InputError
from sciops.kernels.dispatch import Kernel, Path

if TYPE_CHECKING:
    from jaxtyping import Float

_SMALLEST = 2**16


def product(a: Tensor, b: Tensor, bias: Tensor | None = None, *, gelu: bool = False) -> Tensor:
    r"""The product :math:`a b^T` of (M, K) and (N, K), plus bias (N,), then GELU; no derivative is recorded by itself.

    Examples
    --------
    >>> product(torch.eye(2), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[1., 3.],
            [2., 4.]])
    """
    if _onednn_takes(a, b):
        fused: Tensor = torch.ops.mkldnn._linear_pointwise(
            a, b, bias, "gelu" if gelu else "none", [], "none" if gelu else ""
        )
        return fused
    plain = functional.linear(a, b, bias)
    return functional.gelu(plain) if gelu else plain


def inner_product(a: Float[Tensor, "point m"], b: Float[Tensor, "point n"]) -> Float[Tensor, "m n"]:
    r"""The product :math:`a^T b` of two tall matrices; differentiable to any order.

    Parameters
    ----------
    a, b
        (P, M) and (P, N) with P much larger than M and N.

    Returns
    -------
    Tensor
        (M, N). Under autocast in its dtype.

    Raises
    ------
    InputError
        If a and b are not matrices with the same number of rows.

    Examples
    --------
    >>> inner_product(torch.ones(5, 2), torch.ones(5, 3)).tolist()
    [[5.0, 5.0, 5.0], [5.0, 5.0, 5.0]]
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[0]:
        raise InputError(
            f"a and b have shapes {tuple(a.shape)} and {tuple(b.shape)}; matrices (P, M) and (P, N) are expected"
        )
    c: Tensor = _inner_product(a, b)
    return c


def quick_inner_product(a: Tensor, b: Tensor) -> Tensor:
    """The product of `inner_product` for any strides; no derivative is recorded by itself.

    Examples
    --------
    >>> quick_inner_product(torch.ones(5, 2), torch.ones(5, 1)).tolist()
    [[5.0], [5.0]]
    """
    # the libraries are up to five times slower when the result is taller than wide
    if a.shape[1] > b.shape[1]:
        return quick_inner_product(b, a).mT
    return product(a.mT, b.mT) if b.shape[1] >= 64 else torch.mm(a.mT, b)


def linear(
    x: Float[Tensor, "*point in_channel"],
    weight: Float[Tensor, "out_channel in_channel"],
    bias: Float[Tensor, " out_channel"] | None = None,
) -> Float[Tensor, "*point out_channel"]:
    r"""Linear map of the last dimension, :math:`y_o = \sum_i W_{oi} x_i + b_o`; differentiable to any order.

    Parameters
    ----------
    x
        (..., in_channel).
    weight, bias
        W (out_channel, in_channel) and b (out_channel,), or None.

    Returns
    -------
    Tensor
        (..., out_channel). Under autocast in its dtype.

    Raises
    ------
    InputError
        For shapes that do not fit each other.

    Examples
    --------
    >>> linear(torch.ones(2, 3), torch.ones(1, 3)).tolist()
    [[3.0], [3.0]]
    """
    if weight.ndim != 2 or x.ndim < 1 or x.shape[-1] != weight.shape[1]:
        raise InputError(
            f"x has shape {tuple(x.shape)} and the weight {tuple(weight.shape)}; "
            "(..., in_channel) and (out_channel, in_channel) are expected"
        )
    if bias is not None and (bias.ndim != 1 or bias.shape[0] != weight.shape[0]):
        raise InputError(f"the bias has shape {tuple(bias.shape)}, expected ({weight.shape[0]},)")
    y: Tensor = _linear(x, weight, bias)
    return y


def along(matrix: Tensor, x: Tensor, dim: int) -> Tensor:
    """Apply a matrix (out, in) to dimension `dim` of x; no derivative is recorded by itself.

    Examples
    --------
    >>> along(torch.ones(1, 3), torch.ones(2, 3, 4), 1).shape
    torch.Size([2, 1, 4])
    """
    lead, tail = x.shape[:dim], x.shape[dim + 1 :]
    size = matrix.shape[0]
    if not tail:
        return product(x.reshape(-1, x.shape[dim]), matrix).view(*lead, size)
    if not lead:
        return product(matrix, x.reshape(x.shape[dim], -1).mT).view(size, *tail)
    return torch.matmul(matrix, x.flatten(dim + 1)).view(*lead, size, *tail)


def _onednn_takes(a: Tensor, b: Tensor) -> bool:
    rows, inner, columns = a.shape[0], a.shape[1], b.shape[0]
    return (
        a.device.type == "cpu"
        and a.dtype == b.dtype == torch.float32
        and min(rows, inner, columns) > 1
        and rows * inner * columns >= _SMALLEST
        and bool(torch.backends.mkldnn.enabled)
        and _has_onednn()
    )


def _has_onednn() -> bool:
    return torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _linear_reference(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return functional.linear(x, weight, bias)


def _inner_reference(a: Tensor, b: Tensor) -> Tensor:
    return a.mT @ b


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _linear_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    of_x, of_weight, of_bias = ctx.needs_input_grad
    rows = gradient.reshape(-1, weight.shape[0])
    return (
        _linear(gradient, weight.mT, None) if of_x else None,
        _inner_product(rows, x.reshape(-1, weight.shape[1])) if of_weight else None,
        rows.sum(0) if of_bias else None,
    )


def _inner_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    a, b = ctx.saved_tensors
    of_a, of_b = ctx.needs_input_grad
    return _linear(b, gradient, None) if of_a else None, _linear(a, gradient.mT, None) if of_b else None


_linear = Kernel(
    "linear",
    "(Tensor x, Tensor weight, Tensor? bias) -> Tensor",
    _linear_reference,
    cpu=Path("cpu.pointwise:linear", "products by oneDNN", needs="numba"),
    setup=_keep,
    backward=_linear_backward,
    autocast="lower",
)
_inner_product = Kernel(
    "inner_product",
    "(Tensor a, Tensor b) -> Tensor",
    _inner_reference,
    cpu=Path("cpu.pointwise:inner_product", "the wider matrix second, products by oneDNN", needs="numba"),
    setup=_keep,
    backward=_inner_backward,
    autocast="lower",
)
