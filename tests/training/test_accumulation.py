"""Steps over several batches: the update of one large batch, and the same bits after a resume."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from sciops.training.module import OperatorModule


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_step_over_batches_is_that_of_a_large_batch(small: ModuleType, accumulate: int) -> None:
    options: dict[str, Any] = {"precision": "64", "dropout": 0.0, "clip": 0.5, "items": 67}
    large = small.small_train(None, **options)
    small_batches = small.small_train(None, **options, batch_size=16 // accumulate, accumulate=accumulate)
    for one, two in zip(large.history, small_batches.history, strict=True):
        assert one == pytest.approx(two, rel=1e-12)
    assert large.history[0]["train_loss"] != large.history[-1]["train_loss"]
    for name, weight in large.model.state_dict().items():
        torch.testing.assert_close(small_batches.model.state_dict()[name], weight, rtol=1e-9, atol=1e-9)


def test_the_last_step_of_an_epoch_takes_what_is_left(small: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of 3, 3 and 2 batches of 8 items; each has the gradient of the mean loss of its items."""
    batches: list[dict[str, Tensor]] = []
    sizes: list[int] = []
    means: list[float] = []
    training_step, clipping = OperatorModule.training_step, OperatorModule.configure_gradient_clipping

    def remember(self: OperatorModule, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        batches.append(batch)
        return training_step(self, batch, batch_idx)

    def compare(self: OperatorModule, *arguments: Any, **options: Any) -> None:
        x, y = (torch.cat([batch[name] for batch in batches]) for name in "xy")
        loss = self.loss(self.operator(x), y)
        parameters = list(self.model.parameters())
        for parameter, expected in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-11, atol=1e-13)
        means.append(float(loss.detach()))
        assert float(self.last.loss) == pytest.approx(means[-1], rel=1e-12)
        sizes.append(len(batches))
        batches.clear()
        clipping(self, *arguments, **options)

    monkeypatch.setattr(OperatorModule, "training_step", remember)
    monkeypatch.setattr(OperatorModule, "configure_gradient_clipping", compare)
    result = small.small_train(None, precision="64", dropout=0.0, batch_size=8, accumulate=3, epochs=2)
    assert sizes == [3, 3, 2] * 2
    assert [row["step"] for row in result.history] == [3, 6]
    assert result.history[1]["train_loss"] == pytest.approx(math.fsum(means[3:]) / 3, rel=1e-12)
    assert result.history[-1]["learning_rate"] == pytest.approx(1e-2 * 1e-4)


@pytest.mark.parametrize("accumulate", [2, 3])
def test_every_checkpoint_lies_between_two_steps(
    small: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copies_of_every_checkpoint: Any,
    same_results: Any,
    same_runs: Any,
    accumulate: int,
) -> None:
    options = {"batch_size": 8, "accumulate": accumulate, "checkpoint_steps": 1, "epochs": 2}
    with monkeypatch.context() as patch:
        copies = copies_of_every_checkpoint(tmp_path, patch)
        whole = small.small_train(tmp_path / "whole", **options)
    steps = math.ceil(8 / accumulate)
    assert len(copies) == 2 * steps
    for number, copy in enumerate(copies, start=1):
        state = torch.load(copy / "checkpoints" / "last.ckpt", weights_only=True)
        assert state["global_step"] == number
        torch.manual_seed(number)
        same_results(whole, small.small_train(copy, **options))
        same_runs(tmp_path / "whole", copy)


def test_an_interrupt_waits_for_the_step(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_runs: Any
) -> None:
    options = {"batch_size": 8, "accumulate": 3, "epochs": 2}
    small.small_train(tmp_path / "whole", **options)
    training_step = OperatorModule.training_step

    def interrupted(self: OperatorModule, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if batch_idx == 3 and self.current_epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return training_step(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(OperatorModule, "training_step", interrupted)
        with pytest.raises(KeyboardInterrupt, match="epoch 1, step 5; go on with"):
            small.small_train(tmp_path / "stopped", **options)
    small.small_train(tmp_path / "stopped", **options)
    same_runs(tmp_path / "whole", tmp_path / "stopped")
