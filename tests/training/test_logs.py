"""What happens to the logs on a full disk."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sciops.errors import TrainingError
from sciops.training import logs

FULL = OSError(28, "No space left on device")


def fail(*_: Any, **__: Any) -> Any:
    raise FULL


class Full(io.StringIO):
    write = fail  # type: ignore[assignment]


def appending_fails(patch: pytest.MonkeyPatch) -> None:
    opened = Path.open
    patch.setattr(Path, "open", lambda self, *a, **o: Full() if self.name == "metrics.csv" else opened(self, *a, **o))


@pytest.mark.parametrize("when", ["begun", "appended"])
def test_a_full_disk_names_the_metrics_file(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str, same_results: Any
) -> None:
    expected = small.small_train(None)
    with monkeypatch.context() as patch:
        if when == "begun":
            patch.setattr(Path, "write_text", fail)
        else:
            appending_fails(patch)
        with pytest.raises(TrainingError, match=r"cannot write .*metrics.csv: .*No space left on device; free space"):
            small.small_train(tmp_path)
    same_results(expected, small.small_train(tmp_path))
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 5


@pytest.mark.parametrize("method", ["__init__", "add_scalar", "close"])
def test_a_full_disk_names_the_tensorboard_folder(
    small: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    from torch.utils.tensorboard import SummaryWriter

    monkeypatch.setattr(SummaryWriter, method, fail)
    with pytest.raises(TrainingError, match=r"cannot write .*tensorboard: .*No space left on device"):
        small.small_train(tmp_path, epochs=1, tensorboard=True)


def test_closing_does_not_hide_the_first_error(tmp_path: Path) -> None:
    metrics = logs.Metrics(tmp_path)
    metrics._writer = type("Writer", (), {"close": fail})()
    metrics.on_exception()
    assert metrics._writer is None
