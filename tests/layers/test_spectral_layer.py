"""The Fourier layer: scale of the initial weights, resolution, dtype."""

from __future__ import annotations

import math

import pytest
import torch

from sciops.kernels import FourierAxis
from sciops.layers import SpectralConv


@pytest.mark.parametrize("modes", [(4,), (16,), (3, 5), (2, 2, 2)])
def test_initial_weights_keep_the_variance_for_any_number_of_modes(modes):
    generator = torch.Generator().manual_seed(0)
    layer = SpectralConv(64, 64, modes, gain=2.0, generator=generator)
    assert abs(layer.weight.square().mean().item() * 2 * 64 / 4 - 1) < 0.05
    # a field that lives in the kept frequencies, none of them in the plane k_d = 0 whose imaginary part is not seen
    s = torch.arange(2 * modes[-1] + 2) / (2 * modes[-1] + 2)
    x = math.sqrt(2) * torch.cos(2 * math.pi * (modes[-1] * s + torch.rand(64, 1, generator=generator)))
    x = x.view(1, 64, *(1,) * (len(modes) - 1), -1).expand(1, 64, *(2 * m + 2 for m in modes))
    y = layer(x)
    assert 0.7 * 4 < y.square().mean() / x.square().mean() < 1.4 * 4


@pytest.mark.parametrize("sizes", [(32, 24), (8, 9), (17, 31)])
def test_another_resolution_of_the_result(sizes):
    layer = SpectralConv(1, 2, [3, 3], generator=torch.Generator().manual_seed(0)).double()
    x = torch.randn(1, 1, 16, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fine = layer(x, (sizes[0] * 4, sizes[1] * 4))
    torch.testing.assert_close(layer(x, sizes), fine[..., ::4, ::4], rtol=0, atol=1e-13)


def test_axes_of_mixed_kinds_and_the_constant():
    layer = SpectralConv(2, 2, [FourierAxis(3, "closed", 0.25), 2], generator=torch.Generator().manual_seed(0))
    x = torch.randn(3, 2, 11, 8, generator=torch.Generator().manual_seed(1))
    bias = torch.randn(3, 2, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(layer(x, bias=bias), layer(x) + bias[..., None, None], rtol=0, atol=1e-5)
