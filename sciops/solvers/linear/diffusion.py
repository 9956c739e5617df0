"""`Diffusion`: -div(k grad u) + c u on a grid, by finite volumes; and `Helmholtz`, its indefinite kin."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Float
from scipy.sparse import csgraph
from torch import Tensor

from sciops.data.domains.domain import Grid
from sciops.data.domains.field import Field
from sciops.errors import DomainError, InputError
from sciops.kernels.diffusion import Side, diffusion_operator
from sciops.kernels.stencil import diffusion_apply, diffusion_apply_dot, diffusion_apply_dot_, diffusion_residual
from sciops.solvers.linear.operator import DTYPES, LinearOperator
from sciops.solvers.linear.sparse import stencil_matrix
from sciops.solvers.linear.walls import boundary_sides, boundary_source, walls

Boundary = Side | Sequence[Side | Sequence[Side]]


class Diffusion(LinearOperator):
    r"""The diffusion operator on a grid of cells, symmetric positive (semi)definite, of second order.

    .. math:: A u = -\nabla \cdot (k \nabla u) + c\, u

    :func:`~sciops.kernels.diffusion.diffusion_operator` has the scheme: the values stand in the centres of the cells,
    fluxes take the harmonic mean, the boundary stands on the outer faces.

    Parameters
    ----------
    permeability
        k > 0, or 0 where nothing flows. A Field carries its grid: one channel, or one for each axis (anisotropic along
        the axes), and at most one batch dimension. A tensor ``(*space)`` or ``(batch, *space)`` needs `grid`; with one
        value for each axis it is ``(batch, d, *space)``.
    grid
        A Grid of cell or periodic axes, or the spacing: one for each axis, or a number for all, which leaves no batch:
        every dimension of a tensor is then an axis.
    boundary
        "dirichlet" (u = 0), "neumann" (no flux), "periodic", or the number alpha >= 0 of Robin's condition,
        k du/dn + alpha u = 0: one for all sides, or for each axis one or a pair (lower, upper). A periodic axis of
        the grid is periodic and nothing else. Values other than 0 come in by :meth:`right_hand_side`.
    reaction
        c, a number or a tensor ``(*space)`` or ``(batch, *space)``; where it is negative the operator may be
        indefinite, and `definite` is None.
    mask
        True in the domain, False in obstacles, bool ``(*space)``. Rows of obstacle cells are those of the identity, so
        u there is what b is there: 0 if :meth:`right_hand_side` has made it. A cell that nothing flows into or out of
        counts as an obstacle.
    obstacle
        What holds on the walls of obstacles: "neumann", nothing flows through; or "dirichlet", u = 0.

    Attributes
    ----------
    stencil_diagonal : Tensor
        D of :mod:`sciops.kernels.stencil`, ``(batch, *space)``.
    coupling : Tensor
        w, ``(batch, d, *space)``.
    spacing, sides, mask, grid
        As given; sides is a pair for each axis.
    permeability : Tensor
        k as ``(batch, *space)`` or ``(batch, d, *space)``.
    reaction : Tensor or float
        c.

    Raises
    ------
    InputError
        For shapes that do not fit, a boundary that is not known, or a k that is negative or not finite.
    DomainError
        For a grid with axes of another kind.

    References
    ----------
    R. Eymard, T. Gallouet, R. Herbin, "Finite volume methods", 2000.

    Examples
    --------
    >>> A = Diffusion(torch.ones(4, dtype=torch.float64), grid=1.0)
    >>> A.to_scipy().toarray()[0].tolist()
    [3.0, -1.0, 0.0, 0.0]
    >>> A
    Diffusion((4,), float64, dirichlet)
    """

    def __init__(
        self,
        permeability: Field | Tensor,
        grid: Grid | float | Sequence[float] | None = None,
        boundary: Boundary = "dirichlet",
        reaction: Tensor | float | None = None,
        *,
        mask: Tensor | None = None,
        obstacle: str = "neumann",
    ) -> None:
        k, self.grid = _tensor_of(permeability, grid)
        self.spacing = _spacing(grid if self.grid is None else self.grid, k)
        d = len(self.spacing)
        self.sides = boundary_sides(boundary, d, self.grid)
        self.permeability = k = _with_batch(k, d)
        self.space, self.batch = tuple(k.shape[-d:]), k.shape[0]
        self.dtype, self.device = k.dtype, k.device
        if self.grid is not None and self.space != self.grid.shape:
            raise InputError(f"the permeability has the cells {self.space}, the grid {self.grid.shape}")
        _require_permeability(k)
        self.reaction, positive = _reaction(reaction, self)
        self.mask = _closed(k, d) if mask is None else _mask(mask, self)
        self.obstacle = obstacle
        inside = k if self.mask is None else torch.where(self.mask, k, 0)
        c = self.reaction if isinstance(self.reaction, Tensor) or self.reaction else None
        diagonal, coupling = diffusion_operator(inside, self.spacing, self.sides, c)
        if self.mask is not None:
            diagonal, self.mask = walls(diagonal, k, self.mask, self.spacing, self.sides, obstacle)
        self._set(diagonal, coupling)
        self.symmetric = True
        open_sides = all(side in ("neumann", "periodic", 0) for pair in self.sides for side in pair)
        unheld = open_sides and (self.mask is None or obstacle == "neumann")
        number = None if isinstance(self.reaction, Tensor) else self.reaction
        # behind walls without flow there may be rooms that no side holds
        self._singular = number == 0 and (unheld or (self.mask is not None and obstacle == "neumann"))
        held = number or not unheld
        self.definite = True if positive and held and (not self._singular or self.nullspace is None) else None

    def _set(self, diagonal: Tensor, coupling: Tensor) -> None:
        self.stencil_diagonal, self.coupling = diagonal.contiguous(), coupling.contiguous()

    def apply(self, u: Tensor) -> Tensor:
        return diffusion_apply(self.stencil_diagonal, self.coupling, u.contiguous())

    def apply_dot(self, u: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        if out is None:
            return diffusion_apply_dot(self.stencil_diagonal, self.coupling, u.contiguous())
        return out, diffusion_apply_dot_(out, self.stencil_diagonal, self.coupling, u.contiguous())

    def residual(self, u: Tensor, b: Tensor) -> Tensor:
        return diffusion_residual(self.stencil_diagonal, self.coupling, u.contiguous(), b.contiguous())

    def diagonal(self) -> Tensor:
        return self.stencil_diagonal

    def tensors(self) -> tuple[Tensor, ...]:
        return self.stencil_diagonal, self.coupling

    def rebuilt(self, tensors: Sequence[Tensor]) -> Diffusion:
        made = object.__new__(type(self))
        made.__dict__.update({name: value for name, value in self.__dict__.items() if name != "nullspace"})
        made._set(*tensors)
        made.dtype, made.device = tensors[0].dtype, tensors[0].device
        if (made.dtype, made.device) != (self.dtype, self.device):
            made.permeability = self.permeability.to(tensors[0])
            made.reaction = self.reaction.to(tensors[0]) if isinstance(self.reaction, Tensor) else self.reaction
            made.mask = None if self.mask is None else self.mask.to(made.device)
        return made

    def singles(self) -> list[LinearOperator]:
        return [self._single(i) for i in range(self.batch)]

    def _single(self, i: int) -> Diffusion:
        one = self.rebuilt([t[i : i + 1] for t in self.tensors()])
        one.batch, one.permeability = 1, self.permeability[i : i + 1]
        one.reaction = self.reaction[i : i + 1] if isinstance(self.reaction, Tensor) else self.reaction
        return one

    @functools.cached_property
    def nullspace(self) -> Tensor | None:  # type: ignore[override]
        """The constants of every part of the domain that no side and no reaction holds; None where all are held."""
        if not self._singular:
            return None
        with torch.no_grad():
            return _constants(self.stencil_diagonal, self.coupling, self.mask)

    @property
    def constant(self) -> bool:
        """Whether k and c are the same in all cells and there is no mask: what a fast transform diagonalises."""
        axes = tuple(range(-len(self.space), 0))
        values = [self.permeability, self.reaction] if isinstance(self.reaction, Tensor) else [self.permeability]
        return self.mask is None and all(bool((v.amin(axes) == v.amax(axes)).all()) for v in values)

    def right_hand_side(
        self, source: Tensor | float = 0.0, values: Sequence[Any] | Any = 0.0
    ) -> Float[Tensor, "*lead *space"]:
        r"""The right-hand side for a source and boundary values that are not 0.

        Parameters
        ----------
        source
            f, a number or ``(*lead, *space)``.
        values
            One for all sides, or for each axis a number or a pair (lower, upper): the value of u on a Dirichlet side,
            the flux k du/dn on a Neumann side, the right-hand side g of k du/dn + alpha u = g on a Robin side. Each is
            a number, or a tensor over that side, ``(*other axes)``.

        Returns
        -------
        Tensor
            f and what the boundary adds; 0 in obstacles.

        Examples
        --------
        Heat conducted from u = 1 to u = 0:

        >>> A = Diffusion(torch.ones(4, dtype=torch.float64), grid=0.25)
        >>> A.right_hand_side(values=[(1.0, 0.0)]).tolist()
        [32.0, 0.0, 0.0, 0.0]
        """
        f = torch.as_tensor(source, dtype=self.dtype, device=self.device)
        if f.ndim < len(self.space):
            f = f.expand(*((self.batch,) if self.batch > 1 else ()), *self.space)
        rhs = self.canonical(f, "the source").clone()
        lifted = boundary_source(self.permeability, self.spacing, self.sides, values)
        rhs = rhs if lifted is None else rhs + lifted[:, None]
        return (rhs if self.mask is None else torch.where(self.mask, rhs, 0.0)).reshape(f.shape)

    def to_scipy(self) -> sparse.csr_matrix:
        if self.batch != 1:
            return super().to_scipy()
        return stencil_matrix(self.stencil_diagonal, self.coupling)

    def describe(self) -> str:
        kinds = [str(low) if low == high else f"{low}/{high}" for low, high in self.sides]
        words = kinds[:1] if len(set(kinds)) == 1 else kinds
        if self.mask is not None:
            words = [*words, f"{self.obstacle} obstacles"]
        return ", ".join(words)


class Helmholtz(Diffusion):
    r"""The Helmholtz operator :math:`-\Delta u - \kappa^2 u`, symmetric and, for a large wavenumber, indefinite.

    Parameters
    ----------
    wavenumber
        kappa >= 0, a number or a tensor ``(*space)``, ``(batch, *space)``.
    grid
        A Grid of cell or periodic axes, or a spacing for a `wavenumber` that is a tensor.
    boundary
        As of :class:`Diffusion`.

    Raises
    ------
    InputError
        For shapes that do not fit, or a wavenumber that is not finite.

    Examples
    --------
    >>> A = Helmholtz(1.0, Grid.unit(4, kind="cell"))
    >>> A.diagonal().tolist(), A.definite
    ([[47.0, 31.0, 31.0, 47.0]], None)
    """

    def __init__(
        self, wavenumber: Tensor | float, grid: Grid | float | Sequence[float], boundary: Boundary = "dirichlet"
    ) -> None:
        if isinstance(wavenumber, Tensor):
            k, c = torch.ones_like(wavenumber), -wavenumber.square()
        elif isinstance(grid, Grid):
            k, c = torch.ones(grid.shape, dtype=torch.float64), torch.tensor(-(float(wavenumber) ** 2)).double()
        else:
            raise InputError("Helmholtz with a number as wavenumber needs a Grid, a spacing does not tell the cells")
        super().__init__(k, grid, boundary, c.expand(k.shape))


def _tensor_of(permeability: Field | Tensor, grid: Any) -> tuple[Tensor, Grid | None]:
    if isinstance(permeability, Field):
        own, k = permeability.grid, permeability.values
        if grid is not None and not (isinstance(grid, Grid) and grid.shape == own.shape):
            raise InputError("the permeability is a Field and carries its grid; leave grid= out")
        channels, lead = len(permeability.names), permeability.batch_shape
        if channels not in (1, own.ndim) or len(lead) > 1:
            raise InputError(
                f"the permeability has {channels} channels and batch {lead}, expected 1 channel or {own.ndim} (one for "
                f"each axis) and at most one batch dimension"
            )
        k = k.reshape(-1, channels, *own.shape)
        return (k[:, 0] if channels == 1 else k), own
    if not isinstance(permeability, Tensor):
        raise InputError(f"the permeability is a {type(permeability).__name__}, expected a Field or a torch.Tensor")
    if grid is None:
        raise InputError("a permeability that is a tensor needs grid=, a Grid or the spacing")
    return permeability, grid if isinstance(grid, Grid) else None


def _spacing(grid: Any, k: Tensor) -> tuple[float, ...]:
    if isinstance(grid, Grid):
        for axis in grid.axes:
            if axis.kind not in ("cell", "periodic"):
                raise DomainError(
                    f"axis {axis.name!r} is {axis.kind}; Diffusion needs cell or periodic axes: resample the field "
                    f"onto Grid.unit(..., kind='cell')"
                )
        if grid.metric != "flat":
            raise DomainError(f"the grid has the metric {grid.metric!r}; Diffusion needs a flat one")
        return grid.spacing
    if isinstance(grid, (int, float)):
        if not 1 <= k.ndim <= 3:
            raise InputError(
                f"a permeability of shape {tuple(k.shape)} with the spacing {grid} for all axes has 1 to 3 axes; "
                f"give one spacing for each axis of a batch"
            )
        return (float(grid),) * k.ndim
    return tuple(float(h) for h in grid)


def _with_batch(k: Tensor, d: int) -> Tensor:
    if k.dtype not in DTYPES:
        raise InputError(f"the permeability is {k.dtype}, expected float32 or float64")
    if k.ndim not in (d, d + 1, d + 2) or (k.ndim == d + 2 and k.shape[1] != d):
        raise InputError(
            f"the permeability has shape {tuple(k.shape)}, expected (*space), (batch, *space) or (batch, {d}, *space) "
            f"with {d} axes"
        )
    if not k.numel():
        raise InputError(f"the permeability of shape {tuple(k.shape)} has no values")
    return k[None] if k.ndim == d else k


def _closed(k: Tensor, d: int) -> Tensor | None:
    """The mask that leaves out the cells where nothing flows, in any operator, along any axis; None without them."""
    open_ = (k.detach() != 0).flatten(0, k.ndim - d - 1).any(0)
    return None if bool(open_.all()) else open_


def _require_permeability(k: Tensor) -> None:
    low, high = (float(v) for v in torch.aminmax(k.detach()))  # a NaN is in both
    if not (low >= 0 and high < math.inf):
        raise InputError(
            f"the permeability has values from {low:g} to {high:g}, expected finite ones, at least 0; "
            f"remove or fill what is not"
        )


def _reaction(reaction: Tensor | float | None, A: Diffusion) -> tuple[Tensor | float, bool]:
    """c as a number or (batch, *space), and whether it is nowhere negative."""
    if reaction is None or isinstance(reaction, (int, float)):
        c = float(reaction or 0.0)
        if not math.isfinite(c):
            raise InputError(f"the reaction is {c}, expected a finite number")
        return c, c >= 0
    if not isinstance(reaction, Tensor) or tuple(reaction.shape) not in (A.space, (A.batch, *A.space)):
        found = tuple(reaction.shape) if isinstance(reaction, Tensor) else type(reaction).__name__
        raise InputError(f"the reaction is {found}, expected a number, {A.space} or {(A.batch, *A.space)}")
    low, high = (float(v) for v in torch.aminmax(reaction.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError(f"the reaction has values from {low:g} to {high:g}, expected finite ones")
    c_field = reaction.to(dtype=A.dtype, device=A.device).expand(A.batch, *A.space)
    return c_field, low >= 0


def _mask(mask: Tensor, A: Diffusion) -> Tensor:
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) != A.space:
        found = f"{tuple(mask.shape)} {mask.dtype}" if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"the mask is {found}, expected a bool tensor of shape {A.space}, True in the domain")
    return mask.to(A.device)


def _constants(diagonal: Tensor, coupling: Tensor, mask: Tensor | None) -> Tensor | None:
    """An orthonormal basis of the fields that are constant on a connected part of the domain that nothing holds."""
    space = coupling.shape[2:]
    if mask is None and _connected(coupling):
        n = space.numel()
        return coupling.new_full((1, 1, *space), n**-0.5)
    index = np.arange(space.numel()).reshape(space)
    surplus = diagonal - sum(w + w.roll(1, a + 1) for a, w in enumerate(coupling.unbind(1)))
    held = (surplus > 1e3 * torch.finfo(diagonal.dtype).eps * diagonal).flatten(1).cpu().numpy()
    found = []
    for w, fixed in zip(coupling.cpu().numpy(), held, strict=True):
        pairs = [(index[v != 0], np.roll(index, -1, axis)[v != 0]) for axis, v in enumerate(w)]
        i, j = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
        graph = sparse.coo_matrix((np.ones(i.size), (i, j)), shape=(index.size, index.size))
        labels = csgraph.connected_components(graph, directed=False)[1]
        if mask is not None:
            labels = np.where(mask.cpu().numpy().ravel(), labels, -1)
        parts = np.setdiff1d(labels[labels >= 0], labels[fixed])
        basis = (labels[None] == parts[:, None]).astype(np.float64)
        found.append(torch.from_numpy(basis / np.linalg.norm(basis, axis=1, keepdims=True)))
    most = max(len(basis) for basis in found)
    if not most:
        return None
    filled = torch.stack([torch.nn.functional.pad(basis, (0, 0, 0, most - len(basis))) for basis in found])
    return filled.view(len(found), most, *space).to(coupling)


def _connected(coupling: Tensor) -> bool:
    """Whether no coupling but those across the outer faces is zero."""
    space = coupling.shape[2:]
    return all(bool((coupling[:, a].narrow(a + 1, 0, n - 1) != 0).all()) for a, n in enumerate(space) if n > 1)
