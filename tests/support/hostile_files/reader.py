"""Writes hostile files and reads each through, in a process of its own: ``python -m hostile_files.reader folder seed``.

Before each file a line with its name goes out, after it a line of JSON: how every stage ended, seconds of the
processor, and growth of memory. Whoever waits for the lines sees which file hangs or ends the process.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hostile_files import CASES, EXECUTED, SECRET, Hostile
from sciops.cli import main
from sciops.data import FunctionDataset, open
from sciops.data.conventions import domain_of, field_names
from sciops.data.reading.summary import summarise
from sciops.errors import SciopsError

_ROOM = 6 << 30
"""Address space beyond that after import: a bomb ends this process before it takes the machine's memory."""


def write(case: Hostile, folder: Path, seed: int) -> Path:
    """Write the file of a case into a folder of its own, and give its path."""
    path = folder / case.name / case.file
    path.parent.mkdir(parents=True, exist_ok=True)
    case.write(path, np.random.default_rng([seed, zlib.crc32(case.name.encode())]))
    return path


def read(case: Hostile, path: Path) -> dict[str, Any]:
    """Open a file, make a data set of its first field, read a batch, and show `sciops info`: how each stage ended."""
    options = {key: path.with_name(name) if key == "declaration" else name for key, name in case.options.items()}
    ends: dict[str, Any] = {}
    leaks: list[str] = []

    def stage(name: str, work: Callable[[], Any]) -> Any:
        try:
            result = work()
        except SciopsError as error:
            ends[name] = {"error": type(error).__name__, "message": str(error)}
            return None
        except BaseException as error:  # noqa: BLE001  every other error is a finding
            ends[name] = {"foreign": type(error).__name__, "message": str(error)}
            return None
        ends[name] = {}
        return result

    def batch() -> None:
        name = field_names(ds)[0]
        values = FunctionDataset(ds, inputs=name, outputs=name).batch([0])["x"]
        if bool((values == SECRET).any()):
            leaks.append(name)

    def info() -> None:
        if case.options:
            summarise(ds)
            return
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()) as shown:
            code = main(["info", str(path)])
        if code:
            assert code == 2 and said.getvalue().count("\n") == 1, said.getvalue()
            raise SciopsError(said.getvalue().strip())
        if str(SECRET) in shown.getvalue():
            leaks.append("info")

    ds = stage("open", lambda: open(path, **options))
    if ds is not None:
        if case.sums is not None:
            ends["sums"] = {name: float(ds[name].values.sum()) for name in case.sums}
        if field_names(ds):
            stage("domain", lambda: [domain_of(ds, name) for name in field_names(ds)])
            stage("values", lambda: [ds[name].values for name in field_names(ds)])
            stage("batch", batch)
    if ds is not None or not case.options:
        stage("info", info)
    if ds is not None:
        ds.close()
    return {"ends": ends, "leaks": leaks, "executed": any(path.parent.glob(f"**/{EXECUTED}"))}


@contextlib.contextmanager
def measured(found: dict[str, Any]) -> Iterator[None]:
    """Seconds of the processor, and MB by which resident memory grew at its highest."""
    before, start = _memory("VmRSS"), time.process_time()
    Path("/proc/self/clear_refs").write_text("5")
    yield
    found["seconds"] = time.process_time() - start
    found["growth_mb"] = (_memory("VmHWM") - before) / 1024


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(folder: Path, seed: int, chosen: set[str]) -> None:
    warnings.simplefilter("ignore")
    used = _memory("VmSize") * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM, used + _ROOM))
    for case in CASES:
        if chosen and case.name not in chosen:
            continue
        with contextlib.redirect_stderr(io.StringIO()):
            path = write(case, folder, seed)
        say(case.name)
        found: dict[str, Any] = {}
        with measured(found):
            found.update(read(case, path))
        say(json.dumps(found))


if __name__ == "__main__":
    run(Path(sys.argv[1]), int(sys.argv[2]), set(sys.argv[3:]))
