"""Normalisation by moments over the domain."""

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

    def forward(
        self, x: Float[Tensor, "batch channel *space"], *, dims: Sequence[int] | None = None, channel: int = 1
    ) -> Float[Tensor, "batch channel *space"]:
        """Normalise x (batch, channel, *space), or any order of the dimensions that `dims` and `channel` tell."""
        where = tuple(range(2, x.ndim)) if dims is None else tuple(dims)
        measure = torch.ones((), dtype=torch.float64, device=x.device)
        for dim, kind in zip(where, self.kinds, strict=True):
            shape = [1] * x.ndim
            shape[dim] = -1
            measure = measure * unit_weights(x.shape[dim], kind, x.device).view(shape)
        measure = measure.to(x.dtype)
        centred = x - (x * measure).sum(where, keepdim=True)
        variance = (centred.square() * measure).sum(where, keepdim=True)
        shape = [1] * x.ndim
        shape[channel] = -1
        return centred * (variance + self.eps).rsqrt() * self.weight.view(shape) + self.bias.view(shape)
