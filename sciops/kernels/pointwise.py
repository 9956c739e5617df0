r"""The channel maps of a layer at every point, in one differentiable step that keeps nothing but its inputs.

.. math:: y = \sigma_2\big(W_2\, \mathrm{GELU}(W_1\, \sigma_1(x + S r) + b_1) + b_2 + g \odot r\big)

with :math:`\sigma_1, \sigma_2` GELU or the identity and an optional residual r that enters by a matrix S, a gate g, or
both. Memory, not arithmetic, bounds such maps: the eager path works on blocks of points that stay in the cache, fuses
bias and GELU into the products, and computes what lies between again in the backward pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import gelu

from sciops.errors import InputError
from sciops.kernels.products import inner_product, is_eager, linear, product

if TYPE_CHECKING:
    from jaxtyping import Float

_BLOCK = {"cpu": 2**19}  # elements of a hidden block that stay in the cache; on a device, what keeps it busy
_DEVICE_BLOCK = 2**26


class _Maps(NamedTuple):
    """The linear maps of the chain, and which of its ends are GELU."""

    inner: Tensor
    inner_bias: Tensor
    outer: Tensor
    outer_bias: Tensor
    skip: Tensor | None
    gate: Tensor | None
    activate_in: bool
    activate_out: bool


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
        (..., out_channel); differentiable to any order.

    Raises
    ------
    InputError
        If there is a skip or gate without a residual, or a residual without either.

    Examples
    --------
    >>> y = perceptron(torch.ones(5, 2), torch.ones(3, 2), torch.zeros(3), torch.ones(1, 3), torch.zeros(1))
    >>> y.shape
    torch.Size([5, 1])
    """
    if (residual is None) != (skip is None and gate is None):
        raise InputError("a residual needs a skip matrix or a gate, and these need a residual")
    maps = _Maps(inner, inner_bias, outer, outer_bias, skip, gate, activate_in, activate_out)
    if not is_eager(x):
        return _reference(x, residual, maps)
    rows = None if residual is None else residual.reshape(-1, residual.shape[-1])
    y: Tensor = _Perceptron.apply(x.reshape(-1, x.shape[-1]), rows, *maps)  # type: ignore[no-untyped-call]
    return y.view(*x.shape[:-1], outer.shape[0])


def _reference(x: Tensor, residual: Tensor | None, maps: _Maps) -> Tensor:
    if residual is not None and maps.skip is not None:
        x = x + linear(residual, maps.skip)
    hidden = gelu(linear(gelu(x) if maps.activate_in else x, maps.inner, maps.inner_bias))
    y = linear(hidden, maps.outer, maps.outer_bias)
    if residual is not None and maps.gate is not None:
        y = y + maps.gate * residual
    return gelu(y) if maps.activate_out else y


def _entering(x: Tensor, residual: Tensor | None, maps: _Maps) -> Tensor:
    if residual is None or maps.skip is None:
        return x
    return product(residual, maps.skip).add_(x)


def _leaving(hidden: Tensor, residual: Tensor | None, maps: _Maps) -> Tensor:
    y = product(hidden, maps.outer, maps.outer_bias)
    return y if residual is None or maps.gate is None else y.addcmul_(residual, maps.gate)


class _Perceptron(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, *arguments: Any) -> Tensor:
        maps = _Maps(*arguments)
        ctx.activations = maps[6:]
        ctx.save_for_backward(x, residual, *maps[:6])
        y = x.new_empty(x.shape[0], maps.outer.shape[0])
        for rows in _blocks(x, maps):
            r = None if residual is None else residual[rows]
            h = _entering(x[rows], r, maps)
            t = gelu(h) if maps.activate_in else h
            o = _leaving(product(t, maps.inner, maps.inner_bias, gelu=True), r, maps)
            if maps.activate_out:
                torch.ops.aten.gelu.out(o, out=y[rows])
            else:
                y[rows] = o
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (g,) = gradients
        x, residual, *arguments = ctx.saved_tensors
        maps = _Maps(*arguments, *ctx.activations)
        if torch.is_grad_enabled():
            return *_derivatives(ctx, x, residual, maps, g), None, None
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] or maps.skip is not None else None
        dr = None if residual is None else torch.empty_like(residual)
        d = [None if argument is None else torch.zeros_like(argument) for argument in arguments]
        for rows in _blocks(x, maps):
            r = None if residual is None else residual[rows]
            h = _entering(x[rows], r, maps)
            t = gelu(h) if maps.activate_in else h
            raw = product(t, maps.inner, maps.inner_bias)
            hidden = gelu(raw)
            do = g[rows]
            if maps.activate_out:
                do = torch.ops.aten.gelu_backward(do, _leaving(hidden, r, maps))
            _add(d[2], inner_product(do, hidden))
            _add(d[3], do.sum(0))
            d_raw = torch.ops.aten.gelu_backward(product(do, maps.outer.mT), raw)
            _add(d[0], inner_product(d_raw, t))
            _add(d[1], d_raw.sum(0))
            if dx is not None:
                dh = product(d_raw, maps.inner.mT)
                if maps.activate_in:
                    dh = torch.ops.aten.gelu_backward.grad_input(dh, h, grad_input=dx[rows])
                else:
                    dx[rows] = dh
            if r is None or dr is None:
                continue
            if maps.skip is not None:
                _add(d[4], inner_product(dh, r))
                dr[rows] = product(dh, maps.skip.mT)
            if maps.gate is not None:
                _add(d[5], (do * r).sum(0))
                if maps.skip is None:
                    torch.mul(do, maps.gate, out=dr[rows])
                else:
                    dr[rows].addcmul_(do, maps.gate)
        return dx, dr, *d, None, None


def _add(total: Tensor | None, part: Tensor) -> None:
    if total is not None:
        total += part


def _derivatives(ctx: Any, x: Tensor, residual: Tensor | None, maps: _Maps, gradient: Tensor) -> list[Tensor | None]:
    """The derivatives as differentiable functions of the arguments, for higher derivatives."""
    arguments: list[Any] = [x, residual, *maps[:6]]
    wanted = [i for i, needed in enumerate(ctx.needs_input_grad[: len(arguments)]) if needed]
    y = _reference(x, residual, maps)
    found = torch.autograd.grad(y, [arguments[i] for i in wanted], gradient, create_graph=True)
    derivatives: list[Tensor | None] = [None] * len(arguments)
    for i, derivative in zip(wanted, found, strict=True):
        derivatives[i] = derivative
    return derivatives


def _blocks(x: Tensor, maps: _Maps) -> list[slice]:
    step = max(1, _BLOCK.get(x.device.type, _DEVICE_BLOCK) // max(maps.inner.shape))
    return [slice(start, start + step) for start in range(0, x.shape[0], step)]
