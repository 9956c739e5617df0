"""What a resumed run must share with the run it goes on with, and what it keeps."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from sciops.data.functions.normaliser import Normaliser
from sciops.errors import TrainingError
from sciops.training.checkpoint import outline


class SmallNet(nn.Module):
    """As many weights as the network of the small run and the same class name, in other shapes."""

    def __init__(self, weights: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(weights))


def test_other_data_is_refused(small: ModuleType, tmp_path: Path) -> None:
    small.small_train(tmp_path, epochs=1, data_fingerprint="one")
    before = (tmp_path / "checkpoints" / "last.ckpt").read_bytes()
    refused = r"the data differs from that of the run .*; use the same file or train into another folder"
    with pytest.raises(TrainingError, match=refused) as error:
        small.small_train(tmp_path, epochs=1, data_fingerprint="two")
    assert "its fingerprint was 'one' and is now 'two'" in str(error.value)
    with pytest.raises(TrainingError, match=r"its items was \[68, 11\] and is now \[69, 11\]"):
        small.small_train(tmp_path, epochs=1, data_fingerprint="one", items=69)
    assert (tmp_path / "checkpoints" / "last.ckpt").read_bytes() == before
    assert small.small_train(tmp_path, epochs=1, data_fingerprint="one").epochs == 1


def test_another_number_of_batches_in_a_step_is_refused(small: ModuleType, tmp_path: Path) -> None:
    small.small_train(tmp_path, epochs=1)
    with pytest.raises(TrainingError, match="accumulate was 1 and is now 2; use accumulate=1"):
        small.small_train(tmp_path, epochs=1, accumulate=2)


def test_a_model_of_other_shapes_is_refused(small: ModuleType, tmp_path: Path) -> None:
    small.small_train(tmp_path, epochs=1)
    weights = sum(p.numel() for p in small.network().parameters())
    with pytest.raises(
        TrainingError, match=f"model was 'SmallNet with {weights} weights, .*; use the model of the run"
    ):
        small.small_train(tmp_path, epochs=1, model=SmallNet(weights))
    assert outline(small.network()) == outline(small.network(0.5))
    assert outline(nn.Linear(3, 1)) != outline(nn.Linear(1, 2))  # four weights each


def test_best_error_and_epoch_are_kept(
    small: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copies_of_every_checkpoint: Any,
    same_results: Any,
) -> None:
    """By a loss that rewards errors, the first epoch is the best and all that come after are worse."""
    options: dict[str, Any] = {"average": 0.0, "checkpoint_steps": 1, "loss": lambda p, y: -(p - y).square().mean()}
    with monkeypatch.context() as patch:
        copies = copies_of_every_checkpoint(tmp_path, patch)
        whole = small.small_train(tmp_path / "whole", **options)
    errors = [row["validation_error"] for row in whole.history]
    assert errors == sorted(errors)
    for copy in copies[5::3]:
        resumed = small.small_train(copy, **options)
        assert (resumed.best_error, resumed.best_epoch) == (errors[0], 0)
        same_results(whole, resumed)


def test_the_normalisers_of_the_checkpoint_are_used(
    small: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copies_of_every_checkpoint: Any,
    same_results: Any,
) -> None:
    with monkeypatch.context() as patch:
        copies = copies_of_every_checkpoint(tmp_path, patch)
        whole = small.small_train(tmp_path / "whole", epochs=2, checkpoint_steps=3)
    names = ("input_normaliser", "output_normaliser")
    other: dict[str, nn.Module] = {name: Normaliser(torch.tensor([7.0]), torch.tensor([5.0])) for name in names}
    for copy in (copies[0], copies[-1]):
        resumed = small.small_train(copy, epochs=2, **other)
        same_results(whole, resumed)
        for name in names:
            kept, expected = getattr(resumed.operator, name), getattr(whole.operator, name)
            assert torch.equal(kept.mean, expected.mean) and torch.equal(kept.std, expected.std)
            assert float(kept.mean[0]) != 7.0
    with pytest.raises(TrainingError, match=r"normalisers was .*; use the normalisers of the run"):
        small.small_train(copies[0], epochs=2, input_normaliser=None)
