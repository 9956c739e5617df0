"""docs/writing-data.md: its Python runs, and its table has every layout that can be written."""

from __future__ import annotations

import re
from pathlib import Path

from sciops.data.files import open
from sciops.data.reading.filters import COMPRESSIONS
from sciops.data.writing.writers import registry

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "writing-data.md").read_text()


def test_the_code_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    made = {"run.h5", "small.h5", "run.zarr", "burgers.hdf5", "well.hdf5", "runs.h5"}
    assert {path.name for path in tmp_path.iterdir()} == made
    for name, layout in {"burgers.hdf5": "pdebench-1d", "well.hdf5": "the-well", "runs.h5": "native"}.items():
        assert open(name).attrs["layout"] == layout
    assert open("runs.h5").tensor.equals(open("run.h5").tensor)


def test_the_tables_are_complete():
    rows = re.findall(r"^\| `\"?([\w-]+)\"?`", PAGE, re.MULTILINE)
    assert set(rows) == {"native", "zarr", *registry, *COMPRESSIONS} - {"none"}
