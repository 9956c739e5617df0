"""Arguments on which every kernel is tried; one module a family, each with a list EXAMPLES."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass
class Draw:
    """Random tensors of one dtype on one device; `small` asks for few enough entries to take differences."""

    generator: torch.Generator
    dtype: torch.dtype = torch.float64
    device: str = "cpu"
    small: bool = False

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.device, self.dtype)

    def uniform(self, *shape: int, low: float = 0.5, high: float = 1.5) -> Tensor:
        unit = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * unit).to(self.device, self.dtype)

    def integers(self, high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=self.generator).to(self.device)


@dataclass(frozen=True)
class Example:
    """One call of a kernel: its name in KERNELS and a function from a Draw to its arguments."""

    kernel: str
    make: Callable[[Draw], tuple[Any, ...]]
    label: str = ""
    twice: bool = True  # whether second derivatives are promised
    halves: bool = True  # whether half precision is promised
    single: float = 1e-5  # relative tolerances; loosen only with a reason in a comment beside it
    double: float = 1e-12
    constant: tuple[int, ...] = ()  # positions of floating arguments that are not differentiated
    smooth: bool = True  # whether differences tell the derivative; False for maps with kinks or accept/reject choices

    def __str__(self) -> str:
        return f"{self.kernel}-{self.label}" if self.label else self.kernel


def all_examples() -> list[Example]:
    """The examples of all families."""
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return [e for name in names for e in importlib.import_module(f"{__name__}.{name}").EXAMPLES]
