"""What a training step costs beside the same step in a plain loop; the quick steps of each, where nothing disturbs."""

from __future__ import annotations

import itertools
import statistics
import sys
import time

import numpy as np
import pytest
import torch
import xarray as xr

from sciops.data.conventions import coordinate
from sciops.data.domains.domain import Axis
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.training.losses import RelativeL2
from sciops.training.module import OperatorModule
from sciops.training.run import train

ITEMS, BATCH, EPOCHS = 640, 8, 5


def data() -> FunctionDataset:
    a = np.random.default_rng(0).standard_normal((ITEMS, 16, 16)).astype(np.float32)
    ds = xr.Dataset({"a": (("sample", "x", "y"), a), "u": (("sample", "x", "y"), np.roll(a, 1, 1))})
    axes = {name: coordinate(Axis(name, 16, kind="periodic")) for name in "xy"}
    return FunctionDataset(ds.assign_coords(axes), inputs="a", outputs="u")


def model() -> torch.nn.Module:
    from sciops.operators.fno import FNO

    return FNO(1, 1, modes=4, width=8, layers=2, grid=data().grid)


def plain(dataset: FunctionDataset) -> list[float]:
    """Seconds between the steps of the least loop that trains at all: optimiser, schedule, clipping."""
    net, loss = model(), RelativeL2(dataset.grid)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)
    steps = EPOCHS * ITEMS // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-3, total_steps=steps, cycle_momentum=False)
    whole = dataset.batch(range(ITEMS))
    moments = []
    for _ in range(EPOCHS):
        for chosen in torch.randperm(ITEMS).split(BATCH):
            moments.append(time.perf_counter())
            optimiser.zero_grad()
            loss(net(whole["x"][chosen]), whole["y"][chosen]).backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    return [later - earlier for earlier, later in itertools.pairwise(moments)]


def ours(dataset: FunctionDataset, patch: pytest.MonkeyPatch) -> list[float]:
    """Seconds between the steps of `train`."""
    moments = []
    training_step = OperatorModule.training_step

    def timed(self: OperatorModule, batch: dict[str, torch.Tensor], batch_idx: int) -> torch.Tensor:
        moments.append(time.perf_counter())
        return training_step(self, batch, batch_idx)

    validation = dataset.subset(range(8))
    with patch.context() as timing:
        timing.setattr(OperatorModule, "training_step", timed)
        train(
            model(), dataset, validation, epochs=EPOCHS, batch_size=BATCH, validate_every=EPOCHS, progress=False,
            device="cpu",
        )  # fmt: skip
    return [later - earlier for earlier, later in itertools.pairwise(moments)]


@pytest.mark.benchmark
def test_overhead_of_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = data()
    bare, full = [], []
    for _ in range(3):
        bare += plain(dataset)
        full += ours(dataset, monkeypatch)
    quick = [1e3 * statistics.quantiles(times, n=20)[0] for times in (bare, full)]
    sys.stdout.write(
        f"\nstep: plain loop {quick[0]:.2f} ms, train() {quick[1]:.2f} ms, overhead {quick[1] - quick[0]:.2f} ms\n"
    )
    assert quick[1] - quick[0] < 1.0
