"""Runge-Kutta kernels on the sizes of a step of dopri5."""

from __future__ import annotations

from collections.abc import Callable

import torch
from kernel_examples import Draw
from ode_loop import DENSE, ERROR, A

from sciops.kernels import runge_kutta as rk
from sciops.kernels.prepared import prepare
from sciops.kernels.step_size import StepController, StepState, step_control_


def rows(draw: Draw) -> list[tuple[str, float, float, Callable[[], object]]]:
    """Name, operations, bytes that must move, and the call; five of the six weights of a stage are not 0."""
    table = []
    for batch, dim in ((512, 64), (4096, 128)):
        size, label = batch * dim, f"({batch}, {dim})"
        y, K, h = draw.normal(batch, dim), draw.normal(7, batch, dim), draw.uniform(batch)
        out, slope, zero = torch.empty_like(y), draw.normal(batch, dim), 0 * h
        status = torch.zeros(batch, dtype=torch.int64, device=y.device)
        state = StepState(zero, y.clone(), h, torch.ones_like(y[:, :2]).contiguous(), status, zero.clone())
        stage = prepare(rk.stage_combination_, out, y, K, h, A[6])
        control = prepare(step_control_, state, K, out, zero + 1e9, 1.0, 1.0, ERROR, StepController(5.0))

        def step(state: StepState = state, control: Callable[[], object] = control) -> None:
            state.h.fill_(1e-3)
            control()

        theta, times = draw.uniform(batch, 4), draw.normal(batch, 4, dim)
        number = y.element_size()
        table += [
            # y and five slopes read, one written
            (f"stage_combination_ {label}", 11 * size, 7 * size * number, stage),
            # the last of the five comes fresh and is written to K, too
            (f"stage_combination_ with slope {label}", 11 * size, 8 * size * number, lambda f=stage, k=slope: f(k)),
            # six slopes, y and y1 read, y and the first slope written
            (f"step_control_ {label}", 18 * size, 10 * size * number, step),
            (
                f"interpolate_step_ 4 times {label}",
                4 * 13 * size,
                11 * size * number,
                prepare(rk.interpolate_step_, times, y, K, h, theta.clamp(0.1, 0.9), DENSE),
            ),
        ]
    return table
