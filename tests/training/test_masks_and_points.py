"""Masks, query points, vectors and mixed resolutions on their way through training."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

from sciops.data.conventions import coordinate, coordinates_of
from sciops.data.domains.domain import Axis, Grid
from sciops.data.domains.points import PointCloud
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.data.functions.normalisation import normalisers_of
from sciops.data.functions.normaliser import Normaliser
from sciops.errors import InputError, TrainingError
from sciops.training.data_module import OperatorData
from sciops.training.losses import RelativeH1, RelativeL2
from sciops.training.physical import PhysicalOperator, Rollout
from sciops.training.run import train


def flow(generator: torch.Generator, samples: int = 20) -> xr.Dataset:
    """Gradients v of random trigonometric polynomials a on a square torus, and a mask with NaN behind it."""
    axes = [Axis(name, 8, kind="periodic") for name in "xy"]
    x, y = (axis.coordinates() for axis in axes)
    k = torch.arange(-2, 3).double()
    waves = torch.exp(2j * torch.pi * (k[:, None, None, None] * x[:, None] + k[None, :, None, None] * y))
    c = torch.complex(*torch.randn(2, samples, 5, 5, generator=generator, dtype=torch.float64))
    a = torch.einsum("nkl,klxy->nxy", c, waves).real
    v = torch.stack(
        [torch.einsum("nkl,klxy->nxy", 2j * torch.pi * s * c, waves).real for s in (k[:, None], k[None, :])], dim=1
    )
    wet = torch.ones(8, 8, dtype=torch.bool)
    wet[2:5, 3:5] = False
    a, v = torch.where(wet, a, torch.nan), torch.where(wet, v, torch.nan)
    return xr.Dataset(
        {
            "a": (("sample", "x", "y"), a.numpy(), {"mask": "wet"}),
            "v": (("sample", "c", "x", "y"), v.numpy(), {"rank": 1, "components": ["x", "y"], "mask": "wet"}),
            "wind": (("sample", "c"), torch.randn(samples, 2, generator=generator).numpy(), {
                "rank": 1, "components": ["x", "y"],
            }),
            "wet": (("x", "y"), wet.numpy(), {"role": "mask"}),
        },
        {axis.name: coordinate(axis) for axis in axes},
        {"channel_dims": ["c"]},
    )  # fmt: skip


def started(made: OperatorData, epoch: int = 0) -> OperatorData:
    """The data module as a trainer would start it."""
    progress = SimpleNamespace(current=SimpleNamespace(ready=0, processed=0))
    loop = SimpleNamespace(epoch_progress=progress, epoch_loop=SimpleNamespace(batch_progress=progress))
    made.trainer = SimpleNamespace(  # type: ignore[assignment]
        global_rank=0, world_size=1, training=True, current_epoch=epoch, fit_loop=loop,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )  # fmt: skip
    return made


class Local(nn.Module):
    """One convolution, with padding by what lies around."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="circular")

    def forward(self, x: Tensor, parameters: Tensor | None = None) -> Tensor:
        return self.layer(x)


def test_the_model_sees_zero_outside_of_the_mask_and_gradients_stay_finite(generator: torch.Generator) -> None:
    seen: list[Tensor] = []

    class Look(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x[:, :1].sigmoid() + x[:, 1:].square()

    for logarithm in (False, True):
        normaliser = Normaliser(torch.tensor([4.0, 1.0]), torch.tensor([2.0, 3.0]), logarithm=[logarithm, False])
        operator = PhysicalOperator(Look(), input_normaliser=normaliser, rollout=Rollout(history=2))
        mask = torch.rand(3, 1, 5, generator=generator) > 0.4
        x = torch.rand(3, 2, 5, generator=generator) + 0.5
        x = torch.where(mask, x, torch.tensor([torch.nan, torch.inf, -1.0])[torch.arange(5) % 3]).requires_grad_()
        out = operator.unroll(x, steps=3, mask=mask)
        assert all(bool((features[~mask.expand_as(features)] == 0).all()) for features in seen)
        torch.testing.assert_close(seen[0], torch.where(mask, normaliser(x), 0.0))
        (gradient,) = torch.autograd.grad(torch.where(mask, out, 0.0).sum(), x)
        assert bool(gradient.isfinite().all()) and bool((gradient[~mask.expand_as(gradient)] == 0).all())
        seen.clear()


@pytest.mark.parametrize("loss", ["l2", "h1"])
def test_training_under_a_mask_does_not_depend_on_what_lies_outside(loss: str, generator: torch.Generator) -> None:
    ds = flow(generator)
    other = ds.assign(a=ds["a"].fillna(77.0), v=ds["v"].fillna(-5.0))
    weights = []
    for data in (ds, other):
        whole = FunctionDataset(data, inputs="a", outputs="v")
        torch.manual_seed(0)
        found = normalisers_of(whole)
        options: dict[str, Any] = {"input_normaliser": found.x, "output_normaliser": found.y, "loss": loss}
        result = train(
            Local(1, 2), whole.subset(range(16)), whole.subset(range(16, 20)), epochs=2, batch_size=4, progress=False,
            device="cpu", **options,
        )  # fmt: skip
        assert np.isfinite(result.best_error)
        weights.append(result.model.state_dict()["layer.weight"])
    assert torch.equal(*weights)


def test_augmentation_turns_vectors_and_moves_the_mask(generator: torch.Generator) -> None:
    ds = flow(generator)
    data = FunctionDataset(ds, inputs=["a", "v"], outputs="v", parameters="wind", dtype=torch.float64)
    made = started(OperatorData(data, data, batch_size=20, symmetries=["transpose", "flip-x"], dtype=torch.float64))
    (batch,) = made.train_dataloader()
    moved = made.on_after_batch_transfer(batch, 0)
    assert not torch.equal(moved["mask"], batch["mask"]) and not torch.equal(moved["parameters"], batch["parameters"])
    outside = ~moved["mask"].expand_as(moved["y"])
    assert bool((moved["y"][outside] == 0).all()) and torch.equal(moved["x"][:, 1:], moved["y"])
    # wind . v is a scalar field: turned together with its factors it only moves
    scalar = torch.einsum("bc,bcxy->bxy", moved["parameters"], moved["y"])
    before = torch.einsum("bc,bcxy->bxy", batch["parameters"], batch["y"])
    torch.testing.assert_close(scalar.flatten(1).sort().values, before.flatten(1).sort().values)


def test_batches_of_mixed_resolution_are_moved_and_measured_on_their_grid(generator: torch.Generator) -> None:
    ds = flow(generator)
    data = FunctionDataset(ds, inputs="a", outputs="v")
    options: dict[str, Any] = {"batch_size": 4, "resolutions": [8, 4], "symmetries": ["transpose"], "seed": 1}
    for cache_bytes in (0, 1 << 20):
        made = started(OperatorData(data, data, **options, cache_bytes=cache_bytes))
        batches = list(made.train_dataloader())
        assert {tuple(batch["x"].shape[2:]) for batch in batches} == {(8, 8), (4, 4)}
        for batch in batches:
            stride = 8 // batch["x"].shape[2]
            whole = data.batch(batch["index"])
            assert torch.equal(batch["y"], whole["y"][..., ::stride, ::stride])
            assert made.on_after_batch_transfer(batch, 0)["x"].shape == batch["x"].shape
        assert {tuple(batch["x"].shape[2:]) for batch in made.val_dataloader()} == {(8, 8)}
    result = train(Local(1, 2), data, data, epochs=1, batch_size=4, resolutions=[8, 4], progress=False, device="cpu")
    assert np.isfinite(result.best_error)
    with pytest.raises(InputError, match="are not interpolated; choose of 2, 4, 8"):
        OperatorData(data, data, batch_size=4, resolutions=[5])


def test_a_run_goes_on_with_its_resolutions_only(generator: torch.Generator, tmp_path: Path) -> None:
    data = FunctionDataset(flow(generator), inputs="a", outputs="v")
    options: dict[str, Any] = {"batch_size": 4, "progress": False, "device": "cpu", "run_dir": tmp_path / "run"}
    torch.manual_seed(0)
    train(Local(1, 2), data, data, epochs=1, resolutions=[8, [4, 4]], **options)
    with pytest.raises(TrainingError, match="resolutions"):
        train(Local(1, 2), data, data, epochs=1, resolutions=[8], resume=True, **options)


class Branch(nn.Module):
    """A toy DeepONet: the inner product of a linear branch and a trunk of the points."""

    def __init__(self, nodes: int, directions: int) -> None:
        super().__init__()
        self.branch, self.trunk = nn.Linear(nodes, 16), nn.Sequential(nn.Linear(directions, 16), nn.Tanh())

    def forward(self, x: Tensor, query: Tensor) -> Tensor:
        return torch.einsum("bk,bnk->bn", self.branch(x.flatten(1)), self.trunk(query))[:, None]


def test_query_points_train_an_operator_that_is_evaluated_at_points(generator: torch.Generator) -> None:
    ds = flow(generator)
    data = FunctionDataset(ds, inputs="a", outputs="a", query_points=12)
    torch.manual_seed(0)
    options: dict[str, Any] = {"batch_size": 5, "progress": False, "device": "cpu", "learning_rate": 1e-2}
    result = train(Branch(64, 2), data, data, epochs=30, **options)
    errors = [row["validation_error"] for row in result.history]
    assert errors[-1] < 0.9 * errors[0]
    with pytest.raises(InputError, match="query points are single nodes"):
        OperatorData(data, data, batch_size=4, symmetries=["flip-x"])


def test_weights_of_query_points_make_the_norm_of_all_nodes(generator: torch.Generator) -> None:
    grid = Grid.unit(5, 6)
    p, y = torch.randn(2, 3, 2, 5, 6, dtype=torch.float64, generator=generator)
    weights = grid.weights().flatten().expand(3, 30)
    loss = RelativeL2(grid)
    assert torch.allclose(loss(p.flatten(2), y.flatten(2), weights=weights), loss(p, y), rtol=1e-12)
    with pytest.raises(InputError, match=r"expected \(batch, n\)"):
        loss(p.flatten(2), y.flatten(2), weights=weights[:, :7])
    with pytest.raises(InputError, match="H1 norm needs whole fields"):
        RelativeH1(grid)(p.flatten(2), y.flatten(2), weights=weights)


def test_a_cloud_of_points_trains_with_its_weights(generator: torch.Generator) -> None:
    weights = torch.rand(12, generator=generator).double() + 0.1
    cloud = PointCloud(torch.rand(12, 2, generator=generator).double(), weights)
    coords, attrs = coordinates_of(cloud)
    values = torch.randn(20, 12, generator=generator, dtype=torch.float64).numpy()
    ds = xr.Dataset({"u": (("sample", "point"), values), "w": (("sample", "point"), 2 * values + 1)}, coords, attrs)
    data = FunctionDataset(ds, inputs="u", outputs="w")
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = train(nn.Linear(12, 12), data, data, epochs=2, batch_size=5, progress=False, device="cpu")
    with torch.no_grad():
        prediction, target = result.operator(data.batch(range(20))["x"]), data.batch(range(20))["y"]
    error = ((prediction - target).square() * weights).sum(dim=2).sqrt() / (target.square() * weights).sum(dim=2).sqrt()
    assert result.best_error == pytest.approx(float(error.mean()), rel=1e-4)
