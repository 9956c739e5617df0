r"""What the kernels of Krylov methods share: the state of each system, the checks of arguments, the break-downs.

**Conventions.** Many systems advance together: vectors are ``(system, n)`` in float32 or float64, scalars
``(system,)`` in float64 whatever the vectors are, and inner products are summed in float64. Kept vectors come first,
``(kept, system, n)``, so that each is contiguous. ``status`` is an int32 tensor ``(system,)`` of :class:`Status`: a
system moves while it is RUNNING (0) and is frozen from then on, every vector bit for bit. A kernel that finds a
break-down writes its code and does not step; the caller writes CONVERGED. Nothing reads a value on the host.

Each step is there twice: ``step`` returns new tensors and can be differentiated to any order; ``step_`` writes into
its arguments, has no derivative, and is what solver loops use. A vector that is written must be contiguous and may
not be any other argument.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import SINGLE_AND_DOUBLE


class Status(enum.IntEnum):
    """Where a system stands."""

    RUNNING = 0
    CONVERGED = 1
    INDEFINITE_OPERATOR = 2  # <p, A p> <= 0: A is not positive definite
    INDEFINITE_PRECONDITIONER = 3  # <r, M r> <= 0: M is not positive definite
    NOT_FINITE = 4  # a NaN or an infinity in a vector
    BREAKDOWN = 5  # a divisor of the method vanished
    EXHAUSTED = 6  # the Krylov space holds no new direction


def require_vectors(**vectors: Tensor) -> None:
    """Raise InputError unless all are (system, n) of one shape and one dtype, float32 or float64."""
    first, like = next(iter(vectors.items()))
    if like.ndim != 2 or like.dtype not in SINGLE_AND_DOUBLE:
        raise InputError(
            f"{first} has shape {tuple(like.shape)} and dtype {like.dtype}, expected (system, n) in float32 or float64"
        )
    for name, vector in vectors.items():
        if vector.shape != like.shape or vector.dtype != like.dtype:
            raise InputError(
                f"{name} has shape {tuple(vector.shape)} and dtype {vector.dtype}, "
                f"expected {tuple(like.shape)} and {like.dtype} as {first} has"
            )


def require_scalars(like: Tensor, status: Tensor, **scalars: Tensor | None) -> None:
    """Raise InputError unless status is int32, the scalars are floating, and all have one entry for each system."""
    if status.dtype != torch.int32:
        raise InputError(f"status has dtype {status.dtype}, expected int32")
    for name, scalar in (("status", status), *scalars.items()):
        if scalar is not None and scalar.shape != like.shape[:1]:
            raise InputError(
                f"{name} has shape {tuple(scalar.shape)}, expected one entry for each of {len(like)} systems"
            )
    require_floating(**scalars)


def require_floating(**tensors: Tensor | None) -> None:
    """Raise InputError unless all that are there are real floating-point numbers."""
    for name, tensor in tensors.items():
        if tensor is not None and not tensor.is_floating_point():
            raise InputError(f"{name} has dtype {tensor.dtype}, expected float64 (or another float); convert it")


def require_writable(**tensors: Tensor) -> None:
    """Raise InputError unless all are contiguous."""
    for name, tensor in tensors.items():
        if not tensor.is_contiguous():
            raise InputError(f"{name} is written in place and must be contiguous; its strides are {tensor.stride()}")


def require_preconditioned(like: Tensor, z: Tensor) -> None:
    """Raise InputError unless z has the shape of the vectors, and their dtype or float32."""
    if z.shape != like.shape or z.dtype not in (like.dtype, torch.float32):
        raise InputError(
            f"z has shape {tuple(z.shape)} and dtype {z.dtype}, expected {tuple(like.shape)} in {like.dtype} or float32"
        )


def wide(scalar: Any) -> Any:
    """The scalars in float64; None stays None."""
    return None if scalar is None else scalar.to(torch.float64).contiguous()


def inner(x: Tensor, y: Tensor) -> Tensor:
    """Inner products over the last axis in float64, in plain torch."""
    return (x.double() * y.double()).sum(-1)


def judge(status: Tensor, divisor: Tensor, code: Status, *, definite: bool = True) -> Tensor:
    """The status after a divisor was found: `code` unless it is positive (or only not zero), NOT_FINITE before that."""
    fine = divisor > 0 if definite else divisor != 0
    found = torch.where(divisor.isfinite(), torch.where(fine, 0, int(code)), int(Status.NOT_FINITE))
    return torch.where(status == Status.RUNNING, found.to(status.dtype), status)


def ratio(where: Tensor, numerator: Tensor, divisor: Tensor) -> Tensor:
    """The quotient where wanted, else 0; derivatives stay finite there too."""
    return torch.where(where, numerator / torch.where(where, divisor, 1.0), 0.0)


def step(where: Tensor, start: Tensor, size: Tensor, along: Tensor) -> Tensor:
    """start + size * along for the systems wanted."""
    return torch.where(where[:, None], start + size.to(start.dtype)[:, None] * along, start)


def in_place(
    reference: Callable[..., Any], written: dict[int, int], returned: Callable[..., Any] | None = None
) -> Callable[..., Any]:
    """The reference with some outputs written into arguments (argument to output).

    What `returned` makes of the outputs is returned; the outputs that are not written, when it is None.
    """

    @functools.wraps(reference)
    def run(*args: Any) -> Any:
        outputs = reference(*args)
        for place, output in written.items():
            args[place].copy_(outputs[output])
        if returned is not None:
            return returned(*outputs)
        rest = tuple(o for i, o in enumerate(outputs) if i not in written.values())
        return rest if len(rest) > 1 else rest[0]

    return run
