"""The entry point: help, errors and exit codes, and what is loaded when."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import sciops
import sciops.cli
from sciops.cli import main
from sciops.errors import DataError


def sciops_process(*words: str, code: str = "", **options) -> subprocess.CompletedProcess:
    """`sciops words` in a process of its own."""
    command = ["-c", code] if code else ["-m", "sciops", *words]
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=120, **options)


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(words, capsys):
    assert main(words) == 0
    text = capsys.readouterr().out
    assert all(
        f"  {name} " in text for name in ("info", "convert", "simulate", "fit", "evaluate", "predict", "kernels")
    )


@pytest.mark.parametrize("name", ["info", "convert", "simulate", "fit", "evaluate", "predict", "kernels"])
def test_every_command_has_help_with_an_example(name, capsys):
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    assert text.startswith(f"usage: sciops {name} ") and f"\n  sciops {name} " in text
    assert "`" not in text and "NoneType" not in text and "See sciops" not in text


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"sciops {sciops.__version__}\n"


def failing(monkeypatch, error: BaseException) -> None:
    def dispatch(words: list[str]) -> None:
        raise error

    monkeypatch.setattr(sciops.cli, "_dispatch", dispatch)


def test_an_error_of_ours_is_one_line(monkeypatch, capsys):
    failing(monkeypatch, DataError("run.h5: two\n  lines"))
    assert main([]) == 2
    assert capsys.readouterr().err == "sciops: error: run.h5: two lines\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_the_system_refuses_is_one_line(monkeypatch, capsys, number):
    failing(monkeypatch, OSError(number, os.strerror(number), "/full/config.yaml"))
    assert main([]) == 2
    text = capsys.readouterr().err
    assert text.startswith(f"sciops: error: /full/config.yaml: {os.strerror(number)}") and text.count("\n") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError(), FileNotFoundError(errno.ENOENT, "none"), ValueError("bug")])
def test_a_bug_keeps_its_traceback(monkeypatch, error):
    failing(monkeypatch, error)
    with pytest.raises(type(error)):
        main([])


def test_an_interrupt_is_one_line(monkeypatch, capsys):
    failing(monkeypatch, KeyboardInterrupt("go on with: sciops fit --resume run"))
    assert main([]) == 130
    assert capsys.readouterr().err == "sciops: interrupted: go on with: sciops fit --resume run\n"


def test_warnings_are_one_line(monkeypatch, capsys):
    def dispatch(words: list[str]) -> None:
        warnings.warn("outside the\nrange", UserWarning, stacklevel=1)

    monkeypatch.setattr(sciops.cli, "_dispatch", dispatch)
    assert main([]) == 0
    assert capsys.readouterr().err == "sciops: warning: outside the range\n"
    assert warnings.showwarning.__module__ != "sciops.cli"


def test_a_closed_pipe_is_silent(file: Path):
    with subprocess.Popen(
        [sys.executable, "-m", "sciops", "info", str(file), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


def test_only_fit_loads_lightning_and_only_a_plot_loads_matplotlib(file: Path, run: Path):
    """One process calls every other command in turn."""
    words = [
        ["--help"],
        ["info", str(file)],
        ["convert", str(file), str(file.with_name("copy.h5"))],
        ["simulate", "darcy", str(file.with_name("darcy.h5")), "--samples", "1", "--resolution", "9"],
        ["evaluate", str(run), str(file)],
        ["predict", str(run), str(file), str(file.with_name("prediction.h5"))],
    ]
    code = f"""
import json, sys
from sciops.cli import main
loaded = lambda: [name for name in ("torch", "lightning", "matplotlib", "tensorboard") if name in sys.modules]
seen = []
for words in {words!r}:
    assert main(words) == 0
    seen.append(loaded())
sys.stderr.write(json.dumps(seen))
"""
    result = sciops_process(code=code)
    assert result.returncode == 0, result.stderr
    seen = json.loads(result.stderr.splitlines()[-1])
    assert seen[0] == [] and seen[1:] == [["torch"]] * 5


def test_the_module_is_the_command():
    result = sciops_process("inof", "x.h5")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.startswith("sciops: error: unknown command 'inof'; did you mean 'info'?")


def test_info_takes_at_most_three_seconds(file: Path):
    """Of processor time, in one of three tries, so that a busy machine does not matter much."""
    code = f"import time; from sciops.cli import main; main(['info', {str(file)!r}]); print(time.process_time())"
    assert any(float(sciops_process(code=code).stdout.split()[-1]) < 3 for _ in range(3))
