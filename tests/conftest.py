"""Fixtures for the whole suite: real files, and fresh random numbers that a failure lets one repeat."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # read when Triton is imported: without a GPU its kernels are interpreted on the processor
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files beside the repository; tests that need it are skipped where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real data files in {folder}, which is absent")
    return folder


@pytest.fixture
def generator() -> torch.Generator:
    """Fresh random numbers; a failing test shows its seed, and SCIOPS_TEST_SEED=seed repeats it."""
    seed = int(os.environ.get("SCIOPS_TEST_SEED") or secrets.randbits(31))
    sys.stdout.write(f"SCIOPS_TEST_SEED={seed}\n")
    return torch.Generator().manual_seed(seed)
