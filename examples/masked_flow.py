"""Heat flux around insulating islands: a vector field under a mask, learned with the symmetries of the square.

A plate is heated by a random source and kept at zero on its boundary; no heat enters the islands, whose place differs
from sample to sample. The surrogate maps source and mask to the flux, a vector whose components turn with the plate.
"""

import tempfile
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
import xarray as xr
from scipy.sparse.linalg import spsolve

import sciops
from sciops.data import Axis, Grid
from sciops.data.conventions import coordinate
from sciops.data.random import GaussianRandomField, SquaredExponential

SIZE, SAMPLES, NEW = 16, 160, 20


def flux(source: np.ndarray, wet: np.ndarray) -> np.ndarray:
    """-grad T at the centres of the cells, where -laplace T = source by finite volumes."""
    n, h = SIZE, 1 / SIZE
    cells, inside = np.arange(n * n).reshape(n, n), np.flatnonzero(wet)
    diagonal, faces, ends = np.zeros(n * n), [], []
    for axis in range(2):
        line, open_line = np.moveaxis(cells, axis, 0), np.moveaxis(wet, axis, 0)
        through = open_line[:-1] & open_line[1:]  # no heat between a cell and an island
        faces.append((line[:-1][through], line[1:][through]))
        ends.append((line[0], line[-1]))
        diagonal += np.bincount(np.concatenate(faces[-1]), minlength=n * n)
        diagonal += 2 * np.bincount(np.concatenate(ends[-1]), minlength=n * n)  # T = 0 half a cell away
    one, other = (np.concatenate(pair) for pair in zip(*faces, strict=True))
    pairs = sparse.coo_matrix((-np.ones(len(one)), (one, other)), (n * n, n * n))
    matrix = (sparse.diags(diagonal) + pairs + pairs.T).tocsc()[inside][:, inside]
    temperature, result = np.zeros(n * n), np.zeros((2, n * n))
    temperature[inside] = spsolve(matrix, h**2 * source.flatten()[inside])
    for axis, (one, other) in enumerate(faces):
        across = (temperature[one] - temperature[other]) / h
        result[axis, one] += across / 2
        result[axis, other] += across / 2
        result[axis, ends[axis][0]] -= temperature[ends[axis][0]] / h
        result[axis, ends[axis][1]] += temperature[ends[axis][1]] / h
    return result.reshape(2, n, n)


def plates(samples: int, seed: int) -> xr.Dataset:
    """Random sources and islands, and their fluxes; behind the islands stands what must not count."""
    axes = [Axis(name, SIZE, kind="cell") for name in "xy"]
    grid, rng = Grid(tuple(axes)), np.random.default_rng(seed)
    source = GaussianRandomField(grid, SquaredExponential(length=0.3)).sample(samples, seed).values[:, 0].numpy()
    x, y = grid.coordinates().numpy()
    centres, radius = 0.25 + 0.5 * rng.random((samples, 2, 1, 1)), 0.08 + 0.1 * rng.random((samples, 1, 1))
    wet = np.hypot(x - centres[:, 0], y - centres[:, 1]) > radius
    q = np.stack([flux(*pair) for pair in zip(source, wet, strict=True)])
    q = np.where(wet[:, None], q, np.nan)
    return xr.Dataset(
        {
            "source": (("sample", "x", "y"), source, {"mask": "wet"}),
            "q": (("sample", "channel_q", "x", "y"), q, {"mask": "wet", "rank": 1, "components": ["x", "y"]}),
            "wet": (("sample", "x", "y"), wet, {"role": "mask"}),
        },
        {axis.name: coordinate(axis) for axis in axes},
        {"channel_dims": ["channel_q"]},
    )


def main() -> None:
    folder = Path(tempfile.mkdtemp())
    train, new = plates(SAMPLES, seed=0), plates(NEW, seed=1)
    surrogate = sciops.fit(
        train,
        inputs=["source", "wet"],
        outputs="q",
        symmetries=["transpose", "flip-x"],
        modes=5,
        width=12,
        layers=3,
        epochs=15,
        calibration=0,
        progress=False,
    )
    surrogate.save(folder / "plate")
    found = sciops.load(folder / "plate").evaluate(new)
    print(f"relative L2 error of the flux on new plates {found.relative_l2:.3f}")
    assert found.relative_l2 < 0.25, found.relative_l2

    # turn the plates: the components are exchanged, and the prediction turns with them
    turned = new.rename(x="y", y="x").transpose("sample", "channel_q", "x", "y")
    turned = turned.assign(q=turned.q.isel(channel_q=[1, 0]))
    first, second = surrogate.predict(new).q, surrogate.predict(turned).q
    difference = float(np.nanmax(abs(first.values - second.values[:, ::-1].swapaxes(2, 3))))
    print(f"largest difference between the turned prediction and that of the turned plate {difference:.1e}")
    assert difference < 1e-4, difference


if __name__ == "__main__":
    main()
