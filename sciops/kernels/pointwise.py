"""Channel mixing at every point as matrix products on (batch, channel, point)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import gelu

if TYPE_CHECKING:
    pass


def pointwise_linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    flat = x.flatten(2)
    matrices = weight.expand(x.shape[0], *weight.shape)
    if bias is None:
        y = torch.bmm(matrices, flat)
    else:
        y = torch.baddbmm(bias[..., None], matrices, flat)
    return y.unflatten(-1, x.shape[2:])


def pointwise_mlp(x: Tensor, inner: Tensor, inner_bias: Tensor, outer: Tensor, outer_bias: Tensor) -> Tensor:
    return pointwise_linear(gelu(pointwise_linear(x, inner, inner_bias)), outer, outer_bias)
