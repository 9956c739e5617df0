"""Triton kernels become machine code of real chips on a machine that has none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sciops.kernels  # noqa: F401  registers every family
from sciops.kernels.dispatch import KERNELS

SUPPORT = Path(__file__).parents[1] / "support"
FAMILIES = sorted({k.family for k in KERNELS.values() if "triton" in k.paths})
MOST_SHARED = {80: 163 * 1024, 90: 227 * 1024}  # bytes that one block of threads may have


@pytest.mark.parametrize("family", FAMILIES)
def test_compiles_to_machine_code(family: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = str(SUPPORT)
    run = subprocess.run(
        [sys.executable, SUPPORT / "compile_kernels.py", family],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads(run.stdout)
    assert not report["failures"], "\n".join(report["failures"])
    assert {k["capability"] for k in report["kernels"]} == set(MOST_SHARED)
    for kernel in report["kernels"]:
        sys.stdout.write(
            f"{kernel['kernel']} sm_{kernel['capability']}: {kernel['registers']} registers, "
            f"{kernel['spilled']} bytes spilled, {kernel['shared']} bytes shared ({kernel['signature']})\n"
        )
        assert kernel["registers"] <= 255
        assert kernel["shared"] <= MOST_SHARED[kernel["capability"]]
