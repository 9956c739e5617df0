"""How Triton kernels are launched: on a GPU, by the interpreter, or only compiled for a chip that is not here."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import triton
from torch import Tensor

_NAMES = {
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.float32: "fp32",
    torch.float64: "fp64",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "i1",
    torch.uint8: "u8",
}


@dataclass(frozen=True)
class Compiled:
    """What one kernel came to on one chip."""

    kernel: str
    signature: str
    capability: int
    registers: int
    spilled: int
    shared: int


@dataclass
class Compilation:
    """The kernels that were compiled instead of run; see :func:`compile_for`."""

    capability: int
    kernels: list[Compiled] = field(default_factory=list)


_INTERPRETS = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")
_compilation: Compilation | None = None


def interprets() -> bool:
    """Whether Triton kernels are interpreted, as the environment said when Triton was imported."""
    return _INTERPRETS


def runs_on_cpu() -> bool:
    """Whether kernels take tensors on the cpu: interpreted, or only compiled."""
    return interprets() or _compilation is not None


@contextmanager
def compile_for(capability: int) -> Iterator[Compilation]:
    """Compile every kernel that is launched to machine code of a chip (80, 90), and run none.

    Outputs hold whatever their memory held. Needs no GPU.
    """
    global _compilation
    _compilation = Compilation(capability)
    try:
        yield _compilation
    finally:
        _compilation = None


def launch(
    kernel: Any, grid: tuple[int, ...], *args: Any, num_warps: int = 4, num_stages: int = 3, **constants: Any
) -> None:
    """Run a kernel over a grid of programs.

    Parameters
    ----------
    kernel
        A function under ``triton.jit``. Its parameters are first `args`, then `constants`, all ``tl.constexpr``.
    grid
        Number of programs along up to three axes; nothing is launched when one is 0.
    args
        Tensors, ints and floats, in the order of the parameters.
    num_warps, num_stages
        As Triton means them.
    constants
        Values known when the kernel is compiled.
    """
    if min(grid) == 0:
        return
    if _compilation is not None:
        _compilation.kernels.append(_compile(kernel, _compilation.capability, args, num_warps, num_stages, constants))
        return
    first = next(a for a in args if isinstance(a, Tensor))
    if first.device.type == "cuda":
        with torch.cuda.device(first.device):
            kernel[grid](*args, num_warps=num_warps, num_stages=num_stages, **constants)
    else:
        kernel[grid](*args, num_warps=num_warps, num_stages=num_stages, **constants)


def _compile(
    kernel: Any, capability: int, args: tuple[Any, ...], num_warps: int, num_stages: int, constants: dict[str, Any]
) -> Compiled:
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    names = kernel.arg_names
    types = dict(zip(names, map(_type_of, args), strict=False))
    signature = {name: types.get(name, "constexpr") for name in names}
    source = ASTSource(fn=kernel, signature=signature, constexprs={(names.index(k),): v for k, v in constants.items()})
    options = {"num_warps": num_warps, "num_stages": num_stages}
    built = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    registers, spilled = _resources(built.asm["cubin"])
    shown = ",".join([*types.values(), *(f"{k}={v}" for k, v in constants.items())])
    return Compiled(kernel.__name__, shown, capability, registers, spilled, built.metadata.shared)


def _type_of(value: Any) -> str:
    if isinstance(value, Tensor):
        return "*" + _NAMES[value.dtype]
    if isinstance(value, bool):
        return "i1"
    return "fp32" if isinstance(value, float) else "i32"


def _resources(machine_code: bytes) -> tuple[int, int]:
    """Registers and bytes of local memory of each thread, as the tool that ships with Triton reads them."""
    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(machine_code)
        file.flush()
        found = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    registers, stack = (int(re.search(rf"{word}:(\d+)", found)[1]) for word in ("REG", "STACK"))  # type: ignore[index]
    return registers, stack
