"""Scripts run by an interpreter that has the packages of the peers, which the variable SCIOPS_PEERS_PYTHON names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest


def run_peer(package: str, script: str, folder: Path, *arguments: str, search: str = "") -> None:
    """Run a script in a folder; skip the test where the interpreter or the package is not there.

    Parameters
    ----------
    package
        What the interpreter must be able to import.
    script, arguments
        The program and its arguments.
    folder
        Where it runs.
    search
        A further folder in which it looks for modules.
    """
    python = os.environ.get("SCIOPS_PEERS_PYTHON")
    if not python:
        pytest.skip("SCIOPS_PEERS_PYTHON names no interpreter with the packages of the peers")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": search}
    trial = [python, "-c", f"import {package}"]
    if subprocess.run(trial, capture_output=True, cwd=folder, env=environment).returncode:
        pytest.skip(f"{python} does not import {package}")
    done = subprocess.run(
        [python, "-c", script, *arguments], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
