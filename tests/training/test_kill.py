"""A run that is killed and resumed ends with the bits of one that was left alone."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

PROGRAM = Path(__file__).with_name("small_run.py")


def run(*arguments: object, code: int = 0) -> None:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == code, done.stdout + done.stderr


def check(folder: Path, count: int, same_runs: Any) -> None:
    rows = (folder / "whole" / "metrics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in rows[1:]] == [str(epoch) for epoch in range(8)]
    state = torch.load(folder / "whole" / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["global_step"] == 32
    assert state["callbacks"]["WeightAverage"]["best"]
    for attempt in range(count):
        same_runs(folder / "whole", folder / str(attempt))
        assert list((folder / str(attempt) / "tensorboard").iterdir())


def test_killed_twice_and_resumed(tmp_path: Path, same_runs: Any) -> None:
    run("kill", tmp_path, 1, 2, random.randrange(10**6))
    check(tmp_path, 1, same_runs)


@pytest.mark.slow
def test_ten_random_kills(tmp_path: Path, same_runs: Any) -> None:
    run("kill", tmp_path, 10, 1, random.randrange(10**6))
    check(tmp_path, 10, same_runs)
    kills = (tmp_path / "kills").read_text().splitlines()
    assert kills.count("in training") >= 4, kills


@pytest.mark.slow
def test_killed_five_times_each(tmp_path: Path, same_runs: Any) -> None:
    run("kill", tmp_path, 4, 5, random.randrange(10**6))
    check(tmp_path, 4, same_runs)
