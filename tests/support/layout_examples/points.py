"""Scattered points and meshes: gprMax, COMSOL, VTK and XDMF."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np

from layout_examples.base import Arrays, Example, Expected


def gprmax(path: Path, rng: np.random.Generator) -> Expected:
    names, positions = ("Ex", "Ez", "Hy"), rng.random((3, 3))
    fields, dt = {name: rng.normal(size=(3, 5)).astype("f4") for name in names}, 3.85e-12
    with h5py.File(path, "w") as file:
        file.attrs["gprMax"], file.attrs["Title"], file.attrs["Iterations"] = "3.1.7", "tiny", 5
        file.attrs["nx_ny_nz"], file.attrs["dx_dy_dz"], file.attrs["dt"] = (10, 10, 10), (0.002, 0.002, 0.002), dt
        file.attrs["nsrc"], file.attrs["nrx"] = 1, 3
        file.attrs["srcsteps"] = file.attrs["rxsteps"] = (0, 0, 0)
        source = file.create_group("srcs/src1")
        source.attrs["Type"], source.attrs["Position"] = "HertzianDipole", (0.01, 0.01, 0.01)
        for i in range(3):
            group = file.create_group(f"rxs/rx{i + 1}")
            group.attrs["Name"], group.attrs["Position"] = f"Rx({i},0,0)", tuple(positions[i])
            for name in names:
                group[name] = fields[name][i]
        file["rxs/rx1/Iz"] = np.zeros(5, "f4")
    variables: Arrays = {name: (("time", "point"), values.T) for name, values in fields.items()}
    return Expected(
        variables,
        {},
        sample_dim=None,
        time=np.arange(5) * dt,
        points={name: (("point",), positions[:, i]) for i, name in enumerate("xyz")},
        attributes={"Ez": {"units": "V/m"}, "Hy": {"units": "A/m"}},
    )


def gprmax_merged(path: Path, rng: np.random.Generator) -> Expected:
    """Traces side by side; the receivers move by two cells from one to the next."""
    ez, dt = rng.normal(size=(3, 5, 4)).astype("f4"), 1e-11
    positions = rng.random((3, 3))
    with h5py.File(path, "w") as file:
        file.attrs["dt"], file.attrs["dx_dy_dz"], file.attrs["rxsteps"] = dt, (0.25, 0.5, 0.5), (2, 0, 0)
        for i in range(3):
            group = file.create_group(f"rxs/rx{i + 1}")
            group.attrs["Position"] = positions[i]
            group.create_dataset("Ez", data=ez[i])
    moved = positions[:, 0] + 0.5 * np.arange(4)[:, None]
    points: Arrays = {"x": (("sample", "point"), moved)}
    points |= {name: (("sample", "point"), np.tile(positions[:, i], (4, 1))) for i, name in ((1, "y"), (2, "z"))}
    variables: Arrays = {"Ez": (("sample", "time", "point"), ez.transpose(2, 1, 0))}
    return Expected(variables, {}, time=np.arange(5) * dt, points=points)


def _comsol(path: Path, dimension: int, names: list[str], table: np.ndarray, separator: str = "") -> None:
    header = {"Model": "plate.mph", "Version": "COMSOL 6.2.0.415", "Date": "Mar 25 2025, 09:23"}
    header |= {"Dimension": str(dimension), "Nodes": str(len(table)), "Expressions": str(len(names) - dimension)}
    header |= {"Description": "Temperature", "Length unit": "mm"}
    lines = [f"% {key + ':':<20}{value}" if not separator else f"% {key},{value}" for key, value in header.items()]
    lines.append("% " + (separator.join(names) if separator else " ".join(f"{name:<23}" for name in names).rstrip()))
    for row in table:
        numbers = [repr(float(value)) for value in row]
        lines.append(separator.join(numbers) if separator else "".join(f"{number:<26}" for number in numbers).rstrip())
    path.write_text("\n".join(lines) + "\n")


def comsol_transient(path: Path, rng: np.random.Generator) -> Expected:
    points, temperature, load = rng.random((4, 2)), rng.normal(size=(3, 4)), rng.normal(size=4)
    names = ["x", "y", "load (W/(m^2*K))", *(f"ht.T (K) @ t={t}" for t in ("0", "0.1", "1E-4"))]
    _comsol(path, 2, names, np.column_stack([points, load, temperature.T]))
    variables: Arrays = {"load": (("point",), load), "ht.T": (("time", "point"), temperature[[0, 2, 1]])}
    return Expected(
        variables,
        {},
        sample_dim=None,
        time=np.array([0, 1e-4, 0.1]),
        points={name: (("point",), points[:, i]) for i, name in enumerate("xy")},
        attributes={"load": {"units": "W/(m^2*K)"}, "ht.T": {"units": "K"}},
    )


def comsol_parametric(path: Path, rng: np.random.Generator) -> Expected:
    """A sweep over a parameter, in commas, and names so long that one space parts them."""
    points, values = rng.random((4, 3)), rng.normal(size=(3, 2, 4))
    names = ["x", "y", "z"]
    names += [f"spf.U (m/s) @ {1 + i + 2 * k}: mu={k + 1}, t={t}" for k in range(3) for i, t in enumerate((0, 0.5))]
    _comsol(path, 3, names, np.column_stack([points, values.reshape(6, 4).T]))
    variables: Arrays = {
        "spf.U": (("sample", "time", "point"), values),
        "mu": (("sample",), np.array([1.0, 2.0, 3.0])),
    }
    where: Arrays = {name: (("point",), points[:, i]) for i, name in enumerate("xyz")}
    return Expected(variables, {}, time=np.array([0, 0.5]), points=where)


def comsol_commas(path: Path, rng: np.random.Generator) -> Expected:
    x, u = rng.random((4, 1)), rng.normal(size=(2, 4))
    _comsol(path, 1, ["x", "u (1) @ t=0", "u (1) @ t=1"], np.column_stack([x, u.T]), ",")
    where: Arrays = {"x": (("point",), x[:, 0])}
    return Expected({"u": (("time", "point"), u)}, {}, sample_dim=None, time=np.array([0.0, 1]), points=where)


def _mesh():
    import meshio

    points = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0], [2, 1, 0]], float)
    return meshio, points, [("triangle", np.array([[0, 1, 2], [0, 2, 3]])), ("quad", np.array([[1, 4, 5, 2]]))]


def mesh_file(path: Path, rng: np.random.Generator) -> Expected:
    meshio, points, cells = _mesh()
    p, v, k = rng.normal(size=6), rng.normal(size=(6, 2)), rng.normal(size=3)
    velocity = np.column_stack([v, np.zeros(6)])
    mesh = meshio.Mesh(points, cells, {"p": p, "v": velocity}, {"k": [k[:2], k[2:]]})
    (meshio.vtk if path.suffix == ".vtk" else meshio.vtu).write(path, mesh)
    variables: Arrays = {
        "p": (("point",), p),
        "v": (("channel_v", "point"), v.T),
        "cell_data_triangle_k": (("cell_triangle",), k[:2]),
        "cell_data_quad_k": (("cell_quad",), k[2:]),
    }
    where: Arrays = {name: (("point",), points[:, i]) for i, name in enumerate("xy")}
    kinds = {"cell_triangle": None, "cell_quad": None}
    components = {"v": (1, ["x", "y"])}
    return Expected(variables, kinds, sample_dim=None, points=where, components=components)


def mesh_series(path: Path, rng: np.random.Generator) -> Expected:
    meshio, points, cells = _mesh()
    p, before = rng.normal(size=(3, 6)), Path.cwd()
    os.chdir(path.parent)  # meshio puts the HDF5 file into the working folder
    try:
        with meshio.xdmf.TimeSeriesWriter(path) as series:
            series.write_points_cells(points[:, :2], cells[:1])
            for t, values in enumerate(p):
                series.write_data(0.5 * t, point_data={"p": values})
    finally:
        os.chdir(before)
    where: Arrays = {name: (("point",), points[:, i]) for i, name in enumerate("xy")}
    times = np.array([0, 0.5, 1.0])
    return Expected({"p": (("time", "point"), p)}, {}, sample_dim=None, time=times, points=where)


EXAMPLES = [
    Example("gprmax", ".out", gprmax),
    Example("gprmax", ".out", gprmax_merged),
    Example("comsol", ".txt", comsol_transient),
    Example("comsol", ".txt", comsol_parametric),
    Example("comsol", ".csv", comsol_commas),
    Example("mesh", ".vtk", mesh_file),
    Example("mesh", ".vtu", mesh_file),
    Example("mesh", ".xdmf", mesh_series),
]
