"""The checkpoint of a run: one file, replaced atomically, from which training goes on to the same bits."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
import torch
from lightning.pytorch import callbacks
from torch import Tensor, nn

from sciops.errors import InputError, TrainingError

_AGREE_EVERY = 16  # steps between the messages by which processes agree to save: one costs as much as a small step


class Interrupted(Exception):
    """Training was asked to stop and has saved its checkpoint (on KeyboardInterrupt Lightning exits the process)."""


class RunCheckpoint(callbacks.Checkpoint):
    """Saves the whole state of training to ``last.ckpt``, between two steps.

    The file holds weights, normalisers, averaged and best weights, optimiser, schedule, position in the data, loops,
    metrics, early stopping, the random state of every process, and the settings of the run; tensors and plain values
    only. It is written under another name, flushed to the disk and renamed, so a run killed at any moment leaves the
    previous or the new checkpoint, never a torn one. It is saved when `seconds` have passed or every `steps` steps,
    at the end of training, and when the run is interrupted by Ctrl-C or SIGTERM.

    Parameters
    ----------
    folder
        Where the file is kept, or None to save nothing.
    seconds
        Time between two checkpoints.
    steps
        Steps between two checkpoints as well, or None.
    settings
        Plain values that are kept in the file.

    Raises
    ------
    InputError
        `seconds` or `steps` not positive.

    Examples
    --------
    >>> RunCheckpoint(Path("run"), seconds=60.0).path.name
    'last.ckpt'
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        seconds: float = 60.0,
        steps: int | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        if not seconds > 0:
            raise InputError(f"the time between checkpoints must be positive, got {seconds}")
        if steps is not None and steps < 1:
            raise InputError(f"the steps between checkpoints must be at least 1, got {steps}")
        self.path = None if folder is None else folder / "last.ckpt"
        self.seconds, self.steps, self.settings = seconds, steps, dict(settings or {})
        self._saved_at = time.monotonic()
        self._saved_step = -1
        self._interrupted = False
        self._random: dict[str, list[Tensor]] = {}

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        for device, states in self._random.items():
            if trainer.global_rank < len(states):
                state = states[trainer.global_rank].cpu()
                if device == "cpu":
                    torch.set_rng_state(state)
                elif torch.cuda.is_available():
                    torch.cuda.set_rng_state(state)
        self._random = {}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # accumulated gradients are not saved, and the last step of an epoch is saved after its validation
        if pl_module.last.taken and batch_idx + 1 < trainer.num_training_batches:
            self._save_or_stop(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs:
            self.save(trainer)
        else:
            self._save_or_stop(trainer)

    def state_dict(self) -> dict[str, Any]:
        cuda = torch.cuda.is_available()
        random = {
            "cpu": _gathered(torch.get_rng_state()),
            "cuda": _gathered(torch.cuda.get_rng_state()) if cuda else [],
        }
        return {"settings": dict(self.settings), "random": random}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._random = state_dict["random"]

    def save(self, trainer: lightning.Trainer) -> None:
        """Writes the checkpoint, once a step; every process takes part."""
        if self.path is None or self._saved_step == trainer.global_step:
            return
        temporary = self.path.with_suffix(".writing")
        try:
            trainer.save_checkpoint(temporary)
            if trainer.is_global_zero:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
                os.replace(temporary, self.path)
        except (OSError, RuntimeError) as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise TrainingError(
                f"cannot write the checkpoint {self.path}: {error}; free space or choose another folder"
            ) from error
        trainer.strategy.barrier()
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step

    def _save_or_stop(self, trainer: lightning.Trainer) -> None:
        late = time.monotonic() - self._saved_at >= self.seconds
        if trainer.world_size > 1:
            late, stop = False, False
            if trainer.global_step % _AGREE_EVERY == 0:
                wishes = [float(time.monotonic() - self._saved_at >= self.seconds), float(self._interrupted)]
                votes = torch.tensor(wishes, device=trainer.strategy.root_device)
                late, stop = (trainer.strategy.reduce(votes, reduce_op="sum") > 0).tolist()
        else:
            stop = self._interrupted
        if stop or late or (self.steps is not None and trainer.global_step % self.steps == 0):
            self.save(trainer)
        if stop:
            raise Interrupted

    @contextlib.contextmanager
    def interruptible(self) -> Iterator[None]:
        """While it lasts, the first Ctrl-C or SIGTERM asks for a stop after the step; the second acts at once."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        previous = {number: handler for number, handler in previous.items() if handler is not None}

        def ask(number: int, frame: FrameType | None) -> None:
            self._interrupted = True
            signal.signal(number, previous[signal.Signals(number)])

        for number in previous:
            signal.signal(number, ask)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


def _gathered(state: Tensor) -> list[Tensor]:
    """The states of all processes, in the order of their ranks."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [state]
    states: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(states, state)
    return states


def read_settings(path: Path) -> dict[str, Any]:
    """The settings of the run that wrote a checkpoint, read with ``weights_only=True``.

    Raises
    ------
    TrainingError
        The file cannot be read, or is not such a checkpoint.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        settings: dict[str, Any] = state["callbacks"][RunCheckpoint.__qualname__]["settings"]
    except pickle.UnpicklingError as error:
        raise TrainingError(
            f"{path} is not a training checkpoint of tensors and plain values; it is not loaded"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error}; train into another folder") from error
    return settings


def outline(module: nn.Module) -> str:
    """The class of a module, its number of weights, and a hash of the names and shapes of its parameters and buffers.

    Examples
    --------
    >>> outline(nn.Linear(3, 2))[:22]
    'Linear with 8 weights,'
    >>> outline(nn.Linear(3, 2)) == outline(nn.Linear(1, 4))
    False
    """
    shapes = [(name, list(getattr(value, "shape", ()))) for name, value in module.state_dict().items()]
    digest = hashlib.sha256(repr(shapes).encode()).hexdigest()[:12]
    return f"{type(module).__name__} with {sum(p.numel() for p in module.parameters())} weights, shapes {digest}"


def begins_at(folder: Path | None, *, resume: bool, settings: dict[str, Any]) -> Path | None:
    """The checkpoint that a run begins from, if its folder has one and it belongs to the same run.

    Parameters
    ----------
    folder
        The folder of the run, made if it is not there, or None.
    resume
        Whether to go on from its checkpoint.
    settings
        What must be the same in the run that wrote it.

    Raises
    ------
    InputError
        `resume` without a folder.
    TrainingError
        The folder cannot be made, holds a run that is not to be resumed, or one with other settings.
    """
    if folder is None:
        if resume:
            raise InputError("resume=True needs the folder of the run to go on with")
        return None
    path = folder / "checkpoints" / "last.ckpt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make the run folder {folder}: {error}; choose another folder") from error
    if not path.exists():
        return None
    if not resume:
        raise TrainingError(f"{folder} already holds a training run; go on with resume=True or choose another folder")
    saved = read_settings(path)
    for name, value in settings.items():
        if saved.get(name) == value:
            continue
        if name == "data":
            raise TrainingError(
                f"cannot resume {folder}: the data differs from that of the run ({_change(saved.get(name), value)}); "
                "use the same file or train into another folder"
            )
        remedy = f"the {name} of the run" if name in ("model", "normalisers") else f"{name}={saved.get(name)!r}"
        raise TrainingError(
            f"cannot resume {folder}: {name} was {saved.get(name)!r} and is now {value!r}; "
            f"use {remedy}, or train into another folder"
        )
    return path


def _change(saved: Any, value: dict[str, Any]) -> str:
    """What differs, in words."""
    saved = saved if isinstance(saved, dict) else {}
    name = next(name for name in value if saved.get(name) != value[name])
    return f"its {name} was {saved.get(name)!r} and is now {value[name]!r}"
