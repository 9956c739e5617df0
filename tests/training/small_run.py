"""A small training run, as a module for the tests and as a program that can be killed.

``small_run.py train FOLDER [name=value ...]`` trains (and resumes), and saves the result to FOLDER/result.pt.
``small_run.py kill FOLDER COUNT KILLS SEED`` trains once to the end in FOLDER/whole and then COUNT times in FOLDER/0
and on, each killed KILLS times at random moments before it is left alone; each attempt is a process of its own.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn

from sciops.data.conventions import coordinate
from sciops.data.domains.domain import Axis, Grid
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.normaliser import Normaliser
from sciops.data.functions.statistics import statistics_of
from sciops.training.run import TrainingResult, train


class SmallNet(nn.Module):
    """Two circular convolutions in a module list, with dropout, so that random numbers count."""

    def __init__(self, dropout: float = 0.1, *, parameters: int = 0) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Conv1d(channels, 12, 5, padding=2, padding_mode="circular") for channels in (1 + parameters, 12)
        )
        self.head = nn.Conv1d(12, 1, 1)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, parameters: Tensor | None = None) -> Tensor:
        if parameters is not None:
            x = torch.cat([x, parameters[:, :, None].expand(-1, -1, x.shape[-1])], dim=1)
        for block in self.blocks:
            x = self.drop(nn.functional.gelu(block(x)))
        return self.head(x)


def network(dropout: float = 0.1, **options: Any) -> SmallNet:
    torch.manual_seed(0)
    return SmallNet(dropout, **options)


def operator(name: str) -> nn.Module:
    from sciops.operators.fno import FNO
    from sciops.operators.unet import ConvNeXtUNet

    grid = Grid.unit(16, kind="periodic")
    if name == "fno":
        return FNO(1, 1, modes=5, width=8, layers=2, grid=grid, norm="instance")
    return ConvNeXtUNet(1, 1, grid=grid, width=4, levels=2)


def functions(items: int = 68, size: int = 16) -> xr.Dataset:
    """A quadratic shift-equivariant map on a periodic axis."""
    generator = torch.Generator().manual_seed(1)
    axis = Axis("x", size, kind="periodic")
    a = torch.randn(items, size, generator=generator, dtype=torch.float64)
    u = 0.5 * a.roll(1, 1) + 0.1 * a.square() + 3
    ds = xr.Dataset({"a": (("sample", "x"), a.numpy()), "u": (("sample", "x"), u.numpy())})
    return ds.assign_coords(x=coordinate(axis))


def problem(items: int = 68, validation: int = 11, **options: Any) -> tuple[FunctionDataset, FunctionDataset]:
    whole = FunctionDataset(functions(items + validation), inputs="a", outputs="u", **options)
    return whole.subset(range(items)), whole.subset(range(items, items + validation))


def small_train(folder: Path | None, **changes: Any) -> TrainingResult:
    options: dict[str, Any] = {
        "epochs": 4,
        "batch_size": 16,
        "learning_rate": 1e-2,
        "progress": False,
        "tensorboard": False,
        "device": "cpu",
        "resume": folder is not None,
        "symmetries": ("shift-x",),
        **changes,
    }
    dropout = options.pop("dropout", 0.1)
    if isinstance(options["symmetries"], str):
        options["symmetries"] = (options["symmetries"],)
    items = options.pop("items", 68)
    train_set, validation_set = problem(items)
    known = statistics_of(train_set)
    for name, statistics in (("input_normaliser", known.x), ("output_normaliser", known.y)):
        options.setdefault(name, Normaliser.from_statistics(statistics, dtype=torch.float32))
    model = options.pop("model", None)
    if isinstance(model, str):
        model = operator(model)
    return train(
        network(dropout) if model is None else model,
        train_set,
        validation_set,
        run_dir=folder,
        **options,
    )


KILL_OPTIONS: dict[str, Any] = {"epochs": 8, "checkpoint_steps": 3, "patience": 50, "tensorboard": True}


def attempt(folder: Path) -> int:
    """Trains in a child process; gives its number."""
    child = os.fork()
    if child == 0:
        small_train(folder, **KILL_OPTIONS)
        os._exit(0)
    return child


def wait_for(path: Path, child: int) -> None:
    """Until a file is there, or the child process has ended, which is left to be waited for."""
    while not path.exists() and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.001)


def kill(folder: Path, count: int, kills: int, seed: int) -> None:
    import torch.utils.tensorboard  # once here, so that the attempts spend their time training

    torch.set_num_threads(1)
    seconds = 0.0
    for name in ("whole", "timed"):  # the first is slower than those that follow
        began = time.monotonic()
        if os.waitstatus_to_exitcode(os.waitpid(attempt(folder / name), 0)[1]) != 0:
            raise SystemExit("the run that was left alone failed")
        seconds = time.monotonic() - began
    moments = random.Random(seed)
    for run in range(count):
        for _ in range(kills):
            child = attempt(folder / str(run))
            if kills == 1 and run % 3:
                # from the first checkpoint on: on a busy machine most of the time passes before it
                wait_for(folder / str(run) / "checkpoints" / "last.ckpt", child)
                time.sleep(moments.uniform(0.0, 0.4) * seconds)
            else:
                time.sleep(moments.uniform(0.05, 0.95 if kills == 1 else 1.5 / kills) * seconds)
            os.kill(child, signal.SIGKILL)
            died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
            going = (folder / str(run) / "checkpoints" / "last.ckpt").exists()
            with (folder / "kills").open("a") as file:
                file.write("in training\n" if died and going else "at the start\n" if died else "too late\n")
        if os.waitstatus_to_exitcode(os.waitpid(attempt(folder / str(run)), 0)[1]) != 0:
            raise SystemExit(f"the resumed run {run} failed")


def main(command: str, folder: str, *arguments: str) -> None:
    if command == "kill":
        kill(Path(folder), *map(int, arguments))
        return
    torch.set_num_threads(1)
    options: dict[str, Any] = {}
    for argument in arguments:
        name, value = argument.split("=")
        options[name] = int(value) if value.isdigit() and name != "precision" else value
    stop = options.pop("die_at", None)
    if stop is not None:
        die_at(stop)
    result = small_train(Path(folder), **options)
    if os.environ.get("RANK", "0") == "0":
        torch.save({"rows": list(result.history), "state": result.model.state_dict()}, Path(folder) / "result.pt")


def die_at(step: int) -> None:
    """Ends this process without notice when it comes to a step."""
    from sciops.training.module import OperatorModule

    training_step = OperatorModule.training_step

    def mortal(self: OperatorModule, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if self.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return training_step(self, batch, batch_idx)

    OperatorModule.training_step = mortal  # type: ignore[method-assign]


if __name__ == "__main__":
    main(*sys.argv[1:])
