"""The scan against the loop it replaces, SciPy's filter, its adjoint, and inside DEER."""

from __future__ import annotations

import kernel_checks as checks
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import lfilter

from sciops.errors import InputError
from sciops.kernels.dispatch import use
from sciops.kernels.scan import _affine_scan, affine_scan


def loop(A, b, initial=None, *, reverse=False):
    y = torch.zeros_like(b[:, 0]) if initial is None else initial
    steps = range(b.shape[1])
    rows = {}
    for i in reversed(steps) if reverse else steps:
        y = ((A[:, i] @ y[..., None])[..., 0] if A.ndim == 4 else A[:, i] * y) + b[:, i]
        rows[i] = y
    return torch.stack([rows[i] for i in steps], 1)


def problem(generator, batch, time, n, *, dense):
    shape = (batch, time, n, n) if dense else (batch, time, n)
    A = torch.randn(shape, generator=generator, dtype=torch.float64) * (0.7 / n**0.5 if dense else 0.7)
    b = torch.randn(batch, time, n, generator=generator, dtype=torch.float64)
    return A, b, torch.randn(batch, n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("path", ["cpu", "reference"])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("time", "n"), [(1, 3), (2, 1), (3, 5), (64, 2), (129, 16)])
def test_agrees_with_the_loop(path, dense, reverse, time, n, generator):
    A, b, initial = problem(generator, 3, time, n, dense=dense)
    with use(path):
        for start in (None, initial):
            found = affine_scan(A, b, start, reverse=reverse)
            checks.require_close(found, loop(A, b, start, reverse=reverse), 1e-13, "scan")


@pytest.mark.parametrize("path", ["cpu", "reference"])
def test_a_constant_map_is_a_recursive_filter(path, generator):
    """1e4 steps of SciPy's lfilter, an implementation that shares nothing with ours."""
    x = torch.randn(1, 10_000, 1, generator=generator, dtype=torch.float64)
    expected = torch.from_numpy(lfilter([1.0], [1.0, -0.999], x.flatten().numpy()))
    with use(path):
        found = affine_scan(torch.full_like(x, 0.999), x)
    checks.require_close(found.flatten(), expected, 1e-12, "filter")


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    batch=st.integers(1, 3),
    time=st.integers(1, 40),
    n=st.integers(1, 6),
    dense=st.booleans(),
    reverse=st.booleans(),
)
def test_the_dual_is_the_adjoint(seed, batch, time, n, dense, reverse):
    """<scan b, g> = <b, dual g>, on both paths."""
    generator = torch.Generator().manual_seed(seed)
    A, b, _ = problem(generator, batch, time, n, dense=dense)
    g = torch.randn(b.shape, generator=generator, dtype=b.dtype)
    for path in ("cpu", "reference"):
        with use(path):
            y, dual = affine_scan(A, b, reverse=reverse), _affine_scan(A, g, None, reverse, True)
        size = y.norm() * g.norm() + b.norm() * dual.norm()
        assert abs((y * g).sum() - (b * dual).sum()) <= 1e-14 * size


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_derivatives_agree_with_those_of_the_loop(dense, reverse, generator):
    arguments = problem(generator, 2, 37, 4, dense=dense)
    g = torch.randn(2, 37, 4, generator=generator, dtype=torch.float64)
    slopes = []
    for function in (affine_scan, loop):
        leaves = [a.clone().requires_grad_() for a in arguments]
        first = torch.autograd.grad(function(*leaves, reverse=reverse), leaves, g, create_graph=True)
        second = torch.autograd.grad(sum((s**2).sum() for s in first), leaves)
        slopes.append([*first, *second])
    for ours, theirs in zip(*slopes, strict=True):
        checks.require_close(ours, theirs, 1e-11, "derivative")


def test_a_time_that_is_not_known_when_compiled(generator):
    """The operator's shapes may be symbols: one graph serves every time."""
    run = torch.compile(lambda A, b: affine_scan(A, b) + 1, fullgraph=True, backend="aot_eager", dynamic=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for time in (5, 9, 70):
            A, b, _ = problem(generator, 2, time, 3, dense=True)
            checks.require_close(run(A, b), loop(A, b) + 1, 1e-12, "compiled scan")


def test_deer_solves_a_gru_in_a_few_newton_iterations(generator):
    """States of all times at once: y_i = J_i y_{i-1} + f(y_{i-1}^old, x_i) - J_i y_{i-1}^old, by scans."""
    n, time, batch = 4, 1000, 3
    W, U = (torch.randn(3, n, m, generator=generator) / m**0.5 for m in (n, 2))
    x = torch.randn(batch, time, 2, generator=generator)
    initial = torch.zeros(batch, n)

    def cell(y, x):
        r, z = (torch.sigmoid(W[i] @ y + U[i] @ x) for i in (0, 1))
        return (1 - z) * torch.tanh(r * (W[2] @ y) + U[2] @ x) + z * y

    jacobian = torch.vmap(torch.vmap(torch.func.jacrev(cell)))
    states = torch.vmap(cell)
    y, sequential = initial, []
    for i in range(time):
        y = states(y, x[:, i])
        sequential.append(y)
    y = torch.zeros(batch, time, n)
    for _ in range(8):
        before = torch.cat((initial[:, None], y[:, :-1]), 1)
        J = jacobian(before, x)
        value = torch.vmap(states)(before, x)
        y = affine_scan(J, value - (J @ before[..., None])[..., 0], initial)
    assert (y - torch.stack(sequential, 1)).abs().max() <= 1e-6


def test_a_map_of_zero_forgets_what_was_before(generator):
    A, b, initial = problem(generator, 1, 20, 3, dense=True)
    A[:, 10] = 0
    expected = affine_scan(A[:, 11:], b[:, 11:], b[:, 10])
    for path in ("cpu", "reference"):
        with use(path):
            y = affine_scan(A, b, 1e9 * initial)
        checks.require_close(y[:, 11:], expected, 1e-12, "after the zero")


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((2, 3, 4), (2, 3), None), r"b has shape \(2, 3\)"),
        (((2, 0, 4), (2, 0, 4), None), r"b has shape \(2, 0, 4\)"),
        (((2, 3, 5), (2, 3, 4), None), r"A has shape \(2, 3, 5\), expected \(2, 3, 4\) \(diagonal\)"),
        (((2, 3, 4), (2, 3, 4), (4,)), r"initial has shape \(4,\), expected \(2, 4\)"),
    ],
)
def test_refuses_shapes_that_do_not_fit(shapes, message):
    A, b, initial = (None if s is None else torch.zeros(s) for s in shapes)
    with pytest.raises(InputError, match=message):
        affine_scan(A, b, initial)


def test_refuses_dtypes_that_do_not_fit():
    b = torch.zeros(2, 3, 4)
    with pytest.raises(InputError, match=r"A has dtype torch.int64; a real floating-point tensor"):
        affine_scan(b.long(), b)
    with pytest.raises(InputError, match=r"b has dtype torch.complex64; a real"):
        affine_scan(b, b.cfloat())
    with pytest.raises(InputError, match=r"A is torch.float64, b is torch.float32.*one dtype"):
        affine_scan(b.double(), b)


def test_gpu_programs_lie_along_the_only_long_axis_of_the_grid(monkeypatch):
    """More than 65535 blocks of time, and of columns: the other two axes of a grid take no more."""
    cuda = pytest.importorskip("sciops.kernels.cuda.scan")
    grids = []
    monkeypatch.setattr(cuda, "launch", lambda kernel, grid, *args, **constants: grids.append(grid))
    for shape, dense in (((1, 9_000_000, 1), False), ((1, 1, 2_000_000), False), ((1, 5_000_000, 1), True)):
        b = torch.empty(shape, device="meta")
        cuda.affine_scan(b[..., None] if dense else b, b, None, False, False)
    assert len(grids) == 9 and all(len(grid) == 1 for grid in grids)
    assert max(grids) > (65535,)
