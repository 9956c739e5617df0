from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import xarray as xr

from sciops.data import Axis, Field, Grid
from sciops.data.conventions import coordinate
from sciops.data.domains.axis import KINDS
from sciops.errors import DataError, DomainError, InputError


def random_field(generator: torch.Generator, *batch: int, dtype: torch.dtype = torch.float64) -> Field:
    grid = Grid((Axis("x", 6, -0.1, 0.7, "periodic", "m"), Axis("y", 5, 0.3, 1.1, "cell", "km")))
    values = torch.randn(*batch, 2, *grid.shape, generator=generator, dtype=dtype)
    return Field(values, grid, names=("p", "q"), units=("Pa", ""))


@pytest.mark.parametrize("kind", KINDS)
def test_norms_are_those_of_the_function(kind: str) -> None:
    def norms(size: int) -> list[float]:
        grid = Grid((Axis("x", size, 0.0, 2.0, kind), Axis("y", size, 0.0, 3.0, kind)))
        x, y = grid.coordinates()
        field = Field((torch.sin(math.pi * x) * (2 + torch.cos(2 * math.pi * y / 3)))[None], grid)
        return [float(field.norm(p)) for p in (1, 2, math.inf)]

    exact = [4 / math.pi * 6, math.sqrt(1 * (4 + 0.5) * 3), 3.0]
    assert norms(400) == pytest.approx(exact, rel=1e-3)
    assert norms(100) == pytest.approx(exact, rel=1e-2)


def test_the_norm_converges_at_second_order_on_a_left_axis() -> None:
    errors = []
    for size in (32, 64, 128):
        grid = Grid.unit(size, kind="left")
        errors.append(abs(float(Field(torch.exp(grid.coordinates()), grid).norm()) - math.sqrt((math.e**2 - 1) / 2)))
    assert 1.9 < math.log2(errors[1] / errors[2]) < 2.1


def test_the_norm_is_per_sample_and_channel_and_homogeneous(generator) -> None:
    field = random_field(generator, 3, 4)
    assert field.norm().shape == (3, 4, 2)
    for p in (1, 1.5, 2, math.inf):
        twice = Field(-2 * field.values, field.grid).norm(p)
        assert torch.allclose(twice, 2 * field.norm(p), rtol=1e-12)
    single = Field(field.values[1, 2], field.grid).norm()
    assert torch.allclose(single, field.norm()[1, 2], rtol=1e-14)


def test_the_norm_is_differentiable_also_where_it_vanishes(generator) -> None:
    grid = Grid.unit(4, 3, kind=("left", "closed"))
    values = torch.randn(1, 4, 3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: Field(v, grid).norm(), (values,))
    assert torch.autograd.gradcheck(lambda v: Field(v, grid).norm(3), (values,))
    zero = torch.zeros(1, 4, 3, dtype=torch.float64, requires_grad=True)
    Field(zero, grid).norm().sum().backward()
    assert bool(zero.grad.isfinite().all())


def test_at_and_resample_keep_batch_channels_names_and_units(generator) -> None:
    field = random_field(generator, 3)
    points = torch.tensor([[0.2, 0.5], [5.0, 1.1], [-0.1, 0.3]], dtype=torch.float64)
    assert field.at(points).shape == (3, 2, 3)
    finer = field.resample(field.grid.resized(12, 9))
    assert (finer.names, finer.units, finer.values.shape) == (("p", "q"), ("Pa", ""), (3, 2, 12, 9))
    assert torch.allclose(
        finer.values[..., ::2, :], field.resample(field.grid.resized(6, 9)).values, rtol=0, atol=1e-12
    )


def test_bool_values_have_norms() -> None:
    grid = Grid.unit(4, kind="cell")
    field = Field(torch.tensor([[True, False, True, True]]), grid)
    assert float(field.norm(1)) == pytest.approx(0.75)
    assert float(field.norm(math.inf)) == 1.0


def test_default_names() -> None:
    grid = Grid.unit(3)
    assert Field(torch.zeros(1, 3), grid).names == ("u",)
    field = Field(torch.zeros(5, 2, 3), grid)
    assert (field.names, field.units, field.batch_shape) == (("u0", "u1"), ("", ""), (5,))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"values": torch.zeros(1, 3, 5)}, DomainError, r"shape \(1, 3, 5\).*expected \(\*batch, channel, x=3, y=4\)"),
        ({"values": torch.zeros(3, 4)}, DomainError, r"shape \(3, 4\)"),
        ({"values": np.zeros((1, 3, 4))}, InputError, "torch.Tensor, got float64"),
        ({"values": torch.zeros(1, 3, 4) * 1j}, InputError, "real torch.Tensor, got torch.complex64"),
        ({"names": ("a", "b")}, InputError, r"names has 2 entries \(a, b\) for 1 channel"),
        ({"units": ()}, InputError, r"units has 0 entries"),
        ({"values": torch.zeros(2, 3, 4), "names": ("a", "a")}, InputError, "its own name, got a, a"),
    ],
)
def test_a_bad_field_is_refused(arguments, error, message: str) -> None:
    with pytest.raises(error, match=message):
        Field(**{"values": torch.zeros(1, 3, 4), "grid": Grid.unit(3, 4), **arguments})


@pytest.mark.parametrize("p", [0, 0.5, -1, math.nan])
def test_a_norm_needs_p_of_at_least_one(p: float) -> None:
    with pytest.raises(InputError, match="p >= 1"):
        Field(torch.ones(1, 4), Grid.unit(4)).norm(p)


def test_values_that_are_not_finite_are_found(generator) -> None:
    field = random_field(generator, 3)
    assert field.require_finite() is field
    field.values[1, 1, 2, 3] = math.nan
    field.values[2, 1, 0, 0] = math.inf
    with pytest.raises(DataError, match=r"channel 'q' holds 2 value\(s\).*sample \(1,\), node \(2, 3\)"):
        field.require_finite()


@pytest.mark.parametrize("batch", [(), (3,), (3, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_field_goes_through_xarray_unchanged(batch, dtype, generator) -> None:
    field = random_field(generator, *batch, dtype=dtype)
    ds = field.to_xarray()
    back = Field.from_xarray(ds, ["p", "q"])
    assert torch.equal(back.values, field.values)
    assert back.values.dtype == dtype
    assert (back.grid, back.names, back.units) == (field.grid, field.names, field.units)
    assert ds["p"].dims == (*("sample", "time")[: len(batch)], "x", "y")
    assert ds["x"].attrs == {"kind": "periodic", "lower": -0.1, "upper": 0.7, "units": "m"}


def test_the_trip_through_a_file_is_exact_too(tmp_path, generator) -> None:
    field = random_field(generator, 3)
    field.to_xarray().to_netcdf(tmp_path / "field.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "field.nc", engine="h5netcdf") as ds:
        back = Field.from_xarray(ds, ("p", "q"))
    assert torch.equal(back.values, field.values)
    assert (back.grid, back.names, back.units) == (field.grid, field.names, field.units)


def test_a_bool_field_stays_one() -> None:
    field = Field(torch.tensor([[[True, False, True]]]), Grid.unit(3), names=("a",))
    assert Field.from_xarray(field.to_xarray(), "a").values.dtype == torch.bool


def test_a_field_that_needs_gradients_can_be_written() -> None:
    values = torch.ones(1, 4, requires_grad=True)
    assert Field(values, Grid.unit(4)).to_xarray()["u"].values.tolist() == [1.0] * 4
    assert Field(values.bfloat16(), Grid.unit(4)).to_xarray()["u"].dtype == np.float32


def test_dimensions_are_put_in_order_and_channels_become_names() -> None:
    ds = xr.Dataset(
        {
            "velocity": (("x", "sample", "part"), np.arange(24.0).reshape(4, 3, 2), {"units": "m/s"}),
            "p": (("x", "sample"), np.arange(12.0).reshape(4, 3).astype(">f4")),
        },
        coords={"x": coordinate(Axis("x", 4, kind="cell"))},
        attrs={"channel_dims": ["part"]},
    )
    field = Field.from_xarray(ds, ["velocity", "p"])
    assert field.values.shape == (3, 3, 4)
    assert field.names == ("velocity0", "velocity1", "p")
    assert field.units == ("m/s", "m/s", "")
    assert torch.equal(field.values[1, 1], torch.tensor([3.0, 9.0, 15.0, 21.0], dtype=torch.float64))
    assert field.values[2, 2].tolist() == [2.0, 5.0, 8.0, 11.0]
    assert torch.equal(Field.from_xarray(ds, "p").values[:, 0].double(), field.values[:, 2])


def test_what_xarray_cannot_hold_is_refused(generator) -> None:
    with pytest.raises(InputError, match=r"batch dimensions sample and time, the field has \(2, 2, 2\)"):
        random_field(generator, 2, 2, 2).to_xarray()
    with pytest.raises(InputError, match="channel 'x' has the name of a dimension"):
        Field(torch.zeros(1, 4), Grid.unit(4), names=("x",)).to_xarray()


def test_variables_that_make_no_field_are_refused() -> None:
    ds = xr.Dataset(
        {
            "pressure": (("sample", "x"), np.zeros((2, 4))),
            "still": (("x",), np.zeros(4)),
            "other": (("sample", "z"), np.zeros((2, 4))),
            "title": (("x",), np.array(list("abcd"))),
        }
    )
    with pytest.raises(DataError, match="no variable 'presure'; did you mean 'pressure'"):
        Field.from_xarray(ds, "presure")
    with pytest.raises(DataError, match="variable 'title' is not numeric"):
        Field.from_xarray(ds, "title")
    with pytest.raises(DomainError, match="'pressure' and 'still' do not share"):
        Field.from_xarray(ds, ["pressure", "still"])
    with pytest.raises(DomainError, match="'pressure' and 'other' do not share"):
        Field.from_xarray(ds, ["pressure", "other"])
    with pytest.raises(InputError, match="at least one variable"):
        Field.from_xarray(ds, [])


def test_a_masked_norm_counts_the_part_and_ignores_what_is_outside(generator: torch.Generator) -> None:
    grid = Grid.unit(12, 9, kind="cell")
    inside = grid.coordinates()[0] < 0.5
    values = torch.where(inside, torch.rand(2, 3, 12, 9, generator=generator, dtype=torch.float64), math.nan)
    field = Field(values, grid)
    for p in (1, 2, math.inf):
        clean = Field(torch.where(inside, values, 0.0), grid).norm(p)
        assert torch.allclose(field.norm(p, mask=inside), clean)
        assert torch.allclose(field.norm(p, mask=inside.expand(2, 1, 12, 9)), clean)
    assert bool(field.norm().isnan().all())
    for shape in ((9, 12), (3, 1, 12, 9), (9,)):
        with pytest.raises(InputError, match="the mask has shape"):
            field.norm(mask=torch.ones(shape, dtype=torch.bool))
