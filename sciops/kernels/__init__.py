"""Tensor functions that everything else stands on: torch and numpy only, no classes of the field, no files."""

from __future__ import annotations

from sciops.kernels.fourier import FourierAxis, analysis_matrix, synthesis_matrix
from sciops.kernels.spectral import (
    fourier_coefficients,
    fourier_resample,
    fourier_synthesis,
    spectral_convolution,
    spectral_derivative,
)

__all__ = [
    "FourierAxis",
    "analysis_matrix",
    "fourier_coefficients",
    "fourier_resample",
    "fourier_synthesis",
    "spectral_convolution",
    "spectral_derivative",
    "synthesis_matrix",
]
