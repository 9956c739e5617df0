import matplotlib
import numpy as np
import pytest
import xarray as xr

from sciops import plotting
from sciops.data.conventions import coordinate
from sciops.data.domains.axis import Axis
from sciops.errors import DataError, InputError


@pytest.fixture
def darcy():
    x = np.linspace(0, 1, 9)
    u = np.sin(np.pi * x)[:, None] * x * np.array([1.0, 3.0])[:, None, None]
    return xr.Dataset(
        {
            "a": (("sample", "x", "y"), 1 + u, {"units": "m2"}),
            "u": (("sample", "x", "y"), u, {"units": "Pa"}),
        },
        coords={name: coordinate(Axis(name, 9, units="m")) for name in ("x", "y")},
        attrs={"sample_dim": "sample"},
    )


@pytest.fixture
def burgers():
    x, t = np.arange(16) / 16, np.linspace(0, 1, 6)
    u = np.sin(2 * np.pi * (x - t[:, None])) * np.array([1.0, 2.0])[:, None, None]
    return xr.Dataset(
        {"u": (("sample", "time", "x"), u), "nu": (("sample",), [0.1, 0.2])},
        coords={"time": t, "x": coordinate(Axis("x", 16, kind="periodic"))},
        attrs={"sample_dim": "sample", "time_dim": "time"},
    )


def titles(figure):
    return [axes.get_title(loc) for axes in figure.axes for loc in ("left", "center") if axes.get_title(loc)]


def images(figure):
    return [image for axes in figure.axes if axes.get_title(loc="left") for image in axes.get_images()]


def test_field_panels_limits_and_labels(darcy, tmp_path):
    path = tmp_path / "u.png"
    prediction = darcy[["u"]] * 1.1
    figure = plotting.compare(darcy, prediction, variable="u", sample=1, path=path)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert titles(figure) == ["input a [m2]", "truth u [Pa]", "prediction", "error, relative L2 10 %"]
    _, truth, predicted, error = images(figure)
    assert truth.get_clim() == predicted.get_clim() == (0, pytest.approx(1.1 * float(darcy.u[1].max())))
    assert error.get_clim()[0] == -error.get_clim()[1] == pytest.approx(-0.1 * float(darcy.u[1].max()))
    assert figure.axes[0].get_xlabel() == "x [m]"
    # the first dimension runs across, the second upwards, pixels centred on the nodes
    np.testing.assert_allclose(truth.get_array(), darcy.u[1].T)
    assert truth.get_extent() == pytest.approx([-1 / 16, 17 / 16, -1 / 16, 17 / 16])


def test_trajectories_become_space_time_images_at_common_times(burgers):
    prediction = (burgers.isel(time=slice(2, None)) * 1.05).assign_attrs(burgers.attrs)
    figure = plotting.compare(burgers, prediction, variable="u", sample=1)
    assert titles(figure) == ["truth u", "prediction", "error, relative L2 5 %"]
    assert images(figure)[0].get_array().shape == (16, 4)


def test_lines_with_a_band(burgers):
    truth = burgers.isel(time=-1, drop=True)
    band = truth[["u"]].assign(u_lower=truth.u - 0.3, u_upper=truth.u + 0.3)
    figure = plotting.compare(truth, band, variable="u")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["band", "truth", "prediction"]
    assert len(figure.axes[0].collections) == 1
    assert not plotting.compare(truth, truth, variable="u").axes[0].collections


def test_small_errors_and_fields_without_error_have_readable_titles(darcy):
    assert "relative L2 1.0e-05" in titles(plotting.compare(darcy, darcy * (1 + 1e-5), variable="u"))[-1]
    assert "relative L2 0.0e+00" in titles(plotting.compare(darcy, darcy, variable="u"))[-1]


def test_demo_figure_stacks_rows(darcy, burgers, tmp_path):
    rows = [("Darcy", darcy, darcy * 1.01, "u"), ("Burgers", burgers, burgers * 1.02, "u")]
    figure = plotting.demo_figure(rows, sample=1, path=tmp_path / "demo.png")
    assert sum("relative L2" in title for title in titles(figure)) == 2
    assert "u, prediction dashed" in titles(figure)
    assert [path.name for path in tmp_path.iterdir()] == ["demo.png"]
    with pytest.raises(InputError, match="at least one row"):
        plotting.demo_figure([])


def test_info_plot_shows_every_field(darcy, burgers, tmp_path):
    assert titles(plotting.info_plot(darcy, path=tmp_path / "info")) == [
        "a [m2], sample 0", "a [m2], sample 1", "u [Pa], sample 0", "u [Pa], sample 1",
    ]  # fmt: skip
    assert (tmp_path / "info.png").is_file()
    assert len(titles(plotting.info_plot(burgers, samples=1))) == 1
    lines = burgers.isel(time=0, sample=0, drop=True)
    assert titles(plotting.info_plot(lines)) == ["u"]
    with pytest.raises(DataError, match="no field"):
        plotting.info_plot(burgers[["nu"]])


def test_fields_with_nan_or_constant_values_are_drawn(darcy, tmp_path):
    darcy["u"][0, 2, 2] = np.nan
    darcy["a"][:] = 2.0
    plotting.info_plot(darcy, path=tmp_path / "info.png")
    plotting.compare(darcy, darcy, variable="u", path=tmp_path / "u.png")


def masked_vectors():
    """Vectors v on an island's sea at two times, heights h of the same sea."""
    sea = np.ones((9, 9), dtype=bool)
    sea[3:5, 4:] = False
    field = np.where(sea, 1.0 + np.arange(9.0), np.nan)
    v = np.broadcast_to(field, (1, 2, 2, 9, 9)).copy()
    axes = {name: coordinate(Axis(name, 9, units="m")) for name in ("x", "y")}
    return xr.Dataset(
        {
            "sea": (("x", "y"), sea, {"role": "mask"}),
            "h": (("sample", "x", "y"), np.where(sea, field, 1e6)[None], {"mask": "sea"}),
            "v": (("sample", "time", "part", "x", "y"), v, {"mask": "sea", "units": "m/s"}),
        },
        {**axes, "time": [0.5, 1.0], "part": ["east", "north"]},
        {"channel_dims": ["part"]},
    )


def test_masked_fields_are_blank_and_do_not_count_in_the_error():
    truth = masked_vectors()
    sea = truth["sea"].values
    prediction = truth[["v", "sea"]] * 1.0
    prediction["v"] = truth["v"] * 1.1
    figure = plotting.compare(truth, prediction, variable="v")
    found = titles(figure)
    assert found == ["input h", "truth v [m/s]\npart east, time = 1", "prediction", "error, relative L2 10 %"]
    for panel in images(figure):
        assert (np.ma.getmaskarray(panel.get_array()) == ~sea.T).all()
    dirty = truth.assign(v=truth["v"].fillna(1e9).assign_attrs(mask="sea"))
    bare = dirty.assign(v=dirty["v"].drop_attrs())  # then the mask is that of the prediction
    prediction["v"].attrs["mask"] = "sea"
    for other in (dirty, bare):
        assert titles(plotting.compare(other, prediction, variable="v"))[-1] == "error, relative L2 10 %"
    assert all(panel.get_clim()[1] < 10 for panel in images(plotting.info_plot(dirty)))


def test_predictions_that_are_not_finite_are_not_hidden():
    truth = masked_vectors()
    wrong = truth["v"].copy()
    wrong[0, -1, 0, 0, 0] = np.nan
    assert "nan" in titles(plotting.compare(truth, truth.assign(v=wrong), variable="v"))[-1]


def test_three_dimensional_fields_show_the_middle_plane():
    values = np.arange(2 * 4 * 5 * 6.0).reshape(2, 4, 5, 6)
    ds = xr.Dataset({"u": (("sample", "x", "y", "z"), values)})
    figure = plotting.compare(ds, ds, variable="u", sample=1)
    np.testing.assert_array_equal(images(figure)[0].get_array(), values[1, :, :, 3].T)
    assert titles(figure)[0] == "truth u\nz 3"


def test_training_curve_from_a_mapping_and_a_file(tmp_path):
    columns = {"epoch": [0, 1, 2], "train_loss": [1.0, 0.5, 0.2], "lr": [1, 1, 1]}
    figure = plotting.training_curve(columns, path=tmp_path / "curve.png")
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["train loss"]
    table = tmp_path / "metrics.csv"
    table.write_text("epoch,train_loss,validation_l2\n0,1.0,\n1,0.5,0.7\n2,0.2,0.3\n")
    lines = plotting.training_curve(table).axes[0].get_lines()
    assert [list(line.get_ydata()) for line in lines] == [[1.0, 0.5, 0.2], [0.7, 0.3]]


def test_refusals_name_what_is_wrong(darcy, tmp_path):
    with pytest.raises(DataError, match="did you mean 'u'"):
        plotting.compare(darcy, darcy, variable="uu")
    with pytest.raises(InputError, match="sample=2: u has 2 samples"):
        plotting.compare(darcy, darcy, variable="u", sample=2)
    with pytest.raises(DataError, match="resample"):
        plotting.compare(darcy, darcy.isel(x=slice(4)), variable="u")
    with pytest.raises(DataError, match=r"missing\.csv"):
        plotting.training_curve(tmp_path / "missing.csv")
    with pytest.raises(DataError, match="no loss"):
        plotting.training_curve({"epoch": [1]})
    with pytest.raises(DataError, match="cannot be written"):
        plotting.info_plot(darcy, path=tmp_path / "nowhere" / "info.png")


def test_drawing_leaves_the_style_of_others_alone(darcy):

    before = dict(matplotlib.rcParams)
    plotting.info_plot(darcy)
    assert dict(matplotlib.rcParams) == before
