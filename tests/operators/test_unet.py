"""The ConvNeXt U-Net beyond the conformance suite."""

from __future__ import annotations

import torch

from sciops.data.domains.domain import Grid
from sciops.operators import ConvNeXtUNet


def draw(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_it_is_declared_a_model_of_fixed_resolution():
    assert not ConvNeXtUNet.resolution_free and "fixed resolution" in (ConvNeXtUNet.__doc__ or "")


def test_it_commutes_with_shifts_by_its_coarsest_pixel_along_periodic_axes():
    grid = Grid.unit(16, 16, kind=("periodic", "closed"))
    unet = ConvNeXtUNet(1, 1, grid=grid, width=4, levels=3, blocks=1).double()
    x = draw(2, 1, 16, 16)
    torch.testing.assert_close(unet(x.roll(4, 2)), unet(x).roll(4, 2))
    assert not torch.allclose(unet(x.roll(4, 3)), unet(x).roll(4, 3))


def test_every_level_is_heard():
    unet = ConvNeXtUNet(1, 1, grid=Grid.unit(16), width=4, levels=3, blocks=1).double()
    x = draw(1, 1, 16)
    y = unet(x)
    for level in range(3):
        with torch.no_grad():
            unet.encoder[level][0].scale.mul_(-3)
        assert not torch.allclose(unet(x), y)
        y = unet(x)


def test_parameters_scale_and_shift():
    unet = ConvNeXtUNet(1, 1, grid=Grid.unit(8), width=4, levels=2, blocks=1, parameters=1).double()
    x, p = draw(1, 1, 8), draw(1, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: unet(x, p), p)
