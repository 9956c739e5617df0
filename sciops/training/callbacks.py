"""What happens beside the optimiser step: averaged weights and early stopping."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import Tensor, nn

from sciops.errors import InputError


class WeightAverage(Callback):
    r"""Exponential moving average of the weights, used at validation; the best of them is kept.

    After step t the average moves by :math:`\bar\theta \leftarrow d_t \bar\theta + (1 - d_t) \theta` with
    :math:`d_t = \min(d, (1 + t) / (10 + t))`, so that short runs are not held back by their start. Buffers are
    taken as they are.

    Parameters
    ----------
    decay
        The final decay d, at least 0 and below 1; 0 keeps the last weights.

    Examples
    --------
    >>> WeightAverage(0.99).decay
    0.99
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise InputError(f"the decay of the averaged weights must be at least 0 and below 1, got {decay}")
        self.decay = decay
        self.best_error = math.inf
        self.best_epoch = -1
        self.best: dict[str, Tensor] = {}
        self._model: nn.Module | None = None
        self._average: list[Tensor] = []
        self._weights: list[Tensor] = []
        self._loaded: dict[str, Tensor] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._model = pl_module.model
        parameters = dict(pl_module.model.named_parameters())
        self._weights = [_local(p).data for p in parameters.values()]
        if self._loaded:
            self._average = [_shard(self._loaded[name], p).clone() for name, p in parameters.items()]
            state = pl_module.model.state_dict()
            self.best = {name: _shard(value, state[name]) for name, value in self.best.items()}
            self._loaded = {}
        else:
            self._average = [weight.clone() for weight in self._weights]

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        if not pl_module.last.taken:
            return
        step = trainer.global_step
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._average, self._weights, 1 - decay)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._swap()

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if pl_module.validation_error < self.best_error:
            self.best_error, self.best_epoch = pl_module.validation_error, trainer.current_epoch
            state = pl_module.model.state_dict()
            self.best = {name: _local(value).detach().clone() for name, value in state.items()}
        self._swap()

    def averaged(self) -> dict[str, Tensor]:
        """The averaged weights by parameter name, whole on every process."""
        if self._model is None:
            return self._loaded
        named = self._model.named_parameters()
        return {name: _whole(value, p) for (name, p), value in zip(named, self._average, strict=True)}

    def best_state(self) -> dict[str, Tensor]:
        """The state dict of the model at the smallest validation error, whole on every process; empty before one."""
        if self._model is None:
            return self.best
        state = self._model.state_dict()
        return {name: _whole(value, state[name]) for name, value in self.best.items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "average": self.averaged(),
            "best": self.best_state(),
            "best_error": self.best_error,
            "best_epoch": self.best_epoch,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded, self.best = state_dict["average"], state_dict["best"]
        self.best_error, self.best_epoch = state_dict["best_error"], state_dict["best_epoch"]

    def _swap(self) -> None:
        for weight, average in zip(self._weights, self._average, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)


def _local(tensor: Tensor) -> Tensor:
    """The part of a sharded tensor that this process holds; another tensor as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _shard(whole: Tensor, like: Any) -> Tensor:
    """The part of `whole` that this process holds, split as `like` is."""
    if not hasattr(like, "device_mesh"):
        return whole.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    return _local(distribute_tensor(whole.to(like.device), like.device_mesh, like.placements))


def _whole(part: Tensor, like: Any) -> Tensor:
    """The whole of a tensor of which this process holds `part`, split as `like` is."""
    if not hasattr(like, "device_mesh"):
        return part
    from torch.distributed.tensor import DTensor

    sharded = DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    )
    return sharded.full_tensor()


class PatientStopping(EarlyStopping):
    """Lightning's early stopping on the validation error, which also holds in a run resumed after it has stopped.

    Parameters
    ----------
    patience
        Validations without a smaller error before training stops.

    Examples
    --------
    >>> PatientStopping(5).patience
    5
    """

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise InputError(f"patience must be at least 1, got {patience}")
        super().__init__(monitor="validation_error", patience=patience, mode="min", check_finite=False)

    @property
    def stopped(self) -> bool:
        """Whether the patience is used up."""
        return self.wait_count >= self.patience

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if self.stopped:
            trainer.should_stop = True
