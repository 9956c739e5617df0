r"""Weights of few parameters for the mixing of modes, and the dense weight that they stand for.

W has a complex matrix for every mode k, from the channels i that come in to the channels o that go out. It is one of

- :class:`Separable`: a diagonal, :math:`W_{k,io} = w_{k,i}\,\delta_{io}`;
- :class:`Tucker`: :math:`W_{k,io} = \sum_{r,a,b} G_{r,ab} \big(\prod_j U^j_{k_j r_j}\big) A_{ia} B_{ob}`;
- :class:`CP`: :math:`W_{k,io} = \sum_r A_{ir} B_{or} \prod_j U^j_{k_j r}`;
- :class:`TensorTrain`: :math:`W_{k,io} = \sum_{p,q,r} A_{ip}\, B_{q,po}\, U^1_{k_1,q r_1} U^2_{k_2,r_1 r_2} \cdots`.

All are complex and stored as real tensors whose last axis but one is (real, imaginary), as in the dense weight
``(*modes, in_channel, 2, out_channel)``; complex z becomes ``torch.view_as_real(z).movedim(-1, -2)``. The factors are
those of tltorch, with the axes of the modes first (for its CP, multiply the weights into one factor).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from sciops.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float


class Separable(NamedTuple):
    """A diagonal weight: ``weight`` is (*modes, 2, channel)."""

    weight: Tensor


class Tucker(NamedTuple):
    """A core between factors: ``core`` (*mode_ranks, rank_in, 2, rank_out), ``factor_in`` (in_channel, 2, rank_in),
    ``factor_out`` (out_channel, 2, rank_out), ``mode_factors`` one (modes, 2, mode_rank) per axis."""

    core: Tensor
    factor_in: Tensor
    factor_out: Tensor
    mode_factors: tuple[Tensor, ...]


class CP(NamedTuple):
    """A sum of rank-one terms: ``factor_in`` (in_channel, 2, rank), ``factor_out`` (out_channel, 2, rank),
    ``mode_factors`` one (modes, 2, rank) per axis."""

    factor_in: Tensor
    factor_out: Tensor
    mode_factors: tuple[Tensor, ...]


class TensorTrain(NamedTuple):
    """A chain in, out, modes: ``factor_in`` (in_channel, 2, p), ``factor_out`` (q, p, 2, out_channel), ``mode_factors``
    one (modes, rank, 2, next_rank) per axis, the first rank being q and the last next_rank 1."""

    factor_in: Tensor
    factor_out: Tensor
    mode_factors: tuple[Tensor, ...]


Weight = Separable | Tucker | CP | TensorTrain


def shape_of(weight: Weight) -> tuple[tuple[int, ...], int, int]:
    """The modes along each axis, the channels in and the channels out of a weight.

    Raises
    ------
    InputError
        For factors that do not fit each other or are not real floating point, no axis of modes, or more than three.

    Examples
    --------
    >>> shape_of(CP(torch.zeros(8, 2, 5), torch.zeros(4, 2, 5), (torch.zeros(7, 2, 5), torch.zeros(3, 2, 5))))
    ((7, 3), 8, 4)
    """
    if isinstance(weight, Separable):
        require_real_parts("Separable.weight", weight.weight)
        shape = tuple(weight.weight.shape)
        if not 3 <= len(shape) <= 5 or shape[-2] != 2:
            raise InputError(
                f"Separable.weight has shape {shape}, expected (*modes, 2, channel) with 1 to 3 axes of modes"
            )
        return shape[:-2], shape[-1], shape[-1]
    if not isinstance(weight, Tucker | CP | TensorTrain):
        raise InputError(f"the weight is a {type(weight).__name__}, expected Separable, Tucker, CP or TensorTrain")
    name, factors = type(weight).__name__, weight.mode_factors
    if not 1 <= len(factors) <= 3:
        raise InputError(f"{name} has {len(factors)} mode factors, expected 1, 2 or 3")
    ranks: Sequence[tuple[int, ...]]
    if isinstance(weight, Tucker):
        _require("Tucker.core", weight.core, *[None] * (len(factors) + 1), 2, None)
        *mode_ranks, rank_in, _, rank_out = weight.core.shape
        ranks = [(2, r) for r in mode_ranks]
        _require("Tucker.factor_out", weight.factor_out, None, 2, rank_out)
        out = weight.factor_out.shape[0]
    elif isinstance(weight, CP):
        _require("CP.factor_in", weight.factor_in, None, 2, None)
        rank_in = weight.factor_in.shape[-1]
        ranks = [(2, rank_in)] * len(factors)
        _require("CP.factor_out", weight.factor_out, None, 2, rank_in)
        out = weight.factor_out.shape[0]
    else:
        _require("TensorTrain.factor_out", weight.factor_out, None, None, 2, None)
        rank, rank_in, _, out = weight.factor_out.shape
        for j, factor in enumerate(factors):
            _require(f"TensorTrain.mode_factors[{j}]", factor, None, None, 2, None)
        before = [rank, *(f.shape[-1] for f in factors)]
        ranks = [(r, 2, f.shape[-1]) for r, f in zip(before, factors[:-1], strict=False)] + [(before[-2], 2, 1)]
    _require(f"{name}.factor_in", weight.factor_in, None, 2, rank_in)
    for j, (factor, rest) in enumerate(zip(factors, ranks, strict=True)):
        _require(f"{name}.mode_factors[{j}]", factor, None, *rest)
    return tuple(f.shape[0] for f in factors), weight.factor_in.shape[0], out


def to_dense(weight: Weight) -> Float[Tensor, "*modes in_channel 2 out_channel"]:
    """The dense weight that a factorised one stands for, with all its entries: for tests and small weights.

    Examples
    --------
    >>> to_dense(Separable(torch.ones(3, 2, 4))).shape
    torch.Size([3, 4, 2, 4])
    """
    shape_of(weight)
    if isinstance(weight, Separable):
        return torch.diag_embed(weight.weight).movedim(-2, -3).contiguous()
    z = [torch.complex(t.select(-2, 0), t.select(-2, 1)) for t in tensors_of(weight)]
    k, r = "klm"[: len(weight.mode_factors)], "rst"[: len(weight.mode_factors)]
    if isinstance(weight, Tucker):
        equation = f"{r}ab,ia,ob,{','.join(x + y for x, y in zip(k, r, strict=True))}->{k}io"
    elif isinstance(weight, CP):
        equation = f"ir,or,{','.join(x + 'r' for x in k)}->{k}io"
    else:
        equation = f"ip,qpo,{','.join(x + y + w for x, y, w in zip(k, 'q' + r, r, strict=False))}->{k}io"
    return torch.view_as_real(torch.einsum(equation, *z)).movedim(-1, -2).contiguous()


def tucker_ranks(
    modes: Sequence[int], in_channels: int, out_channels: int, fraction: float
) -> tuple[tuple[int, ...], int, int]:
    """Ranks, in proportion to the sizes, with which a Tucker weight has a fraction of the parameters of the dense one.

    Returns
    -------
    tuple
        The rank of each axis of modes, that of the channels in, that of the channels out.

    Raises
    ------
    InputError
        For a fraction that is not in (0, 1].

    Examples
    --------
    >>> tucker_ranks((32, 17), 64, 64, 0.1)
    ((18, 10), 36, 36)
    """
    sizes = (*modes, in_channels, out_channels)
    wanted = _wanted(sizes, fraction)
    low, high = 0.0, 1.0
    for _ in range(60):  # the number of parameters grows with the share c of every size that is its rank
        c = (low + high) / 2
        count = c ** len(sizes) * math.prod(sizes) + c * sum(n * n for n in sizes)
        low, high = (c, high) if count < wanted else (low, c)
    *mode_ranks, rank_in, rank_out = (max(round(low * n), 1) for n in sizes)
    return tuple(mode_ranks), rank_in, rank_out


def cp_rank(modes: Sequence[int], in_channels: int, out_channels: int, fraction: float) -> int:
    """The rank with which a CP weight has a fraction of the parameters of the dense one.

    Raises
    ------
    InputError
        For a fraction that is not in (0, 1].

    Examples
    --------
    >>> cp_rank((32, 17), 64, 64, 0.1)
    1259
    """
    sizes = (*modes, in_channels, out_channels)
    return max(round(_wanted(sizes, fraction) / sum(sizes)), 1)


def tensor_train_ranks(modes: Sequence[int], in_channels: int, out_channels: int, fraction: float) -> tuple[int, ...]:
    """Ranks, in proportion to the sizes, with which a tensor train has a fraction of the dense parameters.

    Returns
    -------
    tuple
        The ranks p, q, ... between in and out, out and the first axis of modes, and so on.

    Raises
    ------
    InputError
        For a fraction that is not in (0, 1].

    Examples
    --------
    >>> tensor_train_ranks((32, 17), 64, 64, 0.1)
    (62, 46, 24)
    """
    sizes = (in_channels, out_channels, *modes)
    wanted = _wanted(sizes, fraction)
    means = [(a + b) / 2 for a, b in itertools.pairwise(sizes)]
    # with ranks c * means the train has a c^2 + b c parameters
    a = sum(r * n * s for r, n, s in zip(means, sizes[1:], means[1:], strict=False))
    b = sizes[0] * means[0] + sizes[-1] * means[-1]
    c = (math.sqrt(b * b + 4 * a * wanted) - b) / (2 * a)
    return tuple(max(round(c * mean), 1) for mean in means)


def _wanted(sizes: Sequence[int], fraction: float) -> float:
    if not 0 < fraction <= 1:
        raise InputError(f"the fraction of parameters is {fraction}, expected one in (0, 1]")
    return fraction * math.prod(sizes)


def _require(name: str, tensor: Tensor, *expected: int | None) -> None:
    require_real_parts(name, tensor)
    shape = tuple(tensor.shape)
    if len(shape) != len(expected) or any(e not in (None, n) for e, n in zip(expected, shape, strict=True)):
        shown = ", ".join("any" if e is None else str(e) for e in expected)
        raise InputError(f"{name} has shape {shape}, expected ({shown})")


def require_real_parts(name: str, tensor: Tensor) -> None:
    """Raise InputError for a part of a weight that is not stored as real and imaginary parts."""
    if not tensor.dtype.is_floating_point:
        remedy = "torch.view_as_real(w).movedim(-1, -2)" if tensor.is_complex() else "w.float()"
        raise InputError(f"{name} is of dtype {tensor.dtype}, expected real and imaginary parts; convert w by {remedy}")


def tensors_of(weight: Weight) -> tuple[Tensor, ...]:
    if isinstance(weight, Separable):
        return (weight.weight,)
    return (*weight[:-1], *weight.mode_factors)
