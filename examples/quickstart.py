"""From an HDF5 file to a saved surrogate, in fifteen lines (about a minute on two cores)."""

import tempfile
from pathlib import Path

import sciops
from sciops.plotting import compare
from sciops.solvers.pde import simulate

folder = Path(tempfile.mkdtemp())
simulate("darcy", folder / "train.h5", samples=200, resolution=24)
new = sciops.data.open(simulate("darcy", folder / "new.h5", samples=20, resolution=24, seed=1))

surrogate = sciops.fit(folder / "train.h5", inputs="a", outputs="u", model="fno", epochs=30)
surrogate.save(folder / "darcy-fno")

prediction = sciops.load(folder / "darcy-fno").predict(new)
error = float((((prediction.u - new.u) ** 2).sum() / (new.u**2).sum()) ** 0.5)
compare(new, prediction, variable="u", path=folder / "prediction.png")
print(f"relative L2 error on new samples {error:.3f}, everything is in {folder}")
assert error < 0.15, error
