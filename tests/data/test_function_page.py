"""The guide to function data sets, whose code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_code_of_the_page_runs() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "function-dataset.md").read_text()
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    for code in blocks:
        exec(code, names)
    assert len(blocks) == 10 and sum(code.count("assert ") for code in blocks) >= 12
