"""Every kernel on the GPU against its plain float64 reference on the processor: the checks of tests/kernels."""

from __future__ import annotations

import kernel_checks as checks
import pytest
import torch
from kernel_examples import Example, all_examples

import sciops.kernels  # noqa: F401  registers every family
from sciops.kernels.dispatch import KERNELS

EXAMPLES = [e for e in all_examples() if e.kernel in KERNELS]
FUNCTIONS = [e for e in EXAMPLES if not KERNELS[e.kernel].mutates]
ONE_EACH = list({e.kernel: e for e in reversed(EXAMPLES)}.values())
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
PATHS = [
    (e, path, dtype)
    for e in EXAMPLES
    for path in ("reference", "triton")
    if path == "reference" or path in KERNELS[e.kernel].paths
    for dtype in DTYPES
    if dtype in DTYPES[:2] or (e.halves and not KERNELS[e.kernel].mutates)
    if path == "reference" or dtype in DTYPES[2:] or dtype in KERNELS[e.kernel].paths["triton"].dtypes
]


@pytest.mark.parametrize(("example", "path", "dtype"), PATHS, ids=lambda v: str(v).removeprefix("torch."))
def test_a_path_agrees_with_the_reference(example: Example, path: str, dtype: torch.dtype, seed: int) -> None:
    checks.check_path(example, path, dtype, seed, "cuda")  # type: ignore[arg-type]


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_opcheck(example: Example, seed: int) -> None:
    checks.check_opcheck(example, seed, "cuda")


@pytest.mark.parametrize("example", FUNCTIONS, ids=str)
def test_derivatives_agree_with_differences(example: Example, seed: int) -> None:
    checks.check_gradients(example, seed, "cuda")


@pytest.mark.parametrize("example", ONE_EACH, ids=str)
def test_compiles_without_a_graph_break(example: Example, seed: int) -> None:
    checks.check_compile(example, seed, device="cuda")


@pytest.mark.parametrize("example", [e for e in ONE_EACH if e in FUNCTIONS and e.halves], ids=str)
def test_autocast(example: Example, seed: int) -> None:
    checks.check_autocast(example, seed, "cuda")


@pytest.mark.parametrize("example", FUNCTIONS, ids=str)
def test_a_kernel_gives_the_same_bits_twice(example: Example, seed: int) -> None:
    args = checks.arguments(example, seed, torch.float32, "cuda")
    kernel = checks.kernel_of(example)
    for a, b in zip(checks.tensors(kernel(*args)), checks.tensors(kernel(*args)), strict=True):
        assert torch.equal(a.nan_to_num(), b.nan_to_num())
