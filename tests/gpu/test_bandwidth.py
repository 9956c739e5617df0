"""The goals of the kernels that only move memory: near the speed of a copy of as many bytes."""

from __future__ import annotations

import statistics

import pytest
import rooflines
import torch
from torch import Tensor

from sciops.kernels import krylov, smoothing, stencil, sweeps

pytestmark = pytest.mark.benchmark
DEVICE = "cuda"
NAMES = {torch.float32: "float32", torch.float64: "float64"}
GRIDS = {"1d": (2**26,), "2d": (8192, 8192), "3d": (384, 384, 384)}


def operator(dtype: torch.dtype, *space: int) -> tuple[Tensor, Tensor]:
    """The negative Laplacian of unit spacing with Dirichlet values on every face."""
    coupling = torch.ones(1, len(space), *space, dtype=dtype, device=DEVICE)
    for axis in range(len(space)):
        coupling[:, axis].select(axis + 1, -1).zero_()
    return torch.full((1, *space), 2.0 * len(space), dtype=dtype, device=DEVICE), coupling


def seconds(call) -> float:
    with torch.no_grad():
        return statistics.median(rooflines.sample_seconds(call, DEVICE))


@pytest.fixture(scope="module")
def machine() -> rooflines.Machine:
    return rooflines.Machine(DEVICE)


@pytest.mark.parametrize("dtype", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("grid", GRIDS)
def test_stencils_move_memory_as_a_copy_does(grid, dtype, machine, report):
    space = GRIDS[grid]
    d = len(space)
    diagonal, coupling = operator(dtype, *space)
    u, b = torch.randn(2, 1, 1, *space, dtype=dtype, device=DEVICE)
    scale = 1 / diagonal
    weights = torch.randn((3,) * d, dtype=dtype, device=DEVICE)
    # name, number of grids that are read or written once, call
    cases = [
        ("apply", d + 3, lambda: stencil.diffusion_apply(diagonal, coupling, u)),
        ("residual", d + 4, lambda: stencil.diffusion_residual(diagonal, coupling, u, b)),
        ("apply and dot", d + 3, lambda: stencil.diffusion_apply_dot(diagonal, coupling, u)),
        ("constant 3^d stencil", 2, lambda: stencil.stencil_apply(weights, u, "periodic")),
        (
            "Jacobi sweep",
            d + 5,
            lambda: smoothing.smooth(diagonal, coupling, scale, b, u, sweeps=sweeps.jacobi()),
        ),
    ]
    start = len(report.goals)
    for name, grids, call in cases:
        rate = grids * u.numel() * u.element_size() / seconds(call)
        report.goal(
            f"{name}, {grid}, {NAMES[dtype]}: part of the copy bandwidth", rate / machine.memory.copied, least=0.8
        )
    assert not report.missed(start), report.missed(start)


@pytest.mark.parametrize("dtype", NAMES, ids=NAMES.get)
def test_an_iteration_of_conjugate_gradients(dtype, machine, report):
    space = (4096, 4096)
    diagonal, coupling = operator(dtype, *space)
    b = torch.randn(1, diagonal.numel(), dtype=dtype, device=DEVICE)
    x, r, p = torch.zeros_like(b), b.clone(), b.clone()
    status = torch.zeros(1, dtype=torch.int32, device=DEVICE)
    rz = krylov.dot(r, r)

    def iteration() -> None:
        nonlocal rz
        Ap, energy = stencil.diffusion_apply_dot(diagonal, coupling, p.view(1, 1, *space))
        rr, _ = krylov.cg_update_(x, r, p, Ap.view_as(p), rz, status, energy.view(1))
        rz = krylov.cg_direction_(p, r, r, rz, status, rr)

    # the stencil reads D, two couplings and p and writes A p; the update reads x, r, p, A p and writes x, r;
    # the direction reads p and r and writes p
    moved = (5 + 6 + 3) * b.numel() * b.element_size()
    time = seconds(iteration)
    start = len(report.goals)
    report.goal(
        f"CG iteration, 4096^2, {NAMES[dtype]}: time over that of copying its bytes once",
        time * machine.memory.copied / moved,
        most=1.3,
    )
    assert status.item() == 0  # a system that was frozen would be quicker
    residual = b - stencil.diffusion_apply(diagonal, coupling, x.view(1, 1, *space)).view_as(b)
    assert (residual - r).norm() <= 1e-3 * b.norm()
    assert not report.missed(start), report.missed(start)
