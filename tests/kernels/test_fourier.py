"""The bases of one axis against the definitions."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from sciops.data.domains.domain import Axis
from sciops.errors import InputError
from sciops.kernels.fourier import KINDS, FourierAxis, analysis_matrix, synthesis_matrix, unit_nodes, unit_weights

LIKE = torch.zeros(1, dtype=torch.float64)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [2, 7, 16])
def test_nodes_and_weights_are_those_of_the_axis(kind, size):
    axis = Axis("x", size, kind=kind)
    torch.testing.assert_close(unit_nodes(size, kind), axis.coordinates(), rtol=0, atol=1e-15)
    torch.testing.assert_close(unit_weights(size, kind), axis.weights(), rtol=0, atol=1e-15)


@pytest.mark.parametrize(
    ("kind", "padding"), [("periodic", 0.0), ("closed", 0.0), ("closed", 0.3), ("cell", 0.3), ("left", 0.3)]
)
def test_analysis_is_the_quadrature_of_the_fourier_integral(kind, padding):
    axis, size = FourierAxis(4, kind, padding), 19
    x = torch.randn(size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    period = 1 + padding
    mode = torch.arange(5, dtype=torch.float64)
    wave = torch.exp(-2j * math.pi * torch.outer(mode, unit_nodes(size, kind)) / period)
    expected = (wave * unit_weights(size, kind)) @ x.to(wave.dtype) / period
    found = torch.complex(*(analysis_matrix(axis, size, like=LIKE) @ x).view(2, -1))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", ["closed", "cell", "left"])
def test_coefficients_converge_at_second_order_where_the_field_meets_the_ends_smoothly(kind):
    """The quadrature is of second order, so coefficients of the same physical field agree between grids."""
    axis = FourierAxis(3, kind, 0.25)

    def coefficients(size):
        s = unit_nodes(size, kind)
        return analysis_matrix(axis, size, like=LIKE) @ torch.exp(s)

    exact = coefficients(4096)
    errors = [(coefficients(size) - exact).norm().item() for size in (32, 64, 128)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(1.9 < order < 2.15 for order in orders), orders


def test_frequencies_that_the_grid_does_not_carry_are_zero():
    axis = FourierAxis(6)
    assert [axis.carried(size) for size in (1, 2, 7, 8, 9, 12, 13)] == [0, 0, 3, 3, 4, 5, 6]
    for size in (1, 2, 7, 8, 13):
        carried = axis.carried(size)
        for matrix in (analysis_matrix(axis, size, like=LIKE).mT, synthesis_matrix(axis, size, like=LIKE)):
            assert (matrix[:, : carried + 1].norm(dim=0) > 0).all()
            assert (matrix.view(size, 2, 7)[:, :, carried + 1 :] == 0).all()


def test_the_period_is_the_same_length_at_every_resolution():
    axis = FourierAxis(2, "closed", 0.37)
    coarse, fine = (synthesis_matrix(axis, size, like=LIKE) for size in (9, 33))
    torch.testing.assert_close(fine[::4], coarse, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((-1,), "modes is -1"), ((2, "round"), "unknown axis kind 'round'"), ((2, "closed", -0.1), "padding is -0.1"),
     ((2, "periodic", 0.1), "periodic axis needs none"), ((2.5,), "modes is 2.5; .* whole number"),
     ((2, "closed", math.nan), "padding is nan"), ((2, "closed", math.inf), "padding is inf")],
)  # fmt: skip
def test_impossible_axes_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        FourierAxis(*arguments)


@pytest.mark.parametrize("make", [analysis_matrix, synthesis_matrix])
@pytest.mark.parametrize(("kind", "size"), [("closed", 1), ("cell", 0), ("periodic", 2.5)])
def test_sizes_without_nodes_are_refused(make, kind, size):
    with pytest.raises(InputError, match=f"a {kind} axis of {size} nodes; a whole number, [12] or more"):
        make(FourierAxis(2, kind), size, like=LIKE)


def test_a_matrix_first_made_in_inference_mode_can_be_trained_with():
    axis = FourierAxis(3)
    x = torch.randn(23, dtype=torch.float64)
    with torch.inference_mode():
        analysis_matrix(axis, 23, like=x) @ x
    x.requires_grad_()
    (analysis_matrix(axis, 23, like=x) @ x).sum().backward()
    assert x.grad is not None
    assert analysis_matrix(axis, 23, like=x) is analysis_matrix(axis, 23, like=x)
