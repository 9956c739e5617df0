"""Simulate heat flow into a file, stop in the middle, go on where it stopped, and hand the file to The Well."""

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

import sciops
from sciops.data import Axis, StreamWriter
from sciops.data.conventions import coordinate

SAMPLES, TOGETHER = 60, 5
x = Axis("x", 64, kind="periodic", units="m")
times = np.linspace(0.0, 0.1, 9)
k = 2 * np.pi * np.fft.rfftfreq(x.size, 1 / x.size)


def simulate(first: int, count: int) -> xr.Dataset:
    """Samples of the heat equation, each a function of its number alone, exact in time."""
    fields, rates = [], []
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        rates.append(rng.uniform(0.1, 1.0))
        start = np.fft.rfft(np.cumsum(rng.normal(size=x.size)))
        decay = np.exp(-rates[-1] * k**2 * times[:, None])
        fields.append(np.fft.irfft(start * decay, x.size))
    return xr.Dataset(
        {"T": (("sample", "time", "x"), np.stack(fields), {"units": "K"}), "rate": ("sample", rates)},
        {"x": coordinate(x), "time": ("time", times, {"units": "s"})},
    )


def run(path: Path, until: int = SAMPLES) -> int:
    """Append samples from where an earlier run of the same simulation ended; returns where that was."""
    template = simulate(0, 1)
    with StreamWriter(path, template, SAMPLES, resume=True, compression="gzip") as writer:
        begin = writer.written
        for first in range(begin, SAMPLES, TOGETHER):
            if first >= until:
                raise TimeoutError("the time of this job is over")
            writer.append(simulate(first, TOGETHER))
    return begin


path = Path(tempfile.mkdtemp()) / "heat.h5"
try:
    run(path, until=35)
except TimeoutError as error:
    print(f"{error}: {path.name} {'exists' if path.exists() else 'does not exist yet'}")
begin = run(path)
ds = sciops.data.open(path)
print(f"went on with sample {begin}: {dict(ds.sizes)}")
assert begin == 35
assert np.array_equal(ds.T.isel(sample=-1), simulate(SAMPLES - 1, 1).T[0])

well = sciops.data.write(ds, path.with_name("heat.hdf5"), "the-well", chunks={"sample": 1})
again = sciops.data.open(well)
print(f"{well.name}: {again.attrs['layout_reason']}")
assert np.array_equal(again.T, ds.T) and again.T.attrs["boundary_conditions"] == '{"x": "periodic"}'
