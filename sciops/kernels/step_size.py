"""Adaptive step sizes for many independent samples: what becomes of a step, and what the next one is.

The step and its error are those of :mod:`sciops.kernels.runge_kutta`. A step of each sample is accepted or tried again
with another size, until the sample arrives at its end or is given up: :class:`StepState` holds where it stands,
:class:`StepController` how its error becomes the next size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import ALL_FLOATS, Kernel, Path, vector_jacobian
from sciops.kernels.runge_kutta import (
    Norm,
    _error_norm_reference,
    is_batch,
    require_contiguous,
    require_dtype,
    require_same,
    require_slopes,
    tolerances,
)

if TYPE_CHECKING:
    from jaxtyping import Float

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

    A sample whose error (:func:`~sciops.kernels.runge_kutta.error_norm`) is at most 1 goes to `y1` and t + h; any other
    stays and tries again with a smaller step. The next step is cut where it would pass `end`. A sample that arrives
    there is finished; one whose next step is lost in the rounding of t has the status STEP_UNDERFLOW, or NOT_FINITE
    when its error is infinite or NaN. Samples that are not active stay as they are, with h = 0 so that their stages
    stay put; `taken` is 0.

    Parameters
    ----------
    state
        As it was before the step.
    K, y1
        Slopes and the end of the step; the last slope is that at y1 (FSAL).
    end
        Where each sample ends, on either side of t.
    rtol, atol, norm
        As in :func:`~sciops.kernels.runge_kutta.error_norm`; with norm="batch" the samples that are active share one
        error.
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
    args = control_arguments(state, K, y1, end, rtol, atol, weights, controller, norm)
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
    _step_control_inplace(*control_arguments(state, K, y1, end, rtol, atol, weights, controller, norm, written=True))


def control_arguments(
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
    """What the kernels of :func:`step_control` take, checked; `written` also wants tensors that can be written."""
    t, y, h, ratios, status, taken = state
    require_slopes(y, K, h, weights)
    require_same(y, y1, "y1")
    require_same(h, t, "t")
    require_same(h, taken, "taken")
    require_same(h, end, "end")
    if ratios.shape != (len(h), 2):
        raise InputError(f"ratios has shape {tuple(ratios.shape)}, expected {(len(h), 2)}")
    require_dtype(h, ratios=ratios)
    if status.shape != h.shape or status.dtype != torch.int64:
        raise InputError(f"status has shape {tuple(status.shape)} and {status.dtype}, expected {tuple(h.shape)}, int64")
    if written:
        require_contiguous(t=t, y=y, h=h, ratios=ratios, status=status, taken=taken, K=K, y1=y1, end=end)
    pair = tolerances(rtol, atol, y)
    return t, y, h, ratios, status, taken, K, y1, end, *pair, list(weights), controller.numbers, is_batch(norm)


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


_CONTROL = "Tensor y1, Tensor end, Tensor rtol, Tensor atol, float[] weights, float[] controller, bool batch"
_step_control = Kernel(
    "step_control",
    f"(Tensor t, Tensor y, Tensor h, Tensor ratios, Tensor status, Tensor K, {_CONTROL}) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _step_control_reference,
    cpu=Path("cpu.step_size:step_control", "thirty operations in one pass", needs="numba"),
    triton=Path("cuda.step_size:step_control", "thirty operations in one launch", needs="triton", dtypes=ALL_FLOATS),
    setup=_save_control,
    backward=_control_backward,
    mixed=True,
)
_step_control_inplace = Kernel(
    "step_control_",
    "(Tensor(a!) t, Tensor(b!) y, Tensor(c!) h, Tensor(d!) ratios, Tensor(e!) status, Tensor(f!) taken, "
    f"Tensor(g!) K, {_CONTROL}) -> ()",
    _step_control_inplace_reference,
    cpu=Path("cpu.step_size:step_control_", "thirty operations in one pass", needs="numba"),
    triton=Path("cuda.step_size:step_control_", "thirty operations in one launch", needs="triton", dtypes=ALL_FLOATS),
    mixed=True,
)
