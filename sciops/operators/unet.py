"""A U-Net of ConvNeXt blocks: the strong pixel model that stands beside the operators."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from sciops.data.domains.domain import Grid
from sciops.errors import InputError
from sciops.layers.convolution import ConvNeXtBlock, Double, Halve
from sciops.layers.pointwise import PointwiseLinear
from sciops.operators.base import NeuralOperator, registry

if TYPE_CHECKING:
    from collections.abc import Sequence


@registry.register("unet")
class ConvNeXtUNet(NeuralOperator):
    r"""Encoder and decoder of ConvNeXt blocks with skips: a model of fixed resolution.

    Its kernels are pixels, so it does not converge as the grid is refined: train and use it on one resolution. Level l
    has :math:`2^l` times the channels and half the pixels per axis of the level before (odd sizes are rounded up).
    Periodic axes are continued around their period, others by zeros.

    Parameters
    ----------
    in_channels, out_channels
        Number of channels of the input and output functions.
    grid
        The domain: its axis kinds matter, its sizes do not. One, two or three axes.
    width
        Number of channels of the finest level.
    levels
        Number of levels.
    blocks
        ConvNeXt blocks per level, in the encoder and again in the decoder.
    parameters
        Number of scalar parameters; they scale and shift the channels in every block.
    seed
        Seed of the initial weights; the global random state is not touched.

    Raises
    ------
    InputError
        For counts below one, or a grid of more than three axes.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net, 2015. Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: A ConvNet for the 2020s, 2022.
    Ohana et al.: The Well, 2024 (the pair as a baseline for simulation data).

    Examples
    --------
    >>> unet = ConvNeXtUNet(1, 2, grid=Grid.unit(16, 16), width=4, levels=3, blocks=1)
    >>> unet(torch.zeros(3, 1, 16, 16)).shape, unet(torch.zeros(3, 1, 9, 21)).shape
    (torch.Size([3, 2, 16, 16]), torch.Size([3, 2, 9, 21]))
    """

    resolution_free: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        grid: Grid,
        width: int = 32,
        levels: int = 4,
        blocks: int = 2,
        parameters: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.require_counts(
            in_channels=in_channels,
            out_channels=out_channels,
            width=width,
            levels=levels,
            blocks=blocks,
            parameters=parameters,
        )
        grid.require_uniform("ConvNeXtUNet")
        if grid.ndim > 3:
            raise InputError(f"ConvNeXtUNet works on 1 to 3 axes, the grid has {grid.ndim}: {', '.join(grid.names)}")
        self.in_channels, self.out_channels, self.grid, self.width = in_channels, out_channels, grid, width
        self.levels, self.blocks, self.parameter_count, self.seed = levels, blocks, parameters, seed
        self.ndim = grid.ndim

        generator = torch.Generator().manual_seed(seed)
        channels = [width * 2**level for level in range(levels)]

        def stack(count: int) -> nn.ModuleList:
            return nn.ModuleList(
                ConvNeXtBlock(count, grid.kinds, parameters=parameters, generator=generator) for _ in range(blocks)
            )

        self.lifting = PointwiseLinear(in_channels, width, generator=generator)
        self.encoder = nn.ModuleList(stack(count) for count in channels)
        self.down = nn.ModuleList(
            Halve(fine, coarse, grid.kinds, generator=generator) for fine, coarse in pairwise(channels)
        )
        self.up = nn.ModuleList(
            Double(coarse, fine, grid.ndim, generator=generator) for fine, coarse in pairwise(channels)
        )
        self.join = nn.ModuleList(PointwiseLinear(2 * fine, fine, generator=generator) for fine in channels[:-1])
        self.decoder = nn.ModuleList(stack(fine) for fine in channels[:-1])
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.projection = PointwiseLinear(width, out_channels, generator=generator)

    def transform(self, x: Tensor, parameters: Tensor | None) -> Tensor:
        x = _pointwise(self.lifting, x)
        skips = []
        for level, stage in enumerate(self.encoder):
            x = _through(stage, x, parameters)
            if level + 1 < self.levels:
                skips.append(x)
                x = self.down[level](x)
        for level in reversed(range(self.levels - 1)):
            skip = skips[level]
            x = torch.cat([self.up[level](x, skip.shape[2:]), skip], 1)
            x = _through(self.decoder[level], _pointwise(self.join[level], x), parameters)
        return _pointwise(self.projection, _pointwise(self.norm, x))


def _pointwise(layer: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = layer(x.movedim(1, -1))
    return y.movedim(-1, 1)


def _through(blocks: Sequence[nn.Module] | nn.Module, x: Tensor, parameters: Tensor | None) -> Tensor:
    for block in blocks:  # type: ignore[union-attr]
        x = block(x, parameters)
    return x
