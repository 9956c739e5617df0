"""The small training run of `small_run.py`, its checkpoints, and the comparison of two of them."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from sciops.training import checkpoint


@pytest.fixture(scope="session")
def small() -> ModuleType:
    """The module `small_run.py`."""
    path = Path(__file__).with_name("small_run.py")
    spec = importlib.util.spec_from_file_location("small_run", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["small_run"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def one_thread() -> Any:
    """One thread, as sums in another order would change the last bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def differences(first: Any, second: Any, where: str = "") -> list[str]:
    """The places where two nested structures of tensors and plain values are not the same bits."""
    if isinstance(first, dict) and isinstance(second, dict):
        if first.keys() != second.keys():
            return [f"{where}: keys {sorted(map(str, first.keys() ^ second.keys()))}"]
        return [place for key in first for place in differences(first[key], second[key], f"{where}.{key}")]
    if isinstance(first, list | tuple) and isinstance(second, list | tuple):
        if len(first) != len(second):
            return [f"{where}: lengths {len(first)}, {len(second)}"]
        return [place for i in range(len(first)) for place in differences(first[i], second[i], f"{where}[{i}]")]
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        same = first.dtype == second.dtype and torch.equal(first, second)
    else:
        same = type(first) is type(second) and (first == second or (first != first and second != second))
    return [] if same else [f"{where}: {first} and {second}"]


@pytest.fixture(scope="session")
def same_runs() -> Any:
    """Asserts that two run folders hold the same bits: every entry of the checkpoint, and the metrics."""

    def check(first: Path, second: Path) -> None:
        states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (first, second)]
        assert differences(*states) == []
        assert (first / "metrics.csv").read_bytes() == (second / "metrics.csv").read_bytes()

    return check


@pytest.fixture(scope="session")
def copies_of_every_checkpoint() -> Callable[[Path, pytest.MonkeyPatch], list[Path]]:
    """Run folders that a kill after each checkpoint would leave, filled while a run is going on."""

    def watch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        copies: list[Path] = []
        replace = os.replace

        def keep(source: Path, target: Path) -> None:
            replace(source, target)
            if target.name != "last.ckpt":
                return
            copies.append(folder / f"copy{len(copies)}")
            (copies[-1] / "checkpoints").mkdir(parents=True)
            shutil.copy(target, copies[-1] / "checkpoints")

        monkeypatch.setattr(checkpoint.os, "replace", keep)
        return copies

    return watch


@pytest.fixture(scope="session")
def same_results() -> Callable[[Any, Any], None]:
    """Asserts that two training results hold the same bits."""

    def check(first: Any, second: Any) -> None:
        assert first.history == second.history
        assert (first.best_error, first.best_epoch) == (second.best_error, second.best_epoch)
        for (name, one), two in zip(first.model.state_dict().items(), second.model.state_dict().values(), strict=True):
            assert torch.equal(one, two), name

    return check
