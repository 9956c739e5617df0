"""Paths that are no files: links in circles, pipes, devices, folders."""

from __future__ import annotations

import os

from hostile_files.base import Hostile, hostile
from hostile_files.hdf5 import SUM, native, pipe

CASES: list[Hostile] = []


@hostile(CASES, "a.h5", "symbolic|cannot be looked at|no such file")
def a_link_to_itself(path, rng):
    os.symlink(path.name, path)


@hostile(CASES, "a.h5", "no such file")
def a_link_to_nothing(path, rng):
    os.symlink("nowhere.h5", path)


@hostile(CASES, "a.h5", sums=SUM)
def a_link_to_a_file(path, rng):
    native(path.with_name("b.h5"))
    os.symlink("b.h5", path)


@hostile(CASES, "a.h5", "not a regular file")
def a_link_to_endless_zeros(path, rng):
    os.symlink("/dev/zero", path)


@hostile(CASES, "pipe", "not a regular file")
def a_pipe(path, rng):
    pipe(path)


@hostile(CASES, "a.h5", "a folder")
def a_folder_called_a_file(path, rng):
    path.mkdir()
    os.symlink("..", path / "up")


@hostile(CASES, "a" * 300 + ".h5", "cannot be looked at|too long|no such file")
def a_name_that_is_too_long(path, rng):
    path.parent.mkdir(exist_ok=True)


@hostile(CASES, "line\nbreak.h5", sums=SUM)
def a_file_name_of_two_lines(path, rng):
    native(path)


@hostile(CASES, "a.h5", "is empty")
def an_empty_file(path, rng):
    path.touch()
