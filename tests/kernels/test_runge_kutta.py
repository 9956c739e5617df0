"""A small adaptive solver made of the kernels, held against SciPy and a plain loop; and what the kernels refuse."""

from __future__ import annotations

import itertools
import math

import kernel_checks as checks
import numpy as np
import pytest
import torch
from ode_loop import DENSE, ERROR, A, B, C, dopri5, lorenz, van_der_pol
from scipy.integrate import RK45, solve_ivp

from sciops.errors import InputError
from sciops.kernels import runge_kutta as rk
from sciops.kernels.dispatch import use


def state_of(y, h, t=0.0):
    n = len(y)
    full = torch.full((n,), t, dtype=y.dtype)
    return rk.StepState(full, y.clone(), h, y.new_ones(n, 2), torch.zeros(n, dtype=torch.int64), full * 0)


def one_step(y, h, norm="sample", **changes):
    """A step with slopes of which only the last has an error weight, and that slope is 1 everywhere unless changed."""
    K = changes.get("K", torch.ones(2, *y.shape, dtype=y.dtype))
    controller = changes.get("controller", rk.StepController(1.0))
    end = changes.get("end", torch.full_like(h, 10.0))
    return rk.step_control(
        state_of(y, h), K, y + 1, end, 0.0, changes.get("atol", 1.0), [0.0, 1.0], controller, norm=norm
    )


def test_the_order_of_the_method_is_five():
    """y' = y cos t with fixed steps: the error falls by 2^5 when the step is halved."""
    errors = []
    for steps in (20, 40, 80, 160):
        h = torch.full((1,), 3.0 / steps, dtype=torch.float64)
        y, K = torch.ones(1, 1, dtype=torch.float64), torch.empty(7, 1, 1, dtype=torch.float64)
        for n in range(steps):
            K[0] = y * math.cos(n * h.item())
            for i in range(1, 7):
                stage = rk.stage_combination(y, K, h, A[i])
                K[i] = stage * math.cos((n + C[i]) * h.item())
            y = stage
        errors.append(abs(y.item() - math.exp(math.sin(3.0))))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(4.85 < order < 5.15 for order in orders), (errors, orders)


def test_dense_output_has_its_order():
    """Dormand and Prince's quartic has a local error of order 5, the cubic Hermite polynomial one of order 4."""
    theta = torch.tensor([[0.3, 0.7]], dtype=torch.float64)
    for weights, order in ((DENSE, 5), (rk.hermite_weights(B), 4)):
        errors = []
        for step in (0.4, 0.2, 0.1):
            h, y, K = torch.tensor([step]).double(), torch.ones(1, 1).double(), torch.empty(7, 1, 1).double()
            for i in range(7):
                K[i] = rk.stage_combination(y, K, h, A[i]) * math.cos(C[i] * step) if i else y
            exact = torch.exp(torch.sin(theta * h))[:, :, None]
            errors.append((rk.interpolate_step(y, K, h, theta, weights) - exact).abs().max().item())
        orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
        assert all(order - 0.4 < o < order + 0.6 for o in orders), (errors, orders)


@pytest.mark.parametrize(("problem", "until"), [(van_der_pol, 10.0), (lorenz, 2.0)])
@pytest.mark.parametrize("path", ["cpu", "reference"])
def test_accuracy_beside_scipy(problem, until, path):
    """Each sample is as accurate as SciPy's RK45 (the same method) at the same tolerance, within a factor."""
    f, y0, single = problem(6)
    with use(path):
        state, _ = dopri5(f, y0, until, 1e-6, 1e-8)
    assert (state.status == rk.SampleStatus.FINISHED).all() and (state.t == until).all()
    for b in range(len(y0)):
        tight = solve_ivp(single(b), (0, until), y0[b].numpy(), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        theirs = solve_ivp(single(b), (0, until), y0[b].numpy(), method="RK45", rtol=1e-6, atol=1e-8).y[:, -1]
        ours = np.abs(state.y[b].numpy() - tight).max()
        assert ours <= 3 * np.abs(theirs - tight).max() + 1e-7


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


def test_weights_and_error_of_scipy_give_its_step(generator):
    """One combination and one error estimate of RK45's own tableau."""
    y0 = torch.randn(3, generator=generator, dtype=torch.float64)
    solver = RK45(lambda t, y: np.sin(y + t), 0.0, y0.numpy(), 1.0, first_step=0.3, rtol=1e3, atol=1e3)
    solver.step()
    K, h = torch.from_numpy(solver.K.copy())[:, None], torch.tensor([0.3], dtype=torch.float64)
    y1 = rk.stage_combination(y0[None], K, h, list(RK45.B))
    checks.require_close(y1[0], torch.from_numpy(solver.y), 1e-14, "end of the step")
    scale = 1e-3 + 1e-2 * np.maximum(abs(y0.numpy()), abs(solver.y))
    expected = solver._estimate_error_norm(solver.K, 0.3, scale)
    found = rk.error_norm(K, h, list(RK45.E), y0[None], y1, 1e-2, 1e-3)
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_unset_slopes_of_weight_zero_are_not_read():
    y, h = torch.zeros(2, 3), torch.ones(2)
    K = torch.full((4, 2, 3), math.nan)
    K[0] = 2.0
    for path in ("cpu", "reference"):
        with use(path):
            assert torch.equal(rk.stage_combination(y, K, h, [0.5, 0.0, 0.0]), torch.ones(2, 3))


def test_samples_that_are_not_active_stay():
    y = torch.randn(4, 2)
    status = torch.tensor([0, 1, 2, 3])
    for path in ("cpu", "reference"):
        state = state_of(y, torch.full((4,), 0.5))._replace(status=status)
        with use(path):
            new, slope = rk.step_control(
                state, torch.ones(2, 4, 2), y + 1, torch.full((4,), 9.0), 0.0, 10.0, [0.0, 1.0], rk.StepController(1.0)
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
        while state.status[0] == rk.SampleStatus.ACTIVE:
            n += 1
            rk.step_control_(state, K, y + 1, end, 0.0, 1.0, [0.0, 1.0], rk.StepController(5.0))
            assert state.t[0] == 0 and state.taken[0] == 0
    assert state.status.tolist() == [rk.SampleStatus.NOT_FINITE, rk.SampleStatus.FINISHED]
    assert 15 < n < 30 and state.y[0] == 0


@pytest.mark.parametrize("path", ["cpu", "reference"])
def test_a_step_lost_in_rounding_is_reported(path):
    with use(path):
        state, _ = one_step(torch.zeros(2, 1), torch.tensor([1e-6, 0.5]), K=torch.full((2, 2, 1), 1e9))
    assert state.status.tolist() == [rk.SampleStatus.STEP_UNDERFLOW, rk.SampleStatus.ACTIVE]
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
            state, _ = rk.step_control(
                state_of(y, h)._replace(status=status),
                K,
                y,
                9 * h,
                0.0,
                1.0,
                [0.0, 1.0],
                rk.StepController(1.0),
                norm="batch",
            )
        expected = math.sqrt((0.81 + 1) / 2)
        assert state.ratios[:, 0].tolist() == pytest.approx([expected, expected, 1.0])
        assert state.taken.tolist() == [1, 1, 0]


def test_the_factor_is_that_of_the_equation():
    controller = rk.StepController(5.0, 0.4, 0.3, 0.1, safety=0.8, min_factor=0.1, max_factor=5.0)
    state = state_of(torch.zeros(1, 1).double(), torch.ones(1).double())
    state = state._replace(ratios=torch.tensor([[0.5, 0.25]]).double())
    K = torch.full((1, 1, 1), 0.7, dtype=torch.float64)
    expected = 0.8 * 0.7 ** (-0.8 / 5) * 0.5 ** (0.6 / 5) * 0.25 ** (-0.1 / 5)
    for path in ("cpu", "reference"):
        with use(path):
            new, _ = rk.step_control(state, K, state.y, torch.full((1,), 99.0).double(), 0.0, 1.0, [1.0], controller)
        assert new.h.item() == pytest.approx(expected, rel=1e-14)
        assert new.ratios.tolist() == [pytest.approx([0.7, 0.5])]


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (2, 3), (1, 3)])
def test_tolerances_broadcast(shape, generator):
    y0, y1 = torch.randn(2, 2, 3, generator=generator)
    K, h = torch.randn(1, 2, 3, generator=generator), torch.tensor([0.1, 0.2])
    rtol, atol = (torch.rand(shape, generator=generator) + 0.5 for _ in range(2))
    scaled = h[:, None] * K[0] / (atol + rtol * torch.maximum(y0.abs(), y1.abs()))
    checks.require_close(rk.error_norm(K, h, [1.0], y0, y1, rtol, atol), scaled.square().mean(1).sqrt(), 1e-6, "norm")


def test_prepared_calls_follow_their_buffers(generator):
    y, K, h = torch.randn(5, 3, generator=generator), torch.randn(4, 5, 3, generator=generator), torch.rand(5)
    for path in ("cpu", "reference"):
        with use(path):
            out = torch.empty_like(y)
            combine = rk.prepare(rk.stage_combination_, out, y, K, h, [0.1, 0.2])
            for _ in range(2):
                y += 1
                combine()
                checks.require_close(out, rk.stage_combination(y, K, h, [0.1, 0.2]), 1e-6, "prepared")
            slope = torch.randn(3, 5, generator=generator).T
            combine(slope)
            assert torch.equal(K[1], slope)
            checks.require_close(out, rk.stage_combination(y, K, h, [0.1, 0.2]), 1e-6, "with a slope")


def test_gradients_pass_through_a_step():
    """The derivative of a whole accepted step in y and h agrees with differences, the step of the next one included."""

    def step(y, h):
        K = [torch.sin(y)]
        for i in range(1, 7):
            stage = rk.stage_combination(y, torch.stack(K), h, A[i])
            K.append(torch.sin(stage))
        zero = torch.zeros_like(h)
        state = rk.StepState(zero, y, h, y.new_ones(2, 2), torch.zeros(2, dtype=torch.int64), zero)
        controller = rk.StepController(5.0, 0.4, 0.3)
        new, slope = rk.step_control(state, torch.stack(K), stage, zero + 99, 1e-3, 1e-3, ERROR, controller)
        return new.t, new.y, new.h, new.ratios, slope

    y = torch.tensor([[0.5, 1.0], [2.0, 0.1]], dtype=torch.float64, requires_grad=True)
    h = torch.tensor([0.9, 1.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(step, (y, h))


def test_states_keep_their_dtype_beside_times_in_double(generator):
    """y in float32, times in float64, as solvers have them: every path, and what torch.compile is told, agree."""
    y, K = torch.randn(2, 3, generator=generator), torch.randn(2, 2, 3, generator=generator)
    h, theta = torch.tensor([0.1, 0.2]).double(), torch.rand(2, 4, generator=generator).double()
    found = []
    for path in ("cpu", "reference", "triton"):
        with use(path):
            found.append(rk.interpolate_step(y, K, h, theta, [[1.0, 0.5], [0.0, 0.5]]))
    for other in found[1:]:
        checks.require_close(other, found[0], 1e-6, "paths")
    fake = rk._interpolate_step._fake(y, K, h, theta, [1.0, 0.5, 0.0, 0.5], 2)
    assert [t.dtype for t in (*found, fake)] == [torch.float32] * 4 and fake.shape == found[0].shape


@pytest.mark.parametrize("path", ["cpu", "reference", "triton"])
def test_a_time_just_after_the_step_is_left(path):
    """Rounded to the dtype of the states it would be the end of the step."""
    out, theta = torch.zeros(1, 2, 1), torch.tensor([[1.0, 1.0 + 1e-12]], dtype=torch.float64)
    with use(path):
        rk.interpolate_step_(out, torch.zeros(1, 1), torch.ones(1, 1, 1), theta[:, 0], theta, [[1.0]])
    assert out.flatten().tolist() == [1.0, 0.0]


def test_prepared_calls_in_half_precision_take_the_reference(generator):
    y, K = torch.randn(2, 3, generator=generator).half(), torch.randn(2, 2, 3, generator=generator).half()
    h, theta = torch.tensor([0.5, 0.25]), torch.tensor([[0.5], [1.0]])
    out, dense = torch.empty_like(y), torch.zeros(2, 1, 3).half()
    rk.prepare(rk.stage_combination_, out, y, K, h, [0.5, 0.5])()
    rk.prepare(rk.interpolate_step_, dense, y, K, h, theta, [[0.0, 1.0]])()
    state = state_of(y, h)._replace(t=h * 0, ratios=torch.ones(2, 2), taken=h * 0)
    control = rk.prepare(
        rk.step_control_, state, K, y + 1, h + 9, 0.0, 100.0, [0.0, 1.0], rk.StepController(1.0), norm="batch"
    )
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
        combine = rk.prepare(rk.stage_combination_, out, y, K, h, [1.0, 1.0])
        for _ in range(2):
            combine(torch.ones(1, 2, requires_grad=True) * 2)
    assert out.tolist() == [[3.0, 3.0]] and K[1].tolist() == [[2.0, 2.0]]
    assert out.is_leaf and K.is_leaf


@pytest.mark.parametrize("path", ["cpu", "reference", "triton"])
@pytest.mark.parametrize(("slope", "size"), [(1e22, 1e-22), (1e-30, 1e30)])
def test_large_slopes_and_small_steps_do_not_overflow(path, slope, size):
    y, K, h = torch.zeros(2, 3), torch.full((1, 2, 3), slope), torch.full((2,), size)
    with use(path):
        for tolerance in (1.0, torch.ones(1, 3)):
            assert rk.error_norm(K, h, [1.0], y, y, 0.0, tolerance).tolist() == pytest.approx([1.0, 1.0])
        end = torch.full((2,), 10 * size)
        for norm in ("sample", "batch"):
            state, _ = rk.step_control(
                state_of(y, h), K, y + 1, end, 0.0, 2.0, [1.0], rk.StepController(1.0), norm=norm
            )
            assert torch.equal(state.taken, h)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda y, K, h: rk.stage_combination(y, K[:, :1], h, [1.0]), r"\(2, 3\), \(4, 1, 3\) and \(2,\)"),
        (lambda y, K, h: rk.stage_combination(y, K, h, [1.0] * 5), "5 weights for 4 slopes"),
        (lambda y, K, h: rk.stage_combination_(y.T.contiguous().T, y, K, h, [1.0]), "out has strides"),
        (lambda y, K, h: rk.stage_combination_(y.double(), y, K, h, [1.0]), "float64, expected"),
        (lambda y, K, h: rk.error_norm(K, h, [1.0], y, y, torch.ones(2), 0.1), r"rtol has shape \(2,\)"),
        (lambda y, K, h: rk.error_norm(K, h, [1.0], y, y, 0.1, 0.1, norm="sampel"), "did you mean 'sample'"),
        (lambda y, K, h: rk.interpolate_step(y, K, h, torch.ones(3, 1), [[1.0]]), r"theta has shape \(3, 1\)"),
        (lambda y, K, h: rk.interpolate_step(y, K, h, torch.ones(2, 1), [[1.0], []]), r"lengths \[0, 1\]"),
        (lambda y, K, h: rk.prepare(rk.stage_combination, y, K, h, [1.0]), "not stage_combination; did you mean"),
        (lambda y, K, h: rk.StepController(5.0, min_factor=2.0), "min_factor=2.0"),
        (lambda y, K, h: one_step(y, h, end=torch.ones(3)), r"end has shape \(3,\)"),
        (lambda y, K, h: rk.StepController(5.0, proportional=math.nan), "proportional=nan.*finite numbers"),
        (lambda y, K, h: rk.StepController(5.0, max_factor=math.inf), "max_factor=inf.*finite numbers"),
        (lambda y, K, h: rk.error_norm(K, h, [1.0], y, y, math.nan, 0.1), "rtol is nan; a number of at least 0"),
        (lambda y, K, h: rk.error_norm(K, h, [1.0], y, y, 0.1, -0.1), "atol is -0.1; a number of at least 0"),
        (lambda y, K, h: rk.hermite_weights([]), "there are no weights"),
        (lambda y, K, h: rk.stage_combination(y, K.double(), h, [1.0]), "K has dtype torch.float64, expected .*32"),
        (lambda y, K, h: rk.stage_combination(y, K, h.long(), [1.0]), "h has dtype torch.int64"),
        (lambda y, K, h: one_step(y, h, end=h.double()), "end has shape .*float64, expected"),
        (lambda y, K, h: rk.interpolate_step(y, K, h, torch.ones(2, 1).long(), [[1.0]]), "theta has dtype torch.int64"),
        (
            lambda y, K, h: rk.interpolate_step_(y.double()[:, None], y, K, h, torch.ones(2, 1), [[1.0]]),
            "out has dtype torch.float64, expected torch.float32",
        ),
    ],
)
def test_refuses_what_does_not_fit(call, message):
    with pytest.raises(InputError, match=message):
        call(torch.ones(2, 3), torch.ones(4, 2, 3), torch.ones(2))
