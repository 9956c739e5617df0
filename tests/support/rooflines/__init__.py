"""How near every kernel comes to what the machine can do at all.

A module here per family has ``rows(draw)``, a list of (name, operations, bytes, call): one call of a kernel on a
realistic size, the additions and multiplications that its map needs, and the bytes of its arguments and results, each
counted once. The floor of a call is the longer of two times: operations over the fastest matrix product of this
machine, bytes over the fastest copy or reading of as many bytes. All rates are measured in the same run.
"""

from __future__ import annotations

import importlib
import math
import pkgutil
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from kernel_examples import Draw, all_examples

from sciops.kernels import diffusion_apply, dot
from sciops.kernels.dispatch import KERNELS
from sciops.kernels.products import product

Call = Callable[[], object]
_LARGEST_CACHE = 64 * 2**20
_SIZES = {
    "cpu": tuple(2**k for k in (18, 20, 22, 24, 26, 28)),
    "cuda": tuple(2**k for k in (22, 24, 26, 28, 30)),
}
_HALVES = (torch.float16, torch.bfloat16)
_PEAKS = {
    "cpu": ("float32", "float64"),
    "cuda": ("float32", "tf32", "float64", "float16", "bfloat16"),
}


def sample_seconds(call: Call, device: str, *, samples: int = 9, least: float = 5e-3) -> list[float]:
    """Seconds of one call, in samples of enough calls to last at least so long."""
    call()
    once = _seconds_of(call, device, 1)
    calls = max(1, math.ceil(least / max(once, 1e-7)))
    return [_seconds_of(call, device, calls) / calls for _ in range(samples)]


def _seconds_of(call: Call, device: str, calls: int) -> float:
    if device == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        for _ in range(calls):
            call()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1e3
    begin = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - begin


@dataclass(frozen=True)
class Level:
    """Bytes a second that are copied (read and written both counted) or read, at one size of all that is touched."""

    size: int
    copied: float
    read: float

    @property
    def fastest(self) -> float:
        return max(self.copied, self.read)


@dataclass
class Machine:
    """What a device can do at most on as many threads as torch has now: the best of all measurements so far."""

    device: str
    levels: tuple[Level, ...] = ()
    peaks: dict[str, float] = field(default_factory=dict)
    call: float = math.inf  # seconds of a kernel call on next to no data

    def __post_init__(self) -> None:
        self.levels = tuple(Level(size, 0.0, 0.0) for size in _SIZES[self.device])
        self.measure()

    def measure(self) -> None:
        """Measure all rates again: what else the machine does must not make a floor too high."""
        found = []
        for level in self.levels:
            a, b = torch.ones(2, level.size // 8, device=self.device)
            copied, read = (
                level.size / min(sample_seconds(call, self.device))
                for call in (lambda a=a, b=b: a.copy_(b), lambda a=a, b=b: torch.dot(a, b))
            )
            found.append(Level(level.size, max(copied, level.copied), max(read, level.read)))
        self.levels = tuple(found)
        for name in _PEAKS[self.device]:
            self.peaks[name] = max(self._peak(name), self.peaks.get(name, 0.0))
        one = torch.ones(1, 1, 4, device=self.device)
        for call in (lambda: diffusion_apply(one[0], one, one), lambda: dot(one[0], one[0])):
            self.call = min(self.call, *sample_seconds(call, self.device))

    @property
    def memory(self) -> Level:
        """The level beyond all caches."""
        return self.levels[-1]

    def levels_of(self, size: int) -> tuple[Level, ...]:
        """The levels in which a call may hold some of the bytes that are counted for it."""
        # what is written in place is counted twice, and a part may stay in the level below that which holds all
        return tuple(level for level in self.levels if level.size * 8 > size) or self.levels[-1:]

    def bandwidth(self, size: int) -> float:
        """Bytes a second at most for a call for which so many are counted."""
        return max(level.fastest for level in self.levels_of(size))

    def _peak(self, name: str) -> float:
        """Operations a second of a large matrix product in a dtype, or in "tf32"."""
        dtype = torch.float32 if name == "tf32" else getattr(torch, name)
        n = 8192 if self.device == "cuda" else 1024
        a, b = torch.randn(2, n, n, device=self.device).to(dtype)
        before = torch.backends.cuda.matmul.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        try:
            seconds = min(t for f in (torch.mm, product) for t in sample_seconds(lambda f=f: f(a, b), self.device))
        finally:
            torch.backends.cuda.matmul.allow_tf32 = before
        return 2 * n**3 / seconds

    def arithmetic(self, kernel: str, dtype: torch.dtype) -> float:
        """Operations a second at most for a kernel that computes in a dtype."""
        if self.device == "cpu":
            # half precision is computed in single here
            return self.peaks["float64" if dtype == torch.float64 else "float32"]
        if "tf32" in kernel:
            return self.peaks["tf32"]
        if dtype == torch.float32:
            # three products in tf32 make one in single precision
            return max(self.peaks["float32"], self.peaks["tf32"] / 3)
        return self.peaks[str(dtype).removeprefix("torch.")]

    def __str__(self) -> str:
        copies = ", ".join(f"{_si(v.size)}B {v.copied / 1e9:.0f} / {v.read / 1e9:.0f}" for v in self.levels)
        peaks = ", ".join(f"{name} {_si(rate)}FLOP/s" for name, rate in self.peaks.items())
        return (
            f"{chip(self.device)}; {_threads(self.device)}\n"
            f"copied / read in GB/s, by the bytes touched: {copies}\n"
            f"matrix products: {peaks}; a kernel call on four numbers: {_si(self.call)}s"
        )


@dataclass(frozen=True)
class Row:
    """A kernel call beside its floor; times in seconds."""

    family: str
    kernel: str
    operations: float
    bytes: float
    floor: float
    measured: float
    limit: str

    @property
    def gap(self) -> float:
        return self.measured / self.floor

    @property
    def bandwidth(self) -> float:
        """Bytes of the map a second, as measured."""
        return self.bytes / self.measured


@dataclass(frozen=True)
class Roofline:
    """All kernel calls of one dtype on one machine, and the families that could not be measured."""

    machine: Machine
    dtype: torch.dtype
    rows: tuple[Row, ...]
    failures: tuple[str, ...]

    def markdown(self) -> str:
        name = str(self.dtype).removeprefix("torch.")
        lines = [
            f"### {name}",
            "",
            "| family | kernel | operations | bytes | floor | measured | gap | limited by |",
            "|---|---|---:|---:|---:|---:|---:|---|",
        ]
        lines += [
            f"| {r.family} | {r.kernel} | {_si(r.operations)} | {_si(r.bytes)}B | {_si(r.floor)}s | "
            f"{_si(r.measured)}s | {r.gap:.1f} | {r.limit} |"
            for r in self.rows
        ]
        return "\n".join([*lines, "", *self.failures])


def families() -> list[str]:
    """The families that have a module here."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def measure(machine: Machine, dtype: torch.dtype, seed: int, wanted: list[str] | None = None) -> Roofline:
    """Time the calls of families, all when none is named: median of nine samples each."""
    timed, failures = [], []
    for family in families() if wanted is None else wanted:
        if dtype in _HALVES and not _promises_halves(family):
            continue
        machine.measure()
        draw = Draw(torch.Generator().manual_seed(seed), dtype, machine.device)
        try:
            for name, operations, size, call in importlib.import_module(f"{__name__}.{family}").rows(draw):
                seconds = statistics.median(sample_seconds(call, machine.device))
                timed.append((family, name, operations, size, seconds))
        except Exception as error:  # noqa: BLE001  one family that fails shall not cost the table of the others
            failures.append(f"{family}, {dtype}: {type(error).__name__}: {error}")
    return Roofline(machine, dtype, tuple(_row(machine, dtype, *found) for found in timed), tuple(failures))


def _promises_halves(family: str) -> bool:
    known = [e.halves for e in all_examples() if e.kernel in KERNELS and KERNELS[e.kernel].family == family]
    return any(known) or not known


def _row(
    machine: Machine, dtype: torch.dtype, family: str, name: str, operations: float, size: float, measured: float
) -> Row:
    by_bytes = size / machine.bandwidth(int(size))
    by_operations = operations / machine.arithmetic(name, dtype)
    floor = max(by_bytes, by_operations)
    if machine.call > floor:
        limit = "the call"
    elif by_operations > by_bytes:
        limit = "arithmetic"
    else:
        limit = "memory" if machine.levels_of(int(size))[0].size >= _LARGEST_CACHE else "cache"
    return Row(family, name, operations, size, floor, measured, limit)


def chip(device: str) -> str:
    """The model of the processor or GPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.processor() or platform.machine()


def _threads(device: str) -> str:
    count = torch.get_num_threads()
    return f"torch {torch.__version__}" + ("" if device == "cuda" else f", {count} thread{'s' * (count > 1)}")


def _si(value: float) -> str:
    """Three digits and a decimal prefix, as in "12.3 k"."""
    if value == 0:
        return "0 "
    power = min(4, max(-3, math.floor(math.log10(abs(value)) / 3 + 1e-9)))
    scaled = value / 1000.0**power
    return f"{scaled:.{max(0, 2 - math.floor(math.log10(abs(scaled)) + 1e-9))}f} {'nµm kMGT'[power + 3].strip()}"
