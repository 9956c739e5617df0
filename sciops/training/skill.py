"""The table that sets a trained operator beside its baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from sciops.errors import InputError


@dataclass(frozen=True)
class SkillRow:
    """One predictor.

    Parameters
    ----------
    name
        Its name.
    error
        Its mean relative error on the validation set.
    skill
        One minus the model's error over this one: the part of the error that the model removes; 0 for the model.
    """

    name: str
    error: float
    skill: float

    @property
    def removed(self) -> str:
        """The skill in words; far below zero its size says nothing."""
        if self.name == "model":
            return ""
        return f"{100 * self.skill:.1f} %" if self.skill > -1 else "the model is far worse"


@dataclass(frozen=True)
class SkillTable:
    """The model and its baselines, smallest error first; rich prints it.

    Parameters
    ----------
    rows
        One for each predictor.
    warning
        A sentence if a baseline is as good as the model or better, else None.
    """

    rows: tuple[SkillRow, ...]
    warning: str | None

    def __rich__(self) -> Table:
        table = Table(title="Skill on the validation set", caption=self.warning, caption_style="bold yellow")
        table.add_column("predictor")
        table.add_column("relative L2 error", justify="right")
        table.add_column("removed by the model", justify="right")
        for row in self.rows:
            table.add_row(row.name, f"{row.error:.4g}", row.removed, style="bold" if row.name == "model" else None)
        return table

    def __str__(self) -> str:
        lines = [f"{'predictor':<14}{'relative L2 error':>18}{'removed by the model':>22}"]
        for row in self.rows:
            lines.append(f"{row.name:<14}{row.error:>18.4g}{row.removed:>22}".rstrip())
        return "\n".join([*lines, self.warning] if self.warning else lines)


def skill_table(model_error: float, baselines: Mapping[str, float]) -> SkillTable:
    r"""Sets the error of a model beside those of baselines, with skill :math:`1 - e_{\mathrm{model}} / e`.

    Parameters
    ----------
    model_error
        Mean relative error of the model on the validation set.
    baselines
        Errors of the baselines on the same set, by name; see `baseline_errors`.

    Raises
    ------
    InputError
        A baseline is called "model".

    Examples
    --------
    >>> print(skill_table(0.05, {"mean": 0.5, "linear": 0.04}))
    predictor      relative L2 error  removed by the model
    linear                      0.04               -25.0 %
    model                       0.05
    mean                         0.5                90.0 %
    the model is not better than linear (0.05 against 0.04): train longer, change the model, or use that
    """
    if "model" in baselines:
        raise InputError("a baseline cannot be called 'model'")
    rows = [SkillRow("model", model_error, 0.0)]
    for name, error in baselines.items():
        rows.append(SkillRow(name, error, 1 - model_error / error if error > 0 else float("-inf")))
    rows.sort(key=lambda row: row.error)
    beaten = [(error, name) for name, error in baselines.items() if not model_error < error]
    warning = None
    if beaten:
        error, name = min(beaten)
        warning = (
            f"the model is not better than {name} ({model_error:.3g} against {error:.3g}): "
            "train longer, change the model, or use that"
        )
    return SkillTable(tuple(rows), warning)
