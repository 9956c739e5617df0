"""Dense solves: right on two threads where torch is not, by backward error; derivatives; singular matrices."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sciops import kernels
from sciops.errors import InputError
from sciops.kernels import dense

TRAP = """
import torch
from sciops import kernels
from sciops.kernels import dense

torch.set_num_threads(2)
g = torch.Generator().manual_seed(3)
SIZES = ((8, 200), (4, 512), (128, 256))
for path, sizes in (("cpu", SIZES), ("reference", SIZES[:1])):
    with kernels.use(path, "dense"):
        for batch, n in sizes:
            A = torch.randn(batch, n, n, generator=g, dtype=torch.float64)
            b = torch.randn(batch, n, 2, generator=g, dtype=torch.float64)
            limit = 1e-13 * n
            for transpose in (False, True):
                x = dense.dense_solve(A, b, transpose=transpose)
                M = A.mT if transpose else A
                error = (M @ x - b).norm(dim=(1, 2)) / (A.norm(dim=(1, 2)) * x.norm(dim=(1, 2)))
                assert (error < limit).all(), (path, batch, n, transpose, error.max())
            if n > 200:
                continue
            inverse = dense.dense_inverse(A)
            eye = torch.eye(n, dtype=torch.float64)
            assert ((A @ inverse - eye).norm(dim=(1, 2)) < limit * A.norm(dim=(1, 2)) * inverse.norm(dim=(1, 2))).all()
            sign, logarithm = dense.dense_slogdet(A)
            alone = [torch.linalg.slogdet(a) for a in A]
            assert torch.equal(sign, torch.stack([a.sign for a in alone]))
            assert torch.allclose(logarithm, torch.stack([a.logabsdet for a in alone]), rtol=1e-12)
"""


def draw(generator: torch.Generator, *shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


def backward_error(A: Tensor, x: Tensor, b: Tensor) -> Tensor:
    """|A x - b| / (|A| |x| + |b|), what a stable method keeps near rounding whatever the condition."""
    A, x, b = A.double(), x.double(), b.double()
    size = A.norm(dim=(-2, -1)) * x.norm(dim=(-2, -1)) + b.norm(dim=(-2, -1))
    return (A @ x - b).norm(dim=(-2, -1)) / size


def test_two_threads_are_right_where_batched_lu_of_torch_is_wrong():
    """In a process of its own, with a time limit: torch's own call can hang, fail or be wrong there."""
    run = subprocess.run([sys.executable, "-c", TRAP], capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("n", [1, 2, 7, 31, 32, 33, 70])
def test_backward_error_stays_at_rounding(n, dtype, generator):
    A = draw(generator, 45, n, n, dtype=dtype)
    # rows of very different size, and a condition that residuals of a bad method would show
    A = A * torch.logspace(-3, 3, 45, dtype=dtype)[:, None, None]
    b = draw(generator, 45, n, 3, dtype=dtype)
    limit = 10 * n**0.5 * torch.finfo(dtype).eps
    for transpose in (False, True):
        x = dense.dense_solve(A, b, transpose=transpose)
        assert (backward_error(A.mT if transpose else A, x, b) < limit).all()
        again = dense.dense_factor_solve(dense.dense_factor(A), b, transpose=transpose)
        assert (backward_error(A.mT if transpose else A, again, b) < limit).all()
    S = A @ A.mT + A.square().mean(dim=(1, 2), keepdim=True) * torch.eye(n, dtype=dtype)
    assert (backward_error(S, dense.spd_solve(S, b), b) < limit).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 40), k=st.integers(1, 4), batch=st.integers(1, 70))
def test_solves_and_factors_agree_with_scipy(seed, n, k, batch):
    generator = torch.Generator().manual_seed(seed)
    A, b = draw(generator, batch, n, n), draw(generator, batch, n, k)
    x = dense.dense_solve(A, b)
    assert (backward_error(A, x, b) < 1e-14 * n).all()
    factors = dense.dense_factor(A)
    lu, pivots = scipy.linalg.lu_factor(A[-1].numpy())
    assert np.array_equal(factors.pivots[-1].numpy() - 1, pivots)
    assert np.linalg.norm(factors.lu[-1].numpy() - lu) < 1e-9 * np.linalg.norm(lu)


def test_shapes_follow_the_right_hand_side(generator):
    A = draw(generator, 2, 3, 4, 4)
    for shape in ((2, 3, 4), (2, 3, 4, 1), (2, 3, 4, 5)):
        b = draw(generator, *shape)
        x = dense.dense_solve(A, b)
        columns = b if b.ndim == 4 else b[..., None]
        assert x.shape == b.shape
        assert torch.allclose(A @ x.reshape(columns.shape), columns)
    assert torch.allclose(dense.dense_inverse(A) @ A, torch.eye(4, dtype=torch.float64).expand(2, 3, 4, 4))
    assert torch.allclose(dense.dense_solve(A[0, 0], b[0, 0]), x[0, 0])


@pytest.mark.parametrize("n", [3, 40])
def test_singular_matrices_are_told_and_leave_the_others_alone(n, generator):
    A, b = draw(generator, 5, n, n), draw(generator, 5, n, 2)
    A[1] = 0
    A[2, :, 1] = 0
    A[3, 0, 0] = torch.nan
    for path in ("reference", "cpu"):
        with kernels.use(path, "dense"):
            status, x = dense.dense_factor(A).status, dense.dense_solve(A, b)
            assert status[:3].tolist() == [0, 1, 2]
            assert status[3] > 0
            assert status[4] == 0
            assert x[1:4].isnan().all()
            assert (backward_error(A[[0, 4]], x[[0, 4]], b[[0, 4]]) < 1e-13).all()
            assert dense.dense_factor_solve(dense.dense_factor(A), b)[1:4].isnan().all()
            sign, logarithm = dense.dense_slogdet(A[:3])
            assert sign[1] == sign[2] == 0
            assert logarithm[1] == logarithm[2] == -torch.inf
            S = torch.eye(n, dtype=torch.float64).repeat(3, 1, 1)
            S[1, 1, 1] = -1
            found = dense.spd_solve(S, b[:3])
            assert found[1].isnan().all()
            assert torch.allclose(found[[0, 2]], b[[0, 2]])


@pytest.mark.parametrize("transpose", [False, True])
def test_derivatives_in_the_matrix_go_through_the_factors(transpose, generator):
    """Values come from the factors, derivatives from the matrix they were made of."""
    A = (draw(generator, 2, 3, 3) + 3 * torch.eye(3, dtype=torch.float64)).requires_grad_()
    b = draw(generator, 2, 3).requires_grad_()

    def with_factors(A, b):
        return dense.dense_factor_solve(dense.dense_factor(A), b, transpose=transpose)

    assert torch.autograd.gradcheck(with_factors, (A, b))
    assert torch.autograd.gradgradcheck(with_factors, (A, b))


@pytest.mark.parametrize("function", [dense.dense_inverse, lambda A: dense.dense_slogdet(A)[1]])
def test_derivatives_of_inverse_and_determinant(function, generator):
    A = (draw(generator, 2, 3, 3) + 3 * torch.eye(3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(function, A)
    assert torch.autograd.gradgradcheck(function, A)


def test_derivatives_of_large_matrices(generator):
    """Above the size at which LAPACK takes over, against torch's formula for one matrix."""
    A, b, g = draw(generator, 2, 150, 150), draw(generator, 2, 150, 1), draw(generator, 2, 150, 1)
    A.requires_grad_()
    (found,) = torch.autograd.grad(dense.dense_solve(A, b), A, g)
    for i in range(2):
        (expected,) = torch.autograd.grad(torch.linalg.solve(A[i], b[i]), A, g[i])
        assert (found[i] - expected[i]).norm() < 1e-9 * expected[i].norm()


@pytest.mark.parametrize(
    ("A", "b", "message"),
    [
        (torch.ones(2, 3), torch.ones(2), r"A has shape \(2, 3\)"),
        (torch.ones(3, 3).half(), torch.ones(3), "float16, expected .* in float32 or float64"),
        (torch.ones(2, 0, 0), torch.ones(2, 0), "with n of at least 1"),
        (torch.ones(2, 3, 3), torch.ones(3), r"b has shape \(3,\), expected \(2, 3\) or \(2, 3, 'k'\)"),
        (torch.ones(3, 3), torch.ones(3).double(), "b has dtype torch.float64, A has torch.float32"),
    ],
)
def test_bad_arguments_are_named(A, b, message):
    with pytest.raises(InputError, match=message):
        dense.dense_solve(A, b)


def test_no_matrices_and_no_right_hand_sides():
    A = torch.ones(0, 3, 3)
    assert dense.dense_solve(A, torch.ones(0, 3)).shape == (0, 3)
    assert dense.dense_inverse(A).shape == A.shape
    for path in ("cpu", "reference"):
        with kernels.use(path, "dense"):
            for solve in (dense.dense_solve, dense.spd_solve):
                assert solve(torch.eye(3).repeat(2, 1, 1), torch.ones(2, 3, 0)).shape == (2, 3, 0)
