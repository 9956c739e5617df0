"""Kinds of normalisation, numbers per node, statistics under masks: against numpy, and back in physical units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr

from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.normalisation import Normalisers, kinds_of, normalisers_of
from sciops.data.functions.normaliser import Normaliser
from sciops.data.functions.statistics import Statistics, statistics_of
from sciops.errors import DataError, DomainError, InputError


def _values(generator: torch.Generator, *shape: int) -> np.ndarray:
    return torch.randn(*shape, dtype=torch.float64, generator=generator).numpy()


@pytest.fixture
def ds(generator: torch.Generator) -> xr.Dataset:
    """Twelve samples: a positive over decades, u of two components under a mask with NaN behind it, v in time."""
    wet = np.ones((6, 5), dtype=bool)
    wet[1:3, 2] = False
    u = 3 + 2 * _values(generator, 12, 2, 6, 5)
    u[:, :, ~wet] = np.nan
    return xr.Dataset(
        {
            "a": (("sample", "x", "y"), np.exp(_values(generator, 12, 6, 5))),
            "u": (("sample", "c", "x", "y"), u, {"mask": "wet"}),
            "v": (("sample", "time", "x", "y"), _values(generator, 12, 4, 6, 5) + np.arange(4)[:, None, None]),
            "wet": (("x", "y"), wet, {"role": "mask"}),
            "own": (("sample", "x", "y"), _values(generator, 12, 6, 5) > -1, {"role": "mask"}),
            "nu": ("sample", np.exp(_values(generator, 12))),
        },
        attrs={"channel_dims": ["c"]},
    )


def _both_ways(normaliser: Normaliser | None, values: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    assert normaliser is not None
    x = normaliser(values)
    back = normaliser.inverse(x)
    torch.testing.assert_close(back, values, rtol=1e-11, atol=1e-11)
    return x if mask is None else x.movedim(1, 0)[:, mask[:, 0]]


def test_kinds_by_variable_against_numpy(ds: xr.Dataset) -> None:
    whole = ds.assign(u=ds["u"].fillna(0.0).drop_attrs())
    data = FunctionDataset(whole, inputs=["a", "v"], outputs="u", parameters="nu", dtype=torch.float64)
    found = normalisers_of(data, {"a": "log", "v": "range", "u": "none", "nu": "log"})
    batch = data.batch(range(12))
    x = _both_ways(found.x, batch["x"])
    logs = np.log(ds["a"].values)
    np.testing.assert_allclose(x[:, 0], (logs - logs.mean()) / logs.std(), rtol=1e-12, atol=1e-12)
    flat = x[:, 1:].movedim(1, 0).flatten(1)
    torch.testing.assert_close(flat.amin(dim=1), -torch.ones(4).double())
    torch.testing.assert_close(flat.amax(dim=1), torch.ones(4).double())
    assert found.y is not None and torch.equal(found.y(batch["y"]), batch["y"])
    numbers = _both_ways(found.parameters, batch["parameters"])
    assert float(numbers.mean()) == pytest.approx(0, abs=1e-12)
    assert float(numbers.std(correction=0)) == pytest.approx(1)
    again = normalisers_of(data, "standard")
    assert again.x is not None and not any(again.x.logarithm)


def test_frames_share_their_numbers_when_pooled(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs="v", outputs="v", history=2, horizon=2, dtype=torch.float64)
    found = normalisers_of(data, pooled=True)
    assert found.x is not None and found.y is not None
    assert found.x.mean[0] == found.x.mean[1] and found.y.std[0] == found.y.std[1]
    apart = normalisers_of(data).x
    assert apart is not None and apart.mean[0] != apart.mean[1]


def test_numbers_of_each_node(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs="a", outputs="v", dtype=torch.float64)
    for kind in ("standard", "log"):
        found = normalisers_of(data, {"a": kind}, per_point=True)
        assert found.x is not None and found.x.mean.shape == (1, 6, 5)
        x = _both_ways(found.x, data.batch(range(12))["x"])
        assert float(x.mean(dim=0).abs().max()) < 1e-12
        assert float((x.std(dim=0, correction=0) - 1).abs().max()) < 1e-12
    with pytest.raises(DomainError, match=r"each node of \(6, 5\), and the values stand on \(3, 5\)"):
        found.x(torch.ones(1, 1, 3, 5))
    pooled = normalisers_of(
        FunctionDataset(ds, inputs="v", outputs="v", history=2, dtype=torch.float64), per_point=True, pooled=True
    )
    assert pooled.x is not None and torch.equal(pooled.x.mean[0], pooled.x.mean[1])
    frames = ds["v"].values[:, [0, 1, 2, 1, 2, 3]][:, [0, 1, 2, 3, 4, 5]]  # x of the windows 0-1, 1-2
    expected = np.concatenate([frames[:, [0, 1]], frames[:, [1, 2]]], axis=1).mean(axis=(0, 1))
    windows = FunctionDataset(ds, inputs="v", outputs="v", history=2).windows
    assert windows == 2
    np.testing.assert_allclose(pooled.x.mean[0], expected, rtol=0, atol=1e-12)


def test_masked_nodes_do_not_count(ds: xr.Dataset) -> None:
    data = FunctionDataset(ds, inputs=["u", "a"], outputs="u", dtype=torch.float64)
    inside = ds["wet"].values
    for max_bytes in (1, 1 << 30):
        found = statistics_of(data, max_bytes=max_bytes)
        u = ds["u"].values[..., inside]
        assert found.y.count == 12 * inside.sum()
        np.testing.assert_allclose(found.y.mean, u.mean(axis=(0, 2)), rtol=1e-12)
        np.testing.assert_allclose(found.y.std, u.std(axis=(0, 2)), rtol=1e-12)
        np.testing.assert_array_equal(found.y.minimum, u.min(axis=(0, 2)))
        np.testing.assert_allclose(found.x.mean[2], ds["a"].values[:, inside].mean(), rtol=1e-12)


def test_masks_of_each_sample_weigh_the_blocks(ds: xr.Dataset) -> None:
    ds["own"].values[:5] = False  # whole blocks without a node
    data = FunctionDataset(ds, inputs="a", outputs="a", mask="own", dtype=torch.float64)
    own, a = ds["own"].values.astype(bool), ds["a"].values
    for max_bytes in (1, 3000, 1 << 30):
        found = statistics_of(data, max_bytes=max_bytes, logarithm=["a"])
        np.testing.assert_allclose(found.x.mean, np.log(a[own]).mean(), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found.x.std, np.log(a[own]).std(), rtol=1e-10)
        assert found.x.count == own.sum()
    with pytest.raises(InputError, match="every sample has a mask of its own"):
        statistics_of(data, per_point=True)
    static = FunctionDataset(ds, inputs="u", outputs="u", dtype=torch.float64)
    each = statistics_of(static, per_point=True)
    assert bool((each.y.std[:, ~torch.from_numpy(ds["wet"].values)] == 0).all())


def test_a_mask_or_face_among_the_inputs_stays_as_it_is(ds: xr.Dataset) -> None:
    more = ds.assign(wall=(("sample", "y"), np.ones((12, 5)), {"face": ["x", "lower"]}))
    data = FunctionDataset(more, inputs=["u", "wet"], outputs="u", boundary="wall", dtype=torch.float64)
    assert kinds_of(data, "log")[0] == ["log", "log", "none", "log", "none"]
    found = normalisers_of(data)
    assert found.x is not None
    batch = data.batch([0])
    assert torch.equal(found.x(batch["x"])[0, 2], torch.from_numpy(ds["wet"].values).double())


@pytest.mark.parametrize("bad", [0.0, -2.5])
def test_the_logarithm_needs_positive_values(ds: xr.Dataset, bad: float) -> None:
    ds["a"].values[7, 2, 3] = bad
    data = FunctionDataset(ds, inputs="a", outputs="v")
    with pytest.raises(DataError, match=rf"a is {bad:.4g} in sample 7, and its logarithm needs positive values"):
        normalisers_of(data, {"a": "log"})
    ds["nu"].values[9] = bad
    with pytest.raises(DataError, match=rf"nu is {bad:.4g} in sample 9"):
        normalisers_of(FunctionDataset(ds, inputs="v", outputs="v", parameters="nu"), {"nu": "log"})
    masked = ds["own"].copy()
    masked.values[:] = True
    masked.values[7, 2, 3] = False
    outside = FunctionDataset(ds.assign(own=masked), inputs="a", outputs="a", mask="own")
    assert isinstance(normalisers_of(outside, "log"), Normalisers)


def test_a_channel_by_its_logarithm_is_differentiable_beside_others(generator: torch.Generator) -> None:
    normaliser = Normaliser(
        torch.tensor([0.3, -1.0]).double(), torch.tensor([2.0, 0.5]).double(), ["a", "b"], logarithm=[True, False]
    )
    x = torch.rand(2, 2, 3, dtype=torch.float64, generator=generator) + 0.5
    x[:, 1] -= 1.0  # negative and zero values of the other channel must leave no NaN in the gradient
    x[0, 1, 0] = 0.0
    x.requires_grad_()
    assert torch.autograd.gradcheck(normaliser, x) and torch.autograd.gradcheck(normaliser.inverse, x)


def test_descriptions_give_the_normaliser_back(generator: torch.Generator) -> None:
    values = torch.rand(5, 2, 4, dtype=torch.float64, generator=generator) + 1
    plain = Normaliser.from_statistics(Statistics.of(values, ["a", "b"]))
    assert plain.description() == ["a", "b"]
    marked = Normaliser.from_statistics(Statistics.of(values.log(), ["a", "b"], per_point=True), kind=["log", "log"])
    for normaliser in (plain, marked):
        again = Normaliser.blank(normaliser.description(), normaliser.mean)
        again.load_state_dict(normaliser.state_dict())
        assert torch.equal(again(values), normaliser(values)) and again.names == normaliser.names


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ("logg", "unknown normalisation 'logg'; did you mean 'log'"),
        ({"a": "ranges"}, "unknown normalisation 'ranges'; did you mean 'range'"),
        ({"aa": "log"}, "normalisation of 'aa'; did you mean 'a'"),
    ],
)
def test_refuses(ds: xr.Dataset, kinds: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        normalisers_of(FunctionDataset(ds, inputs="a", outputs="v"), kinds)
    statistics = Statistics.of(torch.ones(2, 2), ["a", "b"])
    with pytest.raises(InputError, match="3 kinds of normalisation for the channels a, b"):
        Normaliser.from_statistics(statistics, kind=["log"] * 3)
    with pytest.raises(InputError, match="need a node inside of the mask"):
        Statistics.of(torch.ones(2, 2, 3), ["a", "b"], mask=torch.zeros(2, 1, 3, dtype=torch.bool))
