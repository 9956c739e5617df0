"""Where the defaults of `Multigrid` come from: a search over systems that are reported nowhere, on one thread.

The systems of the search have fields of other seeds, roughness and contrasts than those that are reported. The default
is held against the other candidates by the geometric mean of set-up and solve to 1e-6, in processor time; the last test
runs the reported systems.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from linear_problems import Problem, medium, smooth_field
from torch import Tensor

from sciops.solvers.linear import Chebyshev, Diffusion, Line, Multigrid, RedBlack, cg

pytestmark = pytest.mark.benchmark

ISOTROPIC: dict[str, dict[str, Any]] = {
    "default": {},
    **{
        f"Chebyshev({degree}, {lower}), {name}": {"smoother": Chebyshev(degree, lower), "turns": turns}
        for turns, name in ((1, "V"), (2, "W"))
        for degree, lower in (
            *((1, 0.5), (1, 0.25), (2, 0.35), (2, 0.25), (2, 0.15), (3, 0.25), (3, 0.15), (3, 0.1), (4, 0.15)),
            *((4, 0.1), (5, 0.1), (6, 0.05)),
        )
        if turns == 1 or (degree, lower) in ((2, 0.25), (3, 0.15))
    },
    "Line(), V": {"smoother": Line()},
    "Chebyshev(3, 0.15), V, sums": {"smoother": Chebyshev(3, 0.15), "coarsening": "sums"},
    "RedBlack(2), V, sums": {"smoother": RedBlack(2), "coarsening": "sums"},
    "RedBlack(2), W, sums": {"smoother": RedBlack(2), "coarsening": "sums", "turns": 2},
}
DIRECTED: dict[str, dict[str, Any]] = {
    "default": {},
    "Chebyshev(3, 0.15), V": {"smoother": Chebyshev(3, 0.15)},
    "Chebyshev(8, 0.02), V": {"smoother": Chebyshev(8, 0.02)},
    **{
        f"lines, degree {degree} from {lower}, {'one axis' if axes == 0 else 'all'}": {
            "smoother": Line(axes, degree, lower)
        }
        for axes in (0, None)
        for degree, lower in ((1, 0.25), (2, 0.4), (2, 0.25), (2, 0.1), (3, 0.25), (3, 0.1))
    },
}


def system(k: Tensor, seed: int) -> tuple[Diffusion, Tensor]:
    space = k.shape[2:] if k.ndim > 3 else k.shape
    b = torch.from_numpy(np.random.default_rng(seed).standard_normal(tuple(space)))
    return Diffusion(k, grid=(1.0,) * len(space)), b


def isotropic() -> dict[str, tuple[Diffusion, Tensor]]:
    found = {}
    for d, sizes in ((2, (128, 512)), (3, (32, 48))):
        for number, n in enumerate(sizes):
            for kind in ("lognormal", "piecewise"):
                for contrast in (1e1, 1e3, 1e5):
                    seed = 1000 * d + 10 * number + round(math.log10(contrast))
                    g = smooth_field(n, d, seed, correlation=6.0, power=2.5 if contrast == 1e3 else 2.2)
                    found[f"{n}^{d} {kind} {contrast:g}"] = system(medium(kind, g, contrast), seed)
    return found


def directed() -> dict[str, tuple[Diffusion, Tensor]]:
    """Permeability tensors with a strong first axis."""
    found = {}
    for d, sizes in ((2, (128, 384)), (3, (40,))):
        for n in sizes:
            for kind, contrast in (("lognormal", 1e2), ("piecewise", 1e2)):
                for ratio in (10.0, 100.0, 1e3):
                    seed = 500 * d + n + round(math.log10(ratio))
                    k = medium(kind, smooth_field(n, d, seed, correlation=6.0, power=2.5), contrast)
                    tensor = torch.stack([ratio * k] + [k] * (d - 1))[None]
                    found[f"{n}^{d} {kind}, ratio {ratio:g}"] = system(tensor, seed)
    return found


def search(
    systems: dict[str, tuple[Diffusion, Tensor]], candidates: dict[str, dict[str, Any]]
) -> dict[str, tuple[list[int], float]]:
    """Iterations on all systems, and the geometric mean of set-up and solve over the default's, printed as a table."""
    counts: dict[str, list[int]] = {name: [] for name in candidates}
    logs: dict[str, list[float]] = {name: [] for name in candidates}
    for A, b in systems.values():
        last, times = {}, dict.fromkeys(candidates, math.inf)
        for turn in range(3):
            # every other turn goes backwards: nobody always runs in the wake of the same other
            for name in list(candidates)[:: -1 if turn % 2 else 1]:
                start = time.process_time()
                M = Multigrid(A, **candidates[name])
                last[name] = int(cg(A, b, M=M, rtol=1e-6, maxiter=100, raise_on_failure=False).iterations.max())
                if turn > 0:  # the first one warms up
                    times[name] = min(times[name], time.process_time() - start)
        for name in candidates:
            counts[name].append(last[name])
            logs[name].append(math.log(times[name]))
    flat = [name.split()[0].endswith("^2") for name in systems]
    print(f"\n{'iterations, mean (most)':<40}{'2D':>13}{'3D':>13}{'set-up and solve over the default':>36}")
    found = {}
    for name in candidates:
        share = math.exp(sum(x - y for x, y in zip(logs[name], logs["default"], strict=True)) / len(systems))
        found[name] = counts[name], share
        cells = []
        for two in (True, False):
            part = [c for c, f in zip(counts[name], flat, strict=True) if f == two]
            cells.append(f"{sum(part) / len(part):.1f} ({max(part)})")
        print(f"{name:<40}{cells[0]:>13}{cells[1]:>13}{share:>36.2f}")
    return found


@pytest.mark.parametrize("which", ["isotropic", "directed"])
def test_no_candidate_is_much_quicker_than_the_default(which: str, one_thread: None) -> None:
    systems, candidates = (isotropic(), ISOTROPIC) if which == "isotropic" else (directed(), DIRECTED)
    found = search(systems, candidates)
    # constant prolongation is quick where it converges, and misses the gate of the reported systems in 3D
    able = {name: share for name, (_, share) in found.items() if "sums" not in name}
    best = min(able, key=lambda name: able[name])
    print(f"the quickest on {len(systems)} systems, without sums: {best}")
    assert able[best] > 0.85, best


def test_reported_systems(one_thread: None) -> None:
    sizes = {2: (64, 128, 256, 512, 1024, 2048), 3: (64, 128)}
    print(f"\n{'iterations to 1e-6':<30}" + "".join(f"{size:>8}" for size in sizes[2]))
    counts: dict[tuple[str, int], list[int]] = {}
    for kind in ("lognormal", "piecewise"):
        for coarsening in ("galerkin", "sums"):
            for d in (2, 3):
                counts[coarsening, d] = []
                for n in sizes[d]:
                    problem = Problem(kind, n, d)
                    A = problem.operator()
                    found = cg(A, problem.rhs, M=Multigrid(A, coarsening=coarsening), rtol=1e-6)
                    counts[coarsening, d].append(int(found.iterations.max()))
                name = f"{kind}, {coarsening}, {d}D from {sizes[d][0]}"
                print(f"{name:<30}" + "".join(f"{c:>8}" for c in counts[coarsening, d]))
        assert max(counts["galerkin", 2]) <= 1.3 * min(counts["galerkin", 2]), counts
        assert max(counts["galerkin", 3]) <= 12, counts
    assert max(counts["sums", 3]) > 12, counts  # why the quicker set-up is not the default
