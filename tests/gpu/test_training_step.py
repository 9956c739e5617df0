"""The whole training step of an FNO beside neuraloperator's, or a plain one in torch where that is not installed."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from importlib.util import find_spec

import pytest
import rooflines
import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

pytestmark = pytest.mark.benchmark
DEVICE = "cuda"
TURNS = 11


class PlainLayer(nn.Module):
    """Full real FFT, complex weights on the two blocks of low frequencies, full inverse; 1x1 convolutions."""

    def __init__(self, width: int, modes: int, last: bool) -> None:
        super().__init__()
        self.modes, self.last = modes, last
        shape = (2, width, width, modes, modes + 1)
        self.weight = nn.Parameter(torch.randn(*shape, dtype=torch.cfloat) / width)
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))
        self.skip = nn.Conv2d(width, width, 1, bias=False)
        self.inner, self.outer = nn.Conv2d(width, width // 2, 1), nn.Conv2d(width // 2, width, 1)
        self.gate = nn.Parameter(torch.ones(width, 1, 1))

    # complex tensors are not compiled in any case, and inductor fails on the strides of their gradients
    @torch.compiler.disable
    def convolve(self, x: Tensor) -> Tensor:
        m = self.modes
        c = torch.fft.rfft2(x, norm="forward")
        z = torch.zeros_like(c)
        z[..., :m, : m + 1] = torch.einsum("bixy,ioxy->boxy", c[..., :m, : m + 1], self.weight[0])
        z[..., -m:, : m + 1] = torch.einsum("bixy,ioxy->boxy", c[..., -m:, : m + 1], self.weight[1])
        return torch.fft.irfft2(z, s=x.shape[-2:], norm="forward")

    def forward(self, x: Tensor) -> Tensor:
        h = self.convolve(x) + self.bias + self.skip(x)
        h = h if self.last else gelu(h)
        y = self.outer(gelu(self.inner(h))) + self.gate * x
        return y if self.last else gelu(y)


def plain_fno(width: int, modes: int, layers: int) -> nn.Module:
    lifting = nn.Sequential(nn.Conv2d(1, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, width, 1))
    projection = nn.Sequential(nn.Conv2d(width, 2 * width, 1), nn.GELU(), nn.Conv2d(2 * width, 1, 1))
    return nn.Sequential(lifting, *(PlainLayer(width, modes, i + 1 == layers) for i in range(layers)), projection)


def baseline() -> tuple[str, Callable[[], nn.Module]]:
    if find_spec("neuralop") is None:
        return "plain torch FNO (neuraloperator is not installed)", lambda: plain_fno(32, 16, 4)
    from neuralop.models import FNO as Peer

    return "neuraloperator", lambda: Peer(
        n_modes=(32, 32), in_channels=1, out_channels=1, hidden_channels=32, n_layers=4
    )


def step_of(model: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    optimiser = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimiser.zero_grad()
        (model(x) - y).square().mean().backward()
        optimiser.step()

    return step


def test_training_step_of_the_whole_operator(report):
    """128^2, batch 8, width 32, 4 layers, n_modes 32 as the peer counts; float32, AdamW."""
    # the class of the field needs a little more than the kernels do
    operators = pytest.importorskip("sciops.operators", reason="sciops.operators cannot be imported here")
    torch.manual_seed(0)
    x, y = torch.randn(2, 8, 1, 128, 128, device=DEVICE)
    name, peer = baseline()
    build = {"peer": peer, "ours": lambda: operators.FNO(1, 1, modes=(16, 16), width=32, layers=4, coordinates=True)}
    counts, steps = {}, {}
    for who, make in build.items():
        eager, compiled = make().to(DEVICE), make().to(DEVICE)
        counts[who] = sum(p.numel() * (2 if p.is_complex() else 1) for p in eager.parameters())
        steps[who], steps[f"{who} compiled"] = step_of(eager, x, y), step_of(torch.compile(compiled), x, y)
    for who in list(steps):
        try:
            for _ in range(3):
                steps[who]()
        except Exception as error:
            if not who.startswith("peer"):
                raise
            report.failure(f"FNO step, {name}, {who}", f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
            del steps[who]
    times: dict[str, list[float]] = {who: [] for who in steps}
    for turn in range(TURNS):
        for who in list(steps)[:: -1 if turn % 2 else 1]:
            times[who] += rooflines.sample_seconds(steps[who], DEVICE, samples=1, least=0.05)
    start = len(report.goals)
    for a, b, least in (
        ("peer", "ours", 2.5),
        ("peer", "ours compiled", None),
        ("peer compiled", "ours", None),
        ("peer compiled", "ours compiled", 1.5),
    ):
        if a in times:
            ratios = [p / q for p, q in zip(times[a], times[b], strict=True)]
            what = f"FNO step, {a.replace('peer', name)} : {b}, {1e3 * statistics.median(times[a]):.2f} ms"
            report.goal(f"{what} : {1e3 * statistics.median(times[b]):.2f} ms", statistics.median(ratios), least=least)
    assert 0.9 < counts["ours"] / counts["peer"] < 1.1
    assert not report.missed(start), report.missed(start)
