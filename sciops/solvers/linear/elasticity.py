"""`Elasticity`: linear elasticity on a mesh, by finite elements of scikit-fem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sciops.data.domains.mesh import Mesh
from sciops.errors import InputError, MissingDependencyError, did_you_mean
from sciops.solvers.linear.operator import LinearOperator
from sciops.solvers.linear.sparse import Sparse

_CELLS = ("triangle", "quad", "tetra", "hexahedron")


class Elasticity(LinearOperator):
    r"""The stiffness of an isotropic elastic body, symmetric positive definite where enough of it is held.

    .. math:: \int \sigma(u) : \varepsilon(v), \quad \sigma = 2\mu\,\varepsilon + \lambda\, \mathrm{tr}(\varepsilon)\, I

    with linear elements (multilinear on quads and hexahedra), plane strain in two dimensions. Displacements have the
    shape ``(d, point)``. Rows of fixed points are those of the identity.

    Parameters
    ----------
    mesh
        Cells of one type: triangle, quad, tetra or hexahedron.
    young, poisson
        Young's modulus, positive, and Poisson's ratio in (-1, 1/2).
    fixed
        The points that do not move: bool ``(point,)``, or the name of a tag of the mesh over its points. Where they do
        not hold the body, or none are given, the operator is singular and `nullspace` has the motions left free.

    Attributes
    ----------
    near_nullspace : Tensor
        The rigid motions ``(3 or 6, d, point)``, 0 at fixed points: what :class:`PyAMG` needs.

    Raises
    ------
    MissingDependencyError
        Without scikit-fem, which the extra sciops[mesh] installs.
    InputError
        For several types of cells, moduli out of range, or a tag that is not there.

    References
    ----------
    T. Gustafsson and G. D. McBain, "scikit-fem: a Python package for finite element assembly", 2020.

    Examples
    --------
    >>> points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]).double()
    >>> square = Mesh(points, {"quad": torch.tensor([[0, 1, 2, 3]])})
    >>> A = Elasticity(square, young=1.0, poisson=0.3, fixed=points[:, 0] == 0)
    >>> A
    Elasticity((2, 4), float64, definite)
    >>> A.right_hand_side((0.0, -1.0))[1].tolist()
    [0.0, -0.25, -0.25, 0.0]
    """

    def __init__(
        self, mesh: Mesh, young: float, poisson: float, fixed: Bool[Tensor, " point"] | str | None = None
    ) -> None:
        if not (young > 0 and -1 < poisson < 0.5):
            raise InputError(f"young is {young} and poisson {poisson}; expected young > 0 and -1 < poisson < 1/2")
        stiffness = _stiffness(mesh, young, poisson)
        d, n = mesh.dimension, len(mesh.points)
        self.mesh, self.fixed = mesh, _fixed(mesh, fixed)
        # points that no cell uses do not move either
        free = (~self.fixed & ~mesh.unused).repeat(d).numpy()
        keep = sparse.diags(free.astype(np.float64))
        self._matrix = Sparse(keep @ stiffness @ keep + sparse.diags((~free).astype(np.float64)))
        self.space, self.batch = (d, n), 1
        self.dtype, self.device = self._matrix.dtype, self._matrix.device
        self._free = torch.from_numpy(free).view(d, n)
        self.near_nullspace = torch.where(self._free, _rigid_motions(mesh.points), 0.0)
        self.nullspace = _free_motions(self.near_nullspace, _rigid_motions(mesh.points)[..., self.fixed])
        self.symmetric, self.definite = True, True if self.nullspace is None else None

    def apply(self, u: Tensor) -> Tensor:
        return self._matrix.apply(u.flatten(2)).view(u.shape)

    def diagonal(self) -> Tensor:
        return self._matrix.diagonal().view(1, *self.space)

    def tensors(self) -> tuple[Tensor, ...]:
        return self._matrix.tensors()

    def rebuilt(self, tensors: Sequence[Tensor]) -> Elasticity:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        made._matrix = self._matrix.rebuilt(tensors)
        made.dtype, made.device = made._matrix.dtype, made._matrix.device
        made.near_nullspace = self.near_nullspace.to(tensors[0].detach())
        made.nullspace = None if self.nullspace is None else self.nullspace.to(tensors[0].detach())
        return made

    def to_scipy(self) -> sparse.csr_matrix:
        return self._matrix.to_scipy()

    def right_hand_side(self, force: Sequence[float] | Tensor) -> Float[Tensor, "d point"]:
        """The load of a force per volume, ``(d,)`` or ``(d, point)``; 0 at fixed points."""
        f = torch.as_tensor(force, dtype=self.dtype, device=self.device)
        if tuple(f.shape) not in ((self.space[0],), self.space):
            raise InputError(f"the force has shape {tuple(f.shape)}, expected ({self.space[0]},) or {self.space}")
        weights = self.mesh.weights(self.dtype, self.device)
        return torch.where(self._free.to(self.device), (f if f.ndim == 2 else f[:, None]) * weights, 0.0)

    def describe(self) -> str:
        return "definite" if self.definite else "free to move"


def _stiffness(mesh: Mesh, young: float, poisson: float) -> Any:
    """The matrix with the unknowns ordered (d, point)."""
    try:
        import skfem  # type: ignore[import-untyped]
        from skfem.models.elasticity import lame_parameters, linear_elasticity  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingDependencyError("Elasticity needs scikit-fem; install it by pip install 'sciops[mesh]'") from error
    kinds = [name for name in mesh.main_cells if name in _CELLS]
    if len(kinds) != 1 or mesh.cell_dimension != mesh.dimension:
        raise InputError(
            f"the mesh has the cells {', '.join(mesh.cells)} in {mesh.dimension} dimensions; Elasticity takes one of "
            f"{', '.join(_CELLS)} that fill them"
        )
    make, element = {
        "triangle": (skfem.MeshTri, skfem.ElementTriP1),
        "quad": (skfem.MeshQuad, skfem.ElementQuad1),
        "tetra": (skfem.MeshTet, skfem.ElementTetP1),
        "hexahedron": (skfem.MeshHex, skfem.ElementHex1),
    }[kinds[0]]
    corners = mesh.cells[kinds[0]].numpy().T
    if kinds[0] == "hexahedron":
        from skfem.io.meshio import INV_HEX_MAPPING  # type: ignore[import-untyped]

        corners = corners[INV_HEX_MAPPING[:8]]
    body = make(np.ascontiguousarray(mesh.points.numpy().T), np.ascontiguousarray(corners))
    basis = skfem.Basis(body, skfem.ElementVector(element()))
    matrix = linear_elasticity(*lame_parameters(young, poisson)).assemble(basis).tocsr()
    order = basis.nodal_dofs.ravel()
    return matrix[order][:, order]


def _fixed(mesh: Mesh, fixed: Tensor | str | None) -> Tensor:
    n = len(mesh.points)
    if fixed is None:
        return torch.zeros(n, dtype=torch.bool)
    if isinstance(fixed, str):
        tags = {name: tag for name, tag in (mesh.tags or {}).items() if len(tag) == n}
        if fixed not in tags:
            raise InputError(f"the mesh has no tag {fixed!r} over its points{did_you_mean(fixed, tags)}")
        fixed = tags[fixed]
    if not isinstance(fixed, Tensor) or fixed.dtype != torch.bool or tuple(fixed.shape) != (n,):
        found = f"{tuple(fixed.shape)} {fixed.dtype}" if isinstance(fixed, Tensor) else type(fixed).__name__
        raise InputError(f"fixed is {found}, expected bool ({n},), True at the points that do not move")
    return fixed


def _free_motions(
    motions: Float[Tensor, "motion d n"], held: Float[Tensor, "motion d fixed"]
) -> Float[Tensor, "1 free d n"] | None:
    """An orthonormal basis of the rigid motions that move no fixed point; None if there are none."""
    if held.shape[-1]:
        vectors, values, _ = torch.linalg.svd(held.flatten(1))
        rank = int((values > 1e-10 * values.max()).sum())
        motions = torch.einsum("mf,mdn->fdn", vectors[:, rank:], motions)
    if not len(motions):
        return None
    basis: Tensor = torch.linalg.qr(motions.flatten(1).T)[0].T.reshape(1, *motions.shape)
    return basis


def _rigid_motions(points: Float[Tensor, "n d"]) -> Float[Tensor, "motion d n"]:
    """Translations and rotations about the centre."""
    n, d = points.shape
    x = (points - points.mean(0)).T
    motions = [torch.eye(d, dtype=x.dtype)[a][:, None].expand(d, n) for a in range(d)]
    for a in range(d):
        for b in range(a + 1, d):
            turn = torch.zeros(d, n, dtype=x.dtype)
            turn[a], turn[b] = -x[b], x[a]
            motions.append(turn)
    return torch.stack(motions)
