"""Deep conjugate directions beside conjugate gradients, incomplete factors, algebraic and stencil multigrid.

One stop rule (relative residual 1e-6, the true one), double precision, one thread, one right-hand side at a time;
set-up, training and solves are told apart. Obstacles are layouts of discs and boxes that no model was trained on.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy import ndimage

from sciops.preconditioners import DCDM, OperatorFamily, train
from sciops.preconditioners.base import options_of
from sciops.solvers.linear import Diffusion, IncompleteCholesky, Jacobi, LinearOperator, Multigrid, PyAMG, cg, fcg

pytestmark = pytest.mark.benchmark

SHARES = (0.0, 0.05, 0.2, 0.3)
HELD_OUT = 7_000  # seeds of layouts; those of training are below
RTOL = 1e-6
TRAINING = (0.05, 0.1, 0.15, 0.2, 0.3, 0.35) * 2  # shares of obstacles of the twelve layouts
STEPS = {"one matrix": 700, "13 matrices": 800, "all levels": 200}


def one_of(*operators: LinearOperator) -> OperatorFamily:
    """A family of a few fixed operators, each as likely as the others."""
    return lambda generator: operators[int(torch.randint(len(operators), (), generator=generator))]


def poisson(n: int, d: int = 2, mask: torch.Tensor | None = None, obstacle: str = "neumann") -> Diffusion:
    return Diffusion(torch.ones((n,) * d, dtype=torch.float64), 1 / n, mask=mask, obstacle=obstacle)


def domain(n: int, share: float, seed: int) -> torch.Tensor | None:
    """Where no obstacle is: random discs and boxes up to the share of the cells; closed rooms are filled."""
    if share == 0:
        return None
    rng = np.random.default_rng(seed)
    x = (np.stack(np.meshgrid(*[np.arange(n)] * 2, indexing="ij")) + 0.5) / n
    solid = np.zeros((n, n), bool)
    while solid.mean() < share:
        gap = np.abs(x - rng.random((2, 1, 1)))
        size = rng.uniform(0.03, 0.1, (2, 1, 1))
        solid |= (gap**2).sum(0) < size[0] ** 2 if rng.random() < 0.5 else (gap < size).all(0)
    rooms, _ = ndimage.label(~solid)
    sides = np.concatenate([rooms[0], rooms[-1], rooms[:, 0], rooms[:, -1]])
    return torch.from_numpy(~solid & np.isin(rooms, sides))


def velocity_divergence(A: Diffusion, seed: int) -> torch.Tensor:
    """What a projection step of a flow solver asks for: the divergence of smooth velocities with walls."""
    rng, d = np.random.default_rng(seed), len(A.space)
    x = np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n for n in A.space], indexing="ij"))
    open_ = np.ones(A.space) if A.mask is None else A.mask.double().numpy()
    total = np.zeros(A.space)
    for axis, h in enumerate(A.spacing):
        v = np.zeros(A.space)
        for _ in range(24):
            k = rng.integers(1, 7, d)
            wave = np.prod([np.sin(np.pi * k[a] * x[a] + 2 * np.pi * rng.random()) for a in range(d)], 0)
            v += rng.standard_normal() / (k @ k) * wave
        # faces between two open cells; 0 on the others and on the sides
        flow = v * open_ * np.roll(open_, -1, axis)
        flow[(slice(None),) * axis + (-1,)] = 0
        total += (flow - np.roll(flow, 1, axis)) / h
    return A.right_hand_side(torch.from_numpy(total))


def right_hand_sides(A: Diffusion, seed: int) -> dict[str, torch.Tensor]:
    drawn = torch.randn(A.space, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ones = torch.ones(A.space, dtype=torch.float64)
    return {
        "noise": A.right_hand_side(drawn),
        "ones": A.right_hand_side(ones),
        "flow": velocity_divergence(A, seed),
    }


@dataclass
class Method:
    """A way to solve, and what it took, by the names of cases."""

    setup: Callable[[LinearOperator], object]
    solve: Callable[..., object] = cg
    keep: int | None = None

    def run(self, A: LinearOperator, b: torch.Tensor, M: object) -> tuple[int, float]:
        options = {} if self.keep is None else {"keep": self.keep}
        began = time.perf_counter()
        found = self.solve(A, b, M=M, rtol=RTOL, maxiter=4000, **options)
        return int(found.iterations), time.perf_counter() - began


CLASSICAL = {
    "CG": Method(lambda A: None),
    "Jacobi-CG": Method(Jacobi),
    "IC(0)-CG": Method(IncompleteCholesky),
    "pyamg AMG-CG": Method(PyAMG),
    "Multigrid-CG": Method(Multigrid),
}


def learned(model: DCDM, keep: int = 2) -> Method:
    return Method(model.setup, fcg, keep)


@dataclass(frozen=True)
class Median:
    iterations: float
    setup: float
    solve: float


def measure(
    methods: dict[str, Method], systems: list[Diffusion], seed: int, sides: Sequence[str] = ("noise", "ones", "flow")
) -> dict[str, Median]:
    """Medians over systems and right-hand sides; the methods take turns."""
    taken: dict[str, list[tuple[int, float]]] = {name: [] for name in methods}
    setups: dict[str, list[float]] = {name: [] for name in methods}
    for number, A in enumerate(systems):
        made = {}
        for name, method in methods.items():
            began = time.perf_counter()
            made[name] = method.setup(A)
            setups[name].append(time.perf_counter() - began)
        drawn = right_hand_sides(A, seed + number)
        for b in (drawn[side] for side in sides):
            for name, method in methods.items():
                taken[name].append(method.run(A, b, made[name]))
    return {
        name: Median(
            statistics.median(i for i, _ in taken[name]),
            1e3 * statistics.median(setups[name]),
            1e3 * statistics.median(t for _, t in taken[name]),
        )
        for name in methods
    }


def table(title: str, columns: list[str], rows: dict[str, list[Median]]) -> str:
    """Iterations, and milliseconds of set-up + solve."""
    lines = [
        f"\n{title}: iterations, milliseconds of set-up + solve",
        f"{'':<28}" + "".join(f"{c:>22}" for c in columns),
    ]
    for name, cells in rows.items():
        words = [f"{c.iterations:g} {c.setup:.1f}+{c.solve:.1f}" for c in cells]
        lines.append(f"{name:<28}" + "".join(f"{w:>22}" for w in words))
    return "\n".join(lines)


@pytest.fixture(scope="module")
def models() -> dict[str, DCDM]:
    """Trained at 64^2 on one thread: on the matrix without obstacles, or also on twelve with Dirichlet obstacles."""
    alone = poisson(64)
    several = [poisson(64, mask=domain(64, share, seed), obstacle="dirichlet") for seed, share in enumerate(TRAINING)]
    made = {
        "one matrix": (DCDM(), one_of(alone)),
        "13 matrices": (DCDM(ritz=400), one_of(alone, *several)),
        "all levels": (DCDM(channels=8, depths=(1, 2, 1), levels="all"), one_of(alone)),
    }
    return {
        name: train(family, model, steps=STEPS[name], threads=1, progress=False)
        for name, (model, family) in made.items()
    }


def told(models: dict[str, DCDM]) -> str:
    words = [f"{name} {m.record.seconds:.0f} s ({m.record.steps} steps)" for name, m in models.items()]
    return f"\ntraining, seed 0: {', '.join(words)}"


def test_obstacles(models, one_thread, capsys):
    """Gated: at least four times fewer iterations than CG for each share of obstacles."""
    methods = {**CLASSICAL, **{f"DCDM, {name}": learned(model) for name, model in models.items()}}
    measure(methods, [poisson(64)], 1)  # compiles what is compiled at first use
    printed, factors = [told(models)], {}
    for kind in ("neumann", "dirichlet"):
        rows: dict[str, list[Median]] = {name: [] for name in methods}
        for share in SHARES:
            layouts = 4 if share else 1
            masks = [domain(64, share, HELD_OUT + 100 * int(100 * share) + i) for i in range(layouts)]
            found = measure(methods, [poisson(64, mask=mask, obstacle=kind) for mask in masks], HELD_OUT)
            for name, cell in found.items():
                rows[name].append(cell)
        printed.append(table(f"64^2, {kind} obstacles", [f"{share:.0%} of cells" for share in SHARES], rows))
        for name, cells in rows.items():
            if name.startswith("DCDM"):
                factors[kind, name] = [a.iterations / b.iterations for a, b in zip(rows["CG"], cells, strict=True)]
                words = "".join(f"{f:>22.1f}" for f in factors[kind, name])
                printed.append(f"{'fewer than CG, ' + name[6:]:<28}{words}")
    with capsys.disabled():
        print("\n".join(printed))
    assert min(factors["neumann", "DCDM, one matrix"]) >= 4
    assert min(factors["dirichlet", "DCDM, 13 matrices"]) >= 4
    for kind in ("neumann", "dirichlet"):
        assert min(factors[kind, "DCDM, all levels"]) >= 4


def test_directions_kept(models, one_thread, capsys):
    model = models["one matrix"]
    methods = {f"keep={keep}": learned(model, keep) for keep in (0, 1, 2, 5)}
    masks = [None, *(domain(64, 0.2, HELD_OUT + 2000 + i) for i in range(2))]
    rows: dict[str, list[Median]] = {name: [] for name in methods}
    for mask in masks[0:1], masks[1:]:
        for name, cell in measure(methods, [poisson(64, mask=m) for m in mask], HELD_OUT + 1).items():
            rows[name].append(cell)
    with capsys.disabled():
        print(table("64^2, directions kept", ["no obstacles", "20% neumann"], rows))
    assert all(rows["keep=2"][i].iterations <= rows["keep=0"][i].iterations for i in range(2))


def test_larger_grids(models, one_thread, capsys):
    """Zero-shot; gated: the cycle holds its iterations from 64^2 to 512^2, and the network alone does not.

    With obstacles a larger grid is another domain too, in which narrower gaps are open: told, and gated against CG.
    """
    methods = {name: CLASSICAL[name] for name in ("CG", "Multigrid-CG")}
    methods |= {f"DCDM, {name}": learned(models[name]) for name in ("one matrix", "all levels")}
    fresh = DCDM(**options_of(models["all levels"]))
    methods["DCDM, all levels, untrained"] = learned(fresh)
    for share in (0.0, 0.2):
        sizes = (64, 128, 256, 512) if share == 0 else (64, 128, 256)
        rows: dict[str, list[Median]] = {name: [] for name in methods}
        for n in sizes:
            A = poisson(n, mask=domain(n, share, HELD_OUT + 3000))
            # at 512^2 the network alone takes minutes for one solve
            sides = ("noise",) if n == 512 else ("noise", "ones", "flow")
            for name, cell in measure(methods, [A], HELD_OUT + 2, sides).items():
                rows[name].append(cell)
        with capsys.disabled():
            print(table(f"trained at 64^2, {share:.0%} obstacles", [f"{n}^2" for n in sizes], rows))
        held, alone, plain = (
            [c.iterations for c in rows[name]] for name in ("DCDM, all levels", "DCDM, one matrix", "CG")
        )
        assert share or max(held) <= min(held) + 2
        assert all(4 * few <= many for few, many in zip(held, plain, strict=True))
        assert alone[-1] > 2 * alone[0]


def test_three_dimensions(one_thread, capsys):
    """Trained at 32^3; gated there: at least four times fewer iterations than CG."""
    trained = {
        "32^3": DCDM(3, channels=8, depths=(1, 4, 1), ritz=300, samples=4),
        "32^3, all levels": DCDM(3, channels=8, depths=(1, 2, 1), levels="all", ritz=300, samples=4),
    }
    family, steps = one_of(poisson(32, 3)), {"32^3": 300, "32^3, all levels": 100}
    for name, model in trained.items():
        train(family, model, steps=steps[name], threads=1, progress=False)
    methods = {**CLASSICAL, **{f"DCDM, {name}": learned(model) for name, model in trained.items()}}
    rows: dict[str, list[Median]] = {name: [] for name in methods}
    for n in (32, 64):
        for name, cell in measure(methods, [poisson(n, 3)], HELD_OUT + 3).items():
            rows[name].append(cell)
    with capsys.disabled():
        print(told(trained))
        print(table("three dimensions", ["32^3", "64^3"], rows))
    assert rows["CG"][0].iterations >= 4 * rows["DCDM, 32^3"][0].iterations
    levels = [c.iterations for c in rows["DCDM, 32^3, all levels"]]
    assert levels[1] <= levels[0] + 3
