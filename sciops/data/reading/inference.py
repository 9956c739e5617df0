"""What coordinates alone say of an axis: where its interval ends, hence whether it is closed, left or of cells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sciops.data.domains.axis import Axis, Kind
from sciops.data.reading.containers import Array
from sciops.errors import DomainError

__all__ = ["axis_from_values"]


def axis_from_values(name: str, values: Any, kind: Kind | None = None, units: str = "") -> Axis | None:
    """The axis of some coordinates: of the kinds that fit them, the one whose interval has the simplest ends.

    Coordinates ``(i + 1/2) h`` are cell centres of [0, 1] and ``i / N`` is a left axis, since 0 and 1 are simpler than
    h / 2 and 1 - h; both ends at simple numbers make a closed axis, which also wins a tie. Whether an axis is
    periodic, coordinates alone never say.

    Parameters
    ----------
    name
        Name of the dimension.
    values
        Coordinates, shape (size,).
    kind
        The kind, where it is known.
    units
        Units of the coordinate.

    Returns
    -------
    Axis or None
        None where the coordinates are not uniform and ascending.

    Examples
    --------
    >>> axis_from_values("x", (np.arange(8) + 0.5) / 8)
    Axis(name='x', size=8, lower=0.0, upper=1.0, kind='cell', units='')
    >>> axis_from_values("x", np.arange(8) / 8).kind, axis_from_values("x", np.linspace(-1, 1, 8)).kind
    ('left', 'closed')
    """
    kinds: tuple[Kind, ...] = ("closed", "left", "cell") if kind is None else (kind,)
    if kind == "stretched":
        return Axis.from_coordinates(name, values, kind=kind, units=units)
    try:
        axes = [Axis.from_coordinates(name, values, kind=each, units=units) for each in kinds]
    except DomainError:
        return None
    return min((_simplest(axis, np.asarray(values)) for axis in axes), key=lambda scored: scored[0])[1]


def _simplest(axis: Axis, values: Array) -> tuple[float, Axis]:
    """The axis with its ends put onto the simplest numbers within rounding, and how simple they are."""
    epsilon = float(np.finfo(values.dtype).eps) if values.dtype.kind == "f" else 0.0
    tolerance = min(1e-3 * axis.spacing, 1e-6 * axis.extent + 8 * epsilon * float(np.abs(values).max()))
    (low, lower), (high, upper) = _digits(axis.lower, tolerance), _digits(axis.upper, tolerance)
    return low + high, replace(axis, lower=lower, upper=upper)


def _digits(value: float, tolerance: float) -> tuple[float, float]:
    """How many decimal digits a number needs (a power of ten half, k pi / 2 one), and the number with these digits."""
    if abs(value) <= tolerance:
        return 0.0, 0.0
    quarter = np.pi / 2
    if abs(value - round(value / quarter) * quarter) <= min(tolerance, 1e-6 * abs(value)):
        return 1.0, float(round(value / quarter) * quarter)
    for digits in range(1, 16):
        rounded = float(f"{value:.{digits - 1}e}")
        if abs(rounded - value) <= tolerance:
            one = digits == 1 and f"{abs(rounded):e}".startswith("1")
            return (0.5 if one else float(digits)), rounded if digits <= 4 else value
    return 16.0, value
