"""Every kernel beside the time that its operations or its bytes must take on this processor, on one thread."""

from __future__ import annotations

import math
import secrets

import pytest
import rooflines
import torch

pytestmark = pytest.mark.benchmark


def test_rooflines_on_one_thread(one_thread, capsys):
    machine = rooflines.Machine("cpu")
    seed = secrets.randbits(31)
    found = [rooflines.measure(machine, dtype, seed) for dtype in (torch.float32, torch.float64)]
    with capsys.disabled():
        print(f"\n\n{machine}\n")
        print("\n".join(roofline.markdown() for roofline in found))
    failures = [failure for roofline in found for failure in roofline.failures]
    assert not failures, "\n".join(failures)
    for row in (row for roofline in found for row in roofline.rows):
        assert math.isfinite(row.measured) and row.measured > 0, row
        # what runs much faster than its floor is counted wrongly
        assert row.floor <= 1.2 * row.measured, row
