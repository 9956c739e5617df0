"""Preconditioners: transforms exact for every kind of side, incomplete factors, Schwarz, adapters, any callable."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sparse
import scipy.sparse.linalg as splinalg
import torch

from sciops.data import Grid
from sciops.data.domains.axis import Axis
from sciops.errors import InputError, MissingDependencyError
from sciops.solvers import linear
from sciops.solvers.linear import Diffusion, Sparse

PAIRS = [*itertools.product(("dirichlet", "neumann"), repeat=2), ("periodic", "periodic")]


def axes(kinds, sizes):
    kind = ["periodic" if "periodic" in pair else "cell" for pair in kinds]
    return Grid(tuple(Axis(name, n, 0.0, 1.0, k) for name, n, k in zip("xyz", sizes, kind, strict=False)))


@pytest.mark.parametrize("kinds", [*itertools.product(PAIRS, repeat=1), *itertools.product(PAIRS, repeat=2)], ids=str)
@pytest.mark.parametrize("reaction", [0.0, 3.0])
def test_a_fast_transform_is_exact(kinds, reaction, generator):
    sizes = (7, 8)[: len(kinds)]
    k = torch.rand(2, len(kinds), *[1] * len(kinds), generator=generator, dtype=torch.float64) + 0.5
    A = Diffusion(k.expand(2, len(kinds), *sizes), axes(kinds, sizes), list(kinds), reaction)
    M = linear.fast_solver(A)
    assert M.exact
    b = torch.randn(2, 3, *sizes, generator=generator, dtype=torch.float64)
    if A.nullspace is not None:
        b -= b.mean(tuple(range(2, b.ndim)), keepdim=True)
    x = M(b)
    assert (A @ x - b).norm() <= 1e-12 * b.norm()
    if A.nullspace is not None:
        assert x.mean(tuple(range(2, b.ndim))).abs().max() < 1e-13
    assert linear.refine(A, b, M=M, rtol=1e-12).iterations.max() == 1


def test_a_fast_transform_in_three_dimensions_and_indefinite(generator):
    kinds = [("dirichlet", "neumann"), ("periodic", "periodic"), ("neumann", "neumann")]
    A = Diffusion(torch.full((6, 5, 4), 2.0, dtype=torch.float64), axes(kinds, (6, 5, 4)), kinds, -70.0)
    b = torch.randn(6, 5, 4, generator=generator, dtype=torch.float64)
    assert linear.refine(A, b, M="fast", rtol=1e-11).iterations == 1


def test_two_periodic_axes_of_odd_and_even_size(generator):
    A = Diffusion(torch.ones(5, 6, 7, dtype=torch.float64), Grid.unit(5, 6, 7, kind="periodic"), "periodic", 1.0)
    b = torch.randn(5, 6, 7, generator=generator, dtype=torch.float64)
    assert linear.refine(A, b, M="fast", rtol=1e-12).iterations == 1


def test_what_a_fast_transform_cannot_do_is_named(generator):
    k = torch.rand(4, 4, generator=generator, dtype=torch.float64) + 0.5
    for A, said in (
        (Diffusion(k, (1.0, 1.0), 2.0), "axis 0 has Robin"),
        (Diffusion(k, (1.0, 1.0)), "not constant"),
        (Diffusion(k, (1.0, 1.0), reaction=-torch.full((4, 4), 9.0).double()), "indefinite"),
        (Sparse(np.eye(3)), "inverts Diffusion"),
    ):
        with pytest.raises(InputError, match=said):
            linear.fast_solver(A)


def test_the_factors_of_a_stencil_are_those_of_its_matrix(generator):
    k = torch.randn(6, 7, generator=generator, dtype=torch.float64).exp()
    A = Diffusion(k, (0.1, 0.2), [("dirichlet", "neumann"), 1.5])
    r = torch.randn(1, 2, 6, 7, generator=generator, dtype=torch.float64)
    fast, general = linear.IncompleteCholesky(A), linear.IncompleteCholesky(Sparse(A.to_scipy()))
    assert fast.shift == general.shift == 0
    torch.testing.assert_close(fast(r).ravel(), general(r.flatten(2)).ravel(), rtol=1e-12, atol=1e-12)
    single = linear.IncompleteCholesky(A.to(torch.float32))
    torch.testing.assert_close(single(r.float()).double(), fast(r), rtol=1e-4, atol=1e-4)


def test_incomplete_factors_take_the_iterations_that_are_known():
    """Beside dense factors on the same pattern, written out."""
    n = 24
    A = Diffusion(torch.ones(n, n, dtype=torch.float64), (1.0, 1.0))
    matrix = A.to_scipy().toarray()
    L = np.tril(matrix)
    for i in range(n * n):
        for j in np.nonzero(L[i, :i])[0]:
            L[i, j] = (matrix[i, j] - L[i, :j] @ L[j, :j]) / L[j, j]
        L[i, i] = np.sqrt(matrix[i, i] - L[i, :i] @ L[i, :i])
    dense = torch.from_numpy(np.linalg.inv(L @ L.T))
    b = torch.from_numpy(np.random.default_rng(1).standard_normal((n, n)))
    ours = linear.cg(A, b, M="ic0").iterations
    theirs = linear.cg(A, b, M=lambda r: (r.flatten(2) @ dense).view(r.shape)).iterations
    assert ours == theirs < linear.cg(A, b, M="jacobi").iterations / 2


def test_a_coarse_space_keeps_iterations_from_growing_with_the_parts(generator):
    counts = {True: [], False: []}
    for n, parts in ((16, 2), (32, 4), (64, 8)):
        A = Diffusion(torch.ones(n, n, dtype=torch.float64), (1 / n, 1 / n))
        b = torch.randn(n, n, generator=generator, dtype=torch.float64)
        for coarse, found in counts.items():
            found.append(int(linear.cg(A, b, M=linear.Schwarz(A, parts, coarse=coarse)).iterations))
    assert counts[True][2] < 1.3 * counts[True][1]
    assert counts[False][2] > 1.3 * counts[False][1]


def test_schwarz_with_one_part_is_a_direct_solver(generator):
    A = Diffusion(torch.rand(9, 8, generator=generator, dtype=torch.float64) + 0.5, (0.1, 0.1))
    b = torch.randn(9, 8, generator=generator, dtype=torch.float64)
    assert linear.refine(A, b, M=linear.Schwarz(A, 1, coarse=False)).iterations == 1
    for options, said in (({"parts": 9}, "parts"), ({"parts": (2,)}, "parts"), ({"overlap": -1}, "overlap")):
        with pytest.raises(InputError, match=said):
            linear.Schwarz(A, **options)
    closed = Diffusion(torch.ones(4, 4, dtype=torch.float64), (1.0, 1.0), "neumann")
    with pytest.raises(InputError, match="singular on part 0"):
        linear.Schwarz(closed, 1)


class Network(torch.nn.Module):
    """A small nonlinear network around a diagonal."""

    def __init__(self, scale):
        super().__init__()
        self.register_buffer("scale", scale)
        self.weight = torch.nn.Parameter(torch.tensor(0.1))

    def forward(self, r):
        return (self.scale * r + self.weight * torch.tanh(r) * self.scale).float()


def test_anything_that_can_precondition_does(generator):
    A = Diffusion(torch.rand(12, 11, generator=generator, dtype=torch.float64) + 0.5, (1.0, 1.0))
    b = torch.randn(2, 12, 11, generator=generator, dtype=torch.float64)
    inverse = 1 / A.diagonal()[:, None]
    n = A.unknowns
    diagonal = sparse.diags(inverse.numpy().ravel())
    expected = linear.cg(A, b, M="jacobi").iterations
    for M in (
        linear.Jacobi(A),
        lambda r: inverse * r,
        splinalg.aslinearoperator(diagonal),
        linear.MatrixFree(lambda u: inverse * u, (12, 11), definite=True),
    ):
        assert torch.equal(linear.cg(A, b, M=M).iterations, expected)
    assert linear.fcg(A, b, M=Network(inverse)).converged
    assert linear.fgmres(A, b, M=Network(inverse)).converged
    pyamg = pytest.importorskip("pyamg")
    assert linear.cg(A, b, M=pyamg.ruge_stuben_solver(A.to_scipy().tocsr())).converged
    assert linear.cg(A, b, M=linear.PyAMG(A, "ruge-stueben")).converged
    for M, said in (
        (splinalg.aslinearoperator(sparse.identity(n + 1)), "shape"),
        (Sparse(sparse.identity(n)), "does not fit"),
        (3.0, "float is no preconditioner"),
    ):
        with pytest.raises(InputError, match=said):
            linear.cg(A, b, M=M)


def test_a_missing_pyamg_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyamg", None)
    with pytest.raises(MissingDependencyError, match=r"sciops\[amg\]"):
        linear.PyAMG(Diffusion(torch.ones(4, dtype=torch.float64), 1.0))
    with pytest.raises(InputError, match="did you mean 'ruge-stueben'"):
        monkeypatch.undo()
        linear.PyAMG(Diffusion(torch.ones(4, dtype=torch.float64), 1.0), "ruge-stuben")


@pytest.mark.parametrize("name", ["jacobi", "ic0", "fast", "lu", "amg", "schwarz", "multigrid"])
def test_a_named_preconditioner_is_symmetric_and_positive(name, generator):
    """<u, M v> = <v, M u> and <u, M u> > 0; one that says it is symmetric is."""
    A = Diffusion(torch.randn(16, 16, generator=generator, dtype=torch.float64).exp(), (1 / 16, 1 / 16))
    M = linear.as_preconditioner(name, A)
    assert M.symmetric
    u, v = torch.randn(2, 1, 1, 16, 16, generator=generator, dtype=torch.float64)
    Mu, Mv = M(u).double().clone(), M(v).double().clone()
    scale = float(Mu.norm() * v.norm())
    assert abs(float((v * Mu).sum() - (u * Mv).sum())) <= (1e-5 if name == "multigrid" else 1e-10) * scale
    assert (u * Mu).sum() > 0 and (v * Mv).sum() > 0
    assert isinstance(repr(M), str) and "object at" not in repr(M)
