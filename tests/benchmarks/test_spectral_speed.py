"""The spectral layer and the whole training step of an FNO beside neuraloperator's, on one thread of this machine."""

from __future__ import annotations

import pytest
import torch

from sciops.kernels import spectral_convolution
from sciops.operators import FNO

pytestmark = [pytest.mark.benchmark, pytest.mark.peers]
neuralop = pytest.importorskip("neuralop", reason="needs the peer: pip install neuraloperator")

HEADER = f"\n{'milliseconds, median of turns':<44}{'peer':>10}{'ours':>10}{'ratio':>8}   middle half"


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameter_count(model: torch.nn.Module) -> int:
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())


@pytest.mark.parametrize(
    ("batch", "channels", "nodes", "n_modes", "at_least"), [(2, 64, 128, 32, 1.5), (2, 32, 256, 16, 3.0)]
)
def test_layer_forward_and_backward(batch, channels, nodes, n_modes, at_least, compare, capsys):
    """The same weights, the same map, forward and backward."""
    layer = neuralop.layers.spectral_convolution.SpectralConv(channels, channels, (n_modes, n_modes))
    complex_weight = layer.weight.to_tensor().detach()
    m = n_modes // 2
    weight = torch.zeros(2 * m + 1, m + 1, channels, 2, channels)
    # the peer keeps -m .. m - 1 on the first axis, ours -m .. m
    weight[:-1] = torch.view_as_real(complex_weight).permute(2, 3, 0, 4, 1)
    weight.requires_grad_()
    bias = layer.bias.detach().flatten().requires_grad_()
    x, g = draw(batch, channels, nodes, nodes).requires_grad_(), draw(batch, channels, nodes, nodes, seed=1)

    def peer():
        return torch.autograd.grad(layer(x), [x, *layer.parameters()], g)

    def ours():
        return torch.autograd.grad(spectral_convolution(x, weight, (m, m), bias=bias), [x, weight, bias], g)

    expected, found = layer(x).detach(), spectral_convolution(x, weight, (m, m), bias=bias).detach()
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert (ours()[0] - peer()[0]).norm() < 1e-5 * peer()[0].norm()
    result = compare(peer, ours)
    with capsys.disabled():
        print(HEADER)
        print(result.row(f"layer, batch {batch}, channels {channels}, {nodes}^2, modes {m}"))
    assert result.ratio >= at_least


def test_training_step_of_the_whole_operator(compare, capsys):
    """Forward, loss, backward and AdamW at 128^2, batch 8, width 32, 4 layers, 16 modes, the same kind of block."""
    torch.manual_seed(0)
    models = {
        "peer": neuralop.models.FNO(n_modes=(32, 32), in_channels=1, out_channels=1, hidden_channels=32, n_layers=4),
        "ours": FNO(1, 1, modes=(16, 16), width=32, layers=4, coordinates=True),
    }
    x, y = draw(8, 1, 128, 128), draw(8, 1, 128, 128, seed=1)

    def step_of(model):
        optimiser = torch.optim.AdamW(model.parameters())

        def step():
            optimiser.zero_grad()
            (model(x) - y).square().mean().backward()
            optimiser.step()

        return step

    counts = {name: parameter_count(model) for name, model in models.items()}
    result = compare(step_of(models["peer"]), step_of(models["ours"]))
    with capsys.disabled():
        print(HEADER)
        print(result.row("FNO step, batch 8, 128^2, width 32, modes 16"))
        print(f"{'parameters':<44}{counts['peer']:>10}{counts['ours']:>10}")
    assert 0.9 < counts["ours"] / counts["peer"] < 1.1
    assert result.ratio >= 1.5
