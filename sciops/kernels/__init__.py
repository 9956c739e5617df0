"""Tensor functions that everything else stands on: torch and numpy only, no classes of the field, no files."""

from __future__ import annotations

from sciops.kernels.fourier import FourierAxis, analysis_matrix, synthesis_matrix
from sciops.kernels.pointwise import perceptron
from sciops.kernels.spectral import fourier_resample, spectral_convolution, spectral_derivative
from sciops.kernels.transform import fourier_coefficients, fourier_synthesis

__all__ = [
    "FourierAxis",
    "analysis_matrix",
    "fourier_coefficients",
    "fourier_resample",
    "fourier_synthesis",
    "perceptron",
    "spectral_convolution",
    "spectral_derivative",
    "synthesis_matrix",
]
