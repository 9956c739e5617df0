"""MATLAB files, version 5, whose elements lie."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from scipy.io import savemat
from scipy.sparse import csc_matrix

from hostile_files.archives import Bomb
from hostile_files.base import Hostile, hostile
from hostile_files.hdf5 import GIB, U, gzip_of_zeros

CASES: list[Hostile] = []
HEADER = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"


def element(kind: int, body: bytes) -> bytes:
    return struct.pack("<II", kind, len(body)) + body + bytes(-len(body) % 8)


def matrix(name: bytes, shape: tuple[int, ...], body: bytes, *, kind: int = 9, flags: int = 6) -> bytes:
    parts = element(6, struct.pack("<II", flags, 0)) + element(5, struct.pack(f"<{len(shape)}i", *shape))
    return element(14, parts + element(1, name) + element(kind, body))


def file_of(path: Path, *elements: bytes) -> None:
    path.write_bytes(HEADER + b"".join(elements))


@hostile(CASES, "a.mat", "unpack|declares")
def mat_that_unpacks_to_a_gigabyte(path, rng):
    packed = gzip_of_zeros(GIB)
    file_of(path, struct.pack("<II", 15, len(packed)) + packed)


@hostile(CASES, "a.mat", "truncated or corrupt")
def mat_of_a_huge_shape(path, rng):
    file_of(path, matrix(b"a", (2**31 - 1, 2**31 - 1), bytes(64)), matrix(b"u", (3, 8), bytes(192)))


@hostile(CASES, "a.mat", "truncated or corrupt")
def mat_of_negative_shape(path, rng):
    file_of(path, matrix(b"a", (-3, -8), bytes(192)), matrix(b"u", (3, 8), bytes(192)))


@hostile(CASES, "a.mat", "truncated or corrupt")
def mat_with_an_element_past_the_end(path, rng):
    file_of(path, matrix(b"a", (3, 8), bytes(192)), struct.pack("<II", 14, 2**32 - 8))


@hostile(CASES, "a.mat")
def mat_packed_in_itself(path, rng):
    inner = matrix(b"a", (3, 8), bytes(192))
    for _ in range(50):
        packed = zlib.compress(inner)
        inner = struct.pack("<II", 15, len(packed)) + packed
    file_of(path, inner)


@hostile(CASES, "a.mat", "no known layout")
def mat_of_names_of_every_kind(path, rng):
    names = (b"a\nb", b"x" * 10_000, b"../a", b"", b"\x1b[31m")
    file_of(path, *(matrix(name, (3, 8), U.tobytes()) for name in names))


@hostile(CASES, "a.mat")
def mat_of_no_bytes(path, rng):
    file_of(path, *[matrix(b"a", (0, 8), b""), matrix(b"u", (0, 8), b"")])


@hostile(CASES, "a.mat")
def mat_of_rank_40(path, rng):
    file_of(path, matrix(b"a", (1,) * 40, bytes(8)), matrix(b"u", (1,) * 70, bytes(8)))


@hostile(CASES, "a.mat")
def mat_of_other_classes(path, rng):
    cells = np.empty((1, 3), object)
    cells[:] = [["a", np.zeros(3), np.empty(0)]]
    savemat(path, {"a": cells, "u": {"deep": {"er": cells}}, "s": csc_matrix(np.eye(3)), "t": "text"})


@hostile(CASES, "a.mat", "a Python pickle")
def mat_that_is_a_pickle(path, rng):
    import pickle

    path.write_bytes(pickle.dumps(Bomb(path)))
