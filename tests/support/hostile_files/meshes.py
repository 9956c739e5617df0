"""VTK and XDMF: entities, bombs, files elsewhere, cells that join what is not there."""

from __future__ import annotations

import base64
import os
import struct
import zlib

import h5py
import numpy as np

from hostile_files.base import SECRET, Hostile, hostile
from hostile_files.hdf5 import GIB, gzip_of_zeros, pipe

CASES: list[Hostile] = []
POINTS = "0 0 0 1 0 0 0 1 0 1 1 0"


def vtu(points: str = POINTS, *, head: str = "", cells: str = "0 1 2 1 3 2", offsets: str = "3 6", types: str = "5 5",
        data: str = "1 2 3 4", root: str = "", form: str = 'format="ascii"', count: str = "4") -> str:  # fmt: skip
    return (
        f'{head}<VTKFile type="UnstructuredGrid" version="1.0" byte_order="LittleEndian" header_type="UInt32" {root}>'
        f'<UnstructuredGrid><Piece NumberOfPoints="{count}" NumberOfCells="2">'
        f'<Points><DataArray type="Float64" Name="Points" NumberOfComponents="3" {form}>{points}</DataArray></Points>'
        f'<Cells><DataArray type="Int64" Name="connectivity" format="ascii">{cells}</DataArray>'
        f'<DataArray type="Int64" Name="offsets" format="ascii">{offsets}</DataArray>'
        f'<DataArray type="UInt8" Name="types" format="ascii">{types}</DataArray></Cells>'
        f'<PointData><DataArray type="Float64" Name="u" format="ascii">{data}</DataArray></PointData>'
        f"</Piece></UnstructuredGrid></VTKFile>"
    )


@hostile(CASES, "a.vtu", sums={"u": 10.0})
def a_plain_mesh(path, rng):
    path.write_text(vtu())


LAUGHS = '<!DOCTYPE VTK [<!ENTITY a "ha">' + "".join(
    f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(10)
) + "]>"  # fmt: skip


@hostile(CASES, "a.vtu", "declares entities")
def a_billion_laughs(path, rng):
    path.write_text(f'<?xml version="1.0"?>{LAUGHS}' + vtu("&k;"))


@hostile(CASES, "a.vtu", "declares entities")
def an_entity_of_another_file(path, rng):
    head = f'<!DOCTYPE VTK [<!ENTITY a SYSTEM "file://{pipe(path)}">]>'
    path.write_text(f'<?xml version="1.0"?>{head}' + vtu("&a;"))


@hostile(CASES, "a.vtu", "entities|UTF-16|truncated or corrupt")
def entities_in_utf_16(path, rng):
    path.write_bytes(f'<?xml version="1.0" encoding="UTF-16"?>{LAUGHS}{vtu("&k;")}'.encode("utf-16-le"))


@hostile(CASES, "a.vtu", "entities|truncated or corrupt|DTD")
def entities_in_utf_7(path, rng):
    laughs = LAUGHS.replace("<", "+ADw-").replace("&", "+ACY-").replace('"', "+ACI-")
    path.write_bytes(b'<?xml version="1.0" encoding="UTF-7"?>' + (laughs + vtu()).encode())


@hostile(CASES, "a.vtu")
def a_document_type_elsewhere(path, rng):
    path.write_text(f'<?xml version="1.0"?><!DOCTYPE VTK SYSTEM "file://{pipe(path)}">' + vtu())


@hostile(CASES, "a.vtu", "entities")
def entities_behind_a_megabyte(path, rng):
    path.write_text(f'<?xml version="1.0"?><!--{"-x" * (1 << 20)}-->{LAUGHS}' + vtu("&k;"))


def packed(size: int, blocks: int, body: bytes) -> str:
    head = struct.pack("<III", blocks, size, 0) + b"".join(struct.pack("<I", len(body)) for _ in range(min(blocks, 9)))
    return base64.b64encode(head).decode() + base64.b64encode(body * min(blocks, 9)).decode()


ZLIB = 'compressor="vtkZLibDataCompressor"'


@hostile(CASES, "a.vtu", "more than the 96 bytes")
def blocks_that_hold_more_than_they_say(path, rng):
    path.write_text(vtu(packed(96, 1, gzip_of_zeros(GIB)), root=ZLIB, form='format="binary"'))


@hostile(CASES, "a.vtu", "declares|unpack|holds")
def blocks_that_say_a_gigabyte(path, rng):
    path.write_text(vtu(packed(GIB, 1, gzip_of_zeros(GIB)), root=ZLIB, form='format="binary"'))


@hostile(CASES, "a.vtu", "declares")
def blocks_without_number(path, rng):
    path.write_text(vtu(packed(96, 2**32 - 1, zlib.compress(bytes(96))), root=ZLIB, form='format="binary"'))


@hostile(CASES, "a.vtu")
def base64_that_is_none(path, rng):
    path.write_text(vtu("AAAA====!!" * 20, root=ZLIB, form='format="binary"'))


@hostile(CASES, "a.vtu")
def data_appended_at_a_wrong_place(path, rng):
    path.write_text(vtu("", form='format="appended" offset="99999999999"'))


@hostile(CASES, "a.vtu", r"joins the points|points 0 to 3")
def cells_of_points_that_are_not_there(path, rng):
    path.write_text(vtu(cells="0 1 2 1 3 1000000000000"))


@hostile(CASES, "a.vtu")
def cells_of_negative_points(path, rng):
    path.write_text(vtu(cells="0 1 2 1 3 -1"))


@hostile(CASES, "a.vtu")
def offsets_that_go_backwards(path, rng):
    path.write_text(vtu(offsets="6 3"))


@hostile(CASES, "a.vtu")
def offsets_without_end(path, rng):
    path.write_text(vtu(offsets="3 1000000000000"))


@hostile(CASES, "a.vtu", "cells of type|polyhedra")
def cells_of_other_types(path, rng):
    path.write_text(vtu(types="42 255"))


@hostile(CASES, "a.vtu", "finite")
def points_of_a_mesh_that_are_nan(path, rng):
    path.write_text(vtu("0 0 0 nan 0 0 0 1 0 1 inf 0"))


@hostile(CASES, "a.vtu")
def too_few_values(path, rng):
    path.write_text(vtu(data="1 2 3"))


@hostile(CASES, "a.vtu")
def xml_nested_deeply(path, rng):
    path.write_text("<VTKFile type='UnstructuredGrid'>" + "<a>" * 200_000)


@hostile(CASES, "a.vtu")
def xml_of_a_hundred_thousand_attributes(path, rng):
    path.write_text(vtu(root=" ".join(f'a{i}="1"' for i in range(100_000))))


def legacy(body: str, kind: str = "UNSTRUCTURED_GRID", form: str = "ASCII") -> str:
    return f"# vtk DataFile Version 3.0\ntitle\n{form}\nDATASET {kind}\n{body}"


@hostile(CASES, "a.vtk")
def legacy_with_points_without_number(path, rng):
    path.write_text(legacy(f"POINTS 999999999999 double\n{POINTS}\n"))


@hostile(CASES, "a.vtk")
def legacy_binary_with_points_without_number(path, rng):
    path.write_text(legacy("POINTS 99999999999 double\n" + "x" * 900, form="BINARY"))


@hostile(CASES, "a.vtk", "declares")
def legacy_of_a_huge_lattice(path, rng):
    lattice = "DIMENSIONS 3000 3000 3000\nORIGIN 0 0 0\nSPACING 1 1 1\nPOINT_DATA 1\nSCALARS u double 1\n"
    path.write_text(legacy(lattice + "LOOKUP_TABLE default\n1\n", "STRUCTURED_POINTS"))


@hostile(CASES, "a.vtk")
def legacy_with_cells_that_lie(path, rng):
    path.write_text(legacy(f"POINTS 4 double\n{POINTS}\nCELLS 2 800000000\n9 0 1 2 3 1 3 2\nCELL_TYPES 2\n5\n5\n"))


@hostile(CASES, "a.vtk")
def legacy_of_other_words(path, rng):
    path.write_text(legacy("METADATA\n" * 3 + "POINTS four double\n" + "FIELD f 99999999\n" + "\n" * 1000))


def xdmf(item: str, *, head: str = "", more: str = "", shape: str = "4 3") -> str:
    return (
        f'<?xml version="1.0"?>{head}<Xdmf Version="3.0"><Domain><Grid Name="g">'
        f'<Geometry GeometryType="XYZ"><DataItem DataType="Float" Dimensions="{shape}" Precision="8" {item}</DataItem>'
        '</Geometry><Topology TopologyType="Triangle" NumberOfElements="2"><DataItem DataType="Int" Dimensions="2 3" '
        f'Format="XML" Precision="8">0 1 2 1 3 2</DataItem></Topology>{more}</Grid></Domain></Xdmf>'
    )


@hostile(CASES, "a.xdmf", "outside of its folder")
def values_in_a_file_elsewhere(path, rng):
    other = path.parent.parent / f"{path.parent.name}.h5"
    with h5py.File(other, "w") as file:
        file["p"] = np.full((4, 3), SECRET)
    path.write_text(xdmf(f'Format="HDF">../{other.name}:/p'))


@hostile(CASES, "a.xdmf", "not beside it|symbolic|pipe|regular")
def values_in_a_pipe(path, rng):
    path.write_text(xdmf(f'Format="HDF">{pipe(path).name}:/p'))


@hostile(CASES, "a.xdmf", "not beside it|symbolic")
def values_behind_a_symbolic_link(path, rng):
    with h5py.File(path.with_name("outside.bin"), "w") as file:
        file["p"] = np.full((4, 3), SECRET)
    os.symlink("outside.bin", path.with_name("inside.h5"))
    path.write_text(xdmf('Format="HDF">inside.h5:/p'))


@hostile(CASES, "a.xdmf", "is an external link")
def values_behind_an_external_link(path, rng):
    with h5py.File(path.with_name("b.h5"), "w") as file:
        file["p"] = h5py.ExternalLink(str(pipe(path)), "/p")
    path.write_text(xdmf('Format="HDF">b.h5:/p'))


@hostile(CASES, "a.xdmf", "declares|too|more than")
def values_that_were_never_written(path, rng):
    with h5py.File(path.with_name("b.h5"), "w") as file:
        file.create_dataset("p", (10**8, 3), "f8", chunks=(1024, 3))
    path.write_text(xdmf('Format="HDF">b.h5:/p', shape=f"{10**8} 3"))


@hostile(CASES, "a.xdmf", "names the raw file")
def values_in_a_raw_file(path, rng):
    path.write_text(xdmf('Format="Binary">/etc/passwd'))


@hostile(CASES, "a.xdmf", "entities")
def entities_in_xdmf(path, rng):
    path.write_text(xdmf('Format="XML">&k;', head=LAUGHS.replace("VTK", "Xdmf", 1)))


@hostile(CASES, "a.xdmf")
def an_include_in_xdmf(path, rng):
    include = f'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="{pipe(path)}" parse="text"/>'
    path.write_text(xdmf(f'Format="XML">{POINTS}', more=include))


@hostile(CASES, "a.xdmf")
def a_shape_that_lies(path, rng):
    path.write_text(xdmf(f'Format="XML">{POINTS}', shape="1000000000000 3"))


@hostile(CASES, "a.xdmf")
def a_lattice_in_xdmf(path, rng):
    path.write_text(
        '<Xdmf Version="3.0"><Domain><Grid><Topology TopologyType="3DCoRectMesh" Dimensions="4000 4000 4000"/>'
        '<Geometry GeometryType="ORIGIN_DXDYDZ"><DataItem Dimensions="3" Format="XML">0 0 0</DataItem>'
        '<DataItem Dimensions="3" Format="XML">1 1 1</DataItem></Geometry></Grid></Domain></Xdmf>'
    )
