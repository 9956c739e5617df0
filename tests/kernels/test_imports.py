"""The kernels need torch and numpy alone; all else only makes them quicker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from sciops import kernels

SUPPORT = Path(__file__).parents[1] / "support"
PROGRAM = """
import sys

for name in ("numba", "scipy", "xarray", "h5py", "h5netcdf", "lightning", "jaxtyping", "matplotlib", "torchdiffeq",
             "tensorboard", "safetensors", "jsonargparse", "rich", "hypothesis", "triton"):
    sys.modules[name] = None  # an import of it fails as if it were not installed

import kernel_checks
import torch
from kernel_examples import all_examples

import sciops.kernels

assert "numba is not installed" in str(sciops.kernels.info())
for example in all_examples():
    kernel = kernel_checks.kernel_of(example)
    for forced in (False, True):
        args = kernel_checks.arguments(example, 0, small=True)
        if forced:
            with sciops.kernels.use("reference"):
                kernel(*args)
        else:
            assert not kernel.choose(*args)[0] == "cpu" or not kernel.paths["cpu"].needs
            kernel(*args)
    print(example)
"""


def test_public_names_are_functions_and_classes() -> None:
    """One of them is also the name of its module, which must not stand in its place."""
    assert all(callable(getattr(kernels, name)) for name in kernels.__all__)


def test_every_kernel_runs_without_the_other_libraries() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "SCIOPS_KERNELS"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SUPPORT), environment.get("PYTHONPATH")]))
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stdout[-500:] + run.stderr[-3000:]
    assert run.stdout
