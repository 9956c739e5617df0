"""Random functions on every domain: Gaussian fields, phases, inclusions, Voronoi cells, wavelets, mixtures."""

from sciops.data.random.base import RandomFunction
from sciops.data.random.covariance import Covariance, Exponential, Matern, PowerLaw, Spectral, SquaredExponential
from sciops.data.random.gaussian import GaussianRandomField
from sciops.data.random.methods import Cholesky, Circulant, FourierFeatures, Method
from sciops.data.random.series import Series
from sciops.data.random.shapes import LevelSet, Mixture, PiecewiseConstant, Voronoi
from sciops.data.random.wavelets import WaveletField

__all__ = [
    "Cholesky",
    "Circulant",
    "Covariance",
    "Exponential",
    "FourierFeatures",
    "GaussianRandomField",
    "LevelSet",
    "Matern",
    "Method",
    "Mixture",
    "PiecewiseConstant",
    "PowerLaw",
    "RandomFunction",
    "Series",
    "Spectral",
    "SquaredExponential",
    "Voronoi",
    "WaveletField",
]
