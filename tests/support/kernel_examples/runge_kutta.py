"""Calls of the kernels of Runge-Kutta steps."""

from __future__ import annotations

from typing import Any

import torch

from kernel_examples import Draw, Example

WEIGHTS = [0.3, 0.0, -0.8, 1.7]
DENSE = [1.0, -0.5, 0.0, 0.0, 0.25, 2.0, -0.75, 0.5]


def step(draw: Draw, batch: int, dim: int) -> tuple[Any, Any, Any]:
    if draw.small:
        batch, dim = min(batch, 3), min(dim, 2)
    return draw.normal(batch, dim), draw.normal(5, batch, dim), draw.uniform(batch)


def stage(batch: int, dim: int) -> Any:
    return lambda draw: (*step(draw, batch, dim), WEIGHTS)


def stage_in_place(batch: int, dim: int, *, fresh: bool) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        y, K, h = step(draw, batch, dim)
        return torch.full_like(y, -1.0), y, K, h, WEIGHTS, draw.normal(*y.shape) if fresh else None

    return make


def gradients(draw: Draw) -> tuple[Any, ...]:
    return stage(7, 33)(draw)


def tolerances(draw: Draw, batch: int, dim: int, kind: str) -> tuple[Any, Any]:
    shape = {"number": (1, 1), "component": (1, dim), "sample": (batch, 1), "both": (batch, dim)}[kind]
    return draw.uniform(*shape), draw.uniform(*shape)


def error(batch: int, dim: int, kind: str, *, together: bool = False) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        y, K, h = step(draw, batch, dim)
        return K, h, WEIGHTS, y, y + draw.normal(*y.shape), *tolerances(draw, *y.shape, kind), together

    return make


def control(batch: int, dim: int, kind: str, *, together: bool = False, written: bool = False) -> Any:
    """Errors well below the tolerance in even samples, well above in odd ones; the third is finished."""

    def make(draw: Draw) -> tuple[Any, ...]:
        y, K, h = step(draw, batch, dim)
        n = len(h)
        sizes = torch.tensor([0.02 if together or i % 2 == 0 else 40.0 for i in range(n)]).to(y)
        # the fourth slope has nearly all of the error, of one sign, and no component of it is small
        K[3] = sizes[:, None] * draw.uniform(*y.shape)
        K[:3] *= 0.1 * sizes[:, None]
        status = torch.zeros(n, dtype=torch.int64, device=y.device)
        status[2:3] = 1
        t = draw.uniform(n)
        end = t + 5 + draw.uniform(n)
        if not draw.small:  # the first arrives; of exact numbers, or another precision would not
            t[0], h[0], end[0] = 0.5, 0.25, 0.75
        y1 = y + 0.1 * draw.normal(*y.shape)
        state = (t, y, h, draw.uniform(n, 2), status)
        tail = (K, y1, end, *tolerances(draw, *y.shape, kind), WEIGHTS, [0.14, -0.08, 0.02, 0.9, 0.2, 10.0], together)
        return (*state, torch.zeros_like(t), *tail) if written else (*state, *tail)

    return make


def dense(batch: int, dim: int, times: int, *, written: bool = False) -> Any:
    def make(draw: Draw) -> tuple[Any, ...]:
        y, K, h = step(draw, batch, dim)
        m = min(times, 3) if draw.small else times
        theta = draw.uniform(len(h), m, low=-0.5, high=1.5)
        tail = (y, K, h, theta, DENSE, 2)
        return (draw.normal(len(h), m, y.shape[1]), *tail) if written else tail

    return make


# times in half precision have no derivative that can be compared; tolerances have none worth the name
EXAMPLES = [
    Example("stage_combination", stage(7, 3), "short"),
    Example("stage_combination", stage(3, 1301), "long"),
    Example("stage_gradients", gradients),
    Example("stage_combination_", stage_in_place(61, 3, fresh=False), "kept"),
    Example("stage_combination_", stage_in_place(5, 300, fresh=True), "fresh"),
    Example("error_norm", error(7, 3, "number"), "number", constant=(5, 6)),
    Example("error_norm", error(3, 1301, "component"), "component", constant=(5, 6)),
    Example("error_norm", error(300, 2, "sample", together=True), "together", constant=(5, 6)),
    Example("error_norm", error(9, 17, "both"), "both", constant=(5, 6)),
    Example("step_control", control(7, 3, "number"), "number", constant=(8, 9), halves=False),
    Example("step_control", control(4, 1301, "component"), "component", constant=(8, 9), halves=False),
    Example("step_control", control(9, 17, "both", together=True), "together", constant=(8, 9), halves=False),
    Example("step_control_", control(33, 3, "sample", written=True), "sample"),
    Example("step_control_", control(5, 40, "number", together=True, written=True), "together"),
    Example("interpolate_step", dense(5, 3, 7)),
    Example("interpolate_step_", dense(3, 70, 5, written=True)),
]
