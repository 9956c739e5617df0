"""Good files of every layout, cut at a random byte or with some random bytes changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from layout_examples import EXAMPLES, Example

from hostile_files.base import Hostile


def _damaged(example: Example, *, cut: bool):
    def write(path: Path, rng: np.random.Generator) -> None:
        example.write(path, rng)
        if path.is_dir():
            path = rng.choice(sorted(file for file in path.rglob("*") if file.is_file() and file.stat().st_size))
        content = bytearray(path.read_bytes())
        if cut:
            del content[int(rng.integers(1, len(content))) :]
        else:
            # most headers stand at the front
            for end in (200, 2000, len(content), len(content)):
                content[int(rng.integers(0, min(end, len(content))))] = int(rng.integers(0, 256))
        path.write_bytes(content)

    return write


def _cases():
    for cut in (True, False):
        for number, example in enumerate(EXAMPLES):
            name = f"{'cut' if cut else 'changed'}_{number}_{example.layout}_{example.write.__name__}"
            yield Hostile(name, f"a{example.suffix}", _damaged(example, cut=cut))


CASES: list[Hostile] = list(_cases())
