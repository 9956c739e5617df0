"""Contractions with factorised weights beside neuraloperator's, forward and backward, on one thread of this machine.

The setting of a tensorised FNO: width 64, n_modes 32 on both axes, rank 0.1. The peer's default reconstructs the dense
weight; its other implementation contracts the factors by einsum and keeps what lies between for the backward pass,
where ours keeps the arguments only.
"""

from __future__ import annotations

import pytest
import torch

from sciops.kernels.mixing import mix
from sciops.kernels.weights import CP, TensorTrain, Tucker, tensors_of

pytestmark = [pytest.mark.benchmark, pytest.mark.peers]
neuralop = pytest.importorskip("neuralop", reason="needs the peer: pip install neuraloperator")

HEADER = f"\n{'milliseconds, median of turns':<60}{'peer':>10}{'ours':>10}{'ratio':>8}   middle half"


def real(z: torch.Tensor) -> torch.Tensor:
    """Complex entries as ours hold them."""
    return torch.view_as_real(z.detach()).movedim(-1, -2).contiguous().requires_grad_()


def ours_of(weight):
    """The peer's factors, (in, out, modes), as a weight of ours."""
    a, b, *modes = weight.factors
    kind = type(weight).__name__
    if kind == "TuckerTensor":
        return Tucker(real(weight.core.permute(2, 3, 0, 1)), real(a), real(b), tuple(map(real, modes)))
    if kind == "CPTensor":
        return CP(real(a * weight.weights), real(b), tuple(map(real, modes)))
    chain = tuple(real(m.permute(1, 0, 2)) for m in modes)
    return TensorTrain(real(a[0]), real(b.permute(2, 0, 1)), chain)


def mode_major(x: torch.Tensor) -> torch.Tensor:
    """Complex (batch, channel, *modes) as real (*modes, 2, batch, channel)."""
    return torch.view_as_real(x.detach()).permute(2, 3, 4, 0, 1).contiguous()


@pytest.mark.parametrize(
    ("kind", "batch", "turns", "at_least"),
    [("tucker", 2, 21, 2), ("tucker", 4, 21, 2), ("tucker", 16, 11, None), ("tt", 4, 11, None), ("cp", 4, 9, None)],
)
def test_contraction(kind, batch, turns, at_least, take_turns, comparison, capsys):
    torch.manual_seed(0)
    layers = {
        name: neuralop.layers.spectral_convolution.SpectralConv(
            64, 64, (32, 32), factorization=kind, rank=0.1, implementation=name
        )
        for name in ("reconstructed", "factorized")
    }
    layers["factorized"].load_state_dict(layers["reconstructed"].state_dict())
    peer = layers["reconstructed"].weight
    weight = ours_of(peer)
    x, g = (torch.randn(batch, 64, 32, 17, dtype=torch.cfloat) for _ in range(2))
    x.requires_grad_()
    pair, gradient, factors = mode_major(x).requires_grad_(), mode_major(g), tensors_of(weight)

    def ours():
        return torch.autograd.grad(mix(pair, weight), [pair, *factors], gradient)

    def of_peer(name):
        layer = layers[name]
        return lambda: torch.autograd.grad(layer._contract(x, layer.weight), [x, *layer.weight.parameters()], g)

    expected = mode_major(layers["reconstructed"]._contract(x, peer))
    assert (mix(pair, weight).detach() - expected).norm() < 1e-5 * expected.norm()
    expected = mode_major(of_peer("reconstructed")()[0])
    assert (ours()[0] - expected).norm() < 1e-5 * expected.norm()
    times = take_turns({**{name: of_peer(name) for name in layers}, "ours": ours}, turns=turns, threads=1)
    with capsys.disabled():
        print(HEADER)
        for name in layers:
            result = comparison(times[name], times["ours"])
            print(result.row(f"{kind}, batch {batch}, width 64, 32 x 32 modes, peer {name}"))
    if at_least is not None:
        assert comparison(times["reconstructed"], times["ours"]).ratio >= at_least
