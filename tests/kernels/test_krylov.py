"""Krylov methods made of the kernels beside scipy's, frozen systems, break-downs, several threads."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sparse
import scipy.sparse.linalg as linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels import krylov, minres
from sciops.kernels.bicgstab import bicgstab_direction_, bicgstab_half_, bicgstab_update_
from sciops.kernels.gmres import arnoldi, arnoldi_, gmres_rotate, gmres_rotate_
from sciops.kernels.systems import Status


def laplacian(m: int, shift: float = 0.0, wind: float = 0.0) -> sparse.csr_matrix:
    """The five-point operator on m^2 cells, minus a shift (indefinite) or with wind (not symmetric)."""
    line = sparse.diags([2.0 * np.ones(m), -np.ones(m - 1), -np.ones(m - 1)], [0, 1, -1])
    blow = sparse.diags([np.ones(m - 1), -np.ones(m - 1)], [1, -1])
    eye = sparse.identity(m)
    return sparse.csr_matrix(
        sparse.kron(line + wind * blow, eye) + sparse.kron(eye, line) - shift * sparse.identity(m * m)
    )


class Operator:
    """A for every system of a batch."""

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        self.matrix = matrix
        self.diagonal = torch.from_numpy(matrix.diagonal())

    def __call__(self, x: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray((self.matrix @ x.numpy().T).T))


def start(b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x, r, status and the count of iterations."""
    return (
        torch.zeros_like(b),
        b.clone(),
        torch.zeros(len(b), dtype=torch.int32),
        torch.zeros(len(b), dtype=torch.int64),
    )


def stop(status: Tensor, residual: Tensor, goal: Tensor) -> None:
    """Mark what has converged, also where its last step ended in a break-down."""
    harmless = (status == 0) | (status == Status.EXHAUSTED) | (status == Status.BREAKDOWN)
    status[harmless & (residual <= goal)] = int(Status.CONVERGED)


def pcg(A, b, M, rtol=1e-8, maxiter=1000):
    x, r, status, count = start(b)
    goal = rtol * b.norm(dim=1)
    p, rz = torch.zeros_like(b), torch.ones(len(b), dtype=torch.float64)
    for _ in range(maxiter):
        rz = krylov.cg_direction_(p, M(r), r, rz, status)
        rr, _ = krylov.cg_update_(x, r, p, A(p), rz, status)
        count += status == 0
        stop(status, rr.sqrt(), goal)
        if status.all():
            break
    return x, status, count


def fcg(A, b, M, kept=1, definite=True, rtol=1e-8, maxiter=1000):
    x, r, status, count = start(b)
    goal = rtol * b.norm(dim=1)
    P, AP = torch.zeros(kept, *b.shape, dtype=b.dtype), torch.zeros(kept, *b.shape, dtype=b.dtype)
    pAp = torch.zeros(kept, len(b), dtype=torch.float64)
    for i in range(maxiter):
        slot = i % kept
        pr = krylov.conjugate_(P, AP, pAp, M(r), r, status, slot, definite=definite)
        AP[slot] = A(P[slot])
        rr, pAp[slot] = krylov.cg_update_(x, r, P[slot], AP[slot], pr, status)
        count += status == 0
        stop(status, rr.sqrt(), goal)
        if status.all():
            break
    return x, status, count


def minimal_residual(A, b, M, rtol=1e-8, maxiter=1000):
    x, r, status, count = start(b)
    z = M(r)
    beta = krylov.dot(r, z).sqrt()
    scalars, goal = minres.minres_start(beta), rtol * beta
    r_old, w_old, w = (torch.zeros_like(b) for _ in range(3))
    for _ in range(maxiter):
        minres.minres_lanczos_(r_old, r, z, A(z), scalars, status)
        r_old, r = r, r_old
        z_new = M(r)
        phi = minres.minres_update_(x, w_old, w, z, r, z_new, scalars, status)
        w_old, w, z = w, w_old, z_new
        count += (status == 0) | (status == Status.EXHAUSTED)
        stop(status, phi, goal)
        if status.all():
            break
    return x, status, count


def gmres(A, b, M, rtol=1e-8, maxiter=60):
    """Flexible: Z keeps the preconditioned vectors."""
    x, _, status, count = start(b)
    size, m = b.norm(dim=1), maxiter
    V = torch.zeros(m + 1, *b.shape, dtype=b.dtype)
    V[0] = b / size[:, None]
    Z, R = torch.zeros_like(V[:m]), torch.zeros(len(b), m, m, dtype=torch.float64)
    rotations, g = torch.zeros(2, len(b), m, dtype=torch.float64), torch.zeros(len(b), m + 1, dtype=torch.float64)
    g[:, 0] = size
    for j in range(m):
        Z[j] = M(V[j])
        h = arnoldi_(V, A(Z[j]), status, j + 1)
        residual = gmres_rotate_(R, rotations, g, h, status)
        count += h.any(1)
        stop(status, residual, rtol * size)
        if status.all():
            break
    unused = R.diagonal(dim1=1, dim2=2) == 0
    triangle = R + torch.diag_embed(unused.double())
    y = torch.linalg.solve_triangular(triangle, torch.where(unused, 0.0, g[:, :-1])[..., None], upper=True)
    return x + torch.einsum("sj,jsn->sn", y[..., 0], Z), status, count


def bicgstab(A, b, M, rtol=1e-8, maxiter=1000):
    x, r, status, count = start(b)
    goal, shadow, p = rtol * b.norm(dim=1), r.clone(), r.clone()
    rho = krylov.dot(shadow, r)
    for _ in range(maxiter):
        Mp = M(p)
        v = A(Mp)
        alpha, _ = bicgstab_half_(r, shadow, v, rho, status)
        Ms = M(r)
        old, moving = rho, status == 0
        omega, rho, rr = bicgstab_update_(x, r, Mp, Ms, A(Ms), shadow, alpha, status)
        count += moving
        stop(status, rr.sqrt(), goal)
        bicgstab_direction_(p, r, v, rho, old, alpha, omega, status)
        if status.all():
            break
    return x, status, count


def scipy_count(solver, A, b, **options):
    calls = []
    x, info = solver(A, b, callback=lambda _: calls.append(1), **options)
    assert info == 0
    return x, len(calls)


def right_hand_sides(generator: torch.Generator, systems: int, n: int) -> Tensor:
    return torch.randn(systems, n, generator=generator, dtype=torch.float64)


def require_solved(A: Operator, x: Tensor, b: Tensor, rtol: float) -> None:
    """The true residual, which no recurrence knows."""
    assert ((b - A(x)).norm(dim=1) <= 1.1 * rtol * b.norm(dim=1)).all()


def jacobi(A: Operator, weights: Tensor) -> tuple[object, linalg.LinearOperator]:
    """A diagonal preconditioner, ours and scipy's."""
    n = len(weights)
    return lambda r: weights * r, linalg.LinearOperator((n, n), matvec=lambda r: weights.numpy() * r.ravel())


@pytest.mark.parametrize("method", [pcg, fcg], ids=["pcg", "fcg"])
def test_conjugate_gradients_take_the_iterations_of_scipy(method, generator):
    """To a tolerance that is met before rounding, which differs, has grown enough to cost or save an iteration."""
    A = Operator(laplacian(9))
    b = right_hand_sides(generator, 3, 81)
    weights = 0.2 + torch.rand(81, generator=generator, dtype=torch.float64)
    ours, theirs = jacobi(A, weights)
    x, status, count = method(A, b, ours, rtol=1e-3)
    assert (status == Status.CONVERGED).all()
    require_solved(A, x, b, 1e-3)
    for i in range(3):
        _, expected = scipy_count(linalg.cg, A.matrix, b[i].numpy(), rtol=1e-3, atol=0, M=theirs)
        assert count[i] == expected


def test_more_directions_kept_help_a_preconditioner_that_changes(generator):
    """M alternates: with one direction kept flexible CG still converges; with eight it takes no more iterations."""
    A = Operator(laplacian(15))
    b = right_hand_sides(generator, 2, 15**2)
    weights = [0.1 + torch.rand(15**2, generator=generator, dtype=torch.float64) for _ in range(3)]

    def changing():
        calls = iter(range(10**6))
        return lambda r: weights[next(calls) % 3] * r

    counts = {}
    for kept in (1, 8):
        x, status, counts[kept] = fcg(A, b, changing(), kept=kept)
        assert (status == Status.CONVERGED).all()
        require_solved(A, x, b, 1e-8)
    assert (counts[8] < counts[1]).all()


def test_a_network_that_is_not_definite_is_no_break_down(generator):
    """A preconditioner that changes sign: directions turn round, and the energy falls all the same."""
    A, calls = Operator(laplacian(9)), iter(range(10**6))
    b = right_hand_sides(generator, 2, 81)
    x, status, _ = fcg(A, b, lambda r: (-1) ** next(calls) * r, kept=2, definite=False)
    assert (status == Status.CONVERGED).all()
    require_solved(A, x, b, 1e-8)


def test_minres_takes_the_iterations_of_scipy(generator):
    """Indefinite: the shift lies among the eigenvalues. scipy stops by another norm, so iterates are compared."""
    A = Operator(laplacian(9, shift=1.3))
    b = right_hand_sides(generator, 2, 81)
    weights = 0.5 + torch.rand(81, generator=generator, dtype=torch.float64)
    ours, theirs = jacobi(A, weights)
    x, status, _ = minimal_residual(A, b, ours, rtol=1e-9)
    assert (status == Status.CONVERGED).all()
    require_solved(A, x, b, 1e-7)
    for steps in (1, 2, 7, 20):
        x, _, _ = minimal_residual(A, b, ours, rtol=0, maxiter=steps)
        for i in range(2):
            expected, _ = linalg.minres(A.matrix, b[i].numpy(), rtol=0, maxiter=steps, M=theirs)
            assert np.linalg.norm(x[i].numpy() - expected) < 1e-8 * np.linalg.norm(expected)


def test_gmres_takes_the_iterations_of_scipy(generator):
    A = Operator(laplacian(9, wind=0.7))
    b = right_hand_sides(generator, 3, 81)
    x, status, count = gmres(A, b, lambda r: r)
    assert (status == Status.CONVERGED).all()
    require_solved(A, x, b, 1e-8)
    for i in range(3):
        norms: list[float] = []
        linalg.gmres(
            A.matrix, b[i].numpy(), rtol=1e-8, atol=0, restart=60, callback=norms.append, callback_type="pr_norm"
        )
        assert count[i] == len(norms)


def test_bicgstab_takes_the_iterations_of_scipy(generator):
    A = Operator(laplacian(9, wind=0.7))
    b = right_hand_sides(generator, 3, 81)
    x, status, count = bicgstab(A, b, lambda r: r, rtol=1e-6)
    assert (status == Status.CONVERGED).all()
    require_solved(A, x, b, 1e-6)
    for i in range(3):
        _, expected = scipy_count(linalg.bicgstab, A.matrix, b[i].numpy(), rtol=1e-6, atol=0)
        assert abs(int(count[i]) - expected) <= 1  # scipy may end after half a step


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), m=st.integers(2, 12), systems=st.integers(1, 4))
def test_conjugate_gradients_converge_within_n_steps(seed, m, systems):
    A = Operator(laplacian(m))
    b = right_hand_sides(torch.Generator().manual_seed(seed), systems, m * m)
    x, status, count = pcg(A, b, lambda r: r.clone())
    assert (status == Status.CONVERGED).all()
    assert (count <= m * m).all()
    require_solved(A, x, b, 1e-8)


def test_a_system_that_has_ended_stays_bit_for_bit(generator):
    """A system alone and the same one in a batch that goes on for longer give the same bits."""
    A = Operator(laplacian(13))
    b = right_hand_sides(generator, 2, 169)
    b[0] = torch.ones(169)  # symmetric: fewer iterations
    together, status, count = pcg(A, b, lambda r: r.clone())
    alone, _, first = pcg(A, b[:1], lambda r: r.clone())
    assert count[0] == first[0] < count[1]
    assert torch.equal(together[:1], alone)
    assert (status == Status.CONVERGED).all()


def test_break_downs_are_named(generator):
    n = 49
    b = right_hand_sides(generator, 1, n)
    definite, indefinite = Operator(laplacian(7)), Operator(laplacian(7, shift=3.0))
    same = lambda r: r.clone()  # noqa: E731
    assert pcg(indefinite, b, same)[1] == Status.INDEFINITE_OPERATOR
    assert pcg(definite, b, lambda r: -r)[1] == Status.INDEFINITE_PRECONDITIONER
    assert fcg(definite, b, lambda r: -r)[1] == Status.INDEFINITE_PRECONDITIONER
    assert fcg(definite, b, lambda r: 0 * r, definite=False)[1] == Status.BREAKDOWN
    signs = torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0).double()
    _, status, _ = minimal_residual(definite, b.abs() * (signs > 0), lambda r: signs * r)
    assert status == Status.INDEFINITE_PRECONDITIONER
    for method in (pcg, fcg, minimal_residual, gmres, bicgstab):
        x, status, _ = method(definite, torch.cat([b, b * torch.nan, b]), same)
        assert status.tolist() == [Status.CONVERGED, Status.NOT_FINITE, Status.CONVERGED], method.__name__
        assert x[[0, 2]].isfinite().all()


def test_an_exhausted_space_still_gives_the_solution():
    """Three eigenvalues: after three steps nothing is left, and the answer is exact."""
    matrix = sparse.diags([np.repeat([1.0, 2.0, 5.0], 4)], [0]).tocsr()
    A, b = Operator(matrix), torch.ones(2, 12, dtype=torch.float64)
    x, status, count = gmres(A, b, lambda r: r, rtol=-1, maxiter=6)
    assert status.tolist() == [Status.EXHAUSTED] * 2
    assert count.tolist() == [3, 3]
    require_solved(A, x, b, 1e-14)


def test_arnoldi_keeps_vectors_orthogonal_where_once_would_not(generator):
    """w almost in the span of V."""
    V = torch.zeros(4, 1, 5000, dtype=torch.float64)
    V[:3, 0] = torch.linalg.qr(torch.randn(5000, 3, generator=generator, dtype=torch.float64)).Q.T
    w = V[:3].sum(0) + 1e-9 * torch.randn(1, 5000, generator=generator, dtype=torch.float64)
    V, h, _ = arnoldi(V, w, torch.zeros(1, dtype=torch.int32), 3)
    assert (V[:, 0] @ V[:, 0].T - torch.eye(4)).abs().max() < 1e-14
    assert (torch.einsum("j,jn->n", h[0], V[:, 0]) - w[0]).norm() < 1e-14 * w.norm()


def test_products_of_single_precision_are_summed_in_double(generator):
    """A sum of 10^6 products in float32 alone would lose four digits."""
    x = torch.rand(1, 10**6, generator=generator)
    assert abs(krylov.dot(x, x).item() / x.double().square().sum().item() - 1) < 1e-14


def test_a_preconditioner_in_single_precision_serves_a_solve_in_double(generator):
    A = Operator(laplacian(11))
    b = right_hand_sides(generator, 2, 121)
    x, status, _ = pcg(A, b, lambda r: r.float(), rtol=1e-12)
    assert (status == Status.CONVERGED).all()
    require_solved(A, x, b, 1e-12)


def test_two_runs_on_two_threads_agree_in_every_bit():
    """In a process of its own, since the number of threads belongs to a process."""
    program = """
import torch
from sciops.kernels import krylov
g = torch.Generator().manual_seed(1)
x, r, p, Ap = (torch.rand(3, 50_001, generator=g, dtype=torch.float64) for _ in range(4))
found = []
torch.set_num_threads(2)
for _ in range(2):
    found.append(krylov.cg_update(x, r, p, Ap, torch.ones(3), torch.zeros(3, dtype=torch.int32)))
assert all(torch.equal(a, b) for a, b in zip(*found))
torch.set_num_threads(1)
x1 = krylov.cg_update(x, r, p, Ap, torch.ones(3), torch.zeros(3, dtype=torch.int32))[0]
assert (x1 - found[0][0]).norm() < 1e-14 * x1.norm()
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr[-2000:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.ones(2, 3, 1)}, r"x has shape \(2, 3, 1\)"),
        ({"x": torch.ones(2, 3).half()}, r"float16, expected \(system, n\) in float32 or float64"),
        ({"p": torch.ones(2, 4)}, r"p has shape \(2, 4\).*expected \(2, 3\)"),
        ({"rz": torch.ones(3)}, r"rz has shape \(3,\), expected one entry for each of 2 systems"),
        ({"rz": torch.ones(2).long()}, "rz has dtype torch.int64, expected float64"),
        ({"status": torch.zeros(2)}, "status has dtype torch.float32, expected int32"),
        ({"r": torch.ones(3, 2).T}, "r is written in place and must be contiguous"),
    ],
)
def test_bad_arguments_are_named(change, message):
    vectors = {name: torch.ones(2, 3) for name in ("x", "r", "p", "Ap")}
    args = {**vectors, "rz": torch.ones(2), "status": torch.zeros(2, dtype=torch.int32), **change}
    with pytest.raises(InputError, match=message):
        krylov.cg_update_(**args)


def test_bad_slots_and_counts_are_named():
    v, status = torch.ones(1, 3), torch.zeros(1, dtype=torch.int32)
    with pytest.raises(InputError, match="slot is 2, but 2 directions are kept"):
        krylov.conjugate(torch.ones(2, 1, 3), torch.ones(2, 1, 3), torch.ones(2, 1), v, v, status, 2)
    with pytest.raises(InputError, match="needs room for 3, but holds 2"):
        arnoldi(torch.ones(2, 1, 3), v, status, 2)
    with pytest.raises(InputError, match=r"\(8, 1\) in float64 as minres_start makes them"):
        minres.minres_lanczos(v, v, v, v, torch.ones(8, 1), status)
    with pytest.raises(InputError, match=r"pAp has dtype torch.int64"):
        krylov.conjugate(torch.ones(1, 1, 3), torch.ones(1, 1, 3), torch.ones(1, 1).long(), v, v, status, 0)
    with pytest.raises(InputError, match=r"R has shape \(\), expected \(system, m, m\)"):
        gmres_rotate(torch.tensor(1.0), v, v, v, status)
    with pytest.raises(InputError, match=r"beta has shape \(\), expected \(system,\)"):
        minres.minres_start(torch.tensor(1.0))
    with pytest.raises(InputError, match=r"beta has dtype torch.int64"):
        minres.minres_start(torch.ones(2).long())


def test_a_status_with_gaps_is_read_right():
    """Every second entry of a longer status: RUNNING, CONVERGED."""
    R, rotations = torch.zeros(2, 1, 1).double(), torch.zeros(2, 2, 1).double()
    g, h = torch.tensor([[5.0, 0.0]] * 2).double(), torch.tensor([[3.0, 4.0]] * 2).double()
    status = torch.tensor([0, 1, 1, 0], dtype=torch.int32)[::2]
    residual = gmres_rotate_(R, rotations, g, h, status)
    assert residual.tolist() == pytest.approx([4.0, 0.0]) and R.flatten().tolist() == pytest.approx([5.0, 0.0])
