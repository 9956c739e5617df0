from __future__ import annotations

import csv
import math
import os
import signal
import time
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sciops.errors import InputError, TrainingError
from sciops.training import checkpoint
from sciops.training.losses import RelativeL2
from sciops.training.module import OperatorModule
from sciops.training.physical import Rollout
from sciops.training.run import TrainingResult, train


@pytest.mark.parametrize("patience", [None, 1])
def test_every_checkpoint_leads_to_the_same_bits(
    small: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    same_runs: Any,
    copies_of_every_checkpoint: Any,
    patience: int | None,
    same_results: Any,
) -> None:
    """Also where early stopping ends the run, by a learning rate that is too large."""
    options: dict[str, Any] = {"checkpoint_steps": 1}
    if patience is not None:
        options.update(patience=patience, learning_rate=1.0, epochs=6, average=0.0)
    with monkeypatch.context() as patch:
        copies = copies_of_every_checkpoint(tmp_path, patch)
        whole = small.small_train(tmp_path / "whole", **options)
    assert whole.stopped_early == (patience is not None)
    assert len(copies) == 4 * whole.epochs
    assert whole.epochs == (4 if patience is None else 3)
    for step, copy in enumerate(copies, start=1):
        torch.manual_seed(step)
        resumed = small.small_train(copy, **options)
        same_results(whole, resumed)
        same_runs(tmp_path / "whole", copy)


def test_training_learns_and_reports(small: ModuleType, tmp_path: Path) -> None:
    result = small.small_train(tmp_path, epochs=30, dropout=0.0, average=0.9, tensorboard=True)
    assert result.best_error < 0.1 * result.history[0]["validation_error"]
    assert result.best_error == min(row["validation_error"] for row in result.history)
    assert result.history[result.best_epoch]["validation_error"] == result.best_error
    assert result.epochs == 30 and not result.stopped_early and result.seconds > 0
    with pytest.raises(FrozenInstanceError):
        result.epochs = 1  # type: ignore[misc]
    _, validation = small.problem()
    batch = validation.batch(range(len(validation)))
    with torch.no_grad():
        error = RelativeL2(validation.grid)(result.operator(batch["x"]), batch["y"])
    assert float(error) == pytest.approx(result.best_error, rel=1e-5)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [{name: float(value) for name, value in row.items()} for row in rows] == list(result.history)
    assert [row["step"] for row in result.history] == list(range(4, 124, 4))
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1


def test_a_finished_run_is_not_run_again(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_results: Any
) -> None:
    first = small.small_train(tmp_path)
    (tmp_path / "metrics.csv").write_text("epoch,st")
    monkeypatch.setattr(OperatorModule, "training_step", at_step(16, lambda _: pytest.fail("trained again")))
    same_results(first, small.small_train(tmp_path))
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 5


def test_a_torn_file_is_never_taken_for_the_checkpoint(small: ModuleType, tmp_path: Path, same_results: Any) -> None:
    expected = small.small_train(tmp_path / "whole")
    (tmp_path / "torn" / "checkpoints").mkdir(parents=True)
    (tmp_path / "torn" / "checkpoints" / "last.writing").write_bytes(b"PK\x03\x04 torn")
    same_results(expected, small.small_train(tmp_path / "torn"))
    assert [path.name for path in (tmp_path / "torn" / "checkpoints").iterdir()] == ["last.ckpt"]


def test_an_epoch_mean_counts_every_step_of_a_resumed_epoch(small: ModuleType, tmp_path: Path) -> None:
    losses: list[float] = []
    step = OperatorModule.configure_gradient_clipping

    def listen(self: OperatorModule, *arguments: Any, **options: Any) -> None:
        losses.append(float(self.last.loss))
        step(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OperatorModule, "configure_gradient_clipping", listen)
        result = small.small_train(None)
    means = [math.fsum(losses[4 * epoch : 4 * epoch + 4]) / 4 for epoch in range(4)]
    assert [row["train_loss"] for row in result.history] == means


def test_the_folder_of_another_run_is_left_alone(small: ModuleType, tmp_path: Path) -> None:
    small.small_train(tmp_path, epochs=1)
    with pytest.raises(TrainingError, match="already holds a training run; go on with resume=True"):
        small.small_train(tmp_path, epochs=1, resume=False)
    with pytest.raises(TrainingError, match=r"epochs was 1 and is now 2; use epochs=1"):
        small.small_train(tmp_path, epochs=2)
    with pytest.raises(TrainingError, match="symmetries was"):
        small.small_train(tmp_path, epochs=1, symmetries=())


def test_a_pickle_or_a_torn_checkpoint_is_refused(small: ModuleType, tmp_path: Path) -> None:
    small.small_train(tmp_path, epochs=1)
    path = tmp_path / "checkpoints" / "last.ckpt"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(TrainingError, match="cannot read the checkpoint"):
        small.small_train(tmp_path, epochs=1)
    torch.save({"callbacks": {"RunCheckpoint": {"settings": Path("x")}}}, path)
    with pytest.raises(TrainingError, match="not a training checkpoint of tensors and plain values"):
        small.small_train(tmp_path, epochs=1)
    torch.save({"weights": 1}, path)
    with pytest.raises(TrainingError, match="cannot read the checkpoint"):
        small.small_train(tmp_path, epochs=1)


def test_a_full_disk_leaves_the_previous_checkpoint(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_results: Any
) -> None:
    whole = small.small_train(tmp_path / "whole")
    fsync, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.os, "fsync", full)
        with pytest.raises(TrainingError, match=r"cannot write the checkpoint .* No space left"):
            small.small_train(tmp_path / "full", checkpoint_steps=1)
    assert [path.name for path in (tmp_path / "full" / "checkpoints").iterdir()] == ["last.ckpt"]
    same_results(whole, small.small_train(tmp_path / "full"))


def at_step(step: int, act: Callable[[OperatorModule], None]) -> Callable[..., Tensor]:
    training_step = OperatorModule.training_step

    def acting(self: OperatorModule, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        if self.global_step == step:
            act(self)
        return training_step(self, batch, batch_idx)

    return acting


@pytest.mark.parametrize(("step", "number"), [(5, signal.SIGINT), (7, signal.SIGINT), (5, signal.SIGTERM)])
def test_an_interrupted_run_says_how_to_go_on(
    small: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: int,
    number: int,
    same_runs: Any,
    same_results: Any,
) -> None:
    whole = small.small_train(tmp_path / "whole")
    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(OperatorModule, "training_step", at_step(step, lambda _: os.kill(os.getpid(), number)))
        with pytest.raises(KeyboardInterrupt, match=rf"step {step + 1}; go on with resume=True and the same folder"):
            small.small_train(tmp_path / "stopped")
    assert signal.getsignal(number) is before
    same_results(whole, small.small_train(tmp_path / "stopped"))
    same_runs(tmp_path / "whole", tmp_path / "stopped")


def test_a_second_interrupt_acts_at_once(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, same_results: Any
) -> None:
    def twice(module: OperatorModule) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.2)  # two signals at once may arrive as one

    with monkeypatch.context() as patch:
        patch.setattr(OperatorModule, "training_step", at_step(5, twice))
        with pytest.raises(KeyboardInterrupt, match=r"step [56]; go on with"):
            small.small_train(tmp_path / "stopped", checkpoint_steps=2)
        with pytest.raises(KeyboardInterrupt, match="nothing is saved without a run folder"):
            small.small_train(None)
    same_results(small.small_train(tmp_path / "whole"), small.small_train(tmp_path / "stopped", checkpoint_steps=2))


class Bad(nn.Module):
    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target)


@pytest.mark.parametrize("bad", ["loss", "gradient"])
def test_a_loss_that_is_not_finite_names_the_step_and_the_remedy(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str, same_results: Any
) -> None:
    def spoil(module: OperatorModule) -> None:
        if bad == "loss":
            module.loss = Bad(lambda p, y: (p - y).mean() * math.nan)
        else:  # the square root of zero: a finite value without a finite slope
            module.loss = Bad(lambda p, y: ((p - p.detach()) ** 2).sum().sqrt())

    whole = small.small_train(tmp_path / "whole", checkpoint_steps=2)
    with monkeypatch.context() as patch:
        patch.setattr(OperatorModule, "training_step", at_step(6, spoil))
        with pytest.raises(
            TrainingError, match=r"epoch 1, step 6, learning rate 0\.00.*lower learning_rate \(now 0.01\)"
        ):
            small.small_train(tmp_path / "bad", checkpoint_steps=2)
    same_results(whole, small.small_train(tmp_path / "bad", checkpoint_steps=2))


def test_what_was_read_late_is_checked_before_it_is_saved(small: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a device whose loss is read every 50 steps, a checkpoint reads it first."""
    from types import SimpleNamespace

    from sciops.training.logs import Metrics

    metrics = Metrics(None)
    module = OperatorModule(nn.Identity(), loss=len, metric=None)  # type: ignore[arg-type]
    module._trainer = SimpleNamespace(current_epoch=2)  # type: ignore[assignment]
    trainer = SimpleNamespace(global_step=12, strategy=SimpleNamespace(reduce=lambda values, reduce_op: values))
    for value in (1.0, math.nan, 2.0):
        module.last.loss, module.last.gradient_norm = torch.tensor(value), torch.tensor(1.0)
        metrics.on_train_batch_end(trainer, module)  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match="epoch 2, step 10"):
        metrics.on_save_checkpoint(trainer, module, {})  # type: ignore[arg-type]


def test_averaged_weights_follow_the_formula(small: ModuleType, tmp_path: Path) -> None:
    weights: list[Tensor] = []
    from sciops.training.callbacks import WeightAverage

    update = WeightAverage.on_train_batch_end

    def listen(self: WeightAverage, trainer: Any, module: Any, *rest: Any) -> None:
        weights.append(module.model.head.weight.detach().clone())
        update(self, trainer, module, *rest)

    start = small.network().head.weight.detach().clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WeightAverage, "on_train_batch_end", listen)
        small.small_train(tmp_path, average=0.4)
    expected = start
    for step, weight in enumerate(weights, start=1):
        decay = min(0.4, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
    state = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    torch.testing.assert_close(state["callbacks"]["WeightAverage"]["average"]["head.weight"], expected)
    torch.testing.assert_close(state["state_dict"]["operator.model.head.weight"], weights[-1], rtol=0, atol=0)
    assert float(state["state_dict"]["operator.output_normaliser.mean"][0]) == pytest.approx(3.1, abs=0.1)


def test_validation_at_intervals_includes_the_last_epoch(small: ModuleType) -> None:
    result = small.small_train(None, epochs=6, validate_every=4)
    validated = [row["epoch"] for row in result.history if not math.isnan(row["validation_error"])]
    assert validated == [3, 5]


def test_interval_of_validation_after_a_resume(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copies_of_every_checkpoint: Any
) -> None:
    options = {"epochs": 5, "validate_every": 3, "checkpoint_steps": 1}
    with monkeypatch.context() as patch:
        copies = copies_of_every_checkpoint(tmp_path, patch)
        whole = small.small_train(tmp_path / "whole", **options)
    for copy in copies[6::4]:
        same_results_with_gaps(whole, small.small_train(copy, **options))


def same_results_with_gaps(first: TrainingResult, second: TrainingResult) -> None:
    assert [repr(row) for row in first.history] == [repr(row) for row in second.history]
    assert first.best_error == second.best_error


@pytest.mark.parametrize("precision", ["64", "bf16-mixed"])
def test_precision(small: ModuleType, precision: str) -> None:
    result = small.small_train(None, precision=precision, dropout=0.0)
    expected = small.small_train(None, dropout=0.0)
    dtype = torch.float64 if precision == "64" else torch.float32
    assert all(weight.dtype == dtype for weight in result.model.parameters())
    tolerance = 1e-4 if precision == "64" else 0.1
    assert result.best_error == pytest.approx(expected.best_error, rel=tolerance)
    assert result.best_error != expected.best_error


def test_parameters_reach_the_model(small: ModuleType) -> None:
    from sciops.data.functions.function_dataset import FunctionDataset

    ds = small.functions(20)
    ds["nu"] = (("sample",), torch.linspace(0, 1, 20).numpy())
    data = FunctionDataset(ds, inputs="a", outputs="u", parameters="nu")
    result = train(small.network(parameters=1), data, data, epochs=2, batch_size=10, progress=False, device="cpu")
    assert result.operator(torch.zeros(1, 1, 16), torch.zeros(1, 1)).shape == (1, 1, 16)


def test_evolution_with_noise_and_resume(
    small: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    copies_of_every_checkpoint: Any,
    same_results: Any,
) -> None:
    import numpy as np
    import xarray as xr

    from sciops.data.conventions import coordinate
    from sciops.data.domains.domain import Axis
    from sciops.data.functions.function_dataset import FunctionDataset

    start = np.random.default_rng(0).standard_normal((12, 16))
    u = np.stack([0.9**step * np.roll(start, step, axis=1) for step in range(6)], axis=1)
    ds = xr.Dataset({"u": (("sample", "time", "x"), u)}).assign_coords(x=coordinate(Axis("x", 16, kind="periodic")))
    data = FunctionDataset(ds, inputs="u", outputs="u", history=1, horizon=3)

    def evolve(folder: Path, **changes: Any) -> TrainingResult:
        rollout = Rollout(history=1, steps=3, noise=0.01, residual=True, **changes)
        return train(
            small.network(), data.subset(range(10)), data.subset([10, 11]), epochs=3, batch_size=8, rollout=rollout,
            learning_rate=1e-2, progress=False, device="cpu", run_dir=folder, resume=True, checkpoint_steps=3,
            tensorboard=False,
        )  # fmt: skip

    with monkeypatch.context() as patch:
        copies = copies_of_every_checkpoint(tmp_path, patch)
        whole = evolve(tmp_path / "whole")
    assert whole.best_error < whole.history[0]["validation_error"]
    same_results(whole, evolve(copies[1]))
    assert evolve(tmp_path / "pushed", pushforward=True).best_error != whole.best_error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"accumulate": 0}, "accumulate must be at least 1, got 0"),
        ({"devices": 0}, "devices must be at least 1"),
        ({"precision": "16"}, "unknown precision '16'"),
        ({"loss": "l3"}, "unknown loss 'l3'"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"average": 1.0}, "decay of the averaged weights must be"),
        ({"checkpoint_seconds": 0.0}, "time between checkpoints must be positive"),
        ({"checkpoint_steps": 0}, "steps between checkpoints must be at least 1"),
        ({"resume": True}, "resume=True needs the folder"),
        ({"symmetries": ("mirror",)}, "unknown symmetry 'mirror'"),
        ({"device": "gpu0"}, "unknown device 'gpu0'"),
    ],
)
def test_bad_input(small: ModuleType, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small.small_train(None, **options)


def test_a_folder_that_cannot_be_made(small: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot make the run folder"):
        small.small_train(tmp_path / "file" / "run")


def test_progress_shows_loss_and_error(small: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    small.small_train(None, epochs=2, progress=True)
    shown = capsys.readouterr().out
    assert "epoch 2/2" in shown and "validation" in shown and "samples/s" in shown
    small.small_train(None, epochs=1)
    quiet = capsys.readouterr()
    assert quiet.out == "" and "lightning" not in quiet.err.lower()


def test_tensorboard_goes_on_with_every_step_once(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from sciops.training.logs import Metrics

    class Crash(Exception):
        pass

    def crash(_: OperatorModule) -> None:
        raise Crash

    start = Metrics.__init__
    with monkeypatch.context() as patch:
        # read every step, so that the log runs ahead of the checkpoint
        patch.setattr(Metrics, "__init__", lambda self, folder, **_: start(self, folder, every=1))
        patch.setattr(OperatorModule, "training_step", at_step(10, crash))
        with pytest.raises(Crash):
            small.small_train(tmp_path, checkpoint_steps=7, tensorboard=True)
    small.small_train(tmp_path, checkpoint_steps=7, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert sorted(event.step for event in events.Scalars("train_loss")) == list(range(16))
    assert [event.step for event in events.Scalars("validation_error")] == [4, 8, 12, 16]
