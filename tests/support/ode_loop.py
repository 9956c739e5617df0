"""The smallest adaptive solver made of the Runge-Kutta kernels, its tableau, and two problems."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sciops.kernels import runge_kutta as rk
from sciops.kernels.prepared import prepare
from sciops.kernels.step_size import SampleStatus, StepController, StepState, step_control_

C = [0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1]
A: list[list[float]] = [
    [],
    [1 / 5],
    [3 / 40, 9 / 40],
    [44 / 45, -56 / 15, 32 / 9],
    [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
    [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
    [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
]
B = [*A[6], 0.0]
ERROR = [
    b - e
    for b, e in zip(B, [5179 / 57600, 0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40], strict=True)
]
# Shampine's quartic, as in scipy.integrate.RK45.P
DENSE = [
    [1, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
    [0, 0, 0, 0],
    [0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
    [0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
    [0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
    [0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
    [0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
]


def dopri5(
    f: Callable[[Tensor, Tensor], Tensor],
    y0: Tensor,
    until: float,
    rtol: float,
    atol: float,
    *,
    first: float | Tensor = 1e-3,
    every: int = 8,
    record: list[Tensor] | None = None,
) -> tuple[StepState, int]:
    """Integrate every sample from 0; the state at the end and the number of steps of the batch."""
    n = len(y0)
    t, h = y0.new_zeros(n), y0.new_zeros(n) + first
    state = StepState(t, y0.clone(), h, y0.new_ones(n, 2), torch.zeros(n, dtype=torch.int64), torch.zeros_like(t))
    K, stage, end = y0.new_empty(7, *y0.shape), torch.empty_like(y0), torch.full_like(t, until)
    c = torch.tensor(C, dtype=y0.dtype)[:, None]
    K[0] = f(t, y0)
    combine = [prepare(rk.stage_combination_, stage, state.y, K, h, A[i]) for i in range(1, 7)]
    control = prepare(step_control_, state, K, stage, end, rtol, atol, ERROR, StepController(5.0))
    slope, steps = None, 0
    while True:
        times = torch.addcmul(t, c, h)
        slope = None
        for i in range(1, 7):
            combine[i - 1](slope)
            slope = f(times[i], stage)
        K[6] = slope
        control()
        steps += 1
        if record is not None:
            record.append(state.taken.clone())
        # the only look at the numbers
        if steps % every == 0 and not bool((state.status == SampleStatus.ACTIVE).any()):
            return state, steps


def van_der_pol(batch: int) -> tuple[Any, Tensor, Any]:
    """Right-hand side, initial states, and the right-hand side of one sample as plain Python."""
    mu = torch.linspace(0.5, 5, batch, dtype=torch.float64)
    noise = torch.randn(batch, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def f(t: Tensor, y: Tensor) -> Tensor:
        x, v = y[:, 0], y[:, 1]
        return torch.stack((v, mu * (1 - x * x) * v - x), -1)

    def single(b: int) -> Any:
        m = mu[b].item()
        return lambda t, y: [y[1], m * (1 - y[0] * y[0]) * y[1] - y[0]]

    return f, torch.tensor([2.0, 0.0], dtype=torch.float64) + 0.5 * noise, single


def lorenz(batch: int) -> tuple[Any, Tensor, Any]:
    """As :func:`van_der_pol`."""
    noise = torch.randn(batch, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def f(t: Tensor, y: Tensor) -> Tensor:
        a, b, c = y[:, 0], y[:, 1], y[:, 2]
        return torch.stack((10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c), -1)

    def single(_: int) -> Any:
        return lambda t, y: [10 * (y[1] - y[0]), y[0] * (28 - y[2]) - y[1], y[0] * y[1] - 8 / 3 * y[2]]

    return f, torch.tensor([1.0, 1.0, 25.0], dtype=torch.float64) + 3 * noise, single
