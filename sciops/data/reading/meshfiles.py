"""Meshes in VTK (`.vtk`, `.vtu`) and XDMF (`.xdmf` with `.h5`), through meshio, and never more than the file says."""

from __future__ import annotations

import base64
import lzma
import math
import re
import zlib
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from sciops.data.domains.elements import ELEMENTS
from sciops.data.reading.bounds import refuse_excess
from sciops.data.reading.safety import broken, inspected, scan_hdf5, walk_hdf5
from sciops.errors import DataError, MissingDependencyError, UnsafeFileError

__all__ = ["is_mesh", "read_mesh"]

Array = np.ndarray[Any, np.dtype[Any]]
_LIMIT = 1 << 31  # bytes of one array after decompression
_SPACES = b" \t\r\n"
_UNPACKED = "if it is right, save it without compression"


def is_mesh(head: bytes) -> bool:
    """Whether the first bytes of a file are those of VTK, or of XML for VTK or XDMF.

    Examples
    --------
    >>> is_mesh(b"# vtk DataFile Version 5.1"), is_mesh(b"<VTKFile type='x'>"), is_mesh(b"PK")
    (True, True, False)
    """
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip(_SPACES)
    return start.startswith((b"# vtk DataFile", b"<?xml", b"<VTKFile", b"<Xdmf", b"<!DOCTYPE Xdmf"))


def read_mesh(path: str | Path) -> tuple[dict[str, Array], dict[str, str]]:
    """The arrays of a mesh by name, and its format.

    Parameters
    ----------
    path
        The file; an XDMF file may name HDF5 files in its own folder.

    Returns
    -------
    arrays : dict of str to ndarray
        ``points`` (n, d) without a third direction that is zero everywhere, ``cells/<type>`` (m, corners), and
        ``point_data/<name>`` and ``cell_data/<type>/<name>``, in a series with the times as first axis; ``time``.
    attributes : dict of str to str
        ``{"format": "VTK"}``, ``"VTU"`` or ``"XDMF"``.

    Raises
    ------
    DataError
        If it is no such file, or has cells of another type than `sciops.data.Mesh` takes.
    UnsafeFileError
        If the XML declares entities, or data in files outside of its folder.
    MissingDependencyError
        If meshio is not installed.
    """
    try:
        import meshio
        from meshio.vtu._vtu import CorruptionError, VtuReader
    except ImportError as error:
        raise MissingDependencyError(f"{path}: meshes need meshio; install it by pip install 'sciops[mesh]'") from error
    return _read(Path(path), meshio, VtuReader, CorruptionError)


def _read(path: Path, meshio: Any, reader: Any, corrupt: Any) -> tuple[dict[str, Array], dict[str, str]]:
    try:
        with path.open("rb") as file:
            head = file.read(4096).decode("latin-1")
        if head.startswith("# vtk"):
            _check_lattice(path, head)
            return _arrays(path, meshio.vtk.read(path)), {"format": "VTK"}
        root = _parsed(path)
        if root.tag == "Xdmf":
            _check_references(path, root)
            return _xdmf(path, root), {"format": "XDMF"}
        if root.tag != "VTKFile" or root.get("type") != "UnstructuredGrid":
            found = " ".join(filter(None, (root.tag, root.get("type"))))
            raise DataError(f"{path}: XML of {found!r}; VTK UnstructuredGrid (.vtu) and XDMF are read, save it as one")

        class Bounded(reader):  # type: ignore[misc]
            """meshio's reader that never decompresses more than a block declares."""

            def read_compressed_binary(self, data: str, dtype: Any) -> Array:
                order = ">" if self.byte_order == "BigEndian" else "<"
                header = np.dtype(f"{order}u{8 if self.header_type == 'UInt64' else 4}")
                return _decompressed(path, data, header, dtype.newbyteorder(order), str(self.compression))

        return _arrays(path, Bounded(path)), {"format": "VTU"}
    except (meshio.ReadError, corrupt, ElementTree.ParseError) as error:
        raise broken(path, error) from error


def _parsed(path: Path) -> Any:
    """The root of an XML file; entities are refused before anything expands them."""
    with path.open("rb") as file:
        head = file.read(4096)
        rest = head
        while rest:
            if b"<!ENTITY" in rest or b"<!DOCTYPE VTKFile" in rest:
                raise UnsafeFileError(
                    f"{path}: the XML declares entities, which could read other files; remove the DTD"
                )
            tail = rest[-16:]
            block = file.read(1 << 20)
            rest = tail + block if block else b""
    if b"\0" in head[:64]:
        raise DataError(f"{path}: XML in UTF-16; save it as UTF-8")
    return ElementTree.parse(path).getroot()


def _check_references(path: Path, root: Any) -> None:
    """An XDMF file may name HDF5 files beside it; anything else leads out of its folder."""
    for item in root.iter("DataItem"):
        kind, text = item.get("Format", "XML"), (item.text or "").strip()
        if kind == "XML" or "Reference" in item.attrib:
            continue
        name = text.split(":")[0]
        if kind != "HDF":
            raise UnsafeFileError(f"{path}: names the raw file {text[:80]!r}; save it with data in XML or HDF5")
        if Path(name).name != name or name in ("", ".", ".."):
            raise UnsafeFileError(f"{path}: names the file {name[:80]!r} outside of its folder; put it beside this one")
        if not (path.parent / name).is_file() or (path.parent / name).is_symlink():
            raise DataError(f"{path}: its values are in {name!r}, which is not beside it; copy both files together")
        scan_hdf5(path.parent / name)
        _check_sizes(path.parent / name)


def _check_sizes(path: Path) -> None:
    with inspected(path) as file:
        for name, found in walk_hdf5(file, path=path):
            declared = math.prod(found.shape) * found.dtype.itemsize
            refuse_excess(f"{path}: {name!r} of shape {found.shape}", declared, path.stat().st_size, _UNPACKED)


def _check_lattice(path: Path, head: str) -> None:
    """The points of a structured grid in the old format are made from three numbers."""
    found = re.search(r"^DIMENSIONS +(\d+) +(\d+) +(\d+)", head, re.MULTILINE)
    if found:
        sizes = tuple(map(int, found.groups()))
        declared, remedy = 24 * math.prod(sizes), "if it is right, save it with values, or as an unstructured grid"
        refuse_excess(f"{path}: a lattice of {sizes} points", declared, path.stat().st_size, remedy)


def _decompressed(path: Path, data: str, header: Any, dtype: Any, compressor: str) -> Array:
    """The blocks of a compressed array of VTK: counts and sizes in base64, then the blocks."""

    def decoded(size: int) -> tuple[bytes, int]:
        characters = -(-size // 3) * 4
        return base64.b64decode(data[:characters])[:size], characters

    count = int(np.frombuffer(decoded(header.itemsize)[0], header)[0])
    if count > len(data):
        raise DataError(f"{path}: an array declares {count} blocks in {len(data)} characters; get the file anew")
    raw, characters = decoded((3 + count) * header.itemsize)
    _, size, _, *packed = (int(value) for value in np.frombuffer(raw, header))
    if count * size > _LIMIT:
        raise DataError(
            f"{path}: an array declares {count * size} bytes, more than {_LIMIT}; split the mesh into parts"
        )
    refuse_excess(f"{path}: a packed array", count * size, len(data), _UNPACKED)
    body, start, blocks = base64.b64decode(data[characters:]), 0, []
    for length in packed:
        unpacker: Any = lzma.LZMADecompressor() if "LZMA" in compressor else zlib.decompressobj()
        blocks.append(unpacker.decompress(body[start : start + length], size + 1))
        start += length
        if len(blocks[-1]) > size:
            raise DataError(f"{path}: a block holds more than the {size} bytes that it declares; get the file anew")
    return np.frombuffer(b"".join(blocks), dtype)


def _xdmf(path: Path, root: Any) -> dict[str, Array]:
    import meshio

    if not any(grid.get("CollectionType") == "Temporal" for grid in root.iter("Grid")):
        return _arrays(path, meshio.xdmf.read(path))
    with meshio.xdmf.TimeSeriesReader(path) as series:
        points, cells = series.read_points_cells()
        steps = [series.read_data(k) for k in range(series.num_steps)]
    frames = [_arrays(path, meshio.Mesh(points, cells, dict(at), dict(on))) for _, at, on in steps]
    if not frames:
        raise DataError(f"{path}: a series in time without frames; save it with its steps")
    data = [name for name in frames[0] if name.startswith(("point_data/", "cell_data/"))]
    for k, frame in enumerate(frames):
        if set(frame) != set(frames[0]) or any(frame[name].shape != frames[0][name].shape for name in data):
            raise DataError(
                f"{path}: frame {k} has other variables or shapes than the first; save every variable in each"
            )
    stacked = {name: np.stack([frame[name] for frame in frames]) for name in data}
    return {**frames[0], **stacked, "time": np.array([t for t, _, _ in steps])}


def _arrays(path: Path, mesh: Any) -> dict[str, Array]:
    points = np.asarray(mesh.points)
    if points.ndim != 2 or points.shape[1] not in (2, 3) or points.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: the points have shape {points.shape} and dtype {points.dtype}; (n, 2) or (n, 3) is read"
        )
    flat = points.shape[1] == 3 and not points[:, 2].any()
    found = {"points": points[:, :2] if flat else points}
    blocks = [(i, block.type, np.asarray(block.data)) for i, block in enumerate(mesh.cells) if block.type != "vertex"]
    for _, kind, _ in blocks:
        if kind not in ELEMENTS:
            raise DataError(f"{path}: cells of type {kind!r}; {', '.join(ELEMENTS)} are read, export linear cells")
    for name, values in (mesh.point_data or {}).items():
        found[f"point_data/{name}"] = _components(np.asarray(values), flat)
    for kind in dict.fromkeys(kind for _, kind, _ in blocks):
        found[f"cells/{kind}"] = np.concatenate([rows for _, other, rows in blocks if other == kind]).astype(np.int64)
        for name, values in (mesh.cell_data or {}).items():
            parts = [np.asarray(values[i]) for i, other, _ in blocks if other == kind]
            found[f"cell_data/{kind}/{name}"] = _components(np.concatenate(parts), flat)
    return {
        name: array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
        for name, array in found.items()
    }


def _components(values: Array, flat: bool) -> Array:
    """Values of points or cells; vectors in the plane lose the third component that VTK fills with zeros."""
    if values.ndim > 2:
        values = values.reshape(len(values), -1)
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    if flat and values.ndim == 2 and values.shape[1] == 3 and not values[:, 2].any():
        return values[:, :2]
    return values
