"""Declarations in YAML and in Python: what they say is found again, and what is wrong in them is named."""

from __future__ import annotations

import re
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

from sciops.cli import main
from sciops.data.conventions import grid_of
from sciops.data.files import open
from sciops.data.reading.declaration import Declaration
from sciops.errors import InputError, SciopsError

GOOD = {
    "variables": {
        "v": {"path": "out/v", "dims": ["run", "frame", "x", "channel_v"], "channels": ["x"], "units": "m/s"},
        "p": {"dims": ["run", "frame", "x"]},
    },
    "coordinates": {"x": {"lower": 0, "upper": 2, "kind": "periodic", "units": "m"}, "frame": [0, 1, 2]},
    "sample_dim": "run",
    "time_dim": "frame",
    "parameters": {"nu": {"path": "nu"}, "g": 9.81, "rho": {"attribute": "rho", "units": "kg/m3"}},
    "boundary_conditions": {"x": "periodic"},
}


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run.h5"
    with h5py.File(path, "w") as file:
        file["out/v"], file["p"], file["nu"] = np.ones((4, 3, 8, 1)), np.zeros((4, 3, 8)), np.arange(4.0)
        file["x"], file["matrix"], file.attrs["rho"], file.attrs["name"] = np.arange(8.0), np.eye(4), 1000, "water"
    return path


def changed(**changes):
    """The good declaration with parts replaced, named by their places: ``variables__v__dims=...``."""
    found = eval(repr(GOOD))
    for place, value in changes.items():
        *above, last = place.split("__")
        part = found
        for key in above:
            part = part[key]
        if value is None:
            del part[last]
        else:
            part[last] = value
    return found


def test_in_python(run):
    ds = open(run, declaration=Declaration.from_mapping(GOOD))
    assert ds.attrs["layout_reason"] == "declared by declaration="
    assert (ds.attrs["sample_dim"], ds.attrs["time_dim"], ds.frame.values.tolist()) == ("run", "frame", [0, 1, 2])
    assert (ds.v.attrs["rank"], ds.v.attrs["components"], ds.v.attrs["units"]) == (1, ["x"], "m/s")
    axis = grid_of(ds, "p").axes[0]
    assert (axis.kind, axis.lower, axis.upper, axis.units) == ("periodic", 0, 2, "m")
    assert (ds.nu.dims, float(ds.g), float(ds.rho), ds.rho.attrs["units"]) == (("run",), 9.81, 1000, "kg/m3")


def test_what_the_caller_says_wins(run):
    declaration = Declaration.from_mapping(changed(coordinates__x="x", kinds={"x": "closed"}))
    assert open(run, declaration=declaration).x.attrs["kind"] == "closed"
    assert open(run, declaration=declaration, kinds={"x": "cell"}).x.attrs["kind"] == "cell"
    assert open(run, declaration=declaration, coords={"x": np.arange(8) / 8}).x[1] == 1 / 8


def test_kinds_of_coordinates_from_the_file(run):
    declaration = Declaration.from_mapping(changed(coordinates__x={"path": "x", "kind": "cell", "units": "mm"}))
    axis = grid_of(open(run, declaration=declaration), "p").axes[0]
    assert (axis.kind, axis.lower, axis.upper, axis.units) == ("cell", -0.5, 7.5, "mm")


def test_channels_that_are_no_axes_are_scalars(run):
    declaration = Declaration.from_mapping(changed(variables__v__channels=["density"]))
    assert open(run, declaration=declaration).v.attrs["rank"] == 0


def test_several_files_and_other_containers(run, tmp_path):
    run.rename(tmp_path / "run_1.h5")
    (tmp_path / "run_2.h5").write_bytes((tmp_path / "run_1.h5").read_bytes())
    declaration = Declaration.from_mapping(GOOD)
    assert open(tmp_path / "run_*.h5", declaration=declaration).sizes["run"] == 8
    np.savez(tmp_path / "a.npz", p=np.zeros((4, 8)))
    plain = Declaration.from_mapping({"variables": {"pressure": {"path": "p", "dims": ["sample", "x"]}}})
    assert open(tmp_path / "a.npz", declaration=plain).pressure.dims == ("sample", "x")


YAML = """\
variables:
  p: {dims: [run, frame, x], units: Pa}
coordinates:
  x: x
sample_dim: run
time_dim: frame
kinds: {x: periodic}
"""


def test_on_the_command_line(run, tmp_path, capsys):
    (tmp_path / "layout.yaml").write_text(YAML)
    assert main(["info", str(run), "--declaration", str(tmp_path / "layout.yaml")]) == 0
    assert "declared by declaration=" in capsys.readouterr().out
    assert main(["convert", str(run), str(tmp_path / "native.nc"), "--declaration", str(tmp_path / "layout.yaml")]) == 0
    ds = open(tmp_path / "native.nc")
    assert (ds.p.attrs["units"], ds.x.attrs["kind"], ds.attrs["sample_dim"]) == ("Pa", "periodic", "run")
    (tmp_path / "layout.yaml").write_text(YAML.replace("kinds", "kind"))
    assert main(["info", str(run), "--declaration", str(tmp_path / "layout.yaml")]) == 2
    assert re.search(r"layout\.yaml: unknown key 'kind'; did you mean 'kinds'", capsys.readouterr().err)


def test_fit_keeps_it_for_resuming_elsewhere(tmp_path, monkeypatch, capsys):
    with h5py.File(tmp_path / "run.h5", "w") as file:
        file["out/a"], file["out/u"] = np.random.default_rng().normal(size=(2, 16, 8))
    lines = "variables: {a: {path: out/a, dims: [run, x]}, u: {path: out/u, dims: [run, x]}}\nsample_dim: run\n"
    (tmp_path / "layout.yaml").write_text(lines)
    monkeypatch.chdir(tmp_path)
    options = ["--epochs", "1", "--modes", "2", "--width", "4", "--layers", "1", "--no-progress", "--output", "fit"]
    assert main(["fit", "run.h5", "--declaration", "layout.yaml", "--inputs", "a", "--outputs", "u", *options]) == 0
    assert f"declaration: {tmp_path / 'layout.yaml'}" in (tmp_path / "fit" / "config.yaml").read_text()
    monkeypatch.chdir("/")
    assert main(["fit", "--resume", str(tmp_path / "fit"), "--epochs", "1"]) == 0


def test_the_declaration_in_the_documentation(tmp_path, generator):
    from layout_examples.native import declared_yaml

    page = Path(__file__).resolve().parents[2] / "docs" / "data-layouts.md"
    (text,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    (tmp_path / "docs.yaml").write_text(text)
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    expected = declared_yaml(tmp_path / "run.h5", rng)
    ds = open(tmp_path / "run.h5", declaration=tmp_path / "docs.yaml")
    for name in ("velocity", "nu", "density", "gravity"):
        np.testing.assert_array_equal(ds[name].values, expected.variables[name][1])
    assert (ds.velocity.attrs["mask"], ds.fluid.attrs["role"], ds.x.attrs["kind"]) == ("fluid", "mask", "periodic")


def test_through_xarray(run, tmp_path):
    (tmp_path / "layout.yaml").write_text(YAML)
    ds = xr.open_dataset(run, engine="sciops", declaration=tmp_path / "layout.yaml")
    assert ds.p.dims == ("run", "frame", "x")


WRONG = {
    "unknown key": ({"varables": {}}, r"the declaration: unknown key 'varables'; did you mean 'variables'"),
    "key of a variable": ({"variables__v__dim": ["x"]}, r"variables\.v: unknown key 'dim'; did you mean 'dims'"),
    "key of a coordinate": ({"coordinates__x__uper": 1}, r"coordinates\.x: unknown key 'uper'; did you mean 'upper'"),
    "key of a parameter": ({"parameters__nu__pth": "a"}, r"parameters\.nu: unknown key 'pth'; did you mean 'path'"),
    "no variables": ({"variables": {}}, "variables: none is declared"),
    "variables as a list": ({"variables": ["u"]}, "variables: a mapping by name is needed"),
    "key that is no text": ({"kinds": {1: "cell"}}, "kinds: the key 1 is no text; put it in quotes"),
    "no dims": ({"variables__p": {}}, r"variables\.p\.dims: the names of all axes are needed, .*got nothing"),
    "numbers as dims": ({"variables__p__dims": [1, 2, 3]}, r"variables\.p\.dims: the names of all axes"),
    "axes": ({"variables__p__dims": ["run", "x"]}, r"'p' has shape \(4, 3, 8\), 3 axes, but dims= names 2"),
    "array": ({"variables__p__path": "q"}, "no array 'q'"),
    "one array twice": ({"variables__p__path": "out/v"}, "two variables name the array 'out/v'"),
    "channel dimension": ({"variables__p__channels": ["a"]}, r"variables\.p\.channels: .*call it channel_p in dims"),
    "channels": ({"variables__v__channels": ["x", "y"]}, r"variables\.v\.channels: 2 names, and .* has length 1"),
    "rank": ({"variables__v__rank": 3}, r"variables\.v\.rank: 0, 1 or 2 is needed, got 3"),
    "units": ({"variables__v__units": 1}, r"variables\.v\.units: a text is needed, got 1"),
    "role": ({"variables__v__role": "maks"}, r"variables\.v\.role: 'mask' is the one role"),
    "mask": ({"variables__v__mask": "q"}, r"variables\.v\.mask: no variable 'q'"),
    "kind": ({"coordinates__x__kind": "peroidic"}, r"coordinates\.x\.kind: unknown kind .*did you mean 'periodic'"),
    "kinds": ({"kinds": {"y": "cell"}}, "kinds: no dimension 'y'"),
    "coordinate": ({"coordinates__y": "x"}, "coordinates: no dimension 'y'"),
    "half an interval": ({"coordinates__x": {"lower": 0}}, r"coordinates\.x: one of path, values, or lower with upper"),
    "empty interval": ({"coordinates__x": {"lower": 2, "upper": 1}}, r"coordinates\.x: axis 'x'"),
    "coordinate array": ({"coordinates__x": {"path": "q", "units": "m"}}, "no array 'q' for the coordinates of 'x'"),
    "coordinate values": ({"coordinates__x": ["a"]}, r"coordinates\.x: a list of numbers is needed"),
    "length": ({"coordinates__x": [0, 1]}, r"coordinates of 'x' have shape \(2,\)"),
    "sample_dim": ({"sample_dim": "rum"}, "sample_dim: no dimension 'rum'; did you mean 'run'"),
    "time_dim": ({"time_dim": "fram"}, "time_dim: no dimension 'fram'; did you mean 'frame'"),
    "dim as number": ({"sample_dim": 3}, "sample_dim: a text is needed, got 3"),
    "parameter": ({"parameters__nu": {}}, r"parameters\.nu: one of path, attribute or value is needed"),
    "parameter array": ({"parameters__nu": "mu"}, "parameter 'nu': no array 'mu'; available: "),
    "parameter shape": ({"parameters__nu": "matrix"}, r"parameter 'nu' has shape \(4, 4\)"),
    "attribute": ({"parameters__rho__attribute": "rh"}, "no attribute 'rh'; did you mean 'rho'"),
    "attribute text": ({"parameters__rho__attribute": "name"}, "'water'; a number is needed"),
    "conditions": ({"boundary_conditions": {"x": ["wall"]}}, r"boundary_conditions\.x: one word, or the lower and"),
    "condition of no axis": (
        {"variables__p__boundary_conditions": {"y": "wall"}},
        r"variables\.p\.boundary_conditions: no space dimension 'y'",
    ),
}


@pytest.mark.parametrize(("changes", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(changes, message, run):
    with pytest.raises(SciopsError) as error:
        open(run, declaration=Declaration.from_mapping(changed(**changes)))
    assert "\n" not in str(error.value)
    assert re.search(message, str(error.value)), str(error.value)


BAD_YAML = {
    "python": ("variables: !!python/object/apply:os.mkdir [bad]", "could not determine a constructor"),
    "aliases": ("a: &a [x, x]\nvariables: {u: {dims: *a}}", "an alias, which is not read"),
    "twice": ("kinds: {}\nkinds: {}", "the key 'kinds' stands twice"),
    "tabs": ("variables:\n\tu: 1", "no declaration in YAML"),
    "deep": ("[" * 5000, "no declaration in YAML"),
    "list": ("[1]", "a mapping by name is needed"),
    "empty": ("", "a mapping by name is needed, got nothing"),
    "two documents": ("a: 1\n---\nb: 2", "no declaration in YAML"),
    "bytes": (b"\xff\xfe\x00", "layout.yaml: "),
    "keys that are lists": ("{[a]: 1}", "layout.yaml: "),
}


@pytest.mark.parametrize(("text", "message"), BAD_YAML.values(), ids=BAD_YAML)
def test_yaml_that_is_refused(text, message, run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "layout.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as error:
        open(run, declaration=path)
    assert "\n" not in str(error.value)
    assert "layout.yaml: " in str(error.value)
    assert message in str(error.value)
    assert not (tmp_path / "bad").exists()


def test_yaml_that_is_not_there_or_endless(run, tmp_path):
    with pytest.raises(InputError, match=r"missing\.yaml: the declaration cannot be read \(No such file"):
        open(run, declaration=tmp_path / "missing.yaml")
    (tmp_path / "long.yaml").write_text("#" * (1 << 21))
    with pytest.raises(InputError, match=r"long\.yaml: a declaration of more than"):
        open(run, declaration=tmp_path / "long.yaml")


def test_with_other_options(run):
    declaration = Declaration.from_mapping(GOOD)
    with pytest.raises(InputError, match="leave dims= out"):
        open(run, declaration=declaration, dims={"p": ("run", "frame", "x")})
    with pytest.raises(InputError, match=r"declaration= declares the layout; layout='native' cannot"):
        open(run, "native", declaration=declaration)
