"""Neural network layers that know functions on a domain rather than arrays of pixels."""

from __future__ import annotations

from sciops.layers.convolution import ConvNeXtBlock, Double, Halve
from sciops.layers.embeddings import coordinate_channels, coordinate_count
from sciops.layers.multigrid import LinearVCycle, SPDVCycle
from sciops.layers.norms import FieldNorm
from sciops.layers.padding import pad_axes
from sciops.layers.pointwise import PointwiseLinear, PointwiseMLP
from sciops.layers.spectral import SpectralConv

__all__ = [
    "ConvNeXtBlock",
    "Double",
    "FieldNorm",
    "Halve",
    "LinearVCycle",
    "PointwiseLinear",
    "PointwiseMLP",
    "SPDVCycle",
    "SpectralConv",
    "coordinate_channels",
    "coordinate_count",
    "pad_axes",
]
