# mypy: disable-error-code="no-untyped-def"
"""The spectral convolution on CUDA: transform, mix, synthesise, a launch each; backward the same with transposed bases.

All mode mixing, forward and backward, is one batched product of complex matrices in two real parts, of any strides,
on tensor cores: coefficients times weights, gradients times conjugate weights, conjugate coefficients times gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.cuda.transform import fourier_analysis, fourier_synthesis
from sciops.kernels.spectral import channel_before_batch, place_of_zero


def spectral_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    channel: int,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    sizes: Sequence[int],
    method: str,
) -> tuple[Tensor, Tensor]:
    """Transform, mix, synthesise."""
    turned = channel_before_batch(channel, dims)
    pair = fourier_analysis(x, dims, modes, kinds, paddings, False, method)
    if turned:
        pair = pair.transpose(-1, -2).contiguous()
    *shape, _, batch, _ = pair.shape
    mixed = pair.new_empty(*shape, 2, batch, weight.shape[-1])
    a, b, out = _modes(pair), _weights(weight), _modes(mixed)
    _complex_product(a, b, out, bias=bias, zero=place_of_zero(modes))
    y = fourier_synthesis(
        mixed.transpose(-1, -2) if turned else mixed, dims, modes, kinds, paddings, sizes, False, method
    )
    return y, pair


def spectral_convolution_backward(
    gradient: Tensor,
    pair: Tensor,
    weight: Tensor,
    channel: int,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    sizes: Sequence[int],
    method: str,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    """The derivatives in field, weight and constant."""
    turned = channel_before_batch(channel, dims)
    slope = fourier_analysis(gradient, dims, modes, kinds, paddings, True, method)
    if turned:
        slope = slope.transpose(-1, -2).contiguous()
    of_x, of_weight = gradient.new_empty(0), gradient.new_empty(0)
    pair, weight = pair.contiguous(), weight.contiguous()
    if wanted[0]:
        of_pair = pair.new_empty(pair.shape)
        _complex_product(_modes(slope), _weights(weight).mT, _modes(of_pair), conjugate_b=True)
        of_x = fourier_synthesis(
            of_pair.transpose(-1, -2) if turned else of_pair, dims, modes, kinds, paddings, sizes, True, method
        )
    if wanted[1]:
        of_weight = weight.new_empty(weight.shape)
        _complex_product(_modes(pair).mT, _modes(slope), _weights(of_weight), conjugate_a=True)
    return of_x, of_weight, _modes(slope)[place_of_zero(modes), 0].clone()


def _modes(pair: Tensor) -> Tensor:
    """(*modes, 2, batch, channel) as (modes, 2, batch, channel)."""
    return pair.flatten(0, -4)


def _weights(weight: Tensor) -> Tensor:
    """(*modes, in, 2, out) as (modes, 2, in, out)."""
    return weight.flatten(0, -4).movedim(-2, 1)


def _complex_product(
    a: Tensor,
    b: Tensor,
    out: Tensor,
    *,
    conjugate_a: bool = False,
    conjugate_b: bool = False,
    bias: Tensor | None = None,
    zero: int = 0,
) -> None:
    """Write the products of (modes, 2, m, k) and (modes, 2, k, n) to out; at the mode `zero` the bias is added."""
    count, _, m, n = out.shape
    k = a.shape[-1]
    row, inner, column = (_block(size, most) for size, most in ((m, 64), (k, 32), (n, 64)))
    constant = out if bias is None else bias.expand(m, n)
    launch(
        _multiply,
        (count, triton.cdiv(m, row), triton.cdiv(n, column)),
        a, b, constant, out, m, n, k, zero, *a.stride(), *b.stride(), *constant.stride()[-2:], *out.stride(),
        CONJUGATE_A=conjugate_a, CONJUGATE_B=conjugate_b, HAS_BIAS=bias is not None, M=row, N=column, K=inner,
        num_warps=4, num_stages=2,
    )  # fmt: skip


def _block(size: int, most: int) -> int:
    block: int = min(most, max(16, triton.next_power_of_2(size)))
    return block


@triton.jit
def _multiply(
    a, b, bias, out, m, n, k, zero,
    a_mode, a_part, a_row, a_column, b_mode, b_part, b_row, b_column,
    bias_row, bias_column, out_mode, out_part, out_row, out_column,
    CONJUGATE_A: tl.constexpr, CONJUGATE_B: tl.constexpr, HAS_BIAS: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, K: tl.constexpr,
) -> None:  # fmt: skip
    mode = tl.program_id(0)
    row = tl.program_id(1) * M + tl.arange(0, M)
    column = tl.program_id(2) * N + tl.arange(0, N)
    rr = tl.zeros((M, N), tl.float32)
    ii = tl.zeros((M, N), tl.float32)
    ri = tl.zeros((M, N), tl.float32)
    ir = tl.zeros((M, N), tl.float32)
    for start in range(0, k, K):
        inner = start + tl.arange(0, K)
        at = a + mode.to(tl.int64) * a_mode + row[:, None] * a_row + inner[None, :] * a_column
        inside = (row < m)[:, None] & (inner < k)[None, :]
        a_real = tl.load(at, mask=inside, other=0.0)
        a_imaginary = tl.load(at + a_part, mask=inside, other=0.0)
        at = b + mode.to(tl.int64) * b_mode + inner[:, None] * b_row + column[None, :] * b_column
        inside = (inner < k)[:, None] & (column < n)[None, :]
        b_real = tl.load(at, mask=inside, other=0.0)
        b_imaginary = tl.load(at + b_part, mask=inside, other=0.0)
        rr = tl.dot(a_real, b_real, rr, input_precision="ieee")
        ii = tl.dot(a_imaginary, b_imaginary, ii, input_precision="ieee")
        ri = tl.dot(a_real, b_imaginary, ri, input_precision="ieee")
        ir = tl.dot(a_imaginary, b_real, ir, input_precision="ieee")
    if CONJUGATE_A:
        ir = -ir
    if CONJUGATE_B:
        ri = -ri
    real = rr - ii
    if CONJUGATE_A != CONJUGATE_B:
        real = rr + ii
    inside = (row < m)[:, None] & (column < n)[None, :]
    if HAS_BIAS:
        at = bias + row[:, None] * bias_row + column[None, :] * bias_column
        real += tl.load(at, mask=inside & (mode == zero), other=0.0).to(tl.float32)
    at = out + mode.to(tl.int64) * out_mode + row[:, None] * out_row + column[None, :] * out_column
    tl.store(at, real.to(out.dtype.element_ty), mask=inside)
    tl.store(at + out_part, (ri + ir).to(out.dtype.element_ty), mask=inside)
