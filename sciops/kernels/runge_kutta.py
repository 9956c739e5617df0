r"""The vector work of a Runge-Kutta step of many independent samples: stages, errors, step sizes, dense output.

Each sample of a batch has its own time t, step h and state y, with :math:`y' = f(t, y)`. A method is data, its Butcher
tableau :math:`a_{ij}, b_i, c_i`, and the kernels know nothing of f:

.. math:: Y_i = y + h \sum_{j<i} a_{ij} K_j, \qquad K_i = f(t + c_i h, Y_i), \qquad y_1 = y + h \sum_i b_i K_i.

K holds the slopes themselves, ``(stages, batch, dim)``, not h times them: a rejected step tries again from the same
first slope with another h, an accepted one hands its last slope on (FSAL), and neither must be scaled anew; the
derivative in h is then explicit, too. A weight of exactly 0 leaves its slope unread, so K may be unset there.

One step of a method whose last stage is the next first slope (dopri5, tsit5), written into fixed buffers:

1. for each stage, :func:`stage_combination_` into the buffer of stage values, then ``K[i] = f(t + c_i h, stage)``;
2. :func:`step_control_`, with the last stage value as the candidate.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from sciops.errors import InputError, did_you_mean
from sciops.kernels.dispatch import ALL_FLOATS, Kernel, Path, vector_jacobian

if TYPE_CHECKING:
    from jaxtyping import Float

Norm = Literal["sample", "batch"]
NORMS = ("sample", "batch")
SMALLEST_RATIO = 1e-10
"""Errors below this part of the tolerance count as this: a step must not grow without bound on exact solutions."""
SMALLEST_STEP = 8.0
"""Steps of this many roundings of the time or less are not taken."""


class SampleStatus(IntEnum):
    """What has become of a sample. All but ACTIVE are final: the sample is left as it is."""

    ACTIVE = 0
    FINISHED = 1
    STEP_UNDERFLOW = 2
    NOT_FINITE = 3


class StepState(NamedTuple):
    """What a step of every sample begins with, and the step before.

    t, h, taken ``(batch,)``: the time, the step to try, and the step just taken (0 where none was).
    y ``(batch, dim)``: the state. ratios ``(batch, 2)``: the errors, relative to the tolerance, of the last accepted
    step and of the one before; 1 to begin with. status ``(batch,)``: whole numbers, see :class:`SampleStatus`.
    """

    t: Tensor
    y: Tensor
    h: Tensor
    ratios: Tensor
    status: Tensor
    taken: Tensor


@dataclass(frozen=True)
class StepController:
    r"""How an error relative to the tolerance, r, becomes the factor from this step size to the next.

    .. math:: \text{factor} = \text{safety}\; r_n^{-(p + i + d)/q}\; r_{n-1}^{(p + 2 d)/q}\; r_{n-2}^{-d/q}

    within [min_factor, max_factor], and at most 1 after a rejected step. An error that is not finite gives min_factor.

    Parameters
    ----------
    order
        q: the error estimate is of size h^q; 5 for dopri5.
    proportional, integral, derivative
        p, i, d; (0, 1, 0) is the classical choice, (0.4, 0.3, 0) a PI controller for oscillating step sizes.
    safety, min_factor, max_factor
        As in the equation.

    Raises
    ------
    InputError
        Unless all are finite, order > 0, safety > 0 and 0 < min_factor < 1 <= max_factor.

    References
    ----------
    G. Söderlind, Digital filters in adaptive time-stepping, 2003.

    Examples
    --------
    >>> StepController(5).exponents
    (0.2, -0.0, 0.0)
    """

    order: float
    proportional: float = 0.0
    integral: float = 1.0
    derivative: float = 0.0
    safety: float = 0.9
    min_factor: float = 0.2
    max_factor: float = 10.0

    def __post_init__(self) -> None:
        finite = all(math.isfinite(value) for value in vars(self).values())
        if not (finite and self.order > 0 and self.safety > 0 and 0 < self.min_factor < 1 <= self.max_factor):
            raise InputError(
                f"{self}: finite numbers with order > 0, safety > 0 and 0 < min_factor < 1 <= max_factor are expected"
            )

    @property
    def exponents(self) -> tuple[float, float, float]:
        """The powers of 1/r for this step and for the two accepted before."""
        p, i, d = self.proportional, self.integral, self.derivative
        return (p + i + d) / self.order, -(p + 2 * d) / self.order, d / self.order

    @property
    def numbers(self) -> list[float]:
        """What the kernels take: the exponents, then safety and the bounds."""
        return [*self.exponents, self.safety, self.min_factor, self.max_factor]


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
    _require_slopes(y, K, h, weights)
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
    _stage_combination_inplace(*_stage_arguments(out, y, K, h, weights, slope))


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
    _require_slopes(y0, K, h, weights)
    _require_same(y0, y1, "y1")
    ratios: Tensor = _error_norm(K, h, list(weights), y0, y1, *_tolerances(rtol, atol, y0), _is_batch(norm))
    return ratios


def step_control(
    state: StepState,
    K: Float[Tensor, "stages batch dim"],
    y1: Float[Tensor, "batch dim"],
    end: Float[Tensor, " batch"],
    rtol: float | Tensor,
    atol: float | Tensor,
    weights: Sequence[float],
    controller: StepController,
    *,
    norm: Norm = "sample",
) -> tuple[StepState, Float[Tensor, "batch dim"]]:
    """Accept or reject the step of every sample, and choose its next: error, norm, controller and update in one.

    A sample whose error (:func:`error_norm`) is at most 1 goes to `y1` and t + h; any other stays and tries again with
    a smaller step. The next step is cut where it would pass `end`. A sample that arrives there is finished; one whose
    next step is lost in the rounding of t has the status STEP_UNDERFLOW, or NOT_FINITE when its error is infinite or
    NaN. Samples that are not active stay as they are, with h = 0 so that their stages stay put; `taken` is 0.

    Parameters
    ----------
    state
        As it was before the step.
    K, y1
        Slopes and the end of the step; the last slope is that at y1 (FSAL).
    end
        Where each sample ends, on either side of t.
    rtol, atol, norm
        As in :func:`error_norm`; with norm="batch" the samples that are active share one error.
    weights
        The error weights.
    controller
        How the error becomes a step size.

    Returns
    -------
    StepState, Tensor
        The state for the next step, and its first slope: the last one where the step was accepted.

    Raises
    ------
    InputError
        For shapes or dtypes that do not fit each other, a tolerance that is NaN or negative, or an unknown norm.

    Examples
    --------
    A step of 0.5 with a small error, and one with a large error:

    >>> zero, y = torch.zeros(2), torch.zeros(2, 1)
    >>> state = StepState(zero, y, torch.full((2,), 0.5), torch.ones(2, 2), torch.zeros(2, dtype=torch.int64), zero)
    >>> K = torch.tensor([[[0.0], [0.0]], [[1.0], [1e3]]])
    >>> state, slope = step_control(state, K, y + 0.5, torch.ones(2), 0.0, 1.0, [0.0, 1.0], StepController(2))
    >>> state.t, state.taken, slope.flatten()
    (tensor([0.5000, 0.0000]), tensor([0.5000, 0.0000]), tensor([1., 0.]))
    """
    args = _control_arguments(state, K, y1, end, rtol, atol, weights, controller, norm)
    *new, slope = _step_control(*args[:5], *args[6:])
    return StepState(*new), slope


def step_control_(
    state: StepState,
    K: Tensor,
    y1: Tensor,
    end: Tensor,
    rtol: float | Tensor,
    atol: float | Tensor,
    weights: Sequence[float],
    controller: StepController,
    *,
    norm: Norm = "sample",
) -> None:
    """:func:`step_control` written into the tensors of `state` and into ``K[0]``; no derivative is recorded.

    Examples
    --------
    >>> zero, y = torch.zeros(1), torch.zeros(1, 1)
    >>> state = StepState(zero, y, torch.ones(1), torch.ones(1, 2), torch.zeros(1, dtype=torch.int64), zero.clone())
    >>> step_control_(state, torch.zeros(2, 1, 1), y + 3, torch.ones(1), 0.0, 1.0, [0.0, 1.0], StepController(2))
    >>> state.y.item(), SampleStatus(state.status.item()).name
    (3.0, 'FINISHED')
    """
    _step_control_inplace(*_control_arguments(state, K, y1, end, rtol, atol, weights, controller, norm, written=True))


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
    _require_slopes(y0, K, h, weights)
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
    _interpolate_step_inplace(*_dense_arguments(out, y0, K, h, theta, weights))


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


def prepare(function: Callable[..., None], *args: Any, **options: Any) -> Callable[..., None]:
    """Check and bind the arguments of an in-place function of this module once, for a loop that repeats the call.

    At a few hundred numbers a call costs more than its arithmetic: a prepared one runs the chosen path without
    going through torch's dispatcher. The tensors must stay what and where they are; only their entries may change.

    Parameters
    ----------
    function
        :func:`stage_combination_`, :func:`step_control_` or :func:`interpolate_step_`.
    args, options
        Its arguments.

    Returns
    -------
    Callable
        Repeats the call; that of :func:`stage_combination_` takes a new slope, if any, as its argument.

    Raises
    ------
    InputError
        For another function, and as the function itself does.

    Examples
    --------
    >>> out, h = torch.empty(1, 1), torch.ones(1)
    >>> combine = prepare(stage_combination_, out, torch.zeros(1, 1), torch.ones(1, 1, 1), h, [1.0])
    >>> h.fill_(3.0)
    tensor([3.])
    >>> combine()
    >>> out.item()
    3.0
    """
    if function is stage_combination_:
        kernel, bound = _stage_combination_inplace, _stage_arguments(*args, **options)
    elif function is step_control_:
        kernel, bound = _step_control_inplace, _control_arguments(*args, **{**options, "written": True})
    elif function is interpolate_step_:
        kernel, bound = _interpolate_step_inplace, _dense_arguments(*args, **options)
    else:
        name = getattr(function, "__name__", repr(function))
        known = ["stage_combination_", "step_control_", "interpolate_step_"]
        raise InputError(f"prepare takes an in-place function of this module, not {name}{did_you_mean(name, known)}")
    if torch.compiler.is_compiling():
        return functools.partial(kernel, *bound)
    path, _ = kernel.choose(*bound)
    bound = tuple(a.detach() if isinstance(a, Tensor) else a for a in bound)  # no derivative is recorded
    if path == "cpu":
        from sciops.kernels.cpu import runge_kutta

        bind: Callable[..., None] = getattr(runge_kutta, f"bind_{kernel.name.rstrip('_')}")(*bound)
        return bind
    if path == "reference":
        # a slope that requires a gradient must not give K a history
        return torch.no_grad()(functools.partial(kernel.reference, *bound))
    return functools.partial(kernel.paths[path].load(), *bound)


def _stage_arguments(
    out: Tensor, y: Tensor, K: Tensor, h: Tensor, weights: Sequence[float], slope: Tensor | None = None
) -> tuple[Any, ...]:
    _require_slopes(y, K, h, weights)
    _require_same(y, out, "out")
    if slope is not None:
        _require_same(y, slope, "the slope")
    _require_contiguous(out=out, y=y, K=K, h=h)
    return (out, y, K, h, list(weights)) if slope is None else (out, y, K, h, list(weights), slope.contiguous())


def _dense_arguments(
    out: Tensor, y0: Tensor, K: Tensor, h: Tensor, theta: Tensor, weights: Sequence[Sequence[float]]
) -> tuple[Any, ...]:
    _require_slopes(y0, K, h, weights)
    _require_theta(theta, y0)
    if out.shape != (*theta.shape, y0.shape[1]):
        raise InputError(f"out has shape {tuple(out.shape)}, expected {(*theta.shape, y0.shape[1])}")
    _require_dtype(y0, out=out)
    _require_contiguous(out=out, y0=y0, K=K, h=h, theta=theta)
    return out, y0, K, h, theta, *_polynomials(weights)


def _control_arguments(
    state: StepState,
    K: Tensor,
    y1: Tensor,
    end: Tensor,
    rtol: float | Tensor,
    atol: float | Tensor,
    weights: Sequence[float],
    controller: StepController,
    norm: Norm = "sample",
    written: bool = False,
) -> tuple[Any, ...]:
    t, y, h, ratios, status, taken = state
    _require_slopes(y, K, h, weights)
    _require_same(y, y1, "y1")
    _require_same(h, t, "t")
    _require_same(h, taken, "taken")
    _require_same(h, end, "end")
    if ratios.shape != (len(h), 2):
        raise InputError(f"ratios has shape {tuple(ratios.shape)}, expected {(len(h), 2)}")
    _require_dtype(h, ratios=ratios)
    if status.shape != h.shape or status.dtype != torch.int64:
        raise InputError(f"status has shape {tuple(status.shape)} and {status.dtype}, expected {tuple(h.shape)}, int64")
    if written:
        _require_contiguous(t=t, y=y, h=h, ratios=ratios, status=status, taken=taken, K=K, y1=y1, end=end)
    tolerances = _tolerances(rtol, atol, y)
    return t, y, h, ratios, status, taken, K, y1, end, *tolerances, list(weights), controller.numbers, _is_batch(norm)


def _require_slopes(y: Tensor, K: Tensor, h: Tensor, weights: Sequence[Any]) -> None:
    if y.ndim != 2 or K.ndim != 3 or K.shape[1:] != y.shape or h.shape != y.shape[:1]:
        raise InputError(
            f"y, K and h have shapes {tuple(y.shape)}, {tuple(K.shape)} and {tuple(h.shape)}; "
            "(batch, dim), (stages, batch, dim) and (batch,) are expected"
        )
    for name, tensor in (("y", y), ("h", h)):
        if not tensor.is_floating_point():
            raise InputError(f"{name} has dtype {tensor.dtype}; a real floating-point tensor is expected: convert it")
    _require_dtype(y, K=K)
    if not 0 < len(weights) <= K.shape[0]:
        raise InputError(f"there are {len(weights)} weights for {K.shape[0]} slopes")


def _require_dtype(like: Tensor, **tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if tensor.dtype != like.dtype:
            raise InputError(f"{name} has dtype {tensor.dtype}, expected {like.dtype}; convert it")


def _require_same(like: Tensor, other: Tensor, name: str) -> None:
    if other.shape != like.shape or other.dtype != like.dtype:
        raise InputError(
            f"{name} has shape {tuple(other.shape)} and {other.dtype}, expected {tuple(like.shape)}, {like.dtype}"
        )


def _require_theta(theta: Tensor, y0: Tensor) -> None:
    if theta.ndim != 2 or len(theta) != len(y0):
        raise InputError(f"theta has shape {tuple(theta.shape)}, expected (batch, m) with a batch of {len(y0)}")
    if not theta.is_floating_point():
        raise InputError(f"theta has dtype {theta.dtype}; a real floating-point tensor is expected: convert it")


def _require_contiguous(**tensors: Tensor) -> None:
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise InputError(f"{name} has strides {tensor.stride()}; a call in place needs contiguous tensors")


def _tolerances(rtol: float | Tensor, atol: float | Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
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


def _is_batch(norm: str) -> bool:
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


def _step_control_reference(
    t: Tensor,
    y: Tensor,
    h: Tensor,
    ratios: Tensor,
    status: Tensor,
    K: Tensor,
    y1: Tensor,
    end: Tensor,
    rtol: Tensor,
    atol: Tensor,
    weights: Sequence[float],
    controller: Sequence[float],
    batch: bool,
) -> tuple[Tensor, ...]:
    active = status == SampleStatus.ACTIVE
    ratio = _error_norm_reference(K, h, weights, y, y1, rtol, atol, batch=False).to(h.dtype)
    if batch:
        count = active.sum().clamp_min(1).to(h.dtype)
        ratio = (torch.linalg.vector_norm(ratio.where(active, 0.0)) / count.sqrt()).expand(ratio.shape)
    accepted, finite = active & (ratio <= 1), ratio.isfinite()
    this, before, earlier, safety, least, most = controller
    ratio = ratio.where(finite, 1.0).clamp_min(SMALLEST_RATIO)
    factor = safety * ratio**-this * ratios[:, 0] ** -before * ratios[:, 1] ** -earlier
    factor = factor.clamp(least, most)
    factor = factor.where(accepted, factor.clamp_max(1.0)).where(finite, least)

    smallest = SMALLEST_STEP * torch.finfo(h.dtype).eps * torch.maximum(t.abs(), end.abs())
    arrived = accepted & ((end - (t + h)).abs() <= smallest)
    new_t = end.where(arrived, (t + h).where(accepted, t))
    left, proposed = end - new_t, (h * factor).abs()
    lost = active & ~arrived & (proposed <= smallest)
    failure = torch.where(finite, int(SampleStatus.STEP_UNDERFLOW), int(SampleStatus.NOT_FINITE))
    new_status = torch.where(lost, failure, status.where(~arrived, int(SampleStatus.FINISHED)))
    step = torch.minimum(proposed, left.abs()) * left.sign()
    return (
        new_t,
        y1.where(accepted[:, None], y),
        step.where(active & ~arrived & ~lost, 0.0),
        torch.stack((ratio, ratios[:, 0]), 1).where(accepted[:, None], ratios),
        new_status,
        h.where(accepted, 0.0),
        K[-1].where(accepted[:, None], K[0]),
    )


def _step_control_inplace_reference(
    t: Tensor, y: Tensor, h: Tensor, ratios: Tensor, status: Tensor, taken: Tensor, K: Tensor, *rest: Any
) -> None:
    new = _step_control_reference(t, y, h, ratios, status, K, *rest)
    for tensor, value in zip((t, y, h, ratios, status, taken, K[0]), new, strict=True):
        tensor.copy_(value)


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


def _save_control(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    ctx.mark_non_differentiable(output[4])
    ctx.numbers = inputs[10:]
    ctx.save_for_backward(*inputs[:10])


def _control_backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    def without_status(*args: Any) -> tuple[Tensor, ...]:
        new = _step_control_reference(*args)
        return *new[:4], *new[5:]

    args = [*ctx.saved_tensors, *ctx.numbers]
    return vector_jacobian(without_status, args, ctx.needs_input_grad, [*gradients[:4], *gradients[5:]])


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
_CONTROL = "Tensor y1, Tensor end, Tensor rtol, Tensor atol, float[] weights, float[] controller, bool batch"
_step_control = Kernel(
    "step_control",
    f"(Tensor t, Tensor y, Tensor h, Tensor ratios, Tensor status, Tensor K, {_CONTROL}) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _step_control_reference,
    cpu=Path("cpu.runge_kutta:step_control", "thirty operations in one pass", needs="numba"),
    triton=Path("cuda.runge_kutta:step_control", "thirty operations in one launch", needs="triton", dtypes=ALL_FLOATS),
    setup=_save_control,
    backward=_control_backward,
    mixed=True,
)
_step_control_inplace = Kernel(
    "step_control_",
    "(Tensor(a!) t, Tensor(b!) y, Tensor(c!) h, Tensor(d!) ratios, Tensor(e!) status, Tensor(f!) taken, "
    f"Tensor(g!) K, {_CONTROL}) -> ()",
    _step_control_inplace_reference,
    cpu=Path("cpu.runge_kutta:step_control_", "thirty operations in one pass", needs="numba"),
    triton=Path("cuda.runge_kutta:step_control_", "thirty operations in one launch", needs="triton", dtypes=ALL_FLOATS),
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
