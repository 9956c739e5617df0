"""Writes the corpus of corrupt, hostile and odd files into a folder: ``python tests/data/hostile.py folder [seed]``."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from hostile_files import CASES
from hostile_files.reader import say, write


def main(folder: Path, seed: int) -> None:
    """Write every file into a folder of its own, and say what it must end in."""
    for case in CASES:
        path = write(case, folder, seed)
        end = f"refused: {case.message}" if case.message else "read" if case.sums else "refused or read"
        say(f"{path.parent.name}: {end}")
    say(f"{len(CASES)} files in {folder}, seed {seed}")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else secrets.randbits(31))
