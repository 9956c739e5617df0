"""`NeuralPreconditioner` beside its own untrained self, conjugate gradients, incomplete factors and multigrid.

Trained on lognormal media at 64^2; what is reported are other systems of that family at 64^2 and 128^2, and of another
family, with noise as right-hand side: medians of iterations and of processor milliseconds, set-up included, on one
thread.
"""

from __future__ import annotations

import copy
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciops.data import Grid
from sciops.operators import FNO, ConvNeXtUNet
from sciops.preconditioners import DiffusionFamily, NeuralPreconditioner, families, train
from sciops.solvers.linear import Diffusion, IncompleteCholesky, Jacobi, Multigrid, cg, fcg

pytestmark = pytest.mark.benchmark

MINUTES = float(os.environ.get("SCIOPS_TRAINING_MINUTES", "2"))  # of each model
SEED = 0  # of training; held-out systems come from others
HELD_OUT = 10_000
SYSTEMS = 5
RTOL = 1e-6
KINDS = {"lognormal": families.lognormal, "piecewise": families.piecewise}


class Nothing(nn.Module):
    """No function at all, which leaves the hat functions."""

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :0]


def fno(form: str) -> NeuralPreconditioner:
    channels = 5 if form == "coarse" else 6
    return NeuralPreconditioner(FNO(channels, 4, modes=(12, 12), width=16, layers=3, seed=SEED), form=form)


def unet(form: str) -> NeuralPreconditioner:
    channels, grid = 5 if form == "coarse" else 6, Grid.unit(64, 64, kind="cell")
    return NeuralPreconditioner(ConvNeXtUNet(channels, 4, grid=grid, width=16, levels=3, seed=SEED), form=form)


def systems(kind: str, n: int) -> list[tuple[Diffusion, Tensor]]:
    family: DiffusionFamily = KINDS[kind](n, n, batch=1)
    found = []
    for number in range(SYSTEMS):
        generator = torch.Generator().manual_seed(HELD_OUT + number)
        A = family(generator).to(torch.float64)
        found.append((A, torch.randn(n, n, generator=generator, dtype=torch.float64)))
    return found


def programs() -> dict[str, tuple[Callable[..., Any], Any]]:
    """What is compared, by name: the method, and its preconditioner or what makes one."""
    found: dict[str, tuple[Callable[..., Any], Any]] = {
        "CG": (cg, None),
        "Jacobi": (cg, Jacobi),
        "IC(0)": (cg, IncompleteCholesky),
        "Multigrid": (cg, Multigrid),
        "coarse, hat functions alone": (cg, NeuralPreconditioner(Nothing()).setup),
    }
    for form, method in (("coarse", cg), ("direction", fcg)):
        for name, make in (("ConvNeXtUNet", unet), ("FNO", fno)):
            model = make(form)
            found[f"{form}, {name}, untrained"] = method, copy.deepcopy(model).setup
            train(families.lognormal(64, 64), model, minutes=MINUTES, seed=SEED, progress=False)
            assert model.record is not None
            found[f"{form}, {name}, {model.record.steps} steps"] = method, model.setup
    return found


def test_held_out_systems(one_thread: None, capsys: pytest.CaptureFixture[str]) -> None:
    compared, places = programs(), [(kind, n) for kind in KINDS for n in (64, 128)]
    cells: dict[str, list[str]] = {name: [] for name in compared}
    for kind, n in places:
        counts: dict[str, list[int]] = {name: [] for name in compared}
        times: dict[str, list[float]] = {name: [] for name in compared}
        for A, b in systems(kind, n):
            for name, (method, make) in compared.items():
                began = time.process_time()
                found = method(A, b, M=None if make is None else make(A), rtol=RTOL, maxiter=20_000)
                times[name].append((time.process_time() - began) * 1e3)
                assert found.converged and float((A @ found.value - b).norm()) <= 1.01 * RTOL * float(b.norm())
                counts[name].append(int(found.iterations))
        for name in compared:
            middle, most = statistics.median(counts[name]), max(counts[name])
            cells[name].append(f"{middle:g} (at most {most}) / {statistics.median(times[name]):.0f}")
    assert "Multigrid" in cells
    with capsys.disabled():
        print(f"\n{'iterations / milliseconds with set-up':<40}" + "".join(f"{k} {n}^2".rjust(32) for k, n in places))
        for name, row in cells.items():
            print(f"{name:<40}" + "".join(cell.rjust(32) for cell in row))
