"""Operations and bytes of one call of each Krylov kernel; see docs/kernels.md."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kernel_examples import Draw

from sciops.kernels import bicgstab, gmres, krylov, minres

N = 1024**2


def rows(draw: Draw) -> list[tuple[str, float, float, Callable[[], object]]]:
    v = [draw.uniform(1, N) for _ in range(8)]
    size = v[0].element_size() * N
    one = torch.ones(1, dtype=torch.float64, device=draw.device)
    # steps so small that repeated calls leave the vectors as they are
    tiny = 1e-12 * one
    status = torch.zeros(1, dtype=torch.int32, device=draw.device)
    kept = 2
    P, AP = draw.uniform(kept, 1, N), 1e-9 * draw.uniform(kept, 1, N)
    pAp = 1e9 * torch.ones(kept, 1, dtype=torch.float64, device=draw.device)
    count = 10
    V = draw.normal(count + 1, 1, N) / N**0.5
    scalars = minres.minres_start(1e6 * one)
    x, r, p, Ap, z, a, b, c = v

    def lanczos() -> object:
        return minres.minres_lanczos_(x, r, z, 1e-3 * p, minres.minres_start(1e6 * one), status)

    def update() -> object:
        return minres.minres_update_(x, a, b, z, r, p, scalars.clone(), status)

    def renewed(call: Callable[[], object]) -> Callable[[], object]:
        def run() -> object:
            status.zero_()  # a break-down would make the next call cheap
            return call()

        return run

    def turn() -> object:
        return bicgstab.bicgstab_direction_(p, r, z, one, one, tiny, one, status)

    def second() -> object:
        return bicgstab.bicgstab_update_(x, r, p, z, 1e6 * Ap, c, tiny, status)

    table: list[tuple[str, float, float, Callable[[], object]]] = [
        ("krylov_dot", 2 * N, 2 * size, lambda: krylov.dot(p, Ap)),
        ("cg_update_", 8 * N, 8 * size, lambda: krylov.cg_update_(x, r, p, Ap, tiny, status)),
        ("cg_update_, pAp given", 6 * N, 6 * size, lambda: krylov.cg_update_(x, r, p, Ap, tiny, status, one)),
        ("cg_direction_", 4 * N, 5 * size, lambda: krylov.cg_direction_(p, z, r, 1e12 * one, status)),
        ("cg_direction_, rz given", 2 * N, 3 * size, lambda: krylov.cg_direction_(p, z, r, 1e12 * one, status, one)),
        (
            "conjugate_, 2 kept",
            (4 * kept + 2) * N,
            (2 * kept + 4) * size,
            lambda: krylov.conjugate_(P, AP, pAp, z, r, status, 0),
        ),
        ("minres_lanczos_ (and a copy)", 10 * N, 9 * size, lanczos),
        ("minres_update_", 9 * N, 8 * size, update),
        (
            "arnoldi_, 10 kept",
            (8 * count + 5) * N,
            (3 * count + 7) * size,
            lambda: gmres.arnoldi_(V, z, status, count),
        ),
        ("bicgstab_half_", 6 * N, 5 * size, lambda: bicgstab.bicgstab_half_(r, c, z, tiny, status)),
        ("bicgstab_update_ (and a copy)", 15 * N, 12 * size, second),
        ("bicgstab_direction_", 4 * N, 4 * size, turn),
    ]
    return [(name, flops, moved, renewed(call)) for name, flops, moved, call in table]
