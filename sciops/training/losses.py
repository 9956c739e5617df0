"""Relative errors in function-space norms: the training losses."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sciops.data.domains.domain import Axis, Domain, Grid
from sciops.errors import DomainError, InputError
from sciops.kernels.periodic import spectral_derivative
from sciops.registry import Registry

losses: Registry[type[RelativeL2]] = Registry("loss")


def derivative(values: Tensor, axis: Axis, dim: int) -> Tensor:
    """The derivative along one axis, by the scheme of the axis kind.

    Periodic axes: the exact derivative of the trigonometric interpolant. Others: central differences inside and
    one-sided ones at the two ends, all of second order; on a stretched axis with the distances of its nodes.

    Parameters
    ----------
    values
        Real tensor, sampled on `axis` along `dim`.
    axis
        The axis; its size must be that of `values` along `dim`.
    dim
        The tensor dimension that the axis is.

    Raises
    ------
    DomainError
        Fewer than 3 nodes on an axis that is not periodic, or a size that differs from the axis.

    Examples
    --------
    >>> axis = Axis("x", 5, 0.0, 2.0)
    >>> derivative(axis.coordinates() ** 2, axis, 0)
    tensor([0., 1., 2., 3., 4.], dtype=torch.float64)
    """
    size = values.shape[dim]
    if size != axis.size:
        raise DomainError(f"axis {axis.name!r} has {axis.size} nodes, the values have {size} along dimension {dim}")
    if axis.kind == "periodic":
        return spectral_derivative(values, dim, extent=axis.extent)
    if size < 3:
        raise DomainError(f"axis {axis.name!r} needs at least 3 nodes for a derivative, got {size}")
    distances = axis.spacing if axis.uniform else (axis.coordinates(values.dtype, values.device),)
    (result,) = torch.gradient(values, spacing=distances, dim=dim, edge_order=2)
    return result


def masked_derivative(values: Tensor, mask: Tensor, axis: Axis, dim: int) -> tuple[Tensor, Tensor]:
    """The derivative where its three-point stencil lies within a mask, and the mask of these nodes.

    Differences of second order on every kind of axis: the trigonometric interpolant would carry what stands outside of
    the mask everywhere.

    Parameters
    ----------
    values
        Real tensor, sampled on `axis` along `dim`, finite outside of the mask too.
    mask
        Bool, as many dimensions as the values, True in the domain.
    axis, dim
        As in `derivative`.

    Examples
    --------
    >>> axis, mask = Axis("x", 5, 0.0, 2.0), torch.tensor([True, True, True, True, False])
    >>> masked_derivative(torch.where(mask, axis.coordinates() ** 2, 0), mask, axis, 0)[1].tolist()
    [True, True, True, False, False]
    """
    if axis.kind == "periodic":
        slope = (values.roll(-1, dim) - values.roll(1, dim)) / (2 * axis.spacing)
        return slope, mask & mask.roll(1, dim) & mask.roll(-1, dim)
    slope = derivative(values, axis, dim)
    inner = mask.narrow(dim, 1, axis.size - 2) & mask.narrow(dim, 0, axis.size - 2) & mask.narrow(dim, 2, axis.size - 2)
    ends = inner.narrow(dim, 0, 1), inner.narrow(dim, inner.shape[dim] - 1, 1)
    return slope, torch.cat([ends[0], inner, ends[1]], dim=dim)


@losses.register("l2")
class RelativeL2(nn.Module):
    r"""The relative error in the norm of :math:`L^2`: mean over batch and channels of :math:`\|p-y\| / \|y\|`.

    :math:`\|u\|^2 = \sum_i w_i u_i^2` with the quadrature weights of the domain, so one function has one norm
    at every resolution. A channel of a sample whose target is zero everywhere is measured against the constant
    field 1 instead. A mask, bool of shape (\*space) or (batch, 1 or channel, \*space), leaves out the nodes where it is
    False, such as obstacles and land; values there may be NaN. Values (batch, channel, n) at query points bring their
    own quadrature weights (batch, n) instead, see `sciops.data.functions.queries.QueryPoints`.

    Parameters
    ----------
    grid
        The domain, of any kind. Fields on another number of nodes of a grid are taken to lie on ``grid.resized(...)``.

    Examples
    --------
    >>> loss = RelativeL2(Grid.unit(8, kind="periodic"))
    >>> loss(torch.full((2, 1, 8), 1.1), torch.ones(2, 1, 8)).round(decimals=4)
    tensor(0.1000)
    """

    def __init__(self, grid: Domain) -> None:
        super().__init__()
        self.grid = grid
        self._roots: dict[tuple[object, ...], Tensor] = {}

    def norm(self, values: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """The norm of each channel of values ``(batch, channel, *space)``: ``(batch, channel)``."""
        if weights is not None:
            found: Tensor = torch.linalg.vector_norm(values * _roots_of(values, weights), dim=2)
            return found
        return self._l2(values if mask is None else torch.where(_mask_of(values, mask), values, 0.0))

    def per_sample(
        self, prediction: Tensor, target: Tensor, mask: Tensor | None = None, weights: Tensor | None = None
    ) -> Tensor:
        """The relative error of each sample, averaged over channels: ``(batch,)``."""
        if prediction.shape != target.shape:
            raise InputError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
        size = self.norm(target, mask, weights)
        size = torch.where(size > 0, size, math.sqrt(self.grid.volume))
        errors: Tensor = (self.norm(prediction - target, mask, weights) / size).mean(dim=1)
        return errors

    def forward(
        self, prediction: Tensor, target: Tensor, mask: Tensor | None = None, weights: Tensor | None = None
    ) -> Tensor:
        """The mean relative error, a scalar, of two tensors ``(batch, channel, *space)``."""
        return self.per_sample(prediction, target, mask, weights).mean()

    def _domain_of(self, values: Tensor) -> Domain:
        shape = tuple(values.shape[2:])
        if len(shape) != self.grid.ndim:
            raise InputError(
                f"expected (batch, channel, {', '.join(self.grid.dims)}), got a tensor of shape {tuple(values.shape)}"
            )
        if shape == self.grid.shape:
            return self.grid
        if isinstance(self.grid, Grid):
            return self.grid.resized(*shape)
        raise InputError(f"expected values on {self.grid!r} of shape {self.grid.shape}, got {tuple(values.shape)}")

    def _l2(self, values: Tensor) -> Tensor:
        key = (tuple(values.shape[2:]), values.dtype, values.device)
        root = self._roots.get(key)
        if root is None:
            weights = self._domain_of(values).weights().flatten().sqrt()
            uniform = bool((weights == weights[0]).all())
            root = self._roots[key] = (weights[0] if uniform else weights).to(dtype=values.dtype, device=values.device)
        flat = values.flatten(2)
        if root.ndim == 0:
            norm: Tensor = torch.linalg.vector_norm(flat, dim=2) * root
        else:
            norm = torch.linalg.vector_norm(flat * root, dim=2)
        return norm


@losses.register("h1")
class RelativeH1(RelativeL2):
    r"""The relative error in a norm of :math:`H^1` that has one unit.

    :math:`\|u\|^2 = \|u\|_{L^2}^2 + \sum_i \ell_i^2 \|\partial_i u\|_{L^2}^2` with the extents
    :math:`\ell_i` of the axes; derivatives are spectral on periodic axes and second-order differences elsewhere.
    Under a mask all are differences, at the nodes whose neighbours lie within the mask too.

    Parameters
    ----------
    grid
        The domain, a grid. Fields on another number of nodes are taken to lie on ``grid.resized(...)``.

    Raises
    ------
    DomainError
        If the domain is no grid.

    Examples
    --------
    >>> loss = RelativeH1(Grid.unit(8, kind="closed"))
    >>> float(loss(torch.zeros(1, 1, 8), torch.ones(1, 1, 8)))
    1.0
    """

    def __init__(self, grid: Domain) -> None:
        if not isinstance(grid, Grid):
            raise DomainError(f"the H1 norm needs a grid for its derivatives, got {grid!r}; take loss='l2'")
        super().__init__(grid)

    def norm(self, values: Tensor, mask: Tensor | None = None, weights: Tensor | None = None) -> Tensor:
        """The norm of each channel of values ``(batch, channel, *space)``: ``(batch, channel)``."""
        if weights is not None:
            raise InputError("the H1 norm needs whole fields, and these are values at query points; take loss='l2'")
        domain = self._domain_of(values)
        if not isinstance(domain, Grid):
            raise DomainError(f"the H1 norm needs a grid for its derivatives, got {domain!r}; take loss='l2'")
        inside = None if mask is None else _mask_of(values, mask)
        values = values if inside is None else torch.where(inside, values, 0.0)
        parts = [self._l2(values)]
        for dim, axis in enumerate(domain.axes, start=2):
            if inside is None:
                slope = derivative(values, axis, dim)
            else:
                slope, good = masked_derivative(values, inside, axis, dim)
                slope = torch.where(good, slope, 0.0)
            parts.append(axis.extent * self._l2(slope))
        norm: Tensor = torch.linalg.vector_norm(torch.stack(parts), dim=0)
        return norm


def _roots_of(values: Tensor, weights: Tensor) -> Tensor:
    """The roots of the weights (batch, n) of values (batch, channel, n) at points."""
    if values.ndim != 3 or weights.shape != (values.shape[0], values.shape[2]):
        raise InputError(
            f"the weights have shape {tuple(weights.shape)}, the values {tuple(values.shape)}; expected (batch, n) and "
            f"(batch, channel, n)"
        )
    return weights.to(values).sqrt()[:, None]


def _mask_of(values: Tensor, mask: Tensor) -> Tensor:
    """The mask as bool of the shape of the values."""
    space = tuple(values.shape[2:])
    fits = mask.ndim in (len(space), len(space) + 2) and tuple(mask.shape[mask.ndim - len(space) :]) == space
    batch = tuple(mask.shape[: mask.ndim - len(space)]) or (1, 1)
    if not fits or any(size not in (1, whole) for size, whole in zip(batch, values.shape[:2], strict=True)):
        raise InputError(
            f"the mask has shape {tuple(mask.shape)}, the values {tuple(values.shape)}; it needs the shape {space}, "
            f"or (batch, 1, ...) with that"
        )
    return mask.to(device=values.device, dtype=torch.bool).expand(values.shape)
