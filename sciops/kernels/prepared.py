"""Calls in place of the kernels of a Runge-Kutta step with their arguments checked and bound, for a loop over steps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sciops.errors import InputError, did_you_mean
from sciops.kernels.runge_kutta import (
    _interpolate_step_inplace,
    _stage_combination_inplace,
    dense_arguments,
    interpolate_step_,
    stage_arguments,
    stage_combination_,
)
from sciops.kernels.step_size import _step_control_inplace, control_arguments, step_control_


def prepare(function: Callable[..., None], *args: Any, **options: Any) -> Callable[..., None]:
    """Check and bind the arguments of an in-place function of a step once, for a loop that repeats the call.

    At a few hundred numbers a call costs more than its arithmetic: a prepared one runs the chosen path without
    going through torch's dispatcher. The tensors must stay what and where they are; only their entries may change.

    Parameters
    ----------
    function
        :func:`~sciops.kernels.runge_kutta.stage_combination_`, :func:`~sciops.kernels.runge_kutta.interpolate_step_` or
        :func:`~sciops.kernels.step_size.step_control_`.
    args, options
        Its arguments.

    Returns
    -------
    Callable
        Repeats the call; that of `stage_combination_` takes a new slope, if any, as its argument.

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
        kernel, bound = _stage_combination_inplace, stage_arguments(*args, **options)
    elif function is step_control_:
        kernel, bound = _step_control_inplace, control_arguments(*args, **{**options, "written": True})
    elif function is interpolate_step_:
        kernel, bound = _interpolate_step_inplace, dense_arguments(*args, **options)
    else:
        name = getattr(function, "__name__", repr(function))
        known = ["stage_combination_", "step_control_", "interpolate_step_"]
        raise InputError(f"prepare takes an in-place function of a step, not {name}{did_you_mean(name, known)}")
    if torch.compiler.is_compiling():
        return functools.partial(kernel, *bound)
    path, _ = kernel.choose(*bound)
    bound = tuple(a.detach() if isinstance(a, Tensor) else a for a in bound)  # no derivative is recorded
    if path == "cpu":
        from sciops.kernels.cpu import runge_kutta, step_size

        module = step_size if function is step_control_ else runge_kutta
        bind: Callable[..., None] = getattr(module, f"bind_{kernel.name.rstrip('_')}")(*bound)
        return bind
    if path == "reference":
        # a slope that requires a gradient must not give K a history
        return torch.no_grad()(functools.partial(kernel.reference, *bound))
    return functools.partial(kernel.paths[path].load(), *bound)
