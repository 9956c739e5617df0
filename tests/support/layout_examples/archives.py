"""`.pt` and `.npz`: neuraloperator, DeepXDE and their like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from layout_examples.base import Arrays, Example, Expected


def tensors_static(path: Path, rng: np.random.Generator) -> Expected:
    x, y = rng.normal(size=(3, 8, 8)) > 0, rng.normal(size=(3, 8, 8)).astype("f4")
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, path)
    dims = ("sample", "x1", "x2")
    return Expected({"x": (dims, x), "y": (dims, y)}, {"x1": "left", "x2": "left"}, assumed=True)


def tensors_trajectories_legacy(path: Path, rng: np.random.Generator) -> Expected:
    """The format before zip archives, with a parameter as (1, 1) and another for each sample."""
    x, y, force = rng.normal(size=(3, 8)), rng.normal(size=(3, 5, 8)), rng.normal(size=(3, 1))
    tensors = {"x": x, "y": y, "visc": np.array([[0.01]]), "force": force}
    saved = {name: torch.from_numpy(value) for name, value in tensors.items()}
    torch.save(saved, path, _use_new_zipfile_serialization=False)
    variables: Arrays = {
        "x": (("sample", "x1"), x),
        "y": (("sample", "time", "x1"), y),
        "visc": ((), np.array(0.01)),
        "force": (("sample",), force[:, 0]),
    }
    return Expected(variables, {"x1": "left"}, assumed=True)


def tensors_channels(path: Path, rng: np.random.Generator) -> Expected:
    x, y = rng.normal(size=(3, 2, 8, 6)), rng.normal(size=(3, 5, 8, 6))
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, path)
    variables: Arrays = {"x": (("sample", "channel_x", "x1", "x2"), x), "y": (("sample", "channel_y", "x1", "x2"), y)}
    return Expected(variables, {"x1": "left", "x2": "left"}, assumed=True)


def archive_plain(path: Path, rng: np.random.Generator) -> Expected:
    a, u, x = rng.normal(size=(3, 8)), np.asfortranarray(rng.normal(size=(3, 8))), np.linspace(0, 1, 8)
    np.savez(path, a=a, u=u, x=x)
    return Expected({"a": (("sample", "x"), a), "u": (("sample", "x"), u)}, {"x": "closed"})


def archive_compressed(path: Path, rng: np.random.Generator) -> Expected:
    x, y = rng.normal(size=(3, 8, 6)), rng.normal(size=(3, 8, 6))
    np.savez_compressed(path, x=x, y=y)
    dims = ("sample", "x1", "x2")
    return Expected({"x": (dims, x), "y": (dims, y)}, {"x1": "left", "x2": "left"}, assumed=True)


def deepxde_aligned(path: Path, rng: np.random.Generator) -> Expected:
    branch, points, values = rng.normal(size=(4, 8)), rng.random((5, 2)), rng.normal(size=(4, 5))
    np.savez(path, X0=branch, X1=points, y=values)
    variables: Arrays = {"X0": (("sample", "sensor"), branch), "y": (("sample", "point"), values)}
    coordinates = {name: (("point",), points[:, i]) for i, name in enumerate("xy")}
    # y names the values: the coordinates step aside
    return Expected(
        variables,
        {"sensor": "left"},
        assumed={"sensor"},
        points={"x1": coordinates["x"], "x2": coordinates["y"]},
    )


def deepxde_unaligned(path: Path, rng: np.random.Generator) -> Expected:
    branch, points, values = rng.normal(size=(4, 8)), rng.random((4, 1)), rng.normal(size=(4, 1))
    np.savez(path, X_train0=branch.astype("f4"), X_train1=points.astype("f4"), y_train=values.astype("f4"))
    variables: Arrays = {
        "X_train0": (("sample", "sensor"), branch.astype("f4")),
        "y_train": (("sample", "point"), values.astype("f4")),
    }
    where = {"x": (("sample", "point"), points.astype("f4"))}
    return Expected(variables, {"sensor": "left"}, assumed={"sensor"}, points=where)


EXAMPLES = [
    Example("neuraloperator", ".pt", tensors_static),
    Example("neuraloperator", ".pt", tensors_trajectories_legacy),
    Example("neuraloperator", ".pt", tensors_channels),
    Example("npz", ".npz", archive_plain),
    Example("npz", ".npz", archive_compressed),
    Example("deepxde", ".npz", deepxde_aligned),
    Example("deepxde", ".npz", deepxde_unaligned),
]
