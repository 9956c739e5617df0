"""The command line: ``sciops info | convert | simulate | fit | evaluate | predict | kernels``.

Each command is a module of this package, loaded when it is called; its flags, its help and the keys of its
configuration files come from the signature and the docstring of the Python function that does the work.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TextIO

from sciops import __version__
from sciops.errors import InputError, SciopsError, did_you_mean

__all__ = ["main"]

COMMANDS = {
    "info": "what is in a file: layout, grids, statistics, values that are not finite; a picture",
    "convert": "write a file of any layout as netCDF4/HDF5 that xarray opens by itself",
    "simulate": "solve a differential equation for a random ensemble and write the data set",
    "fit": "train a surrogate on a file",
    "evaluate": "errors of a surrogate on a file",
    "predict": "apply a surrogate to a file and write the prediction",
    "kernels": "which implementation of each kernel runs on this machine, and why",
}
_HELP = """\
usage: sciops COMMAND ...

Operator learning: from files of simulations to surrogates that predict in the file's own variables.

commands:
{commands}

  sciops COMMAND --help   options and examples of a command
  sciops --version        the version

examples:
  sciops simulate darcy darcy.h5 --samples 200 --resolution 32
  sciops info darcy.h5 --plot darcy.png
  sciops fit darcy.h5 --inputs a --outputs u
  sciops predict darcy-fno new.h5 prediction.h5 --coverage 0.9
"""
_BAD_INPUT, _INTERRUPTED, _PIPE_CLOSED, _TERMINATED = 2, 130, 141, 143
# What the operating system or the disk refuses is no bug of ours; every other OSError keeps its traceback.
_REFUSALS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE,
    errno.ENFILE, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENOTEMPTY,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Bad input ends in one line on the standard error and exit code 2, an interrupt in 130, SIGTERM in 143, a reader of
    the output that went away in 141 and silence; a bug keeps its traceback.

    Parameters
    ----------
    argv
        The words after ``sciops``; by default those of this process.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    SystemExit
        With code 0, after the help of a command was shown.

    Examples
    --------
    >>> main(["--version"])
    sciops 0.1.0
    0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            with _terminable(words):
                _dispatch(words)
            sys.stdout.flush()
        return 0
    except SciopsError as error:
        return _complain(f"error: {error}", _BAD_INPUT)
    except _Terminated:
        return _complain("terminated", _TERMINATED)
    except KeyboardInterrupt as error:
        return _complain(f"interrupted: {error}" if str(error) else "interrupted", _INTERRUPTED)
    except BrokenPipeError:
        # What is still buffered goes nowhere, so that the interpreter does not fail on it when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"error: {where}{error.strerror}; choose another place or free this one", _BAD_INPUT)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came; everything is cleaned up as after an interrupt."""


@contextlib.contextmanager
def _terminable(words: list[str]) -> Iterator[None]:
    """Let SIGTERM clean up what is half written; `fit` is left to its trainer, which has a way of its own."""
    if words[:1] == ["fit"] or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _dispatch(words: list[str]) -> None:
    if not words:
        raise InputError(f"no command; give one of {', '.join(COMMANDS)}; sciops --help explains them")
    name, rest = words[0], words[1:]
    if name in ("-h", "--help", "help"):
        lines = (f"  {command:<10}{summary}" for command, summary in COMMANDS.items())
        sys.stdout.write(_HELP.format(commands="\n".join(lines)))
    elif name in ("-V", "--version"):
        sys.stdout.write(f"sciops {__version__}\n")
    elif name not in COMMANDS:
        raise InputError(f"unknown command {name!r}{did_you_mean(name, COMMANDS)}")
    else:
        from sciops.cli.command import execute

        execute(importlib.import_module(f"sciops.cli.{name}").command(rest), rest)


def _complain(text: str, code: int) -> int:
    """One line, whatever the message holds."""
    sys.stderr.write(f"sciops: {' '.join(text.split())}\n")
    return code


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    (file or sys.stderr).write(f"sciops: warning: {' '.join(str(message).split())}\n")
