from __future__ import annotations

import io

import pytest
from rich.console import Console

from sciops.errors import InputError
from sciops.training.skill import skill_table


def test_rows_are_sorted_and_skill_is_what_the_model_removes() -> None:
    table = skill_table(0.05, {"mean": 0.5, "linear": 0.1})
    assert [(row.name, row.error) for row in table.rows] == [("model", 0.05), ("linear", 0.1), ("mean", 0.5)]
    assert [row.skill for row in table.rows] == pytest.approx([0.0, 0.5, 0.9])
    assert table.warning is None


@pytest.mark.parametrize("error", [0.1, 0.2, float("nan")])
def test_a_model_that_is_not_better_is_named(error: float) -> None:
    table = skill_table(error, {"mean": 0.5, "linear": 0.1})
    assert table.warning is not None and "not better than linear" in table.warning


def test_rich_and_plain_text_say_the_same() -> None:
    table = skill_table(0.2, {"linear": 0.1, "mean": 0.4})
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    for text in (console.file.getvalue(), str(table)):  # type: ignore[attr-defined]
        assert "linear" in text and "0.1" in text and "50.0 %" in text and "far worse" in text and "not better" in text


def test_a_perfect_baseline_does_not_divide_by_zero() -> None:
    assert skill_table(0.2, {"exact": 0.0}).rows[0].skill == float("-inf")
    with pytest.raises(InputError):
        skill_table(0.1, {"model": 0.2})
