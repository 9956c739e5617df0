"""Channel maps and normalisation."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import gelu, linear

from sciops.data.domains.domain import Grid
from sciops.layers import FieldNorm, PointwiseLinear, PointwiseMLP


def test_initial_scale_and_bias():
    layer = PointwiseLinear(256, 256, gain=3.0, generator=torch.Generator().manual_seed(0))
    assert abs(layer.weight.var().item() * 256 / 9 - 1) < 0.05 and (layer.bias == 0).all()
    assert PointwiseLinear(2, 3, bias=False, generator=torch.Generator()).bias is None


def test_the_perceptron_is_the_chain_it_states():
    mlp = PointwiseMLP(4, 6, 4, residual=True, activate_in=True, generator=torch.Generator().manual_seed(0)).double()
    x, r = torch.randn(2, 5, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).repeat(
        2, 1, 1, 1, 1
    )
    hidden = gelu(linear(gelu(x + linear(r, mlp.skip)), mlp.inner, mlp.inner_bias))
    torch.testing.assert_close(mlp(x, r), linear(hidden, mlp.outer, mlp.outer_bias) + mlp.gate * r)


@pytest.mark.parametrize("kind", ["periodic", "closed", "cell", "left"])
def test_field_norm_uses_the_moments_of_the_function(kind):
    """Mean and variance are those of the function, so the result agrees between grids to the order of quadrature."""
    norm = FieldNorm(1, [kind, "cell"])
    results = []
    for size in (16, 512):
        grid = Grid.unit(size, 3, kind=(kind, "cell"))
        s = grid.coordinates()[:1]
        y = norm((2 + torch.exp(s if kind != "periodic" else torch.sin(6.283185307179586 * s)))[None].float())
        mean = (y * grid.weights()).sum()
        assert abs(mean) < 1e-5 and abs((y.square() * grid.weights()).sum() - 1) < 1e-3
        results.append(y[0, 0, 0, 0].item())
    if kind != "cell":  # the first node of a cell axis moves with the resolution
        assert abs(results[0] - results[1]) < 0.02
    moved = FieldNorm(1, [kind, "cell"])(torch.ones(4, 2, 3, 1), dims=(0, 2), channel=-1)
    assert moved.shape == (4, 2, 3, 1)
