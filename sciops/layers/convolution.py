"""ConvNeXt blocks and changes of resolution on pixels, in one, two or three dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from sciops.layers.padding import pad_axes
from sciops.layers.pointwise import PointwiseLinear, PointwiseMLP

if TYPE_CHECKING:
    from jaxtyping import Float

CONVOLUTIONS: dict[int, Callable[..., Tensor]] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


class ConvNeXtBlock(nn.Module):
    r"""Residual block: a wide convolution of each channel, then a perceptron of the channels.

    .. math:: x + \gamma \odot M\big((1 + \alpha(p)) \odot \mathrm{LN}(k * x) + \beta(p)\big)

    with k of 7 pixels per axis, LN over the channels at each point, M with four times as many hidden channels, and
    :math:`\alpha, \beta` linear in the scalar parameters p.

    Parameters
    ----------
    channels
        Number of channels.
    kinds
        Kind of each axis; a periodic axis is continued around its period, any other by zeros.
    parameters
        Number of scalar parameters.
    generator
        Source of the initial weights.

    References
    ----------
    Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s, 2022.

    Examples
    --------
    >>> block = ConvNeXtBlock(4, ["periodic", "closed"], generator=torch.Generator())
    >>> block(torch.zeros(2, 4, 5, 9)).shape
    torch.Size([2, 4, 5, 9])
    """

    kernel = 7

    def __init__(self, channels: int, kinds: Sequence[str], *, parameters: int = 0, generator: torch.Generator) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        drawn = torch.randn(channels, 1, *(self.kernel,) * len(kinds), generator=generator)
        self.weight = nn.Parameter(drawn / math.sqrt(self.kernel ** len(kinds)))
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.film = PointwiseLinear(parameters, 2 * channels, gain=0.1, generator=generator) if parameters else None
        self.mlp = PointwiseMLP(channels, 4 * channels, channels, generator=generator)
        self.scale = nn.Parameter(torch.full((channels,), 0.1))

    def forward(
        self, x: Float[Tensor, "batch channel *space"], parameters: Float[Tensor, "batch parameter"] | None = None
    ) -> Float[Tensor, "batch channel *space"]:
        """Apply the block."""
        reach = self.kernel // 2
        padded = pad_axes(x, [(reach, reach)] * len(self.kinds), self.kinds)
        h = CONVOLUTIONS[len(self.kinds)](padded, self.weight, groups=x.shape[1])
        h = self.norm(h.movedim(1, -1))
        if self.film is not None and parameters is not None:
            alpha, beta = self.film(parameters).view(-1, *(1,) * len(self.kinds), 2 * x.shape[1]).chunk(2, -1)
            h = (1 + alpha) * h + beta
        change: Tensor = self.mlp(h) * self.scale
        return x + change.movedim(-1, 1)


class Halve(nn.Module):
    """Normalise the channels, then half the pixels per axis by a convolution of 2 pixels per axis and stride 2.

    Every axis is continued by one pixel first, which an even axis does not use: N pixels become ceil(N / 2).

    Parameters
    ----------
    in_channels, out_channels
        Number of channels in and out.
    kinds
        Kind of each axis.
    generator
        Source of the initial weights.

    Examples
    --------
    >>> Halve(2, 4, ["closed"], generator=torch.Generator())(torch.zeros(1, 2, 7)).shape
    torch.Size([1, 4, 4])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kinds: Sequence[str], *, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        self.norm = nn.LayerNorm(in_channels, eps=1e-6)
        drawn = torch.randn(out_channels, in_channels, *(2,) * len(kinds), generator=generator)
        self.weight = nn.Parameter(drawn / math.sqrt(in_channels * 2 ** len(kinds)))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Float[Tensor, "batch in_channel *space"]) -> Float[Tensor, "batch out_channel *coarse"]:
        """Apply the layer."""
        x = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        x = pad_axes(x, [(0, 1)] * len(self.kinds), self.kinds)
        return CONVOLUTIONS[len(self.kinds)](x, self.weight, self.bias, stride=2)


class Double(nn.Module):
    """Normalise the channels, then double the pixels per axis by a transposed convolution of 2 pixels, cut to a size.

    Parameters
    ----------
    in_channels, out_channels
        Number of channels in and out.
    ndim
        Number of axes.
    generator
        Source of the initial weights.

    Examples
    --------
    >>> Double(4, 2, 1, generator=torch.Generator())(torch.zeros(1, 4, 4), (7,)).shape
    torch.Size([1, 2, 7])
    """

    def __init__(self, in_channels: int, out_channels: int, ndim: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_channels, eps=1e-6)
        drawn = torch.randn(in_channels, out_channels, *(2,) * ndim, generator=generator)
        self.weight = nn.Parameter(drawn / math.sqrt(in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(
        self, x: Float[Tensor, "batch in_channel *coarse"], sizes: Sequence[int]
    ) -> Float[Tensor, "batch out_channel *space"]:
        """Apply the layer; `sizes` are the pixels of the result."""
        x = self.norm(x.movedim(1, -1)).movedim(-1, 1)
        x = TRANSPOSED[len(sizes)](x, self.weight, self.bias, stride=2)
        for dim, size in enumerate(sizes, start=2):
            x = x.narrow(dim, 0, size)
        return x
