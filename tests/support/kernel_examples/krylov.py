"""Calls of the kernels of Krylov methods, each with systems that run, that are frozen and that break down."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from kernel_examples import Draw, Example
from sciops.kernels.systems import Status


def size(draw: Draw) -> tuple[int, int]:
    """(systems, n)"""
    return (3, 5) if draw.small else (5, 4321)


def vectors(draw: Draw, count: int, low: float = 0.2, high: float = 1.2) -> list[Any]:
    """Positive vectors: their inner products are positive and well away from 0."""
    return [draw.uniform(*size(draw), low=low, high=high) for _ in range(count)]


def scalars(draw: Draw, *shape: int) -> Tensor:
    return draw.uniform(*shape).double()


def status(draw: Draw) -> Tensor:
    """The second system is frozen, the others run."""
    found = torch.zeros(size(draw)[0], dtype=torch.int32)
    found[1] = int(Status.CONVERGED)
    return found.to(draw.device)


def broken(vector: Tensor) -> Tensor:
    """With the sign of the last system turned, so that its inner products are negative."""
    signs = torch.ones_like(vector)
    signs[-1] = -1
    return vector * signs


def dot(draw: Draw) -> tuple[Any, ...]:
    return tuple(vectors(draw, 2))


def update(given: bool) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        x, r, p, Ap = vectors(draw, 4)
        systems = size(draw)[0]
        pAp = scalars(draw, systems) * size(draw)[1] if given else None
        return x, r, p, broken(Ap), scalars(draw, systems), status(draw), pAp

    return make


def direction(given: bool) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        p, z, r = vectors(draw, 3)
        systems = size(draw)[0]
        new = broken(scalars(draw, systems)) if given else None
        return p, broken(z), r, scalars(draw, systems), status(draw), new

    return make


def conjugate(kept: int, definite: bool) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        systems, n = size(draw)
        P, AP = draw.normal(kept, systems, n), draw.normal(kept, systems, n)
        pAp = scalars(draw, kept, systems) * n
        pAp[-1, 0] = -1  # an empty slot
        z, r = vectors(draw, 2)
        # r is set along z, so that <p, r> stays well away from 0 whatever is taken from z
        return P, AP, pAp, 4 * broken(z), r, status(draw), kept // 2, definite

    return make


def minres_scalars(draw: Draw) -> Tensor:
    found = scalars(draw, 8, size(draw)[0])
    found[0, -1] = -1  # a first step, away from the kink at 0
    return found


def lanczos(draw: Draw) -> tuple[Any, ...]:
    return *vectors(draw, 4), minres_scalars(draw), status(draw)


def minres_update(draw: Draw) -> tuple[Any, ...]:
    x, w_old, w, z, r_new, z_new = vectors(draw, 6)
    return x, w_old, w, z, r_new, broken(z_new), minres_scalars(draw), status(draw)


def arnoldi(count: int) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        systems, n = size(draw)
        V = torch.linalg.qr(draw.normal(systems, n, count + 2).double().cpu()).Q.permute(2, 0, 1)
        w = draw.normal(systems, n)
        if not draw.small:
            w[-1] = 0  # exhausted: a kink
        return V.contiguous().to(w), w, status(draw), count

    return make


def rotate(draw: Draw) -> tuple[Any, ...]:
    systems, m, count = size(draw)[0], 4, 3
    R, g = draw.normal(systems, m, m).double(), draw.normal(systems, m + 1).double()
    angle = draw.normal(systems, m).double()
    h = draw.normal(systems, count + 1).double()
    return R, torch.stack([angle.cos(), angle.sin()]), g, h, status(draw)


def half(draw: Draw) -> tuple[Any, ...]:
    return *vectors(draw, 3), scalars(draw, size(draw)[0]), status(draw)


def second(draw: Draw) -> tuple[Any, ...]:
    return *vectors(draw, 6), scalars(draw, size(draw)[0]), status(draw)


def turn(draw: Draw) -> tuple[Any, ...]:
    rho, *others = (scalars(draw, size(draw)[0]) for _ in range(4))
    if not draw.small:
        rho[-1] = 0  # breaks down: a kink
    return *vectors(draw, 3), rho, *others, status(draw)


# no half precision: the residual of a solver is kept in single precision at least
CALLS: list[tuple[str, Any, str]] = [
    ("cg_update", update(False), ""),
    ("cg_update", update(True), "given"),
    ("cg_direction", direction(False), ""),
    ("cg_direction", direction(True), "given"),
    ("conjugate", conjugate(1, True), "one"),
    ("conjugate", conjugate(3, False), "three"),
    ("minres_lanczos", lanczos, ""),
    ("minres_update", minres_update, ""),
    ("arnoldi", arnoldi(1), "one"),
    ("arnoldi", arnoldi(2), "two"),
    ("gmres_rotate", rotate, ""),
    ("bicgstab_half", half, ""),
    ("bicgstab_update", second, ""),
    ("bicgstab_direction", turn, ""),
]
EXAMPLES = [Example("krylov_dot", dot, halves=False)]
EXAMPLES += [Example(name, make, label, halves=False) for name, make, label in CALLS]
EXAMPLES += [Example(f"{name}_", make, label, halves=False) for name, make, label in CALLS]
