"""Every file of the corpus is opened and read through in a process of its own, which must end each of them well."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hostile_files import CASES, Hostile

from sciops.data.files import open
from sciops.data.reading.bounds import FREE, RATIO, excessive
from sciops.data.reading.heap import CheckedFile, read_texts
from sciops.errors import DataError, UnsafeFileError

SUPPORT = Path(__file__).resolve().parents[1] / "support"
SECONDS, GROWTH_MB = 5.0, 500.0
PATIENCE = 40.0
"""Seconds on the clock until a file is said to hang; those of the processor are counted by the process itself."""
NOT_OURS = ("has no attribute", "unexpected keyword", "positional argument", "object is not", "unsupported operand")
"""What an error says that was a mistake of ours and not of the file."""


def read_all(folder: Path, seed: int) -> dict[str, dict[str, Any]]:
    """How every case ended; after one that hangs or dies another process goes on with the next."""
    results: dict[str, dict[str, Any]] = {}
    left = [case.name for case in CASES]
    while left:
        done, fate = _read_some(folder, seed, left)
        results.update(done)
        left = [name for name in left if name not in done]
        if fate and left:
            results[left.pop(0)] = {"fate": fate}
    return results


def _read_some(folder: Path, seed: int, names: list[str]) -> tuple[dict[str, Any], str]:
    """The cases up to the first that hangs or ends the process, and which of the two it was."""
    command = [sys.executable, "-m", "hostile_files.reader", str(folder), str(seed), *names]
    paths = os.pathsep.join([str(SUPPORT), str(SUPPORT.parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    found: dict[str, Any] = {}
    with (folder / "errors.txt").open("w") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment)
    try:
        pending, last = b"", time.monotonic()
        assert process.stdout is not None
        while True:
            ready, _, _ = select.select([process.stdout], [], [], 1.0)
            if not ready:
                if time.monotonic() - last > PATIENCE:
                    return found, "hangs"
                continue
            block = os.read(process.stdout.fileno(), 1 << 16)
            if not block:
                code = process.wait()
                return (
                    found,
                    f"ended the process ({code}): {(folder / 'errors.txt').read_text()[-500:]}" if code else "",
                )
            *lines, pending = (pending + block).split(b"\n")
            for line in lines:
                last = time.monotonic()
                if line.startswith(b"{"):
                    found[names[len(found)]] = json.loads(line)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, dict[str, dict[str, Any]]]:
    """The seed of this run, and how every case ended."""
    seed = int(os.environ.get("SCIOPS_TEST_SEED") or int.from_bytes(os.urandom(3), "big"))
    return seed, read_all(tmp_path_factory.mktemp("hostile"), seed)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_it_ends_in_one_line_or_a_right_result(case: Hostile, ends: tuple[int, dict[str, dict[str, Any]]]) -> None:
    seed, results = ends
    found, repeat = results[case.name], f"SCIOPS_TEST_SEED={seed} repeats it"
    assert "fate" not in found, (found["fate"], repeat)
    assert not found["executed"] and not found["leaks"], (found, repeat)
    errors = [end for end in found["ends"].values() if "message" in end]
    for end in errors:
        assert "foreign" not in end, (end, repeat)
        assert "\n" not in end["message"] and not any(words in end["message"] for words in NOT_OURS), (end, repeat)
        assert len(end["message"]) < 50_000, (end["message"][:200], repeat)
        assert any(name in end["message"] for name in (Path(case.file).name, "a.yaml", "b.h5")), (end, repeat)
        remedy = "; " in end["message"] or "no such file" in end["message"]
        assert remedy or case.message is None, ("no remedy", end, repeat)
    assert found["seconds"] <= SECONDS and found["growth_mb"] <= GROWTH_MB, (found, repeat)
    if case.sums is not None:
        assert found["ends"].get("sums") == case.sums, (found, repeat)
    if case.message is not None:
        assert any(re.search(case.message, end["message"]) for end in errors), (found, repeat)


def test_the_corpus_is_large_and_of_every_container() -> None:
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names) >= 200
    suffixes = {Path(case.file).suffix for case in CASES}
    assert {".h5", ".nc", ".npz", ".npy", ".mat", ".pt", ".txt", ".vtk", ".vtu", ".xdmf", ".zarr", ".zip"} <= suffixes


def test_the_watch_finds_what_hangs_and_what_dies(tmp_path: Path) -> None:
    """The proof that the tests above can fail: the library alone never comes back from this file."""
    (case,) = (case for case in CASES if case.name == "heap_object_of_no_length")
    path = tmp_path / case.file
    case.write(path, None)
    script = f"import h5py; file = h5py.File({str(path)!r}); print(dict(file['label'].attrs), file['label'][()])"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", script], timeout=3, capture_output=True, check=False)
    with pytest.raises(DataError, match="the heap of texts at byte"):
        open(path)


def test_a_file_that_another_program_writes_is_said_to_be(tmp_path: Path) -> None:
    import fcntl

    path = tmp_path / "busy.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with path.open("rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(OSError, match="unable to lock file"):
            CheckedFile(path)


def test_trusted_files_may_declare_what_they_like(tmp_path: Path) -> None:
    (case,) = (case for case in CASES if case.name == "a_huge_number_of_samples")
    path = tmp_path / case.file
    case.write(path, None)
    with pytest.raises(
        UnsafeFileError, match=r"a\.h5: 'u' of shape .* declares .* in .*more than 100 to 1.*trust_links"
    ):
        open(path)
    with open(path, trust_links=True) as ds:
        assert ds.u[5, :3].values.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("block", [0, 512, 2048])
@pytest.mark.parametrize("version", ["earliest", "latest"])
def test_right_heaps_are_walked_to_their_end(tmp_path: Path, block: int, version: str) -> None:
    texts = np.array([f"text {i} " * (i % 7) for i in range(9000)], dtype=object)
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w", userblock_size=block, libver=version) as file:
        file["u"], file["label"], file["one"] = np.ones((3, 8)), texts.reshape(-1, 3), "alone"
        file.create_dataset("none", (0,), h5py.string_dtype())
        file.attrs["notes"] = list(texts[:500])
    content = path.read_bytes()
    heaps = [at for at in range(block, len(content), 8) if content[at : at + 5] == b"GCOL\x01"]
    with CheckedFile(path) as raw, h5py.File(raw) as file:
        for name in ("label", "one", "none"):
            read_texts(file[name].id, path)
        read_texts(file.id, path)
        assert len(heaps) > 5 and raw.checked >= set(heaps) and not raw.defect
    assert open(path, dims={"u": ("sample", "x")}).u.values.sum() == 24


def test_texts_without_number_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "texts.h5"
    with h5py.File(path, "w") as file:
        file["u"] = np.ones((3, 8))
        file.create_dataset("label", (1 << 40,), h5py.string_dtype(), chunks=(1024,))
    with pytest.raises(DataError, match=r"texts\.h5: 'label' declares 1099511627776 texts, more than 1048576"):
        open(path, dims={"u": ("sample", "x")})


def test_what_is_refused_is_far_from_what_simulations_write() -> None:
    assert excessive(FREE + 1, FREE // RATIO - 1)
    assert not excessive(FREE + RATIO, FREE // RATIO + 2)
    assert not excessive(FREE, 0)
    assert not excessive(50 * 10**9, 10**9)
