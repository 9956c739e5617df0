"""Two gloo processes take the steps that one takes with the same global batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

PROGRAM = Path(__file__).with_name("small_run.py")
OPTIONS = ("precision=64", "dropout=0", "symmetries=shift-x", "checkpoint_steps=3", "items=70")

pytestmark = pytest.mark.slow


def run(folder: Path, *options: str, processes: int = 1, fails: bool = False) -> dict[str, Any]:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    done = subprocess.run(
        [sys.executable, *(launcher if processes > 1 else []), str(PROGRAM), "train", str(folder), *OPTIONS, *options],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    if fails:
        assert done.returncode != 0
        return {}
    assert done.returncode == 0, done.stdout + done.stderr
    return torch.load(folder / "result.pt", weights_only=True)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run(tmp_path_factory.mktemp("alone"))


def curves_agree(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert len(first["rows"]) == len(second["rows"]) == 4
    for one, two in zip(first["rows"], second["rows"], strict=True):
        for name in ("train_loss", "validation_error"):
            assert abs(one[name] - two[name]) <= 1e-12 * abs(one[name]), (name, one, two)
    assert first["rows"][0]["train_loss"] != first["rows"][-1]["train_loss"]
    for name, weight in first["state"].items():
        torch.testing.assert_close(
            second["state"][name], weight, rtol=1e-9, atol=1e-9
        )  # a weight without effect moves by rounding


@pytest.mark.parametrize("strategy", ["ddp", "fully_sharded"])
def test_two_processes_are_one(alone: dict[str, Any], tmp_path: Path, strategy: str) -> None:
    curves_agree(alone, run(tmp_path, f"strategy={strategy}", "devices=2", processes=2))


@pytest.mark.parametrize("strategy", ["ddp", "fully_sharded"])
def test_two_processes_accumulate(alone: dict[str, Any], tmp_path: Path, strategy: str) -> None:
    options = (f"strategy={strategy}", "devices=2", "batch_size=8", "accumulate=2")
    curves_agree(alone, run(tmp_path, *options, processes=2))


@pytest.mark.parametrize("strategy", ["ddp", "fully_sharded"])
def test_two_processes_go_on_after_a_kill(alone: dict[str, Any], tmp_path: Path, strategy: str, same_runs: Any) -> None:
    options = (f"strategy={strategy}", "devices=2")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(whole, *options, processes=2)
    run(killed, *options, "die_at=8", processes=2, fails=True)
    assert (killed / "checkpoints" / "last.ckpt").exists()
    curves_agree(alone, run(killed, *options, processes=2))
    same_runs(whole, killed)


@pytest.mark.parametrize("model", ["fno", "unet"])
def test_operators_are_sharded_block_by_block(tmp_path: Path, model: str) -> None:
    alone = run(tmp_path / "alone", f"model={model}")
    curves_agree(alone, run(tmp_path, f"model={model}", "strategy=fully_sharded", "devices=2", processes=2))


def test_the_model_is_sharded(tmp_path: Path) -> None:
    program = tmp_path / "sharded.py"
    program.write_text(
        "import sys, torch\n"
        f"sys.path.insert(0, {str(PROGRAM.parent)!r})\n"
        "import small_run\n"
        "from sciops.training.module import OperatorModule\n"
        "seen = []\n"
        "step = OperatorModule.on_train_start\n"
        "def look(self):\n"
        "    seen.extend(p.to_local().numel() / p.numel() for p in self.model.parameters())\n"
        "    step(self)\n"
        "OperatorModule.on_train_start = look\n"
        "result = small_run.small_train(None, resume=False, strategy='fully_sharded', devices=2, epochs=1)\n"
        "assert len(seen) == 6 and sum(part == 0.5 for part in seen) >= 4, seen\n"
        "assert not any(hasattr(p, 'device_mesh') for p in result.model.parameters())\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(program)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
