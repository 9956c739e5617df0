"""MATLAB files of FNO, DGNO and PINNs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import savemat

from layout_examples.base import Arrays, Example, Expected, matlab73


def fno_burgers_v5(path: Path, rng: np.random.Generator) -> Expected:
    a, u = rng.normal(size=(3, 16)), rng.normal(size=(3, 16))
    savemat(path, {"a": a, "u": u})
    return Expected({"a": (("sample", "x"), a), "u": (("sample", "x"), u)}, {"x": "left"}, assumed=True)


def fno_darcy_v73(path: Path, rng: np.random.Generator) -> Expected:
    coeff, sol = rng.normal(size=(3, 8, 5)), rng.normal(size=(3, 8, 5))
    matlab73(path, {"coeff": coeff, "sol": sol})
    space = ("sample", "x", "y")
    return Expected({"coeff": (space, coeff), "sol": (space, sol)}, {"x": "left", "y": "left"}, assumed=True)


def fno_navier_stokes_v73(path: Path, rng: np.random.Generator) -> Expected:
    a, u, t = rng.normal(size=(3, 8, 6)), rng.normal(size=(3, 8, 6, 4)), np.arange(1.0, 5.0)
    matlab73(path, {"a": a, "u": u, "t": t})
    variables: Arrays = {
        "a": (("sample", "x", "y"), a),
        "u": (("sample", "time", "x", "y"), u.transpose(0, 3, 1, 2)),
    }
    return Expected(variables, {"x": "left", "y": "left"}, assumed=True, time=t)


def fno_trajectories_v5(path: Path, rng: np.random.Generator) -> Expected:
    u = rng.normal(size=(3, 8, 6, 4))
    savemat(path, {"u": u})
    variables: Arrays = {"u": (("sample", "time", "x", "y"), u.transpose(0, 3, 1, 2))}
    return Expected(variables, {"x": "left", "y": "left"}, assumed=True)


def fno_viscous_v5(path: Path, rng: np.random.Generator) -> Expected:
    first, later = rng.normal(size=(3, 16)), rng.normal(size=(3, 5, 16))
    savemat(path, {"input": first, "output": later, "visc": 0.01, "tspan": np.linspace(0, 1, 5)})
    variables: Arrays = {
        "input": (("sample", "x"), first),
        "output": (("sample", "time", "x"), later),
        "visc": ((), np.array(0.01)),
    }
    return Expected(variables, {"x": "left"}, assumed=True, time=np.linspace(0, 1, 5))


def pinns_v5(path: Path, rng: np.random.Generator) -> Expected:
    u, x, t = rng.normal(size=(8, 5)), np.linspace(-1, 1, 8)[:, None], np.linspace(0, 1, 5)[None]
    savemat(path, {"usol": u, "x": x, "t": t})
    return Expected({"usol": (("time", "x"), u.T)}, {"x": "closed"}, sample_dim=None, time=t[0])


def pinns_complex_v73(path: Path, rng: np.random.Generator) -> Expected:
    u = rng.normal(size=(8, 5)) + 1j * rng.normal(size=(8, 5))
    matlab73(path, {"uu": u, "x": np.arange(8) * np.pi / 4, "tt": np.arange(5.0)})
    return Expected({"uu": (("time", "x"), u.T)}, {"x": "left"}, sample_dim=None, time=np.arange(5.0))


def dgno_v73(path: Path, rng: np.random.Generator) -> Expected:
    """MATLAB's meshgrid, samples last, the coefficient on a coarser grid."""
    coe, u = rng.normal(size=(4, 5, 3)), rng.normal(size=(6, 8, 3))
    x, y = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 2, 6))
    matlab73(path, {"coe": coe, "u": u, "X": x, "Y": y})
    variables: Arrays = {
        "coe": (("sample", "y_coe", "x_coe"), coe.transpose(2, 0, 1)),
        "u": (("sample", "y", "x"), u.transpose(2, 0, 1)),
    }
    kinds: dict[str, str | None] = {"x": "closed", "y": "closed", "x_coe": "left", "y_coe": "left"}
    return Expected(variables, kinds, assumed={"x_coe", "y_coe"})


def dgno_curvilinear(path: Path, rng: np.random.Generator) -> Expected:
    coe, u = rng.normal(size=(3, 6, 8)), rng.normal(size=(3, 6, 8))
    r, phi = np.meshgrid(np.linspace(1, 2, 6), np.linspace(0, 1, 8), indexing="ij")
    savemat(path, {"coe": coe, "u": u, "X": r * np.cos(phi), "Y": r * np.sin(phi)})
    dims = ("i", "j")
    variables: Arrays = {name: (("sample", *dims), values) for name, values in {"coe": coe, "u": u}.items()}
    return Expected(variables, {}, points={"x": (dims, r * np.cos(phi)), "y": (dims, r * np.sin(phi))})


def fno_mesh_v73(path: Path, rng: np.random.Generator) -> Expected:
    """The matrices X and Y of ndgrid beside the fields."""
    coeff, sol = rng.normal(size=(3, 8, 5)), rng.normal(size=(3, 8, 5))
    x, y = np.meshgrid(np.linspace(0, 1, 8), np.linspace(0, 2, 5), indexing="ij")
    matlab73(path, {"coeff": coeff, "sol": sol, "X": x, "Y": y})
    space = ("sample", "x", "y")
    return Expected({"coeff": (space, coeff), "sol": (space, sol)}, {"x": "closed", "y": "closed"})


EXAMPLES = [
    Example("fno-mat", ".mat", fno_burgers_v5),
    Example("fno-mat", ".mat", fno_darcy_v73),
    Example("fno-mat", ".mat", fno_navier_stokes_v73),
    Example("fno-mat", ".mat", fno_trajectories_v5),
    Example("fno-mat", ".mat", fno_viscous_v5),
    Example("pinns-mat", ".mat", pinns_v5),
    Example("pinns-mat", ".mat", pinns_complex_v73),
    Example("dgno", ".mat", dgno_v73),
    Example("dgno", ".mat", dgno_curvilinear),
    Example("fno-mat", ".mat", fno_mesh_v73),
]
