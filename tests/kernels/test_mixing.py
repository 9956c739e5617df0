"""Mixing with factorised weights: the dense map, adjoints, the peer's shapes and ranks, and refusals."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sciops.errors import InputError
from sciops.kernels.dispatch import KERNELS, use
from sciops.kernels.factors import cheapest_order
from sciops.kernels.mixing import mix
from sciops.kernels.weights import (
    CP,
    Separable,
    TensorTrain,
    Tucker,
    cp_rank,
    shape_of,
    tensor_train_ranks,
    tensors_of,
    to_dense,
    tucker_ranks,
)

PATHS = ("reference", "cpu")
KINDS = ("separable", "tucker", "cp", "tensor train")


def weight_of(kind, modes, channels, ranks, generator):
    """A random weight; ranks are those of the modes, then two for the channels."""

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    (inputs, outputs), (*mode_ranks, a, b) = channels, ranks
    if kind == "separable":
        return Separable(normal(*modes, 2, inputs))
    if kind == "cp":
        return CP(normal(inputs, 2, a), normal(outputs, 2, a), tuple(normal(n, 2, a) for n in modes))
    if kind == "tucker":
        factors = tuple(normal(n, 2, r) for n, r in zip(modes, mode_ranks, strict=True))
        return Tucker(normal(*mode_ranks, a, 2, b), normal(inputs, 2, a), normal(outputs, 2, b), factors)
    chain = itertools.pairwise([*mode_ranks, 1])
    factors = tuple(normal(n, r, 2, s) for n, (r, s) in zip(modes, chain, strict=True))
    return TensorTrain(normal(inputs, 2, a), normal(mode_ranks[0], a, 2, outputs), factors)


def as_complex(t, dim):
    return torch.complex(t.select(dim, 0), t.select(dim, 1))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(
    modes=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    channels=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    rank=st.integers(1, 5),
    batch=st.integers(1, 4),
    seed=st.integers(0, 2**31 - 1),
)
def test_it_is_the_dense_map_and_its_gradient_the_adjoint(kind, path, modes, channels, rank, batch, seed):
    generator = torch.Generator().manual_seed(seed)
    channels = (channels[0], channels[0]) if kind == "separable" else channels
    ranks = [rank + j % 2 for j in range(len(modes) + 2)]
    weight = weight_of(kind, modes, channels, ranks, generator)
    assert shape_of(weight) == (tuple(modes), *channels)
    x = torch.randn(*modes, 2, batch, channels[0], generator=generator, dtype=torch.float64, requires_grad=True)
    y = torch.randn(*modes, 2, batch, channels[1], generator=generator, dtype=torch.float64)
    dense = as_complex(to_dense(weight), -2)
    expected = as_complex(x.detach(), -3) @ dense
    with use(path):
        found = mix(x, weight)
        (transposed,) = torch.autograd.grad(found, x, y)
    assert (as_complex(found.detach(), -3) - expected).norm() < 1e-12 * (expected.norm() + 1e-300)
    # <W x, y> = <x, W' y>
    left, right = (found.detach() * y).sum(), (x.detach() * transposed).sum()
    assert abs(left - right) < 1e-12 * found.detach().norm() * y.norm()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_of_the_factors_are_those_through_the_dense_weight(kind, path, generator):
    modes, channels = (9, 3, 4), (6, 6)
    weight = weight_of(kind, modes, channels, (2, 3, 2, 5, 4), generator)
    leaves = [t.requires_grad_() for t in tensors_of(weight)]
    x = torch.randn(*modes, 2, 3, 6, generator=generator, dtype=torch.float64)
    g = torch.randn(*modes, 2, 3, 6, generator=generator, dtype=torch.float64)
    y = as_complex(x, -3) @ as_complex(to_dense(weight), -2)
    expected = torch.autograd.grad(torch.stack([y.real, y.imag], -3), leaves, g)
    with use(path):
        found = torch.autograd.grad(mix(x, weight), leaves, g)
    for a, b in zip(found, expected, strict=True):
        assert (a - b).norm() < 1e-12 * b.norm()


@pytest.mark.parametrize("kind", KINDS)
def test_backward_keeps_the_arguments_only(kind, generator):
    weight = weight_of(kind, (5, 4), (6, 6), (3, 2, 4, 3), generator)
    leaves = [torch.randn(5, 4, 2, 3, 6, dtype=torch.float64, requires_grad=True)]
    leaves += [t.requires_grad_() for t in tensors_of(weight)]
    kept = set()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.add(t.data_ptr()) or t, lambda t: t):
        mix(leaves[0], weight)
    assert kept == {t.data_ptr() for t in leaves}


class Largest(TorchDispatchMode):
    """The entries of the largest tensor made in the context."""

    def __init__(self):
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        made = [t.numel() for t in tree_leaves(out) if isinstance(t, torch.Tensor)]
        self.entries = max(self.entries, *made, 0)
        return out


@pytest.mark.parametrize("kind", KINDS[1:])
def test_no_tensor_of_the_size_of_the_dense_weight_is_made(kind, generator):
    modes, channels = (16, 16), (32, 32)
    weight = weight_of(kind, modes, channels, (2, 2, 4, 4), generator)
    pair = torch.randn(*modes, 2, 1, 32, generator=generator, dtype=torch.float64)
    dense = 2 * math.prod(modes) * math.prod(channels)
    name = f"mix_{kind.replace(' ', '_')}"
    args = (pair, *tensors_of(weight), None)
    for suffix, front in (("", ()), ("_backward", (torch.ones_like(pair),))):
        with Largest() as largest:
            KERNELS[name + suffix].reference(*front, *args)
        assert pair.numel() <= largest.entries < dense / 2
    with Largest() as largest:
        to_dense(weight)
    assert largest.entries >= dense / 2  # complex, so as many entries as this


def test_mixed_dtypes_are_promoted(generator):
    weight = weight_of("tucker", (4, 3), (5, 6), (2, 2, 3, 2), generator)
    assert mix(torch.randn(4, 3, 2, 2, 5), weight).dtype == torch.float64


def test_the_order_of_contraction_is_the_cheapest():
    assert cheapest_order((32, 17), (18, 10)) == (0, 1)
    assert cheapest_order((17, 32), (10, 18)) == (1, 0)
    assert cheapest_order((4, 100), (4, 2)) == (0, 1)


def test_parameter_counts_are_those_of_the_peer():
    """tltorch 0.5 at rank 0.1 of (64, 64, 32, 17): 477,268, 448,204 (1,259 complex weights among them), 444,464."""
    modes, channels, dense = (32, 17), (64, 64), 2 * 32 * 17 * 64 * 64
    (r, s), a, b = tucker_ranks(modes, *channels, 0.1)
    rank = cp_rank(modes, *channels, 0.1)
    p, q, t = tensor_train_ranks(modes, *channels, 0.1)
    counts = {
        "tucker": 2 * (r * s * a * b + 64 * a + 64 * b + 32 * r + 17 * s),
        "cp": 2 * rank * (64 + 64 + 32 + 17),
        "tensor train": 2 * (64 * p + p * 64 * q + q * 32 * t + t * 17),
    }
    assert counts == {"tucker": 477268, "cp": 448204 - 2 * 1259, "tensor train": 444464}
    assert all(0.095 < n / dense < 0.11 for n in counts.values())


def test_refusals_name_what_was_found(generator):
    weight = weight_of("tucker", (4, 3), (5, 6), (2, 2, 3, 2), generator)
    with pytest.raises(InputError, match=r"shape \(4, 3, 2, 1, 6\), expected \(4, 3, 2, batch, 5\) as the Tucker"):
        mix(torch.zeros(4, 3, 2, 1, 6), weight)
    with pytest.raises(InputError, match=r"shape \(4,\), expected \(4, 3, 2, batch, 5\)"):
        mix(torch.zeros(4), weight)
    with pytest.raises(InputError, match=r"Tucker\.factor_out has shape \(6, 2, 3\), expected \(any, 2, 2\)"):
        shape_of(weight._replace(factor_out=torch.zeros(6, 2, 3)))
    with pytest.raises(InputError, match=r"Tucker\.mode_factors\[1\] has shape \(3, 2, 1\), expected \(any, 2, 2\)"):
        shape_of(weight._replace(mode_factors=(weight.mode_factors[0], torch.zeros(3, 2, 1))))
    with pytest.raises(InputError, match="has 0 mode factors, expected 1, 2 or 3"):
        shape_of(CP(torch.zeros(2, 2, 1), torch.zeros(2, 2, 1), ()))
    train = weight_of("tensor train", (4, 3), (5, 6), (2, 2, 3, 2), generator)
    with pytest.raises(
        InputError, match=r"TensorTrain\.mode_factors\[1\] has shape \(3, 2, 2, 2\), expected \(any, 2, 2, 1\)"
    ):
        shape_of(train._replace(mode_factors=(train.mode_factors[0], torch.zeros(3, 2, 2, 2))))
    with pytest.raises(InputError, match=r"Separable\.weight has shape \(4, 3, 5\)"):
        mix(torch.zeros(4, 2, 1, 5), Separable(torch.zeros(4, 3, 5)))
    with pytest.raises(InputError, match="the weight is a Tensor, expected Separable"):
        mix(torch.zeros(4, 2, 1, 5), torch.zeros(4, 5, 2, 5))
    for function in (tucker_ranks, cp_rank, tensor_train_ranks):
        with pytest.raises(InputError, match=r"fraction of parameters is 1\.5"):
            function((4,), 3, 3, 1.5)
    with pytest.raises(InputError, match=r"TensorTrain\.mode_factors\[0\] has shape \(\), expected"):
        shape_of(train._replace(mode_factors=(torch.zeros(()), train.mode_factors[1])))
    with pytest.raises(InputError, match=r"Tucker\.factor_in is of dtype torch\.complex64.*view_as_real\(w\)"):
        mix(torch.zeros(4, 3, 2, 1, 5), weight._replace(factor_in=weight.factor_in.cfloat()))
    with pytest.raises(InputError, match=r"coefficients are of dtype torch\.complex128.*view_as_real\(c\)"):
        mix(torch.zeros(4, 3, 2, 1, 5, dtype=torch.complex128), weight)
    with pytest.raises(InputError, match=r"coefficients are of dtype torch\.int64.*float"):
        mix(torch.zeros(4, 3, 2, 1, 5, dtype=torch.int64), weight)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modes", [(4,), (4, 3), (4, 3, 2)])
def test_an_empty_batch_gives_an_empty_result(kind, path, modes, generator):
    weight = weight_of(kind, modes, (5, 6), ((2,) * len(modes) + (2, 2) if kind != "cp" else (2, 2)), generator)
    for tensor in tensors_of(weight):
        tensor.requires_grad_()
    pair = torch.zeros(*modes, 2, 0, 5, dtype=torch.float64, requires_grad=True)
    with use(path):
        y = mix(pair, weight)
        assert y.shape == (*modes, 2, 0, 5 if kind == "separable" else 6)
        y.sum().backward()
    assert pair.grad.shape == pair.shape
    assert all((tensor.grad == 0).all() for tensor in tensors_of(weight))


def test_gpu_programs_lie_along_the_only_long_axis_of_the_grid(monkeypatch):
    """Batches of more than 65535, which the second axis of a grid does not take."""
    cuda = pytest.importorskip("sciops.kernels.cuda.mixing")
    grids = []
    monkeypatch.setattr(cuda, "launch", lambda kernel, grid, *args, **constants: grids.append(grid))
    pair = torch.empty(4, 2, 100_000, 3, device="meta")
    cuda.separable(pair, torch.empty(4, 2, 3, device="meta"))
    channels, modes = torch.empty(3, 2, 2, device="meta"), torch.empty(4, 2, 2, device="meta")
    cuda.cp(pair, channels, channels, modes, None, None)
    assert grids == [(100_000,)] * 2
