"""What a run tells: a metrics table that survives kills, TensorBoard, and a progress bar."""

from __future__ import annotations

import contextlib
import csv
import io
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ProgressBar
from torch import Tensor

from sciops.errors import InputError, TrainingError
from sciops.training.progress import ProgressLine

COLUMNS = ("epoch", "step", "learning_rate", "train_loss", "validation_error")
Row = dict[str, float]


class Metrics(Callback):
    """The metrics of every epoch: in memory, in ``metrics.csv`` and, by step, in TensorBoard.

    A row holds the epoch (from 0), the steps taken by its end, the learning rate of its last step, the mean training
    loss of its steps, and the validation error of the averaged weights (empty if not validated). The file is appended
    to; when a run is resumed, rows after its checkpoint are taken away first, and none is lost or written twice.

    Parameters
    ----------
    folder
        The folder of the run, or None to keep the rows in memory only.
    every
        Steps between two reads of the loss from the device.
    tensorboard
        Whether to write a TensorBoard log to ``folder/tensorboard``.

    Raises
    ------
    InputError
        `every` below 1.
    TrainingError
        While training, if a file cannot be written, as on a full disk.

    Examples
    --------
    >>> Metrics(None).rows
    []
    """

    def __init__(self, folder: Path | None, *, every: int = 50, tensorboard: bool = True) -> None:
        if every < 1:
            raise InputError(f"the steps between two reads of the loss must be at least 1, got {every}")
        self.folder, self.every, self.tensorboard = folder, every, tensorboard
        self.rows: list[Row] = []
        self._losses: list[float] = []
        self._pending: list[tuple[Tensor, Tensor]] = []
        self._writer: Any = None
        self._validated = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.write(trainer.is_global_zero)
        if self.folder is not None and self.tensorboard and trainer.is_global_zero:
            from torch.utils.tensorboard import SummaryWriter

            step = trainer.global_step
            with self._writing("tensorboard"):
                _wait_for_a_later_name(self.folder / "tensorboard")
                self._writer = SummaryWriter(str(self.folder / "tensorboard"), purge_step=step if step else None)

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        if not pl_module.last.taken:
            return
        self._pending.append((pl_module.last.loss, pl_module.last.gradient_norm))
        if len(self._pending) >= self.every:
            self.flush(trainer, pl_module)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._losses, self._validated = [], False

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.flush(trainer, pl_module)
        row: Row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "learning_rate": pl_module.last.learning_rate,
            "train_loss": math.fsum(self._losses) / len(self._losses),
            "validation_error": pl_module.validation_error if self._validated else math.nan,
        }
        self.rows.append(row)
        self._losses = []
        if self.folder is not None and trainer.is_global_zero:
            with self._writing("metrics.csv"), (self.folder / "metrics.csv").open("a", newline="") as file:
                file.write(_lines([row]))
        if self._validated:
            self._scalar("validation_error", row["validation_error"], row["step"])

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self.close()

    def on_exception(self, *_: Any) -> None:
        with contextlib.suppress(TrainingError):  # another error is on its way, perhaps from the same full disk
            self.close()

    def close(self) -> None:
        """Closes the TensorBoard file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with self._writing("tensorboard"):
                writer.close()

    def flush(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Reads the losses of the last steps from the device, the mean over all processes; every process takes part."""
        if not self._pending:
            return
        values = torch.stack([torch.stack([loss.double(), norm.double()]) for loss, norm in self._pending])
        values = trainer.strategy.reduce(values, reduce_op="mean")
        first = trainer.global_step - len(self._pending)
        self._pending = []
        for step, (loss, norm) in enumerate(values.tolist(), start=first):
            pl_module.check_finite(loss, norm, step)
            self._losses.append(loss)
            self._scalar("train_loss", loss, step)
        self._scalar("learning_rate", pl_module.last.learning_rate, trainer.global_step - 1)

    def on_save_checkpoint(self, trainer: lightning.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self.flush(trainer, pl_module)
        checkpoint["metrics"] = {"rows": [dict(row) for row in self.rows], "losses": list(self._losses)}

    def on_load_checkpoint(self, trainer: lightning.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        self.rows = checkpoint["metrics"]["rows"]
        self._losses = checkpoint["metrics"]["losses"]

    def write(self, here: bool = True) -> None:
        """Writes ``metrics.csv`` anew from the rows, by a temporary file."""
        if self.folder is None or not here:
            return
        temporary = self.folder / "metrics.csv.writing"
        with self._writing("metrics.csv"):
            temporary.write_text(",".join(COLUMNS) + "\n" + _lines(self.rows), newline="")
            os.replace(temporary, self.folder / "metrics.csv")

    def _scalar(self, name: str, value: float, step: float) -> None:
        if self._writer is not None:
            with self._writing("tensorboard"):
                self._writer.add_scalar(name, value, step)

    @contextlib.contextmanager
    def _writing(self, name: str) -> Iterator[None]:
        """Names the file of the folder when it cannot be written."""
        assert self.folder is not None
        try:
            yield
        except OSError as error:
            raise TrainingError(
                f"cannot write {self.folder / name}: {error}; free space or choose another folder"
            ) from error


def _lines(rows: list[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in rows:
        writer.writerow(["" if math.isnan(row[name]) else repr(row[name]) for name in COLUMNS])
    return text.getvalue()


class RichProgress(ProgressBar):
    """One line for the whole training: steps, loss, validation error, samples a second, time left.

    It is brought up to date a few times a second; only then is the loss read from the device.

    Parameters
    ----------
    batch_size
        Items in one step, over all processes.

    Examples
    --------
    >>> RichProgress(batch_size=8).is_enabled
    True
    """

    def __init__(self, *, batch_size: int) -> None:
        super().__init__()
        self.batch_size = batch_size
        self._bar: ProgressLine | None = None
        self._since = (0, 0.0)
        self._enabled = True

    @property
    def is_enabled(self) -> bool:
        return self._enabled

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if not (self._enabled and trainer.is_global_zero):
            return
        self._bar = ProgressLine(
            pl_module.total_steps,
            before="epoch {epoch}",
            after="loss {loss}  validation {error}  {rate} samples/s",
            completed=trainer.global_step,
        )
        self._since = (trainer.global_step, time.monotonic())
        self._bar.start()

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        if self._bar is not None and self._bar.due:
            self._redraw(trainer, pl_module)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if self._bar is not None:
            self._redraw(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._stop()

    def on_exception(self, *_: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _redraw(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        assert self._bar is not None
        steps, seconds = trainer.global_step - self._since[0], time.monotonic() - self._since[1]
        loss = float(pl_module.last.loss)
        error = pl_module.validation_error
        self._bar.update(
            trainer.global_step,
            epoch=f"{min(trainer.current_epoch + 1, trainer.max_epochs or 1)}/{trainer.max_epochs}",
            loss="" if math.isnan(loss) else f"{loss:.3g}",
            error="" if math.isnan(error) else f"{error:.3g}",
            rate=f"{steps * self.batch_size / seconds:.0f}" if seconds > 0 else "",
        )


def _wait_for_a_later_name(folder: Path) -> None:
    """Wait until a file of events that begins now is sorted behind those that are there.

    Their names begin with the second, and what comes first in a second is read first only by chance: the steps that a
    resumed run takes back would stand beside those that it takes anew.
    """
    last = max((path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*")), default="")
    while last.isdigit() and int(time.time()) == int(last):
        time.sleep(0.05)
