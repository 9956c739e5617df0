"""What a description of a smoother refuses; that the sweeps do what it says is tested with the smoothers."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from sciops.errors import InputError
from sciops.kernels.sweeps import Sweeps, chebyshev, jacobi


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: jacobi(0), "whole number of steps, at least one, got 0"),
        (lambda: chebyshev(2, (1.0, 0.5)), r"increasing numbers, got \(1.0, 0.5\)"),
        (lambda: Sweeps((0.0,), (1.0, 1.0), (0,)), "as many momenta"),
        (lambda: Sweeps((0.0,), (1.0,), (3,)), "colours of sweeps"),
        (lambda: Sweeps((0.1,), (1.0,), (1,)), "with momentum"),
        (lambda: jacobi(1.5), "whole number of steps"),  # type: ignore[arg-type]
        (lambda: jacobi("2"), "whole number of steps"),  # type: ignore[arg-type]
        (lambda: chebyshev(2, (1.0,)), "two positive increasing numbers"),  # type: ignore[arg-type]
        (lambda: chebyshev(2, None), "two positive increasing numbers"),  # type: ignore[arg-type]
        (lambda: chebyshev(2, (math.nan, 1.0)), "two positive increasing numbers"),
        (lambda: Sweeps((0.0,), (math.nan,), (0,)), "finite numbers"),
        (lambda: Sweeps((0.0,), (1.0,), (0.5,)), "colours of sweeps"),  # type: ignore[arg-type]
    ],
)
def test_errors_name_what_was_got(call: Callable[[], object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
