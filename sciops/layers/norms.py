"""Normalisation by moments over the domain, or over the channels at each point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from sciops.kernels.fourier import unit_weights

if TYPE_CHECKING:
    from jaxtyping import Float


class FieldNorm(nn.Module):
    r"""Normalise each channel of each sample by its mean and variance over the domain.

    .. math:: y_c = \gamma_c \frac{x_c - \mu_c}{\sqrt{\sigma_c^2 + \epsilon}} + \beta_c, \qquad
        \mu_c = \int x_c\, ds, \quad \sigma_c^2 = \int (x_c - \mu_c)^2\, ds

    The integrals use the quadrature weights of the axes, so the result converges as the grid is refined.

    Parameters
    ----------
    channels
        Number of channels.
    kinds
        Kind of each axis: "periodic", "closed", "cell" or "left".
    eps
        The regularisation epsilon.

    Examples
    --------
    >>> FieldNorm(1, ["cell"])(torch.tensor([[[1.0, 3.0]]]))
    tensor([[[-1.0000,  1.0000]]], grad_fn=<AddBackward0>)
    """

    def __init__(self, channels: int, kinds: Sequence[str], *, eps: float = 1e-5) -> None:
        super().__init__()
        self.kinds, self.eps = tuple(kinds), eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """Normalise x (batch, channel, *space)."""
        dims = tuple(range(2, x.ndim))
        measure = torch.ones((), dtype=torch.float64, device=x.device)
        for size, kind in zip(x.shape[2:], self.kinds, strict=True):
            measure = measure[..., None] * unit_weights(size, kind, x.device)
        measure = measure.to(x.dtype)
        centred = x - (x * measure).sum(dims, keepdim=True)
        variance = (centred.square() * measure).sum(dims, keepdim=True)
        shape = (-1,) + (1,) * len(dims)
        return centred * (variance + self.eps).rsqrt() * self.weight.view(shape) + self.bias.view(shape)


class ChannelNorm(nn.Module):
    r"""Normalise the channels at each point by their mean and variance there, then scale and shift each channel.

    Parameters
    ----------
    channels
        Number of channels.
    eps
        Added to the variance.

    Examples
    --------
    >>> ChannelNorm(2)(torch.tensor([[[1.0], [3.0]]])).flatten()
    tensor([-1.0000,  1.0000], grad_fn=<ViewBackward0>)
    """

    def __init__(self, channels: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Float[Tensor, "batch channel *space"]) -> Float[Tensor, "batch channel *space"]:
        """Normalise x (batch, channel, *space)."""
        centred = x - x.mean(1, keepdim=True)
        scale = (centred.square().mean(1, keepdim=True) + self.eps).rsqrt()
        shape = (-1,) + (1,) * (x.ndim - 2)
        return centred * scale * self.weight.view(shape) + self.bias.view(shape)
