"""Which steps are accepted and what follows them, held against a plain loop; the derivative; and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ode_loop import ERROR, A, C, dopri5, van_der_pol

from sciops.errors import InputError
from sciops.kernels import runge_kutta as rk
from sciops.kernels.dispatch import use
from sciops.kernels.step_size import SampleStatus, StepController, StepState, step_control, step_control_


def state_of(y, h, t=0.0):
    n = len(y)
    full = torch.full((n,), t, dtype=y.dtype)
    return StepState(full, y.clone(), h, y.new_ones(n, 2), torch.zeros(n, dtype=torch.int64), full * 0)


def one_step(y, h, norm="sample", **changes):
    """A step with slopes of which only the last has an error weight, and that slope is 1 everywhere unless changed."""
    K = changes.get("K", torch.ones(2, *y.shape, dtype=y.dtype))
    controller = changes.get("controller", StepController(1.0))
    end = changes.get("end", torch.full_like(h, 10.0))
    return step_control(state_of(y, h), K, y + 1, end, 0.0, changes.get("atol", 1.0), [0.0, 1.0], controller, norm=norm)


def test_accepts_the_steps_of_a_plain_loop():
    """Per sample, the accepted steps are those that scalar code finds with the same controller."""
    f, y0, single = van_der_pol(4)
    taken = []
    dopri5(f, y0, 3.0, 1e-5, 1e-7, record=taken)
    for b in range(4):
        ours = [h[b].item() for h in taken if h[b] != 0]
        theirs, g = [], single(b)
        t, y, h, k1 = 0.0, y0[b].numpy(), 1e-3, np.array(g(0.0, y0[b].numpy()))
        while t < 3.0:
            K = [k1]
            for i in range(1, 7):
                stage = y + h * sum(w * k for w, k in zip(A[i], K, strict=True))
                K.append(np.array(g(t + C[i] * h, stage)))
            error = h * sum(w * k for w, k in zip(ERROR, K, strict=True))
            ratio = np.sqrt(np.mean((error / (1e-7 + 1e-5 * np.maximum(abs(y), abs(stage)))) ** 2))
            factor = np.clip(0.9 * max(ratio, 1e-10) ** -0.2, 0.2, 10.0 if ratio <= 1 else 1.0)
            if ratio <= 1:
                theirs.append(h)
                t, y, k1 = (3.0 if abs(3.0 - t - h) < 1e-14 else t + h), stage, K[6]
            h = min(h * factor, 3.0 - t)
        assert len(ours) == len(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)  # the error estimate cancels in its first digits


def test_samples_that_are_not_active_stay():
    y = torch.randn(4, 2)
    status = torch.tensor([0, 1, 2, 3])
    for path in ("cpu", "reference"):
        state = state_of(y, torch.full((4,), 0.5))._replace(status=status)
        with use(path):
            new, slope = step_control(
                state, torch.ones(2, 4, 2), y + 1, torch.full((4,), 9.0), 0.0, 10.0, [0.0, 1.0], StepController(1.0)
            )
        assert torch.equal(new.status, status) and torch.equal(new.y[1:], y[1:]) and torch.equal(new.y[0], y[0] + 1)
        assert new.t.tolist() == [0.5, 0, 0, 0] and new.taken.tolist() == [0.5, 0, 0, 0]
        assert (new.h[1:] == 0).all() and new.h[0] > 0 and slope.shape == y.shape


@pytest.mark.parametrize("path", ["cpu", "reference"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_errors_that_are_not_finite_are_rejected_and_then_reported(path, bad):
    K = torch.ones(2, 2, 1, dtype=torch.float64)
    K[1, 0] = bad
    y, h = torch.zeros(2, 1, dtype=torch.float64), torch.full((2,), 0.5, dtype=torch.float64)
    state, end, n = state_of(y, h), torch.ones(2, dtype=torch.float64), 0
    with use(path):
        while state.status[0] == SampleStatus.ACTIVE:
            n += 1
            step_control_(state, K, y + 1, end, 0.0, 1.0, [0.0, 1.0], StepController(5.0))
            assert state.t[0] == 0 and state.taken[0] == 0
    assert state.status.tolist() == [SampleStatus.NOT_FINITE, SampleStatus.FINISHED]
    assert 15 < n < 30 and state.y[0] == 0


@pytest.mark.parametrize("path", ["cpu", "reference"])
def test_a_step_lost_in_rounding_is_reported(path):
    with use(path):
        state, _ = one_step(torch.zeros(2, 1), torch.tensor([1e-6, 0.5]), K=torch.full((2, 2, 1), 1e9))
    assert state.status.tolist() == [SampleStatus.STEP_UNDERFLOW, SampleStatus.ACTIVE]
    assert state.h.tolist() == pytest.approx([0, 0.1])


@pytest.mark.parametrize("path", ["cpu", "reference"])
def test_runs_backwards_and_never_passes_the_end(path):
    y, h = torch.zeros(2, 1, dtype=torch.float64), torch.tensor([-0.5, 0.4], dtype=torch.float64)
    with use(path):
        state, _ = one_step(y, h, atol=10.0, end=torch.tensor([-0.75, 0.3], dtype=torch.float64))
    assert state.t.tolist() == [-0.5, 0.4]
    assert state.h.tolist() == pytest.approx([-0.25, -0.1])  # the second was sent past its end, and turns round


def test_the_norm_of_the_batch_is_shared_by_the_active():
    y, h = torch.zeros(3, 1), torch.ones(3)
    K = torch.tensor([0.0, 0.0, 0.0, 0.9, 1.0, 99.0]).view(2, 3, 1)
    status = torch.tensor([0, 0, 1])
    for path in ("cpu", "reference"):
        with use(path):
            state, _ = step_control(
                state_of(y, h)._replace(status=status),
                K,
                y,
                9 * h,
                0.0,
                1.0,
                [0.0, 1.0],
                StepController(1.0),
                norm="batch",
            )
        expected = math.sqrt((0.81 + 1) / 2)
        assert state.ratios[:, 0].tolist() == pytest.approx([expected, expected, 1.0])
        assert state.taken.tolist() == [1, 1, 0]


def test_the_factor_is_that_of_the_equation():
    controller = StepController(5.0, 0.4, 0.3, 0.1, safety=0.8, min_factor=0.1, max_factor=5.0)
    state = state_of(torch.zeros(1, 1).double(), torch.ones(1).double())
    state = state._replace(ratios=torch.tensor([[0.5, 0.25]]).double())
    K = torch.full((1, 1, 1), 0.7, dtype=torch.float64)
    expected = 0.8 * 0.7 ** (-0.8 / 5) * 0.5 ** (0.6 / 5) * 0.25 ** (-0.1 / 5)
    for path in ("cpu", "reference"):
        with use(path):
            new, _ = step_control(state, K, state.y, torch.full((1,), 99.0).double(), 0.0, 1.0, [1.0], controller)
        assert new.h.item() == pytest.approx(expected, rel=1e-14)
        assert new.ratios.tolist() == [pytest.approx([0.7, 0.5])]


def test_gradients_pass_through_a_step():
    """The derivative of a whole accepted step in y and h agrees with differences, the step of the next one included."""

    def step(y, h):
        K = [torch.sin(y)]
        for i in range(1, 7):
            stage = rk.stage_combination(y, torch.stack(K), h, A[i])
            K.append(torch.sin(stage))
        zero = torch.zeros_like(h)
        state = StepState(zero, y, h, y.new_ones(2, 2), torch.zeros(2, dtype=torch.int64), zero)
        controller = StepController(5.0, 0.4, 0.3)
        new, slope = step_control(state, torch.stack(K), stage, zero + 99, 1e-3, 1e-3, ERROR, controller)
        return new.t, new.y, new.h, new.ratios, slope

    y = torch.tensor([[0.5, 1.0], [2.0, 0.1]], dtype=torch.float64, requires_grad=True)
    h = torch.tensor([0.9, 1.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(step, (y, h))


@pytest.mark.parametrize("path", ["cpu", "reference", "triton"])
@pytest.mark.parametrize(("slope", "size"), [(1e22, 1e-22), (1e-30, 1e30)])
def test_large_slopes_and_small_steps_do_not_overflow(path, slope, size):
    y, K, h = torch.zeros(2, 3), torch.full((1, 2, 3), slope), torch.full((2,), size)
    with use(path):
        for tolerance in (1.0, torch.ones(1, 3)):
            assert rk.error_norm(K, h, [1.0], y, y, 0.0, tolerance).tolist() == pytest.approx([1.0, 1.0])
        end = torch.full((2,), 10 * size)
        for norm in ("sample", "batch"):
            state, _ = step_control(state_of(y, h), K, y + 1, end, 0.0, 2.0, [1.0], StepController(1.0), norm=norm)
            assert torch.equal(state.taken, h)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, h: StepController(5.0, min_factor=2.0), "min_factor=2.0"),
        (lambda y, h: one_step(y, h, end=torch.ones(3)), r"end has shape \(3,\)"),
        (lambda y, h: StepController(5.0, proportional=math.nan), "proportional=nan.*finite numbers"),
        (lambda y, h: StepController(5.0, max_factor=math.inf), "max_factor=inf.*finite numbers"),
        (lambda y, h: one_step(y, h, end=h.double()), "end has shape .*float64, expected"),
    ],
)
def test_refuses_what_does_not_fit(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.ones(2, 3), torch.ones(2))
