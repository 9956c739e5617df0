r"""The vector work of a Runge-Kutta step of many independent samples: stages, errors, dense output.

Each sample of a batch has its own time t, step h and state y, with :math:`y' = f(t, y)`. A method is data, its Butcher
tableau :math:`a_{ij}, b_i, c_i`, and the kernels know nothing of f:

.. math:: Y_i = y + h \sum_{j<i} a_{ij} K_j, \qquad K_i = f(t + c_i h, Y_i), \qquad y_1 = y + h \sum_i b_i K_i.

K holds the slopes themselves, ``(stages, batch, dim)``, not h times them: a rejected step tries again from the same
first slope with another h, an accepted one hands its last slope on (FSAL), and neither must be scaled anew; the
derivative in h is then explicit, too. A weight of exactly 0 leaves its slope unread, so K may be unset there.

One step of a method whose last stage is the next first slope (dopri5, tsit5), written into fixed buffers:

1. for each stage, :func:`stage_combination_` into the buffer of stage values, then ``K[i] = f(t + c_i h, stage)``;
2. :func:`~sciops.kernels.step_size.step_control_`, with the last stage value as the candidate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from sciops.errors import InputError, did_you_mean
from sciops.kernels.dispatch import ALL_FLOATS, Kernel, Path

if TYPE_CHECKING:
    from jaxtyping import Float

Norm = Literal["sample", "batch"]
NORMS = ("sample", "batch")


def stage_combination(
    y: Float[Tensor, "batch dim"],
    K: Float[Tensor, "stages batch dim"],
    h: Float[Tensor, " batch"],
    weights: Sequence[float],
) -> Float[Tensor, "batch dim"]:
    r"""A stage value or the end of a step, :math:`y + h \sum_i w_i K_i`.

    Parameters
    ----------
    y, K, h
        State, slopes and step.
    weights
        w; slopes beyond its length are not read, nor those with weight 0.

    Returns
    -------
    Tensor
        The combination, of the shape of y. Differentiable in y, K and h to any order.

    Raises
    ------
    InputError
        For shapes or dtypes that do not fit each other.

    Examples
    --------
    >>> K = torch.tensor([[[1.0, 2.0]], [[3.0, 4.0]]])
    >>> stage_combination(torch.zeros(1, 2), K, torch.tensor([0.5]), [0.5, 0.5])
    tensor([[1.0000, 1.5000]])
    """
    require_slopes(y, K, h, weights)
    combined: Tensor = _stage_combination(y, K, h, list(weights))
    return combined


def stage_combination_(
    out: Tensor, y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float], slope: Tensor | None = None
) -> None:
    """Write :func:`stage_combination` into `out`; no derivative is recorded.

    A `slope` (batch, dim), fresh from f, is first written into ``K[len(weights) - 1]``, in the same pass.

    Examples
    --------
    >>> out, K = torch.empty(1, 2), torch.empty(3, 1, 2)
    >>> stage_combination_(out, torch.zeros(1, 2), K, torch.tensor([0.5]), [1.0], torch.ones(1, 2))
    >>> out, K[0]
    (tensor([[0.5000, 0.5000]]), tensor([[1., 1.]]))
    """
    _stage_combination_inplace(*stage_arguments(out, y, K, h, weights, slope))


def error_norm(
    K: Float[Tensor, "stages batch dim"],
    h: Float[Tensor, " batch"],
    weights: Sequence[float],
    y0: Float[Tensor, "batch dim"],
    y1: Float[Tensor, "batch dim"],
    rtol: float | Tensor,
    atol: float | Tensor,
    *,
    norm: Norm = "sample",
) -> Float[Tensor, " batch"]:
    r"""The error of a step relative to the tolerance,

    .. math:: \sqrt{\operatorname{mean}_d \left( \frac{h \sum_i w_i K_i}
              {\text{atol} + \text{rtol} \max(|y_0|, |y_1|)} \right)^2}.

    Parameters
    ----------
    K, h
        Slopes and step.
    weights
        w, the difference of the weights of the method and of its embedded one.
    y0, y1
        State before and after the step.
    rtol, atol
        Numbers, or tensors that broadcast to (batch, dim): one for each component, each sample, or both.
    norm
        "sample": the mean is over the components of each sample; "batch": over those of all samples.

    Returns
    -------
    Tensor
        One number for each sample, the same for all with norm="batch". Differentiable in K, h, y0, y1.

    Raises
    ------
    InputError
        For shapes or dtypes that do not fit each other, a tolerance that is NaN or negative, or an unknown norm.

    Examples
    --------
    >>> y = torch.ones(2, 3)
    >>> error_norm(torch.ones(1, 2, 3), torch.tensor([0.01, 0.02]), [1.0], y, y, 1e-2, 0.0)
    tensor([1., 2.])
    """
    require_slopes(y0, K, h, weights)
    require_same(y0, y1, "y1")
    ratios: Tensor = _error_norm(K, h, list(weights), y0, y1, *tolerances(rtol, atol, y0), is_batch(norm))
    return ratios


def interpolate_step(
    y0: Float[Tensor, "batch dim"],
    K: Float[Tensor, "stages batch dim"],
    h: Float[Tensor, " batch"],
    theta: Float[Tensor, "batch m"],
    weights: Sequence[Sequence[float]],
) -> Float[Tensor, "batch m dim"]:
    r"""Dense output at parts theta of a step, :math:`y_0 + h \sum_i \big( \sum_p w_{ip} \theta^p \big) K_i`.

    Parameters
    ----------
    y0, K, h
        State before the step, slopes and step.
    theta
        Where: 0 is the beginning of the step and 1 its end.
    weights
        w, for each slope the coefficients of theta, theta^2, ...; :func:`hermite_weights` makes those of the cubic.

    Returns
    -------
    Tensor
        The states. Differentiable in y0, K, h and theta.

    Raises
    ------
    InputError
        For shapes or dtypes that do not fit each other.

    Examples
    --------
    >>> theta = torch.tensor([[0.5, 1.0]])
    >>> interpolate_step(torch.zeros(1, 1), torch.ones(1, 1, 1), torch.ones(1), theta, [[0.0, 1.0]])
    tensor([[[0.2500],
             [1.0000]]])
    """
    require_slopes(y0, K, h, weights)
    _require_theta(theta, y0)
    states: Tensor = _interpolate_step(y0, K, h, theta, *_polynomials(weights))
    return states


def interpolate_step_(
    out: Tensor, y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[Sequence[float]]
) -> None:
    """Write :func:`interpolate_step` into `out` (batch, m, dim) where 0 < theta <= 1, and leave the rest.

    With theta = (times - t) / taken, of all the times wanted, each step fills what lies in it; where no step was taken
    theta is infinite or NaN, and nothing is written. No derivative is recorded.

    Examples
    --------
    >>> out = torch.zeros(1, 2, 1)
    >>> theta = torch.tensor([[1.0, 1.5]])
    >>> interpolate_step_(out, torch.zeros(1, 1), torch.ones(1, 1, 1), torch.ones(1), theta, [[1.0]])
    >>> out.flatten()
    tensor([1., 0.])
    """
    _interpolate_step_inplace(*dense_arguments(out, y0, K, h, theta, weights))


def hermite_weights(weights: Sequence[float]) -> list[list[float]]:
    """The cubic Hermite polynomial of a step as weights of :func:`interpolate_step`, for a method with FSAL.

    Its values and slopes are those at both ends of the step, so its error is of order 4 in h.

    Parameters
    ----------
    weights
        b, by which the slopes make the end of the step; the last slope is that at the end.

    Raises
    ------
    InputError
        Without weights.

    Examples
    --------
    >>> hermite_weights([1.0, 0.0])
    [[1.0, 1.0, -1.0], [0.0, -1.0, 1.0]]
    """
    if not len(weights):
        raise InputError("there are no weights; one for each slope is expected")
    rows = [[0.0, 3.0 * b, -2.0 * b] for b in weights]
    for row, ends in ((rows[0], (1.0, -2.0, 1.0)), (rows[-1], (0.0, -1.0, 1.0))):
        row[:] = [a + c for a, c in zip(row, ends, strict=True)]
    return rows


def stage_arguments(
    out: Tensor, y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float], slope: Tensor | None = None
) -> tuple[Any, ...]:
    """What the kernel of :func:`stage_combination_` takes, checked."""
    require_slopes(y, K, h, weights)
    require_same(y, out, "out")
    if slope is not None:
        require_same(y, slope, "the slope")
    require_contiguous(out=out, y=y, K=K, h=h)
    return (out, y, K, h, list(weights)) if slope is None else (out, y, K, h, list(weights), slope.contiguous())


def dense_arguments(
    out: Tensor, y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[Sequence[float]]
) -> tuple[Any, ...]:
    """What the kernel of :func:`interpolate_step_` takes, checked."""
    require_slopes(y0, K, h, weights)
    _require_theta(theta, y0)
    if out.shape != (*theta.shape, y0.shape[1]):
        raise InputError(f"out has shape {tuple(out.shape)}, expected {(*theta.shape, y0.shape[1])}")
    require_dtype(y0, out=out)
    require_contiguous(out=out, y0=y0, K=K, h=h, theta=theta)
    return out, y0, K, h, theta, *_polynomials(weights)


def require_slopes(y: Tensor, K: Tensor, h: Tensor, weights: Sequence[Any]) -> None:
    """Raise InputError unless state, slopes, step and weights fit each other."""
    if y.ndim != 2 or K.ndim != 3 or K.shape[1:] != y.shape or h.shape != y.shape[:1]:
        raise InputError(
            f"y, K and h have shapes {tuple(y.shape)}, {tuple(K.shape)} and {tuple(h.shape)}; "
            "(batch, dim), (stages, batch, dim) and (batch,) are expected"
        )
    for name, tensor in (("y", y), ("h", h)):
        if not tensor.is_floating_point():
            raise InputError(f"{name} has dtype {tensor.dtype}; a real floating-point tensor is expected: convert it")
    require_dtype(y, K=K)
    if not 0 < len(weights) <= K.shape[0]:
        raise InputError(f"there are {len(weights)} weights for {K.shape[0]} slopes")


def require_dtype(like: Tensor, **tensors: Tensor) -> None:
    """Raise InputError unless all have the dtype of `like`."""
    for name, tensor in tensors.items():
        if tensor.dtype != like.dtype:
            raise InputError(f"{name} has dtype {tensor.dtype}, expected {like.dtype}; convert it")


def require_same(like: Tensor, other: Tensor, name: str) -> None:
    """Raise InputError unless both have one shape and one dtype."""
    if other.shape != like.shape or other.dtype != like.dtype:
        raise InputError(
            f"{name} has shape {tuple(other.shape)} and {other.dtype}, expected {tuple(like.shape)}, {like.dtype}"
        )


def _require_theta(theta: Tensor, y0: Tensor) -> None:
    if theta.ndim != 2 or len(theta) != len(y0):
        raise InputError(f"theta has shape {tuple(theta.shape)}, expected (batch, m) with a batch of {len(y0)}")
    if not theta.is_floating_point():
        raise InputError(f"theta has dtype {theta.dtype}; a real floating-point tensor is expected: convert it")


def require_contiguous(**tensors: Tensor) -> None:
    """Raise InputError unless all are contiguous."""
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise InputError(f"{name} has strides {tensor.stride()}; a call in place needs contiguous tensors")


def tolerances(rtol: float | Tensor, atol: float | Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Both with the same two dimensions, each 1 or that of y."""
    pair = []
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not isinstance(value, Tensor) and not value >= 0:
            raise InputError(f"{name} is {value}; a number of at least 0 is expected")
        tensor = value if isinstance(value, Tensor) else y.new_full((), value)
        if tensor.ndim > 2 or any(n not in (1, m) for n, m in zip(tensor.shape[::-1], y.shape[::-1], strict=False)):
            raise InputError(f"{name} has shape {tuple(tensor.shape)}, which does not broadcast to {tuple(y.shape)}")
        pair.append(tensor.to(y.dtype).view((1,) * (2 - tensor.ndim) + tensor.shape))
    shape = [max(n, m) for n, m in zip(pair[0].shape, pair[1].shape, strict=True)]
    return pair[0].expand(shape).contiguous(), pair[1].expand(shape).contiguous()


def is_batch(norm: str) -> bool:
    """Whether all samples share one error; InputError for an unknown norm."""
    if norm not in NORMS:
        raise InputError(f"unknown norm {norm!r}{did_you_mean(norm, NORMS)}")
    return norm == "batch"


def _polynomials(weights: Sequence[Sequence[float]]) -> tuple[list[float], int]:
    degrees = {len(row) for row in weights}
    if len(degrees) != 1 or 0 in degrees:
        raise InputError(f"rows of weights have lengths {sorted(degrees)}; one length above 0 is expected")
    return [w for row in weights for w in row], degrees.pop()


def _combination(K: Tensor, weights: Sequence[float]) -> Tensor:
    total = torch.zeros_like(K[0])
    for i, w in enumerate(weights):
        if w:
            total = total.add(K[i], alpha=w)
    return total


def _stage_combination_reference(y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float]) -> Tensor:
    return y + h.to(y.dtype)[:, None] * _combination(K, weights)


def _stage_gradients_reference(g: Tensor, K: Tensor, h: Tensor, weights: Sequence[float]) -> tuple[Tensor, Tensor]:
    scaled = h.to(g.dtype)[:, None] * g
    rows = [w * scaled for w in weights] + [torch.zeros_like(g)] * (K.shape[0] - len(weights))
    return torch.stack(rows), (g * _combination(K, weights)).sum(1).to(h.dtype)


def _stage_combination_inplace_reference(
    out: Tensor, y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float], slope: Tensor | None = None
) -> None:
    if slope is not None:
        K[len(weights) - 1].copy_(slope)
    out.copy_(_stage_combination_reference(y, K, h, weights))


def _error_norm_reference(
    K: Tensor, h: Tensor, weights: Sequence[float], y0: Tensor, y1: Tensor, rtol: Tensor, atol: Tensor, batch: bool
) -> Tensor:
    scale = atol + rtol * torch.maximum(y0.abs(), y1.abs())
    ratio: Tensor = torch.linalg.vector_norm(h.to(y0.dtype)[:, None] * _combination(K, weights) / scale, dim=1)
    if batch:
        ratio = (torch.linalg.vector_norm(ratio) / math.sqrt(ratio.shape[0])).expand(ratio.shape)
    return ratio / math.sqrt(y0.shape[1])


def _interpolate_step_reference(
    y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[float], degree: int
) -> Tensor:
    total = y0.new_zeros(*theta.shape, y0.shape[1])
    for i in range(len(weights) // degree):
        row = weights[i * degree : (i + 1) * degree]
        if any(row):
            polynomial = torch.zeros_like(theta)
            for w in reversed(row):
                polynomial = (polynomial + w) * theta
            total = total + polynomial[:, :, None].to(K.dtype) * K[i][:, None]
    return y0[:, None] + h.to(y0.dtype)[:, None, None] * total


def _interpolate_step_inplace_reference(
    out: Tensor, y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[float], degree: int
) -> None:
    inside = ((theta > 0) & (theta <= 1))[:, :, None]
    states = _interpolate_step_reference(y0, K, h, theta, weights, degree)
    out.copy_(states.where(inside, out))


def _save_stage(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, K, h, ctx.weights = inputs
    ctx.save_for_backward(K, h)


def _stage_backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    K, h = ctx.saved_tensors
    slopes, step = _stage_gradients(g, K, h, ctx.weights) if any(ctx.needs_input_grad[1:3]) else (None, None)
    return g, slopes, step, None


_stage_combination = Kernel(
    "stage_combination",
    "(Tensor y, Tensor K, Tensor h, float[] weights) -> Tensor",
    _stage_combination_reference,
    cpu=Path("cpu.runge_kutta:stage_combination", "one pass over the slopes", needs="numba"),
    triton=Path("cuda.runge_kutta:stage_combination", "one launch and one pass", needs="triton", dtypes=ALL_FLOATS),
    setup=_save_stage,
    backward=_stage_backward,
    mixed=True,
)
_stage_gradients = Kernel(
    "stage_gradients",
    "(Tensor g, Tensor K, Tensor h, float[] weights) -> (Tensor, Tensor)",
    _stage_gradients_reference,
    cpu=Path("cpu.runge_kutta:stage_gradients", "one pass over the slopes", needs="numba"),
    triton=Path("cuda.runge_kutta:stage_gradients", "one launch and one pass", needs="triton", dtypes=ALL_FLOATS),
    mixed=True,
)
_stage_combination_inplace = Kernel(
    "stage_combination_",
    "(Tensor(a!) out, Tensor y, Tensor(b!) K, Tensor h, float[] weights, Tensor? slope=None) -> ()",
    _stage_combination_inplace_reference,
    cpu=Path("cpu.runge_kutta:stage_combination_", "one pass over the slopes", needs="numba"),
    triton=Path("cuda.runge_kutta:stage_combination_", "one launch and one pass", needs="triton", dtypes=ALL_FLOATS),
    mixed=True,
)
_error_norm = Kernel(
    "error_norm",
    "(Tensor K, Tensor h, float[] weights, Tensor y0, Tensor y1, Tensor rtol, Tensor atol, bool batch) -> Tensor",
    _error_norm_reference,
    cpu=Path("cpu.runge_kutta:error_norm", "error, scale and norm in one pass", needs="numba"),
    triton=Path("cuda.runge_kutta:error_norm", "error, scale and norm in one pass", needs="triton", dtypes=ALL_FLOATS),
    mixed=True,
)
_interpolate_step = Kernel(
    "interpolate_step",
    "(Tensor y0, Tensor K, Tensor h, Tensor theta, float[] weights, int degree) -> Tensor",
    _interpolate_step_reference,
    cpu=Path("cpu.runge_kutta:interpolate_step", "one pass for all times", needs="numba"),
    triton=Path("cuda.runge_kutta:interpolate_step", "one launch for all times", needs="triton", dtypes=ALL_FLOATS),
    mixed=True,
)
_interpolate_step_inplace = Kernel(
    "interpolate_step_",
    "(Tensor(a!) out, Tensor y0, Tensor K, Tensor h, Tensor theta, float[] weights, int degree) -> ()",
    _interpolate_step_inplace_reference,
    cpu=Path("cpu.runge_kutta:interpolate_step_", "writes only the times in the step", needs="numba"),
    triton=Path("cuda.runge_kutta:interpolate_step_", "one launch for all times", needs="triton", dtypes=ALL_FLOATS),
    mixed=True,
)
