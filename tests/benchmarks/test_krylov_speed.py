"""The vector work of conjugate gradients, and dense solves, beside plain torch, on one thread."""

from __future__ import annotations

import statistics

import pytest
import torch

from sciops.kernels import dense, krylov

pytestmark = pytest.mark.benchmark

HEADER = f"\n{'milliseconds, median of turns':<44}{'peer':>10}{'ours':>10}{'ratio':>8}   middle half"
INNER = torch.linalg.vecdot


def problem(systems: int, n: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """x, r, p, Ap, z, with all inner products positive."""
    g = torch.Generator().manual_seed(0)
    return tuple(0.1 + torch.rand(systems, n, generator=g, dtype=torch.float64).to(dtype) for _ in range(5))


def ours(systems: int, n: int, dtype: torch.dtype):
    x, r, p, Ap, z = problem(systems, n, dtype)
    rz, status = torch.full((systems,), 1e-9, dtype=torch.float64), torch.zeros(systems, dtype=torch.int32)

    def step():
        krylov.cg_update_(x, r, p, Ap, rz, status)
        krylov.cg_direction_(p, z, r, rz, status)

    return step


def masked(systems: int, n: int, dtype: torch.dtype):
    """The same step in plain torch: systems that have ended, or break down, stay as they are."""
    x, r, p, Ap, z = problem(systems, n, dtype)
    rz, status = torch.full((systems,), 1e-9, dtype=dtype), torch.zeros(systems, dtype=torch.int32)

    def step():
        pAp = INNER(p, Ap)
        go = (status == 0) & (pAp > 0)
        alpha, moves = torch.where(go, rz / pAp, 0)[:, None], go[:, None]
        torch.where(moves, x + alpha * p, x, out=x)
        torch.where(moves, r - alpha * Ap, r, out=r)
        rr, new = INNER(r, r), INNER(r, z)
        torch.where(moves & (new > 0)[:, None], z + (new / rz)[:, None] * p, p, out=p)
        return rr

    return step


def tight(systems: int, n: int, dtype: torch.dtype):
    """The best that plain torch does without a mask: in place, no temporary."""
    x, r, p, Ap, z = problem(systems, n, dtype)
    rz = torch.full((systems,), 1e-9, dtype=dtype)

    def step():
        alpha = (rz / INNER(p, Ap))[:, None]
        x.addcmul_(alpha, p)
        r.addcmul_(alpha, Ap, value=-1)
        rr, new = INNER(r, r), INNER(r, z)
        torch.addcmul(z, (new / rz)[:, None], p, out=p)
        return rr

    return step


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_vector_work_of_an_iteration(dtype, compare, capsys):
    """Gated: one system of 1024^2 against the same step in plain torch; the others are told."""
    rows, gate = [HEADER], 0.0
    for systems, n in ((1, 1024**2), (64, 128**2), (1, 1000)):
        for name, peer in (("masked", masked), ("no mask, in place", tight)):
            result = compare(peer(systems, n, dtype), ours(systems, n, dtype))
            rows.append(result.row(f"CG, {systems} x {n}, {str(dtype)[6:]}, torch {name}"))
            if n == 1024**2 and peer is masked:
                gate = result.ratio
    with capsys.disabled():
        print("\n".join(rows))
    assert gate >= 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_many_small_dense_solves(dtype, compare, capsys):
    g = torch.Generator().manual_seed(0)
    rows, ratios = [HEADER], []
    for n in (8, 16, 32, 64):
        A = torch.randn(1000, n, n, generator=g, dtype=torch.float64).to(dtype)
        b = torch.randn(1000, n, 1, generator=g, dtype=torch.float64).to(dtype)

        def torch_solves(A=A, b=b):
            return torch.linalg.solve(A, b)

        def ours_solves(A=A, b=b):
            return dense.dense_solve(A, b)

        result = compare(torch_solves, ours_solves, turns=21)
        rows.append(result.row(f"1000 solves, {n} x {n}, {str(dtype)[6:]}"))
        ratios.append(result.ratio)
    with capsys.disabled():
        print("\n".join(rows))
    assert statistics.geometric_mean(ratios[:3]) >= 1.5  # 64 x 64 is LAPACK on both sides
