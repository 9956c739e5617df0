"""Neural operators: maps from functions to functions, entered by short name in `registry`."""

from __future__ import annotations

from sciops.operators.base import NeuralOperator, registry
from sciops.operators.fno import FNO
from sciops.operators.unet import ConvNeXtUNet

__all__ = ["FNO", "ConvNeXtUNet", "NeuralOperator", "registry"]
