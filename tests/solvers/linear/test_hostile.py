"""A hundred random systems made to mislead: each ends in a certified answer or the right error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hostile_systems import HOSTILE

from sciops.errors import InputError, SolverError
from sciops.solvers import linear

METHODS = ["cg", "block_cg", "fcg", "minres", "gmres", "fgmres", "bicgstab"]


@pytest.mark.parametrize("index", range(102))
def test_a_hostile_system(index, generator):
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    case = HOSTILE[index % len(HOSTILE)](rng, int(rng.integers(8, 25)))
    method = METHODS[index // len(HOSTILE)]
    try:
        A = case.A()
        found = getattr(linear, method)(A, case.b, **{"rtol": 1e-8, "maxiter": 5000, **case.options})
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) > 20
    except SolverError as error:
        assert "\n" not in str(error) and ": " in str(error)
        assert not error.solution.converged
    else:
        assert not case.hopeless
        b, y = case.b.numpy().ravel(), A.to_scipy() @ found.value.numpy().ravel()
        assert np.isfinite(y).all()
        assert np.linalg.norm((b - y) / np.abs(b).max()) <= 1.01e-8 * np.linalg.norm(b / np.abs(b).max())
