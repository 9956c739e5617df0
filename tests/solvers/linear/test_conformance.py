"""Every operator with every method and preconditioner beside SciPy's direct solve, on fresh random systems."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg as splinalg
import torch
from linear_systems import INSTANCES

from sciops.errors import InputError
from sciops.solvers import linear

CASES = [
    (name, method, M)
    for name, instance in INSTANCES.items()
    for method in instance.methods
    for M in instance.preconditioners
]


def direct(A, b):
    """The exact answers, operator by operator."""
    operators = [A] if A.batch == 1 else [linear.Diffusion(k[None], A.spacing, A.sides) for k in A.permeability]
    parts = [
        splinalg.spsolve(one.to_scipy().tocsc(), part.reshape(-1, A.unknowns).T.numpy()).reshape(A.unknowns, -1).T
        for one, part in zip(operators, b, strict=True)
    ]
    return torch.from_numpy(np.stack(parts)).reshape(b.shape)


@pytest.mark.parametrize(("name", "method", "M"), CASES)
def test_the_answer_is_that_of_a_direct_solve(name, method, M, generator):
    A = INSTANCES[name].make(generator)
    b = torch.randn(A.batch, 2, *A.space, generator=generator, dtype=torch.float64)
    found = getattr(linear, method)(A, b, M=M, rtol=1e-9)
    assert found.converged and set(found.status) == {"converged"}
    true = (b - (A @ found.value)).flatten(2).norm(dim=-1).ravel() / b.flatten(2).norm(dim=-1).ravel()
    assert (true <= 1.01e-9).all()
    torch.testing.assert_close(found.residuals, true, rtol=1e-3, atol=1e-14)
    exact = direct(A, b)
    assert (found.value - exact).norm() <= 1e-5 * exact.norm()
    assert found.history.shape[0] >= int(found.iterations.max()) + 1
    assert found.applications.A >= 1 and (found.applications.M > 0) == (M is not None)


@pytest.mark.parametrize("name", INSTANCES)
def test_an_operator_keeps_its_contract(name, generator):
    """Matrix, diagonal, transpose, shapes and other tensors all say the same."""
    A = INSTANCES[name].make(generator)
    u = torch.randn(A.batch, 3, *A.space, generator=generator, dtype=torch.float64)
    v = torch.randn(A.batch, 3, *A.space, generator=generator, dtype=torch.float64)
    y = A @ u
    scale = y.norm() * v.norm()
    assert ((y * v).sum() - (u * (A.T @ v)).sum()).abs() <= 1e-12 * scale
    if A.symmetric:
        assert A.T is A
    else:
        assert ((y * v).sum() - (u * (A @ v)).sum()).abs() > 1e-6 * scale
    torch.testing.assert_close(A.residual(u, v), v - y, rtol=1e-10, atol=1e-10 * float(y.abs().max()))
    image, energy = A.apply_dot(u)
    torch.testing.assert_close(image, y)
    if energy is not None:
        torch.testing.assert_close(energy, (u * y).flatten(2).sum(-1), rtol=1e-9, atol=1e-9 * float(scale))
    torch.testing.assert_close(A.rebuilt(A.tensors()) @ u, y)
    half = A.to(torch.float32)
    assert half.dtype == torch.float32
    torch.testing.assert_close((half @ u.float()).double(), y, rtol=1e-4, atol=1e-4 * float(y.abs().max()))
    assert str(A.space) in repr(A)
    if A.batch == 1:
        matrix = A.to_scipy()
        expected = torch.from_numpy((matrix @ u.reshape(3, -1).numpy().T).T.reshape(u.shape))
        torch.testing.assert_close(y, expected, rtol=1e-10, atol=1e-10 * float(y.abs().max()))
        torch.testing.assert_close(A @ u[0, 0], y[0, 0])
        if name != "composed":
            torch.testing.assert_close(A.diagonal().ravel(), torch.from_numpy(matrix.diagonal()))
        back = linear.from_scipy(matrix)
        assert back.symmetric == A.symmetric
        torch.testing.assert_close(
            back @ u.reshape(3, -1), y.reshape(3, -1), rtol=1e-10, atol=1e-10 * float(y.abs().max())
        )
    else:
        torch.testing.assert_close(A @ u[:, 0], y[:, 0])


def test_a_batch_is_what_its_systems_are_one_by_one(generator):
    k = torch.randn(4, 12, 10, generator=generator, dtype=torch.float64).exp()
    b = torch.randn(4, 2, 12, 10, generator=generator, dtype=torch.float64)
    b[1, 0] = 0
    together = linear.cg(linear.Diffusion(k, (0.1, 0.1)), b, M="jacobi")
    for i in range(4):
        alone = linear.cg(linear.Diffusion(k[i], (0.1, 0.1)), b[i], M="jacobi")
        torch.testing.assert_close(together.value[i], alone.value, rtol=1e-6, atol=1e-9)
        assert (together.iterations[2 * i : 2 * i + 2] - alone.iterations).abs().max() <= 1
    assert together.iterations[2] == 0 and not together.value[1, 0].any()


@pytest.mark.parametrize("method", ["cg", "block_cg", "fcg", "minres", "gmres", "fgmres", "bicgstab"])
def test_a_warm_start_saves_iterations(method, generator):
    A = linear.Diffusion(torch.rand(16, 16, generator=generator, dtype=torch.float64) + 0.5, (1 / 16, 1 / 16))
    b = torch.randn(16, 16, generator=generator, dtype=torch.float64)
    solve = getattr(linear, method)
    cold = solve(A, b, rtol=1e-8)
    near = cold.value + 1e-6 * torch.randn(b.shape, generator=generator, dtype=torch.float64) * cold.value.abs().max()
    warm = solve(A, b, x0=near, rtol=1e-8)
    assert warm.iterations < cold.iterations
    again = solve(A, b, x0=warm.value, rtol=1e-8)
    assert again.iterations == 0 and torch.equal(again.value, warm.value)


@pytest.mark.parametrize("method", ["cg", "block_cg", "fcg", "minres", "gmres", "fgmres", "bicgstab"])
def test_float32_systems_and_float32_answers_of_a_preconditioner(method, generator):
    A = linear.Diffusion(torch.rand(12, 12, generator=generator, dtype=torch.float64) + 0.5, (1.0, 1.0))
    b = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    solve, scale = getattr(linear, method), 1 / A.diagonal()[:, None]
    mixed = solve(A, b, M=lambda r: (scale * r).float(), rtol=1e-10)
    assert mixed.converged and mixed.value.dtype == torch.float64
    single = solve(A.to(torch.float32), b.float(), rtol=1e-5)
    assert single.converged and single.value.dtype == torch.float32


def test_an_atol_is_enough():
    A = linear.Diffusion(torch.ones(8, dtype=torch.float64), grid=1.0)
    found = linear.cg(A, torch.ones(8, dtype=torch.float64), rtol=0, atol=10.0)
    assert found.converged and found.iterations == 0
    assert linear.cg(A, torch.zeros(8, dtype=torch.float64), x0=torch.ones(8).double()).value.abs().max() == 0


@pytest.mark.parametrize("method", ["cg", "block_cg", "fcg", "minres", "gmres", "fgmres", "bicgstab", "refine"])
def test_no_system_is_solved_by_none(method):
    A = linear.Diffusion(torch.ones(8, dtype=torch.float64), grid=1.0)
    found = getattr(linear, method)(A, torch.ones(0, 8, dtype=torch.float64), M="jacobi")
    assert found.converged and found.value.shape == (0, 8) and found.status == ()


@pytest.mark.parametrize("rhs", [8, 16])
@pytest.mark.parametrize("M", [None, "jacobi"])
def test_right_hand_sides_together_take_fewer_iterations(M, rhs, generator):
    """The Krylov spaces of all hold the answer of each: 8 of them take under 2/3 of the iterations, 16 under a half."""
    A = linear.Diffusion(torch.randn(48, 48, generator=generator, dtype=torch.float64).exp(), (1 / 48, 1 / 48))
    b = torch.randn(rhs, 48, 48, generator=generator, dtype=torch.float64)
    together, alone = linear.block_cg(A, b, M=M, rtol=1e-8), linear.cg(A, b, M=M, rtol=1e-8)
    assert together.iterations.max() < (2 / 3 if rhs == 8 else 1 / 2) * alone.iterations.min()
    assert int(together.iterations.max()) + 3 >= together.applications.A
    torch.testing.assert_close(together.value, alone.value, rtol=0, atol=1e-5 * float(alone.value.abs().max()))


def test_a_block_of_one_is_conjugate_gradients(generator):
    A = linear.Diffusion(torch.rand(10, 12, generator=generator, dtype=torch.float64) + 0.5, (0.1, 0.1))
    b = torch.randn(10, 12, generator=generator, dtype=torch.float64)
    together, alone = linear.block_cg(A, b, M="jacobi"), linear.cg(A, b, M="jacobi")
    torch.testing.assert_close(together.history[:10], alone.history[:10], rtol=1e-6, atol=0)
    torch.testing.assert_close(together.value, alone.value, rtol=1e-4, atol=1e-8)


def test_right_hand_sides_may_depend_on_each_other(generator):
    """Equal, nearly equal, zero and multiples of others, and one that a guess has solved, in a batch of operators."""
    A = linear.Diffusion(torch.rand(2, 12, 10, generator=generator, dtype=torch.float64) + 0.5, (0.1, 0.1))
    b = torch.randn(2, 7, 12, 10, generator=generator, dtype=torch.float64)
    b[:, 1], b[:, 2], b[:, 3] = b[:, 0], -1e6 * b[:, 0], b[:, 0] + 1e-9 * b[:, 4]
    b[1, 5] = 0
    guess = torch.zeros_like(b)
    guess[:, 6] = linear.cg(A, b, rtol=1e-10).value[:, 6]
    found = linear.block_cg(A, b, x0=guess, rtol=1e-9)
    assert found.converged and found.residuals.max() <= 1e-9
    assert found.iterations.view(2, 7)[:, 6].max() == 0 and found.iterations[12] == 0 and not found.value[1, 5].any()
    exact = direct(A, b)
    assert (found.value - exact).flatten(2).norm(dim=-1).le(1e-6 * exact.flatten(2).norm(dim=-1)).all()


def test_flexible_directions_kept_are_conjugate_and_none_is_steepest_descent(generator):
    A = linear.Diffusion(torch.rand(12, 12, generator=generator, dtype=torch.float64) + 0.5, (1.0, 1.0))
    b, scale = torch.randn(12, 12, generator=generator, dtype=torch.float64), 1 / A.diagonal()[0]
    x = torch.zeros_like(b)
    for _ in range(5):
        z = scale * (b - A @ x)
        x = x + (z * (b - A @ x)).sum() / (z * (A @ z)).sum() * z
    found = linear.fcg(A, b, M=lambda r: scale * r, keep=0, maxiter=5, raise_on_failure=False)
    torch.testing.assert_close(found.value, x)
    counts = [int(linear.fcg(A, b, M=lambda r: scale * r / r.norm(), keep=keep).iterations) for keep in (0, 1, 3)]
    assert counts[0] > 2 * counts[1] and counts[2] <= counts[1] == int(linear.cg(A, b, M="jacobi").iterations)
    with pytest.raises(InputError, match="keep is -1, expected an integer of at least 0"):
        linear.fcg(A, b, keep=-1)
