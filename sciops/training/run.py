"""`train`: an operator and two data sets in, a trained operator out; killed at any moment, it goes on where it was."""

from __future__ import annotations

import contextlib
import copy
import logging
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import lightning
import torch
from torch import Tensor, nn

from sciops.data.functions.coarsening import Resolution
from sciops.data.functions.function_dataset import FunctionDataset
from sciops.errors import InputError, did_you_mean
from sciops.training.callbacks import PatientStopping, WeightAverage
from sciops.training.checkpoint import Interrupted, RunCheckpoint, begins_at, outline
from sciops.training.data_module import OperatorData
from sciops.training.logs import Metrics, RichProgress, Row
from sciops.training.losses import RelativeL2, losses
from sciops.training.module import OperatorModule, Optimisation
from sciops.training.physical import PhysicalOperator, Rollout

Precision = Literal["32", "64", "bf16-mixed"]


@dataclass(frozen=True)
class TrainingResult:
    """What training gives.

    Parameters
    ----------
    operator
        The operator between physical fields, in evaluation mode on the CPU, with the averaged weights of the epoch with
        the smallest validation error.
    history
        One row an epoch: epoch, step, learning_rate, train_loss, validation_error.
    best_error, best_epoch
        The smallest validation error and the epoch that had it.
    epochs
        Epochs run, over all resumed parts.
    seconds
        Wall time of this call.
    stopped_early
        Whether the patience was used up before the last epoch.
    """

    operator: PhysicalOperator
    history: tuple[Row, ...]
    best_error: float
    best_epoch: int
    epochs: int
    seconds: float
    stopped_early: bool

    @property
    def model(self) -> nn.Module:
        """The trained model, from normalised inputs to normalised outputs."""
        return self.operator.model


def train(
    model: nn.Module,
    train_set: FunctionDataset,
    validation_set: FunctionDataset,
    *,
    epochs: int,
    batch_size: int,
    accumulate: int = 1,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-4,
    loss: str | Callable[..., Tensor] = "l2",
    input_normaliser: nn.Module | None = None,
    output_normaliser: nn.Module | None = None,
    parameter_normaliser: nn.Module | None = None,
    rollout: Rollout | None = None,
    symmetries: Sequence[str] = (),
    resolutions: Sequence[Resolution] = (),
    clip: float = 1.0,
    warmup: float = 0.1,
    average: float = 0.999,
    patience: int | None = None,
    validate_every: int = 1,
    seed: int = 0,
    workers: int = 0,
    run_dir: str | Path | None = None,
    resume: bool = False,
    data_fingerprint: str = "",
    checkpoint_seconds: float = 60.0,
    checkpoint_steps: int | None = None,
    tensorboard: bool = True,
    device: str = "auto",
    precision: Precision = "32",
    devices: int = 1,
    strategy: str | Any = "auto",
    progress: bool = True,
) -> TrainingResult:
    r"""Trains an operator by AdamW with a one-cycle learning rate, on the mean relative error of fields.

    Every step, every validation and every random number depends on the arguments alone: a run that was killed and
    resumed, or that reads its data with another number of workers, ends with the same bits on the same machine.

    Parameters
    ----------
    model
        ``model(x)`` or, when the data has parameters, ``model(x, parameters)``; between normalised fields
        ``(batch, channel, *space)``. It is trained in place.
    train_set, validation_set
        Function data sets with the same variables.
    epochs, batch_size
        Passes over the training set; items in one batch, over all processes. The last incomplete batch of an epoch is
        left out.
    accumulate
        Batches in one step, for steps whose items do not fit in memory at once: the gradients of their mean loss are
        summed up before the weights move. The last step of an epoch takes the batches that are left.
    learning_rate, weight_decay, clip, warmup
        See `Optimisation`.
    loss
        ``"l2"``, ``"h1"``, or a function of prediction and target in their own units; see `OperatorModule` for masks.
    input_normaliser, output_normaliser, parameter_normaliser
        Modules with ``forward`` and ``inverse``, kept in the checkpoint; None uses fields as they are. A run that is
        resumed keeps the numbers of its checkpoint, whatever those of the modules passed then.
    rollout
        None for a map, or how a trajectory is stepped; see `Rollout`.
    symmetries
        Symmetries of the problem, by which training items are moved at random.
    resolutions
        Resolutions of which every training batch has one at random; none: that of the data.
    average
        Decay of the averaged weights; see `WeightAverage`.
    patience
        Validations without a smaller error before training stops; None trains all epochs.
    validate_every
        Epochs between two validations; the last epoch is always validated.
    seed
        Seed of the order, the augmentation and the noise. (The model comes with its weights.)
    workers
        Processes that read ahead, for data that does not fit in memory; 0 reads in the training process, and keeps
        small data in memory.
    run_dir
        Folder for ``checkpoints/last.ckpt``, ``metrics.csv`` and ``tensorboard/``; None writes nothing.
    resume
        Go on from the checkpoint in `run_dir`; without one there, begin. The data and all arguments that count for the
        result must be those of the run.
    data_fingerprint
        Text that identifies the content of the data, as a hash of its file; a run is not resumed with another.
    checkpoint_seconds, checkpoint_steps
        Time and, if given, steps between two checkpoints.
    tensorboard
        Whether to write the TensorBoard log.
    device
        ``"auto"``, ``"cpu"`` or ``"cuda"``.
    precision
        ``"32"``, ``"64"`` or ``"bf16-mixed"``.
    devices, strategy
        Processes on this machine, and ``"auto"``, ``"ddp"``, ``"fully_sharded"`` or a Lightning strategy.
    progress
        Whether to show the progress bar.

    Returns
    -------
    TrainingResult

    Raises
    ------
    InputError
        An argument out of range.
    TrainingError
        A loss that is not finite, a folder that holds another run, or a file that cannot be read or written.
    KeyboardInterrupt
        On Ctrl-C, after the checkpoint was saved; the message says how to go on.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019.
    Smith and Topin, Super-convergence, 2018.
    """
    began = time.monotonic()
    for name, value in (
        ("epochs", epochs),
        ("accumulate", accumulate),
        ("devices", devices),
        ("validate_every", validate_every),
    ):
        if value < 1:
            raise InputError(f"{name} must be at least 1, got {value}")
    if precision not in get_args(Precision):
        raise InputError(f"unknown precision {precision!r}{did_you_mean(str(precision), get_args(Precision))}")
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"unknown device {device!r}{did_you_mean(str(device), ('auto', 'cpu', 'cuda'))}")
    dtype = torch.float64 if precision == "64" else torch.float32
    data = OperatorData(
        train_set,
        validation_set,
        batch_size=batch_size,
        seed=seed,
        symmetries=symmetries,
        resolutions=resolutions,
        workers=workers,
        dtype=dtype,
    )
    domain = train_set.domain
    operator = PhysicalOperator(
        model,
        input_normaliser=input_normaliser,
        output_normaliser=output_normaliser,
        parameter_normaliser=parameter_normaliser,
        rollout=rollout,
    ).to(dtype)
    module = OperatorModule(
        operator,
        loss=losses[loss](domain) if isinstance(loss, str) else loss,
        metric=RelativeL2(domain),
        optimisation=Optimisation(learning_rate=learning_rate, weight_decay=weight_decay, clip=clip, warmup=warmup),
        total_steps=epochs * math.ceil(data.batches_per_epoch / accumulate),
        validate_every=validate_every,
        sharded=strategy == "fully_sharded",
        seed=seed,
        accumulate=accumulate,
    )
    normalisers = (input_normaliser, output_normaliser, parameter_normaliser)
    settings = {
        "data": {
            "fingerprint": data_fingerprint,
            "items": [len(train_set), len(validation_set)],
            "shape": [train_set.in_channels, train_set.out_channels, *domain.shape],
        },
        "epochs": epochs,
        "batch_size": data.batch_size,
        "accumulate": accumulate,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "clip": clip,
        "warmup": warmup,
        "average": average,
        "seed": seed,
        "precision": precision,
        "loss": loss if isinstance(loss, str) else type(loss).__name__,
        "rollout": None if rollout is None else asdict(rollout),
        "symmetries": list(symmetries),
        **({"resolutions": [list(r) if isinstance(r, Sequence) else r for r in resolutions]} if resolutions else {}),
        "patience": patience,
        "validate_every": validate_every,
        "normalisers": [None if part is None else outline(part) for part in normalisers],
        "model": outline(model),
    }
    folder = Path(run_dir) if run_dir is not None else None
    start = begins_at(folder, resume=resume, settings=settings)
    metrics = Metrics(folder, tensorboard=tensorboard)
    weights = WeightAverage(average)
    stopping = PatientStopping(patience) if patience is not None else None
    checkpoint = RunCheckpoint(
        folder / "checkpoints" if folder else None,
        seconds=checkpoint_seconds,
        steps=checkpoint_steps,
        settings=settings,
    )
    callbacks: list[Any] = [weights, metrics, *([stopping] if stopping else []), checkpoint]
    if progress:
        callbacks.append(RichProgress(batch_size=accumulate * data.batch_size))
    whole = copy.deepcopy(model) if module.sharded else model
    with _quiet(), checkpoint.interruptible():
        trainer = lightning.Trainer(
            accelerator="gpu" if device == "cuda" else device,
            devices=devices,
            strategy=_strategy(strategy, devices),
            precision="bf16-mixed" if precision == "bf16-mixed" else "32-true",  # "true": tensors keep their dtype
            max_epochs=epochs,
            accumulate_grad_batches=accumulate,
            callbacks=callbacks,
            logger=False,
            enable_progress_bar=progress,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )
        try:
            trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)
        except (Interrupted, SystemExit):  # Lightning exits on a second Ctrl-C
            left = (
                f"go on with resume=True and the same folder {folder}"
                if folder
                else "nothing is saved without a run folder"
            )
            raise KeyboardInterrupt(
                f"training stopped at epoch {trainer.current_epoch}, step {trainer.global_step}; {left}"
            ) from None
    metrics.write(trainer.is_global_zero)
    best = weights.best_state() or {**module.model.state_dict(), **weights.averaged()}
    operator.model = whole
    whole.load_state_dict(best)
    return TrainingResult(
        operator=operator.cpu().eval(),
        history=tuple(metrics.rows),
        best_error=weights.best_error if weights.best else math.nan,
        best_epoch=weights.best_epoch,
        epochs=len(metrics.rows),
        seconds=time.monotonic() - began,
        stopped_early=stopping is not None and stopping.stopped and len(metrics.rows) < epochs,
    )


def _strategy(strategy: str | Any, devices: int) -> Any:
    if strategy == "fully_sharded":
        from lightning.pytorch.strategies import ModelParallelStrategy

        return ModelParallelStrategy(
            data_parallel_size=devices, tensor_parallel_size=1, save_distributed_checkpoint=False
        )
    return strategy


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without Lightning's banners and tips; errors still come through."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\.")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
