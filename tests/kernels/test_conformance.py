"""Every kernel, on every path and dtype that runs here, against its plain float64 reference."""

from __future__ import annotations

import secrets

import kernel_checks as checks
import pytest
import torch
from kernel_examples import Example, all_examples

import sciops.kernels  # noqa: F401  registers every family
from sciops.kernels.cuda.launch import interprets
from sciops.kernels.dispatch import KERNELS

EXAMPLES = all_examples()
FUNCTIONS = [e for e in EXAMPLES if not KERNELS[e.kernel].mutates]
ONE_EACH = list({e.kernel: e for e in reversed(EXAMPLES)}.values())  # where one call of a kernel tells of all
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
PATHS = [
    (e, path, dtype)
    for e in EXAMPLES
    for path in ("reference", "cpu", "triton")
    for dtype in DTYPES
    if path == "reference" or path in KERNELS[e.kernel].paths
    if path != "triton" or interprets()  # on a machine with a GPU it runs there: tests/gpu
    if dtype in DTYPES[:2] or (e.halves and e in ONE_EACH and not KERNELS[e.kernel].mutates)
    # bfloat16 of the interpreter is no test of the compiler's: that is checked on a GPU
    if not (path == "triton" and (dtype == torch.bfloat16 or dtype not in KERNELS[e.kernel].paths["triton"].dtypes))
]


@pytest.fixture
def seed() -> int:
    return secrets.randbits(31)


def test_every_kernel_has_an_example() -> None:
    assert set(KERNELS) == {e.kernel for e in EXAMPLES}


@pytest.mark.parametrize(("example", "path", "dtype"), PATHS, ids=lambda v: str(v).removeprefix("torch."))
def test_a_path_agrees_with_the_reference(example: Example, path: str, dtype: torch.dtype, seed: int) -> None:
    checks.check_path(example, path, dtype, seed)  # type: ignore[arg-type]


@pytest.mark.parametrize("example", ONE_EACH, ids=str)
def test_opcheck(example: Example, seed: int) -> None:
    checks.check_opcheck(example, seed)


@pytest.mark.parametrize("example", FUNCTIONS, ids=str)
def test_derivatives_agree_with_differences(example: Example, seed: int) -> None:
    checks.check_gradients(example, seed)


@pytest.mark.parametrize("example", [e for e in ONE_EACH if e in FUNCTIONS], ids=str)
def test_function_transforms(example: Example, seed: int) -> None:
    checks.check_transforms(example, seed)


@pytest.mark.parametrize("example", ONE_EACH, ids=str)
def test_compiles_without_a_graph_break(example: Example, seed: int) -> None:
    checks.check_compile(example, seed)


@pytest.mark.parametrize("example", ONE_EACH, ids=str)
def test_exports(example: Example, seed: int) -> None:
    checks.check_export(example, seed)


@pytest.mark.parametrize("example", [e for e in ONE_EACH if e in FUNCTIONS and e.halves], ids=str)
def test_autocast(example: Example, seed: int) -> None:
    checks.check_autocast(example, seed)
