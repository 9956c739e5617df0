"""Streamed statistics against numpy in two passes, and the normaliser."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.normalisation import normalisers_of
from sciops.data.functions.normaliser import Normaliser
from sciops.data.functions.statistics import Statistics, statistics_of
from sciops.errors import DataError, InputError


def _dataset(generator: torch.Generator, scale: float = 1.0, offset: float = 0.0) -> xr.Dataset:
    values = torch.randn(23, 7, 2, 11, dtype=torch.float64, generator=generator).numpy() * scale + offset
    coefficient = torch.rand(23, 11, dtype=torch.float64, generator=generator).numpy()
    nu = torch.rand(23, dtype=torch.float64, generator=generator).numpy()
    return xr.Dataset(
        {"u": (("sample", "time", "c", "x"), values), "a": (("sample", "x"), coefficient), "nu": ("sample", nu)},
        attrs={"channel_dims": ["c"]},
    )


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1.0, 1e8), (1e-6, 1.0), (1e6, -3.0)])
def test_equals_numpy_in_two_passes_also_with_a_huge_mean(
    generator: torch.Generator, scale: float, offset: float
) -> None:
    ds = _dataset(generator, scale, offset)
    data = FunctionDataset(ds, inputs="u", outputs="u", samples=[1, 4, 20])
    found = statistics_of(data, max_bytes=1)
    values = ds["u"].values[[1, 4, 20]].reshape(3, 14, 11)
    # Two passes in extended precision: numpy's own float64 mean of 1e8 + noise is only good to 1e-8.
    exact = values.astype(np.longdouble)
    std = exact.std(axis=(0, 2)).astype(float)
    np.testing.assert_allclose(found.y.std.numpy(), std, rtol=1e-12)
    np.testing.assert_allclose(
        found.y.mean.numpy(), exact.mean(axis=(0, 2)).astype(float), rtol=4e-16, atol=1e-14 * scale
    )
    np.testing.assert_array_equal(found.y.minimum.numpy(), values.min(axis=(0, 2)))
    np.testing.assert_array_equal(found.y.maximum.numpy(), values.max(axis=(0, 2)))
    assert found.x.count == found.y.count == 33


def test_does_not_depend_on_the_block_size(generator: torch.Generator) -> None:
    data = FunctionDataset(
        _dataset(generator, offset=1e8), inputs=["u", "a"], outputs="u", parameters="nu", history=2, horizon=1
    )
    one = statistics_of(data, max_bytes=1 << 30)
    assert one.parameters is not None
    assert one.x.names == data.input_names
    for max_bytes in (1, 5000, 40_000):
        other = statistics_of(data, max_bytes=max_bytes)
        for a, b in ((one.x, other.x), (one.y, other.y), (one.parameters, other.parameters)):
            assert b is not None and a.count == b.count
            torch.testing.assert_close(b.std, a.std, rtol=1e-12, atol=0)
            torch.testing.assert_close(b.mean, a.mean, rtol=1e-12, atol=0)
            torch.testing.assert_close(b.centre, a.centre, rtol=0, atol=1e-13)
            assert torch.equal(a.minimum, b.minimum) and torch.equal(a.maximum, b.maximum)


def test_reads_blocks_not_the_file(generator: torch.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    data = FunctionDataset(_dataset(generator), inputs="u", outputs="u", cache_bytes=0)
    largest = 0
    whole = FunctionDataset.read

    def counted(self: FunctionDataset, indices: list[int]) -> dict[str, torch.Tensor]:
        nonlocal largest
        out = whole(self, indices)
        largest = max(largest, sum(8 * value.numel() for value in out.values()))
        return out

    monkeypatch.setattr(FunctionDataset, "read", counted)
    statistics_of(data, max_bytes=10_000)
    assert 1000 < largest <= 10_000 < 23 * 2 * 14 * 11 * 8


def test_windows_weigh_each_item_once(generator: torch.Generator) -> None:
    ds = _dataset(generator)
    data = FunctionDataset(ds, inputs="u", outputs="u", history=1, horizon=2, stride=2)
    found = statistics_of(data)
    u = ds["u"].values
    np.testing.assert_allclose(found.x.mean.numpy(), u[:, :3].mean(axis=(0, 1, 3)), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(found.y.std.numpy()[2:], u[:, 4:7].std(axis=(0, 1, 3)), rtol=1e-12)


def test_pooled_channels_share_the_statistics_of_their_union(generator: torch.Generator) -> None:
    values = torch.randn(5, 3, 4, dtype=torch.float64, generator=generator) + torch.tensor([0.0, 5.0, 1.0])[:, None]
    pooled = Statistics.of(values, ["u(t-1)", "u(t)", "a"]).pooled(["u", "u", "a"])
    both = values[:, :2]
    expected = torch.stack([both.std(correction=0)] * 2 + [values[:, 2].std(correction=0)])
    torch.testing.assert_close(pooled.std, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(pooled.mean[0], both.mean(), rtol=1e-12, atol=0)
    assert pooled.minimum[1] == both.min() and pooled.count == 20
    with pytest.raises(InputError, match="2 keys for 3 channels"):
        pooled.pooled(["u", "a"])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_refuses_what_is_not_finite(generator: torch.Generator, bad: float) -> None:
    ds = _dataset(generator)
    ds["u"].values[5, 3, 1, 2:4] = bad
    ds["u"].values[9, 0, 0, 0] = bad
    with pytest.raises(DataError, match=r"'u' has .*3 .*first in sample 5"):
        statistics_of(FunctionDataset(ds, inputs="a", outputs="u"), max_bytes=1)
    with pytest.raises(DataError, match=r"channel 'b' has 1 .* first in sample 2"):
        Statistics.of(torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, bad]]), ["a", "b"])


def test_survives_json_to_the_last_bit(generator: torch.Generator) -> None:
    found = Statistics.of(torch.randn(9, 2, 5, dtype=torch.float64, generator=generator), ["a", "b"])
    again = Statistics.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.names == found.names and again.count == found.count
    assert torch.equal(again.mean, found.mean) and torch.equal(again.std, found.std)
    with pytest.raises(InputError, match="centre"):
        Statistics.from_dict({name: value for name, value in found.to_dict().items() if name != "centre"})
    with pytest.raises(InputError, match="as many numbers"):
        Statistics.from_dict({**found.to_dict(), "minimum": [0.0]})


def test_refuses_wrong_shapes() -> None:
    with pytest.raises(InputError, match="need values"):
        Statistics.of(torch.zeros(3, 2), ["a"])
    with pytest.raises(InputError, match="cannot be merged"):
        Statistics.of(torch.zeros(3, 1), ["a"]).merge(Statistics.of(torch.zeros(3, 1), ["b"]))


def test_merges_what_was_measured_alike(generator: torch.Generator) -> None:
    values = torch.randn(6, 1, 4, dtype=torch.float64, generator=generator)
    channel, nodes = (Statistics.of(values, ["a"], per_point=per_point) for per_point in (False, True))
    part = Statistics.of(values[..., :1], ["a"], per_point=True)  # a single node: arrays that would broadcast
    again = Statistics.of(values[:2], ["a"], per_point=True).merge(Statistics.of(values[2:], ["a"], per_point=True))
    torch.testing.assert_close(again.std, nodes.std)
    for one, other, told in ((channel, nodes, "by channel .* of each node of"), (nodes, part, r"\(4,\) .* \(1,\)")):
        with pytest.raises(InputError, match=told):
            one.merge(other)
    with pytest.raises(InputError, match="cannot be merged with a dict"):
        channel.merge(channel.to_dict())  # type: ignore[arg-type]


@pytest.mark.parametrize("per_point", [False, True])
def test_without_outputs_y_has_no_channels(generator: torch.Generator, per_point: bool) -> None:
    ds = _dataset(generator)
    both = statistics_of(FunctionDataset(ds, inputs="u", outputs="u", parameters="nu"), per_point=per_point)
    data = FunctionDataset(ds, inputs="u", outputs=(), parameters="nu")
    found = statistics_of(data, per_point=per_point)
    assert torch.equal(found.x.std, both.x.std) and found.parameters is not None
    assert (found.y.names, found.y.count, found.y.mean.tolist(), found.y.std.tolist()) == ((), 0, [], [])
    assert Statistics.from_dict(json.loads(json.dumps(found.y.to_dict()))).names == ()
    for pooled in (False, True):
        made = normalisers_of(data, per_point=per_point, pooled=pooled)
        assert made.y is None and made.x is not None and made.parameters is not None


def test_refuses_masks_with_nothing_inside(generator: torch.Generator) -> None:
    ds = _dataset(generator)
    ds["u"].attrs["mask"], ds["dry"] = "dry", ("x", np.zeros(11, bool))
    with pytest.raises(DataError, match="no node of the samples is inside of the mask dry"):
        statistics_of(FunctionDataset(ds, inputs="u", outputs="u"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normaliser_keeps_the_dtype_and_inverts(generator: torch.Generator, dtype: torch.dtype) -> None:
    values = torch.randn(50, 3, 8, dtype=torch.float64, generator=generator) * 4 + 7
    normaliser = Normaliser.from_statistics(Statistics.of(values, ["a", "b", "c"]))
    x = normaliser(values.to(dtype))
    assert x.dtype == dtype and normaliser.mean.dtype == torch.float64
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert x.mean(dim=(0, 2)).abs().max() < tolerance
    assert (x.std(dim=(0, 2), correction=0) - 1).abs().max() < tolerance
    torch.testing.assert_close(normaliser.inverse(x), values.to(dtype), rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(normaliser(values[:, :, 0].to(dtype)), x[:, :, 0])  # a vector of parameters
    assert normaliser.float()(values).dtype == torch.float64


def test_constant_channel_has_deviation_one() -> None:
    for value in (0.1, 1e8 / 3):
        statistics = Statistics.of(torch.full((7, 1, 9), value, dtype=torch.float32), ["a"])
        statistics = statistics.merge(Statistics.of(torch.full((5, 1, 9), value, dtype=torch.float32), ["a"]))
        normaliser = Normaliser.from_statistics(statistics)
        assert normaliser.std.item() == 1 and statistics.std.item() == 0
        assert normaliser(torch.full((1, 1, 2), value, dtype=torch.float32)).abs().max() == 0


def test_normaliser_is_differentiable_and_saves(generator: torch.Generator, tmp_path: Path) -> None:
    normaliser = Normaliser(torch.tensor([1.0, 2.0]).double(), torch.tensor([3.0, 0.5]).double(), ["a", "b"])
    x = torch.randn(2, 2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    assert torch.autograd.gradcheck(normaliser, x) and torch.autograd.gradcheck(normaliser.inverse, x)
    torch.save(normaliser.state_dict(), tmp_path / "n.pt")
    other = Normaliser(torch.zeros(2).double(), torch.ones(2).double(), ["a", "b"])
    other.load_state_dict(torch.load(tmp_path / "n.pt", weights_only=True))
    assert torch.equal(other(x), normaliser(x))


def test_normaliser_none_is_the_identity_and_refuses_nonsense() -> None:
    statistics = Statistics.of(torch.tensor([[1.0], [3.0]]), ["a"])
    x = torch.tensor([[5.0]])
    assert torch.equal(Normaliser.from_statistics(statistics, kind="none")(x), x)
    with pytest.raises(InputError, match="unknown normalisation 'standart'; did you mean 'standard'"):
        Normaliser.from_statistics(statistics, kind="standart")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="do not fit"):
        Normaliser(torch.zeros(2), torch.ones(3))
    with pytest.raises(InputError, match="must be finite"):
        Normaliser(torch.zeros(1), torch.tensor([-1.0]))
