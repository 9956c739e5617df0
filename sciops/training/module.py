"""The Lightning module that trains any operator: normalisation, unrolling, optimiser, schedule, clipping."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from sciops.data.sampling import stream_seed
from sciops.errors import InputError, TrainingError
from sciops.training.losses import RelativeL2


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


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """How an evolution operator is stepped, in training and in prediction.

    Parameters
    ----------
    history
        Frames that the model sees; its input channels are frame-major, oldest first.
    steps
        Frames that a training item predicts, one after another, each from the ones before.
    residual
        The model gives the change since the last frame instead of the frame.
    pushforward
        Gradient and loss of the last step only; the steps before it move the input to what the model itself
        produces.
    noise
        Standard deviation of the white noise on the training inputs, in units of the inputs' own deviation.

    References
    ----------
    Brandstetter, Worrall and Welling, Message passing neural PDE solvers, ICLR 2022.

    Examples
    --------
    >>> Rollout(history=2, steps=4).pushforward
    False
    """

    history: int = 1
    steps: int = 1
    residual: bool = False
    pushforward: bool = False
    noise: float = 0.0

    def __post_init__(self) -> None:
        if self.history < 1 or self.steps < 1:
            raise InputError(f"history and steps must be at least 1, got {self.history} and {self.steps}")
        if not (math.isfinite(self.noise) and self.noise >= 0):
            raise InputError(f"noise must be zero or positive, got {self.noise}")
        if self.pushforward and self.steps == 1:
            raise InputError("pushforward needs steps of at least 2, got 1")


@dataclass
class Step:
    """The last optimiser step: its loss and gradient norm, still on the device, and its learning rate."""

    loss: Tensor = field(default_factory=lambda: torch.tensor(math.nan))
    gradient_norm: Tensor = field(default_factory=lambda: torch.tensor(math.nan))
    learning_rate: float = math.nan


class OperatorModule(lightning.LightningModule):
    r"""An operator between physical fields, and how it is trained.

    With normalisers :math:`N_x, N_y` the map is :math:`x \mapsto N_y^{-1}(\mathrm{model}(N_x(x), N_p(p)))`; with a
    `rollout` it is applied `steps` times, each time to the newest `history` frames. The loss compares fields in
    their own units.

    Parameters
    ----------
    model
        ``model(x)``, or ``model(x, parameters)`` when the batches hold parameters; x ``(batch, channel, *space)``.
    loss
        ``loss(prediction, target) -> scalar``, a mean over the batch.
    metric
        An object with ``per_sample(prediction, target) -> (batch,)``; its mean over all validation items is the
        validation error.
    input_normaliser, output_normaliser, parameter_normaliser
        Modules with ``forward`` and ``inverse``, or None for fields used as they are.
    rollout
        None for a map from inputs to outputs, or how the trajectory is stepped.
    optimisation
        Optimiser, schedule and clipping.
    total_steps
        Optimiser steps of the whole training, the length of the schedule.
    validate_every
        Epochs between two validations; the last epoch is always validated.
    seed
        Seed of the training noise.

    Examples
    --------
    >>> from sciops.data import Grid
    >>> grid = Grid.unit(8, kind="periodic")
    >>> module = OperatorModule(torch.nn.Identity(), loss=RelativeL2(grid), metric=RelativeL2(grid))
    >>> module(torch.ones(2, 1, 8)).shape
    torch.Size([2, 1, 8])
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        loss: Callable[[Tensor, Tensor], Tensor],
        metric: RelativeL2,
        input_normaliser: nn.Module | None = None,
        output_normaliser: nn.Module | None = None,
        parameter_normaliser: nn.Module | None = None,
        rollout: Rollout | None = None,
        optimisation: Optimisation | None = None,
        total_steps: int = 1,
        validate_every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = loss
        self.metric = metric
        self.input_normaliser = input_normaliser
        self.output_normaliser = output_normaliser
        self.parameter_normaliser = parameter_normaliser
        self.rollout = rollout
        self.optimisation = optimisation or Optimisation()
        self.total_steps = total_steps
        self.validate_every = validate_every
        self.seed = seed
        self.sharded = False
        self.last = Step()
        self.validation_error = math.nan
        self._validation_sum: Tensor | None = None

    def forward(self, x: Tensor, parameters: Tensor | None = None) -> Tensor:
        """The prediction for physical x ``(batch, channel, *space)``; with a rollout, the next frame."""
        features = x if self.input_normaliser is None else self.input_normaliser(x)
        if parameters is None:
            output = self.model(features)
        else:
            if self.parameter_normaliser is not None:
                parameters = self.parameter_normaliser(parameters)
            output = self.model(features, parameters)
        if output.dtype in (torch.bfloat16, torch.float16):
            output = output.float()
        if self.output_normaliser is not None:
            output = self.output_normaliser.inverse(output)
        if self.rollout is not None and self.rollout.residual:
            channels = output.shape[1]
            output = output + x[:, (self.rollout.history - 1) * channels : self.rollout.history * channels]
        return output

    def unroll(self, x: Tensor, parameters: Tensor | None = None, *, steps: int) -> Tensor:
        """`steps` frames ``(batch, steps*channel, *space)`` from x: the history, then channels that do not move."""
        frames = []
        for step in range(steps):
            frame = self(x, parameters)
            frames.append(frame)
            if step + 1 < steps:
                x = self._shifted(x, frame)
        return torch.cat(frames, dim=1) if steps > 1 else frames[0]

    def _shifted(self, x: Tensor, frame: Tensor) -> Tensor:
        """The input of the next step: the oldest frame out, the new one in."""
        if self.rollout is None:
            raise InputError("a map has no time to be stepped in; train it with a rollout")
        channels = frame.shape[1]
        moving = self.rollout.history * channels
        if x.shape[1] < moving:
            raise InputError(
                f"{self.rollout.history} frames of {channels} channels are {moving} input channels, got {x.shape[1]}; "
                "to step on, inputs and outputs must be the same variables"
            )
        return torch.cat([x[:, channels:moving], frame, x[:, moving:]], dim=1)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        x, target, parameters = batch["x"], batch["y"], batch.get("parameters")
        if self.rollout is None:
            prediction = self(x, parameters)
        else:
            x = self._with_noise(x, batch["index"])
            steps = self.rollout.steps
            if self.rollout.pushforward:
                with torch.no_grad():
                    for _ in range(steps - 1):
                        x = self._shifted(x, self(x, parameters))
                prediction = self(x, parameters)
                target = target[:, -prediction.shape[1] :]
            else:
                prediction = self.unroll(x, parameters, steps=steps)
        loss = self.loss(prediction, target)
        self.last.loss = loss.detach()
        return loss

    def _with_noise(self, x: Tensor, index: Tensor) -> Tensor:
        """White noise that is a pure function of (seed, epoch, sample index)."""
        assert self.rollout is not None
        if self.rollout.noise == 0:
            return x
        draws = []
        for item in index.tolist():
            generator = torch.Generator().manual_seed(stream_seed("noise", self.seed, self.current_epoch, item))
            draws.append(torch.randn(x.shape[1:], generator=generator, dtype=torch.float64))
        noise = torch.stack(draws).to(x)
        scale = self.rollout.noise
        if self.input_normaliser is None:
            return x + scale * noise
        return self.input_normaliser.inverse(self.input_normaliser(x) + scale * noise)

    def on_train_start(self) -> None:
        self.on_train_epoch_start()  # which Lightning leaves out in an epoch that is resumed

    def on_train_epoch_start(self) -> None:
        last = self.current_epoch + 1 == self.trainer.max_epochs
        self.trainer.check_val_every_n_epoch = 1 if last else self.validate_every

    def on_validation_epoch_start(self) -> None:
        self._validation_sum = torch.zeros(2, dtype=torch.float64, device=self.device)

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        x, target, parameters = batch["x"], batch["y"], batch.get("parameters")
        if self.rollout is None:
            prediction = self(x, parameters)
        else:
            prediction = self.unroll(x, parameters, steps=self.rollout.steps)
        if "padding" in batch:
            return
        errors = self.metric.per_sample(prediction, target)
        assert self._validation_sum is not None
        self._validation_sum[0] += errors.sum()
        self._validation_sum[1] += len(errors)

    def on_validation_epoch_end(self) -> None:
        assert self._validation_sum is not None
        total = self.trainer.strategy.reduce(self._validation_sum, reduce_op="sum")
        error, count = total.tolist()
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
        for child in self.model.modules():
            if isinstance(child, nn.ModuleList):
                for block in child:
                    if any(True for _ in block.parameters()):
                        fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)

    def configure_optimizers(self) -> dict[str, Any]:
        options = self.optimisation
        decayed, kept = [], []
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                (kept if parameter.ndim < 2 or name.endswith("bias") else decayed).append(parameter)
        groups = [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]
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


def _cosine(start: float, stop: float, part: float) -> float:
    return stop + (start - stop) * (1 + math.cos(math.pi * part)) / 2
