"""Compile every Triton kernel of a family to machine code of two chips, without a GPU; prints what came of it as JSON.

Run as a process of its own: the interpreter that the rest of the suite uses is chosen when Triton is imported.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

import kernel_checks as checks
import torch
from kernel_examples import Example, all_examples

import sciops.kernels  # noqa: F401  registers every family
from sciops.kernels.cuda.launch import compile_for
from sciops.kernels.dispatch import use

CAPABILITIES = (80, 90)


def compile_example(example: Example, dtype: torch.dtype, capability: int) -> list[dict[str, Any]]:
    kernel = checks.kernel_of(example)
    args = checks.arguments(example, 0, dtype)
    wanted = [] if kernel.mutates else checks.differentiable(example, args)
    for place in wanted:
        args[place] = args[place].detach().requires_grad_()
    with compile_for(capability) as compilation, use("triton"):
        outputs = [o for o in checks.tensors(kernel(*args)) if o.requires_grad]
        if outputs:
            torch.autograd.grad(
                outputs, [args[i] for i in wanted], [torch.ones_like(o) for o in outputs], allow_unused=True
            )
    return [asdict(kernel) for kernel in compilation.kernels]


def main(family: str) -> None:
    seen: dict[tuple[Any, ...], dict[str, Any]] = {}
    failures = []
    for example in all_examples():
        kernel = checks.kernel_of(example)
        if kernel.family != family or "triton" not in kernel.paths:
            continue
        for dtype in kernel.paths["triton"].dtypes:
            for capability in CAPABILITIES:
                try:
                    for found in compile_example(example, dtype, capability):
                        seen[found["kernel"], found["signature"], capability] = found
                except Exception as error:  # noqa: BLE001  the report names every failure, not the first
                    reason = f"{type(error).__name__}: {error}"[-600:]
                    failures.append(f"{example} {dtype} sm_{capability}: {reason}")
    json.dump({"kernels": list(seen.values()), "failures": failures}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
