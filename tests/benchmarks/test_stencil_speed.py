"""A whole V-cycle of stencil multigrid beside the same algorithm in plain torch: a process each coefficient.

How quick plain torch is depends on the process: where the system takes freed memory back, each of its temporary
arrays is fetched anew. So the pair runs in several processes of default settings, and all of them are printed.

As a script, ``python test_stencil_speed.py d n smallest seed threads``, it prints the times of one process as JSON.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sciops.solvers.linear import Chebyshev, Diffusion, Multigrid
from sciops.solvers.linear.cycles import cycle

pytestmark = pytest.mark.benchmark

HEADER = f"\n{'milliseconds, median of turns':<44}{'peer':>10}{'ours':>10}{'ratio':>8}   middle half"


def coefficient(n: int, d: int, seed: int = 0) -> Tensor:
    """A smooth random field with values over three decades, as a cell-centred coefficient."""
    noise = torch.randn((n,) * d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    waves = torch.stack(torch.meshgrid(*[torch.fft.fftfreq(n, 1 / n, dtype=torch.float64)] * d, indexing="ij"))
    k = torch.fft.ifftn(torch.fft.fftn(noise) / (waves.square().sum(0) + 9)).real
    return (k - k.min()).div(k.max() - k.min()).mul(6.9).exp()


# --- the same algorithm in plain torch


def along(d: int, axis: int, part: slice) -> tuple[slice, ...]:
    return (slice(None),) * axis + (part,) + (slice(None),) * (d - axis - 1)


def pool(x: Tensor, axes: list[int]) -> Tensor:
    for a in axes:
        x = x[along(x.ndim, a, slice(0, None, 2))] + x[along(x.ndim, a, slice(1, None, 2))]
    return x


class Plain:
    def __init__(self, k: Tensor, dtype: torch.dtype, smallest: int) -> None:
        d, faces = k.ndim, []
        for a in range(d):
            low, high = k[along(d, a, slice(0, -1))], k[along(d, a, slice(1, None))]
            ends = [2 * k[along(d, a, slice(0, 1))], 2 * k[along(d, a, slice(-1, None))]]
            faces.append(torch.cat([ends[0], 2 * low * high / (low + high), ends[1]], a).to(dtype))
        self.levels: list[Any] = []
        while True:
            diagonal = sum(f[along(d, a, slice(1, None))] + f[along(d, a, slice(0, -1))] for a, f in enumerate(faces))
            self.levels.append((faces, diagonal, 1 / diagonal))
            if diagonal.shape[0] <= smallest:
                break
            faces = [
                0.5 * pool(f[along(d, a, slice(0, None, 2))], [b for b in range(d) if b != a])
                for a, f in enumerate(faces)
            ]
        unit = torch.eye(diagonal.numel(), dtype=torch.float64)
        columns = [
            self.apply([f.double() for f in faces], diagonal.double(), e.view(diagonal.shape)).flatten() for e in unit
        ]
        self.inverse = torch.linalg.inv(torch.stack(columns)).to(dtype)

    @staticmethod
    def apply(faces: list[Tensor], diagonal: Tensor, u: Tensor) -> Tensor:
        d, y = u.ndim, diagonal * u
        for a, f in enumerate(faces):
            inner = f[along(d, a, slice(1, -1))]
            y[along(d, a, slice(0, -1))] -= inner * u[along(d, a, slice(1, None))]
            y[along(d, a, slice(1, None))] -= inner * u[along(d, a, slice(0, -1))]
        return y

    def smooth(self, faces: list[Tensor], diagonal: Tensor, inverse: Tensor, r: Tensor) -> Tensor:
        centre, half = 1.25, 0.75
        sigma = centre / half
        x = inverse * r / centre
        r = r - self.apply(faces, diagonal, x)
        rho = 1 / (2 * sigma - 1 / sigma)
        return x + rho / sigma * x + (2 * rho / half) * (inverse * r)

    def cycle(self, r: Tensor, level: int = 0) -> Tensor:
        faces, diagonal, inverse = self.levels[level]
        if level == len(self.levels) - 1:
            return (self.inverse @ r.flatten()).reshape(r.shape)
        x = self.smooth(faces, diagonal, inverse, r)
        e = self.cycle(pool(r - self.apply(faces, diagonal, x), list(range(r.ndim))), level + 1)
        for a in range(r.ndim):
            e = e.repeat_interleave(2, a)
        x = x + e
        return x + self.smooth(faces, diagonal, inverse, r - self.apply(faces, diagonal, x))


# --- ours: the cycle of the solver, with the same levels and the same smoother


class Ours:
    def __init__(self, k: Tensor, dtype: torch.dtype) -> None:
        A = Diffusion(k, grid=[1.0] * k.ndim)
        self.M = Multigrid(A, turns=1, smoother=Chebyshev(2, 0.25), coarsening="sums", dtype=dtype)
        self.scale = float(A.stencil_diagonal.amax())  # by which the levels are divided

    def cycle(self, r: Tensor) -> Tensor:
        return cycle(self.M.levels, self.M.coarsest, r)


def times(d: int, n: int, smallest: int, seed: int, pairs: int = 11) -> dict[str, list[list[float]]]:
    """Milliseconds of a cycle, (peer, ours) in turns, called one at a time and ten in a row."""
    k = coefficient(n, d, seed)
    plain, ours = Plain(k, torch.float32, smallest), Ours(k, torch.float32)
    r = torch.randn((n,) * d, generator=torch.Generator().manual_seed(seed + 1))
    field = r[None, None]

    def timed(run: Callable[[], object], calls: int) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return (time.perf_counter() - start) * 1e3 / calls

    found: dict[str, list[list[float]]] = {}
    for name, calls in (("alone", 1), ("in a row", 10)):
        timed(lambda: plain.cycle(r), 2)
        timed(lambda: ours.cycle(field), 2)
        found[name] = []
        for turn in range(pairs):
            # every other turn goes backwards: nobody always runs in the wake of the other
            runs: list[Callable[[], object]] = [lambda: plain.cycle(r), lambda: ours.cycle(field)]
            pair = [timed(run, calls) for run in runs[:: -1 if turn % 2 else 1]]
            found[name].append(pair[:: -1 if turn % 2 else 1])
    return found


@pytest.mark.parametrize(("d", "n", "smallest"), [(2, 1024, 8), (3, 64, 4)])
def test_both_are_the_same_algorithm(d: int, n: int, smallest: int) -> None:
    k = coefficient(n, d)
    plain, ours = Plain(k, torch.float32, smallest), Ours(k, torch.float32)
    r = torch.randn((n,) * d, generator=torch.Generator().manual_seed(1))
    field = r[None, None]
    expected, found = plain.cycle(r), ours.cycle(field)[0, 0] / ours.scale
    # and both against the same cycle in double precision: what separates them is rounding alone
    exact = Ours(k, torch.float64).cycle(field.double())[0, 0] / ours.scale
    assert (found - expected).norm() < 1e-5 * expected.norm()
    assert (found - exact).norm() < 1e-5 * exact.norm()


# a solver calls one cycle after another, so ten in a row are gated; alone, each starts in a cache full of the other's
@pytest.mark.parametrize(("d", "n", "smallest", "at_least"), [(2, 1024, 8, 3.0), (3, 64, 4, 1.7)])
def test_cycle(
    d: int, n: int, smallest: int, at_least: float, comparison: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    rows, ratios = [], []
    for threads in (1, 2):
        for seed in range(5 if threads == 1 else 1):
            command = [sys.executable, __file__, *map(str, (d, n, smallest, seed, threads))]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            assert run.returncode == 0, run.stderr[-2000:]
            for name, pairs in json.loads(run.stdout.splitlines()[-1]).items():
                result = comparison([peer for peer, _ in pairs], [ours for _, ours in pairs])
                rows.append(result.row(f"V-cycle, {n}^{d}, {threads} thread{'s' * (threads > 1)}, #{seed}, {name}"))
                if threads == 1 and name == "in a row":
                    ratios.append(result.ratio)
    with capsys.disabled():
        print("\n".join([HEADER, *rows]))
        print(f"in a row, 1 thread: median of the processes {statistics.median(ratios):.2f}, least {min(ratios):.2f}")
    assert statistics.median(ratios) >= at_least


@pytest.mark.parametrize(("d", "n", "smallest"), [(2, 1024, 8), (3, 64, 4)])
def test_setup(d: int, n: int, smallest: int, compare: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    k = coefficient(n, d)
    result = compare(lambda: Plain(k, torch.float32, smallest), lambda: Ours(k, torch.float32), turns=9, threads=1)
    with capsys.disabled():
        print(HEADER)
        print(result.row(f"set-up of the levels, {n}^{d}, 1 thread"))


if __name__ == "__main__":
    *numbers, count = map(int, sys.argv[1:])
    torch.set_num_threads(count)
    print(json.dumps(times(*numbers)))
