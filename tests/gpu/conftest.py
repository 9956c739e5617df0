"""The suite for machines with a GPU. It imports torch, triton, numpy, pytest and sciops.kernels alone."""

from __future__ import annotations

import datetime
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

if not torch.cuda.is_available():
    # test_device.py stays, and says in one line why the others did not run
    collect_ignore_glob = ["test_[!d]*.py"]

DOCUMENT = "kernels-gpu.md"
FOLDER = Path(__file__).parents[2] / "docs" / "benchmarks"


@dataclass
class Report:
    """What `make bench-gpu` prints and keeps: the goals and what was measured, then the rooflines."""

    goals: list[tuple[str, str, str, bool | None]] = field(default_factory=list)
    sections: list[str] = field(default_factory=list)

    def goal(self, what: str, found: float, *, least: float | None = None, most: float | None = None) -> None:
        """Note a ratio beside its limit; without one it is only reported."""
        limit = f">= {least}" if least is not None else f"<= {most}" if most is not None else "none"
        met = None if least is None and most is None else found >= (least or 0) and found <= (most or float("inf"))
        self.goals.append((what, limit, f"{found:.2f}", met))

    def failure(self, what: str, reason: str) -> None:
        """Note what could not be measured, and why."""
        self.goals.append((what, "none", f"failed: {reason}", None))

    def missed(self, start: int) -> list[str]:
        """The goals missed among those noted from a place on."""
        return [f"{what}: {found}, wanted {limit}" for what, limit, found, met in self.goals[start:] if met is False]

    def markdown(self) -> str:
        chip, day = torch.cuda.get_device_name(), datetime.datetime.now(datetime.UTC).date()
        shown = {True: "yes", False: "no", None: ""}
        lines = [
            "# Kernels on a GPU",
            "",
            f"Printed by `make bench-gpu` on {day}: {chip}, {_versions()}.",
            "",
            "## Goals",
            "",
            "| what | goal | measured | met |",
            "|---|---|---:|---|",
            *(f"| {what} | {limit} | {found} | {shown[met]} |" for what, limit, found, met in self.goals),
            "",
            *self.sections,
        ]
        return "\n".join(lines).rstrip() + "\n"


def _versions() -> str:
    import triton

    return f"torch {torch.__version__}, triton {triton.__version__}, Python {sys.version.split()[0]}"


@pytest.fixture(scope="session")
def report() -> Iterator[Report]:
    """Printed at the end, and written to the folder $OUT or docs/benchmarks."""
    found = Report()
    yield found
    if found.goals or found.sections:
        folder = Path(os.environ.get("OUT") or FOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / DOCUMENT).write_text(found.markdown())
        sys.__stdout__.write(f"\n{found.markdown()}\nwritten to {folder / DOCUMENT}\n")


@pytest.fixture
def seed() -> int:
    """Fresh; a failing test shows it, and SCIOPS_TEST_SEED repeats it."""
    chosen = int(os.environ.get("SCIOPS_TEST_SEED") or secrets.randbits(31))
    sys.stdout.write(f"SCIOPS_TEST_SEED={chosen}\n")
    return chosen
