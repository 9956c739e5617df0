"""Linear maps and perceptrons of the channels, the same at every point."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sciops.kernels.pointwise import perceptron
from sciops.kernels.products import linear

if TYPE_CHECKING:
    from jaxtyping import Float


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
    >>> layer(torch.zeros(4, 5, 2)).shape
    torch.Size([4, 5, 3])
    """

    def __init__(
        self, in_channels: int, out_channels: int, *, bias: bool = True, gain: float = 1.0, generator: torch.Generator
    ) -> None:
        super().__init__()
        drawn = torch.randn(out_channels, in_channels, generator=generator)
        self.weight = nn.Parameter(drawn * (gain / math.sqrt(in_channels)))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None

    def forward(self, x: Float[Tensor, "*point in_channel"]) -> Float[Tensor, "*point out_channel"]:
        """Apply the map to the last dimension of x."""
        return linear(x, self.weight, self.bias)


class PointwiseMLP(nn.Module):
    r"""Perceptron of the channels with one hidden layer at every point.

    .. math:: y = \sigma_2\big(W_2\, \mathrm{GELU}(W_1\, \sigma_1(x + S r) + b_1) + b_2 + g \odot r\big)

    with :math:`\sigma_i` GELU or the identity, and a residual r that enters by a matrix S and a gate g, or none.

    Parameters
    ----------
    in_channels, hidden_channels, out_channels
        Number of channels in, hidden and out.
    residual
        Whether there is a residual, of `out_channels` channels.
    activate_in, activate_out
        Whether :math:`\sigma_1` and :math:`\sigma_2` are GELU.
    generator
        Source of the initial weights.

    Examples
    --------
    >>> mlp = PointwiseMLP(2, 8, 3, generator=torch.Generator())
    >>> mlp(torch.zeros(1, 4, 2)).shape
    torch.Size([1, 4, 3])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        *,
        residual: bool = False,
        activate_in: bool = False,
        activate_out: bool = False,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        drawn = torch.randn(hidden_channels, in_channels, generator=generator)
        self.inner = nn.Parameter(drawn / math.sqrt(in_channels))
        self.inner_bias = nn.Parameter(torch.zeros(hidden_channels))
        drawn = torch.randn(out_channels, hidden_channels, generator=generator)
        self.outer = nn.Parameter(drawn / math.sqrt(hidden_channels))
        self.outer_bias = nn.Parameter(torch.zeros(out_channels))
        self.skip: nn.Parameter | None = None
        self.gate: nn.Parameter | None = None
        if residual:
            drawn = torch.randn(in_channels, out_channels, generator=generator)
            self.skip = nn.Parameter(drawn / math.sqrt(3 * out_channels))
            self.gate = nn.Parameter(torch.ones(out_channels))
        self.activate_in, self.activate_out = activate_in, activate_out

    def forward(
        self, x: Float[Tensor, "*point in_channel"], residual: Float[Tensor, "*point out_channel"] | None = None
    ) -> Float[Tensor, "*point out_channel"]:
        """Apply the perceptron to the last dimension of x; `residual` is needed if and only if there is one."""
        return perceptron(
            x,
            self.inner,
            self.inner_bias,
            self.outer,
            self.outer_bias,
            residual=residual,
            skip=self.skip,
            gate=self.gate,
            activate_in=self.activate_in,
            activate_out=self.activate_out,
        )
