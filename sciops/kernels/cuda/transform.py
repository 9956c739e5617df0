# mypy: disable-error-code="no-untyped-def"
"""Truncated Fourier transforms on CUDA: one launch that reads the field once, and one that writes it once.

A program holds a few rows (a row is one point of the dimensions that are not transformed) and multiplies tiles of the
field by cosines and sines, the second axis first; the products of the two axes stay on the chip. Sizes and modes are
padded to blocks by masks, so any will do. Sums are in float32, products in the dtype of the field: tensor cores for
half precision, plain float32 otherwise. In three dimensions the first axis is one more matrix product.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.transform import (
    all_frequencies,
    analysis_matrices,
    analysis_reference,
    axes_of,
    synthesis_matrices,
    synthesis_reference,
)

_SUMS = 2**14  # float32 numbers that the threads of one program hold as sums; half as many where operands are float32


def fourier_analysis(
    x: Tensor,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    adjoint: bool,
    method: str,
) -> Tensor:
    """The pair of x; by FFTs it is what plain torch does."""
    if method == "fft":
        return analysis_reference(x, dims, modes, kinds, paddings, adjoint, method).contiguous()
    axes = axes_of(modes, kinds, paddings)
    matrices = analysis_matrices(axes, [x.shape[dim] for dim in dims], like=x, adjoint=adjoint)
    return analyse_front(x.movedim(tuple(dims), tuple(range(len(axes)))), matrices)


def fourier_synthesis(
    pair: Tensor,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    sizes: Sequence[int],
    adjoint: bool,
    method: str,
) -> Tensor:
    """The field of the pair; by FFTs it is what plain torch does."""
    if method == "fft":
        return synthesis_reference(pair, dims, modes, kinds, paddings, sizes, adjoint, method).contiguous()
    axes = axes_of(modes, kinds, paddings)
    matrices = synthesis_matrices(axes, sizes, like=pair, adjoint=adjoint)
    front = [*sizes, *pair.shape[len(axes) + 1 :]]
    rest = iter(front[len(axes) :])
    shape = [sizes[list(dims).index(i)] if i in dims else next(rest) for i in range(len(front))]
    y = pair.new_empty(shape)
    synthesise_front(pair.contiguous(), y.movedim(tuple(dims), tuple(range(len(axes)))), matrices)
    return y


def analyse_front(x: Tensor, matrices: Sequence[Tensor]) -> Tensor:
    """The pair (*modes, 2, *rest) of a field (*space, *rest) with any strides; a matrix (2 (m + 1), N) an axis."""
    ndim = len(matrices)
    halves = [matrix.shape[0] // 2 for matrix in matrices]
    rest = x.shape[ndim:]
    if ndim == 3:
        pair = analyse_front(x.movedim(0, 2), matrices[1:])
        cosine, sine = all_frequencies(matrices[0], halves[0] - 1)
        both = torch.cat([torch.cat([cosine, -sine], 1), torch.cat([sine, cosine], 1)])
        product = both @ pair.view(-1, 2 * x.shape[0], rest.numel())
        product = product.view(-1, 2, 2 * halves[0] - 1, rest.numel()).movedim(2, 0)
        return product.reshape(2 * halves[0] - 1, *pair.shape[:3], *rest)
    x = _with_few_strides(x, ndim)
    sizes, strides = _rows(x, ndim)
    rows = rest.numel()
    pair = x.new_empty(*(2 * k - 1 for k in halves[:-1]), halves[-1], 2, *rest)
    p = [_block(k, x) for k in halves]
    if ndim == 1:
        columns = 64 if rows > 16 else 16
        launch(
            _analyse_line,
            (triton.cdiv(rows, columns), triton.cdiv(halves[0], p[0])),
            x, matrices[0], pair, rows, x.shape[0], halves[0], *sizes, *strides, x.stride(0), *matrices[0].stride(),
            ROWS=columns, P=p[0], NODES=32,
        )  # fmt: skip
        return pair
    together = _rows_together(x, 4 * p[0] * p[1], strides[2])
    sums = 4 * p[0] * p[1] * together
    nodes1 = 16 if together > 1 or x.element_size() > 2 else 32
    launch(
        _analyse_plane,
        (triton.cdiv(rows, together), triton.cdiv(halves[0], p[0]), triton.cdiv(halves[1], p[1])),
        x, *matrices, pair, rows, *x.shape[:2], *halves, *sizes, *strides, *x.stride()[:2],
        *matrices[0].stride(), *matrices[1].stride(),
        ROWS=together, P1=p[0], P2=p[1], NODES1=nodes1, NODES2=64 // x.element_size(),
        num_warps=4 if sums < _SUMS // 4 else 8, num_stages=2,
    )  # fmt: skip
    return pair


def synthesise_front(pair: Tensor, y: Tensor, matrices: Sequence[Tensor]) -> None:
    """Write the field of a contiguous pair to y (*space, *rest), of any strides; a matrix (N, 2 (m + 1)) an axis."""
    ndim = len(matrices)
    halves = [matrix.shape[1] // 2 for matrix in matrices]
    rest = y.shape[ndim:]
    if ndim == 3:
        cosine, sine = (part.mT for part in all_frequencies(matrices[0].mT, halves[0] - 1))
        both = torch.cat([torch.cat([cosine, sine], 1), torch.cat([-sine, cosine], 1)])
        front = pair.reshape(pair.shape[0], -1, 2, rest.numel()).movedim(0, 2)
        product = both @ front.reshape(front.shape[0], 2 * pair.shape[0], rest.numel())
        product = product.view(*pair.shape[1:4], y.shape[0], *rest)
        synthesise_front(product, y.movedim(0, 2), matrices[1:])
        return
    sizes, strides = _rows(y, ndim)
    rows = rest.numel()
    p = [_block(k, y) for k in halves]
    if ndim == 1:
        columns = 64 if rows > 16 else 16
        launch(
            _synthesise_line,
            (triton.cdiv(rows, columns), triton.cdiv(y.shape[0], 64)),
            pair, matrices[0], y, rows, y.shape[0], halves[0], *sizes, *strides, y.stride(0), *matrices[0].stride(),
            ROWS=columns, P=p[0], NODES=64,
        )  # fmt: skip
        return
    together = _rows_together(y, 4 * p[0] * p[1], strides[2])
    nodes1, nodes2 = 16 if together > 1 or y.element_size() > 2 else 32, 128 // y.element_size()
    launch(
        _synthesise_plane,
        (triton.cdiv(rows, together), triton.cdiv(y.shape[0], nodes1), triton.cdiv(y.shape[1], nodes2)),
        pair, *matrices, y, rows, *y.shape[:2], *halves, *sizes, *strides, *y.stride()[:2],
        *matrices[0].stride(), *matrices[1].stride(),
        ROWS=together, P1=p[0], P2=p[1], NODES1=nodes1, NODES2=nodes2, num_warps=8, num_stages=2,
    )  # fmt: skip


def _block(count: int, x: Tensor) -> int:
    """Frequencies that one program takes: tensor cores want 16 at least, the registers 64 at most, less in float32."""
    size: int = min(128 // x.element_size(), max(16, triton.next_power_of_2(count)))
    return size


def _rows_together(x: Tensor, sums: int, stride: int) -> int:
    """Rows of one program: where neighbours in memory are rows (channels last), several, to use whole sectors."""
    # 16 rows in half precision and 8 in float32 are one sector of 32 bytes
    return max(1, min(32 // x.element_size(), 2 * _SUMS // x.element_size() // sums)) if stride == 1 else 1


def _with_few_strides(x: Tensor, ndim: int) -> Tensor:
    return x if len(_collapsed(x, ndim)) <= 3 else x.contiguous()


def _rows(x: Tensor, ndim: int) -> tuple[list[int], list[int]]:
    """The last two of three sizes, and the three strides, that lead from the number of a row to its place."""
    levels = [(1, 0)] * 3 + _collapsed(x, ndim)
    levels = levels[-3:]
    return [size for size, _ in levels[1:]], [stride for _, stride in levels]


def _collapsed(x: Tensor, ndim: int) -> list[tuple[int, int]]:
    """Sizes and strides of the dimensions behind the axes, neighbours in memory made one."""
    levels: list[tuple[int, int]] = []
    for size, stride in zip(x.shape[ndim:], x.stride()[ndim:], strict=True):
        if size == 1:
            continue
        if levels and levels[-1][1] == size * stride:
            levels[-1] = (levels[-1][0] * size, stride)
        else:
            levels.append((size, stride))
    return levels


@triton.jit
def _place(row, size1, size2, stride0, stride1, stride2):
    row = row.to(tl.int64)
    return row // (size1 * size2) * stride0 + row // size2 % size1 * stride1 + row % size2 * stride2


@triton.jit
def _analyse_line(
    x, matrix, pair, rows, nodes, count,
    size1, size2, stride0, stride1, stride2, step, along_k, along_j,
    ROWS: tl.constexpr, P: tl.constexpr, NODES: tl.constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    place = _place(row, size1, size2, stride0, stride1, stride2)
    k = tl.program_id(1) * P + tl.arange(0, P)
    real = tl.zeros((P, ROWS), tl.float32)
    imaginary = tl.zeros((P, ROWS), tl.float32)
    for start in range(0, nodes, NODES):
        j = start + tl.arange(0, NODES)
        tile = tl.load(
            x + j.to(tl.int64)[:, None] * step + place[None, :],
            mask=(j < nodes)[:, None] & (row < rows)[None, :], other=0.0,
        )  # fmt: skip
        inside = (k < count)[:, None] & (j < nodes)[None, :]
        at = matrix + k[:, None] * along_k + j[None, :] * along_j
        real = tl.dot(tl.load(at, mask=inside, other=0.0), tile, real, input_precision="ieee")
        sine = tl.load(at + count * along_k, mask=inside, other=0.0)
        imaginary = tl.dot(sine, tile, imaginary, input_precision="ieee")
    inside = (k < count)[:, None] & (row < rows)[None, :]
    at = pair + k.to(tl.int64)[:, None] * 2 * rows + row[None, :]
    tl.store(at, real.to(pair.dtype.element_ty), mask=inside)
    tl.store(at + rows, imaginary.to(pair.dtype.element_ty), mask=inside)


@triton.jit
def _synthesise_line(
    pair, matrix, y, rows, nodes, count,
    size1, size2, stride0, stride1, stride2, step, along_j, along_k,
    ROWS: tl.constexpr, P: tl.constexpr, NODES: tl.constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    place = _place(row, size1, size2, stride0, stride1, stride2)
    j = tl.program_id(1) * NODES + tl.arange(0, NODES)
    field = tl.zeros((NODES, ROWS), tl.float32)
    for start in range(0, count, P):
        k = start + tl.arange(0, P)
        inside = (k < count)[:, None] & (row < rows)[None, :]
        at = pair + k.to(tl.int64)[:, None] * 2 * rows + row[None, :]
        known = (j < nodes)[:, None] & (k < count)[None, :]
        basis = matrix + j[:, None] * along_j + k[None, :] * along_k
        cosine = tl.load(basis, mask=known, other=0.0)
        field = tl.dot(cosine, tl.load(at, mask=inside, other=0.0), field, input_precision="ieee")
        sine = tl.load(basis + count * along_k, mask=known, other=0.0)
        field = tl.dot(sine, tl.load(at + rows, mask=inside, other=0.0), field, input_precision="ieee")
    tl.store(
        y + j.to(tl.int64)[:, None] * step + place[None, :], field.to(y.dtype.element_ty),
        mask=(j < nodes)[:, None] & (row < rows)[None, :],
    )  # fmt: skip


@triton.jit
def _analyse_plane(
    x, first, second, pair, rows, nodes1, nodes2, count1, count2,
    size1, size2, stride0, stride1, stride2, step1, step2,
    along_k1, along_j1, along_k2, along_j2,
    ROWS: tl.constexpr, P1: tl.constexpr, P2: tl.constexpr, NODES1: tl.constexpr, NODES2: tl.constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    place = _place(row, size1, size2, stride0, stride1, stride2)
    k1 = tl.program_id(1) * P1 + tl.arange(0, P1)
    k2 = tl.program_id(2) * P2 + tl.arange(0, P2)
    # the first letter tells whether cosine or sine of the first axis, the second of the second
    cc = tl.zeros((P2 * ROWS, P1), tl.float32)
    sc = tl.zeros((P2 * ROWS, P1), tl.float32)
    cs = tl.zeros((P2 * ROWS, P1), tl.float32)
    ss = tl.zeros((P2 * ROWS, P1), tl.float32)
    for start1 in range(0, nodes1, NODES1):
        j1 = start1 + tl.arange(0, NODES1)
        # columns of a tile: node of the first axis, then row
        column = tl.reshape(j1.to(tl.int64)[:, None] * step1 + place[None, :], (NODES1 * ROWS,))
        valid = tl.reshape((j1 < nodes1)[:, None] & (row < rows)[None, :], (NODES1 * ROWS,))
        c = tl.zeros((P2, NODES1 * ROWS), tl.float32)
        s = tl.zeros((P2, NODES1 * ROWS), tl.float32)
        for start2 in range(0, nodes2, NODES2):
            j2 = start2 + tl.arange(0, NODES2)
            tile = tl.load(
                x + j2.to(tl.int64)[:, None] * step2 + column[None, :],
                mask=(j2 < nodes2)[:, None] & valid[None, :], other=0.0,
            )  # fmt: skip
            inside = (k2 < count2)[:, None] & (j2 < nodes2)[None, :]
            at = second + k2[:, None] * along_k2 + j2[None, :] * along_j2
            c = tl.dot(tl.load(at, mask=inside, other=0.0), tile, c, input_precision="ieee")
            s = tl.dot(tl.load(at + count2 * along_k2, mask=inside, other=0.0), tile, s, input_precision="ieee")
        c = tl.reshape(tl.permute(tl.reshape(c, (P2, NODES1, ROWS)), (0, 2, 1)), (P2 * ROWS, NODES1))
        s = tl.reshape(tl.permute(tl.reshape(s, (P2, NODES1, ROWS)), (0, 2, 1)), (P2 * ROWS, NODES1))
        c = c.to(x.dtype.element_ty)
        s = s.to(x.dtype.element_ty)
        inside = (j1 < nodes1)[:, None] & (k1 < count1)[None, :]
        at = first + k1[None, :] * along_k1 + j1[:, None] * along_j1
        cosine = tl.load(at, mask=inside, other=0.0)
        cc = tl.dot(c, cosine, cc, input_precision="ieee")
        cs = tl.dot(s, cosine, cs, input_precision="ieee")
        sine = tl.load(at + count1 * along_k1, mask=inside, other=0.0)
        sc = tl.dot(c, sine, sc, input_precision="ieee")
        ss = tl.dot(s, sine, ss, input_precision="ieee")
    behind = tl.reshape(k2.to(tl.int64)[:, None] * 2 * rows + row[None, :], (P2 * ROWS,))
    valid = tl.reshape((k2 < count2)[:, None] & (row < rows)[None, :], (P2 * ROWS,))
    inside = valid[:, None] & (k1 < count1)[None, :]
    width = count2.to(tl.int64) * 2 * rows
    at = pair + (count1 - 1 + k1)[None, :] * width + behind[:, None]
    tl.store(at, (cc - ss).to(pair.dtype.element_ty), mask=inside)
    tl.store(at + rows, (cs + sc).to(pair.dtype.element_ty), mask=inside)
    inside = inside & (k1 > 0)[None, :]
    at = pair + (count1 - 1 - k1)[None, :] * width + behind[:, None]
    tl.store(at, (cc + ss).to(pair.dtype.element_ty), mask=inside)
    tl.store(at + rows, (cs - sc).to(pair.dtype.element_ty), mask=inside)


@triton.jit
def _synthesise_plane(
    pair, first, second, y, rows, nodes1, nodes2, count1, count2,
    size1, size2, stride0, stride1, stride2, step1, step2,
    along_j1, along_k1, along_j2, along_k2,
    ROWS: tl.constexpr, P1: tl.constexpr, P2: tl.constexpr, NODES1: tl.constexpr, NODES2: tl.constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    place = _place(row, size1, size2, stride0, stride1, stride2)
    j1 = tl.program_id(1) * NODES1 + tl.arange(0, NODES1)
    j2 = tl.program_id(2) * NODES2 + tl.arange(0, NODES2)
    field = tl.zeros((NODES2, NODES1 * ROWS), tl.float32)
    width = count2.to(tl.int64) * 2 * rows
    for start2 in range(0, count2, P2):
        k2 = start2 + tl.arange(0, P2)
        behind = tl.reshape(k2.to(tl.int64)[:, None] * 2 * rows + row[None, :], (P2 * ROWS,))
        valid = tl.reshape((k2 < count2)[:, None] & (row < rows)[None, :], (P2 * ROWS,))
        real = tl.zeros((P2 * ROWS, NODES1), tl.float32)
        imaginary = tl.zeros((P2 * ROWS, NODES1), tl.float32)
        for start1 in range(0, count1, P1):
            k1 = start1 + tl.arange(0, P1)
            inside = valid[:, None] & (k1 < count1)[None, :]
            at = pair + (count1 - 1 + k1)[None, :] * width + behind[:, None]
            above = tl.load(at, mask=inside, other=0.0).to(tl.float32)
            above_i = tl.load(at + rows, mask=inside, other=0.0).to(tl.float32)
            inside = inside & (k1 > 0)[None, :]
            at = pair + (count1 - 1 - k1)[None, :] * width + behind[:, None]
            below = tl.load(at, mask=inside, other=0.0).to(tl.float32)
            below_i = tl.load(at + rows, mask=inside, other=0.0).to(tl.float32)
            known = (k1 < count1)[:, None] & (j1 < nodes1)[None, :]
            basis = first + j1[None, :] * along_j1 + k1[:, None] * along_k1
            cosine = tl.load(basis, mask=known, other=0.0)
            dtype = y.dtype.element_ty
            real = tl.dot((above + below).to(dtype), cosine, real, input_precision="ieee")
            imaginary = tl.dot((above_i + below_i).to(dtype), cosine, imaginary, input_precision="ieee")
            sine = tl.load(basis + count1 * along_k1, mask=known, other=0.0)
            real = tl.dot((above_i - below_i).to(dtype), sine, real, input_precision="ieee")
            imaginary = tl.dot((below - above).to(dtype), sine, imaginary, input_precision="ieee")
        real = tl.reshape(tl.permute(tl.reshape(real, (P2, ROWS, NODES1)), (0, 2, 1)), (P2, NODES1 * ROWS))
        imaginary = tl.reshape(tl.permute(tl.reshape(imaginary, (P2, ROWS, NODES1)), (0, 2, 1)), (P2, NODES1 * ROWS))
        known = (j2 < nodes2)[:, None] & (k2 < count2)[None, :]
        basis = second + j2[:, None] * along_j2 + k2[None, :] * along_k2
        cosine = tl.load(basis, mask=known, other=0.0)
        field = tl.dot(cosine, real.to(y.dtype.element_ty), field, input_precision="ieee")
        sine = tl.load(basis + count2 * along_k2, mask=known, other=0.0)
        field = tl.dot(sine, imaginary.to(y.dtype.element_ty), field, input_precision="ieee")
    column = tl.reshape(j1.to(tl.int64)[:, None] * step1 + place[None, :], (NODES1 * ROWS,))
    valid = tl.reshape((j1 < nodes1)[:, None] & (row < rows)[None, :], (NODES1 * ROWS,))
    tl.store(
        y + j2.to(tl.int64)[:, None] * step2 + column[None, :], field.to(y.dtype.element_ty),
        mask=(j2 < nodes2)[:, None] & valid[None, :],
    )  # fmt: skip
