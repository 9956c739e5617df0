"""The spectral convolution: transform, a matrix of its own for every frequency, synthesis, as one kernel.

The conventions, the two methods and the pairs of the kernels are those of :mod:`sciops.kernels.transform`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sciops.errors import InputError
from sciops.kernels.dispatch import Kernel, Path
from sciops.kernels.fourier import FourierAxis
from sciops.kernels.mixing import mix
from sciops.kernels.transform import (
    TENSOR_CORES,
    Method,
    analyse,
    analysis_reference,
    bases_of,
    chosen_method,
    mode_shape,
    numbers_of,
    places_of,
    require_sizes,
    synthesis,
    synthesis_reference,
    synthesise,
)
from sciops.kernels.weights import Weight, require_real_parts, shape_of, tensors_of

if TYPE_CHECKING:
    from jaxtyping import Float


def spectral_convolution(
    x: Float[Tensor, "batch in_channel *space"],
    weight: Float[Tensor, "*modes in_channel 2 out_channel"] | Weight,
    axes: Sequence[FourierAxis | int],
    sizes: Sequence[int] | None = None,
    *,
    bias: Float[Tensor, "*batch out_channel"] | None = None,
    dims: Sequence[int] | None = None,
    channel: int = 1,
    method: Method | None = None,
) -> Float[Tensor, "batch out_channel *new_space"]:
    r"""Multiply every kept frequency by its own complex matrix: the linear part of a Fourier layer.

    .. math:: y_o(s) = b_o + \sum_{|k| \le m} \Big(\sum_i W_{k,io}\, c_{k,i}\Big) e^{2\pi i k \cdot s / L}

    with c the coefficients of x and :math:`W_{-k} = \overline{W_k}`. Nothing of the size of the grid is kept for the
    backward pass. Under autocast it runs in the dtype of the weight; the result has the dtype of x.

    Parameters
    ----------
    x
        Real field (batch, in_channel, N_1, ..., N_d).
    weight
        Real (2 m_1 + 1, ..., m_d + 1, in_channel, 2, out_channel): real and imaginary parts of W, mode-major; or a
        separable or factorised weight of :mod:`sciops.kernels.weights`, which is never multiplied out.
    axes
        One basis per axis; an int is a periodic axis with that highest frequency.
    sizes
        Nodes of each axis of the result; those of x when None.
    bias
        Constant b added to the result, (out_channel,) or (batch, out_channel); it costs nothing, as it enters at the
        frequency zero.
    dims, channel
        Where the axes and the channels stand in x, when not as above; one more dimension is the batch. The result has
        the same order. Quickest are ``dims=(2, ..., d, 0)`` with the channels last.
    method
        "products", "fft", or None for the faster one.

    Returns
    -------
    Tensor
        (batch, out_channel, *sizes).

    Raises
    ------
    InputError
        For shapes of x, weight, bias, axes and sizes that do not fit each other, dims or a channel that x lacks, a
        complex weight, sizes below 1 (2 on a closed axis), or "fft" on a non-periodic axis.

    Examples
    --------
    >>> weight = torch.zeros(3, 1, 2, 1)
    >>> weight[:, 0, 0, 0] = 1.0
    >>> x = torch.cos(2 * torch.pi * torch.arange(8) / 8)[None, None]
    >>> torch.allclose(spectral_convolution(x, weight, [2]), x, atol=1e-6)
    True
    """
    bases = bases_of(x, axes)
    ndim = len(bases)
    if x.ndim != ndim + 2:
        raise InputError(f"x of shape {tuple(x.shape)} is not batch, channel and {ndim} axes")
    where, (channel,) = places_of(x, range(2, ndim + 2) if dims is None else dims), places_of(x, [channel])
    batches = [dim for dim in range(x.ndim) if dim not in (channel, *where)]
    if len(where) != ndim or len(batches) != 1:
        raise InputError(f"dims {where} and channel {channel} do not name channel and {ndim} axes of x, each once")
    modes, given = mode_shape(bases), _shape_of(weight, ndim)
    if given[:2] != (modes, x.shape[channel]):
        raise InputError(
            f"the weight has shape {given[0]} (modes), {given[1]} (in), {given[2]} (out); "
            f"expected modes {modes} and {x.shape[channel]} channels in"
        )
    _require_bias(bias, x.shape[batches[0]], given[2])
    if sizes is not None and len(sizes) != ndim:
        raise InputError(f"{len(sizes)} sizes given for {ndim} axes")
    sources = [x.shape[dim] for dim in where]
    targets = sources if sizes is None else list(sizes)
    require_sizes(bases, sources)
    require_sizes(bases, targets)
    dtype = x.dtype
    for tensor in (weight,) if isinstance(weight, Tensor) else tensors_of(weight):
        dtype = torch.promote_types(dtype, tensor.dtype)
    field, constant = x.to(dtype), None if bias is None else bias.to(dtype)
    chosen = chosen_method(method, bases, where, dtype)
    with nullcontext() if x.device.type == "meta" else torch.autocast(x.device.type, enabled=False):
        y: Tensor
        if isinstance(weight, Tensor):
            places = (channel, where, *numbers_of(bases), targets, chosen)
            y, _ = _convolution(field, weight.to(dtype), constant, *places)
        else:
            turned = channel_before_batch(channel, where)
            pair = analyse(field, bases, where, chosen)
            pair = mix(pair.transpose(-1, -2) if turned else pair, weight)
            pair = pair if constant is None else _with_constant(pair, constant, [axis.modes for axis in bases])
            y = synthesise(pair.transpose(-1, -2) if turned else pair, bases, where, targets, chosen)
        return y.to(x.dtype)


def place_of_zero(modes: Sequence[int]) -> int:
    """Where the frequency zero stands when all modes are seen as one dimension."""
    shape = [*(2 * m + 1 for m in modes[:-1]), modes[-1] + 1]
    return sum(m * math.prod(shape[i + 1 :]) for i, m in enumerate(modes[:-1]))


def channel_before_batch(channel: int, dims: Sequence[int]) -> bool:
    """Whether a pair has its channels before its batch, as the field has."""
    return channel < next(dim for dim in range(len(dims) + 2) if dim not in dims and dim != channel)


def _shape_of(weight: Tensor | Weight, ndim: int) -> tuple[tuple[int, ...], int, int]:
    """Modes, channels in and channels out."""
    if not isinstance(weight, Tensor):
        return shape_of(weight)
    if not weight.is_complex() and (weight.ndim != ndim + 3 or weight.shape[-2] != 2):
        raise InputError(
            f"the weight has shape {tuple(weight.shape)}, expected {ndim} modes and (in_channel, 2, out_channel)"
        )
    require_real_parts("the weight", weight)
    return tuple(weight.shape[:ndim]), weight.shape[-3], weight.shape[-1]


def _require_bias(bias: Tensor | None, batch: int, out: int) -> None:
    if bias is None:
        return
    if not bias.dtype.is_floating_point:
        raise InputError(f"the bias is of dtype {bias.dtype}; a real floating-point tensor is expected")
    # number by number: a tuple among tuples compares batch with out, which torch.export takes for a bound on the batch
    if bias.ndim not in (1, 2) or bias.shape[-1] != out or (bias.ndim == 2 and bias.shape[0] != batch):
        raise InputError(f"the bias has shape {tuple(bias.shape)}, expected ({out},) or ({batch}, {out})")


def _with_constant(pair: Tensor, bias: Tensor, modes: Sequence[int]) -> Tensor:
    """The pair (*modes, 2, batch, channel) with the bias added at the frequency zero."""
    flat = pair.flatten(0, len(modes) - 1)
    here = torch.arange(flat.shape[0], device=pair.device) == place_of_zero(modes)
    return torch.stack([flat[:, 0] + here.view(-1, 1, 1) * bias, flat[:, 1]], 1).reshape(pair.shape)


def _convolution_reference(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    channel: int,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    sizes: Sequence[int],
    method: str,
) -> tuple[Tensor, Tensor]:
    last, turned = len(dims) - 1, channel_before_batch(channel, dims)
    pair = analysis_reference(x, dims, modes, kinds, paddings, False, method)
    pair = pair.transpose(-1, -2) if turned else pair
    real, imaginary = pair.flatten(0, last).unbind(1)
    of_real, of_imaginary = weight.flatten(0, last).unbind(-2)
    out_real = real @ of_real - imaginary @ of_imaginary
    out_imaginary = real @ of_imaginary + imaginary @ of_real
    mixed = torch.stack([out_real, out_imaginary], 1)
    mixed = mixed.reshape(*weight.shape[: last + 1], *mixed.shape[1:])
    mixed = mixed if bias is None else _with_constant(mixed, bias, modes)
    mixed = mixed.transpose(-1, -2) if turned else mixed
    return synthesis_reference(mixed, dims, modes, kinds, paddings, sizes, False, method), pair


def _convolution_backward_reference(
    gradient: Tensor,
    pair: Tensor,
    weight: Tensor,
    channel: int,
    dims: Sequence[int],
    modes: Sequence[int],
    kinds: Sequence[int],
    paddings: Sequence[float],
    sizes: Sequence[int],
    method: str,
    wanted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    last, turned = len(dims) - 1, channel_before_batch(channel, dims)
    slope = analysis_reference(gradient, dims, modes, kinds, paddings, True, method)
    slope = slope.transpose(-1, -2) if turned else slope
    real, imaginary = slope.flatten(0, last).unbind(1)
    of_x, of_weight = gradient.new_zeros(0), gradient.new_zeros(0)
    if wanted[0]:
        of_real, of_imaginary = (part.mT for part in weight.flatten(0, last).unbind(-2))
        parts = [real @ of_real + imaginary @ of_imaginary, imaginary @ of_real - real @ of_imaginary]
        of_pair = torch.stack(parts, 1).reshape(pair.shape)
        of_pair = of_pair.transpose(-1, -2) if turned else of_pair
        of_x = synthesis_reference(of_pair, dims, modes, kinds, paddings, sizes, True, method)
    if wanted[1]:
        first, second = (part.mT for part in pair.flatten(0, last).unbind(1))
        parts = [first @ real + second @ imaginary, first @ imaginary - second @ real]
        of_weight = torch.stack(parts, -2).reshape(weight.shape)
    return of_x, of_weight, real[place_of_zero(modes)]


def _convolution_setup(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    x, weight, bias, channel, dims, modes, kinds, paddings, _, method = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(output[1], weight)
    ctx.bias_shape = None if bias is None else bias.shape
    ctx.others = channel, dims, modes, kinds, paddings, [x.shape[dim] for dim in dims], method


def _convolution_vjp(ctx: Any, of_y: Tensor | None, of_pair: Tensor | None) -> tuple[Tensor | None, ...]:
    pair, weight = ctx.saved_tensors
    channel, dims, modes, kinds, paddings, sizes, method = ctx.others
    found: list[Tensor | None] = [None, None, None]
    wanted = list(ctx.needs_input_grad[:3])
    if of_y is not None:
        of_x, of_weight, of_zero = _convolution_backward(of_y, pair, weight, *ctx.others, wanted[:2])
        found = [of_x if wanted[0] else None, of_weight if wanted[1] else None, None]
        if wanted[2]:
            found[2] = of_zero.sum_to_size(ctx.bias_shape)
    if of_pair is not None and wanted[0]:
        turned = channel_before_batch(channel, dims)
        of_pair = of_pair.transpose(-1, -2) if turned else of_pair
        through = synthesis(of_pair, dims, modes, kinds, paddings, sizes, True, method)
        found[0] = through if found[0] is None else found[0] + through
    return *found, *(None,) * 7


_PLACES = "int channel, int[] dims, int[] modes, int[] kinds, float[] paddings, SymInt[] sizes, str method"

_convolution = Kernel(
    "spectral_convolution",
    f"(Tensor x, Tensor weight, Tensor? bias, {_PLACES}) -> (Tensor, Tensor)",
    _convolution_reference,
    cpu=Path("cpu.spectral:spectral_convolution", "truncated products in the widest vectors; keeps modes only"),
    triton=Path(
        "cuda.spectral:spectral_convolution",
        "three launches that read the field once and write it once; keeps modes only",
        needs="triton",
        dtypes=TENSOR_CORES,
    ),
    setup=_convolution_setup,
    backward=_convolution_vjp,
    keeps_strides=True,
)

_convolution_backward = Kernel(
    "spectral_convolution_backward",
    f"(Tensor gradient, Tensor pair, Tensor weight, {_PLACES}, bool[] wanted) -> (Tensor, Tensor, Tensor)",
    _convolution_backward_reference,
    cpu=Path("cpu.spectral:spectral_convolution_backward", "truncated products in the widest vectors"),
    triton=Path(
        "cuda.spectral:spectral_convolution_backward",
        "four launches that read the gradient once and write it once",
        needs="triton",
        dtypes=TENSOR_CORES,
    ),
    keeps_strides=True,
)
