"""Every kernel beside the time that its operations or its bytes must take on this GPU."""

from __future__ import annotations

import math

import pytest
import rooflines
import torch

pytestmark = pytest.mark.benchmark
DEVICE = "cuda"


def test_rooflines(seed, report):
    machine = rooflines.Machine(DEVICE)
    found = [rooflines.measure(machine, dtype, seed) for dtype in (torch.float32, torch.float64, torch.bfloat16)]
    report.sections += ["## Rooflines", "", *str(machine).splitlines(), ""]
    report.sections += [f"{roofline.markdown()}\n" for roofline in found]
    failures = [failure for roofline in found for failure in roofline.failures]
    assert not failures, "\n".join(failures)
    for row in (row for roofline in found for row in roofline.rows):
        assert math.isfinite(row.measured) and row.measured > 0, row
        assert row.floor <= 1.2 * row.measured, row
