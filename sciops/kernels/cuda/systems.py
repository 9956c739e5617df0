"""What the Krylov kernels for a GPU share: blocks of BLOCK entries, one program each; sums in two stages, no atomics.

A program adds its products in float64 and stores the sum of its block; torch.sum adds these in an order of its own that
does not change from run to run. Every program of a system then comes to the same step and the same status, and the
first one writes it: the others may read it before or after, for a system that breaks down is frozen either way.
"""

# mypy: disable-error-code="no-untyped-def,no-untyped-call"
# Triton evaluates annotations and knows only its own: its functions have no others

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from sciops.kernels.cuda.launch import launch
from sciops.kernels.systems import Status

BLOCK = 2048
WARPS = 8

INDEFINITE_OPERATOR = tl.constexpr(int(Status.INDEFINITE_OPERATOR))
INDEFINITE_PRECONDITIONER = tl.constexpr(int(Status.INDEFINITE_PRECONDITIONER))
NOT_FINITE = tl.constexpr(int(Status.NOT_FINITE))
BREAKDOWN = tl.constexpr(int(Status.BREAKDOWN))


def blocks_of(x: Tensor) -> int:
    return -(-x.shape[-1] // BLOCK)


def partials(x: Tensor, *leading: int) -> Tensor:
    return torch.zeros((*leading, len(x), blocks_of(x)), dtype=torch.float64, device=x.device)


def over_blocks(kernel: Any, x: Tensor, *args: Any, **constants: Any) -> None:
    """One program for each block of each system; the kernel's last arguments are n and the number of blocks."""
    blocks = blocks_of(x)
    launch(kernel, (len(x) * blocks,), *args, x.shape[1], blocks, num_warps=WARPS, BLOCK=BLOCK, **constants)


def product(x: Tensor, y: Tensor, status: Tensor | None = None) -> Tensor:
    """Inner products; 0 for systems that are frozen, if a status is given."""
    found = partials(x)
    over_blocks(_product, x, x, y, x if status is None else status, found, MASKED=status is not None)
    return found.sum(-1)


@triton.jit
def place(n, blocks, BLOCK: tl.constexpr):
    """The system of this program, its block, where its entries are, and which of them there are."""
    program = tl.program_id(0)
    system = program // blocks
    block = program % blocks
    entries = block * BLOCK + tl.arange(0, BLOCK)
    return system, block, system.to(tl.int64) * n + entries, entries < n


@triton.jit
def finite(value):
    return (value - value) == 0.0


@triton.jit
def judged(divisor, code: tl.constexpr):
    return tl.where(finite(divisor), tl.where(divisor > 0.0, 0, code), NOT_FINITE)


@triton.jit
def judged_nonzero(divisor):
    return tl.where(finite(divisor), tl.where(divisor != 0.0, 0, BREAKDOWN), NOT_FINITE)


@triton.jit
def wide_sum(x, y):
    return tl.sum(x.to(tl.float64) * y.to(tl.float64), 0)


@triton.jit
def _product(x, y, status, partial, n, blocks, MASKED: tl.constexpr, BLOCK: tl.constexpr):
    system, _, at, mask = place(n, blocks, BLOCK)
    runs = True
    if MASKED:
        runs = tl.load(status + system) == 0
    mask = mask & runs
    a, b = tl.load(x + at, mask, 0.0), tl.load(y + at, mask, 0.0)
    tl.store(partial + tl.program_id(0), wide_sum(a, b))
