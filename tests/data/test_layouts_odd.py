"""Foreign files with something missing, wrong or hostile: each opens, or is refused in one line with a remedy."""

from __future__ import annotations

import re

import h5py
import layout_examples as examples
import numpy as np
import pytest
import torch
import xarray as xr

from sciops.data.files import open
from sciops.data.layouts import Contents
from sciops.data.layouts._arrays import concatenated, flattened, stacked
from sciops.errors import DataError, LayoutError, SciopsError, UnsafeFileError

on_hdf5 = [
    e for e in examples.EXAMPLES if e.suffix in (".h5", ".hdf5", ".out") and e.layout not in ("native", "declared")
]


@pytest.fixture
def rng(generator):
    return np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))


def written(name, tmp_path, rng):
    example = next(e for e in examples.EXAMPLES if e.write.__name__ == name)
    path = tmp_path / f"file{example.suffix}"
    return path, example.write(path, rng)


def attributes(path):
    """(object, name) of every attribute that is no bookkeeping of HDF5."""
    found = []
    with h5py.File(path) as file:
        objects = ["/"]
        file.visit(objects.append)
        for name in objects:
            found += [(name, key) for key in file[name].attrs if key.upper() != key and key != "MATLAB_class"]
    return found


def readable_or_refused(path):
    try:
        with open(path) as ds:
            for variable in ds.variables.values():
                assert variable.values.shape == variable.shape
            return True
    except SciopsError as error:
        assert str(error).startswith(str(path))
        assert "truncated or corrupt" not in str(error)  # what an IndexError in a layout would become
        assert "\n" not in str(error)
        return False


@pytest.mark.parametrize("example", on_hdf5, ids=str)
def test_without_one_attribute(example, tmp_path, rng):
    path = tmp_path / "whole.h5"
    example.write(path, rng)
    needed = {"field_attributes", "class", "grid"}  # of py-pde: they say what the arrays are
    found = attributes(path)
    for place, key in [found[i] for i in rng.permutation(len(found))[:12]]:
        copy = tmp_path / "part.h5"
        copy.write_bytes(path.read_bytes())
        with h5py.File(copy, "r+") as file:
            del file[place].attrs[key]
        assert readable_or_refused(copy) or key in needed, (place, key)


@pytest.mark.parametrize(
    "value", ["", "[", "!!python/object/apply:os.system ['ls']", -1, [1.5, np.nan], [[1, 2]], True]
)
@pytest.mark.parametrize("example", on_hdf5, ids=str)
def test_with_one_attribute_that_makes_no_sense(example, value, tmp_path, rng):
    path = tmp_path / "whole.h5"
    example.write(path, rng)
    found = attributes(path)
    for place, key in [found[i] for i in rng.permutation(len(found))[:6]]:
        copy = tmp_path / "odd.h5"
        copy.write_bytes(path.read_bytes())
        with h5py.File(copy, "r+") as file:
            file[place].attrs[key] = value
        readable_or_refused(copy)


@pytest.mark.parametrize("example", on_hdf5, ids=str)
def test_without_one_array_or_with_another_shape(example, tmp_path, rng):
    path = tmp_path / "whole.h5"
    example.write(path, rng)
    names = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in rng.permutation(names)[:6]:
        for shape in (None, (), (0,), (2, 7), (1, 1, 1, 1, 1, 1, 1)):
            copy = tmp_path / "odd.h5"
            copy.write_bytes(path.read_bytes())
            with h5py.File(copy, "r+") as file:
                del file[name]
                if shape is not None:
                    file[name] = np.ones(shape)
            readable_or_refused(copy)


def test_reading_one_sample_touches_its_group_alone(tmp_path, rng, monkeypatch):
    from sciops.data.reading.storage import StoredArray

    path, expected = written("pdebench_reaction", tmp_path, rng)
    ds, read = open(path), []
    original = StoredArray._read
    monkeypatch.setattr(StoredArray, "_read", lambda self, key: read.append(self.name) or original(self, key))
    np.testing.assert_array_equal(ds.data.isel(sample=3, time=slice(1, 3)), expected.variables["data"][1][3, 1:3])
    assert read == ["0010/data"]


@pytest.mark.parametrize("change", ["data", "grid/x", "grid/y values"])
def test_groups_that_differ_are_refused(change, tmp_path, rng):
    path, _ = written("pdebench_reaction", tmp_path, rng)
    name, _, values = change.partition(" ")
    with h5py.File(path, "r+") as file:
        old = file[f"0010/{name}"][()]
        del file[f"0010/{name}"]
        file[f"0010/{name}"] = old + 1 if values else old[:-1]
    with pytest.raises(LayoutError, match=r"'0010/data' has shape \(4, 8, 6, 2\)|the groups differ in grid/[xy]"):
        open(path)


def test_surplus_times_of_compressible_flow(tmp_path, rng):
    path, _ = written("pdebench_flow_1d", tmp_path, rng)
    with h5py.File(path, "r+") as file:
        del file["t-coordinate"]
        file["t-coordinate"] = np.arange(9.0)
    with pytest.raises(LayoutError, match=r"'t-coordinate' has 9 times, 'density' 4; 4 or 5 fit"):
        open(path)


def test_splits_of_pdearena(tmp_path, rng):
    path, expected = written("pdearena_splits", tmp_path, rng)
    ds = open(path)
    part = ds.isel(sample=ds.split == "test")
    np.testing.assert_array_equal(part.u, expected.variables["u"][1][4:])
    ds.close()
    with h5py.File(path, "r+") as file:
        file["valid/x"][0] = np.arange(8.0)
    with pytest.raises(LayoutError, match="the samples have different 'x'; declare"):
        open(path)


def test_the_well_periodic_axis_is_periodic_whatever_its_ends(tmp_path, rng):
    path, expected = written("the_well", tmp_path, rng)
    with h5py.File(path, "r+") as file:
        file["dimensions/x"][...] = np.linspace(0, 1, 8)
        del file["dimensions/time"]
        file["dimensions/time"] = np.tile(expected.time, (3, 1))
    ds = open(path)
    assert (ds.x.attrs["kind"], ds.x.attrs["lower"]) == ("periodic", 0)
    assert ds.x.attrs["upper"] == pytest.approx(8 / 7)
    assert '"x": "periodic"' in ds.density.attrs["boundary_conditions"]
    np.testing.assert_array_equal(ds.time, expected.time)
    assert open(path, kinds={"x": "closed"}).x.attrs["kind"] == "closed"


def test_the_well_names_a_field_that_does_not_fit(tmp_path, rng):
    path, _ = written("the_well", tmp_path, rng)
    with h5py.File(path, "r+") as file:
        del file["t1_fields/velocity"]
        file["t1_fields/velocity"] = np.zeros((3, 5, 8, 7, 2))
    with pytest.raises(
        LayoutError, match=r"'t1_fields/velocity' has shape \(3, 5, 8, 7, 2\), which does not fit 3 traj"
    ):
        open(path)


def test_the_well_axes_stored_with_length_one(tmp_path, rng):
    path, expected = written("the_well", tmp_path, rng)
    with h5py.File(path, "r+") as file:
        flags = dict(file["t0_fields/inflow"].attrs)
        del file["t0_fields/inflow"]
        file["t0_fields/inflow"] = expected.variables["inflow"][1][:, None]
        file["t0_fields/inflow"].attrs.update(flags)
    np.testing.assert_array_equal(open(path).inflow, expected.variables["inflow"][1])


def test_the_pickled_pair_of_deepxde_is_refused_with_a_remedy_that_works(tmp_path, rng):
    path = tmp_path / "aligned.npz"
    pair = np.empty(2, dtype=object)
    pair[0], pair[1] = rng.normal(size=(6, 9)), rng.random((5, 1))
    y = rng.normal(size=(6, 5))
    np.savez(path, X=pair, y=y)
    with pytest.raises(
        UnsafeFileError, match=r"aligned\.npz: 'X' is an array of Python objects, which is a pickle"
    ) as caught:
        open(path)
    call = re.search(r"numpy\.savez\('data\.npz', (.*)\)", str(caught.value))[1]
    np.savez(tmp_path / "data.npz", **eval(f"dict({call})", {"X": pair, "y": y}))
    ds = open(tmp_path / "data.npz")
    assert ds.attrs["layout"] == "deepxde"
    np.testing.assert_array_equal(ds.y, y)
    np.testing.assert_array_equal(ds.X0, pair[0])
    np.testing.assert_array_equal(ds[ds.attrs["point_coords"][0]], pair[1][:, 0])


HEADER = "% Model:    a.mph\n% Dimension:   2\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEADER, "a header without rows of numbers"),
        (HEADER + "% x   y   u (1)\n1 2\n", r"2 numbers in the first row, but 3 names of columns"),
        (HEADER + "% x   y   u (1)\n1 2 3\n1 2\n", "every row needs 3 numbers"),
        (HEADER + "% x   y   u (1)\n1 2 3\n1 2 three\n", "every row needs 3 numbers"),
        (HEADER + "% Coordinates   y   u\n1 2 3\n% Elements\n1 2 3\n", "a second header within the numbers"),
        (HEADER + "% x   y   u (1)   u (1)\n1 2 3 4\n", r"two columns are called 'u \(1\)'"),
        (HEADER + "% x   y   u (1)\n1 2 " + "3" * (1 << 24) + "\n", "a line of more than 16777216 bytes"),
        (HEADER + "% x   y   u" + " (a" * (1 << 20) + "\n1 2 3\n", "3 numbers in the first row"),
        (HEADER + "% x " + "y" * (1 << 20) + " u\n1 2 3\n", "3 numbers in the first row"),
        ("% \n" * 2000 + "1 2\n", "a header|more than 1000 header lines|2 numbers"),
        (HEADER + "% x   y   u @ c=1, t=0   u @ c=1, t=1   u @ c=2, t=0\n1 2 3 4 5\n", r"'u' has no column for t=1\.0"),
    ],
)
def test_text_that_is_no_table(text, message, tmp_path):
    path = tmp_path / "out.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        open(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_text_with_complex_numbers_and_gaps(tmp_path):
    path = tmp_path / "out.txt"
    path.write_text(HEADER + "% x   y   E (V/m) @ freq=1E9\n0 0 1.5\n1 0 1.0-2.5E-1i\n\n0 1 NaN\n")
    ds = open(path)
    np.testing.assert_array_equal(ds.E.values, [[1.5, 1 - 0.25j, np.nan]])
    np.testing.assert_array_equal(ds.freq, [1e9])
    np.testing.assert_array_equal(ds.y, [0, 0, 1])


def random_key(shape, rng):
    """One integer, slice or vector of positions for each axis."""
    key = []
    for size in shape:
        kind = rng.integers(4)
        if kind == 0:
            key.append(int(rng.integers(-size, size)))
        elif kind == 1:
            key.append(slice(*sorted(rng.integers(0, size + 1, 2).tolist()), int(rng.integers(1, 3))))
        elif kind == 2:
            key.append(slice(None, None, -int(rng.integers(1, 3))))
        else:
            key.append(rng.integers(0, size, rng.integers(0, 4)))
    return tuple(key)


def test_lazy_arrays_index_as_numpy_does(tmp_path, rng):
    path, parts = tmp_path / "parts.h5", [rng.normal(size=(3, 4, 2)) for _ in range(6)]
    with h5py.File(path, "w") as file:
        for i, part in enumerate(parts):
            file[f"p{i}"] = part
    contents = Contents(path)
    names = [f"p{i}" for i in range(6)]
    whole = np.stack(parts)
    pairs = {
        "stacked": (stacked(contents, names, "abcd"), whole),
        "nested": (stacked(contents, [names[:3], names[3:]], "abcde"), whole.reshape(2, 3, 3, 4, 2)),
        "joined": (concatenated(contents, names, "abc"), np.concatenate(parts)),
        "flat": (flattened(contents.lazy("p0"), 0, "ab"), parts[0].reshape(12, 2)),
        "flat last": (flattened(contents.lazy("p0"), 1, "ab"), parts[0].reshape(3, 8)),
        "squeezed": (stacked(contents, [names], (None, *"abcd")), whole),
    }
    for name, (lazy, values) in pairs.items():
        reference = xr.Variable(lazy.dims, values)
        for _ in range(60):
            key = random_key(values.shape, rng)
            found = lazy[key]
            assert found.dims == reference[key].dims, (name, key)
            np.testing.assert_array_equal(found.values, reference[key].values, err_msg=f"{name} {key}")
        assert lazy._in_memory is False
