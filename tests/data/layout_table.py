"""The table of docs/data-layouts.md, made from what our reader finds in the examples of every layout.

Run ``python tests/data/layout_table.py`` to write it into the page.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from sciops.data import layouts
from sciops.data.conventions import parameter_names, sample_dim, space_dims, time_dim
from sciops.data.files import open

PAGE = Path(__file__).resolve().parents[2] / "docs" / "data-layouts.md"
MARK = "<!-- layouts -->"
COLUMNS = ("layout", "files", "detected", "fields", "grids", "time", "parameters", "boundary conditions")
KINDS = ("periodic", "closed", "cell", "left", "left (assumed)", "stretched", "points", "mesh", "curvilinear")


def layout_table() -> str:
    """The table in Markdown, one row for each layout."""
    from layout_examples import EXAMPLES as examples

    rows = {example.layout: {column: {} for column in COLUMNS[1:]} for example in examples}
    with tempfile.TemporaryDirectory() as folder:
        for example in examples:
            path = Path(folder) / f"{example}{example.suffix}"
            expected = example.write(path, np.random.default_rng(0))
            with open(path, **expected.options) as ds:
                found = _row(ds)
            found["files"] = [f"`{example.suffix}`"]
            recognised = layouts.registry[example.layout]().detect(layouts.Contents(path)) is not None
            found["detected"] = ["yes" if recognised else "declared"]
            for column, words in found.items():
                rows[example.layout][column].update(dict.fromkeys(words))
    lines = [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    for name, row in sorted(rows.items()):
        cells = [_joined(column, row[column]) for column in COLUMNS[1:]]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _row(ds) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {column: [] for column in COLUMNS[1:]}
    channels = set(np.atleast_1d(ds.attrs.get("channel_dims", ())))
    cells = {dim for name in ds.coords if name.startswith("cells_") for dim in ds[name].dims}
    points = set(ds.attrs.get("point_dims", ())) | cells
    scattered = "mesh" if ds.attrs.get("domain") == "mesh" else "points"
    curvilinear = {dim for name in ds.attrs.get("curvilinear_coords", ()) for dim in ds[name].dims}
    for name, variable in ds.data_vars.items():
        space = space_dims(ds, name)
        if not space:
            continue
        if variable.attrs.get("role") == "mask":
            found["fields"].append("mask")
            continue
        grid = [dim for dim in space if dim not in points]
        where = "points" if points & set(space) else f"{len(grid)}D"
        rank = {1: "vector", 2: "tensor"}.get(variable.attrs.get("rank"))
        found["fields"] += [where] + ([rank or "channels"] if channels & set(variable.dims) else [])
        for dim in space:
            kind = scattered if dim in points else "curvilinear" if dim in curvilinear else None
            kind = kind or ds[dim].attrs.get("kind", "stretched")
            found["grids"].append("left (assumed)" if kind == "left" and ds[dim].attrs.get("assumed") else kind)
        for condition in json.loads(variable.attrs.get("boundary_conditions", "{}")).values():
            found["boundary conditions"] += [condition] if isinstance(condition, str) else condition
    time = time_dim(ds)
    if time is not None:
        per_sample = any(time in ds[name].dims and sample_dim(ds) in ds[name].dims for name in ds.coords)
        found["time"].append("of each sample" if per_sample else "yes" if time in ds.coords else "frames")
    for name in parameter_names(ds):
        found["parameters"].append("of each sample" if ds[name].dims else "of the file")
    if any(variable.dims == (time,) for variable in ds.data_vars.values()):
        found["parameters"].append("in time")
    return found


def _joined(column: str, words: dict[str, None]) -> str:
    order = {"fields": ("1D", "2D", "3D", "points", "channels", "vector", "tensor", "mask"), "grids": KINDS}
    known = order.get(column, ())
    rank = {word: i for i, word in enumerate(known)}
    return ", ".join(sorted((word for word in words if word), key=lambda word: (rank.get(word, 99), word))) or "-"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
    before, _, after = PAGE.read_text().split(MARK)
    PAGE.write_text(f"{before}{MARK}\n{layout_table()}\n{MARK}{after}")
