"""Runge-Kutta steps and scans beside plain torch, torchdiffeq and loops, on one thread of this machine."""

from __future__ import annotations

import functools
import runpy
import statistics
from pathlib import Path

import pytest
import torch
import torchdiffeq
from ode_loop import ERROR, A, dopri5, lorenz, van_der_pol

from sciops.kernels import runge_kutta as rk
from sciops.kernels.dispatch import use
from sciops.kernels.prepared import prepare
from sciops.kernels.scan import affine_scan
from sciops.kernels.step_size import StepController, StepState, step_control_

pytestmark = pytest.mark.benchmark

PROTOTYPE = Path(__file__).resolve().parents[3] / "shared" / "prototypes" / "ode.py"
HEADER = f"\n{'milliseconds, median of turns':<44}{'peer':>10}{'ours':>10}{'ratio':>8}   middle half"


def plain_step(y, slopes, h, K, weights, error):
    """The vector work of a step as one writes it: h times K is not kept, so that slopes can be used again."""
    for i in range(1, 7):
        K[i - 1] = slopes[i - 1]
        stage = y + h[:, None] * torch.einsum("i,ibd->bd", weights[i], K[:i])
    K[6] = slopes[6]
    scale = 1.0 + torch.maximum(y.abs(), stage.abs())
    ratio = (h[:, None] * torch.einsum("i,ibd->bd", error, K) / scale).square().mean(1).sqrt()
    factor = (0.9 * ratio.clamp_min(1e-10) ** -0.2).clamp(0.2, 10.0)
    accepted = ratio <= 1
    column = accepted[:, None]
    t = torch.where(accepted, h, 0.0)
    return torch.where(column, stage, y), torch.where(column, K[6], K[0]), t, torch.minimum(h * factor, 1.0 - t)


def tuned_step(y, slopes, h, K, weights, error):
    """The same as the prototype of the design note does it: h times K is kept, matrix-vector products, few copies."""
    flat, column, start = K.view(7, -1), h[:, None], y.view(-1)
    torch.mul(slopes[0], column, out=K[0])
    for i in range(1, 7):
        stage = torch.addmv(start, flat[:i].t(), weights[i]).view_as(y)
        torch.mul(slopes[i], column, out=K[i])
    scale = torch.maximum(y.abs(), stage.abs()).mul_(1.0).add_(1.0)
    ratio = torch.linalg.vector_norm(torch.mv(flat.t(), error).view_as(y) / scale, dim=1).mul_(y.shape[1] ** -0.5)
    factor = ratio.clamp_min(1e-10).pow(-0.2).mul_(0.9).clamp_(0.2, 10.0)
    accepted = ratio <= 1
    t = torch.where(accepted, h, 0.0)
    moved = accepted[:, None]
    return torch.where(moved, stage, y), torch.where(moved, slopes[6], slopes[0]), t, torch.minimum(h * factor, 1.0 - t)


def our_step(y, slopes, h):
    stage, K, zero = torch.empty_like(y), torch.empty_like(slopes), torch.zeros_like(h)
    status = torch.zeros(len(y), dtype=torch.int64)
    state = StepState(zero, y.clone(), h.clone(), y.new_ones(len(y), 2), status, zero.clone())
    combine = [prepare(rk.stage_combination_, stage, state.y, K, state.h, A[i]) for i in range(1, 7)]
    control = prepare(step_control_, state, K, stage, zero + 1e9, 1.0, 1.0, ERROR, StepController(5.0))

    def run():
        for i in range(6):
            combine[i](slopes[i])
        K[6] = slopes[6]
        state.h.copy_(h)
        control()

    return run


def compare_steps(compare, peer, batch, dim, dtype):
    y, slopes = torch.randn(batch, dim, dtype=dtype), torch.randn(7, batch, dim, dtype=dtype)
    h, K = torch.full((batch,), 1e-3, dtype=dtype), torch.empty_like(slopes)
    weights, error = [torch.tensor(row, dtype=dtype) for row in A], torch.tensor(ERROR, dtype=dtype)
    ours = our_step(y, slopes, h)
    repeat = max(1, 2_000_000 // (K.numel() + 20_000))
    found = compare(
        lambda: [peer(y, slopes, h, K, weights, error) for _ in range(repeat)],
        lambda: [ours() for _ in range(repeat)],
        turns=15,
    )
    return found, found.row(f"{str(dtype)[6:]} ({batch}, {dim}), {repeat} steps, {peer.__name__}")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_vector_work_of_a_step(compare, dtype, capsys):
    lines, ratios = [], []
    for batch, dim in ((256, 2), (256, 3), (512, 64), (4096, 128)):
        plain, row = compare_steps(compare, plain_step, batch, dim, dtype)
        ratios.append(plain.ratio)
        lines += [row, compare_steps(compare, tuned_step, batch, dim, dtype)[1]]
    with capsys.disabled():
        print(HEADER, *lines, sep="\n")
    # the sizes count alike
    assert statistics.geometric_mean(ratios) >= 2.0


@pytest.mark.parametrize(("problem", "until"), [(van_der_pol, 10.0), (lorenz, 10.0)])
def test_whole_integration_beside_torchdiffeq(compare, problem, until, capsys):
    f, y0, _ = problem(256)
    times = torch.tensor([0.0, until], dtype=torch.float64)
    with torch.no_grad():
        found = compare(
            lambda: torchdiffeq.odeint(f, y0, times, rtol=1e-6, atol=1e-8, method="dopri5"),
            lambda: dopri5(f, y0, until, 1e-6, 1e-8),
            turns=9,
        )
        others = [against(compare, "the same loop, plain kernels", in_plain_torch, f, y0, until)]
        if PROTOTYPE.exists():
            others.append(against(compare, "the prototype of the design note", of_prototype, f, y0, until))
    with capsys.disabled():
        print(HEADER, found.row(f"{problem.__name__}: torchdiffeq dopri5"), *others, sep="\n")
    assert found.ratio >= 2.0


def in_plain_torch(f, y0, until):
    with use("reference"):
        dopri5(f, y0, until, 1e-6, 1e-8)


def of_prototype(f, y0, until):
    solve_of_prototype()(f, y0, 0.0, until, 1e-6, 1e-8, every=8, compact=0.0)


@functools.cache
def solve_of_prototype():
    return runpy.run_path(str(PROTOTYPE))["solve"]


def against(compare, name, peer, f, y0, until):
    found = compare(lambda: peer(f, y0, until), lambda: dopri5(f, y0, until, 1e-6, 1e-8), turns=9)
    return found.row(f"  {name}")


def sequential(A, b):
    y, states = torch.zeros_like(b[:, 0]), []
    for i in range(b.shape[1]):
        y = torch.baddbmm(b[:, i, :, None], A[:, i], y[..., None])[..., 0] if A.ndim == 4 else A[:, i] * y + b[:, i]
        states.append(y)
    return torch.stack(states, 1)


def doubling(A, b):
    with use("reference"):
        affine_scan(A, b)


def compare_scans(compare, peer, n, batch, dense, turns):
    shape = (batch, 10_000, n, n) if dense else (batch, 10_000, n)
    A, b = torch.randn(shape) * (0.5 / n**0.5), torch.randn(batch, 10_000, n)
    found = compare(lambda: peer(A, b), lambda: affine_scan(A, b), turns=turns)
    return found.ratio, found.row(f"n={n}, batch {batch}: {peer.__name__}")


@pytest.mark.parametrize("dense", [False, True], ids=["diagonal", "dense"])
def test_scan(compare, dense, capsys):
    """Against a loop of torch operations at 1e4 steps, and against the doubling of the reference."""
    lines = []
    for n in (1, 4, 16):
        loop, row = compare_scans(compare, sequential, n, 16, dense, 9)
        # the reference takes seconds for large matrices: a smaller batch
        plain, other = compare_scans(compare, doubling, n, 2 if dense and n > 4 else 16, dense, 5)
        lines += [row, other]
        assert loop >= 5.0 and plain >= 2.0
    with capsys.disabled():
        print(HEADER, *lines, sep="\n")
