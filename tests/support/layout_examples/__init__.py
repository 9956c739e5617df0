"""Tiny faithful files of every layout, one module for each family, and what a reader must find in them."""

from __future__ import annotations

from layout_examples import archives, benchmarks, climate, matlab, native, pdebench, points, solvers
from layout_examples.base import Arrays, Example, Expected

__all__ = ["EXAMPLES", "Arrays", "Example", "Expected"]

EXAMPLES: list[Example] = [
    example
    for family in (native, climate, pdebench, matlab, archives, benchmarks, solvers, points)
    for example in family.EXAMPLES
]
