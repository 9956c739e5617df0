from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from sciops.data.domains.domain import Grid
from sciops.errors import InputError
from sciops.training.losses import RelativeL2
from sciops.training.module import OperatorModule, Optimisation
from sciops.training.physical import PhysicalOperator, Rollout


def module(
    model: nn.Module, *, total_steps: int = 100, rollout: Rollout | None = None, **options: Any
) -> OperatorModule:
    metric = RelativeL2(Grid.unit(8, kind="periodic"))
    operator = PhysicalOperator(model, rollout=rollout)
    return OperatorModule(operator, loss=metric, metric=metric, total_steps=total_steps, **options)


@pytest.mark.parametrize("total", [1, 2, 3, 10, 100, 1000])
def test_the_schedule_rises_once_and_falls_to_the_end(total: int) -> None:
    rates = [module(nn.Conv1d(1, 1, 1), total_steps=total)._one_cycle(step) for step in range(total)]
    peak = rates.index(max(rates))
    assert all(0 < rate <= 1 for rate in rates)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    if total >= 10:
        assert rates[0] == pytest.approx(1 / 25)
        assert max(rates) == pytest.approx(1.0)
        assert rates[-1] == pytest.approx(1e-4)
        assert peak == pytest.approx(max(1, 0.1 * total), abs=1)


def test_norms_and_biases_are_not_decayed() -> None:
    model = nn.Sequential(nn.Conv1d(1, 4, 3), nn.GroupNorm(1, 4), nn.Linear(4, 4))
    (optimiser,) = [module(model, optimisation=Optimisation(weight_decay=0.3)).configure_optimizers()["optimizer"]]
    decayed, kept = optimiser.param_groups
    assert decayed["weight_decay"] == 0.3 and [p.ndim for p in decayed["params"]] == [3, 2]
    assert kept["weight_decay"] == 0.0 and [p.ndim for p in kept["params"]] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": math.nan}, "learning_rate must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must be zero or positive"),
        ({"clip": 0.0}, "clip must be positive"),
        ({"warmup": 1.0}, "warmup is a part of all steps"),
    ],
)
def test_bad_optimisation(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Optimisation(**options)


@pytest.mark.parametrize("clip", [0.5, math.inf])
def test_clipping_bounds_the_gradient_of_every_step(
    small: ModuleType, monkeypatch: pytest.MonkeyPatch, clip: float
) -> None:
    """By a loss a million times too steep; the gradients are looked at when the weights have moved by them."""
    steep: list[float] = []
    used: list[float] = []
    clipping = OperatorModule.configure_gradient_clipping

    def norm(optimiser: torch.optim.Optimizer) -> float:
        gradients = [p.grad.flatten() for group in optimiser.param_groups for p in group["params"]]
        return float(torch.cat(gradients).norm())

    def listen(self: OperatorModule, optimiser: torch.optim.Optimizer, *rest: Any, **options: Any) -> None:
        steep.append(norm(optimiser))
        clipping(self, optimiser, *rest, **options)
        assert float(self.last.gradient_norm) == pytest.approx(steep[-1], rel=1e-5)

    monkeypatch.setattr(OperatorModule, "configure_gradient_clipping", listen)
    hook = register_optimizer_step_post_hook(lambda optimiser, *_: used.append(norm(optimiser)))
    try:
        small.small_train(None, epochs=1, clip=clip, loss=lambda p, y: 1e6 * (p - y).square().mean())
    finally:
        hook.remove()
    assert len(steep) == len(used) == 4 and min(steep) > 1e3
    if clip == math.inf:
        assert used == steep
    else:
        assert used == pytest.approx([clip] * 4, rel=1e-4) and max(used) <= clip * (1 + 1e-6)


class Doubles(nn.Module):
    """Next frame = weight * the newest of two frames."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(2.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x[:, 1:2]


def step(rollout: Rollout, target: list[float]) -> tuple[float, float]:
    """Loss and its derivative by the weight, for the history 1, 1."""
    made = module(Doubles(), rollout=rollout)
    y = torch.tensor(target)[None, :, None].expand(1, -1, 8)
    loss = made.training_step({"x": torch.ones(1, 2, 8), "y": y, "index": torch.tensor([0])}, 0)
    loss.backward()
    return float(loss.detach()), float(made.model.weight.grad)  # type: ignore[union-attr, arg-type]


def test_unrolled_steps_have_the_gradient_of_all() -> None:
    # frames w, w^2, w^3 against 1, 1, 1: mean of w-1, w^2-1, w^3-1
    loss, slope = step(Rollout(history=2, steps=3), [1.0, 1.0, 1.0])
    assert loss == pytest.approx((1 + 3 + 7) / 3)
    assert slope == pytest.approx((1 + 4 + 12) / 3)


def test_pushforward_has_the_gradient_of_the_last_step_only() -> None:
    # the input of the last step is w^2 = 4, held fixed; its output 4w against 1
    loss, slope = step(Rollout(history=2, steps=3, pushforward=True), [9.0, 9.0, 1.0])
    assert loss == pytest.approx(7)
    assert slope == pytest.approx(4)


def test_noise_is_a_function_of_seed_epoch_and_item(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(3, 1, 2000)
    made = module(nn.Identity(), seed=3)
    noisy = made._with_noise(x, torch.tensor([5, 6, 7]), 0.5)
    state = torch.get_rng_state()
    assert torch.equal(made._with_noise(x[:1], torch.tensor([6]), 0.5)[0], noisy[1])
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(module(nn.Identity(), seed=4)._with_noise(x, torch.tensor([5, 6, 7]), 0.5), noisy)
    monkeypatch.setattr(OperatorModule, "current_epoch", 1)
    assert not torch.equal(made._with_noise(x, torch.tensor([5, 6, 7]), 0.5), noisy)
    assert float(noisy.std()) == pytest.approx(0.5, rel=0.05)
    assert made._with_noise(x, torch.tensor([1]), 0.0) is x


def test_a_step_on_a_device_reads_nothing_back(monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(nn.Conv1d(1, 1, 1))
    x = torch.randn(2, 1, 8)
    optimiser = made.configure_optimizers()["optimizer"]
    made.loss(x, x)  # weights are made once
    monkeypatch.setattr(OperatorModule, "device", property(lambda self: torch.device("cuda")))

    def read(*_: object) -> None:
        pytest.fail("the step waits for the device")

    for name in ("__float__", "__int__", "__bool__", "item", "tolist", "cpu", "numpy"):
        monkeypatch.setattr(torch.Tensor, name, read)
    loss = made.training_step({"x": x, "y": x, "index": torch.arange(2)}, 0)
    loss.backward()
    made.configure_gradient_clipping(optimiser)


def test_losses_metrics_and_baselines_do_not_load_lightning() -> None:
    import subprocess
    import sys

    code = (
        "import sys, sciops.training as t; t.RelativeH1, t.metrics, t.baseline_errors, t.skill_table, t.Rollout;"
        "t.PhysicalOperator; sys.exit('lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
