"""Every learned preconditioner, by being listed here, shows that it keeps the promises of `LearnedPreconditioner`."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from sciops.errors import InputError
from sciops.preconditioners import (
    DCDM,
    LearnedMultigrid,
    LearnedPreconditioner,
    NeuralPreconditioner,
    families,
    load,
    registry,
    train,
)
from sciops.solvers import LinearProblem, linear, solve

SPACE = (20, 18)


def network(channels: int, seed: int = 0) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.nn.Conv2d(channels, 2, 3, padding=1)


@dataclass(frozen=True)
class Instance:
    """A preconditioner for two axes, and the channels of the network that it is built around, if it is."""

    name: str
    preconditioner: str
    options: dict[str, Any] = field(default_factory=dict)
    channels: int | None = None

    def arguments(self, seed: int) -> dict[str, Any]:
        return {} if self.channels is None else {"network": network(self.channels, seed)}

    def make(self) -> LearnedPreconditioner:
        return registry[self.preconditioner](**self.arguments(0), **self.options)


SMALL_DCDM = {"channels": 4, "depths": (1, 1, 1), "ritz": 10, "samples": 2}
INSTANCES = [
    Instance("multigrid", "multigrid", {"width": 4, "first": 0}),
    Instance("multigrid-damping", "multigrid", {"width": 4, "degree": 2, "parts": ("damping",)}),
    Instance("dcdm-finest", "dcdm", {"levels": "finest", **SMALL_DCDM}),
    Instance("dcdm-all", "dcdm", {"levels": "all", **SMALL_DCDM}),
    Instance("neural-coarse", "neural", {"form": "coarse", "block": 4}, channels=5),
    Instance("neural-direction", "neural", {"form": "direction"}, channels=6),
]
every = pytest.mark.parametrize("instance", INSTANCES, ids=lambda instance: instance.name)


def operators(generator: torch.Generator, batch: int = 2) -> linear.Diffusion:
    return families.mixed(*SPACE, batch=batch, contrast=(2.0, 20.0))(generator).to(torch.float64)


def residuals(generator: torch.Generator, batch: int = 2, rhs: int = 3) -> torch.Tensor:
    return torch.randn(batch, rhs, *SPACE, generator=generator, dtype=torch.float64)


def trained(instance: Instance, steps: int = 3) -> LearnedPreconditioner:
    """On one operator that stays: what a preconditioner computes once for each is not computed for every step."""
    A = families.mixed(*SPACE, batch=1)(torch.Generator().manual_seed(0))
    return train(lambda generator: A, instance.make(), steps=steps, progress=False)


def method_of(model: LearnedPreconditioner) -> Callable[..., linear.Solution]:
    return {"cg": linear.cg, "fcg": linear.fcg}[model.method]


def gap(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest over the fields, each relative to its norm."""
    found, expected = found.flatten(2), expected.flatten(2)
    return float(((found - expected).norm(dim=2) / expected.norm(dim=2)).max())


def test_every_registered_preconditioner_is_listed():
    assert {instance.preconditioner for instance in INSTANCES} == set(registry)
    assert {DCDM, LearnedMultigrid, NeuralPreconditioner} == {registry[name] for name in registry}


@every
def test_a_short_training_keeps_all_finite_and_changes_the_weights(instance):
    untrained, model = instance.make(), trained(instance)
    assert model.record.steps == 3 and all(math.isfinite(loss) for loss in model.record.losses)
    assert all(bool(p.isfinite().all()) for p in model.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(model.parameters(), untrained.parameters(), strict=True))
    assert not model.training


@every
def test_a_saved_one_answers_the_same(instance, tmp_path, generator):
    model = trained(instance)
    again = load(model.save(tmp_path / "model"), **instance.arguments(1))
    A, r = operators(generator), residuals(generator)
    assert type(again) is type(model) and again.record == model.record and again.method == model.method
    assert repr(again) == repr(model)
    assert torch.equal(again.setup(A)(r), model.setup(A)(r))


@every
def test_the_constructor_keeps_its_arguments(instance):
    model = instance.make()
    for name in inspect.signature(type(model)).parameters:
        assert hasattr(model, name), name
    assert all(getattr(model, name) == value for name, value in instance.options.items())


@every
def test_units_of_the_operator_do_not_matter(instance, generator):
    A, r = operators(generator), residuals(generator)
    model = instance.make()
    expected, other = model.setup(A)(r), linear.Diffusion(1e6 * A.permeability, A.grid)
    assert gap(1e6 * model.setup(other)(r), expected) <= 1e-3
    assert expected.shape == r.shape and expected.dtype == r.dtype
    assert not model.setup(A)(torch.zeros_like(r)).any()


@every
def test_a_batch_is_its_singles(instance, generator):
    A, r = operators(generator), residuals(generator)
    model = instance.make()
    both = model.setup(A)(r)
    for i, single in enumerate(A.singles()):
        M = model.setup(single)
        for j in range(r.shape[1]):
            assert gap(M(r[i : i + 1, j : j + 1]), both[i : i + 1, j : j + 1]) <= 1e-3


@every
def test_its_method_takes_it_and_cg_takes_what_is_made_for_it_only(instance, generator):
    A, b = operators(generator), residuals(generator, rhs=1)[:, 0]
    model = instance.make()
    direct = method_of(model)(A, b, M=model, rtol=1e-4)
    found = solve(LinearProblem(A, b), preconditioner=model, rtol=1e-4)
    assert found.method == model.method
    for value in (direct.value, found.value):
        assert bool(((A @ value - b).flatten(1).norm(dim=1) <= 1.001e-4 * b.flatten(1).norm(dim=1)).all())
    if model.method == "fcg":
        with pytest.raises(InputError, match=f"{type(model).__name__} is made for flexible methods: use fcg"):
            linear.cg(A, b, M=model)
    else:
        M, (x, y) = model.setup(A), residuals(generator).unbind(1)[:2]
        left, right = (M(x[:, None])[:, 0] * y).sum((1, 2)), (x * M(y[:, None])[:, 0]).sum((1, 2))
        size = M(x[:, None])[:, 0].flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1)
        assert bool(((left - right).abs() <= 1e-5 * size).all())
        assert bool(((M(x[:, None])[:, 0] * x).sum((1, 2)) > 0).all())


@every
@pytest.mark.parametrize("space", [(16,), (6, 5, 7)], ids=str)
def test_operators_of_another_dimension_are_refused(instance, space):
    A = linear.Diffusion(torch.ones(1, *space, dtype=torch.float64), grid=[1.0] * len(space))
    with pytest.raises(InputError, match=r" axes|the network does not take"):
        instance.make().setup(A)(torch.ones(1, 1, *space, dtype=torch.float64))
