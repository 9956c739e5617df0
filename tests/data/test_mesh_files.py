"""VTK and XDMF files: what is read, and what is refused."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from sciops.data.conventions import domain_of
from sciops.data.files import open
from sciops.errors import DataError, UnsafeFileError

meshio = pytest.importorskip("meshio")


def meshio_mesh():
    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0]], float)
    cells = [("triangle", np.array([[0, 1, 2], [0, 2, 3]])), ("quad", np.array([[1, 4, 5, 2]]))]
    velocity = np.column_stack([np.arange(6.0), np.ones(6), np.zeros(6)])
    data = {"p": np.arange(6.0) ** 2, "v": velocity}
    return meshio.Mesh(points, cells, data, {"k": [np.array([1.0, 2.0]), np.array([3.0])]})


WRITERS = {
    "new.vtk": lambda path: meshio.vtk.write(path, meshio_mesh()),
    "old.vtk": lambda path: meshio.vtk.write(path, meshio_mesh(), "4.2"),
    "packed.vtu": lambda path: meshio.vtu.write(path, meshio_mesh()),
    "lzma.vtu": lambda path: meshio.vtu.write(path, meshio_mesh(), compression="lzma"),
    "raw.vtu": lambda path: meshio.vtu.write(path, meshio_mesh(), compression=None),
    "hdf.xdmf": lambda path: meshio.xdmf.write(path, meshio_mesh()),
    "xml.xdmf": lambda path: meshio.xdmf.write(path, meshio_mesh(), data_format="XML"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_mesh_files(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    WRITERS[name](tmp_path / name)
    ds = open(tmp_path / name)
    assert ds.attrs["layout"] == "mesh"
    mesh = domain_of(ds, "p")
    assert (mesh.volume, mesh.dimension, sorted(mesh.cells)) == (pytest.approx(2.0), 2, ["quad", "triangle"])
    np.testing.assert_array_equal(ds.p, np.arange(6.0) ** 2)
    assert (ds.v.dims, ds.v.attrs["rank"], ds.v.attrs["components"]) == (("channel_v", "point"), 1, ["x", "y"])
    np.testing.assert_array_equal(ds.v, [np.arange(6.0), np.ones(6)])
    centres = domain_of(ds, "cell_data_triangle_k")
    assert centres.weights().tolist() == [0.5, 0.5]
    assert ds.cell_data_quad_k.values.tolist() == [3.0]


def test_a_series_in_time_has_the_dimension_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mesh = meshio_mesh()
    with meshio.xdmf.TimeSeriesWriter(tmp_path / "t.xdmf") as series:
        series.write_points_cells(mesh.points, mesh.cells)
        for t in (0.0, 0.5, 2.0):
            series.write_data(t, point_data={"p": mesh.point_data["p"] + t})
    ds = open(tmp_path / "t.xdmf")
    assert (ds.p.dims, ds.time.values.tolist()) == (("time", "point"), [0.0, 0.5, 2.0])
    np.testing.assert_array_equal(ds.p[2], np.arange(6.0) ** 2 + 2)


def test_a_mesh_file_that_leads_out_of_its_folder_is_refused(tmp_path):
    inner = tmp_path / "a"
    inner.mkdir()
    item = '<DataItem Format="{}" Dimensions="3 2" DataType="Float" Precision="8">{}</DataItem>'
    page = '<Xdmf Version="3.0"><Domain><Grid><Geometry GeometryType="XY">{}</Geometry></Grid></Domain></Xdmf>'
    for kind, text, error in (
        ("HDF", "../secret.h5:/x", "outside of its folder"),
        ("HDF", "/etc/passwd:/x", "outside of its folder"),
        ("Binary", "/etc/passwd", "names the raw file '/etc/passwd'"),
        ("HDF", "gone.h5:/x", "'gone.h5', which is not beside it"),
    ):
        (inner / "m.xdmf").write_text(page.format(item.format(kind, text)))
        with pytest.raises(DataError, match=error):
            open(inner / "m.xdmf")
    (inner / "e.vtu").write_text(
        '<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a SYSTEM "/etc/passwd">]><VTKFile>&a;</VTKFile>'
    )
    with pytest.raises(UnsafeFileError, match="entities"):
        open(inner / "e.vtu")


def test_a_block_that_holds_more_than_it_declares_is_refused(tmp_path):
    import zlib

    from sciops.data.reading.meshfiles import _decompressed

    packed = zlib.compress(bytes(1 << 20))
    header = np.array([1, 64, 64, len(packed)], "<u4").tobytes()
    data = base64.b64encode(header).decode() + base64.b64encode(packed).decode()
    with pytest.raises(DataError, match="more than the 64 bytes"):
        _decompressed(tmp_path / "bomb.vtu", data, np.dtype("<u4"), np.dtype("f8"), "vtkZLibDataCompressor")
    with pytest.raises(DataError, match="declares 4294967295 blocks"):
        many = base64.b64encode(np.array([2**32 - 1, 64, 64], "<u4").tobytes()).decode()
        _decompressed(tmp_path / "bomb.vtu", many, np.dtype("<u4"), np.dtype("f8"), "vtkZLibDataCompressor")


def test_cells_that_are_not_known_and_broken_files_are_said(tmp_path):
    wedge = meshio.Mesh(np.random.default_rng().random((6, 3)), [("wedge", np.arange(6)[None])])
    meshio.vtk.write(tmp_path / "w.vtk", wedge)
    with pytest.raises(
        DataError, match=r"w\.vtk: cells of type 'wedge'; line, triangle, quad, tetra, hexahedron are read"
    ):
        open(tmp_path / "w.vtk")
    meshio.vtu.write(tmp_path / "m.vtu", meshio_mesh())
    whole = (tmp_path / "m.vtu").read_bytes()
    for cut in (60, len(whole) // 2, len(whole) - 20):
        (tmp_path / "cut.vtu").write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"cut\.vtu"):
            open(tmp_path / "cut.vtu")
