"""Continuation by axis kind, coordinate channels, and the pixel layers that use them."""

from __future__ import annotations

import math

import pytest
import torch

from sciops.data.domains.domain import Axis
from sciops.layers import ConvNeXtBlock, Double, Halve, coordinate_channels, coordinate_count, pad_axes


@pytest.mark.parametrize("size", [1, 2, 5])
def test_periodic_continuation_wraps_even_more_than_once(size):
    x = torch.arange(size * 2.0).view(2, size)
    y = pad_axes(x, [(3, 4)], ["periodic"])
    assert torch.equal(y, x[:, torch.arange(-3, size + 4) % size])


def test_axes_of_different_kinds():
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    y = pad_axes(x, [(1, 2), (3, 0)], ["closed", "periodic"])
    assert y.shape == (2, 3, 7, 8)
    assert (y[:, :, 0] == 0).all() and (y[:, :, 5:] == 0).all()
    assert torch.equal(y[:, :, 1:5, 3:], x) and torch.equal(y[:, :, 1:5, :3], x[..., 2:])
    assert pad_axes(x, [(0, 0), (0, 0)], ["closed", "periodic"]) is x


@pytest.mark.parametrize("kind", ["closed", "cell", "left"])
def test_coordinates_are_those_of_the_axis_scaled_to_one(kind):
    axis = Axis("x", 7, -3.0, 5.0, kind)
    found = coordinate_channels([7], [kind], periodic=False, others=True, like=torch.zeros(1, dtype=torch.float64))
    torch.testing.assert_close(found[0], (axis.coordinates() + 3) / 4 - 1)


def test_periodic_coordinates_are_continuous_and_counted():
    kinds, like = ("periodic", "closed"), torch.zeros(1, dtype=torch.float64)
    for periodic in (False, True):
        for others in (False, True):
            found = coordinate_channels([6, 5], kinds, periodic=periodic, others=others, like=like)
            count = coordinate_count(kinds, periodic=periodic, others=others)
            assert (found is None and count == 0) or found.shape == (count, 6, 5)
    wave = coordinate_channels([6, 5], kinds, periodic=True, others=False, like=like)[:, :, 0]
    s = torch.arange(6, dtype=torch.float64) / 6
    torch.testing.assert_close(wave, torch.stack([(2 * math.pi * s).cos(), (2 * math.pi * s).sin()]))


@pytest.mark.parametrize("sizes", [(1,), (8,), (9,), (5, 8), (3, 4, 5)])
def test_resolution_is_halved_upwards_and_restored(sizes):
    kinds = ["periodic", "closed", "cell"][: len(sizes)]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, *sizes, generator=generator)
    coarse = Halve(3, 5, kinds, generator=generator)(x)
    assert coarse.shape == (2, 5, *(math.ceil(n / 2) for n in sizes))
    assert Double(5, 3, len(sizes), generator=generator)(coarse, sizes).shape == x.shape


def test_a_block_commutes_with_shifts_along_periodic_axes_only():
    block = ConvNeXtBlock(3, ["periodic", "closed"], generator=torch.Generator().manual_seed(0)).double()
    x = torch.randn(2, 3, 6, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(block(x.roll(2, -2)), block(x).roll(2, -2))
    assert not torch.allclose(block(x.roll(2, -1)), block(x).roll(2, -1))
