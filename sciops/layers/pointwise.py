"""Linear maps and perceptrons of the channels, the same at every point: matrix products on (batch, channel, point)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sciops.kernels.pointwise import pointwise_linear, pointwise_mlp

if TYPE_CHECKING:
    from jaxtyping import Float


def normal_parameter(*shape: int, std: float, generator: torch.Generator) -> nn.Parameter:
    """A parameter of independent normal numbers with the given standard deviation, drawn from `generator`."""
    return nn.Parameter(torch.randn(shape, generator=generator) * std)


class PointwiseLinear(nn.Module):
    r"""Linear map of the channels at every point, :math:`y_o(s) = \sum_i W_{oi} x_i(s) + b_o`.

    Parameters
    ----------
    in_channels, out_channels
        Number of channels in and out.
    bias
        Whether b is there.
    gain
        Standard deviation of the result for independent inputs of variance one, at the start.
    generator
        Source of the initial weights.

    Examples
    --------
    >>> layer = PointwiseLinear(2, 3, generator=torch.Generator())
    >>> layer(torch.zeros(1, 2, 4, 5)).shape
    torch.Size([1, 3, 4, 5])
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, bias: bool = True, gain: float = 1.0, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.weight = normal_parameter(
            out_channels, in_channels, std=gain / math.sqrt(in_channels), generator=generator
        )
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Float[Tensor, "batch in_channel *space"]) -> Float[Tensor, "batch out_channel *space"]:
        """Apply the map; x is (batch, in_channel, *space)."""
        return pointwise_linear(x, self.weight, self.bias)


class PointwiseMLP(nn.Module):
    r"""Perceptron of the channels with one hidden layer at every point.

    .. math:: y(s) = W_2\, \mathrm{GELU}(W_1 x(s) + b_1) + b_2

    Parameters
    ----------
    in_channels, hidden_channels, out_channels
        Number of channels in, hidden and out.
    generator
        Source of the initial weights.

    Examples
    --------
    >>> mlp = PointwiseMLP(2, 8, 3, generator=torch.Generator())
    >>> mlp(torch.zeros(1, 2, 4)).shape
    torch.Size([1, 3, 4])
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, out_channels: int, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.inner = PointwiseLinear(in_channels, hidden_channels, generator=generator)
        self.outer = PointwiseLinear(hidden_channels, out_channels, generator=generator)

    def forward(
        self, x: Float[Tensor, "batch in_channel *space"], shift: Float[Tensor, "batch hidden_channel"] | None = None
    ) -> Float[Tensor, "batch out_channel *space"]:
        """Apply the perceptron; `shift` (batch, hidden_channel) is added to the bias of the hidden layer per sample."""
        bias = self.inner.bias if shift is None else self.inner.bias + shift
        return pointwise_mlp(x, self.inner.weight, bias, self.outer.weight, self.outer.bias)
