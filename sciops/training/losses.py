"""Relative errors in function-space norms: the training losses."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sciops.data.domain import Axis, Grid
from sciops.errors import DomainError, InputError
from sciops.kernels.spectral import spectral_derivative
from sciops.registry import Registry

losses: Registry[type[RelativeL2]] = Registry("loss")


def derivative(values: Tensor, axis: Axis, dim: int) -> Tensor:
    """The derivative along one axis, by the scheme of the axis kind.

    Periodic axes: the exact derivative of the trigonometric interpolant. Others: central differences inside and
    one-sided ones at the two ends, all of second order.

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
    (result,) = torch.gradient(values, spacing=axis.spacing, dim=dim, edge_order=2)
    return result


@losses.register("l2")
class RelativeL2(nn.Module):
    r"""The relative error in the norm of :math:`L^2`: mean over batch and channels of :math:`\|p-y\| / \|y\|`.

    :math:`\|u\|^2 = \sum_i w_i u_i^2` with the quadrature weights of the grid, so one function has one norm
    at every resolution. A channel of a sample whose target is zero everywhere is measured against the constant
    field 1 instead.

    Parameters
    ----------
    grid
        The domain. Fields on another number of nodes are taken to lie on ``grid.resized(...)``.

    Examples
    --------
    >>> loss = RelativeL2(Grid.unit(8, kind="periodic"))
    >>> loss(torch.full((2, 1, 8), 1.1), torch.ones(2, 1, 8)).round(decimals=4)
    tensor(0.1000)
    """

    def __init__(self, grid: Grid) -> None:
        super().__init__()
        self.grid = grid
        self._roots: dict[tuple[object, ...], Tensor] = {}

    def norm(self, values: Tensor) -> Tensor:
        """The norm of each channel of values ``(batch, channel, *space)``: ``(batch, channel)``."""
        return self._l2(values)

    def per_sample(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The relative error of each sample, averaged over channels: ``(batch,)``."""
        if prediction.shape != target.shape:
            raise InputError(f"prediction {tuple(prediction.shape)} and target {tuple(target.shape)} differ in shape")
        size = self.norm(target)
        size = torch.where(size > 0, size, math.sqrt(self.grid.volume))
        errors: Tensor = (self.norm(prediction - target) / size).mean(dim=1)
        return errors

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The mean relative error, a scalar, of two tensors ``(batch, channel, *space)``."""
        return self.per_sample(prediction, target).mean()

    def _grid_of(self, values: Tensor) -> Grid:
        shape = tuple(values.shape[2:])
        if len(shape) != self.grid.ndim:
            raise InputError(
                f"expected (batch, channel, {', '.join(self.grid.names)}), got a tensor of shape {tuple(values.shape)}"
            )
        return self.grid if shape == self.grid.shape else self.grid.resized(*shape)

    def _l2(self, values: Tensor) -> Tensor:
        key = (tuple(values.shape[2:]), values.dtype, values.device)
        root = self._roots.get(key)
        if root is None:
            weights = self._grid_of(values).weights().flatten().sqrt()
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

    Parameters
    ----------
    grid
        The domain. Fields on another number of nodes are taken to lie on ``grid.resized(...)``.

    Examples
    --------
    >>> loss = RelativeH1(Grid.unit(8, kind="closed"))
    >>> float(loss(torch.zeros(1, 1, 8), torch.ones(1, 1, 8)))
    1.0
    """

    def norm(self, values: Tensor) -> Tensor:
        """The norm of each channel of values ``(batch, channel, *space)``: ``(batch, channel)``."""
        parts = [self._l2(values)]
        for dim, axis in enumerate(self._grid_of(values).axes, start=2):
            parts.append(axis.extent * self._l2(derivative(values, axis, dim)))
        norm: Tensor = torch.linalg.vector_norm(torch.stack(parts), dim=0)
        return norm
