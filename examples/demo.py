"""The main job, twice, from a simulation file to a saved surrogate that states its error.

1. Darcy flow: the pressure from the permeability, predicted on new samples and on a grid twice as fine.
2. Burgers equation: trajectories from their first frame and their viscosity, 20 steps ahead.

Everything is written to ./demo-run. About a minute on two cores, seconds the second time, when data and trained
surrogates are found there: `make demo`. Delete the folder to start anew.
"""

import time
from pathlib import Path

import numpy as np
import xarray as xr

import sciops
from sciops.plotting import demo_figure
from sciops.solvers.pde import simulate

FOLDER = Path("demo-run")


def simulated(equation: str, name: str, **options: int) -> Path:
    """The simulation file of that name, made if it is not there yet."""
    path = FOLDER / f"{name}.h5"
    return path if path.exists() else simulate(equation, path, **options)


def relative_error(prediction: xr.Dataset, truth: xr.Dataset) -> np.ndarray:
    """Relative L2 error of u, sample by sample, at the times that both have."""
    predicted, exact = xr.align(prediction.u, truth.u, join="inner")
    axes = tuple(range(1, exact.ndim))
    difference = predicted.transpose(*exact.dims).values - exact.values
    return np.sqrt(np.sum(difference**2, axes) / np.sum(exact.values**2, axes))


def inside(prediction: xr.Dataset, truth: xr.Dataset) -> int:
    """How many samples lie inside the band everywhere."""
    lower, upper, exact = xr.align(prediction.u_lower, prediction.u_upper, truth.u, join="inner")
    return int(((exact >= lower) & (exact <= upper)).all([dim for dim in exact.dims if dim != "sample"]).sum())


def report(name: str, error: np.ndarray) -> float:
    print(f"{name:<44} mean {error.mean():.4f}   worst {error.max():.4f}")
    return float(error.mean())


def darcy() -> tuple[str, xr.Dataset, xr.Dataset, str]:
    train = simulated("darcy", "darcy", samples=400, resolution=32)
    new = sciops.data.open(simulated("darcy", "darcy-new", samples=50, resolution=32, seed=1))
    fine = sciops.data.open(simulated("darcy", "darcy-fine", samples=50, resolution=63, seed=1))
    print(f"{train}: the solver's own relative error is about {new.attrs['error_estimate']:.1e}\n")

    symmetries = ["transpose", "flip-x", "flip-y"]
    run = FOLDER / "darcy-run"
    sciops.fit(
        train,
        inputs="a",
        outputs="u",
        model="fno",
        modes=8,
        width=24,
        epochs=25,
        symmetries=symmetries,
        output=run,
        resume=run.exists(),
    )
    surrogate = sciops.load(run)
    prediction = surrogate.predict(new, coverage=0.9)
    print("\nDarcy, relative L2 error of the pressure on samples it has never seen")
    error = report("  on the grid of training, 32 x 32", relative_error(prediction, new))
    finer = report("  on a grid twice as fine, 63 x 63", relative_error(surrogate.predict(fine), fine))
    held = f"{inside(prediction, new)} of {new.sizes['sample']} fields"
    print(f"  {held} on the training grid lie wholly inside the 90 % band\n")
    assert error < 0.04, error
    assert finer < 0.04, finer
    return "Darcy flow: pressure from permeability", new, prediction, "u"


def burgers() -> tuple[str, xr.Dataset, xr.Dataset, str]:
    train = simulated("burgers", "burgers", samples=120, resolution=64)
    new = sciops.data.open(simulated("burgers", "burgers-new", samples=30, resolution=64, seed=1))
    print(f"{train}: the solver's own relative error is about {new.attrs['error_estimate']:.1e}\n")

    run = FOLDER / "burgers-run"
    sciops.fit(
        train,
        inputs="u",
        outputs="u",
        parameters="nu",
        task="evolve",
        width=24,
        batch_size=32,
        epochs=30,
        output=run,
        resume=run.exists(),
    )
    surrogate = sciops.load(run)
    prediction = surrogate.predict(new.isel(time=slice(1)), steps=20, coverage=0.9)
    print("\nBurgers, relative L2 error of the velocity on trajectories it has never seen")
    error = report("  20 steps from the first frame", relative_error(prediction, new))
    print(f"  {inside(prediction, new)} of {new.sizes['sample']} trajectories lie wholly inside the 90 % band\n")
    assert error < 0.02, error
    return "Burgers equation: 20 steps from the first frame", new, prediction, "u"


def main() -> None:
    start = time.perf_counter()
    FOLDER.mkdir(exist_ok=True)
    demo_figure([darcy(), burgers()], sample=3, path=FOLDER / "demo.png")
    print(f"surrogates and demo.png are in ./{FOLDER}   ({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
