"""The page on kernels, whose code runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path


def test_the_code_of_the_page_runs() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "kernels.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert blocks and "assert " in blocks[0]
    for code in blocks:
        exec(code, {})
