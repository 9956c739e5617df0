from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
import xarray as xr

from sciops.cli.options import REQUIRED, Option, line_hint, options_of


@pytest.mark.parametrize(
    ("hint", "expected"),
    [
        (str | Sequence[str], list[str]),
        (int | Sequence[int] | None, int | list[int] | None),
        (xr.Dataset | str | Path, Path),
        (str | Path | None, Path | None),
        (str | torch.nn.Module, str),
        (Mapping[str, Sequence[str | None]] | None, dict[str, list[str | None]] | None),
        (Mapping[str, str | Any], dict[str, str]),
        (Literal["a", "b"], Literal["a", "b"]),
        (tuple[float, ...], list[float]),
    ],
)
def test_hints_are_cut_to_what_can_be_written(hint, expected):
    assert line_hint(hint) == expected


def test_a_hint_without_written_form_is_an_error_of_ours():
    with pytest.raises(TypeError, match="no form on the command line"):
        line_hint(torch.nn.Module)


@dataclass(frozen=True)
class _Example:
    """An example.

    Parameters
    ----------
    low, high
        The two
        ends of ``x``.
    names
        Names.
    """

    low: float
    high: float = 2.0
    names: Sequence[str] = ()


def test_options_of_a_dataclass():
    low, high, names = options_of(_Example, changes={"high": {"help": "The upper end.", "metavar": "END"}}, group="own")
    assert low == Option("low", float, REQUIRED, "The two ends of x.", group="own")
    assert high == Option("high", float, 2.0, "The upper end.", group="own", metavar="END")
    assert names == Option("names", list[str], [], "Names.", group="own")


def test_options_skip_and_keep_the_order():
    def function(b: int, a: str = "x", *, c: bool = False) -> None:
        """Nothing."""

    assert [option.name for option in options_of(function, skip={"a"})] == ["b", "c"]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int | None, "a whole number or null"),
        (int | list[int] | None, "a whole number or a list of whole numbers or null"),
        (Literal["fno", "unet"], "one of fno, unet"),
        (dict[str, str], "entries NAME=VALUE"),
    ],
)
def test_types_in_words(hint, words):
    assert Option("x", hint).described == words
