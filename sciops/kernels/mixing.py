r"""How the Fourier coefficients of one layer become those of the next: weights of few parameters applied.

Every mode k has its own complex matrix, from the channels that come in to those that go out:

.. math:: y_{k,o} = \sum_i W_{k,io}\, x_{k,i}

The weights are those of :mod:`sciops.kernels.weights`. Coefficients are real tensors ``(*modes, 2, batch, channel)``:
real and imaginary part, one to three axes of modes.

W itself is never formed. With n modes in all, a sample costs n i a operations for the factor of the channels in, n a b
for what stands between (n a for a diagonal), n b o for the factor of the channels out. What stands between is spread
over the modes one axis after the other, in the order that costs least, once for all samples. The backward pass keeps
the arguments only and computes the rest again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import ALL_FLOATS, Kernel, Path, saved_arguments
from sciops.kernels.factors import (
    between,
    between_backward,
    cheapest_order,
    conjugate,
    diagonal_backward,
    diagonal_of,
    outer,
    product,
    train_between,
    train_between_backward,
    tucker_between,
    tucker_between_backward,
)
from sciops.kernels.weights import CP, Separable, TensorTrain, Tucker, Weight, shape_of, tensors_of

if TYPE_CHECKING:
    from jaxtyping import Float


def mix(
    pair: Float[Tensor, "*modes 2 batch in_channel"], weight: Weight
) -> Float[Tensor, "*modes 2 batch out_channel"]:
    r"""Multiply the coefficients of every mode by the matrix of that mode, :math:`y_k = W_k^T x_k`.

    Parameters
    ----------
    pair
        Real and imaginary parts of the coefficients, with one to three axes of modes.
    weight
        The factors of W, with as many modes along each axis.

    Returns
    -------
    Tensor
        The new coefficients, of the promoted dtype. Differentiable in the coefficients and in all factors to any order.

    Raises
    ------
    InputError
        For factors that do not fit each other, coefficients that do not fit the weight, or tensors that are not real
        floating point.

    Examples
    --------
    Multiplication of the second of two modes by the imaginary unit:

    >>> weight = Separable(torch.tensor([[[1.0], [0.0]], [[0.0], [1.0]]]))
    >>> mix(torch.tensor([[[[3.0]], [[4.0]]], [[[3.0]], [[4.0]]]]), weight).flatten().tolist()
    [3.0, 4.0, -4.0, 3.0]
    """
    modes, channels, _ = shape_of(weight)
    if not pair.dtype.is_floating_point:
        remedy = "torch.view_as_real(c).movedim(-1, -3)" if pair.is_complex() else "c.float()"
        raise InputError(
            f"the coefficients are of dtype {pair.dtype}, expected real and imaginary parts; convert c by {remedy}"
        )
    expected = (*modes, 2, pair.shape[-2] if pair.ndim > 1 else None, channels)
    if pair.ndim != len(expected) or any(e not in (None, n) for e, n in zip(expected, pair.shape, strict=True)):
        raise InputError(
            f"the coefficients have shape {tuple(pair.shape)}, expected ({', '.join(map(str, modes))}, 2, batch, "
            f"{channels}) as the {type(weight).__name__} weight has"
        )
    tensors = tensors_of(weight)
    dtype = pair.dtype
    for tensor in tensors:
        dtype = torch.promote_types(dtype, tensor.dtype)
    missing = [None] * (3 - len(modes)) if not isinstance(weight, Separable) else []
    mixed: Tensor = _kernels[type(weight)](pair.to(dtype), *(t.to(dtype) for t in tensors), *missing)
    return mixed


def _grouped(pair: Tensor) -> Tensor:
    """(*modes, 2, batch, channel) with all axes of modes but the last in one."""
    return pair.flatten(0, -5) if pair.ndim > 4 else pair[None]


def _separable_reference(pair: Tensor, weight: Tensor) -> Tensor:
    (xr, xi), (wr, wi) = pair.unbind(-3), weight.unsqueeze(-2).unbind(-3)
    return torch.stack([xr * wr - xi * wi, xr * wi + xi * wr], -3)


def _separable_backward_reference(gradient: Tensor, pair: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    (gr, gi), (xr, xi) = gradient.unbind(-3), pair.unbind(-3)
    conjugated = torch.stack([weight.select(-2, 0), -weight.select(-2, 1)], -2)
    for_weight = torch.stack([(gr * xr + gi * xi).sum(-2), (gi * xr - gr * xi).sum(-2)], -2)
    return _separable_reference(gradient, conjugated), for_weight


def tucker(
    pair: Tensor,
    core: Tensor,
    factor_in: Tensor,
    factor_out: Tensor,
    *mode_factors: Tensor | None,
    between: Callable[..., Tensor] = between,
) -> Tensor:
    """The contraction with a Tucker weight, around any way to do what stands between."""
    factors = [f for f in mode_factors if f is not None]
    order, (x, core) = _ordered(factors, core, pair, core)
    left, right = tucker_between(core, *(factors[j] for j in order))
    y = product(between(_grouped(product(x, factor_in)), left, right), factor_out.transpose(0, 2))
    return _restored(y.view(*x.shape[:-1], factor_out.shape[0]), order)


def tucker_backward(
    gradient: Tensor,
    pair: Tensor,
    core: Tensor,
    factor_in: Tensor,
    factor_out: Tensor,
    *mode_factors: Tensor | None,
    between_backward: Callable[..., tuple[Tensor, ...]] = between_backward,
) -> tuple[Tensor, ...]:
    """The gradients of all tensors; those of absent mode factors are empty."""
    factors = [f for f in mode_factors if f is not None]
    order, (g, x, core) = _ordered(factors, core, gradient, pair, core)
    ordered = [factors[j] for j in order]
    left, right = tucker_between(core, *ordered)
    of_y = _grouped(product(g, conjugate(factor_out)))
    y, of_x, for_left, for_right = between_backward(of_y, _grouped(product(x, factor_in)), left, right)
    for_core, for_modes = tucker_between_backward(for_left, for_right, core, *ordered)
    for_pair = product(of_x, conjugate(factor_in).transpose(0, 2)).view(x.shape)
    gradients = [
        _restored(for_pair, order),
        _restored(for_core, order),
        outer(x, of_x),
        outer(y, g).transpose(0, 2),
        *(for_modes[order.index(j)] for j in range(len(factors))),
    ]
    return _filled(gradients, mode_factors)


def _cp_reference(
    pair: Tensor,
    factor_in: Tensor,
    factor_out: Tensor,
    mode_1: Tensor,
    mode_2: Tensor | None = None,
    mode_3: Tensor | None = None,
) -> Tensor:
    factors = [f for f in (mode_1, mode_2, mode_3) if f is not None]
    x = product(pair.flatten(0, len(factors) - 1), factor_in)
    y = product(_separable_reference(x, diagonal_of(*factors)), factor_out.transpose(0, 2))
    return y.view(*pair.shape[:-1], factor_out.shape[0])


def _cp_backward_reference(
    gradient: Tensor, pair: Tensor, factor_in: Tensor, factor_out: Tensor, *mode_factors: Tensor | None
) -> tuple[Tensor, ...]:
    factors = [f for f in mode_factors if f is not None]
    g, x = gradient.flatten(0, len(factors) - 1), pair.flatten(0, len(factors) - 1)
    diagonal, inner = diagonal_of(*factors), product(x, factor_in)
    of_y = product(g, conjugate(factor_out))
    of_x, for_diagonal = _separable_backward_reference(of_y, inner, diagonal)
    gradients = [
        product(of_x, conjugate(factor_in).transpose(0, 2)).view(pair.shape),
        outer(x, of_x),
        outer(_separable_reference(inner, diagonal), g).transpose(0, 2),
        *diagonal_backward(for_diagonal, *factors),
    ]
    return _filled(gradients, mode_factors)


def tensor_train(
    pair: Tensor,
    factor_in: Tensor,
    factor_out: Tensor,
    *mode_factors: Tensor | None,
    between: Callable[..., Tensor] = between,
) -> Tensor:
    """The contraction with a tensor train, around any way to do what stands between."""
    factors = [f for f in mode_factors if f is not None]
    left, right = train_between(factor_out, *factors)
    return between(_grouped(product(pair, factor_in)), left, right).view(*pair.shape[:-1], factor_out.shape[-1])


def tensor_train_backward(
    gradient: Tensor,
    pair: Tensor,
    factor_in: Tensor,
    factor_out: Tensor,
    *mode_factors: Tensor | None,
    between_backward: Callable[..., tuple[Tensor, ...]] = between_backward,
) -> tuple[Tensor, ...]:
    """The gradients of all tensors; those of absent mode factors are empty."""
    factors = [f for f in mode_factors if f is not None]
    left, right = train_between(factor_out, *factors)
    _, of_x, for_left, for_right = between_backward(_grouped(gradient), _grouped(product(pair, factor_in)), left, right)
    for_out, for_modes = train_between_backward(for_left, for_right, factor_out, *factors)
    for_pair = product(of_x, conjugate(factor_in).transpose(0, 2)).view(pair.shape)
    return _filled([for_pair, outer(pair, of_x), for_out, *for_modes], mode_factors)


def _ordered(factors: list[Tensor], core: Tensor, *tensors: Tensor) -> tuple[tuple[int, ...], list[Tensor]]:
    """Tensors that start with the axes of modes, with these in the order in which they are contracted."""
    d = len(factors)
    order = cheapest_order([f.shape[0] for f in factors], core.shape[:d])
    return order, [t.permute(*order, d, d + 1, d + 2).contiguous() for t in tensors]


def _restored(y: Tensor, order: tuple[int, ...]) -> Tensor:
    d = len(order)
    return y.permute(*(order.index(j) for j in range(d)), d, d + 1, d + 2).contiguous()


def _filled(gradients: list[Tensor], mode_factors: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    absent = sum(f is None for f in mode_factors)
    return (*(g.contiguous() for g in gradients), *(gradients[0].new_zeros(0) for _ in range(absent)))


def _with(backward: Kernel) -> Callable[..., tuple[Tensor | None, ...]]:
    def run(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found = backward(gradient, *saved_arguments(ctx))
        return tuple(f if place in ctx.places else None for place, f in enumerate(found))

    return run


_FACTORS = "Tensor factor_in, Tensor factor_out, Tensor mode_1, Tensor? mode_2, Tensor? mode_3"

_separable_backward = Kernel(
    "mix_separable_backward",
    "(Tensor gradient, Tensor pair, Tensor weight) -> (Tensor, Tensor)",
    _separable_backward_reference,
    cpu=Path("cpu.mixing:separable_backward", "both gradients in one pass", needs="numba"),
    triton=Path("cuda.mixing:separable_backward", "both gradients in one pass", needs="triton", dtypes=ALL_FLOATS),
)
_separable = Kernel(
    "mix_separable",
    "(Tensor pair, Tensor weight) -> Tensor",
    _separable_reference,
    cpu=Path("cpu.mixing:separable", "one pass over memory", needs="numba"),
    triton=Path("cuda.mixing:separable", "one pass over memory", needs="triton", dtypes=ALL_FLOATS),
    backward=_with(_separable_backward),
)
_tucker_backward = Kernel(
    "mix_tucker_backward",
    f"(Tensor gradient, Tensor pair, Tensor core, {_FACTORS}) -> "
    "(Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tucker_backward,
    cpu=Path(
        "cpu.mixing:tucker_backward", "a few modes at a time: what is spread of the core stays in cache", needs="numba"
    ),
)
_tucker = Kernel(
    "mix_tucker",
    f"(Tensor pair, Tensor core, {_FACTORS}) -> Tensor",
    tucker,
    cpu=Path("cpu.mixing:tucker", "a few modes at a time: what is spread of the core stays in cache", needs="numba"),
    backward=_with(_tucker_backward),
)
_cp_backward = Kernel(
    "mix_cp_backward",
    f"(Tensor gradient, Tensor pair, {_FACTORS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    _cp_backward_reference,
    cpu=Path("cpu.mixing:cp_backward", "complex products by three real ones, a few modes at a time", needs="numba"),
)
_cp = Kernel(
    "mix_cp",
    f"(Tensor pair, {_FACTORS}) -> Tensor",
    _cp_reference,
    cpu=Path("cpu.mixing:cp", "complex products by three real ones, a few modes at a time", needs="numba"),
    triton=Path("cuda.mixing:cp", "the diagonal is applied between the products", needs="triton", dtypes=ALL_FLOATS),
    backward=_with(_cp_backward),
)
_tensor_train_backward = Kernel(
    "mix_tensor_train_backward",
    f"(Tensor gradient, Tensor pair, {_FACTORS}) -> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)",
    tensor_train_backward,
    cpu=Path("cpu.mixing:tensor_train_backward", "a few modes at a time: their matrices stay in cache", needs="numba"),
)
_tensor_train = Kernel(
    "mix_tensor_train",
    f"(Tensor pair, {_FACTORS}) -> Tensor",
    tensor_train,
    cpu=Path("cpu.mixing:tensor_train", "a few modes at a time: their matrices stay in cache", needs="numba"),
    backward=_with(_tensor_train_backward),
)
_kernels: dict[type, Kernel] = {Separable: _separable, Tucker: _tucker, CP: _cp, TensorTrain: _tensor_train}
