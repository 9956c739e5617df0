"""Peak memory of a training step of an FNO beside neuraloperator's: a process each, growth over its start.

As a script, ``python test_step_memory.py peer|ours``, it prints the bytes of one of them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = [
    pytest.mark.benchmark,
    pytest.mark.peers,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak from Linux's /proc"),
]
STEPS = 3  # from the second on, the moments of the optimiser are there beside the activations


def build(name: str, n_modes: int, width: int) -> torch.nn.Module:
    if name == "peer":
        from neuralop.models import FNO as Peer

        return Peer(n_modes=(n_modes, n_modes), in_channels=1, out_channels=1, hidden_channels=width, n_layers=4)
    from sciops.operators import FNO

    return FNO(1, 1, modes=(n_modes // 2,) * 2, width=width, layers=4, coordinates=True)


def train(name: str, *, n_modes: int, width: int, nodes: int, batch: int) -> None:
    model = build(name, n_modes, width)
    optimiser = torch.optim.AdamW(model.parameters())
    x, y = torch.randn(2, batch, 1, nodes, nodes, generator=torch.Generator().manual_seed(0))
    for _ in range(STEPS):
        optimiser.zero_grad()
        (model(x) - y).square().mean().backward()
        optimiser.step()


def resident(entry: str) -> int:
    """Bytes of an entry of the kernel's table of this process."""
    found = re.search(rf"{entry}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def growth(name: str) -> int:
    """Bytes by which the peak of the steps, with model and data, exceeds what the process held before them."""
    # code that loads or compiles when it is first used is no memory of the step
    train(name, n_modes=4, width=32, nodes=16, batch=2)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    start = resident("VmRSS")
    train(name, n_modes=32, width=32, nodes=128, batch=8)
    return resident("VmHWM") - start


@pytest.mark.parametrize("threads", [1, 2])
def test_peak_memory_of_a_training_step(threads, capsys):
    pytest.importorskip("neuralop", reason="needs the peer: pip install neuraloperator")
    found = {}
    for name in ("peer", "ours"):
        command = [sys.executable, __file__, name, str(threads)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stderr[-2000:]
        found[name] = int(run.stdout.split()[-1]) / 2**20
    ratio = found["peer"] / found["ours"]
    with capsys.disabled():
        print(f"\n{'MiB at the peak, less those at the start':<44}{'peer':>10}{'ours':>10}{'ratio':>8}")
        label = f"FNO step, {threads} thread{'s' * (threads > 1)}"
        print(f"{label:<44}{found['peer']:>10.0f}{found['ours']:>10.0f}{ratio:>8.2f}")
    if threads == 1:
        assert ratio >= 2


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    print(growth(sys.argv[1]))
