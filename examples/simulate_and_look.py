"""Simulate two ensembles with other options than the default ones, and draw what is in the files."""

import tempfile
from pathlib import Path

import sciops
from sciops.plotting import info_plot
from sciops.solvers.pde import BurgersSimulator, DarcySimulator, simulate

folder = Path(tempfile.mkdtemp())
rock = DarcySimulator(permeability="two-phase", low=1.0, high=20.0)
shock = BurgersSimulator(lowest_viscosity=0.01, highest_viscosity=0.01, duration=0.5)
for name, simulator in {"rock": rock, "shock": shock}.items():
    path = simulate(simulator, folder / f"{name}.h5", samples=8, resolution=64)
    dataset = sciops.data.open(path)
    info_plot(dataset, path=folder / f"{name}.png")
    error = dataset.attrs["error_estimate"]
    print(f"{path}: {dict(dataset.sizes)}, relative error about {error:.1e}")
    assert error < 0.05, error
