"""Elastic bodies: linear displacements are exact, the order is two, rigid motions help, what does not fit is named."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from sciops.data.domains.mesh import Mesh
from sciops.errors import InputError
from sciops.solvers import linear
from sciops.solvers.linear import Elasticity

skfem = pytest.importorskip("skfem")
VTK_HEX = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]


def body(kind, n):
    """The unit square or cube."""
    if kind in ("triangle", "tetra"):
        made = (skfem.MeshTri if kind == "triangle" else skfem.MeshTet).init_tensor(
            *[torch.linspace(0, 1, n + 1).double().numpy()] * (2 if kind == "triangle" else 3)
        )
        return Mesh(torch.from_numpy(made.p.T.copy()), {kind: torch.from_numpy(made.t.T.copy()).long()})
    d = 2 if kind == "quad" else 3
    line = torch.arange(n + 1)
    index = torch.arange((n + 1) ** d).view(*[n + 1] * d)
    points = torch.cartesian_prod(*[line / n] * d).double()
    offsets = VTK_HEX if d == 3 else [(0, 0), (1, 0), (1, 1), (0, 1)]
    corners = [index[tuple(slice(o, n + o) for o in offset)].ravel() for offset in offsets]
    return Mesh(points, {kind: torch.stack(corners, 1)})


@pytest.mark.parametrize("kind", ["triangle", "quad", "tetra", "hexahedron"])
def test_a_linear_displacement_has_no_force_inside(kind, generator):
    mesh = body(kind, 3)
    A = Elasticity(mesh, 2.0, 0.3)
    d = mesh.dimension
    stretch = torch.randn(d, d, generator=generator, dtype=torch.float64)
    u = stretch @ mesh.points.T
    force = A @ u
    inside = ~mesh.boundary
    assert inside.any() and force[:, inside].abs().max() < 1e-12 < force.abs().max()
    # its energy is that of the constant stress
    strain = (stretch + stretch.T) / 2
    lam, mu = 2.0 * 0.3 / (1.3 * 0.4), 2.0 / 2.6
    energy = 2 * mu * strain.square().sum() + lam * strain.trace() ** 2
    torch.testing.assert_close((u * force).sum(), energy, rtol=1e-10, atol=0)


@pytest.mark.parametrize("kind", ["triangle", "quad"])
def test_the_order_is_two(kind):
    """u = (sin pi x sin pi y, 0), held on all sides; mu = lambda = 1."""
    errors = []
    for n in (8, 16, 32):
        mesh = body(kind, n)
        x, y = math.pi * mesh.points.T
        f = math.pi**2 * torch.stack([4 * x.sin() * y.sin(), -2 * x.cos() * y.cos()])
        A = Elasticity(mesh, 2.5, 0.25, fixed=mesh.boundary)
        found = linear.cg(A, A.right_hand_side(f), rtol=1e-10).value
        exact = torch.stack([x.sin() * y.sin(), torch.zeros_like(x)])
        errors.append(float((mesh.weights() * (found - exact).square().sum(0)).sum().sqrt()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(1.85 <= order <= 2.15 for order in orders), orders


def test_rigid_motions_in_the_coarse_spaces_save_iterations():
    pytest.importorskip("pyamg")
    mesh = body("quad", 48)
    A = Elasticity(mesh, 1.0, 0.3, fixed=mesh.points[:, 0] == 0)
    b = A.right_hand_side((0.0, -1.0))
    plain = linear.cg(A, b, M="amg").iterations
    assert linear.cg(A, b, M=linear.PyAMG(A, near_nullspace=A.near_nullspace)).iterations < 0.8 * plain


def test_a_free_body_has_the_rigid_motions_as_its_null_space(generator):
    A = Elasticity(body("tetra", 2), 1.0, 0.3)
    assert A.nullspace.shape == (1, 6, 3, 27) and A.definite is None
    assert A.apply(A.nullspace).abs().max() < 1e-12
    b = A @ torch.randn(A.space, generator=generator, dtype=torch.float64)
    found = linear.cg(A, b, rtol=1e-10, M="jacobi")
    assert (A.nullspace[0] * found.value).sum((1, 2)).abs().max() < 1e-10


def test_one_fixed_point_leaves_a_rotation(generator):
    mesh = body("quad", 3)
    A = Elasticity(mesh, 1.0, 0.3, fixed=torch.arange(16) == 5)
    assert A.nullspace.shape == (1, 1, 2, 16) and A.definite is None and not A.nullspace[..., 5].any()
    assert A.apply(A.nullspace).abs().max() < 1e-12
    assert Elasticity(mesh, 1.0, 0.3, fixed=torch.arange(16) < 2).definite


def test_it_keeps_the_contract(generator):
    A = Elasticity(body("triangle", 3), 1.0, 0.3, fixed=torch.arange(16) < 4)
    u = torch.randn(2, 2, 16, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((A @ u).flatten(1).T, torch.from_numpy(A.to_scipy() @ u.flatten(1).T.numpy()))
    torch.testing.assert_close(A.diagonal().ravel(), torch.from_numpy(A.to_scipy().diagonal()))
    assert A.to(torch.float32).near_nullspace.dtype == torch.float32


def test_what_does_not_fit_is_named():
    mesh = body("triangle", 2)
    for options, said in (
        ({"young": -1.0}, "young is -1.0"),
        ({"poisson": 0.5}, "poisson 0.5"),
        ({"fixed": "left"}, "no tag 'left'"),
        ({"fixed": torch.ones(3)}, "expected bool"),
    ):
        with pytest.raises(InputError, match=said):
            Elasticity(mesh, **{"young": 1.0, "poisson": 0.3, **options})
    with pytest.raises(InputError, match="force has shape"):
        Elasticity(mesh, 1.0, 0.3).right_hand_side((1.0, 2.0, 3.0))
