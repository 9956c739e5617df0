"""A small adaptive solver made of the kernels, held against SciPy; and what the kernels refuse."""

from __future__ import annotations

import itertools
import math

import kernel_checks as checks
import numpy as np
import pytest
import torch
from ode_loop import DENSE, A, B, C, dopri5, lorenz, van_der_pol
from scipy.integrate import RK45, solve_ivp

from sciops.errors import InputError
from sciops.kernels import runge_kutta as rk
from sciops.kernels.dispatch import use
from sciops.kernels.step_size import SampleStatus


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
    assert (state.status == SampleStatus.FINISHED).all() and (state.t == until).all()
    for b in range(len(y0)):
        tight = solve_ivp(single(b), (0, until), y0[b].numpy(), method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        theirs = solve_ivp(single(b), (0, until), y0[b].numpy(), method="RK45", rtol=1e-6, atol=1e-8).y[:, -1]
        ours = np.abs(state.y[b].numpy() - tight).max()
        assert ours <= 3 * np.abs(theirs - tight).max() + 1e-7


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


@pytest.mark.parametrize("shape", [(), (3,), (2, 1), (2, 3), (1, 3)])
def test_tolerances_broadcast(shape, generator):
    y0, y1 = torch.randn(2, 2, 3, generator=generator)
    K, h = torch.randn(1, 2, 3, generator=generator), torch.tensor([0.1, 0.2])
    rtol, atol = (torch.rand(shape, generator=generator) + 0.5 for _ in range(2))
    scaled = h[:, None] * K[0] / (atol + rtol * torch.maximum(y0.abs(), y1.abs()))
    checks.require_close(rk.error_norm(K, h, [1.0], y0, y1, rtol, atol), scaled.square().mean(1).sqrt(), 1e-6, "norm")


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
        (lambda y, K, h: rk.error_norm(K, h, [1.0], y, y, math.nan, 0.1), "rtol is nan; a number of at least 0"),
        (lambda y, K, h: rk.error_norm(K, h, [1.0], y, y, 0.1, -0.1), "atol is -0.1; a number of at least 0"),
        (lambda y, K, h: rk.hermite_weights([]), "there are no weights"),
        (lambda y, K, h: rk.stage_combination(y, K.double(), h, [1.0]), "K has dtype torch.float64, expected .*32"),
        (lambda y, K, h: rk.stage_combination(y, K, h.long(), [1.0]), "h has dtype torch.int64"),
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
