"""The mixing of modes at width 64, 33 x 17 modes, batch 8, a tenth of the parameters of the dense weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from kernel_examples import Draw
from torch import Tensor

from sciops.kernels.dispatch import KERNELS
from sciops.kernels.weights import cp_rank, tensor_train_ranks, tucker_ranks

MODES, WIDTH, BATCH = (33, 17), 64, 8


def rows(draw: Draw) -> list[tuple[str, float, float, Callable[[], object]]]:
    """Name, operations (real additions and multiplications), bytes and one call of each kernel."""
    n, pair = math.prod(MODES), draw.normal(*MODES, 2, BATCH, WIDTH)
    (r, s), a, b = tucker_ranks(MODES, WIDTH, WIDTH, 0.1)
    rank = cp_rank(MODES, WIDTH, WIDTH, 0.1)
    p, q, t = tensor_train_ranks(MODES, WIDTH, WIDTH, 0.1)
    # complex products, eight real operations each
    spread = a * b * min(33 * s * r + n * s, 17 * s * r + n * r)
    cases: list[tuple[str, float, tuple[Tensor, ...]]] = [
        ("mix_separable", n * BATCH * WIDTH, (draw.normal(*MODES, 2, WIDTH),)),
        (
            "mix_tucker",
            spread + n * BATCH * (WIDTH * a + a * b + b * WIDTH),
            tuple(draw.normal(*shape) for shape in ((r, s, a, 2, b), (64, 2, a), (64, 2, b), (33, 2, r), (17, 2, s))),
        ),
        (
            "mix_cp",
            n * rank + n * BATCH * rank * (2 * WIDTH + 1),
            tuple(draw.normal(m, 2, rank) for m in (64, 64, 33, 17)),
        ),
        (
            "mix_tensor_train",
            n * q * (t + p * WIDTH) + n * BATCH * p * 2 * WIDTH,
            tuple(draw.normal(*shape) for shape in ((64, 2, p), (q, p, 2, 64), (33, q, 2, t), (17, t, 2, 1))),
        ),
    ]
    found: list[tuple[str, float, float, Callable[[], object]]] = []
    for name, products, factors in cases:
        missing = [None] * (0 if name == "mix_separable" else 1)
        entries = pair.numel() + sum(f.numel() for f in factors)
        size, args = pair.element_size(), (pair, *factors, *missing)
        found.append((name, 8 * products, size * (entries + pair.numel()), _call(name, *args)))
        gradient = torch.ones_like(pair)
        # two products for each of the forward pass, which is done again but for its last product
        last = {"mix_separable": 1, "mix_cp": 0.5}.get(
            name, n * BATCH * b * WIDTH / products if name == "mix_tucker" else 0
        )
        moved = size * (2 * entries + pair.numel())
        found.append((f"{name}_backward", 8 * products * (3 - last), moved, _call(f"{name}_backward", gradient, *args)))
    return found


def _call(name: str, *args: Any) -> Callable[[], object]:
    return lambda: KERNELS[name](*args)
