"""What goes wrong is found, named, and never reported as converged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sciops.errors import InputError, SolverError
from sciops.solvers import linear
from sciops.solvers.linear import Diffusion, MatrixFree, Sparse

METHODS = ["cg", "block_cg", "fcg", "minres", "gmres", "fgmres", "bicgstab"]
SYMMETRIC = ["cg", "block_cg", "fcg", "minres"]


def plane(generator, n=12):
    return Diffusion(torch.rand(n, n, generator=generator, dtype=torch.float64) + 0.5, (1 / n, 1 / n))


def rhs(generator, *shape):
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def true_residual(A, found, b):
    lead = b.ndim - len(A.space)
    gap = (b - (A @ found.value)).flatten(lead).norm(dim=-1)
    return (gap / b.flatten(lead).norm(dim=-1)).reshape(-1)


@pytest.mark.parametrize("method", ["cg", "block_cg", "fcg"])
def test_an_indefinite_operator(method, generator):
    A = Sparse(np.diag([1.0, 2.0, -3.0, 4.0]))
    with pytest.raises(SolverError, match=r"A is not positive definite: <p, A p> = -[0-9.e+-]+ at iteration .*minres"):
        getattr(linear, method)(A, torch.tensor([1e-3, 1e-3, 1.0, 1e-3]).double())


def test_the_error_carries_the_solution_and_the_other_systems_are_solved(generator):
    A = Sparse(np.diag([1.0, 2.0, -3.0, 4.0]))
    b = torch.eye(4, dtype=torch.float64)
    found = linear.cg(A, b, raise_on_failure=False)
    assert found.status == ("converged", "converged", "indefinite operator", "converged") and not found.converged
    torch.testing.assert_close(
        found.value[[0, 1, 3]], torch.diag(torch.tensor([1.0, 0.5, 0, 0.25]).double())[[0, 1, 3]]
    )
    with pytest.raises(SolverError) as caught:
        linear.cg(A, b)
    assert caught.value.solution.status == found.status and "in system 2" in str(caught.value)


@pytest.mark.parametrize("method", ["cg", "block_cg", "minres"])
def test_an_indefinite_preconditioner(method, generator):
    A = plane(generator)
    flip = torch.where(torch.rand(12, 12, generator=generator) < 0.5, -1.0, 1.0).double()
    with pytest.raises(SolverError, match=r"M is not positive definite: <r, M r> = -"):
        getattr(linear, method)(A, rhs(generator, 12, 12), M=lambda r: -r.abs().mean() * flip.abs() * r)
    found = getattr(linear, method)(A, rhs(generator, 12, 12), M=lambda r: flip * r, raise_on_failure=False)
    assert found.status[0] in ("indefinite preconditioner", "nonsymmetric preconditioner") or (
        true_residual(A, found, rhs(generator, 12, 12)) <= 1
    )


def test_a_preconditioner_that_is_not_symmetric(generator):
    """A half sweep of Gauss-Seidel: triangular, and definite in the sense of <r, M r> > 0."""
    A = plane(generator)
    lower = torch.from_numpy(np.linalg.inv(np.tril(A.to_scipy().toarray())))

    def half_sweep(r):
        return (r.flatten(2) @ lower.T).view(r.shape)

    b = rhs(generator, 12, 12)
    with pytest.raises(SolverError, match=r"M is not symmetric .*fcg"):
        linear.cg(A, b, M=half_sweep)
    for method in ("fcg", "gmres", "fgmres", "bicgstab"):
        assert getattr(linear, method)(A, b, M=half_sweep).converged


@pytest.mark.parametrize("contrast", [1.0, 1e3, 1e6, 1e12])
@pytest.mark.parametrize("M", ["jacobi", "ic0", "fast", "amg", "schwarz"])
def test_a_symmetric_preconditioner_is_never_called_unsymmetric(M, contrast, generator):
    """Also where rounding is large: contrasts to 1e12, and answers in float32."""
    k = torch.where(torch.rand(16, 16, generator=generator) < 0.5, 1.0, contrast).double()
    A = Diffusion(k, (1 / 16, 1 / 16))
    made = linear.as_preconditioner(M, A)
    for approximate in (made, lambda r: made(r).float()):
        found = linear.cg(A, rhs(generator, 16, 16), M=approximate, raise_on_failure=False)
        assert "nonsymmetric preconditioner" not in found.status


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", ["b", "x0", "M", "A"])
def test_values_that_are_not_finite(method, where, generator):
    A, b = plane(generator), rhs(generator, 12, 12)
    calls = []

    def spoiled(r):
        calls.append(1)
        return r if len(calls) < 5 else r * torch.nan

    options = {"M": spoiled} if where == "M" else {}
    if where == "A":
        A = (
            MatrixFree(lambda u: spoiled(plane_of.apply(u.contiguous())), A.space, symmetric=True)
            if (plane_of := A)
            else A
        )
    if where == "b":
        b[3, 3] = torch.nan
    if where == "x0":
        options["x0"] = torch.full_like(b, torch.inf)
    named = {"b": "b has NaN", "x0": "x0", "M": "preconditioner M returned", "A": "product with A|diverged"}[where]
    with pytest.raises(SolverError, match=named) as caught:
        getattr(linear, method)(A, b, **options)
    assert caught.value.solution.status == ("not finite",)


def test_one_nan_does_not_keep_the_other_systems_from_their_answers(generator):
    A, b = plane(generator), rhs(generator, 3, 12, 12)
    b[1, 0, 0] = torch.nan
    for method in METHODS:
        found = getattr(linear, method)(A, b, raise_on_failure=False)
        assert found.status == ("converged", "not finite", "converged")
        assert (true_residual(A, found, b)[[0, 2]] <= 1e-6).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["graph", "zero row", "pure neumann"])
def test_a_singular_system(method, kind, generator):
    """Consistent: solved. Inconsistent: named, with the size of what is out of reach."""
    if kind == "pure neumann":
        A = Diffusion(torch.rand(8, 8, generator=generator, dtype=torch.float64) + 0.5, (1 / 8, 1 / 8), "neumann")
    else:
        n = 30
        W = torch.rand(n, n, generator=generator, dtype=torch.float64)
        W = W + W.T
        L = torch.diag(W.sum(1)) - W
        if kind == "zero row":
            L = L + torch.eye(n)
            L[7], L[:, 7] = 0, 0
        A = Sparse(L)
    solve = getattr(linear, method)
    b = A @ rhs(generator, *A.space)
    found = solve(A, b, rtol=1e-8)
    assert found.converged and (true_residual(A, found, b) <= 1.01e-8).all()
    spoiled = b.clone()
    spoiled.view(-1)[7] += 1.0
    with pytest.raises(SolverError, match="A is singular and b is not in its range") as caught:
        solve(A, spoiled, rtol=1e-8)
    assert caught.value.solution.status == ("inconsistent",)


@pytest.mark.parametrize("method", METHODS)
def test_maxiter(method, generator):
    A, b = plane(generator), rhs(generator, 12, 12)
    with pytest.raises(SolverError, match=r"maxiter was reached.*raise it") as caught:
        getattr(linear, method)(A, b, maxiter=3)
    solution = caught.value.solution
    assert solution.iterations.tolist() == [3] and solution.status == ("maxiter",)
    torch.testing.assert_close(solution.residuals, true_residual(A, solution, b))


@pytest.mark.parametrize("method", METHODS)
def test_more_digits_than_there_are(method, generator):
    """The recurrence falls for ever, the true residual does not: that is no convergence."""
    A = plane(generator)
    b = rhs(generator, 12, 12)
    with pytest.raises(SolverError) as caught:
        getattr(linear, method)(A, b, rtol=1e-17, maxiter=3000)
    found = caught.value.solution
    assert found.status[0] in ("stagnated", "maxiter", "breakdown", "exhausted", "indefinite operator",
                               "indefinite preconditioner", "not finite")  # fmt: skip
    assert float(found.residuals) < 1e-9


def test_residual_replacement_reaches_what_a_recurrence_loses():
    """A contrast at which the recursive residual of CG parts from the true one before the goal."""
    n = 48
    k = torch.ones(n, n, dtype=torch.float64)
    k[::2] = 1e9
    A = Diffusion(k, (1 / n, 1 / n))
    b = torch.ones(n, n, dtype=torch.float64)
    found = linear.cg(A, b, M="ic0", rtol=1e-12, raise_on_failure=False)
    true = true_residual(A, found, b)
    assert found.converged == bool((true <= 1e-12).all())


@pytest.mark.parametrize("method", METHODS)
def test_what_does_not_fit_is_named(method, generator):
    solve, A = getattr(linear, method), plane(generator)
    b = rhs(generator, 12, 12)
    for wrong, said in (
        ((A, b[:5]), r"b has shape \(5, 12\), expected \(12, 12\)"),
        ((A, b.float()), "float32"),
        ((A, b.numpy()), "ndarray"),
        ((A.to_scipy(), b), "Sparse"),
    ):
        with pytest.raises(InputError, match=said):
            solve(*wrong)
    for options, said in (
        ({"x0": b[None, None].expand(1, 2, 12, 12)}, "x0 has shape"),
        ({"rtol": -1.0}, "rtol"),
        ({"rtol": "x"}, "rtol is .x."),
        ({"maxiter": 0}, "maxiter"),
        ({"M": "jacoby"}, "did you mean 'jacobi'"),
        ({"M": torch.ones(3)}, "Sparse"),
        ({"M": lambda r: r[..., :3]}, "preconditioner function returned"),
    ):
        with pytest.raises(InputError, match=said):
            solve(A, b, **options)
    batch = Diffusion(torch.ones(2, 4, dtype=torch.float64), [1.0])
    with pytest.raises(InputError, match=r"expected \(2, 4\), or \(2, rhs, 4\)"):
        solve(batch, torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("method", SYMMETRIC)
def test_an_operator_that_is_not_symmetric_is_refused(method):
    A = Sparse(np.array([[2.0, 1.0], [0.0, 2.0]]))
    with pytest.raises(InputError, match="not; use gmres or bicgstab"):
        getattr(linear, method)(A, torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.ones((2, 3)), "square"),
        (np.array([[1.0, np.nan], [0.0, 1.0]]), "row 0, column 1"),
        (np.array([[1.0j]]), "real_form"),
        ("ab", "no sparse matrix"),
        (torch.ones(2, 2, dtype=torch.float16).to_sparse(), None),
    ],
)
def test_a_matrix_that_is_none(matrix, said):
    if said is None:
        assert Sparse(matrix).dtype == torch.float64
        return
    with pytest.raises(InputError, match=said):
        Sparse(matrix)


def test_the_factors_that_break_down_say_so(generator):
    with pytest.raises(SolverError, match="singular"):
        linear.SparseLU(Sparse(np.array([[1.0, 1.0], [1.0, 1.0]])))
    with pytest.raises(InputError, match="diagonal of A is 0"):
        linear.Jacobi(Sparse(np.array([[0.0, 1.0], [1.0, 0.0]])))
    with pytest.raises(InputError, match="positive diagonal"):
        linear.IncompleteCholesky(Sparse(np.diag([1.0, -1.0])))
    with pytest.raises(InputError, match="breaks down"):
        linear.IncompleteCholesky(Sparse(np.array([[1.0, 2.0], [2.0, 1.0]])), shift=0.0)
    assert linear.IncompleteCholesky(Sparse(np.array([[1.0, 1.5], [1.5, 1.0]]))).shift == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_the_answer_to_a_system_too_hard_for_its_precision_is_not_worse_than_the_start(method, generator):
    """An inclusion of contrast 1e12: eps |A| |x| / |b| is above the goal, whatever the method; x does not go astray."""
    k = torch.ones(12, 12, dtype=torch.float64)
    k[4:8, 4:8] = 1e12
    A = Diffusion(k, (1 / 12, 1 / 12))
    b = rhs(generator, 12, 12)
    for M in ("ic0", "lu"):
        found = getattr(linear, method)(A, b, M=M, rtol=1e-10, maxiter=500, raise_on_failure=False)
        assert not found.converged and float(found.residuals) <= 1e3
        torch.testing.assert_close(found.residuals, true_residual(A, found, b), rtol=1e-2, atol=1e-12)
    found = linear.cg(A, b, M="lu", rtol=1e-10, raise_on_failure=False)
    assert found.status == ("stagnated",) and "rounding alone leaves about" in found.message
    assert linear.cg(A, b, M="lu", rtol=1e-3).converged


def test_an_operator_that_is_not_finite_leaves_the_other_blocks_alone(generator):
    """All right-hand sides of an operator share their directions, so they fail together; other operators go on."""
    k = torch.rand(3, 8, 8, generator=generator, dtype=torch.float64) + 0.5
    A, b = Diffusion(k, (0.1, 0.1)), rhs(generator, 3, 4, 8, 8)
    broken = A.rebuilt([A.stencil_diagonal.clone(), A.coupling])
    broken.stencil_diagonal[1, 4, 4] = torch.nan
    found = linear.block_cg(broken, b, raise_on_failure=False)
    assert found.status == ("converged",) * 4 + ("not finite",) * 4 + ("converged",) * 4
    assert "product with A has NaN" in found.message
    torch.testing.assert_close(found.value[[0, 2]], linear.block_cg(A, b).value[[0, 2]])


def test_an_indefinite_operator_ends_its_own_block_only(generator):
    k = torch.ones(2, 8, 8, dtype=torch.float64)
    c = torch.zeros(2, 8, 8, dtype=torch.float64)
    c[1] = -3000.0
    found = linear.block_cg(Diffusion(k, (0.1, 0.1), reaction=c), rhs(generator, 2, 3, 8, 8), raise_on_failure=False)
    assert found.status == ("converged",) * 3 + ("indefinite operator",) * 3
    assert "<p, A p> = -" in found.message


@pytest.mark.parametrize("size", [1e-300, 1e-163, 1e160, 1e200])
@pytest.mark.parametrize("method", METHODS)
def test_squares_beyond_the_range_of_numbers_hide_no_residual(method, size, generator):
    A, b = plane(generator), rhs(generator, 12, 12)
    found = getattr(linear, method)(A, size * b, M="multigrid", rtol=1e-8)
    torch.testing.assert_close(found.value / size, linear.cg(A, b, rtol=1e-12).value, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize(("space", "share"), [((40, 40), 0.3), ((9, 10, 11), 0.5)])
@pytest.mark.parametrize("boundary", ["dirichlet", "neumann"])
def test_rooms_that_nothing_holds_do_not_mislead_multigrid(space, share, boundary, generator):
    mask = torch.rand(space, generator=generator) > share
    A = Diffusion(torch.ones(space, dtype=torch.float64), [0.1] * len(space), boundary, mask=mask)
    b = A @ rhs(generator, *space)
    assert true_residual(A, linear.cg(A, b, M="multigrid"), b) <= 1e-6


@pytest.mark.parametrize("ratio", [1e4, 1e5, 1e6])
def test_a_strong_axis_that_no_side_holds(ratio, generator):
    k = torch.ones(1, 2, 48, 48, dtype=torch.float64)
    k[:, 1] = ratio
    A, b = Diffusion(k, (1.0, 1.0), ["dirichlet", "neumann"]), rhs(generator, 48, 48)
    assert true_residual(A, linear.cg(A, b, M="multigrid"), b) <= 1e-6


def test_systems_of_a_batch_may_have_any_size_and_one_may_be_lost(generator):
    A = Diffusion(torch.rand(3, 20, 20, generator=generator, dtype=torch.float64) + 0.5, (0.1, 0.1))
    b = rhs(generator, 3, 20, 20) * torch.tensor([1.0, 1e-50, 1e60], dtype=torch.float64).view(3, 1, 1)
    assert true_residual(A, linear.cg(A, b, M="multigrid"), b).max() <= 1e-6
    guess = torch.zeros_like(b)
    guess[1, 3, 3] = torch.nan
    found = linear.cg(A, b, M="multigrid", x0=guess, raise_on_failure=False)
    assert found.status == ("converged", "not finite", "converged")


def test_a_class_is_no_preconditioner(generator):
    with pytest.raises(InputError, match=r"M=Multigrid\(A\) makes one"):
        linear.cg(plane(generator), rhs(generator, 12, 12), M=linear.Multigrid)
