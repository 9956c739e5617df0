"""The Lightning module that trains any operator: normalisation, unrolling, optimiser, schedule, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from sciops.data.functions.sampling import stream_seed
from sciops.errors import InputError, TrainingError
from sciops.training.losses import RelativeL2
from sciops.training.physical import PhysicalOperator


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """AdamW with a one-cycle learning rate that changes at every step.

    Parameters
    ----------
    learning_rate
        The highest learning rate, reached after the warm-up.
    weight_decay
        Decoupled weight decay of every tensor with two or more axes; norms and biases are not decayed.
    clip
        Largest Euclidean norm of the whole gradient; ``math.inf`` does not clip.
    warmup
        Part of all steps that the learning rate rises, between 0 and 1.

    Examples
    --------
    >>> Optimisation(learning_rate=1e-3).weight_decay
    0.0001
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    clip: float = 1.0
    warmup: float = 0.1

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise InputError(f"learning_rate must be positive and finite, got {self.learning_rate}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"weight_decay must be zero or positive, got {self.weight_decay}")
        if not self.clip > 0:
            raise InputError(f"clip must be positive (math.inf does not clip), got {self.clip}")
        if not 0 < self.warmup < 1:
            raise InputError(f"warmup is a part of all steps, between 0 and 1, got {self.warmup}")


@dataclass
class Step:
    """The last optimiser step: its loss and gradient norm, still on the device, and its learning rate.

    While gradients are accumulated, `taken` is false after the batches that do not end in a step.
    """

    loss: Tensor = field(default_factory=lambda: torch.tensor(math.nan))
    gradient_norm: Tensor = field(default_factory=lambda: torch.tensor(math.nan))
    learning_rate: float = math.nan
    taken: bool = True


class OperatorModule(lightning.LightningModule):
    """How an operator between physical fields is trained and validated.

    Parameters
    ----------
    operator
        The operator; its model is what is trained.
    loss
        ``loss(prediction, target) -> scalar``, a mean over the batch, of fields in their own units. Where batches have
        a mask it is given as ``mask=``, and the weights of query points as ``weights=``.
    metric
        An object with ``per_sample(prediction, target) -> (batch,)``, with the same arguments; its mean over all
        validation items is the validation error.
    optimisation
        Optimiser, schedule and clipping.
    total_steps
        Optimiser steps of the whole training, the length of the schedule.
    validate_every
        Epochs between two validations; the last epoch is always validated.
    sharded
        Whether to shard the model over the processes (needs a strategy with a device mesh).
    seed
        Seed of the training noise.
    accumulate
        Batches in one step; the trainer must have the same ``accumulate_grad_batches``.

    Examples
    --------
    >>> from sciops.data.domains.domain import Grid
    >>> metric = RelativeL2(Grid.unit(8, kind="periodic"))
    >>> module = OperatorModule(PhysicalOperator(torch.nn.Identity()), loss=metric, metric=metric)
    >>> module(torch.ones(2, 1, 8)).shape
    torch.Size([2, 1, 8])
    """

    def __init__(
        self,
        operator: PhysicalOperator,
        *,
        loss: Callable[..., Tensor],
        metric: RelativeL2,
        optimisation: Optimisation | None = None,
        total_steps: int = 1,
        validate_every: int = 1,
        sharded: bool = False,
        seed: int = 0,
        accumulate: int = 1,
    ) -> None:
        super().__init__()
        self.operator = operator
        self.loss = loss
        self.metric = metric
        self.optimisation = optimisation or Optimisation()
        self.total_steps = total_steps
        self.validate_every = validate_every
        self.sharded = sharded
        self.seed, self.accumulate = seed, accumulate
        self.last = Step()
        self.validation_error = math.nan
        self._validation_sum = torch.zeros(2, dtype=torch.float64)

    @property
    def model(self) -> nn.Module:
        """What is trained: the map between normalised tensors."""
        return self.operator.model

    def forward(self, x: Tensor, parameters: Tensor | None = None) -> Tensor:
        """The prediction of the operator."""
        prediction: Tensor = self.operator(x, parameters)
        return prediction

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        x, target, parameters, mask = batch["x"], batch["y"], batch.get("parameters"), batch.get("mask")
        rollout = self.operator.rollout
        if rollout is None:
            prediction = self.operator(x, parameters, mask=mask, query=batch.get("query"))
        elif rollout.pushforward:
            x = self._with_noise(x, batch["index"], rollout.noise)
            with torch.no_grad():
                for _ in range(rollout.steps - 1):
                    x = self.operator.shifted(x, self.operator(x, parameters, mask=mask))
            prediction = self.operator(x, parameters, mask=mask)
            target = target[:, -prediction.shape[1] :]
        else:
            x = self._with_noise(x, batch["index"], rollout.noise)
            prediction = self.operator.unroll(x, parameters, steps=rollout.steps, mask=mask)
        loss = self.loss(prediction, target, **_where(batch))
        return self._part_of_step(loss, batch_idx)

    def _part_of_step(self, loss: Tensor, batch_idx: int) -> Tensor:
        """The loss, so scaled that each step follows the mean over its batches, also where the last has fewer."""
        if self.accumulate == 1:
            self.last.loss = loss.detach()
            return loss
        number = batch_idx % self.accumulate
        batches = min(self.accumulate, int(self.trainer.num_training_batches) - (batch_idx - number))
        part = loss.detach() / batches
        self.last.loss = part if number == 0 else self.last.loss + part
        self.last.taken = number + 1 == batches
        return loss * (self.accumulate / batches)  # the trainer divides by `accumulate`

    def _with_noise(self, x: Tensor, index: Tensor, scale: float) -> Tensor:
        """White noise that is a pure function of (seed, epoch, item)."""
        if scale == 0:
            return x
        draws = []
        for item in index.tolist():
            generator = torch.Generator().manual_seed(stream_seed("noise", self.seed, self.current_epoch, item))
            draws.append(torch.randn(x.shape[1:], generator=generator, dtype=torch.float64))
        noise = scale * torch.stack(draws).to(x)
        normaliser: Any = self.operator.input_normaliser
        return x + noise if normaliser is None else normaliser.inverse(normaliser(x) + noise)

    def on_train_start(self) -> None:
        self.on_train_epoch_start()  # which Lightning leaves out in an epoch that is resumed

    def on_train_epoch_start(self) -> None:
        last = self.current_epoch + 1 == self.trainer.max_epochs
        self.trainer.check_val_every_n_epoch = 1 if last else self.validate_every

    def on_validation_epoch_start(self) -> None:
        self._validation_sum = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        x, target, parameters, mask = batch["x"], batch["y"], batch.get("parameters"), batch.get("mask")
        rollout = self.operator.rollout
        if rollout is None:
            prediction = self.operator(x, parameters, mask=mask, query=batch.get("query"))
        else:
            prediction = self.operator.unroll(x, parameters, steps=rollout.steps, mask=mask)
        if "padding" not in batch:
            errors = self.metric.per_sample(prediction, target, **_where(batch))
            self._validation_sum += torch.stack([errors.sum().double(), torch.full_like(errors, 1).sum().double()])

    def on_validation_epoch_end(self) -> None:
        error, count = self.trainer.strategy.reduce(self._validation_sum, reduce_op="sum").tolist()
        self.validation_error = error / count
        self.log("validation_error", self.validation_error, logger=False)

    def configure_model(self) -> None:
        """Shards the model over all processes when the strategy asks for it; the blocks of module lists apart."""
        if not self.sharded or any(hasattr(p, "device_mesh") for p in self.model.parameters()):
            return
        from torch.distributed import broadcast
        from torch.distributed.fsdp import fully_shard

        mesh = self.device_mesh["data_parallel"]  # type: ignore[index]
        for tensor in [*self.model.parameters(), *self.model.buffers()]:
            broadcast(tensor.data, src=0)
        for block in _blocks(self.model):
            fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)

    def configure_optimizers(self) -> Any:
        options = self.optimisation
        decayed: list[Tensor] = []
        kept: list[Tensor] = []
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                (kept if parameter.ndim < 2 or name.endswith("bias") else decayed).append(parameter)
        groups: list[dict[str, Any]] = [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]
        optimiser = torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=options.learning_rate,
            weight_decay=options.weight_decay,
            fused=not self.sharded,
        )
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, self._one_cycle)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _one_cycle(self, step: int) -> float:
        """The learning rate of a step, as a part of the highest: a cosine up from 1/25, then one down to 1/10000."""
        rise = max(1.0, self.optimisation.warmup * self.total_steps)
        if step < rise:
            return _cosine(1 / 25, 1.0, step / rise)
        return _cosine(1.0, 1e-4, min(1.0, (step - rise) / max(1.0, self.total_steps - 1 - rise)))

    def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.optimisation.clip)
        self.last.gradient_norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        self.last.learning_rate = optimizer.param_groups[0]["lr"]
        if self.device.type == "cpu":
            # every process sees the same reduced gradient, so all of them stop here together, before the step
            self.check_finite(float(self.last.loss), float(self.last.gradient_norm), self.global_step)

    def check_finite(self, loss: float, gradient_norm: float, step: int) -> None:
        """Raises TrainingError when a loss or gradient is not finite; the checkpoint before it stays."""
        if math.isfinite(loss) and math.isfinite(gradient_norm):
            return
        options = self.optimisation
        raise TrainingError(
            f"the loss is {loss:g} and its gradient norm {gradient_norm:g} at epoch {self.current_epoch}, step {step}, "
            f"learning rate {self.last.learning_rate:.3g}; train again with a lower learning_rate (now "
            f"{options.learning_rate:g}) or a smaller clip (now {options.clip:g})"
        )


def _where(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where a loss is measured: the weights of query points, which lie within the mask, or the mask; nothing else."""
    if "weights" in batch:
        return {"weights": batch["weights"]}
    return {"mask": batch["mask"]} if "mask" in batch else {}


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The members of the outermost module lists that hold weights: what is gathered and freed together."""
    for child in module.children():
        if isinstance(module, nn.ModuleList) and not isinstance(child, nn.ModuleList):
            if next(child.parameters(), None) is not None:
                yield child
        else:
            yield from _blocks(child)


def _cosine(start: float, stop: float, part: float) -> float:
    return stop + (start - stop) * (1 + math.cos(math.pi * part)) / 2
