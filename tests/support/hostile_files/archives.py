"""Zip archives of arrays and tensors, and plain pickles: bombs, lies and code."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch

from hostile_files.base import EXECUTED, Hostile, hostile
from hostile_files.hdf5 import GIB, U

CASES: list[Hostile] = []
PAIR = {"x": 276.0, "y": 276.0}


class Bomb:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(EXECUTED)

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def npy(shape, dtype: str = "<f8", **more) -> bytes:
    stream = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape} | more
    np.lib.format.write_array_header_2_0(stream, header)
    return stream.getvalue()


def members(path: Path, contents: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def bomb(path: Path, names: list[str], head: bytes, zeros: int) -> None:
    """Members that all say they unpack to the head and that many zeros, and do."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    body, size = start + again * (zeros >> 20) + b"\x03\x00", len(head) + zeros
    content, index = bytearray(), bytearray()
    for name in names:
        at = len(content)
        fields = struct.pack("<HHHHHIII", 20, 0, 8, 0, 0, 0, len(body), size)
        content += b"PK\x03\x04" + fields + struct.pack("<HH", len(name), 0) + name.encode() + body
        index += b"PK\x01\x02" + struct.pack("<H", 20) + fields
        index += struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, at) + name.encode()
    end = struct.pack("<HHHHIIH", 0, 0, len(names), len(names), len(index), len(content), 0)
    path.write_bytes(bytes(content + index) + b"PK\x05\x06" + end)


@hostile(CASES, "a.npz", "unpack|declares")
def npz_that_unpacks_to_a_gigabyte(path, rng):
    bomb(path, ["x.npy", "y.npy"], npy((2, GIB // 16)), GIB)


@hostile(CASES, "a.npz", "unpack|declares")
def npz_of_many_smaller_bombs(path, rng):
    bomb(path, [f"a{i}.npy" for i in range(20)], npy((2, 1 << 23)), 1 << 27)


@hostile(CASES, "a.npz", "header|declares|unpack")
def npy_with_a_header_of_a_gigabyte(path, rng):
    bomb(path, ["x.npy"], b"\x93NUMPY\x02\x00" + GIB.to_bytes(4, "little"), GIB)


@hostile(CASES, "a.npz")
def npy_with_a_nested_header(path, rng):
    header = b"(" * 9000 + b"\n"
    members(path, {"x.npy": b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header})


@hostile(CASES, "a.npz", "declares the shape")
def npy_longer_than_its_bytes(path, rng):
    members(path, {"x.npy": npy((1 << 40, 8)) + bytes(64), "y.npy": npy((1 << 40, 8)) + bytes(64)})


@hostile(CASES, "a.npz")
def npy_of_negative_length(path, rng):
    members(path, {"x.npy": npy((-8, -3)) + U.tobytes(), "y.npy": npy((3, 8)) + U.tobytes()})


@hostile(CASES, "a.npz")
def npy_of_numbers_that_overflow(path, rng):
    members(path, {"x.npy": npy((2**62, 4)), "y.npy": npy((2**62, 2**62))})


@hostile(CASES, "a.npz")
def npy_of_nothing_very_often(path, rng):
    members(path, {"x.npy": npy((2**50, 8), "|S0"), "y.npy": npy((2**50, 8), "|V0")})


@hostile(CASES, "a.npz")
def npy_of_odd_types(path, rng):
    members(path, {"x.npy": npy((3,), "<M8[s]") + bytes(24), "y.npy": npy((3,), "<U1000") + bytes(12_000)})


@hostile(CASES, "a.npz", "Python objects")
def npz_with_a_pickle(path, rng):
    pair = np.empty(2, dtype=object)
    pair[:] = [Bomb(path), 3]
    np.savez(path, x=pair, y=U)


@hostile(CASES, "a.npz", "Python objects")
def npz_that_hides_a_pickle(path, rng):
    members(path, {"x.npy": npy((1,), [("f", "|O")]) + pickle.dumps(Bomb(path))})


@hostile(CASES, "a.npy", "pickle|unknown format")
def npy_that_is_a_pickle(path, rng):
    np.save(path, np.array([Bomb(path)], dtype=object))


@hostile(CASES, "a.npz", sums=PAIR)
def npz_with_names_of_other_places(path, rng):
    stored = npy((3, 8)) + U.tobytes()
    members(
        path,
        {"../../x.npy": stored, "/etc/y\n.npy": stored, "x.npy": stored, "y.npy": stored, "n" * 9999 + ".npy": stored},
    )


@hostile(CASES, "a.npz", "encrypted|password|truncated or corrupt")
def npz_with_a_password(path, rng):
    members(path, {"x.npy": npy((3, 8)) + U.tobytes(), "y.npy": npy((3, 8)) + U.tobytes()})
    content = bytearray(path.read_bytes())
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        place = content.index(mark)
        content[place + at] |= 1
    path.write_bytes(content)


@hostile(CASES, "a.npz")
def npz_with_an_offset_outside(path, rng):
    members(path, {"x.npy": npy((3, 8)) + U.tobytes(), "y.npy": npy((3, 8)) + U.tobytes()})
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\x01\x02")
    content[place + 42 : place + 46] = int(rng.integers(0, 2**32)).to_bytes(4, "little")
    path.write_bytes(content)


@hostile(CASES, "a.npz", "length 0")
def npz_of_no_samples(path, rng):
    np.savez(path, x=np.zeros((0, 8)), y=np.zeros((0, 8)))


@hostile(CASES, "a.npz")
def npz_of_ragged_arrays(path, rng):
    np.savez(path, x=np.zeros((3, 8)), y=np.zeros((4, 8)), z=np.zeros(()))


@hostile(CASES, "a.npz")
def npz_of_ten_thousand_arrays(path, rng):
    members(path, {f"a{i}.npy": npy((1,)) + bytes(8) for i in range(10_000)})


@hostile(CASES, "a.npz", "neither .npz")
def zip_with_other_things(path, rng):
    members(path, {"x.txt": b"1 2 3", "../../etc/cron.d/x": b"* * * * *"})


@hostile(CASES, "a.pkl", "a Python pickle")
def plain_pickle(path, rng):
    path.write_bytes(pickle.dumps(Bomb(path)))


@hostile(CASES, "a.h5", "a Python pickle")
def pickle_called_hdf5(path, rng):
    path.write_bytes(pickle.dumps(Bomb(path), 4))


@hostile(CASES, "a.pt", "pickled Python objects")
def tensors_with_code(path, rng):
    torch.save({"x": torch.zeros(3, 8), "y": Bomb(path)}, path)


@hostile(CASES, "a.pt", "pickled Python objects")
def tensors_with_code_in_the_old_format(path, rng):
    torch.save({"x": torch.zeros(3, 8), "y": Bomb(path)}, path, _use_new_zipfile_serialization=False)


@hostile(CASES, "a.pt", "expanded tensor")
def tensor_of_one_value_repeated(path, rng):
    torch.save({"x": torch.zeros(3, 8), "y": torch.zeros(1).expand(10**6, 10**5)}, path)


@hostile(CASES, "a.pt", "sparse")
def sparse_tensor_of_huge_shape(path, rng):
    sparse = torch.sparse_coo_tensor([[0], [0]], [1.0], (10**5, 10**5), check_invariants=True)
    torch.save({"x": sparse, "y": torch.zeros(3, 8)}, path)


@hostile(CASES, "a.pt", "truncated or corrupt")
def sparse_tensor_with_indices_outside(path, rng):
    places = torch.tensor([[0, 10**9], [0, 5]])
    sparse = torch.sparse_coo_tensor(places, torch.ones(2), (30, 30), check_invariants=False)
    torch.save({"x": sparse, "y": torch.zeros(30, 30)}, path)


@hostile(CASES, "a.pt", sums={"x": 6.0, "y": 0.0})
def sparse_tensor_that_is_right(path, rng):
    sparse = torch.sparse_coo_tensor([[0, 2], [1, 7]], [1.0, 5.0], (3, 8), check_invariants=True)
    torch.save({"x": sparse, "y": torch.zeros(3, 8)}, path)


@hostile(CASES, "a.pt")
def tensors_of_odd_types(path, rng):
    odd = {"x": torch.zeros(3, 8, dtype=torch.float8_e4m3fn), "y": torch.zeros(3, 8, device="meta")}
    torch.save(odd, path)


@hostile(CASES, "a.pt")
def a_list_in_itself(path, rng):
    circle: list = [torch.zeros(3)]
    circle.append(circle)
    torch.save({"x": circle}, path)


@hostile(CASES, "a.pt")
def a_hundred_thousand_numbers(path, rng):
    torch.save({"x": torch.zeros(3, 8), "y": torch.zeros(3, 8), "history": [0.5] * 100_000}, path)


@hostile(CASES, "a.pt", "is packed, which torch does not read")
def tensors_packed_again(path, rng):
    """Storage that unpacks to more than it should, in an archive that torch would not write."""
    whole = path.with_name("whole.pt")
    torch.save({"x": torch.zeros(8, 4), "y": torch.zeros(8, 4)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, bytes(1 << 26) if "/data/" in name else content)


@hostile(CASES, "a.pt")
def tensors_longer_than_their_storage(path, rng):
    whole = path.with_name("whole.pt")
    torch.save({"x": torch.zeros(3, 200), "y": torch.zeros(3, 200)}, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, content[:100] if "/data/" in name else content.replace(b"\xc8", b"\xff"))
