"""Paired timings: programs take turns in one process, so that load on the machine hits all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch


@dataclass(frozen=True)
class Comparison:
    """Milliseconds of each turn of a peer and of ours."""

    peer: list[float]
    ours: list[float]

    @property
    def ratios(self) -> list[float]:
        return sorted(a / b for a, b in zip(self.peer, self.ours, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    def row(self, name: str) -> str:
        low, high = self.ratios[len(self.ratios) // 4], self.ratios[-1 - len(self.ratios) // 4]
        peer, ours = statistics.median(self.peer), statistics.median(self.ours)
        return f"{name:<44}{peer:>10.1f}{ours:>10.1f}{self.ratio:>8.2f}   {low:.2f} to {high:.2f}"


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run on one thread, then on as many as before."""
    with on_threads(1):
        yield


@pytest.fixture
def take_turns(one_thread: None) -> Callable[..., dict[str, list[float]]]:
    """Time named functions in turns and return the milliseconds of each turn after the warm-up."""

    def run(
        programs: dict[str, Callable[[], object]], *, turns: int = 11, threads: int | None = None, warm_up: int = 1
    ) -> dict[str, list[float]]:
        times: dict[str, list[float]] = {name: [] for name in programs}
        with on_threads(threads or torch.get_num_threads()):
            for turn in range(-warm_up, turns):
                # every other turn goes backwards: nobody always runs in the wake of the same other
                for name in list(programs)[:: -1 if turn % 2 else 1]:
                    start = time.perf_counter()
                    programs[name]()
                    if turn >= 0:
                        times[name].append((time.perf_counter() - start) * 1e3)
        return times

    return run


@pytest.fixture
def compare(take_turns: Callable[..., dict[str, list[float]]]) -> Callable[..., Comparison]:
    """Time a peer and ours in turns and return the comparison."""

    def run(
        peer: Callable[[], object], ours: Callable[[], object], *, turns: int = 11, threads: int | None = None
    ) -> Comparison:
        times = take_turns({"peer": peer, "ours": ours}, turns=turns, threads=threads)
        return Comparison(times["peer"], times["ours"])

    return run


@pytest.fixture
def comparison() -> type[Comparison]:
    """The class, for programs that were timed by `take_turns`."""
    return Comparison
