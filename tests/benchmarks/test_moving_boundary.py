"""A boundary that moves: a new matrix in every step of time, set up and solved from the solution before, on one thread.

Every method meets the same goal by the same rule, a true residual of 1e-6, within 300 iterations, or is out from
the step on at which it does not. `methods` is the list to add one to.
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch

from sciops.preconditioners import LearnedMultigrid, families, train
from sciops.solvers.linear import Diffusion, IncompleteCholesky, Multigrid, PyAMG, SparseLU, cg, fcg, refine

pytestmark = pytest.mark.benchmark

SIZE, STEPS, RTOL, MOST = 256, 30, 1e-6, 300
HEADER = f"\n{'milliseconds a step, medians':<38}{'set-up':>8}{'solve':>8}{'sum':>8}   {'middle half':<16}iterations"


@dataclass
class Method:
    """How a preconditioner comes to the matrix of each step.

    Parameters
    ----------
    name
        For the table.
    make
        The preconditioner of an operator.
    solve
        The Krylov method that takes it.
    every
        Steps between two set-ups; None: only once.
    """

    name: str
    make: Callable[[Diffusion], object]
    solve: Callable[..., object] = cg
    every: int | None = 1
    setup: list[float] = field(default_factory=list)
    solution: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    failed: int | None = None

    def run(self, A: Diffusion, b: torch.Tensor) -> None:
        """One step, from the answer of the one before."""
        number = len(self.setup)
        if self.failed is not None:
            return
        begun = time.process_time()
        if number == 0 or (self.every is not None and number % self.every == 0):
            self.M = self.make(A)
        made = time.process_time()
        options = {"maxiter": MOST, "raise_on_failure": False}
        found = self.solve(A, b, M=self.M, x0=getattr(self, "x", None), rtol=RTOL, **options)
        self.solution.append(1e3 * (time.process_time() - made))
        self.setup.append(1e3 * (made - begun))
        self.iterations.append(int(found.iterations))
        assert found.converged == (float(found.residuals) <= RTOL)
        self.failed = None if found.converged else number
        self.x = found.value

    @property
    def sums(self) -> list[float]:
        return sorted(a + b for a, b in zip(self.setup, self.solution, strict=True))

    def row(self) -> str:
        if self.failed is not None:
            return f"{self.name:<38} out at step {self.failed + 1}: not there after {MOST} iterations"
        sums, counts = self.sums, self.iterations
        median = [statistics.median(values) for values in (self.setup, self.solution, sums)]
        half = f"{sums[len(sums) // 4]:.1f} to {sums[-1 - len(sums) // 4]:.1f}"
        counted = f"{statistics.median(counts):.0f} ({min(counts)} to {max(counts)})"
        return f"{self.name:<38}{median[0]:>8.1f}{median[1]:>8.1f}{median[2]:>8.1f}   {half:<16}{counted}"


@functools.cache
def trained() -> LearnedMultigrid:
    """On two-phase media at 64 x 64."""
    return train(families.piecewise(64, 64, contrast=(10.0, 1e4)), minutes=1.0, seed=0, progress=False)


def methods() -> list[Method]:
    return [
        Method("multigrid, set up anew", Multigrid),
        Method("multigrid, every 10 steps", Multigrid, every=10),
        Method("multigrid, kept from the first, cg", Multigrid, every=None),
        Method("multigrid, kept from the first, fcg", Multigrid, fcg, every=None),
        Method("learned multigrid, set up anew", lambda A: trained().setup(A)),
        Method("IC(0), set up anew", IncompleteCholesky),
        Method("sparse LU, anew", SparseLU, refine),
        Method("sparse LU, kept from the first, cg", SparseLU, every=None),
        Method("pyamg, smoothed aggregation, anew", PyAMG),
        Method("pyamg, Ruge-Stueben, anew", lambda A: PyAMG(A, "ruge-stueben")),
    ]


def operators(inside: float, background: torch.Tensor):
    """A disc of another permeability on its way through the domain, five cells a step."""
    x = (torch.arange(SIZE, dtype=torch.float64) + 0.5) / SIZE
    for step in range(STEPS):
        share = step / (STEPS - 1)
        centre = 0.2 + 0.6 * share, 0.5 + 0.25 * math.sin(2 * math.pi * share)
        disc = (x[:, None] - centre[0]) ** 2 + (x - centre[1]) ** 2 < 0.12**2
        yield Diffusion(torch.where(disc, inside, background), grid=1 / SIZE)


@pytest.mark.parametrize(("what", "inside"), [("an obstacle", 1e-2), ("a channel", 1e3)])
def test_a_new_matrix_in_every_step(what, inside, one_thread, capsys):
    background = families.lognormal(SIZE, SIZE, contrast=(100.0, 100.0), length=(0.1, 0.1))
    k = background.draw(1, torch.Generator().manual_seed(20))[0]
    b = torch.ones(SIZE, SIZE, dtype=torch.float64)
    listed = methods()
    for method in methods():
        method.run(next(operators(inside, k)), b)  # compiled, imported, and warm
    for step, A in enumerate(operators(inside, k)):
        for method in listed[:: -1 if step % 2 else 1]:
            method.run(A, b)
    with capsys.disabled():
        print(f"\n{what}, permeability {inside:g}, {SIZE} x {SIZE}, {STEPS} steps", HEADER, sep="")
        print("\n".join(method.row() for method in listed))
    medians = {method.name: statistics.median(method.sums) for method in listed if method.failed is None}
    best = medians.pop("multigrid, set up anew")
    assert all(best < other for name, other in medians.items() if name.endswith("anew")), medians
