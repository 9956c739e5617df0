r"""The channel maps of a layer at every point, in one differentiable step that keeps nothing but its inputs.

.. math:: y = \sigma_2\big(W_2\, \mathrm{GELU}(W_1\, \sigma_1(x + S r) + b_1) + b_2 + g \odot r\big)

with :math:`\sigma_1, \sigma_2` GELU or the identity and an optional residual r that enters by a matrix S, a gate g, or
both. Memory, not arithmetic, bounds such maps: the quick paths work on blocks of points that stay in the cache, or in
the registers, and compute what lies between again in the backward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import gelu, linear

from sciops.errors import InputError
from sciops.kernels.dispatch import Kernel, Path

if TYPE_CHECKING:
    from jaxtyping import Float

_SINGLE = (torch.float16, torch.bfloat16, torch.float32)
_MOST_CHANNELS = 256  # of one block in the registers of a multiprocessor


def perceptron(
    x: Float[Tensor, "*point in_channel"],
    inner: Float[Tensor, "hidden in_channel"],
    inner_bias: Float[Tensor, " hidden"],
    outer: Float[Tensor, "out_channel hidden"],
    outer_bias: Float[Tensor, " out_channel"],
    *,
    residual: Float[Tensor, "*point res_channel"] | None = None,
    skip: Float[Tensor, "in_channel res_channel"] | None = None,
    gate: Float[Tensor, " out_channel"] | None = None,
    activate_in: bool = False,
    activate_out: bool = False,
) -> Float[Tensor, "*point out_channel"]:
    """Apply the chain of this module to the last dimension of x.

    Parameters
    ----------
    x
        Channels at any number of points (..., in_channel).
    inner, inner_bias, outer, outer_bias
        The two linear maps.
    residual
        The residual r (..., res_channel).
    skip, gate
        How the residual enters: matrix S (in_channel, res_channel) and gate g (out_channel,). Both need a residual.
    activate_in, activate_out
        Whether the first and the last map of the chain is GELU or the identity.

    Returns
    -------
    Tensor
        (..., out_channel), under autocast in its dtype. Differentiable to any order; the first backward pass needs no
        memory of the size of x but for its results.

    Raises
    ------
    InputError
        If there is a skip or gate without a residual, or a residual without either, and for shapes that do not fit.

    Examples
    --------
    >>> y = perceptron(torch.ones(5, 2), torch.ones(3, 2), torch.zeros(3), torch.ones(1, 3), torch.zeros(1))
    >>> y.shape
    torch.Size([5, 1])
    """
    _require_maps(x, inner, inner_bias, outer, outer_bias)
    if (residual is None) != (skip is None and gate is None):
        raise InputError("a residual needs a skip matrix or a gate, and these need a residual")
    if residual is not None:
        _require_residual(x, outer, residual, skip, gate)
    y: Tensor = _perceptron(x, inner, inner_bias, outer, outer_bias, residual, skip, gate, activate_in, activate_out)
    return y


def _require_maps(x: Tensor, inner: Tensor, inner_bias: Tensor, outer: Tensor, outer_bias: Tensor) -> None:
    if inner.ndim != 2 or x.ndim < 1 or x.shape[-1] != inner.shape[1]:
        raise InputError(
            f"x has shape {tuple(x.shape)} and the inner matrix {tuple(inner.shape)}; "
            "(..., in_channel) and (hidden, in_channel) are expected"
        )
    if outer.ndim != 2 or outer.shape[1] != inner.shape[0]:
        raise InputError(
            f"the outer matrix has shape {tuple(outer.shape)}, expected (out_channel, {inner.shape[0]}) "
            "as the inner one has that many rows"
        )
    for name, bias, matrix in (("inner", inner_bias, inner), ("outer", outer_bias, outer)):
        if bias.ndim != 1 or bias.shape[0] != matrix.shape[0]:
            raise InputError(f"the {name} bias has shape {tuple(bias.shape)}, expected ({matrix.shape[0]},)")


def _require_residual(x: Tensor, outer: Tensor, residual: Tensor, skip: Tensor | None, gate: Tensor | None) -> None:
    if residual.ndim != x.ndim or residual.shape[:-1] != x.shape[:-1]:
        raise InputError(
            f"the residual has shape {tuple(residual.shape)}, expected the points of x, {tuple(x.shape[:-1])}, "
            "and its channels"
        )
    channels = residual.shape[-1]
    if skip is not None and (skip.ndim != 2 or skip.shape[0] != x.shape[-1] or skip.shape[1] != channels):
        raise InputError(f"the skip matrix has shape {tuple(skip.shape)}, expected {(x.shape[-1], channels)}")
    if gate is not None and (gate.ndim != 1 or gate.shape[0] != outer.shape[0] or gate.shape[0] != channels):
        raise InputError(
            f"the gate has shape {tuple(gate.shape)}, expected ({outer.shape[0]},): as many entries as the result "
            f"and the residual, which has {channels}, have channels"
        )


def _reference(
    x: Tensor,
    inner: Tensor,
    inner_bias: Tensor,
    outer: Tensor,
    outer_bias: Tensor,
    residual: Tensor | None,
    skip: Tensor | None,
    gate: Tensor | None,
    activate_in: bool,
    activate_out: bool,
) -> Tensor:
    if residual is not None and skip is not None:
        x = x + linear(residual, skip)
    hidden = gelu(linear(gelu(x) if activate_in else x, inner, inner_bias))
    y = linear(hidden, outer, outer_bias)
    if residual is not None and gate is not None:
        y = y + gate * residual
    return gelu(y) if activate_out else y


def _backward_reference(
    gradient: Tensor,
    x: Tensor,
    inner: Tensor,
    inner_bias: Tensor,
    outer: Tensor,
    outer_bias: Tensor,
    residual: Tensor | None,
    skip: Tensor | None,
    gate: Tensor | None,
    activate_in: bool,
    activate_out: bool,
    fields: bool,
    maps: bool,
) -> tuple[Tensor, ...]:
    """The derivatives in the first eight arguments of the perceptron; empty where not wanted or not there.

    `fields` asks for those in x and the residual, `maps` for the others.
    """
    # written out, as an operator cannot differentiate inside itself: autograd is beneath it
    slope = torch.ops.aten.gelu_backward
    h = x if residual is None or skip is None else x + linear(residual, skip)
    t = gelu(h) if activate_in else h
    raw = linear(t, inner, inner_bias)
    hidden = gelu(raw)
    g = gradient
    if activate_out:
        y = linear(hidden, outer, outer_bias)
        g = slope(g, y if residual is None or gate is None else y + gate * residual)
    d_raw = slope(g @ outer, raw)
    dh = slope(d_raw @ inner, h) if activate_in else d_raw @ inner
    found: list[Tensor | None] = [dh] if fields else [None]
    found += [_outer_sum(d_raw, t), _sum(d_raw), _outer_sum(g, hidden), _sum(g)] if maps else [None] * 4
    dr = d_skip = d_gate = None
    if residual is not None and skip is not None:
        dr, d_skip = dh @ skip, _outer_sum(dh, residual)
    if residual is not None and gate is not None:
        dr, d_gate = gate * g if dr is None else dr + gate * g, _sum(g * residual)
    found += [dr if fields else None, *((d_skip, d_gate) if maps else (None, None))]
    return tuple(x.new_zeros(0) if d is None else d for d in found)


def _sum(x: Tensor) -> Tensor:
    return x.flatten(0, -2).sum(0) if x.ndim > 1 else x


def _outer_sum(a: Tensor, b: Tensor) -> Tensor:
    return a.reshape(-1, a.shape[-1]).mT @ b.reshape(-1, b.shape[-1])


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.activations = inputs[8:]
    ctx.save_for_backward(*inputs[:8])


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    wanted = ctx.needs_input_grad[:8]
    fields, maps = wanted[0] or wanted[5], any(wanted[i] for i in (1, 2, 3, 4, 6, 7))
    found = _perceptron_backward(gradient, *ctx.saved_tensors, *ctx.activations, fields, maps)
    return *(d if want else None for d, want in zip(found, wanted, strict=True)), None, None


def _fits(x: Tensor, inner: Tensor, inner_bias: Tensor, outer: Tensor, *others: Any) -> str | None:
    residual = others[1]
    widest = max(inner.shape[1], outer.shape[0], 0 if residual is None else residual.shape[-1])
    return f"{widest} channels are more than the {_MOST_CHANNELS} of a block" if widest > _MOST_CHANNELS else None


def _backward_fits(gradient: Tensor, *args: Any) -> str | None:
    return _fits(*args)


_WHY_CPU = "blocks of points that stay in the cache; nothing between is written to memory"
_WHY_CUDA = "a block of points passes the whole chain in registers"
_perceptron = Kernel(
    "perceptron",
    "(Tensor x, Tensor inner, Tensor inner_bias, Tensor outer, Tensor outer_bias, Tensor? residual, Tensor? skip, "
    "Tensor? gate, bool activate_in, bool activate_out) -> Tensor",
    _reference,
    cpu=Path("cpu.pointwise:perceptron", _WHY_CPU, needs="numba"),
    triton=Path("cuda.pointwise:perceptron", _WHY_CUDA, needs="triton", dtypes=_SINGLE, takes=_fits),
    setup=_setup,
    backward=_backward,
    autocast="lower",
)
_perceptron_backward = Kernel(
    "perceptron_backward",
    "(Tensor gradient, Tensor x, Tensor inner, Tensor inner_bias, Tensor outer, Tensor outer_bias, Tensor? residual, "
    "Tensor? skip, Tensor? gate, bool activate_in, bool activate_out, bool fields, bool maps) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _backward_reference,
    cpu=Path("cpu.pointwise:perceptron_backward", _WHY_CPU, needs="numba"),
    triton=Path("cuda.pointwise:perceptron_backward", _WHY_CUDA, needs="triton", dtypes=_SINGLE, takes=_backward_fits),
    autocast="lower",
)
