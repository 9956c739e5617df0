"""Declarations in YAML that are none."""

from __future__ import annotations

import os
from pathlib import Path

import h5py

from hostile_files.base import Hostile, hostile
from hostile_files.hdf5 import U
from hostile_files.layouts import ALIASES

CASES: list[Hostile] = []
GOOD = "variables: {u: {dims: [sample, x]}}\n"
SAID = {"declaration": "a.yaml"}
"""The reader of the cases takes it for a file beside the data."""


def declared(path: Path, text: str | bytes) -> None:
    with h5py.File(path, "w") as file:
        file["u"] = U
    path.with_name("a.yaml").write_bytes(text.encode() if isinstance(text, str) else text)


@hostile(CASES, "a.h5", sums={"u": 276.0}, **SAID)
def a_plain_declaration(path, rng):
    declared(path, GOOD)


@hostile(CASES, "a.h5", "an alias|anchor", **SAID)
def a_declaration_of_a_billion_laughs(path, rng):
    declared(path, ALIASES + GOOD)


@hostile(CASES, "a.h5", "no declaration in YAML", **SAID)
def a_declaration_that_runs_code(path, rng):
    declared(path, GOOD + "kinds: !!python/object/apply:os.mkdir ['executed']\n")


@hostile(CASES, "a.h5", "no declaration in YAML", **SAID)
def a_declaration_nested_deeply(path, rng):
    declared(path, "variables: " + "[" * 50_000)


@hostile(CASES, "a.h5", "a.yaml", **SAID)
def a_declaration_of_many_keys(path, rng):
    declared(path, GOOD + "kinds:\n" + "".join(f"  k{i}: cell\n" for i in range(70_000)))


@hostile(CASES, "a.h5", "stands twice", **SAID)
def a_declaration_with_a_key_twice(path, rng):
    declared(path, GOOD + GOOD)


@hostile(CASES, "a.h5", "a.yaml", **SAID)
def a_declaration_of_random_bytes(path, rng):
    declared(path, rng.bytes(3000))


@hostile(CASES, "a.h5", "a.yaml", **SAID)
def a_declaration_of_odd_values(path, rng):
    declared(
        path, GOOD + "sample_dim: {a: [1]}\nkinds: {x: 2001-99-99}\nparameters: {n: {value: 0x" + "f" * 9000 + "}}\n"
    )


@hostile(CASES, "a.h5", "no array '../../u'", **SAID)
def a_declaration_of_paths_elsewhere(path, rng):
    declared(path, "variables: {u: {path: ../../u, dims: [sample, x]}}\n")


@hostile(CASES, "a.h5", "a.yaml", **SAID)
def a_declaration_in_a_pipe(path, rng):
    declared(path, GOOD)
    path.with_name("a.yaml").unlink()
    os.mkfifo(path.with_name("a.yaml"))


@hostile(CASES, "a.h5", "a.yaml", **SAID)
def a_declaration_of_megabytes(path, rng):
    declared(path, "# " + "x" * (3 << 20))
