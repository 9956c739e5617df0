"""Whether there is a GPU: without one this is the only test of the folder, and it is skipped."""

from __future__ import annotations

import sys

import pytest
import torch

from sciops import kernels


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here: nothing of tests/gpu was run")
def test_kernels_take_the_gpu() -> None:
    pytest.importorskip("triton")
    info = kernels.info()
    sys.stdout.write(f"{info}\n")
    paths = {row.path for row in info.rows if row.device == "cuda"}
    assert "triton" in paths
    one = torch.ones(1, 1, 4, device="cuda")
    assert kernels.diffusion_apply(4 * one[0], one, one).tolist() == [[[2.0, 2.0, 2.0, 2.0]]]
