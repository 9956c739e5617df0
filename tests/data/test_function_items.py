"""Rollouts, several ranks, parameters in time, boundary data, query points, resolutions, masks, points and meshes."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch.utils.data import DataLoader

from sciops.data.conventions import coordinate, coordinates_of
from sciops.data.domains.domain import Axis, Grid
from sciops.data.domains.mesh import Mesh
from sciops.data.domains.points import PointCloud
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.sampling import DistributedEpochSampler, Request
from sciops.data.functions.tensors import TensorChannels
from sciops.errors import DataError, DomainError, InputError

Exact: dict[str, Any] = {"dtype": torch.float64}


def _values(generator: torch.Generator, *shape: int) -> np.ndarray:
    return torch.randn(*shape, dtype=torch.float64, generator=generator).numpy()


@pytest.fixture
def ds(generator: torch.Generator) -> xr.Dataset:
    """Five trajectories of 12 frames on a grid, with vectors, tensors, a mask with NaN behind it, and data on faces."""
    axes = (Axis("x", 8, kind="periodic"), Axis("y", 9))
    wet = np.ones((8, 9), dtype=bool)
    wet[2:4, 3:6] = False
    u = _values(generator, 5, 12, 8, 9)
    u[:, :, ~wet] = np.nan
    return xr.Dataset(
        {
            "u": (("sample", "time", "x", "y"), u, {"mask": "wet"}),
            "a": (("sample", "x", "y"), _values(generator, 5, 8, 9)),
            "v": (
                ("sample", "time", "channel_v", "x", "y"),
                _values(generator, 5, 12, 2, 8, 9),
                {"rank": 1, "components": ["x", "y"]},
            ),
            "s": (
                ("sample", "channel_s", "x", "y"),
                _values(generator, 5, 4, 8, 9),
                {"rank": 2, "components": ["x", "y"]},
            ),
            "wet": (("x", "y"), wet, {"role": "mask"}),
            "ice": (("sample", "y"), _values(generator, 5, 9) > -0.5, {"role": "mask"}),
            "nu": ("sample", _values(generator, 5)),
            "beta": (("sample", "channel_v"), _values(generator, 5, 2), {"rank": 1, "components": ["x", "y"]}),
            "force": (("sample", "time"), _values(generator, 5, 12)),
            "inflow": (("sample", "x"), _values(generator, 5, 8), {"face": ["y", "upper"]}),
            "heat": (("sample", "time", "x"), _values(generator, 5, 12, 8), {"face": '["y", "lower"]'}),
            "probe": (("sample", "gauge"), _values(generator, 5, 3)),
        },
        coords={**{axis.name: coordinate(axis) for axis in axes}, "gx": ("gauge", [0.0, 0.2, 0.4])},
        attrs={
            "sample_dim": "sample",
            "time_dim": "time",
            "channel_dims": ["channel_v", "channel_s"],
            "point_dims": ["gauge"],
            "point_coords": ["gx"],
        },
    )


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_rollout_is_one_item_with_all_later_frames(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs=["v", "a"], outputs="v", history=2, rollout=True, start=1, **Exact)
    assert len(data) == 5 and data.windows == 1 and data.horizon == 9 and data.out_channels == 18
    item = data[3]
    np.testing.assert_array_equal(item["x"][:4], ds["v"].values[3, 1:3].reshape(4, 8, 9))
    np.testing.assert_array_equal(item["y"], ds["v"].values[3, 3:].reshape(18, 8, 9))
    assert data.output_names[0] == "v[0](t+1)" and data.output_names[-1] == "v[1](t+9)"


def test_a_rollout_takes_up_to_a_length_from_every_start(ds: xr.Dataset) -> None:
    short = FunctionDataset(ds, inputs="v", outputs="v", rollout=4, stride=2, every=2, **Exact)
    assert short.history == 1 and short.horizon == 4 and short.windows == 2
    np.testing.assert_array_equal(short[1]["x"], ds["v"].values[0, 2])
    np.testing.assert_array_equal(short[1]["y"], ds["v"].values[0, [4, 6, 8, 10]].reshape(8, 8, 9))
    assert FunctionDataset(ds, inputs="v", outputs="v", rollout=50, stride=3).horizon == 3


def test_starts_of_windows_are_subsampled(ds: xr.Dataset) -> None:
    whole = FunctionDataset(ds, inputs="v", outputs="v", history=2, horizon=2)
    some = FunctionDataset(ds, inputs="v", outputs="v", history=2, horizon=2, start=3, every=4)
    assert whole.windows == 9 and some.windows == 2 and some.groups.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    for sample in range(5):
        for number, frame in enumerate((3, 7)):
            assert torch.equal(some[2 * sample + number]["y"], whole[9 * sample + frame]["y"])


def test_fields_of_every_rank_say_which_channels_they_are(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs=["a", "s", "v"], outputs="v", parameters=["nu", "beta"], history=2, horizon=2)
    vector = ("x", "y")
    assert data.input_names[:5] == ("v[0](t-1)", "v[1](t-1)", "v[0](t)", "v[1](t)", "a")
    assert data.input_tensors == (
        TensorChannels(1, vector, (0, 1)), TensorChannels(1, vector, (2, 3)), TensorChannels(2, vector, (5, 6, 7, 8)),
    )  # fmt: skip
    assert data.output_tensors == (TensorChannels(1, vector, (0, 1)), TensorChannels(1, vector, (2, 3)))
    assert data.parameter_tensors == (TensorChannels(1, vector, (1, 2)),)
    assert data.parameter_names == ("nu", "beta[0]", "beta[1]")
    undeclared = ds.assign(v=ds["v"].drop_attrs())
    assert FunctionDataset(undeclared, inputs="v", outputs="v", history=1).input_tensors == ()


def test_parameters_in_time_follow_the_frames_of_x(ds: xr.Dataset) -> None:
    windows = FunctionDataset(ds, inputs="v", outputs="v", parameters=["nu", "force"], history=2, stride=3, **Exact)
    assert windows.parameter_names == ("nu", "force(t-1)", "force(t)")
    item = windows[windows.windows * 2 + 4]
    force, nu = ds["force"].values[2], ds["nu"].values[2]
    assert item["parameters"].tolist() == [nu, force[4], force[7]]
    whole = FunctionDataset(ds, inputs="a", outputs="a", parameters="force", **Exact)
    assert whole.parameter_names[-1] == "force@11"
    np.testing.assert_array_equal(whole[1]["parameters"], ds["force"].values[1])


def test_data_on_a_face_is_spread_and_marked(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs="v", outputs="v", boundary=["inflow", "heat"], history=2, **Exact)
    assert data.in_channels == 9
    assert data.input_names[4:] == ("inflow", "face of inflow", "heat(t-1)", "heat(t)", "face of heat")
    x = data[12]["x"].numpy()  # sample 1, frames 2 and 3
    inflow, heat = ds["inflow"].values[1], ds["heat"].values[1]
    for y in range(9):
        np.testing.assert_array_equal(x[4][:, y], inflow)
        np.testing.assert_array_equal(x[6:8, :, y], heat[2:4])
    assert (x[5] == (np.arange(9) == 8)).all() and (x[8] == (np.arange(9) == 0)).all()
    coarse = FunctionDataset(ds, inputs="v", outputs="v", boundary="inflow", history=1, resolution=[4, 3], **Exact)
    np.testing.assert_array_equal(coarse[0]["x"][2:, :, -1], [ds["inflow"].values[0, ::2], np.ones(4)])


def test_the_mark_of_a_face_stays_where_its_node_is_left_out(ds: xr.Dataset) -> None:
    turned = ds.assign(wall=(("sample", "y"), np.ones((5, 9)), {"face": "x upper"}))
    data = FunctionDataset(turned, inputs="a", outputs="a", boundary="wall", resolution=[4, 9])
    assert data[0]["x"][2].sum(dim=1).tolist() == [0, 0, 0, 9]


def test_data_on_points_of_the_boundary_is_an_entry_of_its_own(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs="a", outputs="a", boundary="probe", **Exact)
    batch = data.batch([4, 1])
    np.testing.assert_array_equal(batch["boundary"], ds["probe"].values[[4, 1], None])
    assert data.boundary_domain is not None and data.boundary_domain.shape == (3,)
    assert data.in_channels == 1


def test_masks_are_read_and_what_lies_outside_is_zero(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs=["u", "v"], outputs="u", history=1, **Exact)
    batch = data.batch([0, 30])
    wet = ds["wet"].values
    assert batch["mask"].dtype == torch.bool and batch["mask"].shape == (2, 1, 8, 9)
    assert (batch["mask"].numpy() == wet).all() and data.mask_names == ("wet",)
    assert bool((batch["x"].numpy()[..., ~wet] == 0).all()) and bool((batch["y"].numpy()[..., ~wet] == 0).all())
    np.testing.assert_array_equal(batch["x"].numpy()[0, 0, wet], ds["u"].values[0, 0, wet])
    data.check_finite()
    ds["u"].values[3, 2, 0, 0] = np.inf
    with pytest.raises(DataError, match="'u' has 0 NaN and 1 infinite values, first in sample 3"):
        data.check_finite()
    with pytest.raises(DataError, match="NaN"):
        FunctionDataset(ds, inputs="u", outputs="u", mask=False).check_finite()


def test_masks_of_samples_and_of_some_axes_join(ds: xr.Dataset) -> None:
    both = ds.assign(a=ds["a"].assign_attrs(mask="ice"))
    data = FunctionDataset(both, inputs=["u", "a"], outputs="u", history=1)
    expected = ds["wet"].values & ds["ice"].values[:, None, :].astype(bool)
    assert (data.batch([0, 11, 22])["mask"][:, 0].numpy() == expected[:3]).all()
    named = FunctionDataset(ds, inputs="a", outputs="a", mask="ice")
    assert (named[2]["mask"][0].numpy() == np.broadcast_to(ds["ice"].values[2].astype(bool), (8, 9))).all()
    assert "mask" not in FunctionDataset(ds, inputs="a", outputs="a")[0]


def test_query_points_are_different_nodes_with_their_coordinates(ds: xr.Dataset) -> None:
    plain = FunctionDataset(ds, inputs="a", outputs=["a", "s"], **Exact)
    data = FunctionDataset(ds, inputs="a", outputs=["a", "s"], query_points=20, seed=3, **Exact)
    batch, whole = data.batch([4, 0]), plain.batch([4, 0])
    assert {name: tuple(value.shape) for name, value in batch.items()} == {
        "x": (2, 1, 8, 9), "y": (2, 5, 20), "index": (2,), "query": (2, 20, 2), "weights": (2, 20),
    }  # fmt: skip
    lines = plain.grid.coordinates().flatten(1).T
    for row in range(2):
        nodes = [int((lines - point).abs().sum(dim=1).argmin()) for point in batch["query"][row]]
        assert len(set(nodes)) == 20 and torch.equal(lines[nodes], batch["query"][row])
        assert torch.equal(batch["y"][row], whole["y"][row].flatten(1)[:, nodes])


def test_query_points_are_a_pure_function_of_seed_epoch_and_item(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs="a", outputs="a", query_points=20, seed=3)
    copy = pickle.loads(pickle.dumps(data))
    one = data.batch(Request([2, 4], epoch=5))
    assert same(copy.batch(Request([2, 4], epoch=5)), one)
    assert torch.equal(data.batch(Request([4, 0, 2], epoch=5))["query"][2], one["query"][0])
    others = [data.batch(Request([2], epoch=6)), data.batch([2]), data.batch(Request([4], epoch=5))]
    others.append(FunctionDataset(ds, inputs="a", outputs="a", query_points=20, seed=4).batch(Request([2], epoch=5)))
    assert all(not torch.equal(other["query"][0], one["query"][0]) for other in others)


def test_query_weights_are_an_unbiased_quadrature(ds: xr.Dataset) -> None:
    u = ds["a"].values[1]
    wet = ds["wet"].values
    for options, inside in (({}, np.ones_like(wet)), ({"mask": "wet"}, wet)):
        data = FunctionDataset(ds, inputs="a", outputs="a", query_points=15, **options, **Exact)
        estimates = []
        for epoch in range(1500):
            item = data.batch(Request([1], epoch=epoch))
            estimates.append(float((item["weights"] * item["y"][0, 0] ** 2).sum()))
        exact = float((data.grid.weights().numpy() * u**2)[inside].sum())
        error = np.std(estimates) / np.sqrt(len(estimates))
        assert abs(np.mean(estimates) - exact) < 4.5 * error and error < 0.1 * exact
        every = FunctionDataset(ds, inputs="a", outputs="a", query_points=int(inside.sum()), **options, **Exact)[1]
        assert float((every["weights"] * every["y"][0] ** 2).sum()) == pytest.approx(exact, rel=1e-12)


def test_more_query_points_than_nodes_in_a_mask_are_refused(ds: xr.Dataset) -> None:
    with pytest.raises(DataError, match="item 2 has 66 nodes in its mask, and query_points is 67"):
        _ = FunctionDataset(ds, inputs="a", outputs="a", mask="wet", query_points=67)[2]


def test_inputs_of_query_points_may_stand_on_a_domain_of_their_own(ds: xr.Dataset) -> None:
    line = ds.assign(f=(("sample", "knot"), np.arange(20.0).reshape(5, 4)))
    data = FunctionDataset(line, inputs="f", outputs="a", query_points=7, mask="wet", **Exact)
    item = data[2]
    assert item["x"].tolist() == [[8.0, 9.0, 10.0, 11.0]] and item["y"].shape == (1, 7)
    assert data.input_domain.shape == (4,) and data.grid.shape == (8, 9) and "mask" not in item
    with pytest.raises(DomainError, match="different grids"):
        FunctionDataset(line, inputs="f", outputs="a")


@pytest.mark.parametrize("kind", ["periodic", "closed", "cell", "left"])
@pytest.mark.parametrize(("size", "coarse"), [(12, 4), (13, 4), (13, 5), (12, 5)])
def test_resolution_takes_nodes_or_resamples(kind: str, size: int, coarse: int) -> None:
    axis = Axis("x", size, 0.0, 2.0, kind)  # type: ignore[arg-type]
    x = axis.coordinates().numpy()
    values = np.stack([np.cos(np.pi * x), np.sin(np.pi * x)])  # one wave: every grid here carries it
    ds = xr.Dataset({"u": (("sample", "x"), values)}, coords={"x": coordinate(axis)})
    data = FunctionDataset(ds, inputs="u", outputs="u", resolution=coarse, **Exact)
    assert data.grid == Grid((axis,)).resized(coarse)
    expected = np.cos(np.pi * data.grid.axes[0].coordinates().numpy())
    nested = np.isin(np.round(data.grid.axes[0].coordinates().numpy(), 9), np.round(x, 9)).all()
    tolerance = 1e-14 if nested else 1e-12 if kind == "periodic" else 2e-2
    np.testing.assert_allclose(data[0]["x"][0], expected, rtol=0, atol=tolerance)
    assert torch.equal(data.batch([0])["y"], data.batch([0])["x"])


def test_a_request_reduces_one_batch(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs=["u", "v"], outputs="u", history=1, **Exact)
    whole, some = data.batch([3, 1]), data.batch(Request([3, 1], resolution=(4, 5)))
    for name in ("x", "y", "mask"):
        assert torch.equal(some[name], whole[name][..., ::2, ::2])
    drawn = FunctionDataset(ds, inputs="a", outputs="a", query_points=6, **Exact).batch(Request([0], resolution=(4, 5)))
    assert drawn["x"].shape == (1, 1, 4, 5) and bool(torch.isin(drawn["query"][..., 0] * 4, torch.arange(4.0)).all())
    assert float(drawn["weights"].sum()) == pytest.approx(1, rel=0.5)


def test_points_and_meshes_have_items_with_weights_and_coordinates(generator: torch.Generator) -> None:
    cloud = PointCloud(torch.rand(30, 2, generator=generator).double(), torch.rand(30, generator=generator).double())
    square = Mesh([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], {"triangle": [[0, 1, 2], [1, 3, 2]]})
    for domain in (cloud, square):
        coords, attrs = coordinates_of(domain)
        values = _values(generator, 3, domain.shape[0])
        ds = xr.Dataset({"u": (("sample", "point"), values)}, coords, attrs)
        data = FunctionDataset(ds, inputs="u", outputs="u", **Exact)
        assert data[1]["x"].shape == (1, domain.shape[0])
        assert torch.equal(data.domain.coordinates(), domain.coordinates())
        assert torch.equal(data.domain.weights(), domain.weights())
        item = FunctionDataset(ds, inputs="u", outputs="u", query_points=3, **Exact)[0]
        assert item["query"].shape == (3, 2) and item["weights"].shape == (3,)
        with pytest.raises(DomainError, match="a grid is needed here; resample"):
            _ = data.grid
        with pytest.raises(DomainError, match="needs a grid"):
            FunctionDataset(ds, inputs="u", outputs="u", resolution=2)


def test_points_that_move_are_refused_in_one_line() -> None:
    ds = xr.Dataset(
        {"u": (("sample", "p"), np.zeros((2, 3)))},
        {"x": (("sample", "p"), np.zeros((2, 3)))},
        {"point_dims": ["p"], "point_coords": ["x"]},
    )
    with pytest.raises(DomainError, match=r"the points of 'u' move.*choose one by ds\.isel") as caught:
        FunctionDataset(ds, inputs="u", outputs="u")
    assert "\n" not in str(caught.value)


def test_query_points_of_samples_with_points_of_their_own(generator: torch.Generator) -> None:
    x, u = _values(generator, 4, 9), _values(generator, 4, 9)
    ds = xr.Dataset(
        {"f": (("sample", "sensor"), _values(generator, 4, 5)), "u": (("sample", "p"), u)},
        {"x": (("sample", "p"), x), "t": (("sample", "p"), 2 * x)},
        {"point_dims": ["p"], "point_coords": ["x", "t"]},
    )
    data = FunctionDataset(ds, inputs="f", outputs="u", query_points=4, seed=1, **Exact)
    batch = data.batch([3, 1])
    assert set(batch) == {"x", "y", "index", "query", "weights"} and batch["query"].shape == (2, 4, 2)
    for row, sample in enumerate((3, 1)):
        nodes = [int(np.abs(x[sample] - value).argmin()) for value in batch["query"][row, :, 0].tolist()]
        assert len(set(nodes)) == 4
        np.testing.assert_array_equal(batch["y"][row, 0], u[sample, nodes])
        np.testing.assert_array_equal(batch["query"][row], np.stack([x[sample, nodes], 2 * x[sample, nodes]], axis=1))
    assert torch.allclose(batch["weights"], torch.full((2, 4), 0.25).double())
    with pytest.raises(DomainError, match="move"):
        FunctionDataset(ds, inputs="u", outputs="u")


def test_workers_give_the_same_batches_of_mixed_resolution_and_query_points(ds: xr.Dataset, tmp_path: Any) -> None:
    path = tmp_path / "flow.nc"
    ds.drop_vars(["wet", "ice"]).to_netcdf(path, engine="h5netcdf")
    stored = xr.open_dataset(path, engine="h5netcdf")
    options: dict[str, Any] = {"inputs": "a", "outputs": "a", "cache_bytes": 0}
    sampler = DistributedEpochSampler(5, 2, seed=1, resolutions=[[8, 9], [4, 5], [2, 3]])
    sampler.set_epoch(2)
    data = FunctionDataset(stored, **options, query_points=4)
    alone = list(DataLoader(data, sampler=sampler, batch_size=None))
    together = list(
        DataLoader(data, sampler=sampler, batch_size=None, num_workers=2, multiprocessing_context="forkserver")
    )
    assert len(alone) == 3 and all(same(a, b) for a, b in zip(alone, together, strict=True))
    listed = list(DataLoader(data, batch_sampler=sampler))  # a loader that collates
    assert all(same(a, b) for a, b in zip(alone, listed, strict=True))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rollout": 3, "horizon": 2, "history": 1}, InputError, "horizon=2 and rollout=3 both say"),
        ({"rollout": -1}, InputError, "rollout is -1; expected at least 1"),
        ({"rollout": 2.9}, InputError, "rollout is 2.9; expected a whole number"),
        ({"history": 2.5}, InputError, "history is 2.5; expected a whole number"),
        ({"history": True}, InputError, "history is True; expected a whole number"),
        ({"history": 1, "horizon": "2"}, InputError, "horizon is '2'; expected a whole number"),
        ({"history": 1, "stride": True}, InputError, "stride is True; expected a whole number"),
        ({"history": 1, "stride": None}, InputError, "stride is None; expected a whole number"),
        ({"history": 1, "start": None}, InputError, "start is None; expected a whole number"),
        ({"history": 1, "every": 1.0}, InputError, r"every is 1\.0; expected a whole number"),
        ({"query_points": 2.5}, InputError, "query_points is 2.5; expected a whole number"),
        ({"mask": None}, InputError, "mask is None; expected True, False, or names of variables"),
        ({"mask": [True]}, InputError, r"mask is \[True\]; expected"),
        ({"mask": np.ones((8, 9), bool)}, InputError, "mask is a ndarray; expected"),
        ({"start": 3}, InputError, "give history as well"),
        ({"history": 1, "start": -1}, InputError, "start is -1; expected at least 0"),
        ({"history": 1, "every": 0}, InputError, "every is 0"),
        ({"history": 1, "start": 11}, DataError, "spans 2 frames from frame 11, and 'v' has 12"),
        ({"rollout": True, "start": 12}, DataError, "from frame 12, and 'v' has 12"),
        ({"query_points": 73}, InputError, "query_points is 73; the outputs stand on 72 nodes"),
        ({"outputs": (), "query_points": 3}, InputError, "name outputs"),
        ({"resolution": 10}, InputError, "resolution 10 of axis 'x': it has 8 nodes; ask for 2 to 8"),
        ({"resolution": [4]}, InputError, r"one for each of the axes x, y"),
        ({"resolution": [4, 2.5]}, InputError, "expected a whole number"),
        ({"mask": "wet", "resolution": [3, 9]}, InputError, "not interpolated; choose of 2, 4, 8 for x and 2, 3, 5, 9"),
        ({"boundary": "heat", "resolution": [3, 9]}, InputError, "boundary data are not interpolated"),
        ({"mask": "we"}, DataError, "no variable 'we'; did you mean 'wet'"),
        ({"mask": "force"}, DataError, r"mask 'force' has the dimensions .*'time'"),
        ({"boundary": "a"}, DataError, "those of the whole domain; name it in inputs="),
        ({"boundary": "nowhere"}, InputError, r"'nowhere' has the attribute face=None; say on which face"),
        ({"boundary": "askew"}, InputError, r"on the face of 'x' has the dimensions"),
        ({"boundary": "drift"}, DataError, "on points has a time dimension"),
    ],
)
def test_refuses(ds: xr.Dataset, options: dict[str, Any], error: type[Exception], message: str) -> None:
    more = ds.assign(
        nowhere=(("sample", "x"), np.zeros((5, 8))),
        askew=(("sample", "x"), np.zeros((5, 8)), {"face": ["x", "lower"]}),
        drift=(("sample", "time", "gauge"), np.zeros((5, 12, 3))),
    )
    with pytest.raises(error, match=message) as caught:
        FunctionDataset(more, **{"inputs": "v", "outputs": "v", **options})
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_whole_numbers(ds: xr.Dataset) -> None:
    three, yes = np.int64(3), np.True_
    mine = FunctionDataset(ds, inputs="u", outputs="u", history=three, rollout=three, stride=np.int32(2), mask=yes)
    ours = FunctionDataset(ds, inputs="u", outputs="u", history=3, rollout=3, stride=2, mask=True)
    assert (mine.horizon, len(mine), mine.mask_names) == (ours.horizon, len(ours), ("wet",))
    assert FunctionDataset(ds, inputs="v", outputs="v", rollout=yes).horizon == 11
    assert FunctionDataset(ds, inputs="v", outputs="v", rollout=np.False_).history is None
