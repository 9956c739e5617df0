"""The one mechanism: which implementation runs, how one is forced, what becomes of dtypes and missing libraries."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from sciops import kernels
from sciops.cli import main
from sciops.errors import InputError
from sciops.kernels import dispatch
from sciops.kernels.cuda.launch import interprets
from sciops.kernels.dispatch import KERNELS, Kernel, Path, use

APPLY = "diffusion_apply"


def operator(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.full((1, 4), 2.0, dtype=dtype),
        torch.ones(1, 1, 4, dtype=dtype),
        torch.arange(4.0, dtype=dtype)[None, None],
    )


def test_the_quickest_path_that_takes_the_arguments_runs() -> None:
    assert KERNELS[APPLY].choose(*operator())[0] == "cpu"
    meta = [t.to("meta") for t in operator()]
    assert KERNELS[APPLY].choose(*meta)[0] == "reference"


def test_a_path_is_forced_for_all_families_or_some_and_given_back() -> None:
    with use("reference"):
        assert KERNELS[APPLY].choose(*operator()) == ("reference", "forced")
        with use("cpu", "stencil"):
            assert KERNELS[APPLY].choose(*operator()) == ("cpu", "forced")
        assert KERNELS[APPLY].choose(*operator())[0] == "reference"
    assert KERNELS[APPLY].choose(*operator())[0] == "cpu"


def test_an_unknown_path_or_family_is_refused() -> None:
    with (
        pytest.raises(InputError, match="unknown path 'numba' for kernels; available"),
        use("numba"),
    ):  # type: ignore[arg-type]
        pass
    with (
        pytest.raises(InputError, match="unknown family of kernels 'stencils'; did you mean 'stencil'"),
        use("cpu", "stencils"),
    ):
        pass


@pytest.fixture
def doubling() -> Iterator[Kernel]:
    """A kernel whose quick implementations lack a library or take float64 alone."""
    kernel = Kernel(
        "test_doubling",
        "(Tensor x) -> Tensor",
        lambda x: 2 * x,
        cpu=Path("absent:absent", "never", needs="no_such_library"),
        triton=Path("absent:absent", "never", dtypes=(torch.float64,)),
    )
    yield kernel
    del KERNELS["test_doubling"]


def test_a_missing_library_leaves_the_reference_and_is_named(doubling: Kernel) -> None:
    x = torch.ones(3)
    assert doubling.choose(x) == ("reference", "no_such_library is not installed")
    assert torch.equal(doubling(x), 2 * x)
    with use("cpu"), pytest.raises(InputError, match="the path 'cpu' is forced, but no_such_library is not installed"):
        doubling(x)
    row = next(r for r in kernels.info().rows if r.kernel == "test_doubling" and r.device == "cpu")
    assert (row.path, row.reason) == ("reference", "no_such_library is not installed")


def test_a_forced_path_that_does_not_take_the_dtype_says_so(doubling: Kernel) -> None:
    if not interprets():
        pytest.skip("needs the interpreter")
    with use("triton"), pytest.raises(InputError, match=r"does not take torch\.float32"):
        doubling(torch.ones(3))


def test_half_precision_is_computed_in_single_on_a_processor() -> None:
    # sums that half precision gets wrong by more than its last digit
    diagonal, coupling, u = (1000 * t for t in operator(torch.float32))
    half = [t.to(torch.bfloat16) for t in (diagonal, coupling, u)]
    found = kernels.diffusion_apply(*half)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, kernels.diffusion_apply(*(t.float() for t in half)).bfloat16())


def test_an_operator_never_returns_its_argument() -> None:
    kernel = Kernel("test_identity", "(Tensor x) -> Tensor", lambda x: x.view(-1))
    try:
        x = torch.ones(3)
        y = kernel(x)
        assert torch.equal(x, y)
        assert y.data_ptr() != x.data_ptr()
    finally:
        del KERNELS["test_identity"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("refrence", "SCIOPS_KERNELS: unknown path 'refrence' for kernels; did you mean 'reference'"),
        ("stencl=cpu", "SCIOPS_KERNELS: unknown family of kernels 'stencl'; did you mean 'stencil'"),
    ],
)
def test_the_environment_variable_is_checked(value: str, message: str) -> None:
    run = _run("import sciops.kernels", SCIOPS_KERNELS=value)
    assert run.returncode == 1
    assert message in run.stderr.splitlines()[-1]


def test_the_environment_variable_forces_paths() -> None:
    script = "from sciops import kernels; print([(r.family, r.path) for r in kernels.info().rows if r.device == 'cpu'])"
    run = _run(script, SCIOPS_KERNELS=" stencil=reference ")
    rows = eval(run.stdout)
    assert {path for family, path in rows if family == "stencil"} == {"reference"}
    assert "cpu" in {path for family, path in rows if family != "stencil"}


def test_info_is_a_table_and_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    text = str(kernels.info())
    assert text.startswith(f"torch {torch.__version__}; numba ")
    assert main(["kernels", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["kernel"] for row in rows} == set(KERNELS)
    assert main(["kernels"]) == 0
    assert APPLY in capsys.readouterr().out


def test_derivatives_of_unwanted_and_integer_arguments_are_none() -> None:
    x = torch.tensor([1.0, 2.0])
    found = dispatch.vector_jacobian(lambda a, n, b: a * n * b, [x, 3, x], [True, False, False], [torch.ones(2)])
    assert [f is None for f in found] == [False, True, True]
    assert torch.equal(found[0], 3 * x)  # type: ignore[arg-type]


def _run(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)


def test_tensors_that_do_not_belong_together_are_named() -> None:
    diagonal, coupling, u = operator()
    with pytest.raises(InputError, match=r"diffusion_apply: diagonal is torch\.float64.*u is torch\.float32; convert"):
        kernels.diffusion_apply(diagonal, coupling, u.float())
    with pytest.raises(
        InputError, match=r"diffusion_apply: diagonal is cpu, coupling is meta, u is cpu; move all to one"
    ):
        kernels.diffusion_apply(diagonal, coupling.to("meta"), u)
    with pytest.raises(InputError, match=r"u is torch\.complex128; real floating-point tensors are expected"):
        kernels.diffusion_apply(diagonal, coupling, u + 0j)
    with pytest.raises(InputError, match=r"u is torch\.int64; real floating-point tensors are expected"):
        kernels.diffusion_apply(*(t.long() for t in (diagonal, coupling, u)))


def test_autocast_holds_under_function_transforms_too() -> None:
    args = tuple(t.float() for t in operator())
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.vmap(kernels.diffusion_apply)(*(t[None] for t in args))
    assert found.dtype == torch.float32
    assert torch.equal(found[0], kernels.diffusion_apply(*args))


def test_a_path_forced_where_it_cannot_run_is_told() -> None:
    with use("cpu"):
        rows = {row.device: row for row in kernels.info().rows if row.kernel == APPLY}
    assert rows["cpu"].reason == "forced"
    assert rows["cuda"].reason == "forced, and refused there"
