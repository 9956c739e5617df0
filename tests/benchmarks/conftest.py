"""Paired timings: two programs take turns in one process on one thread, so that load on the machine hits both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
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


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Run on one thread, then on as many as before."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def compare(one_thread: None) -> Callable[..., Comparison]:
    """Time two functions in turns and return the comparison."""

    def run(peer: Callable[[], object], ours: Callable[[], object], *, turns: int = 11) -> Comparison:
        times: tuple[list[float], list[float]] = ([], [])
        for turn in range(turns + 1):
            for function, kept in zip((peer, ours), times, strict=True):
                start = time.perf_counter()
                function()
                if turn:  # the first turn warms up
                    kept.append((time.perf_counter() - start) * 1e3)
        return Comparison(*times)

    return run
