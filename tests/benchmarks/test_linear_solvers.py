"""Diffusion problems by conjugate gradients and multigrid beside AMGCL, pyamg and sparse factors, on a processor.

    python -m pytest -s tests/benchmarks/test_linear_solvers.py -k beside   the tables of times
    ... -k iterations              the iterations over the resolution
    ... -k simple                  plain and simply preconditioned CG
    ... -k constant_coefficients   constant coefficients by a transform

Ours is timed from the coefficient on: operator, multigrid, solve. The peers get their assembled matrix for nothing. All
start from zero and stop by |b - A x| <= rtol |b|, which is computed again at the end, the same way for everyone.
"""

from __future__ import annotations

import functools
import statistics

import numpy as np
import pytest
import scipy.fft
import torch
from linear_problems import KINDS, Problem

from sciops.solvers import linear

pytestmark = pytest.mark.benchmark
pyamg = pytest.importorskip("pyamg", reason="needs the peer: pip install pyamg")
peers = pytest.importorskip("linear_solvers")

SECONDS = 60  # what the turns of a table may take
HEADER = (
    f"{'milliseconds, medians of turns':<44}{'its':>5}{'set-up':>10}{'solve':>10}{'total':>10}"
    f"{'ratio':>8}   {'middle half':<17}{'residual':>8}"
)
GRIDS = [(256, 2), (512, 2), (1024, 2)]
CASES = [(kind, n, d) for n, d in GRIDS for kind in KINDS]
CASES += [("lognormal", 64, 3), ("piecewise", 64, 3), ("piecewise", 128, 3)]


@functools.lru_cache(maxsize=1)
def problem_of(kind: str, n: int, d: int) -> Problem:
    return Problem(kind, n, d)


def amgcl_settings():
    try:
        return {f"AMGCL {c}, {r}": peers.amgcl(c, r) for c in peers.COARSENINGS for r in peers.RELAXATIONS}
    except ImportError as error:
        pytest.skip(f"needs the peer pyamgcl, which `make bench` compiles: {error}")


def best_two(settings, problem, rtol):
    """The quickest two settings by a single trial: their medians will tell which one is best."""
    seconds = {}
    for name, solver in settings.items():
        found = solver(problem, rtol)
        if problem.residual(found.x) <= 1.01 * rtol:
            seconds[name] = found.set_up + found.solve
    return {name: settings[name] for name in sorted(seconds, key=seconds.__getitem__)[:2]}, seconds


def table(title, programs, times):
    """Rows of programs that took turns, ratios to the first one; returns the medians of the ratios too."""
    first, rows, ratios = next(iter(times.values())), [f"{title}, {len(next(iter(times.values())))} turns"], {}
    for name, program in programs.items():
        turns = len(times[name])
        pairs = sorted(a / b for a, b in zip(times[name], first, strict=True))
        ratios[name] = statistics.median(pairs)
        parts = [1e3 * statistics.median(part[-turns:]) for part in (program.set_ups, program.solves)]
        between = f"{pairs[turns // 4]:.2f} to {pairs[-1 - turns // 4]:.2f}"
        rows.append(
            f"{name:<44}{program.answer.iterations:>5}{parts[0]:>10.1f}{parts[1]:>10.1f}"
            f"{statistics.median(times[name]):>10.1f}{ratios[name]:>8.2f}   {between:<17}{program.residual():>8.1e}"
        )
    return rows, ratios


@pytest.mark.parametrize("rtol", [1e-6, 1e-10])
@pytest.mark.parametrize(("kind", "n", "d"), CASES)
def test_multigrid_beside_the_peers(kind, n, d, rtol, take_turns, capsys):
    """Gated on one thread at 1e-6: at 1024^2, and for jumps in three dimensions."""
    problem, settings = problem_of(kind, n, d), amgcl_settings()
    with peers.openmp_threads(1):
        chosen, trial = best_two(settings, problem, rtol)
        solvers = {"sciops cg, multigrid": peers.ours, **chosen}
        solvers |= {"pyamg smoothed aggregation, cg": peers.smoothed_aggregation}
        solvers |= {"pyamg Ruge-Stueben, cg": peers.ruge_stueben}
        programs = {name: peers.Timed(solver, problem, rtol) for name, solver in solvers.items()}
        for program in programs.values():  # warm, and how long it takes
            program()
        turn = sum(program.set_ups[0] + program.solves[0] for program in programs.values())
        times = take_turns(programs, turns=min(9, max(3, int(SECONDS / turn))), warm_up=0)
        rows, ratios = table(f"\n{problem}, rtol {rtol:g}, 1 thread", programs, times)
        if d == 2 and rtol == 1e-6:
            direct = {"sciops cg, multigrid": programs["sciops cg, multigrid"]}
            direct["sparse LU"] = peers.Timed(peers.sparse_lu, problem, rtol)
            turns = 9 if n == 256 else 3
            rows += table("beside sparse LU", direct, take_turns(direct, turns=turns, warm_up=0))[0][::2]
    best = min(chosen, key=ratios.__getitem__)
    with peers.openmp_threads(2):
        pair = {name: peers.Timed(solvers[name], problem, rtol) for name in ("sciops cg, multigrid", best)}
        rows += table("2 threads", pair, take_turns(pair, turns=9 if turn < 10 else 3, threads=2))[0]
    spread = ", ".join(f"{name[6:]} {1e3 * seconds:.0f}" for name, seconds in sorted(trial.items()))
    with capsys.disabled():
        print("\n".join([rows[0], HEADER, *rows[1:], f"AMGCL, all settings once: {spread}"]))
    for name, program in programs.items():
        assert program.residual() <= 1.01 * rtol, name
    count = {name: program.answer.iterations for name, program in programs.items()}
    fine, jumps = n == 1024 and kind != "constant", (kind, d) == ("piecewise", 3)
    if rtol == 1e-6 and (fine or jumps):
        assert ratios[best] >= 2
    if rtol == 1e-6 and fine:
        assert min(ratios["pyamg smoothed aggregation, cg"], ratios["pyamg Ruge-Stueben, cg"]) >= 5
        assert count["sciops cg, multigrid"] <= 1.5 * count["pyamg Ruge-Stueben, cg"]
    if rtol == 1e-6 and jumps:
        assert count["sciops cg, multigrid"] <= 12


@pytest.mark.parametrize("kind", KINDS)
def test_iterations_over_the_resolution(kind, capsys):
    """Gated: they hardly grow, and are not many more than those of the best hierarchy for these matrices."""
    sizes, tolerances = [2**level for level in range(6, 12)], [1e-6, 1e-10]
    rows = {(name, rtol): [] for rtol in tolerances for name in ("sciops multigrid", "pyamg Ruge-Stueben")}
    for n in sizes:
        problem = Problem(kind, n)
        A, b = problem.operator(), problem.rhs
        M, hierarchy = linear.Multigrid(A), pyamg.ruge_stuben_solver(problem.matrix, max_coarse=200)
        for rtol in tolerances:
            found = linear.cg(A, b, M=M, rtol=rtol)
            rows["sciops multigrid", rtol].append(int(found.iterations))
            assert problem.residual(found.value) <= 1.01 * rtol
            x, residuals = b.numpy().ravel(), []
            x = hierarchy.solve(x, tol=rtol, accel="cg", residuals=residuals, maxiter=peers.MOST)
            rows["pyamg Ruge-Stueben", rtol].append(len(residuals) - 1)
            assert problem.residual(x) <= 1.01 * rtol
    with capsys.disabled():
        print(f"\n{kind + ', iterations of conjugate gradients':<44}" + "".join(f"{n:>7}^2" for n in sizes))
        for (name, rtol), counts in rows.items():
            print(f"{name + f', rtol {rtol:g}':<44}" + "".join(f"{count:>9}" for count in counts))
    for rtol in tolerances:
        own, peer = rows["sciops multigrid", rtol], rows["pyamg Ruge-Stueben", rtol]
        assert max(own) <= 1.3 * min(own)
        assert all(mine <= 1.5 * its for mine, its in zip(own, peer, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_simple_preconditioners(kind, capsys):
    """What multigrid is for: once each, not gated."""
    problem, rtol = Problem(kind, 256), 1e-6
    solvers = {"scipy cg": peers.plain_cg, "sciops cg": peers.ours_with(None)}
    solvers |= {f"sciops cg, {name}": peers.ours_with(name) for name in ("jacobi", "ic0", "multigrid")}
    programs = {name: peers.Timed(solver, problem, rtol) for name, solver in solvers.items()}
    with capsys.disabled():
        print(f"\n{f'{problem}, rtol {rtol:g}, milliseconds, once':<44}{'its':>6}{'set-up':>10}{'solve':>10}")
        for name, program in programs.items():
            program()
            program()
            assert program.residual() <= 1.01 * rtol
            times = f"{1e3 * program.set_ups[-1]:>10.1f}{1e3 * program.solves[-1]:>10.1f}"
            print(f"{name:<44}{program.answer.iterations:>6}{times}")


@pytest.mark.parametrize(("n", "d"), [(256, 2), (512, 2), (1024, 2), (64, 3), (128, 3)])
def test_constant_coefficients(n, d, compare, capsys):
    """Beside the same transforms written by hand in SciPy, which certify nothing. Gated: twice the time."""
    problem = Problem("constant", n, d)
    A, b = problem.operator(), problem.rhs
    M = linear.FastDiffusion(A)

    def by_hand():
        one = 2 - 2 * np.cos(np.pi * np.arange(1, n + 1) / n)
        eigenvalues = functools.reduce(lambda whole, axis: whole[..., None] + axis, [one] * d)
        spectrum = scipy.fft.dstn(b.numpy(), type=2, norm="ortho", workers=torch.get_num_threads())
        return scipy.fft.idstn(spectrum / eigenvalues, type=2, norm="ortho", workers=torch.get_num_threads())

    def certified():
        return linear.refine(A, b, M=M, rtol=1e-10)

    def from_the_coefficient():
        A = problem.operator()
        return linear.refine(A, b, M="fast", rtol=1e-10)

    assert problem.residual(by_hand()) <= 1e-10
    assert problem.residual(certified().value) <= 1e-10
    turns = 41 if n**d < 1e6 else 15
    apart, whole = compare(by_hand, certified, turns=turns), compare(by_hand, from_the_coefficient, turns=turns)
    threads = compare(by_hand, certified, turns=turns, threads=2)
    with capsys.disabled():
        print(f"\n{'milliseconds, median of turns':<44}{'peer':>10}{'ours':>10}{'ratio':>8}   middle half")
        print(apart.row(f"{problem}, refine with the fast inverse"))
        print(whole.row(f"{problem}, the same from the coefficient on"))
        print(threads.row(f"{problem}, the first on 2 threads"))
    assert apart.ratio >= 0.5
