"""Prepared calls do what the calls in place do, on the buffers they were given."""

from __future__ import annotations

import kernel_checks as checks
import pytest
import torch

from sciops.errors import InputError
from sciops.kernels import runge_kutta as rk
from sciops.kernels.dispatch import use
from sciops.kernels.prepared import prepare
from sciops.kernels.step_size import StepController, StepState, step_control_


def test_prepared_calls_follow_their_buffers(generator):
    y, K, h = torch.randn(5, 3, generator=generator), torch.randn(4, 5, 3, generator=generator), torch.rand(5)
    for path in ("cpu", "reference"):
        with use(path):
            out = torch.empty_like(y)
            combine = prepare(rk.stage_combination_, out, y, K, h, [0.1, 0.2])
            for _ in range(2):
                y += 1
                combine()
                checks.require_close(out, rk.stage_combination(y, K, h, [0.1, 0.2]), 1e-6, "prepared")
            slope = torch.randn(3, 5, generator=generator).T
            combine(slope)
            assert torch.equal(K[1], slope)
            checks.require_close(out, rk.stage_combination(y, K, h, [0.1, 0.2]), 1e-6, "with a slope")


def test_prepared_calls_in_half_precision_take_the_reference(generator):
    y, K = torch.randn(2, 3, generator=generator).half(), torch.randn(2, 2, 3, generator=generator).half()
    h, theta = torch.tensor([0.5, 0.25]), torch.tensor([[0.5], [1.0]])
    out, dense = torch.empty_like(y), torch.zeros(2, 1, 3).half()
    prepare(rk.stage_combination_, out, y, K, h, [0.5, 0.5])()
    prepare(rk.interpolate_step_, dense, y, K, h, theta, [[0.0, 1.0]])()
    state = StepState(h * 0, y.clone(), h, torch.ones(2, 2), torch.zeros(2, dtype=torch.int64), h * 0)
    control = prepare(step_control_, state, K, y + 1, h + 9, 0.0, 100.0, [0.0, 1.0], StepController(1.0), norm="batch")
    expected = y.float() + h[:, None] * K.float().mean(0)
    checks.require_close(out.float(), expected, 1e-2, "stage")
    checks.require_close(
        dense[:, 0].float(), y.float() + (h * theta[:, 0] ** 2)[:, None] * K[0].float(), 1e-2, "dense output"
    )
    control()
    assert state.taken.tolist() == [0.5, 0.25]


@pytest.mark.parametrize("path", ["cpu", "reference"])
def test_preparing_detaches(path):
    """Arguments and slopes that require a gradient record nothing."""
    y, K = torch.ones(1, 2, requires_grad=True), torch.zeros(2, 1, 2, requires_grad=True)
    out, h = torch.zeros(1, 2, requires_grad=True), torch.ones(1, requires_grad=True)
    with use(path):
        combine = prepare(rk.stage_combination_, out, y, K, h, [1.0, 1.0])
        for _ in range(2):
            combine(torch.ones(1, 2, requires_grad=True) * 2)
    assert out.tolist() == [[3.0, 3.0]] and K[1].tolist() == [[2.0, 2.0]]
    assert out.is_leaf and K.is_leaf


def test_only_calls_in_place_are_prepared():
    y, K, h = torch.ones(2, 3), torch.ones(4, 2, 3), torch.ones(2)
    with pytest.raises(InputError, match="not stage_combination; did you mean"):
        prepare(rk.stage_combination, y, K, h, [1.0])
