from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from sciops.data.functions.normaliser import Normaliser
from sciops.errors import InputError
from sciops.training.physical import PhysicalOperator, Rollout


def test_prediction_is_in_the_units_of_the_output() -> None:
    operator = PhysicalOperator(
        nn.Identity(),
        input_normaliser=Normaliser(torch.tensor([5.0]), torch.tensor([2.0])),
        output_normaliser=Normaliser(torch.tensor([100.0]), torch.tensor([10.0])),
    )
    assert torch.equal(operator(torch.full((1, 1, 4), 7.0)), torch.full((1, 1, 4), 110.0))


def test_parameters_are_normalised() -> None:
    class Parametric(nn.Module):
        def forward(self, x: Tensor, parameters: Tensor) -> Tensor:
            return x * parameters[:, :, None]

    operator = PhysicalOperator(Parametric(), parameter_normaliser=Normaliser(torch.tensor([1.0]), torch.tensor([0.5])))
    assert torch.equal(operator(torch.ones(2, 1, 4), torch.tensor([[2.0], [1.0]]))[:, 0, 0], torch.tensor([2.0, 0.0]))


class Sum(nn.Module):
    """The sum of two frames of one channel and a channel that does not move."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum(dim=1, keepdim=True)


def test_unrolling_moves_the_history_and_keeps_what_does_not_move() -> None:
    x = torch.tensor([1.0, 2.0, 10.0])[None, :, None].expand(1, 3, 4)
    frames = PhysicalOperator(Sum(), rollout=Rollout(history=2)).unroll(x, steps=3)
    assert frames[0, :, 0].tolist() == [13.0, 25.0, 48.0]


def test_residual_adds_to_the_newest_frame() -> None:
    x = torch.tensor([1.0, 2.0, 10.0])[None, :, None].expand(1, 3, 4)
    frames = PhysicalOperator(Sum(), rollout=Rollout(history=2, residual=True)).unroll(x, steps=2)
    assert frames[0, :, 0].tolist() == [15.0, 42.0]


def test_bad_input() -> None:
    with pytest.raises(InputError, match="a map has no time"):
        PhysicalOperator(nn.Identity()).unroll(torch.ones(1, 1, 4), steps=2)
    with pytest.raises(InputError, match="3 frames of 1 channels are 3 input channels, got 2"):
        PhysicalOperator(Sum(), rollout=Rollout(history=3)).unroll(torch.ones(1, 2, 4), steps=2)
    with pytest.raises(InputError, match="at least 1, got 0 and 1"):
        Rollout(history=0)
    with pytest.raises(InputError, match="noise must be zero or positive"):
        Rollout(noise=-1.0)
    with pytest.raises(InputError, match="pushforward needs steps of at least 2"):
        Rollout(pushforward=True)
