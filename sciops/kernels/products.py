"""Real matrix products, on the quickest path that the machine and the mode of execution offer.

In eager execution on a CPU, float32 products of some size go through oneDNN, whose kernels use the widest vectors of
any processor and fuse the bias and GELU. Everything else, and everything traced by ``torch.compile`` or
``torch.export``, transformed by ``torch.func`` or run under autocast, takes the plain operators.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional

_SMALLEST = 2**16


def is_eager(x: Tensor) -> bool:
    """Whether hand-written backward passes may be used: no tracing, no function transform, no autocast."""
    return bool(
        type(x) in (Tensor, torch.nn.Parameter)
        and not torch.compiler.is_compiling()
        and not torch._C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not torch.is_autocast_enabled(x.device.type)
    )


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


def inner_product(a: Tensor, b: Tensor) -> Tensor:
    """The product :math:`a^T b` of (P, M) and (P, N) with P much larger than M and N.

    Examples
    --------
    >>> inner_product(torch.ones(5, 2), torch.ones(5, 3)).tolist()
    [[5.0, 5.0, 5.0], [5.0, 5.0, 5.0]]
    """
    # the libraries are up to five times slower when the result is taller than wide
    if a.shape[1] > b.shape[1]:
        return inner_product(b, a).mT
    return product(a.mT, b.mT) if b.shape[1] >= 64 else torch.mm(a.mT, b)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Linear map (out, in) of the last dimension of x (..., in), plus bias (out,); differentiable to any order.

    Examples
    --------
    >>> linear(torch.ones(2, 3), torch.ones(1, 3)).tolist()
    [[3.0], [3.0]]
    """
    if not is_eager(x):
        return functional.linear(x, weight, bias)
    y: Tensor = _Product.apply(x.reshape(-1, x.shape[-1]), weight, bias)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], weight.shape[0])


def along(matrix: Tensor, x: Tensor, dim: int) -> Tensor:
    """Apply a constant matrix (out, in) to dimension `dim` of x; differentiable in x to any order.

    Examples
    --------
    >>> along(torch.ones(1, 3), torch.ones(2, 3, 4), 1).shape
    torch.Size([2, 1, 4])
    """
    if is_eager(x):
        y: Tensor = _Contraction.apply(matrix, x, dim)  # type: ignore[no-untyped-call]
        return y
    return _contract(matrix, x, dim, functional.linear)


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


def _contract(matrix: Tensor, x: Tensor, dim: int, multiply: Any) -> Tensor:
    lead, tail = x.shape[:dim], x.shape[dim + 1 :]
    size = matrix.shape[0]
    if not tail:
        flat: Tensor = multiply(x.reshape(-1, x.shape[dim]), matrix)
        return flat.view(*lead, size)
    if not lead:
        flat = multiply(matrix, x.reshape(x.shape[dim], -1).mT)
        return flat.view(size, *tail)
    return torch.matmul(matrix, x.flatten(dim + 1)).view(*lead, size, *tail)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(a, b)
        return product(a, b, bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        a, b = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            linear(g, b.mT) if wanted[0] else None,
            inner_product(g, a) if wanted[1] else None,
            g.sum(0) if wanted[2] else None,
        )


class _Contraction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, x: Tensor, dim: int) -> Tensor:
        ctx.matrix, ctx.dim = matrix, dim
        return _contract(matrix, x, dim, product)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, along(ctx.matrix.mT, gradients[0], ctx.dim), None
