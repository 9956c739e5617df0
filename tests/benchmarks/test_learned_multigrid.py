"""Learned multigrid beside the classical one with the same smoothing, on families that it was not trained on.

One training for each dimension, at most ten minutes, on two-phase and lognormal media at 64^2 (32^3) with contrasts up
to 1e4. What is reported are other systems: other contrast, other correlation length, inclusions, layers, an axis that
conducts better than the other, and other sizes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from statistics import geometric_mean
from typing import Any

import pytest
import scipy.sparse as sparse
import scipy.sparse.linalg as splinalg
import torch
from torch import Tensor

from sciops.kernels.blackbox import blackbox_prolong
from sciops.kernels.smoothing import smooth, smooth_residual
from sciops.preconditioners import DiffusionFamily, LearnedMultigrid, LearnedPreconditioner, families, train
from sciops.solvers.linear import Chebyshev, Diffusion, LinearOperator, Multigrid, Sparse, cg
from sciops.solvers.linear.cycles import cycle
from sciops.solvers.linear.sparse import stencil_matrix

pytestmark = pytest.mark.benchmark

MINUTES = float(os.environ.get("SCIOPS_TRAINING_MINUTES", "6"))
SEED = 0  # of training; held-out systems come from others
SIZES = {2: {128: 3, 256: 3, 512: 2, 1024: 1}, 3: {32: 2, 64: 1}}
HELD_OUT: dict[str, dict[str, Any]] = {
    "two phases, 1e5": {"kind": families.piecewise, "contrast": (1e5, 1e5), "length": (0.1, 0.3)},
    "two phases, fine": {"kind": families.piecewise, "contrast": (1e3, 1e3), "length": (0.015, 0.03)},
    "lognormal, 1e5": {"kind": families.lognormal, "contrast": (1e5, 1e5), "length": (0.02, 0.3)},
    "inclusions": {"kind": families.inclusions, "contrast": (1e3, 1e5), "length": (0.02, 0.08)},
    "layers": {"kind": families.layered, "contrast": (1e3, 1e5), "length": (0.02, 0.1)},
    "layers, anisotropic": {"kind": families.layered, "contrast": (1e2, 1e2), "length": (0.02, 0.1)},
}


def family(d: int) -> DiffusionFamily:
    space = (64, 64) if d == 2 else (32,) * 3
    options = {"contrast": (10.0, 1e4), "length": (0.03, 0.3), "batch": 4 if d == 2 else 1}
    kinds = [families.piecewise(*space, **options), families.lognormal(*space, **options)]
    return DiffusionFamily([m for f in kinds for m in f.permeability], grid=kinds[0].grid, batch=kinds[0].batch)


def system(name: str, n: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Permeability and right-hand side."""
    options = dict(HELD_OUT[name])
    generator = torch.Generator().manual_seed(10_000 + seed)
    draw = options.pop("kind")(*(n,) * d, batch=1, **options).draw
    k = draw(1, generator)[0]
    if name == "layers, anisotropic":  # each layer conducts better along some axes than across
        k = torch.stack([k, *(draw(1, generator)[0] for _ in range(d - 1))])[None]
    return k, torch.randn((n,) * d, generator=generator, dtype=torch.float64)


@dataclasses.dataclass(frozen=True)
class Row:
    family: str
    size: int
    iterations: tuple[int, int]
    milliseconds: tuple[float, float]


def compare(d: int, model: LearnedPreconditioner, take_turns: Callable[..., Any], threads: int = 1) -> list[Row]:
    rows = []
    for name in HELD_OUT:
        for n, count in SIZES[d].items():
            for number in range(count):
                k, b = system(name, n, d, 100 * n + number)
                A = Diffusion(k, grid=[1 / n] * d)
                found = {}

                def solve(label: str, M: Callable[[LinearOperator], Any], A=A, b=b, found=found) -> None:
                    found[label] = cg(A, b, M=M(A), rtol=1e-6)

                programs = {
                    "classical": lambda: solve("classical", Multigrid),
                    "learned": lambda: solve("learned", model.setup),
                }
                times = take_turns(programs, turns=3, threads=threads)
                counts = tuple(int(found[label].iterations) for label in programs)
                rows.append(Row(name, n, counts, tuple(sorted(times[label])[1] for label in programs)))
    return rows


def table(rows: list[Row]) -> tuple[float, float]:
    print(f"\n{'geometric means, classical : learned':<36}{'systems':>8}{'iterations':>22}{'time':>8}")
    for name in [*dict.fromkeys(r.family for r in rows), "all"]:
        some = [r for r in rows if name in ("all", r.family)]
        counts = [geometric_mean(r.iterations[i] for r in some) for i in (0, 1)]
        iterations = geometric_mean(r.iterations[0] / r.iterations[1] for r in some)
        time = geometric_mean(r.milliseconds[0] / r.milliseconds[1] for r in some)
        print(f"{name:<36}{len(some):>8}{counts[0]:>8.1f}{counts[1]:>6.1f}{iterations:>8.2f}{time:>8.2f}")
    return iterations, time


def payoff(rows: list[Row], seconds: float) -> str:
    gain = sum(r.milliseconds[0] - r.milliseconds[1] for r in rows) / len(rows) / 1e3
    if gain <= 0:
        return f"trained for {seconds:.0f} s; a solve takes {-gain * 1e3:.1f} ms more on average: it is never paid back"
    return f"trained for {seconds:.0f} s; paid back after {seconds / gain:.0f} solves of these sizes"


@pytest.mark.parametrize("d", [2, 3])
def test_held_out_families(d: int, take_turns: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    model = train(family(d), LearnedMultigrid(d), minutes=MINUTES, seed=SEED, progress=False)
    results = {threads: compare(d, model, take_turns, threads) for threads in (1, 2)}
    with capsys.disabled():
        for threads, rows in results.items():
            print(f"\n{d}D, {threads} thread{'s' * (threads > 1)}, set-up and solve, relative residual 1e-6")
            table(rows)
        assert model.record is not None
        print(payoff(results[1], model.record.seconds))
    assert len(results[1]) >= (50 if d == 2 else 18)
    # no more is promised than that it solves what it was not trained on: the page says why
    assert all(r.iterations[1] <= 3 * r.iterations[0] + 10 for r in results[1] if r.family != "layers, anisotropic")


def test_why(capsys: pytest.CaptureFixture[str]) -> None:
    """What each part brings, and what no prolongation and no coarse operator can bring."""
    n, d, seeds = 256, 2, range(3)
    learned = {
        label: train(family(d), LearnedMultigrid(d, **options), minutes=MINUTES / 3, seed=SEED, progress=False)
        for label, options in {
            "prolongation": {"parts": ["prolongation"]},
            "damping": {"parts": ["damping"]},
            "both": {},
            "both, finest level too": {"first": 0},
        }.items()
    }
    untrained = LearnedMultigrid(d)
    programs: dict[str, Callable[[Diffusion], Any]] = {
        "classical": Multigrid,
        "classical, no lines": lambda A: Multigrid(A, smoother=Chebyshev(3, 0.15)),
        "untrained": untrained.setup,
        **{label: model.setup for label, model in learned.items()},
        "exact second level": lambda A: exactly(A, untrained),
    }
    print_rows: dict[str, list[float]] = {label: [] for label in programs}
    for name in HELD_OUT:
        counts: dict[str, list[int]] = {label: [] for label in programs}
        for seed in seeds:
            k, b = system(name, n, d, 7000 + seed)
            A = Diffusion(k, grid=[1 / n] * d)
            for label, make in programs.items():
                counts[label].append(int(cg(A, b, M=make(A), rtol=1e-6, maxiter=500).iterations))
        for label, found in counts.items():
            print_rows[label].append(geometric_mean(found))
    with capsys.disabled():
        print(f"\n{'iterations at 256^2, geometric means':<36}" + "".join(f"{name:>22}" for name in HELD_OUT))
        for label, means in print_rows.items():
            print(f"{label:<36}" + "".join(f"{mean:>22.1f}" for mean in means))
    points = [i for i, name in enumerate(HELD_OUT) if name != "layers, anisotropic"]
    # an exact coarse solve is what the learned parts of all coarse levels together could come to at best
    assert all(print_rows["exact second level"][i] <= 1.2 * print_rows["untrained"][i] for i in points)


def test_which_coarse_space(capsys: pytest.CaptureFixture[str]) -> None:
    """On the second grid: the weights at hand, exact ones for the same coarse points, the best space of that size."""
    n, seeds = 96, range(3)
    names = ("black-box weights", "exact weights, same points", "best space of the size")
    with capsys.disabled():
        print(f"\n{'iterations on the grid below 96^2':<36}" + "".join(f"{name:>28}" for name in names))
        for name in HELD_OUT:
            counts = [within(system(name, n, 2, 500 + seed)[0], n) for seed in seeds]
            cells = [", ".join(str(c[i]) for c in counts) for i in range(3)]
            print(f"{name:<36}" + "".join(f"{cell:>28}" for cell in cells))
            # exact weights are no better than those at hand; another space is
            assert sum(c[1] for c in counts) >= 0.8 * sum(c[0] for c in counts) >= 0.8 * sum(c[2] for c in counts)


def within(k: Tensor, n: int) -> list[int]:
    """Iterations with two grids, the second one solved exactly, for three prolongations from it."""
    A = Diffusion(k, grid=[1 / n] * 2)
    with torch.no_grad():
        level = LearnedMultigrid(2).layer.levels(A.stencil_diagonal, A.coupling)[0][1]
    space = tuple(level.diagonal.shape[1:])
    B = torch.from_numpy(stencil_matrix(level.diagonal, level.coupling).toarray())
    root = B.diagonal().rsqrt()
    values, vectors = torch.linalg.eigh(root[:, None] * B * root)
    coarse = torch.stack(torch.meshgrid(*(torch.arange(m) % 2 == 0 for m in space), indexing="ij")).all(0).ravel()
    count = int(coarse.sum())
    unit = torch.eye(count, dtype=torch.float64).view(1, count, *((m + 1) // 2 for m in space))
    exact = torch.zeros(len(B), count, dtype=torch.float64)
    exact[coarse] = torch.eye(count, dtype=torch.float64)
    exact[~coarse] = -torch.linalg.solve(B[~coarse][:, ~coarse], B[~coarse][:, coarse])
    spaces = [blackbox_prolong(unit, level.weights, space)[0].flatten(1).T, exact, root[:, None] * vectors[:, :count]]
    sweeps = Chebyshev(3, 0.15).sweeps(float(values[-1]))
    operator = level.diagonal, level.coupling, 1 / level.diagonal
    b = torch.randn(len(B), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = []
    for P in spaces:
        inverse = torch.linalg.inv(P.T @ B @ P)

        def two_grids(r: Tensor, P: Tensor = P, inverse: Tensor = inverse) -> Tensor:
            f = r.view(1, 1, *space)
            u, rest = smooth_residual(*operator, f, sweeps=sweeps)
            u = u + (P @ (inverse @ (P.T @ rest.ravel()))).view(f.shape)
            return smooth(*operator, f, u, sweeps=sweeps).view(r.shape)

        found.append(int(cg(Sparse(sparse.csr_matrix(B.numpy())), b, M=two_grids, rtol=1e-6).iterations))
    return found


def exactly(A: Diffusion, model: LearnedMultigrid) -> Callable[[Tensor], Tensor]:
    """The finest level as it is, and below it the exact solution."""
    with torch.no_grad():
        levels, _ = model.layer.levels(A.stencil_diagonal, A.coupling)
    factors = splinalg.splu(stencil_matrix(levels[1].diagonal, levels[1].coupling).tocsc())

    def solve(b: Tensor) -> Tensor:
        return torch.from_numpy(factors.solve(b.numpy().ravel())).view(b.shape)

    def apply(r: Tensor) -> Tensor:
        with torch.no_grad():
            return cycle(levels[:1], solve, r)

    return apply
