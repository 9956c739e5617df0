"""The spectral layer and the whole training step of an FNO beside neuraloperator's, on this machine's processor.

Gated on one thread; two threads are printed beside it. Both take (batch, channel, *space) and torch's AdamW.
"""

from __future__ import annotations

import pytest
import torch

from sciops.kernels import spectral_convolution
from sciops.operators import FNO

pytestmark = [pytest.mark.benchmark, pytest.mark.peers]
neuralop = pytest.importorskip("neuralop", reason="needs the peer: pip install neuraloperator")

HEADER = f"\n{'milliseconds, median of turns':<44}{'peer':>10}{'ours':>10}{'ratio':>8}   middle half"
COUNTS = (1, 2)  # threads; the first is gated


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def parameter_count(model: torch.nn.Module) -> int:
    return sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())


def threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"


@pytest.mark.parametrize(
    ("batch", "channels", "nodes", "n_modes", "at_least"),
    [(4, 32, 64, 16, 1.3), (2, 64, 128, 32, 1.7), (2, 32, 256, 32, 2.6), (2, 32, 256, 16, 4.0)],
)
def test_layer_forward_and_backward(batch, channels, nodes, n_modes, at_least, compare, capsys):
    """The same weights, the same map, forward and backward."""
    layer = neuralop.layers.spectral_convolution.SpectralConv(
        channels, channels, (n_modes, n_modes), implementation="factorized"
    )
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
    results = [compare(peer, ours, turns=21, threads=count) for count in COUNTS]
    with capsys.disabled():
        print(HEADER)
        for count, result in zip(COUNTS, results, strict=True):
            print(result.row(f"layer ({batch}, {channels}, {nodes}, {n_modes}), {threads(count)}"))
    assert results[0].ratio >= at_least


def test_training_step_of_the_whole_operator(take_turns, comparison, capsys):
    """Forward, loss, backward and AdamW at 128^2, batch 8, width 32, 4 layers, n_modes 32, the same kind of block."""
    torch.manual_seed(0)
    build = {
        "peer": lambda: neuralop.models.FNO(
            n_modes=(32, 32), in_channels=1, out_channels=1, hidden_channels=32, n_layers=4
        ),
        "ours": lambda: FNO(1, 1, modes=(16, 16), width=32, layers=4, coordinates=True),
    }
    x, y = draw(8, 1, 128, 128), draw(8, 1, 128, 128, seed=1)

    def step_of(model):
        optimiser = torch.optim.AdamW(model.parameters())

        def step():
            optimiser.zero_grad()
            (model(x) - y).square().mean().backward()
            optimiser.step()

        return step

    models = {name: make() for name, make in build.items()}
    counts = {name: parameter_count(model) for name, model in models.items()}
    eager = {name: step_of(model) for name, model in models.items()}
    # the pair alone first: what a third program leaves on the heap spares the peer the page faults of its own
    times = {count: take_turns(eager, threads=count, warm_up=3) for count in COUNTS}
    ratios, lines = {}, []

    def note(name, peer, ours, count):
        result = comparison(times[count][peer], times[count][ours])
        ratios[count, name] = result.ratio
        lines.append(result.row(f"FNO step, {name}, {threads(count)}"))

    for count in COUNTS:
        note("eager : eager", "peer", "ours", count)
    steps = {f"{name} compiled": step_of(torch.compile(make())) for name, make in build.items()} | eager
    for count in COUNTS:
        # compiling is no part of the timing: it happens at the first step, and where strides or threads change
        times[count] = take_turns(steps, threads=count, warm_up=3)
        note("eager : eager, of four", "peer", "ours", count)
        note("compiled : eager", "peer compiled", "ours", count)
        note("compiled : compiled", "peer compiled", "ours compiled", count)
    with capsys.disabled():
        print(HEADER)
        print("\n".join(lines))
        print(f"{'parameters':<44}{counts['peer']:>10}{counts['ours']:>10}")
    assert 0.9 < counts["ours"] / counts["peer"] < 1.1
    assert ratios[1, "eager : eager"] >= 2.0
    assert ratios[1, "compiled : eager"] >= 1.3
