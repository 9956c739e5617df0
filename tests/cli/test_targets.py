"""Files that would be overwritten, pictures, configuration files and a process that is told to end."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sciops.cli import main
from sciops.cli.evaluate import _draw
from sciops.surrogate.description import Description


def test_the_input_is_never_overwritten(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "link.h5").symlink_to(file)
    before = file.read_bytes()
    for out in (file, tmp_path / "link.h5"):
        assert main(["convert", str(file), str(out), "--overwrite"]) == 2
        assert "is read, and would be overwritten" in capsys.readouterr().err
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["out.xyz", "out.h5"])
def test_a_picture_of_an_unknown_kind(file: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(file), "--plot", name]) == 2
    assert "expected .png, .pdf or .svg" in capsys.readouterr().err


def test_a_configuration_that_is_no_text(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.yaml").write_bytes(b"json: \xff\xfe")
    assert main(["info", str(file), "--config", str(tmp_path / "run.yaml")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "--config" in err


def test_sigterm_leaves_nothing_half_written(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sciops.data.writing.write_dataset import StreamWriter

    monkeypatch.setattr(StreamWriter, "append", lambda self, block: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert main(["convert", str(file), str(tmp_path / "out.h5")]) == 143
    assert capsys.readouterr().err.endswith("sciops: terminated\n")
    assert signal.getsignal(signal.SIGTERM) is before
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_frames_without_times_are_drawn_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace
    from typing import cast

    dims, x = ("sample", "time", "x"), np.arange(4.0)
    truth = xr.Dataset({"u": (dims, np.arange(28.0).reshape(1, 7, 4))}, {"x": x})
    prediction = xr.Dataset({"u": (dims, np.zeros((1, 2, 4)))}, {"x": x, "time": [0.2, 0.4]})
    description = cast(Description, SimpleNamespace(task="evolve", history=2, stride=2, inputs=("u",), outputs=("u",)))
    seen: list[xr.Dataset] = []
    monkeypatch.setattr("sciops.plotting.compare", lambda truth, prediction, **_: seen.extend((truth, prediction)))
    _draw(description, truth, prediction, tmp_path / "worst.png")
    assert seen[0].u.values[0, :, 0].tolist() == [16.0, 24.0]
