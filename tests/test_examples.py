"""The examples and the quickstart of the README, run as they stand; each asserts a number of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(arguments, folder):
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "MPLBACKEND": "agg", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize(
    "name",
    [
        "quickstart",
        "simulate_and_look",
        "random_functions",
        "write_while_simulating",
        "masked_flow",
        "solve_diffusion",
        "learned_preconditioner",
    ],
)
def test_example(name, tmp_path):
    run([ROOT / "examples" / f"{name}.py"], tmp_path)


@pytest.mark.slow
def test_demo(tmp_path):
    run([ROOT / "examples" / "demo.py"], tmp_path)
    assert (tmp_path / "demo-run" / "demo.png").stat().st_size > 10_000


@pytest.mark.slow
def test_quickstart_of_the_readme(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    printed = run(["-c", code], tmp_path)
    assert 0 < float(printed.split()[-1]) < 0.15
