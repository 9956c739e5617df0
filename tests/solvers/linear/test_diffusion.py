"""The diffusion operator: its order on manufactured solutions, boundary values, obstacles, null spaces, refusals."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from sciops.data import Field, Grid
from sciops.data.domains.axis import Axis
from sciops.errors import DomainError, InputError, SolverError
from sciops.kernels.stencil import diffusion_apply
from sciops.solvers import linear
from sciops.solvers.linear import Diffusion, Helmholtz

PI = math.pi


def observed(errors):
    return [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]


def error(n, kinds, alpha=2.0):
    r"""Of -div(k grad u) + u = f with k = 1 + sum x_a / 4 and u = prod g(x_a), in the root mean square.

    The values that the sides get come from u itself, so every kind meets a boundary value that is not 0.
    """
    d = len(kinds)
    kind = ["periodic" if pair == "periodic" else "cell" for pair in kinds]
    grid = Grid(tuple(Axis(name, n, 0.0, 1.0, k) for name, k in zip("xyz", kind, strict=False)))
    # a periodic axis has its faces half a cell below its nodes
    X = list(grid.coordinates())
    periodic = [k == "periodic" for k in kind]

    def g(a, x):
        return torch.sin(2 * PI * x) + 1.5 if periodic[a] else torch.exp(0.5 * x) * torch.sin(x + 0.3 * a + 0.2)

    def dg(a, x):
        if periodic[a]:
            return 2 * PI * torch.cos(2 * PI * x)
        s = x + 0.3 * a + 0.2
        return torch.exp(0.5 * x) * (0.5 * torch.sin(s) + torch.cos(s))

    def ddg(a, x):
        if periodic[a]:
            return -4 * PI**2 * torch.sin(2 * PI * x)
        s = x + 0.3 * a + 0.2
        return torch.exp(0.5 * x) * (torch.cos(s) - 0.75 * torch.sin(s))

    def k_of(X):
        return 1 + sum((torch.zeros_like(x) if periodic[a] else x) / 4 for a, x in enumerate(X))

    def product(X, swap=None, by=None):
        return math.prod((by if a == swap else g)(a, x) for a, x in enumerate(X))

    u, k = product(X), k_of(X)
    f = u + sum(-k * product(X, a, ddg) - (0 if periodic[a] else 0.25) * product(X, a, dg) for a in range(d))
    sides, values = [], []
    for a, pair in enumerate(kinds):
        if pair == "periodic":
            sides.append("periodic")
            values.append(0.0)
            continue
        given, here = [], []
        for end, side in enumerate(pair):
            face = [x.select(a, 0) if b != a else torch.full_like(x.select(a, 0), float(end)) for b, x in enumerate(X)]
            flux = (1 if end else -1) * k_of(face) * product(face, a, dg)
            given.append(alpha if side == "robin" else side)
            here.append({"dirichlet": product(face), "neumann": flux}.get(side, flux + alpha * product(face)))
        sides.append(tuple(given))
        values.append(tuple(here))
    A = Diffusion(Field(k[None], grid), boundary=sides, reaction=1.0)
    found = linear.cg(A, A.right_hand_side(f, values), rtol=1e-11, M="ic0")
    return float((found.value - u).square().mean().sqrt())


KINDS = [
    [("dirichlet", "dirichlet")],
    [("neumann", "neumann")],
    [("robin", "robin")],
    ["periodic"],
    [("dirichlet", "neumann"), ("robin", "dirichlet")],
    [("neumann", "robin"), "periodic"],
    [("neumann", "neumann"), ("neumann", "neumann")],
    [("dirichlet", "robin"), "periodic", ("neumann", "dirichlet")],
    [("dirichlet", "dirichlet"), ("dirichlet", "dirichlet"), ("dirichlet", "dirichlet")],
]


@pytest.mark.parametrize("kinds", KINDS, ids=str)
def test_the_order_is_two(kinds):
    sizes = [8, 16, 32] if len(kinds) == 3 else [16, 32, 64]
    orders = observed([error(n, kinds) for n in sizes])
    assert all(1.75 <= order <= 2.25 for order in orders), orders


def test_helmholtz_is_of_order_two():
    errors = []
    for n in (32, 64, 128):
        grid = Grid.unit(n, n, kind="cell")
        x, y = grid.coordinates()
        u = torch.sin(PI * x) * torch.sin(2 * PI * y)
        f = (5 * PI**2 - 64.0) * u
        found = linear.minres(Helmholtz(8.0, grid), f, rtol=1e-10)
        errors.append(float((found.value - u).abs().max()))
    assert all(1.9 <= order <= 2.1 for order in observed(errors))


def test_the_matrix_is_that_of_the_baselines(generator):
    """-div(k grad u), u = 0, as a loop over faces writes it."""
    k = torch.rand(4, 3, generator=generator, dtype=torch.float64) + 0.1
    h = (0.25, 0.5)
    A = np.zeros((12, 12))
    for i in range(4):
        for j in range(3):
            me = 3 * i + j
            for di, dj, step in ((1, 0, h[0]), (-1, 0, h[0]), (0, 1, h[1]), (0, -1, h[1])):
                p, q = i + di, j + dj
                inside = 0 <= p < 4 and 0 <= q < 3
                t = 2 * k[i, j] * k[p, q] / (k[i, j] + k[p, q]) / step**2 if inside else 2 * k[i, j] / step**2
                A[me, me] += t
                if inside:
                    A[me, 3 * p + q] -= t
    np.testing.assert_allclose(Diffusion(k, h).to_scipy().toarray(), A, rtol=1e-12)


@pytest.mark.parametrize("space", [(2,), (5,), (4, 3), (3, 2, 4)], ids=str)
@pytest.mark.parametrize("corners", [False, True])
def test_the_matrix_of_a_stencil_is_what_its_product_applies(space, corners, generator):
    """Links to all neighbours that there are, periodic ends among them."""
    d, n = len(space), math.prod(space)
    D = torch.rand(1, *space, generator=generator, dtype=torch.float64)
    w = torch.rand(1, 3**d // 2 if corners else d, *space, generator=generator, dtype=torch.float64)
    unit = torch.eye(n, dtype=torch.float64).view(1, n, *space)
    expected = diffusion_apply(D, w, unit).view(n, n).T
    np.testing.assert_allclose(linear.stencil_matrix(D, w).toarray(), expected, rtol=1e-12, atol=1e-15)
    with pytest.raises(InputError, match="a batch of 2 operators is no single matrix"):
        linear.stencil_matrix(D.expand(2, *space), w.expand(2, *w.shape[1:]))


@pytest.mark.parametrize("obstacle", ["neumann", "dirichlet"])
def test_obstacles_are_holes_in_the_grid(obstacle, generator):
    """A mask that cuts the grid off at a column is a smaller grid with that condition there."""
    k = torch.rand(6, 5, generator=generator, dtype=torch.float64) + 0.5
    mask = torch.ones(6, 5, dtype=torch.bool)
    mask[4:] = False
    A = Diffusion(k, (0.2, 0.3), mask=mask, obstacle=obstacle)
    small = Diffusion(k[:4], (0.2, 0.3), [("dirichlet", obstacle), "dirichlet"])
    b = A.right_hand_side(torch.randn(6, 5, generator=generator, dtype=torch.float64))
    found = linear.cg(A, b, rtol=1e-12).value
    assert not found[4:].any()
    torch.testing.assert_close(found[:4], linear.cg(small, b[:4], rtol=1e-12).value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_a_null_space_is_known_and_the_answer_has_no_mean(boundary, generator):
    k = torch.rand(2, 7, 6, generator=generator, dtype=torch.float64) + 0.5
    A = Diffusion(k, (0.1, 0.1), boundary)
    assert A.definite is None and A.nullspace.shape == (1, 1, 7, 6)
    assert (A @ A.nullspace.expand(2, 1, 7, 6)).abs().max() < 1e-10
    b = torch.randn(2, 7, 6, generator=generator, dtype=torch.float64)
    b -= b.mean((1, 2), keepdim=True)
    for method in ("cg", "minres", "gmres"):
        found = getattr(linear, method)(A, b, rtol=1e-9, M="jacobi")
        assert found.converged and found.value.mean((1, 2)).abs().max() < 1e-9


def test_each_closed_room_has_a_constant_of_its_own(generator):
    mask = torch.ones(9, 8, dtype=torch.bool)
    mask[4] = False
    A = Diffusion(torch.rand(9, 8, generator=generator, dtype=torch.float64) + 0.5, (1.0, 1.0), "neumann", mask=mask)
    assert A.nullspace.shape == (1, 2, 9, 8)
    assert (A.apply(A.nullspace)).abs().max() < 1e-12
    b = torch.randn(9, 8, generator=generator, dtype=torch.float64) * mask
    b[:4] -= b[:4].mean()
    b[5:] -= b[5:].mean()
    assert linear.cg(A, b).converged


def test_a_room_behind_walls_is_singular_also_where_sides_hold_the_rest(generator):
    mask = torch.ones(9, 9, dtype=torch.bool)
    mask[2:6, 2:6] = False
    mask[3:5, 3:5] = True
    mask[7, 8] = mask[8, 7] = False  # a corner cell, held by the sides
    k = torch.rand(9, 9, generator=generator, dtype=torch.float64) + 0.5
    A = Diffusion(k, (1.0, 1.0), mask=mask)
    assert A.definite is None and A.nullspace.shape == (1, 1, 9, 9)
    assert torch.equal(A.nullspace[0, 0] != 0, torch.nn.functional.pad(torch.ones(2, 2), (3, 4, 3, 4)) != 0)
    b = A.right_hand_side(torch.randn(9, 9, generator=generator, dtype=torch.float64))
    with pytest.raises(SolverError, match="not in its range"):
        linear.cg(A, b)
    b[3:5, 3:5] -= b[3:5, 3:5].mean()
    found = linear.cg(A, b, M="jacobi", rtol=1e-10)
    assert found.value[3:5, 3:5].mean().abs() < 1e-10
    mask[3:5, 3:5] = False
    mask[3, 3] = True  # a single closed cell is an obstacle
    A = Diffusion(k, (1.0, 1.0), mask=mask)
    assert A.definite and A.nullspace is None and not A.mask[3, 3]
    assert linear.cg(A, A.right_hand_side(1.0), M="jacobi").value[3, 3] == 0


def test_a_field_carries_its_grid_and_its_axes_decide():
    grid = Grid((Axis("x", 8, 0.0, 2.0, "cell"), Axis("y", 6, 0.0, 1.0, "periodic")))
    A = Diffusion(Field(torch.ones(1, 8, 6, dtype=torch.float64), grid))
    assert A.sides == (("dirichlet", "dirichlet"), ("periodic", "periodic")) and A.spacing == (0.25, 1 / 6)
    batch = Diffusion(Field(torch.ones(3, 2, 8, 6, dtype=torch.float64), grid))
    assert batch.batch == 3 and batch.coupling.shape == (3, 2, 8, 6)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Diffusion(torch.ones(4)), "needs grid="),
        (lambda: Diffusion(torch.ones(4), Grid.unit(4)), "axis 'x' is closed"),
        (lambda: Diffusion(torch.ones(5), Grid.unit(4, kind="cell")), r"the grid \(4,\)"),
        (lambda: Diffusion(torch.tensor([1.0, -1.0]), 1.0), "from -1 to 1"),
        (lambda: Diffusion(torch.tensor([1.0, torch.nan]), 1.0), "nan"),
        (lambda: Diffusion(torch.ones(4, dtype=torch.int64), 1.0), "int64"),
        (lambda: Diffusion(torch.ones(4), 1.0, "dirichelt"), "did you mean 'dirichlet'"),
        (lambda: Diffusion(torch.ones(4), Grid.unit(4, kind="periodic"), ["neumann"]), "periodic, but its boundary"),
        (lambda: Diffusion(torch.ones(4), 1.0, reaction=torch.ones(5)), r"\(5,\)"),
        (lambda: Diffusion(torch.ones(4), 1.0, reaction=math.nan), "nan"),
        (lambda: Diffusion(torch.ones(4), 1.0, mask=torch.ones(4)), "bool"),
        (lambda: Diffusion(torch.ones(2), 1.0, mask=torch.tensor([True, False]), obstacle="robin"), "obstacle 'robin'"),
        (lambda: Diffusion(torch.ones(4), 1.0, "periodic").right_hand_side(values=[(1.0, 1.0)]), "periodic"),
        (lambda: Helmholtz(3.0, 0.1), "needs a Grid"),
        (lambda: Diffusion(np.ones(4), 1.0), "ndarray"),
    ],
)
def test_what_does_not_fit_is_named(make, said):
    with pytest.raises((InputError, DomainError), match=said):
        make()


def test_cells_where_nothing_flows_are_obstacles(generator):
    k = torch.rand(9, 8, generator=generator, dtype=torch.float64) + 0.5
    k[3:5, 2:6] = 0
    open_ = k > 0
    with_zeros, masked = Diffusion(k, (0.1, 0.1)), Diffusion(k + (~open_).double(), (0.1, 0.1), mask=open_)
    u = torch.randn(9, 8, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(with_zeros @ u, masked @ u)
    assert with_zeros.mask is not None and with_zeros.mask.equal(open_)
