"""Tensor functions that everything else stands on: torch and numpy only, no classes of the field, no files.

Each is one operator with a plain reference and quick implementations for processors and CUDA; `info` tells which runs
here and why, `use` and the environment variable SCIOPS_KERNELS force one (:mod:`sciops.kernels.dispatch`).
"""

from __future__ import annotations

from sciops.kernels.bicgstab import (
    bicgstab_direction,
    bicgstab_direction_,
    bicgstab_half,
    bicgstab_half_,
    bicgstab_update,
    bicgstab_update_,
)
from sciops.kernels.blackbox import blackbox_prolong, blackbox_restrict, blackbox_weights, galerkin
from sciops.kernels.dense import (
    Factors,
    dense_factor,
    dense_factor_solve,
    dense_inverse,
    dense_slogdet,
    dense_solve,
    spd_solve,
)
from sciops.kernels.diffusion import diffusion_operator
from sciops.kernels.dispatch import info, read_environment, use
from sciops.kernels.fourier import FourierAxis, analysis_matrix, synthesis_matrix
from sciops.kernels.gmres import arnoldi, arnoldi_, gmres_rotate, gmres_rotate_
from sciops.kernels.krylov import cg_direction, cg_direction_, cg_update, cg_update_, conjugate, conjugate_, dot
from sciops.kernels.lines import line_factors, line_solve, line_solve_, line_weights
from sciops.kernels.minres import minres_lanczos, minres_lanczos_, minres_start, minres_update, minres_update_
from sciops.kernels.mixing import mix
from sciops.kernels.periodic import dealiased_product, fourier_resample, spectral_derivative
from sciops.kernels.pointwise import perceptron
from sciops.kernels.prepared import prepare
from sciops.kernels.products import linear
from sciops.kernels.runge_kutta import (
    error_norm,
    hermite_weights,
    interpolate_step,
    interpolate_step_,
    stage_combination,
    stage_combination_,
)
from sciops.kernels.scan import affine_scan
from sciops.kernels.smoothing import l1_scale, smooth, smooth_, smooth_residual, smooth_residual_
from sciops.kernels.spectral import spectral_convolution
from sciops.kernels.stencil import (
    diffusion_apply,
    diffusion_apply_dot,
    diffusion_apply_dot_,
    diffusion_residual,
    stencil_adjoint,
    stencil_apply,
)
from sciops.kernels.step_size import StepController, StepState, step_control, step_control_
from sciops.kernels.sweeps import Sweeps, chebyshev, gauss_seidel, jacobi
from sciops.kernels.systems import Status
from sciops.kernels.transfer import (
    coarse_shape,
    coarsen,
    interpolation_weights,
    linear_weights,
    prolong,
    prolong_add,
    restrict,
)
from sciops.kernels.transform import fourier_coefficients, fourier_synthesis
from sciops.kernels.trigonometric import cosine_transform, sine_transform
from sciops.kernels.weights import (
    CP,
    Separable,
    TensorTrain,
    Tucker,
    cp_rank,
    shape_of,
    tensor_train_ranks,
    to_dense,
    tucker_ranks,
)

__all__ = [
    "CP",
    "Factors",
    "FourierAxis",
    "Separable",
    "Status",
    "StepController",
    "StepState",
    "Sweeps",
    "TensorTrain",
    "Tucker",
    "affine_scan",
    "analysis_matrix",
    "arnoldi",
    "arnoldi_",
    "bicgstab_direction",
    "bicgstab_direction_",
    "bicgstab_half",
    "bicgstab_half_",
    "bicgstab_update",
    "bicgstab_update_",
    "blackbox_prolong",
    "blackbox_restrict",
    "blackbox_weights",
    "cg_direction",
    "cg_direction_",
    "cg_update",
    "cg_update_",
    "chebyshev",
    "coarse_shape",
    "coarsen",
    "conjugate",
    "conjugate_",
    "cosine_transform",
    "cp_rank",
    "dealiased_product",
    "dense_factor",
    "dense_factor_solve",
    "dense_inverse",
    "dense_slogdet",
    "dense_solve",
    "diffusion_apply",
    "diffusion_apply_dot",
    "diffusion_apply_dot_",
    "diffusion_operator",
    "diffusion_residual",
    "dot",
    "error_norm",
    "fourier_coefficients",
    "fourier_resample",
    "fourier_synthesis",
    "galerkin",
    "gauss_seidel",
    "gmres_rotate",
    "gmres_rotate_",
    "hermite_weights",
    "info",
    "interpolate_step",
    "interpolate_step_",
    "interpolation_weights",
    "jacobi",
    "l1_scale",
    "line_factors",
    "line_solve",
    "line_solve_",
    "line_weights",
    "linear",
    "linear_weights",
    "minres_lanczos",
    "minres_lanczos_",
    "minres_start",
    "minres_update",
    "minres_update_",
    "mix",
    "perceptron",
    "prepare",
    "prolong",
    "prolong_add",
    "restrict",
    "shape_of",
    "sine_transform",
    "smooth",
    "smooth_",
    "smooth_residual",
    "smooth_residual_",
    "spd_solve",
    "spectral_convolution",
    "spectral_derivative",
    "stage_combination",
    "stage_combination_",
    "stencil_adjoint",
    "stencil_apply",
    "step_control",
    "step_control_",
    "synthesis_matrix",
    "tensor_train_ranks",
    "to_dense",
    "tucker_ranks",
    "use",
]

read_environment()
