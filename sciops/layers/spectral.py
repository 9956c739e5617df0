"""The Fourier layer: a matrix of its own for every kept frequency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sciops.kernels.fourier import FourierAxis
from sciops.kernels.spectral import spectral_convolution
from sciops.kernels.transform import Method, mode_shape

if TYPE_CHECKING:
    from jaxtyping import Float


class SpectralConv(nn.Module):
    r"""Multiplication of every kept frequency by a complex matrix of its own; see :func:`spectral_convolution`.

    The weight is one real tensor (2 m_1 + 1, ..., m_d + 1, in, 2, out). At the start its entries are independent with
    :math:`E|W|^2 = gain^2 / in`, so that a field whose kept frequencies have variance one gives variance gain squared,
    for any number of modes.

    Parameters
    ----------
    in_channels, out_channels
        Number of channels in and out.
    axes
        One basis per axis of the domain; an int is a periodic axis with that highest frequency.
    gain
        Standard deviation of the result for fields of variance one, at the start.
    method
        "products", "fft", or None for the faster one.
    generator
        Source of the initial weights.

    References
    ----------
    Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar: Fourier neural operator for parametric
    partial differential equations, 2021.

    Examples
    --------
    >>> layer = SpectralConv(2, 3, [4, 4], generator=torch.Generator())
    >>> layer(torch.zeros(1, 2, 16, 16), sizes=(32, 15)).shape
    torch.Size([1, 3, 32, 15])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        axes: Sequence[FourierAxis | int],
        *,
        gain: float = 1.0,
        method: Method | None = None,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.axes = tuple(axis if isinstance(axis, FourierAxis) else FourierAxis(axis) for axis in axes)
        self.method = method
        drawn = torch.randn(*mode_shape(self.axes), in_channels, 2, out_channels, generator=generator)
        self.weight = nn.Parameter(drawn * (gain / math.sqrt(2 * in_channels)))

    def forward(
        self,
        x: Float[Tensor, "batch in_channel *space"],
        sizes: Sequence[int] | None = None,
        *,
        bias: Float[Tensor, "*batch out_channel"] | None = None,
        dims: Sequence[int] | None = None,
        channel: int = 1,
    ) -> Float[Tensor, "batch out_channel *new_space"]:
        """Apply the layer.

        Parameters
        ----------
        x
            (batch, in_channel, *space), or any order of the dimensions that `dims` and `channel` tell.
        sizes
            Grid of the result; that of x when None.
        bias
            Constant added to the result, (out_channel,) or (batch, out_channel).
        dims, channel
            Where the axes and the channels stand in x.
        """
        return spectral_convolution(
            x, self.weight, self.axes, sizes, bias=bias, dims=dims, channel=channel, method=self.method
        )
